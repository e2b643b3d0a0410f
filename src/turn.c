/*
 * turn.c: the transactions of a worker's turn, and what to make of their errors.
 *
 * Invariant kept here: no transaction, snapshot or lock on a row outlives turn_commit() or turn_fail().
 */
#include "postgres.h"

#include "access/xact.h"
#include "commands/extension.h"
#include "executor/spi.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "plan.h"
#include "storage/ipc.h"
#include "turn.h"
#include "utils/snapmgr.h"

pg_uuid_t turn_incarnation_id;

void
turn_begin(void)
{
	SetCurrentStatementStartTimestamp();
	StartTransactionCommand();
	SPI_connect();
	PushActiveSnapshot(GetTransactionSnapshot());
	pgstat_report_activity(STATE_RUNNING, "payout worker turn");
}

void
turn_commit(void)
{
	SPI_finish();
	PopActiveSnapshot();
	CommitTransactionCommand();
	/* A wait for a synchronous standby that was cut short by our own end must not count as done. */
	CHECK_FOR_INTERRUPTS();
	pgstat_report_stat(true);
	pgstat_report_activity(STATE_IDLE, NULL);
}

ErrorData *
turn_fail(MemoryContext context)
{
	ErrorData *error;

	MemoryContextSwitchTo(context);
	error = CopyErrorData();
	FlushErrorState();
	AbortCurrentTransaction();
	pgstat_report_activity(STATE_IDLE, NULL);
	MemoryContextSwitchTo(context);
	return error;
}

bool
turn_error_is_transient(const ErrorData *error)
{
	return error->sqlerrcode == ERRCODE_LOCK_NOT_AVAILABLE ||
		   error->sqlerrcode == ERRCODE_T_R_DEADLOCK_DETECTED ||
		   error->sqlerrcode == ERRCODE_T_R_SERIALIZATION_FAILURE ||
		   ERRCODE_TO_CATEGORY(error->sqlerrcode) == ERRCODE_INSUFFICIENT_RESOURCES ||
		   ERRCODE_TO_CATEGORY(error->sqlerrcode) == ERRCODE_OPERATOR_INTERVENTION;
}

void
turn_exit_if_dropped(void)
{
	bool installed;

	StartTransactionCommand();
	installed = OidIsValid(get_extension_oid("payout", true));
	CommitTransactionCommand();
	if (!installed)
		proc_exit(0);
}

int
turn_query_int(SPIPlanPtr *plan, const char *sql)
{
	bool isnull;

	if (plan_run(plan, sql, 0, NULL, NULL, NULL) != 1)
		elog(ERROR, "\"%s\" gave no single row", sql);
	return DatumGetInt32(SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1, &isnull));
}

int
turn_alone(int (*work)(void), const char *what, MemoryContext context)
{
	volatile int done = -1;

	PG_TRY();
	{
		int answer;

		turn_begin();
		answer = work();
		turn_commit();
		done = answer;
	}
	PG_CATCH();
	{
		ErrorData *error = turn_fail(context);

		turn_exit_if_dropped();
		ereport(LOG, (errmsg("payout could not %s: %s", what, error->message)));
	}
	PG_END_TRY();
	return done;
}

bool
turn_query_bool(SPIPlanPtr *plan, const char *sql)
{
	bool isnull;

	if (plan_run(plan, sql, 0, NULL, NULL, NULL) != 1)
		elog(ERROR, "\"%s\" gave no single row", sql);
	return DatumGetBool(SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1, &isnull)) && !isnull;
}
