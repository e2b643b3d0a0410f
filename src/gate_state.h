/*
 * gate_state.h: what sessions and workers share of the gate. For gate.c and gate_stop.c alone; everyone else: gate.h.
 */
#ifndef PAYOUT_GATE_STATE_H
#define PAYOUT_GATE_STATE_H

#include "gate.h"
#include "port/atomics.h"
#include "storage/lwlock.h"

/* Of databases, channels and merchants. */
#define GATE_CELLS 8192
/* Of payouts: a power of two, as is the journal's size. */
#define GATE_CLAIM_CELLS 65536
#define GATE_JOURNAL_SIZE 65536

typedef struct GateCell
{
	pg_atomic_uint32 stops;	  /* that were committed, or undone */
	pg_atomic_uint32 pending; /* transactions between the two steps */
} GateCell;

typedef struct GateState
{
	LWLock *moving; /* shared: bytes move; exclusive: a stop is marked, or written into the journal */
	pg_atomic_uint32 wanted; /* sessions that wait for it */
	uint64 seed;
	pg_atomic_uint64 configuration_stops; /* of a database, channel or merchant that have ended */
	GateCell cells[GATE_CELLS];			  /* of these */
	pg_atomic_uint32
		claims[GATE_CLAIM_CELLS]; /* payouts with a claimed request that has not ended, of all workers */
	pg_atomic_uint64 written;	  /* into the journal, ever */
	pg_atomic_uint64 journal[GATE_JOURNAL_SIZE]; /* keys of payouts that were stopped while claimed */
} GateState;

/* NULL without shared memory. */
extern GateState *gate_state;

/* The cell of a scope other than GATE_PAYOUT; of GATE_DATABASE whatever the id. */
extern GateCell *gate_cell(GateScope scope, const char *id);

/* What stands for a payout of this database. Two TXIDs have one key by a chance of 1 in 2^64. */
extern uint64 gate_payout_key(const char *txid);

extern pg_atomic_uint32 *gate_claims(uint64 payout_key);

/* The caller holds the lock "moving" alone. */
extern void gate_journal_write(uint64 payout_key);

/*
 * Calls take(key, position) for what was written at positions from *from up to the end, and moves *from there. False: some of it
 * was overwritten, and not all has been told.
 */
extern bool gate_journal_read(uint64 *from, void (*take)(uint64 payout_key, uint64 position));

#endif /* PAYOUT_GATE_STATE_H */
