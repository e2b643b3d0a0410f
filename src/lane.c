/*
 * lane.c: what the bank lanes share: running a claim function, and the arguments common to their record functions.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "crash_point.h"
#include "lane.h"
#include "utils/builtins.h"

const LaneWork *
lane_work(Lane lane)
{
	static const LaneWork *const works[BANK_LANES] = {&validate_lane, &dispatch_lane, &check_lane};

	Assert(lane < BANK_LANES);
	return works[lane];
}

void
lane_release(Exchange *exchange)
{
	if (exchange->lane == LANE_NOTIFY)
		notify_release(exchange);
	exchange_free(exchange);
}

uint64
lane_claim(SPIPlanPtr *plan, const char *function, BankChannel *channel, int slots)
{
	Oid types[] = {TEXTOID, INT4OID};
	Datum values[] = {CStringGetTextDatum(channel->channel_id), Int32GetDatum(slots)};

	if (*plan == NULL)
	{
		*plan = SPI_prepare(psprintf("select * from payout.%s($1, $2)", function), 2, types);
		if (*plan == NULL || SPI_keepplan(*plan) != 0)
			elog(ERROR, "could not prepare payout.%s", function);
	}
	if (SPI_execute_plan(*plan, values, NULL, false, 0) != SPI_OK_SELECT)
		elog(ERROR, "payout.%s failed", function);
	return SPI_processed;
}

char *
lane_column(uint64 row, int attno)
{
	return SPI_getvalue(SPI_tuptable->vals[row], SPI_tuptable->tupdesc, attno);
}

static void
add(BankRecord *record, Oid type, Datum value, bool isnull)
{
	record->types[record->count] = type;
	record->values[record->count] = value;
	record->nulls[record->count] = isnull ? 'n' : ' ';
	record->count++;
}

void
bank_record_text(BankRecord *record, const char *value)
{
	add(record, TEXTOID, value != NULL ? CStringGetTextDatum(value) : (Datum) 0, value == NULL);
}

void
bank_record_bool(BankRecord *record, bool value)
{
	add(record, BOOLOID, BoolGetDatum(value), false);
}

void
bank_record_begin(BankRecord *record, Exchange *exchange, const pg_uuid_t *incarnation_id)
{
	HttpReply *reply = &exchange->reply;
	BankAnswer *answer = &record->answer;

	memset(record, 0, sizeof(BankRecord));
	if (reply->end == HTTP_ANSWERED)
	{
		exchange->channel->protocol->read(exchange->channel, &exchange->order, reply, answer);
		record->outcome =
			outcome_of(true, true, answer->class, exchange->order.item_count == 1, &record->wait);
		if (answer->class == SNAP_AUTH)
			channel_drop_token(exchange->channel);
	}
	else
	{
		answer->class = reply->end == HTTP_NOT_SENT ? exchange->early_class : SNAP_UNKNOWN;
		answer->status = SNAP_STATUS_UNKNOWN;
		answer->excerpt = reply->error;
		record->outcome = reply->end == HTTP_NOT_SENT ? exchange->early : OUTCOME_UNKNOWN;
		if (mutation("timeout_is_failed") && record->outcome == OUTCOME_UNKNOWN)
			record->outcome = OUTCOME_NO;
	}
	bank_record_text(record, exchange->channel->channel_id);
	add(record, UUIDOID, UUIDPGetDatum(&exchange->attempt_id), false);
	add(record, UUIDOID, UUIDPGetDatum(incarnation_id), false);
	bank_record_text(record, outcome_name(record->outcome));
	bank_record_text(record, snap_class_name(answer->class));
	add(record, INT4OID, Int32GetDatum(reply->end == HTTP_ANSWERED ? reply->status : 0), false);
	bank_record_text(record, answer->response_code);
	add(record, INT4OID, Int32GetDatum((int32) reply->latency_ms), false);
	bank_record_text(record, answer->excerpt);
}

void
bank_record_run(BankRecord *record, SPIPlanPtr *plan, const char *function)
{
	if (*plan == NULL)
	{
		StringInfoData sql;

		initStringInfo(&sql);
		appendStringInfo(&sql, "select payout.%s(", function);
		for (int i = 1; i <= record->count; i++)
			appendStringInfo(&sql, i > 1 ? ", $%d" : "$%d", i);
		appendStringInfoChar(&sql, ')');
		*plan = SPI_prepare(sql.data, record->count, record->types);
		if (*plan == NULL || SPI_keepplan(*plan) != 0)
			elog(ERROR, "could not prepare payout.%s", function);
	}
	if (SPI_execute_plan(*plan, record->values, record->nulls, false, 0) != SPI_OK_SELECT)
		elog(ERROR, "payout.%s failed", function);
}
