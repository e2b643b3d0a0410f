/*
 * redeem.h: the word of a store on a payout that it has reserved or paid, and what it moves.
 * cashout.c enters; settlement.sql, whose lists are the store's word as well, through payout.confirm_payout and reverse_payout.
 */
#ifndef PAYOUT_REDEEM_H
#define PAYOUT_REDEEM_H

#include "payout_row.h"
#include "redemption.h"

/* A token of a payout. */
typedef struct TokenId
{
	Datum merchant_id;
	Datum txid;
	int token_no;
} TokenId;

/* What the store is told. */
typedef struct RedeemAnswer
{
	PayoutRow payout;
	Datum state;
	TimestampTz at;
} RedeemAnswer;

/*
 * Locks a payout and reads it as it is then. A serialization failure where the transaction's snapshot does not see it.
 * Its columns stay where they are until the transaction ends.
 */
extern HeapTuple redeem_lock(Datum merchant_id, Datum txid, PayoutRow *payout);

/* Whether a store holds a payout under this reference. */
extern bool redeem_is_held(const PayoutRow *payout, const Reference *reference);

/* Reserves a locked payout, as redeem_lock gave it, for a store. */
extern void redeem_reserve(HeapTuple old, PayoutRow *payout, const Reference *reference, TimestampTz until);

/*
 * The cash has left the till. While the money is in transit the payout is paid; where it was given back, disputed; what is
 * at its end already, or with a person, stays there. PY002 where the reference is another token's.
 */
extern void redeem_confirm(const TokenId *token, const Reference *reference, const char *reason,
						   RedeemAnswer *answer);

/*
 * The store has not paid, or has taken the cash back. Its own reservation is freed; a payout that it has been paid for becomes
 * disputed, never refunded by itself; any other payout stays as it is. PY002 as above.
 */
extern void redeem_reverse(const TokenId *token, const Reference *reference, const char *reason,
						   RedeemAnswer *answer);

/* Raises PY002: the reference is another token's. */
extern void redeem_refuse_reference(void) pg_attribute_noreturn();

#endif /* PAYOUT_REDEEM_H */
