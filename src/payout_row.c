/*
 * payout_row.c: where the columns of payout.payout stand. They are found by their names, once for each form of the table
 * that a session meets.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "argument.h"
#include "compat.h"
#include "executor/spi.h"
#include "funcapi.h"
#include "payout_row.h"
#include "utils/builtins.h"
#include "utils/datum.h"
#include "utils/typcache.h"

static const char *const column_names[PAYOUT_COLUMN_COUNT] = {"merchant_id",
															  "txid",
															  "kind",
															  "reference_no",
															  "method",
															  "amount",
															  "currency",
															  "channel_id",
															  "bank_code",
															  "wire_code",
															  "source_account_no",
															  "account_no",
															  "beneficiary_name",
															  "beneficiary_phone",
															  "description",
															  "options",
															  "scheduled_at",
															  "registered_at",
															  "content_salt",
															  "state",
															  "fee",
															  "approved_at",
															  "final_at",
															  "disputed_at",
															  "events",
															  "approvals",
															  "reason",
															  "account_check",
															  "account_name",
															  "check_deadline_at",
															  "check_tries",
															  "check_epoch",
															  "batch_id",
															  "bank_reference_no",
															  "response_code",
															  "status_checked_at",
															  "status_tries",
															  "not_found",
															  "cvs_code",
															  "cvs_reference",
															  "doubted_at",
															  "check_due_at",
															  "dispatch_due_at",
															  "release_due_at",
															  "status_due_at",
															  "expire_due_at"};

static int place[PAYOUT_COLUMN_COUNT]; /* from 0 */
static Oid placed_type = InvalidOid;

static void
find_places(TupleDesc desc)
{
	if (placed_type == desc->tdtypeid)
		return;
	if (desc->natts > PAYOUT_COLUMNS_MAX)
		elog(ERROR, "payout.payout has too many columns");
	for (int i = 0; i < PAYOUT_COLUMN_COUNT; i++)
	{
		int number = SPI_fnumber(desc, column_names[i]);

		if (number <= 0)
			elog(ERROR, "payout.payout has no column %s", column_names[i]);
		place[i] = number - 1;
	}
	placed_type = desc->tdtypeid;
}

void
payout_row_init(PayoutRow *row, TupleDesc desc)
{
	find_places(desc);
	row->desc = desc;
	memset(row->nulls, true, sizeof(row->nulls));
	memset(row->replaced, false, sizeof(row->replaced));
}

void
payout_row_read(PayoutRow *row, TupleDesc desc, HeapTuple tuple)
{
	payout_row_init(row, desc);
	heap_deform_tuple(tuple, desc, row->values, row->nulls);
}

void
payout_row_read_value(PayoutRow *row, Datum value)
{
	HeapTupleHeader header = DatumGetHeapTupleHeader(value);
	TupleDesc desc =
		lookup_rowtype_tupdesc(HeapTupleHeaderGetTypeId(header), HeapTupleHeaderGetTypMod(header));
	HeapTupleData tuple = {
		.t_len = HeapTupleHeaderGetDatumLength(header), .t_tableOid = InvalidOid, .t_data = header};

	ItemPointerSetInvalid(&tuple.t_self);
	payout_row_read(row, desc, &tuple);
}

int32
payout_row_peek(HeapTuple tuple, TupleDesc desc, PayoutColumn column)
{
	bool isnull;

	find_places(desc);
	return DatumGetInt32(heap_getattr(tuple, place[column] + 1, desc, &isnull));
}

Datum
payout_row_get(const PayoutRow *row, PayoutColumn column)
{
	return row->values[place[column]];
}

Oid
payout_row_type(const PayoutRow *row, PayoutColumn column)
{
	return TupleDescAttr(row->desc, place[column])->atttypid;
}

bool
payout_row_is_null(const PayoutRow *row, PayoutColumn column)
{
	return row->nulls[place[column]];
}

char *
payout_row_text(const PayoutRow *row, PayoutColumn column)
{
	return payout_row_is_null(row, column) ? NULL : TextDatumGetCString(payout_row_get(row, column));
}

bool
payout_row_is(const PayoutRow *row, PayoutColumn column, const char *word)
{
	return !payout_row_is_null(row, column) && argument_is(payout_row_get(row, column), word);
}

bool
payout_row_same(const PayoutRow *a, const PayoutRow *b, PayoutColumn column)
{
	int i = place[column];
	Form_pg_attribute attribute = TupleDescAttr(a->desc, i);

	if (a->nulls[i] || b->nulls[i])
		return a->nulls[i] == b->nulls[i];
	return datum_image_eq(a->values[i], b->values[i], attribute->attbyval, attribute->attlen);
}

void
payout_row_set(PayoutRow *row, PayoutColumn column, Datum value)
{
	int i = place[column];

	row->values[i] = value;
	row->nulls[i] = false;
	row->replaced[i] = true;
}

void
payout_row_set_text(PayoutRow *row, PayoutColumn column, const char *value)
{
	payout_row_set(row, column, CStringGetTextDatum(value));
}

void
payout_row_set_null(PayoutRow *row, PayoutColumn column)
{
	int i = place[column];

	row->values[i] = (Datum) 0;
	row->nulls[i] = true;
	row->replaced[i] = true;
}

Datum
payout_row_answer(PayoutRow *row)
{
	payout_row_set_null(row, SOURCE_ACCOUNT_NO);
	payout_row_set_null(row, CONTENT_SALT);
	return HeapTupleGetDatum(heap_form_tuple(row->desc, row->values, row->nulls));
}
