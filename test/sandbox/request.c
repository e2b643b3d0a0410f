/*
 * request.c: the SNAP envelope of answers and the log of requests that tests read.
 * It must never decide an answer. Called by the services and the server under the state lock.
 */
#include "request.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define LOG_LENGTH 1000

static const struct
{
	int http;
	int code;
	const char *text;
} texts[] = {
	{200, 0, "Successful"},
	{202, 0, "Transaction still on process"},
	{400, 0, "Bad Request"},
	{400, 1, "Invalid Field Format"},
	{400, 2, "Invalid Mandatory Field"},
	{401, 0, "Unauthorized."},
	{401, 1, "Invalid Token (B2B)"},
	{401, 3, "Token Not Found (B2B)"},
	{403, 0, "Transaction Expired"},
	{403, 1, "Feature Not Allowed"},
	{403, 2, "Exceeds Transaction Amount Limit"},
	{403, 3, "Suspected Fraud"},
	{403, 4, "Activity Count Limit Exceeded"},
	{403, 5, "Do Not Honor"},
	{403, 6, "Feature Not Allowed At This Time"},
	{403, 9, "Dormant Account"},
	{403, 14, "Insufficient Funds"},
	{403, 15, "Transaction Not Permitted"},
	{403, 18, "Inactive Card/Account/Customer"},
	{403, 19, "Merchant Blacklisted"},
	{403, 20, "Merchant Limit Exceed"},
	{404, 0, "Invalid Transaction Status"},
	{404, 1, "Transaction Not Found"},
	{404, 2, "Invalid Routing"},
	{404, 3, "Bank Not Supported By Switch"},
	{404, 11, "Invalid Card/Account/Customer"},
	{404, 13, "Invalid Amount"},
	{404, 18, "Inconsistent Request"},
	{405, 0, "Requested Function Is Not Supported"},
	{409, 0, "Conflict"},
	{409, 1, "Duplicate partnerReferenceNo"},
	{413, 0, "Request Too Large"},
	{429, 0, "Too Many Requests"},
	{500, 0, "General Error"},
	{500, 1, "Internal Server Error"},
	{500, 2, "External Server Error"},
	{504, 0, "Timeout"},
};

typedef struct LogLine
{
	uint64_t serial;
	int64_t at_ms;
	int64_t arrived_ms;
	int http; /* 0 = not answered (yet) */
	int items;
	char response_code[16];
	char external_id[40];
	char path[256];
	char reference[80];
	bool is_bulk;
} LogLine;

typedef struct Log
{
	int service;
	uint64_t count;
	LogLine *lines;
} Log;

static Log logs[] = {{73, 0, NULL}, {11, 0, NULL}, {15, 0, NULL},
					 {16, 0, NULL}, {17, 0, NULL}, {18, 0, NULL},
					 {20, 0, NULL}, {36, 0, NULL}, {SERVICE_WEBHOOK, 0, NULL},
					 {0, 0, NULL}};

#define LOG_COUNT (sizeof(logs) / sizeof(logs[0]))

const char *
request_header(const Request *request, const char *name)
{
	return MHD_lookup_connection_value(request->connection, MHD_HEADER_KIND, name);
}

const char *
answer_text(int http, int code)
{
	size_t i;

	for (i = 0; i < sizeof(texts) / sizeof(texts[0]); i++)
		if (texts[i].http == http && texts[i].code == code)
			return texts[i].text;
	return "Refused";
}

void
answer(Request *request, int http, int code, const char *detail, json_t *fields)
{
	answer_as(request, request->service, http, code, detail, fields);
}

void
answer_as(Request *request, int service, int http, int code, const char *detail, json_t *fields)
{
	char message[151];
	json_t *envelope;

	snprintf(message, sizeof(message), "%s%s%s", answer_text(http, code), detail == NULL ? "" : " ",
			 detail == NULL ? "" : detail);
	snprintf(request->response_code, sizeof(request->response_code), "%03d%02d%02d", http % 1000,
			 service % 100, code % 100);
	envelope = json_pack("{s:s, s:s}", "responseCode", request->response_code, "responseMessage", message);
	if (envelope == NULL)
		envelope = json_pack("{s:s, s:s}", "responseCode", request->response_code, "responseMessage",
							 answer_text(http, code));
	if (fields != NULL)
	{
		json_object_update(envelope, fields);
		json_decref(fields);
	}
	free(request->reply);
	request->http = http;
	request->reply = json_dumps(envelope, JSON_COMPACT);
	request->reply_size = strlen(request->reply);
	json_decref(envelope);
}

