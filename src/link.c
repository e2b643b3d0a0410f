/*
 * link.c: chains history and transfers (payout.extend_chains in chain.sql), in bounded transactions.
 *
 * Called by the worker every payout.chain_interval, and without rest while there is more to chain, one transaction in each
 * turn.
 */
#include "postgres.h"

#include "access/transam.h"
#include "clock.h"
#include "fmgr.h"
#include "settings.h"
#include "turn.h"
#include "utils/xid8.h"

PG_FUNCTION_INFO_V1(payout_next_xid);

#define LINK_ROWS 20000

static int64 next_link_ms = 0;

/* next_xid(): the number that the next transaction will get. */
Datum
payout_next_xid(PG_FUNCTION_ARGS)
{
	PG_RETURN_FULLTRANSACTIONID(ReadNextFullTransactionId());
}

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
	if (turn_alone(link_once, "chain history and transfers", context) != 1)
		next_link_ms = payout_unix_ms() + (int64) payout_chain_interval_s * 1000;
}

int64
link_next_ms(void)
{
	return next_link_ms;
}
