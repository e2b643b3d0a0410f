/*
 * worker.c: life of one database's worker, and its turn.
 *
 * One turn: wait on {latch, postmaster death, sockets, timer}; serve interrupts and reload; pump libcurl; then, in one
 * short durable transaction, record what ended and claim new work with its attempts; then start what was claimed.
 *
 * Invariants kept here:
 *	 - No transaction, snapshot or lock on a row is held while anything is waited for outside the database.
 *	 - Nothing is sent before the transaction that claimed it has committed durably (synchronous_commit at least on, and
 *	   SIGINT ignored: a cancelled wait for a standby would count as a commit).
 *	 - Two workers never turn for one database: an advisory lock in it, and a lock on payout.secret_file against copies.
 *	 - A row that fails alone is set aside; it never stops its lane. A row that is merely locked is tried again.
 */
#include "postgres.h"

#include "access/xact.h"
#include "access/xlog.h"
#include "breaker.h"
#include "catalog/pg_type.h"
#include "clock.h"
#include "commands/extension.h"
#include "event_loop.h"
#include "executor/spi.h"
#include "fmgr.h"
#include "lane.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "postmaster/bgworker.h"
#include "postmaster/interrupt.h"
#include "secret_file.h"
#include "settings.h"
#include "storage/ipc.h"
#include "storage/lmgr.h"
#include "storage/lock.h"
#include "tcop/tcopprot.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"
#include "wakeup.h"
#include "worker.h"

#define ADVISORY_CLASS 0x7061796f /* our own half of the key space of advisory locks */
#define LEAST_WAIT_MS 50		  /* should due work turn out to be locked by others */
#define RECORD_AGAIN_MS 500
#define LANE_PAUSE_MS 1000 /* after a lane's claim failed */

static const LaneWork *const bank_lanes[BANK_LANES] = {&validate_lane, &dispatch_lane, &check_lane};

static pg_uuid_t incarnation_id;
static bool incarnation_begun = false;
static dlist_head ended = DLIST_STATIC_INIT(ended); /* ended exchanges, to be recorded */
static int64 lane_pause_until_ms[BANK_LANES + 1];
static int64 record_again_ms = 0; /* when to try again to record what was locked; 0: nothing was */
static int64 next_turn_ms = 0;	  /* real; 0: at once */

/* -------- transactions -------- */

static void
begin(void)
{
	SetCurrentStatementStartTimestamp();
	StartTransactionCommand();
	SPI_connect();
	PushActiveSnapshot(GetTransactionSnapshot());
	pgstat_report_activity(STATE_RUNNING, "payout worker turn");
}

static void
commit(void)
{
	SPI_finish();
	PopActiveSnapshot();
	CommitTransactionCommand();
	/* A wait for a synchronous standby that was cut short by our own end must not count as done. */
	CHECK_FOR_INTERRUPTS();
	pgstat_report_stat(true);
	pgstat_report_activity(STATE_IDLE, NULL);
}

/* Ends the failed transaction; returns the error, palloc'ed in the current context. */
static ErrorData *
fail(MemoryContext context)
{
	ErrorData *error;

	MemoryContextSwitchTo(context);
	error = CopyErrorData();
	FlushErrorState();
	AbortCurrentTransaction();
	pgstat_report_activity(STATE_IDLE, NULL);
	MemoryContextSwitchTo(context);
	return error;
}

static bool
is_transient(const ErrorData *error)
{
	return error->sqlerrcode == ERRCODE_LOCK_NOT_AVAILABLE ||
		   error->sqlerrcode == ERRCODE_T_R_DEADLOCK_DETECTED ||
		   error->sqlerrcode == ERRCODE_T_R_SERIALIZATION_FAILURE ||
		   ERRCODE_TO_CATEGORY(error->sqlerrcode) == ERRCODE_INSUFFICIENT_RESOURCES ||
		   ERRCODE_TO_CATEGORY(error->sqlerrcode) == ERRCODE_OPERATOR_INTERVENTION;
}

/* Where the extension is gone there is nothing to do; the launcher looks again. */
static void
exit_if_dropped(void)
{
	bool installed;

	StartTransactionCommand();
	installed = OidIsValid(get_extension_oid("payout", true));
	CommitTransactionCommand();
	if (!installed)
		proc_exit(0);
}

/* -------- recording -------- */

