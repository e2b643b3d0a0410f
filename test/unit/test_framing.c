/*
 * test_framing.c
 *		Heads and chunks of answers: whose end is plain, and whose is in doubt.
 */
#include "unit.h"

#include <stdlib.h>
#include <string.h>

#include "http_framing.h"

/* Feeds a head line by line, as libcurl does. */
static const char *
fault_of(const char *head)
{
	HttpFraming framing = {0};

	while (*head != '\0')
	{
		const char *end = strchr(head, '\n');
		size_t size = end != NULL ? (size_t) (end - head) + 1 : strlen(head);

		if (!http_framing_line(&framing, head, size))
			return framing.fault;
		head += size;
	}
	return framing.fault;
}

static void
plain(void)
{
	static const char *const heads[] = {
		"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n",
		"HTTP/1.1 200 OK\nContent-Length: 10\n\n",
		"HTTP/1.0 200 OK\r\nContent-Length:10\r\n\r\n",
		"HTTP/1.1 404\r\ncontent-length: \t10 \r\n\r\n",
		"HTTP/1.1 200 \r\n\r\n",
		"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
		"HTTP/1.1 200 OK\r\nTRANSFER-ENCODING: Chunked\r\n\r\nX-Sum: 1\r\n\r\n",
		"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n",
		"HTTP/1.1 103 Hints\r\nLink: a\r\n\r\nHTTP/1.1 103 Hints\r\n\r\n"
		"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n",
		"HTTP/1.1 200 OK\r\nContent-Encoding: Identity\r\nContent-Length: 1\r\n\r\n",
		"HTTP/1.1 200 OK\r\nX-Empty:\r\nX-Text: a: b \377\r\nContent-Length: 1\r\n\r\n"};
	size_t i;

	for (i = 0; i < sizeof(heads) / sizeof(heads[0]); i++)
		ok(fault_of(heads[i]) == NULL, "framing: plain head %zu", i);
}

static void
doubtful(void)
{
	/* what follows "HTTP/1.1 200 OK" */
	static const char *const rest[] = {"Content-Length: 10\r\nContent-Length: 12\r\n",
									   "Content-Length: 10\r\nContent-Length: 10\r\n",
									   "Content-Length: 10\r\nX: 1\r\nCONTENT-length: 10\r\n",
									   "Content-Length: 10, 10\r\n",
									   "Content-Length: 10;12\r\n",
									   "Content-Length: +10\r\n",
									   "Content-Length: -10\r\n",
									   "Content-Length: 0x10\r\n",
									   "Content-Length: 1 0\r\n",
									   "Content-Length:\r\n",
									   "Content-Length: 1e1\r\n",
									   "Content-Length: 9999999999999999999999\r\n",
									   "Content-Length : 10\r\n",
									   "Content-Length\t: 10\r\n",
									   " Content-Length: 10\r\n",
									   "X: 1\r\n Content-Length: 10\r\n",
									   "X: 1\r\n\tmore\r\n",
									   "Content-Length: 10\r\nTransfer-Encoding: chunked\r\n",
									   "Transfer-Encoding: chunked\r\nContent-Length: 10\r\n",
									   "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
									   "Transfer-Encoding: gzip, chunked\r\n",
									   "Transfer-Encoding: chunked, identity\r\n",
									   "Transfer-Encoding: identity\r\n",
									   "Transfer-Encoding: xchunked\r\n",
									   "Transfer-Encoding: chunkedx\r\n",
									   "Transfer-Encoding: chunk\r\n",
									   "Transfer-Encoding:\r\n",
									   "Transfer-Encoding : chunked\r\n",
									   "Content-Length: 10\r",
									   "X: 1\rContent-Length: 10\r\n",
									   "\rX: 1\r\n",
									   "no colon\r\n",
									   ": no name\r\n",
									   "HTTP/1.1 200 OK\r\n",
									   "X\001: 1\r\n",
									   "Content\377Length: 10\r\n",
									   "Content-Encoding: gzip\r\n",
									   "content-encoding: br\r\nContent-Length: 10\r\n",
									   "Content-Encoding: identity, gzip\r\n",
									   "Content-Encoding:\r\n"};
	static const char *const heads[] = {
		"\r\nHTTP/1.1 200 OK\r\n",
		"Content-Length: 1\r\n",
		"garbage\r\nHTTP/1.1 200 OK\r\n",
		"HTTP/1.1 2001600\r\n",
		"HTTP/1.1 20\r\n",
		"HTTP/1.1  200 OK\r\n",
		"HTTP/2 200\r\n",
		"HTTP/1.2 200 OK\r\n",
		"HTTP/1.1 200 OK\r\n\r\nHTTP/1.1 404 X\r\n",
		"HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n",
		"HTTP/1.1 100 C\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 1\r\n",
		"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nContent-Length: 1\r\n",
		"HTTP/1.1 100 C\r\nContent-Length: 1\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n",
		"HTTP/1.1 103 Hints\r\nContent-Length: 0\r\n\r\n",
		"HTTP/1.1 102 P\r\nTransfer-Encoding: chunked\r\n\r\nHTTP/1.1 200 OK\r\n\r\n",
		"HTTP/1.1 200"};
	char head[300];
	size_t i;

	for (i = 0; i < sizeof(rest) / sizeof(rest[0]); i++)
	{
		strcpy(head, "HTTP/1.1 200 OK\r\n");
		strcat(head, rest[i]);
		ok(fault_of(head) != NULL, "framing: doubtful header %zu: %s", i,
		   fault_of(head) != NULL ? fault_of(head) : "");
	}
	for (i = 0; i < sizeof(heads) / sizeof(heads[0]); i++)
		ok(fault_of(heads[i]) != NULL, "framing: doubtful head %zu: %s", i,
		   fault_of(heads[i]) != NULL ? fault_of(heads[i]) : "");
}

