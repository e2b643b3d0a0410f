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
 *	 - Sessions say at commit what they stop (gate_stop.c). A database, channel or merchant has a cell in shared memory, chosen by
 *	   a hash: the session counts its stop there. Two that meet in one cell stop each other's requests now and then: those
 *	   are released and claimed again. Payouts move all the time, so they are told apart exactly: the session writes the payout's
 *	   key into a journal.
 *	 - The worker copies all counts, and the journal's end, before the transaction in which it looks at arming, channels and queues
 *	   (gate_look). An exchange keeps the sum over its cells and that end (gate_admit). It passes while no cell of it is pending,
 *	   the sum is the same, and the journal names none of its payouts behind that end: then nothing has been committed since
 *	   that the transaction did not see. While a cell is pending nothing is claimed that it concerns.
 *	 - A payout that is stopped while it is claimed is found in the journal: the session changes its row (or locks its batch) either
 *	   before the claim, which then finds it not due, or after the claim's commit has given the row free; and before that commit the worker has
 *	   counted it as claimed.
 *	 - Between the callback and the writing nothing may be committed either. So bytes move under a lock in share mode, a socket at
 *	   a time (gate_pump), and a session takes the lock alone for the moment in which it marks and writes.
 *	 - Where so much was written that the worker has not read all of the journal, what was claimed before is released.
 *
 * A wait for a synchronous standby stands between the two steps of a stop: meanwhile the worker sends nothing of that scope, and
 * could not commit a claim anyway.
 *
 * What is refused here was provably not sent: it ends as released, counts as no try, and is due again.
 */
#include "postgres.h"

#include "access/xact.h"
#include "channel.h"
#include "clock.h"
#include "commands/dbcommands.h"
#include "crash_point.h"
#include "gate_state.h"
#include "miscadmin.h"
#include "postmaster/interrupt.h"
#include "secret_lock.h"
#include "settings.h"
#include "storage/ipc.h"
#include "utils/hsearch.h"
#include "utils/memutils.h"

/* How long bytes wait for a session that wants to mark a stop, at most. */
#define FENCE_PAUSE_US 50
#define FENCE_TRIES 100

/* A payout of which a request was claimed and has not ended. */
typedef struct ClaimedPayout
{
	uint64 key;
	int requests;
	uint64 stopped; /* the journal's length right after it was last named there; 0: it was not */
} ClaimedPayout;

/* What an exchange needs to pass. */
struct GatePass
{
	uint32 readings;
	uint64 stops;		/* sum over the cells */
	uint64 journal_end; /* at the last look */
	GateCell *cells[2];
	int payout_count;
	ClaimedPayout *payouts[FLEXIBLE_ARRAY_MEMBER];
};

static uint32 *seen = NULL; /* the counts at the last look, by cell */
static HTAB *claimed_payouts = NULL;
static uint64 configuration_seen = UINT64_MAX;
static uint64 journal_seen = 0; /* its end at the last look */
static uint64 journal_read = 0; /* up to here */
static uint64 journal_lost = 0; /* up to here not all was read */
static uint32 readings = 0;		/* of the settings */
static bool is_listed = false;

/* What this process has claimed when it ends is nobody's any more. */
static void
forget_claimed(int code, Datum arg)
{
	HASH_SEQ_STATUS all;
	ClaimedPayout *payout;

	hash_seq_init(&all, claimed_payouts);
	while ((payout = hash_seq_search(&all)) != NULL)
		pg_atomic_fetch_sub_u32(gate_claims(payout->key), 1);
}

bool
gate_is_worker(void)
{
	return seen != NULL;
}

bool
gate_has_claimed(uint64 payout_key)
{
	return hash_search(claimed_payouts, &payout_key, HASH_FIND, NULL) != NULL;
}

