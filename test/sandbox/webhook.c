/*
 * webhook.c: owns the list of notifications that merchants received. It must never answer 200 to a message whose
 * signature or time is wrong. Called under the state lock.
 */
#include "webhook.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "config.h"
#include "journal.h"
#include "snap.h"

#define WINDOW_S 300

static json_t *received;
static Hash *seen; /* "merchant|id" of verified messages */

void
webhook_init(void)
{
	received = json_array();
	seen = hash_new();
}

static void
seen_key(char *out, size_t size, const char *merchant_id, const char *id)
{
	snprintf(out, size, "%s|%s", merchant_id, id);
}

/* Header text as a JSON string; bytes that are no UTF-8 become an empty text. */
static json_t *
safe_string(const char *text)
{
	json_t *value = json_string(text == NULL ? "" : text);

	return value == NULL ? json_string("") : value;
}

static bool
verified(const Request *request, const char *id, const char *timestamp, const char *signature)
{
	const char *secret = json_string_value(json_object_get(conf.webhook_secrets, request->merchant_id));
	char *end;
	long long at_s;
	long long distance_s;

	if (secret == NULL || id == NULL || timestamp == NULL || signature == NULL)
		return false;
	at_s = strtoll(timestamp, &end, 10);
	distance_s = now_ms() / 1000 - at_s;
	if (end == timestamp || *end != '\0' || distance_s > WINDOW_S || distance_s < -WINDOW_S)
		return false;
	return webhook_verify(secret, id, timestamp, request->body.data == NULL ? "" : request->body.data,
						  request->body.size, signature);
}

void
webhook_process(Request *request)
{
	const char *id = request_header(request, "webhook-id");
	const char *timestamp = request_header(request, "webhook-timestamp");
	bool good = verified(request, id, timestamp, request_header(request, "webhook-signature"));
	char key[512];
	char at[TIME_TEXT_SIZE];
	json_t *line;
	bool repeat;

	seen_key(key, sizeof(key), request->merchant_id, id == NULL ? "" : id);
	repeat = hash_get(seen, key) != NULL;
	if (good)
		hash_put(seen, key, seen);
	time_format(at, now_ms());
	line = json_pack(
		"{s:o, s:o, s:o, s:b, s:b, s:O, s:O}", "merchant_id", safe_string(request->merchant_id), "webhook_id",
		safe_string(id), "timestamp", safe_string(timestamp), "verified", good, "repeat", repeat, "type",
		json_is_string(json_object_get(request->root, "type")) ? json_object_get(request->root, "type")
															   : json_null(),
		"body", request->root == NULL ? json_null() : request->root);
	json_array_append(received, line);
	journal_add("webhook", json_incref(line));
	json_object_set_new(line, "at", json_string(at));
	json_decref(line);
	request->http = good ? 200 : 401;
	request->reply = xstrdup(good ? "{\"received\":true}" : "{\"received\":false}");
	request->reply_size = strlen(request->reply);
}

void
webhook_replay(const json_t *line)
{
	const char *merchant_id = json_string_value(json_object_get(line, "merchant_id"));
	const char *id = json_string_value(json_object_get(line, "webhook_id"));
	json_t *copy = json_copy((json_t *) line);
	char key[512];

	json_object_del(copy, "event");
	json_array_append_new(received, copy);
	if (merchant_id == NULL || id == NULL || !json_is_true(json_object_get(line, "verified")))
		return;
	seen_key(key, sizeof(key), merchant_id, id);
	hash_put(seen, key, seen);
}

json_t *
webhook_report(const char *merchant_id, size_t after)
{
	json_t *rows = json_array();
	json_t *row;
	size_t i;
	size_t count = 0;

	json_array_foreach(received, i, row)
	{
		const char *owner = json_string_value(json_object_get(row, "merchant_id"));

		if (merchant_id != NULL && (owner == NULL || strcmp(owner, merchant_id) != 0))
			continue;
		if (count++ >= after)
			json_array_append(rows, row);
	}
	return json_pack("{s:I, s:o}", "count", (json_int_t) count, "webhooks", rows);
}
