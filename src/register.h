/*
 * register.h: the plain registration, in C.
 * entry.c alone enters.
 */
#ifndef PAYOUT_REGISTER_H
#define PAYOUT_REGISTER_H

#include "fmgr.h"

/*
 * payout.register for a disbursement that is plain (online, at once, without options), new and within the rules, called
 * as the owner: true and the row of payout.payout. Otherwise false, nothing is done, and do_register answers.
 */
extern bool register_at_once(FunctionCallInfo fcinfo, Datum *result);

#endif /* PAYOUT_REGISTER_H */
