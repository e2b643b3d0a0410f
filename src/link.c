/*
 * link.c: chains the transfers of merchants (payout.extend_chains in chain.sql), in bounded transactions.
 *
 * Called by the worker every payout.chain_interval, and without rest while there is more to chain, one transaction in each
 * turn.
 */
#include "postgres.h"

#include "clock.h"
#include "executor/spi.h"
#include "settings.h"
#include "turn.h"

#define LINK_ROWS "10000"

static int64 next_link_ms = 0;

/* One transaction. Whether there may be more to chain at once. */
static bool
link_once(MemoryContext context)
{
	volatile bool more = false;
	bool isnull;

	PG_TRY();
	{
		bool found;

		turn_begin();
		if (SPI_execute("select e.more from payout.extend_chains(" LINK_ROWS ") e", false, 1) !=
			SPI_OK_SELECT)
			elog(ERROR, "could not chain transfers");
		found = DatumGetBool(SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1, &isnull));
		turn_commit();
		more = found;
	}
	PG_CATCH();
	{
		ErrorData *error = turn_fail(context);

		turn_exit_if_dropped();
		ereport(LOG, (errmsg("payout could not chain transfers: %s", error->message)));
	}
	PG_END_TRY();
	return more;
}

void
link_due(MemoryContext context)
{
	if (payout_unix_ms() < next_link_ms)
		return;
	if (!link_once(context))
		next_link_ms = payout_unix_ms() + (int64) payout_chain_interval_s * 1000;
}

int64
link_next_ms(void)
{
	return next_link_ms;
}
