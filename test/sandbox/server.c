/*
 * server.c: takes requests, lets faults happen around their processing, and gives the answers away.
 * It must never answer before the journal is on disk. Runs in the threads of libmicrohttpd; no service logic here.
 */
#include "server.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "bank.h"
#include "journal.h"
#include "reply.h"
#include "request.h"
#include "webhook.h"

#define BODY_BYTES_MAX (32u * 1024 * 1024)
#define THREADS 4u
#define CONNECTIONS_MAX 8000u

static struct MHD_Daemon *daemon_up;
static int placeholder = -1;
static int server_port;

int
server_socket(int *port, bool listening)
{
	struct sockaddr_in address;
	socklen_t size = sizeof(address);
	int one = 1;
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	memset(&address, 0, sizeof(address));
	address.sin_family = AF_INET;
	address.sin_port = htons((uint16_t) *port);
	address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one)) != 0 ||
		bind(fd, (struct sockaddr *) &address, sizeof(address)) != 0 ||
		getsockname(fd, (struct sockaddr *) &address, &size) != 0)
		die("cannot bind port %d: %s", *port, strerror(errno));
	*port = ntohs(address.sin_port);
	if (listening && listen(fd, 1024) != 0)
		die("cannot listen on port %d: %s", *port, strerror(errno));
	return fd;
}

/* Called with the raw target before anything is decoded: exactly what the client signed. */
static void *
on_target(void *cls, const char *uri, struct MHD_Connection *connection)
{
	Request *request = xmalloc(sizeof(Request));
	size_t path_size = strcspn(uri, "?");

	(void) cls;
	(void) connection;
	memset(request, 0, sizeof(*request));
	request->arrived_ms = now_ms();
	request->uri = xstrdup(uri);
	if (path_size >= sizeof(request->path))
		path_size = sizeof(request->path) - 1;
	memcpy(request->path, uri, path_size);
	return request;
}

static void
on_completed(void *cls, struct MHD_Connection *connection, void **con_cls,
			 enum MHD_RequestTerminationCode how)
{
	Request *request = *con_cls;

	(void) cls;
	(void) connection;
	(void) how;
	if (request == NULL)
		return;
	free(request->uri);
	free(request->reply);
	buffer_free(&request->body);
	json_decref(request->root);
	free(request);
	*con_cls = NULL;
}

static void
route(Request *request)
{
	if (strncmp(request->path, "/bank/", 6) == 0)
		request->service = bank_service(request->path + 5);
	else if (strncmp(request->path, "/merchant/", 10) == 0 && strchr(request->path + 10, '/') == NULL)
	{
		request->service = SERVICE_WEBHOOK;
		snprintf(request->merchant_id, sizeof(request->merchant_id), "%.63s", request->path + 10);
	}
}

static bool
is_order(const Request *request)
{
	return request->service == 17 || request->service == 18 || request->service == 20;
}

/* Whatever becomes of an order, the journal says when it came. */
static void
note_arrival(const Request *request)
{
	const char *external_id = request_header(request, "X-EXTERNAL-ID");

	journal_add("arrived", json_pack("{s:i, s:s, s:I}", "service", request->service, "external_id",
									 external_id == NULL ? "" : external_id, "arrived_ms",
									 (json_int_t) request->arrived_ms));
}

/* The request is whole: find out what it is, note it, and choose its faults. Returns the delay before processing. */
static int64_t
begin(Request *request)
{
	FaultSubject subject = {0, NULL, NULL, NULL, NULL};
	FaultHit delay;

	route(request);
	if (request->body.size > 0)
		request->root = json_loadb(request->body.data, request->body.size, JSON_REJECT_DUPLICATES, NULL);
	subject.service = request->service;
	subject.root = request->root;
	if (request->service == SERVICE_WEBHOOK)
		subject.merchant_id = request->merchant_id;
	state_lock();
	request_log(request);
	if (is_order(request))
		note_arrival(request);
	delay = fault_pick(FAULT_BIT(FAULT_DELAY), &subject);
	request->fault = fault_pick(FAULTS_REQUEST, &subject);
	state_unlock();
	request->phase = PHASE_PROCESS;
	if (request->fault.kind == FAULT_HANG && !request->fault.after_booking)
		return -1;
	if (delay.kind == FAULT_NONE)
		return 0;
	if (!delay.after_booking)
		return delay.delay_ms;
	/* a delay behind the booking is the fault's own delay */
	request->fault.delay_ms += delay.delay_ms;
	return 0;
}

