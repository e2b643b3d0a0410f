/*
 * ending.h: what is recorded of a payout's end, and its digest.
 * The trigger of a payout (move.c) enters; SQL asks payout.ending_digest.
 */
#ifndef PAYOUT_ENDING_H
#define PAYOUT_ENDING_H

#include "payout_row.h"

/*
 * The digest (bytea) of what this version says: of a payout that is at its end or in dispute how it came there, of one whose
 * token waits for a store the token, over its salt. NULL for others, and where the salt was erased.
 */
extern bytea *ending_digest(const PayoutRow *row);

/* Whether one version may follow the other while the state stays. */
extern bool ending_may_follow(const PayoutRow *old, const PayoutRow *new);

/* Whether an end without the bank's number gets it. */
extern bool ending_is_numbered(const PayoutRow *old, const PayoutRow *new);

#endif /* PAYOUT_ENDING_H */
