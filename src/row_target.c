/*
 * row_target.c: what the executor needs to know of a table to write its rows (its triggers, its checks, the predicates of
 * its indexes, all read and compiled), kept for the session as a RowTarget, and the columns of the tables.
 *
 * A target is made anew when the table or one of its indexes has changed, and after any error, which may have left pins in
 * its slots that are no longer ours. Relations are opened and locked each time, as by a statement, but only those indexes
 * that a row enters: most of a payout's are partial, and most updates enter none (HOT). To open them all took a tenth of a
 * payout's time.
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/sysattr.h"
#include "access/table.h"
#include "access/tableam.h"
#include "access/xact.h"
#include "catalog/namespace.h"
#include "commands/trigger.h"
#include "compat.h"
#include "executor/executor.h"
#include "miscadmin.h"
#include "row.h"
#include "row_target.h"
#include "storage/lmgr.h"
#include "utils/inval.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"

#define TARGETS_MAX 16
#define DESCRIPTIONS_MAX 32

static RowTarget *kept[TARGETS_MAX]; /* NULL: free */

/* The columns of a table. That of the relation cache may go with any message, lock or not, while nobody has it open. */
typedef struct Description
{
	Oid table;
	TupleDesc desc; /* not freed: callers may still hold it */
	bool stale;
} Description;

static Description described[DESCRIPTIONS_MAX];
static int described_count = 0;

/*
 * The relations found lately, each at a place that its name's address gives: a name is a literal, so its place is the same in
 * each call. Whatever stands there is compared with the name, and goes when its relation changes, as by a DROP.
 */
#define FOUND_MAX 64

typedef struct Found
{
	char name[NAMEDATALEN];
	Oid oid; /* InvalidOid: none */
} Found;

static Found found_lately[FOUND_MAX];

/* A relation has changed, or with InvalidOid any may have. */
static void
mark_stale(Datum arg, Oid relation)
{
	for (int i = 0; i < FOUND_MAX; i++)
		if (!OidIsValid(relation) || relation == found_lately[i].oid)
			found_lately[i].oid = InvalidOid;
	for (int i = 0; i < described_count; i++)
		if (!OidIsValid(relation) || relation == described[i].table)
			described[i].stale = true;
	for (int i = 0; i < TARGETS_MAX; i++)
	{
		bool concerned = kept[i] != NULL && (!OidIsValid(relation) || relation == kept[i]->table);

		for (int j = 0; kept[i] != NULL && j < kept[i]->index_count; j++)
			concerned = concerned || relation == kept[i]->indexes[j];
		if (concerned)
			kept[i]->stale = true;
	}
}

static void
watch_relations(void)
{
	static bool registered = false;

	if (!registered)
		CacheRegisterRelcacheCallback(mark_stale, (Datum) 0);
	registered = true;
}

Oid
row_relation(const char *name)
{
	Found *found = &found_lately[((uintptr_t) name / 4) % FOUND_MAX];

	watch_relations();
	if (!OidIsValid(found->oid) || strcmp(found->name, name) != 0)
	{
		found->oid = get_relname_relid(name, get_namespace_oid("payout", false));
		strlcpy(found->name, name, NAMEDATALEN);
	}
	if (!OidIsValid(found->oid))
		elog(ERROR, "relation payout.%s is missing", name);
	return found->oid;
}

static Description *
find_description(Oid table)
{
	watch_relations();
	for (int i = 0; i < described_count; i++)
		if (described[i].table == table)
			return &described[i];
	/* More than we have: tables of an extension that was dropped and created again. */
	if (described_count == DESCRIPTIONS_MAX)
		described_count = 0;
	described[described_count] = (Description){.table = table, .stale = true};
	return &described[described_count++];
}

TupleDesc
row_description(Relation rel)
{
	Description *found = find_description(RelationGetRelid(rel));

	if (!found->stale)
		return found->desc;
	if (found->desc == NULL || !equalTupleDescs(found->desc, RelationGetDescr(rel)))
	{
		MemoryContext outer = MemoryContextSwitchTo(TopMemoryContext);

		found->desc = CreateTupleDescCopyConstr(RelationGetDescr(rel));
		MemoryContextSwitchTo(outer);
	}
	found->stale = false;
	return found->desc;
}

