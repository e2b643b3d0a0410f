/*
 * register.c: the registration that is plain, without a statement: three rows are read, two are written.
 *
 * The rules and their errors are those of payout.do_register (register.sql). Here they are only asked: whatever is not
 * plain, not new or not in order is left to it, so that each error is said in one place. sql/register.sql compares the two.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "argument.h"
#include "clock.h"
#include "content.h"
#include "executor/spi.h"
#include "history.h"
#include "option.h"
#include "payout_row.h"
#include "policy.h"
#include "register.h"
#include "row.h"
#include "row_cache.h"
#include "txid.h"
#include "utils/builtins.h"
#include "utils/jsonb.h"
#include "utils/memutils.h"
#include "utils/numeric.h"
#include "utils/timestamp.h"

/* The arguments of payout.register, in their order. */
enum
{
	ARG_MERCHANT_ID,
	ARG_REFERENCE_NO,
	ARG_AMOUNT,
	ARG_BANK_CODE,
	ARG_ACCOUNT_NO,
	ARG_BENEFICIARY_NAME,
	ARG_METHOD,
	ARG_BENEFICIARY_PHONE,
	ARG_SCHEDULED_AT,
	ARG_DESCRIPTION,
	ARG_OPTIONS
};

/* Whether there is nothing special about the arguments; what they say. */
static bool
is_plain(FunctionCallInfo fcinfo, Registration *wanted)
{
	for (int arg = ARG_MERCHANT_ID; arg <= ARG_METHOD; arg++)
		if (PG_ARGISNULL(arg))
			return false;
	*wanted = (Registration){
		.merchant_id = PG_GETARG_DATUM(ARG_MERCHANT_ID),
		.reference_no = PG_GETARG_DATUM(ARG_REFERENCE_NO),
		.bank_code = PG_GETARG_DATUM(ARG_BANK_CODE),
		.account_no = PG_GETARG_DATUM(ARG_ACCOUNT_NO),
		.beneficiary_name = PG_GETARG_DATUM(ARG_BENEFICIARY_NAME),
		.beneficiary_phone =
			PG_ARGISNULL(ARG_BENEFICIARY_PHONE) ? (Datum) 0 : PG_GETARG_DATUM(ARG_BENEFICIARY_PHONE),
		.description = PG_ARGISNULL(ARG_DESCRIPTION) ? (Datum) 0 : PG_GETARG_DATUM(ARG_DESCRIPTION)};
	return argument_is(PG_GETARG_DATUM(ARG_METHOD), "online") && PG_ARGISNULL(ARG_SCHEDULED_AT) &&
		   !PG_ARGISNULL(ARG_OPTIONS) && JB_ROOT_COUNT(PG_GETARG_JSONB_P(ARG_OPTIONS)) == 0 &&
		   JB_ROOT_IS_OBJECT(PG_GETARG_JSONB_P(ARG_OPTIONS)) &&
		   argument_is_amount(PG_GETARG_DATUM(ARG_AMOUNT), &wanted->amount);
}

bool
register_is_in_order(const Registration *wanted)
{
	return argument_is_text(wanted->reference_no, 1, 40, "visible") &&
		   argument_is_text(wanted->bank_code, 2, 11, "id") &&
		   argument_is_text(wanted->account_no, 1, 34, "id") &&
		   argument_is_text(wanted->beneficiary_name, 1, 100, "text") &&
		   (wanted->beneficiary_phone == (Datum) 0 ||
			argument_is_text(wanted->beneficiary_phone, 1, 20, "phone")) &&
		   (wanted->description == (Datum) 0 || argument_is_text(wanted->description, 1, 100, "text"));
}

bool
register_find_route(Datum bank_code, Route *route)
{
	TupleDesc desc;
	HeapTuple bank = row_cached("bank", "bank_pkey", 1, &bank_code, &desc);
	HeapTuple channel;
	Jsonb *options;
	bool isnull;

	if (bank == NULL || !DatumGetBool(SPI_getbinval(bank, desc, SPI_fnumber(desc, "enabled"), &isnull)))
		return false;
	route->channel_id = SPI_getbinval(bank, desc, SPI_fnumber(desc, "channel_id"), &isnull);
	options = DatumGetJsonbP(SPI_getbinval(bank, desc, SPI_fnumber(desc, "options"), &isnull));
	route->wire_code = option_text(options, "wire_code", bank_code);
	channel = row_cached("channel", "channel_pkey", 1, &route->channel_id, &desc);
	if (channel == NULL)
		return false;
	options = DatumGetJsonbP(SPI_getbinval(channel, desc, SPI_fnumber(desc, "options"), &isnull));
	route->source_account_no = option_text(options, "source_account_no", (Datum) 0);
	route->check_us = option_integer(options, "check_deadline_s") * USECS_PER_SEC;
	return route->source_account_no != (Datum) 0;
}

