/*
 * launcher.c: which databases have a worker.
 *
 * One static process, connected to the shared catalogs only, so it stands in no database's way. For each database of
 * payout.databases that exists it keeps one dynamic worker, which the server never restarts by itself: the launcher
 * does, after a pause that grows while the worker keeps ending at once. A worker ends by itself where the extension is
 * not installed; the commit that arms a database wakes the launcher, so the first payout does not wait.
 *
 * A launcher that starts again knows the workers of the one before by shared memory alone. It starts none beside them; they end
 * by themselves when payout.databases does not list them any more (worker.c).
 *
 * The launcher starts after recovery, so never on a standby; after promotion it starts by itself. It exits non-zero, so
 * that the server restarts it.
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/heapam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "access/tableam.h"
#include "access/xact.h"
#include "catalog/pg_database.h"
#include "clock.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "postmaster/bgworker.h"
#include "postmaster/interrupt.h"
#include "settings.h"
#include "storage/ipc.h"
#include "storage/latch.h"
#include "storage/proc.h"
#include "tcop/tcopprot.h"
#include "utils/guc.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"
#include "wakeup.h"
#include "worker.h"

#define LAUNCHER_RESTART_S 5
#define RELAUNCH_FIRST_MS 500
#define RELAUNCH_MAX_MS 30000
#define LOOK_AGAIN_MS 1000
#define STEADY_MS 60000 /* a worker that lived this long ended for a reason of its own */

typedef struct Launched
{
	Oid database;
	bool wanted;
	BackgroundWorkerHandle *handle; /* NULL: none running */
	int64 started_ms;
	int64 not_before_ms;
	int64 pause_ms;
} Launched;

static List *launched = NIL; /* of Launched *, in TopMemoryContext */

void
launcher_register(void)
{
	BackgroundWorker worker = {0};

	worker.bgw_flags = BGWORKER_SHMEM_ACCESS | BGWORKER_BACKEND_DATABASE_CONNECTION;
	worker.bgw_start_time = BgWorkerStart_RecoveryFinished;
	worker.bgw_restart_time = LAUNCHER_RESTART_S;
	strlcpy(worker.bgw_library_name, "payout", sizeof(worker.bgw_library_name));
	strlcpy(worker.bgw_function_name, "payout_launcher_main", sizeof(worker.bgw_function_name));
	strlcpy(worker.bgw_name, "payout launcher", sizeof(worker.bgw_name));
	strlcpy(worker.bgw_type, "payout launcher", sizeof(worker.bgw_type));
	RegisterBackgroundWorker(&worker);
}

static bool
is_wanted(const char *name)
{
	List *names = payout_database_list();
	ListCell *cell;

	foreach(cell, names)
		if (strcmp(lfirst(cell), name) == 0)
			return true;
	return false;
}

static Launched *
find_launched(Oid database)
{
	ListCell *cell;
	Launched *one;
	MemoryContext old;

	foreach(cell, launched)
		if (((Launched *) lfirst(cell))->database == database)
			return lfirst(cell);
	old = MemoryContextSwitchTo(TopMemoryContext);
	one = palloc0(sizeof(Launched));
	one->database = database;
	one->pause_ms = RELAUNCH_FIRST_MS;
	launched = lappend(launched, one);
	MemoryContextSwitchTo(old);
	return one;
}

/* Marks the databases that exist and are listed. */
static void
read_databases(void)
{
	Relation rel;
	TableScanDesc scan;
	HeapTuple tuple;
	ListCell *cell;

	foreach(cell, launched)
		((Launched *) lfirst(cell))->wanted = false;
	SetCurrentStatementStartTimestamp();
	StartTransactionCommand();
	(void) GetTransactionSnapshot();
	rel = table_open(DatabaseRelationId, AccessShareLock);
	scan = table_beginscan_catalog(rel, 0, NULL);
	while ((tuple = heap_getnext(scan, ForwardScanDirection)) != NULL)
	{
		Form_pg_database database = (Form_pg_database) GETSTRUCT(tuple);

		if (database->datallowconn && !database->datistemplate && is_wanted(NameStr(database->datname)))
			find_launched(database->oid)->wanted = true;
	}
	table_endscan(scan);
	table_close(rel, AccessShareLock);
	CommitTransactionCommand();
}

