/*
 * row_set.c: many rows at once, without the planner and the start of an executor, as row.c does it for one.
 *
 * Of a set, the table and its indexes are opened once, one scan finds all keys, and new rows go to the heap page by page
 * (as COPY writes them): so each page is locked and logged once, not once for each row.
 *
 * Rows that are written as a set will be changed as a set: all rows of a page get their next version in one transaction,
 * and until it ends the ones before keep their place. A set may therefore fill pages less than the table's single rows do,
 * so that both versions find room in one page and no index is touched (HOT). The heap asks the relation cache how full a
 * page may be, so it is changed there, for this session and as long as the rows are inserted.
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "access/tableam.h"
#include "access/xact.h"
#include "catalog/pg_am.h"
#include "catalog/pg_collation.h"
#include "commands/trigger.h"
#include "executor/executor.h"
#include "miscadmin.h"
#include "row.h"
#include "row_plain.h"
#include "row_set.h"
#include "row_target.h"
#include "tcop/utility.h"
#include "utils/fmgroids.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"

#define ROOM_AT_FIRST 64
#define ROWS_AT_ONCE 200

void
row_set_init(RowSet *set, const char *table, int columns)
{
	*set = (RowSet){.table = table,
					.columns = columns,
					.desc = row_describe(table),
					.context = CurrentMemoryContext,
					.rows = palloc(ROOM_AT_FIRST * sizeof(HeapTuple)),
					.room = ROOM_AT_FIRST};
}

/* A row of a table that has columns of others as well. */
static HeapTuple
form_wider(const RowSet *set, const Datum *values, const bool *nulls)
{
	int all = set->desc->natts;
	Datum *wider_values = palloc0(all * sizeof(Datum));
	bool *wider_nulls = palloc(all * sizeof(bool));

	memset(wider_nulls, true, all * sizeof(bool));
	memcpy(wider_values, values, set->columns * sizeof(Datum));
	memcpy(wider_nulls, nulls, set->columns * sizeof(bool));
	return heap_form_tuple(set->desc, wider_values, wider_nulls);
}

void
row_set_add(RowSet *set, const Datum *values, const bool *nulls)
{
	MemoryContext outer = MemoryContextSwitchTo(set->context);

	if (set->count == set->room)
	{
		set->room *= 2;
		set->rows = repalloc(set->rows, set->room * sizeof(HeapTuple));
	}
	if (set->desc->natts == set->columns)
		set->rows[set->count++] =
			heap_form_tuple(set->desc, unconstify(Datum *, values), unconstify(bool *, nulls));
	else
		set->rows[set->count++] = form_wider(set, values, nulls);
	MemoryContextSwitchTo(outer);
}

/* Puts rows into the slots, those that the triggers and constraints let pass; their number. */
static int
prepare(RowTarget *target, TupleTableSlot **slots, const HeapTuple *rows, int count)
{
	ResultRelInfo *result = target->result;
	bool has_triggers = result->ri_TrigDesc != NULL && result->ri_TrigDesc->trig_insert_before_row;
	int prepared = 0;

	for (int i = 0; i < count; i++)
	{
		TupleTableSlot *slot = slots[prepared];

		ExecStoreHeapTuple(rows[i], slot, false);
		slot->tts_tableOid = target->table;
		if (has_triggers && !ExecBRInsertTriggers(target->estate, result, slot))
			continue;
		ExecConstraints(result, slot, target->estate);
		prepared++;
	}
	return prepared;
}

static void
insert_some(RowTarget *target, TupleTableSlot **slots, const HeapTuple *rows, int count)
{
	EState *estate = target->estate;
	MemoryContext outer = MemoryContextSwitchTo(GetPerTupleMemoryContext(estate));
	int prepared = prepare(target, slots, rows, count);

	if (prepared > 0)
		table_multi_insert(target->result->ri_RelationDesc, slots, prepared, estate->es_output_cid, 0, NULL);
	for (int i = 0; i < prepared; i++)
	{
		List *recheck = row_target_enter(target, slots[i], false, NULL);

		ExecARInsertTriggers(estate, target->result, slots[i], recheck, NULL);
	}
	for (int i = 0; i < count; i++)
		ExecClearTuple(slots[i]);
	MemoryContextSwitchTo(outer);
	ResetPerTupleExprContext(estate);
}

