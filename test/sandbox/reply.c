/*
 * reply.c: hands an answer to libmicrohttpd: as it is, replaced, broken off, blown up, or as a reset connection.
 * It must never change the books. Called by the server once per request.
 */
#include "reply.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "util.h"

#define NESTED_DEPTH 100000
#define GARBAGE_BYTES 777
#define TRUNCATED_BYTES 100

/* An answer made while it is sent: head, then filler up to fill_end, then tail; ends with an error at break_at. */
typedef struct Stream
{
	char *head;
	size_t head_size;
	size_t fill_end;
	const char *tail;
	size_t break_at; /* 0 = never */
	bool nested;
} Stream;

static ssize_t
stream_read(void *cls, uint64_t position, char *out, size_t size)
{
	const Stream *stream = cls;
	size_t at = (size_t) position;
	size_t part;

	if (stream->break_at > 0 && at >= stream->break_at)
		return MHD_CONTENT_READER_END_WITH_ERROR;
	if (at < stream->head_size)
	{
		part = stream->head_size - at;
		if (part > size)
			part = size;
		memcpy(out, stream->head + at, part);
		return (ssize_t) part;
	}
	if (at < stream->fill_end)
	{
		size_t half = stream->head_size + (stream->fill_end - stream->head_size) / 2;
		size_t end = (stream->nested && at < half) ? half : stream->fill_end;

		part = end - at < size ? end - at : size;
		memset(out, !stream->nested ? 'A' : (at < half ? '[' : ']'), part);
		return (ssize_t) part;
	}
	part = strlen(stream->tail + (at - stream->fill_end));
	if (part > size)
		part = size;
	memcpy(out, stream->tail + (at - stream->fill_end), part);
	return (ssize_t) part;
}

static void
stream_free(void *cls)
{
	Stream *stream = cls;

	free(stream->head);
	free(stream);
}

static Stream *
new_stream(const Request *request)
{
	Stream *stream = xmalloc(sizeof(Stream));

	memset(stream, 0, sizeof(*stream));
	stream->tail = "";
	stream->head = xstrdup(request->reply == NULL ? "{}" : request->reply);
	stream->head_size = stream->fill_end = strlen(stream->head);
	return stream;
}

static struct MHD_Response *
truncated_response(const Request *request)
{
	Stream *stream = new_stream(request);

	stream->break_at = stream->head_size;
	return MHD_create_response_from_callback(stream->head_size + TRUNCATED_BYTES, 4096, stream_read, stream,
											 stream_free);
}

/* The true answer with one huge member more: valid JSON to the last byte. */
static struct MHD_Response *
oversized_response(const Request *request)
{
	static const char *const opening[] = {",\"padding\":\"", ",\"padding\":"};
	bool nested = request->fault.nested;
	Stream *stream = new_stream(request);
	size_t extra = strlen(opening[nested]);

	stream->head_size--;
	stream->head = xrealloc(stream->head, stream->head_size + extra + 1);
	memcpy(stream->head + stream->head_size, opening[nested], extra + 1);
	if (stream->head_size == 1)
		stream->head[1] = ' ';
	stream->head_size += extra;
	stream->nested = nested;
	stream->fill_end = stream->head_size + (nested ? 2 * (size_t) NESTED_DEPTH : request->fault.size);
	stream->tail = nested ? "}" : "\"}";
	return MHD_create_response_from_callback(stream->fill_end + strlen(stream->tail), 32768, stream_read,
											 stream, stream_free);
}

static struct MHD_Response *
garbage_response(void)
{
	char bytes[GARBAGE_BYTES];
	size_t i;

	state_lock();
	for (i = 0; i < sizeof(bytes); i++)
		bytes[i] = (char) (random_next() >> 56);
	state_unlock();
	return MHD_create_response_from_buffer(sizeof(bytes), bytes, MHD_RESPMEM_MUST_COPY);
}

