/*
 * move_set.c: moves many payouts on, one by one but without a statement for each; the trigger of payout.payout (move.c)
 * does what belongs to each move.
 *
 * They are locked in the order of their TXIDs, as by all who lock several.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "argument.h"
#include "catalog/pg_type.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "payout_row.h"
#include "row.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"
#include "utils/typcache.h"

PG_FUNCTION_INFO_V1(payout_move_set);

/* The columns of payout.step, see move_set.sql. */
enum
{
	STEP_MERCHANT_ID,
	STEP_TXID,
	STEP_FROM_STATE,
	STEP_TO_STATE,
	STEP_BATCH_ID,
	STEP_BANK_REFERENCE_NO,
	STEP_RESPONSE_CODE,
	STEP_REASON,
	STEP_STATUS_DUE_AT,
	STEP_ASKED,
	STEP_COLUMNS
};

typedef struct Step
{
	Datum values[STEP_COLUMNS];
	bool nulls[STEP_COLUMNS];
} Step;

static int
by_txid(const void *a, const void *b)
{
	return argument_compare(((const Step *) a)->values[STEP_TXID], ((const Step *) b)->values[STEP_TXID]);
}

/* The steps in their order; their number. */
static int
read_steps(ArrayType *array, Step **steps)
{
	TupleDesc desc = lookup_rowtype_tupdesc(ARR_ELEMTYPE(array), -1);
	Datum *elements;
	int count;

	if (desc->natts != STEP_COLUMNS)
		elog(ERROR, "payout.step has %d columns", desc->natts);
	deconstruct_array(array, ARR_ELEMTYPE(array), -1, false, TYPALIGN_DOUBLE, &elements, NULL, &count);
	*steps = palloc(count * sizeof(Step));
	for (int i = 0; i < count; i++)
	{
		HeapTupleHeader header = DatumGetHeapTupleHeader(elements[i]);
		HeapTupleData tuple = {.t_len = HeapTupleHeaderGetDatumLength(header), .t_data = header};

		heap_deform_tuple(&tuple, desc, (*steps)[i].values, (*steps)[i].nulls);
	}
	ReleaseTupleDesc(desc);
	qsort(*steps, count, sizeof(Step), by_txid);
	return count;
}

static void
set_or_null(PayoutRow *row, PayoutColumn column, const Step *step, int value)
{
	if (step->nulls[value])
		payout_row_set_null(row, column);
	else
		payout_row_set(row, column, step->values[value]);
}

static void
set_unless_null(PayoutRow *row, PayoutColumn column, const Step *step, int value)
{
	if (!step->nulls[value])
		payout_row_set(row, column, step->values[value]);
}

static void
fill(PayoutRow *row, const Step *step)
{
	bool asked = !step->nulls[STEP_ASKED] && DatumGetBool(step->values[STEP_ASKED]);
	int32 tries = DatumGetInt32(payout_row_get(row, STATUS_TRIES));

	payout_row_set(row, STATE, step->values[STEP_TO_STATE]);
	set_or_null(row, REASON, step, STEP_REASON);
	set_unless_null(row, BATCH_ID, step, STEP_BATCH_ID);
	set_unless_null(row, BANK_REFERENCE_NO, step, STEP_BANK_REFERENCE_NO);
	set_unless_null(row, RESPONSE_CODE, step, STEP_RESPONSE_CODE);
	if (asked)
		payout_row_set(row, STATUS_CHECKED_AT, TimestampTzGetDatum(GetCurrentTimestamp()));
	payout_row_set(row, STATUS_TRIES, Int32GetDatum(asked ? tries + 1 : 0));
	payout_row_set(row, NOT_FOUND, Int32GetDatum(0));
	payout_row_set_null(row, DISPATCH_DUE_AT);
	set_or_null(row, STATUS_DUE_AT, step, STEP_STATUS_DUE_AT);
}

/* False when the payout is not in that state any more. */
static bool
move(const Step *step)
{
	TupleDesc desc;
	HeapTuple old = row_lock("payout", "payout_pkey", 2, &step->values[STEP_MERCHANT_ID], &desc);
	PayoutRow row;

	if (old == NULL)
		return false;
	payout_row_read(&row, desc, old);
	if (!payout_row_is(&row, KIND, "disbursement") ||
		!payout_row_is(&row, STATE, TextDatumGetCString(step->values[STEP_FROM_STATE])))
		return false;
	fill(&row, step);
	row_update("payout", old, PAYOUT_COLUMN_COUNT, row.values, row.nulls, row.replaced);
	return true;
}

/* move_set(steps): see move_set.sql. */
Datum
payout_move_set(PG_FUNCTION_ARGS)
{
	MemoryContext each = AllocSetContextCreate(CurrentMemoryContext, "payout step", ALLOCSET_DEFAULT_SIZES);
	MemoryContext outer;
	Step *steps;
	int count = read_steps(PG_GETARG_ARRAYTYPE_P(0), &steps);
	int32 moved = 0;

	outer = MemoryContextSwitchTo(each);
	for (int i = 0; i < count; i++)
	{
		CHECK_FOR_INTERRUPTS();
		if (move(&steps[i]))
			moved++;
		MemoryContextReset(each);
	}
	MemoryContextSwitchTo(outer);
	MemoryContextDelete(each);
	PG_RETURN_INT32(moved);
}
