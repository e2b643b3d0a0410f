/*
 * snap.c: the bank protocol SNAP BI, outbound: what is sent for each order, how it is signed, and what answers mean.
 *
 * Fields, lengths and codes: SNAP data and security standard v1.0.2 (ASPI): services 73, 15, 16, 17, 18, 20, 36.
 * A body is written once, as compact JSON in UTF-8; the same bytes are digested, signed and sent. Answers are hostile
 * input: whatever cannot be trusted becomes class "unknown".
 */
#include "postgres.h"

#include <ctype.h>

#include "clock.h"
#include "crash_point.h"
#include "exchange.h"
#include "json_read.h"
#include "lib/stringinfo.h"
#include "mb/pg_wchar.h"
#include "protocol.h"
#include "utils/builtins.h"
#include "utils/json.h"
#include "utils/timestamp.h"

#define TOKEN_LEN_MAX 2048
#define TOKEN_LIFE_S_MAX 86400

static const char *
service_path(int service)
{
	switch (service)
	{
		case 15:
			return "/account-inquiry-internal";
		case 16:
			return "/account-inquiry-external";
		case 17:
			return "/transfer-intrabank";
		case 18:
			return "/transfer-interbank";
		case 20:
			return "/transfer-interbank-bulk";
		case 36:
			return "/transfer/status";
		case 73:
			return "/access-token/b2b";
	}
	elog(ERROR, "SNAP service %d is not known", service);
}

/* ,"name":"value"; nothing when the value is NULL. Values longer than length_max characters are cut. */
static void
put(StringInfo body, const char *name, const char *value, int length_max)
{
	char *cut;

	if (value == NULL)
		return;
	if (body->data[body->len - 1] != '{')
		appendStringInfoChar(body, ',');
	cut = pnstrdup(value, pg_mbcharcliplen(value, (int) strlen(value), length_max));
	escape_json(body, name);
	appendStringInfoChar(body, ':');
	escape_json(body, cut);
	pfree(cut);
}

static void
put_amount(StringInfo body, const char *amount)
{
	appendStringInfo(body, ",\"amount\":{\"value\":\"%s\",\"currency\":\"IDR\"}", amount);
}

static char *
snap_moment(TimestampTz at, bool with_ms)
{
	int64 unix_us = at + (int64) (POSTGRES_EPOCH_JDATE - UNIX_EPOCH_JDATE) * USECS_PER_DAY;
	char *text = palloc(SNAP_TIMESTAMP_SIZE);

	if (!snap_timestamp(unix_us / USECS_PER_SEC, with_ms ? (int) (unix_us / 1000 % 1000) : -1, text,
						SNAP_TIMESTAMP_SIZE))
		elog(ERROR, "timestamp out of range");
	return text;
}

/* The key under which the bank knows a payout for ever, so that it pays no order twice. */
static const char *
reference_of(const BankItem *item)
{
	if (mutation("forget_idempotency_key"))
		return psprintf("%s%04d", item->txid, (int) (payout_unix_ms() % 10000));
	return item->txid;
}

static void
write_bulk(StringInfo body, const BankOrder *order)
{
	char *reference = palloc0(31);
	int len = 0;

	for (const char *c = order->batch_id; *c != '\0' && len < 30; c++)
		if (*c != '-')
			reference[len++] = *c;
	put(body, "partnerBulkId", order->batch_id, 64);
	put(body, "currency", "IDR", 3);
	put(body, "customerReference", reference, 30);
	put(body, "sourceAccountNo", order->source_account_no, 19);
	put(body, "transactionDate", snap_moment(order->transaction_date, false), 25);
	appendStringInfoString(body, ",\"bulkObject\":[");
	for (int i = 0; i < order->item_count; i++)
	{
		const BankItem *item = &order->items[i];

		appendStringInfoString(body, i > 0 ? ",{" : "{");
		put(body, "partnerReferenceNo", reference_of(item), 64);
		put(body, "bankCode", item->wire_code, 11);
		put(body, "beneficiaryAccountNo", item->account_no, 34);
		put(body, "beneficiaryAccountName", item->beneficiary_name, 100);
		put_amount(body, item->amount);
		appendStringInfoChar(body, '}');
	}
	appendStringInfoChar(body, ']');
}

static void
write_transfer(StringInfo body, const BankOrder *order)
{
	const BankItem *item = &order->items[0];

	put(body, "partnerReferenceNo", reference_of(item), 64);
	put_amount(body, item->amount);
	if (order->service == 18)
	{
		put(body, "beneficiaryAccountName", item->beneficiary_name, 100);
		put(body, "beneficiaryBankCode", item->wire_code, 11);
	}
	put(body, "beneficiaryAccountNo", item->account_no, 34);
	if (order->service == 17)
		put(body, "remark", item->description, 50);
	put(body, "sourceAccountNo", order->source_account_no, 19);
	put(body, "transactionDate", snap_moment(order->transaction_date, false), 25);
}

