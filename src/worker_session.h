/*
 * worker_session.h: the settings of a worker's session, whatever the defaults of its database and role are.
 * worker.c enters, once it is connected and after each reload.
 */
#ifndef PAYOUT_WORKER_SESSION_H
#define PAYOUT_WORKER_SESSION_H

extern void worker_session_set(void);

#endif /* PAYOUT_WORKER_SESSION_H */
