/*
 * reserve.h: what is claimed and not yet sent: requests to banks that wait for a place on the wire.
 * claim.c asks how much to claim, worker.c hands over what was claimed and lets it start.
 */
#ifndef PAYOUT_RESERVE_H
#define PAYOUT_RESERVE_H

#include "exchange.h"

/* How many exchanges of a channel may be claimed now in a bank lane, for the wire and for the reserve; may be negative. */
extern int reserve_places(BankChannel *channel, Lane lane);

/*
 * Takes over what was claimed, its transaction having committed, and empties the list. Starts what has a place, of merchants
 * all.
 */
extern void reserve_take(dlist_head *claimed);

/* Whether any request that waits has a place now. */
extern bool reserve_can_start(void);

/*
 * Starts what has a place. Whatever the gate refuses, or has waited too long, ends as not sent. No transaction may be open.
 */
extern void reserve_start(void);

/*
 * Whether an exchange that has ended left its place to the next at once, and half of the channel's reserve is still there:
 * then nothing stands idle if it is recorded a little later.
 */
extern bool reserve_lasts(const Exchange *exchange);

/* All that waits, for a place or for a token, ends as not sent. */
extern void reserve_release(const char *why);

/* When reserve_start() must be called for what has waited too long, as real milliseconds since 1970; a far one for never. */
extern int64 reserve_due_ms(void);

#endif /* PAYOUT_RESERVE_H */
