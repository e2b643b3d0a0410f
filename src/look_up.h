/*
 * look_up.h: a token and its payout found by the digits that a store presents, without a trace.
 * The calls of stores enter, after their try was counted.
 */
#ifndef PAYOUT_LOOK_UP_H
#define PAYOUT_LOOK_UP_H

#include "payout_row.h"
#include "token.h"

typedef struct FoundToken
{
	bool is_there; /* else nothing below counts */
	Datum merchant_id;
	Datum txid;
	int token_no;
	Datum digest;
	TimestampTz valid_until;
	bool is_replaced;
	PayoutRow payout;
} FoundToken;

/*
 * The token, replaced ones included, and its payout, as they are committed now. Whatever there is, the same relations and
 * indexes are searched, in the same number of searches. See peek.h.
 */
extern void look_up_token(const TokenDigests *digests, FoundToken *found);

/* The token of a payout by its number, which must be there; without the payout. */
extern void look_up_number(Datum merchant_id, Datum txid, int token_no, FoundToken *found);

/* The payout as it is committed now; false where there is none. */
extern bool look_up_payout(Datum merchant_id, Datum txid, PayoutRow *payout);

#endif /* PAYOUT_LOOK_UP_H */
