/*
 * worker.c: life of one database's worker, and its turn.
 *
 * One turn: wait on {latch, postmaster death, sockets, timer}; serve interrupts and reload; pump libcurl; then, in one
 * short durable transaction, record what ended and claim new work with its attempts; then start what was claimed; then, in
 * other transactions, let a batch of due tokens expire, fold balances, and chain history and transfers. When there is work
 * next is asked only before waiting: while answers keep coming, each turn looks into all queues anyway.
 *
 * Invariants kept here:
 *	 - No transaction, snapshot or lock on a row is held while anything is waited for outside the database.
 *	 - Nothing is sent before the transaction that claimed it has committed durably (synchronous_commit at least on, and
 *	   no cancel but a lock timeout is heeded: a cancelled wait for a standby would count as a commit).
 *	 - Two workers never turn for one database: an advisory lock in it, and locks on payout.secret_file and the book against copies.
 *	 - What was stopped does not leave: each request passes the gate last (gate.h), wherever it has waited.
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
#include "gate.h"
#include "lost_tail.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "place.h"
#include "plan.h"
#include "postmaster/bgworker.h"
#include "postmaster/interrupt.h"
#include "reserve.h"
#include "secret.h"
#include "secret_lock.h"
#include "settings.h"
#include "storage/ipc.h"
#include "storage/lmgr.h"
#include "tcop/tcopprot.h"
#include "turn.h"
#include "utils/guc.h"
#include "utils/memutils.h"
#include "utils/timeout.h"
#include "utils/uuid.h"
#include "wakeup.h"
#include "worker.h"
#include "worker_session.h"

static bool incarnation_begun = false;
static dlist_head ended = DLIST_STATIC_INIT(ended); /* ended exchanges, to be recorded */
static int orphans_left = 0;	   /* attempts of dead incarnations that somebody has locked */
static int64 record_again_ms = 0;  /* when to try again to record what was locked; 0: nothing was */
static int64 next_turn_ms = 0;	   /* real; 0: at once */
static bool next_is_known = true;  /* next_turn_ms looks at the queues; else it must before we wait */
static int idle_turns = 0;		   /* in a row, that found nothing to record or send */
static int64 rest_until_ms = 0;	   /* calls are heeded no earlier */
static int64 put_off_until_ms = 0; /* what ended is recorded then at the latest; 0: nothing gathers */

/*
 * Every commit that changes a payout calls the worker, though many have nothing for it. After each turn in vain the worker
 * rests a millisecond longer, up to this, before it heeds the next call; once a turn was worth it, it heeds them at once.
 * When work is due next is asked only after a rest without a call.
 */
#define REST_MAX_MS 20

/* How long answers may gather before they are recorded, see must_record(). */
#define GATHER_MS 20

/* Sessions are told whether this worker has the locks on payout.secret_file. */
static void
tell_lock(bool holds)
{
	static bool told = false;

	if (holds != told)
		wakeup_worker_holds_file(holds);
	told = holds;
}

/*
 * The locks that keep copies of this database on this host apart; asked for each turn, as the file may be another one. What is held is
 * kept when not all can be had.
 */
static bool
take_locks(bool for_present)
{
	static SPIPlanPtr plan = NULL;
	static pg_uuid_t book;
	static bool told = false;
	bool isnull;
	bool holds;

	if (!incarnation_begun) /* after that it is another book only where this life does not hold */
	{
		if (plan_run(&plan, "select payout.first_installation()", 0, NULL, NULL, NULL) != 1)
			elog(ERROR, "could not look for the book");
		book = *DatumGetUUIDP(SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1, &isnull));
	}
	holds = secret_file_lock(GetSystemIdentifier(), MyDatabaseId, book.data, for_present);
	if (!holds && !told)
		ereport(
			LOG,
			(errmsg("payout sends nothing here: another process holds payout.secret_file, or a copy of it, "
					"for this database, or its book"),
			 errhint("A copy of this database runs on this host; only one of them may send.")));
	told = !holds;
	return holds;
}

static void
begin_incarnation(void)
{
	identifier_uuid(&turn_incarnation_id);
	lost_tail_begin(&turn_incarnation_id);
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

/* A column of the row that was read. */
static Datum
column_of(int number)
{
	bool isnull;

	return SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, number, &isnull);
}