/* Sets how full this session's insertions make the table's pages; how full they were made before. */
static int
set_fill(Relation rel, int percent)
{
	StdRdOptions *options = (StdRdOptions *) rel->rd_options;
	int before = options != NULL ? options->fillfactor : 0;

	if (options != NULL && percent != 0)
		options->fillfactor = percent;
	return before;
}

/* A target that met an error is not used again. */
static pg_noinline void
insert_all(RowTarget *target, TupleTableSlot **slots, const RowSet *set)
{
	Relation rel = target->result->ri_RelationDesc;
	int fill_percent = set_fill(rel, set->fill_percent);

	PG_TRY();
	{
		for (int done = 0; done < set->count; done += ROWS_AT_ONCE)
		{
			CHECK_FOR_INTERRUPTS();
			insert_some(target, slots, set->rows + done, Min(ROWS_AT_ONCE, set->count - done));
		}
		set_fill(rel, fill_percent);
		AfterTriggerEndQuery(target->estate);
	}
	PG_CATCH();
	{
		set_fill(rel, fill_percent);
		row_target_forget(target);
		PG_RE_THROW();
	}
	PG_END_TRY();
}

static void
insert_plain(const RowSet *set)
{
	Datum *values = palloc(set->desc->natts * sizeof(Datum));
	bool *nulls = palloc(set->desc->natts * sizeof(bool));

	for (int i = 0; i < set->count; i++)
	{
		heap_deform_tuple(set->rows[i], set->desc, values, nulls);
		row_plain_insert(set->table, set->columns, values, nulls);
	}
}

void
row_set_insert(const RowSet *set)
{
	TupleTableSlot *slots[ROWS_AT_ONCE];
	int slot_count = Min(ROWS_AT_ONCE, set->count);
	RowTarget *target;

	PreventCommandIfReadOnly("INSERT");
	if (set->count == 0)
		return;
	PushActiveSnapshot(GetTransactionSnapshot());
	target = row_target_open(set->table, set->columns);
	if (target == NULL)
	{
		insert_plain(set);
		PopActiveSnapshot();
		return;
	}
	for (int i = 0; i < slot_count; i++)
		slots[i] = MakeSingleTupleTableSlot(set->desc, &TTSOpsHeapTuple);
	insert_all(target, slots, set);
	row_target_close(target);
	PopActiveSnapshot();
	CommandCounterIncrement();
	for (int i = 0; i < slot_count; i++)
		ExecDropSingleTupleTableSlot(slots[i]);
}

static pg_noinline void
update_all(RowTarget *target, int count, const HeapTuple *old, const HeapTuple *new, const bool *replaced)
{
	PG_TRY();
	{
		for (int i = 0; i < count; i++)
		{
			CHECK_FOR_INTERRUPTS();
			ExecForceStoreHeapTuple(new[i], target->slot, false);
			row_target_update(target, old[i], replaced);
			ResetPerTupleExprContext(target->estate);
		}
		AfterTriggerEndQuery(target->estate);
	}
	PG_CATCH();
	{
		row_target_forget(target);
		PG_RE_THROW();
	}
	PG_END_TRY();
}

static void
update_plain(const char *table, int columns, int count, const HeapTuple *old, const HeapTuple *new,
			 const bool *replaced)
{
	TupleDesc desc = row_describe(table);
	Datum *values = palloc(desc->natts * sizeof(Datum));
	bool *nulls = palloc(desc->natts * sizeof(bool));

	for (int i = 0; i < count; i++)
	{
		heap_deform_tuple(new[i], desc, values, nulls);
		row_plain_update(table, old[i], columns, values, nulls, replaced);
	}
}

