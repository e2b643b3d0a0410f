/*
 * test_json.c
 *		What a JSON text shows without a parser: its members are counted, those that stand twice included.
 */
#include "unit.h"

#include <string.h>

#include "json_depth.h"

static size_t
members(const char *text)
{
	return json_member_count(text, strlen(text));
}

void
test_json(void)
{
	ok(members("{}") == 0 && members("[]") == 0 && members("1") == 0 && members("\":\"") == 0, "json: none");
	ok(members("{\"a\":1}") == 1 && members("{\"a\" : 1,\n\"a\"\t:2}") == 2, "json: each counts");
	ok(members("{\"a\":{\"b\":[{\"c\":1},{\"c\":1}]}}") == 4, "json: at every depth");
	ok(members("{\"a:b\":\"c:d\"}") == 1 && members("{\"a\\\":\":\"\\\\\",\"b\":\":\\\\\\\"::\"}") == 2,
	   "json: colons within strings are none");
	ok(members("\"\\") == 0 && members("{\"a") == 0, "json: what breaks off is tolerated");
}
