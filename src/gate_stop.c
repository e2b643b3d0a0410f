/*
 * gate_stop.c: the gate's side of sessions: what a transaction stops, and how it says so at its commit. The rules stand at the head
 * of gate.c.
 *
 *	 - A stop of configuration (database, channel, merchant) takes two steps. Before the commit the session marks its cells as
 *	   pending; after the commit (or abort) it raises their count and takes the mark away. So whoever looks before the commit is
 *	   visible finds the mark, and whoever has looked before finds another count than then.
 *	 - A payout's stop takes one step, before the commit: its key is written into the journal. One is enough: the session has changed
 *	   the payout's row so that no claim takes it, and holds its lock from before the commit until after it; or, where the bank has told
 *	   of a batch, the lock of the batch that carries it, without which it is not claimed either. A payout of which
 *	   nothing is claimed is not written: there is nothing to stop. So a merchant that moves its own payouts, however many, costs
 *	   the others nothing.
 *	 - What a subtransaction stopped and was undone with it is forgotten.
 *
 * PREPARE TRANSACTION has no callback when it is committed. A prepared payout keeps its row locked, so nothing new is claimed for
 * it, and what was claimed is stopped by PREPARE. Configuration has no such lock: PREPARE is refused.
 *
 * DROP EXTENSION takes the records away: it stops the whole database, by the hook on dropped objects.
 */
#include "postgres.h"

#include "access/xact.h"
#include "catalog/namespace.h"
#include "catalog/objectaccess.h"
#include "catalog/pg_class.h"
#include "catalog/pg_type.h"
#include "commands/trigger.h"
#include "crash_point.h"
#include "executor/spi.h"
#include "fmgr.h"
#include "gate_state.h"
#include "plan.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/rel.h"

PG_FUNCTION_INFO_V1(payout_stop_requests);
PG_FUNCTION_INFO_V1(payout_stop_payouts);

/* What this transaction stops. */
typedef struct Stop
{
	GateCell *cell; /* of configuration; NULL: a payout */
	uint64 payout_key;
	int level; /* of the subtransaction */
} Stop;

static Stop *stopped = NULL; /* in TopMemoryContext */
static int stopped_count = 0;
static int stopped_room = 0;
static bool marked = false;

static object_access_hook_type next_object_access = NULL;

void
gate_stop_at_commit(GateScope scope, const char *id)
{
	Stop stop = {.level = GetCurrentTransactionNestLevel()};
	const Stop *last = stopped_count > 0 ? &stopped[stopped_count - 1] : NULL;

	if (gate_state == NULL || (id == NULL && scope != GATE_DATABASE))
		return;
	if (scope == GATE_PAYOUT)
		stop.payout_key = gate_payout_key(id);
	else
		stop.cell = gate_cell(scope, id);
	/* What the worker moves in order to claim it is claimed only after this: its own claim must not stop it. */
	if (scope == GATE_PAYOUT && gate_is_worker() && !gate_has_claimed(stop.payout_key))
		return;
	if (last != NULL && last->cell == stop.cell && last->payout_key == stop.payout_key &&
		last->level == stop.level)
		return;
	if (stopped_count == stopped_room)
	{
		stopped_room = stopped_room * 2 + 64;
		stopped = stopped == NULL ? MemoryContextAlloc(TopMemoryContext, stopped_room * sizeof(Stop))
								  : repalloc_huge(stopped, stopped_room * sizeof(Stop));
	}
	stopped[stopped_count++] = stop;
}

static void
at_subtransaction_end(SubXactEvent event, SubTransactionId mine, SubTransactionId parent, void *arg)
{
	int level = GetCurrentTransactionNestLevel();

	if (event == SUBXACT_EVENT_ABORT_SUB)
		while (stopped_count > 0 && stopped[stopped_count - 1].level >= level)
			stopped_count--;
	if (event == SUBXACT_EVENT_COMMIT_SUB)
		for (int i = stopped_count - 1; i >= 0 && stopped[i].level >= level; i--)
			stopped[i].level = level - 1;
}

