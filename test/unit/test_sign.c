/*
 * test_sign.c
 *		The signatures against known answers, T1 to T15, and what a signer refuses.
 */
#include "unit.h"

#include <stdlib.h>
#include <string.h>

#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>

#include "snap_sign.h"
#include "vectors.h"

static char out[SNAP_SIGNATURE_SIZE];

/* Type 1: both sides, and equality with the known answer. */
static void
symmetric(const char *name, const char *secret, const char *method, const char *path, const char *token,
		  const char *body, const char *timestamp, SnapEncoding encoding, const char *expected)
{
	ok(snap_sign_symmetric(secret, method, path, token, body, strlen(body), timestamp, encoding, out,
						   sizeof(out)) &&
		   strcmp(out, expected) == 0,
	   "sign: %s", name);
	ok(snap_verify_symmetric(secret, method, path, token, body, strlen(body), timestamp, encoding, expected),
	   "verify: %s", name);
}

static void
derived(const char *name, const char *method, const char *path, const char *body, SnapEncoding encoding,
		const char *expected)
{
	symmetric(name, DERIVED_SECRET, method, path, DERIVED_TOKEN, body, DERIVED_TIMESTAMP, encoding, expected);
}

/* An HMAC of a bare text, in base64 or hex: proves what a foreign vector was made of. */
static bool
hmac_is(const EVP_MD *algorithm, const char *key, const char *text, bool hex, const char *expected)
{
	unsigned char code[EVP_MAX_MD_SIZE];
	unsigned char encoded[200];
	unsigned int len;
	unsigned int i;

	HMAC(algorithm, key, (int) strlen(key), (const unsigned char *) text, strlen(text), code, &len);
	if (!hex)
		EVP_EncodeBlock(encoded, code, (int) len);
	for (i = 0; hex && i < len; i++)
	{
		encoded[2 * i] = (unsigned char) "0123456789abcdef"[code[i] / 16];
		encoded[2 * i + 1] = (unsigned char) "0123456789abcdef"[code[i] % 16];
		encoded[2 * i + 2] = '\0';
	}
	return strcmp((const char *) encoded, expected) == 0;
}

static void
published(void)
{
	char *text;

	symmetric("T1", T1_SECRET, "POST", T1_PATH, T1_TOKEN, T1_BODY, T1_TIMESTAMP, SNAP_ENCODING_BASE64,
			  T1_SIGNATURE);
	ok(snap_sign_token(T2_PRIVATE_KEY, T2_CLIENT_ID, T2_TIMESTAMP, SNAP_ENCODING_BASE64, out, sizeof(out)) &&
		   strcmp(out, T2_SIGNATURE) == 0,
	   "sign: T2");
	ok(snap_verify_token(T2_PUBLIC_KEY, T2_CLIENT_ID, T2_TIMESTAMP, SNAP_ENCODING_BASE64, T2_SIGNATURE),
	   "verify: T2");
	ok(snap_verify_token(T3_PUBLIC_KEY, T3_CLIENT_ID, T3_TIMESTAMP, SNAP_ENCODING_BASE64, T3_SIGNATURE),
	   "verify: T3");
	symmetric("T4", T4_SECRET, "POST", T4_PATH, T4_TOKEN, T4_BODY, T4_TIMESTAMP, SNAP_ENCODING_BASE64,
			  T4_SIGNATURE);
	ok(hmac_is(EVP_sha512(), T5_KEY, T5_MESSAGE, false, T5_SIGNATURE), "primitive: T5");
	text = snap_string_to_sign("POST", T7_PATH, T7_TOKEN, T7_BODY, strlen(T7_BODY), T7_TIMESTAMP);
	ok(text != NULL && strcmp(text, T7_STRING) == 0, "string to sign: T7");
	free(text);
	ok(snap_sign_token(T8_PRIVATE_KEY, T8_CLIENT_ID, T8_TIMESTAMP, SNAP_ENCODING_BASE64, out, sizeof(out)) &&
		   strcmp(out, T8_SIGNATURE) == 0,
	   "sign: T8");
}

static void
must_differ(void)
{
	ok(hmac_is(EVP_sha512(), T9_SECRET, "POST:" T9_PATH ":" T9_TOKEN ":" T9_TIMESTAMP, false,
			   T9_SIGNATURE_SYMMETRIC),
	   "T9 is what it is said to be: the hash of an empty body left out");
	ok(snap_sign_symmetric(T9_SECRET, "POST", T9_PATH, T9_TOKEN, NULL, 0, T9_TIMESTAMP, SNAP_ENCODING_BASE64,
						   out, sizeof(out)) &&
		   strcmp(out, T9_SIGNATURE_SYMMETRIC) != 0,
	   "sign: T9 symmetric differs");
	ok(!snap_verify_symmetric(T9_SECRET, "POST", T9_PATH, T9_TOKEN, NULL, 0, T9_TIMESTAMP,
							  SNAP_ENCODING_BASE64, T9_SIGNATURE_SYMMETRIC),
	   "verify: T9 symmetric is refused");
	ok(snap_sign_asymmetric(T8_PRIVATE_KEY, "POST", T9_PATH, NULL, 0, T9_TIMESTAMP, SNAP_ENCODING_BASE64, out,
							sizeof(out)) &&
		   strcmp(out, T9_SIGNATURE_ASYMMETRIC) != 0,
	   "sign: T9 asymmetric differs");
	ok(hmac_is(EVP_sha256(), T10_SECRET, T10_STRING, true, T10_SIGNATURE),
	   "T10 is what it is said to be: HMAC-SHA256");
	ok(!hmac_is(EVP_sha512(), T10_SECRET, T10_STRING, true, T10_SIGNATURE), "primitive: T10 differs");
	ok(!snap_verify_symmetric(T10_SECRET, "POST", "/banking/corporates/transfers",
							  "lIWOt2p29grUo59bedBUrBY3pnzqQX544LzYPohcGHOuwn8AUEdUKS", "{}", 2,
							  "2016-02-03T10:00:00.000+07:00", SNAP_ENCODING_HEX, T10_SIGNATURE),
	   "verify: T10 is refused");
}

