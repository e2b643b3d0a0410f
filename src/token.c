/*
 * token.c: cashout tokens: made of strong random digits, known to the database by their digest alone.
 *
 * A token is the merchant's slot (4 digits, so that a router finds the database), random digits, and a check digit. The
 * digest is HMAC-SHA256 under a key derived from payout.secret_file, which is in no database and no dump: who has all
 * digests still has to ask this server for each guess, and token_tries.c counts those. The look-up goes by the digest:
 * nobody without the key can choose digests, so how far a search in the index gets tells nothing about tokens; the
 * found one is compared in constant time all the same.
 *
 * The digits stay out of SQL as far as can be: the calling functions take the digest first, in an assignment, which no
 * plan and no log of statements shows.
 */
#include "postgres.h"

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>

#include "compat.h"
#include "errors.h"
#include "fmgr.h"
#include "secret_file.h"
#include "settings.h"
#include "token_form.h"
#include "txid.h"
#include "utils/builtins.h"

PG_FUNCTION_INFO_V1(payout_generate_token);
PG_FUNCTION_INFO_V1(payout_token_digest);
PG_FUNCTION_INFO_V1(payout_token_digest_old);
PG_FUNCTION_INFO_V1(payout_token_key_id);
PG_FUNCTION_INFO_V1(payout_token_matches);

#define SLOT_DIGITS 4
#define DIGEST_LEN 32
#define PEPPER_PURPOSE "payout cashout token 1"

/* A digit, each as likely as the others. Raises without entropy. */
static char
random_digit(void)
{
	uint8 byte;

	do
	{
		if (!pg_strong_random(&byte, sizeof(byte)))
			ereport(ERROR, (errcode(ERRCODE_INTERNAL_ERROR), errmsg("could not generate random values")));
	} while (byte >= 250);
	return (char) ('0' + byte % 10);
}

/* generate_token(merchant_id): payout.token_digits digits. */
Datum
payout_generate_token(PG_FUNCTION_ARGS)
{
	text *merchant_id = PG_GETARG_TEXT_PP(0);
	char token[TOKEN_DIGITS_MAX + 1];
	text *result;

	snprintf(token, sizeof(token), "%0*d", SLOT_DIGITS,
			 txid_slot(VARDATA_ANY(merchant_id), VARSIZE_ANY_EXHDR(merchant_id)));
	for (int i = SLOT_DIGITS; i < payout_token_digits - 1; i++)
		token[i] = random_digit();
	token[payout_token_digits - 1] = token_check_digit(token, payout_token_digits - 1);
	result = cstring_to_text_with_len(token, payout_token_digits);
	OPENSSL_cleanse(token, sizeof(token));
	PG_RETURN_TEXT_P(result);
}

/* The digest of a token under the key of a file; null for null and for what is not written as a token is. */
static Datum
token_digest(FunctionCallInfo fcinfo, SecretSource source)
{
	SecretKey key;
	char token[TOKEN_DIGITS_MAX + 1];
	bytea *digest = palloc0(VARHDRSZ + DIGEST_LEN);
	/* The key first: whether there is a file must not depend on what was typed. */
	bool has_key = secret_file_key(source, PEPPER_PURPOSE, &key);
	text *typed = PG_ARGISNULL(0) ? NULL : PG_GETARG_TEXT_PP(0);
	unsigned len = 0;
	bool ok;

	if (!has_key || typed == NULL || !token_read(VARDATA_ANY(typed), VARSIZE_ANY_EXHDR(typed), token))
	{
		OPENSSL_cleanse(&key, sizeof(key));
		PG_RETURN_NULL();
	}
	SET_VARSIZE(digest, VARHDRSZ + DIGEST_LEN);
	ok = HMAC(EVP_sha256(), key.key, sizeof(key.key), (const uint8 *) token, strlen(token),
			  (uint8 *) VARDATA(digest), &len) != NULL;
	OPENSSL_cleanse(&key, sizeof(key));
	OPENSSL_cleanse(token, sizeof(token));
	if (!ok || len != DIGEST_LEN)
		ereport(ERROR, (errcode(ERRCODE_INTERNAL_ERROR), errmsg("could not digest a token")));
	PG_RETURN_BYTEA_P(digest);
}

/* token_digest(token): see token.sql. PY015 without payout.secret_file. */
Datum
payout_token_digest(PG_FUNCTION_ARGS)
{
	return token_digest(fcinfo, SECRET_PRESENT);
}

/* token_digest_old(token): the same under payout.secret_file_old; null where that is not usable. */
Datum
payout_token_digest_old(PG_FUNCTION_ARGS)
{
	return token_digest(fcinfo, SECRET_OLD);
}

/* token_key_id(): the id of the key that token_digest uses. PY015 without payout.secret_file. */
Datum
payout_token_key_id(PG_FUNCTION_ARGS)
{
	PG_RETURN_BYTEA_P(secret_file_key_id(PEPPER_PURPOSE));
}

/* token_matches(stored, presented): whether two digests are the same, in time that does not depend on where they differ. */
Datum
payout_token_matches(PG_FUNCTION_ARGS)
{
	bytea *stored = PG_GETARG_BYTEA_PP(0);
	bytea *presented = PG_GETARG_BYTEA_PP(1);

	PG_RETURN_BOOL(VARSIZE_ANY_EXHDR(stored) == DIGEST_LEN && VARSIZE_ANY_EXHDR(presented) == DIGEST_LEN &&
				   CRYPTO_memcmp(VARDATA_ANY(stored), VARDATA_ANY(presented), DIGEST_LEN) == 0);
}
