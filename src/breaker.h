/*
 * breaker.h: lets a host rest that does not answer.
 * The worker and exchange.c enter; memory of the worker only.
 */
#ifndef PAYOUT_BREAKER_H
#define PAYOUT_BREAKER_H

/*
 * Tells how an exchange ended. The key says with whom it was: a channel or a merchant, at
 * a host. So nobody lets another's requests rest, nor ends their rest, by an address at the same host.
 */
extern void breaker_report(const char *key, bool answered);

/*
 * How many exchanges may be started with the host now, at most limit: 0 while it rests (then *rests_until_ms, real
 * milliseconds since 1970, is set), 1 when it is tried again, else limit.
 */
extern int breaker_allows(const char *key, int limit, int64 *rests_until_ms);

/* The part of a URL that names the host: scheme://name:port, palloc'ed. */
extern char *breaker_host(const char *url);

#endif /* PAYOUT_BREAKER_H */
