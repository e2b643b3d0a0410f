/*
 * row_cache.h: rows of the small tables that say how payouts are handled, kept by each session.
 * Steps in C enter that read such a row for every payout.
 */
#ifndef PAYOUT_ROW_CACHE_H
#define PAYOUT_ROW_CACHE_H

#include "access/htup.h"
#include "access/tupdesc.h"

/*
 * The newest committed row of payout.TABLE with this primary key (texts with collation "C"), own changes included,
 * whatever the transaction's snapshot; NULL when there is none. Only tables that carry the trigger payout.forget_rows. The
 * tuple is palloc'ed, the description stays valid.
 */
extern HeapTuple row_cached(const char *table, const char *index, int keys, const Datum *key,
							TupleDesc *desc);

#endif /* PAYOUT_ROW_CACHE_H */
