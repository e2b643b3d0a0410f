/*
 * test_framing.c
 *		Heads of answers: whose end is plain, and whose is in doubt.
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
		"HTTP/1.1 103 Hints\r\nContent-Length: 0\r\nLink: a\r\n\r\nHTTP/1.1 103 Hints\r\nContent-Length: 0\r\n\r\n"
		"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n",
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
									   "Content\377Length: 10\r\n"};
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
		size_t j;

		if (i % 7 == 0)
			memset(&framing, 0, sizeof(framing));
		line = malloc(len > 0 ? len : 1);
		for (j = 0; j < len; j++)
			line[j] = "HTTP/1. 20:\r\n\tct-"[random_next() % 17];
		(void) http_framing_line(&framing, line, len);
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
