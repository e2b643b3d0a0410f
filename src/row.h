/*
 * row.h: single rows of payout's tables without a statement to plan and start: for what every payout does.
 * Steps in C enter; everything that happens seldom is better said in SQL.
 */
#ifndef PAYOUT_ROW_H
#define PAYOUT_ROW_H

#include "access/htup.h"
#include "access/tupdesc.h"
#include "utils/relcache.h"

#define ROW_KEYS_MAX 4

/* The table or index payout.NAME; an internal error when there is none. */
extern Oid row_relation(const char *name);

/* What row_fetch finds, in an open table, under the active snapshot. */
extern HeapTuple row_scan(Relation rel, const char *index, int keys, const Datum *key);

/*
 * Whether payout.TABLE has so many columns and is as CREATE EXTENSION made it, but for indexes: no trigger, rule or policy of
 * others has a word in what is written. It stays locked for writing rows until the transaction ends.
 */
extern bool row_is_as_made(const char *table, int columns);

/*
 * The columns of an open table, as long as its lock is held: until the transaction ends. They need no release, and callers
 * may hold them while the table is closed.
 */
extern TupleDesc row_description(Relation rel);

/* The columns of payout.TABLE, which stays locked for writing rows until the transaction ends. */
extern TupleDesc row_describe(const char *table);

/*
 * The row of payout.TABLE whose first key columns equal the given texts, by the index; NULL when there is none. The
 * index's columns are of type text with collation "C". The tuple is palloc'ed; *desc is row_description.
 */
extern HeapTuple row_fetch(const char *table, const char *index, int keys, const Datum *key, TupleDesc *desc);

/*
 * The same, locked as by SELECT FOR NO KEY UPDATE: waits for who has it, and answers with its newest version; in the
 * isolation levels with one snapshot, a row that has changed since is a serialization failure.
 */
extern HeapTuple row_lock(const char *table, const char *index, int keys, const Datum *key, TupleDesc *desc);

/*
 * Inserts one row into payout.TABLE: all columns of ours in order, of their exact types, defaults included; columns of others
 * get their defaults. Constraints, triggers and indexes are served as by INSERT. The row is visible to the next command.
 */
extern void row_insert(const char *table, int columns, Datum *values, bool *nulls);

/*
 * The same as by INSERT ... ON CONFLICT DO NOTHING: false where a unique key is taken. The values become those of the row as it
 * was written, which a trigger may have changed.
 */
extern bool row_insert_new(const char *table, int columns, Datum *values, bool *nulls);

/*
 * Changes columns of a row that row_lock answered; replaced says which. Constraints, triggers and indexes are served as
 * by UPDATE. The new version is visible to the next command.
 */
extern void row_update(const char *table, HeapTuple old, int columns, Datum *values, bool *nulls,
					   bool *replaced);

#endif /* PAYOUT_ROW_H */
