/*
 * expire.c: lets due tokens expire and reservations lapse (expire.sql), one bounded batch a turn.
 *
 * Each batch is a transaction of its own: it holds the balance rows of its merchants until it commits, which must be
 * short, and what fails in it concerns no lane. A commit that changed something wakes this worker at once (wakeup.c), so
 * batch follows batch until nothing is due, with the lanes' work between them.
 *
 * A batch waits for balances that are locked, for a moment, or a busy merchant's tokens would never expire. Where one stays
 * locked longer, batches leave out the merchants whose balances are locked, for a while; and where a batch fails for
 * another reason, its payouts are tried one by one.
 */
#include "postgres.h"

#include "clock.h"
#include "crash_point.h"
#include "executor/spi.h"
#include "turn.h"

#define BATCH_SIZE 250
#define SINGLE_SIZE 20
#define NO_WAIT_MS 5000 /* after a balance was found locked for longer than the lock timeout */

static int64 no_wait_until_ms = 0;

/* One transaction. NULL when it succeeded, else the error. */
static ErrorData *
expire(const char *sql, MemoryContext context)
{
	ErrorData *volatile error = NULL;

	PG_TRY();
	{
		turn_begin();
		if (SPI_execute(sql, false, 0) != SPI_OK_SELECT)
			elog(ERROR, "could not run \"%s\"", sql);
		crash_point("expire_before_commit");
		turn_commit();
		crash_point("expire_after_commit");
	}
	PG_CATCH();
	{
		error = turn_fail(context);
		turn_exit_if_dropped();
		ereport(LOG, (errmsg("payout could not expire tokens: %s", error->message)));
	}
	PG_END_TRY();
	return error;
}

void
expire_due(MemoryContext context)
{
	bool may_wait = payout_unix_ms() >= no_wait_until_ms;
	char *sql = psprintf("select payout.expire_tokens(%d, %s)", BATCH_SIZE, may_wait ? "true" : "false");
	ErrorData *error = expire(sql, context);

	if (error != NULL && may_wait && turn_error_is_transient(error))
	{
		no_wait_until_ms = payout_unix_ms() + NO_WAIT_MS;
		error = expire(psprintf("select payout.expire_tokens(%d, false)", BATCH_SIZE), context);
	}
	if (error != NULL)
		(void) expire(psprintf("select payout.expire_singly(%d)", SINGLE_SIZE), context);
}
