/*
 * row.c: single rows without the planner and the start of an executor, which cost several times what the row does.
 *
 * Writing goes the way of replication's apply worker (ExecSimpleRelationInsert and its sisters), so nothing is left out
 * that INSERT and UPDATE do. What that way needs to know of a table is kept (row_target.c). Tables to which somebody else has
 * added something are written by statements (row_plain.c).
 *
 * Rights are not checked: the callers act for the extension's owner.
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "access/tableam.h"
#include "access/xact.h"
#include "catalog/pg_collation.h"
#include "commands/trigger.h"
#include "executor/executor.h"
#include "miscadmin.h"
#include "row.h"
#include "row_plain.h"
#include "row_target.h"
#include "storage/lmgr.h"
#include "tcop/utility.h"
#include "utils/fmgroids.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"

static void
fill_slot(RowTarget *target, const Datum *values, const bool *nulls)
{
	TupleTableSlot *slot = target->slot;
	int columns = slot->tts_tupleDescriptor->natts;

	ExecClearTuple(slot);
	memcpy(slot->tts_values, values, columns * sizeof(Datum));
	memcpy(slot->tts_isnull, nulls, columns * sizeof(bool));
	ExecStoreVirtualTuple(slot);
}

/*
 * As the executor does it for ON CONFLICT DO NOTHING, but for its look into the unique indexes beforehand: the insertion
 * meets whatever is there anyway, and is taken back then. Only a repeat pays for that, with a dead row.
 */
static bool
insert_if_new(RowTarget *target)
{
	ResultRelInfo *result = target->result;
	EState *estate = target->estate;
	TupleTableSlot *slot = target->slot;
	Relation rel = result->ri_RelationDesc;
	List *recheck;
	uint32 token;
	bool conflict = false;

	if (result->ri_TrigDesc != NULL && result->ri_TrigDesc->trig_insert_before_row &&
		!ExecBRInsertTriggers(estate, result, slot))
		return false;
	ExecConstraints(result, slot, estate);
	token = SpeculativeInsertionLockAcquire(GetCurrentTransactionId());
	table_tuple_insert_speculative(rel, slot, estate->es_output_cid, 0, NULL, token);
	recheck = row_target_enter(target, slot, false, &conflict);
	table_tuple_complete_speculative(rel, slot, token, !conflict);
	SpeculativeInsertionLockRelease(GetCurrentTransactionId());
	if (!conflict)
		ExecARInsertTriggers(estate, result, slot, recheck, NULL);
	return !conflict;
}

typedef enum Writing
{
	INSERT_ROW,
	INSERT_NEW_ROW,
	UPDATE_ROW
} Writing;

/* Whether the row was written. A target that met an error is not used again. */
static pg_noinline bool
write_slot(RowTarget *target, Writing writing, HeapTuple old, const bool *replaced)
{
	bool volatile written = true;

	PG_TRY();
	{
		if (writing == UPDATE_ROW)
			row_target_update(target, old, replaced);
		else if (writing == INSERT_ROW)
			row_target_insert(target);
		else
			written = insert_if_new(target);
		AfterTriggerEndQuery(target->estate);
	}
	PG_CATCH();
	{
		row_target_forget(target);
		PG_RE_THROW();
	}
	PG_END_TRY();
	return written;
}

/* What row_target.c does not serve. */
static bool
write_plain(const char *table, Writing writing, int columns, Datum *values, bool *nulls, HeapTuple old,
			const bool *replaced)
{
	if (writing == INSERT_NEW_ROW)
		return row_plain_insert_new(table, columns, values, nulls);
	if (writing == INSERT_ROW)
		row_plain_insert(table, columns, values, nulls);
	else
		row_plain_update(table, old, columns, values, nulls, replaced);
	return true;
}

/* The values become those that a trigger has put in their place. */
static void
read_back(RowTarget *target, Datum *values, bool *nulls)
{
	TriggerDesc *triggers = target->result->ri_TrigDesc;

	if (triggers != NULL && triggers->trig_insert_before_row)
		heap_deform_tuple(ExecCopySlotHeapTuple(target->slot), target->slot->tts_tupleDescriptor, values,
						  nulls);
}

