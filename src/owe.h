/*
 * owe.h: a message that is owed to a merchant. The trigger of payout.payout enters.
 */
#ifndef PAYOUT_OWE_H
#define PAYOUT_OWE_H

#include "payout_row.h"
#include "policy.h"

/* Owes the merchant a notification of the payout's event, which its last history row is, if it wants those. */
extern void owe_notification(const PayoutRow *row, const Policy *policy, const char *event);

#endif /* PAYOUT_OWE_H */
