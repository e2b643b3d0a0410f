/*
 * test_verify.c
 *		What a verifier makes of keys in every dress, and of forged, truncated and hostile input.
 */
#include "unit.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <openssl/bio.h>
#include <openssl/ec.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/rsa.h>

#include "snap_sign.h"
#include "vectors.h"

#define CHANGES 400

static char out[SNAP_SIGNATURE_SIZE];

static bool
t11(const char *signature)
{
	return snap_verify_symmetric(DERIVED_SECRET, "POST", T11_PATH, DERIVED_TOKEN, B1_BODY, strlen(B1_BODY),
								 DERIVED_TIMESTAMP, SNAP_ENCODING_BASE64, signature);
}

static bool
t11_hex(const char *signature)
{
	return snap_verify_symmetric(DERIVED_SECRET, "POST", T11_PATH, DERIVED_TOKEN, B1_BODY, strlen(B1_BODY),
								 DERIVED_TIMESTAMP, SNAP_ENCODING_HEX, signature);
}

static bool
t2(const char *public_key, const char *signature)
{
	return snap_verify_token(public_key, T2_CLIENT_ID, T2_TIMESTAMP, SNAP_ENCODING_BASE64, signature);
}

/* Every request that differs in one part from T11 must be refused. */
static void
other_requests(void)
{
	size_t len = strlen(B1_BODY);

#define REFUSED(name, secret, method, path, token, body_len, timestamp)                  \
	ok(!snap_verify_symmetric(secret, method, path, token, B1_BODY, body_len, timestamp, \
							  SNAP_ENCODING_BASE64, T11_SIGNATURE),                      \
	   "refused: T11 with another %s", name)
	REFUSED("secret", "payout-test-secreT", "POST", T11_PATH, DERIVED_TOKEN, len, DERIVED_TIMESTAMP);
	REFUSED("method", DERIVED_SECRET, "PUT", T11_PATH, DERIVED_TOKEN, len, DERIVED_TIMESTAMP);
	REFUSED("path", DERIVED_SECRET, "POST", T11_PATH "?", DERIVED_TOKEN, len, DERIVED_TIMESTAMP);
	REFUSED("token", DERIVED_SECRET, "POST", T11_PATH, DERIVED_TOKEN "A", len, DERIVED_TIMESTAMP);
	REFUSED("body", DERIVED_SECRET, "POST", T11_PATH, DERIVED_TOKEN, len - 1, DERIVED_TIMESTAMP);
	REFUSED("timestamp", DERIVED_SECRET, "POST", T11_PATH, DERIVED_TOKEN, len, "2025-01-31T09:15:01+07:00");
#undef REFUSED
	ok(!t2(T3_PUBLIC_KEY, T2_SIGNATURE), "refused: T2 under another key");
	ok(!snap_verify_token(T2_PUBLIC_KEY, T2_CLIENT_ID "X", T2_TIMESTAMP, SNAP_ENCODING_BASE64, T2_SIGNATURE),
	   "refused: T2 of another client");
	ok(!snap_verify_asymmetric(T2_PUBLIC_KEY, "POST", T11_PATH, B3_BODY, strlen(B3_BODY), DERIVED_TIMESTAMP,
							   SNAP_ENCODING_BASE64, T15_SIGNATURE),
	   "refused: T15 with another body");
}

/* One signature, one spelling. */
static void
spellings(void)
{
	char text[SNAP_SIGNATURE_SIZE + 10];
	size_t i;

	ok(!t11(NULL) && !t11(""), "refused: no signature");
	ok(!t11(" " T11_SIGNATURE) && !t11(T11_SIGNATURE " ") && !t11(T11_SIGNATURE "\n"),
	   "refused: base64 with blanks");
	ok(!t11(T11_SIGNATURE "=") && !t11(T11_SIGNATURE "===="), "refused: base64 with padding too many");
	snprintf(text, sizeof(text), "%.86s", T11_SIGNATURE);
	ok(!t11(text), "refused: base64 without padding");
	snprintf(text, sizeof(text), "%.85sB==", T11_SIGNATURE);
	ok(T11_SIGNATURE[85] == 'A' && !t11(text), "refused: base64 with stray bits");
	ok(!t11(T11_SIGNATURE_HEX) && !t11_hex(T11_SIGNATURE), "refused: the other encoding");
	for (i = 0; i <= strlen(T11_SIGNATURE_HEX); i++)
		text[i] = T11_SIGNATURE_HEX[i] >= 'a' ? (char) (T11_SIGNATURE_HEX[i] - 32) : T11_SIGNATURE_HEX[i];
	ok(t11_hex(text), "accepted: hex in upper case");
	ok(!t11_hex(T11_SIGNATURE_HEX "0") && !t11_hex(T11_SIGNATURE_HEX "00") &&
		   !t11_hex("0x" T11_SIGNATURE_HEX) && !t11_hex(T11_SIGNATURE_HEX ":"),
	   "refused: hex with more around it");
	memset(text, 'A', sizeof(text) - 1);
	text[sizeof(text) - 1] = '\0';
	ok(!t11(text) && !t11_hex(text) && !t2(T2_PUBLIC_KEY, text), "refused: a signature beyond any size");
}