/* The slots have a description of their own, as that of the relation may only be held by a transaction. */
static void
make_slots(RowTarget *target, Relation rel)
{
	TupleDesc desc = CreateTupleDescCopyConstr(RelationGetDescr(rel));

	target->slot = ExecInitExtraTupleSlot(target->estate, desc, table_slot_callbacks(rel));
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

/* The executor sees the indexes in row_target_enter alone. */
static void
close_indexes(RowTarget *target)
{
	target->result->ri_NumIndices = target->index_count;
	ExecCloseIndices(target->result);
	for (int i = 0; i < target->index_count; i++)
	{
		target->result->ri_IndexRelationDescs[i] = NULL;
		/* What an index (BRIN) keeps from row to row points to the relation, and is gone with the caller's context. */
		target->result->ri_IndexRelationInfo[i]->ii_AmCache = NULL;
	}
	target->result->ri_NumIndices = 0;
}

/* Whether a trigger calls a function of payout; constraints' triggers do not. */
static bool
is_our_trigger(const Trigger *trigger, Oid schema)
{
	return !trigger->tgisinternal && get_func_namespace(trigger->tgfoid) == schema &&
		   trigger->tgoldtable == NULL && trigger->tgnewtable == NULL;
}

/*
 * Whether a table is as CREATE EXTENSION made it, but for its indexes: then its rows can be written without a statement. Of
 * what others may add, this file serves indexes alone.
 */
static bool
is_as_made(Relation rel, int columns)
{
	TriggerDesc *triggers = rel->trigdesc;
	Oid schema = RelationGetNamespace(rel);

	if (RelationGetNumberOfAttributes(rel) != columns || rel->rd_rel->relkind != RELKIND_RELATION ||
		rel->rd_rel->relispartition || rel->rd_rel->relhassubclass || rel->rd_rules != NULL ||
		rel->rd_rel->relrowsecurity)
		return false;
	for (int i = 0; triggers != NULL && i < triggers->numtriggers; i++)
		if (!is_our_trigger(&triggers->triggers[i], schema))
			return false;
	return true;
}

/* The relation is open. */
static RowTarget *
make_target(Relation rel, int columns)
{
	MemoryContext context =
		AllocSetContextCreate(TopMemoryContext, "payout row target", ALLOCSET_DEFAULT_SIZES);
	MemoryContext outer = MemoryContextSwitchTo(context);
	RowTarget *target = palloc0(sizeof(RowTarget));
	ResultRelInfo *result = makeNode(ResultRelInfo);

	target->table = RelationGetRelid(rel);
	target->context = context;
	target->is_ours = is_as_made(rel, columns);
	if (!target->is_ours)
	{
		MemoryContextSwitchTo(outer);
		return target;
	}
	target->estate = CreateExecutorState();
	MemoryContextSetParent(target->estate->es_query_cxt, context);
	target->rte = make_range_table(target->estate, rel);
	target->result = result;
	InitResultRelInfo(result, rel, 1, NULL, 0);
	/* Triggers after a row look for it there. */
	target->estate->es_opened_result_relations = list_make1(result);
	for (int i = 0; result->ri_TrigDesc != NULL && i < result->ri_TrigDesc->numtriggers; i++)
		fmgr_info_cxt(result->ri_TrigDesc->triggers[i].tgfoid, &result->ri_TrigFunctions[i], context);
	make_slots(target, rel);
	ExecOpenIndices(result, true);
	target->index_count = result->ri_NumIndices;
	target->indexes = palloc(Max(target->index_count, 1) * sizeof(Oid));
	for (int i = 0; i < target->index_count; i++)
		target->indexes[i] = RelationGetRelid(result->ri_IndexRelationDescs[i]);
	close_indexes(target);
	MemoryContextSwitchTo(outer);
	return target;
}

/* The kept target of a table that can be used as it is, or NULL. Those that cannot are let go. */
static RowTarget *
find_kept(Oid table)
{
	RowTarget *found = NULL;

	watch_relations();
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

	if (target == NULL)
	{
		target = make_target(rel, columns);
		keep(target);
	}
	if (!target->is_ours)
	{
		table_close(rel, NoLock);
		if (!is_kept(target))
			row_target_forget(target);
		return NULL;
	}
	target->result->ri_RelationDesc = rel;
	for (int i = 0; i < target->index_count; i++)
		target->result->ri_IndexRelationInfo[i]->ii_Context = CurrentMemoryContext;
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
	ExecClearTuple(target->result->ri_TrigOldSlot);
	ResetPerTupleExprContext(target->estate);
	target->estate->es_snapshot = InvalidSnapshot;
	close_indexes(target);
	table_close(rel, NoLock);
	target->in_use = false;
	if (!is_kept(target))
		row_target_forget(target);
}

/* Whether a row belongs into an index. */
static bool
belongs(RowTarget *target, IndexInfo *index, TupleTableSlot *slot)
{
	ExprContext *context = GetPerTupleExprContext(target->estate);

	if (index->ii_Predicate == NIL)
		return true;
	if (index->ii_PredicateState == NULL)
		index->ii_PredicateState = ExecPrepareQual(index->ii_Predicate, target->estate);
	context->ecxt_scantuple = slot;
	return ExecQual(index->ii_PredicateState, context);
}

List *
row_target_enter(RowTarget *target, TupleTableSlot *slot, bool update, bool *conflict)
{
	ResultRelInfo *result = target->result;
	List *recheck;

	for (int i = 0; i < target->index_count; i++)
		if (result->ri_IndexRelationDescs[i] == NULL &&
			belongs(target, result->ri_IndexRelationInfo[i], slot))
			result->ri_IndexRelationDescs[i] = index_open(target->indexes[i], RowExclusiveLock);
	result->ri_NumIndices = target->index_count;
	recheck = compat_insert_index_tuples(result, slot, target->estate, update, conflict);
	result->ri_NumIndices = 0;
	return recheck;
}

/* A trigger may have refused the row silently: then it has no place. */
static bool
is_written(const RowTarget *target)
{
	return ItemPointerIsValid(&target->slot->tts_tid);
}

void
row_target_insert(RowTarget *target)
{
	ExecSimpleRelationInsert(target->result, target->estate, target->slot);
	if (is_written(target))
		(void) row_target_enter(target, target->slot, false, NULL);
}

/* The triggers are given the old version: the row is locked, so it need not be fetched and locked once more. */
static void
replace(RowTarget *target, HeapTuple old)
{
	ResultRelInfo *result = target->result;
	EState *estate = target->estate;
	TupleTableSlot *slot = target->slot;
	List *recheck = NIL;
	CompatUpdateIndexes unused;

	if (result->ri_TrigDesc != NULL && result->ri_TrigDesc->trig_update_before_row &&
		!ExecBRUpdateTriggers(estate, NULL, result, NULL, old, slot, NULL))
		return;
	ExecConstraints(result, slot, estate);
	simple_table_tuple_update(result->ri_RelationDesc, &old->t_self, slot, estate->es_snapshot, &unused);
	if (!HeapTupleIsHeapOnly(ExecFetchSlotHeapTuple(slot, false, NULL)))
		recheck = row_target_enter(target, slot, true, NULL);
	ExecARUpdateTriggers(estate, result, NULL, NULL, &old->t_self, NULL, slot, recheck, NULL, false);
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
	replace(target, old);
	compat_set_updated_columns(target->estate, target->rte, NULL);
}

/* Written by this transaction and not changed since: nobody else can lock or change it before it ends. */
static bool
is_ours(HeapTuple seen)
{
	return (seen->t_data->t_infomask & HEAP_XMAX_INVALID) != 0 &&
		   TransactionIdIsCurrentTransactionId(HeapTupleHeaderGetXmin(seen->t_data));
}

HeapTuple
row_target_lock(Relation rel, HeapTuple seen, TupleTableSlot *slot)
{
	HeapTuple tuple = NULL;
	TM_FailureData failure;

	if (is_ours(seen))
		return heap_copytuple(seen);
	switch (table_tuple_lock(rel, &seen->t_self, GetActiveSnapshot(), slot, GetCurrentCommandId(false),
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
