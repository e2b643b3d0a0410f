/*
 * ledger.c: the balance of a merchant and the transfers.
 *
 * What a merchant may take is balance.available and all rows of balance_delta (payout.current_balance). Invariants:
 *	 - that sum = sum of the transfers into available less those out of it, at every committed instant: each function
 *	   below writes its transfer and its delta in one transaction.
 *	 - it never goes below zero: nothing is taken before escrow.c has set it aside, in any isolation level.
 *	 - each movement that touches the merchant happens once to one payout: unique key transfer_once.
 *	 - the day of the total never goes back: who read the clock before midnight may count to the new day.
 * If the process dies at any line, nothing of the transaction remains.
 *
 * Where the library is not preloaded there is no escrow; nor has any other session of that server one. There the balance
 * row is locked and changed instead, and holds everything: deltas that are left are folded into it first.
 */
#include "postgres.h"

#include "access/xact.h"
#include "caller.h"
#include "catalog/pg_type.h"
#include "crash_point.h"
#include "errors.h"
#include "escrow.h"
#include "executor/spi.h"
#include "fmgr.h"
#include "identifier.h"
#include "ledger.h"
#include "miscadmin.h"
#include "plan.h"
#include "row.h"
#include "tcop/utility.h"
#include "utils/builtins.h"
#include "utils/date.h"
#include "utils/lsyscache.h"
#include "utils/numeric.h"
#include "utils/timestamp.h"

PG_FUNCTION_INFO_V1(payout_is_by_hand);
PG_FUNCTION_INFO_V1(payout_ledger_deduct);
PG_FUNCTION_INFO_V1(payout_ledger_settle);
PG_FUNCTION_INFO_V1(payout_ledger_unsettle);
PG_FUNCTION_INFO_V1(payout_ledger_refund);
PG_FUNCTION_INFO_V1(payout_ledger_fee_refund);
PG_FUNCTION_INFO_V1(payout_ledger_return);
PG_FUNCTION_INFO_V1(payout_ledger_loss);
PG_FUNCTION_INFO_V1(payout_ledger_loss_return);
PG_FUNCTION_INFO_V1(payout_ledger_fund);

static bool writing = false;

uint64
ledger_write(SPIPlanPtr *plan, const char *sql, int nargs, Oid *types, Datum *values, const char *nulls)
{
	bool was_writing = writing;
	uint64 rows;

	writing = true;
	PG_TRY();
	{
		rows = plan_run(plan, sql, nargs, types, values, nulls);
	}
	PG_FINALLY();
	{
		writing = was_writing;
	}
	PG_END_TRY();
	return rows;
}

bool
ledger_is_writing(void)
{
	return writing;
}

/* is_by_hand(): whether a change of the ledger's tables does not come from here. */
Datum
payout_is_by_hand(PG_FUNCTION_ARGS)
{
	PG_RETURN_BOOL(!writing);
}

static Datum
from_cents(int64 cents)
{
	Datum amount = DirectFunctionCall2(numeric_div, NumericGetDatum(int64_to_numeric(cents)),
									   NumericGetDatum(int64_to_numeric(100)));

	return DirectFunctionCall2(numeric_round, amount, Int32GetDatum(2));
}

int64
ledger_to_cents(Datum amount)
{
	return DatumGetInt64(DirectFunctionCall1(
		numeric_int8, DirectFunctionCall2(numeric_mul, amount, NumericGetDatum(int64_to_numeric(100)))));
}

static pg_attribute_noreturn() void refuse_day(void)
{
	ereport(
		ERROR,
		(errcode(PY_AMOUNT_OUT_OF_BOUNDS), errmsg("the merchant's daily total would be passed"),
		 errhint(
			 "The bound is daily_total in the merchant's option limits, or 90000000000000000; the day is Jakarta's.")));
}

static pg_attribute_noreturn() void refuse_sum(void)
{
	ereport(ERROR,
			(errcode(PY_AMOUNT_OUT_OF_BOUNDS), errmsg("the balance would be too large"),
			 errhint("A top-up may bring it to 9999999999999999.99, what comes back to 90000000000000000.")));
}

