/*
 * books.c: the lock by which a change of the bank behind a channel, and the claims of what is sent to it, see each other's commits.
 *
 * Who claims holds it in share mode from before it reads the channel until its claim is committed, a wait for a synchronous standby
 * included; it never waits for it. Who changes the bank holds it alone from before it looks for what was sent until its own commit.
 * So what is claimed is seen by the one, or reads the new epoch. SQL cannot name this lock: nobody else can hold it.
 */
#include "postgres.h"

#include "advisory.h"
#include "common/hashfn.h"
#include "fmgr.h"

PG_FUNCTION_INFO_V1(payout_share_books);
PG_FUNCTION_INFO_V1(payout_take_books);

/* Channels that meet in one lock let each other wait now and then. */
static LOCKTAG
books_tag(const text *channel_id)
{
	return advisory_books_tag(
		hash_bytes((const unsigned char *) VARDATA_ANY(channel_id), VARSIZE_ANY_EXHDR(channel_id)));
}

/* share_books(channel_id): see books.sql. */
Datum
payout_share_books(PG_FUNCTION_ARGS)
{
	LOCKTAG tag = books_tag(PG_GETARG_TEXT_PP(0));

	PG_RETURN_BOOL(LockAcquire(&tag, ShareLock, false, true) != LOCKACQUIRE_NOT_AVAIL);
}

/* take_books(channel_id): see books.sql. */
Datum
payout_take_books(PG_FUNCTION_ARGS)
{
	LOCKTAG tag = books_tag(PG_GETARG_TEXT_PP(0));

	(void) LockAcquire(&tag, ExclusiveLock, false, false);
	PG_RETURN_VOID();
}