static bool
write_row(const char *table, Writing writing, int columns, Datum *values, bool *nulls, HeapTuple old,
		  const bool *replaced)
{
	RowTarget *target;
	bool written;

	PreventCommandIfReadOnly(writing == UPDATE_ROW ? "UPDATE" : "INSERT");
	PushActiveSnapshot(GetTransactionSnapshot());
	target = row_target_open(table, columns);
	if (target == NULL)
	{
		written = write_plain(table, writing, columns, values, nulls, old, replaced);
		PopActiveSnapshot();
		return written;
	}
	fill_slot(target, values, nulls);
	written = write_slot(target, writing, old, replaced);
	if (written && writing == INSERT_NEW_ROW)
		read_back(target, values, nulls);
	row_target_close(target);
	PopActiveSnapshot();
	CommandCounterIncrement();
	return written;
}

void
row_insert(const char *table, int columns, Datum *values, bool *nulls)
{
	(void) write_row(table, INSERT_ROW, columns, values, nulls, NULL, NULL);
}

bool
row_insert_new(const char *table, int columns, Datum *values, bool *nulls)
{
	return write_row(table, INSERT_NEW_ROW, columns, values, nulls, NULL, NULL);
}

void
row_update(const char *table, HeapTuple old, int columns, Datum *values, bool *nulls, bool *replaced)
{
	(void) write_row(table, UPDATE_ROW, columns, values, nulls, old, replaced);
}

bool
row_is_as_made(const char *table, int columns)
{
	RowTarget *target;

	PushActiveSnapshot(GetTransactionSnapshot());
	target = row_target_open(table, columns);
	if (target != NULL)
	{
		AfterTriggerEndQuery(target->estate);
		row_target_close(target);
	}
	PopActiveSnapshot();
	return target != NULL;
}

TupleDesc
row_describe(const char *table)
{
	Relation rel = table_open(row_relation(table), RowExclusiveLock);
	TupleDesc desc = row_description(rel);

	table_close(rel, NoLock);
	return desc;
}

HeapTuple
row_scan(Relation rel, const char *index, int keys, const Datum *key)
{
	ScanKeyData scan_keys[ROW_KEYS_MAX];
	SysScanDesc scan;
	HeapTuple tuple;

	for (int i = 0; i < keys; i++)
		ScanKeyEntryInitialize(&scan_keys[i], 0, i + 1, BTEqualStrategyNumber, InvalidOid, C_COLLATION_OID,
							   F_TEXTEQ, key[i]);
	scan = systable_beginscan(rel, row_relation(index), true, GetActiveSnapshot(), keys, scan_keys);
	tuple = systable_getnext(scan);
	if (HeapTupleIsValid(tuple))
		tuple = heap_copytuple(tuple);
	systable_endscan(scan);
	return tuple;
}

HeapTuple
row_fetch(const char *table, const char *index, int keys, const Datum *key, TupleDesc *desc)
{
	Relation rel = table_open(row_relation(table), AccessShareLock);
	HeapTuple tuple;

	PushActiveSnapshot(GetTransactionSnapshot());
	tuple = row_scan(rel, index, keys, key);
	PopActiveSnapshot();
	*desc = row_description(rel);
	table_close(rel, NoLock);
	return tuple;
}

HeapTuple
row_lock(const char *table, const char *index, int keys, const Datum *key, TupleDesc *desc)
{
	Relation rel;
	HeapTuple tuple;

	PreventCommandIfReadOnly("SELECT FOR NO KEY UPDATE");
	rel = table_open(row_relation(table), RowShareLock);
	PushActiveSnapshot(GetTransactionSnapshot());
	tuple = row_scan(rel, index, keys, key);
	if (tuple != NULL)
	{
		TupleTableSlot *slot = table_slot_create(rel, NULL);

		tuple = row_target_lock(rel, tuple, slot);
		ExecDropSingleTupleTableSlot(slot);
	}
	PopActiveSnapshot();
	*desc = row_description(rel);
	table_close(rel, NoLock);
	return tuple;
}