/* What each plain payout begins with, made once for the session. */
typedef struct Beginning
{
	Datum kind;
	Datum state;
	Datum method;
	Datum options;
	Datum currency;
	Datum account_check;
	Datum nothing; /* 0.00 */
} Beginning;

static const Beginning *
find_beginning(void)
{
	static Beginning *beginning = NULL;
	MemoryContext outer;
	Beginning *made;

	if (beginning != NULL)
		return beginning;
	outer = MemoryContextSwitchTo(TopMemoryContext);
	made = palloc(sizeof(Beginning));
	made->kind = CStringGetTextDatum("disbursement");
	made->state = CStringGetTextDatum("registered");
	made->method = CStringGetTextDatum("online");
	made->options = DirectFunctionCall1(jsonb_in, CStringGetDatum("{}"));
	made->currency = CStringGetTextDatum("IDR");
	made->account_check = CStringGetTextDatum("pending");
	made->nothing =
		DirectFunctionCall2(numeric_round, NumericGetDatum(int64_to_numeric(0)), Int32GetDatum(2));
	beginning = made;
	MemoryContextSwitchTo(outer);
	return beginning;
}

void
register_fill_common(PayoutRow *row)
{
	const Beginning *beginning = find_beginning();

	payout_row_set(row, KIND, beginning->kind);
	payout_row_set(row, STATE, beginning->state);
	payout_row_set(row, METHOD, beginning->method);
	payout_row_set(row, OPTIONS, beginning->options);
	payout_row_set(row, FEE, beginning->nothing);
	payout_row_set(row, CURRENCY, beginning->currency);
	payout_row_set(row, EVENTS, Int32GetDatum(1));
	payout_row_set(row, ACCOUNT_CHECK, beginning->account_check);
	payout_row_set(row, CHECK_TRIES, Int32GetDatum(0));
	payout_row_set(row, STATUS_TRIES, Int32GetDatum(0));
	payout_row_set(row, NOT_FOUND, Int32GetDatum(0));
}

static void
set_unless_none(PayoutRow *row, PayoutColumn column, Datum value)
{
	if (value != (Datum) 0)
		payout_row_set(row, column, value);
}

/* The account is to be checked at once. */
void
register_fill(PayoutRow *row, const Registration *wanted, const Route *route, Datum salt, TimestampTz now)
{
	payout_row_set(row, MERCHANT_ID, wanted->merchant_id);
	payout_row_set(row, TXID, DirectFunctionCall1(payout_generate_txid, wanted->merchant_id));
	payout_row_set(row, REFERENCE_NO, wanted->reference_no);
	payout_row_set(row, AMOUNT, wanted->amount);
	payout_row_set(row, CHANNEL_ID, route->channel_id);
	payout_row_set(row, BANK_CODE, wanted->bank_code);
	payout_row_set(row, WIRE_CODE, route->wire_code);
	payout_row_set(row, SOURCE_ACCOUNT_NO, route->source_account_no);
	payout_row_set(row, ACCOUNT_NO, wanted->account_no);
	payout_row_set(row, BENEFICIARY_NAME, wanted->beneficiary_name);
	set_unless_none(row, BENEFICIARY_PHONE, wanted->beneficiary_phone);
	set_unless_none(row, DESCRIPTION, wanted->description);
	payout_row_set(row, REGISTERED_AT, TimestampTzGetDatum(GetCurrentTimestamp()));
	payout_row_set(row, CONTENT_SALT, salt);
	payout_row_set(row, CHECK_DUE_AT, TimestampTzGetDatum(now));
	payout_row_set(row, CHECK_DEADLINE_AT, TimestampTzGetDatum(now + route->check_us));
}

bool
register_at_once(FunctionCallInfo fcinfo, Datum *result)
{
	Registration wanted;
	Route route;
	Policy policy;
	PayoutRow row;
	HistoryRow history;
	TupleDesc desc;
	Datum salt;

	if (!is_plain(fcinfo, &wanted) || !register_is_in_order(&wanted))
		return false;
	policy_read(wanted.merchant_id, &policy);
	if (!policy.is_active || !policy_allows(&policy, "online", wanted.amount) ||
		!register_find_route(wanted.bank_code, &route))
		return false;
	desc = row_describe("payout");
	payout_row_init(&row, desc);
	register_fill_common(&row);
	content_salts(1, &salt);
	register_fill(&row, &wanted, &route, salt, payout_now());
	/* Known by its reference number, or the TXID is taken (the clock was set back). */
	if (!row_insert_new("payout", PAYOUT_COLUMN_COUNT, row.values, row.nulls))
		return false;
	history_make_first(&history, &row);
	history_write(&history);
	*result = payout_row_answer(&row);
	return true;
}
