/*
 * lane.c: what the lanes share: places in flight, running a claim function, setting aside what cannot be sent, and the
 * columns common to the bank lanes' record functions.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "crash_point.h"
#include "fmgr.h"
#include "lane.h"
#include "plan.h"
#include "utils/builtins.h"
#include "utils/memutils.h"

const LaneWork *
lane_work(Lane lane)
{
	static const LaneWork *const works[BANK_LANES] = {&validate_lane, &dispatch_lane, &check_lane};

	Assert(lane < BANK_LANES);
	return works[lane];
}

void
lane_record(Lane lane, Exchange **exchanges, int count, const pg_uuid_t *incarnation_id)
{
	if (lane == LANE_NOTIFY)
		notify_record(exchanges, count, incarnation_id);
	else
		lane_work(lane)->record(exchanges, count, incarnation_id);
}

void
lane_leave_place(Exchange *exchange)
{
	if (exchange->has_place && exchange->lane == LANE_NOTIFY)
		notify_count(exchange, -1);
	exchange_leave_place(exchange);
}

void
lane_take_place(Exchange *exchange)
{
	if (!exchange->has_place && exchange->lane == LANE_NOTIFY)
		notify_count(exchange, 1);
	exchange_take_place(exchange);
}

void
lane_release(Exchange *exchange)
{
	lane_leave_place(exchange);
	exchange_free(exchange);
}

uint64
lane_claim(SPIPlanPtr *plan, const char *sql, BankChannel *channel, int slots)
{
	Oid types[] = {TEXTOID, INT4OID};
	Datum values[] = {CStringGetTextDatum(channel->channel_id), Int32GetDatum(slots)};

	return plan_run(plan, sql, 2, types, values, NULL);
}

char *
lane_column(uint64 row, int attno)
{
	return SPI_getvalue(SPI_tuptable->vals[row], SPI_tuptable->tupdesc, attno);
}

bytea *
lane_bytes(uint64 row, int attno)
{
	bool isnull;
	Datum value = SPI_getbinval(SPI_tuptable->vals[row], SPI_tuptable->tupdesc, attno, &isnull);

	return isnull ? NULL : DatumGetByteaPCopy(value);
}

void
lane_write(Exchange *exchange)
{
	BankChannel *channel = exchange->channel;

	exchange->breaker_key = pstrdup(channel->breaker_key);
	exchange->unfit = channel->protocol->write(channel, &exchange->order, &exchange->request);
}

/* A batch waits for a person with all its members, a question about one payout with that one. */
static void
set_aside(const Exchange *exchange)
{
	const BankOrder *order = &exchange->order;
	bool is_batch = exchange->lane == LANE_DISPATCH;
	Oid types[] = {TEXTOID, TEXTOID, TEXTOID, TEXTOID};
	Datum values[] = {
		CStringGetTextDatum(is_batch ? exchange->channel->channel_id : order->items[0].merchant_id),
		CStringGetTextDatum(is_batch ? order->batch_id : order->items[0].txid),
		CStringGetTextDatum(exchange->unfit), CStringGetTextDatum(lane_work(exchange->lane)->name)};

	if (SPI_execute_with_args(is_batch ? "select payout.hold_batch($1, $2, $3)"
									   : "select payout.hold_payout($1, $2, $4, $3)",
							  lengthof(types), types, values, NULL, false, 0) != SPI_OK_SELECT)
		elog(ERROR, "could not set aside what cannot be sent");
}

void
lane_set_unfit_aside(dlist_head *claimed)
{
	dlist_mutable_iter iter;

	dlist_foreach_modify(iter, claimed)
	{
		Exchange *exchange = dlist_container(Exchange, node, iter.cur);

		if (exchange->unfit == NULL)
			continue;
		set_aside(exchange);
		dlist_delete(&exchange->node);
		lane_release(exchange);
	}
}

static char *
kept(const char *text)
{
	return text != NULL ? pstrdup(text) : NULL;
}

