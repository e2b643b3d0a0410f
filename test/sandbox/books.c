/*
 * books.c: the bank's transfers and the moves of money. It must never pay an entry twice and never count in anything
 * but whole cents. Called by the bank's services, the payroll worker and the control end, always under the state lock.
 */
#include "books.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "config.h"
#include "journal.h"
#include "util.h"
#include "accounts.h"

static Hash *entries;	   /* by the payer's reference: the last one */
static Hash *numbers;	   /* by the bank's number */
static Hash *bulks;		   /* by the payer's bulk id */
static Hash *bulk_ids;	   /* by the bank's bulk id */
static Hash *external_ids; /* "day|partner|id" */
static Entry *first_entry;
static Entry *last_entry;
static Bulk *first_bulk;
static Bulk *last_bulk;
static uint64_t last_number;
static bool replaying;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

void
state_lock(void)
{
	pthread_mutex_lock(&lock);
}

void
state_unlock(void)
{
	pthread_mutex_unlock(&lock);
}

void
books_init(void)
{
	entries = hash_new();
	numbers = hash_new();
	bulks = hash_new();
	bulk_ids = hash_new();
	external_ids = hash_new();
	accounts_init();
}

static void
note(const char *event, json_t *line)
{
	if (replaying)
		json_decref(line);
	else
		journal_add(event, line);
}

/* The journal line of an entry, with everything an auditor needs to see. */
static json_t *
entry_line(const Entry *entry)
{
	char amount[MONEY_TEXT_SIZE];
	char service[8];
	json_t *line;

	money_format(amount, entry->order.cents);
	snprintf(service, sizeof(service), "%02d", entry->order.service);
	line = json_pack("{s:s, s:s, s:s, s:s, s:s, s:s, s:s, s:s, s:s, s:s, s:s}", "service", service,
					 "partner_reference_no", entry->order.reference, "amount", amount, "currency", "IDR",
					 "account_no", entry->order.account_no, "account_name", entry->order.account_name,
					 "bank_code", entry->order.bank_code, "source_account_no", entry->order.source_account_no,
					 "transaction_date", entry->order.transaction_date, "external_id",
					 entry->order.external_id, "reference_no", entry->reference_no);
	if (entry->bulk != NULL)
	{
		json_object_set_new(line, "bulk_id", json_string(entry->bulk->bulk_id));
		json_object_set_new(line, "partner_bulk_id", json_string(entry->bulk->partner_bulk_id));
	}
	return line;
}

Entry *
books_find(const char *reference)
{
	Entry *last = hash_get(entries, reference);
	Entry *entry;

	for (entry = last; entry != NULL; entry = entry->older)
		if (entry->state == ENTRY_PAID)
			return entry;
	return last;
}

Entry *
books_remembered(const char *reference)
{
	return conf.forget_references ? NULL : books_find(reference);
}

Entry *
books_find_sending(const char *reference, const char *external_id)
{
	Entry *entry = hash_get(entries, reference);

	while (entry != NULL && strcmp(entry->order.external_id, external_id) != 0)
		entry = entry->older;
	return entry;
}

Entry *
books_find_number(const char *reference_no)
{
	return hash_get(numbers, reference_no);
}

Entry *
books_first(void)
{
	return first_entry;
}

/* The service is not compared beyond same bank or other bank: 18 and an item of 20 are the same transfer. */
bool
books_same(const Entry *entry, const Order *order)
{
	return entry->order.cents == order->cents && strcmp(entry->order.account_no, order->account_no) == 0 &&
		   strcmp(entry->order.bank_code, order->bank_code) == 0 &&
		   strcmp(entry->order.account_name, order->account_name) == 0 &&
		   strcmp(entry->order.source_account_no, order->source_account_no) == 0;
}

