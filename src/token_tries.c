/*
 * token_tries.c: tries of cashout tokens, counted in shared memory, so that a rollback does not forget them. A try is counted
 * before the token is looked up, in the same step in which the lock is looked at, and taken back when the token proves good:
 * no error that a caller can place (stack, timeout, cancel, memory) comes between, and sessions that ask at the same moment
 * cannot pass the limit together.
 *
 * Tries are buckets that empty with time. Each terminal has one, of payout.token_tries, which loses one try in each
 * payout.token_lockout. All known terminals of a store together have one of the store's option token_tries, which is what the
 * store may try in an hour; so have, apart from it, all its other terminals, but theirs loses that much in STRANGER_HOURS. So
 * the number that anybody can try has a bound that does not depend on how many terminals there are (SECURITY.md works it
 * out), and names of terminals that somebody invents use up nothing that a known one needs. A terminal is another one under
 * another role: it does not help to give the name of one that calls by a role of its own.
 *
 * The memory is bounded: two tables of sets of WAYS places. A set that is full loses its least used bucket. What a store can
 * push out of the table of terminals is bounded by what all its terminals share. Counts are lost when the server restarts.
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

PG_FUNCTION_INFO_V1(payout_forget_tries);
PG_FUNCTION_INFO_V1(payout_token_locks);

#define WAYS 8
#define TERMINAL_SETS 2048
#define STORE_SETS 512
#define STRANGER_HOURS 60

/* What a bucket holds, and in which time it loses all of it. */
typedef struct Measure
{
	int tries;
	double empties_us;
} Measure;

typedef struct Bucket
{
	uint64 key;
	uint64 owner; /* the terminal whatever the role, or the store */
	Oid database;
	Measure measure; /* as it was when last counted */
	double used;	 /* 0: free */
	TimestampTz at;	 /* when so much was used */
} Bucket;

