/*
 * store.h: a store as the newest committed state says: its rules, and its terminals.
 * The calls of stores enter.
 */
#ifndef PAYOUT_STORE_H
#define PAYOUT_STORE_H

#include "datatype/timestamp.h"
#include "fmgr.h"
#include "utils/jsonb.h"

typedef struct Store
{
	Datum code; /* text */
	char *name; /* its code */
	Jsonb *options;
	bool is_active;
} Store;

/* Reads a store by its code, an argument of type text; PY016 for none. */
extern void store_read(NullableDatum code, Store *store);

/* Its option token_tries. */
extern int store_tries(const Store *store);

/* Raises PY013 where it is suspended. */
extern void store_require_active(const Store *store);

/* Raises PY016 out of its hours and PY007 for an amount (numeric) that it does not pay, naming the rule. */
extern void store_require_pays(const Store *store, Datum amount, TimestampTz at);

/* Whether it has paid at a terminal for the present caller, or an operator has named that. */
extern bool store_knows_terminal(const Store *store, Datum terminal);

/* It has paid there. */
extern void store_know_terminal(const Store *store, Datum terminal);

#endif /* PAYOUT_STORE_H */