static void
write_status(StringInfo body, const BankOrder *order)
{
	char service[12];

	snprintf(service, sizeof(service), "%02d", order->original_service);
	put(body, "originalPartnerReferenceNo", order->items[0].txid, 64);
	put(body, "originalReferenceNo", order->bank_reference_no, 64);
	put(body, "originalExternalId", order->original_external_id, 32);
	put(body, "serviceCode", service, 2);
	if (order->original_external_id != NULL)
		put(body, "transactionDate", snap_moment(order->transaction_date, false), 25);
	put_amount(body, order->items[0].amount);
}

static void
write_account_check(StringInfo body, const BankOrder *order)
{
	put(body, "partnerReferenceNo", order->items[0].txid, 64);
	if (order->service == 16)
		put(body, "beneficiaryBankCode", order->items[0].wire_code, 11);
	put(body, "beneficiaryAccountNo", order->items[0].account_no, 34);
}

static void
set_paths(const BankChannel *channel, int service, BankRequest *request)
{
	const char *host = strstr(channel->base_url, "://");
	const char *base_path = host != NULL ? strchr(host + 3, '/') : NULL;

	request->path = psprintf("%s%s", channel->path_prefix, service_path(service));
	request->signed_path = channel->signed_path_prefix != NULL
							   ? psprintf("%s%s", channel->signed_path_prefix, service_path(service))
							   : psprintf("%s%s", base_path != NULL ? base_path : "", request->path);
}

static void
snap_write(const BankChannel *channel, const BankOrder *order, BankRequest *request)
{
	StringInfoData body;

	initStringInfo(&body);
	appendStringInfoChar(&body, '{');
	switch (order->call)
	{
		case CALL_ACCOUNT_CHECK:
			write_account_check(&body, order);
			break;
		case CALL_TRANSFER:
			write_transfer(&body, order);
			break;
		case CALL_BULK:
			write_bulk(&body, order);
			break;
		case CALL_STATUS:
			write_status(&body, order);
			break;
	}
	appendStringInfoChar(&body, '}');
	request->body = pg_server_to_any(body.data, body.len, PG_UTF8);
	set_paths(channel, order->service, request);
}

static List *
header(List *headers, const char *name, const char *value)
{
	return lappend(headers, psprintf("%s: %s", name, value));
}

static bool
snap_sign(const BankChannel *channel, const BankRequest *request, const char *external_id, List **headers,
		  char **error)
{
	char *stamp = snap_moment(GetCurrentTimestamp(), channel->timestamp_ms);
	char signature[SNAP_SIGNATURE_SIZE];

	if (channel->client_secret == NULL || channel->partner_id == NULL || channel->channel_header == NULL)
	{
		*error = "the channel lacks its secret client_secret, or its options partner_id or channel_header";
		return false;
	}
	if (!snap_sign_symmetric(channel->client_secret, "POST", request->signed_path, channel->token,
							 request->body, strlen(request->body), stamp, channel->encoding, signature,
							 sizeof(signature)))
	{
		*error = "the request could not be signed with the channel's client_secret";
		return false;
	}
	*headers = header(NIL, "Content-Type", "application/json");
	*headers = header(*headers, "Authorization", psprintf("Bearer %s", channel->token));
	*headers = header(*headers, "X-TIMESTAMP", stamp);
	*headers = header(*headers, "X-SIGNATURE", signature);
	*headers = header(*headers, "X-PARTNER-ID", channel->partner_id);
	*headers = header(*headers, "X-EXTERNAL-ID", external_id);
	*headers = header(*headers, "CHANNEL-ID", channel->channel_header);
	return true;
}

static bool
snap_ask_token(const BankChannel *channel, BankRequest *request, List **headers, char **error)
{
	char *stamp = snap_moment(GetCurrentTimestamp(), channel->timestamp_ms);
	char signature[SNAP_SIGNATURE_SIZE];

	if (channel->private_key == NULL || channel->client_id == NULL)
	{
		*error = "the channel lacks its secret private_key or its option client_id";
		return false;
	}
	if (!snap_sign_token(channel->private_key, channel->client_id, stamp, channel->encoding, signature,
						 sizeof(signature)))
	{
		*error = "the token request could not be signed with the channel's private_key";
		return false;
	}
	set_paths(channel, 73, request);
	request->body = "{\"grantType\":\"client_credentials\"}";
	*headers = header(NIL, "Content-Type", "application/json");
	*headers = header(*headers, "X-TIMESTAMP", stamp);
	*headers = header(*headers, "X-CLIENT-KEY", channel->client_id);
	*headers = header(*headers, "X-SIGNATURE", signature);
	return true;
}

/* A response code that may be stored: at most 7 letters and digits; else NULL. */
static char *
clean_code(char *code)
{
	if (code == NULL || strlen(code) > 7)
		return NULL;
	for (char *c = code; *c != '\0'; c++)
		if (!isalnum((unsigned char) *c))
			return NULL;
	return code;
}

