/*
 * bank.c: the bank's services except the bulk: balance, account inquiries, single transfers, status; and the field checks.
 * It must never book before every check has passed. Called by the server under the state lock.
 */
#include "bank.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "config.h"
#include "payroll.h"

static const struct
{
	const char *path;
	int service;
} services[] = {
	{"access-token/b2b", 73},		  {"balance-inquiry", 11},	  {"account-inquiry-internal", 15},
	{"account-inquiry-external", 16}, {"transfer-intrabank", 17}, {"transfer-interbank", 18},
	{"transfer-interbank-bulk", 20},  {"transfer/status", 36},
};

static const Field balance_fields[] = {{"accountNo", 16, FIELD_TEXT, true},
									   {"partnerReferenceNo", 64, FIELD_TEXT, false},
									   {NULL, 0, FIELD_TEXT, false}};
static const Field internal_fields[] = {{"beneficiaryAccountNo", 34, FIELD_TEXT, true},
										{"partnerReferenceNo", 64, FIELD_TEXT, false},
										{NULL, 0, FIELD_TEXT, false}};
static const Field external_fields[] = {{"beneficiaryBankCode", 11, FIELD_TEXT, true},
										{"beneficiaryAccountNo", 34, FIELD_TEXT, true},
										{"partnerReferenceNo", 64, FIELD_TEXT, false},
										{NULL, 0, FIELD_TEXT, false}};
static const Field intrabank_fields[] = {{"partnerReferenceNo", 64, FIELD_TEXT, true},
										 {"amount", 0, FIELD_AMOUNT, true},
										 {"beneficiaryAccountNo", 34, FIELD_TEXT, true},
										 {"sourceAccountNo", 19, FIELD_TEXT, true},
										 {"transactionDate", 25, FIELD_DATE, true},
										 {"beneficiaryEmail", 50, FIELD_TEXT, false},
										 {"currency", 3, FIELD_TEXT, false},
										 {"customerReference", 30, FIELD_TEXT, false},
										 {"feeType", 25, FIELD_TEXT, false},
										 {"remark", 50, FIELD_TEXT, false},
										 {"originatorInfos", 0, FIELD_LIST, false},
										 {NULL, 0, FIELD_TEXT, false}};
static const Field interbank_fields[] = {{"partnerReferenceNo", 64, FIELD_TEXT, true},
										 {"amount", 0, FIELD_AMOUNT, true},
										 {"beneficiaryAccountName", 100, FIELD_TEXT, true},
										 {"beneficiaryAccountNo", 34, FIELD_TEXT, true},
										 {"beneficiaryBankCode", 11, FIELD_TEXT, true},
										 {"sourceAccountNo", 19, FIELD_TEXT, true},
										 {"transactionDate", 25, FIELD_DATE, true},
										 {"beneficiaryBankName", 50, FIELD_TEXT, false},
										 {"beneficiaryAddress", 100, FIELD_TEXT, false},
										 {"beneficiaryEmail", 50, FIELD_TEXT, false},
										 {"currency", 3, FIELD_TEXT, false},
										 {"customerReference", 30, FIELD_TEXT, false},
										 {"feeType", 25, FIELD_TEXT, false},
										 {"originatorInfos", 0, FIELD_LIST, false},
										 {NULL, 0, FIELD_TEXT, false}};
static const Field status_fields[] = {{"serviceCode", 2, FIELD_TEXT, true},
									  {"originalPartnerReferenceNo", 64, FIELD_TEXT, false},
									  {"originalReferenceNo", 64, FIELD_TEXT, false},
									  {"originalExternalId", 36, FIELD_TEXT, false},
									  {"transactionDate", 25, FIELD_DATE, false},
									  {"amount", 0, FIELD_AMOUNT, false},
									  {NULL, 0, FIELD_TEXT, false}};

/* path is what follows /bank */
int
bank_service(const char *path)
{
	size_t i;

	if (strncmp(path, "/v1.0/", 6) != 0)
		return 0;
	for (i = 0; i < sizeof(services) / sizeof(services[0]); i++)
		if (strcmp(path + 6, services[i].path) == 0)
			return services[i].service;
	return 0;
}

const char *
bank_text(const json_t *object, const char *name)
{
	const char *text = json_string_value(json_object_get(object, name));

	return text == NULL ? "" : text;
}

json_t *
bank_amount(int64_t cents)
{
	char value[MONEY_TEXT_SIZE];

	money_format(value, cents);
	return json_pack("{s:s, s:s}", "value", value, "currency", "IDR");
}

static bool
is_missing(const json_t *value)
{
	return value == NULL || json_is_null(value) || (json_is_string(value) && json_string_length(value) == 0);
}

/* Lengths count characters, not bytes: names may carry accents. */
static size_t
characters(const char *text)
{
	size_t count = 0;

	for (; *text != '\0'; text++)
		count += ((unsigned char) *text & 0xC0) != 0x80;
	return count;
}

