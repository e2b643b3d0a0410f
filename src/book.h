/*
 * book.h: which creation of the extension this is, and whether what it knows is all that was done (place.sql, lost_tail.sql).
 * lost_tail.c and arming.c enter.
 */
#ifndef PAYOUT_BOOK_H
#define PAYOUT_BOOK_H

#include "utils/uuid.h"

typedef struct Book
{
	pg_uuid_t first; /* the creation of the extension in which it began, the same in all its copies */
	bool lacks_tail; /* payout.may_lack_tail() */
} Book;

/* By what is committed now, whatever the caller's snapshot, and without a trace (peek.h). Not in recovery. */
extern void book_read(Book *book);

#endif /* PAYOUT_BOOK_H */