static pg_attribute_noreturn() void refuse_amount(Datum amount, Datum available)
{
	ereport(ERROR,
			(errcode(PY_INSUFFICIENT_BALANCE), errmsg("insufficient balance"),
			 errdetail("Needed %s, available %s.", DatumGetCString(DirectFunctionCall1(numeric_out, amount)),
					   DatumGetCString(DirectFunctionCall1(numeric_out, available))),
			 errhint("payout.top_up adds to the balance.")));
}

static void
insert_row(const char *table, int columns, Datum *values, bool *nulls)
{
	bool was_writing = writing;

	writing = true;
	PG_TRY();
	{
		row_insert(table, columns, values, nulls);
	}
	PG_FINALLY();
	{
		writing = was_writing;
	}
	PG_END_TRY();
}

/* Writes what was taken (negative) or given; day is NULL unless day_amount counts to it. */
static void
write_delta(Datum merchant_id, Datum amount, const DateADT *day, Datum day_amount)
{
	pg_uuid_t id;
	Datum values[] = {merchant_id, UUIDPGetDatum(&id), amount, day ? DateADTGetDatum(*day) : (Datum) 0,
					  day_amount};
	bool nulls[] = {false, false, false, day == NULL, day == NULL};

	identifier_uuid(&id);
	insert_row("balance_delta", lengthof(values), values, nulls);
}

/*
 * Deltas that a preloaded server has left. The row is locked first, for folding passes over locked rows: whoever holds it
 * may yet roll back, and its deltas come back with that.
 */
static void
fold_merchant(Datum merchant_id)
{
	static SPIPlanPtr lock_plan = NULL;
	static SPIPlanPtr plan = NULL;
	Oid types[] = {TEXTOID};

	plan_run(&lock_plan,
			 "select from payout.balance b where b.merchant_id operator(pg_catalog.=) $1 for no key update",
			 1, types, &merchant_id, NULL);
	ledger_write(&plan, "select payout.fold_merchants(array[$1], null)", 1, types, &merchant_id, NULL);
}

/* The form without escrow: one conditional UPDATE, which checks the newest version of the row. */
static void
take_from_row(text *merchant_id, Datum amount, bool counts_to_day, Datum count_amount,
			  const Datum *daily_total_max)
{
	static SPIPlanPtr take_plan = NULL;
	static SPIPlanPtr read_plan = NULL;
	Oid types[] = {TEXTOID, NUMERICOID, NUMERICOID, NUMERICOID};
	Datum values[] = {PointerGetDatum(merchant_id), amount, count_amount,
					  daily_total_max ? *daily_total_max : from_cents(LEDGER_SUM_MAX)};
	const char nulls[] = {' ', ' ', counts_to_day ? ' ' : 'n', counts_to_day ? ' ' : 'n', '\0'};
	Datum available;
	bool isnull;

	SPI_connect();
	fold_merchant(values[0]);
	if (ledger_write(
			&take_plan,
			"update payout.balance b set available = b.available operator(pg_catalog.-) $2,"
			" day_total = case when $3 is null then b.day_total when b.day operator(pg_catalog.>=) t.today"
			" then b.day_total operator(pg_catalog.+) $3 else $3 end,"
			" day = case when $3 is null then b.day else greatest(b.day, t.today) end"
			" from (select payout.jakarta_day(pg_catalog.clock_timestamp()) as today) t"
			" where b.merchant_id operator(pg_catalog.=) $1 and b.available operator(pg_catalog.>=) $2"
			" and ($4 is null or case when b.day operator(pg_catalog.>=) t.today"
			" then b.day_total operator(pg_catalog.+) $3 else $3 end operator(pg_catalog.<=) $4)",
			4, types, values, nulls) > 0)
	{
		SPI_finish();
		return;
	}
	if (plan_run(&read_plan,
				 "select b.available from payout.balance b where b.merchant_id operator(pg_catalog.=) $1", 1,
				 types, values, NULL) == 0)
		ereport(ERROR, (errcode(PY_UNKNOWN_MERCHANT),
						errmsg("merchant \"%s\" has no balance", text_to_cstring(merchant_id)),
						errhint("payout.create_merchant creates it.")));
	available = SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1, &isnull);
	if (DatumGetBool(DirectFunctionCall2(numeric_ge, available, amount)))
		refuse_day();
	refuse_amount(amount, available);
}

