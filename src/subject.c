/*
 * subject.c: whether the bank's own numbers in some answers are new. Almost all are, and then there is nothing to compare them
 * with (subject.sql).
 */
#include "postgres.h"

#include "argument.h"
#include "catalog/pg_type.h"
#include "fmgr.h"
#include "row_set.h"
#include "utils/array.h"

PG_FUNCTION_INFO_V1(payout_numbers_are_new);

static int
compare(const void *a, const void *b)
{
	return argument_compare(*(const Datum *) a, *(const Datum *) b);
}

static int
take_known(const Datum *values, const bool *nulls, int count, Datum *known)
{
	int found = 0;

	for (int i = 0; i < count; i++)
		if (!nulls[i])
			known[found++] = values[i];
	return found;
}

/* numbers_are_new(numbers): see subject.sql. What is not committed yet counts as recorded. */
Datum
payout_numbers_are_new(PG_FUNCTION_ARGS)
{
	Datum *values;
	bool *nulls;
	int count;
	Datum *numbers;
	bool *recorded;

	deconstruct_array(PG_GETARG_ARRAYTYPE_P(0), TEXTOID, -1, false, TYPALIGN_INT, &values, &nulls, &count);
	numbers = palloc(Max(count, 1) * sizeof(Datum));
	recorded = palloc(Max(count, 1) * sizeof(bool));
	count = take_known(values, nulls, count, numbers);
	qsort(numbers, count, sizeof(Datum), compare);
	for (int i = 1; i < count; i++)
		if (compare(&numbers[i - 1], &numbers[i]) == 0)
			PG_RETURN_BOOL(false);
	row_set_look("payout", "payout_bank_reference", 1, count, numbers, recorded);
	for (int i = 0; i < count; i++)
		if (recorded[i])
			PG_RETURN_BOOL(false);
	PG_RETURN_BOOL(true);
}