static Entry *
add_numbered(const Order *order, const char *reference_no)
{
	Entry *entry = xmalloc(sizeof(Entry));

	memset(entry, 0, sizeof(*entry));
	entry->order.reference = xstrdup(order->reference);
	entry->order.account_no = xstrdup(order->account_no);
	entry->order.account_name = xstrdup(order->account_name);
	entry->order.bank_code = xstrdup(order->bank_code);
	entry->order.source_account_no = xstrdup(order->source_account_no);
	entry->order.transaction_date = xstrdup(order->transaction_date);
	entry->order.external_id = xstrdup(order->external_id);
	entry->order.cents = order->cents;
	entry->order.service = order->service;
	snprintf(entry->reference_no, sizeof(entry->reference_no), "%s", reference_no);
	entry->older = hash_get(entries, order->reference);
	hash_put(entries, entry->order.reference, entry);
	hash_put(numbers, entry->reference_no, entry);
	if (last_entry == NULL)
		first_entry = entry;
	else
		last_entry->next = entry;
	last_entry = entry;
	return entry;
}

/* Numbers go on after a restart because every number in the journal raises last_number. */
static void
next_number(char *out, size_t size, const char *prefix)
{
	char day[16];

	day_format(day, now_ms());
	snprintf(out, size, "%s%s%012llu", prefix, day, (unsigned long long) ++last_number);
}

static void
saw_number(const char *number)
{
	size_t size = strlen(number);
	uint64_t value;

	if (size < 12)
		return;
	value = strtoull(number + size - 12, NULL, 10);
	if (value > last_number)
		last_number = value;
}

Entry *
books_add(const Order *order)
{
	char number[32];

	next_number(number, sizeof(number), "");
	return add_numbered(order, number);
}

Refusal
books_refusal(const Order *order)
{
	Refusal refusal = {0, 0};
	int64_t *available;

	if (books_account_name(order->account_no, &refusal) == NULL)
		return refusal;
	if (order->cents <= 0)
		return (Refusal){404, 13};
	if (conf.amount_max_cents > 0 && order->cents > conf.amount_max_cents)
		return (Refusal){403, 2};
	if (conf.source_accounts == NULL)
		return refusal;
	available = books_float(order->source_account_no);
	if (available == NULL)
		return (Refusal){404, 11};
	if (conf.float_check && *available < order->cents)
		return (Refusal){403, 14};
	return refusal;
}

void
books_accept(Entry *entry)
{
	entry->state = ENTRY_ACCEPTED;
	note("accepted", entry_line(entry));
}

void
books_pay(Entry *entry)
{
	int64_t *available = books_float(entry->order.source_account_no);

	if (entry->times_paid > 0 && !replaying)
		die("books: %s would be paid twice", entry->order.reference);
	if (available != NULL)
		*available -= entry->order.cents;
	entry->state = ENTRY_PAID;
	entry->times_paid++;
	note("paid", entry_line(entry));
}

void
books_fail(Entry *entry, Refusal why)
{
	json_t *line = entry_line(entry);

	entry->state = ENTRY_FAILED;
	entry->http = why.http;
	entry->code = why.code;
	json_object_set_new(line, "http", json_integer(why.http));
	json_object_set_new(line, "code", json_integer(why.code));
	note("failed", line);
}

void
books_refund(Entry *entry)
{
	int64_t *available = books_float(entry->order.source_account_no);

	if (available != NULL)
		*available += entry->order.cents;
	entry->state = ENTRY_REFUNDED;
	note("refunded", entry_line(entry));
}

Bulk *
books_bulk_find(const char *partner_bulk_id)
{
	return hash_get(bulks, partner_bulk_id);
}

Bulk *
books_bulk_first(void)
{
	return first_bulk;
}

/* Entries of unpaid items become pending again: a refused item may come back in another bulk. */
static Bulk *
bulk_numbered(const char *bulk_id, const char *partner_bulk_id, const char *source_account_no,
			  const Order *orders, const char *const *item_numbers, int count)
{
	Bulk *bulk = xmalloc(sizeof(Bulk));
	int i;

	memset(bulk, 0, sizeof(*bulk));
	bulk->bulk_id = xstrdup(bulk_id);
	bulk->partner_bulk_id = xstrdup(partner_bulk_id);
	bulk->source_account_no = xstrdup(source_account_no);
	bulk->items = xmalloc(sizeof(Entry *) * (size_t) (count + 1));
	bulk->item_count = count;
	for (i = 0; i < count; i++)
	{
		Entry *entry = (item_numbers == NULL) ? books_remembered(orders[i].reference)
											  : books_find_number(item_numbers[i]);

		if (entry == NULL)
			entry =
				(item_numbers == NULL) ? books_add(&orders[i]) : add_numbered(&orders[i], item_numbers[i]);
		if (entry->state == ENTRY_FAILED)
			entry->state = ENTRY_ACCEPTED;
		if (entry->times_paid == 0)
			entry->bulk = bulk;
		bulk->items[i] = entry;
	}
	if (partner_bulk_id[0] != '\0')
		hash_put(bulks, partner_bulk_id, bulk);
	hash_put(bulk_ids, bulk_id, bulk);
	if (last_bulk == NULL)
		first_bulk = bulk;
	else
		last_bulk->next = bulk;
	last_bulk = bulk;
	return bulk;
}

