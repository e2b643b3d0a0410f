/*
 * row_plain.c: rows written by INSERT and UPDATE, for tables to which somebody else has added something: a trigger, a rule, row
 * security, a column, a child. What each of these means, and how long what it needs must live, is the executor's business;
 * row_target.c serves what is ours alone.
 *
 * Columns of others get their defaults: an INSERT names those of ours that are not null (no column of ours that may be null has
 * a default), an UPDATE those that change. A row that somebody's trigger, rule or policy keeps from being written is an error,
 * as the money has moved or will move as if it were written.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/table.h"
#include "access/xact.h"
#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "row.h"
#include "row_plain.h"
#include "utils/builtins.h"
#include "utils/rel.h"
#include "utils/resowner.h"

/* A statement and its parameters. */
typedef struct Statement
{
	StringInfoData sql;
	int count;
	Oid types[MaxHeapAttributeNumber];
	Datum values[MaxHeapAttributeNumber];
	char nulls[MaxHeapAttributeNumber];
} Statement;

static Statement *
begin_statement(const char *verb, const char *table)
{
	Statement *statement = palloc(sizeof(Statement));

	initStringInfo(&statement->sql);
	statement->count = 0;
	appendStringInfo(&statement->sql, "%s payout.%s as t ", verb, quote_identifier(table));
	return statement;
}

static void
add_parameter(Statement *statement, Oid type, Datum value, bool isnull)
{
	int i = statement->count++;

	statement->types[i] = type;
	statement->values[i] = value;
	statement->nulls[i] = isnull ? 'n' : ' ';
}

/* The rows that were written; SPI is connected. */
static uint64
run(Statement *statement)
{
	int result = SPI_execute_with_args(statement->sql.data, statement->count, statement->types,
									   statement->values, statement->nulls, false, 0);

	if (result < 0)
		elog(ERROR, "could not run \"%s\": %s", statement->sql.data, SPI_result_code_string(result));
	return SPI_processed;
}

static pg_attribute_noreturn() void refuse_unwritten(const char *table)
{
	ereport(ERROR,
			(errcode(ERRCODE_TRIGGERED_DATA_CHANGE_VIOLATION),
			 errmsg("a row of payout.%s was not written", table),
			 errdetail("A trigger, a rule or a policy that is not payout's kept it from being written."),
			 errhint("Remove it from payout.%s, or let it pass the row.", table)));
}

/* The table is locked by whoever calls. */
static Statement *
make_insert(const char *table, int columns, const Datum *values, const bool *nulls)
{
	Relation rel = table_open(row_relation(table), NoLock);
	TupleDesc desc = RelationGetDescr(rel);
	Statement *statement = begin_statement("insert into", table);

	for (int i = 0; i < columns; i++)
	{
		Form_pg_attribute attribute = TupleDescAttr(desc, i);

		if (nulls[i] || attribute->attisdropped)
			continue;
		appendStringInfo(&statement->sql, "%s%s", statement->count == 0 ? "(" : ", ",
						 quote_identifier(NameStr(attribute->attname)));
		add_parameter(statement, attribute->atttypid, values[i], false);
	}
	for (int i = 1; i <= statement->count; i++)
		appendStringInfo(&statement->sql, "%s$%d", i == 1 ? ") values (" : ", ", i);
	appendStringInfoChar(&statement->sql, ')');
	table_close(rel, NoLock);
	return statement;
}

void
row_plain_insert(const char *table, int columns, const Datum *values, const bool *nulls)
{
	SPI_connect();
	if (run(make_insert(table, columns, values, nulls)) != 1)
		refuse_unwritten(table);
	SPI_finish();
}

/* Inserts the row and reads it as it was written. */
static void
insert_and_read(const char *table, int columns, Datum *values, bool *nulls)
{
	MemoryContext outer = CurrentMemoryContext;
	Statement *statement;
	Relation rel;
	HeapTupleData tuple;
	Datum row;
	bool isnull;

	SPI_connect();
	statement = make_insert(table, columns, values, nulls);
	appendStringInfoString(&statement->sql, " returning t");
	if (run(statement) != 1)
		refuse_unwritten(table);
	row = SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1, &isnull);
	MemoryContextSwitchTo(outer);
	tuple.t_data = (HeapTupleHeader) PG_DETOAST_DATUM_COPY(row);
	tuple.t_len = HeapTupleHeaderGetDatumLength(tuple.t_data);
	rel = table_open(row_relation(table), NoLock);
	for (int i = 0; i < columns; i++)
		values[i] = heap_getattr(&tuple, i + 1, RelationGetDescr(rel), &nulls[i]);
	table_close(rel, NoLock);
	SPI_finish();
}

/*
 * In a subtransaction and not by ON CONFLICT, which cannot tell a taken key from a row that was kept from being written, and
 * which PostgreSQL does not allow where there is a rule.
 */
pg_noinline bool
row_plain_insert_new(const char *table, int columns, Datum *values, bool *nulls)
{
	MemoryContext outer = CurrentMemoryContext;
	ResourceOwner owner = CurrentResourceOwner;
	bool volatile written = true;

	BeginInternalSubTransaction(NULL);
	MemoryContextSwitchTo(outer);
	PG_TRY();
	{
		insert_and_read(table, columns, values, nulls);
		ReleaseCurrentSubTransaction();
		MemoryContextSwitchTo(outer);
		CurrentResourceOwner = owner;
	}
	PG_CATCH();
	{
		ErrorData *error;

		MemoryContextSwitchTo(outer);
		error = CopyErrorData();
		FlushErrorState();
		RollbackAndReleaseCurrentSubTransaction();
		MemoryContextSwitchTo(outer);
		CurrentResourceOwner = owner;
		if (error->sqlerrcode != ERRCODE_UNIQUE_VIOLATION)
			ReThrowError(error);
		FreeErrorData(error);
		written = false;
	}
	PG_END_TRY();
	return written;
}

void
row_plain_update(const char *table, HeapTuple old, int columns, const Datum *values, const bool *nulls,
				 const bool *replaced)
{
	Relation rel = table_open(row_relation(table), NoLock);
	TupleDesc desc = RelationGetDescr(rel);
	Statement *statement;

	SPI_connect();
	statement = begin_statement("update", table);
	add_parameter(statement, TIDOID, PointerGetDatum(&old->t_self), false);
	for (int i = 0; i < columns; i++)
	{
		Form_pg_attribute attribute = TupleDescAttr(desc, i);

		if (!replaced[i])
			continue;
		appendStringInfo(&statement->sql, "%s %s = $%d", statement->count == 1 ? "set" : ",",
						 quote_identifier(NameStr(attribute->attname)), statement->count + 1);
		add_parameter(statement, attribute->atttypid, values[i], nulls[i]);
	}
	table_close(rel, NoLock);
	appendStringInfoString(&statement->sql, " where t.ctid operator(pg_catalog.=) $1");
	if (run(statement) != 1)
		refuse_unwritten(table);
	SPI_finish();
}
