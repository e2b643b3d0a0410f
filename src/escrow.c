/*
 * escrow.c: what each merchant may still take, counted in shared memory, so that a busy merchant's payouts do not queue
 * for a row: a row lock is held until its transaction is on disk, a count is changed in a moment.
 *
 * The tables are the truth: available = balance.available + all rows of balance_delta (payout.current_balance). A slot
 * holds the same number less what transactions in progress have taken. Debits take from the slot before they write
 * their delta; credits write theirs and reach the slot after their commit. Invariant, at every instant:
 *
 *	   slot.available = committed row and deltas - takes in progress, or less (a credit on its way to the slot)
 *
 * so a debit that the slot allows is covered by what is committed, in any isolation level. In detail:
 *
 *	 - Pins. Whoever takes or gives first pins the slot, until its transaction has ended and is visible (or
 *	   not) to every new snapshot: PostgreSQL calls us back after that. A pinned slot is never evicted. So when a slot is
 *	   cold, nobody is between a change of the tables and a change of the slot, and a snapshot taken after pinning says
 *	   exactly what to load. Several may load at once: they read the same, the first one writes it. A credit can thus
 *	   not be counted twice, by a loader that sees it and by its own commit.
 *	 - The snapshot of a loader is the latest, whatever the isolation level of its transaction.
 *	 - Undo. Each change is logged, in memory that is there before the change; abort of a (sub)transaction undoes its
 *	   part, newest first. Callbacks cannot fail. A credit of the transaction itself can be taken by it; what is left of
 *	   it at commit reaches the slot.
 *	 - The total of the day is in the slot, taken and given back with the amount.
 *	 - Folding (fold.c) moves deltas into the row in one transaction: the sum stays, slots are not concerned.
 *	 - A backend that crashes makes the server start over: all slots are cold. So are they after restart and promotion;
 *	   on a standby nothing is loaded, for replay would change the tables behind the slot.
 *	 - More merchants than slots: an unpinned slot is evicted (second chance); if all are pinned, the call fails.
 *	 - A slot belongs to one table balance of one database: DROP and CREATE EXTENSION begin with cold slots.
 *	 - PREPARE TRANSACTION is refused: nobody would give back.
 *	 - Changes by hand (hand.c) may concern more merchants than there are slots, as when a dump is restored. They follow
 *	   into slots that are loaded, and keep the others cold by a lock that they hold to their end and loaders need.
 *	 - A payout may be refused although another transaction holds the money and will roll back: nobody waits for it, as
 *	   he would for a row.
 */
#include "postgres.h"

#include "access/xact.h"
#include "access/xlog.h"
#include "advisory.h"
#include "crash_point.h"
#include "errors.h"
#include "escrow.h"
#include "executor/spi.h"
#include "fmgr.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "plan.h"
#include "row.h"
#include "settings.h"
#include "storage/lwlock.h"
#include "storage/shmem.h"
#include "storage/spin.h"
#include "utils/builtins.h"
#include "utils/hsearch.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"

PG_FUNCTION_INFO_V1(payout_escrow);

#define MERCHANT_ID_SIZE 12 /* 10 characters, padded with zeros */

typedef struct SlotKey
{
	Oid database;
	Oid balance_table;
	char merchant_id[MERCHANT_ID_SIZE];
} SlotKey;

typedef struct Slot
{
	SlotKey key;
	slock_t mutex; /* guards what follows */
	bool loaded;
	bool recent; /* used since the hand came by */
	int pins;
	uint64
		version; /* goes up with each change, for payout.verify(); another each time the slot is given away */
	DateADT day; /* of day_total, in Jakarta */
	int64 available;
	int64 day_total;
} Slot;

typedef struct EscrowState
{
	LWLock *lock; /* shared to find a slot, exclusive to give one to another merchant */
	int used;
	uint32 given; /* how often a slot was given to a merchant */
	int hand;	  /* of the clock that looks for a slot to evict */
	Slot slots[FLEXIBLE_ARRAY_MEMBER];
} EscrowState;

typedef struct DirectoryEntry
{
	SlotKey key;
	int slot;
} DirectoryEntry;

static EscrowState *state = NULL;
static HTAB *directory = NULL;

/* A slot that this transaction has pinned. */
typedef struct Touched
{
	Slot *slot;
	int64 own_credit; /* given by this transaction and not taken by it */
} Touched;

