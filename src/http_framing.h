/*
 * http_framing.h
 *	  Whether the head of an answer leaves no doubt where the answer begins and ends.
 *	  http_transfer.c feeds it with the lines that libcurl hands over; libc alone, so that it is tested without a server.
 */
#ifndef PAYOUT_HTTP_FRAMING_H
#define PAYOUT_HTTP_FRAMING_H

#include <stdbool.h>
#include <stddef.h>

/* Begins as zeros. */
typedef struct HttpFraming
{
	int status;		 /* of the last status line; 0: none has come */
	bool is_http_10; /* by that line */
	bool in_head;	 /* behind it, and before the empty line */
	bool has_length;
	bool is_chunked;
	const char *fault; /* what is wrong; NULL: nothing. Static */
} HttpFraming;

/* The next line of a head or of trailers, its end included. False when it, or a line before it, leaves a doubt. */
extern bool http_framing_line(HttpFraming *framing, const char *line, size_t size);

/* Whether a text of libcurl's debug function says that bytes came behind the answer, which it throws away. */
extern bool http_framing_is_surplus(const char *text, size_t size);

#endif /* PAYOUT_HTTP_FRAMING_H */
