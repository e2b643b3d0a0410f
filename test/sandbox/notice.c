/*
 * notice.c: builds, signs and posts notice 21, with a cached token of the payer's end.
 * It must never hold the state lock while it talks. Called by the payroll threads.
 */
#include "notice.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "config.h"
#include "fault.h"
#include "payroll.h"
#include "request.h"
#include "snap.h"
#include "util.h"

#define CONNECT_TIMEOUT_MS 2000L
#define REQUEST_TIMEOUT_MS 15000L
#define REPLY_BYTES_MAX (1024 * 1024)

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static char *token;
static int64_t token_until_ms;
static uint64_t sent_count;

static size_t
take_reply(char *bytes, size_t size, size_t count, void *arg)
{
	Buffer *reply = arg;

	if (reply->size + size * count > REPLY_BYTES_MAX)
		return 0;
	buffer_add(reply, bytes, size * count);
	return size * count;
}

static int
still_wanted(void *arg, curl_off_t a, curl_off_t b, curl_off_t c, curl_off_t d)
{
	(void) arg;
	(void) a;
	(void) b;
	(void) c;
	(void) d;
	return payroll_stopping() ? 1 : 0;
}

/* Returns the HTTP status, or 0 when there was no whole answer. headers are freed. */
static long
post(CURL *curl, const char *url, struct curl_slist *headers, const char *body, Buffer *reply)
{
	long status = 0;

	curl_easy_reset(curl);
	headers = curl_slist_append(headers, "Content-Type: application/json");
	headers = curl_slist_append(headers, "Expect:");
	curl_easy_setopt(curl, CURLOPT_URL, url);
	curl_easy_setopt(curl, CURLOPT_HTTPHEADER, headers);
	curl_easy_setopt(curl, CURLOPT_POSTFIELDS, body);
	curl_easy_setopt(curl, CURLOPT_POSTFIELDSIZE, (long) strlen(body));
	curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, take_reply);
	curl_easy_setopt(curl, CURLOPT_WRITEDATA, reply);
	curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
	curl_easy_setopt(curl, CURLOPT_PROXY, "");
	curl_easy_setopt(curl, CURLOPT_CONNECTTIMEOUT_MS, CONNECT_TIMEOUT_MS);
	curl_easy_setopt(curl, CURLOPT_TIMEOUT_MS, REQUEST_TIMEOUT_MS);
	curl_easy_setopt(curl, CURLOPT_XFERINFOFUNCTION, still_wanted);
	curl_easy_setopt(curl, CURLOPT_NOPROGRESS, 0L);
	if (curl_easy_perform(curl) == CURLE_OK)
		curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, &status);
	curl_slist_free_all(headers);
	return status;
}

static struct curl_slist *
add_header(struct curl_slist *headers, const char *name, const char *value)
{
	size_t room = strlen(name) + strlen(value) + 3;
	char *line = xmalloc(room);

	snprintf(line, room, "%s: %s", name, value);
	headers = curl_slist_append(headers, line);
	free(line);
	return headers;
}

static char *
notice_url(const char *path)
{
	size_t room = strlen(conf.notice_base_url) + strlen(path) + 1;
	char *url = xmalloc(room);

	snprintf(url, room, "%s%s", conf.notice_base_url, path);
	return url;
}

/* Keeps what a token answer says; expiresIn is text by the standard and a number at some payers. */
static char *
keep_token(const char *reply)
{
	json_t *root = json_loads(reply == NULL ? "" : reply, 0, NULL);
	const char *text = json_string_value(json_object_get(root, "accessToken"));
	const json_t *life = json_object_get(root, "expiresIn");
	int64_t life_s = json_is_integer(life) ? json_integer_value(life) : 0;
	char *result = NULL;

	if (json_is_string(life))
		life_s = atoll(json_string_value(life));
	if (text != NULL)
	{
		pthread_mutex_lock(&lock);
		free(token);
		token = xstrdup(text);
		token_until_ms = now_ms() + life_s * 800;
		pthread_mutex_unlock(&lock);
		result = xstrdup(text);
	}
	json_decref(root);
	return result;
}

