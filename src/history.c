/*
 * history.c: rows of payout.payout_event, which say what happened to a payout, when, and by whom.
 */
#include "postgres.h"

#include "caller.h"
#include "fmgr.h"
#include "history.h"
#include "row.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"

PG_FUNCTION_INFO_V1(payout_write_event);

void
history_write(Datum merchant_id, Datum txid, int event_no, const char *event, const char *from_state,
			  const char *to_state, const char *reason)
{
	Datum values[] = {merchant_id,
					  txid,
					  Int32GetDatum(event_no),
					  TimestampTzGetDatum(GetCurrentTimestamp()),
					  event ? CStringGetTextDatum(event) : (Datum) 0,
					  from_state ? CStringGetTextDatum(from_state) : (Datum) 0,
					  CStringGetTextDatum(to_state),
					  CStringGetTextDatum(caller_name()),
					  reason ? CStringGetTextDatum(reason) : (Datum) 0};
	bool nulls[] = {false, false, false,		 false, event == NULL, from_state == NULL,
					false, false, reason == NULL};

	row_insert("payout_event", lengthof(values), values, nulls);
}

/* write_event(merchant_id, txid, event_no, to_state, reason): a history row that tells of no event. Its number. */
Datum
payout_write_event(PG_FUNCTION_ARGS)
{
	char *state = text_to_cstring(PG_GETARG_TEXT_PP(3));
	char *reason = PG_ARGISNULL(4) ? NULL : text_to_cstring(PG_GETARG_TEXT_PP(4));

	history_write(PG_GETARG_DATUM(0), PG_GETARG_DATUM(1), PG_GETARG_INT32(2), NULL,
				  PG_GETARG_INT32(2) == 1 ? NULL : state, state, reason);
	PG_RETURN_INT32(PG_GETARG_INT32(2));
}
