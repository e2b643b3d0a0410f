/*
 * history.c: rows of payout.payout_event, which say what happened to a payout, when, and by whom. The payout's row counts
 * them.
 */
#include "postgres.h"

#include "access/xact.h"
#include "caller.h"
#include "content.h"
#include "history.h"
#include "row.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"

static Datum
text_or_null(const char *value)
{
	return value != NULL ? CStringGetTextDatum(value) : (Datum) 0;
}

void
history_make(HistoryRow *row, Datum merchant_id, Datum txid, int event_no, const char *event,
			 const char *from_state, const char *to_state, const char *reason)
{
	/* Before the moment, which then is later than the transaction's number: chain.sql relies on it. */
	(void) GetCurrentTransactionId();
	*row = (HistoryRow){
		{merchant_id, txid, Int32GetDatum(event_no), TimestampTzGetDatum(GetCurrentTimestamp()),
		 text_or_null(event), text_or_null(from_state), CStringGetTextDatum(to_state),
		 CStringGetTextDatum(caller_name()), text_or_null(reason), (Datum) 0},
		{false, false, false, false, event == NULL, from_state == NULL, false, false, reason == NULL, true}};
}

void
history_make_first(HistoryRow *row, const PayoutRow *payout)
{
	bytea *digest = content_digest(payout);

	Assert(digest != NULL);
	history_make(row, payout_row_get(payout, MERCHANT_ID), payout_row_get(payout, TXID), 1, NULL, NULL,
				 "registered", NULL);
	history_add_digest(row, digest);
}

void
history_add_digest(HistoryRow *row, bytea *digest)
{
	row->values[HISTORY_COLUMNS - 1] = PointerGetDatum(digest);
	row->nulls[HISTORY_COLUMNS - 1] = digest == NULL;
}

void
history_write(HistoryRow *row)
{
	row_insert("payout_event", HISTORY_COLUMNS, row->values, row->nulls);
}
