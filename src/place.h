/*
 * place.h: what tells a database from its copies; see place.c.
 */
#ifndef PAYOUT_PLACE_H
#define PAYOUT_PLACE_H

#define PLACE_DIGEST_LEN 32

/* Of the database that this process is connected to. Raises an error where its directory cannot be looked at. */
extern void place_digest(uint8 digest[PLACE_DIGEST_LEN]);

#endif /* PAYOUT_PLACE_H */
