/*
 * check_status.c: CALL payout.check_status: asks the bank through the worker, and waits without holding a snapshot.
 *
 * The question is committed first, so that the worker sees it; then the session sleeps on a condition variable that the
 * worker signals, and looks at the payout in short transactions of its own. While it sleeps it has neither snapshot nor
 * transaction id, so vacuum passes. A cancel at any moment loses nothing: the question stays asked.
 */
#include "postgres.h"

#include "access/xact.h"
#include "caller.h"
#include "catalog/pg_type.h"
#include "entry.h"
#include "errors.h"
#include "executor/spi.h"
#include "fmgr.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "nodes/parsenodes.h"
#include "pgstat.h"
#include "storage/condition_variable.h"
#include "utils/builtins.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"
#include "wakeup.h"

PG_FUNCTION_INFO_V1(payout_check_status);

#define LOOK_EVERY_MS 1000 /* should a signal be missed, e.g. an answer recorded by another server */
#define MAX_WAIT_S 86400

typedef struct StatusQuestion
{
	Oid function; /* check_status itself */
	char *merchant_id;
	char *txid;
	TimestampTz asked_at;
	char *state;
	bool answered;
} StatusQuestion;

/* Runs as the owner: queues the question, or looks whether it has been answered. */
static void
work(StatusQuestion *question, bool ask, MemoryContext context)
{
	Oid types[] = {TEXTOID, TEXTOID, TIMESTAMPTZOID};
	Datum values[] = {CStringGetTextDatum(question->merchant_id != NULL ? question->merchant_id : ""),
					  CStringGetTextDatum(question->txid != NULL ? question->txid : ""),
					  TimestampTzGetDatum(question->asked_at)};
	CallerState saved;

	caller_enter(entry_kinds("check_status"), question->merchant_id, question->function, &saved);
	PG_TRY();
	{
		if (ask && SPI_execute_with_args("select payout.do_request_check($1, $2)", 2, types, values, NULL,
										 false, 0) != SPI_OK_SELECT)
			elog(ERROR, "could not ask for a status check");
		if (SPI_execute_with_args("select state, answered from payout.check_answered($1, $2, $3)", 3, types,
								  values, NULL, false, 0) != SPI_OK_SELECT ||
			SPI_processed != 1)
			elog(ERROR, "could not look at a status check");
	}
	PG_FINALLY();
	{
		caller_leave(&saved);
	}
	PG_END_TRY();
	question->state =
		MemoryContextStrdup(context, SPI_getvalue(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1));
	question->answered = strcmp(SPI_getvalue(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 2), "t") == 0;
}

/* Before anything else is said. */
static void
knock(const StatusQuestion *question)
{
	CallerState saved;

	caller_enter(entry_kinds("check_status"), question->merchant_id, question->function, &saved);
	caller_leave(&saved);
}

static int64
wait_ms(FunctionCallInfo fcinfo)
{
	Interval *max_wait;
	double seconds;

	if (PG_ARGISNULL(2))
		ereport(ERROR, (errcode(PY_BAD_INPUT), errmsg("argument \"max_wait\" is null"),
						errhint("Give an interval, for example '10 s'.")));
	max_wait = PG_GETARG_INTERVAL_P(2);
	seconds = (double) max_wait->time / USECS_PER_SEC + (double) max_wait->day * SECS_PER_DAY +
			  (double) max_wait->month * DAYS_PER_MONTH * SECS_PER_DAY;
	if (seconds < 0 || seconds > MAX_WAIT_S)
		ereport(ERROR, (errcode(PY_BAD_INPUT), errmsg("argument \"max_wait\" is out of bounds"),
						errhint("It must be from 0 to one day.")));
	return (int64) (seconds * 1000);
}

static void
wait_for_answer(StatusQuestion *question, TimestampTz deadline, MemoryContext context)
{
	ConditionVariable *answers = wakeup_answers();

	ConditionVariablePrepareToSleep(answers);
	/* An answer that came before we were on the list has signalled nobody. */
	work(question, false, context);
	SPI_commit();
	while (!question->answered && GetCurrentTimestamp() < deadline)
	{
		long left_ms = TimestampDifferenceMilliseconds(GetCurrentTimestamp(), deadline);

		/* Interrupts are served inside; an error leaves the list of waiters by itself. */
		ConditionVariableTimedSleep(answers, Min(left_ms, LOOK_EVERY_MS), PG_WAIT_EXTENSION);
		work(question, false, context);
		SPI_commit(); /* lets go of the snapshot before sleeping again */
	}
	ConditionVariableCancelSleep();
}

/* check_status(merchant_id, txid, max_wait, INOUT state): see check.sql. */
Datum
payout_check_status(PG_FUNCTION_ARGS)
{
	MemoryContext context = CurrentMemoryContext;
	StatusQuestion question = {0};
	int64 max_wait_ms;
	TimestampTz deadline;
	TupleDesc desc;
	Datum values[1];
	bool nulls[1] = {false};

	question.function = fcinfo->flinfo->fn_oid;
	question.merchant_id = PG_ARGISNULL(0) ? NULL : text_to_cstring(PG_GETARG_TEXT_PP(0));
	question.txid = PG_ARGISNULL(1) ? NULL : text_to_cstring(PG_GETARG_TEXT_PP(1));
	knock(&question);
	if (fcinfo->context == NULL || !IsA(fcinfo->context, CallContext) ||
		castNode(CallContext, fcinfo->context)->atomic)
		ereport(ERROR, (errcode(ERRCODE_INVALID_TRANSACTION_TERMINATION),
						errmsg("payout.check_status cannot run inside a transaction block"),
						errhint("Use payout.request_check and payout.inquiry there.")));
	if (!wakeup_is_ready())
		ereport(ERROR, (errcode(PY_NOT_PRELOADED), errmsg("the library payout is not preloaded"),
						errhint("Add payout to shared_preload_libraries and restart the server.")));
	max_wait_ms = wait_ms(fcinfo);
	question.asked_at = GetCurrentTimestamp();
	deadline = TimestampTzPlusMilliseconds(question.asked_at, max_wait_ms);

	SPI_connect_ext(SPI_OPT_NONATOMIC);
	work(&question, true, context);
	SPI_commit();
	if (max_wait_ms > 0)
		wait_for_answer(&question, deadline, context);
	SPI_finish();

	if (get_call_result_type(fcinfo, NULL, &desc) != TYPEFUNC_COMPOSITE)
		elog(ERROR, "return type must be a row type");
	values[0] = CStringGetTextDatum(question.state);
	PG_RETURN_DATUM(HeapTupleGetDatum(heap_form_tuple(BlessTupleDesc(desc), values, nulls)));
}
