/*
 * event_loop.c
 *	  The wait point of a worker.
 *
 * Owns one epoll descriptor, which the HTTP client fills with the sockets of libcurl, and one wait event set
 * for the life of the process with three members: the latch, the death of the postmaster, and that epoll
 * descriptor (readable as soon as any socket in it is ready). WaitLatchOrSocket() would build a set for each
 * call, and a wait event set cannot lose members; nesting one descriptor solves both.
 *
 * Never reads a socket, never calls libcurl, never touches a table. Called by the worker (wait) and by
 * http.c (descriptor).
 */
#include "postgres.h"

#include <limits.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "compat.h"
#include "event_loop.h"
#include "miscadmin.h"
#include "storage/fd.h"

#define EVENT_LOOP_MEMBERS 3

static int epoll_fd = -1;
static WaitEventSet *wait_set = NULL;

/*
 * The epoll descriptor is counted with the server's other descriptors, so that the file layer closes files
 * of its own rather than running into the limit of the process.
 */
static int
open_epoll_fd(void)
{
	int fd;

	if (!AcquireExternalFD())
		ereport(ERROR, (errcode(ERRCODE_INSUFFICIENT_RESOURCES),
						errmsg("payout worker has no file descriptor left for its event loop"),
						errhint("Raise \"max_files_per_process\".")));

	fd = epoll_create1(EPOLL_CLOEXEC);
	if (fd < 0)
	{
		int save_errno = errno;

		ReleaseExternalFD();
		errno = save_errno;
		ereport(ERROR, (errcode_for_socket_access(), errmsg("could not create epoll descriptor: %m")));
	}
	return fd;
}

void
event_loop_init(void)
{
	if (wait_set != NULL)
		elog(ERROR, "event loop is already initialised");

	if (epoll_fd < 0)
		epoll_fd = open_epoll_fd();

	wait_set = compat_create_wait_event_set(EVENT_LOOP_MEMBERS);
	AddWaitEventToSet(wait_set, WL_LATCH_SET, PGINVALID_SOCKET, MyLatch, NULL);
	AddWaitEventToSet(wait_set, WL_EXIT_ON_PM_DEATH, PGINVALID_SOCKET, NULL, NULL);
	AddWaitEventToSet(wait_set, WL_SOCKET_READABLE, epoll_fd, NULL, NULL);
}

int
event_loop_epoll_fd(void)
{
	Assert(epoll_fd >= 0);
	return epoll_fd;
}

void
event_loop_wait(long timeout_ms, uint32 wait_event_info)
{
	WaitEvent events[EVENT_LOOP_MEMBERS];
	int count;
	int i;

	/* the wait below takes a positive time as an int */
	if (timeout_ms < 0)
		timeout_ms = -1;
	else if (timeout_ms > INT_MAX)
		timeout_ms = INT_MAX;

	count = WaitEventSetWait(wait_set, timeout_ms, events, EVENT_LOOP_MEMBERS, wait_event_info);
	for (i = 0; i < count; i++)
	{
		/* before the caller looks for work: whatever comes after sets it again */
		if (events[i].events & WL_LATCH_SET)
			ResetLatch(MyLatch);
	}
}
