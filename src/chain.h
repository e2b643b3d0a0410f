/*
 * chain.h: rows chained by SHA-256, so that what was changed later shows.
 * Who writes history or transfers enters; SQL calls payout.chain.
 */
#ifndef PAYOUT_CHAIN_H
#define PAYOUT_CHAIN_H

#include "access/tupdesc.h"

/*
 * The head of a chain (bytea, 32 bytes, palloc'ed) after one more row, with the columns of the description. The head
 * before it is NULL where the chain begins. Columns are of the types that chain.c knows.
 */
extern Datum chain_row(const bytea *head, TupleDesc desc, const Datum *values, const bool *nulls);

#endif /* PAYOUT_CHAIN_H */
