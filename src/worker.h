/*
 * worker.h: the two background processes.
 * payout.c registers the launcher; the launcher starts workers. Nobody else enters.
 */
#ifndef PAYOUT_WORKER_H
#define PAYOUT_WORKER_H

extern void launcher_register(void); /* from _PG_init while preloading */
extern PGDLLEXPORT void payout_launcher_main(Datum arg);
extern PGDLLEXPORT void payout_worker_main(Datum database);

#endif /* PAYOUT_WORKER_H */
