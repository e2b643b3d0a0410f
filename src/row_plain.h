/*
 * row_plain.h: rows written by INSERT and UPDATE, for tables to which somebody else has added something.
 * row.c and row_set.c alone enter.
 */
#ifndef PAYOUT_ROW_PLAIN_H
#define PAYOUT_ROW_PLAIN_H

#include "access/htup.h"

/* As row_insert and row_set_insert do it: columns is how many of the values, in the table's order, are ours. */
extern void row_plain_insert(const char *table, int columns, const Datum *values, const bool *nulls);

/* As row_insert_new does it. */
extern bool row_plain_insert_new(const char *table, int columns, Datum *values, bool *nulls);

/* As row_update does it. */
extern void row_plain_update(const char *table, HeapTuple old, int columns, const Datum *values,
							 const bool *nulls, const bool *replaced);

#endif /* PAYOUT_ROW_PLAIN_H */
