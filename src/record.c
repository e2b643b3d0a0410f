/*
 * record.c: writes how exchanges ended: all that ended since the last turn in one transaction, one statement for each lane.
 *
 * Should that fail, each is recorded alone: a row that somebody has locked is tried again, one that fails by itself is
 * set aside for a person. Either way the others are recorded.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "clock.h"
#include "crash_point.h"
#include "executor/spi.h"
#include "turn.h"
#include "utils/builtins.h"
#include "wakeup.h"

#define RECORD_AGAIN_MS 500
#define TELL_AGAIN_MS 10000

void
record_all(dlist_head *ended)
{
	Exchange **exchanges[LANE_TOKEN];
	int counts[LANE_TOKEN] = {0};
	dlist_iter iter;

	dlist_foreach(iter, ended)
		counts[dlist_container(Exchange, node, iter.cur)->lane]++;
	for (int lane = 0; lane < LANE_TOKEN; lane++)
	{
		exchanges[lane] = palloc(counts[lane] * sizeof(Exchange *));
		counts[lane] = 0;
	}
	dlist_foreach(iter, ended)
	{
		Exchange *exchange = dlist_container(Exchange, node, iter.cur);

		exchanges[exchange->lane][counts[exchange->lane]++] = exchange;
	}
	for (int lane = 0; lane < LANE_TOKEN; lane++)
	{
		if (counts[lane] == 0)
			continue;
		if (lane == LANE_NOTIFY)
			crash_point("notify_before_record");
		lane_record(lane, exchanges[lane], counts[lane], &turn_incarnation_id);
	}
}

void
record_release(dlist_head *ended)
{
	while (!dlist_is_empty(ended))
		lane_release(dlist_container(Exchange, node, dlist_pop_head_node(ended)));
	wakeup_answered();
}

/* Sets aside what could not be recorded: the attempt becomes unknown, its payouts wait for a person. */
static void
set_aside(Exchange *exchange, const ErrorData *error)
{
	Oid types[] = {TEXTOID, UUIDOID, UUIDOID, TEXTOID};
	Datum values[4];
	MemoryContext context = CurrentMemoryContext;

	ereport(LOG, (errmsg("payout could not record an outcome of lane %d and sets it aside: %s",
						 exchange->lane, error->message)));
	if (exchange->lane == LANE_NOTIFY)
		return; /* it stays with this incarnation and is sent again by the next */
	PG_TRY();
	{
		turn_begin();
		values[0] = CStringGetTextDatum(exchange->channel->channel_id);
		values[1] = UUIDPGetDatum(&exchange->attempt_id);
		values[2] = UUIDPGetDatum(&turn_incarnation_id);
		values[3] = CStringGetTextDatum(error->message);
		if (SPI_execute_with_args("select payout.set_aside_attempt($1, $2, $3, $4)", 4, types, values, NULL,
								  false, 0) != SPI_OK_SELECT)
			elog(ERROR, "could not set an attempt aside");
		turn_commit();
	}
	PG_CATCH();
	{
		(void) turn_fail(context);
	}
	PG_END_TRY();
}

/* Says why outcomes wait, now and then: it is tried again soon, for as long as it takes. */
static void
tell_rarely(const ErrorData *error)
{
	static int64 next_ms = 0;

	if (payout_unix_ms() < next_ms)
		return;
	next_ms = payout_unix_ms() + TELL_AGAIN_MS;
	ereport(LOG, (errmsg("payout cannot record outcomes yet: %s", error->message)));
}

/* Records one exchange in a transaction of its own. False: the row is locked by somebody, try again soon. */
static bool
record_singly(Exchange *exchange, MemoryContext context)
{
	ErrorData *volatile error = NULL;

	PG_TRY();
	{
		turn_begin();
		lane_record(exchange->lane, &exchange, 1, &turn_incarnation_id);
		turn_commit();
	}
	PG_CATCH();
	{
		error = turn_fail(context);
	}
	PG_END_TRY();
	if (error != NULL && turn_error_is_transient(error))
	{
		tell_rarely(error);
		return false;
	}
	if (error != NULL)
		set_aside(exchange, error);
	return true;
}

int64
record_ended(dlist_head *ended, MemoryContext context)
{
	volatile bool failed = false;
	dlist_mutable_iter iter;

	PG_TRY();
	{
		turn_begin();
		record_all(ended);
		crash_point("record_before_commit");
		turn_commit();
		crash_point("record_after_commit");
	}
	PG_CATCH();
	{
		(void) turn_fail(context);
		failed = true;
	}
	PG_END_TRY();
	if (!failed)
	{
		record_release(ended);
		return 0;
	}
	turn_exit_if_dropped();
	dlist_foreach_modify(iter, ended)
	{
		Exchange *exchange = dlist_container(Exchange, node, iter.cur);

		if (!record_singly(exchange, context))
		{
			lane_take_place(exchange);
			continue;
		}
		dlist_delete(&exchange->node);
		lane_release(exchange);
	}
	wakeup_answered();
	return dlist_is_empty(ended) ? 0 : payout_unix_ms() + RECORD_AGAIN_MS;
}
