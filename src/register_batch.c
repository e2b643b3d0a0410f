/*
 * register_batch.c: many registrations at once. The plain ones (register.c) are written as one set, without a statement:
 * each table gets its rows page by page, in the order of their reference numbers. So sessions with the same numbers cannot
 * wait for each other in a circle.
 *
 * Whatever is not plain, not new, or not within the rules goes through payout.register_item, as does the second of two
 * items with one reference number. Should another session write one of our numbers between the look for it and the
 * writing, nothing of the set is kept and all its items go that way. sql/batch_singly.sql holds both ways against each other.
 */
#include "postgres.h"

#include "access/detoast.h"
#include "access/xact.h"
#include "argument.h"
#include "batch.h"
#include "batch_item.h"
#include "catalog/pg_type.h"
#include "clock.h"
#include "compat.h"
#include "content.h"
#include "history.h"
#include "miscadmin.h"
#include "payout_row.h"
#include "policy.h"
#include "row.h"
#include "row_set.h"
#include "tcop/utility.h"
#include "utils/builtins.h"
#include "utils/resowner.h"

#define FILL_PERCENT 47 /* a next version is a little longer */

/* The routes that were asked for in this call. */
typedef struct KnownRoute
{
	Datum bank_code;
	Route route;
} KnownRoute;

typedef struct Routes
{
	KnownRoute *known;
	int count;
	int room;
} Routes;

static const Route *
find_route(Routes *routes, Datum bank_code)
{
	KnownRoute *new;

	for (int i = 0; i < routes->count; i++)
		if (argument_compare(routes->known[i].bank_code, bank_code) == 0)
			return &routes->known[i].route;
	if (routes->count == routes->room)
	{
		routes->room = routes->room * 2 + 8;
		routes->known = routes->known == NULL ? palloc(routes->room * sizeof(KnownRoute))
											  : repalloc(routes->known, routes->room * sizeof(KnownRoute));
	}
	new = &routes->known[routes->count];
	new->bank_code = bank_code;
	if (!register_find_route(bank_code, &new->route))
		return NULL;
	routes->count++;
	return &new->route;
}

static int
by_reference(const void *a, const void *b)
{
	const BatchItem *left = *(BatchItem *const *) a;
	const BatchItem *right = *(BatchItem *const *) b;
	int order = argument_compare(left->wanted.reference_no, right->wanted.reference_no);

	return order != 0 ? order : left->ordinal - right->ordinal;
}

/* The items with a reference number in its order; of two with the same, the second is not plain. */
static int
sort_items(BatchItem *items, int count, BatchItem **sorted)
{
	int found = 0;

	for (int i = 0; i < count; i++)
		if (items[i].wanted.reference_no != (Datum) 0)
			sorted[found++] = &items[i];
	qsort(sorted, found, sizeof(BatchItem *), by_reference);
	for (int i = 1; i < found; i++)
		if (argument_compare(sorted[i - 1]->wanted.reference_no, sorted[i]->wanted.reference_no) == 0)
			sorted[i]->is_plain = false;
	return found;
}

/* Keeps of the sorted items those that are plain. */
static int
keep_plain(BatchItem **sorted, int count)
{
	int kept = 0;

	for (int i = 0; i < count; i++)
		if (sorted[i]->is_plain)
			sorted[kept++] = sorted[i];
	return kept;
}

/* Items whose reference number is known, or is being written, go singly. */
static int
leave_known(BatchItem **sorted, int count)
{
	Datum *keys = palloc(Max(count, 1) * 2 * sizeof(Datum));
	bool *known = palloc(Max(count, 1) * sizeof(bool));

	for (int i = 0; i < count; i++)
	{
		keys[2 * i] = sorted[i]->wanted.merchant_id;
		keys[2 * i + 1] = sorted[i]->wanted.reference_no;
	}
	row_set_look("payout", "payout_merchant_id_reference_no_key", 2, count, keys, known);
	for (int i = 0; i < count; i++)
		if (known[i])
			sorted[i]->is_plain = false;
	return keep_plain(sorted, count);
}

/* Makes the rows of the items; each item keeps its TXID. */
static void
make_rows(BatchItem **sorted, int count, Datum *txids, Routes *routes, RowSet *payouts, RowSet *events)
{
	MemoryContext outer = CurrentMemoryContext;
	MemoryContext each = AllocSetContextCreate(outer, "payout item", ALLOCSET_DEFAULT_SIZES);
	TimestampTz now = payout_now();
	Datum *salts = palloc(count * sizeof(Datum));
	PayoutRow common;
	PayoutRow row;
	HistoryRow history;

	payout_row_init(&common, payouts->desc);
	register_fill_common(&common);
	content_salts(count, salts);
	for (int i = 0; i < count; i++)
	{
		const Registration *wanted = &sorted[i]->wanted;
		const Route *route = find_route(routes, wanted->bank_code);

		row = common;
		register_fill(&row, wanted, route, salts[i], now);
		txids[sorted[i]->ordinal - 1] = payout_row_get(&row, TXID);
		MemoryContextSwitchTo(each);
		history_make_first(&history, &row);
		row_set_add(payouts, row.values, row.nulls);
		row_set_add(events, history.values, history.nulls);
		MemoryContextSwitchTo(outer);
		MemoryContextReset(each);
	}
	MemoryContextDelete(each);
}

