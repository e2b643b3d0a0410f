/*
 * hand.c: the ledger's tables changed by somebody else's hand: a superuser's INSERT, COPY of a restore, the apply worker
 * of a logical replication. What the shared count says must follow what the tables say.
 *
 * Triggers of balance and balance_delta follow each change, whoever makes it. A transfer that is written by hand, not by a
 * restore, has its delta written for it, and cannot overdraw. A restore brings the deltas and balances along: it is
 * recognised by check_function_bodies, which pg_dump's scripts switch off and nobody else has a reason to.
 * (INSERT ... ON CONFLICT into these tables counts even where it inserts nothing: nobody should.)
 *
 * The triggers of what every payout writes ask by themselves whose hand it is: a WHEN clause would be prepared anew by every
 * statement.
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
#include "utils/timestamp.h"

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

/* A text column; "" for null. */
static const char *
text_of(HeapTuple tuple, TupleDesc desc, const char *name)
{
	char *value = SPI_getvalue(tuple, desc, SPI_fnumber(desc, name));

	return value != NULL ? value : "";
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

/* The row that a trigger before it answers with. */
static HeapTuple
row_of(const TriggerData *trigger)
{
	return TRIGGER_FIRED_BY_UPDATE(trigger->tg_event) ? trigger->tg_newtuple : trigger->tg_trigtuple;
}

static text *
merchant_of(HeapTuple tuple, TupleDesc desc)
{
	bool isnull;
	Datum merchant_id = column(tuple, desc, "merchant_id", &isnull);

	return isnull ? cstring_to_text("") : DatumGetTextPP(merchant_id);
}

/* Follows the change from the old version of a row, if any, to the new one, if any. */
static HeapTuple
follow(TriggerData *trigger, const char *amount, const char *day_amount)
{
	TupleDesc desc = RelationGetDescr(trigger->tg_relation);
	HeapTuple old = TRIGGER_FIRED_BY_INSERT(trigger->tg_event) ? NULL : trigger->tg_trigtuple;
	HeapTuple new = TRIGGER_FIRED_BY_DELETE(trigger->tg_event) ? NULL : row_of(trigger);
	Share before = read_share(old, desc, amount, day_amount);
	Share after = read_share(new, desc, amount, day_amount);
	text *from = merchant_of(old != NULL ? old : new, desc);
	text *to = merchant_of(new != NULL ? new : old, desc);

	if (VARSIZE_ANY_EXHDR(from) != VARSIZE_ANY_EXHDR(to) ||
		memcmp(VARDATA_ANY(from), VARDATA_ANY(to), VARSIZE_ANY_EXHDR(to)) != 0)
	{
		escrow_follow(from, -before.available, before.day, -before.day_amount);
		escrow_follow(to, after.available, after.day, after.day_amount);
	}
	else if (memcmp(&before, &after, sizeof(Share)) != 0)
	{
		escrow_follow(to, after.available - before.available, before.day, -before.day_amount);
		escrow_follow(to, 0, after.day, after.day_amount);
	}
	return row_of(trigger);
}

/* Trigger before each row of balance that is inserted or updated. */
Datum
payout_follow_balance(PG_FUNCTION_ARGS)
{
	TriggerData *trigger = (TriggerData *) fcinfo->context;

	if (ledger_is_writing() || !escrow_is_there())
		return PointerGetDatum(row_of(trigger));
	return PointerGetDatum(follow(trigger, "available", "day_total"));
}

/* Trigger before each row of balance_delta that is inserted or updated, and after each that is deleted. */
Datum
payout_follow_delta(PG_FUNCTION_ARGS)
{
	TriggerData *trigger = (TriggerData *) fcinfo->context;

	if (ledger_is_writing() || !escrow_is_there())
		return PointerGetDatum(row_of(trigger));
	return PointerGetDatum(follow(trigger, "amount", "day_amount"));
}

/* Whether a word is in a list that NULL ends. */
static bool
is_one_of(const char *word, const char *const *list)
{
	while (*list != NULL)
		if (strcmp(*list++, word) == 0)
			return true;
	return false;
}

static bool
is_account(const char *name)
{
	static const char *const names[] = {"funding", "available", "in_transit", "fee", "platform_loss", NULL};

	return is_one_of(name, names) || (strncmp(name, "settlement/", 11) == 0 && name[11] != '\0');
}

/* What names a transfer: of a payout its TXID, of the merchant alone a reference; what may be repeated may have both. */
static bool
is_named(const char *kind, bool has_txid, bool has_reference)
{
	static const char *const of_merchants[] = {"top_up", "withdraw", NULL};
	static const char *const of_payouts[] = {"deduct", "fee",		 "settle", "unsettle",
											 "refund", "fee_refund", "return", NULL};
	static const char *const repeated[] = {"loss", "loss_return", NULL};

	if (!has_txid)
		return has_reference && is_one_of(kind, of_merchants);
	return is_one_of(kind, repeated) || (!has_reference && is_one_of(kind, of_payouts));
}

/* The form of a transfer that a hand has written; payout.verify (transfer_accounts) knows the ways of each kind. */
static void
check_transfer(HeapTuple row, TupleDesc desc)
{
	const char *debit = text_of(row, desc, "debit_account");
	const char *credit = text_of(row, desc, "credit_account");
	bool isnull;
	TimestampTz at = DatumGetTimestampTz(column(row, desc, "at", &isnull));

	if (!isnull && (TIMESTAMP_NOT_FINITE(at) || at > GetCurrentTimestamp()))
		ereport(ERROR, (errcode(ERRCODE_CHECK_VIOLATION), errmsg("a transfer is not dated ahead of now"),
						errhint("It would stand outside of the merchant's chain.")));
	if (!is_account(debit) || !is_account(credit) || strcmp(debit, credit) == 0 ||
		!is_named(text_of(row, desc, "kind"), text_of(row, desc, "txid")[0] != '\0',
				  text_of(row, desc, "reference_no")[0] != '\0'))
		ereport(ERROR, (errcode(ERRCODE_CHECK_VIOLATION), errmsg("this is no transfer"),
						errdetail("It goes from one account to another; top_up and withdraw have a reference "
								  "number, the other kinds a TXID.")));
}

/* Trigger before each transfer that is inserted. */
Datum
payout_follow_transfer(PG_FUNCTION_ARGS)
{
	TriggerData *trigger = (TriggerData *) fcinfo->context;
	TupleDesc desc = RelationGetDescr(trigger->tg_relation);
	HeapTuple row = trigger->tg_trigtuple;
	Datum merchant_id;
	Datum amount;
	bool isnull;

	if (ledger_is_writing() || !check_function_bodies)
		return PointerGetDatum(row);
	check_transfer(row, desc);
	merchant_id = column(row, desc, "merchant_id", &isnull);
	amount = column(row, desc, "amount", &isnull);
	if (strcmp(text_of(row, desc, "debit_account"), "available") == 0)
		ledger_take(DatumGetTextPP(merchant_id), amount, strcmp(text_of(row, desc, "kind"), "deduct") == 0);
	else if (strcmp(text_of(row, desc, "credit_account"), "available") == 0)
		ledger_give(DatumGetTextPP(merchant_id), amount, strcmp(text_of(row, desc, "kind"), "top_up") == 0);
	return PointerGetDatum(row);
}
