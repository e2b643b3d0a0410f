/*
 * gate.c: the one gate that each request of the worker passes last, before its first byte.
 *
 * A request can wait in many places after it was claimed: in the reserve, for a bearer, for a name, a connection, TLS. While
 * it waits, an operator may pause its channel, alter it, disarm the database, take the database from payout.databases, or take
 * the secret file away; a payout may be held, or be settled by a notice. None of these places has a guard of its own. There is
 * one: gate_refusal(), which libcurl's callback asks when the connection stands and before the request is written.
 *
 * What must hold: after the commit of a stop, no first byte of a request that it concerns.
 *
 *	 - Stops are counted in shared memory, in cells: a hash of the scope (database, channel, merchant, payout) and of a random seed
 *	   chooses the cell. Two scopes that meet in one cell stop each other's requests now and then: those are released and
 *	   claimed again. Nobody can choose with whom to meet.
 *	 - A session counts stops of configuration in two steps. Before its commit it marks its cells as pending; after the commit (or
 *	   abort) it raises their count and takes the mark away. So whoever looks before the commit is visible finds the mark, and
 *	   whoever has looked before finds another count than then. While a mark is there nothing is claimed that it concerns.
 *	 - A payout's stop needs one step: the session has changed the payout's row so that no claim takes it, and holds its lock from
 *	   before its commit until after it. So a request that the stop concerns was claimed before the session looks, and
 *	   the worker has counted it as claimed before the claim's commit gave the row free. Where no cell is claimed there is
 *	   nothing to stop: a merchant that moves its own payouts, however many, costs the others nothing.
 *	 - What a subtransaction stopped and was undone with it is forgotten.
 *	 - The worker copies all counts before the transaction in which it looks at arming, channels and queues (gate_look).
 *	   An exchange keeps the sum over its own cells (gate_admit). It passes while no cell of it is pending and the sum is the same:
 *	   then nothing has been committed since that the transaction did not see.
 *	 - Between the callback and the writing nothing may be committed either. So bytes move under a lock in share mode, a socket at
 *	   a time (gate_pump), and a session takes the lock alone for the moment in which it marks its cells.
 *
 * A wait for a synchronous standby stands between the two steps: meanwhile the worker sends nothing of that scope, and could not
 * commit a claim anyway.
 *
 * PREPARE TRANSACTION has no callback when it is committed. A prepared payout keeps its row locked, so nothing new is claimed for
 * it, and what was claimed is stopped by PREPARE. Configuration has no such lock: PREPARE is refused.
 *
 * DROP EXTENSION takes the records away: it stops the whole database, by the hook on dropped objects.
 *
 * What is refused here was provably not sent: it ends as released, counts as no try, and is due again.
 */
#include "postgres.h"

#include "access/xact.h"
#include "catalog/namespace.h"
#include "catalog/objectaccess.h"
#include "catalog/pg_class.h"
#include "catalog/pg_type.h"
#include "channel.h"
#include "clock.h"
#include "commands/dbcommands.h"
#include "commands/trigger.h"
#include "common/hashfn.h"
#include "crash_point.h"
#include "executor/spi.h"
#include "fmgr.h"
#include "gate.h"
#include "miscadmin.h"
#include "port/atomics.h"
#include "postmaster/interrupt.h"
#include "plan.h"
#include "secret_file.h"
#include "settings.h"
#include "storage/ipc.h"
#include "storage/lwlock.h"
#include "storage/shmem.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/rel.h"

PG_FUNCTION_INFO_V1(payout_stop_requests);

#define GATE_CELLS 8192

/* How long bytes wait for a session that wants to mark a stop, at most. */
#define FENCE_PAUSE_US 50
#define FENCE_TRIES 100

typedef struct GateCell
{
	pg_atomic_uint32 stops;	  /* that were committed, or undone */
	pg_atomic_uint32 pending; /* transactions between the two steps */
	pg_atomic_uint32 claimed; /* requests that a worker has claimed and that have not ended */
} GateCell;

typedef struct GateState
{
	LWLock *moving;			 /* shared: bytes move; exclusive: a stop is marked */
	pg_atomic_uint32 wanted; /* sessions that wait for it */
	uint32 seed;
	pg_atomic_uint64 stops;				  /* of any scope */
	pg_atomic_uint64 configuration_stops; /* of databases, channels and merchants */
	GateCell cells[GATE_CELLS];
} GateState;

