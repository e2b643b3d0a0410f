/*
 * protocol.c: the list of protocols.
 */
#include "postgres.h"

#include "protocol.h"

const Protocol *
protocol_find(const char *name)
{
	static const Protocol *const protocols[] = {&snap_protocol};

	for (int i = 0; i < (int) lengthof(protocols); i++)
		if (strcmp(protocols[i]->name, name) == 0)
			return protocols[i];
	return NULL;
}
