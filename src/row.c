/*
 * row.c: single rows without the planner and the start of an executor, which cost several times what the row does.
 *
 * Writing goes the way of replication's apply worker (ExecSimpleRelationInsert and its sisters), so nothing is left out
 * that INSERT and UPDATE do. What that way needs to know of a table (its triggers, its checks, the predicates of its
 * indexes, all read and compiled) is kept for the session, as a Target. A target is made anew when the table or one of its
 * indexes has changed, and after any error, which may have left pins in its slots that are no longer ours. Relations are
 * opened and locked for each row, as by a statement.
 *
 * Rights are not checked: the callers act for the extension's owner.
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/sysattr.h"
#include "access/table.h"
#include "access/tableam.h"
#include "access/xact.h"
#include "catalog/namespace.h"
#include "catalog/pg_collation.h"
#include "commands/trigger.h"
#include "compat.h"
#include "executor/executor.h"
#include "miscadmin.h"
#include "row.h"
#include "row_target.h"
#include "storage/lmgr.h"
#include "tcop/utility.h"
#include "utils/fmgroids.h"
#include "utils/inval.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"

#define TARGETS_MAX 8

static RowTarget *kept[TARGETS_MAX]; /* NULL: free */

Oid
row_relation(const char *name)
{
	Oid oid = get_relname_relid(name, get_namespace_oid("payout", false));

	if (!OidIsValid(oid))
		elog(ERROR, "relation payout.%s is missing", name);
	return oid;
}

/* A relation has changed, or with InvalidOid any may have. */
static void
mark_stale(Datum arg, Oid relation)
{
	for (int i = 0; i < TARGETS_MAX; i++)
	{
		bool concerned = kept[i] != NULL && (!OidIsValid(relation) || relation == kept[i]->table);

		for (int j = 0; kept[i] != NULL && j < kept[i]->index_count; j++)
			concerned = concerned || relation == kept[i]->indexes[j];
		if (concerned)
			kept[i]->stale = true;
	}
}

/* The slots have a description of their own, as that of the relation may only be held by a transaction. */
static void
make_slots(RowTarget *target, Relation rel)
{
	TupleDesc desc = CreateTupleDescCopyConstr(RelationGetDescr(rel));

	target->slot = ExecInitExtraTupleSlot(target->estate, desc, table_slot_callbacks(rel));
	target->old_slot = ExecInitExtraTupleSlot(target->estate, desc, table_slot_callbacks(rel));
	target->result->ri_TrigOldSlot = ExecInitExtraTupleSlot(target->estate, desc, table_slot_callbacks(rel));
}

/* What the executor asks for which columns an UPDATE changes. */
static RangeTblEntry *
make_range_table(EState *estate, Relation rel)
{
	RangeTblEntry *rte = makeNode(RangeTblEntry);

	rte->rtekind = RTE_RELATION;
	rte->relid = RelationGetRelid(rel);
	rte->relkind = rel->rd_rel->relkind;
	rte->rellockmode = RowExclusiveLock;
	compat_set_permissions(rte);
	compat_init_range_table(estate, rte);
	return rte;
}

/* Its relations are open. */
static RowTarget *
make_target(Relation rel)
{
	MemoryContext context =
		AllocSetContextCreate(TopMemoryContext, "payout row target", ALLOCSET_DEFAULT_SIZES);
	MemoryContext outer = MemoryContextSwitchTo(context);
	RowTarget *target = palloc0(sizeof(RowTarget));
	ResultRelInfo *result = makeNode(ResultRelInfo);

	target->table = RelationGetRelid(rel);
	target->context = context;
	target->estate = CreateExecutorState();
	MemoryContextSetParent(target->estate->es_query_cxt, context);
	target->rte = make_range_table(target->estate, rel);
	target->result = result;
	InitResultRelInfo(result, rel, 1, NULL, 0);
	for (int i = 0; result->ri_TrigDesc != NULL && i < result->ri_TrigDesc->numtriggers; i++)
		fmgr_info_cxt(result->ri_TrigDesc->triggers[i].tgfoid, &result->ri_TrigFunctions[i], context);
	make_slots(target, rel);
	EvalPlanQualInit(&target->epq, target->estate, NULL, NIL, -1);
	ExecOpenIndices(result, true);
	target->index_count = result->ri_NumIndices;
	target->indexes = palloc(Max(target->index_count, 1) * sizeof(Oid));
	for (int i = 0; i < target->index_count; i++)
		target->indexes[i] = RelationGetRelid(result->ri_IndexRelationDescs[i]);
	MemoryContextSwitchTo(outer);
	return target;
}

