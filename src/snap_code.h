/*
 * snap_code.h
 *		What a SNAP BI response code means for a call: one table, and the rules that depend on the service.
 *		For the SNAP protocol, the notices of banks, the SQL list of codes and the unit tests; libc only.
 */
#ifndef SNAP_CODE_H
#define SNAP_CODE_H

#include <stdbool.h>
#include <stddef.h>

/* what to make of an answer; of a call that moves no money, UNKNOWN means no more than "ask again" */
typedef enum SnapClass
{
	SNAP_OK,	 /* done, or a batch taken in */
	SNAP_WAIT,	 /* accepted and not yet done: status inquiry or notice decides */
	SNAP_FAIL,	 /* final refusal, no money moved */
	SNAP_LATER,	 /* refused before processing; may be sent again later, same reference */
	SNAP_AUTH,	 /* not processed; renew the token, send again, same reference */
	SNAP_STOP,	 /* set-up or contract: not processed, park the channel */
	SNAP_UNKNOWN /* money may have moved: status inquiry before anything else */
} SnapClass;

/* one row of the table: class is that of a transfer (services 17, 18, 20) */
typedef struct SnapCode
{
	int http;	   /* HTTP status, the first three digits of a code */
	int case_code; /* the last two digits of a code */
	SnapClass class;
	bool alert;		  /* worth an operator's eye */
	const char *name; /* the standard's, shortened */
} SnapCode;

/* latestTransactionStatus of a status inquiry, transactionStatus of a notice */
typedef enum SnapStatus
{
	SNAP_STATUS_PAID,	   /* 00 */
	SNAP_STATUS_PENDING,   /* 01 initiated, 02 paying, 03 pending */
	SNAP_STATUS_REFUNDED,  /* 04; may follow 00 */
	SNAP_STATUS_CANCELED,  /* 05 */
	SNAP_STATUS_FAILED,	   /* 06 */
	SNAP_STATUS_NOT_FOUND, /* 07; proves nothing until the grace period has passed */
	SNAP_STATUS_UNKNOWN	   /* anything else: proves nothing */
} SnapStatus;

/*
 * The class of an answer: service is the SNAP service that was called (17 for an intrabank transfer, ...),
 * http_status the status line's, response_code the text of responseCode, NULL where the answer had none. Any
 * input is tolerated. A code whose service part is not the service that was called is UNKNOWN: it answers
 * another question. generic: this bank writes 00 there for whatever it was asked, so that counts as well. For a
 * status inquiry the class is of the question alone, never FAIL; the payment's own state is snap_status(). A
 * token reply (73) without a code is OK at HTTP 200: the caller still demands its accessToken.
 */
extern SnapClass snap_class(int service, bool generic, int http_status, const char *response_code);

/*
 * Does the code belong to an answer of this service with this status line? True for NULL, an answer without a code.
 * What is not so is UNKNOWN to snap_class(); this tells it from a code that is unknown for what it says.
 */
extern bool snap_code_fits(int service, bool generic, int http_status, const char *response_code);

/* Does the answer to a status inquiry say that the bank knows no such transfer (404-01, of this service)? */
extern bool snap_not_found(int service, bool generic, int http_status, const char *response_code);

/* Is it worth an operator's eye: a row marked so, or a well-formed code that the table does not list? */
extern bool snap_alert(int http_status, const char *response_code);

/*
 * The class of one item of a bulk notice (21): the item's code alone, read as that of a transfer. Its service is
 * the bulk's (20), the notice's (21), or 00 as in the standard's sample.
 */
extern SnapClass snap_item_class(const char *response_code);

/*
 * Is the text this amount, as a number? The amount has digits, a point and digits; the text may have fewer or more
 * zeros at either end, and no point. False for anything else, signs, blanks, exponents and separators included.
 */
extern bool snap_same_amount(const char *text, const char *amount);

/* Is it a reference that may be stored: 1 to 64 visible ASCII characters? */
extern bool snap_is_reference(const char *text);

/* ok, wait, fail, later, auth, stop, unknown */
extern const char *snap_class_name(SnapClass class);

/* The table, ordered by HTTP status and case; static. */
extern const SnapCode *snap_codes(size_t *count);

/* Exactly 00 to 07; NULL or any other text is SNAP_STATUS_UNKNOWN. */
extern SnapStatus snap_status(const char *text);

/* paid, pending, refunded, canceled, failed, not_found, unknown */
extern const char *snap_status_name(SnapStatus status);

#endif /* SNAP_CODE_H */