static SnapClass
snap_read_token(const HttpReply *reply, char **token, int *life_s, char **response_code)
{
	Jsonb *json = json_read(reply->body, reply->body_len);
	char *text = json_text(json, "accessToken", NULL);
	char *life = json_text(json, "expiresIn", NULL);
	SnapClass class;

	*response_code = clean_code(json_text(json, "responseCode", NULL));
	class = snap_class(73, reply->status, *response_code);
	if (class != SNAP_OK)
		return class;
	if (text == NULL || *text == '\0' || strlen(text) > TOKEN_LEN_MAX)
		return SNAP_UNKNOWN;
	for (char *c = text; *c != '\0'; c++)
		if (*c <= ' ' || *c > '~')
			return SNAP_UNKNOWN;
	*token = text;
	*life_s = life != NULL ? atoi(life) : 0;
	if (*life_s <= 0 || *life_s > TOKEN_LIFE_S_MAX)
		return SNAP_UNKNOWN;
	return SNAP_OK;
}

/* An answer must not speak of something else: true when the field is missing or as expected. */
static bool
echoes(const char *got, const char *expected)
{
	return got == NULL || *got == '\0' || strcmp(got, expected) == 0;
}

/*
 * "Not found" may lead to a resend, so a code that contradicts the status line (a proxy's, a garbled answer's) is
 * not believed here either.
 */
static void
read_status(const BankOrder *order, int http_status, const Jsonb *json, BankAnswer *answer)
{
	const BankItem *item = &order->items[0];

	answer->status = SNAP_STATUS_UNKNOWN;
	if (http_status == 404 && answer->response_code != NULL && strlen(answer->response_code) == 7 &&
		strncmp(answer->response_code, "404", 3) == 0 && strcmp(answer->response_code + 5, "01") == 0)
		answer->status = SNAP_STATUS_NOT_FOUND;
	if (answer->class != SNAP_OK)
		return;
	if (echoes(json_text(json, "originalPartnerReferenceNo", NULL), item->txid) &&
		echoes(json_text(json, "amount", "value", NULL), item->amount) &&
		echoes(json_text(json, "beneficiaryAccountNo", NULL), item->account_no))
		answer->status = snap_status(json_text(json, "latestTransactionStatus", NULL));
	else
		answer->excerpt = "the answer speaks of another transfer";
	answer->reference_no = json_text(json, "originalReferenceNo", NULL);
}

/* Whether the answer names the order that was sent, as far as it names any. */
static bool
is_of(const BankOrder *order, const Jsonb *json)
{
	const char *expected = order->call == CALL_BULK ? order->batch_id : order->items[0].txid;
	const char *echoed =
		json_text(json, order->call == CALL_BULK ? "partnerBulkId" : "partnerReferenceNo", NULL);

	return echoes(echoed, expected) &&
		   (order->call != CALL_ACCOUNT_CHECK ||
			echoes(json_text(json, "beneficiaryAccountNo", NULL), order->items[0].account_no));
}

static void
read_success(const BankOrder *order, const Jsonb *json, BankAnswer *answer)
{
	answer->reference_no = json_text(json, order->call == CALL_BULK ? "bulkId" : "referenceNo", NULL);
	if (order->call == CALL_ACCOUNT_CHECK)
	{
		answer->account_name = json_text(json, "beneficiaryAccountName", NULL);
		if (answer->account_name == NULL)
			answer->class = SNAP_UNKNOWN;
	}
}

static void
snap_read(const BankChannel *channel, const BankOrder *order, const HttpReply *reply, BankAnswer *answer)
{
	Jsonb *json = json_read(reply->body, reply->body_len);

	if (json == NULL)
		answer->excerpt = psprintf("HTTP %d with a body of %zu bytes that is no JSON we read", reply->status,
								   reply->body_len);
	else
		answer->excerpt = json_text(json, "responseMessage", NULL);
	answer->response_code = clean_code(json_text(json, "responseCode", NULL));
	answer->class = snap_class(order->service, reply->status, answer->response_code);
	answer->status = SNAP_STATUS_UNKNOWN;
	if (order->call == CALL_STATUS)
		read_status(order, reply->status, json, answer);
	else if (answer->class != SNAP_UNKNOWN && !is_of(order, json))
	{
		answer->class = SNAP_UNKNOWN;
		answer->excerpt = "the answer speaks of another request";
	}
	else if (answer->class == SNAP_OK || answer->class == SNAP_WAIT)
		read_success(order, json, answer);
	if (answer->reference_no != NULL && strlen(answer->reference_no) > 64)
		answer->reference_no = NULL;
}

const Protocol snap_protocol = {
	.name = "snap",
	.write = snap_write,
	.sign = snap_sign,
	.ask_token = snap_ask_token,
	.read_token = snap_read_token,
	.read = snap_read,
};
