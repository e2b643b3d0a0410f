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

static bool
is_text(FunctionCallInfo fcinfo, int arg, int length_max, const char *characters)
{
	return argument_is_text(PG_GETARG_DATUM(arg), arg == ARG_BANK_CODE ? 2 : 1, length_max, characters);
}

/* Whether the arguments are in order, and there is nothing special about them. */
static bool
is_plain(FunctionCallInfo fcinfo, Datum *amount)
{
	text *method;

	for (int arg = ARG_MERCHANT_ID; arg <= ARG_METHOD; arg++)
		if (PG_ARGISNULL(arg))
			return false;
	method = PG_GETARG_TEXT_PP(ARG_METHOD);
	return VARSIZE_ANY_EXHDR(method) == strlen("online") &&
		   memcmp(VARDATA_ANY(method), "online", strlen("online")) == 0 && PG_ARGISNULL(ARG_SCHEDULED_AT) &&
		   !PG_ARGISNULL(ARG_OPTIONS) && JB_ROOT_COUNT(PG_GETARG_JSONB_P(ARG_OPTIONS)) == 0 &&
		   JB_ROOT_IS_OBJECT(PG_GETARG_JSONB_P(ARG_OPTIONS)) &&
		   argument_is_amount(PG_GETARG_DATUM(ARG_AMOUNT), amount) &&
		   is_text(fcinfo, ARG_REFERENCE_NO, 40, "visible") && is_text(fcinfo, ARG_BANK_CODE, 11, "id") &&
		   is_text(fcinfo, ARG_ACCOUNT_NO, 34, "id") && is_text(fcinfo, ARG_BENEFICIARY_NAME, 100, "text") &&
		   (PG_ARGISNULL(ARG_BENEFICIARY_PHONE) || is_text(fcinfo, ARG_BENEFICIARY_PHONE, 20, "phone")) &&
		   (PG_ARGISNULL(ARG_DESCRIPTION) || is_text(fcinfo, ARG_DESCRIPTION, 100, "text"));
}

/* The channel of an enabled bank and its options; false when there is none. */
static bool
find_channel(Datum bank_code, Datum *channel_id, Jsonb **options)
{
	TupleDesc desc;
	HeapTuple bank = row_cached("bank", "bank_pkey", 1, &bank_code, &desc);
	HeapTuple channel;
	bool isnull;

	if (bank == NULL || !DatumGetBool(SPI_getbinval(bank, desc, SPI_fnumber(desc, "enabled"), &isnull)))
		return false;
	*channel_id = SPI_getbinval(bank, desc, SPI_fnumber(desc, "channel_id"), &isnull);
	channel = row_cached("channel", "channel_pkey", 1, channel_id, &desc);
	if (channel == NULL)
		return false;
	*options = DatumGetJsonbP(SPI_getbinval(channel, desc, SPI_fnumber(desc, "options"), &isnull));
	return true;
}

static void
set_argument(PayoutRow *row, PayoutColumn column, FunctionCallInfo fcinfo, int arg)
{
	if (!PG_ARGISNULL(arg))
		payout_row_set(row, column, PG_GETARG_DATUM(arg));
}

/* What the merchant says: the content. */
static void
fill_content(PayoutRow *row, FunctionCallInfo fcinfo, Datum amount)
{
	set_argument(row, MERCHANT_ID, fcinfo, ARG_MERCHANT_ID);
	set_argument(row, REFERENCE_NO, fcinfo, ARG_REFERENCE_NO);
	payout_row_set(row, AMOUNT, amount);
	set_argument(row, BANK_CODE, fcinfo, ARG_BANK_CODE);
	set_argument(row, ACCOUNT_NO, fcinfo, ARG_ACCOUNT_NO);
	set_argument(row, BENEFICIARY_NAME, fcinfo, ARG_BENEFICIARY_NAME);
	set_argument(row, METHOD, fcinfo, ARG_METHOD);
	set_argument(row, BENEFICIARY_PHONE, fcinfo, ARG_BENEFICIARY_PHONE);
	set_argument(row, DESCRIPTION, fcinfo, ARG_DESCRIPTION);
	set_argument(row, OPTIONS, fcinfo, ARG_OPTIONS);
}

/* What the platform adds; the account is to be checked at once. */
static void
fill_state(PayoutRow *row, Datum channel_id, Jsonb *channel_options)
{
	TimestampTz started = payout_now();
	int64 check_us = option_integer(channel_options, "check_deadline_s") * USECS_PER_SEC;
	Datum zero = DirectFunctionCall2(numeric_round, NumericGetDatum(int64_to_numeric(0)), Int32GetDatum(2));

	payout_row_set(row, TXID, DirectFunctionCall1(payout_generate_txid, payout_row_get(row, MERCHANT_ID)));
	payout_row_set_text(row, KIND, "disbursement");
	payout_row_set_text(row, STATE, "registered");
	payout_row_set(row, FEE, zero);
	payout_row_set_text(row, CURRENCY, "IDR");
	payout_row_set(row, CHANNEL_ID, channel_id);
	payout_row_set(row, REGISTERED_AT, TimestampTzGetDatum(GetCurrentTimestamp()));
	payout_row_set(row, EVENTS, Int32GetDatum(1));
	payout_row_set_text(row, ACCOUNT_CHECK, "pending");
	payout_row_set(row, CHECK_DUE_AT, TimestampTzGetDatum(started));
	payout_row_set(row, CHECK_DEADLINE_AT, TimestampTzGetDatum(started + check_us));
	payout_row_set(row, CHECK_TRIES, Int32GetDatum(0));
	payout_row_set(row, STATUS_TRIES, Int32GetDatum(0));
	payout_row_set(row, NOT_FOUND, Int32GetDatum(0));
}

bool
register_at_once(FunctionCallInfo fcinfo, Datum *result)
{
	Datum amount;
	Datum channel_id;
	Jsonb *channel_options;
	Policy policy;
	PayoutRow row;
	HistoryRow history;
	Datum head;
	TupleDesc desc;
	HeapTuple written;

	if (!is_plain(fcinfo, &amount))
		return false;
	policy_read(PG_GETARG_DATUM(ARG_MERCHANT_ID), &policy);
	if (!policy.is_active || !policy_allows(&policy, "online", amount) ||
		!find_channel(PG_GETARG_DATUM(ARG_BANK_CODE), &channel_id, &channel_options))
		return false;
	desc = row_describe("payout");
	payout_row_init(&row, desc);
	fill_content(&row, fcinfo, amount);
	fill_state(&row, channel_id, channel_options);
	head = history_make(&history, NULL, payout_row_get(&row, MERCHANT_ID), payout_row_get(&row, TXID), 1,
						NULL, NULL, "registered", NULL);
	payout_row_set(&row, HISTORY_HEAD, head);
	written = row_insert_new("payout", desc->natts, row.values, row.nulls);
	/* Known by its reference number, or the TXID is taken (the clock was set back). */
	if (written == NULL)
		return false;
	history_write(&history);
	*result = heap_copy_tuple_as_datum(written, desc);
	return true;
}
