/*
 * token_tries.c: wrong cashout tokens, counted in shared memory, so that a rollback does not forget them.
 *
 * Counted twice: for the terminal, up to payout.token_tries, and for its store, up to the store's option token_tries; so
 * ever new names of terminals gain nothing. Wrong tokens count for payout.token_lockout from the first of them; the one
 * that reaches a limit starts that time anew, and until it ends the terminal or store is locked. A right token forgives
 * nothing: otherwise a guesser would redeem one of his own now and then.
 *
 * The memory is bounded: two tables of sets of WAYS places. A set that is full loses its least guilty entry. What a
 * store can push out of the table of terminals is bounded by its own limit. Counts are lost when the server restarts.
 * The limit is looked at before a token is, and the count is raised after: sessions that ask at the same moment may pass
 * it by their number, each with one token.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "clock.h"
#include "common/hashfn.h"
#include "compat.h"
#include "errors.h"
#include "fmgr.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "settings.h"
#include "storage/lwlock.h"
#include "storage/shmem.h"
#include "token_tries.h"
#include "utils/builtins.h"

PG_FUNCTION_INFO_V1(payout_require_unlocked);
PG_FUNCTION_INFO_V1(payout_count_wrong_token);
PG_FUNCTION_INFO_V1(payout_token_locks);

#define WAYS 8
#define TERMINAL_SETS 1024
#define STORE_SETS 256

typedef struct Tries
{
	uint64 key;
	Oid database;
	int count;		   /* 0: free */
	int limit;		   /* as it was when last counted */
	TimestampTz since; /* the first that counts, or the one that reached the limit */
} Tries;

typedef struct TriesState
{
	LWLock *lock;
	Tries terminals[TERMINAL_SETS * WAYS];
	Tries stores[STORE_SETS * WAYS];
} TriesState;

static TriesState *state = NULL;

Size
token_tries_shmem_size(void)
{
	return MAXALIGN(sizeof(TriesState));
}

void
token_tries_shmem_init(void)
{
	bool found;

	state = ShmemInitStruct("payout token tries", sizeof(TriesState), &found);
	if (!found)
	{
		memset(state, 0, sizeof(TriesState));
		state->lock = &(GetNamedLWLockTranche("payout"))[1].lock;
	}
}

static uint64
hash_text(const text *value, uint64 seed)
{
	return hash_bytes_extended((const unsigned char *) VARDATA_ANY(value), (int) VARSIZE_ANY_EXHDR(value),
							   seed);
}

/* Frees an entry whose time has passed. A clock that was set back must not keep it longer than from now on. */
static void
forget_old(Tries *tries, TimestampTz now)
{
	if (tries->count > 0 && tries->since > now)
		tries->since = now;
	if (tries->count > 0 && now - tries->since >= (int64) payout_token_lockout_s * USECS_PER_SEC)
		tries->count = 0;
}

/* The entry of a key; when there is none NULL, or (make) a fresh one with count 0. The lock is held. */
static Tries *
find(Tries *table, int sets, uint64 key, TimestampTz now, bool make)
{
	Tries *set = table + (key % sets) * WAYS;
	Tries *spare = set;

	for (int i = 0; i < WAYS; i++)
	{
		forget_old(&set[i], now);
		if (set[i].count > 0 && set[i].key == key && set[i].database == MyDatabaseId)
			return &set[i];
		if (set[i].count < spare->count)
			spare = &set[i];
	}
	if (!make)
		return NULL;
	spare->key = key;
	spare->database = MyDatabaseId;
	spare->count = 0;
	spare->since = now;
	return spare;
}

static int
count_of(Tries *table, int sets, uint64 key)
{
	Tries *tries = find(table, sets, key, payout_now(), false);

	return tries != NULL ? tries->count : 0;
}

static void
count_one(Tries *table, int sets, uint64 key, int limit)
{
	TimestampTz now = payout_now();
	Tries *tries = find(table, sets, key, now, true);

	tries->limit = limit;
	if (++tries->count == limit)
		tries->since = now;
}

static void
require_memory(void)
{
	if (state == NULL)
		ereport(ERROR, (errcode(PY_NOT_PRELOADED), errmsg("the library payout is not preloaded"),
						errhint("Wrong tokens are counted in shared memory: add payout to "
								"shared_preload_libraries and restart the server.")));
}

/*
 * require_unlocked(cvs_code, terminal, store_tries_max): raises PY012 while the terminal or the store is locked, PY014
 * without shared memory.
 */
Datum
payout_require_unlocked(PG_FUNCTION_ARGS)
{
	text *cvs_code = PG_GETARG_TEXT_PP(0);
	uint64 store = hash_text(cvs_code, 0);
	uint64 terminal = hash_text(PG_GETARG_TEXT_PP(1), store);
	bool terminal_locked;
	bool store_locked;

	require_memory();
	LWLockAcquire(state->lock, LW_EXCLUSIVE);
	terminal_locked = count_of(state->terminals, TERMINAL_SETS, terminal) >= payout_token_tries;
	store_locked = count_of(state->stores, STORE_SETS, store) >= PG_GETARG_INT32(2);
	LWLockRelease(state->lock);
	if (terminal_locked || store_locked)
		ereport(ERROR,
				(errcode(PY_TOO_MANY_WRONG_TOKENS),
				 errmsg("too many wrong tokens at this %s", store_locked ? "store" : "terminal"),
				 errhint("It is unlocked after payout.token_lockout; a confirmation or reversal of a token "
						 "that this store has validated is taken meanwhile.")));
	PG_RETURN_VOID();
}

/* count_wrong_token(cvs_code, terminal, store_tries_max): at once and for good, whatever becomes of the transaction. */
Datum
payout_count_wrong_token(PG_FUNCTION_ARGS)
{
	uint64 store = hash_text(PG_GETARG_TEXT_PP(0), 0);
	uint64 terminal = hash_text(PG_GETARG_TEXT_PP(1), store);

	require_memory();
	LWLockAcquire(state->lock, LW_EXCLUSIVE);
	count_one(state->terminals, TERMINAL_SETS, terminal, payout_token_tries);
	count_one(state->stores, STORE_SETS, store, PG_GETARG_INT32(2));
	LWLockRelease(state->lock);
	PG_RETURN_VOID();
}

static int
count_locked(Tries *table, int places)
{
	TimestampTz now = payout_now();
	int locked = 0;

	for (int i = 0; i < places; i++)
	{
		forget_old(&table[i], now);
		if (table[i].count > 0 && table[i].database == MyDatabaseId && table[i].count >= table[i].limit)
			locked++;
	}
	return locked;
}

/* token_locks(terminals, stores): how many are locked now, in this database; nulls without shared memory. */
Datum
payout_token_locks(PG_FUNCTION_ARGS)
{
	TupleDesc desc;
	Datum values[2] = {0};
	bool nulls[2] = {state == NULL, state == NULL};

	if (get_call_result_type(fcinfo, NULL, &desc) != TYPEFUNC_COMPOSITE)
		elog(ERROR, "return type must be a row type");
	if (state != NULL)
	{
		LWLockAcquire(state->lock, LW_EXCLUSIVE);
		values[0] = Int32GetDatum(count_locked(state->terminals, TERMINAL_SETS * WAYS));
		values[1] = Int32GetDatum(count_locked(state->stores, STORE_SETS * WAYS));
		LWLockRelease(state->lock);
	}
	PG_RETURN_DATUM(HeapTupleGetDatum(heap_form_tuple(BlessTupleDesc(desc), values, nulls)));
}
