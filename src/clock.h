/*
 * clock.h: the two clocks: the real one, and the one that tests may move.
 * Schedules, expiry and backoff use payout_now(); TXIDs, signatures and the life of bank tokens never do.
 */
#ifndef PAYOUT_CLOCK_H
#define PAYOUT_CLOCK_H

#include "datatype/timestamp.h"

/* The wall clock, moved by payout.clock_offset when payout.testing is on. */
extern TimestampTz payout_now(void);

/* Milliseconds since 1970, real. */
extern int64 payout_unix_ms(void);

#endif /* PAYOUT_CLOCK_H */
