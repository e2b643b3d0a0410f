/*
 * worker.c: life of one database's worker, and its turn.
 *
 * One turn: wait on {latch, postmaster death, sockets, timer}; serve interrupts and reload; pump libcurl; then, in one
 * short durable transaction, record what ended and claim new work with its attempts; then start what was claimed; then, in another transaction,
 * let a batch of due tokens expire, fold balances, and chain transfers.
 *
 * Invariants kept here:
 *	 - No transaction, snapshot or lock on a row is held while anything is waited for outside the database.
 *	 - Nothing is sent before the transaction that claimed it has committed durably (synchronous_commit at least on, and
 *	   no cancel but a lock timeout is heeded: a cancelled wait for a standby would count as a commit).
 *	 - Two workers never turn for one database: an advisory lock in it, and a lock on payout.secret_file against copies.
 *	 - A row that fails alone is set aside; it never stops its lane. A row that is merely locked is tried again.
 */
#include "postgres.h"

#include "access/xact.h"
#include "access/xlog.h"
#include "advisory.h"
#include "catalog/pg_type.h"
#include "clock.h"
#include "crash_point.h"
#include "event_loop.h"
#include "executor/spi.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "postmaster/bgworker.h"
#include "postmaster/interrupt.h"
#include "secret.h"
#include "secret_file.h"
#include "settings.h"
#include "storage/ipc.h"
#include "storage/lmgr.h"
#include "tcop/tcopprot.h"
#include "turn.h"
#include "utils/guc.h"
#include "utils/memutils.h"
#include "utils/timeout.h"
#include "wakeup.h"
#include "worker.h"

static bool incarnation_begun = false;
static dlist_head ended = DLIST_STATIC_INIT(ended); /* ended exchanges, to be recorded */
static int orphans_left = 0;	  /* attempts of dead incarnations that somebody has locked */
static int64 record_again_ms = 0; /* when to try again to record what was locked; 0: nothing was */
static int64 next_turn_ms = 0;	  /* real; 0: at once */
static int idle_turns = 0;		  /* in a row, that found nothing to record or send */
static int64 rest_until_ms = 0;	  /* commits wake us no earlier */

/*
 * Every commit that changes a payout wakes the worker, though most have nothing for it. After each turn in vain the next
 * one waits a millisecond longer, up to this; one that is worth it is taken at once again.
 */
#define REST_MAX_MS 10

/* The lock that keeps copies of this database on this host apart; asked for each turn, as the file may be another one. */
static bool
take_file_lock(void)
{
	static bool held = false;
	static bool told = false;
	bool holds = secret_file_lock(GetSystemIdentifier(), MyDatabaseId);

	if (holds != held)
		wakeup_worker_holds_file(holds);
	held = holds;
	if (holds)
		return true;
	if (!told)
		ereport(
			LOG,
			(errmsg("payout sends nothing here: another process holds payout.secret_file for this database"),
			 errhint("A copy of this database runs on this host; only one of them may send.")));
	told = true;
	return false;
}

static void
begin_incarnation(void)
{
	Oid types[] = {UUIDOID, INT4OID};
	Datum values[] = {UUIDPGetDatum(&turn_incarnation_id), Int32GetDatum(MyProcPid)};

	identifier_uuid(&turn_incarnation_id);
	if (SPI_execute_with_args("select payout.begin_incarnation($1, $2)", 2, types, values, NULL, false, 0) !=
		SPI_OK_SELECT)
		elog(ERROR, "could not begin an incarnation");
}

/* Attempts of dead incarnations become unknown; the number of those that must be tried again. */
static int
bury_orphans(void)
{
	Oid types[] = {UUIDOID};
	Datum values[] = {UUIDPGetDatum(&turn_incarnation_id)};
	bool isnull;

	if (SPI_execute_with_args("select payout.bury_orphans($1)", 1, types, values, NULL, false, 0) !=
			SPI_OK_SELECT ||
		SPI_processed != 1)
		elog(ERROR, "could not record what dead incarnations left");
	return DatumGetInt32(SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1, &isnull));
}

/* Is this database armed, and ours to turn for? Begins the incarnation the first time. */
static bool
may_turn(MemoryContext context)
{
	volatile bool armed = false;

	PG_TRY();
	{
		turn_begin();
		armed = turn_query_bool("select payout.is_armed()", NULL);
		if (armed)
			armed = take_file_lock();
		if (armed && !incarnation_begun)
			begin_incarnation();
		if (armed && (!incarnation_begun || orphans_left > 0))
			orphans_left = bury_orphans();
		if (armed)
		{
			channel_read_all();
			secret_drop_old();
		}
		if (armed && !incarnation_begun)
			crash_point("begin_before_commit");
		turn_commit();
		if (armed && !incarnation_begun)
			crash_point("begin_after_commit");
		incarnation_begun = incarnation_begun || armed;
	}
	PG_CATCH();
	{
		ErrorData *error = turn_fail(context);

		armed = false;
		turn_exit_if_dropped();
		next_turn_ms = payout_unix_ms() + TURN_PAUSE_MS;
		ereport(LOG, (errmsg("payout worker cannot turn: %s", error->message)));
	}
	PG_END_TRY();
	return armed;
}

