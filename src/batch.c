/*
 * batch.c: the money of payout.approve_batch: one reservation for all payouts of a call.
 *
 * Invariants kept here:
 *	 - What is taken from the escrow, the one delta that says so, and the transfers of the payouts that are then written
 *	   are the same sum; all of one transaction.
 *	 - The trigger of payout.payout stays out for just the statement that does its work for the whole set
 *	   (payout.write_approvals in batch.sql).
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "fmgr.h"
#include "ledger.h"
#include "move.h"
#include "policy.h"
#include "storage/itemptr.h"
#include "utils/array.h"
#include "utils/builtins.h"

PG_FUNCTION_INFO_V1(payout_approve_set);

typedef struct Set
{
	int count;
	Datum *places; /* of locked rows */
	LedgerShare *shares;
} Set;

/* Elements of an array without nulls; their count. */
static int
read_array(ArrayType *array, Oid type, int16 length, char align, Datum **elements)
{
	int count;

	if (array_contains_nulls(array))
		elog(ERROR, "an array of payout.approve_set has nulls");
	deconstruct_array(array, type, length, false, align, elements, NULL, &count);
	return count;
}

static void
read_set(FunctionCallInfo fcinfo, Set *set)
{
	Datum *amounts;
	Datum *fees;

	set->count =
		read_array(PG_GETARG_ARRAYTYPE_P(2), TIDOID, sizeof(ItemPointerData), TYPALIGN_SHORT, &set->places);
	if (read_array(PG_GETARG_ARRAYTYPE_P(3), NUMERICOID, -1, TYPALIGN_INT, &amounts) != set->count ||
		read_array(PG_GETARG_ARRAYTYPE_P(4), NUMERICOID, -1, TYPALIGN_INT, &fees) != set->count)
		elog(ERROR, "the arrays of payout.approve_set differ in length");
	set->shares = palloc0(set->count * sizeof(LedgerShare));
	for (int i = 0; i < set->count; i++)
	{
		set->shares[i].amount = ledger_to_cents(amounts[i]);
		set->shares[i].fee = ledger_to_cents(fees[i]);
	}
}

/* Writes the payouts of the set that were taken. */
static void
write_approvals(Datum options, const Set *set)
{
	static SPIPlanPtr plan = NULL;
	Oid types[] = {JSONBOID, TIDARRAYOID};
	Datum *places = palloc(set->count * sizeof(Datum));
	Datum values[2];
	int taken = 0;
	bool isnull;

	for (int i = 0; i < set->count; i++)
		if (set->shares[i].result == LEDGER_TAKEN)
			places[taken++] = set->places[i];
	if (taken == 0)
		return;
	values[0] = options;
	values[1] = PointerGetDatum(
		construct_array(places, taken, TIDOID, sizeof(ItemPointerData), false, TYPALIGN_SHORT));
	move_by_set(true);
	PG_TRY();
	{
		ledger_write(&plan, "select payout.write_approvals($1, $2)", 2, types, values, NULL);
	}
	PG_FINALLY();
	{
		move_by_set(false);
	}
	PG_END_TRY();
	if (DatumGetInt32(SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1, &isnull)) != taken)
		elog(ERROR, "payouts of a batch were not approved, though their money was taken");
}

/* Each approval is asked for its role. */
static void
leave_singly(Set *set)
{
	for (int i = 0; i < set->count; i++)
		set->shares[i].result = LEDGER_SINGLY;
}

/* approve_set(merchant_id, merchant_options, places, amounts, fees): see batch.sql. The payouts are locked and registered. */
Datum
payout_approve_set(PG_FUNCTION_ARGS)
{
	static const char *const words[] = {[LEDGER_TAKEN] = "",
										[LEDGER_TOO_LITTLE] = "PY001",
										[LEDGER_DAY_FULL] = "PY007",
										[LEDGER_SINGLY] = ""};
	Policy policy = {.options = PG_GETARG_JSONB_P(1)};
	Policy newest;
	Datum *answers;
	bool *nulls;
	Set set;
	int lower_bound = 1;

	read_set(fcinfo, &set);
	answers = palloc(set.count * sizeof(Datum));
	nulls = palloc(set.count * sizeof(bool));
	policy_read(PG_GETARG_DATUM(0), &newest);
	if (policy_is_controlled(&newest))
		leave_singly(&set);
	else
		ledger_take_set(PG_GETARG_DATUM(0), set.count, set.shares, policy_daily_total(&policy));
	for (int i = 0; i < set.count; i++)
	{
		answers[i] = CStringGetTextDatum(words[set.shares[i].result]);
		nulls[i] = set.shares[i].result == LEDGER_SINGLY;
	}
	SPI_connect();
	write_approvals(PG_GETARG_DATUM(1), &set);
	SPI_finish();
	PG_RETURN_ARRAYTYPE_P(
		construct_md_array(answers, nulls, 1, &set.count, &lower_bound, TEXTOID, -1, false, TYPALIGN_INT));
}