static void
record_one(Exchange *exchange)
{
	if (exchange->lane == LANE_NOTIFY)
		notify_record(exchange, &incarnation_id);
	else
		bank_lanes[exchange->lane]->record(exchange, &incarnation_id);
}

static void
release(Exchange *exchange)
{
	if (exchange->lane == LANE_NOTIFY)
		notify_release(exchange);
	exchange_free(exchange);
}

/* Sets aside what could not be recorded: the attempt becomes unknown, its payouts wait for a person. */
static void
set_aside(Exchange *exchange, const ErrorData *error)
{
	Oid types[] = {TEXTOID, UUIDOID, UUIDOID, TEXTOID};
	Datum values[4];
	MemoryContext context = CurrentMemoryContext;

	ereport(LOG, (errmsg("payout could not record an outcome of lane %d and sets it aside: %s",
						 exchange->lane, error->message)));
	if (exchange->lane == LANE_NOTIFY)
		return; /* it stays with this incarnation and is sent again by the next */
	PG_TRY();
	{
		begin();
		values[0] = CStringGetTextDatum(exchange->channel->channel_id);
		values[1] = UUIDPGetDatum(&exchange->attempt_id);
		values[2] = UUIDPGetDatum(&incarnation_id);
		values[3] = CStringGetTextDatum(error->message);
		if (SPI_execute_with_args("select payout.set_aside_attempt($1, $2, $3, $4)", 4, types, values, NULL,
								  false, 0) != SPI_OK_SELECT)
			elog(ERROR, "could not set an attempt aside");
		commit();
	}
	PG_CATCH();
	{
		(void) fail(context);
	}
	PG_END_TRY();
}

/* Records one exchange in a transaction of its own. False: the row is locked by somebody, try again soon. */
static bool
record_singly(Exchange *exchange, MemoryContext context)
{
	ErrorData *volatile error = NULL;

	PG_TRY();
	{
		begin();
		record_one(exchange);
		commit();
	}
	PG_CATCH();
	{
		error = fail(context);
	}
	PG_END_TRY();
	if (error != NULL && is_transient(error))
		return false;
	if (error != NULL)
		set_aside(exchange, error);
	return true;
}

/* Records all that ended in one transaction; should that fail, singly, and what is locked again later. */
static void
record_all(MemoryContext context)
{
	volatile bool failed = false;
	dlist_mutable_iter iter;

	PG_TRY();
	{
		begin();
		dlist_foreach_modify(iter, &ended)
			record_one(dlist_container(Exchange, node, iter.cur));
		commit();
	}
	PG_CATCH();
	{
		(void) fail(context);
		failed = true;
	}
	PG_END_TRY();
	if (failed)
		exit_if_dropped();
	dlist_foreach_modify(iter, &ended)
	{
		Exchange *exchange = dlist_container(Exchange, node, iter.cur);

		if (failed && !record_singly(exchange, context))
			continue;
		dlist_delete(&exchange->node);
		release(exchange);
	}
	record_again_ms = dlist_is_empty(&ended) ? 0 : payout_unix_ms() + RECORD_AGAIN_MS;
	wakeup_answered();
}

/* -------- claiming -------- */

/* Free places of a channel in a lane. Sets *rests_until_ms where its host rests. */
static int
free_places(BankChannel *channel, Lane lane, int64 *rests_until_ms)
{
	int places = Min(payout_max_in_flight - exchange_in_flight(lane),
					 channel->in_flight_max - channel->in_flight[lane]);

	if (!channel->seen || channel->paused || channel->protocol == NULL || !http_can_start())
		return 0;
	if (payout_unix_ms() < lane_pause_until_ms[lane])
	{
		*rests_until_ms = lane_pause_until_ms[lane];
		return 0;
	}
	return Max(0, breaker_allows(channel->base_url, places, rests_until_ms));
}

static bool
query_bool(const char *sql, const char *argument)
{
	Oid types[] = {TEXTOID};
	Datum values[] = {argument != NULL ? CStringGetTextDatum(argument) : (Datum) 0};
	bool isnull;

	if (SPI_execute_with_args(sql, argument != NULL ? 1 : 0, types, values, NULL, false, 1) !=
			SPI_OK_SELECT ||
		SPI_processed != 1)
		elog(ERROR, "could not run \"%s\"", sql);
	return DatumGetBool(SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1, &isnull)) && !isnull;
}

