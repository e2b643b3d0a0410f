/*
 * test_backoff.c
 *		The delays between tries: known values, and properties over many random inputs.
 */
#include "unit.h"

#include <limits.h>
#include <math.h>

#include "backoff.h"

#define ROUNDS 200000

static void
known(unsigned tries, int64_t base_ms, int64_t max_ms, int64_t expected)
{
	ok(backoff_ms(tries, base_ms, max_ms, 0, random_next()) == expected,
	   "backoff: %u tries, %lld to %lld ms: %lld ms", tries, (long long) base_ms, (long long) max_ms,
	   (long long) expected);
}

/* A number of random size: small and huge ones are equally likely. */
static int64_t
any_size(void)
{
	return (int64_t) (random_next() >> (1 + random_next() % 63));
}

static void
properties(void)
{
	int above = 0;
	int below = 0;
	int shrunk = 0;
	int i;

	for (i = 0; i < ROUNDS; i++)
	{
		unsigned tries = (unsigned) (random_next() >> (random_next() % 64));
		int64_t base_ms = 1 + any_size() / 2;
		int64_t max_ms = base_ms + any_size() / 2;
		double jitter = (double) (random_next() % 1001) / 1000;
		int64_t delay_ms = backoff_ms(tries, base_ms, max_ms, jitter, random_next());
		int64_t plain_ms = backoff_ms(tries, base_ms, max_ms, 0, random_next());

		above += delay_ms > max_ms || delay_ms > plain_ms;
		/* compared in the wider type: the product has more digits than a double keeps */
		below += delay_ms < 0 ||
				 (long double) delay_ms < (long double) base_ms * (1.0L - jitter) - 1 - base_ms * 1e-15L;
		shrunk += tries < UINT_MAX && backoff_ms(tries + 1, base_ms, max_ms, 0, 0) < plain_ms;
	}
	ok(above == 0, "backoff: never above the maximum or the plain delay, %d random inputs", ROUNDS);
	ok(below == 0, "backoff: never below the base less its jitter, %d random inputs", ROUNDS);
	ok(shrunk == 0, "backoff: without jitter never shrinks, %d random inputs", ROUNDS);
}

/* With jitter the delays fill their range evenly. */
static void
spread(void)
{
	int buckets[10] = {0};
	bool even = true;
	int i;

	for (i = 0; i < 100000; i++)
		buckets[(backoff_ms(4, 1000, 60000, 0.5, random_next()) - 4000) * 10 / 4001]++;
	for (i = 0; i < 10; i++)
		even = even && buckets[i] > 9000 && buckets[i] < 11000;
	ok(even, "backoff: jitter spreads evenly over its range");
}

/* Input that no caller should give still gives a delay in range. */
static void
strange(void)
{
	bool in_range = true;
	int i;

	for (i = 0; i < ROUNDS; i++)
	{
		static const double jitters[] = {-1, 0, 0.5, 1, 2, NAN, INFINITY, -INFINITY, 1e-320};
		int64_t max_ms = (int64_t) random_next();
		int64_t delay_ms = backoff_ms((unsigned) random_next(), (int64_t) random_next(), max_ms,
									  jitters[random_next() % 9], random_next());

		in_range = in_range && delay_ms >= 0 && delay_ms <= (max_ms < 0 ? 0 : max_ms);
	}
	ok(in_range, "backoff: strange input stays in range, %d random inputs", ROUNDS);
	ok(backoff_ms(1, INT64_MAX, INT64_MAX, 1, UINT64_MAX) >= 0 &&
		   backoff_ms(1, INT64_MAX, INT64_MAX, 0.999999, 0) >= 0 &&
		   backoff_ms(UINT_MAX, 1, INT64_MAX, NAN, 0) == INT64_MAX,
	   "backoff: the ends of the number line");
}

void
test_backoff(void)
{
	known(1, 1000, 60000, 1000);
	known(2, 1000, 60000, 2000);
	known(3, 1000, 60000, 4000);
	known(6, 1000, 60000, 32000);
	known(7, 1000, 60000, 60000);
	known(8, 1000, 60000, 60000);
	known(UINT_MAX, 1000, 60000, 60000);
	known(0, 1000, 60000, 1000);
	known(5, 0, 60000, 16);
	known(5, -7, 60000, 16);
	known(1, 1000, 10, 10);
	known(9, 1000, -1, 0);
	known(63, 1, INT64_MAX, INT64_C(1) << 62);
	known(64, 1, INT64_MAX, INT64_MAX);
	known(1, INT64_MAX, INT64_MAX, INT64_MAX);
	properties();
	spread();
	strange();
}