/* The kept target of a table that can be used as it is, or NULL. Those that cannot are let go. */
static RowTarget *
find_kept(Oid table)
{
	static bool registered = false;
	RowTarget *found = NULL;

	if (!registered)
		CacheRegisterRelcacheCallback(mark_stale, (Datum) 0);
	registered = true;
	for (int i = 0; i < TARGETS_MAX; i++)
	{
		if (kept[i] == NULL || kept[i]->in_use)
			continue;
		if (kept[i]->stale)
		{
			MemoryContextDelete(kept[i]->context);
			kept[i] = NULL;
		}
		else if (kept[i]->table == table)
			found = kept[i];
	}
	return found;
}

/* Keeps a new target, if there is a place and no other of its table is in use further up. */
static void
keep(RowTarget *target)
{
	int place = -1;

	for (int i = 0; i < TARGETS_MAX; i++)
	{
		if (kept[i] == NULL)
			place = i;
		else if (kept[i]->table == target->table)
			return;
	}
	if (place >= 0)
		kept[place] = target;
}

static bool
is_kept(const RowTarget *target)
{
	for (int i = 0; i < TARGETS_MAX; i++)
		if (kept[i] == target)
			return true;
	return false;
}

void
row_target_forget(RowTarget *target)
{
	for (int i = 0; i < TARGETS_MAX; i++)
		if (kept[i] == target)
			kept[i] = NULL;
	MemoryContextDelete(target->context);
}

RowTarget *
row_target_open(const char *table, int columns)
{
	/* Locking tells of what has changed. */
	Relation rel = table_open(row_relation(table), RowExclusiveLock);
	RowTarget *target = find_kept(RelationGetRelid(rel));

	if (columns != RelationGetNumberOfAttributes(rel))
		elog(ERROR, "payout.%s has %d columns, not %d", table, RelationGetNumberOfAttributes(rel), columns);
	if (target == NULL)
	{
		target = make_target(rel);
		keep(target);
	}
	else
	{
		target->result->ri_RelationDesc = rel;
		for (int i = 0; i < target->index_count; i++)
			target->result->ri_IndexRelationDescs[i] = index_open(target->indexes[i], RowExclusiveLock);
	}
	target->in_use = true;
	target->estate->es_snapshot = GetActiveSnapshot();
	target->estate->es_output_cid = GetCurrentCommandId(true);
	AfterTriggerBeginQuery();
	return target;
}

void
row_target_close(RowTarget *target)
{
	Relation rel = target->result->ri_RelationDesc;

	ExecClearTuple(target->slot);
	ExecClearTuple(target->old_slot);
	ExecClearTuple(target->result->ri_TrigOldSlot);
	ResetPerTupleExprContext(target->estate);
	target->estate->es_snapshot = InvalidSnapshot;
	ExecCloseIndices(target->result);
	table_close(rel, NoLock);
	target->in_use = false;
	if (!is_kept(target))
		row_target_forget(target);
}

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

/* As the executor does it for ON CONFLICT DO NOTHING: a look, then an insertion that can be taken back. */
static bool
insert_if_new(RowTarget *target)
{
	ResultRelInfo *result = target->result;
	EState *estate = target->estate;
	TupleTableSlot *slot = target->slot;
	Relation rel = result->ri_RelationDesc;
	List *recheck;
	ItemPointerData other;
	uint32 token;
	bool conflict;

	if (result->ri_TrigDesc != NULL && result->ri_TrigDesc->trig_insert_before_row &&
		!ExecBRInsertTriggers(estate, result, slot))
		return false;
	ExecConstraints(result, slot, estate);
	do
	{
		CHECK_FOR_INTERRUPTS();
		if (!ExecCheckIndexConstraints(result, slot, estate, &other, NIL))
			return false;
		conflict = false;
		token = SpeculativeInsertionLockAcquire(GetCurrentTransactionId());
		table_tuple_insert_speculative(rel, slot, estate->es_output_cid, 0, NULL, token);
		recheck = ExecInsertIndexTuples(result, slot, estate, false, true, &conflict, NIL);
		table_tuple_complete_speculative(rel, slot, token, !conflict);
		SpeculativeInsertionLockRelease(GetCurrentTransactionId());
	} while (conflict);
	ExecARInsertTriggers(estate, result, slot, recheck, NULL);
	return true;
}

