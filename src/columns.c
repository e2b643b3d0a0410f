/*
 * columns.c: the arguments of a function of SQL that writes many rows at once: an array for each column.
 *
 * One statement for a turn costs what its rows cost; a statement for each row would cost several times that.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "columns.h"
#include "lib/stringinfo.h"
#include "plan.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"

void
columns_begin(Columns *columns, int rows, int count, const Oid *types)
{
	columns->rows = rows;
	columns->count = 0;
	for (int i = 0; i < count; i++)
		columns_add(columns, types[i]);
}

int
columns_add(Columns *columns, Oid type)
{
	int column = columns->count++;

	Assert(column < COLUMNS_MAX);
	columns->types[column] = type;
	columns->values[column] = palloc0(columns->rows * sizeof(Datum));
	columns->nulls[column] = palloc(columns->rows * sizeof(bool));
	memset(columns->nulls[column], true, columns->rows * sizeof(bool));
	return column;
}

void
columns_set(Columns *columns, int column, int row, Datum value)
{
	columns->values[column][row] = value;
	columns->nulls[column][row] = false;
}

void
columns_set_text(Columns *columns, int column, int row, const char *value)
{
	if (value != NULL)
		columns_set(columns, column, row, CStringGetTextDatum(value));
}

static Datum
as_array(const Columns *columns, int column)
{
	int lower_bound = 1;
	int rows = columns->rows;
	int16 length;
	bool by_value;
	char align;

	get_typlenbyvalalign(columns->types[column], &length, &by_value, &align);
	return PointerGetDatum(construct_md_array(columns->values[column], columns->nulls[column], 1, &rows,
											  &lower_bound, columns->types[column], length, by_value, align));
}

static void
prepare(const Columns *columns, SPIPlanPtr *plan, const char *function)
{
	Oid types[COLUMNS_MAX + 1] = {UUIDOID};
	StringInfoData sql;

	initStringInfo(&sql);
	appendStringInfo(&sql, "select payout.%s($1", function);
	for (int i = 0; i < columns->count; i++)
	{
		appendStringInfo(&sql, ", $%d", i + 2);
		types[i + 1] = get_array_type(columns->types[i]);
	}
	appendStringInfoChar(&sql, ')');
	plan_prepare(plan, sql.data, columns->count + 1, types);
}

void
columns_run(const Columns *columns, SPIPlanPtr *plan, const char *function, const pg_uuid_t *first)
{
	Datum values[COLUMNS_MAX + 1] = {UUIDPGetDatum(first)};

	for (int i = 0; i < columns->count; i++)
		values[i + 1] = as_array(columns, i);
	if (*plan == NULL)
		prepare(columns, plan, function);
	if (SPI_execute_plan(*plan, values, NULL, false, 0) != SPI_OK_SELECT)
		elog(ERROR, "payout.%s failed", function);
}
