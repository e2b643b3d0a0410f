/*
 * check.c: lane check, the worker's half: status inquiries (SNAP service 36).
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "fmgr.h"
#include "lane.h"
#include "utils/timestamp.h"

static void
claim(BankChannel *channel, int slots, dlist_head *claimed)
{
	static SPIPlanPtr plan = NULL;
	uint64 rows = lane_claim(&plan, "select * from payout.claim_check($1, $2)", channel, slots);

	for (uint64 row = 0; row < rows; row++)
	{
		Exchange *exchange = exchange_new(LANE_CHECK, channel);
		MemoryContext old = MemoryContextSwitchTo(exchange->context);
		BankItem *item = palloc0(sizeof(BankItem));
		BankOrder *order = &exchange->order;
		bool isnull;

		dlist_push_tail(claimed, &exchange->node);
		item->merchant_id = lane_column(row, 2);
		item->txid = lane_column(row, 3);
		item->amount = lane_column(row, 8);
		item->account_no = lane_column(row, 9);
		item->wire_code = lane_column(row, 10);
		order->call = CALL_STATUS;
		order->service = 36;
		order->items = item;
		order->item_count = 1;
		order->original_service = atoi(lane_column(row, 4));
		order->original_external_id = lane_column(row, 5);
		order->transaction_date =
			DatumGetTimestampTz(SPI_getbinval(SPI_tuptable->vals[row], SPI_tuptable->tupdesc, 6, &isnull));
		order->bank_reference_no = lane_column(row, 7);
		order->asked_attempt_id = lane_column(row, 12);
		order->source_account_no = lane_column(row, 13);
		order->known_external_ids = lane_column(row, 14);
		exchange->salt = lane_bytes(row, 11);
		lane_write(exchange);
		MemoryContextSwitchTo(old);
	}
}

static void
record(Exchange **exchanges, int count, const pg_uuid_t *incarnation_id)
{
	static SPIPlanPtr plan = NULL;
	BankRecord record;
	int status;
	int reference;
	int names_ours;
	int names_sending;

	bank_record_begin(&record, exchanges, count);
	status = columns_add(&record.columns, TEXTOID);
	reference = columns_add(&record.columns, TEXTOID);
	names_ours = columns_add(&record.columns, BOOLOID);
	names_sending = columns_add(&record.columns, BOOLOID);
	for (int i = 0; i < count; i++)
	{
		const BankAnswer *answer = &record.answers[i];

		columns_set_text(&record.columns, status, i, snap_status_name(answer->status));
		columns_set_text(&record.columns, reference, i, answer->reference_no);
		columns_set(&record.columns, names_ours, i, BoolGetDatum(answer->names_ours));
		columns_set(&record.columns, names_sending, i, BoolGetDatum(answer->names_sending));
	}
	columns_run(&record.columns, &plan, "record_statuses", incarnation_id);
}

const LaneWork check_lane = {
	.name = "check",
	.lane = LANE_CHECK,
	.claim = claim,
	.record = record,
};