static void
turn(MemoryContext context)
{
	dlist_head claimed = DLIST_STATIC_INIT(claimed);

	next_turn_ms = payout_unix_ms() + payout_safety_poll_ms;
	idle_turns++;
	if (!dlist_is_empty(&ended))
	{
		record_again_ms = record_ended(&ended, context);
		idle_turns = 0;
	}
	if (!may_turn(context))
		return;
	if (orphans_left > 0)
		next_turn_ms = Min(next_turn_ms, payout_unix_ms() + TURN_PAUSE_MS);
	claim_due(&claimed, context);
	if (!dlist_is_empty(&claimed))
	{
		crash_point("claimed_before_send");
		idle_turns = 0;
	}
	exchange_start_all(&claimed);
	http_pump(); /* what was started need not wait for the rest */
	if (claim_found_expiry())
		expire_due(context);
	fold_due(context);
	link_due(context);
	next_turn_ms = Min(next_turn_ms, Min(Min(fold_next_ms(), link_next_ms()), claim_next_due_ms(context)));
}

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
	/*
	 * A turn takes few rows of large tables, by index. A plan that reads a whole table is never right here, but looks
	 * so to a planner that guesses how much of a queue a batch takes, or whose statistics a crash has thrown away.
	 */
	SetConfigOption("enable_seqscan", "off", PGC_SUSET, PGC_S_OVERRIDE);
	SetConfigOption("enable_hashjoin", "off", PGC_SUSET, PGC_S_OVERRIDE);
	SetConfigOption("enable_mergejoin", "off", PGC_SUSET, PGC_S_OVERRIDE);
	if (synchronous_commit < SYNCHRONOUS_COMMIT_REMOTE_FLUSH)
		SetConfigOption("synchronous_commit", "on", PGC_SUSET, PGC_S_OVERRIDE);
}

static bool
take_singleton_lock(void)
{
	LOCKTAG tag = advisory_tag(ADVISORY_WORKER);

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

/*
 * SIGINT is how a lock timeout reaches the process that waits; anybody else's (pg_cancel_backend) is ignored: a wait
 * for a synchronous standby that is cancelled would count as a commit.
 */
static void
serve_lock_timeout(SIGNAL_ARGS)
{
	if (get_timeout_indicator(LOCK_TIMEOUT, false))
		StatementCancelHandler(postgres_signal_arg);
}

void
payout_worker_main(Datum database)
{
	MemoryContext turn_context;
	dlist_head fresh; /* ended since the last turn */

	dlist_init(&fresh);
	pqsignal(SIGHUP, SignalHandlerForConfigReload);
	pqsignal(SIGTERM, die);
	pqsignal(SIGINT, serve_lock_timeout);
	BackgroundWorkerUnblockSignals();
	BackgroundWorkerInitializeConnectionByOid(DatumGetObjectId(database), InvalidOid, 0);
	set_session();
	turn_exit_if_dropped();
	if (!take_singleton_lock() || !wakeup_register_worker())
		ereport(FATAL, (errmsg("payout worker of database %u is already running, or too many are",
							   DatumGetObjectId(database))));
	turn_context = AllocSetContextCreate(TopMemoryContext, "payout turn", ALLOCSET_DEFAULT_SIZES);
	event_loop_init();
	http_init();
	for (;;)
	{
		int64 due_ms = record_again_ms > 0 ? Min(next_turn_ms, record_again_ms) : next_turn_ms;
		/* bounded, should the clock be set back */
		long wait_ms = Min(Max(due_ms - payout_unix_ms(), 0), payout_safety_poll_ms);
		long http_ms = http_timeout_ms();
		bool woken;

		if (!dlist_is_empty(&fresh))
			wait_ms = 0;
		woken = event_loop_wait(http_ms >= 0 ? Min(wait_ms, http_ms) : wait_ms, PG_WAIT_EXTENSION);

		serve_interrupts();
		MemoryContextSwitchTo(turn_context);
		http_pump();
		exchange_collect(&fresh);
		if (!dlist_is_empty(&fresh))
			crash_point("answer_before_record");
		if (woken && payout_unix_ms() < rest_until_ms)
		{
			woken = false;
			next_turn_ms = Min(next_turn_ms, rest_until_ms);
		}
		woken = woken || !dlist_is_empty(&fresh) || payout_unix_ms() >= due_ms;
		while (!dlist_is_empty(&fresh))
			dlist_push_tail(&ended, dlist_pop_head_node(&fresh));
		if (woken)
		{
			turn(turn_context);
			rest_until_ms = payout_unix_ms() + Min(idle_turns, REST_MAX_MS) - 1;
		}
		/* What was started leaves now; what ended at once is recorded in the next turn, without waiting. */
		http_pump();
		crash_point("after_send");
		exchange_collect(&fresh);
		MemoryContextSwitchTo(TopMemoryContext);
		MemoryContextReset(turn_context);
	}
}
