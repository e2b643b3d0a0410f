/*
 * batch.h: the answer of a call that handles many payouts, and the functions that do.
 * entry.c enters for register_batch and approve_batch, their files for the answer.
 */
#ifndef PAYOUT_BATCH_H
#define PAYOUT_BATCH_H

#include "executor/spi.h"
#include "fmgr.h"
#include "utils/tuplestore.h"

#define BATCH_ITEMS_MAX 10000
#define BATCH_BYTES_MAX 16777216

/* The rows of the answer, in order. */
typedef struct BatchAnswer
{
	Tuplestorestate *rows;
	TupleDesc desc;
} BatchAnswer;

/* Begins the answer of a function that returns a set. */
extern void batch_answer_begin(BatchAnswer *answer, FunctionCallInfo fcinfo);

extern void batch_answer(BatchAnswer *answer, const Datum *values, const bool *nulls);

/* The row that a statement makes of one item by itself. Its plan is kept for the session; SPI is connected. */
extern void batch_answer_singly(BatchAnswer *answer, SPIPlanPtr *plan, const char *sql, int count, Oid *types,
								Datum *values, const char *nulls);

/*
 * payout.register_batch and payout.approve_batch, called as the owner: true and the answer. False where an argument is
 * not in order, or all items have to go singly; nothing is done then, and do_register_batch or do_approve_batch answers.
 */
extern bool register_batch_at_once(FunctionCallInfo fcinfo, Datum *result);
extern bool approve_batch_at_once(FunctionCallInfo fcinfo, Datum *result);

#endif /* PAYOUT_BATCH_H */
