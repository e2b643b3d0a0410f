/*
 * link.c: chains the transfers of merchants (payout.extend_chains in chain.sql), in bounded transactions.
 *
 * Called by the worker every payout.chain_interval, and without rest while there is more to chain, one transaction in each
 * turn.
 */
#include "postgres.h"

#include "clock.h"
#include "settings.h"
#include "turn.h"

#define LINK_ROWS 10000

static int64 next_link_ms = 0;

/* 1 when there may be more to chain at once, else 0. */
static int
link_once(void)
{
	static SPIPlanPtr plan = NULL;

	return turn_query_bool(&plan, "select e.more from payout.extend_chains(" CppAsString2(LINK_ROWS) ") e");
}

void
link_due(MemoryContext context)
{
	if (payout_unix_ms() < next_link_ms)
		return;
	if (turn_alone(link_once, "chain transfers", context) != 1)
		next_link_ms = payout_unix_ms() + (int64) payout_chain_interval_s * 1000;
}

int64
link_next_ms(void)
{
	return next_link_ms;
}
