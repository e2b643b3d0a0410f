/*
 * secret.c: stored secrets are sealed with AES-256-GCM under a key derived from payout.secret_file.
 *
 * Form: version (1 byte), id of the key (8), nonce (12), ciphertext, tag (16). Version, key id, owner and name are
 * authenticated with it, so a sealed value moved to another owner's row does not open. A dump of the database alone opens
 * nothing. While payout.secret_file_old is set, what was sealed with that file opens too; sealed is with the present one.
 *
 * Nonces are random: 96 bits suffice for some 2^32 values under one key, and a platform has thousands.
 */
#include "postgres.h"

#include <openssl/crypto.h>
#include <openssl/evp.h>

#include "catalog/pg_type.h"
#include "clock.h"
#include "compat.h"
#include "executor/spi.h"
#include "fmgr.h"
#include "secret.h"
#include "secret_file.h"
#include "utils/array.h"
#include "utils/builtins.h"

PG_FUNCTION_INFO_V1(payout_seal);
PG_FUNCTION_INFO_V1(payout_seal_again);
PG_FUNCTION_INFO_V1(payout_seal_key_id);
PG_FUNCTION_INFO_V1(payout_is_sealed);

#define SEAL_VERSION 2
#define NONCE_LEN 12
#define TAG_LEN 16
#define SEAL_PURPOSE "payout stored secret 1"
#define DROP_INTERVAL_MS 60000

/* What comes before the ciphertext. */
typedef struct SealHead
{
	uint8 version;
	uint8 key_id[SECRET_KEY_ID_LEN];
	uint8 nonce[NONCE_LEN];
} SealHead;

#define SEAL_OVERHEAD ((int) sizeof(SealHead) + TAG_LEN)

StaticAssertDecl(sizeof(SealHead) == 1 + SECRET_KEY_ID_LEN + NONCE_LEN, "SealHead has no gaps");

/* Encrypts or decrypts len bytes; the tag is written or checked. */
static bool
gcm(bool encrypt, const SecretKey *key, const SealHead *head, const char *owner, const char *name,
	const uint8 *in, int len, uint8 *out, uint8 *tag)
{
	char *label = psprintf("%s/%s", owner, name);
	EVP_CIPHER_CTX *ctx = EVP_CIPHER_CTX_new();
	int done = 0;
	bool ok;

	ok = ctx != NULL &&
		 EVP_CipherInit_ex(ctx, EVP_aes_256_gcm(), NULL, key->key, head->nonce, encrypt) == 1 &&
		 EVP_CipherUpdate(ctx, NULL, &done, (const uint8 *) head, offsetof(SealHead, nonce)) == 1 &&
		 EVP_CipherUpdate(ctx, NULL, &done, (const uint8 *) label, (int) strlen(label)) == 1 &&
		 EVP_CipherUpdate(ctx, out, &done, in, len) == 1 &&
		 (encrypt || EVP_CIPHER_CTX_ctrl(ctx, EVP_CTRL_GCM_SET_TAG, TAG_LEN, tag) == 1) &&
		 EVP_CipherFinal_ex(ctx, out + done, &done) == 1 &&
		 (!encrypt || EVP_CIPHER_CTX_ctrl(ctx, EVP_CTRL_GCM_GET_TAG, TAG_LEN, tag) == 1);
	EVP_CIPHER_CTX_free(ctx);
	pfree(label);
	return ok;
}

/* The key with this id, of the present file or the old one. */
static bool
find_key(const uint8 id[SECRET_KEY_ID_LEN], SecretKey *key)
{
	for (SecretSource source = SECRET_PRESENT; source <= SECRET_OLD; source++)
		if (secret_file_key(source, SEAL_PURPOSE, key) && memcmp(key->id, id, SECRET_KEY_ID_LEN) == 0)
			return true;
	OPENSSL_cleanse(key, sizeof(*key));
	return false;
}

static bytea *
seal(const char *owner, const char *name, const char *value, int len)
{
	bytea *sealed = palloc0(VARHDRSZ + SEAL_OVERHEAD + len);
	SealHead *head = (SealHead *) VARDATA(sealed);
	uint8 *out = (uint8 *) (head + 1);
	SecretKey key;
	bool ok;

	SET_VARSIZE(sealed, VARHDRSZ + SEAL_OVERHEAD + len);
	secret_file_key(SECRET_PRESENT, SEAL_PURPOSE, &key);
	head->version = SEAL_VERSION;
	memcpy(head->key_id, key.id, SECRET_KEY_ID_LEN);
	ok = pg_strong_random(head->nonce, NONCE_LEN) &&
		 gcm(true, &key, head, owner, name, (const uint8 *) value, len, out, out + len);
	OPENSSL_cleanse(&key, sizeof(key));
	if (!ok)
		ereport(ERROR, (errcode(ERRCODE_INTERNAL_ERROR), errmsg("could not seal the secret")));
	return sealed;
}

