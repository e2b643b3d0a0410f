/*
 * advisory.h: the extension's own advisory locks, in one list, so that no two of them meet.
 * Whoever needs a lock that is no row's enters.
 *
 * SQL's functions take the classes 1 (one bigint) and 2 (two integers), whatever role calls them. Ours is another class, so that
 * no session can hold one of these locks by SQL.
 */
#ifndef PAYOUT_ADVISORY_H
#define PAYOUT_ADVISORY_H

#include "miscadmin.h"
#include "storage/lock.h"

#define ADVISORY_CLASS 0x7061

typedef enum AdvisoryLock
{
	ADVISORY_WORKER = 0, /* the one worker of this database */
	ADVISORY_LOADING = 1 /* balances are loaded into shared memory (share), or changed by hand (exclusive) */
} AdvisoryLock;

static inline LOCKTAG
advisory_tag(AdvisoryLock lock)
{
	LOCKTAG tag;

	SET_LOCKTAG_ADVISORY(tag, MyDatabaseId, 0, lock, ADVISORY_CLASS);
	return tag;
}

/* The books of a channel, by a hash of its id: who claims what is sent (share), and who changes the bank (exclusive). See books.c. */
static inline LOCKTAG
advisory_books_tag(uint32 channel_hash)
{
	LOCKTAG tag;

	SET_LOCKTAG_ADVISORY(tag, MyDatabaseId, 1, channel_hash, ADVISORY_CLASS);
	return tag;
}

#endif /* PAYOUT_ADVISORY_H */