static void
give_to_row(text *merchant_id, Datum amount, int64 most)
{
	static SPIPlanPtr plan = NULL;
	Oid types[] = {TEXTOID, NUMERICOID, NUMERICOID};
	Datum values[] = {PointerGetDatum(merchant_id), amount, from_cents(most)};

	SPI_connect();
	fold_merchant(values[0]);
	if (ledger_write(&plan,
					 "update payout.balance b set available = b.available operator(pg_catalog.+) $2"
					 " where b.merchant_id operator(pg_catalog.=) $1"
					 " and b.available operator(pg_catalog.+) $2 operator(pg_catalog.<=) $3",
					 3, types, values, NULL) != 1)
		refuse_sum();
	SPI_finish();
}

/* Takes from the count in shared memory, or raises. Answers with the day it counts to. */
static DateADT
take_from_escrow(text *merchant_id, Datum amount, int64 day_amount, const Datum *daily_total_max)
{
	EscrowTake take = {.amount = ledger_to_cents(amount), .day_amount = day_amount, .day_max = -1};

	if (daily_total_max != NULL)
		take.day_max = ledger_to_cents(*daily_total_max);
	switch (escrow_take(merchant_id, &take))
	{
		case ESCROW_TOO_LITTLE:
			refuse_amount(amount, from_cents(take.available));
		case ESCROW_DAY_FULL:
			refuse_day();
		case ESCROW_TAKEN:
			break;
	}
	crash_point("taken_before_delta");
	return take.day;
}

void
ledger_take(text *merchant_id, Datum amount, bool counts_to_day)
{
	DateADT day;

	if (!escrow_is_there())
	{
		take_from_row(merchant_id, amount, counts_to_day, amount, NULL);
		return;
	}
	day = take_from_escrow(merchant_id, amount, counts_to_day ? ledger_to_cents(amount) : 0, NULL);
	write_delta(PointerGetDatum(merchant_id), DirectFunctionCall1(numeric_uminus, amount),
				counts_to_day ? &day : NULL, amount);
}

void
ledger_give(text *merchant_id, Datum amount, bool is_new)
{
	int64 most = is_new ? LEDGER_MAX : LEDGER_SUM_MAX;

	if (!escrow_is_there())
	{
		give_to_row(merchant_id, amount, most);
		return;
	}
	if (!escrow_give(merchant_id, ledger_to_cents(amount), most))
		refuse_sum();
	write_delta(PointerGetDatum(merchant_id), amount, NULL, (Datum) 0);
}

void
ledger_insert_set(const RowSet *transfers)
{
	bool was_writing = writing;

	writing = true;
	PG_TRY();
	{
		row_set_insert(transfers);
	}
	PG_FINALLY();
	{
		writing = was_writing;
	}
	PG_END_TRY();
}

/*
 * Writes one transfer of a payout, or adds it to a set (unless NULL). The amount has two decimals. What may happen to a
 * payout more than once has a reference number that tells it apart (text), else 0.
 */
static void
post_to(RowSet *set, Datum merchant_id, Datum txid, const char *kind, const char *debit, const char *credit,
		Datum amount, Datum reference_no)
{
	pg_uuid_t id;
	Datum values[LEDGER_TRANSFER_COLUMNS] = {merchant_id,
											 UUIDPGetDatum(&id),
											 (Datum) 0,
											 CStringGetTextDatum(kind),
											 CStringGetTextDatum(debit),
											 CStringGetTextDatum(credit),
											 amount,
											 CStringGetTextDatum("IDR"),
											 txid,
											 reference_no,
											 CStringGetTextDatum(caller_name())};
	bool nulls[LEDGER_TRANSFER_COLUMNS] = {[9] = reference_no == (Datum) 0};

	/* Before the moment, which then is later than the transaction's number: chain.sql relies on it. */
	(void) GetCurrentTransactionId();
	values[2] = TimestampTzGetDatum(GetCurrentTimestamp());
	identifier_uuid(&id);
	if (set != NULL)
		row_set_add(set, values, nulls);
	else
		insert_row("transfer", lengthof(values), values, nulls);
}

