/*
 * wakeup.h: shared memory in which workers and sessions meet: latches to set at commit, and the answer of status checks.
 * Sessions wake; the launcher and workers register themselves; check_status waits.
 */
#ifndef PAYOUT_WAKEUP_H
#define PAYOUT_WAKEUP_H

#include "storage/condition_variable.h"

#define WAKEUP_DATABASES_MAX 64 /* workers at one moment */

extern Size wakeup_shmem_size(void);
extern void wakeup_shmem_init(void);		/* in the shared memory start-up hook */
extern void wakeup_register_callback(void); /* once per process, from _PG_init */

/* False when the library is not preloaded: there is no shared memory and no worker. */
extern bool wakeup_is_ready(void);

/* At commit of this transaction, the worker of this database wakes; the launcher too, should there be no worker. */
extern void wakeup_at_commit(void);

/* The calling process is the launcher, or the worker of its database; false when all places are taken. */
extern void wakeup_register_launcher(void);
extern bool wakeup_register_worker(void);

/* Whether a worker of this database lives, whichever launcher has started it. */
extern bool wakeup_has_worker(Oid database);

/*
 * The worker: commits wake it, unless it says that it rests. Whether there was a commit since it asked last, in either case:
 * to be asked each time that it has said that it rests no more, before it waits and after.
 */
extern void wakeup_worker_rests(bool rests);
extern bool wakeup_worker_is_called(void);

/* Whether the worker has the lock on payout.secret_file: it says so, sessions of its database ask. */
extern void wakeup_worker_holds_file(bool holds);
extern bool wakeup_file_is_ours(void);

/*
 * The worker says that a turn has ended, and what failed in it, which health() tells when it goes on for long. The message is
 * cut where it is long.
 */
extern void wakeup_worker_turned(void);
extern void wakeup_worker_failed(const char *error);

/* Wakes sessions that wait for a bank's answer; the worker calls it after it committed one. */
extern void wakeup_answered(void);
extern ConditionVariable *wakeup_answers(void);

#endif /* PAYOUT_WAKEUP_H */
