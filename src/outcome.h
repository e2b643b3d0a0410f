/*
 * outcome.h
 *		The five ends that a money-moving call can have.
 *		For the dispatch lane, the recorder of outcomes and the unit tests; libc only.
 */
#ifndef OUTCOME_H
#define OUTCOME_H

#include <stdbool.h>

#include "snap_code.h"

typedef enum Outcome
{
	OUTCOME_NOT_SENT,		 /* nothing left this machine: safe to send again */
	OUTCOME_YES,			 /* done, or accepted */
	OUTCOME_NO,				 /* final refusal of the call as a whole */
	OUTCOME_REFUSED_FOR_NOW, /* not processed: money stays reserved, the same reference goes again */
	OUTCOME_UNKNOWN			 /* money may have moved: money stays reserved, somebody must be asked */
} Outcome;

/*
 * The outcome of a call: answered when a whole HTTP answer was read (class is what it said), else sent is
 * false only where provably no byte of the request left; class is not looked at then, nor sent with an
 * answer. single_item: the call carried one payout, not a batch. *wait (may be NULL) is set: with
 * OUTCOME_YES, accepted and not yet paid. OUTCOME_NO for a batch refuses the batch, not each of its members:
 * split it until the culprit stands alone.
 */
extern Outcome outcome_of(bool answered, bool sent, SnapClass class, bool single_item, bool *wait);

/* not_sent, yes, no, refused_for_now, unknown */
extern const char *outcome_name(Outcome outcome);

#endif /* OUTCOME_H */
