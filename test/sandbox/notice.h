/*
 * notice.h: the bank as a client: token 73 from the payer's end, then notice 21 of one bulk.
 * Only payroll.c enters, without any lock held.
 */
#ifndef SANDBOX_NOTICE_H
#define SANDBOX_NOTICE_H

#include <curl/curl.h>

#include "books.h"

typedef enum NoticeEnd
{
	NOTICE_FAILED, /* try again later */
	NOTICE_TAKEN,  /* a 2xx answer, or a fault says that it is never sent */
	NOTICE_DELAYED /* a fault: try again after *delay_ms */
} NoticeEnd;

/* What a notice says of a bulk that the bank did not take: every item of the request has failed. */
extern json_t *notice_denial(const json_t *request, const char *bulk_id, Refusal why);
/* Sends a denial, or without one the notice of a booked bulk; delay_ms NULL = delay faults do not apply any more. */
extern NoticeEnd notice_send(CURL *curl, const Bulk *bulk, const json_t *denial, int *delay_ms);

#endif