/* Malloc'ed token of the payer's end, or NULL. */
static char *
get_token(CURL *curl)
{
	Buffer reply = {NULL, 0, 0};
	char timestamp[TIME_TEXT_SIZE];
	struct curl_slist *headers = NULL;
	char *result = NULL;
	char *signature;
	char *url;

	pthread_mutex_lock(&lock);
	if (token != NULL && token_until_ms > now_ms())
		result = xstrdup(token);
	pthread_mutex_unlock(&lock);
	if (result != NULL)
		return result;
	time_format(timestamp, now_ms());
	signature = snap_sign_token(conf.bank_private_key, conf.client_id, timestamp, conf.signature_hex);
	headers = add_header(headers, "X-TIMESTAMP", timestamp);
	headers = add_header(headers, "X-CLIENT-KEY", conf.client_id);
	headers = add_header(headers, "X-SIGNATURE", signature);
	url = notice_url("/v1.0/access-token/b2b");
	if (post(curl, url, headers, "{\"grantType\":\"client_credentials\"}", &reply) / 100 == 2)
		result = keep_token(reply.data);
	buffer_free(&reply);
	free(signature);
	free(url);
	return result;
}

static void
drop_token(void)
{
	pthread_mutex_lock(&lock);
	token_until_ms = 0;
	pthread_mutex_unlock(&lock);
}

/* An item in the words of the notice; http and code say what became of it. */
static json_t *
item_of(const Order *order, int http, int code)
{
	char response_code[16];
	char value[MONEY_TEXT_SIZE];

	money_format(value, order->cents);
	/* the standard's own sample writes service 00 here, so a reader must not expect 20 or 21 */
	snprintf(response_code, sizeof(response_code), "%03d00%02d", http % 1000, code % 100);
	return json_pack("{s:s, s:s, s:s, s:o, s:s, s:s, s:s}", "originalPartnerReferenceNo", order->reference,
					 "responseCode", response_code, "responseMessage", answer_text(http, code), "amount",
					 json_pack("{s:s, s:s}", "value", value, "currency", "IDR"), "beneficiaryAccountNo",
					 order->account_no, "beneficiaryBankCode", order->bank_code, "sourceAccountNo",
					 order->source_account_no);
}

static json_t *
notice_item(const Entry *entry)
{
	bool failed = entry->state == ENTRY_FAILED;
	bool pending = entry->state == ENTRY_ACCEPTED;
	json_t *item =
		item_of(&entry->order, failed ? entry->http : (pending ? 202 : 200), failed ? entry->code : 0);

	if (entry->times_paid > 0)
		json_object_set_new(item, "originalReferenceNo", json_string(entry->reference_no));
	return item;
}

static json_t *
notice_body(const Bulk *bulk)
{
	json_t *items = json_array();
	int i;

	for (i = 0; i < bulk->item_count; i++)
		json_array_append_new(items, notice_item(bulk->items[i]));
	return json_pack("{s:s, s:s, s:o}", "bulkId", bulk->bulk_id, "partnerBulkId", bulk->partner_bulk_id,
					 "bulkObject", items);
}

static const char *
text_of(const json_t *object, const char *name)
{
	const char *text = json_string_value(json_object_get(object, name));

	return text == NULL ? "" : text;
}

json_t *
notice_denial(const json_t *request, const char *bulk_id, Refusal why)
{
	json_t *items = json_array();
	const json_t *item;
	size_t i;

	json_array_foreach(json_object_get(request, "bulkObject"), i, item)
	{
		Order order;

		memset(&order, 0, sizeof(order));
		order.reference = text_of(item, "partnerReferenceNo");
		order.account_no = text_of(item, "beneficiaryAccountNo");
		order.bank_code = text_of(item, "bankCode");
		order.source_account_no = text_of(request, "sourceAccountNo");
		money_parse(text_of(json_object_get(item, "amount"), "value"), &order.cents);
		json_array_append_new(items, item_of(&order, why.http, why.code));
	}
	return json_pack("{s:s, s:s, s:o}", "bulkId", bulk_id, "partnerBulkId", text_of(request, "partnerBulkId"),
					 "bulkObject", items);
}

