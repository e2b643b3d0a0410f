/*
 * test_minify.c
 *		The minifier and the body hash: blanks that mean nothing go, every other byte stays.
 */
#include "unit.h"

#include <stdlib.h>
#include <string.h>

#include "snap_sign.h"
#include "vectors.h"

static void
minified(const char *name, const char *body, const char *expected)
{
	/* exactly as much room as promised, for AddressSanitizer to watch */
	size_t len = strlen(body);
	char *out = malloc(len > 0 ? len : 1);
	size_t out_len = snap_minify(body, len, out);

	ok(out_len == strlen(expected) && memcmp(out, expected, out_len) == 0, "minify: %s", name);
	free(out);
}

static void
hashed(const char *name, const char *body, const char *expected)
{
	char hash[SNAP_HASH_SIZE];

	ok(snap_body_hash(body, strlen(body), hash) && strcmp(hash, expected) == 0, "body hash: %s", name);
}

/* A body longer than any inner buffer, with a string and an escape across every boundary. */
static void
hash_of_long_body(void)
{
	char *body = malloc(100000);
	char *compact = malloc(100000);
	char hash[SNAP_HASH_SIZE];
	char hash_compact[SNAP_HASH_SIZE];
	bool same = true;
	int round;

	for (round = 0; round < 50; round++)
	{
		static const char pieces[] = "  \t\n\r\"\"\"\\\\\\ab{}[]:,1";
		size_t len = 4000 + random_next() % 90000;
		size_t compact_len;
		size_t i;

		for (i = 0; i < len; i++)
			body[i] = pieces[random_next() % (sizeof(pieces) - 1)];
		compact_len = snap_minify(body, len, compact);
		/* minifying twice changes nothing, and the hash in parts is that of the whole */
		same = same && snap_body_hash(body, len, hash) &&
			   snap_body_hash(compact, compact_len, hash_compact) && strcmp(hash, hash_compact) == 0;
	}
	ok(same, "body hash: in parts as in one piece, for 50 random bodies");
	free(body);
	free(compact);
}

void
test_minify(void)
{
	char in_place[] = " { \"a\" : 1 } ";
	char hash[SNAP_HASH_SIZE];

	minified("empty", "", "");
	minified("blanks only", " \t\r\n ", "");
	minified("blanks around tokens", " {\r\n\t\"a\" : [ 1 , 2 ] ,\n\"b\" : null }\n",
			 "{\"a\":[1,2],\"b\":null}");
	minified("blanks in a string stay", "{\"no\" : \"  08 89\"}", "{\"no\":\"  08 89\"}");
	minified("control characters in a string stay", "{\"a\": \"x\t\r\ny\"}", "{\"a\":\"x\t\r\ny\"}");
	minified("an escaped quote does not end a string", "[\"a \\\" b\" , 1]", "[\"a \\\" b\",1]");
	minified("an escaped backslash does not escape the quote", "[\"a \\\\\" , \" b\"]",
			 "[\"a \\\\\",\" b\"]");
	minified("escapes are not rewritten", "[ \"\\/ \\u00e9\" , \"a/b\" ]", "[\"\\/ \\u00e9\",\"a/b\"]");
	minified("numbers are not rewritten", "[ 1.0 , 1e5 , -0 ]", "[1.0,1e5,-0]");
	minified("UTF-8 stays", "[ \"Jos\303\251\" ]", "[\"Jos\303\251\"]");
	minified("a no-break space is no blank", "[\302\240]", "[\302\240]");
	minified("vertical tab and form feed are no blanks", "[\v\f]", "[\v\f]");
	minified("an unterminated string stays", "{ \"a b", "{\"a b");
	minified("a trailing backslash stays", "{ \"a b\\", "{\"a b\\");
	minified("key order stays", "{ \"b\":1, \"a\":2 }", "{\"b\":1,\"a\":2}");
	ok(snap_minify("a\0 b", 4, in_place) == 3 && memcmp(in_place, "a\0b", 3) == 0, "minify: a NUL stays");
	memcpy(in_place, " { \"a\" : 1 } ", sizeof(in_place));
	ok(snap_minify(in_place, strlen(in_place), in_place) == 7 && memcmp(in_place, "{\"a\":1}", 7) == 0,
	   "minify: in place");

	hashed("empty", "", "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
	hashed("blanks only, as empty", " \n",
		   "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
	ok(snap_body_hash(NULL, 0, hash) && strncmp(hash, "e3b0c442", 8) == 0,
	   "body hash: no body at all, as empty");
	hashed("T1", T1_BODY, T1_HASH);
	hashed("T4", T4_BODY, T4_HASH);
	hashed("T6, blanks inside strings", T6_BODY, T6_HASH);
	hashed("T6b", T6B_BODY, T6B_HASH);
	hashed("B1", B1_BODY, B1_HASH);
	hashed("B3, escapes and UTF-8", B3_BODY, B3_HASH);
	hashed("T7, spread over lines", "{\r\n  \"hello\" : \"world\"\r\n}\r\n",
		   "93a23971a914e5eacbf0a8d25154cda309c3c1c72fbb9914d47c60f3cb681588");
	hash_of_long_body();
}
