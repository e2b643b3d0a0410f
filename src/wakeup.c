/*
 * wakeup.c: a commit wakes the worker; nothing polls on the way of a payout.
 *
 * A session that changed something says wakeup_at_commit(); one callback per process, registered once, acts when the
 * transaction has committed. Latches of other processes are only touched under the lock, and a process takes its
 * latch out of its place before it exits. PREPARE TRANSACTION and direct inserts wake nobody: the worker's safety poll
 * covers them.
 *
 * A worker that rests (worker.c) is not woken: thousands of commits a second would each cost a signal and two switches of
 * context. They are remembered as a call. A session writes called and then reads rests, the worker writes rests and then
 * reads called, with a full barrier between the two on either side: so one of them sees the other, and no call is lost.
 */
#include "postgres.h"

#include "access/xact.h"
#include "commands/trigger.h"
#include "crash_point.h"
#include "fmgr.h"
#include "funcapi.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "port/atomics.h"
#include "settings.h"
#include "storage/ipc.h"
#include "storage/latch.h"
#include "storage/lwlock.h"
#include "storage/proc.h"
#include "storage/shmem.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"
#include "wakeup.h"

PG_FUNCTION_INFO_V1(payout_wake);
PG_FUNCTION_INFO_V1(payout_wake_worker);
PG_FUNCTION_INFO_V1(payout_worker_state);

#define WAKEUP_ERROR_BYTES_MAX 200
#define FAILURE_GAP_MS 10000 /* what fails is tried again each second */

typedef struct WakeupPlace
{
	Oid database; /* InvalidOid: free */
	Latch *latch;
	bool holds_file;			/* the lock on payout.secret_file */
	pg_atomic_uint32 rests;		/* do not wake */
	pg_atomic_uint32 called;	/* since the worker asked last */
	pg_atomic_uint64 turned_at; /* when its last turn ended, well or not; at first when it began */
	/* the present series of failures, under the lock: none is longer than FAILURE_GAP_MS after the one before; 0: there was none */
	TimestampTz failing_since;
	TimestampTz failed_at;
	char error[WAKEUP_ERROR_BYTES_MAX + 1];
} WakeupPlace;

typedef struct WakeupState
{
	LWLock *lock;
	Latch *launcher;
	ConditionVariable answers;
	WakeupPlace workers[WAKEUP_DATABASES_MAX];
} WakeupState;

static WakeupState *state = NULL;
static WakeupPlace *own = NULL; /* this process is the worker */
static bool wake_pending = false;

Size
wakeup_shmem_size(void)
{
	return MAXALIGN(sizeof(WakeupState));
}

void
wakeup_shmem_init(void)
{
	bool found;

	state = ShmemInitStruct("payout wakeup", sizeof(WakeupState), &found);
	if (!found)
	{
		memset(state, 0, sizeof(WakeupState));
		state->lock = &(GetNamedLWLockTranche("payout"))[0].lock;
		ConditionVariableInit(&state->answers);
		for (int i = 0; i < WAKEUP_DATABASES_MAX; i++)
		{
			pg_atomic_init_u32(&state->workers[i].rests, 0);
			pg_atomic_init_u32(&state->workers[i].called, 0);
			pg_atomic_init_u64(&state->workers[i].turned_at, 0);
		}
	}
}

bool
wakeup_is_ready(void)
{
	return state != NULL;
}

static void
call_worker(WakeupPlace *place)
{
	/* the worker knows what it has done itself */
	if (place == own)
		return;
	pg_atomic_write_u32(&place->called, 1);
	pg_memory_barrier();
	if (pg_atomic_read_u32(&place->rests) == 0)
		SetLatch(place->latch);
}

static void
wake_now(void)
{
	bool found = false;

	if (state == NULL)
		return;
	LWLockAcquire(state->lock, LW_SHARED);
	for (int i = 0; i < WAKEUP_DATABASES_MAX && !found; i++)
		if (state->workers[i].database == MyDatabaseId)
		{
			call_worker(&state->workers[i]);
			found = true;
		}
	/* No worker turns here. The launcher starts one where one is wanted. */
	if (!found && state->launcher != NULL && payout_databases[0] != '\0')
		SetLatch(state->launcher);
	LWLockRelease(state->lock);
}

/* Commit callbacks must not throw: this one takes a lock that is held for a moment only and sets a latch. */
static void
at_transaction_end(XactEvent event, void *arg)
{
	if (!wake_pending ||
		(event != XACT_EVENT_COMMIT && event != XACT_EVENT_ABORT && event != XACT_EVENT_PREPARE))
		return;
	wake_pending = false;
	if (event == XACT_EVENT_COMMIT)
	{
		crash_point("committed_before_wake");
		wake_now();
	}
}

void
wakeup_register_callback(void)
{
	RegisterXactCallback(at_transaction_end, NULL);
}

void
wakeup_at_commit(void)
{
	wake_pending = true;
}

/* wake(): see schema.sql. */
Datum
payout_wake(PG_FUNCTION_ARGS)
{
	wakeup_at_commit();
	PG_RETURN_VOID();
}

/* Trigger before each row that is inserted or updated. */
Datum
payout_wake_worker(PG_FUNCTION_ARGS)
{
	TriggerData *trigger = (TriggerData *) fcinfo->context;

	wakeup_at_commit();
	return PointerGetDatum(TRIGGER_FIRED_BY_UPDATE(trigger->tg_event) ? trigger->tg_newtuple
																	  : trigger->tg_trigtuple);
}

