/*
 * payroll.h: work that happens after the answer: booking of accepted bulks and pending transfers, notices with retries.
 * The bank's services and the control end queue work here under the state lock; main() starts and stops it.
 */
#ifndef SANDBOX_PAYROLL_H
#define SANDBOX_PAYROLL_H

#include "books.h"

extern void payroll_start(void);
extern void payroll_stop(void);
extern bool payroll_stopping(void);

/* Queues everything that the replayed books show as accepted but not finished. Before payroll_start(). */
extern void payroll_recover(void);

/* Books after delay_ms; a negative delay queues nothing: the transfer stays pending until a restart. */
extern void payroll_single(Entry *entry, int delay_ms);
extern void payroll_bulk(Bulk *bulk, int delay_ms);
/*
 * Sends this notice, of a bulk that was not taken, after delay_ms; negative = when payroll_deny_now() says that the same bulk
 * has come again. notice is stolen. A kill forgets it.
 */
extern void payroll_denial(json_t *notice, int delay_ms);
/* Whether there was such a notice of the bulk. */
extern bool payroll_deny_now(const char *partner_bulk_id);
/* Sends the notice of a booked bulk (again), now. */
extern void payroll_notice(Bulk *bulk);

#endif
