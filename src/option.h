/*
 * option.h: options as C needs them.
 * The steps of a payout enter; SQL asks payout.option and payout.option_interval.
 */
#ifndef PAYOUT_OPTION_H
#define PAYOUT_OPTION_H

#include "utils/jsonb.h"

/* A whole number among the options of a channel, or its default. The option has one. */
extern int64 option_integer(Jsonb *options, const char *name);

/* A text among the options, or what is given for where it is not there. */
extern Datum option_text(Jsonb *options, const char *name, Datum otherwise);

/* The default of an option of a scope (channel, merchant). The option has one. */
extern Jsonb *option_default(const char *scope, const char *name);

#endif /* PAYOUT_OPTION_H */