/* The part of the URL that is signed: its path, without a prefix that the payer's end does not see. */
static const char *
signed_path(const char *url)
{
	const char *host = strstr(url, "://");
	const char *path = strchr(host == NULL ? url : host + 3, '/');
	size_t strip = strlen(conf.notice_signed_strip);

	if (path == NULL)
		path = "/";
	return (strip > 0 && strncmp(path, conf.notice_signed_strip, strip) == 0) ? path + strip : path;
}

static bool
post_notice(CURL *curl, const char *body, bool wrong_signature)
{
	char *url = notice_url("/v1.0/transfer-interbank-bulk/notify");
	char *bearer = get_token(curl);
	Buffer reply = {NULL, 0, 0};
	struct curl_slist *headers = NULL;
	char timestamp[TIME_TEXT_SIZE];
	char external_id[40];
	char *signature;
	char *authorization;
	size_t room;
	long status = 0;

	if (bearer != NULL)
	{
		time_format(timestamp, now_ms());
		pthread_mutex_lock(&lock);
		snprintf(external_id, sizeof(external_id), "%lld%06llu", (long long) now_ms(),
				 (unsigned long long) (++sent_count % 1000000));
		pthread_mutex_unlock(&lock);
		signature = snap_sign(wrong_signature ? "not-the-secret" : conf.client_secret, "POST",
							  signed_path(url), bearer, body, strlen(body), timestamp, conf.signature_hex);
		room = strlen(bearer) + 8;
		authorization = xmalloc(room);
		snprintf(authorization, room, "Bearer %s", bearer);
		headers = add_header(headers, "Authorization", authorization);
		headers = add_header(headers, "X-TIMESTAMP", timestamp);
		headers = add_header(headers, "X-SIGNATURE", signature);
		headers = add_header(headers, "X-PARTNER-ID", conf.partner_id[0] == '\0' ? "BANK" : conf.partner_id);
		headers = add_header(headers, "X-EXTERNAL-ID", external_id);
		headers = add_header(headers, "CHANNEL-ID", conf.channel_id[0] == '\0' ? "95051" : conf.channel_id);
		status = post(curl, url, headers, body, &reply);
		free(signature);
		free(authorization);
	}
	if (status == 401)
		drop_token();
	buffer_free(&reply);
	free(bearer);
	free(url);
	return status / 100 == 2;
}

NoticeEnd
notice_send(CURL *curl, const Bulk *bulk, const json_t *denial, int *delay_ms)
{
	FaultSubject subject = {21, NULL, NULL, NULL, NULL};
	FaultHit delay;
	FaultHit hit;
	json_t *root;
	char *body;
	bool taken;

	memset(&delay, 0, sizeof(delay));
	memset(&hit, 0, sizeof(hit));
	state_lock();
	root = (denial != NULL) ? json_deep_copy(denial) : notice_body(bulk);
	subject.root = root;
	if (delay_ms != NULL)
		delay = fault_pick(FAULT_BIT(FAULT_DELAY), &subject);
	if (delay.kind == FAULT_NONE)
		hit = fault_pick(FAULTS_NOTICE, &subject);
	state_unlock();
	body = json_dumps(root, JSON_COMPACT);
	json_decref(root);
	if (delay.kind == FAULT_DELAY)
	{
		*delay_ms = delay.delay_ms;
		free(body);
		return NOTICE_DELAYED;
	}
	taken = hit.kind == FAULT_NO_NOTICE || post_notice(curl, body, hit.kind == FAULT_WRONG_SIGNATURE);
	if (taken && hit.kind == FAULT_DUPLICATE_NOTICE)
		taken = post_notice(curl, body, false);
	free(body);
	return taken ? NOTICE_TAKEN : NOTICE_FAILED;
}
