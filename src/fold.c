/*
 * fold.c: moves the rows of balance_delta into their balances (fold_merchants in ledger.sql), in bounded transactions.
 *
 * Invariant kept there: exactly the deltas that a fold deletes are what it adds, in one statement: no id or time says how
 * far it came, for a transaction that commits later may hold smaller ones.
 *
 * Called by the worker at most every two seconds, and so seldom that it takes at most a twentieth of its time.
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

#define FOLD_ROWS 20000
#define FOLD_EACH_MS 2000
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

static int
fold_once(void)
{
	static SPIPlanPtr plan = NULL;
	int folded = turn_query_int(&plan, "select payout.fold(" CppAsString2(FOLD_ROWS) ")");

	if (folded > 0)
		crash_point("fold_before_commit");
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
	folded = turn_alone(fold_once, "fold balances", context);
	if (folded > 0)
		crash_point("fold_after_commit");
	owed = folded < 0 || folded == FOLD_ROWS || after[0] != '\0';
	next_fold_ms = payout_unix_ms();
	next_fold_ms += Max(FOLD_EACH_MS, FOLD_SHARE * (next_fold_ms - began_ms));
}

int64
fold_next_ms(void)
{
	return owed ? next_fold_ms : PG_INT64_MAX;
}