static void
process(Request *request)
{
	const FaultHit *fault = &request->fault;

	if (fault->kind == FAULT_ERROR_BEFORE || fault->kind == FAULT_RESET_BEFORE ||
		(fault->kind == FAULT_ANSWER && !fault->after_booking))
		return;
	if (fault->kind == FAULT_DENY_LATER && bank_bulk_deny(request))
		return;
	if (request->body.size >= BODY_BYTES_MAX)
		answer(request, 413, 0, NULL, NULL);
	else if (request->service == SERVICE_WEBHOOK)
		webhook_process(request);
	else
		bank_process(request);
}

/* Processes and perhaps holds the answer back. Under one lock, so that the notice cannot overtake the waiting. */
static bool
process_and_hold(Request *request)
{
	const FaultHit *fault = &request->fault;
	bool held = false;
	bool dropped = false;

	state_lock();
	process(request);
	request->phase = PHASE_REPLY;
	if (request->waits_for != NULL)
		dropped = !(held = hold_request(request, fault->delay_ms, request->waits_for));
	else if (fault->kind == FAULT_HANG && fault->after_booking)
		dropped = !(held = hold_request(request, -1, NULL));
	else if (fault->delay_ms > 0 && fault->kind != FAULT_PENDING && fault->kind != FAULT_DENY_LATER)
		dropped = !(held = hold_request(request, fault->delay_ms, NULL));
	if (dropped)
		request->gone = true;
	state_unlock();
	journal_commit();
	return held;
}

static enum MHD_Result
advance(Request *request)
{
	int64_t delay_ms;

	if (request->phase == PHASE_READ)
	{
		delay_ms = begin(request);
		if (delay_ms != 0)
		{
			if (hold_request(request, delay_ms, NULL))
				return MHD_YES;
			request->gone = true;
		}
	}
	if (request->phase == PHASE_PROCESS && !request->gone && process_and_hold(request))
		return MHD_YES;
	request->phase = PHASE_DONE;
	return reply_give(request);
}

static enum MHD_Result
on_request(void *cls, struct MHD_Connection *connection, const char *url, const char *method,
		   const char *version, const char *upload, size_t *upload_size, void **con_cls)
{
	Request *request = *con_cls;

	(void) cls;
	(void) url;
	(void) version;
	if (request->connection == NULL)
	{
		request->connection = connection;
		snprintf(request->method, sizeof(request->method), "%s", method);
		return MHD_YES;
	}
	if (*upload_size > 0)
	{
		if (request->body.size + *upload_size <= BODY_BYTES_MAX)
			buffer_add(&request->body, upload, *upload_size);
		else
			request->body.size = BODY_BYTES_MAX;
		*upload_size = 0;
		return MHD_YES;
	}
	return advance(request);
}

/* The placeholder keeps the port ours while nobody listens on it. */
void
server_init(int *port)
{
	placeholder = server_socket(port, false);
	server_port = *port;
}

void
server_up(void)
{
	if (daemon_up != NULL)
		return;
	hold_open();
	/* without the library's error log: connections broken on purpose are no errors */
	daemon_up =
		MHD_start_daemon(MHD_USE_EPOLL_INTERNAL_THREAD | MHD_ALLOW_SUSPEND_RESUME, 0, NULL, NULL, on_request,
						 NULL, MHD_OPTION_LISTEN_SOCKET, server_socket(&server_port, true),
						 MHD_OPTION_THREAD_POOL_SIZE, THREADS, MHD_OPTION_CONNECTION_LIMIT, CONNECTIONS_MAX,
						 MHD_OPTION_CONNECTION_MEMORY_LIMIT, (size_t) 65536, MHD_OPTION_URI_LOG_CALLBACK,
						 on_target, NULL, MHD_OPTION_NOTIFY_COMPLETED, on_completed, NULL, MHD_OPTION_END);
	if (daemon_up == NULL)
		die("cannot start the listener");
}

void
server_down(void)
{
	if (daemon_up == NULL)
		return;
	hold_close();
	MHD_stop_daemon(daemon_up);
	daemon_up = NULL;
}
