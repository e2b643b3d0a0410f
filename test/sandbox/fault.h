/*
 * fault.h: faults on demand: what goes wrong, for which request, how often.
 * The server, the payroll worker, the notices and the control end enter, under the state lock.
 */
#ifndef SANDBOX_FAULT_H
#define SANDBOX_FAULT_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

#define SERVICE_WEBHOOK 1000

typedef enum FaultKind
{
	FAULT_NONE,
	FAULT_DELAY,
	FAULT_HANG,
	FAULT_RESET_BEFORE,
	FAULT_RESET_AFTER,
	FAULT_ERROR_BEFORE,
	FAULT_ERROR_AFTER,
	FAULT_GARBAGE,
	FAULT_TRUNCATED,
	FAULT_OVERSIZED,
	FAULT_WRONG_SIGNATURE,
	FAULT_DUPLICATE_NOTICE,
	FAULT_NO_NOTICE,
	FAULT_NOTICE_FIRST,
	FAULT_ANSWER,
	FAULT_PENDING,
	FAULT_ITEM_FAIL,
	FAULT_DENY_LATER,
	FAULT_KIND_COUNT
} FaultKind;

#define FAULT_BIT(kind) (1u << (kind))
#define FAULTS_NOTICE \
	(FAULT_BIT(FAULT_WRONG_SIGNATURE) | FAULT_BIT(FAULT_DUPLICATE_NOTICE) | FAULT_BIT(FAULT_NO_NOTICE))
#define FAULTS_REQUEST                                                                         \
	(FAULT_BIT(FAULT_HANG) | FAULT_BIT(FAULT_RESET_BEFORE) | FAULT_BIT(FAULT_RESET_AFTER) |    \
	 FAULT_BIT(FAULT_ERROR_BEFORE) | FAULT_BIT(FAULT_ERROR_AFTER) | FAULT_BIT(FAULT_GARBAGE) | \
	 FAULT_BIT(FAULT_TRUNCATED) | FAULT_BIT(FAULT_OVERSIZED) | FAULT_BIT(FAULT_NOTICE_FIRST) | \
	 FAULT_BIT(FAULT_ANSWER) | FAULT_BIT(FAULT_PENDING) | FAULT_BIT(FAULT_DENY_LATER))

/* What one request got; a copy, valid whatever happens to the fault. kind FAULT_NONE = nothing. */
typedef struct FaultHit
{
	FaultKind kind;
	int delay_ms;
	int http;
	int code;			/* case part, 0..99 */
	int service_digits; /* the answer's code names this service; 0 = the one that was asked */
	bool after_booking;
	bool raw;
	bool nested;
	bool keep; /* a hanging request is processed later even when its client left */
	size_t size;
	char message[160];
} FaultHit;

/* What a fault may be narrowed to; root is a request's body, account_no and reference_no name one item. */
typedef struct FaultSubject
{
	int service;
	const json_t *root;
	const char *account_no;
	const char *reference_no;
	const char *merchant_id;
} FaultSubject;

/* The first fault of the given kinds that fits, decides to happen and has uses left; it loses one use. */
extern FaultHit fault_pick(unsigned int kinds, const FaultSubject *subject);

/* Returns the new id, or 0 with a text in *error. */
extern int fault_add(const json_t *request, const char **error);
extern bool fault_remove(int id);
extern void fault_clear(void);
extern json_t *fault_report(void);

#endif
