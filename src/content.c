/*
 * content.c: the digest of a payout's content, which the first row of its history holds, and the salt over which it is
 * taken.
 *
 * The history is chained, so who changes an account number, a name or an amount afterwards, triggers off, is found: the
 * digest no longer fits (payout.verify). The salt stands beside the content and not in the history. History rows are never
 * changed, and a digest without a salt could be undone by trying all account numbers; once the salt is erased with the
 * personal data, nothing can be told from the digest.
 *
 * What is digested, the salt first: each column that is not null as its number, one byte, the length of its bytes, four bytes,
 * most significant first, and its bytes. A column that is added at the end, null in the rows that are there, changes no
 * digest. Texts are in UTF-8, so that a dump gives the same in a database of another encoding; bytes that have no
 * equivalent, which no registration lets pass, are as they are. Amounts are text with two decimals, times are microseconds
 * since 2000, eight bytes, options are the text of the jsonb.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "compat.h"
#include "content.h"
#include "fmgr.h"
#include "lib/stringinfo.h"
#include "libpq/pqformat.h"
#include "sha256.h"
#include "utf8.h"
#include "utils/builtins.h"
#include "utils/jsonb.h"
#include "utils/numeric.h"

PG_FUNCTION_INFO_V1(payout_new_salt);
PG_FUNCTION_INFO_V1(payout_content_digest);

#define SALT_LEN 16

/* Their places are their numbers, from 1: they stay as they are. */
static const PayoutColumn digested[] = {
	MERCHANT_ID, TXID,		KIND,		  REFERENCE_NO,		 METHOD,	 AMOUNT,		   CURRENCY,
	CHANNEL_ID,	 BANK_CODE, WIRE_CODE,	  SOURCE_ACCOUNT_NO, ACCOUNT_NO, BENEFICIARY_NAME, BENEFICIARY_PHONE,
	DESCRIPTION, OPTIONS,	SCHEDULED_AT, REGISTERED_AT};

/*
 * Random bytes of this session that no salt has had yet. They are drawn for many salts at once: to ask for a few costs as
 * much as to ask for many.
 */
static unsigned char pool[64 * SALT_LEN];
static int pool_left = 0;

static void
fill_pool(void)
{
	if (!pg_strong_random(pool, sizeof(pool)))
		ereport(ERROR, (errcode(ERRCODE_INTERNAL_ERROR), errmsg("could not generate random values")));
	pool_left = sizeof(pool);
}

void
content_salts(int count, Datum *salts)
{
	char *room = palloc(count * (VARHDRSZ + SALT_LEN));

	for (int i = 0; i < count; i++)
	{
		bytea *salt = (bytea *) (room + i * (VARHDRSZ + SALT_LEN));

		if (pool_left == 0)
			fill_pool();
		pool_left -= SALT_LEN;
		SET_VARSIZE(salt, VARHDRSZ + SALT_LEN);
		memcpy(VARDATA(salt), pool + pool_left, SALT_LEN);
		explicit_bzero(pool + pool_left, SALT_LEN);
		salts[i] = PointerGetDatum(salt);
	}
}

/* The head of a value, which has len bytes; there is room for all of them. */
static void
write_head(StringInfo buffer, int number, int len)
{
	enlargeStringInfo(buffer, 1 + 4 + len);
	pq_writeint8(buffer, number);
	pq_writeint32(buffer, len);
}

static void
write_bytes(StringInfo buffer, int number, const char *bytes, int len)
{
	write_head(buffer, number, len);
	appendBinaryStringInfoNT(buffer, bytes, len);
}

static void
write_text(StringInfo buffer, int number, const text *value)
{
	const char *bytes = VARDATA_ANY(value);
	int len = VARSIZE_ANY_EXHDR(value);
	int utf8_len;
	const char *utf8 = utf8_of(bytes, len, &utf8_len);

	if (utf8 != NULL)
		write_bytes(buffer, number, utf8, utf8_len);
	else
		write_bytes(buffer, number, bytes, len);
}

static void
write_value(StringInfo buffer, int number, PayoutColumn column, Datum value)
{
	char *text_form;

	switch (column)
	{
		case AMOUNT:
			text_form = DatumGetCString(DirectFunctionCall1(numeric_out, value));
			write_bytes(buffer, number, text_form, strlen(text_form));
			break;
		case OPTIONS:
			text_form = JsonbToCString(NULL, &DatumGetJsonbP(value)->root, VARSIZE(DatumGetJsonbP(value)));
			write_text(buffer, number, cstring_to_text(text_form));
			break;
		case SCHEDULED_AT:
		case REGISTERED_AT:
			write_head(buffer, number, sizeof(int64));
			pq_writeint64(buffer, DatumGetInt64(value));
			break;
		default:
			write_text(buffer, number, DatumGetTextPP(value));
	}
}

bytea *
content_digest(const PayoutRow *row)
{
	bytea *digest = palloc(VARHDRSZ + SHA256_LEN);
	StringInfoData buffer;
	bytea *salt;

	if (payout_row_is_null(row, CONTENT_SALT))
		return NULL;
	salt = DatumGetByteaPP(payout_row_get(row, CONTENT_SALT));
	initStringInfo(&buffer);
	for (int i = 0; i < (int) lengthof(digested); i++)
	{
		if (!payout_row_is_null(row, digested[i]))
			write_value(&buffer, i + 1, digested[i], payout_row_get(row, digested[i]));
	}
	SET_VARSIZE(digest, VARHDRSZ + SHA256_LEN);
	sha256_salted(VARDATA_ANY(salt), VARSIZE_ANY_EXHDR(salt), buffer.data, buffer.len,
				  (unsigned char *) VARDATA(digest));
	pfree(buffer.data);
	return digest;
}

/* new_salt(): see schema.sql. */
Datum
payout_new_salt(PG_FUNCTION_ARGS)
{
	Datum salt;

	content_salts(1, &salt);
	PG_RETURN_DATUM(salt);
}

/* content_digest(p): the digest of a payout's content, null where it has no salt. */
Datum
payout_content_digest(PG_FUNCTION_ARGS)
{
	PayoutRow row;
	bytea *digest;

	payout_row_read_value(&row, PG_GETARG_DATUM(0));
	digest = content_digest(&row);
	ReleaseTupleDesc(row.desc);
	if (digest == NULL)
		PG_RETURN_NULL();
	PG_RETURN_BYTEA_P(digest);
}
