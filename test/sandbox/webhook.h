/*
 * webhook.h: the merchant's end: takes notifications of the platform, checks and remembers them.
 * The server enters through webhook_process(), the control end reads; both under the state lock.
 */
#ifndef SANDBOX_WEBHOOK_H
#define SANDBOX_WEBHOOK_H

#include "request.h"

extern void webhook_init(void);
extern void webhook_process(Request *request);
extern void webhook_replay(const json_t *line);
/* merchant_id NULL = all; skip the first `after` of them. */
extern json_t *webhook_report(const char *merchant_id, size_t after);

#endif