static void
claim_lane(const LaneWork *work, dlist_head *claimed)
{
	dlist_iter iter;
	int64 ignored;

	dlist_foreach(iter, channel_list())
	{
		BankChannel *channel = dlist_container(BankChannel, node, iter.cur);
		int places = free_places(channel, work->lane, &ignored);

		if (places > 0 && (work->lane != LANE_DISPATCH ||
						   query_bool("select payout.may_dispatch($1)", channel->channel_id)))
			work->claim(channel, places, claimed);
	}
}

/* The names of the channels that can take nothing in a lane now. */
static Datum
full_channels(Lane lane, int64 *rests_until_ms)
{
	ArrayBuildState *full = initArrayResult(TEXTOID, CurrentMemoryContext, false);
	dlist_iter iter;

	dlist_foreach(iter, channel_list())
	{
		BankChannel *channel = dlist_container(BankChannel, node, iter.cur);

		if (free_places(channel, lane, rests_until_ms) == 0)
			full = accumArrayResult(full, CStringGetTextDatum(channel->channel_id), false, TEXTOID,
									CurrentMemoryContext);
	}
	return makeArrayResult(full, CurrentMemoryContext);
}

/* When the tables have work next that could be taken, as real milliseconds. */
static int64
find_next_turn(void)
{
	static SPIPlanPtr plan = NULL;
	Oid types[] = {TEXTARRAYOID, TEXTARRAYOID, TEXTARRAYOID, BOOLOID, TEXTARRAYOID};
	int64 now_ms = payout_unix_ms();
	int64 rests_ms[BANK_LANES + 1] = {0};
	int64 next_ms = now_ms + payout_safety_poll_ms;
	Datum values[5];
	bool isnull;
	TimestampTz due;

	for (int lane = 0; lane < BANK_LANES; lane++)
		values[lane] = full_channels(lane, &rests_ms[lane]);
	values[3] = BoolGetDatum(exchange_in_flight(LANE_NOTIFY) >= payout_max_in_flight || !http_can_start());
	values[4] = notify_skip(&rests_ms[BANK_LANES]);
	if (plan == NULL)
	{
		plan = SPI_prepare("select payout.next_due($1, $2, $3, $4, $5)", 5, types);
		if (plan == NULL || SPI_keepplan(plan) != 0)
			elog(ERROR, "could not prepare payout.next_due");
	}
	if (SPI_execute_plan(plan, values, NULL, false, 1) != SPI_OK_SELECT)
		elog(ERROR, "payout.next_due failed");
	due = DatumGetTimestampTz(SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1, &isnull));
	if (!isnull && due < payout_now() + (int64) payout_safety_poll_ms * 1000)
		next_ms = now_ms + Max((due - payout_now()) / 1000 + 1, LEAST_WAIT_MS);
	for (int lane = 0; lane <= BANK_LANES; lane++)
		if (rests_ms[lane] > 0)
			next_ms = Min(next_ms, Max(rests_ms[lane], now_ms + LEAST_WAIT_MS));
	return next_ms;
}

/* Parts of a claiming transaction: each bank lane, schedules, and notify. */
#define PART(lane) (1 << (lane))
#define PART_SCHEDULES PART(LANE_TOKEN)
#define ALL_PARTS (PART(LANE_TOKEN + 1) - 1)

static void
claim_parts(int parts, dlist_head *claimed)
{
	if ((parts & PART_SCHEDULES) != 0 &&
		SPI_execute("select payout.release_schedules(1000)", false, 0) != SPI_OK_SELECT)
		elog(ERROR, "could not release schedules");
	for (int lane = 0; lane < BANK_LANES; lane++)
		if ((parts & PART(lane)) != 0)
			claim_lane(bank_lanes[lane], claimed);
	if ((parts & PART(LANE_NOTIFY)) != 0 && exchange_in_flight(LANE_NOTIFY) < payout_max_in_flight &&
		http_can_start())
		notify_claim(payout_max_in_flight - exchange_in_flight(LANE_NOTIFY), &incarnation_id, claimed);
	exchange_save_attempts(claimed, &incarnation_id);
}

