/*
 * bank.h: the SNAP bank: one entry for every service, and what its services share.
 * The server enters through bank_process(); bank_auth.c, bank.c and bank_bulk.c share the rest, under the state lock.
 */
#ifndef SANDBOX_BANK_H
#define SANDBOX_BANK_H

#include "request.h"

/* The service of a path below /bank, or 0. */
extern int bank_service(const char *path);

/* Processes the request and fills in its answer. Does not commit the journal. */
extern void bank_process(Request *request);

/* Steps 1 to 5 of the checks; false after an answer was given. */
extern bool bank_authorize(Request *request);
extern void bank_token(Request *request);

typedef enum FieldKind
{
	FIELD_TEXT,
	FIELD_AMOUNT,
	FIELD_DATE,
	FIELD_LIST
} FieldKind;

typedef struct Field
{
	const char *name;
	size_t size_max;
	FieldKind kind;
	bool mandatory;
} Field;

/* Mandatory fields first, then formats; the table ends with a NULL name; where names the item, or is "". */
extern bool bank_fields(Request *request, const json_t *object, const Field *fields, const char *where);
extern const char *bank_text(const json_t *object, const char *name);
extern json_t *bank_amount(int64_t cents);

extern void bank_bulk_transfer(Request *request);
/* Does not take the bulk and queues the notice that says so; false when it must be processed: a part of it is known. */
extern bool bank_bulk_deny(Request *request);

#endif