void
row_target_update(RowTarget *target, HeapTuple old, const bool *replaced)
{
	Bitmapset *columns = NULL;

	for (int i = 0; i < target->slot->tts_tupleDescriptor->natts; i++)
		if (replaced[i])
			columns = bms_add_member(columns, i + 1 - FirstLowInvalidHeapAttributeNumber);
	compat_set_updated_columns(target->estate, target->rte, columns);
	for (int i = 0; i < target->index_count; i++)
		target->result->ri_IndexRelationInfo[i]->ii_CheckedUnchanged = false;
	ExecForceStoreHeapTuple(old, target->old_slot, false);
	target->old_slot->tts_tid = old->t_self;
	ExecSimpleRelationUpdate(target->result, target->estate, &target->epq, target->old_slot, target->slot);
	compat_set_updated_columns(target->estate, target->rte, NULL);
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
			ExecSimpleRelationInsert(target->result, target->estate, target->slot);
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

/* The row as it was written, or NULL. */
static HeapTuple
write_row(const char *table, Writing writing, int columns, const Datum *values, const bool *nulls,
		  HeapTuple old, const bool *replaced)
{
	RowTarget *target;
	HeapTuple written = NULL;

	PreventCommandIfReadOnly(writing == UPDATE_ROW ? "UPDATE" : "INSERT");
	PushActiveSnapshot(GetTransactionSnapshot());
	target = row_target_open(table, columns);
	fill_slot(target, values, nulls);
	if (write_slot(target, writing, old, replaced) && writing != INSERT_ROW)
		written = ExecCopySlotHeapTuple(target->slot);
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

HeapTuple
row_insert_new(const char *table, int columns, Datum *values, bool *nulls)
{
	return write_row(table, INSERT_NEW_ROW, columns, values, nulls, NULL, NULL);
}

HeapTuple
row_update(const char *table, HeapTuple old, int columns, Datum *values, bool *nulls, bool *replaced)
{
	return write_row(table, UPDATE_ROW, columns, values, nulls, old, replaced);
}

TupleDesc
row_describe(const char *table)
{
	Relation rel = table_open(row_relation(table), RowExclusiveLock);
	TupleDesc desc = RelationGetDescr(rel);

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
	*desc = RelationGetDescr(rel);
	table_close(rel, NoLock);
	return tuple;
}

HeapTuple
row_target_lock(Relation rel, ItemPointer place, TupleTableSlot *slot)
{
	HeapTuple tuple = NULL;
	TM_FailureData failure;

	switch (table_tuple_lock(rel, place, GetActiveSnapshot(), slot, GetCurrentCommandId(false),
							 LockTupleNoKeyExclusive, LockWaitBlock,
							 IsolationUsesXactSnapshot() ? 0 : TUPLE_LOCK_FLAG_FIND_LAST_VERSION, &failure))
	{
		case TM_Ok:
			tuple = ExecCopySlotHeapTuple(slot);
			break;
		case TM_Updated:
		case TM_Deleted:
			if (IsolationUsesXactSnapshot())
				ereport(ERROR, (errcode(ERRCODE_T_R_SERIALIZATION_FAILURE),
								errmsg("could not serialize access due to concurrent update")));
			break;
		default:
			elog(ERROR, "a row of payout.%s could not be locked", RelationGetRelationName(rel));
	}
	ExecClearTuple(slot);
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

		tuple = row_target_lock(rel, &tuple->t_self, slot);
		ExecDropSingleTupleTableSlot(slot);
	}
	PopActiveSnapshot();
	*desc = RelationGetDescr(rel);
	table_close(rel, NoLock);
	return tuple;
}
