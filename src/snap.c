/*
 * snap.c: the bank protocol SNAP BI, outbound: what is sent for each order, how it is signed, and what answers mean.
 *
 * Fields, lengths and codes: SNAP data and security standard v1.0.2 (ASPI): services 73, 15, 16, 17, 18, 20, 36.
 * A body is written once, as compact JSON in UTF-8; the same bytes are digested, signed and sent. Answers are hostile
 * input: whatever cannot be trusted becomes class "unknown".
 *
 * An answer belongs to its question. The service in its response code must be the one that was asked, and whatever else it
 * names of its question must be the same (snap_subject.c): success, refusal, "not found" or any state. One that does not fit
 * makes the answer "unknown", whatever it says, and the excerpt names it. So is an answer of which one member contradicts
 * another (snap_words.c).
 *
 * What an answer must name, by service:
 *
 *	15, 16	a success the account, which the standard makes mandatory; a refusal nothing
 *	17, 18	nothing, neither success nor refusal: the reference is optional there, and refusals often have nothing but code and
 *			message. What ties such an answer to its order are the service and the connection, whose framing must leave no
 *			doubt where an answer begins and ends (http_transfer.c). One whose number of the bank is known for another payout
 *			is in doubt (subject.sql)
 *	20		nothing
 *	36		that it failed, was cancelled or refunded: what it denies; and where the bank has received several sendings,
 *			which of them (sending.sql). That it is paid or being paid, or not found: nothing. The bank's number is kept
 *			only from an answer that also names something of ours
 */
#include "postgres.h"

#include "clock.h"
#include "crash_point.h"
#include "exchange.h"
#include "json_read.h"
#include "lib/stringinfo.h"
#include "mb/pg_wchar.h"
#include "protocol.h"
#include "snap_subject.h"
#include "snap_words.h"
#include "utf8.h"
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

/* A body that is being written, and what was first found that does not fit into it. */
typedef struct Body
{
	StringInfoData json;
	const char *unfit; /* NULL: nothing */
} Body;

/*
 * ,"name":"value". Nothing is cut to the field's length_max characters: the bank would be told something else than what was
 * registered. What the registration and the options let pass fits (register.sql, schema.sql).
 */
static void
put(Body *body, const char *name, const char *value, int length_max)
{
	int length = value != NULL ? pg_mbstrlen_with_len(value, (int) strlen(value)) : 0;

	if (value == NULL || length > length_max)
	{
		if (body->unfit == NULL)
			body->unfit = value == NULL ? psprintf("nothing is known for the bank's field %s", name)
										: psprintf("%d characters do not fit into the bank's field %s of %d",
												   length, name, length_max);
		return;
	}
	if (body->json.data[body->json.len - 1] != '{')
		appendStringInfoChar(&body->json, ',');
	escape_json(&body->json, name);
	appendStringInfoChar(&body->json, ':');
	escape_json(&body->json, value);
}

/* The same for what there need not be. */
static void
put_if_any(Body *body, const char *name, const char *value, int length_max)
{
	if (value != NULL)
		put(body, name, value, length_max);
}

static void
put_amount(Body *body, const char *amount)
{
	appendStringInfo(&body->json, ",\"amount\":{\"value\":\"%s\",\"currency\":\"IDR\"}", amount);
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

/*
 * A bulk's customerReference, 30 characters: the first 30 of the 32 digits of its id, moment and random bits. The bulk is
 * known by its partnerBulkId, which is the whole id; nobody looks for it by this one.
 */
static char *
customer_reference(const char *batch_id)
{
	char *reference = palloc0(31);
	int len = 0;

	for (const char *c = batch_id; *c != '\0' && len < 30; c++)
		if (*c != '-')
			reference[len++] = *c;
	return reference;
}

static void
write_bulk(Body *body, const BankOrder *order)
{
	put(body, "partnerBulkId", order->batch_id, 64);
	put(body, "currency", "IDR", 3);
	put(body, "customerReference", customer_reference(order->batch_id), 30);
	put(body, "sourceAccountNo", order->source_account_no, 19);
	put(body, "transactionDate", snap_moment(order->transaction_date, false), 25);
	appendStringInfoString(&body->json, ",\"bulkObject\":[");
	for (int i = 0; i < order->item_count; i++)
	{
		const BankItem *item = &order->items[i];

		appendStringInfoString(&body->json, i > 0 ? ",{" : "{");
		put(body, "partnerReferenceNo", reference_of(item), 64);
		put(body, "bankCode", item->wire_code, 11);
		put(body, "beneficiaryAccountNo", item->account_no, 34);
		put(body, "beneficiaryAccountName", item->beneficiary_name, 100);
		put_amount(body, item->amount);
		appendStringInfoChar(&body->json, '}');
	}
	appendStringInfoChar(&body->json, ']');
}

static void
write_transfer(Body *body, const BankOrder *order)
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
		put_if_any(body, "remark", item->description, 50);
	put(body, "sourceAccountNo", order->source_account_no, 19);
	put(body, "transactionDate", snap_moment(order->transaction_date, false), 25);
}

