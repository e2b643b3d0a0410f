/*
 * peek.h: the newest committed row of a key, read without leaving a trace.
 * For what must not tell a caller more than its answer says: tokens and stores enter.
 */
#ifndef PAYOUT_PEEK_H
#define PAYOUT_PEEK_H

#include "access/htup.h"
#include "access/skey.h"
#include "access/tupdesc.h"
#include "utils/uuid.h"

typedef struct PeekRow
{
	HeapTuple tuple; /* palloc'ed, NULL: there is none */
	TupleDesc desc;	 /* palloc'ed */
	/* There is none, but this transaction of somebody else is about to write one; else invalid. */
	TransactionId writer;
} PeekRow;

/* Keys of an index, by the number of its column: equality, of a text with collation "C" too. */
extern void peek_text_key(ScanKey key, int column, Datum text);
extern void peek_bytes_key(ScanKey key, int column, Datum bytes);
extern void peek_integer_key(ScanKey key, int column, int32 number);
extern void peek_true_key(ScanKey key, int column);
extern void peek_uuid_key(ScanKey key, int column, const pg_uuid_t *id);
extern void peek_role_key(ScanKey key, int column, Oid role);
/* The moments from this one on. */
extern void peek_from_key(ScanKey key, int column, TimestampTz at);

/*
 * The row of payout.TABLE with these keys that is committed now, or written by this transaction, whatever its snapshot and
 * isolation level. Nothing waits, is locked beyond the call, counted in the statistics, pruned, hinted or logged, and no
 * predicate lock is taken.
 */
extern void peek_row(const char *table, const char *index, int keys, ScanKey key, PeekRow *row);

/* How many such rows there are, counting no further than limit. */
extern int peek_count(const char *table, const char *index, int keys, ScanKey key, int limit);

/* Hands over each of them; the tuple is palloc'ed, the description valid during the call. */
typedef void (*PeekTaker)(HeapTuple tuple, TupleDesc desc, void *argument);
extern void peek_each(const char *table, const char *index, int keys, ScanKey key, PeekTaker take,
					  void *argument);

/* A column of a row that was found, by its name. */
extern Datum peek_column(const PeekRow *row, const char *column, bool *isnull);

#endif /* PAYOUT_PEEK_H */
