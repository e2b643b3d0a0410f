/*
 * arming.h: whether this database is the one that may issue and validate tokens.
 * The calls of stores enter; SQL asks payout.require_armed.
 */
#ifndef PAYOUT_ARMING_H
#define PAYOUT_ARMING_H

/* Raises PY015 where the newest committed state is not armed, or the database that this is a copy of is in use on this host. */
extern void arming_require(void);

#endif /* PAYOUT_ARMING_H */