static bool
equals(Datum stored, const uint8 *bytes, size_t length)
{
	bytea *value = DatumGetByteaPP(stored);

	return VARSIZE_ANY_EXHDR(value) == length && memcmp(VARDATA_ANY(value), bytes, length) == 0;
}

/*
 * The digest of the secret file for which this database is armed. False: it is not, or what was armed is another one. As
 * payout.is_armed_for() says, a later timeline is that of a standby that took over.
 */
static bool
read_arming(uint8 digest[SECRET_DIGEST_LEN])
{
	static SPIPlanPtr plan = NULL;
	uint8 place[PLACE_DIGEST_LEN];

	if (plan_run(&plan,
				 "select system_identifier, database_oid, place, timeline_id, secret_digest "
				 "from payout.arming where is_armed",
				 0, NULL, NULL, NULL) != 1)
		return false;
	place_digest(place);
	if (DatumGetInt64(column_of(1)) != (int64) GetSystemIdentifier() ||
		DatumGetObjectId(column_of(2)) != MyDatabaseId ||
		(!equals(column_of(3), place, PLACE_DIGEST_LEN) &&
		 DatumGetInt32(column_of(4)) == (int32) GetWALInsertionTimeLine()) ||
		VARSIZE_ANY_EXHDR(DatumGetByteaPP(column_of(5))) != SECRET_DIGEST_LEN)
		return false;
	memcpy(digest, VARDATA_ANY(DatumGetByteaPP(column_of(5))), SECRET_DIGEST_LEN);
	return true;
}

/*
 * The extension may have been created anew under this worker, or a dump restored into it: what the worker knows of its life is of
 * another book then. Another worker begins, and notes what may be lost.
 */
static void
exit_without_life(void)
{
	if (lost_tail_life_holds(&turn_incarnation_id))
		return;
	ereport(LOG,
			(errmsg("payout worker ends: the extension was created anew, or rows of another book came in")));
	proc_exit(0);
}

/*
 * Armed for the present secret file, and no copy of this database on this host has the locks.
 *
 * In a rotation the database is armed for the old file until payout.rotate_secret_key(): nothing is sent, but the locks are kept,
 * or a copy would take them. Only who is not armed leaves them to its copies: a file that cannot be read, or is no secret, does not.
 */
static bool
may_send_now(void)
{
	uint8 armed[SECRET_DIGEST_LEN];
	uint8 present[SECRET_DIGEST_LEN];
	uint8 old[SECRET_DIGEST_LEN];
	bool for_present;
	bool for_old;
	bool may_send;

	if (incarnation_begun)
		exit_without_life();
	if (!read_arming(armed))
	{
		secret_file_unlock();
		tell_lock(false);
		return false;
	}
	for_present = secret_file_look(SECRET_PRESENT, present) && memcmp(armed, present, SECRET_DIGEST_LEN) == 0;
	for_old = secret_file_look(SECRET_OLD, old) && memcmp(armed, old, SECRET_DIGEST_LEN) == 0;
	may_send = (for_present || for_old) && take_locks(for_present) && for_present;
	if (!may_send)
		secret_file_keep();
	tell_lock(may_send || (!for_present && secret_file_holds(armed)));
	return may_send;
}

/*
 * Is this database armed, and ours to turn for? Begins the incarnation the first time. In a transaction of its own: what
 * begins a life, or cleans up after one, concerns nothing else.
 */
static bool
may_turn(MemoryContext context)
{
	volatile bool armed = false;

	PG_TRY();
	{
		turn_begin();
		armed = may_send_now();
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
		if (armed && !incarnation_begun)
			lost_tail_begun();
		incarnation_begun = incarnation_begun || armed;
	}
	PG_CATCH();
	{
		ErrorData *error = turn_fail(context);

		armed = false;
		turn_exit_if_dropped();
		next_turn_ms = payout_unix_ms() + TURN_PAUSE_MS;
		wakeup_worker_failed(error->message);
		ereport(LOG, (errmsg("payout worker cannot turn: %s", error->message)));
	}
	PG_END_TRY();
	return armed;
}