static Log *
log_of(int service)
{
	size_t i;

	for (i = 0; i < LOG_COUNT - 1; i++)
		if (logs[i].service == service)
			break;
	return &logs[i];
}

static void
copy_text(char *out, size_t size, const char *text)
{
	/* half a character must not reach the report: everything that is not plain ASCII becomes a question mark */
	size_t i = 0;

	for (; text != NULL && text[i] != '\0' && i + 1 < size; i++)
		out[i] = (text[i] >= ' ' && text[i] < 127) ? text[i] : '?';
	out[i] = '\0';
}

/* Notes the arrival; the answer is filled in by request_log_answer(). */
void
request_log(Request *request)
{
	static const char *const names[] = {"partnerReferenceNo", "originalPartnerReferenceNo", "partnerBulkId"};
	Log *log = log_of(request->service);
	LogLine *line;
	size_t i;

	if (log->lines == NULL)
	{
		log->lines = xmalloc(sizeof(LogLine) * LOG_LENGTH);
		memset(log->lines, 0, sizeof(LogLine) * LOG_LENGTH);
	}
	line = &log->lines[log->count % LOG_LENGTH];
	memset(line, 0, sizeof(*line));
	line->serial = request->log_serial = ++log->count;
	line->at_ms = now_ms();
	line->arrived_ms = request->arrived_ms;
	copy_text(line->path, sizeof(line->path), request->path);
	copy_text(line->external_id, sizeof(line->external_id), request_header(request, "X-EXTERNAL-ID"));
	for (i = 0; i < 3; i++)
	{
		const char *text = json_string_value(json_object_get(request->root, names[i]));

		if (text == NULL)
			continue;
		copy_text(line->reference, sizeof(line->reference), text);
		line->is_bulk = (i == 2);
	}
	line->items = (int) json_array_size(json_object_get(request->root, "bulkObject"));
}

void
request_log_answer(const Request *request, int http)
{
	Log *log = log_of(request->service);
	LogLine *line;

	if (request->log_serial == 0 || log->lines == NULL)
		return;
	line = &log->lines[(request->log_serial - 1) % LOG_LENGTH];
	if (line->serial != request->log_serial)
		return;
	line->http = http;
	if (http > 0)
		memcpy(line->response_code, request->response_code, sizeof(line->response_code));
}

static void
report_log(const Log *log, json_t *rows, uint64_t *count, int64_t *last_at_ms)
{
	uint64_t serial = (log->count > LOG_LENGTH) ? log->count - LOG_LENGTH : 0;

	*count += log->count;
	for (; serial < log->count; serial++)
	{
		const LogLine *line = &log->lines[serial % LOG_LENGTH];
		char at[TIME_TEXT_SIZE];

		time_format(at, line->at_ms);
		if (line->at_ms > *last_at_ms)
			*last_at_ms = line->at_ms;
		json_array_append_new(rows, json_pack("{s:s, s:I, s:I, s:i, s:s, s:s, s:i, s:s, s:s, s:i}", "at", at,
											  "at_ms", (json_int_t) line->at_ms, "arrived_ms",
											  (json_int_t) line->arrived_ms, "service", log->service,
											  "external_id", line->external_id, "path", line->path, "http",
											  line->http, "response_code", line->response_code,
											  line->is_bulk ? "partner_bulk_id" : "partner_reference_no",
											  line->reference, "items", line->items));
	}
}

/* service -1 = all of them */
json_t *
request_report(int service)
{
	json_t *rows = json_array();
	uint64_t count = 0;
	int64_t last_at_ms = 0;
	char at[TIME_TEXT_SIZE];
	json_t *report;
	size_t i;

	for (i = 0; i < LOG_COUNT; i++)
		if (service < 0 || log_of(service) == &logs[i])
			report_log(&logs[i], rows, &count, &last_at_ms);
	report = json_pack("{s:I}", "count", (json_int_t) count);
	time_format(at, last_at_ms);
	json_object_set_new(report, "last_at", last_at_ms > 0 ? json_string(at) : json_null());
	json_object_set_new(report, "requests", rows);
	return report;
}

void
request_log_clear(void)
{
	size_t i;

	for (i = 0; i < LOG_COUNT; i++)
	{
		logs[i].count = 0;
		free(logs[i].lines);
		logs[i].lines = NULL;
	}
}
