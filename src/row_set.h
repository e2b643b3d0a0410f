/*
 * row_set.h: many rows of one of payout's tables at once: found, locked, inserted or updated with what all of them need
 * done once.
 * Steps in C that handle sets of payouts enter.
 */
#ifndef PAYOUT_ROW_SET_H
#define PAYOUT_ROW_SET_H

#include "access/htup.h"
#include "access/tupdesc.h"

/* Rows that are gathered to be inserted. */
typedef struct RowSet
{
	const char *table;
	int columns; /* of ours */
	TupleDesc desc;
	MemoryContext context; /* the rows are kept here */
	HeapTuple *rows;
	int count;
	int room;
	int fill_percent; /* how full pages may become; 0: as the table says */
} RowSet;

/* No rows of payout.TABLE, which has so many columns of ours, yet. They will be kept in the current memory context. */
extern void row_set_init(RowSet *set, const char *table, int columns);

/* Adds a row: all columns of ours in order, of their exact types, defaults included. */
extern void row_set_add(RowSet *set, const Datum *values, const bool *nulls);

/*
 * Inserts the rows. Constraints, triggers and indexes are served as by INSERT, but triggers before a row do not see the
 * rows before it. A taken key is a unique violation. The rows are visible to the next command.
 */
extern void row_set_insert(const RowSet *set);

/*
 * Replaces rows that row_set_lock answered by new versions; replaced says which columns may differ. Constraints, triggers
 * and indexes are served as by UPDATE. The new versions are visible to the next command.
 */
extern void row_set_update(const char *table, int columns, int count, const HeapTuple *old,
						   const HeapTuple *new, const bool *replaced);

/*
 * Which of so many keys (each of the first columns of the index, texts with collation "C") are taken by a row, be it one
 * that another transaction is about to write or delete.
 */
extern void row_set_look(const char *table, const char *index, int keys, int count, const Datum *key,
						 bool *taken);

/*
 * Locks the rows of these keys one after the other, as row_lock does each. Rows that are missing are NULL. They are
 * palloc'ed; the answer is row_description.
 */
extern TupleDesc row_set_lock(const char *table, const char *index, int keys, int count, const Datum *key,
							  HeapTuple *rows);

#endif /* PAYOUT_ROW_SET_H */