static void
post(Datum merchant_id, Datum txid, const char *kind, const char *debit, const char *credit, Datum amount)
{
	post_to(NULL, merchant_id, txid, kind, debit, credit, amount, (Datum) 0);
}

static bool
is_positive(Datum amount)
{
	return DatumGetBool(
		DirectFunctionCall2(numeric_gt, amount, DirectFunctionCall1(int4_numeric, Int32GetDatum(0))));
}

static Datum
sum(Datum a, Datum b)
{
	return DirectFunctionCall2(numeric_add, a, b);
}

void
ledger_deduct(Datum merchant_id, Datum txid, Datum amount, Datum fee, const Datum *daily_total_max)
{
	text *merchant = DatumGetTextPP(merchant_id);
	Datum total = sum(amount, fee);
	DateADT day = 0;

	if (escrow_is_there())
		day = take_from_escrow(merchant, total, ledger_to_cents(amount), daily_total_max);
	post(merchant_id, txid, "deduct", "available", "in_transit", amount);
	crash_point("deduct_posted");
	if (is_positive(fee))
		post(merchant_id, txid, "fee", "available", "fee", fee);
	if (escrow_is_there())
		write_delta(merchant_id, DirectFunctionCall1(numeric_uminus, total), &day, amount);
	else
		/* As late as can be: others wait for the row. */
		take_from_row(merchant, total, true, amount, daily_total_max);
}

/* Marks, in their order, the shares that fit into what there is; their sums are in take. */
static void
choose(int count, LedgerShare *shares, int64 available, int64 day_room, EscrowTake *take)
{
	take->amount = 0;
	take->day_amount = 0;
	for (int i = 0; i < count; i++)
	{
		int64 total = shares[i].amount + shares[i].fee;

		if (shares[i].fee > LEDGER_MAX)
			shares[i].result = LEDGER_SINGLY; /* policy_fee says so */
		else if (total > available - take->amount)
			shares[i].result = LEDGER_TOO_LITTLE;
		else if (shares[i].amount > day_room - take->day_amount)
			shares[i].result = LEDGER_DAY_FULL;
		else
		{
			shares[i].result = LEDGER_TAKEN;
			take->amount += total;
			take->day_amount += shares[i].amount;
		}
	}
}

void
ledger_take_set(Datum merchant_id, int count, LedgerShare *shares, const Datum *daily_total_max)
{
	EscrowTake take = {.day_max = daily_total_max != NULL ? ledger_to_cents(*daily_total_max) : -1};
	text *merchant = DatumGetTextPP(merchant_id);

	if (!escrow_is_there())
	{
		for (int i = 0; i < count; i++)
			shares[i].result = LEDGER_SINGLY;
		return;
	}
	/* As if there were enough; then, while others take as well, for what there was a moment ago. */
	choose(count, shares, LEDGER_SUM_MAX, LEDGER_SUM_MAX, &take);
	while (take.amount > 0 && escrow_take(merchant, &take) != ESCROW_TAKEN)
	{
		CHECK_FOR_INTERRUPTS();
		choose(count, shares, take.available, take.day_room, &take);
	}
	crash_point("taken_before_delta");
	if (take.amount > 0)
		write_delta(merchant_id, from_cents(-take.amount), &take.day, from_cents(take.day_amount));
}

void
ledger_add_taken(RowSet *transfers, Datum merchant_id, Datum txid, Datum amount, Datum fee)
{
	post_to(transfers, merchant_id, txid, "deduct", "available", "in_transit", amount, (Datum) 0);
	if (is_positive(fee))
		post_to(transfers, merchant_id, txid, "fee", "available", "fee", fee, (Datum) 0);
}

void
ledger_settle(Datum merchant_id, Datum txid, Datum amount, const char *settlement)
{
	post(merchant_id, txid, "settle", "in_transit", settlement, amount);
}