typedef struct TriesState
{
	LWLock *lock;
	Bucket terminals[TERMINAL_SETS * WAYS];
	Bucket stores[STORE_SETS * WAYS];
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

static void
require_memory(void)
{
	if (state == NULL)
		ereport(ERROR, (errcode(PY_NOT_PRELOADED), errmsg("the library payout is not preloaded"),
						errhint("Tries of tokens are counted in shared memory: add payout to "
								"shared_preload_libraries and restart the server.")));
}

static uint64
hash_name(const char *name, uint64 seed)
{
	return hash_bytes_extended((const unsigned char *) name, (int) strlen(name), seed);
}

/* Takes from a bucket what it has lost since. A clock that was set back counts as one that stood still. */
static void
let_time_pass(Bucket *bucket, const Measure *measure, TimestampTz now)
{
	if (bucket->used <= 0)
		return;
	if (now > bucket->at)
		bucket->used -= (double) (now - bucket->at) * measure->tries / measure->empties_us;
	bucket->used = Max(bucket->used, 0);
	bucket->at = now;
}

/* The bucket of a key; when there is none NULL, or (make) an empty one. The lock is held. */
static Bucket *
find(Bucket *table, int sets, uint64 key, uint64 owner, const Measure *measure, bool make)
{
	TimestampTz now = payout_now();
	Bucket *set = table + (key % sets) * WAYS;
	Bucket *spare = set;

	for (int i = 0; i < WAYS; i++)
	{
		bool is_it = set[i].used > 0 && set[i].key == key && set[i].database == MyDatabaseId;

		let_time_pass(&set[i], is_it ? measure : &set[i].measure, now);
		if (is_it && set[i].used > 0)
			return &set[i];
		if (set[i].used < spare->used)
			spare = &set[i];
	}
	if (!make)
		return NULL;
	*spare = (Bucket){.key = key, .owner = owner, .database = MyDatabaseId, .at = now};
	return spare;
}

/* The two buckets that a try goes into; without a terminal the second alone. */
typedef struct Place
{
	Bucket *table;
	int sets;
	uint64 key;
	uint64 owner;
	Measure measure;
} Place;

static Place
place_of_terminal(const Trier *trier)
{
	uint64 owner = hash_name(trier->terminal, hash_name(trier->cvs_code, 0));

	return (Place){.table = state->terminals,
				   .sets = TERMINAL_SETS,
				   .key = hash_name(trier->role, owner),
				   .owner = owner,
				   .measure = {payout_token_tries,
							   (double) payout_token_tries * payout_token_lockout_s * USECS_PER_SEC}};
}

static Place
place_of_store(const Trier *trier)
{
	uint64 owner = hash_name(trier->cvs_code, 0);
	double hours = trier->is_known ? 1 : STRANGER_HOURS;

	return (Place){.table = state->stores,
				   .sets = STORE_SETS,
				   .key = owner + (trier->is_known ? 0 : 1),
				   .owner = owner,
				   .measure = {trier->store_tries, hours * USECS_PER_HOUR}};
}

static bool
has_room(const Place *place)
{
	Bucket *bucket = find(place->table, place->sets, place->key, place->owner, &place->measure, false);

	return bucket == NULL || bucket->used + 1 <= place->measure.tries;
}

static void
put_one(const Place *place)
{
	Bucket *bucket = find(place->table, place->sets, place->key, place->owner, &place->measure, true);

	bucket->measure = place->measure;
	bucket->used += 1;
}

static void
take_one(const Place *place)
{
	Bucket *bucket = find(place->table, place->sets, place->key, place->owner, &place->measure, false);

	if (bucket != NULL)
		bucket->used = Max(bucket->used - 1, 0);
}

static pg_attribute_noreturn() void refuse(bool terminal_has_room)
{
	ereport(ERROR,
			(errcode(PY_TOO_MANY_WRONG_TOKENS),
			 errmsg("too many wrong tokens at this %s", terminal_has_room ? "store" : "terminal"),
			 errhint("It tries again after payout.token_lockout, or once an operator has called "
					 "payout.unlock_terminal. A repeat, a confirmation or a reversal of what this store has "
					 "validated is taken meanwhile.")));
}

void
token_tries_take(const Trier *trier)
{
	bool has_terminal = trier->terminal != NULL;
	bool terminal_has_room = true;
	bool store_has_room;
	Place terminal = {0};
	Place store;

	require_memory();
	store = place_of_store(trier);
	if (has_terminal)
		terminal = place_of_terminal(trier);
	LWLockAcquire(state->lock, LW_EXCLUSIVE);
	if (has_terminal)
		terminal_has_room = has_room(&terminal);
	store_has_room = has_room(&store);
	if (terminal_has_room && store_has_room)
	{
		if (has_terminal)
			put_one(&terminal);
		put_one(&store);
	}
	LWLockRelease(state->lock);
	if (!terminal_has_room || !store_has_room)
		refuse(terminal_has_room);
}

void
token_tries_give_back(const Trier *trier)
{
	Place store = place_of_store(trier);

	LWLockAcquire(state->lock, LW_EXCLUSIVE);
	if (trier->terminal != NULL)
	{
		Place terminal = place_of_terminal(trier);

		take_one(&terminal);
	}
	take_one(&store);
	LWLockRelease(state->lock);
}

static void
empty_all_of(Bucket *table, int places, uint64 owner)
{
	for (int i = 0; i < places; i++)
		if (table[i].owner == owner && table[i].database == MyDatabaseId)
			table[i].used = 0;
}

/*
 * forget_tries(cvs_code, terminal): empties the terminal's buckets, whatever the role; terminal null: what the store's
 * terminals share. The one place where a lock is taken away. Nothing without shared memory.
 */
Datum
payout_forget_tries(PG_FUNCTION_ARGS)
{
	uint64 store;

	if (state == NULL || PG_ARGISNULL(0))
		PG_RETURN_VOID();
	store = hash_name(text_to_cstring(PG_GETARG_TEXT_PP(0)), 0);
	LWLockAcquire(state->lock, LW_EXCLUSIVE);
	if (PG_ARGISNULL(1))
		empty_all_of(state->stores, STORE_SETS * WAYS, store);
	else
		empty_all_of(state->terminals, TERMINAL_SETS * WAYS,
					 hash_name(text_to_cstring(PG_GETARG_TEXT_PP(1)), store));
	LWLockRelease(state->lock);
	PG_RETURN_VOID();
}

static int
count_locked(Bucket *table, int places)
{
	TimestampTz now = payout_now();
	int locked = 0;

	for (int i = 0; i < places; i++)
	{
		let_time_pass(&table[i], &table[i].measure, now);
		if (table[i].database == MyDatabaseId && table[i].used > 0 &&
			table[i].used + 1 > table[i].measure.tries)
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
