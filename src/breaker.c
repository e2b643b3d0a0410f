/*
 * breaker.c: lets a host rest that does not answer.
 *
 * After BREAKER_FAILURES exchanges in a row without an answer (or with a 5xx) nothing is started for a while that grows
 * with each further failure; then one exchange is tried. Any answer closes the breaker. This spares a sick bank and our
 * own places in flight; what is to be sent waits in its table.
 */
#include "postgres.h"

#include "backoff.h"
#include "breaker.h"
#include "clock.h"
#include "utils/hsearch.h"
#include "utils/memutils.h"

#define BREAKER_FAILURES 5
#define BREAKER_BASE_MS 1000
#define BREAKER_MAX_MS 30000
#define BREAKER_KEY_LEN 256
#define BREAKER_HOSTS_MAX 10000 /* merchants' hosts are hostile input: forget all rather than grow */

typedef struct Breaker
{
	char key[BREAKER_KEY_LEN];
	int failures;
	int64 rests_until_ms; /* by rest_clock_ms() */
} Breaker;

static HTAB *breakers = NULL;

/* Rests are backoff: they go by the clock that tests may move. */
static int64
rest_clock_ms(void)
{
	return payout_now() / 1000;
}

char *
breaker_host(const char *url)
{
	const char *name = strstr(url, "://");

	if (name == NULL)
		return pstrdup(url);
	name += 3;
	return pnstrdup(url, (name - url) + strcspn(name, "/?#"));
}

static Breaker *
find(const char *who, HASHACTION action)
{
	char key[BREAKER_KEY_LEN] = {0};
	Breaker *breaker;
	bool found;

	if (breakers != NULL && hash_get_num_entries(breakers) > BREAKER_HOSTS_MAX)
	{
		hash_destroy(breakers);
		breakers = NULL;
	}
	if (breakers == NULL)
	{
		HASHCTL ctl = {.keysize = BREAKER_KEY_LEN, .entrysize = sizeof(Breaker), .hcxt = TopMemoryContext};

		breakers = hash_create("payout breakers", 64, &ctl, HASH_ELEM | HASH_STRINGS | HASH_CONTEXT);
	}
	strlcpy(key, who, sizeof(key));
	breaker = hash_search(breakers, key, action, &found);
	if (breaker != NULL && !found)
	{
		breaker->failures = 0;
		breaker->rests_until_ms = 0;
	}
	return breaker;
}

void
breaker_report(const char *key, bool answered)
{
	Breaker *breaker = find(key, answered ? HASH_FIND : HASH_ENTER);
	uint64 random;

	if (breaker == NULL)
		return;
	if (answered)
	{
		breaker->failures = 0;
		breaker->rests_until_ms = 0;
		return;
	}
	/* What was under way when the host began to rest belongs to the same outage: a burst lengthens no rest. */
	if (rest_clock_ms() < breaker->rests_until_ms)
		return;
	breaker->failures++;
	if (breaker->failures < BREAKER_FAILURES)
		return;
	if (!pg_strong_random(&random, sizeof(random)))
		random = 0;
	breaker->rests_until_ms = rest_clock_ms() + backoff_ms(breaker->failures - BREAKER_FAILURES + 1,
														   BREAKER_BASE_MS, BREAKER_MAX_MS, 0.2, random);
}

int
breaker_allows(const char *key, int limit, int64 *rests_until_ms)
{
	Breaker *breaker = find(key, HASH_FIND);

	if (breaker == NULL || breaker->failures < BREAKER_FAILURES)
		return limit;
	if (rest_clock_ms() < breaker->rests_until_ms)
	{
		*rests_until_ms = payout_unix_ms() + breaker->rests_until_ms - rest_clock_ms();
		return 0;
	}
	return Min(limit, 1);
}