static void
derived_here(void)
{
	derived("T11", "POST", T11_PATH, B1_BODY, SNAP_ENCODING_BASE64, T11_SIGNATURE);
	derived("T11 in hex", "POST", T11_PATH, B1_BODY, SNAP_ENCODING_HEX, T11_SIGNATURE_HEX);
	derived("T11, method in lower case", "post", T11_PATH, B1_BODY, SNAP_ENCODING_BASE64, T11_SIGNATURE);
	derived("T11, blanks around the body", "POST", T11_PATH, " \n" B1_BODY "\r\n", SNAP_ENCODING_BASE64,
			T11_SIGNATURE);
	derived("T12, no body", "GET", T12_PATH, "", SNAP_ENCODING_BASE64, T12_SIGNATURE);
	derived("T13, escapes and UTF-8", "POST", T13_PATH, B3_BODY, SNAP_ENCODING_BASE64, T13_SIGNATURE);
	derived("T14, signed path", "POST", T14_PATH, B1_BODY, SNAP_ENCODING_BASE64, T14_SIGNATURE);
	ok(snap_sign_asymmetric(T2_PRIVATE_KEY, "POST", T11_PATH, B1_BODY, strlen(B1_BODY), DERIVED_TIMESTAMP,
							SNAP_ENCODING_BASE64, out, sizeof(out)) &&
		   strcmp(out, T15_SIGNATURE) == 0,
	   "sign: T15");
	ok(snap_verify_asymmetric(T2_PUBLIC_KEY, "POST", T11_PATH, B1_BODY, strlen(B1_BODY), DERIVED_TIMESTAMP,
							  SNAP_ENCODING_BASE64, T15_SIGNATURE),
	   "verify: T15");
	ok(snap_sign_asymmetric(T2_PRIVATE_KEY, "POST", T11_PATH, B1_BODY, strlen(B1_BODY), DERIVED_TIMESTAMP,
							SNAP_ENCODING_HEX, out, sizeof(out)) &&
		   strlen(out) == 512 &&
		   snap_verify_asymmetric(T2_PUBLIC_KEY, "POST", T11_PATH, B1_BODY, strlen(B1_BODY),
								  DERIVED_TIMESTAMP, SNAP_ENCODING_HEX, out),
	   "sign and verify: T15 in hex");
}

static bool
text_is_refused(const char *method, const char *path, const char *token, const char *timestamp)
{
	char *text = snap_string_to_sign(method, path, token, "{}", 2, timestamp);

	free(text);
	return text == NULL;
}

static bool
sign_is_refused(const char *secret, const char *token, size_t out_size)
{
	out[0] = 'x';
	return !snap_sign_symmetric(secret, "POST", "/p", token, "{}", 2, DERIVED_TIMESTAMP, SNAP_ENCODING_BASE64,
								out, out_size) &&
		   (out_size == 0 || out[0] == '\0');
}

static void
refused(void)
{
	char big[SNAP_PATH_MAX + 2];

	memset(big, '/', sizeof(big) - 1);
	big[sizeof(big) - 1] = '\0';
	ok(text_is_refused(NULL, "/p", "t", "s") && text_is_refused("", "/p", "t", "s"), "refused: no method");
	ok(text_is_refused("POST", NULL, "t", "s") && text_is_refused("POST", "", "t", "s"), "refused: no path");
	ok(text_is_refused("POST", "https://host/p", "t", "s"), "refused: a URL for a path");
	ok(text_is_refused("POST", "/p", "", "s"), "refused: an empty token");
	ok(text_is_refused("POST", "/p", "t\r\nX: y", "s"), "refused: a token with a line break");
	ok(text_is_refused("POST", "/p", "t", NULL) && text_is_refused("POST", "/p", "t", ""),
	   "refused: no timestamp");
	ok(text_is_refused("POST", big, "t", "s") && !text_is_refused("POST", big + 1, "t", "s"),
	   "refused: a path beyond its limit, and only beyond");
	ok(snap_string_to_sign("POST", "/p", "t", NULL, 1, "s") == NULL, "refused: a body that is not there");
	ok(sign_is_refused(NULL, "t", sizeof(out)), "refused: no secret");
	ok(sign_is_refused("", "t", sizeof(out)), "refused: an empty secret");
	ok(sign_is_refused(big, "t", sizeof(out)), "refused: a secret beyond its limit");
	ok(sign_is_refused("secret", NULL, sizeof(out)), "refused: type 1 without a token");
	ok(sign_is_refused("secret", "t", 88) && !sign_is_refused("secret", "t", 89),
	   "refused: no room, and only then");
	ok(sign_is_refused("secret", "t", 0), "refused: no room at all");
	ok(!snap_sign_token(T2_PRIVATE_KEY, NULL, "s", SNAP_ENCODING_HEX, out, sizeof(out)),
	   "refused: no client id");
	ok(!snap_sign_token(T2_PRIVATE_KEY, "c", "s", SNAP_ENCODING_HEX, out, 512) &&
		   snap_sign_token(T2_PRIVATE_KEY, "c", "s", SNAP_ENCODING_HEX, out, 513),
	   "refused: no room for RSA, and only then");
}

void
test_sign(void)
{
	published();
	must_differ();
	derived_here();
	refused();
	ok(ERR_peek_error() == 0, "sign: the error queue of OpenSSL is as before");
}