void
row_set_update(const char *table, int columns, int count, const HeapTuple *old, const HeapTuple *new,
			   const bool *replaced)
{
	RowTarget *target;

	PreventCommandIfReadOnly("UPDATE");
	PushActiveSnapshot(GetTransactionSnapshot());
	target = row_target_open(table, columns);
	if (target != NULL)
	{
		update_all(target, count, old, new, replaced);
		row_target_close(target);
		CommandCounterIncrement();
	}
	else
		update_plain(table, columns, count, old, new, replaced);
	PopActiveSnapshot();
}

/* One scan of an index that is begun again for each key. */
typedef struct KeyScan
{
	Relation rel;
	Relation index;
	IndexScanDesc scan;
	TupleTableSlot *slot;
	int keys;
	ScanKeyData scan_keys[ROW_KEYS_MAX];
} KeyScan;

static void
begin_scan(KeyScan *scan, const char *table, const char *index, int keys, LOCKMODE mode, Snapshot snapshot)
{
	StrategyNumber equal;

	scan->rel = table_open(row_relation(table), mode);
	scan->index = index_open(row_relation(index), AccessShareLock);
	scan->slot = table_slot_create(scan->rel, NULL);
	scan->scan = index_beginscan(scan->rel, scan->index, snapshot, keys, 0);
	scan->keys = keys;
	equal = scan->index->rd_rel->relam == HASH_AM_OID ? HTEqualStrategyNumber : BTEqualStrategyNumber;
	for (int i = 0; i < keys; i++)
		ScanKeyEntryInitialize(&scan->scan_keys[i], 0, i + 1, equal, InvalidOid, C_COLLATION_OID, F_TEXTEQ,
							   (Datum) 0);
}

/* Whether there is a row of the key; it is in the slot then. */
static bool
find(KeyScan *scan, const Datum *key)
{
	for (int i = 0; i < scan->keys; i++)
		scan->scan_keys[i].sk_argument = key[i];
	index_rescan(scan->scan, scan->scan_keys, scan->keys, NULL, 0);
	return index_getnext_slot(scan->scan, ForwardScanDirection, scan->slot);
}

static void
end_scan(KeyScan *scan)
{
	index_endscan(scan->scan);
	ExecDropSingleTupleTableSlot(scan->slot);
	index_close(scan->index, NoLock);
	table_close(scan->rel, NoLock);
}

void
row_set_look(const char *table, const char *index, int keys, int count, const Datum *key, bool *taken)
{
	SnapshotData snapshot;
	KeyScan scan;

	InitDirtySnapshot(snapshot);
	begin_scan(&scan, table, index, keys, AccessShareLock, &snapshot);
	for (int i = 0; i < count; i++)
	{
		CHECK_FOR_INTERRUPTS();
		taken[i] = find(&scan, key + i * keys);
	}
	end_scan(&scan);
}

TupleDesc
row_set_lock(const char *table, const char *index, int keys, int count, const Datum *key, HeapTuple *rows)
{
	TupleTableSlot *slot;
	TupleDesc desc;
	KeyScan scan;

	PreventCommandIfReadOnly("SELECT FOR NO KEY UPDATE");
	PushActiveSnapshot(GetTransactionSnapshot());
	begin_scan(&scan, table, index, keys, RowShareLock, GetActiveSnapshot());
	slot = table_slot_create(scan.rel, NULL);
	for (int i = 0; i < count; i++)
	{
		CHECK_FOR_INTERRUPTS();
		rows[i] = find(&scan, key + i * keys)
					  ? row_target_lock(scan.rel, ExecFetchSlotHeapTuple(scan.slot, false, NULL), slot)
					  : NULL;
	}
	ExecDropSingleTupleTableSlot(slot);
	desc = row_description(scan.rel);
	end_scan(&scan);
	PopActiveSnapshot();
	return desc;
}
