/*
 * http_framing.h
 *	  Whether head and chunks of an answer leave no doubt where the answer begins and ends.
 *	  http_transfer.c feeds it with the lines that libcurl hands over, and with the body as it came, if that comes in chunks;
 *	  libc alone, so that it is tested without a server.
 */
#ifndef PAYOUT_HTTP_FRAMING_H
#define PAYOUT_HTTP_FRAMING_H

#include <stdbool.h>
#include <stddef.h>

/* No honest line between chunks, or trailer, is longer. */
#define HTTP_FRAMING_LINE_MAX 1024

/* What comes next of a body in chunks. */
typedef enum HttpChunkPart
{
	HTTP_CHUNK_SIZE,
	HTTP_CHUNK_CONTENT,
	HTTP_CHUNK_END,
	HTTP_CHUNK_TRAILER,
	HTTP_CHUNK_NOTHING
} HttpChunkPart;

/* Begins as zeros. */
typedef struct HttpFraming
{
	int status;		 /* of the last status line; 0: none has come */
	bool is_http_10; /* by that line */
	bool in_head;	 /* behind it, and before the empty line */
	bool has_length;
	bool is_chunked;
	HttpChunkPart part;
	size_t chunk_left; /* bytes of this chunk that are still to come */
	char line[HTTP_FRAMING_LINE_MAX];
	size_t line_len;   /* of the line that is coming */
	bool has_surplus;  /* bytes came behind the last chunk */
	const char *fault; /* what is wrong; NULL: nothing. Static */
} HttpFraming;

/* The next line of a head or of trailers, its end included. False when it, or a line before it, leaves a doubt. */
extern bool http_framing_line(HttpFraming *framing, const char *line, size_t size);

/*
 * The next bytes of a body in chunks, at least one: the first *taken of them are content, or belong to the framing. False when
 * they, or what came before them, leave a doubt.
 */
extern bool http_framing_chunk(HttpFraming *framing, const char *data, size_t size, size_t *taken,
							   bool *is_content);

/* The same at the end of the answer: false when a body in chunks has not come to its last one. */
extern bool http_framing_end(HttpFraming *framing);

/* Whether a text of libcurl's debug function says that bytes came behind the answer, which it throws away. */
extern bool http_framing_is_surplus(const char *text, size_t size);

#endif /* PAYOUT_HTTP_FRAMING_H */