static void
leave_place(int code, Datum arg)
{
	LWLockAcquire(state->lock, LW_EXCLUSIVE);
	if (state->launcher == MyLatch)
		state->launcher = NULL;
	for (int i = 0; i < WAKEUP_DATABASES_MAX; i++)
		if (state->workers[i].latch == MyLatch)
		{
			state->workers[i].latch = NULL;
			state->workers[i].holds_file = false;
			state->workers[i].database = InvalidOid;
		}
	LWLockRelease(state->lock);
}

void
wakeup_register_launcher(void)
{
	before_shmem_exit(leave_place, (Datum) 0);
	LWLockAcquire(state->lock, LW_EXCLUSIVE);
	state->launcher = MyLatch;
	LWLockRelease(state->lock);
}

bool
wakeup_register_worker(void)
{
	bool registered = false;

	before_shmem_exit(leave_place, (Datum) 0);
	LWLockAcquire(state->lock, LW_EXCLUSIVE);
	for (int i = 0; i < WAKEUP_DATABASES_MAX && !registered; i++)
		if (!OidIsValid(state->workers[i].database))
		{
			state->workers[i].database = MyDatabaseId;
			state->workers[i].latch = MyLatch;
			pg_atomic_write_u32(&state->workers[i].rests, 0);
			pg_atomic_write_u64(&state->workers[i].turned_at, (uint64) GetCurrentTimestamp());
			state->workers[i].failing_since = 0;
			state->workers[i].failed_at = 0;
			own = &state->workers[i];
			registered = true;
		}
	LWLockRelease(state->lock);
	return registered;
}

bool
wakeup_has_worker(Oid database)
{
	bool found = false;

	LWLockAcquire(state->lock, LW_SHARED);
	for (int i = 0; i < WAKEUP_DATABASES_MAX && !found; i++)
		found = state->workers[i].database == database;
	LWLockRelease(state->lock);
	return found;
}

void
wakeup_worker_holds_file(bool holds)
{
	LWLockAcquire(state->lock, LW_EXCLUSIVE);
	own->holds_file = holds;
	LWLockRelease(state->lock);
}

void
wakeup_worker_rests(bool rests)
{
	pg_atomic_write_u32(&own->rests, rests);
	pg_memory_barrier();
}

bool
wakeup_worker_is_called(void)
{
	return pg_atomic_exchange_u32(&own->called, 0) != 0;
}

void
wakeup_worker_turned(void)
{
	pg_atomic_write_u64(&own->turned_at, (uint64) GetCurrentTimestamp());
}

void
wakeup_worker_failed(const char *error)
{
	TimestampTz now = GetCurrentTimestamp();
	int length = pg_mbcliplen(error, strlen(error), WAKEUP_ERROR_BYTES_MAX);

	LWLockAcquire(state->lock, LW_EXCLUSIVE);
	if (own->failed_at == 0 || TimestampDifferenceExceeds(own->failed_at, now, FAILURE_GAP_MS))
		own->failing_since = now;
	own->failed_at = now;
	memcpy(own->error, error, length);
	own->error[length] = '\0';
	LWLockRelease(state->lock);
}

/* worker_state(): see health.sql. */
Datum
payout_worker_state(PG_FUNCTION_ARGS)
{
	Datum values[4] = {0};
	bool nulls[4] = {true, true, true, true};
	char error[WAKEUP_ERROR_BYTES_MAX + 1] = "";
	TupleDesc desc;

	if (get_call_result_type(fcinfo, NULL, &desc) != TYPEFUNC_COMPOSITE)
		elog(ERROR, "return type must be a row type");
	if (state != NULL)
		LWLockAcquire(state->lock, LW_SHARED);
	for (int i = 0; state != NULL && i < WAKEUP_DATABASES_MAX; i++)
	{
		WakeupPlace *place = &state->workers[i];

		if (place->database != MyDatabaseId)
			continue;
		values[0] = TimestampTzGetDatum((TimestampTz) pg_atomic_read_u64(&place->turned_at));
		nulls[0] = false;
		if (place->failed_at == 0)
			continue;
		values[1] = TimestampTzGetDatum(place->failing_since);
		values[2] = TimestampTzGetDatum(place->failed_at);
		strlcpy(error, place->error, sizeof(error));
		nulls[1] = nulls[2] = nulls[3] = false;
	}
	if (state != NULL)
		LWLockRelease(state->lock);
	values[3] = CStringGetTextDatum(error);
	PG_RETURN_DATUM(HeapTupleGetDatum(heap_form_tuple(BlessTupleDesc(desc), values, nulls)));
}

bool
wakeup_file_is_ours(void)
{
	bool ours = false;

	if (state == NULL)
		return false;
	LWLockAcquire(state->lock, LW_SHARED);
	for (int i = 0; i < WAKEUP_DATABASES_MAX && !ours; i++)
		ours = state->workers[i].database == MyDatabaseId && state->workers[i].holds_file;
	LWLockRelease(state->lock);
	return ours;
}

void
wakeup_answered(void)
{
	ConditionVariableBroadcast(&state->answers);
}

ConditionVariable *
wakeup_answers(void)
{
	return &state->answers;
}