/* The content of a body in chunks that comes in pieces of this size; NULL: its end is in doubt. */
static const char *
content_of(const char *body, size_t piece)
{
	static char content[2000];
	HttpFraming framing = {0};
	size_t len = strlen(body);
	size_t content_len = 0;
	size_t taken;
	bool is_content;
	size_t at;

	framing.status = 200;
	framing.is_chunked = true;
	for (at = 0; at < len; at += taken)
	{
		if (!http_framing_chunk(&framing, body + at, len - at < piece ? len - at : piece, &taken,
								&is_content))
			return NULL;
		if (is_content)
		{
			memcpy(content + content_len, body + at, taken);
			content_len += taken;
		}
	}
	content[content_len] = '\0';
	return http_framing_end(&framing) ? content : NULL;
}

static void
chunks(void)
{
	static const char *const plain[] = {"5\r\nhello\r\n0\r\n\r\n", "1\r\nh\r\n004\r\nello\r\n000\r\n\r\n",
										"5  \r\nhello\r\n0 \r\n\r\n", "5;a=b;c=\"d\"\r\nhello\r\n0;e\r\n\r\n",
										"5\r\nhello\r\n0\r\nX-Sum: 1\r\n\r\n"};
	static const char *const doubtful[] = {"5g\r\nhello\r\n0\r\n\r\n",
										   "5 5\r\nhello\r\n0\r\n\r\n",
										   "0x5\r\nhello\r\n0\r\n\r\n",
										   "+5\r\nhello\r\n0\r\n\r\n",
										   " 5\r\nhello\r\n0\r\n\r\n",
										   "5,5\r\nhello\r\n0\r\n\r\n",
										   "\r\nhello\r\n0\r\n\r\n",
										   ";a\r\nhello\r\n0\r\n\r\n",
										   "5\nhello\r\n0\r\n\r\n",
										   "5;\rx\r\nhello\r\n0\r\n\r\n",
										   "5\r\nhello\n0\r\n\r\n",
										   "5\r\nhello0\r\n\r\n",
										   "4\r\nhello\r\n0\r\n\r\n",
										   "6\r\nhello\r\n0\r\n\r\n",
										   "5\r\nhello\r\n",
										   "5\r\nhello\r\n0\r\n",
										   "5\r\nhello\r\n00000000000000005\r\nhello\r\n0\r\n\r\n",
										   "FFFFFFFFFFFFFFFF5\r\nhello\r\n0\r\n\r\n",
										   "5\r\nhello\r\n0\r\n\r\n0\r\n\r\n",
										   "5\r\nhello\r\n0\r\n\r\n ",
										   "5\r\nhello\r\n0\r\nContent-Length: 5\r\n\r\n",
										   "5\r\nhello\r\n0\r\nHTTP/1.1 404 X\r\n\r\n",
										   ""};
	char line[HTTP_FRAMING_LINE_MAX + 40];
	size_t piece;
	size_t i;

	for (i = 0; i < sizeof(plain) / sizeof(plain[0]); i++)
		for (piece = 1; piece < 40; piece += 3)
			ok(content_of(plain[i], piece) != NULL && strcmp(content_of(plain[i], piece), "hello") == 0,
			   "framing: plain chunks %zu in pieces of %zu", i, piece);
	for (i = 0; i < sizeof(doubtful) / sizeof(doubtful[0]); i++)
		for (piece = 1; piece < 40; piece += 19)
			ok(content_of(doubtful[i], piece) == NULL, "framing: doubtful chunks %zu in pieces of %zu", i,
			   piece);
	memset(line, ' ', sizeof(line));
	line[0] = '5';
	strcpy(line + HTTP_FRAMING_LINE_MAX - 1, "\r\nhello\r\n0\r\n\r\n");
	ok(content_of(line, 7) == NULL, "framing: a line between chunks is bounded");
}

static bool
surplus(const char *text)
{
	return http_framing_is_surplus(text, strlen(text));
}

static void
noise(void)
{
	HttpFraming framing = {0};
	size_t i;

	for (i = 0; i < 200000; i++)
	{
		/* allocated: its end is guarded */
		char *line;
		size_t len = random_next() % 24;
		size_t taken;
		bool is_content;
		size_t j;

		if (i % 7 == 0)
			memset(&framing, 0, sizeof(framing));
		line = malloc(len > 0 ? len : 1);
		for (j = 0; j < len; j++)
			line[j] = "HTTP/1. 20:\r\n\tct-"[random_next() % 17];
		(void) http_framing_line(&framing, line, len);
		for (j = 0; j < len; j += taken)
			if (!http_framing_chunk(&framing, line + j, len - j, &taken, &is_content) || taken == 0)
				break;
		(void) http_framing_is_surplus(line, len);
		free(line);
	}
	ok(true, "framing: 200000 rounds of noise");
}

void
test_framing(void)
{
	plain();
	doubtful();
	chunks();
	ok(surplus("Excess found: excess = 9 url = / (zero-length body)") &&
		   surplus("Excess found in a read: excess = 35, size = 3") &&
		   surplus("Excess found writing body: excess = 1, size = 2") &&
		   surplus("* excess found after response") && surplus("Leftovers after chunking: 12 bytes"),
	   "framing: libcurl's words for bytes behind an answer");
	ok(!surplus("") && !surplus("Excess") && !surplus("Connection #0 to host left intact") &&
		   !surplus("excess foun"),
	   "framing: other words are not");
	noise();
}
