/*
 * redemption.c: rows of payout.redemption, read as they are now and written by hand.
 *
 * A row with a payout is only written while that payout is locked; a row without one is written once.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/xact.h"
#include "executor/spi.h"
#include "miscadmin.h"
#include "peek.h"
#include "redemption.h"
#include "row.h"
#include "storage/lmgr.h"
#include "utils/timestamp.h"

#define JAKARTA_US (7 * USECS_PER_HOUR)

/* A column, or 0. */
#define REDEMPTION_COLUMNS 14

static Datum
value_of(const PeekRow *row, const char *column, bool *is_there)
{
	bool isnull;
	Datum value = peek_column(row, column, &isnull);

	if (is_there != NULL)
		*is_there = !isnull;
	return isnull ? (Datum) 0 : value;
}

static void
read_row(const PeekRow *row, Redemption *redemption)
{
	redemption->is_there = true;
	redemption->merchant_id = value_of(row, "merchant_id", &redemption->has_payout);
	redemption->txid = value_of(row, "txid", NULL);
	redemption->token_no = DatumGetInt32(value_of(row, "token_no", NULL));
	redemption->digest = value_of(row, "digest", NULL);
	redemption->terminal = value_of(row, "terminal", NULL);
	(void) value_of(row, "reserved_at", &redemption->is_reserved);
	redemption->reserved_until = DatumGetTimestampTz(value_of(row, "reserved_until", NULL));
	redemption->confirmed_at = DatumGetTimestampTz(value_of(row, "confirmed_at", &redemption->is_confirmed));
	redemption->confirm_state = value_of(row, "confirm_state", NULL);
	redemption->reversed_at = DatumGetTimestampTz(value_of(row, "reversed_at", &redemption->is_reversed));
	redemption->reverse_state = value_of(row, "reverse_state", NULL);
}

void
redemption_find(const Reference *reference, Redemption *redemption, TransactionId *writer)
{
	ScanKeyData keys[2];
	PeekRow row;

	memset(redemption, 0, sizeof(Redemption));
	peek_text_key(&keys[0], 1, reference->cvs_code);
	peek_text_key(&keys[1], 2, reference->cvs_reference);
	peek_row("redemption", "redemption_pkey", 2, keys, &row);
	if (row.tuple != NULL)
		read_row(&row, redemption);
	if (writer != NULL)
		*writer = row.writer;
}

static void
set_values(TupleDesc desc, int count, const RedemptionValue *given, Datum *values, bool *nulls,
		   bool *replaced)
{
	for (int i = 0; i < count; i++)
	{
		int number = SPI_fnumber(desc, given[i].column);

		if (number <= 0)
			elog(ERROR, "payout.redemption has no column %s", given[i].column);
		values[number - 1] = given[i].value;
		nulls[number - 1] = false;
		replaced[number - 1] = true;
	}
}

static bool
try_insert(const Reference *reference, int count, const RedemptionValue *given)
{
	TupleDesc desc = row_describe("redemption");
	Datum *values = palloc0(desc->natts * sizeof(Datum));
	bool *nulls = palloc(desc->natts * sizeof(bool));
	bool *replaced = palloc0(desc->natts * sizeof(bool));
	RedemptionValue key[] = {{"cvs_code", reference->cvs_code}, {"cvs_reference", reference->cvs_reference}};

	memset(nulls, true, desc->natts * sizeof(bool));
	set_values(desc, lengthof(key), key, values, nulls, replaced);
	set_values(desc, count, given, values, nulls, replaced);
	return row_insert_new("redemption", REDEMPTION_COLUMNS, values, nulls);
}

bool
redemption_insert(const Reference *reference, int count, const RedemptionValue *values,
				  Redemption *redemption)
{
	TransactionId writer;

	while (!try_insert(reference, count, values))
	{
		CHECK_FOR_INTERRUPTS();
		redemption_find(reference, redemption, &writer);
		if (redemption->is_there)
			return false;
		/* Who has it may still give it back. */
		if (TransactionIdIsValid(writer))
			XactLockTableWait(writer, NULL, NULL, XLTW_None);
	}
	return true;
}

void
redemption_update(const Reference *reference, int count, const RedemptionValue *given)
{
	Datum key[] = {reference->cvs_code, reference->cvs_reference};
	TupleDesc desc;
	HeapTuple old = row_lock("redemption", "redemption_pkey", 2, key, &desc);
	Datum *values;
	bool *nulls;
	bool *replaced;

	if (old == NULL)
		ereport(ERROR, (errcode(ERRCODE_T_R_SERIALIZATION_FAILURE),
						errmsg("could not serialize access due to concurrent update")));
	values = palloc(desc->natts * sizeof(Datum));
	nulls = palloc(desc->natts * sizeof(bool));
	replaced = palloc0(desc->natts * sizeof(bool));
	heap_deform_tuple(old, desc, values, nulls);
	set_values(desc, count, given, values, nulls, replaced);
	row_update("redemption", old, REDEMPTION_COLUMNS, values, nulls, replaced);
}

int
redemption_count_early(Datum cvs_code, TimestampTz now, int limit)
{
	TimestampTz midnight = now - (now % USECS_PER_DAY + USECS_PER_DAY + JAKARTA_US) % USECS_PER_DAY;
	ScanKeyData keys[2];

	peek_text_key(&keys[0], 1, cvs_code);
	peek_from_key(&keys[1], 2, midnight);
	return peek_count("redemption", "redemption_early", 2, keys, limit);
}
