/*
 * row_target.h: what row.c keeps of a table, so that rows can be written into it as the executor does.
 * row.c and row_set.c alone enter.
 */
#ifndef PAYOUT_ROW_TARGET_H
#define PAYOUT_ROW_TARGET_H

#include "nodes/execnodes.h"

typedef struct RowTarget
{
	Oid table;
	MemoryContext context; /* holds all of it */
	EState *estate;
	RangeTblEntry *rte;
	ResultRelInfo *result;
	TupleTableSlot *slot;
	Oid *indexes;
	int index_count;
	bool is_ours; /* else nothing more is known of the table */
	bool stale;
	bool in_use;
} RowTarget;

/*
 * Opens payout.TABLE, which has so many columns of ours, for writing under the active snapshot, until row_target_close. After
 * an error it is forgotten instead. NULL where somebody else has added something to the table, which is locked all the same:
 * row_plain.c writes its rows.
 */
extern RowTarget *row_target_open(const char *table, int columns);
extern void row_target_close(RowTarget *target);
extern void row_target_forget(RowTarget *target);

/*
 * Enters a row, which is in the table already, into its indexes. With conflict, a key that may be taken is told there; else
 * it is an error. The answer is for the triggers after the insertion.
 */
extern List *row_target_enter(RowTarget *target, TupleTableSlot *slot, bool update, bool *conflict);

/* Inserts the row in target->slot. */
extern void row_target_insert(RowTarget *target);

/* Replaces a row, as row_target_lock answered it, by the version in target->slot; replaced says which columns differ. */
extern void row_target_update(RowTarget *target, HeapTuple old, const bool *replaced);

/* Locks a row that the active snapshot sees; its newest version, or NULL when it is gone. The slot is of the table's form. */
extern HeapTuple row_target_lock(Relation rel, HeapTuple seen, TupleTableSlot *slot);

#endif /* PAYOUT_ROW_TARGET_H */
