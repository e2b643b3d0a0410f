/*
 * snap_sign.c
 *		Signatures and timestamps of SNAP BI, as pure functions.
 *
 * Owns the rules of what is signed and how it is written. Must never know of PostgreSQL, of a connection or
 * of the clock, and must never keep, log or leave behind a secret: every buffer that held one is cleansed.
 * Called by the SNAP protocol, outbound and inbound, and by the unit tests.
 */
#include "snap_sign.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <openssl/bio.h>
#include <openssl/crypto.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/pem.h>
#include <openssl/sha.h>
#include <openssl/x509.h>

#define HMAC_SIZE 64 /* bytes of an HMAC-SHA512 */
#define RSA_BITS_MIN 2048
#define RSA_BITS_MAX 8192
#define SIGNATURE_BYTES_MAX (RSA_BITS_MAX / 8)

#define JAKARTA_OFFSET_S (7 * 3600)
#define UNIX_SECONDS_MAX 253402275599LL /* 9999-12-31T23:59:59+07:00 */

/* where a minifier stands between two parts of a body */
typedef struct Minifier
{
	bool in_string;
	bool escaped;
} Minifier;

/* Minifies one part of a body; out has room for len bytes and may be in itself. Returns the bytes written. */
static size_t
minify_part(Minifier *state, const char *in, size_t len, char *out)
{
	size_t used = 0;
	size_t i;

	for (i = 0; i < len; i++)
	{
		char c = in[i];

		if (state->in_string)
		{
			if (state->escaped)
				state->escaped = false;
			else if (c == '\\')
				state->escaped = true;
			else if (c == '"')
				state->in_string = false;
		}
		else if (c == ' ' || c == '\t' || c == '\n' || c == '\r')
			continue;
		else if (c == '"')
			state->in_string = true;
		out[used++] = c;
	}
	return used;
}

size_t
snap_minify(const char *body, size_t body_len, char *out)
{
	Minifier state = {false, false};

	return minify_part(&state, body, body_len, out);
}

static void
hex_encode(const unsigned char *bytes, size_t len, char *out)
{
	static const char digits[] = "0123456789abcdef";
	size_t i;

	for (i = 0; i < len; i++)
	{
		out[2 * i] = digits[bytes[i] >> 4];
		out[2 * i + 1] = digits[bytes[i] & 15];
	}
	out[2 * len] = '\0';
}

bool
snap_body_hash(const char *body, size_t body_len, char hash[SNAP_HASH_SIZE])
{
	EVP_MD_CTX *context = EVP_MD_CTX_new();
	Minifier state = {false, false};
	unsigned char digest[SHA256_DIGEST_LENGTH];
	char part[4096];
	size_t done = 0;
	bool ok;

	hash[0] = '\0';
	ERR_set_mark();
	ok = context != NULL && EVP_DigestInit_ex(context, EVP_sha256(), NULL) == 1;
	while (ok && done < body_len)
	{
		size_t len = body_len - done < sizeof(part) ? body_len - done : sizeof(part);

		ok = EVP_DigestUpdate(context, part, minify_part(&state, body + done, len, part)) == 1;
		done += len;
	}
	ok = ok && EVP_DigestFinal_ex(context, digest, NULL) == 1;
	if (ok)
		hex_encode(digest, sizeof(digest), hash);
	EVP_MD_CTX_free(context);
	ERR_pop_to_mark();
	OPENSSL_cleanse(part, sizeof(part));
	return ok;
}

/*
 * Is this a text of 1 to max bytes without control characters, fit for one line of a header or of a signed
 * text?
 */
static bool
text_ok(const char *text, size_t max)
{
	size_t i;

	if (text == NULL || text[0] == '\0')
		return false;
	for (i = 0; text[i] != '\0'; i++)
		if (i == max || (unsigned char) text[i] < ' ' || text[i] == 127)
			return false;
	return true;
}

char *
snap_string_to_sign(const char *method, const char *path, const char *token, const char *body,
					size_t body_len, const char *timestamp)
{
	char hash[SNAP_HASH_SIZE];
	char *text;
	char *c;
	size_t size;

	if (!text_ok(method, SNAP_METHOD_MAX) || !text_ok(path, SNAP_PATH_MAX) || path[0] != '/' ||
		(token != NULL && !text_ok(token, SNAP_TOKEN_MAX)) || !text_ok(timestamp, SNAP_TIMESTAMP_MAX) ||
		(body == NULL && body_len > 0) || !snap_body_hash(body, body_len, hash))
		return NULL;

	size = strlen(method) + strlen(path) + (token == NULL ? 0 : strlen(token)) + strlen(hash) +
		   strlen(timestamp) + 5;
	text = malloc(size);
	if (text == NULL)
		return NULL;
	snprintf(text, size, "%s:%s:%s%s%s:%s", method, path, token == NULL ? "" : token,
			 token == NULL ? "" : ":", hash, timestamp);
	/* by hand: toupper() would follow the locale */
	for (c = text; *c != ':'; c++)
		if (*c >= 'a' && *c <= 'z')
			*c += 'A' - 'a';
	return text;
}