/*
 * What a turn usually is: one transaction that records what ended and, if we may send, claims what is due. False when it
 * failed and nothing was done.
 */
static bool
turn_in_transaction(dlist_head *all, bool *may_send, MemoryContext context)
{
	dlist_head claimed = DLIST_STATIC_INIT(claimed);
	volatile bool has_ended = !dlist_is_empty(&ended);
	volatile bool has_claimed = false;
	volatile bool done = false;

	PG_TRY();
	{
		turn_begin();
		record_all(&ended);
		*may_send = may_send_now();
		if (*may_send)
		{
			channel_read_all();
			secret_drop_old();
			has_claimed = claim_all(&claimed);
		}
		if (has_ended)
			crash_point("record_before_commit");
		if (has_claimed)
			crash_point("claim_before_commit");
		turn_commit();
		if (has_ended)
			crash_point("record_after_commit");
		if (has_claimed)
			crash_point("claim_after_commit");
		done = true;
	}
	PG_CATCH();
	{
		ErrorData *error = turn_fail(context);

		wakeup_worker_failed(error->message);
		claim_undo(&claimed);
	}
	PG_END_TRY();
	if (!done)
		return false;
	record_release(&ended);
	while (!dlist_is_empty(&claimed))
		dlist_push_tail(all, dlist_pop_head_node(&claimed));
	return true;
}

/* The same step by step, each step where it fails by itself row by row. False: nothing may be sent. */
static bool
turn_in_steps(dlist_head *claimed, MemoryContext context)
{
	if (!dlist_is_empty(&ended))
		record_again_ms = record_ended(&ended, context);
	if (!may_turn(context))
		return false;
	if (orphans_left > 0)
		next_turn_ms = Min(next_turn_ms, payout_unix_ms() + TURN_PAUSE_MS);
	claim_due(claimed, context);
	return true;
}

static void
turn(MemoryContext context)
{
	dlist_head claimed = DLIST_STATIC_INIT(claimed);
	bool usual = incarnation_begun && orphans_left == 0 && record_again_ms == 0;
	bool may_send = false;
	dlist_iter iter;

	gate_look();
	next_turn_ms = payout_unix_ms() + payout_safety_poll_ms;
	next_is_known = true;
	idle_turns++;
	record_again_ms = 0;
	put_off_until_ms = 0;
	if (!dlist_is_empty(&ended))
		idle_turns = 0;
	dlist_foreach(iter, &ended)
		lane_leave_place(dlist_container(Exchange, node, iter.cur));
	if (!usual || !turn_in_transaction(&claimed, &may_send, context))
		may_send = turn_in_steps(&claimed, context);
	if (!may_send)
	{
		reserve_release("this database ceased to be the one that may send");
		return;
	}
	if (!dlist_is_empty(&claimed))
	{
		crash_point("claimed_before_send");
		idle_turns = 0;
	}
	reserve_take(&claimed);
	gate_pump(); /* what was started need not wait for the rest */
	if (claim_found_expiry() && expire_due(context))
		next_turn_ms = 0; /* there may be more of it, and merchants to be told */
	fold_due(context);
	link_due(context);
	next_turn_ms = Min(next_turn_ms, Min(fold_next_ms(), link_next_ms()));
	next_is_known = false;
}

static bool
take_singleton_lock(void)
{
	LOCKTAG tag = advisory_tag(ADVISORY_WORKER);

	return LockAcquire(&tag, ExclusiveLock, true, true) != LOCKACQUIRE_NOT_AVAIL;
}

/*
 * The launcher ends the workers that are not wanted any more. One that has started after this worker does not know it: so it
 * ends by itself as well.
 */
static void
read_settings(void)
{
	if (gate_settings_read())
		return;
	ereport(LOG, (errmsg("payout worker ends: payout.databases does not list its database")));
	proc_exit(0);
}