static GateScope
scope_of(const char *name)
{
	static const char *const names[] = {"database", "channel", "merchant", "payout"};

	for (int scope = 0; scope < (int) lengthof(names); scope++)
		if (strcmp(names[scope], name) == 0)
			return scope;
	elog(ERROR, "\"%s\" is no scope of a stop", name);
}

/*
 * A hold takes its payout out of the lane's queue: so the payout is locked until the hold is committed, and a claim whose
 * snapshot is older than the hold finds a newer version of the row, which is not due. (payout.resolve makes it due again.) The
 * worker, which claims, sees its own holds; nor could it wait for a row that somebody else has locked.
 */
static void
take_from_queue(HeapTuple tuple, TupleDesc desc)
{
	static SPIPlanPtr plan = NULL;
	Oid types[] = {TEXTOID, TEXTOID, TEXTOID};
	static const char *const columns[] = {"merchant_id", "txid", "lane"};
	Datum values[3];
	bool isnull;

	for (int i = 0; i < 3; i++)
		values[i] = SPI_getbinval(tuple, desc, SPI_fnumber(desc, columns[i]), &isnull);
	SPI_connect();
	(void) plan_run(&plan,
					"update payout.payout set"
					" check_due_at = case when $3 = 'validate' then null else check_due_at end,"
					" dispatch_due_at = case when $3 = 'dispatch' then null else dispatch_due_at end,"
					" status_due_at = case when $3 = 'check' then null else status_due_at end"
					" where merchant_id = $1 and txid = $2",
					3, types, values, NULL);
	SPI_finish();
}

/* The row's own scope, unless its column is null. */
static void
stop_of_row(HeapTuple tuple, TupleDesc desc, char **args)
{
	GateScope scope = scope_of(args[0]);
	int column = SPI_fnumber(desc, args[1]);

	if (column <= 0)
		elog(ERROR, "payout.stop_requests: no column \"%s\"", args[1]);
	if (scope == GATE_PAYOUT && !gate_is_worker())
		take_from_queue(tuple, desc);
	gate_stop_at_commit(scope, SPI_getvalue(tuple, desc, column));
}

/* Trigger stop_requests(scope, column), after a row has changed or all are gone: see gate.sql. */
Datum
payout_stop_requests(PG_FUNCTION_ARGS)
{
	TriggerData *trigger = (TriggerData *) fcinfo->context;
	TupleDesc desc;

	if (!CALLED_AS_TRIGGER(fcinfo) || trigger->tg_trigger->tgnargs != 2)
		ereport(ERROR, (errcode(ERRCODE_E_R_I_E_TRIGGER_PROTOCOL_VIOLATED),
						errmsg("payout.stop_requests is a trigger with two arguments")));
	if (TRIGGER_FIRED_FOR_STATEMENT(trigger->tg_event))
	{
		gate_stop_at_commit(GATE_DATABASE, NULL);
		return PointerGetDatum(NULL);
	}
	desc = RelationGetDescr(trigger->tg_relation);
	stop_of_row(trigger->tg_trigtuple, desc, trigger->tg_trigger->tgargs);
	if (TRIGGER_FIRED_BY_UPDATE(trigger->tg_event))
		stop_of_row(trigger->tg_newtuple, desc, trigger->tg_trigger->tgargs);
	return PointerGetDatum(NULL);
}

/* stop_payouts(txids): see gate.sql. */
Datum
payout_stop_payouts(PG_FUNCTION_ARGS)
{
	Datum *txids;
	bool *nulls;
	int count;

	deconstruct_array(PG_GETARG_ARRAYTYPE_P(0), TEXTOID, -1, false, TYPALIGN_INT, &txids, &nulls, &count);
	for (int i = 0; i < count; i++)
		if (!nulls[i])
			gate_stop_at_commit(GATE_PAYOUT, TextDatumGetCString(txids[i]));
	PG_RETURN_VOID();
}