/* Frees a text that may hold a secret. */
static void
text_free(char *text)
{
	if (text != NULL)
		OPENSSL_cleanse(text, strlen(text));
	free(text);
}

/* client_id|timestamp, malloc'ed; NULL on failure. */
static char *
token_text(const char *client_id, const char *timestamp)
{
	size_t size;
	char *text;

	if (!text_ok(client_id, SNAP_CLIENT_ID_MAX) || !text_ok(timestamp, SNAP_TIMESTAMP_MAX))
		return NULL;
	size = strlen(client_id) + strlen(timestamp) + 2;
	text = malloc(size);
	if (text != NULL)
		snprintf(text, size, "%s|%s", client_id, timestamp);
	return text;
}

/* Writes a signature out as text. */
static bool
signature_encode(const unsigned char *bytes, size_t len, SnapEncoding encoding, char *out, size_t out_size)
{
	size_t needed = encoding == SNAP_ENCODING_HEX ? 2 * len + 1 : (len + 2) / 3 * 4 + 1;

	if (out_size < needed)
		return false;
	if (encoding == SNAP_ENCODING_HEX)
		hex_encode(bytes, len, out);
	else
		EVP_EncodeBlock((unsigned char *) out, bytes, (int) len);
	return true;
}

/*
 * Reads a signature's text into at most SIGNATURE_BYTES_MAX bytes; returns the length, or -1. OpenSSL's
 * base64 is lenient: only a text that is written back the same is taken, so that a signature has one
 * spelling.
 */
static int
signature_decode(const char *text, SnapEncoding encoding, unsigned char *out)
{
	unsigned char bytes[SNAP_SIGNATURE_SIZE];
	char again[SNAP_SIGNATURE_SIZE];
	size_t text_len;
	size_t hex_len;
	int len;

	if (!text_ok(text, SNAP_SIGNATURE_SIZE - 1))
		return -1;
	text_len = strlen(text);
	if (encoding == SNAP_ENCODING_HEX)
		return OPENSSL_hexstr2buf_ex(out, SIGNATURE_BYTES_MAX, &hex_len, text, '\0') == 1 ? (int) hex_len
																						  : -1;

	len = EVP_DecodeBlock(bytes, (const unsigned char *) text, (int) text_len);
	if (len <= 0)
		return -1;
	/* padding is counted in: a group has three bytes, less one for each '=' */
	len -= (text[text_len - 1] == '=') + (text_len > 1 && text[text_len - 2] == '=');
	if (len <= 0 || len > SIGNATURE_BYTES_MAX ||
		!signature_encode(bytes, len, encoding, again, sizeof(again)) || strcmp(again, text) != 0)
		return -1;
	memcpy(out, bytes, len);
	return len;
}

/* The type 1 code of a request, in bytes. An empty secret would let anybody sign: refused. */
static bool
hmac_request(const char *client_secret, const char *method, const char *path, const char *token,
			 const char *body, size_t body_len, const char *timestamp, unsigned char code[HMAC_SIZE])
{
	char *text;
	unsigned int len = 0;
	bool ok = false;

	if (client_secret == NULL || client_secret[0] == '\0' ||
		strnlen(client_secret, SNAP_SECRET_MAX + 1) > SNAP_SECRET_MAX || token == NULL)
		return false;
	text = snap_string_to_sign(method, path, token, body, body_len, timestamp);
	if (text != NULL)
	{
		ERR_set_mark();
		ok = HMAC(EVP_sha512(), client_secret, (int) strlen(client_secret), (const unsigned char *) text,
				  strlen(text), code, &len) != NULL &&
			 len == HMAC_SIZE;
		ERR_pop_to_mark();
	}
	text_free(text);
	return ok;
}

bool
snap_sign_symmetric(const char *client_secret, const char *method, const char *path, const char *token,
					const char *body, size_t body_len, const char *timestamp, SnapEncoding encoding,
					char *out, size_t out_size)
{
	unsigned char code[HMAC_SIZE];
	bool ok;

	if (out_size > 0)
		out[0] = '\0';
	ok = hmac_request(client_secret, method, path, token, body, body_len, timestamp, code) &&
		 signature_encode(code, sizeof(code), encoding, out, out_size);
	OPENSSL_cleanse(code, sizeof(code));
	return ok;
}

