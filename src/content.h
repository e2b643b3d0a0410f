/*
 * content.h: what of a payout never changes, its salt and its digest.
 * The registrations in C enter; SQL asks payout.new_salt and payout.content_digest.
 */
#ifndef PAYOUT_CONTENT_H
#define PAYOUT_CONTENT_H

#include "payout_row.h"

/* So many new salts (bytea). */
extern void content_salts(int count, Datum *salts);

/* The digest (bytea) of a payout's content over its salt; NULL where it has no salt. */
extern bytea *content_digest(const PayoutRow *row);

#endif /* PAYOUT_CONTENT_H */