/* Cuts and random changes of genuine signatures: all refused, none harmful. */
static void
changed(void)
{
	char *text;
	size_t len = strlen(T11_SIGNATURE);
	int accepted = 0;
	size_t i;

	for (i = 0; i < len; i++)
	{
		/* as small as the text, for AddressSanitizer to watch */
		text = strndup(T11_SIGNATURE, i);
		accepted += t11(text);
		free(text);
		text = strndup(T2_SIGNATURE, i * 344 / len);
		accepted += t2(T2_PUBLIC_KEY, text);
		free(text);
	}
	ok(accepted == 0, "refused: every truncated signature");
	for (i = 0; i < CHANGES; i++)
	{
		char c = (char) (1 + random_next() % 255);
		size_t at;

		text = strdup(T11_SIGNATURE);
		at = random_next() % strlen(text);
		accepted += text[at] != c && (text[at] = c, t11(text));
		free(text);
		text = strdup(T2_SIGNATURE);
		at = random_next() % strlen(text);
		accepted += text[at] != c && (text[at] = c, t2(T2_PUBLIC_KEY, text));
		free(text);
	}
	ok(accepted == 0, "refused: %d signatures with one byte changed, twice", CHANGES);
}

/* Cuts and random changes of keys and of any other input: no harm done. */
static void
hostile(void)
{
	int accepted = 0;
	char *text;
	size_t i;

	for (i = 0; i < strlen(T2_PUBLIC_KEY); i++)
	{
		text = strndup(T2_PUBLIC_KEY, i);
		accepted += t2(text, T2_SIGNATURE);
		free(text);
	}
	ok(accepted == 0, "refused: every truncated public key");
	for (i = 0; i < strlen(T2_PRIVATE_KEY) - 30; i += 7)
	{
		text = strndup(T2_PRIVATE_KEY, i);
		accepted += snap_sign_token(text, "c", "s", SNAP_ENCODING_BASE64, out, sizeof(out));
		free(text);
	}
	ok(accepted == 0, "refused: every truncated private key");
	for (i = 0; i < CHANGES; i++)
	{
		/*
		 * bytes of chance in every place that takes text; a changed key may still be one, but not the right
		 * one
		 */
		char noise[64];
		size_t j;

		for (j = 0; j < sizeof(noise) - 1; j++)
			noise[j] = (char) (random_next() % 256);
		noise[j] = '\0';
		accepted += snap_verify_symmetric("s", noise, noise, noise, noise, sizeof(noise), noise,
										  SNAP_ENCODING_HEX, noise);
		accepted += t2(noise, T2_SIGNATURE) + t2(T2_PUBLIC_KEY, noise);
		text = strdup(T2_PUBLIC_KEY);
		j = 60 + random_next() % 250; /* within the modulus */
		text[j] = text[j] == 'A' ? 'B' : 'A';
		accepted += t2(text, T2_SIGNATURE);
		free(text);
	}
	ok(accepted == 0, "refused: %d rounds of noise and of changed keys", CHANGES);
}

/* Writes a new key out as PEM; private or public. */
static char *
key_text(EVP_PKEY *key, bool private, const char *pass_phrase)
{
	BIO *sink = BIO_new(BIO_s_mem());
	char *data;
	char *text;
	long len;

	if (private)
		PEM_write_bio_PKCS8PrivateKey(sink, key, pass_phrase == NULL ? NULL : EVP_aes_128_cbc(), pass_phrase,
									  pass_phrase == NULL ? 0 : (int) strlen(pass_phrase), NULL, NULL);
	else
		PEM_write_bio_PUBKEY(sink, key);
	len = BIO_get_mem_data(sink, &data);
	text = strndup(data, (size_t) len);
	BIO_free(sink);
	EVP_PKEY_free(key);
	return text;
}

