/*
 * backoff.h
 *		How long to wait before the next try.
 *		For every lane of the worker and the unit tests; libc only.
 */
#ifndef BACKOFF_H
#define BACKOFF_H

#include <stdint.h>

/*
 * The delay after so many failures in a row: base_ms doubled for each failure after the first, at most
 * max_ms, of which the share jitter (0 to 1) is taken away at random. So between base_ms * (1 - jitter) and
 * max_ms, and never shrinking with tries where jitter is 0. random is any 64 random bits. Strange input is
 * brought into range: tries 0 and a base below 1 count as 1, a negative maximum as 0, a jitter out of range
 * as its nearest end, one that is not a number as 0; where the maximum is below the base, the maximum wins.
 */
extern int64_t backoff_ms(unsigned tries, int64_t base_ms, int64_t max_ms, double jitter, uint64_t random);

#endif /* BACKOFF_H */