/* One claiming transaction, its attempts included. False when it failed and nothing was claimed. */
static bool
claim_in_transaction(int parts, dlist_head *all, MemoryContext context)
{
	dlist_head claimed = DLIST_STATIC_INIT(claimed);
	ErrorData *volatile error = NULL;

	PG_TRY();
	{
		begin();
		claim_parts(parts, &claimed);
		commit();
	}
	PG_CATCH();
	{
		error = fail(context);
	}
	PG_END_TRY();
	if (error == NULL)
	{
		while (!dlist_is_empty(&claimed))
			dlist_push_tail(all, dlist_pop_head_node(&claimed));
		return true;
	}
	while (!dlist_is_empty(&claimed))
		release(dlist_container(Exchange, node, dlist_pop_head_node(&claimed)));
	exit_if_dropped();
	ereport(LOG, (errmsg("payout could not claim work: %s", error->message),
				  error->context ? errcontext("%s", error->context) : 0));
	return false;
}

/* A claim failed: tries each due payout of the lane alone, and sets aside those that fail alone. */
static void
isolate(const char *lane_name, MemoryContext context)
{
	Oid types[] = {TEXTOID};
	Datum values[] = {CStringGetTextDatum(lane_name)};

	PG_TRY();
	{
		begin();
		if (SPI_execute_with_args("select payout.isolate($1)", 1, types, values, NULL, false, 0) !=
			SPI_OK_SELECT)
			elog(ERROR, "could not look for the payout that fails");
		commit();
	}
	PG_CATCH();
	{
		ErrorData *error = fail(context);

		ereport(LOG,
				(errmsg("payout could not isolate what fails in lane %s: %s", lane_name, error->message)));
	}
	PG_END_TRY();
}

/* Claims for every lane at once; should that fail, lane by lane, so that one cannot stop the others. */
static void
claim_all(dlist_head *claimed, MemoryContext context)
{
	if (claim_in_transaction(ALL_PARTS, claimed, context))
		return;
	for (int part = 0; part <= LANE_TOKEN; part++)
	{
		if (part < BANK_LANES && payout_unix_ms() < lane_pause_until_ms[part])
			continue;
		if (claim_in_transaction(PART(part), claimed, context))
			continue;
		if (part < BANK_LANES)
			lane_pause_until_ms[part] = payout_unix_ms() + LANE_PAUSE_MS;
		if (part != LANE_NOTIFY)
			isolate(part == LANE_TOKEN ? "dispatch" : bank_lanes[part]->name, context);
	}
}

/* -------- the turn -------- */

/* The lock that keeps copies of this database on this host apart. */
static bool
take_file_lock(void)
{
	static bool told = false;

	if (secret_file_lock(GetSystemIdentifier(), MyDatabaseId))
		return true;
	if (!told)
		ereport(
			LOG,
			(errmsg("payout sends nothing here: another process holds payout.secret_file for this database"),
			 errhint("A copy of this database runs on this host; only one of them may send.")));
	told = true;
	return false;
}

/* Is this database armed, and ours to turn for? Begins the incarnation the first time. */
static bool
may_turn(MemoryContext context)
{
	volatile bool armed = false;

	PG_TRY();
	{
		begin();
		armed = query_bool("select payout.is_armed()", NULL);
		if (armed && !incarnation_begun)
			armed = take_file_lock();
		if (armed && !incarnation_begun)
		{
			Oid types[] = {UUIDOID, INT4OID};
			Datum values[] = {UUIDPGetDatum(&incarnation_id), Int32GetDatum(MyProcPid)};

			identifier_uuid(&incarnation_id);
			if (SPI_execute_with_args("select payout.begin_incarnation($1, $2)", 2, types, values, NULL,
									  false, 0) != SPI_OK_SELECT)
				elog(ERROR, "could not begin an incarnation");
		}
		if (armed)
			channel_read_all();
		commit();
		incarnation_begun = incarnation_begun || armed;
	}
	PG_CATCH();
	{
		ErrorData *error = fail(context);

		armed = false;
		exit_if_dropped();
		next_turn_ms = payout_unix_ms() + LANE_PAUSE_MS;
		ereport(LOG, (errmsg("payout worker cannot turn: %s", error->message)));
	}
	PG_END_TRY();
	return armed;
}

static void
plan_next_turn(MemoryContext context)
{
	volatile int64 planned_ms = payout_unix_ms() + Min(payout_safety_poll_ms, LANE_PAUSE_MS);

	PG_TRY();
	{
		begin();
		planned_ms = find_next_turn();
		commit();
	}
	PG_CATCH();
	{
		(void) fail(context);
	}
	PG_END_TRY();
	next_turn_ms = Min(next_turn_ms, planned_ms);
}