bool
snap_verify_symmetric(const char *client_secret, const char *method, const char *path, const char *token,
					  const char *body, size_t body_len, const char *timestamp, SnapEncoding encoding,
					  const char *signature)
{
	unsigned char code[HMAC_SIZE];
	unsigned char given[SIGNATURE_BYTES_MAX];
	bool ok;

	ok = signature_decode(signature, encoding, given) == HMAC_SIZE &&
		 hmac_request(client_secret, method, path, token, body, body_len, timestamp, code) &&
		 CRYPTO_memcmp(given, code, HMAC_SIZE) == 0;
	/* the right code of a forged request is as good as the secret, for that request */
	OPENSSL_cleanse(code, sizeof(code));
	return ok;
}

/* An encrypted key is a mistake of the operator's: never ask a terminal for its pass phrase. */
static int
no_pass_phrase(char *buffer, int size, int writing, void *data)
{
	(void) buffer;
	(void) size;
	(void) writing;
	(void) data;
	return -1;
}

/* A key given as the bare base64 of its DER; line breaks and blanks are ignored. */
static EVP_PKEY *
key_read_bare(const char *text, size_t len, bool private)
{
	unsigned char *der = malloc(2 * len);
	unsigned char *compact = der + len;
	const unsigned char *end = der;
	EVP_PKEY *key = NULL;
	size_t used = 0;
	size_t i;
	int der_len;

	if (der == NULL)
		return NULL;
	for (i = 0; i < len; i++)
		if (strchr(" \t\r\n", text[i]) == NULL)
			compact[used++] = (unsigned char) text[i];
	der_len = EVP_DecodeBlock(der, compact, (int) used);
	if (der_len > 0)
		key = private ? d2i_AutoPrivateKey(NULL, &end, der_len) : d2i_PUBKEY(NULL, &end, der_len);
	/* up to two bytes of padding are counted in */
	if (key != NULL && der + der_len - end > 2)
	{
		EVP_PKEY_free(key);
		key = NULL;
	}
	OPENSSL_cleanse(der, 2 * len);
	free(der);
	return key;
}

/* An RSA key of decent size from its text; NULL when it is none. The caller frees it. */
static EVP_PKEY *
key_read(const char *text, bool private)
{
	size_t len = text == NULL ? 0 : strnlen(text, SNAP_KEY_MAX + 1);
	EVP_PKEY *key = NULL;

	if (len == 0 || len > SNAP_KEY_MAX)
		return NULL;
	if (strstr(text, "-----BEGIN ") == NULL)
		key = key_read_bare(text, len, private);
	else
	{
		BIO *source = BIO_new_mem_buf(text, (int) len);

		if (source == NULL)
			return NULL;
		key = private ? PEM_read_bio_PrivateKey(source, NULL, no_pass_phrase, NULL)
					  : PEM_read_bio_PUBKEY(source, NULL, no_pass_phrase, NULL);
		BIO_free(source);
	}
	if (key != NULL && (EVP_PKEY_get_base_id(key) != EVP_PKEY_RSA || EVP_PKEY_get_bits(key) < RSA_BITS_MIN ||
						EVP_PKEY_get_bits(key) > RSA_BITS_MAX))
	{
		EVP_PKEY_free(key);
		key = NULL;
	}
	return key;
}

/* Signs a text by RSA; takes the text over and frees it. A text of NULL is a failure. */
static bool
rsa_sign(const char *private_key, char *text, SnapEncoding encoding, char *out, size_t out_size)
{
	unsigned char signature[SIGNATURE_BYTES_MAX];
	size_t len = sizeof(signature);
	EVP_MD_CTX *context = NULL;
	EVP_PKEY *key = NULL;
	bool ok;

	if (out_size > 0)
		out[0] = '\0';
	if (text == NULL)
		return false;
	ERR_set_mark();
	ok = (key = key_read(private_key, true)) != NULL && (context = EVP_MD_CTX_new()) != NULL &&
		 EVP_DigestSignInit(context, NULL, EVP_sha256(), NULL, key) == 1 &&
		 EVP_DigestSign(context, signature, &len, (const unsigned char *) text, strlen(text)) == 1 &&
		 signature_encode(signature, len, encoding, out, out_size);
	EVP_MD_CTX_free(context);
	EVP_PKEY_free(key); /* cleanses the key's numbers */
	ERR_pop_to_mark();
	text_free(text);
	return ok;
}

