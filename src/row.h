/*
 * row.h: reads a row by its key and inserts a row, without a statement to plan and start: for what every payout does.
 * Steps in C enter; everything that happens seldom is better said in SQL.
 */
#ifndef PAYOUT_ROW_H
#define PAYOUT_ROW_H

#include "access/htup.h"
#include "access/tupdesc.h"

#define ROW_KEYS_MAX 4

/*
 * The row of payout.TABLE whose first key columns equal the given texts, by the index; NULL when there is none. The
 * index's columns are the table's first ones, of type text with collation "C". The tuple is palloc'ed; *desc stays valid
 * while the transaction holds its lock on the table.
 */
extern HeapTuple row_fetch(const char *table, const char *index, int keys, const Datum *key, TupleDesc *desc);

/*
 * Inserts one row into payout.TABLE: all columns in order, of their exact types, defaults included. Constraints, triggers
 * and indexes are served as by INSERT. The row is visible to the next command.
 */
extern void row_insert(const char *table, int columns, Datum *values, bool *nulls);

#endif /* PAYOUT_ROW_H */
