/*
 * event_loop.h
 *	  Room for the one wait point of a worker: latch, death of the postmaster, sockets, timer.
 *	  Only the worker and the HTTP client enter; a session of an application never does.
 */
#ifndef PAYOUT_EVENT_LOOP_H
#define PAYOUT_EVENT_LOOP_H

/*
 * Creates the epoll descriptor and the wait event set. Once per process, after the process has its latch
 * and before http_init(). Raises an error when the process has no descriptors left.
 */
extern void event_loop_init(void);

/* The epoll descriptor that the sockets of the HTTP client are registered in; valid after event_loop_init(). */
extern int event_loop_epoll_fd(void);

/*
 * Sleeps until the latch is set, a registered socket is ready, or timeout_ms passed (0: look and return,
 * negative: no timeout). Resets the latch, so the caller looks for work afterwards. Ends the process with
 * proc_exit(1) when the postmaster has died. The caller does CHECK_FOR_INTERRUPTS() after it and holds no
 * transaction during it.
 */
extern void event_loop_wait(long timeout_ms, uint32 wait_event_info);

#endif /* PAYOUT_EVENT_LOOP_H */