/* One change of this transaction, to be undone. */
typedef struct Change
{
	int touched;
	int nest_level;
	int64 from_slot;  /* taken from the slot */
	int64 own_credit; /* added to the own credit */
	int64 day_amount;
	DateADT day;
} Change;

static Touched *touched = NULL;
static bool changed_by_hand = false; /* by this transaction */
static int touched_count = 0;
static int touched_room = 0;
static Change *changes = NULL;
static int change_count = 0;
static int change_room = 0;

bool
escrow_is_there(void)
{
	return state != NULL;
}

Size
escrow_shmem_size(void)
{
	return add_size(offsetof(EscrowState, slots) + mul_size(payout_escrow_slots, sizeof(Slot)),
					hash_estimate_size(payout_escrow_slots, sizeof(DirectoryEntry)));
}

void
escrow_shmem_init(void)
{
	HASHCTL control = {.keysize = sizeof(SlotKey), .entrysize = sizeof(DirectoryEntry)};
	bool found;

	state = ShmemInitStruct(
		"payout escrow", offsetof(EscrowState, slots) + mul_size(payout_escrow_slots, sizeof(Slot)), &found);
	directory = ShmemInitHash("payout escrow directory", payout_escrow_slots, payout_escrow_slots, &control,
							  HASH_ELEM | HASH_BLOBS | HASH_FIXED_SIZE);
	if (!found)
	{
		memset(state, 0, offsetof(EscrowState, slots) + payout_escrow_slots * sizeof(Slot));
		state->lock = &(GetNamedLWLockTranche("payout"))[2].lock;
	}
}

static void
make_key(const text *merchant_id, SlotKey *key)
{
	size_t length = VARSIZE_ANY_EXHDR(merchant_id);

	memset(key, 0, sizeof(*key));
	key->database = MyDatabaseId;
	key->balance_table = row_relation("balance");
	if (length >= MERCHANT_ID_SIZE)
		ereport(ERROR, (errcode(PY_UNKNOWN_MERCHANT),
						errmsg("merchant \"%s\" has no balance", text_to_cstring(merchant_id)),
						errhint("payout.create_merchant creates it.")));
	memcpy(key->merchant_id, VARDATA_ANY(merchant_id), length);
}

/* Pins the slot of a key, if it has one. The lock is held. */
static Slot *
pin_found(const SlotKey *key)
{
	DirectoryEntry *entry = hash_search(directory, key, HASH_FIND, NULL);
	Slot *slot;

	if (entry == NULL)
		return NULL;
	slot = &state->slots[entry->slot];
	SpinLockAcquire(&slot->mutex);
	slot->pins++;
	slot->recent = true;
	SpinLockRelease(&slot->mutex);
	return slot;
}

/* The next slot that nobody has pinned, taken from its merchant; NULL when all are pinned. The lock is held exclusively. */
static Slot *
evict(void)
{
	for (int steps = 0; steps < 2 * payout_escrow_slots; steps++)
	{
		Slot *slot = &state->slots[state->hand];
		bool evictable;

		state->hand = (state->hand + 1) % payout_escrow_slots;
		SpinLockAcquire(&slot->mutex);
		evictable = slot->pins == 0 && !slot->recent;
		slot->recent = false;
		SpinLockRelease(&slot->mutex);
		if (evictable)
		{
			(void) hash_search(directory, &slot->key, HASH_REMOVE, NULL);
			return slot;
		}
	}
	return NULL;
}

/* A slot for a key that has none, pinned and cold. The lock is held exclusively. */
static Slot *
pin_new(const SlotKey *key)
{
	Slot *slot = state->used < payout_escrow_slots ? &state->slots[state->used++] : evict();
	DirectoryEntry *entry;

	if (slot == NULL)
		return NULL;
	memset(slot, 0, sizeof(*slot));
	SpinLockInit(&slot->mutex);
	slot->version = (uint64) ++state->given << 32;
	slot->key = *key;
	slot->pins = 1;
	slot->recent = true;
	entry = hash_search(directory, key, HASH_ENTER, NULL);
	entry->slot = (int) (slot - state->slots);
	return slot;
}

