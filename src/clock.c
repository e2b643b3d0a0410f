/*
 * clock.c: the settable clock of schedules, expiry and backoff, and backoff for SQL.
 */
#include "postgres.h"

#include "backoff.h"
#include "clock.h"
#include "errors.h"
#include "fmgr.h"
#include "settings.h"
#include "utils/timestamp.h"

PG_FUNCTION_INFO_V1(payout_clock);
PG_FUNCTION_INFO_V1(payout_backoff_ms);

TimestampTz
payout_now(void)
{
	TimestampTz now = GetCurrentTimestamp();

	return payout_testing ? now + (int64) payout_clock_offset_s * USECS_PER_SEC : now;
}

int64
payout_unix_ms(void)
{
	return GetCurrentTimestamp() / 1000 +
		   (int64) (POSTGRES_EPOCH_JDATE - UNIX_EPOCH_JDATE) * SECS_PER_DAY * 1000;
}

Datum
payout_clock(PG_FUNCTION_ARGS)
{
	PG_RETURN_TIMESTAMPTZ(payout_now());
}

/* backoff_ms(tries, base_ms, max_ms, jitter): see schema.sql. */
Datum
payout_backoff_ms(PG_FUNCTION_ARGS)
{
	uint64 random;

	if (PG_ARGISNULL(0) || PG_ARGISNULL(1) || PG_ARGISNULL(2) || PG_ARGISNULL(3))
		ereport(ERROR, (errcode(PY_BAD_INPUT), errmsg("arguments of payout.backoff_ms are null"),
						errhint("Give tries, base_ms, max_ms and jitter.")));
	if (!pg_strong_random(&random, sizeof(random)))
		random = 0;
	PG_RETURN_INT64(backoff_ms(Max(PG_GETARG_INT32(0), 0), PG_GETARG_INT64(1), PG_GETARG_INT64(2),
							   PG_GETARG_FLOAT8(3), random));
}