/* Without payout.arming nothing is armed, nor is there a record of anything. */
static void
at_object_access(ObjectAccessType access, Oid class, Oid object, int sub, void *arg)
{
	if (next_object_access != NULL)
		next_object_access(access, class, object, sub, arg);
	if (access == OAT_DROP && class == RelationRelationId && sub == 0 &&
		get_rel_namespace(object) == get_namespace_oid("payout", true) &&
		OidIsValid(get_rel_namespace(object)) && strcmp(get_rel_name(object), "arming") == 0)
		gate_stop_at_commit(GATE_DATABASE, NULL);
}

static bool
stops_configuration(void)
{
	for (int i = 0; i < stopped_count; i++)
		if (stopped[i].cell != NULL)
			return true;
	return false;
}

/* Whether any request may have been claimed that this stop concerns. */
static bool
is_concerned(const Stop *stop)
{
	return stop->cell != NULL || pg_atomic_read_u32(gate_claims(stop->payout_key)) > 0;
}

static bool
any_is_concerned(void)
{
	for (int i = 0; i < stopped_count; i++)
		if (is_concerned(&stopped[i]))
			return true;
	return false;
}

/* First step; the only one for payouts. */
static void
mark(void)
{
	if (!any_is_concerned())
	{
		stopped_count = 0;
		return;
	}
	pg_atomic_fetch_add_u32(&gate_state->wanted, 1);
	LWLockAcquire(gate_state->moving, LW_EXCLUSIVE);
	pg_atomic_fetch_sub_u32(&gate_state->wanted, 1);
	for (int i = 0; i < stopped_count; i++)
	{
		if (stopped[i].cell != NULL)
			pg_atomic_fetch_add_u32(&stopped[i].cell->pending, 1);
		else if (is_concerned(&stopped[i]))
			gate_journal_write(stopped[i].payout_key);
	}
	LWLockRelease(gate_state->moving);
	marked = true;
}

/* Second step; without the first the transaction has failed before, and nothing was stopped. */
static void
count_stops(void)
{
	if (marked && stops_configuration())
	{
		/* all are full barriers: nobody finds the mark gone and a count as it was */
		for (int i = 0; i < stopped_count; i++)
			if (stopped[i].cell != NULL)
				pg_atomic_fetch_add_u32(&stopped[i].cell->stops, 1);
		pg_atomic_fetch_add_u64(&gate_state->configuration_stops, 1);
		for (int i = 0; i < stopped_count; i++)
			if (stopped[i].cell != NULL)
				pg_atomic_fetch_sub_u32(&stopped[i].cell->pending, 1);
	}
	stopped_count = 0;
	marked = false;
}

static void
refuse_prepare(void)
{
	ereport(
		ERROR,
		(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
		 errmsg(
			 "a transaction that arms, disarms, or alters a channel or merchant of payout cannot be prepared"),
		 errhint("What it stops must count from its commit on: commit it directly.")));
}

static void
at_transaction_end(XactEvent event, void *arg)
{
	if (stopped_count == 0)
		return;
	switch (event)
	{
		case XACT_EVENT_PRE_PREPARE:
			if (stops_configuration())
				refuse_prepare();
			mark();
			break;
		case XACT_EVENT_PRE_COMMIT:
			mark();
			crash_point("stop_before_commit");
			break;
		case XACT_EVENT_COMMIT:
		case XACT_EVENT_ABORT:
		case XACT_EVENT_PREPARE:
			count_stops();
			break;
		default:
			break;
	}
}

void
gate_register_callback(void)
{
	RegisterXactCallback(at_transaction_end, NULL);
	RegisterSubXactCallback(at_subtransaction_end, NULL);
	next_object_access = object_access_hook;
	object_access_hook = at_object_access;
}