static Slot *
pin(const SlotKey *key)
{
	Slot *slot;

	LWLockAcquire(state->lock, LW_SHARED);
	slot = pin_found(key);
	LWLockRelease(state->lock);
	if (slot != NULL)
		return slot;
	LWLockAcquire(state->lock, LW_EXCLUSIVE);
	slot = pin_found(key);
	if (slot == NULL)
		slot = pin_new(key);
	LWLockRelease(state->lock);
	if (slot == NULL)
		ereport(
			ERROR,
			(errcode(ERRCODE_OUT_OF_MEMORY), errmsg("all slots for balances are in use"),
			 errhint(
				 "Raise payout.escrow_slots: so many merchants' balances change at one moment at most.")));
	return slot;
}

static bool
is_loaded(Slot *slot)
{
	bool loaded;

	SpinLockAcquire(&slot->mutex);
	loaded = slot->loaded;
	SpinLockRelease(&slot->mutex);
	return loaded;
}

/* Reads what the tables say now. A merchant without a balance has nothing. */
static void
read_tables(const text *merchant_id, int64 *available, DateADT *day, int64 *day_total)
{
	static SPIPlanPtr plan = NULL;
	Oid types[] = {TEXTOID};
	Datum values[] = {PointerGetDatum(merchant_id)};
	bool nulls[3];

	SPI_connect();
	plan_prepare(&plan,
				 "select (c.available operator(pg_catalog.*) 100)::pg_catalog.int8, c.day,"
				 " (c.day_total operator(pg_catalog.*) 100)::pg_catalog.int8"
				 " from payout.current_balance($1) c",
				 1, types);
	PushActiveSnapshot(GetLatestSnapshot());
	if (SPI_execute_plan(plan, values, NULL, true, 1) != SPI_OK_SELECT || SPI_processed != 1)
		elog(ERROR, "payout.current_balance failed");
	*available = DatumGetInt64(SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1, &nulls[0]));
	*day = DatumGetDateADT(SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 2, &nulls[1]));
	*day_total = DatumGetInt64(SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 3, &nulls[2]));
	if (nulls[0])
		*available = 0;
	if (nulls[1])
		*day = DATEVAL_NOBEGIN;
	if (nulls[2])
		*day_total = 0;
	PopActiveSnapshot();
	SPI_finish();
}

/* Loads a cold slot, which is pinned, so that nobody has changed it before our snapshot but those who loaded it. */
static void
load(Slot *slot, const text *merchant_id)
{
	LOCKTAG tag = advisory_tag(ADVISORY_LOADING);
	int64 available;
	int64 day_total;
	DateADT day;

	if (changed_by_hand)
		ereport(ERROR, (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
						errmsg("balances were changed by hand in this transaction"),
						errhint("Commit that before payouts, top-ups and withdrawals.")));
	(void) LockAcquire(&tag, ShareLock, false, false);
	read_tables(merchant_id, &available, &day, &day_total);
	SpinLockAcquire(&slot->mutex);
	if (!slot->loaded)
	{
		slot->loaded = true;
		slot->version++;
		slot->available = available;
		slot->day = day;
		slot->day_total = day_total;
	}
	SpinLockRelease(&slot->mutex);
	LockRelease(&tag, ShareLock, false);
}

/* Room for one more, so that nothing can fail between a change and its entry in the log. */
static void
make_room(void)
{
	if (touched_count == touched_room)
	{
		int room = touched_room == 0 ? 16 : 2 * touched_room;

		touched = touched == NULL ? MemoryContextAlloc(TopMemoryContext, room * sizeof(Touched))
								  : repalloc_huge(touched, room * sizeof(Touched));
		touched_room = room;
	}
	if (change_count == change_room)
	{
		int room = change_room == 0 ? 16 : 2 * change_room;

		changes = changes == NULL ? MemoryContextAlloc(TopMemoryContext, room * sizeof(Change))
								  : repalloc_huge(changes, room * sizeof(Change));
		change_room = room;
	}
}

/* The place of a slot that this transaction has pinned; -1 when it has not. */
static int
find_touched(const SlotKey *key)
{
	/* Mostly one; many only where a batch of refunds concerns many merchants. */
	for (int i = touched_count - 1; i >= 0; i--)
		if (memcmp(&touched[i].slot->key, key, sizeof(*key)) == 0)
			return i;
	return -1;
}

/* Remembers a slot that was just pinned. There is room. */
static int
add_touched(Slot *slot)
{
	touched[touched_count].slot = slot;
	touched[touched_count].own_credit = 0;
	return touched_count++;
}