/* False when a key of them is taken after all; nothing was written then. */
static pg_noinline bool
write_rows(const RowSet *payouts, const RowSet *events)
{
	MemoryContext outer = CurrentMemoryContext;
	ResourceOwner owner = CurrentResourceOwner;
	bool volatile written = true;

	BeginInternalSubTransaction(NULL);
	MemoryContextSwitchTo(outer);
	PG_TRY();
	{
		row_set_insert(payouts);
		row_set_insert(events);
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

/* Registers what is plain; the TXIDs of those items, 0 for the others. */
static void
register_set(BatchItem *items, int count, const Policy *policy, Datum *txids)
{
	BatchItem **sorted = palloc(Max(count, 1) * sizeof(BatchItem *));
	int found = sort_items(items, count, sorted);
	Routes routes = {NULL, 0, 0};
	RowSet payouts;
	RowSet events;

	for (int i = 0; i < found; i++)
		sorted[i]->is_plain = sorted[i]->is_plain &&
							  policy_allows(policy, "online", sorted[i]->wanted.amount) &&
							  find_route(&routes, sorted[i]->wanted.bank_code) != NULL;
	found = leave_known(sorted, keep_plain(sorted, found));
	/* Where others have a word in a payout's content, its digest is taken of what they made of it, as register does. */
	if (found == 0 || !row_is_as_made("payout", PAYOUT_COLUMN_COUNT))
		return;
	row_set_init(&payouts, "payout", PAYOUT_COLUMN_COUNT);
	payouts.fill_percent = FILL_PERCENT;
	row_set_init(&events, "payout_event", HISTORY_COLUMNS);
	make_rows(sorted, found, txids, &routes, &payouts, &events);
	if (!write_rows(&payouts, &events))
		memset(txids, 0, count * sizeof(Datum));
}

static void
answer_items(BatchAnswer *answer, Datum merchant_id, const BatchItem *items, int count, const Datum *txids)
{
	static SPIPlanPtr plan = NULL;
	Oid types[] = {TEXTOID, INT4OID, JSONBOID};
	Datum state = CStringGetTextDatum("registered");

	SPI_connect();
	for (int i = 0; i < count; i++)
	{
		if (txids[i] != (Datum) 0)
		{
			Datum row[] = {Int32GetDatum(items[i].ordinal), txids[i], state, (Datum) 0, (Datum) 0};
			bool nulls[] = {false, false, false, true, true};

			batch_answer(answer, row, nulls);
		}
		else
		{
			Datum values[] = {merchant_id, Int32GetDatum(items[i].ordinal),
							  JsonbPGetDatum(JsonbValueToJsonb(unconstify(JsonbValue *, &items[i].value)))};

			batch_answer_singly(answer, &plan, "select * from payout.register_item($1, $2, $3)",
								lengthof(values), types, values, NULL);
			pfree(DatumGetPointer(values[2]));
		}
	}
	SPI_finish();
}

bool
register_batch_at_once(FunctionCallInfo fcinfo, Datum *result)
{
	Jsonb *array;
	Policy policy;
	BatchItem *items;
	Datum *txids;
	int count;
	BatchAnswer answer;

	if (PG_ARGISNULL(0) || PG_ARGISNULL(1) || toast_raw_datum_size(PG_GETARG_DATUM(1)) > BATCH_BYTES_MAX)
		return false;
	array = PG_GETARG_JSONB_P(1);
	policy_read(PG_GETARG_DATUM(0), &policy);
	if (!JB_ROOT_IS_ARRAY(array) || JB_ROOT_IS_SCALAR(array) || JB_ROOT_COUNT(array) > BATCH_ITEMS_MAX ||
		!policy.is_active)
		return false;
	PreventCommandIfReadOnly("INSERT");
	items = batch_items_read(PG_GETARG_DATUM(0), array, &count);
	txids = palloc0(Max(count, 1) * sizeof(Datum));
	register_set(items, count, &policy, txids);
	batch_answer_begin(&answer, fcinfo);
	answer_items(&answer, PG_GETARG_DATUM(0), items, count, txids);
	*result = (Datum) 0;
	return true;
}
