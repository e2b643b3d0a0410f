/*
 * secret_lock.h: the locks on payout.secret_file and payout.secret_file_old. For the worker, gate.c and arming.c; see secret_lock.c.
 */
#ifndef PAYOUT_SECRET_LOCK_H
#define PAYOUT_SECRET_LOCK_H

#include "secret_file.h"
#include "utils/uuid.h"

/*
 * The worker: the digest of a file, read again only where it may have changed. False when it is not set or not usable; raises nothing
 * for that.
 */
extern bool secret_file_look(SecretSource source, uint8 digest[SECRET_DIGEST_LEN]);

/*
 * The worker: takes the exclusive locks of this database on the files that it looked at last (the old one where it is usable), on
 * what they say, and on the book, beside those that it has. False when the present file is not usable, or another process (a copy
 * of this database on this host) has one of the locks: then it has what it had before. is_armed: for the present file.
 */
extern bool secret_file_lock(uint64 system_identifier, Oid database, const uint8 book[UUID_LEN],
							 bool is_armed);

/* The worker: lets all of them go. The process's end does as well. */
extern void secret_file_unlock(void);

/* The worker: keeps what it holds, though the database is not armed for the present file. */
extern void secret_file_keep(void);

/* The worker: whether it holds the lock on what a file of this digest says. */
extern bool secret_file_holds(const uint8 digest[SECRET_DIGEST_LEN]);

/* The worker: whether the locks are held, the database is armed for the present file, and that is still the one that was looked at last, unchanged. Looks at its inode, raises nothing. */
extern bool secret_file_is_ours(void);

/* Whether any process has a lock on the present file, on what it says, or on the book, now. Raises PY015 where the file is not usable. */
extern bool secret_file_is_locked(uint64 system_identifier, Oid database, const uint8 book[UUID_LEN]);

#endif /* PAYOUT_SECRET_LOCK_H */