static GateState *state = NULL;

/* A session: what this transaction stops. */
typedef struct Stop
{
	uint32 cell;
	bool is_configuration;
	int level; /* of the subtransaction */
} Stop;

static Stop *stopped = NULL; /* in TopMemoryContext */
static int stopped_count = 0;
static int stopped_room = 0;
static bool marked = false;

static object_access_hook_type next_object_access = NULL;

/* The worker. */
static uint32 *seen = NULL;	   /* the counts at the last look */
static uint32 *claimed = NULL; /* our part of what is claimed */
static HTAB *claimed_payouts = NULL;
static uint64 stops_seen = UINT64_MAX;
static uint64 configuration_seen = 0;
static uint32 readings = 0; /* of the settings */
static bool is_listed = false;

/* A payout of which a request was claimed and has not ended. */
typedef struct ClaimedPayout
{
	uint64 key; /* hash of its TXID */
	int requests;
} ClaimedPayout;

/* What an exchange needs to pass. */
struct GatePass
{
	uint32 readings;
	uint64 stops; /* sum over the cells */
	int count;
	uint32 cells[FLEXIBLE_ARRAY_MEMBER];
};

Size
gate_shmem_size(void)
{
	return MAXALIGN(sizeof(GateState));
}

void
gate_shmem_init(void)
{
	bool found;

	state = ShmemInitStruct("payout gate", sizeof(GateState), &found);
	if (found)
		return;
	state->moving = &(GetNamedLWLockTranche("payout"))[3].lock;
	if (!pg_strong_random(&state->seed, sizeof(state->seed)))
		elog(ERROR, "could not draw a random seed");
	pg_atomic_init_u32(&state->wanted, 0);
	pg_atomic_init_u64(&state->stops, 0);
	pg_atomic_init_u64(&state->configuration_stops, 0);
	for (int i = 0; i < GATE_CELLS; i++)
	{
		pg_atomic_init_u32(&state->cells[i].stops, 0);
		pg_atomic_init_u32(&state->cells[i].pending, 0);
		pg_atomic_init_u32(&state->cells[i].claimed, 0);
	}
}

static uint32
find_cell(GateScope scope, const char *id)
{
	uint32 hash = hash_combine(hash_combine(state->seed, hash_uint32(MyDatabaseId)), hash_uint32(scope));

	if (scope != GATE_DATABASE)
		hash = hash_combine(hash, hash_bytes((const unsigned char *) id, (int) strlen(id)));
	return hash % GATE_CELLS;
}

static ClaimedPayout *
find_claimed(const char *txid, HASHACTION action)
{
	uint64 key = hash_bytes_extended((const unsigned char *) txid, strlen(txid), state->seed);
	bool found;
	ClaimedPayout *payout = hash_search(claimed_payouts, &key, action, &found);

	if (payout != NULL && !found)
		payout->requests = 0;
	return payout;
}

/* ---- sessions ---- */

void
gate_stop_at_commit(GateScope scope, const char *id)
{
	uint32 cell;

	if (state == NULL || (id == NULL && scope != GATE_DATABASE))
		return;
	/* The worker moves all payouts. Other ones, which share a cell with one of those, have nothing to do with it. */
	if (scope == GATE_PAYOUT && gate_is_worker() && find_claimed(id, HASH_FIND) == NULL)
		return;
	cell = find_cell(scope, id);
	if (stopped_count > 0 && stopped[stopped_count - 1].cell == cell &&
		stopped[stopped_count - 1].level == GetCurrentTransactionNestLevel())
		return;
	if (stopped_count == stopped_room)
	{
		stopped_room = stopped_room * 2 + 64;
		stopped = stopped == NULL ? MemoryContextAlloc(TopMemoryContext, stopped_room * sizeof(Stop))
								  : repalloc_huge(stopped, stopped_room * sizeof(Stop));
	}
	stopped[stopped_count++] = (Stop){cell, scope != GATE_PAYOUT, GetCurrentTransactionNestLevel()};
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
		if (stopped[i].is_configuration)
			return true;
	return false;
}