static bool
format_fits(const json_t *value, const Field *field)
{
	const char *text = json_string_value(value);
	int64_t number;

	switch (field->kind)
	{
		case FIELD_LIST:
			return json_is_array(value);
		case FIELD_AMOUNT:
			return money_parse(json_string_value(json_object_get(value, "value")), &number) &&
				   strcmp(bank_text(value, "currency"), "IDR") == 0;
		case FIELD_DATE:
			return text != NULL && strlen(text) <= field->size_max && time_parse(text, &number);
		case FIELD_TEXT:
			break;
	}
	return text != NULL && characters(text) <= field->size_max;
}

bool
bank_fields(Request *request, const json_t *object, const Field *fields, const char *where)
{
	const Field *field;
	char name[100];

	for (field = fields; field->name != NULL; field++)
	{
		if (!field->mandatory || !is_missing(json_object_get(object, field->name)))
			continue;
		snprintf(name, sizeof(name), "%s%s", where, field->name);
		answer(request, 400, 2, name, NULL);
		return false;
	}
	for (field = fields; field->name != NULL; field++)
	{
		const json_t *value = json_object_get(object, field->name);

		if (is_missing(value) || format_fits(value, field))
			continue;
		snprintf(name, sizeof(name), "%s%s", where, field->name);
		answer(request, 400, 1, name, NULL);
		return false;
	}
	return true;
}

static void
balance_inquiry(Request *request)
{
	const char *account_no = bank_text(request->root, "accountNo");
	const int64_t *available;
	json_t *fields;

	if (!bank_fields(request, request->root, balance_fields, ""))
		return;
	available = books_float(account_no);
	if (available == NULL)
	{
		answer(request, 404, 11, NULL, NULL);
		return;
	}
	fields = json_pack("{s:s, s:[{s:s, s:o, s:o, s:o, s:s}]}", "accountNo", account_no, "accountInfos",
					   "balanceType", "Cash", "amount", bank_amount(*available), "availableBalance",
					   bank_amount(*available), "ledgerBalance", bank_amount(*available), "status", "0001");
	answer(request, 200, 0, NULL, fields);
}

static void
account_inquiry(Request *request)
{
	const char *account_no = bank_text(request->root, "beneficiaryAccountNo");
	const char *name;
	Refusal refusal;
	json_t *fields;

	if (!bank_fields(request, request->root, request->service == 15 ? internal_fields : external_fields, ""))
		return;
	name = books_account_name(account_no, &refusal);
	if (name == NULL)
	{
		answer(request, refusal.http, refusal.code, NULL, NULL);
		return;
	}
	fields = json_pack("{s:s, s:s, s:s}", "beneficiaryAccountName", name, "beneficiaryAccountNo", account_no,
					   "currency", "IDR");
	if (request->service == 15)
		json_object_set_new(fields, "beneficiaryAccountStatus", json_string("active"));
	else
		json_object_set(fields, "beneficiaryBankCode", json_object_get(request->root, "beneficiaryBankCode"));
	if (bank_text(request->root, "partnerReferenceNo")[0] != '\0')
		json_object_set(fields, "partnerReferenceNo", json_object_get(request->root, "partnerReferenceNo"));
	answer(request, 200, 0, NULL, fields);
}

static void
answer_transfer(Request *request, const Entry *entry)
{
	const Order *order = &entry->order;
	json_t *fields;

	if (entry->state == ENTRY_FAILED)
	{
		answer(request, entry->http, entry->code, NULL, NULL);
		return;
	}
	fields = json_pack("{s:s, s:s, s:o, s:s, s:s, s:s}", "referenceNo", entry->reference_no,
					   "partnerReferenceNo", order->reference, "amount", bank_amount(order->cents),
					   "beneficiaryAccountNo", order->account_no, "sourceAccountNo", order->source_account_no,
					   "transactionDate", order->transaction_date);
	if (order->bank_code[0] != '\0')
		json_object_set_new(fields, "beneficiaryBankCode", json_string(order->bank_code));
	answer(request, entry->state == ENTRY_ACCEPTED ? 202 : 200, 0, NULL, fields);
}

/* The reference is known: never a second booking, whatever the answer. */
static void
repeat_transfer(Request *request, const Entry *entry, const Order *order)
{
	if (!books_same(entry, order))
		answer(request, 404, 18, NULL, NULL);
	else if (entry->times_paid > 0)
		answer(request, 409, 1, NULL, NULL);
	else
		answer_transfer(request, entry);
}

/* A refusal that says "not now" leaves no trace, so that the same reference may come again. */
static bool
is_final(Refusal refusal)
{
	return !(refusal.http == 403 && refusal.code == 14);
}

