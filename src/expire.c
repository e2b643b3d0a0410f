/*
 * expire.c: lets due tokens expire and reservations lapse (expire.sql), one bounded batch a turn.
 *
 * Each batch is a transaction of its own: it holds the balance rows of its merchants until it commits, which must be
 * short, and what fails in it concerns no lane. A commit that changed something wakes this worker at once (wakeup.c), so
 * batch follows batch until nothing is due, with the lanes' work between them.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "crash_point.h"
#include "executor/spi.h"
#include "turn.h"

#define BATCH_SIZE 250
#define SINGLE_SIZE 20 /* each may wait for a lock */

static bool
expire(const char *sql, int limit, MemoryContext context)
{
	Oid types[] = {INT4OID};
	Datum values[] = {Int32GetDatum(limit)};
	volatile bool done = false;

	PG_TRY();
	{
		turn_begin();
		if (SPI_execute_with_args(sql, 1, types, values, NULL, false, 0) != SPI_OK_SELECT)
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
	if (!expire("select payout.expire_tokens($1)", BATCH_SIZE, context))
		(void) expire("select payout.expire_singly($1)", SINGLE_SIZE, context);
}