/* The merchant's slot, pinned until the transaction ends, and loaded. There is room for one change. */
static int
touch(const text *merchant_id)
{
	SlotKey key;
	int i;

	if (RecoveryInProgress())
		ereport(ERROR,
				(errcode(ERRCODE_READ_ONLY_SQL_TRANSACTION), errmsg("balances cannot change during recovery"),
				 errhint("Ask the primary server.")));
	make_key(merchant_id, &key);
	make_room();
	i = find_touched(&key);
	if (i < 0)
		i = add_touched(pin(&key));
	if (!is_loaded(touched[i].slot))
		load(touched[i].slot, merchant_id);
	return i;
}

/* The same for a change by hand: -1 when the slot is cold, which it stays until this transaction has ended. */
static int
touch_if_loaded(const text *merchant_id)
{
	LOCKTAG tag = advisory_tag(ADVISORY_LOADING);
	Slot *slot;
	SlotKey key;
	int i;

	(void) LockAcquire(&tag, ExclusiveLock, false, false);
	changed_by_hand = true;
	make_key(merchant_id, &key);
	make_room();
	i = find_touched(&key);
	if (i < 0)
	{
		LWLockAcquire(state->lock, LW_SHARED);
		slot = pin_found(&key);
		LWLockRelease(state->lock);
		if (slot == NULL)
			return -1;
		i = add_touched(slot);
	}
	return is_loaded(touched[i].slot) ? i : -1;
}

static DateADT
jakarta_today(void)
{
	/* UTC+7 all year; the epoch of both types is 2000-01-01 */
	return (DateADT) ((GetCurrentTimestamp() + 7 * USECS_PER_HOUR) / USECS_PER_DAY);
}

/* Logs a change; there is room. */
static void
log_change(const Change *change)
{
	changes[change_count] = *change;
	changes[change_count].nest_level = GetCurrentTransactionNestLevel();
	change_count++;
}

EscrowResult
escrow_take(const text *merchant_id, EscrowTake *take)
{
	int i = touch(merchant_id);
	Slot *slot = touched[i].slot;
	int64 from_own = Min(touched[i].own_credit, take->amount);
	Change change = {.touched = i,
					 .from_slot = take->amount - from_own,
					 .own_credit = -from_own,
					 .day_amount = take->day_amount};
	DateADT today = jakarta_today();
	int64 day_max = take->day_max >= 0 ? take->day_max : LEDGER_SUM_MAX;
	EscrowResult result = ESCROW_TAKEN;
	int64 day_total;

	SpinLockAcquire(&slot->mutex);
	take->available = slot->available + touched[i].own_credit;
	/* The day never goes back: a session that read the clock before midnight counts to the new day. */
	take->day = Max(slot->day, today);
	day_total = slot->day == take->day ? slot->day_total : 0;
	take->day_room = Max(0, day_max - day_total);
	if (slot->available < change.from_slot)
		result = ESCROW_TOO_LITTLE;
	else if (take->day_amount > 0 && take->day_amount > take->day_room)
		result = ESCROW_DAY_FULL;
	else
	{
		slot->available -= change.from_slot;
		if (take->day_amount > 0)
		{
			slot->day = take->day;
			slot->day_total = day_total + take->day_amount;
		}
		slot->version++;
	}
	SpinLockRelease(&slot->mutex);
	if (result == ESCROW_TAKEN)
	{
		touched[i].own_credit -= from_own;
		change.day = take->day;
		log_change(&change);
	}
	return result;
}

bool
escrow_give(const text *merchant_id, int64 amount, int64 most)
{
	int i = touch(merchant_id);
	Change change = {.touched = i, .own_credit = amount};
	Slot *slot = touched[i].slot;
	bool fits;

	SpinLockAcquire(&slot->mutex);
	fits = amount <= most - (slot->available + touched[i].own_credit);
	if (fits && mutation("credit_before_commit"))
		slot->available += amount;
	SpinLockRelease(&slot->mutex);
	if (!fits || mutation("credit_before_commit"))
		return fits;
	touched[i].own_credit += amount;
	log_change(&change);
	return true;
}

