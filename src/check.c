/*
 * check.c: lane check, the worker's half: status inquiries (SNAP service 36).
 */
#include "postgres.h"

#include "fmgr.h"
#include "lane.h"
#include "utils/timestamp.h"

static void
claim(BankChannel *channel, int slots, dlist_head *claimed)
{
	static SPIPlanPtr plan = NULL;
	uint64 rows = lane_claim(&plan, "claim_check", channel, slots);

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
		exchange->host = pstrdup(channel->base_url);
		channel->protocol->write(channel, order, &exchange->request);
		MemoryContextSwitchTo(old);
	}
}

static void
record(Exchange *exchange, const pg_uuid_t *incarnation_id)
{
	static SPIPlanPtr plan = NULL;
	BankRecord record;

	bank_record_begin(&record, exchange, incarnation_id);
	bank_record_text(&record, snap_status_name(record.answer.status));
	bank_record_text(&record, record.answer.reference_no);
	bank_record_run(&record, &plan, "record_status");
}

const LaneWork check_lane = {
	.name = "check",
	.lane = LANE_CHECK,
	.claim = claim,
	.record = record,
};