static void
start_worker(Launched *one, int64 now_ms)
{
	BackgroundWorker worker = {0};
	MemoryContext old = MemoryContextSwitchTo(TopMemoryContext);

	worker.bgw_flags = BGWORKER_SHMEM_ACCESS | BGWORKER_BACKEND_DATABASE_CONNECTION;
	worker.bgw_start_time = BgWorkerStart_RecoveryFinished;
	worker.bgw_restart_time = BGW_NEVER_RESTART;
	worker.bgw_notify_pid = MyProcPid;
	worker.bgw_main_arg = ObjectIdGetDatum(one->database);
	strlcpy(worker.bgw_library_name, "payout", sizeof(worker.bgw_library_name));
	strlcpy(worker.bgw_function_name, "payout_worker_main", sizeof(worker.bgw_function_name));
	snprintf(worker.bgw_name, sizeof(worker.bgw_name), "payout worker for database %u", one->database);
	strlcpy(worker.bgw_type, "payout worker", sizeof(worker.bgw_type));
	one->started_ms = now_ms;
	if (!RegisterDynamicBackgroundWorker(&worker, &one->handle))
	{
		one->handle = NULL;
		one->not_before_ms = now_ms + RELAUNCH_MAX_MS;
		ereport(WARNING, (errcode(ERRCODE_CONFIGURATION_LIMIT_EXCEEDED),
						  errmsg("out of background worker slots for payout"),
						  errhint("You might need to increase max_worker_processes.")));
	}
	MemoryContextSwitchTo(old);
}

/* Brings one database to what is wanted; returns when it must be looked at again, 0 for never. */
static int64
look_after(Launched *one, bool woken, int64 now_ms)
{
	pid_t pid;

	if (one->handle != NULL && GetBackgroundWorkerPid(one->handle, &pid) == BGWH_STOPPED)
	{
		pfree(one->handle);
		one->handle = NULL;
		one->pause_ms = now_ms - one->started_ms > STEADY_MS ? RELAUNCH_FIRST_MS
															 : Min(one->pause_ms * 2, RELAUNCH_MAX_MS);
		one->not_before_ms = now_ms + one->pause_ms;
	}
	if (!one->wanted)
	{
		if (one->handle != NULL)
			TerminateBackgroundWorker(one->handle);
		return 0;
	}
	if (one->handle != NULL)
		return 0;
	/* One of an earlier launcher: this one has no handle for it, and is not told when it ends. */
	if (wakeup_has_worker(one->database))
		return now_ms + LOOK_AGAIN_MS;
	/* A commit that found no worker asks for one at once, though not more often than the first pause allows. */
	if (woken)
		one->not_before_ms = Min(one->not_before_ms, one->started_ms + RELAUNCH_FIRST_MS);
	if (now_ms >= one->not_before_ms)
		start_worker(one, now_ms);
	return one->handle == NULL ? one->not_before_ms : 0;
}

void
payout_launcher_main(Datum arg)
{
	bool woken = false;
	MemoryContext turn =
		AllocSetContextCreate(TopMemoryContext, "payout launcher turn", ALLOCSET_DEFAULT_SIZES);

	pqsignal(SIGHUP, SignalHandlerForConfigReload);
	pqsignal(SIGTERM, die);
	BackgroundWorkerUnblockSignals();
	BackgroundWorkerInitializeConnection(NULL, NULL, 0);
	wakeup_register_launcher();
	for (;;)
	{
		int64 now_ms = payout_unix_ms();
		int64 next_ms = now_ms + 10000; /* databases appear without a word */
		ListCell *cell;

		MemoryContextSwitchTo(turn);
		read_databases();
		MemoryContextSwitchTo(turn);
		foreach(cell, launched)
		{
			int64 due_ms = look_after(lfirst(cell), woken, now_ms);

			if (due_ms != 0)
				next_ms = Min(next_ms, due_ms);
		}
		pgstat_report_activity(STATE_IDLE, NULL);
		MemoryContextReset(turn);
		woken = (WaitLatch(MyLatch, WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH,
						   Max(next_ms - payout_unix_ms(), 10), PG_WAIT_EXTENSION) &
				 WL_LATCH_SET) != 0;
		ResetLatch(MyLatch);
		CHECK_FOR_INTERRUPTS();
		if (ConfigReloadPending)
		{
			ConfigReloadPending = false;
			ProcessConfigFile(PGC_SIGHUP);
		}
	}
}