static void
transfer(Request *request)
{
	const json_t *root = request->root;
	Order order;
	Entry *entry;
	Refusal refusal;

	if (!bank_fields(request, root, request->service == 17 ? intrabank_fields : interbank_fields, ""))
		return;
	memset(&order, 0, sizeof(order));
	order.reference = bank_text(root, "partnerReferenceNo");
	order.account_no = bank_text(root, "beneficiaryAccountNo");
	order.account_name = bank_text(root, "beneficiaryAccountName");
	order.bank_code = bank_text(root, "beneficiaryBankCode");
	order.source_account_no = bank_text(root, "sourceAccountNo");
	order.transaction_date = bank_text(root, "transactionDate");
	order.external_id = request_header(request, "X-EXTERNAL-ID");
	order.service = request->service;
	money_parse(bank_text(json_object_get(root, "amount"), "value"), &order.cents);
	entry = books_remembered(order.reference);
	if (entry != NULL)
	{
		repeat_transfer(request, entry, &order);
		return;
	}
	refusal = books_refusal(&order);
	if (refusal.http != 0 && !is_final(refusal))
	{
		answer(request, refusal.http, refusal.code, NULL, NULL);
		return;
	}
	entry = books_add(&order);
	if (refusal.http != 0)
		books_fail(entry, refusal);
	else if (request->fault.kind == FAULT_PENDING)
	{
		books_accept(entry);
		payroll_single(entry, request->fault.delay_ms);
	}
	else
		books_pay(entry);
	answer_transfer(request, entry);
}

static void
status_not_found(Request *request)
{
	json_t *fields;

	if (!conf.not_found_as_07)
	{
		answer(request, 404, 1, NULL, NULL);
		return;
	}
	fields = json_pack("{s:s, s:s, s:s, s:s, s:s, s:s, s:s}", "originalPartnerReferenceNo",
					   bank_text(request->root, "originalPartnerReferenceNo"), "serviceCode",
					   bank_text(request->root, "serviceCode"), "beneficiaryAccountNo", "", "referenceNumber",
					   "", "sourceAccountNo", "", "latestTransactionStatus", "07", "transactionStatusDesc",
					   "Not Found");
	answer(request, 200, 0, NULL, fields);
}

static json_t *
status_of(const Entry *entry, const char *service_code)
{
	static const char *const codes[] = {"03", "00", "06", "04"};
	static const char *const texts[] = {"Pending", "Success", "Failed", "Refunded"};
	const Order *order = &entry->order;
	char previous[16];
	json_t *fields;

	fields = json_pack(
		"{s:s, s:s, s:s, s:s, s:s, s:o, s:s, s:s, s:s, s:s, s:s, s:s}", "originalReferenceNo",
		entry->reference_no, "originalPartnerReferenceNo", order->reference, "originalExternalId",
		order->external_id, "serviceCode", service_code, "transactionDate", order->transaction_date, "amount",
		bank_amount(order->cents), "beneficiaryAccountNo", order->account_no, "beneficiaryBankCode",
		order->bank_code, "referenceNumber", entry->reference_no, "sourceAccountNo", order->source_account_no,
		"latestTransactionStatus", codes[entry->state], "transactionStatusDesc", texts[entry->state]);
	if (entry->state == ENTRY_FAILED)
	{
		snprintf(previous, sizeof(previous), "%03d%02d%02d", entry->http % 1000, order->service % 100,
				 entry->code % 100);
		json_object_set_new(fields, "previousResponseCode", json_string(previous));
	}
	return fields;
}

static void
status_inquiry(Request *request)
{
	const json_t *root = request->root;
	const char *reference = bank_text(root, "originalPartnerReferenceNo");
	const char *number = bank_text(root, "originalReferenceNo");
	const Entry *entry = NULL;

	if (!bank_fields(request, root, status_fields, ""))
		return;
	if (reference[0] == '\0' && number[0] == '\0')
	{
		answer(request, 400, 2, "originalPartnerReferenceNo", NULL);
		return;
	}
	entry = (reference[0] != '\0') ? books_find(reference) : books_find_number(number);
	if (entry == NULL)
		status_not_found(request);
	else
		answer(request, 200, 0, NULL, status_of(entry, bank_text(root, "serviceCode")));
}

void
bank_process(Request *request)
{
	if (request->service == 0)
		answer(request, 404, 0, NULL, NULL);
	else if (strcmp(request->method, "POST") != 0)
		answer(request, 405, 0, NULL, NULL);
	else if (request->service == 73)
		bank_token(request);
	else if (!bank_authorize(request))
		return;
	else if (!json_is_object(request->root))
		answer(request, 400, 0, "body", NULL);
	else if (request->service == 11)
		balance_inquiry(request);
	else if (request->service == 15 || request->service == 16)
		account_inquiry(request);
	else if (request->service == 20)
		bank_bulk_transfer(request);
	else if (request->service == 36)
		status_inquiry(request);
	else
		transfer(request);
}
