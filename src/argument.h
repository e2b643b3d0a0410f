/*
 * argument.h: whether arguments that callers give are in order.
 * The steps in C that take them enter; for an error that names the argument, SQL calls payout.require_text and its sister.
 */
#ifndef PAYOUT_ARGUMENT_H
#define PAYOUT_ARGUMENT_H

/* Raises sqlstate, naming the argument, unless argument_is_text; null is not. */
extern void argument_require_text(const char *argument, NullableDatum given, int length_min, int length_max,
								  const char *characters, int sqlstate);

/* Whether a text has so many characters, all of a set that argument.c names, and is not blank. */
extern bool argument_is_text(Datum value, int length_min, int length_max, const char *characters);

/* Whether a numeric is an amount: positive, below 10^16, at most two decimals. Gives it with two decimals. */
extern bool argument_is_amount(Datum value, Datum *rounded);

/* Whether a text is this word. */
extern bool argument_is(Datum value, const char *word);

/* The order of two texts by their bytes, as of collation "C". */
extern int argument_compare(Datum a, Datum b);

#endif /* PAYOUT_ARGUMENT_H */
