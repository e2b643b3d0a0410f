/*
 * http_transfer.h
 *	  Room for one exchange: its easy handle, its options, its memory, and the judgement of how it ended.
 *	  Only http.c enters, which runs the exchanges.
 */
#ifndef PAYOUT_HTTP_TRANSFER_H
#define PAYOUT_HTTP_TRANSFER_H

#include <curl/curl.h>

#include "http.h"
#include "http_credential.h"
#include "http_framing.h"

typedef struct HttpTransfer
{
	struct HttpTransfer *next; /* in the pool, or in a list of http.c */
	CURL *easy;
	void *owner;
	HttpReply reply; /* valid once judged */

	/* what follows is http_transfer.c's own */
	struct curl_slist *headers;
	char *request_body;
	char *reply_body; /* NUL-terminated at all times */
	size_t reply_len;
	size_t reply_size; /* allocated */
	size_t reply_bytes_max;
	size_t forgotten_bytes; /* of the reply's body */
	bool no_body;
	size_t header_bytes;
	const char *(*refusal)(const void *owner);
	const char *why_refused;
	HttpCredential ca_file;
	HttpCredential client_certificate;
	bool money;
	bool exact;
	bool opened;	   /* a socket, so its connection is a new one */
	bool host_allowed; /* private addresses are fine for this URL */
	bool address_refused;
	bool may_have_left; /* libcurl was let go on to write the request */
	bool repeat_refused;
	bool bytes_waited; /* in the connection, before the request */
	bool surplus;	   /* bytes came behind the answer */
	HttpFraming framing;
	bool body_too_large;
	bool headers_too_large;
	char curl_error[CURL_ERROR_SIZE];
} HttpTransfer;

/*
 * A transfer whose easy handle is ready to be added to the multi handle; CURLOPT_PRIVATE leads back to it.
 * NULL, with the reason in error, when the request is unsound or refused, or memory is out.
 */
extern HttpTransfer *http_transfer_prepare(const HttpRequest *req, void *owner, char *error,
										   size_t error_size);

/* Fills transfer->reply, which owns the body from then on. Before the easy handle leaves the multi handle. */
extern void http_transfer_judge(HttpTransfer *transfer, CURLcode code);

/* Takes a transfer back whose easy handle is in no multi handle. Leaves the body of a judged reply alone. */
extern void http_transfer_release(HttpTransfer *transfer);

#endif /* PAYOUT_HTTP_TRANSFER_H */
