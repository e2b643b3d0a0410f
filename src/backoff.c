/*
 * backoff.c
 *		How long to wait before the next try, as a pure function.
 *
 * Owns the shape of the delays: exponential, with a ceiling, spread by jitter so that those who failed
 * together do not return together. Must never read a clock or draw a random number. Called by the lanes and
 * the unit tests.
 */
#include "backoff.h"

int64_t
backoff_ms(unsigned tries, int64_t base_ms, int64_t max_ms, double jitter, uint64_t random)
{
	int64_t delay_ms = base_ms < 1 ? 1 : base_ms;
	int64_t spread_ms;
	unsigned i;

	if (max_ms < 0)
		max_ms = 0;
	/* at most 63 rounds; compared before doubling, so that nothing overflows */
	for (i = 1; i < tries && delay_ms < max_ms; i++)
		delay_ms = delay_ms > max_ms / 2 ? max_ms : delay_ms * 2;
	if (delay_ms > max_ms)
		delay_ms = max_ms;

	/* written so that a jitter that is not a number takes the first branch */
	if (!(jitter > 0))
		spread_ms = 0;
	else if (jitter >= 1)
		spread_ms = delay_ms;
	else
	{
		double share = (double) delay_ms * jitter;

		/* a large delay may have been rounded up on its way to double */
		spread_ms = share >= (double) delay_ms ? delay_ms : (int64_t) share;
		if (spread_ms > delay_ms)
			spread_ms = delay_ms;
	}
	return delay_ms - (int64_t) (random % ((uint64_t) spread_ms + 1));
}
