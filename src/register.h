/*
 * register.h: the plain registration, in C: what is in order, and the row that it writes.
 * entry.c enters for one payout, register_batch.c for the parts.
 */
#ifndef PAYOUT_REGISTER_H
#define PAYOUT_REGISTER_H

#include "datatype/timestamp.h"
#include "fmgr.h"
#include "payout_row.h"

/* What the merchant says of an online payout at once without options. */
typedef struct Registration
{
	Datum merchant_id;
	Datum reference_no;
	Datum amount; /* two decimals */
	Datum bank_code;
	Datum account_no;
	Datum beneficiary_name;
	Datum beneficiary_phone; /* 0: none */
	Datum description;		 /* 0: none */
} Registration;

/* The way of payouts to a bank, as bank and channel are now. */
typedef struct Route
{
	Datum channel_id;
	Datum wire_code; /* what this channel calls this bank */
	Datum source_account_no;
	int64 check_us; /* how long the account is asked for */
} Route;

/*
 * payout.register for a disbursement that is plain (online, at once, without options), new and within the rules, called
 * as the owner: true and the row of payout.payout. Otherwise false, nothing is done, and do_register answers.
 */
extern bool register_at_once(FunctionCallInfo fcinfo, Datum *result);

/* Whether the texts have the form that do_register asks for. */
extern bool register_is_in_order(const Registration *wanted);

/* The way to an enabled bank; false when there is none, or its channel names no account to be debited. */
extern bool register_find_route(Datum bank_code, Route *route);

/* Fills an empty row with what is the same for all plain registrations. */
extern void register_fill_common(PayoutRow *row);

/* And with this one's own, a new TXID included. */
extern void register_fill(PayoutRow *row, const Registration *wanted, const Route *route, Datum salt,
						  TimestampTz now);

#endif /* PAYOUT_REGISTER_H */
