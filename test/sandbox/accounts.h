/*
 * accounts.h: who has an account and what lies on the payer's source accounts; the inner half of the books.
 * Only books.c and the control end enter, under the state lock.
 */
#ifndef SANDBOX_ACCOUNTS_H
#define SANDBOX_ACCOUNTS_H

#include <jansson.h>

extern void accounts_init(void);
extern void accounts_replay(const char *event, const json_t *line);
extern json_t *accounts_report(void);

#endif