static void
serve_interrupts(void)
{
	CHECK_FOR_INTERRUPTS();
	if (ConfigReloadPending)
	{
		ConfigReloadPending = false;
		ProcessConfigFile(PGC_SIGHUP);
		worker_session_set();
		read_settings();
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

/* How long to wait for a socket or the latch. */
static long
wait_ms(int64 due_ms, bool has_ended)
{
	int64 now_ms = payout_unix_ms();
	bool due_is_known = next_is_known || put_off_until_ms > 0;
	int64 until_ms = now_ms < rest_until_ms ? Min(due_ms, rest_until_ms) : due_is_known ? due_ms : 0;
	/* bounded, should the clock be set back */
	long ms = Min(Max(until_ms - now_ms, 0), payout_safety_poll_ms);
	long http_ms = http_timeout_ms();

	if (has_ended)
		return 0;
	return http_ms >= 0 ? Min(ms, http_ms) : ms;
}

/* Waits; whether a turn was called for. During a rest none is, and the calls are kept for its end. */
static bool
wait_for_call(int64 due_ms, bool has_ended)
{
	int64 now_ms = payout_unix_ms();
	bool rests;
	bool called;

	if (rest_until_ms > now_ms + REST_MAX_MS)
		rest_until_ms = 0; /* the clock was set back */
	rests = now_ms < rest_until_ms;
	wakeup_worker_rests(rests);
	called = !rests && wakeup_worker_is_called(); /* kept from a rest, for which nobody set our latch */
	event_loop_wait(called ? 0 : wait_ms(due_ms, has_ended), PG_WAIT_EXTENSION);
	if (rests && payout_unix_ms() < rest_until_ms)
		return false;
	wakeup_worker_rests(false);
	return wakeup_worker_is_called() || called;
}

/*
 * Moves what ended to what is recorded by the next turn; whether that is due now. A turn that records one answer costs nearly
 * as much as one that records twenty, and no answer is read meanwhile: so while the reserve keeps the wire full, they gather.
 */
static bool
must_record(dlist_head *fresh)
{
	bool may_gather = true;

	if (dlist_is_empty(fresh))
		return false;
	while (!dlist_is_empty(fresh))
	{
		Exchange *exchange = dlist_container(Exchange, node, dlist_pop_head_node(fresh));

		may_gather = may_gather && reserve_lasts(exchange);
		dlist_push_tail(&ended, &exchange->node);
	}
	if (may_gather && put_off_until_ms == 0)
		put_off_until_ms = payout_unix_ms() + GATHER_MS;
	return !may_gather;
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
	worker_session_set();
	turn_exit_if_dropped();
	if (!take_singleton_lock() || !wakeup_register_worker())
		ereport(FATAL, (errmsg("payout worker of database %u is already running, or too many are",
							   DatumGetObjectId(database))));
	gate_begin_worker();
	read_settings();
	turn_context = AllocSetContextCreate(TopMemoryContext, "payout turn", ALLOCSET_DEFAULT_SIZES);
	event_loop_init();
	http_init();
	for (;;)
	{
		int64 due_ms = Min(next_turn_ms, reserve_due_ms());
		bool woken;

		if (record_again_ms > 0)
			due_ms = Min(due_ms, record_again_ms);
		if (put_off_until_ms > 0) /* no later than that, should the clock be set back */
			due_ms = Min(due_ms, Min(put_off_until_ms, payout_unix_ms() + GATHER_MS));
		woken = wait_for_call(due_ms, !dlist_is_empty(&fresh));

		serve_interrupts();
		MemoryContextSwitchTo(turn_context);
		gate_pump();
		exchange_collect(&fresh);
		if (!dlist_is_empty(&fresh))
			crash_point("answer_before_record");
		if (reserve_can_start())
		{
			reserve_start();
			gate_pump();
		}
		woken = must_record(&fresh) || woken || payout_unix_ms() >= due_ms;
		if (woken)
		{
			turn(turn_context);
			wakeup_worker_turned();
			rest_until_ms = payout_unix_ms() + Min(idle_turns, REST_MAX_MS) - 1;
		}
		else if (!next_is_known && put_off_until_ms == 0)
		{
			next_turn_ms = Min(next_turn_ms, claim_next_due_ms(turn_context));
			next_is_known = true;
		}
		/* What was started leaves now; what ended at once is recorded in the next turn, without waiting. */
		gate_pump();
		crash_point("after_send");
		exchange_collect(&fresh);
		MemoryContextSwitchTo(TopMemoryContext);
		MemoryContextReset(turn_context);
	}
}
