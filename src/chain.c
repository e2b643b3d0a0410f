/*
 * chain.c: the head of a chain of rows: SHA-256 (FIPS 180-4) over the head before and the row.
 *
 * A row is written as its columns that are not null, in order: number of the column and length of its bytes, four bytes
 * each, most significant first, then the bytes. Texts are as they are, numbers and times as the server sends them in
 * binary form, JSON as its text. So a column that is added later, null in the rows that are there, changes no head.
 *
 * What is chained, and what that shows, stands in chain.sql.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "catalog/pg_type.h"
#include "chain.h"
#include "compat.h"
#include "fmgr.h"
#include "lib/stringinfo.h"
#include "libpq/pqformat.h"
#include "sha256.h"
#include "utils/builtins.h"
#include "utils/jsonb.h"
#include "utils/numeric.h"
#include "utils/typcache.h"
#include "utils/uuid.h"

PG_FUNCTION_INFO_V1(payout_chain);

/* The bytes of a column, with their number before them. */
static void
write_column(StringInfo buffer, int number, Oid type, Datum value)
{
	bytea *bytes;

	pq_sendint32(buffer, number);
	switch (type)
	{
		case TEXTOID:
		case BYTEAOID:
			bytes = DatumGetByteaPP(value);
			pq_sendint32(buffer, VARSIZE_ANY_EXHDR(bytes));
			appendBinaryStringInfo(buffer, VARDATA_ANY(bytes), VARSIZE_ANY_EXHDR(bytes));
			break;
		case JSONBOID:
			bytes = (bytea *) cstring_to_text(
				JsonbToCString(NULL, &DatumGetJsonbP(value)->root, VARSIZE(DatumGetJsonbP(value))));
			pq_sendint32(buffer, VARSIZE_ANY_EXHDR(bytes));
			appendBinaryStringInfo(buffer, VARDATA_ANY(bytes), VARSIZE_ANY_EXHDR(bytes));
			break;
		case NUMERICOID:
			bytes = DatumGetByteaPP(DirectFunctionCall1(numeric_send, value));
			pq_sendint32(buffer, VARSIZE_ANY_EXHDR(bytes));
			appendBinaryStringInfo(buffer, VARDATA_ANY(bytes), VARSIZE_ANY_EXHDR(bytes));
			break;
		case INT4OID:
			pq_sendint32(buffer, 4);
			pq_sendint32(buffer, DatumGetInt32(value));
			break;
		case TIMESTAMPTZOID:
			pq_sendint32(buffer, 8);
			pq_sendint64(buffer, DatumGetInt64(value));
			break;
		case UUIDOID:
			pq_sendint32(buffer, UUID_LEN);
			appendBinaryStringInfo(buffer, (char *) DatumGetUUIDP(value)->data, UUID_LEN);
			break;
		default:
			elog(ERROR, "columns of type %u are not chained", type);
	}
}

bytea *
chain_values(const bytea *head, int columns, const Oid *types, const Datum *values, const bool *nulls)
{
	bytea *next = palloc(VARHDRSZ + SHA256_LEN);
	StringInfoData buffer;

	initStringInfo(&buffer);
	if (head != NULL)
		appendBinaryStringInfo(&buffer, VARDATA_ANY(head), VARSIZE_ANY_EXHDR(head));
	for (int i = 0; i < columns; i++)
		if (!nulls[i])
			write_column(&buffer, i + 1, types[i], values[i]);
	SET_VARSIZE(next, VARHDRSZ + SHA256_LEN);
	sha256_salted(NULL, 0, buffer.data, buffer.len, (unsigned char *) VARDATA(next));
	pfree(buffer.data);
	return next;
}

/* The head after one more row; the one before is NULL where the chain begins. */
static bytea *
chain_row(const bytea *head, TupleDesc desc, const Datum *values, bool *nulls)
{
	Oid *types = palloc(desc->natts * sizeof(Oid));

	for (int i = 0; i < desc->natts; i++)
	{
		types[i] = TupleDescAttr(desc, i)->atttypid;
		nulls[i] = nulls[i] || TupleDescAttr(desc, i)->attisdropped;
	}
	return chain_values(head, desc->natts, types, values, nulls);
}

/* chain(head, row): the head after the row; the head is null where the chain begins. */
Datum
payout_chain(PG_FUNCTION_ARGS)
{
	HeapTupleHeader header;
	HeapTupleData tuple;
	TupleDesc desc;
	Datum *values;
	bool *nulls;
	bytea *next;

	if (PG_ARGISNULL(1))
		ereport(ERROR, (errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED), errmsg("a row to be chained is null")));
	header = PG_GETARG_HEAPTUPLEHEADER(1);
	desc = lookup_rowtype_tupdesc(HeapTupleHeaderGetTypeId(header), HeapTupleHeaderGetTypMod(header));
	values = palloc(desc->natts * sizeof(Datum));
	nulls = palloc(desc->natts * sizeof(bool));
	tuple.t_len = HeapTupleHeaderGetDatumLength(header);
	ItemPointerSetInvalid(&tuple.t_self);
	tuple.t_tableOid = InvalidOid;
	tuple.t_data = header;
	heap_deform_tuple(&tuple, desc, values, nulls);
	next = chain_row(PG_ARGISNULL(0) ? NULL : PG_GETARG_BYTEA_PP(0), desc, values, nulls);
	ReleaseTupleDesc(desc);
	PG_RETURN_BYTEA_P(next);
}
