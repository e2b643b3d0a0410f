/*
 * ending.c: what is recorded of a payout's end, by which others reconcile: when, why, under which number of the bank, at which
 * store; and of a cashout that waits for a store its token.
 *
 * An end changes with its state alone, and each change of state writes a history row. That row holds a digest over the
 * payout's salt (see content.c, why) of what the row says then. The history is chained, so payout.verify finds what was changed
 * afterwards, triggers off. Only the bank's number may come later, once, with a history row of its own (move.c).
 *
 * Digested is as chain.c does it, the columns numbered as they stand here: they stay as they are, and new ones are added at the
 * end. The work is for payouts that end, and small beside the row that is written: one SHA-256 of some 200 bytes.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "chain.h"
#include "ending.h"
#include "executor/spi.h"
#include "fmgr.h"
#include "row.h"

PG_FUNCTION_INFO_V1(payout_ending_digest);

static const PayoutColumn digested[] = {
	STATE,		   FEE,			 APPROVED_AT,  FINAL_AT,		  DISPUTED_AT,
	ACCOUNT_CHECK, ACCOUNT_NAME, BATCH_ID,	   BANK_REFERENCE_NO, RESPONSE_CODE,
	REASON,		   CVS_CODE,	 CVS_REFERENCE};

static const char *const token_columns[] = {"token_no", "digest", "key_id", "issued_at"};

static bool
is_ended(const PayoutRow *row)
{
	return !payout_row_is_null(row, FINAL_AT) || !payout_row_is_null(row, DISPUTED_AT);
}

static bytea *
salt_of(const PayoutRow *row)
{
	return DatumGetByteaPP(payout_row_get(row, CONTENT_SALT));
}

static bytea *
digest_end(const PayoutRow *row)
{
	Oid types[lengthof(digested)];
	Datum values[lengthof(digested)];
	bool nulls[lengthof(digested)];

	for (int i = 0; i < (int) lengthof(digested); i++)
	{
		types[i] = payout_row_type(row, digested[i]);
		values[i] = payout_row_get(row, digested[i]);
		nulls[i] = payout_row_is_null(row, digested[i]);
	}
	return chain_values(salt_of(row), lengthof(digested), types, values, nulls);
}

/* The token that is not replaced; NULL where there is none. */
static bytea *
digest_token(const PayoutRow *row)
{
	Datum key[] = {payout_row_get(row, MERCHANT_ID), payout_row_get(row, TXID)};
	Oid types[lengthof(token_columns)];
	Datum values[lengthof(token_columns)];
	bool nulls[lengthof(token_columns)];
	TupleDesc desc;
	HeapTuple token = row_fetch("cashout_token", "cashout_token_current", 2, key, &desc);

	if (token == NULL)
		return NULL;
	for (int i = 0; i < (int) lengthof(token_columns); i++)
	{
		int number = SPI_fnumber(desc, token_columns[i]);

		types[i] = SPI_gettypeid(desc, number);
		values[i] = SPI_getbinval(token, desc, number, &nulls[i]);
	}
	return chain_values(salt_of(row), lengthof(token_columns), types, values, nulls);
}

bytea *
ending_digest(const PayoutRow *row)
{
	if (payout_row_is_null(row, CONTENT_SALT))
		return NULL;
	if (is_ended(row))
		return digest_end(row);
	return payout_row_is(row, STATE, "token_issued") ? digest_token(row) : NULL;
}

bool
ending_is_numbered(const PayoutRow *old, const PayoutRow *new)
{
	return is_ended(old) && payout_row_is_null(old, BANK_REFERENCE_NO) &&
		   !payout_row_is_null(new, BANK_REFERENCE_NO);
}

/* The name that the bank gave an account stands with the check that asked for it. */
static bool
is_named(const PayoutRow *row)
{
	return !payout_row_is(row, ACCOUNT_CHECK, "pending") && !payout_row_is(row, ACCOUNT_CHECK, "unavailable");
}

bool
ending_may_follow(const PayoutRow *old, const PayoutRow *new)
{
	if (is_ended(old))
	{
		for (int i = 0; i < (int) lengthof(digested); i++)
			if (!payout_row_same(old, new, digested[i]) &&
				!(digested[i] == BANK_REFERENCE_NO && ending_is_numbered(old, new)))
				return false;
		return true;
	}
	return !is_ended(new) && payout_row_same(old, new, FEE) &&
		   (payout_row_is_null(old, APPROVED_AT) || payout_row_same(old, new, APPROVED_AT)) &&
		   (!is_named(old) || payout_row_same(old, new, ACCOUNT_NAME) ||
			!payout_row_same(old, new, ACCOUNT_CHECK));
}

/* ending_digest(p): see payout.sql. */
Datum
payout_ending_digest(PG_FUNCTION_ARGS)
{
	PayoutRow row;
	bytea *digest;

	payout_row_read_value(&row, PG_GETARG_DATUM(0));
	digest = ending_digest(&row);
	ReleaseTupleDesc(row.desc);
	if (digest == NULL)
		PG_RETURN_NULL();
	PG_RETURN_BYTEA_P(digest);
}
