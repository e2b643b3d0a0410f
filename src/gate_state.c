/*
 * gate_state.c: the gate's shared memory: cells, the claimed payouts, and the journal of stopped payouts. How they are used
 * stands at the head of gate.c.
 *
 * The journal is a ring. Sessions write under a lock, one at a time; workers read without it. A key is written before the count that
 * covers it, and a reader reads the count again at the end: so it never takes a key that was being overwritten for an old one.
 */
#include "postgres.h"

#include "common/hashfn.h"
#include "gate_state.h"
#include "miscadmin.h"
#include "storage/shmem.h"

GateState *gate_state = NULL;

Size
gate_shmem_size(void)
{
	return MAXALIGN(sizeof(GateState));
}

void
gate_shmem_init(void)
{
	bool found;

	gate_state = ShmemInitStruct("payout gate", sizeof(GateState), &found);
	if (found)
		return;
	gate_state->moving = &(GetNamedLWLockTranche("payout"))[3].lock;
	if (!pg_strong_random(&gate_state->seed, sizeof(gate_state->seed)))
		elog(ERROR, "could not draw a random seed");
	pg_atomic_init_u32(&gate_state->wanted, 0);
	pg_atomic_init_u64(&gate_state->configuration_stops, 0);
	pg_atomic_init_u64(&gate_state->written, 0);
	for (int i = 0; i < GATE_CELLS; i++)
	{
		pg_atomic_init_u32(&gate_state->cells[i].stops, 0);
		pg_atomic_init_u32(&gate_state->cells[i].pending, 0);
	}
	for (int i = 0; i < GATE_CLAIM_CELLS; i++)
		pg_atomic_init_u32(&gate_state->claims[i], 0);
	for (int i = 0; i < GATE_JOURNAL_SIZE; i++)
		pg_atomic_init_u64(&gate_state->journal[i], 0);
}

/* The hash of a scope in this database: nobody who does not know the seed can choose with whom to meet. */
static uint64
hash_of(GateScope scope, const char *id)
{
	uint64 seed = gate_state->seed ^ ((uint64) MyDatabaseId << 8) ^ (uint64) scope;

	return hash_bytes_extended((const unsigned char *) id, (int) strlen(id), seed);
}

GateCell *
gate_cell(GateScope scope, const char *id)
{
	return &gate_state->cells[hash_of(scope, scope == GATE_DATABASE ? "" : id) % GATE_CELLS];
}

uint64
gate_payout_key(const char *txid)
{
	return hash_of(GATE_PAYOUT, txid);
}

pg_atomic_uint32 *
gate_claims(uint64 payout_key)
{
	return &gate_state->claims[payout_key % GATE_CLAIM_CELLS];
}

void
gate_journal_write(uint64 payout_key)
{
	uint64 position = pg_atomic_read_u64(&gate_state->written);

	Assert(LWLockHeldByMeInMode(gate_state->moving, LW_EXCLUSIVE));
	pg_atomic_write_u64(&gate_state->journal[position % GATE_JOURNAL_SIZE], payout_key);
	pg_write_barrier();
	pg_atomic_write_u64(&gate_state->written, position + 1);
}

bool
gate_journal_read(uint64 *from, void (*take)(uint64 payout_key, uint64 position))
{
	uint64 begin = *from;
	uint64 end = pg_atomic_read_u64(&gate_state->written);

	Assert(begin <= end);
	pg_read_barrier();
	*from = end;
	if (end - begin >= GATE_JOURNAL_SIZE)
		return false;
	for (uint64 position = begin; position < end; position++)
		take(pg_atomic_read_u64(&gate_state->journal[position % GATE_JOURNAL_SIZE]), position);
	pg_read_barrier();
	return pg_atomic_read_u64(&gate_state->written) - begin < GATE_JOURNAL_SIZE;
}
