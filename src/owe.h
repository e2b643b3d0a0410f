/*
 * owe.h: a message that is owed to a merchant. The trigger of payout.payout enters.
 */
#ifndef PAYOUT_OWE_H
#define PAYOUT_OWE_H

#include "payout_row.h"
#include "policy.h"
#include "row_set.h"

#define OWE_COLUMNS 20 /* of payout.notification */

/*
 * Owes the merchant a notification of the payout's event, which its last history row is, if it wants those. It is written
 * at once, or added to a set (unless NULL).
 */
extern void owe_notification(const PayoutRow *row, const Policy *policy, const char *event, RowSet *set);

#endif /* PAYOUT_OWE_H */