/* Gives a payout's amount back from an account, and its fee from the fee account when it is not zero. */
static void
give_back(Datum merchant_id, Datum txid, Datum amount, Datum fee, const char *kind, const char *from)
{
	post(merchant_id, txid, kind, from, "available", amount);
	if (is_positive(fee))
		post(merchant_id, txid, "fee_refund", "fee", "available", fee);
	crash_point("refund_posted");
	ledger_give(DatumGetTextPP(merchant_id), sum(amount, fee), false);
}

void
ledger_refund(Datum merchant_id, Datum txid, Datum amount, Datum fee)
{
	give_back(merchant_id, txid, amount, fee, "refund", "in_transit");
}

/* A row that is not in order (a cashout that no store has held has no settlement account) must not read what is not there. */
static void
refuse_nulls(FunctionCallInfo fcinfo, int count)
{
	for (int i = 0; i < count; i++)
		if (PG_ARGISNULL(i))
			ereport(ERROR,
					(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
					 errmsg("argument %d of payout.%s is null", i + 1, get_func_name(fcinfo->flinfo->fn_oid)),
					 errhint("payout.verify() names what is out of order.")));
}

/* ledger_deduct(merchant_id, txid, amount, fee, daily_total_max): available to in_transit and fee. PY001, PY007. */
Datum
payout_ledger_deduct(PG_FUNCTION_ARGS)
{
	Datum daily_total_max = PG_GETARG_DATUM(4);

	refuse_nulls(fcinfo, 4);
	ledger_deduct(PG_GETARG_DATUM(0), PG_GETARG_DATUM(1), PG_GETARG_DATUM(2), PG_GETARG_DATUM(3),
				  PG_ARGISNULL(4) ? NULL : &daily_total_max);
	PG_RETURN_DATUM(PG_GETARG_DATUM(3));
}

/* ledger_settle(merchant_id, txid, amount, settlement): in_transit to settlement/... */
Datum
payout_ledger_settle(PG_FUNCTION_ARGS)
{
	refuse_nulls(fcinfo, PG_NARGS());
	ledger_settle(PG_GETARG_DATUM(0), PG_GETARG_DATUM(1), PG_GETARG_DATUM(2),
				  text_to_cstring(PG_GETARG_TEXT_PP(3)));
	PG_RETURN_VOID();
}

/* ledger_unsettle(merchant_id, txid, amount, settlement): settlement/... back to in_transit. */
Datum
payout_ledger_unsettle(PG_FUNCTION_ARGS)
{
	refuse_nulls(fcinfo, PG_NARGS());
	post(PG_GETARG_DATUM(0), PG_GETARG_DATUM(1), "unsettle", text_to_cstring(PG_GETARG_TEXT_PP(3)),
		 "in_transit", PG_GETARG_DATUM(2));
	PG_RETURN_VOID();
}

/* ledger_refund(merchant_id, txid, amount, fee): in_transit and fee back to available. */
Datum
payout_ledger_refund(PG_FUNCTION_ARGS)
{
	refuse_nulls(fcinfo, PG_NARGS());
	ledger_refund(PG_GETARG_DATUM(0), PG_GETARG_DATUM(1), PG_GETARG_DATUM(2), PG_GETARG_DATUM(3));
	PG_RETURN_VOID();
}

/* ledger_fee_refund(merchant_id, txid, fee): fee back to available, by itself. */
Datum
payout_ledger_fee_refund(PG_FUNCTION_ARGS)
{
	refuse_nulls(fcinfo, PG_NARGS());
	post(PG_GETARG_DATUM(0), PG_GETARG_DATUM(1), "fee_refund", "fee", "available", PG_GETARG_DATUM(2));
	ledger_give(PG_GETARG_TEXT_PP(0), PG_GETARG_DATUM(2), false);
	PG_RETURN_VOID();
}

/* ledger_return(merchant_id, txid, amount, fee, settlement): settlement/... and fee back to available. */
Datum
payout_ledger_return(PG_FUNCTION_ARGS)
{
	refuse_nulls(fcinfo, PG_NARGS());
	give_back(PG_GETARG_DATUM(0), PG_GETARG_DATUM(1), PG_GETARG_DATUM(2), PG_GETARG_DATUM(3), "return",
			  text_to_cstring(PG_GETARG_TEXT_PP(4)));
	PG_RETURN_VOID();
}

