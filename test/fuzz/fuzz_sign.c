/*
 * fuzz_sign.c
 *		Signatures and timestamps that arrive in headers. Input: lines of method, path, token, timestamp, signature,
 *		key, and the body.
 *
 * No signature is good but the one that signing gives; a key may be any text; a timestamp that is read is written
 * back as the same moment; blanks outside strings do not change what is signed.
 */
#include "fuzz.h"
#include "snap_sign.h"

#include <string.h>
#include <strings.h>

static const char secret[] = "a-shared-client-secret";

static void
check_timestamp(const char *text)
{
	long long moment;
	long long again;
	char written[SNAP_TIMESTAMP_SIZE];

	if (!snap_parse_timestamp(text, &moment))
		return;
	REQUIRE(moment >= 0);
	/* Z reaches a few hours further than Jakarta's year 9999 */
	if (snap_timestamp(moment, -1, written, sizeof(written)))
		REQUIRE(snap_parse_timestamp(written, &again) && again == moment);
	else
		REQUIRE(strncmp(text, "9999-12-31T", 11) == 0 && strchr(text, 'Z') != NULL);
}

static void
check_minify(const char *body, size_t size)
{
	char *once = malloc(size + 1);
	char *twice = malloc(size + 1);
	char hash[SNAP_HASH_SIZE];
	char hash_once[SNAP_HASH_SIZE];
	size_t len = snap_minify(body, size, once);

	REQUIRE(len <= size);
	REQUIRE(snap_minify(once, len, twice) == len && memcmp(once, twice, len) == 0);
	REQUIRE(snap_body_hash(body, size, hash) && snap_body_hash(once, len, hash_once));
	REQUIRE(strcmp(hash, hash_once) == 0);
	free(once);
	free(twice);
}

/* A genuine signature has one spelling: what its last letter says beyond the last byte, and blanks, are not ignored. */
static bool
is_spelt_otherwise(const char *right, char *other)
{
	size_t len = strlen(right);

	strcpy(other, right);
	if (len < 3 || right[len - 1] != '=')
		return false;
	other[len - 3] = right[len - 3] == 'Q'	 ? 'R'
					 : right[len - 3] == 'A' ? 'B'
					 : right[len - 3] == 'g' ? 'h'
											 : 'x';
	return true;
}

/* The one good signature is what signing gives, under the same secret; where signing fails there is none. */
static void
check_signature(const char *method, const char *path, const char *token, const char *body, size_t size,
				const char *timestamp, const char *given, SnapEncoding encoding)
{
	char right[SNAP_SIGNATURE_SIZE];
	char other[SNAP_SIGNATURE_SIZE];
	bool is_good = snap_verify_symmetric(secret, method, path, token, body, size, timestamp, encoding, given);

	if (!snap_sign_symmetric(secret, method, path, token, body, size, timestamp, encoding, right,
							 sizeof(right)))
	{
		REQUIRE(!is_good);
		return;
	}
	REQUIRE(is_good ==
			(encoding == SNAP_ENCODING_HEX ? strcasecmp(right, given) == 0 : strcmp(right, given) == 0));
	REQUIRE(snap_verify_symmetric(secret, method, path, token, body, size, timestamp, encoding, right));
	REQUIRE(!snap_verify_symmetric("another", method, path, token, body, size, timestamp, encoding, right));
	if (is_spelt_otherwise(right, other))
		REQUIRE(!snap_verify_symmetric(secret, method, path, token, body, size, timestamp, encoding, other));
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char *method = fuzz_line(&data, &size);
	char *path = fuzz_line(&data, &size);
	char *token = fuzz_line(&data, &size);
	char *timestamp = fuzz_line(&data, &size);
	char *signature = fuzz_line(&data, &size);
	char *key = fuzz_line(&data, &size);
	char *body = fuzz_rest(data, size);
	SnapEncoding encoding = strlen(key) % 2 == 0 ? SNAP_ENCODING_BASE64 : SNAP_ENCODING_HEX;
	check_timestamp(timestamp);
	check_minify(body, size);
	check_signature(method, path, token, body, size, timestamp, signature, encoding);
	REQUIRE(!snap_verify_token(key, token, timestamp, encoding, signature));
	REQUIRE(!snap_verify_asymmetric(key, method, path, body, size, timestamp, encoding, signature));

	free(method);
	free(path);
	free(token);
	free(timestamp);
	free(signature);
	free(key);
	free(body);
	return 0;
}
