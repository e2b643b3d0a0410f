/*
 * outcome.c
 *		The five ends that a money-moving call can have, and which one a call had.
 *
 * Owns the step from what was seen on the wire to what it means for the money. Must never guess in favour of a
 * resend or a refund: whatever is not listed is UNKNOWN. Called by the dispatch lane's recorder and the unit tests.
 *
 *	answered	sent	class				single call			batch
 *	no			no		-					not_sent			not_sent
 *	no			yes		-					unknown				unknown
 *	yes			-		OK					yes					yes, wait (taken in, no item paid yet)
 *	yes			-		WAIT				yes, wait			yes, wait
 *	yes			-		FAIL				no					no (of the batch: the recorder splits it)
 *	yes			-		LATER, AUTH, STOP	refused_for_now		refused_for_now
 *	yes			-		UNKNOWN				unknown				unknown
 */
#include "outcome.h"

#include <stddef.h>

Outcome
outcome_of(bool answered, bool sent, SnapClass class, bool single_item, bool *wait)
{
	if (wait != NULL)
		*wait = false;
	if (!answered)
		return sent ? OUTCOME_UNKNOWN : OUTCOME_NOT_SENT;

	switch (class)
	{
		case SNAP_OK:
		case SNAP_WAIT:
			if (wait != NULL)
				*wait = class == SNAP_WAIT || !single_item;
			return OUTCOME_YES;
		case SNAP_FAIL:
			return OUTCOME_NO;
		case SNAP_LATER:
		case SNAP_AUTH:
		case SNAP_STOP:
			return OUTCOME_REFUSED_FOR_NOW;
		case SNAP_UNKNOWN:
			break;
	}
	return OUTCOME_UNKNOWN;
}

const char *
outcome_name(Outcome outcome)
{
	switch (outcome)
	{
		case OUTCOME_NOT_SENT:
			return "not_sent";
		case OUTCOME_YES:
			return "yes";
		case OUTCOME_NO:
			return "no";
		case OUTCOME_REFUSED_FOR_NOW:
			return "refused_for_now";
		case OUTCOME_UNKNOWN:
			break;
	}
	return "unknown";
}
