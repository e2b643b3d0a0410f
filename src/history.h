/*
 * history.h: rows of payout.payout_event.
 * The steps in C that change a payout enter.
 */
#ifndef PAYOUT_HISTORY_H
#define PAYOUT_HISTORY_H

#include "payout_row.h"

#define HISTORY_COLUMNS 10

/* A row that is not written yet. */
typedef struct HistoryRow
{
	Datum values[HISTORY_COLUMNS];
	bool nulls[HISTORY_COLUMNS];
} HistoryRow;

/*
 * Makes row event_no of a payout, by the present caller, now. The event that merchants may be told of, the state before
 * and the reason may be NULL. The payout's row is locked or new.
 */
extern void history_make(HistoryRow *row, Datum merchant_id, Datum txid, int event_no, const char *event,
						 const char *from_state, const char *to_state, const char *reason);

/* Makes the first row of a payout that is new, which holds the digest of its content. */
extern void history_make_first(HistoryRow *row, const PayoutRow *payout);

/* The row says what the payout is after it; digest: see ending.h, NULL for none. */
extern void history_add_digest(HistoryRow *row, bytea *digest);

extern void history_write(HistoryRow *row);

#endif /* PAYOUT_HISTORY_H */
