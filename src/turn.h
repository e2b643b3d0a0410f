/*
 * turn.h: the parts of a worker's turn: its transactions, recording what ended, claiming what is due.
 * worker.c runs them in this order; nobody else enters.
 */
#ifndef PAYOUT_TURN_H
#define PAYOUT_TURN_H

#include "lane.h"

#define TURN_PAUSE_MS 1000 /* after something failed, before it is tried again */

/* This life of the worker, once it has begun. */
extern pg_uuid_t turn_incarnation_id;

/* One transaction with SPI and a snapshot. turn_commit() serves interrupts once the commit is durable. */
extern void turn_begin(void);
extern void turn_commit(void);

/* In PG_CATCH: ends the failed transaction; the error, palloc'ed in the context. */
extern ErrorData *turn_fail(MemoryContext context);

/* Whether the same may succeed when it is tried again: somebody had a lock, or the server was short of something. */
extern bool turn_error_is_transient(const ErrorData *error);

/* Where the extension is gone there is nothing to do: ends the process; the launcher looks again. */
extern void turn_exit_if_dropped(void);

/* The single integer that a query without arguments answers. */
extern int turn_query_int(SPIPlanPtr *plan, const char *sql);

/*
 * Does work in a transaction of its own, so that what fails in it concerns no lane. Answers what the work does, not below 0;
 * -1 when it failed, which is logged: "could not" what. Raises nothing.
 */
extern int turn_alone(int (*work)(void), const char *what, MemoryContext context);

/* The single boolean that a query without arguments answers. */
extern bool turn_query_bool(SPIPlanPtr *plan, const char *sql);

/*
 * Records what ended, one statement for each lane. In the caller's transaction; the list stays as it is, and so do the
 * exchanges until record_release().
 */
extern void record_all(dlist_head *ended);
extern void record_release(dlist_head *ended);

/*
 * The same in a transaction of its own, one by one should that fail; what somebody has locked stays on the list. Returns
 * when to try that again (real milliseconds since 1970), 0 for nothing left. Raises nothing.
 */
extern int64 record_ended(dlist_head *ended, MemoryContext context);

/*
 * Claims what is due in all lanes, attempts included; whether there was any. In the caller's transaction; should that
 * fail, claim_undo() gives back what the list has by then.
 */
extern bool claim_all(dlist_head *claimed);
extern void claim_undo(dlist_head *claimed);

/* The same in a transaction of its own, lane by lane should that fail. Raises nothing. */
extern void claim_due(dlist_head *claimed, MemoryContext context);

/* Whether a token or reservation was due when work was last claimed. */
extern bool claim_found_expiry(void);

/* One batch of those; whether any was done. Raises nothing. */
extern bool expire_due(MemoryContext context);

/* Folds deltas into balances, unless it is too early for that; when it is not. Raise nothing. */
extern void fold_due(MemoryContext context);
extern int64 fold_next_ms(void);

/* Chains new transfers, unless it is too early for that; when it is not. Raise nothing. */
extern void link_due(MemoryContext context);
extern int64 link_next_ms(void);

/* When there is something to claim next (real milliseconds since 1970). Raises nothing. */
extern int64 claim_next_due_ms(MemoryContext context);

#endif /* PAYOUT_TURN_H */