/* Verifies a text by RSA; takes the text over and frees it. A text of NULL is a failure. */
static bool
rsa_verify(const char *public_key, char *text, SnapEncoding encoding, const char *signature)
{
	unsigned char given[SIGNATURE_BYTES_MAX];
	int len = signature_decode(signature, encoding, given);
	EVP_MD_CTX *context = NULL;
	EVP_PKEY *key = NULL;
	bool ok;

	ERR_set_mark();
	ok = text != NULL && len > 0 && (key = key_read(public_key, false)) != NULL &&
		 len == EVP_PKEY_get_size(key) && (context = EVP_MD_CTX_new()) != NULL &&
		 EVP_DigestVerifyInit(context, NULL, EVP_sha256(), NULL, key) == 1 &&
		 EVP_DigestVerify(context, given, (size_t) len, (const unsigned char *) text, strlen(text)) == 1;
	EVP_MD_CTX_free(context);
	EVP_PKEY_free(key);
	ERR_pop_to_mark();
	text_free(text);
	return ok;
}

bool
snap_sign_token(const char *private_key, const char *client_id, const char *timestamp, SnapEncoding encoding,
				char *out, size_t out_size)
{
	return rsa_sign(private_key, token_text(client_id, timestamp), encoding, out, out_size);
}

bool
snap_verify_token(const char *public_key, const char *client_id, const char *timestamp, SnapEncoding encoding,
				  const char *signature)
{
	return rsa_verify(public_key, token_text(client_id, timestamp), encoding, signature);
}

bool
snap_sign_asymmetric(const char *private_key, const char *method, const char *path, const char *body,
					 size_t body_len, const char *timestamp, SnapEncoding encoding, char *out,
					 size_t out_size)
{
	return rsa_sign(private_key, snap_string_to_sign(method, path, NULL, body, body_len, timestamp), encoding,
					out, out_size);
}

bool
snap_verify_asymmetric(const char *public_key, const char *method, const char *path, const char *body,
					   size_t body_len, const char *timestamp, SnapEncoding encoding, const char *signature)
{
	return rsa_verify(public_key, snap_string_to_sign(method, path, NULL, body, body_len, timestamp),
					  encoding, signature);
}

bool
snap_timestamp(long long unix_seconds, int milliseconds, char *out, size_t out_size)
{
	time_t local_s;
	struct tm part;
	char fraction[8] = "";

	if (out_size > 0)
		out[0] = '\0';
	if (unix_seconds < 0 || unix_seconds > UNIX_SECONDS_MAX || milliseconds < -1 || milliseconds > 999 ||
		out_size < (size_t) SNAP_TIMESTAMP_SIZE - (milliseconds < 0 ? 4 : 0))
		return false;

	/* Jakarta has one fixed offset and no summer time: no zone database needed */
	local_s = (time_t) (unix_seconds + JAKARTA_OFFSET_S);
	if (gmtime_r(&local_s, &part) == NULL)
		return false;
	if (milliseconds >= 0)
		snprintf(fraction, sizeof(fraction), ".%03d", milliseconds % 1000);
	snprintf(out, out_size, "%04d-%02d-%02dT%02d:%02d:%02d%s+07:00", part.tm_year + 1900, part.tm_mon + 1,
			 part.tm_mday, part.tm_hour, part.tm_min, part.tm_sec, fraction);
	return true;
}

/* Does a text begin like the pattern, where '0' stands for any digit? */
static bool
looks_like(const char *text, const char *pattern)
{
	for (; *pattern != '\0'; text++, pattern++)
		if (*pattern == '0' ? *text < '0' || *text > '9' : *text != *pattern)
			return false;
	return true;
}

/* The number that two digits make. */
static int
two_digits(const char *text)
{
	return (text[0] - '0') * 10 + (text[1] - '0');
}

bool
snap_parse_timestamp(const char *text, long long *unix_seconds)
{
	struct tm part = {0};
	const char *zone;
	int day;
	long long seconds;

	if (text == NULL || !looks_like(text, "0000-00-00T00:00:00"))
		return false;
	zone = text + (looks_like(text + 19, ".000") ? 23 : 19);

	part.tm_year = two_digits(text) * 100 + two_digits(text + 2) - 1900;
	part.tm_mon = two_digits(text + 5) - 1;
	part.tm_mday = day = two_digits(text + 8);
	part.tm_hour = two_digits(text + 11);
	part.tm_min = two_digits(text + 14);
	part.tm_sec = two_digits(text + 17);
	if (part.tm_mon < 0 || part.tm_mon > 11 || part.tm_hour > 23 || part.tm_min > 59 || part.tm_sec > 59)
		return false;
	seconds = timegm(&part);
	/* a day that the month does not have was carried over into another */
	if (part.tm_mday != day)
		return false;

	if (strcmp(zone, "+07:00") == 0)
		seconds -= JAKARTA_OFFSET_S;
	else if (strcmp(zone, "Z") != 0)
		return false;
	if (seconds < 0)
		return false;
	*unix_seconds = seconds;
	return true;
}
