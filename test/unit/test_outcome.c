/*
 * test_outcome.c
 *		Every cell of the outcome table.
 */
#include "unit.h"

#include <string.h>

#include "outcome.h"

static void
ended(bool answered, bool sent, SnapClass class, bool single_item, Outcome expected, bool expected_wait)
{
	bool wait = !expected_wait;
	Outcome outcome = outcome_of(answered, sent, class, single_item, &wait);

	ok(outcome == expected && wait == expected_wait &&
		   outcome_of(answered, sent, class, single_item, NULL) == expected,
	   "outcome: %s, %s, class %s, %s: %s%s", answered ? "answered" : "not answered",
	   sent ? "sent" : "not sent", snap_class_name(class), single_item ? "single" : "batch",
	   outcome_name(expected), expected_wait ? ", wait" : "");
}

void
test_outcome(void)
{
	static const Outcome expected[] = {[SNAP_OK] = OUTCOME_YES,
									   [SNAP_WAIT] = OUTCOME_YES,
									   [SNAP_FAIL] = OUTCOME_NO,
									   [SNAP_LATER] = OUTCOME_REFUSED_FOR_NOW,
									   [SNAP_AUTH] = OUTCOME_REFUSED_FOR_NOW,
									   [SNAP_STOP] = OUTCOME_REFUSED_FOR_NOW,
									   [SNAP_UNKNOWN] = OUTCOME_UNKNOWN};
	int class;
	int single;

	for (class = SNAP_OK; class <= SNAP_UNKNOWN; class ++)
		for (single = 0; single <= 1; single++)
		{
			ended(false, false, class, single, OUTCOME_NOT_SENT, false);
			ended(false, true, class, single, OUTCOME_UNKNOWN, false);
			ended(true, true, class, single, expected[class],
				  class == SNAP_WAIT || (class == SNAP_OK && !single));
			ended(true, false, class, single, expected[class],
				  class == SNAP_WAIT || (class == SNAP_OK && !single));
		}
	ended(true, true, (SnapClass) 99, true, OUTCOME_UNKNOWN, false);

	ok(strcmp(outcome_name(OUTCOME_NOT_SENT), "not_sent") == 0 &&
		   strcmp(outcome_name(OUTCOME_YES), "yes") == 0 && strcmp(outcome_name(OUTCOME_NO), "no") == 0 &&
		   strcmp(outcome_name(OUTCOME_REFUSED_FOR_NOW), "refused_for_now") == 0 &&
		   strcmp(outcome_name(OUTCOME_UNKNOWN), "unknown") == 0,
	   "outcome: names");
}
