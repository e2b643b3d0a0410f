/*
 * secret.c: stored secrets are sealed with AES-256-GCM under a key derived from payout.secret_file.
 *
 * Form: version (1 byte), nonce (12), ciphertext, tag (16). Owner and name are authenticated with it, so a sealed
 * value moved to another owner's row does not open. A dump of the database alone opens nothing.
 */
#include "postgres.h"

#include <openssl/crypto.h>
#include <openssl/evp.h>

#include "compat.h"
#include "fmgr.h"
#include "secret.h"
#include "secret_file.h"
#include "utils/builtins.h"

PG_FUNCTION_INFO_V1(payout_seal);

#define SEAL_VERSION 1
#define NONCE_LEN 12
#define TAG_LEN 16
#define SEAL_OVERHEAD (1 + NONCE_LEN + TAG_LEN)
#define SEAL_PURPOSE "payout stored secret 1"

/* Encrypts or decrypts len bytes; the tag is written or checked. */
static bool
gcm(bool encrypt, const char *owner, const char *name, const uint8 *nonce, const uint8 *in, int len,
	uint8 *out, uint8 *tag)
{
	uint8 key[SECRET_KEY_LEN];
	char *label = psprintf("%s/%s", owner, name);
	EVP_CIPHER_CTX *ctx;
	int done;
	bool ok;

	secret_file_key(SEAL_PURPOSE, key);
	ctx = EVP_CIPHER_CTX_new();
	ok = ctx != NULL && EVP_CipherInit_ex(ctx, EVP_aes_256_gcm(), NULL, key, nonce, encrypt) == 1 &&
		 EVP_CipherUpdate(ctx, NULL, &done, (const uint8 *) label, (int) strlen(label)) == 1 &&
		 EVP_CipherUpdate(ctx, out, &done, in, len) == 1 &&
		 (encrypt || EVP_CIPHER_CTX_ctrl(ctx, EVP_CTRL_GCM_SET_TAG, TAG_LEN, tag) == 1) &&
		 EVP_CipherFinal_ex(ctx, out + done, &done) == 1 &&
		 (!encrypt || EVP_CIPHER_CTX_ctrl(ctx, EVP_CTRL_GCM_GET_TAG, TAG_LEN, tag) == 1);
	EVP_CIPHER_CTX_free(ctx);
	OPENSSL_cleanse(key, sizeof(key));
	pfree(label);
	return ok;
}

/* seal(owner, name, value): see schema. Raises PY015 without payout.secret_file. */
Datum
payout_seal(PG_FUNCTION_ARGS)
{
	char *owner = text_to_cstring(PG_GETARG_TEXT_PP(0));
	char *name = text_to_cstring(PG_GETARG_TEXT_PP(1));
	text *value = PG_GETARG_TEXT_PP(2);
	int len = (int) VARSIZE_ANY_EXHDR(value);
	bytea *sealed = palloc0(VARHDRSZ + SEAL_OVERHEAD + len);
	uint8 *out = (uint8 *) VARDATA(sealed);

	SET_VARSIZE(sealed, VARHDRSZ + SEAL_OVERHEAD + len);
	out[0] = SEAL_VERSION;
	if (!pg_strong_random(out + 1, NONCE_LEN) ||
		!gcm(true, owner, name, out + 1, (const uint8 *) VARDATA_ANY(value), len, out + 1 + NONCE_LEN,
			 out + 1 + NONCE_LEN + len))
		ereport(ERROR, (errcode(ERRCODE_INTERNAL_ERROR), errmsg("could not seal the secret")));
	PG_RETURN_BYTEA_P(sealed);
}

char *
secret_open(const char *owner, const char *name, const bytea *sealed)
{
	const uint8 *in = (const uint8 *) VARDATA_ANY(sealed);
	int len = (int) VARSIZE_ANY_EXHDR(sealed) - SEAL_OVERHEAD;
	uint8 tag[TAG_LEN];
	char *value;

	if (len < 0 || in[0] != SEAL_VERSION)
		return NULL;
	value = palloc0(len + 1);
	memcpy(tag, in + 1 + NONCE_LEN + len, TAG_LEN);
	if (gcm(false, owner, name, in + 1, in + 1 + NONCE_LEN, len, (uint8 *) value, tag))
		return value;
	OPENSSL_cleanse(value, len);
	pfree(value);
	return NULL;
}
