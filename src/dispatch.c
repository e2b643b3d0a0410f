/*
 * dispatch.c: lane dispatch, the worker's half: batches to the bank (SNAP services 17, 18, 20).
 *
 * A batch that was sent before must give the same bytes again; if it does not (say, another version writes it
 * otherwise), it is set aside for a person rather than sent as another order under the same reference.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "compat.h"
#include "fmgr.h"
#include "lane.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"

static void
read_item(uint64 row, BankItem *item)
{
	item->merchant_id = lane_column(row, 7);
	item->txid = lane_column(row, 8);
	item->wire_code = lane_column(row, 9);
	item->account_no = lane_column(row, 10);
	item->beneficiary_name = lane_column(row, 11);
	item->amount = lane_column(row, 12);
	item->description = lane_column(row, 13);
}

/* Makes one exchange of the rows from first up to end, the members of one batch, and puts it on the list. */
static Exchange *
read_batch(BankChannel *channel, uint64 first, uint64 end, dlist_head *claimed)
{
	Exchange *exchange = exchange_new(LANE_DISPATCH, channel);
	MemoryContext old = MemoryContextSwitchTo(exchange->context);
	BankOrder *order = &exchange->order;
	bool isnull;

	dlist_push_tail(claimed, &exchange->node);
	order->item_count = (int) (end - first);
	order->items = palloc0(order->item_count * sizeof(BankItem));
	for (uint64 row = first; row < end; row++)
		read_item(row, &order->items[row - first]);
	order->batch_id = lane_column(first, 2);
	order->service = atoi(lane_column(first, 3));
	order->call = order->service == 20 ? CALL_BULK : CALL_TRANSFER;
	order->source_account_no = lane_column(first, 4);
	order->transaction_date =
		DatumGetTimestampTz(SPI_getbinval(SPI_tuptable->vals[first], SPI_tuptable->tupdesc, 5, &isnull));
	exchange->salt = lane_bytes(first, 14);
	exchange->leave_before =
		DatumGetTimestampTz(SPI_getbinval(SPI_tuptable->vals[first], SPI_tuptable->tupdesc, 15, &isnull));
	if (isnull)
		exchange->leave_before = 0;
	lane_write(exchange);
	MemoryContextSwitchTo(old);
	return exchange;
}

/* Whether a batch with this digest of its first body is written as it was then. */
static bool
same_body(const Exchange *exchange, const bytea *digest)
{
	uint8 now[SHA256_LEN];

	exchange_digest(exchange, now);
	return VARSIZE_ANY_EXHDR(digest) == sizeof(now) && memcmp(VARDATA_ANY(digest), now, sizeof(now)) == 0;
}

static void
claim(BankChannel *channel, int slots, dlist_head *claimed)
{
	static SPIPlanPtr plan = NULL;
	uint64 rows = lane_claim(&plan, "select * from payout.claim_dispatch($1, $2)", channel, slots);
	uint64 first = 0;

	while (first < rows)
	{
		char *batch_id = lane_column(first, 2);
		bytea *digest = lane_bytes(first, 6);
		uint64 end = first + 1;
		Exchange *exchange;

		while (end < rows && strcmp(lane_column(end, 2), batch_id) == 0)
			end++;
		exchange = read_batch(channel, first, end, claimed);
		if (exchange->unfit == NULL && digest != NULL && !same_body(exchange, digest))
			exchange->unfit = "its order would not be the same as when it was first sent";
		first = end;
	}
}

static void
record(Exchange **exchanges, int count, const pg_uuid_t *incarnation_id)
{
	static SPIPlanPtr plan = NULL;
	BankRecord record;
	int reference;
	int wait;

	bank_record_begin(&record, exchanges, count);
	reference = columns_add(&record.columns, TEXTOID);
	wait = columns_add(&record.columns, BOOLOID);
	for (int i = 0; i < count; i++)
	{
		columns_set_text(&record.columns, reference, i, record.answers[i].reference_no);
		columns_set(&record.columns, wait, i, BoolGetDatum(record.waits[i]));
	}
	columns_run(&record.columns, &plan, "record_transfers", incarnation_id);
}

const LaneWork dispatch_lane = {
	.name = "dispatch",
	.lane = LANE_DISPATCH,
	.claim = claim,
	.record = record,
};
