/*
 * ledger.h: the only way money moves: take, give, and the transfers that say why.
 * Steps enter through the SQL functions ledger_*; C code through these two. Nobody else writes balance or transfer.
 */
#ifndef PAYOUT_LEDGER_H
#define PAYOUT_LEDGER_H

#include "utils/numeric.h"

/*
 * Takes amount from what the merchant may still take, atomically: PY001 when it is too little. When counts_to_day,
 * count_amount is added to the total of the present Jakarta day: PY007 when that would pass daily_total_max (NULL: no
 * limit). An SPI connection must be open. Undone by (sub)transaction abort.
 */
extern void ledger_take(text *merchant_id, Datum amount, bool counts_to_day, Datum count_amount,
						const Datum *daily_total_max);

/* Gives amount to the merchant; counts once the transaction commits. An SPI connection must be open. */
extern void ledger_give(text *merchant_id, Datum amount);

#endif /* PAYOUT_LEDGER_H */
