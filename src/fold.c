/*
 * fold.c: moves the rows of balance_delta into their balances (fold_merchants in ledger.sql), in bounded transactions.
 *
 * Invariant kept there: exactly the deltas that a fold deletes are what it adds, in one statement: no id or time says how
 * far it came, for a transaction that commits later may hold smaller ones.
 *
 * Called by the worker at most once a second, and so seldom that it takes at most a twentieth of its time.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "clock.h"
#include "crash_point.h"
#include "executor/spi.h"
#include "fmgr.h"
#include "ledger.h"
#include "turn.h"
#include "utils/builtins.h"
#include "utils/memutils.h"

PG_FUNCTION_INFO_V1(payout_fold);

#define FOLD_ROWS 10000
#define FOLD_EACH_MS 1000
#define FOLD_SHARE 20 /* rests so many times as long as it took */

static char after[NAMEDATALEN] = ""; /* the merchant up to which this process came last */
static int64 next_fold_ms = 0;
static bool owed = true; /* deltas may be there; commits that write some wake us */

/* fold(rows_max): folds deltas, beginning with the merchants after those of the last call; their count. */
Datum
payout_fold(PG_FUNCTION_ARGS)
{
	static SPIPlanPtr plan = NULL;
	Oid types[] = {TEXTOID, INT4OID};
	Datum values[] = {CStringGetTextDatum(after), PG_GETARG_DATUM(0)};
	char *last;
	int32 folded;
	bool isnull;

	SPI_connect();
	ledger_write(&plan, "select f.folded, f.last from payout.fold_next($1, $2) f", 2, types, values, NULL);
	folded = DatumGetInt32(SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1, &isnull));
	last = SPI_getvalue(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 2);
	strlcpy(after, last != NULL ? last : "", sizeof(after));
	SPI_finish();
	PG_RETURN_INT32(folded);
}

/* One transaction. The count of what was folded; -1 when it failed. */
static int
fold_once(MemoryContext context)
{
	volatile int folded = -1;
	Oid types[] = {INT4OID};
	Datum values[] = {Int32GetDatum(FOLD_ROWS)};
	bool isnull;

	PG_TRY();
	{
		int found;

		turn_begin();
		if (SPI_execute_with_args("select payout.fold($1)", 1, types, values, NULL, false, 1) !=
			SPI_OK_SELECT)
			elog(ERROR, "could not fold");
		found = DatumGetInt32(SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1, &isnull));
		if (found > 0)
			crash_point("fold_before_commit");
		turn_commit();
		if (found > 0)
			crash_point("fold_after_commit");
		folded = found;
	}
	PG_CATCH();
	{
		ErrorData *error = turn_fail(context);

		turn_exit_if_dropped();
		ereport(LOG, (errmsg("payout could not fold balances: %s", error->message)));
	}
	PG_END_TRY();
	return folded;
}

void
fold_due(MemoryContext context)
{
	int64 began_ms = payout_unix_ms();
	int folded;

	if (began_ms < next_fold_ms)
	{
		owed = true;
		return;
	}
	folded = fold_once(context);
	owed = folded < 0 || folded == FOLD_ROWS || after[0] != '\0';
	next_fold_ms = payout_unix_ms();
	next_fold_ms += Max(FOLD_EACH_MS, FOLD_SHARE * (next_fold_ms - began_ms));
}

int64
fold_next_ms(void)
{
	return owed ? next_fold_ms : PG_INT64_MAX;
}
