/*
 * expire.c: lets due tokens expire and reservations lapse (expire.sql), one bounded batch a turn.
 *
 * Each batch is a transaction of its own. The next turn follows at once, so batch follows batch until nothing is due, with the lanes' work between them. Where a batch fails, its payouts are tried one by
 * one.
 */
#include "postgres.h"

#include "crash_point.h"
#include "executor/spi.h"
#include "lost_tail.h"
#include "turn.h"

#define BATCH_SIZE 250
#define SINGLE_SIZE 20

static int
expire_batch(void)
{
	static SPIPlanPtr plan = NULL;
	int count = turn_query_int(&plan, "select payout.expire_tokens(" CppAsString2(BATCH_SIZE) ")");

	lost_tail_require_life();
	crash_point("expire_before_commit");
	return count;
}

static int
expire_singly(void)
{
	static SPIPlanPtr plan = NULL;

	int count = turn_query_int(&plan, "select payout.expire_singly(" CppAsString2(SINGLE_SIZE) ")");

	lost_tail_require_life();
	return count;
}

bool
expire_due(MemoryContext context)
{
	int done = turn_alone(expire_batch, "expire tokens", context);

	if (done >= 0)
		crash_point("expire_after_commit");
	else
		done = turn_alone(expire_singly, "expire tokens one by one", context);
	return done > 0;
}
