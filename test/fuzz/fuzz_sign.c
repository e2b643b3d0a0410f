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
	char right[SNAP_SIGNATURE_SIZE];

	check_timestamp(timestamp);
	check_minify(body, size);
	if (snap_sign_symmetric(secret, method, path, token, body, size, timestamp, encoding, right,
							sizeof(right)))
	{
		REQUIRE(snap_verify_symmetric(secret, method, path, token, body, size, timestamp, encoding, right));
		REQUIRE(
			!snap_verify_symmetric(secret, method, path, token, body, size, timestamp, encoding, signature) ||
			strlen(right) == strlen(signature));
		REQUIRE(
			!snap_verify_symmetric("another", method, path, token, body, size, timestamp, encoding, right));
	}
	else
		REQUIRE(
			!snap_verify_symmetric(secret, method, path, token, body, size, timestamp, encoding, signature));
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
