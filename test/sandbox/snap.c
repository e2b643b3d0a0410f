/*
 * snap.c: signatures of SNAP BI and of Standard Webhooks over OpenSSL.
 * It must never share code with the extension, whose signatures it judges. Called by bank_auth.c, notice.c and webhook.c.
 */
#include "snap.h"

#include <openssl/crypto.h>
#include <openssl/hmac.h>
#include <openssl/sha.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "util.h"

/* Constant time for equal lengths; the length itself is no secret. */
bool
same_text(const char *a, const char *b)
{
	size_t size = strlen(a);

	return size == strlen(b) && CRYPTO_memcmp(a, b, size) == 0;
}

/* Drops blanks outside of strings; everything else stays byte for byte. */
static char *
minify(const char *body, size_t size, size_t *out_size)
{
	char *out = xmalloc(size + 1);
	size_t used = 0;
	size_t i;
	bool in_string = false;

	for (i = 0; i < size; i++)
	{
		char c = body[i];

		if (!in_string && (c == ' ' || c == '\t' || c == '\r' || c == '\n'))
			continue;
		out[used++] = c;
		if (in_string && c == '\\' && i + 1 < size)
			out[used++] = body[++i];
		else if (c == '"')
			in_string = !in_string;
	}
	out[used] = '\0';
	*out_size = used;
	return out;
}

static char *
body_hash(const char *body, size_t size)
{
	unsigned char digest[SHA256_DIGEST_LENGTH];
	size_t small_size;
	char *small = minify(body == NULL ? "" : body, body == NULL ? 0 : size, &small_size);

	SHA256((const unsigned char *) small, small_size, digest);
	free(small);
	return hex_encode(digest, sizeof(digest));
}

char *
snap_sign(const char *secret, const char *method, const char *path, const char *token, const char *body,
		  size_t body_size, const char *timestamp, bool hex)
{
	char *hash = body_hash(body, body_size);
	size_t room = strlen(method) + strlen(path) + strlen(token) + strlen(hash) + strlen(timestamp) + 5;
	char *text = xmalloc(room);
	unsigned char digest[EVP_MAX_MD_SIZE];
	unsigned int digest_size = 0;

	snprintf(text, room, "%s:%s:%s:%s:%s", method, path, token, hash, timestamp);
	HMAC(EVP_sha512(), secret, (int) strlen(secret), (const unsigned char *) text, strlen(text), digest,
		 &digest_size);
	free(hash);
	free(text);
	return hex ? hex_encode(digest, digest_size) : base64_encode(digest, digest_size);
}

static char *
token_text(const char *client_id, const char *timestamp)
{
	size_t room = strlen(client_id) + strlen(timestamp) + 2;
	char *text = xmalloc(room);

	snprintf(text, room, "%s|%s", client_id, timestamp);
	return text;
}

char *
snap_sign_token(EVP_PKEY *key, const char *client_id, const char *timestamp, bool hex)
{
	char *text = token_text(client_id, timestamp);
	EVP_MD_CTX *context = EVP_MD_CTX_new();
	unsigned char signature[1024];
	size_t size = sizeof(signature);
	char *result = NULL;

	if (context != NULL && EVP_DigestSignInit(context, NULL, EVP_sha256(), NULL, key) == 1 &&
		EVP_DigestSign(context, signature, &size, (const unsigned char *) text, strlen(text)) == 1)
		result = hex ? hex_encode(signature, size) : base64_encode(signature, size);
	EVP_MD_CTX_free(context);
	free(text);
	return result == NULL ? xstrdup("") : result;
}

static unsigned char *
hex_decode(const char *text, size_t *size)
{
	size_t length = strlen(text);
	unsigned char *out = xmalloc(length / 2 + 1);
	size_t i;

	if (length % 2 != 0 || strspn(text, "0123456789abcdefABCDEF") != length)
	{
		free(out);
		return NULL;
	}
	for (i = 0; i < length / 2; i++)
	{
		char pair[3] = {text[i * 2], text[i * 2 + 1], '\0'};

		out[i] = (unsigned char) strtoul(pair, NULL, 16);
	}
	*size = length / 2;
	return out;
}

bool
snap_verify_token(EVP_PKEY *key, const char *client_id, const char *timestamp, const char *signature,
				  bool hex)
{
	size_t size = 0;
	unsigned char *bytes = hex ? hex_decode(signature, &size) : base64_decode(signature, &size);
	char *text = token_text(client_id, timestamp);
	EVP_MD_CTX *context = EVP_MD_CTX_new();
	bool good;

	good = bytes != NULL && key != NULL && context != NULL &&
		   EVP_DigestVerifyInit(context, NULL, EVP_sha256(), NULL, key) == 1 &&
		   EVP_DigestVerify(context, bytes, size, (const unsigned char *) text, strlen(text)) == 1;
	EVP_MD_CTX_free(context);
	free(text);
	free(bytes);
	return good;
}

static char *
webhook_sign(const char *secret, const char *id, const char *timestamp, const char *body, size_t body_size)
{
	Buffer text = {NULL, 0, 0};
	unsigned char digest[EVP_MAX_MD_SIZE];
	unsigned int digest_size = 0;
	unsigned char *key = NULL;
	size_t key_size = 0;

	if (strncmp(secret, "whsec_", 6) == 0)
		key = base64_decode(secret + 6, &key_size);
	if (key == NULL)
	{
		key = (unsigned char *) xstrdup(secret);
		key_size = strlen(secret);
	}
	buffer_add(&text, id, strlen(id));
	buffer_add(&text, ".", 1);
	buffer_add(&text, timestamp, strlen(timestamp));
	buffer_add(&text, ".", 1);
	buffer_add(&text, body, body_size);
	HMAC(EVP_sha256(), key, (int) key_size, (unsigned char *) text.data, text.size, digest, &digest_size);
	buffer_free(&text);
	free(key);
	return base64_encode(digest, digest_size);
}

bool
webhook_verify(const char *secret, const char *id, const char *timestamp, const char *body, size_t body_size,
			   const char *signatures)
{
	char *expected = webhook_sign(secret, id, timestamp, body, body_size);
	char *list = xstrdup(signatures);
	char *rest = NULL;
	char *one;
	bool good = false;

	for (one = strtok_r(list, " ", &rest); one != NULL; one = strtok_r(NULL, " ", &rest))
		if (strncmp(one, "v1,", 3) == 0 && same_text(one + 3, expected))
			good = true;
	free(list);
	free(expected);
	return good;
}