/* ledger_loss(merchant_id, txid, amount, settlement, occasion): platform_loss to settlement/... */
Datum
payout_ledger_loss(PG_FUNCTION_ARGS)
{
	refuse_nulls(fcinfo, PG_NARGS());
	post_to(NULL, PG_GETARG_DATUM(0), PG_GETARG_DATUM(1), "loss", "platform_loss",
			text_to_cstring(PG_GETARG_TEXT_PP(3)), PG_GETARG_DATUM(2), PG_GETARG_DATUM(4));
	PG_RETURN_VOID();
}

/* ledger_loss_return(merchant_id, txid, amount, settlement, occasion): settlement/... to platform_loss. */
Datum
payout_ledger_loss_return(PG_FUNCTION_ARGS)
{
	refuse_nulls(fcinfo, PG_NARGS());
	post_to(NULL, PG_GETARG_DATUM(0), PG_GETARG_DATUM(1), "loss_return",
			text_to_cstring(PG_GETARG_TEXT_PP(3)), "platform_loss", PG_GETARG_DATUM(2), PG_GETARG_DATUM(4));
	PG_RETURN_VOID();
}

/*
 * ledger_fund(merchant_id, kind, amount, reference_no): top_up or withdraw, once per reference. The transfer's unique
 * key decides who is first; only the one that inserted it moves the balance.
 */
static Datum
fund(PG_FUNCTION_ARGS)
{
	static SPIPlanPtr insert_plan = NULL;
	static SPIPlanPtr select_plan = NULL;
	Oid types[] = {TEXTOID, TEXTOID, TEXTOID, NUMERICOID, TEXTOID, TEXTOID};
	char *kind = text_to_cstring(PG_GETARG_TEXT_PP(1));
	bool top_up = strcmp(kind, "top_up") == 0;
	Datum values[] = {PG_GETARG_DATUM(0),
					  PG_GETARG_DATUM(1),
					  PG_GETARG_DATUM(3),
					  PG_GETARG_DATUM(2),
					  CStringGetTextDatum(top_up ? "funding" : "available"),
					  CStringGetTextDatum(top_up ? "available" : "funding")};
	Datum row;
	bool isnull;

	PreventCommandIfReadOnly("INSERT");
	SPI_connect();
	(void) GetCurrentTransactionId(); /* as in post() */
	if (ledger_write(
			&insert_plan,
			"insert into payout.transfer as t (merchant_id, kind, reference_no, amount, debit_account, credit_account)"
			" values ($1, $2, $3, $4, $5, $6) on conflict do nothing returning t",
			6, types, values, NULL) == 1)
	{
		row = SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1, &isnull);
		row = SPI_datumTransfer(row, false, -1);
		if (top_up)
			ledger_give(PG_GETARG_TEXT_PP(0), PG_GETARG_DATUM(2), true);
		else
			ledger_take(PG_GETARG_TEXT_PP(0), PG_GETARG_DATUM(2), false);
	}
	else
	{
		if (plan_run(&select_plan,
					 "select t from payout.transfer t where t.merchant_id operator(pg_catalog.=) $1"
					 " and t.kind operator(pg_catalog.=) $2 and t.reference_no operator(pg_catalog.=) $3"
					 " and t.amount operator(pg_catalog.=) $4",
					 4, types, values, NULL) == 0)
			ereport(ERROR, (errcode(PY_REFERENCE_REUSED),
							errmsg("argument \"reference\" was used with another amount"),
							errhint("Another movement needs another reference.")));
		row = SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1, &isnull);
		row = SPI_datumTransfer(row, false, -1);
	}
	SPI_finish();
	PG_RETURN_DATUM(row);
}

Datum
payout_ledger_fund(PG_FUNCTION_ARGS)
{
	refuse_nulls(fcinfo, PG_NARGS());
	return fund(fcinfo);
}
