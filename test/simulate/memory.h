/*
 * memory.h: what a client remembers: its last payouts, and calls that it may repeat. Bounded.
 * operation.c, store.c and block.c enter.
 */
#ifndef SIMULATE_MEMORY_H
#define SIMULATE_MEMORY_H

#include "calls.h"
#include "random.h"

#define PAYOUTS_MAX 500
#define CALLS_MAX 64

/* A payout as the client last heard of it; the fields as in Call. */
typedef struct Payout
{
	char merchant[12];
	char reference[44];
	char txid[32];
	char amount[24];
	char state[24]; /* empty: not known */
	char token[32]; /* secret; of a cashout whose token the client has */
	char cvs[8];	/* with terminal and cvs_reference: who validated the token */
	char terminal[32];
	char cvs_reference[44];
	bool cashout;
} Payout;

/* The last CALLS_MAX calls. */
typedef struct CallRing
{
	Call calls[CALLS_MAX];
	int count;
	int next;
} CallRing;

typedef struct Memory
{
	Payout payouts[PAYOUTS_MAX];
	int count;
	int next;		  /* the place of the next one; the oldest goes */
	CallRing done;	  /* answered ok, and repeatable */
	CallRing unknown; /* repeatable, and not known whether they were done */
} Memory;

/* Takes in a call that came to an end; true when it made a payout that was not known before. */
extern bool memory_learn(Memory *memory, const Call *call);

typedef bool (*PayoutTest)(const Payout *payout);

/* One of the payouts that pass the test, by the dice; NULL: none. It is good until the next memory_learn(). */
extern const Payout *memory_choose(const Memory *memory, Random *random, PayoutTest test);

/* The payout of a TXID; NULL: forgotten. */
extern const Payout *memory_find(const Memory *memory, const char *txid);

/* One call of a ring, by the dice, taken out of it or copied; false when it is empty. */
extern bool ring_take(CallRing *ring, Random *random, Call *call);
extern bool ring_copy(const CallRing *ring, Random *random, Call *call);

#endif /* SIMULATE_MEMORY_H */
