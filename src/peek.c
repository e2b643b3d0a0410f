/*
 * peek.c: rows read so that whoever called cannot tell afterwards whether there was one.
 *
 * PostgreSQL tells every role a good deal of what its statements did: rows fetched and blocks read (pg_stat_xact_user_tables
 * and its like), locks, the transaction's id, where the WAL ends. An ordinary read counts what it finds; it may prune the
 * page, or set hint bits in it, and log that; in SERIALIZABLE it leaves predicate locks. So here the index is searched and
 * the heap is read as by an index scan with SnapshotAny, which leaves no predicate lock and keeps VACUUM from what the search
 * holds; the relations' counters are put aside meanwhile; and which version is the newest committed one is found without
 * writing it down.
 *
 * Of the statistics, only the use of the commit log's buffers goes past the relations. A search is made to use them
 * CONSULTS times, whatever it finds.
 */
#include "postgres.h"

#include "access/clog.h"
#include "access/genam.h"
#include "access/heapam.h"
#include "access/htup_details.h"
#include "access/multixact.h"
#include "access/stratnum.h"
#include "access/subtrans.h"
#include "access/table.h"
#include "access/transam.h"
#include "access/xact.h"
#include "catalog/pg_collation.h"
#include "compat.h"
#include "executor/spi.h"
#include "fmgr.h"
#include "peek.h"
#include "pgstat.h"
#include "row.h"
#include "storage/bufmgr.h"
#include "storage/procarray.h"
#include "utils/fmgroids.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"

#define CONSULTS 16
#define ROUNDS 3

/* A relation's counters, put aside. */
typedef struct Counters
{
	bool enabled;
	struct PgStat_TableStatus *info;
} Counters;

typedef struct Search
{
	Relation heap;
	Relation index;
	int consults;
	int found;
	int limit;
	PeekTaker take; /* NULL: the first row is kept */
	void *argument;
	HeapTuple tuple;
	TransactionId writer;
} Search;

static void
equal_key(ScanKey key, int column, RegProcedure equal, Datum value)
{
	ScanKeyEntryInitialize(key, 0, column, BTEqualStrategyNumber, InvalidOid, C_COLLATION_OID, equal, value);
}

void
peek_text_key(ScanKey key, int column, Datum text)
{
	equal_key(key, column, F_TEXTEQ, text);
}

void
peek_bytes_key(ScanKey key, int column, Datum bytes)
{
	equal_key(key, column, F_BYTEAEQ, bytes);
}

void
peek_integer_key(ScanKey key, int column, int32 number)
{
	equal_key(key, column, F_INT4EQ, Int32GetDatum(number));
}

void
peek_true_key(ScanKey key, int column)
{
	equal_key(key, column, F_BOOLEQ, BoolGetDatum(true));
}

void
peek_uuid_key(ScanKey key, int column, const pg_uuid_t *id)
{
	equal_key(key, column, F_UUID_EQ, UUIDPGetDatum(id));
}

void
peek_role_key(ScanKey key, int column, Oid role)
{
	equal_key(key, column, F_OIDEQ, ObjectIdGetDatum(role));
}

void
peek_from_key(ScanKey key, int column, TimestampTz at)
{
	ScanKeyEntryInitialize(key, 0, column, BTGreaterEqualStrategyNumber, InvalidOid, InvalidOid,
						   F_TIMESTAMPTZ_GE, TimestampTzGetDatum(at));
}

static Counters
put_counters_aside(Relation rel)
{
	Counters kept = {.enabled = rel->pgstat_enabled, .info = rel->pgstat_info};

	rel->pgstat_enabled = false;
	rel->pgstat_info = NULL;
	return kept;
}

static void
put_counters_back(Relation rel, Counters kept)
{
	rel->pgstat_enabled = kept.enabled;
	rel->pgstat_info = kept.info;
}

/* What the commit log says of a transaction that is not running. */
static bool
log_says_committed(Search *search, TransactionId xid)
{
	XLogRecPtr unused;
	XidStatus status;

	search->consults++;
	status = TransactionIdGetStatus(xid, &unused);
	/* Its parent was about to commit with it: then it has, or has not, by now. */
	return status == TRANSACTION_STATUS_COMMITTED ||
		   (status == TRANSACTION_STATUS_SUB_COMMITTED && TransactionIdDidCommit(xid));
}

typedef enum Ending
{
	COMMITTED,
	RUNNING,
	ABORTED
} Ending;

static Ending
ending_of(Search *search, TransactionId xid)
{
	if (TransactionIdIsCurrentTransactionId(xid))
		return COMMITTED;
	if (!TransactionIdIsNormal(xid))
		return xid == FrozenTransactionId ? COMMITTED : ABORTED;
	if (TransactionIdIsInProgress(xid))
		return RUNNING;
	return log_says_committed(search, xid) ? COMMITTED : ABORTED;
}

static bool
is_inserted(Search *search, HeapTupleHeader header)
{
	Ending ending;

	if (HeapTupleHeaderXminCommitted(header))
		return true;
	if (HeapTupleHeaderXminInvalid(header))
		return false;
	ending = ending_of(search, HeapTupleHeaderGetRawXmin(header));
	if (ending == RUNNING)
		search->writer = HeapTupleHeaderGetRawXmin(header);
	return ending == COMMITTED;
}

