/*
 * row.c: single rows without the planner and the start of an executor, which cost several times what the row does.
 *
 * Inserting goes the way of replication's apply worker (ExecSimpleRelationInsert), so nothing is left out that INSERT does.
 * Rights are not checked: the callers act for the extension's owner.
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "access/tableam.h"
#include "access/xact.h"
#include "catalog/namespace.h"
#include "catalog/pg_collation.h"
#include "commands/trigger.h"
#include "executor/executor.h"
#include "row.h"
#include "utils/fmgroids.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"

static Oid
relation_oid(const char *name)
{
	Oid oid = get_relname_relid(name, get_namespace_oid("payout", false));

	if (!OidIsValid(oid))
		elog(ERROR, "relation payout.%s is missing", name);
	return oid;
}

HeapTuple
row_fetch(const char *table, const char *index, int keys, const Datum *key, TupleDesc *desc)
{
	Relation rel = table_open(relation_oid(table), AccessShareLock);
	ScanKeyData scan_keys[ROW_KEYS_MAX];
	SysScanDesc scan;
	HeapTuple tuple;

	for (int i = 0; i < keys; i++)
		ScanKeyEntryInitialize(&scan_keys[i], 0, i + 1, BTEqualStrategyNumber, InvalidOid, C_COLLATION_OID,
							   F_TEXTEQ, key[i]);
	/* What a statement that begins now would see. */
	PushActiveSnapshot(GetTransactionSnapshot());
	scan = systable_beginscan(rel, relation_oid(index), true, GetActiveSnapshot(), keys, scan_keys);
	tuple = systable_getnext(scan);
	if (HeapTupleIsValid(tuple))
		tuple = heap_copytuple(tuple);
	systable_endscan(scan);
	PopActiveSnapshot();
	*desc = RelationGetDescr(rel);
	table_close(rel, NoLock);
	return tuple;
}

void
row_insert(const char *table, int columns, Datum *values, bool *nulls)
{
	Relation rel = table_open(relation_oid(table), RowExclusiveLock);
	EState *estate = CreateExecutorState();
	ResultRelInfo *target = makeNode(ResultRelInfo);
	TupleTableSlot *slot;

	if (RelationGetNumberOfAttributes(rel) != columns)
		elog(ERROR, "payout.%s has %d columns, not %d", table, RelationGetNumberOfAttributes(rel), columns);
	InitResultRelInfo(target, rel, 0, NULL, 0);
	estate->es_opened_result_relations = lappend(estate->es_opened_result_relations, target);
	slot = ExecInitExtraTupleSlot(estate, RelationGetDescr(rel), table_slot_callbacks(rel));
	ExecClearTuple(slot);
	memcpy(slot->tts_values, values, columns * sizeof(Datum));
	memcpy(slot->tts_isnull, nulls, columns * sizeof(bool));
	ExecStoreVirtualTuple(slot);

	AfterTriggerBeginQuery();
	ExecOpenIndices(target, false);
	ExecSimpleRelationInsert(target, estate, slot);
	ExecCloseIndices(target);
	AfterTriggerEndQuery(estate);
	ExecResetTupleTable(estate->es_tupleTable, false);
	FreeExecutorState(estate);
	table_close(rel, NoLock);
	CommandCounterIncrement();
}