void
escrow_follow(const text *merchant_id, int64 change_of_available, DateADT day, int64 day_amount)
{
	int i = touch_if_loaded(merchant_id);
	Change change = {.touched = i, .day_amount = day_amount, .day = day};
	Slot *slot;

	if (i < 0)
		return;
	slot = touched[i].slot;
	if (change_of_available < 0)
		change.from_slot = -change_of_available;
	else
		change.own_credit = change_of_available;
	SpinLockAcquire(&slot->mutex);
	slot->available -= change.from_slot;
	if (day_amount != 0 && day > slot->day)
	{
		slot->day = day;
		slot->day_total = 0;
	}
	if (day_amount != 0 && day == slot->day)
		slot->day_total += day_amount;
	slot->version++;
	SpinLockRelease(&slot->mutex);
	touched[i].own_credit += change.own_credit;
	log_change(&change);
}

/* Undoes what was logged at this nesting level or deeper, newest first. Must not fail. */
static void
undo(int nest_level)
{
	while (change_count > 0 && changes[change_count - 1].nest_level >= nest_level)
	{
		Change *change = &changes[--change_count];
		Slot *slot = touched[change->touched].slot;

		touched[change->touched].own_credit -= change->own_credit;
		SpinLockAcquire(&slot->mutex);
		slot->available += change->from_slot;
		if (change->day_amount != 0 && slot->day == change->day)
			slot->day_total -= change->day_amount;
		slot->version++;
		SpinLockRelease(&slot->mutex);
	}
}

/* The transaction has ended, and every new snapshot knows how. Must not fail. */
static void
let_go(void)
{
	for (int i = 0; i < touched_count; i++)
	{
		Slot *slot = touched[i].slot;

		SpinLockAcquire(&slot->mutex);
		slot->available += touched[i].own_credit;
		slot->version++;
		slot->pins--;
		SpinLockRelease(&slot->mutex);
	}
	touched_count = 0;
	change_count = 0;
}

static void
at_transaction_end(XactEvent event, void *arg)
{
	if (event == XACT_EVENT_COMMIT || event == XACT_EVENT_ABORT || event == XACT_EVENT_PREPARE)
		changed_by_hand = false;
	if (touched_count == 0)
		return;
	switch (event)
	{
		case XACT_EVENT_COMMIT:
			let_go();
			break;
		case XACT_EVENT_ABORT:
			undo(0);
			let_go();
			break;
		case XACT_EVENT_PRE_PREPARE:
			ereport(ERROR, (errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
							errmsg("a transaction that changed a balance cannot be prepared"),
							errhint("Commit it in one phase.")));
			break;
		default:
			break;
	}
}

static void
at_subtransaction_end(SubXactEvent event, SubTransactionId mine, SubTransactionId parent, void *arg)
{
	int nest_level = GetCurrentTransactionNestLevel();

	if (event == SUBXACT_EVENT_ABORT_SUB)
		undo(nest_level);
	else if (event == SUBXACT_EVENT_COMMIT_SUB)
		for (int i = change_count - 1; i >= 0 && changes[i].nest_level >= nest_level; i--)
			changes[i].nest_level = nest_level - 1;
}

void
escrow_register_callbacks(void)
{
	RegisterXactCallback(at_transaction_end, NULL);
	RegisterSubXactCallback(at_subtransaction_end, NULL);
}

/* escrow(): the slots of this database, for payout.verify() and for whoever wonders. */
Datum
payout_escrow(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *result = (ReturnSetInfo *) fcinfo->resultinfo;
	Oid balance_table = row_relation("balance");

	InitMaterializedSRF(fcinfo, 0);
	for (int i = 0; state != NULL && i < payout_escrow_slots; i++)
	{
		Slot slot;
		Datum values[6];
		bool nulls[6] = {0};

		LWLockAcquire(state->lock, LW_SHARED);
		if (i >= state->used)
		{
			LWLockRelease(state->lock);
			break;
		}
		SpinLockAcquire(&state->slots[i].mutex);
		slot = state->slots[i];
		SpinLockRelease(&state->slots[i].mutex);
		LWLockRelease(state->lock);
		if (slot.key.database != MyDatabaseId || slot.key.balance_table != balance_table || !slot.loaded)
			continue;
		values[0] = CStringGetTextDatum(slot.key.merchant_id);
		values[1] = Int64GetDatum(slot.available);
		values[2] = DateADTGetDatum(slot.day);
		nulls[2] = slot.day == DATEVAL_NOBEGIN;
		values[3] = Int64GetDatum(slot.day_total);
		values[4] = Int32GetDatum(slot.pins);
		values[5] = Int64GetDatum(slot.version);
		tuplestore_putvalues(result->setResult, result->setDesc, values, nulls);
	}
	return (Datum) 0;
}
