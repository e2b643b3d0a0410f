/*
 * approve_batch.c: many approvals at once. The plain ones (approve.c) are one set: locked in the order of their TXIDs, their
 * money taken by one reservation (ledger.h), in the order given, and written without a statement; what belongs to each
 * approval is what the trigger of payout.payout does for one (move.h).
 *
 * Whatever is not plain goes through payout.approve_item, and so does everything where the merchant restricts who approves
 * or the library is not preloaded. sql/batch_singly.sql holds both ways against each other.
 *
 * What is taken from the escrow, the one delta that says so, and the transfers of the payouts that are then written are the
 * same sum, all of one transaction.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "approve.h"
#include "argument.h"
#include "batch.h"
#include "catalog/pg_type.h"
#include "clock.h"
#include "errors.h"
#include "ledger.h"
#include "miscadmin.h"
#include "move.h"
#include "payout_row.h"
#include "policy.h"
#include "row_set.h"
#include "tcop/utility.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/memutils.h"

/* One TXID of the call; those that come twice are one. */
typedef struct Candidate
{
	Datum txid;
	int first; /* place in the array, from 0 */
	HeapTuple row;
	LedgerShare share; /* LEDGER_SINGLY: it is not for the set */
} Candidate;

typedef struct Batch
{
	Datum merchant_id;
	int count; /* of the array */
	Datum *txids;
	bool *nulls;
	int candidate_count;
	Candidate *candidates; /* by TXID */
	Candidate **by_place;  /* the candidate of each place, NULL for null */
	TupleDesc desc;		   /* of payout.payout */
} Batch;

static int
by_txid(const void *a, const void *b)
{
	const Candidate *left = a;
	const Candidate *right = b;
	int order = argument_compare(left->txid, right->txid);

	return order != 0 ? order : left->first - right->first;
}

static void
find_candidates(Batch *batch)
{
	Candidate *all = palloc(Max(batch->count, 1) * sizeof(Candidate));
	Candidate *last = NULL;
	int found = 0;

	batch->by_place = palloc0(Max(batch->count, 1) * sizeof(Candidate *));
	for (int i = 0; i < batch->count; i++)
		if (!batch->nulls[i])
			all[found++] =
				(Candidate){.txid = batch->txids[i], .first = i, .share = {.result = LEDGER_SINGLY}};
	qsort(all, found, sizeof(Candidate), by_txid);
	batch->candidates = all;
	batch->candidate_count = 0;
	for (int i = 0; i < found; i++)
	{
		int place = all[i].first;

		if (last == NULL || argument_compare(last->txid, all[i].txid) != 0)
		{
			last = &all[batch->candidate_count++];
			*last = all[i];
		}
		batch->by_place[place] = last;
	}
}

static void
lock_rows(Batch *batch)
{
	Datum *keys = palloc(Max(batch->candidate_count, 1) * 2 * sizeof(Datum));
	HeapTuple *rows = palloc(Max(batch->candidate_count, 1) * sizeof(HeapTuple));

	for (int i = 0; i < batch->candidate_count; i++)
	{
		keys[2 * i] = batch->merchant_id;
		keys[2 * i + 1] = batch->candidates[i].txid;
	}
	batch->desc = row_set_lock("payout", "payout_pkey", 2, batch->candidate_count, keys, rows);
	for (int i = 0; i < batch->candidate_count; i++)
		batch->candidates[i].row = rows[i];
}

/* Takes the money of the plain ones in the order given. */
static void
take_money(Batch *batch, const Policy *policy)
{
	LedgerShare *shares = palloc(Max(batch->candidate_count, 1) * sizeof(LedgerShare));
	Candidate **takers = palloc(Max(batch->candidate_count, 1) * sizeof(Candidate *));
	int count = 0;

	for (int i = 0; i < batch->count; i++)
	{
		Candidate *candidate = batch->by_place[i];
		PayoutRow row;
		Datum amount;

		if (candidate == NULL || candidate->first != i || candidate->row == NULL)
			continue;
		payout_row_read(&row, batch->desc, candidate->row);
		if (!approve_is_plain(&row))
			continue;
		amount = payout_row_get(&row, AMOUNT);
		shares[count] = (LedgerShare){
			.amount = ledger_to_cents(amount),
			.fee = ledger_to_cents(policy_fee_of(policy, payout_row_text(&row, METHOD), amount))};
		takers[count++] = candidate;
	}
	ledger_take_set(batch->merchant_id, count, shares, policy_daily_total(policy));
	for (int i = 0; i < count; i++)
		takers[i]->share = shares[i];
}

/* Asked for once for payouts of one channel that follow each other. */
static TimestampTz
deadline_of(Datum channel_id, TimestampTz now, Datum *known_channel, TimestampTz *deadline)
{
	if (*known_channel == (Datum) 0 || argument_compare(*known_channel, channel_id) != 0)
		*deadline = approve_deadline(channel_id, now);
	*known_channel = channel_id;
	return *deadline;
}

