/*
 * input.c
 *		Takes an input apart into lines and a rest, each in memory of its own, so that a byte read too far is seen.
 */
#include "fuzz.h"

#include <string.h>

char *
fuzz_line(const uint8_t **data, size_t *size)
{
	const uint8_t *end = *size > 0 ? memchr(*data, '\n', *size) : NULL;
	size_t len = end != NULL ? (size_t) (end - *data) : *size;
	char *line = malloc(len + 1);

	REQUIRE(line != NULL);
	if (len > 0)
		memcpy(line, *data, len);
	line[len] = '\0';
	if (end != NULL)
		len++;
	*data += len;
	*size -= len;
	return line;
}

char *
fuzz_rest(const uint8_t *data, size_t size)
{
	char *rest = malloc(size > 0 ? size : 1);

	REQUIRE(rest != NULL);
	if (size > 0)
		memcpy(rest, data, size);
	return rest;
}
