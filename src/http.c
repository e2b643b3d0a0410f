/*
 * http.c
 *	  The HTTP client of a worker.
 *
 * Owns one multi handle with its cache of connections, libcurl's timer, the registration of its sockets in the
 * event loop, and the list of finished exchanges. One exchange is http_transfer.c's affair.
 *
 * The rules of living with libcurl: callbacks never raise an error and never use palloc; signals are blocked
 * while libcurl may start a resolver thread, which inherits the mask; no transaction is open while bytes move.
 * The multi handle is never cleaned up: that could wait for a resolver thread, and the process is ending anyway.
 *
 * Never touches a table, never retries, never logs a body or a header. Called by the worker alone.
 */
#include "postgres.h"

#include <curl/curl.h>
#include <signal.h>
#include <sys/epoll.h>
#include <time.h>

#include "access/xact.h"
#include "event_loop.h"
#include "http.h"
#include "http_transfer.h"
#include "storage/fd.h"

/*
 * Idle connections kept: as many as lane dispatch has places by default, but no more than a quarter of the descriptors that
 * the server grants for other purposes than its files, which are a third of all.
 */
#define CONNECTIONS_KEPT_MAX 64

/* Sockets served per system call, and calls per pump, so that a pump always ends. */
#define EVENTS_MAX 64
#define EVENT_ROUNDS_MAX 16

static CURLM *multi = NULL;
static HttpTransfer *finished_head = NULL;
static HttpTransfer *finished_tail = NULL;
static int in_flight = 0;
static int64 timer_due_ms = -1; /* by the monotonic clock; -1: none */
static int epoll_errno = 0;		/* failure inside a callback, to be logged outside of it */

