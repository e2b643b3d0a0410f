/*
 * columns.h: the arguments of a function of SQL that writes many rows at once: an array for each column.
 * What the worker saves and records in a turn goes this way.
 */
#ifndef PAYOUT_COLUMNS_H
#define PAYOUT_COLUMNS_H

#include "executor/spi.h"
#include "utils/uuid.h"

#define COLUMNS_MAX 12

typedef struct Columns
{
	int rows;
	int count;
	Oid types[COLUMNS_MAX];
	Datum *values[COLUMNS_MAX];
	bool *nulls[COLUMNS_MAX];
} Columns;

/* Columns of these types, in the current memory context, null in every row. */
extern void columns_begin(Columns *columns, int rows, int count, const Oid *types);

/* Adds one more; its number. */
extern int columns_add(Columns *columns, Oid type);

extern void columns_set(Columns *columns, int column, int row, Datum value);
extern void columns_set_text(Columns *columns, int column, int row, const char *value); /* NULL: null */

/* Runs payout.FUNCTION(uuid, column[], ...) in the order in which the columns were added. */
extern void columns_run(const Columns *columns, SPIPlanPtr *plan, const char *function,
						const pg_uuid_t *first);

#endif /* PAYOUT_COLUMNS_H */
