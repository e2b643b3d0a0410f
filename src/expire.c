/*
 * expire.c: lets due tokens expire and reservations lapse (expire.sql), one bounded batch a turn.
 *
 * Each batch is a transaction of its own, so that what fails in it concerns no lane. The next turn follows at once, so batch
 * follows batch until nothing is due, with the lanes' work between them. Where a batch fails, its payouts are tried one by
 * one.
 */
#include "postgres.h"

#include "crash_point.h"
#include "executor/spi.h"
#include "turn.h"

#define BATCH_SIZE 250
#define SINGLE_SIZE 20

/* One transaction. The number that was done; -1 when it failed. */
static int
expire(SPIPlanPtr *plan, const char *sql, MemoryContext context)
{
	volatile int done = -1;
	bool isnull;

	PG_TRY();
	{
		int count;

		turn_begin();
		(void) turn_run(plan, sql);
		count = DatumGetInt32(SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1, &isnull));
		crash_point("expire_before_commit");
		turn_commit();
		crash_point("expire_after_commit");
		done = count;
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

bool
expire_due(MemoryContext context)
{
	static SPIPlanPtr plan = NULL;
	static SPIPlanPtr single_plan = NULL;
	int done = expire(&plan, "select payout.expire_tokens(" CppAsString2(BATCH_SIZE) ")", context);

	if (done < 0)
		done = expire(&single_plan, "select payout.expire_singly(" CppAsString2(SINGLE_SIZE) ")", context);
	return done > 0;
}