/* Sets an option of the multi handle or raises an error: without these options there is no client at all. */
#define MULTI_SET_OR_RAISE(option, value)                                                  \
	do                                                                                     \
	{                                                                                      \
		CURLMcode set_code = curl_multi_setopt(multi, (option), (value));                  \
		if (set_code != CURLM_OK)                                                          \
			elog(ERROR, "libcurl refused %s: %s", #option, curl_multi_strerror(set_code)); \
	} while (0)

static int64
monotonic_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (int64) now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

/*
 * Blocks all signals that can wait, so that a thread started meanwhile never takes one of the server's.
 */
static void
block_signals(sigset_t *saved)
{
	sigset_t blocked;

	sigfillset(&blocked);
	sigdelset(&blocked, SIGABRT);
	sigdelset(&blocked, SIGBUS);
	sigdelset(&blocked, SIGFPE);
	sigdelset(&blocked, SIGILL);
	sigdelset(&blocked, SIGSEGV);
	sigdelset(&blocked, SIGTRAP);
	pthread_sigmask(SIG_SETMASK, &blocked, saved);
}

static void
restore_signals(const sigset_t *saved)
{
	pthread_sigmask(SIG_SETMASK, saved, NULL);
}

/* ---- callbacks of libcurl: no errors raised, no palloc ---- */

static int
on_socket(CURL *easy, curl_socket_t fd, int what, void *user_data, void *socket_data)
{
	struct epoll_event event = {0};
	int epoll_fd = event_loop_epoll_fd();

	(void) easy;
	(void) user_data;
	(void) socket_data;

	if (what == CURL_POLL_REMOVE)
	{
		/* a socket closed already has left by itself */
		(void) epoll_ctl(epoll_fd, EPOLL_CTL_DEL, fd, &event);
		return 0;
	}

	if (what == CURL_POLL_IN || what == CURL_POLL_INOUT)
		event.events |= EPOLLIN;
	if (what == CURL_POLL_OUT || what == CURL_POLL_INOUT)
		event.events |= EPOLLOUT;
	event.data.fd = fd;

	/*
	 * On failure the answer is 0 all the same: -1 would make the multi handle useless for all transfers for
	 * ever, while an unwatched socket merely ends in the timeout of its own.
	 */
	if (epoll_ctl(epoll_fd, EPOLL_CTL_ADD, fd, &event) != 0 &&
		(errno != EEXIST || epoll_ctl(epoll_fd, EPOLL_CTL_MOD, fd, &event) != 0))
		epoll_errno = errno;
	return 0;
}

static int
on_timer(CURLM *handle, long timeout_ms, void *user_data)
{
	(void) handle;
	(void) user_data;
	timer_due_ms = timeout_ms < 0 ? -1 : monotonic_ms() + timeout_ms;
	return 0;
}

/* ---- starting ---- */

bool
http_start(const HttpRequest *req, void *owner, char *error, size_t error_size)
{
	HttpTransfer *transfer;
	sigset_t saved;
	CURLMcode code;

	if (!AcquireExternalFD())
	{
		strlcpy(error, "no file descriptor left for another request", error_size);
		return false;
	}
	transfer = http_transfer_prepare(req, owner, error, error_size);
	if (transfer == NULL)
	{
		ReleaseExternalFD();
		return false;
	}

	/* libcurl does no more here than note the transfer and set its timer */
	block_signals(&saved);
	code = curl_multi_add_handle(multi, transfer->easy);
	restore_signals(&saved);
	if (code != CURLM_OK)
	{
		strlcpy(error, curl_multi_strerror(code), error_size);
		http_transfer_release(transfer);
		ReleaseExternalFD();
		return false;
	}
	in_flight++;
	return true;
}

bool
http_can_start(void)
{
	if (!AcquireExternalFD())
		return false;
	ReleaseExternalFD();
	return true;
}

int
http_in_flight(void)
{
	return in_flight;
}

/* ---- finishing ---- */

/*
 * Moves what libcurl has ended to the list of finished exchanges.
 */
static void
collect_finished(void)
{
	CURLMsg *message;
	int left;

	while ((message = curl_multi_info_read(multi, &left)) != NULL)
	{
		CURL *easy = message->easy_handle;
		CURLcode code = message->data.result;
		char *private_data = NULL;
		HttpTransfer *transfer;

		/* message dies with the removal of its handle */
		if (message->msg != CURLMSG_DONE)
			continue;
		(void) curl_easy_getinfo(easy, CURLINFO_PRIVATE, &private_data);
		transfer = (HttpTransfer *) private_data;
		http_transfer_judge(transfer, code);
		(void) curl_multi_remove_handle(multi, easy);

		transfer->next = NULL;
		if (finished_tail != NULL)
			finished_tail->next = transfer;
		else
			finished_head = transfer;
		finished_tail = transfer;
	}
}

bool
http_finished(void **owner, HttpReply *reply)
{
	HttpTransfer *transfer = finished_head;

	if (transfer == NULL)
		return false;
	finished_head = transfer->next;
	if (finished_head == NULL)
		finished_tail = NULL;

	*owner = transfer->owner;
	*reply = transfer->reply;
	http_transfer_release(transfer);
	ReleaseExternalFD();
	in_flight--;
	return true;
}

void
http_reply_free(HttpReply *reply)
{
	free(reply->body);
	reply->body = NULL;
	reply->body_len = 0;
}

/* ---- the pump ---- */

static void
serve_sockets(void (*enter)(void), void (*leave)(void))
{
	struct epoll_event events[EVENTS_MAX];
	int running;
	int round;
	int count;
	int i;

	for (round = 0; round < EVENT_ROUNDS_MAX; round++)
	{
		count = epoll_wait(event_loop_epoll_fd(), events, EVENTS_MAX, 0);
		for (i = 0; i < count; i++)
		{
			int ready = 0;

			if (events[i].events & EPOLLIN)
				ready |= CURL_CSELECT_IN;
			if (events[i].events & EPOLLOUT)
				ready |= CURL_CSELECT_OUT;
			if (events[i].events & (EPOLLERR | EPOLLHUP))
				ready |= CURL_CSELECT_ERR;

			/* may fail for a socket that an earlier turn of this loop closed; a timeout covers the rest */
			enter();
			(void) curl_multi_socket_action(multi, events[i].data.fd, ready, &running);
			leave();
		}
		if (count < EVENTS_MAX)
			break;
	}
}

static void
serve_timer(void (*enter)(void), void (*leave)(void))
{
	int running;

	if (timer_due_ms < 0 || monotonic_ms() < timer_due_ms)
		return;
	/* cleared first: libcurl sets the next one from inside the call */
	timer_due_ms = -1;
	enter();
	(void) curl_multi_socket_action(multi, CURL_SOCKET_TIMEOUT, 0, &running);
	leave();
}

void
http_pump(void (*enter)(void), void (*leave)(void))
{
	sigset_t saved;

	Assert(!IsTransactionState());

	block_signals(&saved);
	serve_sockets(enter, leave);
	serve_timer(enter, leave);
	collect_finished();
	restore_signals(&saved);

	if (epoll_errno != 0)
	{
		errno = epoll_errno;
		epoll_errno = 0;
		ereport(LOG, (errcode_for_socket_access(), errmsg("payout worker could not watch a socket: %m")));
	}
}

long
http_timeout_ms(void)
{
	if (timer_due_ms < 0)
		return -1;
	return (long) Max(timer_due_ms - monotonic_ms(), 0);
}

/*
 * The library loaded may be another one than the headers promised.
 */
static void
check_library(void)
{
	const curl_version_info_data *info = curl_version_info(CURLVERSION_NOW);

	if (!(info->features & CURL_VERSION_ASYNCHDNS))
		ereport(LOG, (errmsg("libcurl %s has no asynchronous resolver", info->version),
					  errdetail("A slow name server delays all requests of a payout worker.")));
	if (!(info->features & CURL_VERSION_SSL))
		ereport(LOG, (errmsg("libcurl %s has no TLS", info->version),
					  errdetail("Requests to https addresses will fail.")));
}

void
http_init(void)
{
	sigset_t saved;
	CURLcode code;
	int kept = Min(CONNECTIONS_KEPT_MAX, max_safe_fds / 12);
	int i;

	if (multi != NULL)
		elog(ERROR, "HTTP client is already initialised");

	block_signals(&saved);
	code = curl_global_init(CURL_GLOBAL_ALL);
	restore_signals(&saved);
	if (code != CURLE_OK)
		elog(ERROR, "could not initialise libcurl: %s", curl_easy_strerror(code));
	check_library();

	multi = curl_multi_init();
	if (multi == NULL)
		ereport(ERROR, (errcode(ERRCODE_OUT_OF_MEMORY), errmsg("could not create multi handle of libcurl")));
	MULTI_SET_OR_RAISE(CURLMOPT_SOCKETFUNCTION, on_socket);
	MULTI_SET_OR_RAISE(CURLMOPT_TIMERFUNCTION, on_timer);
	MULTI_SET_OR_RAISE(CURLMOPT_PIPELINING, (long) CURLPIPE_MULTIPLEX);
	MULTI_SET_OR_RAISE(CURLMOPT_MAXCONNECTS, (long) Max(kept, 1));
	/* no queue inside libcurl: waiting there would eat the timeouts, so the work waits in its table */
	MULTI_SET_OR_RAISE(CURLMOPT_MAX_TOTAL_CONNECTIONS, 0L);
	MULTI_SET_OR_RAISE(CURLMOPT_MAX_HOST_CONNECTIONS, 0L);

	/* the idle connections; those in use are counted with their transfers */
	for (i = 0; i < kept; i++)
		ReserveExternalFD();
}
