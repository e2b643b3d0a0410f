/*
 * look_up.c: the one look at tokens that a store can cause. It has the same shape for every token: unknown, used, replaced,
 * expired, reserved elsewhere, good. It locks, counts, writes and waits for nothing (peek.c), and no SQL runs.
 */
#include "postgres.h"

#include "executor/spi.h"
#include "look_up.h"
#include "peek.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"

static void
read_token(const PeekRow *row, FoundToken *found)
{
	bool isnull;

	found->is_there = true;
	found->merchant_id = peek_column(row, "merchant_id", &isnull);
	found->txid = peek_column(row, "txid", &isnull);
	found->token_no = DatumGetInt32(peek_column(row, "token_no", &isnull));
	found->digest = peek_column(row, "digest", &isnull);
	found->valid_until = DatumGetTimestampTz(peek_column(row, "valid_until", &isnull));
	(void) peek_column(row, "replaced_at", &isnull);
	found->is_replaced = !isnull;
}

bool
look_up_payout(Datum merchant_id, Datum txid, PayoutRow *payout)
{
	ScanKeyData keys[2];
	PeekRow row;

	peek_text_key(&keys[0], 1, merchant_id);
	peek_text_key(&keys[1], 2, txid);
	peek_row("payout", "payout_pkey", 2, keys, &row);
	if (row.tuple != NULL)
		payout_row_read(payout, row.desc, row.tuple);
	return row.tuple != NULL;
}

static void
find_digest(bytea *digest, PeekRow *row)
{
	ScanKeyData key;

	peek_bytes_key(&key, 1, PointerGetDatum(digest));
	peek_row("cashout_token", "cashout_token_digest", 1, &key, row);
}

void
look_up_token(const TokenDigests *digests, FoundToken *found)
{
	Datum nobody = CStringGetTextDatum("");
	PeekRow row;
	PeekRow old_row = {0};
	bool has_payout;

	memset(found, 0, sizeof(FoundToken));
	find_digest(digests->present, &row);
	if (digests->old != NULL)
		find_digest(digests->old, &old_row);
	if (row.tuple == NULL && old_row.tuple != NULL)
		row = old_row;
	if (row.tuple != NULL)
		read_token(&row, found);
	has_payout = look_up_payout(found->is_there ? found->merchant_id : nobody,
								found->is_there ? found->txid : nobody, &found->payout);
	found->is_there = found->is_there && has_payout;
}

void
look_up_number(Datum merchant_id, Datum txid, int token_no, FoundToken *found)
{
	ScanKeyData keys[3];
	PeekRow row;

	memset(found, 0, sizeof(FoundToken));
	peek_text_key(&keys[0], 1, merchant_id);
	peek_text_key(&keys[1], 2, txid);
	peek_integer_key(&keys[2], 3, token_no);
	peek_row("cashout_token", "cashout_token_pkey", 3, keys, &row);
	if (row.tuple == NULL)
		elog(ERROR, "a token of payout %s is missing", TextDatumGetCString(txid));
	read_token(&row, found);
}
