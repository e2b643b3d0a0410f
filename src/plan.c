/*
 * plan.c: statements of SQL that a session prepares once.
 */
#include "postgres.h"

#include "plan.h"

void
plan_prepare(SPIPlanPtr *plan, const char *sql, int count, Oid *types)
{
	SPIPlanPtr made;

	if (*plan != NULL)
		return;
	made = SPI_prepare(sql, count, types);
	if (made == NULL || SPI_keepplan(made) != 0)
		elog(ERROR, "could not prepare \"%s\": %s", sql, SPI_result_code_string(SPI_result));
	*plan = made;
}

uint64
plan_run(SPIPlanPtr *plan, const char *sql, int count, Oid *types, Datum *values, const char *nulls)
{
	int result;

	plan_prepare(plan, sql, count, types);
	result = SPI_execute_plan(*plan, values, nulls, false, 0);
	if (result < 0)
		elog(ERROR, "could not run \"%s\": %s", sql, SPI_result_code_string(result));
	return SPI_processed;
}