static void
turn(MemoryContext context)
{
	dlist_head claimed = DLIST_STATIC_INIT(claimed);

	next_turn_ms = payout_unix_ms() + payout_safety_poll_ms;
	if (!dlist_is_empty(&ended))
		record_all(context);
	if (!may_turn(context))
		return;
	claim_all(&claimed, context);
	plan_next_turn(context);
	exchange_start_all(&claimed);
}

/* -------- life -------- */

static void
set_session(void)
{
	/* Whatever the database's or the role's defaults are, the worker needs these. */
	SetConfigOption("search_path", "pg_catalog, pg_temp", PGC_SUSET, PGC_S_OVERRIDE);
	SetConfigOption("default_transaction_isolation", "read committed", PGC_SUSET, PGC_S_OVERRIDE);
	SetConfigOption("default_transaction_read_only", "off", PGC_SUSET, PGC_S_OVERRIDE);
	SetConfigOption("statement_timeout", "0", PGC_SUSET, PGC_S_OVERRIDE);
	SetConfigOption("idle_in_transaction_session_timeout", "0", PGC_SUSET, PGC_S_OVERRIDE);
	SetConfigOption("lock_timeout", "200ms", PGC_SUSET, PGC_S_OVERRIDE);
	SetConfigOption("jit", "off", PGC_SUSET, PGC_S_OVERRIDE);
	if (synchronous_commit < SYNCHRONOUS_COMMIT_REMOTE_FLUSH)
		SetConfigOption("synchronous_commit", "on", PGC_SUSET, PGC_S_OVERRIDE);
}

static bool
take_singleton_lock(void)
{
	LOCKTAG tag;

	SET_LOCKTAG_ADVISORY(tag, MyDatabaseId, ADVISORY_CLASS, 0, 2);
	return LockAcquire(&tag, ExclusiveLock, true, true) != LOCKACQUIRE_NOT_AVAIL;
}

static void
serve_interrupts(void)
{
	CHECK_FOR_INTERRUPTS();
	if (ConfigReloadPending)
	{
		ConfigReloadPending = false;
		ProcessConfigFile(PGC_SIGHUP);
		set_session();
		next_turn_ms = 0; /* the clock may have moved */
	}
}

void
payout_worker_main(Datum database)
{
	MemoryContext turn_context;
	dlist_head fresh; /* ended since the last turn */

	dlist_init(&fresh);
	pqsignal(SIGHUP, SignalHandlerForConfigReload);
	pqsignal(SIGTERM, die);
	pqsignal(SIGINT, SIG_IGN);
	BackgroundWorkerUnblockSignals();
	BackgroundWorkerInitializeConnectionByOid(DatumGetObjectId(database), InvalidOid, 0);
	set_session();
	exit_if_dropped();
	if (!take_singleton_lock() || !wakeup_register_worker())
		ereport(FATAL, (errmsg("payout worker of database %u is already running, or too many are",
							   DatumGetObjectId(database))));
	turn_context = AllocSetContextCreate(TopMemoryContext, "payout turn", ALLOCSET_DEFAULT_SIZES);
	event_loop_init();
	http_init();
	for (;;)
	{
		int64 due_ms = record_again_ms > 0 ? Min(next_turn_ms, record_again_ms) : next_turn_ms;
		long wait_ms = Max(due_ms - payout_unix_ms(), 0);
		long http_ms = http_timeout_ms();
		bool woken;

		if (!dlist_is_empty(&fresh))
			wait_ms = 0;
		woken = event_loop_wait(http_ms >= 0 ? Min(wait_ms, http_ms) : wait_ms, PG_WAIT_EXTENSION);

		serve_interrupts();
		MemoryContextSwitchTo(turn_context);
		http_pump();
		exchange_collect(&fresh);
		woken = woken || !dlist_is_empty(&fresh) || payout_unix_ms() >= due_ms;
		while (!dlist_is_empty(&fresh))
			dlist_push_tail(&ended, dlist_pop_head_node(&fresh));
		if (woken)
			turn(turn_context);
		/* What was started leaves now; what ended at once is recorded in the next turn, without waiting. */
		http_pump();
		exchange_collect(&fresh);
		MemoryContextSwitchTo(TopMemoryContext);
		MemoryContextReset(turn_context);
	}
}
