/*
 * policy.h: what a merchant's row says of its payouts: fees, the bound of a day, whether it is told, whether it controls
 * who approves.
 * The steps of a payout enter; SQL asks payout.fee_of.
 */
#ifndef PAYOUT_POLICY_H
#define PAYOUT_POLICY_H

#include "utils/jsonb.h"

typedef struct Policy
{
	Jsonb *options; /* NULL when there is no such merchant */
	bool is_active;
	bool is_told; /* it has a URL for notifications */
} Policy;

/* Reads the merchant's row. */
extern void policy_read(Datum merchant_id, Policy *policy);

/* The fee (numeric, two decimals) of an amount by a method: flat plus basis points. PY007 where it is no amount. */
extern Datum policy_fee(const Policy *policy, const char *method, Datum amount);

/* The same, however large. */
extern Datum policy_fee_of(const Policy *policy, const char *method, Datum amount);

/* Whether the bounds of a method allow an amount. */
extern bool policy_allows(const Policy *policy, const char *method, Datum amount);

/* Whether its options restrict who approves (maker_checker.sql). */
extern bool policy_is_controlled(const Policy *policy);

/* Bound of a day's total (numeric), or NULL for none. */
extern Datum *policy_daily_total(const Policy *policy);

#endif /* PAYOUT_POLICY_H */
