/*
 * http.h
 *	  Room for the HTTP client of a worker: many requests at a time, one multi handle for the life of the process.
 *	  Only a worker enters, after event_loop_init(); a session of an application never does.
 */
#ifndef PAYOUT_HTTP_H
#define PAYOUT_HTTP_H

typedef struct HttpRequest
{
	const char *method;				/* "GET" or "POST" */
	const char *url;				/* absolute; sent as it stands, dots in the path included */
	const char *const *headers;		/* "Name: value", ended by NULL; may be NULL */
	const char *body;				/* POST only; may be NULL when body_len is 0 */
	size_t body_len;				/* bytes */
	int connect_timeout_ms;			/* > 0; name look-up, TCP and TLS together */
	int request_timeout_ms;			/* > 0; the whole exchange */
	size_t reply_bytes_max;			/* > 0; a longer body ends the exchange as HTTP_UNKNOWN */
	const char *ca_file;			/* PEM, read now; NULL: the authorities of the system */
	const char *client_certificate; /* PEM with certificate and key, read now; NULL: none */
	bool money;						/* must never be sent twice without a decision of the caller */
	bool exact;						/* must never take another request's answer for its own; HTTP/1.1 */
	bool fresh;						/* on a new connection */
	bool no_body;					/* of the reply is kept: it is counted and forgotten */

	/*
	 * Asked last, each time that libcurl is about to write the request: why it may not leave, NULL when it may. Is called in
	 * a callback of libcurl: raises nothing, allocates nothing. NULL: nobody is asked.
	 */
	const char *(*refusal)(const void *owner);
} HttpRequest;

typedef enum HttpEnd
{
	HTTP_ANSWERED, /* a complete answer, of whatever status */
	HTTP_NOT_SENT, /* proof that no byte of the request left: safe to send again */
	HTTP_UNKNOWN   /* anything else: it may have been received */
} HttpEnd;

typedef struct HttpReply
{
	HttpEnd end;
	int status;		   /* HTTP status, 0 when none came; to be trusted with HTTP_ANSWERED only */
	char *body;		   /* malloc'ed, never NULL, NUL-terminated; may hold NUL bytes within */
	size_t body_len;   /* bytes */
	int64 latency_ms;  /* from start to end of the exchange */
	bool refused;	   /* by the request's own refusal(); the reason is in error */
	int retry_after_s; /* wish of the server, 0..86400; 0: none */
	char error[256];   /* empty with HTTP_ANSWERED; never holds bodies or headers */
} HttpReply;

/*
 * Initialises libcurl. Once per process, in the worker, after event_loop_init(); never in the postmaster.
 * Logs a warning when libcurl lacks TLS or an asynchronous resolver; raises an error when it cannot start.
 */
extern void http_init(void);

/*
 * Accepts a request; nothing leaves before the next http_pump(). Copies all it needs of req. owner is handed
 * back by http_finished(). False, with the reason in error (error_size > 0 bytes): nothing was or will be sent.
 */
extern bool http_start(const HttpRequest *req, void *owner, char *error, size_t error_size);

/* False when http_start() would refuse any request for lack of descriptors: leave the work in its table. */
extern bool http_can_start(void);

/*
 * Does what is due without waiting: ready sockets, libcurl's timer, finished transfers. No transaction may be
 * open. Raises no error. Bytes move, and refusal() is asked, between enter() and leave() only, which are called around each
 * socket.
 */
extern void http_pump(void (*enter)(void), void (*leave)(void));

/* Milliseconds until http_pump() must be called even if no socket is ready; -1: no need. */
extern long http_timeout_ms(void);

/* Takes one finished exchange, oldest first; false when there is none. The caller frees the reply. */
extern bool http_finished(void **owner, HttpReply *reply);

/* Frees what a reply holds; harmless when repeated. */
extern void http_reply_free(HttpReply *reply);

/* Number of exchanges accepted and not yet taken by http_finished(). */
extern int http_in_flight(void);

#endif /* PAYOUT_HTTP_H */
