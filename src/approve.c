/*
 * approve.c: the approval that is plain, without a statement. The trigger of payout.payout (move.c) takes the money, and
 * if there is too little it raises, and nothing of this call remains.
 *
 * The rules and their errors are those of payout.do_approve (approve.sql). Here they are only asked: whatever is not plain
 * or not in order is left to it.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "approve.h"
#include "clock.h"
#include "executor/spi.h"
#include "funcapi.h"
#include "option.h"
#include "payout_row.h"
#include "policy.h"
#include "row.h"
#include "row_cache.h"
#include "utils/jsonb.h"
#include "utils/timestamp.h"

/* The approved payout goes on without asking more: to the dispatcher, or its account check is still asked. */
bool
approve_is_plain(const PayoutRow *row)
{
	return payout_row_is(row, KIND, "disbursement") && payout_row_is(row, STATE, "registered") &&
		   payout_row_is_null(row, SCHEDULED_AT) &&
		   (payout_row_is(row, ACCOUNT_CHECK, "matched") || payout_row_is(row, ACCOUNT_CHECK, "pending"));
}

TimestampTz
approve_deadline(Datum channel_id, TimestampTz now)
{
	TupleDesc desc;
	HeapTuple channel = row_cached("channel", "channel_pkey", 1, &channel_id, &desc);
	Datum options;
	bool isnull;

	if (channel == NULL)
		elog(ERROR, "the channel of a payout is missing");
	options = SPI_getbinval(channel, desc, SPI_fnumber(desc, "options"), &isnull);
	return now + option_integer(DatumGetJsonbP(options), "check_deadline_s") * USECS_PER_SEC;
}

void
approve_fill(PayoutRow *row, TimestampTz now, TimestampTz deadline)
{
	payout_row_set_text(row, STATE, "approved");
	payout_row_set(row, APPROVED_AT, TimestampTzGetDatum(GetCurrentTimestamp()));
	payout_row_set_null(row, REASON);
	if (payout_row_is(row, ACCOUNT_CHECK, "matched"))
		payout_row_set(row, DISPATCH_DUE_AT, TimestampTzGetDatum(now));
	else
		payout_row_set(row, CHECK_DEADLINE_AT, TimestampTzGetDatum(deadline));
}

static Datum
make_answer(FunctionCallInfo fcinfo, const PayoutRow *row)
{
	TupleDesc desc;
	Datum values[4] = {payout_row_get(row, TXID), payout_row_get(row, STATE), (Datum) 0, (Datum) 0};
	bool nulls[4] = {false, false, true, true};

	if (get_call_result_type(fcinfo, NULL, &desc) != TYPEFUNC_COMPOSITE)
		elog(ERROR, "payout.approve does not return a row");
	return HeapTupleGetDatum(heap_form_tuple(BlessTupleDesc(desc), values, nulls));
}

bool
approve_at_once(FunctionCallInfo fcinfo, Datum *result)
{
	TimestampTz now = payout_now();
	Policy policy;
	PayoutRow row;
	TupleDesc desc;
	HeapTuple old;
	Datum key[2];

	if (PG_ARGISNULL(0) || PG_ARGISNULL(1))
		return false;
	key[0] = PG_GETARG_DATUM(0);
	key[1] = PG_GETARG_DATUM(1);
	policy_read(key[0], &policy);
	if (!policy.is_active || policy_is_controlled(&policy))
		return false;
	old = row_lock("payout", "payout_pkey", 2, key, &desc);
	if (old == NULL)
		return false;
	payout_row_read(&row, desc, old);
	if (!approve_is_plain(&row))
		return false;
	approve_fill(&row, now, approve_deadline(payout_row_get(&row, CHANNEL_ID), now));
	row_update("payout", old, PAYOUT_COLUMN_COUNT, row.values, row.nulls, row.replaced);
	*result = make_answer(fcinfo, &row);
	return true;
}
