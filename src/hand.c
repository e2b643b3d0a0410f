/*
 * hand.c: the ledger's tables changed by somebody else's hand: a superuser's INSERT, COPY of a restore, the apply worker
 * of a logical replication. What the shared count says must follow what the tables say.
 *
 * Triggers of balance and balance_delta follow each change, whoever makes it. A transfer that is written by hand, not by a
 * restore, has its delta written for it, and cannot overdraw. A restore brings the deltas and balances along: it is
 * recognised by check_function_bodies, which pg_dump's scripts switch off and nobody else has a reason to.
 * (INSERT ... ON CONFLICT into balance or balance_delta counts even where it inserts nothing: nobody should.)
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "commands/trigger.h"
#include "errors.h"
#include "escrow.h"
#include "executor/spi.h"
#include "fmgr.h"
#include "ledger.h"
#include "utils/builtins.h"
#include "utils/date.h"
#include "utils/guc.h"
#include "utils/numeric.h"
#include "utils/rel.h"

PG_FUNCTION_INFO_V1(payout_follow_balance);
PG_FUNCTION_INFO_V1(payout_follow_delta);
PG_FUNCTION_INFO_V1(payout_follow_transfer);

/* What one version of a row says; zeros and no day for no row. */
typedef struct Share
{
	int64 available;
	int64 day_amount;
	DateADT day;
} Share;

static Datum
column(HeapTuple tuple, TupleDesc desc, const char *name, bool *isnull)
{
	return SPI_getbinval(tuple, desc, SPI_fnumber(desc, name), isnull);
}

static int64
cents_of(HeapTuple tuple, TupleDesc desc, const char *name)
{
	bool isnull;
	Datum value = column(tuple, desc, name, &isnull);

	return isnull ? 0 : ledger_to_cents(value);
}

static Share
read_share(HeapTuple tuple, TupleDesc desc, const char *amount, const char *day_amount)
{
	Share share;
	bool isnull;
	Datum day;

	memset(&share, 0, sizeof(share));
	share.day = DATEVAL_NOBEGIN;
	if (tuple == NULL)
		return share;
	share.available = cents_of(tuple, desc, amount);
	share.day_amount = cents_of(tuple, desc, day_amount);
	day = column(tuple, desc, "day", &isnull);
	if (!isnull)
		share.day = DatumGetDateADT(day);
	return share;
}

/* Follows the change from the old version of a row, if any, to the new one, if any. */
static HeapTuple
follow(TriggerData *trigger, const char *amount, const char *day_amount)
{
	TupleDesc desc = RelationGetDescr(trigger->tg_relation);
	bool inserts = TRIGGER_FIRED_BY_INSERT(trigger->tg_event);
	bool deletes = TRIGGER_FIRED_BY_DELETE(trigger->tg_event);
	HeapTuple old = inserts ? NULL : trigger->tg_trigtuple;
	HeapTuple new = inserts ? trigger->tg_trigtuple : deletes ? NULL : trigger->tg_newtuple;
	Share before = read_share(old, desc, amount, day_amount);
	Share after = read_share(new, desc, amount, day_amount);
	bool isnull;
	Datum merchant_id = column(new != NULL ? new : old, desc, "merchant_id", &isnull);

	if (escrow_is_there() && !isnull && memcmp(&before, &after, sizeof(Share)) != 0)
	{
		escrow_follow(DatumGetTextPP(merchant_id), after.available - before.available, before.day,
					  -before.day_amount);
		escrow_follow(DatumGetTextPP(merchant_id), 0, after.day, after.day_amount);
	}
	return new != NULL ? new : old;
}

/* Trigger before each row of balance that is inserted or updated by hand. */
Datum
payout_follow_balance(PG_FUNCTION_ARGS)
{
	return PointerGetDatum(follow((TriggerData *) fcinfo->context, "available", "day_total"));
}

/* Trigger before each row of balance_delta that is inserted, updated or deleted by hand. */
Datum
payout_follow_delta(PG_FUNCTION_ARGS)
{
	return PointerGetDatum(follow((TriggerData *) fcinfo->context, "amount", "day_amount"));
}

/* Trigger after each transfer that is inserted by hand. */
Datum
payout_follow_transfer(PG_FUNCTION_ARGS)
{
	TriggerData *trigger = (TriggerData *) fcinfo->context;
	TupleDesc desc = RelationGetDescr(trigger->tg_relation);
	HeapTuple row = trigger->tg_trigtuple;
	char *debit;
	char *credit;
	Datum merchant_id;
	Datum amount;
	bool isnull;

	if (!check_function_bodies)
		return PointerGetDatum(NULL);
	SPI_connect();
	debit = SPI_getvalue(row, desc, SPI_fnumber(desc, "debit_account"));
	credit = SPI_getvalue(row, desc, SPI_fnumber(desc, "credit_account"));
	merchant_id = column(row, desc, "merchant_id", &isnull);
	amount = column(row, desc, "amount", &isnull);
	if (strcmp(debit, "available") == 0)
		ledger_take(DatumGetTextPP(merchant_id), amount, strcmp(credit, "in_transit") == 0, amount, NULL);
	else if (strcmp(credit, "available") == 0)
		ledger_give(DatumGetTextPP(merchant_id), amount);
	SPI_finish();
	return PointerGetDatum(NULL);
}