void
gate_begin_worker(void)
{
	HASHCTL ctl = {.keysize = sizeof(uint64), .entrysize = sizeof(ClaimedPayout), .hcxt = TopMemoryContext};

	seen = MemoryContextAllocZero(TopMemoryContext, GATE_CELLS * sizeof(uint32));
	claimed_payouts =
		hash_create("payout claimed payouts", 1024, &ctl, HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
	before_shmem_exit(forget_claimed, (Datum) 0);
}

static void
take_stop(uint64 payout_key, uint64 position)
{
	ClaimedPayout *payout = hash_search(claimed_payouts, &payout_key, HASH_FIND, NULL);

	if (payout != NULL)
		payout->stopped = position + 1;
}

static void
read_journal(void)
{
	if (!gate_journal_read(&journal_read, take_stop))
		journal_lost = journal_read;
}

void
gate_look(void)
{
	uint64 stops = pg_atomic_read_u64(&gate_state->configuration_stops);

	read_journal();
	journal_seen = journal_read;
	pg_read_barrier();
	/* Mostly nothing was stopped since. */
	for (int i = 0; i < GATE_CELLS && stops != configuration_seen; i++)
		seen[i] = pg_atomic_read_u32(&gate_state->cells[i].stops);
	configuration_seen = stops;
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
add_cell(struct GatePass *pass, int place, GateScope scope, const char *id)
{
	pass->cells[place] = gate_cell(scope, id);
	pass->stops += seen[pass->cells[place] - gate_state->cells];
}

/* Counts the payout as claimed, once however many of its requests there are. */
static ClaimedPayout *
claim_payout(const char *txid)
{
	uint64 key = gate_payout_key(txid);
	bool found;
	ClaimedPayout *payout = hash_search(claimed_payouts, &key, HASH_ENTER, &found);

	if (!found)
	{
		payout->requests = 0;
		payout->stopped = 0;
		pg_atomic_fetch_add_u32(gate_claims(key), 1);
	}
	payout->requests++;
	return payout;
}

static void
leave_payout(ClaimedPayout *payout)
{
	if (--payout->requests > 0)
		return;
	pg_atomic_fetch_sub_u32(gate_claims(payout->key), 1);
	(void) hash_search(claimed_payouts, &payout->key, HASH_REMOVE, NULL);
}

void
gate_admit(Exchange *exchange)
{
	const BankOrder *order = &exchange->order;
	struct GatePass *pass = MemoryContextAllocZero(
		exchange->context, offsetof(struct GatePass, payouts) + order->item_count * sizeof(ClaimedPayout *));

	/* first: should an error follow, gate_leave() takes back what was counted until then */
	exchange->pass = pass;
	pass->readings = readings;
	pass->journal_end = journal_seen;
	add_cell(pass, 0, GATE_DATABASE, NULL);
	if (exchange->channel != NULL)
		add_cell(pass, 1, GATE_CHANNEL, exchange->channel->channel_id);
	else
		add_cell(pass, 1, GATE_MERCHANT, exchange->merchant_id);
	for (; pass->payout_count < order->item_count; pass->payout_count++)
		pass->payouts[pass->payout_count] = claim_payout(order->items[pass->payout_count].txid);
	/* What was read since the look, when these were not claimed yet, is read again. */
	journal_read = Min(journal_read, journal_seen);
}

void
gate_leave(Exchange *exchange)
{
	struct GatePass *pass = exchange->pass;

	if (pass == NULL)
		return;
	for (int i = 0; i < pass->payout_count; i++)
		leave_payout(pass->payouts[i]);
	exchange->pass = NULL;
}

bool
gate_is_stopping(const char *channel_id)
{
	return pg_atomic_read_u32(&gate_cell(GATE_DATABASE, NULL)->pending) != 0 ||
		   pg_atomic_read_u32(&gate_cell(GATE_CHANNEL, channel_id)->pending) != 0;
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

static bool
is_configuration_stopped(const struct GatePass *pass)
{
	uint64 stops = 0;

	for (int i = 0; i < (int) lengthof(pass->cells); i++)
	{
		if (pg_atomic_read_u32(&pass->cells[i]->pending) != 0)
			return true;
		/* the mark is read before the count: a session raises the count before it takes the mark away */
		pg_read_barrier();
		stops += pg_atomic_read_u32(&pass->cells[i]->stops);
	}
	return stops != pass->stops;
}

static bool
is_payout_stopped(const struct GatePass *pass)
{
	read_journal();
	if (pass->journal_end < journal_lost)
		return true;
	for (int i = 0; i < pass->payout_count; i++)
		if (pass->payouts[i]->stopped > pass->journal_end)
			return true;
	return false;
}

const char *
gate_refusal(const Exchange *exchange)
{
	const struct GatePass *pass = exchange->pass;

	if (mutation("gate_not_asked"))
		return NULL;
	if (ProcDiePending || ShutdownRequestPending)
		return "the worker was told to end before this was sent";
	if (ConfigReloadPending || pass->readings != readings)
		return "the settings were changed before this was sent";
	if (!is_listed)
		return "payout.databases ceased to list this database before this was sent";
	if (!secret_file_is_ours())
		return "payout.secret_file was changed before this was sent";
	if (exchange->leave_before != 0 && payout_now() >= exchange->leave_before)
		return "the bank may forget the reference before this could be answered";
	if (is_configuration_stopped(pass) || is_payout_stopped(pass))
		return "something was stopped or altered before this was sent";
	return channel_refusal(exchange);
}

/* Bytes move from here on. A session that waits to mark a stop goes first. */
static void
enter(void)
{
	for (int i = 0; i < FENCE_TRIES && pg_atomic_read_u32(&gate_state->wanted) > 0; i++)
		pg_usleep(FENCE_PAUSE_US);
	LWLockAcquire(gate_state->moving, LW_SHARED);
}

static void
leave(void)
{
	LWLockRelease(gate_state->moving);
}

void
gate_pump(void)
{
	http_pump(enter, leave);
}
