/*
 * expire.c: lets due tokens expire and reservations lapse (expire.sql), one bounded batch a turn.
 *
 * Each batch is a transaction of its own, so that what fails in it concerns no lane. A commit that changed something wakes
 * this worker at once (wakeup.c), so batch follows batch until nothing is due, with the lanes' work between them. Where a
 * batch fails, its payouts are tried one by one.
 */
#include "postgres.h"

#include "crash_point.h"
#include "executor/spi.h"
#include "turn.h"

#define BATCH_SIZE 250
#define SINGLE_SIZE 20

/* One transaction. False when it failed. */
static bool
expire(const char *sql, MemoryContext context)
{
	volatile bool done = false;

	PG_TRY();
	{
		turn_begin();
		if (SPI_execute(sql, false, 0) != SPI_OK_SELECT)
			elog(ERROR, "could not run \"%s\"", sql);
		crash_point("expire_before_commit");
		turn_commit();
		crash_point("expire_after_commit");
		done = true;
	}
	PG_CATCH();
	{
		ErrorData *error = turn_fail(context);

		turn_exit_if_dropped();
		ereport(LOG, (errmsg("payout could not expire tokens: %s", error->message)));
	}
	PG_END_TRY();
	return done;
}

void
expire_due(MemoryContext context)
{
	if (!expire(psprintf("select payout.expire_tokens(%d)", BATCH_SIZE), context))
		(void) expire(psprintf("select payout.expire_singly(%d)", SINGLE_SIZE), context);
}