/* Whether any request may have been claimed that these stops concern. */
static bool
is_concerned(void)
{
	for (int i = 0; i < stopped_count; i++)
		if (stopped[i].is_configuration || pg_atomic_read_u32(&state->cells[stopped[i].cell].claimed) > 0)
			return true;
	return false;
}

/* First step. */
static void
mark(void)
{
	if (!is_concerned())
	{
		stopped_count = 0;
		return;
	}
	pg_atomic_fetch_add_u32(&state->wanted, 1);
	LWLockAcquire(state->moving, LW_EXCLUSIVE);
	pg_atomic_fetch_sub_u32(&state->wanted, 1);
	for (int i = 0; i < stopped_count; i++)
	{
		GateCell *cell = &state->cells[stopped[i].cell];

		if (stopped[i].is_configuration)
			pg_atomic_fetch_add_u32(&cell->pending, 1);
		else if (pg_atomic_read_u32(&cell->claimed) > 0)
			pg_atomic_fetch_add_u32(&cell->stops, 1);
	}
	pg_atomic_fetch_add_u64(&state->stops, 1);
	LWLockRelease(state->moving);
	marked = true;
}

/* Second step; without the first the transaction has failed before, and nothing was stopped. */
static void
count_stops(void)
{
	if (marked && stops_configuration())
		pg_atomic_fetch_add_u64(&state->configuration_stops, 1);
	/* all are full barriers: nobody finds the mark gone and a count as it was */
	for (int i = 0; i < stopped_count && marked; i++)
		if (stopped[i].is_configuration)
			pg_atomic_fetch_add_u32(&state->cells[stopped[i].cell].stops, 1);
	if (marked)
		pg_atomic_fetch_add_u64(&state->stops, 1);
	for (int i = 0; i < stopped_count && marked; i++)
		if (stopped[i].is_configuration)
			pg_atomic_fetch_sub_u32(&state->cells[stopped[i].cell].pending, 1);
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

/* ---- the worker ---- */

/* What this process has claimed when it ends is nobody's any more. */
static void
forget_claimed(int code, Datum arg)
{
	for (int i = 0; i < GATE_CELLS; i++)
		if (claimed[i] > 0)
			pg_atomic_fetch_sub_u32(&state->cells[i].claimed, claimed[i]);
	memset(claimed, 0, GATE_CELLS * sizeof(uint32));
}

bool
gate_is_worker(void)
{
	return seen != NULL;
}

void
gate_begin_worker(void)
{
	HASHCTL ctl = {.keysize = sizeof(uint64), .entrysize = sizeof(ClaimedPayout), .hcxt = TopMemoryContext};

	seen = MemoryContextAllocZero(TopMemoryContext, GATE_CELLS * sizeof(uint32));
	claimed = MemoryContextAllocZero(TopMemoryContext, GATE_CELLS * sizeof(uint32));
	claimed_payouts =
		hash_create("payout claimed payouts", 1024, &ctl, HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
	before_shmem_exit(forget_claimed, (Datum) 0);
}

void
gate_look(void)
{
	uint64 stops = pg_atomic_read_u64(&state->stops);

	configuration_seen = pg_atomic_read_u64(&state->configuration_stops);
	pg_read_barrier();
	/* Mostly nothing was stopped since. */
	for (int i = 0; i < GATE_CELLS && stops != stops_seen; i++)
		seen[i] = pg_atomic_read_u32(&state->cells[i].stops);
	stops_seen = stops;
	/* no read of a table comes before these */
	pg_memory_barrier();
}

uint64
gate_configuration_seen(void)
{
	return configuration_seen;
}

bool
gate_settings_read(void)
{
	char *name;
	List *names;
	ListCell *cell;

	StartTransactionCommand();
	name = get_database_name(MyDatabaseId);
	names = payout_database_list();
	is_listed = false;
	foreach(cell, names)
		is_listed = is_listed || (name != NULL && strcmp(lfirst(cell), name) == 0);
	CommitTransactionCommand();
	readings++;
	return is_listed;
}

static void
add_cell(struct GatePass *pass, GateScope scope, const char *id)
{
	uint32 cell = find_cell(scope, id);

	pass->cells[pass->count++] = cell;
	pass->stops += seen[cell];
	claimed[cell]++;
	pg_atomic_fetch_add_u32(&state->cells[cell].claimed, 1);
}

void
gate_admit(Exchange *exchange)
{
	const BankOrder *order = &exchange->order;
	struct GatePass *pass = MemoryContextAllocZero(
		exchange->context, offsetof(struct GatePass, cells) + (2 + order->item_count) * sizeof(uint32));

	pass->readings = readings;
	add_cell(pass, GATE_DATABASE, NULL);
	if (exchange->channel != NULL)
		add_cell(pass, GATE_CHANNEL, exchange->channel->channel_id);
	else
		add_cell(pass, GATE_MERCHANT, exchange->merchant_id);
	for (int i = 0; i < order->item_count; i++)
	{
		add_cell(pass, GATE_PAYOUT, order->items[i].txid);
		find_claimed(order->items[i].txid, HASH_ENTER)->requests++;
	}
	exchange->pass = pass;
}

void
gate_leave(Exchange *exchange)
{
	struct GatePass *pass = exchange->pass;
	const BankOrder *order = &exchange->order;

	if (pass == NULL)
		return;
	for (int i = 0; i < pass->count; i++)
	{
		claimed[pass->cells[i]]--;
		pg_atomic_fetch_sub_u32(&state->cells[pass->cells[i]].claimed, 1);
	}
	for (int i = 0; i < order->item_count; i++)
		if (--find_claimed(order->items[i].txid, HASH_FIND)->requests == 0)
			(void) find_claimed(order->items[i].txid, HASH_REMOVE);
	exchange->pass = NULL;
}

bool
gate_is_stopping(const char *channel_id)
{
	return pg_atomic_read_u32(&state->cells[find_cell(GATE_DATABASE, NULL)].pending) != 0 ||
		   pg_atomic_read_u32(&state->cells[find_cell(GATE_CHANNEL, channel_id)].pending) != 0;
}

/* What the worker knows of the channel itself. */
static const char *
channel_refusal(const Exchange *exchange)
{
	const BankChannel *channel = exchange->channel;

	if (channel == NULL)
		return NULL;
	if (!channel->seen || channel->paused)
		return "the channel was paused before this was sent";
	if (exchange->channel_version != channel->version_no)
		return "the channel was altered before this was sent";
	if (exchange->lane == LANE_DISPATCH && !channel_may_dispatch(channel))
		return "the bank refused for now before this was sent";
	return NULL;
}

static const char *
pass_refusal(const struct GatePass *pass)
{
	uint64 stops = 0;

	for (int i = 0; i < pass->count; i++)
	{
		GateCell *cell = &state->cells[pass->cells[i]];

		if (pg_atomic_read_u32(&cell->pending) != 0)
			return "something was stopped or altered before this was sent";
		/* the mark is read before the count: a session raises the count before it takes the mark away */
		pg_read_barrier();
		stops += pg_atomic_read_u32(&cell->stops);
	}
	return stops == pass->stops ? NULL : "something was stopped or altered before this was sent";
}

const char *
gate_refusal(const Exchange *exchange)
{
	const char *why;

	if (mutation("gate_not_asked"))
		return NULL;
	if (ProcDiePending || ShutdownRequestPending)
		return "the worker was told to end before this was sent";
	if (ConfigReloadPending || exchange->pass->readings != readings)
		return "the settings were changed before this was sent";
	if (!is_listed)
		return "payout.databases ceased to list this database before this was sent";
	if (!secret_file_is_ours())
		return "payout.secret_file was changed before this was sent";
	if (exchange->leave_before != 0 && payout_now() >= exchange->leave_before)
		return "the bank may forget the reference before this could be answered";
	why = pass_refusal(exchange->pass);
	return why != NULL ? why : channel_refusal(exchange);
}

/* Bytes move from here on. A session that waits to mark a stop goes first. */
static void
enter(void)
{
	for (int i = 0; i < FENCE_TRIES && pg_atomic_read_u32(&state->wanted) > 0; i++)
		pg_usleep(FENCE_PAUSE_US);
	LWLockAcquire(state->moving, LW_SHARED);
}

static void
leave(void)
{
	LWLockRelease(state->moving);
}

void
gate_pump(void)
{
	http_pump(enter, leave);
}