void
books_next_bulk_id(char out[BULK_ID_SIZE])
{
	next_number(out, BULK_ID_SIZE, "B");
}

Bulk *
books_bulk_add(const char *partner_bulk_id, const char *source_account_no, const Order *orders, int count)
{
	char bulk_id[BULK_ID_SIZE];
	Bulk *bulk;
	json_t *items = json_array();
	int i;

	books_next_bulk_id(bulk_id);
	bulk = bulk_numbered(bulk_id, partner_bulk_id, source_account_no, orders, NULL, count);
	for (i = 0; i < count; i++)
		json_array_append_new(items, entry_line(bulk->items[i]));
	journal_add("bulk",
				json_pack("{s:s, s:s, s:s, s:s, s:o}", "service", "20", "bulk_id", bulk_id, "partner_bulk_id",
						  partner_bulk_id, "source_account_no", source_account_no, "items", items));
	return bulk;
}

void
books_bulk_booked(Bulk *bulk)
{
	bulk->booked = true;
	journal_add("bulk_booked",
				json_pack("{s:s, s:s}", "bulk_id", bulk->bulk_id, "partner_bulk_id", bulk->partner_bulk_id));
}

void
books_bulk_noticed(Bulk *bulk)
{
	bulk->noticed = true;
	journal_add("bulk_noticed",
				json_pack("{s:s, s:s}", "bulk_id", bulk->bulk_id, "partner_bulk_id", bulk->partner_bulk_id));
}

bool
books_use_external_id(const char *partner_id, const char *external_id, int service, int64_t arrived_ms)
{
	char day[16];
	char key[256];

	day_format(day, now_ms());
	snprintf(key, sizeof(key), "%s|%s|%s", day, partner_id, external_id);
	if (hash_get(external_ids, key) != NULL)
		return false;
	hash_put(external_ids, key, external_ids);
	journal_add("external_id",
				json_pack("{s:s, s:s, s:s, s:i, s:I}", "day", day, "partner_id", partner_id, "external_id",
						  external_id, "service", service, "arrived_ms", (json_int_t) arrived_ms));
	return true;
}

static const char *
line_text(const json_t *line, const char *name)
{
	const char *text = json_string_value(json_object_get(line, name));

	return text == NULL ? "" : text;
}

static Order
line_order(const json_t *line)
{
	Order order;

	memset(&order, 0, sizeof(order));
	order.reference = line_text(line, "partner_reference_no");
	order.account_no = line_text(line, "account_no");
	order.account_name = line_text(line, "account_name");
	order.bank_code = line_text(line, "bank_code");
	order.source_account_no = line_text(line, "source_account_no");
	order.transaction_date = line_text(line, "transaction_date");
	order.external_id = line_text(line, "external_id");
	order.service = atoi(line_text(line, "service"));
	if (!money_parse(line_text(line, "amount"), &order.cents))
		die("journal: bad amount of %s", order.reference);
	return order;
}

static void
replay_bulk(const json_t *line)
{
	const json_t *items = json_object_get(line, "items");
	int count = (int) json_array_size(items);
	Order *orders = xmalloc(sizeof(Order) * (size_t) (count + 1));
	const char **item_numbers = xmalloc(sizeof(char *) * (size_t) (count + 1));
	int i;

	for (i = 0; i < count; i++)
	{
		const json_t *item = json_array_get(items, (size_t) i);

		orders[i] = line_order(item);
		item_numbers[i] = line_text(item, "reference_no");
		saw_number(item_numbers[i]);
	}
	saw_number(line_text(line, "bulk_id"));
	bulk_numbered(line_text(line, "bulk_id"), line_text(line, "partner_bulk_id"),
				  line_text(line, "source_account_no"), orders, item_numbers, count);
	free(orders);
	free(item_numbers);
}

