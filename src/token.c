/*
 * token.c: cashout tokens: made of strong random digits, known to the database by their digest alone.
 *
 * A token is the merchant's slot (4 digits, so that a router finds the database), random digits, and a check digit. The
 * digest is HMAC-SHA256 under a key derived from payout.secret_file, which is in no database and no dump: who has all
 * digests still has to ask this server for each guess, and token_tries.c counts those. The look-up goes by the digest:
 * nobody without the key can choose digests, so how far a search in the index gets tells nothing about tokens; those of a
 * reservation are compared in constant time.
 *
 * The digits stay out of SQL as far as can be: the calls of stores are C throughout, and what issues a token takes its
 * digest first, in an assignment, which no plan and no log of statements shows.
 */
#include "postgres.h"

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>

#include "access/detoast.h"
#include "compat.h"
#include "errors.h"
#include "fmgr.h"
#include "secret_file.h"
#include "settings.h"
#include "token.h"
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
#define TYPED_BYTES_MAX 1000 /* nobody types so much; it is not unpacked to see */
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

static void
digest_under(const SecretKey *key, const char *digits, bytea *digest)
{
	unsigned len = 0;

	SET_VARSIZE(digest, VARHDRSZ + DIGEST_LEN);
	if (HMAC(EVP_sha256(), key->key, sizeof(key->key), (const uint8 *) digits, strlen(digits),
			 (uint8 *) VARDATA(digest), &len) == NULL ||
		len != DIGEST_LEN)
		ereport(ERROR, (errcode(ERRCODE_INTERNAL_ERROR), errmsg("could not digest a token")));
}

/* The digest under the key of a file, or NULL where the old file is not usable. */
static bytea *
digest_of(SecretSource source, const char *digits)
{
	SecretKey key;
	bytea *digest;

	if (!secret_file_key(source, PEPPER_PURPOSE, &key))
		return NULL;
	digest = palloc0(VARHDRSZ + DIGEST_LEN);
	digest_under(&key, digits, digest);
	OPENSSL_cleanse(&key, sizeof(key));
	return digest;
}

bool
token_read_argument(FunctionCallInfo fcinfo, int number, char digits[TOKEN_DIGITS_MAX + 1])
{
	text *typed;

	if (PG_ARGISNULL(number) || toast_raw_datum_size(PG_GETARG_DATUM(number)) > TYPED_BYTES_MAX)
		return false;
	typed = PG_GETARG_TEXT_PP(number);
	return token_read(VARDATA_ANY(typed), VARSIZE_ANY_EXHDR(typed), digits);
}

void
token_digest(char digits[TOKEN_DIGITS_MAX + 1], TokenDigests *digests)
{
	digests->present = digest_of(SECRET_PRESENT, digits);
	digests->old = digest_of(SECRET_OLD, digits);
	OPENSSL_cleanse(digits, TOKEN_DIGITS_MAX + 1);
}

static bool
is_same(const bytea *stored, const bytea *presented)
{
	return VARSIZE_ANY_EXHDR(stored) == DIGEST_LEN && VARSIZE_ANY_EXHDR(presented) == DIGEST_LEN &&
		   CRYPTO_memcmp(VARDATA_ANY(stored), VARDATA_ANY(presented), DIGEST_LEN) == 0;
}

bool
token_is_of(const TokenDigests *digests, Datum stored)
{
	bytea *digest = DatumGetByteaPP(stored);

	return is_same(digest, digests->present) || (digests->old != NULL && is_same(digest, digests->old));
}

static Datum
digest_argument(FunctionCallInfo fcinfo, SecretSource source)
{
	char digits[TOKEN_DIGITS_MAX + 1];
	bytea *digest = NULL;

	if (token_read_argument(fcinfo, 0, digits))
		digest = digest_of(source, digits);
	OPENSSL_cleanse(digits, sizeof(digits));
	if (digest == NULL)
		PG_RETURN_NULL();
	PG_RETURN_BYTEA_P(digest);
}

/* token_digest(token): see token.sql. PY015 without payout.secret_file. */
Datum
payout_token_digest(PG_FUNCTION_ARGS)
{
	return digest_argument(fcinfo, SECRET_PRESENT);
}

/* token_digest_old(token): the same under payout.secret_file_old; null where that is not usable. */
Datum
payout_token_digest_old(PG_FUNCTION_ARGS)
{
	return digest_argument(fcinfo, SECRET_OLD);
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
	PG_RETURN_BOOL(is_same(PG_GETARG_BYTEA_PP(0), PG_GETARG_BYTEA_PP(1)));
}
