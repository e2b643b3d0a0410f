/*
 * request.h: one HTTP request to the bank or the merchant end, from its first byte to its answer, and the log of them.
 * The server owns requests; services read the request and fill in its answer under the state lock.
 */
#ifndef SANDBOX_REQUEST_H
#define SANDBOX_REQUEST_H

#include <jansson.h>
#include <microhttpd.h>
#include <stdbool.h>
#include <stdint.h>

#include "books.h"
#include "fault.h"
#include "util.h"

typedef enum Phase
{
	PHASE_READ,	   /* the body is still coming */
	PHASE_PROCESS, /* faults are chosen; may have been held */
	PHASE_REPLY,   /* processed; may have been held */
	PHASE_DONE
} Phase;

typedef struct Request
{
	struct MHD_Connection *connection;
	char *uri;		/* as received, with its query */
	char path[256]; /* without query */
	char method[16];
	Buffer body;
	json_t *root; /* parsed body, or NULL */
	int service;  /* SNAP service, SERVICE_WEBHOOK, or 0 = unknown path */
	char merchant_id[64];
	Phase phase;
	FaultHit fault;
	int64_t arrived_ms; /* when its first line was read */
	/* the answer */
	int http;
	char response_code[16];
	char *reply;
	size_t reply_size;
	/* the log line that stands for it; 0 = none */
	uint64_t log_serial;
	/* while held; owned by hold.c */
	struct Request *hold_next;
	struct Request *hold_previous;
	bool held;
	bool gone; /* the client left, or the listener goes down: do not process, do not answer */
	bool hangs;
	int64_t due_ms;		   /* when to go on; -1 = only when released */
	const Bulk *waits_for; /* go on after this bulk's notice plus due_ms */
	int client_fd;
} Request;

extern const char *request_header(const Request *request, const char *name);

/* Answers with the SNAP envelope; detail is added to the message (may be NULL), fields (may be NULL) is stolen. */
extern void answer(Request *request, int http, int code, const char *detail, json_t *fields);
/* The same under the digits of another service. */
extern void answer_as(Request *request, int service, int http, int code, const char *detail, json_t *fields);
extern const char *answer_text(int http, int code);

/* The request log: the last 1000 per service. All under the state lock. */
extern void request_log(Request *request);
extern void request_log_answer(const Request *request, int http);
extern json_t *request_report(int service);
extern void request_log_clear(void);

/* Holding: keeps a request without a thread. hold_* take their own lock, inside the state lock or without it. */
extern void hold_start(void);
extern void hold_stop(void);
/* False when the listener is going down: the request must be dropped at once. */
extern bool hold_request(Request *request, int64_t delay_ms, const Bulk *waits_for);
extern void hold_bulk_noticed(const Bulk *bulk);
extern int hold_release_hanging(void);
extern int hold_hanging(void);
/* Lets nothing be held any more and sends everything held away; hold_open() undoes the first. */
extern void hold_close(void);
extern void hold_open(void);

#endif
