/*
 * approve.h: the plain approval, in C.
 * entry.c enters for one payout, approve_batch.c for the parts.
 */
#ifndef PAYOUT_APPROVE_H
#define PAYOUT_APPROVE_H

#include "datatype/timestamp.h"
#include "fmgr.h"
#include "payout_row.h"

/*
 * payout.approve for a registered disbursement without a schedule whose account is matched or still asked for, of a
 * merchant without rules of maker and checker, called as the owner: true and the row of payout.approval; raises PY001 and
 * PY007 as the ledger does. Otherwise false, nothing is done but that the payout may be locked, and do_approve answers.
 */
extern bool approve_at_once(FunctionCallInfo fcinfo, Datum *result);

/* Whether a locked payout is so; then the time until which its account is asked for, for its full time from now on. */
extern bool approve_is_plain(const PayoutRow *row);
extern TimestampTz approve_deadline(Datum channel_id, TimestampTz now);

/* Changes such a row as the approval does, but for what belongs to its change of state. */
extern void approve_fill(PayoutRow *row, TimestampTz now, TimestampTz deadline);

#endif /* PAYOUT_APPROVE_H */