char *
secret_open(const char *owner, const char *name, const bytea *sealed)
{
	const SealHead *head = (const SealHead *) VARDATA_ANY(sealed);
	const uint8 *in = (const uint8 *) (head + 1);
	int len = (int) VARSIZE_ANY_EXHDR(sealed) - SEAL_OVERHEAD;
	uint8 tag[TAG_LEN];
	SecretKey key;
	char *value;
	bool ok;

	if (len < 0 || head->version != SEAL_VERSION || !find_key(head->key_id, &key))
		return NULL;
	value = palloc0(len + 1);
	memcpy(tag, in + len, TAG_LEN);
	ok = gcm(false, &key, head, owner, name, in, len, (uint8 *) value, tag);
	OPENSSL_cleanse(&key, sizeof(key));
	if (ok)
		return value;
	OPENSSL_cleanse(value, len);
	pfree(value);
	return NULL;
}

List *
secret_open_all(const char *owner, const char *name, Datum sealed)
{
	List *values = NIL;
	Datum *elements;
	int count;

	deconstruct_array(DatumGetArrayTypeP(sealed), BYTEAOID, -1, false, TYPALIGN_INT, &elements, NULL, &count);
	for (int i = 0; i < count; i++)
	{
		char *value = secret_open(owner, name, DatumGetByteaPP(elements[i]));

		if (value != NULL)
			values = lappend(values, value);
	}
	return values;
}

List *
secret_values(const char *owner, const char *name)
{
	Oid types[] = {TEXTOID, TEXTOID};
	Datum arguments[] = {CStringGetTextDatum(owner), CStringGetTextDatum(name)};
	MemoryContext caller = CurrentMemoryContext;
	MemoryContext old;
	List *values;
	Datum sealed;
	bool isnull;

	SPI_connect();
	if (SPI_execute_with_args("select payout.valid_secrets($1, $2)", 2, types, arguments, NULL, true, 1) !=
			SPI_OK_SELECT ||
		SPI_processed != 1)
		elog(ERROR, "could not read a secret");
	sealed = SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1, &isnull);
	old = MemoryContextSwitchTo(caller);
	values = isnull ? NIL : secret_open_all(owner, name, sealed);
	MemoryContextSwitchTo(old);
	SPI_finish();
	return values;
}

void
secret_wipe(List *values)
{
	ListCell *cell;

	foreach(cell, values)
		OPENSSL_cleanse(lfirst(cell), strlen(lfirst(cell)));
	list_free_deep(values);
}

void
secret_drop_old(void)
{
	static int64 next_ms = 0;
	int64 now_ms = payout_unix_ms();

	if (now_ms < next_ms && next_ms - now_ms <= DROP_INTERVAL_MS) /* unless the clock was set back */
		return;
	next_ms = now_ms + DROP_INTERVAL_MS;
	if (SPI_execute("select payout.drop_old_secrets()", false, 0) != SPI_OK_SELECT)
		elog(ERROR, "could not drop old secrets");
}

/* seal(owner, name, value): see secret.sql. PY015 without payout.secret_file. */
Datum
payout_seal(PG_FUNCTION_ARGS)
{
	text *value = PG_GETARG_TEXT_PP(2);

	PG_RETURN_BYTEA_P(seal(text_to_cstring(PG_GETARG_TEXT_PP(0)), text_to_cstring(PG_GETARG_TEXT_PP(1)),
						   VARDATA_ANY(value), (int) VARSIZE_ANY_EXHDR(value)));
}

/* seal_again(owner, name, sealed): see secret.sql. */
Datum
payout_seal_again(PG_FUNCTION_ARGS)
{
	char *owner = text_to_cstring(PG_GETARG_TEXT_PP(0));
	char *name = text_to_cstring(PG_GETARG_TEXT_PP(1));
	char *value = secret_open(owner, name, PG_GETARG_BYTEA_PP(2));
	bytea *sealed;

	if (value == NULL)
		PG_RETURN_NULL();
	sealed = seal(owner, name, value, (int) strlen(value));
	OPENSSL_cleanse(value, strlen(value));
	PG_RETURN_BYTEA_P(sealed);
}

/* seal_key_id(): see secret.sql. */
Datum
payout_seal_key_id(PG_FUNCTION_ARGS)
{
	PG_RETURN_BYTEA_P(secret_file_key_id(SEAL_PURPOSE));
}

/* is_sealed(owner, name, sealed, value): see secret.sql. In time that does not depend on where values differ. */
Datum
payout_is_sealed(PG_FUNCTION_ARGS)
{
	char *value = secret_open(text_to_cstring(PG_GETARG_TEXT_PP(0)), text_to_cstring(PG_GETARG_TEXT_PP(1)),
							  PG_GETARG_BYTEA_PP(2));
	text *given = PG_GETARG_TEXT_PP(3);
	size_t len = VARSIZE_ANY_EXHDR(given);
	bool same;

	if (value == NULL)
		PG_RETURN_NULL();
	same = strlen(value) == len && CRYPTO_memcmp(value, VARDATA_ANY(given), len) == 0;
	OPENSSL_cleanse(value, strlen(value));
	PG_RETURN_BOOL(same);
}
