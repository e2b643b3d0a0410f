/*
 * ledger.h: the only way money moves: take, give, and the transfers that say why.
 * Steps enter through the SQL functions ledger_*; C code through these. Nobody else writes balance or transfer.
 */
#ifndef PAYOUT_LEDGER_H
#define PAYOUT_LEDGER_H

#include "executor/spi.h"
#include "row_set.h"

/*
 * Takes amount from what the merchant may still take, atomically: PY001 when it is too little. It may count to the
 * total of the day. Undone by (sub)transaction abort.
 */
extern void ledger_take(text *merchant_id, Datum amount, bool counts_to_day);

/*
 * Gives amount to the merchant; counts once the transaction commits. PY007 when the balance would pass its bound: LEDGER_MAX
 * for money that is new, LEDGER_SUM_MAX for what comes back.
 */
extern void ledger_give(text *merchant_id, Datum amount, bool is_new);

/*
 * Transfers of a payout, each with what it changes in the balance. Amounts and fees are numeric with two decimals.
 * deduct: available to in_transit, and to fee when the fee is not zero; PY001, or PY007 when the total of the day would
 * pass daily_total_max (NULL: no bound). settle: in_transit to settlement/... refund: back to available.
 */
extern void ledger_deduct(Datum merchant_id, Datum txid, Datum amount, Datum fee,
						  const Datum *daily_total_max);
extern void ledger_settle(Datum merchant_id, Datum txid, Datum amount, const char *settlement);
extern void ledger_refund(Datum merchant_id, Datum txid, Datum amount, Datum fee);

typedef enum LedgerResult
{
	LEDGER_TAKEN,
	LEDGER_TOO_LITTLE, /* PY001 */
	LEDGER_DAY_FULL,   /* PY007 */
	LEDGER_SINGLY	   /* there is no escrow: take each by itself */
} LedgerResult;

/* One payout of a set, in hundredths. */
typedef struct LedgerShare
{
	int64 amount;
	int64 fee;
	LedgerResult result; /* out */
} LedgerShare;

/*
 * Takes for many payouts of a merchant at once, in their order those that fit, and writes one delta. The caller adds the
 * transfers of each that fitted to a set of payout.transfer (as deduct would write them), and has them all written.
 */
extern void ledger_take_set(Datum merchant_id, int count, LedgerShare *shares, const Datum *daily_total_max);

extern void ledger_add_taken(RowSet *transfers, Datum merchant_id, Datum txid, Datum amount, Datum fee);
/* Inserts a set of rows of payout.transfer, which has so many columns. */
#define LEDGER_TRANSFER_COLUMNS 11
extern void ledger_insert_set(const RowSet *transfers);

/* An amount (numeric, at most two decimals) in hundredths. */
extern int64 ledger_to_cents(Datum amount);

/* plan_run of a statement that changes the ledger's tables, but not by hand: the triggers of hand.c leave it alone. */
extern bool ledger_is_writing(void);
extern uint64 ledger_write(SPIPlanPtr *plan, const char *sql, int nargs, Oid *types, Datum *values,
						   const char *nulls);

#endif /* PAYOUT_LEDGER_H */
