/*
 * identifier.c: time-ordered uuids and the external ids of HTTP requests.
 *
 * No sequences anywhere: databases of one platform can be split and merged by merchant.
 */
#include "postgres.h"

#include "clock.h"
#include "fmgr.h"
#include "identifier.h"
#include "port.h"
#include "utils/builtins.h"

PG_FUNCTION_INFO_V1(payout_new_id);
PG_FUNCTION_INFO_V1(payout_new_external_id);

static void
random_bytes(void *out, size_t size)
{
	if (!pg_strong_random(out, size))
		ereport(ERROR, (errcode(ERRCODE_INTERNAL_ERROR), errmsg("could not generate random values")));
}

/*
 * Random bytes of one uuid. Drawn for many at once, as a draw costs more than its bytes; ids are no secrets. Processes do
 * not inherit what is left: the postmaster makes no ids.
 */
static void
uuid_bytes(pg_uuid_t *out)
{
	static pg_uuid_t drawn[64];
	static int left = 0;

	if (left == 0)
	{
		random_bytes(drawn, sizeof(drawn));
		left = lengthof(drawn);
	}
	*out = drawn[--left];
}

void
identifier_uuid(pg_uuid_t *out)
{
	uint64 ms = (uint64) payout_unix_ms();

	uuid_bytes(out);
	for (int i = 0; i < 6; i++)
		out->data[i] = (unsigned char) (ms >> (40 - 8 * i));
	out->data[6] = (out->data[6] & 0x0f) | 0x70; /* version 7 */
	out->data[8] = (out->data[8] & 0x3f) | 0x80; /* variant of the RFC */
}

void
identifier_external(char out[EXTERNAL_ID_SIZE])
{
	uint64 bits;

	random_bytes(&bits, sizeof(bits));
	snprintf(out, EXTERNAL_ID_SIZE, "%013lld%015llu", (long long) payout_unix_ms(),
			 (unsigned long long) (bits % UINT64CONST(1000000000000000)));
}

Datum
payout_new_id(PG_FUNCTION_ARGS)
{
	pg_uuid_t *uuid = palloc(sizeof(pg_uuid_t));

	identifier_uuid(uuid);
	PG_RETURN_UUID_P(uuid);
}

Datum
payout_new_external_id(PG_FUNCTION_ARGS)
{
	char id[EXTERNAL_ID_SIZE];

	identifier_external(id);
	PG_RETURN_TEXT_P(cstring_to_text(id));
}
