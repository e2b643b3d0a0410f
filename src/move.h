/*
 * move.h: the trigger's work done for a whole set of approvals, and the trigger kept out of writing them.
 * approve_batch.c alone may enter.
 */
#ifndef PAYOUT_MOVE_H
#define PAYOUT_MOVE_H

#include "payout_row.h"
#include "policy.h"
#include "row_set.h"

/* The rule of a change of state. */
typedef struct MoveRule
{
	char *money; /* NULL: none moves */
	char *event; /* NULL: nobody is told */
	bool final;
} MoveRule;

/* Payouts of one merchant that make the same change of state. */
typedef struct MoveSet
{
	const Policy *policy;
	const MoveRule *rule; /* NULL before the first */
	RowSet history;
	RowSet notifications;
	RowSet transfers;
} MoveSet;

/* An empty set, in the current memory context. */
extern void move_set_init(MoveSet *set, const Policy *policy);

/*
 * One more locked payout that changes its state as a step wants it, its money having been taken by ledger_take_set: the
 * new version is completed, and the rows that belong to the change are added. The merchant does not restrict who approves.
 */
extern void move_set_add(MoveSet *set, const PayoutRow *old, PayoutRow *new);

/* Writes the new versions, in the same order, and all that belongs to them. */
extern void move_set_write(const MoveSet *set, int count, const HeapTuple *old, const HeapTuple *new,
						   const bool *replaced);

#endif /* PAYOUT_MOVE_H */
