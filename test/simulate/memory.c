/*
 * memory.c: what a client learns from answers and from the want of them.
 *
 * It must never hold more than its arrays, nor judge an answer: the log is for judging. Called by block.c (what calls
 * came to) and by operation.c and store.c (what to do next).
 */
#include <stdio.h>
#include <string.h>

#include "memory.h"

/* Both sides are arrays of one size, always terminated. */
#define COPY(to, from) memcpy(to, from, sizeof(to))

static void
ring_put(CallRing *ring, const Call *call)
{
	ring->calls[ring->next] = *call;
	ring->next = (ring->next + 1) % CALLS_MAX;
	if (ring->count < CALLS_MAX)
		ring->count++;
}

bool
ring_copy(const CallRing *ring, Random *random, Call *call)
{
	if (ring->count == 0)
		return false;
	*call = ring->calls[random_below(random, ring->count)];
	return true;
}

bool
ring_take(CallRing *ring, Random *random, Call *call)
{
	int chosen;

	if (ring->count == 0)
		return false;
	chosen = random_below(random, ring->count);
	*call = ring->calls[chosen];
	ring->calls[chosen] = ring->calls[--ring->count];
	ring->next = ring->count;
	return true;
}

const Payout *
memory_find(const Memory *memory, const char *txid)
{
	int i;

	for (i = 0; i < memory->count; i++)
	{
		if (strcmp(memory->payouts[i].txid, txid) == 0)
			return &memory->payouts[i];
	}
	return NULL;
}

const Payout *
memory_choose(const Memory *memory, Random *random, PayoutTest test)
{
	int start;
	int i;

	if (memory->count == 0)
		return NULL;
	start = random_below(random, memory->count);
	for (i = 0; i < memory->count; i++)
	{
		const Payout *payout = &memory->payouts[(start + i) % memory->count];

		if (test(payout))
			return payout;
	}
	return NULL;
}

static Payout *
add_payout(Memory *memory, const Call *call)
{
	Payout *payout = &memory->payouts[memory->next];

	memset(payout, 0, sizeof(*payout));
	COPY(payout->merchant, call->merchant);
	COPY(payout->reference, call->reference);
	COPY(payout->txid, call->txid);
	COPY(payout->amount, call->amount);
	payout->cashout = strcmp(call->method, "cashout") == 0;
	memory->next = (memory->next + 1) % PAYOUTS_MAX;
	if (memory->count < PAYOUTS_MAX)
		memory->count++;
	return payout;
}

/* A registration whose answer was lost may be found by its reference number. */
static bool
tells_of_payout(const Call *call)
{
	return call->kind == CALL_REGISTER || call->kind == CALL_REGISTER_CASHOUT ||
		   (call->kind == CALL_INQUIRY_REFERENCE && call->again);
}

static void
take_answer(Payout *payout, const Call *call)
{
	if (call->state[0] != '\0')
		COPY(payout->state, call->state);
	if (call->token[0] != '\0')
		COPY(payout->token, call->token);
	if (call->kind == CALL_VALIDATE)
	{
		snprintf(payout->state, sizeof(payout->state), "token_reserved");
		COPY(payout->cvs, call->cvs);
		COPY(payout->terminal, call->terminal);
		COPY(payout->cvs_reference, call->cvs_reference);
	}
}

/* A refusal tells that the client has a wrong picture; an inquiry will put it right. */
static void
take_refusal(Payout *payout, const Call *call)
{
	static const char *const stale[] = {"PY003", "PY004", "PY008", "PY009", "PY010", "PY011"};
	size_t i;

	for (i = 0; i < sizeof(stale) / sizeof(stale[0]); i++)
	{
		if (strcmp(call->result, stale[i]) == 0)
			payout->state[0] = '\0';
	}
}

bool
memory_learn(Memory *memory, const Call *call)
{
	Payout *payout = call->txid[0] == '\0' ? NULL : (Payout *) memory_find(memory, call->txid);
	bool is_new = false;

	if (call_is_unknown(call))
	{
		if (call_may_repeat(call))
			ring_put(&memory->unknown, call);
		return false;
	}
	if (!call_is_ok(call))
	{
		if (payout != NULL)
			take_refusal(payout, call);
		return false;
	}
	if (payout == NULL && tells_of_payout(call))
	{
		payout = add_payout(memory, call);
		is_new = true;
	}
	if (payout != NULL)
		take_answer(payout, call);
	if (call_may_repeat(call))
		ring_put(&memory->done, call);
	return is_new;
}
