/*
 * bank_bulk.c: service 20: checks a whole bulk and accepts it or refuses it as one; the payroll worker books it.
 * It must never book an item itself. Called by bank_process() under the state lock.
 */
#include "bank.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "config.h"
#include "notice.h"
#include "payroll.h"

/* How long the answer to a bulk waits behind a notice that denies an earlier sending of it. */
#define DENIAL_LEAD_MS 300

static const Field bulk_fields[] = {{"customerReference", 30, FIELD_TEXT, true},
									{"sourceAccountNo", 19, FIELD_TEXT, true},
									{"transactionDate", 25, FIELD_DATE, true},
									{"bulkObject", 0, FIELD_LIST, true},
									{"partnerBulkId", 64, FIELD_TEXT, false},
									{"currency", 3, FIELD_TEXT, false},
									{"feeType", 25, FIELD_TEXT, false},
									{"remark", 50, FIELD_TEXT, false},
									{NULL, 0, FIELD_TEXT, false}};
static const Field item_fields[] = {{"partnerReferenceNo", 64, FIELD_TEXT, true},
									{"bankCode", 11, FIELD_TEXT, true},
									{"beneficiaryAccountNo", 34, FIELD_TEXT, true},
									{"beneficiaryAccountName", 100, FIELD_TEXT, true},
									{"amount", 0, FIELD_AMOUNT, true},
									{"originatorInfos", 0, FIELD_LIST, false},
									{NULL, 0, FIELD_TEXT, false}};

static Order
order_of(const Request *request, const json_t *item)
{
	Order order;

	memset(&order, 0, sizeof(order));
	order.reference = bank_text(item, "partnerReferenceNo");
	order.account_no = bank_text(item, "beneficiaryAccountNo");
	order.account_name = bank_text(item, "beneficiaryAccountName");
	order.bank_code = bank_text(item, "bankCode");
	order.source_account_no = bank_text(request->root, "sourceAccountNo");
	order.transaction_date = bank_text(request->root, "transactionDate");
	order.external_id = request_header(request, "X-EXTERNAL-ID");
	order.service = 20;
	money_parse(bank_text(json_object_get(item, "amount"), "value"), &order.cents);
	return order;
}

/* Reads every item into orders; false after the whole bulk was refused. */
static bool
read_items(Request *request, const json_t *items, Order *orders)
{
	Hash *seen = hash_new();
	size_t i;
	json_t *item;
	bool good = true;

	json_array_foreach((json_t *) items, i, item)
	{
		char where[40];

		snprintf(where, sizeof(where), "bulkObject[%zu].", i);
		good = bank_fields(request, item, item_fields, where);
		if (!good)
			break;
		orders[i] = order_of(request, item);
		if (hash_get(seen, orders[i].reference) != NULL)
		{
			strcat(where, "partnerReferenceNo");
			answer(request, 400, 1, where, NULL);
			good = false;
			break;
		}
		hash_put(seen, orders[i].reference, seen);
	}
	hash_free(seen);
	return good;
}

static void
answer_bulk(Request *request, const Bulk *bulk)
{
	json_t *fields = json_pack("{s:s}", "bulkId", bulk->bulk_id);

	if (bulk->partner_bulk_id[0] != '\0')
		json_object_set_new(fields, "partnerBulkId", json_string(bulk->partner_bulk_id));
	answer(request, 200, 0, NULL, fields);
}

static bool
same_bulk(const Bulk *bulk, const Order *orders, int count)
{
	int i;

	if (bulk->item_count != count)
		return false;
	for (i = 0; i < count; i++)
		if (strcmp(bulk->items[i]->order.reference, orders[i].reference) != 0 ||
			!books_same(bulk->items[i], &orders[i]))
			return false;
	return true;
}

/* What the whole bulk is refused for before acceptance: other content of a known reference, no cover. */
static Refusal
bulk_refusal(const char *source_account_no, const Order *orders, int count)
{
	const int64_t *available = books_float(source_account_no);
	int64_t total = 0;
	int i;

	for (i = 0; i < count; i++)
	{
		const Entry *entry = books_remembered(orders[i].reference);

		if (entry != NULL && !books_same(entry, &orders[i]))
			return (Refusal){404, 18};
		if (entry == NULL || entry->times_paid == 0)
			total += orders[i].cents;
	}
	if (conf.source_accounts == NULL)
		return (Refusal){0, 0};
	if (available == NULL)
		return (Refusal){404, 11};
	if (conf.float_check && *available < total)
		return (Refusal){403, 14};
	return (Refusal){0, 0};
}

static void
accept_bulk(Request *request, const Order *orders, int count)
{
	const char *partner_bulk_id = bank_text(request->root, "partnerBulkId");
	const char *source_account_no = bank_text(request->root, "sourceAccountNo");
	Bulk *bulk = (partner_bulk_id[0] != '\0') ? books_bulk_find(partner_bulk_id) : NULL;
	Refusal refusal;

	if (bulk != NULL && !conf.forget_references)
	{
		if (same_bulk(bulk, orders, count))
			answer_bulk(request, bulk);
		else
			answer(request, 404, 18, NULL, NULL);
		return;
	}
	refusal = bulk_refusal(source_account_no, orders, count);
	if (refusal.http != 0)
	{
		answer(request, refusal.http, refusal.code, NULL, NULL);
		return;
	}
	bulk = books_bulk_add(partner_bulk_id, source_account_no, orders, count);
	payroll_bulk(bulk, request->fault.kind == FAULT_NOTICE_FIRST ? 0 : conf.payroll_delay_ms);
	if (request->fault.kind == FAULT_NOTICE_FIRST)
		request->waits_for = bulk;
	if (partner_bulk_id[0] != '\0' && payroll_deny_now(partner_bulk_id))
		request->fault.delay_ms += DENIAL_LEAD_MS;
	answer_bulk(request, bulk);
}

void
bank_bulk_transfer(Request *request)
{
	const json_t *items = json_object_get(request->root, "bulkObject");
	size_t count = json_array_size(items);
	Order *orders;

	if (!bank_fields(request, request->root, bulk_fields, ""))
		return;
	if (count == 0 || count > (size_t) conf.bulk_items_max)
	{
		answer(request, 400, count == 0 ? 2 : 1, "bulkObject", NULL);
		return;
	}
	orders = xmalloc(sizeof(Order) * count);
	if (read_items(request, items, orders))
		accept_bulk(request, orders, (int) count);
	free(orders);
}

/* A bank does not deny what it has in its books: such a bulk is processed, and the fault does nothing. */
bool
bank_bulk_deny(Request *request)
{
	const char *partner_bulk_id = bank_text(request->root, "partnerBulkId");
	const json_t *items = json_object_get(request->root, "bulkObject");
	char bulk_id[BULK_ID_SIZE];
	const json_t *item;
	size_t i;
	bool known = partner_bulk_id[0] == '\0' || books_bulk_find(partner_bulk_id) != NULL;

	json_array_foreach((json_t *) items, i, item) known =
		known || books_find(bank_text(item, "partnerReferenceNo")) != NULL;
	if (known)
		request->fault.kind = FAULT_NONE;
	if (known || conf.notice_base_url == NULL)
		return !known;
	books_next_bulk_id(bulk_id);
	payroll_denial(notice_denial(request->root, bulk_id, (Refusal){request->fault.http, request->fault.code}),
				   request->fault.delay_ms);
	return true;
}