static void
write_status(Body *body, const BankOrder *order)
{
	char service[12];

	snprintf(service, sizeof(service), "%02d", order->original_service);
	put(body, "originalPartnerReferenceNo", order->items[0].txid, 64);
	put_if_any(body, "originalReferenceNo", order->bank_reference_no, 64);
	put_if_any(body, "originalExternalId", order->original_external_id, 32);
	put(body, "serviceCode", service, 2);
	if (order->original_external_id != NULL)
		put(body, "transactionDate", snap_moment(order->transaction_date, false), 25);
	put_amount(body, order->items[0].amount);
}

static void
write_account_check(Body *body, const BankOrder *order)
{
	put(body, "partnerReferenceNo", order->external_id, 64);
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

static const char *
snap_write(const BankChannel *channel, const BankOrder *order, BankRequest *request)
{
	Body body = {.unfit = NULL};
	int utf8_len;

	initStringInfo(&body.json);
	appendStringInfoChar(&body.json, '{');
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
	appendStringInfoChar(&body.json, '}');
	request->body = unconstify(char *, utf8_of(body.json.data, body.json.len, &utf8_len));
	set_paths(channel, order->service, request);
	if (request->body == NULL && body.unfit == NULL)
		return "it has characters that are none in UTF-8, in which banks are written to";
	return body.unfit;
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

/* The answer's response code as it stands; NULL: none. */
static const char *
code_of(int service, const Jsonb *json)
{
	char *code = json_text(json, "responseCode", NULL);

	if (code == NULL)
		return json_names(json, "responseCode", NULL) ? "" : NULL;
	if (mutation("service_digits_ignored") && strlen(code) == 7)
		return psprintf("%.3s%02d%s", code, service, code + 5);
	return code;
}

static bool
is_letter_or_digit(char c)
{
	return (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z');
}

/* A response code that may be stored: at most 7 letters and digits; else NULL. */
static char *
clean_code(const char *code)
{
	if (code == NULL || *code == '\0' || strlen(code) > 7)
		return NULL;
	for (const char *c = code; *c != '\0'; c++)
		if (!is_letter_or_digit(*c))
			return NULL;
	return pstrdup(code);
}

static SnapClass
snap_read_token(const BankChannel *channel, const HttpReply *reply, char **token, int *life_s,
				char **response_code)
{
	Jsonb *json = json_read_answer(reply->body, reply->body_len);
	char *text = json_text(json, "accessToken", NULL);
	char *life = json_text(json, "expiresIn", NULL);
	const char *code = code_of(73, json);
	SnapClass class;

	*response_code = clean_code(code);
	class = snap_class(73, channel->generic_service_code, reply->status, code);
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

static bool
is_denial(SnapStatus status)
{
	return status == SNAP_STATUS_FAILED || status == SNAP_STATUS_CANCELED || status == SNAP_STATUS_REFUNDED;
}

static void
become_unknown(BankAnswer *answer, const char *why)
{
	answer->class = SNAP_UNKNOWN;
	answer->status = SNAP_STATUS_UNKNOWN;
	answer->excerpt = unconstify(char *, why);
}

/* Of another sending than was asked for it is word that the payout is paid or being paid, and no word on the one asked for. */
static void
read_subject(const BankOrder *order, const Jsonb *json, BankAnswer *answer)
{
	const SnapSubject subject = snap_subject(order, json);

	answer->names_ours = subject.names_ours && answer->status != SNAP_STATUS_NOT_FOUND;
	answer->names_sending = subject.sending == SNAP_SENDING_ASKED;
	if (subject.sending == SNAP_SENDING_OTHER && answer->status != SNAP_STATUS_PAID &&
		answer->status != SNAP_STATUS_PENDING)
		become_unknown(answer, "originalExternalId does not fit the request: it is of another sending");
	else if (is_denial(answer->status) && !subject.is_named)
		become_unknown(answer, "the answer does not name what it denies");
}

static void
read_reference(const BankOrder *order, const Jsonb *json, BankAnswer *answer)
{
	static const char *const reference_names[] = {
		[CALL_ACCOUNT_CHECK] = "referenceNo",
		[CALL_TRANSFER] = "referenceNo",
		[CALL_BULK] = "bulkId",
		[CALL_STATUS] = "originalReferenceNo",
	};
	char *reference = json_text(json, reference_names[order->call], NULL);

	if (snap_is_reference(reference))
		answer->reference_no = reference;
}

static void
read_success(const BankOrder *order, const Jsonb *json, BankAnswer *answer)
{
	read_reference(order, json, answer);
	if (order->call == CALL_STATUS && answer->class == SNAP_OK)
		answer->status = snap_status(json_text(json, "latestTransactionStatus", NULL));
	if (order->call == CALL_ACCOUNT_CHECK)
	{
		answer->account_name = snap_kept_text(json, "beneficiaryAccountName");
		if (answer->account_name == NULL)
			become_unknown(answer, "the answer has no beneficiaryAccountName");
		else if (!snap_names(json, "beneficiaryAccountNo"))
			become_unknown(answer, "the answer has no beneficiaryAccountNo");
	}
}

/* "Not found" may lead to a resend, so it is believed no more easily than a success. */
static void
snap_read(const BankChannel *channel, const BankOrder *order, const HttpReply *reply, BankAnswer *answer)
{
	const bool generic = channel->generic_service_code;
	Jsonb *json = json_read_answer(reply->body, reply->body_len);
	const char *code = code_of(order->service, json);
	const char *misfit = snap_code_fits(order->service, generic, reply->status, code)
							 ? snap_misfit(order, json)
							 : "responseCode";

	const bool is_not_found = snap_not_found(order->service, generic, reply->status, code);
	const char *contradiction;

	if (json == NULL)
		answer->excerpt = psprintf("HTTP %d with a body of %zu bytes that is no JSON we read", reply->status,
								   reply->body_len);
	else
		answer->excerpt = snap_message(json);
	answer->response_code = clean_code(code);
	answer->status = SNAP_STATUS_UNKNOWN;
	if (misfit != NULL)
	{
		answer->class = SNAP_UNKNOWN;
		answer->excerpt = psprintf("%s does not fit the request; the bank says: %s", misfit,
								   answer->excerpt != NULL ? answer->excerpt : "nothing");
		return;
	}
	answer->class = snap_class(order->service, generic, reply->status, code);
	contradiction = snap_contradiction(order, json, is_not_found, &answer->class);
	if (contradiction != NULL)
	{
		become_unknown(answer, contradiction);
		return;
	}
	if (answer->class == SNAP_UNKNOWN && answer->excerpt == NULL)
		answer->excerpt = psprintf("HTTP %d, code %s", reply->status,
								   answer->response_code != NULL ? answer->response_code : "none");
	if (is_not_found)
	{
		answer->status = SNAP_STATUS_NOT_FOUND;
		read_reference(order, json, answer);
	}
	else if (answer->class == SNAP_OK || answer->class == SNAP_WAIT)
		read_success(order, json, answer);
	if (order->call == CALL_STATUS)
		read_subject(order, json, answer);
}

const Protocol snap_protocol = {
	.name = "snap",
	.write = snap_write,
	.sign = snap_sign,
	.ask_token = snap_ask_token,
	.read_token = snap_read_token,
	.read = snap_read,
};
