/*
 * lost_tail.c: the worker's life in this database, and until when what was sent may have left no record here (lost_tail.sql).
 *
 * Invariant kept here: nothing is claimed, and no token expires, in a transaction that has seen rows which came in with a dump and
 * are not noted. They may come at any moment, so the last statement of such a transaction looks once more.
 */
#include "postgres.h"

#include "access/xact.h"
#include "access/xlog.h"
#include "book.h"
#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "fmgr.h"
#include "lost_tail.h"
#include "miscadmin.h"
#include "peek.h"
#include "plan.h"
#include "turn.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"

PG_FUNCTION_INFO_V1(payout_lost_until);

/* A moment, or none. */
typedef struct Moment
{
	bool is_null;
	TimestampTz at;
} Moment;

/*
 * The worker's, while its life holds: nobody else notes a lost tail, and each transaction that relies on it makes sure at its end that
 * the life still holds. begun: what the transaction has read in which the life begins.
 */
static bool is_alive = false;
static Moment lived;
static Moment begun;

static void
take_later(HeapTuple tuple, TupleDesc desc, void *argument)
{
	Moment *until = argument;
	PeekRow row = {.tuple = tuple, .desc = desc};
	bool isnull;
	TimestampTz at = DatumGetTimestampTz(peek_column(&row, "at", &isnull));

	if (until->is_null || at > until->at)
		*until = (Moment){.is_null = false, .at = at};
}

/*
 * What lost_until() says where no life is known: see lost_tail.sql. By what is committed now: a session whose own snapshot is older
 * than the take-over must not end what may have been paid.
 */
static Moment
read_lost_until(void)
{
	Moment until = {.is_null = true};
	Book book;

	if (!RecoveryInProgress())
	{
		book_read(&book);
		if (book.lacks_tail)
			return (Moment){.is_null = false, .at = DT_NOEND};
	}
	peek_each("lost_tail", "lost_tail_at_key", 0, NULL, take_later, &until);
	return until;
}

bool
lost_tail_asks_first(TimestampTz registered_at)
{
	Moment until = is_alive ? lived : read_lost_until();

	return !until.is_null && until.at >= registered_at;
}

Datum
payout_lost_until(PG_FUNCTION_ARGS)
{
	Moment until = is_alive ? lived : read_lost_until();

	if (until.is_null)
		PG_RETURN_NULL();
	PG_RETURN_TIMESTAMPTZ(until.at);
}

void
lost_tail_begin(const pg_uuid_t *incarnation_id)
{
	Oid types[] = {UUIDOID, INT4OID};
	Datum values[] = {UUIDPGetDatum(incarnation_id), Int32GetDatum(MyProcPid)};
	bool isnull;
	int64 payouts;

	if (SPI_execute_with_args("select payout.begin_incarnation($1, $2)", 2, types, values, NULL, false, 0) !=
		SPI_OK_SELECT)
		elog(ERROR, "could not begin an incarnation");
	payouts = DatumGetInt64(SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1, &isnull));
	begun = read_lost_until();
	if (isnull)
		return;
	ereport(LOG, (errmsg("payout begins on timeline %u, and may lack what the server before it did last",
						 GetWALInsertionTimeLine()),
				  errdetail("Payouts that were ordered before are asked for before they are sent: %lld now.",
							(long long) payouts)));
}

void
lost_tail_begun(void)
{
	lived = begun;
	is_alive = true;
}

bool
lost_tail_life_holds(const pg_uuid_t *incarnation_id)
{
	static SPIPlanPtr plan = NULL;
	Oid types[] = {UUIDOID};
	Datum values[] = {UUIDPGetDatum(incarnation_id)};
	bool isnull;

	if (plan_run(&plan,
				 "select exists (select from payout.incarnation i, payout.known_installation k "
				 "where i.incarnation_id = $1 and i.ended_at is null and k.is_own and k.installation_id = "
				 "i.installation_id) "
				 "and not exists (select from payout.installation i where not exists "
				 "(select from payout.known_installation k where k.installation_id = i.installation_id))",
				 1, types, values, NULL) != 1)
		elog(ERROR, "could not look for the worker's life");
	return DatumGetBool(SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1, &isnull));
}

void
lost_tail_require_life(void)
{
	if (!lost_tail_life_holds(&turn_incarnation_id))
		ereport(ERROR,
				(errcode(ERRCODE_T_R_SERIALIZATION_FAILURE), errmsg("rows of another book came in meanwhile"),
				 errhint("The worker begins anew, and asks for them before it sends.")));
}
