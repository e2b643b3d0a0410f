/*
 * chain.h: SHA-256 over rows, as the chains of chain.sql are made of.
 * ending.c enters; SQL asks payout.chain.
 */
#ifndef PAYOUT_CHAIN_H
#define PAYOUT_CHAIN_H

#include "postgres.h"

/* SHA-256 (bytea) of these columns, in their order, behind the bytes of head, which may be NULL; see chain.c. */
extern bytea *chain_values(const bytea *head, int columns, const Oid *types, const Datum *values,
						   const bool *nulls);

#endif /* PAYOUT_CHAIN_H */