static bool
is_gone(Search *search, HeapTupleHeader header)
{
	if ((header->t_infomask & HEAP_XMAX_INVALID) != 0 || HEAP_XMAX_IS_LOCKED_ONLY(header->t_infomask))
		return false;
	if ((header->t_infomask & (HEAP_XMAX_COMMITTED | HEAP_XMAX_IS_MULTI)) == HEAP_XMAX_COMMITTED)
		return true;
	return ending_of(search, HeapTupleHeaderGetUpdateXid(header)) == COMMITTED;
}

/*
 * The versions that an index entry leads to, from the oldest on: an update commits both of its halves at once, so the one
 * or the other is met.
 */
static bool
look_at(Search *search, ItemPointer tid)
{
	Buffer buffer = ReadBuffer(search->heap, ItemPointerGetBlockNumber(tid));
	HeapTupleData version;
	bool found = false;

	LockBuffer(buffer, BUFFER_LOCK_SHARE);
	for (bool first = true;
		 !found && heap_hot_search_buffer(tid, search->heap, buffer, SnapshotAny, &version, NULL, first);
		 first = false)
		found = is_inserted(search, version.t_data) && !is_gone(search, version.t_data);
	if (found && search->tuple == NULL)
		search->tuple = heap_copytuple(&version);
	UnlockReleaseBuffer(buffer);
	if (found && search->take != NULL)
	{
		search->take(search->tuple, RelationGetDescr(search->heap), search->argument);
		search->tuple = NULL;
	}
	return found;
}

static void
search_once(Search *search, int keys, ScanKey key)
{
	IndexScanDesc scan = compat_index_beginscan(search->heap, search->index, SnapshotAny, keys);
	ItemPointer tid;

	index_rescan(scan, key, keys, NULL, 0);
	while (search->found < search->limit && (tid = index_getnext_tid(scan, ForwardScanDirection)) != NULL)
	{
		ItemPointerData place = *tid;

		search->found += look_at(search, &place) ? 1 : 0;
	}
	index_endscan(scan);
}

/*
 * A search may meet a new version before it is committed, under an index entry of its own, and the old one after that. So
 * what was about to be written is looked for again; it cannot go on so for ever, as each is another change of the row.
 */
static void
search_rows(Search *search, int keys, ScanKey key)
{
	for (int round = 0; round < ROUNDS; round++)
	{
		search->writer = InvalidTransactionId;
		search->found = 0;
		search_once(search, keys, key);
		if (search->found > 0 || search->take != NULL || !TransactionIdIsValid(search->writer) ||
			TransactionIdIsInProgress(search->writer))
			break;
	}
}

/* The last transaction that began. Where all rows were frozen since, the log may have forgotten it, and is never asked. */
static void
fill_consults(Search *search)
{
	TransactionId xid = ReadNextTransactionId();
	XLogRecPtr unused;

	TransactionIdRetreat(xid);
	if (TransactionIdPrecedes(xid, compat_oldest_xid()))
		return;
	for (; search->consults < CONSULTS; search->consults++)
		(void) TransactionIdGetStatus(xid, &unused);
}

static void
search_table(Search *search, const char *table, const char *index, int keys, ScanKey key, TupleDesc *desc)
{
	Counters heap_counters;
	Counters index_counters;

	search->heap = table_open(row_relation(table), AccessShareLock);
	search->index = index_open(row_relation(index), AccessShareLock);
	heap_counters = put_counters_aside(search->heap);
	index_counters = put_counters_aside(search->index);
	PG_TRY();
	{
		search_rows(search, keys, key);
		fill_consults(search);
	}
	PG_FINALLY();
	{
		put_counters_back(search->heap, heap_counters);
		put_counters_back(search->index, index_counters);
	}
	PG_END_TRY();
	if (desc != NULL)
		*desc = CreateTupleDescCopy(RelationGetDescr(search->heap));
	index_close(search->index, AccessShareLock);
	table_close(search->heap, AccessShareLock);
}

void
peek_row(const char *table, const char *index, int keys, ScanKey key, PeekRow *row)
{
	Search search = {.limit = 1};

	search_table(&search, table, index, keys, key, &row->desc);
	row->tuple = search.tuple;
	row->writer = search.tuple == NULL ? search.writer : InvalidTransactionId;
}

int
peek_count(const char *table, const char *index, int keys, ScanKey key, int limit)
{
	Search search = {.limit = limit};

	search_table(&search, table, index, keys, key, NULL);
	return search.found;
}

void
peek_each(const char *table, const char *index, int keys, ScanKey key, PeekTaker take, void *argument)
{
	Search search = {.limit = INT_MAX, .take = take, .argument = argument};

	search_table(&search, table, index, keys, key, NULL);
}

Datum
peek_column(const PeekRow *row, const char *column, bool *isnull)
{
	int number = SPI_fnumber(row->desc, column);

	if (number <= 0)
		elog(ERROR, "a table of payout has no column %s", column);
	return SPI_getbinval(row->tuple, row->desc, number, isnull);
}