/*
 * Reads an answer in a memory context of its own, for hostile ones take many times their size; what is kept is copied into the
 * current one.
 */
static void
read_answer(const Exchange *exchange, BankAnswer *answer)
{
	static MemoryContext context = NULL;
	MemoryContext old;

	if (context == NULL)
		context = AllocSetContextCreate(TopMemoryContext, "payout answer", ALLOCSET_DEFAULT_SIZES);
	MemoryContextReset(context);
	old = MemoryContextSwitchTo(context);
	exchange->channel->protocol->read(exchange->channel, &exchange->order, &exchange->reply, answer);
	MemoryContextSwitchTo(old);
	/* what is no word of the bank must not become what its later words are held against */
	if (answer->status == SNAP_STATUS_UNKNOWN &&
		(answer->class == SNAP_UNKNOWN || exchange->order.call == CALL_STATUS))
		answer->reference_no = answer->account_name = NULL;
	answer->response_code = kept(answer->response_code);
	answer->excerpt = kept(answer->excerpt);
	answer->reference_no = kept(answer->reference_no);
	answer->account_name = kept(answer->account_name);
	MemoryContextReset(context);
}

/* What the exchange's end means. */
static Outcome
read_end(Exchange *exchange, BankAnswer *answer, bool *wait)
{
	HttpReply *reply = &exchange->reply;
	Outcome outcome;

	if (reply->end == HTTP_ANSWERED)
	{
		read_answer(exchange, answer);
		/* whatever else the answer says: another token costs one request, a dead one would be used to its end */
		if (answer->class == SNAP_AUTH || reply->status == 401)
			channel_drop_token(exchange->channel);
		return outcome_of(true, true, answer->class, exchange->order.item_count == 1, wait);
	}
	answer->class = reply->end == HTTP_NOT_SENT ? exchange->early_class : SNAP_UNKNOWN;
	answer->status = SNAP_STATUS_UNKNOWN;
	answer->excerpt = reply->error;
	outcome = reply->end == HTTP_NOT_SENT ? exchange->early : OUTCOME_UNKNOWN;
	if (mutation("timeout_is_failed") && outcome == OUTCOME_UNKNOWN)
		outcome = OUTCOME_NO;
	return outcome;
}

void
bank_record_begin(BankRecord *record, Exchange **exchanges, int count)
{
	/* in their order: */
	enum
	{
		CHANNEL,
		ATTEMPT,
		OUTCOME,
		CLASS,
		STATUS,
		CODE,
		LATENCY,
		EXCERPT
	};
	static const Oid types[] = {TEXTOID, UUIDOID, TEXTOID, TEXTOID, INT4OID, TEXTOID, INT4OID, TEXTOID};
	Columns *columns = &record->columns;

	columns_begin(columns, count, lengthof(types), types);
	record->answers = palloc0(count * sizeof(BankAnswer));
	record->waits = palloc0(count * sizeof(bool));
	for (int i = 0; i < count; i++)
	{
		HttpReply *reply = &exchanges[i]->reply;
		BankAnswer *answer = &record->answers[i];
		Outcome outcome = read_end(exchanges[i], answer, &record->waits[i]);

		columns_set_text(columns, CHANNEL, i, exchanges[i]->channel->channel_id);
		columns_set(columns, ATTEMPT, i, UUIDPGetDatum(&exchanges[i]->attempt_id));
		columns_set_text(columns, OUTCOME, i, outcome_name(outcome));
		if (!exchanges[i]->released)
			columns_set_text(columns, CLASS, i, snap_class_name(answer->class));
		if (reply->end == HTTP_ANSWERED)
			columns_set(columns, STATUS, i, Int32GetDatum(reply->status));
		columns_set_text(columns, CODE, i, answer->response_code);
		columns_set(columns, LATENCY, i, Int32GetDatum((int32) reply->latency_ms));
		columns_set_text(columns, EXCERPT, i, answer->excerpt);
	}
}
