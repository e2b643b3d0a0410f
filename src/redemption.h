/*
 * redemption.h: what a store did under one of its references: a row of payout.redemption.
 * The calls of stores enter.
 */
#ifndef PAYOUT_REDEMPTION_H
#define PAYOUT_REDEMPTION_H

#include "datatype/timestamp.h"
#include "postgres_ext.h"

/* A store's reference: texts. */
typedef struct Reference
{
	Datum cvs_code;
	Datum cvs_reference;
} Reference;

typedef struct Redemption
{
	bool is_there; /* else nothing below counts */
	bool
		has_payout; /* else the reversal of something that never arrived: merchant_id, txid and token_no are null */
	Datum merchant_id;
	Datum txid;
	int token_no;
	Datum digest;	/* 0: none */
	Datum terminal; /* 0: none */
	bool is_reserved;
	TimestampTz reserved_until;
	bool is_confirmed;
	TimestampTz confirmed_at;
	Datum confirm_state;
	bool is_reversed;
	TimestampTz reversed_at;
	Datum reverse_state;
} Redemption;

/*
 * What is committed, or was written by this transaction, under a reference. Where somebody else is about to write it, and
 * it is not there yet, *writer is that transaction (may be NULL).
 */
extern void redemption_find(const Reference *reference, Redemption *redemption, TransactionId *writer);

/* A column and its value. */
typedef struct RedemptionValue
{
	const char *column;
	Datum value;
} RedemptionValue;

/*
 * Writes a new row with these values, the others null. False where the reference is taken; then *redemption is what stands
 * under it. Waits for who is about to take it.
 */
extern bool redemption_insert(const Reference *reference, int count, const RedemptionValue *values,
							  Redemption *redemption);

/* Changes a row that is there; its payout is locked. */
extern void redemption_update(const Reference *reference, int count, const RedemptionValue *values);

/* How many reversals of nothing the store has made on this day in Jakarta, counting no further than limit. */
extern int redemption_count_early(Datum cvs_code, TimestampTz now, int limit);

#endif /* PAYOUT_REDEMPTION_H */