/* Approves those whose money was taken. */
static void
write_set(const Batch *batch, const Policy *policy)
{
	MemoryContext outer = CurrentMemoryContext;
	MemoryContext each = AllocSetContextCreate(outer, "payout approval", ALLOCSET_DEFAULT_SIZES);
	HeapTuple *old = palloc(Max(batch->candidate_count, 1) * sizeof(HeapTuple));
	HeapTuple *new = palloc(Max(batch->candidate_count, 1) * sizeof(HeapTuple));
	bool replaced[PAYOUT_COLUMNS_MAX] = {false};
	TimestampTz now = payout_now();
	TimestampTz deadline = now;
	Datum channel_id = (Datum) 0;
	MoveSet set;
	int count = 0;

	move_set_init(&set, policy);
	for (int i = 0; i < batch->candidate_count; i++)
	{
		PayoutRow before;
		PayoutRow after;

		if (batch->candidates[i].share.result != LEDGER_TAKEN)
			continue;
		MemoryContextSwitchTo(each);
		payout_row_read(&before, batch->desc, batch->candidates[i].row);
		after = before;
		approve_fill(&after, now,
					 deadline_of(payout_row_get(&before, CHANNEL_ID), now, &channel_id, &deadline));
		move_set_add(&set, &before, &after);
		for (int column = 0; column < batch->desc->natts; column++)
			replaced[column] = replaced[column] || after.replaced[column];
		MemoryContextSwitchTo(outer);
		old[count] = batch->candidates[i].row;
		new[count++] = heap_form_tuple(batch->desc, after.values, after.nulls);
		MemoryContextReset(each);
	}
	MemoryContextDelete(each);
	if (count > 0)
		move_set_write(&set, count, old, new, replaced);
}

static void
answer_singly(BatchAnswer *answer, const Batch *batch, int place)
{
	static SPIPlanPtr plan = NULL;
	Oid types[] = {TEXTOID, INT4OID, TEXTOID};
	Datum values[] = {batch->merchant_id, Int32GetDatum(place + 1), batch->txids[place]};
	const char nulls[] = {' ', ' ', batch->nulls[place] ? 'n' : ' ', '\0'};

	batch_answer_singly(answer, &plan, "select * from payout.approve_item($1, $2, $3)", lengthof(values),
						types, values, nulls);
}

static void
answer_all(BatchAnswer *answer, const Batch *batch)
{
	static const char *const states[] = {
		[LEDGER_TAKEN] = "approved", [LEDGER_TOO_LITTLE] = "registered", [LEDGER_DAY_FULL] = "registered"};
	static const char *const codes[] = {
		[LEDGER_TAKEN] = NULL, [LEDGER_TOO_LITTLE] = "PY001", [LEDGER_DAY_FULL] = "PY007"};
	static const char *const messages[] = {[LEDGER_TAKEN] = NULL,
										   [LEDGER_TOO_LITTLE] = "insufficient balance",
										   [LEDGER_DAY_FULL] = "the merchant's daily total would be passed"};

	SPI_connect();
	for (int i = 0; i < batch->count; i++)
	{
		const Candidate *candidate = batch->by_place[i];
		LedgerResult result = candidate != NULL ? candidate->share.result : LEDGER_SINGLY;

		if (result == LEDGER_SINGLY)
			answer_singly(answer, batch, i);
		else
		{
			bool is_refused = result != LEDGER_TAKEN;
			Datum row[] = {Int32GetDatum(i + 1),
						   candidate->txid,
						   CStringGetTextDatum(states[result]),
						   (Datum) 0,
						   (Datum) 0,
						   is_refused ? CStringGetTextDatum(codes[result]) : (Datum) 0,
						   is_refused ? CStringGetTextDatum(messages[result]) : (Datum) 0};
			bool nulls[] = {false, false, false, true, true, !is_refused, !is_refused};

			batch_answer(answer, row, nulls);
		}
	}
	SPI_finish();
}

bool
approve_batch_at_once(FunctionCallInfo fcinfo, Datum *result)
{
	Batch batch;
	ArrayType *array;
	Policy policy;
	BatchAnswer answer;

	if (PG_ARGISNULL(0) || PG_ARGISNULL(1))
		return false;
	array = PG_GETARG_ARRAYTYPE_P(1);
	batch.merchant_id = PG_GETARG_DATUM(0);
	policy_read(batch.merchant_id, &policy);
	if (ARR_NDIM(array) > 1 || ArrayGetNItems(ARR_NDIM(array), ARR_DIMS(array)) > BATCH_ITEMS_MAX ||
		!policy.is_active || policy_is_controlled(&policy))
		return false;
	deconstruct_array(array, TEXTOID, -1, false, TYPALIGN_INT, &batch.txids, &batch.nulls, &batch.count);
	find_candidates(&batch);
	lock_rows(&batch);
	/* Again, as it may have waited: only the present rules count. */
	policy_read(batch.merchant_id, &policy);
	if (policy.is_active && !policy_is_controlled(&policy))
	{
		take_money(&batch, &policy);
		write_set(&batch, &policy);
	}
	batch_answer_begin(&answer, fcinfo);
	answer_all(&answer, &batch);
	*result = (Datum) 0;
	return true;
}