/* Disconnecting an established socket makes the kernel send RST at once, whatever the server does afterwards. */
static enum MHD_Result
reset_connection(Request *request)
{
	const union MHD_ConnectionInfo *info =
		MHD_get_connection_info(request->connection, MHD_CONNECTION_INFO_CONNECTION_FD);
	struct sockaddr nowhere;

	memset(&nowhere, 0, sizeof(nowhere));
	nowhere.sa_family = AF_UNSPEC;
	if (info != NULL)
		(void) connect(info->connect_fd, &nowhere, sizeof(nowhere));
	return MHD_NO;
}

/* What the request said of itself, so that nothing but the digits of the code tells that the answer is another's. */
static json_t *
repeated_fields(const Request *request)
{
	static const char *const names[] = {
		"partnerReferenceNo",	  "partnerBulkId",		  "amount",
		"sourceAccountNo",		  "beneficiaryAccountNo", "beneficiaryBankCode",
		"beneficiaryAccountName", "transactionDate"};
	json_t *fields = json_pack("{s:s, s:s}", "referenceNo", "999900000001", "bulkId", "B9999");
	size_t i;

	for (i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		if (json_object_get(request->root, names[i]) != NULL)
			json_object_set(fields, names[i], json_object_get(request->root, names[i]));
	return fields;
}

/* Replaces the answer by what an error or answer fault says. */
static void
replace_answer(Request *request)
{
	const FaultHit *fault = &request->fault;
	int code = fault->code;

	if (fault->raw)
	{
		static const char page[] =
			"<html><head><title>Error</title></head><body><h1>Error</h1></body></html>\n";

		free(request->reply);
		request->reply = xstrdup(fault->message[0] != '\0' ? fault->message : page);
		request->reply_size = strlen(request->reply);
		request->http = fault->http;
		snprintf(request->response_code, sizeof(request->response_code), "raw");
		return;
	}
	answer_as(request, fault->service_digits > 0 ? fault->service_digits : request->service, fault->http,
			  code, fault->message[0] == '\0' ? NULL : fault->message,
			  fault->service_digits > 0 ? repeated_fields(request) : NULL);
}

static enum MHD_Result
give(Request *request, struct MHD_Response *response)
{
	char timestamp[TIME_TEXT_SIZE];
	enum MHD_Result result;

	if (response == NULL)
		return MHD_NO;
	time_format(timestamp, now_ms());
	MHD_add_response_header(response, "Content-Type", request->fault.raw ? "text/html" : "application/json");
	MHD_add_response_header(response, "X-TIMESTAMP", timestamp);
	result = MHD_queue_response(request->connection, (unsigned int) request->http, response);
	MHD_destroy_response(response);
	return result;
}

static void
log_answer(const Request *request, int http)
{
	state_lock();
	request_log_answer(request, http);
	state_unlock();
}

enum MHD_Result
reply_give(Request *request)
{
	FaultKind kind = request->fault.kind;
	struct MHD_Response *response;

	if (request->gone || kind == FAULT_RESET_BEFORE || kind == FAULT_RESET_AFTER || kind == FAULT_DENY_LATER)
	{
		log_answer(request, 0);
		return request->gone ? MHD_NO : reset_connection(request);
	}
	if (kind == FAULT_ERROR_BEFORE || kind == FAULT_ERROR_AFTER || kind == FAULT_ANSWER)
		replace_answer(request);
	if (kind == FAULT_GARBAGE)
		request->http = 200;
	log_answer(request, request->http);
	if (kind == FAULT_TRUNCATED)
		response = truncated_response(request);
	else if (kind == FAULT_OVERSIZED)
		response = oversized_response(request);
	else if (kind == FAULT_GARBAGE)
		response = garbage_response();
	else
	{
		response =
			MHD_create_response_from_buffer(request->reply_size, request->reply, MHD_RESPMEM_MUST_FREE);
		if (response != NULL)
			request->reply = NULL;
	}
	return give(request, response);
}
