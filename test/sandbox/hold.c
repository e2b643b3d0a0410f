/*
 * hold.c: requests that wait: for a time, for a bulk's notice, or until released. Suspended connections cost no thread,
 * so hundreds may hang at once. One thread wakes them and notices clients that left. It must never touch the state.
 */
#include "request.h"

#include <poll.h>
#include <pthread.h>
#include <stdlib.h>

#define LOOK_FOR_GONE_MS 50

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t changed = PTHREAD_COND_INITIALIZER;
static Request *held;
static int held_count;
static bool closed;
static bool stopping;
static pthread_t thread;

static void
unlink_held(Request *request)
{
	if (request->hold_previous != NULL)
		request->hold_previous->hold_next = request->hold_next;
	else
		held = request->hold_next;
	if (request->hold_next != NULL)
		request->hold_next->hold_previous = request->hold_previous;
	request->hold_next = request->hold_previous = NULL;
	request->held = false;
	request->hangs = false;
	held_count--;
}

/* After this the request belongs to the server's thread again. */
static void
let_go(Request *request)
{
	unlink_held(request);
	MHD_resume_connection(request->connection);
}

bool
hold_request(Request *request, int64_t delay_ms, const Bulk *waits_for)
{
	const union MHD_ConnectionInfo *info;

	pthread_mutex_lock(&lock);
	if (closed)
	{
		pthread_mutex_unlock(&lock);
		return false;
	}
	info = MHD_get_connection_info(request->connection, MHD_CONNECTION_INFO_CONNECTION_FD);
	request->client_fd = (info == NULL) ? -1 : info->connect_fd;
	request->waits_for = waits_for;
	request->hangs = delay_ms < 0;
	request->due_ms = (waits_for != NULL) ? delay_ms : (delay_ms < 0 ? -1 : now_ms() + delay_ms);
	request->held = true;
	request->hold_previous = NULL;
	request->hold_next = held;
	if (held != NULL)
		held->hold_previous = request;
	held = request;
	held_count++;
	MHD_suspend_connection(request->connection);
	pthread_cond_signal(&changed);
	pthread_mutex_unlock(&lock);
	return true;
}

void
hold_bulk_noticed(const Bulk *bulk)
{
	Request *request;

	pthread_mutex_lock(&lock);
	for (request = held; request != NULL; request = request->hold_next)
	{
		if (request->waits_for != bulk)
			continue;
		request->waits_for = NULL;
		request->due_ms += now_ms();
	}
	pthread_cond_signal(&changed);
	pthread_mutex_unlock(&lock);
}

int
hold_release_hanging(void)
{
	Request *request;
	Request *next;
	int released = 0;

	pthread_mutex_lock(&lock);
	for (request = held; request != NULL; request = next)
	{
		next = request->hold_next;
		if (!request->hangs)
			continue;
		let_go(request);
		released++;
	}
	pthread_mutex_unlock(&lock);
	return released;
}

int
hold_hanging(void)
{
	const Request *request;
	int count = 0;

	pthread_mutex_lock(&lock);
	for (request = held; request != NULL; request = request->hold_next)
		count += request->hangs;
	pthread_mutex_unlock(&lock);
	return count;
}

void
hold_close(void)
{
	pthread_mutex_lock(&lock);
	closed = true;
	while (held != NULL)
	{
		held->gone = true;
		let_go(held);
	}
	pthread_mutex_unlock(&lock);
}

void
hold_open(void)
{
	pthread_mutex_lock(&lock);
	closed = false;
	pthread_mutex_unlock(&lock);
}

static void
wake_due(void)
{
	int64_t now = now_ms();
	Request *request;
	Request *next;

	for (request = held; request != NULL; request = next)
	{
		next = request->hold_next;
		if (!request->hangs && request->waits_for == NULL && request->due_ms <= now)
			let_go(request);
	}
}

/* A suspended connection is not read, so the server itself would not see its client leave. */
static void
wake_gone(void)
{
	struct pollfd *fds = xmalloc(sizeof(struct pollfd) * (size_t) (held_count + 1));
	Request *request;
	Request *next;
	int i = 0;

	for (request = held; request != NULL; request = request->hold_next, i++)
	{
		fds[i].fd = request->fault.keep ? -1 : request->client_fd;
		fds[i].events = POLLRDHUP;
		fds[i].revents = 0;
	}
	if (i > 0 && poll(fds, (nfds_t) i, 0) > 0)
	{
		for (request = held, i = 0; request != NULL; request = next, i++)
		{
			next = request->hold_next;
			if ((fds[i].revents & (POLLRDHUP | POLLHUP | POLLERR)) == 0)
				continue;
			request->gone = true;
			let_go(request);
		}
	}
	free(fds);
}

/* When something is to be done next: the first request is due, or it is time to look for clients that left. */
static int64_t
next_ms(int64_t look_ms)
{
	int64_t next = look_ms;

	for (const Request *request = held; request != NULL; request = request->hold_next)
		if (!request->hangs && request->waits_for == NULL && request->due_ms < next)
			next = request->due_ms;
	return next;
}

static void *
hold_main(void *arg)
{
	int64_t last_look = 0;

	pthread_mutex_lock(&lock);
	while (!stopping)
	{
		if (held == NULL)
		{
			pthread_cond_wait(&changed, &lock);
			continue;
		}
		wake_due();
		if (now_ms() - last_look >= LOOK_FOR_GONE_MS)
		{
			wake_gone();
			last_look = now_ms();
		}
		wait_until(&changed, &lock, next_ms(last_look + LOOK_FOR_GONE_MS));
	}
	pthread_mutex_unlock(&lock);
	return arg;
}

void
hold_start(void)
{
	if (pthread_create(&thread, NULL, hold_main, NULL) != 0)
		die("cannot start a thread");
}

void
hold_stop(void)
{
	pthread_mutex_lock(&lock);
	stopping = true;
	pthread_cond_signal(&changed);
	pthread_mutex_unlock(&lock);
	pthread_join(thread, NULL);
}
