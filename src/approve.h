/*
 * approve.h: the plain approval, in C.
 * entry.c alone enters.
 */
#ifndef PAYOUT_APPROVE_H
#define PAYOUT_APPROVE_H

#include "fmgr.h"

/*
 * payout.approve for a registered disbursement without a schedule whose account is matched or still asked for, of a
 * merchant without rules of maker and checker, called as the owner: true and the row of payout.approval; raises PY001 and PY007 as the ledger does. Otherwise false, nothing is
 * done but that the payout may be locked, and do_approve answers.
 */
extern bool approve_at_once(FunctionCallInfo fcinfo, Datum *result);

#endif /* PAYOUT_APPROVE_H */