static Bulk *
replay_find_bulk(const char *bulk_id)
{
	Bulk *bulk = hash_get(bulk_ids, bulk_id);

	if (bulk == NULL)
		die("journal: no such bulk: %s", bulk_id);
	return bulk;
}

static void
replay_entry(const char *event, const json_t *line)
{
	Order order = line_order(line);
	/* not by the payer's reference, which may stand for several */
	Entry *entry = books_find_number(line_text(line, "reference_no"));

	if (entry == NULL)
		entry = add_numbered(&order, line_text(line, "reference_no"));
	saw_number(entry->reference_no);
	if (strcmp(event, "accepted") == 0)
		books_accept(entry);
	else if (strcmp(event, "paid") == 0)
		books_pay(entry);
	else if (strcmp(event, "refunded") == 0)
		books_refund(entry);
	else
		books_fail(entry, (Refusal){(int) json_integer_value(json_object_get(line, "http")),
									(int) json_integer_value(json_object_get(line, "code"))});
}

/* Takes one journal line back into memory; lines of other kinds are left to their owners. */
void
books_replay(const json_t *line)
{
	const char *event = line_text(line, "event");

	replaying = true;
	if (strcmp(event, "external_id") == 0)
	{
		char key[256];

		snprintf(key, sizeof(key), "%s|%s|%s", line_text(line, "day"), line_text(line, "partner_id"),
				 line_text(line, "external_id"));
		hash_put(external_ids, key, external_ids);
	}
	else if (strcmp(event, "bulk") == 0)
		replay_bulk(line);
	else if (strcmp(event, "bulk_booked") == 0)
		replay_find_bulk(line_text(line, "bulk_id"))->booked = true;
	else if (strcmp(event, "bulk_noticed") == 0)
		replay_find_bulk(line_text(line, "bulk_id"))->noticed = true;
	else if (strcmp(event, "accepted") == 0 || strcmp(event, "paid") == 0 || strcmp(event, "failed") == 0 ||
			 strcmp(event, "refunded") == 0)
		replay_entry(event, line);
	else
		accounts_replay(event, line);
	replaying = false;
}

static json_t *
entry_report(const Entry *entry)
{
	json_t *row = entry_line(entry);

	json_object_set_new(row, "count", json_integer(entry->times_paid));
	if (entry->state == ENTRY_FAILED)
	{
		json_object_set_new(row, "http", json_integer(entry->http));
		json_object_set_new(row, "code", json_integer(entry->code));
	}
	return row;
}

json_t *
books_report(bool summary_only)
{
	static const char *const names[] = {"accepted", "paid", "failed", "refunded"};
	json_t *lists[4];
	int64_t totals[4] = {0, 0, 0, 0};
	int64_t counts[4] = {0, 0, 0, 0};
	json_t *report = json_object();
	const Entry *entry;
	int i;

	for (i = 0; i < 4; i++)
		lists[i] = json_array();
	for (entry = first_entry; entry != NULL; entry = entry->next)
	{
		int times = entry->times_paid > 1 ? entry->times_paid : 1;

		totals[entry->state] += entry->order.cents * times;
		counts[entry->state] += times;
		if (!summary_only)
			json_array_append_new(lists[entry->state], entry_report(entry));
	}
	for (i = 0; i < 4; i++)
	{
		char name[32];
		char total[MONEY_TEXT_SIZE];

		if (!summary_only)
			json_object_set(report, names[i], lists[i]);
		json_decref(lists[i]);
		money_format(total, totals[i]);
		snprintf(name, sizeof(name), "%s_total", names[i]);
		json_object_set_new(report, name, json_string(total));
		snprintf(name, sizeof(name), "%s_count", names[i]);
		json_object_set_new(report, name, json_integer(counts[i]));
	}
	json_object_set_new(report, "source_accounts", accounts_report());
	return report;
}
