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
 * input is tolerated; the service part of a code is not compared, as banks put letters or other services
 * there. For a status inquiry the class is of the question alone, never FAIL; the payment's own state is
 * snap_status(). A token reply (73) without a code is OK at HTTP 200: the caller still demands its
 * accessToken.
 */
extern SnapClass snap_class(int service, int http_status, const char *response_code);

/* Is it worth an operator's eye: a row marked so, or a well-formed code that the table does not list? */
extern bool snap_alert(int http_status, const char *response_code);

/* The class of one item of a bulk notice (21): the item's code alone, read as that of a transfer. */
extern SnapClass snap_item_class(const char *response_code);

/* ok, wait, fail, later, auth, stop, unknown */
extern const char *snap_class_name(SnapClass class);

/* The table, ordered by HTTP status and case; static. */
extern const SnapCode *snap_codes(size_t *count);

/* Exactly 00 to 07; NULL or any other text is SNAP_STATUS_UNKNOWN. */
extern SnapStatus snap_status(const char *text);

/* paid, pending, refunded, canceled, failed, not_found, unknown */
extern const char *snap_status_name(SnapStatus status);

#endif /* SNAP_CODE_H */
