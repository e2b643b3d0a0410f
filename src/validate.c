/*
 * validate.c: lane validate, the worker's half: account inquiries (SNAP services 15 and 16); and whether names of this
 * database can be read as letters.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "fmgr.h"
#include "lane.h"
#include "mb/pg_wchar.h"

PG_FUNCTION_INFO_V1(payout_knows_letters);

static void
claim(BankChannel *channel, int slots, dlist_head *claimed)
{
	static SPIPlanPtr plan = NULL;
	uint64 rows = lane_claim(&plan, "select * from payout.claim_validate($1, $2)", channel, slots);

	for (uint64 row = 0; row < rows; row++)
	{
		Exchange *exchange = exchange_new(LANE_VALIDATE, channel);
		MemoryContext old = MemoryContextSwitchTo(exchange->context);
		BankItem *item = palloc0(sizeof(BankItem));

		dlist_push_tail(claimed, &exchange->node);
		item->merchant_id = lane_column(row, 2);
		item->txid = lane_column(row, 3);
		item->wire_code = lane_column(row, 5);
		item->account_no = lane_column(row, 6);
		exchange->order.call = CALL_ACCOUNT_CHECK;
		exchange->order.service = atoi(lane_column(row, 4));
		exchange->order.items = item;
		exchange->order.item_count = 1;
		exchange->salt = lane_bytes(row, 7);
		lane_write(exchange);
		MemoryContextSwitchTo(old);
	}
}

static void
record(Exchange **exchanges, int count, const pg_uuid_t *incarnation_id)
{
	static SPIPlanPtr plan = NULL;
	BankRecord record;
	int name;

	bank_record_begin(&record, exchanges, count);
	name = columns_add(&record.columns, TEXTOID);
	for (int i = 0; i < count; i++)
		columns_set_text(&record.columns, name, i, record.answers[i].account_name);
	columns_run(&record.columns, &plan, "record_checks", incarnation_id);
}

const LaneWork validate_lane = {
	.name = "validate",
	.lane = LANE_VALIDATE,
	.claim = claim,
	.record = record,
};

/* knows_letters(): whether ICU is there and knows this database's encoding. */
Datum
payout_knows_letters(PG_FUNCTION_ARGS)
{
#ifdef USE_ICU
	PG_RETURN_BOOL(is_encoding_supported_by_icu(GetDatabaseEncoding()));
#else
	PG_RETURN_BOOL(false);
#endif
}