/* An RSA key that is bound to the other padding. */
static EVP_PKEY *
rsa_pss_key(void)
{
	EVP_PKEY_CTX *context = EVP_PKEY_CTX_new_from_name(NULL, "RSA-PSS", NULL);
	EVP_PKEY *key = NULL;

	EVP_PKEY_keygen_init(context);
	EVP_PKEY_CTX_set_rsa_keygen_bits(context, 2048);
	EVP_PKEY_keygen(context, &key);
	EVP_PKEY_CTX_free(context);
	return key;
}

static bool
signs(const char *private_key)
{
	return snap_sign_token(private_key, T2_CLIENT_ID, T2_TIMESTAMP, SNAP_ENCODING_BASE64, out, sizeof(out));
}

static void
keys(void)
{
	char *text = malloc(4096);
	const char *begin = strchr(T2_PRIVATE_KEY, '\n') + 1;

	snprintf(text, 4096, "-----BEGIN PUBLIC KEY-----\n%s\n-----END PUBLIC KEY-----\n", T2_PUBLIC_KEY);
	ok(t2(text, T2_SIGNATURE), "key: public, PEM in one line");
	snprintf(text, 4096, "%.100s\r\n  %s\n", T2_PUBLIC_KEY, &T2_PUBLIC_KEY[100]);
	ok(t2(text, T2_SIGNATURE), "key: public, bare, over lines");
	snprintf(text, 4096, "%s%s", T2_PUBLIC_KEY, "AAAAAAAA");
	ok(!t2(text, T2_SIGNATURE), "key: public with more behind it is refused");
	snprintf(text, 4096, "%.*s", (int) (strstr(begin, "-----END") - begin), begin);
	ok(signs(text) && strcmp(out, T2_SIGNATURE) == 0, "key: private, bare");
	snprintf(text, 4096, "\r\n%s\r\n", T2_PRIVATE_KEY);
	ok(signs(text) && strcmp(out, T2_SIGNATURE) == 0, "key: private, PEM within blank lines");
	free(text);
	ok(!signs(NULL) && !signs("") && !signs("no key") && !signs("-----BEGIN PRIVATE KEY-----"),
	   "key: none is refused");
	ok(!signs(T2_PUBLIC_KEY) && !t2(T2_PRIVATE_KEY, T2_SIGNATURE), "key: the wrong half is refused");

	text = malloc(SNAP_KEY_MAX + 2);
	memset(text, ' ', SNAP_KEY_MAX + 1);
	text[SNAP_KEY_MAX + 1] = '\0';
	memcpy(text, T2_PUBLIC_KEY, strlen(T2_PUBLIC_KEY));
	ok(!t2(text, T2_SIGNATURE), "key: one beyond its limit is refused");
	text[SNAP_KEY_MAX] = '\0';
	ok(t2(text, T2_SIGNATURE), "key: one at its limit is not");
	free(text);

	text = key_text(EVP_RSA_gen(1024), true, NULL);
	ok(!signs(text), "key: RSA of 1024 bits is refused");
	free(text);
	text = key_text(EVP_RSA_gen(2048), true, "secret");
	ok(!signs(text), "key: an encrypted one is refused, and no pass phrase asked for");
	free(text);
	text = key_text(EVP_EC_gen("P-256"), true, NULL);
	ok(!signs(text), "key: an elliptic curve is refused");
	free(text);
	text = key_text(rsa_pss_key(), true, NULL);
	ok(!signs(text), "key: RSA for PSS padding alone is refused");
	free(text);
	text = key_text(EVP_EC_gen("P-256"), false, NULL);
	ok(!t2(text, T2_SIGNATURE), "key: a public elliptic curve is refused");
	free(text);
}

void
test_verify(void)
{
	other_requests();
	spellings();
	changed();
	hostile();
	ERR_clear_error(); /* nothing but our own from here on */
	keys();
	ok(ERR_peek_error() == 0, "verify: the error queue of OpenSSL is as before");
}
