/*
 * http_framing.c
 *	  Whether head and chunks of an answer leave no doubt where the answer begins and ends (RFC 9112, 6.3, 7.1 and 11.1).
 *
 * Two programs that read one answer, a proxy and we, must find the same end of it: else what one takes for the answer to this
 * request is to the other one the answer to the next. libcurl reads more than that allows: the last of two lengths, chunks
 * and length together, folded lines, whatever stands behind the digits of a chunk's size. So here lines and chunks are looked
 * at by themselves, and what is not plain is a fault. Interim answers (1xx) have heads of their own, and no body: one that
 * announces a body is a fault. So is a content encoding, for none is asked for. Lone LF ends a line of a head as CRLF does;
 * in the body, where what stands before it counts, it does not.
 *
 * Libc alone; called from callbacks: allocates nothing, logs nothing. Only http_transfer.c and the unit tests enter.
 */
#include "http_framing.h"

#include <string.h>

/* No honest length has more digits. */
#define LENGTH_DIGITS_MAX 18
#define CHUNK_DIGITS_MAX 8

typedef struct Span
{
	const char *text;
	size_t len;
} Span;

static bool
fail(HttpFraming *framing, const char *fault)
{
	if (framing->fault == NULL)
		framing->fault = fault;
	return false;
}

static bool
is_digit(char c)
{
	return c >= '0' && c <= '9';
}

/* Letters, digits and the marks that a header name may have. */
static bool
is_name_character(char c)
{
	return is_digit(c) || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
		   (c != '\0' && strchr("!#$%&'*+-.^_`|~", c) != NULL);
}

/* Without regard to the case of ASCII letters, in any locale; word is in lower case. */
static bool
is_word(Span span, const char *word)
{
	size_t i;

	for (i = 0; i < span.len; i++)
	{
		char c = span.text[i];

		if (c >= 'A' && c <= 'Z')
			c = (char) (c - 'A' + 'a');
		if (c != word[i])
			return false; /* at the end of the word at the latest */
	}
	return word[span.len] == '\0';
}

/* The line without its end; false when that is missing, or the line holds control characters. */
static bool
strip_end(Span *line)
{
	size_t i;

	if (line->len == 0 || line->text[line->len - 1] != '\n')
		return false;
	line->len--;
	if (line->len > 0 && line->text[line->len - 1] == '\r')
		line->len--;
	for (i = 0; i < line->len; i++)
	{
		unsigned char c = (unsigned char) line->text[i];

		if ((c < ' ' && c != '\t') || c == 0x7F)
			return false;
	}
	return true;
}

/* "HTTP/1.1 200", then a blank or the end. */
static bool
read_status_line(HttpFraming *framing, Span line)
{
	const char *digits = line.text + 9;

	if (line.len < 12 || (line.text[7] != '0' && line.text[7] != '1') || line.text[6] != '.' ||
		line.text[5] != '1' || line.text[8] != ' ' || !is_digit(digits[0]) || !is_digit(digits[1]) ||
		!is_digit(digits[2]) || (line.len > 12 && digits[3] != ' '))
		return fail(framing, "a malformed status line");
	if (framing->status >= 200)
		return fail(framing, "two status lines");
	framing->status = (digits[0] - '0') * 100 + (digits[1] - '0') * 10 + digits[2] - '0';
	framing->is_http_10 = line.text[7] == '0';
	framing->in_head = true;
	framing->has_length = false;
	framing->is_chunked = false;
	return true;
}

/* "identity" says that there is none. */
static bool
read_content_encoding(HttpFraming *framing, Span value)
{
	return is_word(value, "identity") || fail(framing, "a Content-Encoding that nobody asked for");
}

static bool
read_length(HttpFraming *framing, Span value)
{
	size_t i;

	if (framing->has_length)
		return fail(framing, "two Content-Length");
	if (value.len == 0 || value.len > LENGTH_DIGITS_MAX)
		return fail(framing, "a Content-Length that is no length");
	for (i = 0; i < value.len; i++)
		if (!is_digit(value.text[i]))
			return fail(framing, "a Content-Length that is no length");
	framing->has_length = true;
	return true;
}

static bool
read_encoding(HttpFraming *framing, Span value)
{
	if (framing->is_chunked || framing->is_http_10 || !is_word(value, "chunked"))
		return fail(framing, "a Transfer-Encoding that is not chunked alone");
	framing->is_chunked = true;
	return true;
}

static bool
read_header(HttpFraming *framing, Span line)
{
	Span name = {line.text, 0};
	Span value;

	while (name.len < line.len && is_name_character(line.text[name.len]))
		name.len++;
	if (line.text[0] == ' ' || line.text[0] == '\t')
		return fail(framing, "a folded header line");
	if (name.len == 0 || name.len == line.len || line.text[name.len] != ':')
		return fail(framing, "a header line without a name and a colon behind it");
	value = (Span){line.text + name.len + 1, line.len - name.len - 1};
	while (value.len > 0 && (value.text[0] == ' ' || value.text[0] == '\t'))
	{
		value.text++;
		value.len--;
	}
	while (value.len > 0 && (value.text[value.len - 1] == ' ' || value.text[value.len - 1] == '\t'))
		value.len--;
	if (is_word(name, "content-length") && !read_length(framing, value))
		return false;
	if (is_word(name, "transfer-encoding") && !read_encoding(framing, value))
		return false;
	if (is_word(name, "content-encoding") && !read_content_encoding(framing, value))
		return false;
	if (framing->has_length && framing->is_chunked)
		return fail(framing, "Content-Length and Transfer-Encoding");
	if (framing->status < 200 && (framing->has_length || framing->is_chunked))
		return fail(framing, "an interim answer that announces a body");
	return true;
}

bool
http_framing_line(HttpFraming *framing, const char *line, size_t size)
{
	Span span = {line, size};

	if (framing->fault != NULL)
		return false;
	if (!strip_end(&span))
		return fail(framing, "control characters in a header line");
	if (!framing->in_head && span.len >= 5 && memcmp(span.text, "HTTP/", 5) == 0)
		return read_status_line(framing, span);
	if (framing->status == 0)
		return fail(framing, "something before the status line");
	if (span.len > 0)
		return read_header(framing, span); /* or a trailer, which has the same form */
	framing->in_head = false;
	return true;
}

static int
hex_value(char c)
{
	if (is_digit(c))
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

/* "1a", then blanks, or an extension behind a semicolon. */
static bool
read_chunk_size(HttpFraming *framing)
{
	Span line = {framing->line, framing->line_len};
	size_t size = 0;
	size_t digits = 0;
	size_t i;

	if (line.len < 2 || line.text[line.len - 2] != '\r' || !strip_end(&line))
		return fail(framing, "a line between chunks that does not end as it should");
	for (; digits < line.len && digits < CHUNK_DIGITS_MAX && hex_value(line.text[digits]) >= 0; digits++)
		size = size * 16 + (size_t) hex_value(line.text[digits]);
	for (i = digits; i < line.len && (line.text[i] == ' ' || line.text[i] == '\t');)
		i++;
	if (digits == 0 || (i < line.len && line.text[i] != ';'))
		return fail(framing, "a chunk's size that is none");
	framing->chunk_left = size;
	framing->part = size > 0 ? HTTP_CHUNK_CONTENT : HTTP_CHUNK_TRAILER;
	return true;
}

/* What a line in a body in chunks says. */
static bool
read_chunk_line(HttpFraming *framing)
{
	if (framing->part == HTTP_CHUNK_SIZE)
		return read_chunk_size(framing);
	if (framing->part == HTTP_CHUNK_END)
	{
		framing->part = HTTP_CHUNK_SIZE;
		return (framing->line_len == 2 && framing->line[0] == '\r') ||
			   fail(framing, "a chunk that does not end where its size says");
	}
	if (framing->line_len == 2 && framing->line[0] == '\r')
		framing->part = HTTP_CHUNK_NOTHING;
	return http_framing_line(framing, framing->line, framing->line_len);
}

bool
http_framing_chunk(HttpFraming *framing, const char *data, size_t size, size_t *taken, bool *is_content)
{
	*taken = 0;
	*is_content = framing->part == HTTP_CHUNK_CONTENT;
	if (framing->fault != NULL)
		return false;
	if (framing->part == HTTP_CHUNK_NOTHING)
	{
		framing->has_surplus = true;
		return fail(framing, "bytes behind the last chunk");
	}
	if (*is_content)
	{
		*taken = size < framing->chunk_left ? size : framing->chunk_left;
		framing->chunk_left -= *taken;
		if (framing->chunk_left == 0)
			framing->part = HTTP_CHUNK_END;
		return true;
	}
	while (*taken < size)
	{
		if (framing->line_len == sizeof(framing->line))
			return fail(framing, "a line between chunks that is too long");
		framing->line[framing->line_len++] = data[*taken];
		if (data[(*taken)++] == '\n')
		{
			bool is_plain = read_chunk_line(framing);

			framing->line_len = 0;
			return is_plain;
		}
	}
	return true;
}

bool
http_framing_end(HttpFraming *framing)
{
	if (framing->is_chunked && framing->part != HTTP_CHUNK_NOTHING)
		return fail(framing, "no last chunk");
	return framing->fault == NULL;
}

static bool
contains(const char *text, size_t size, const char *word)
{
	size_t len = strlen(word);
	size_t i;

	for (i = 0; i + len <= size; i++)
		if (is_word((Span){text + i, len}, word))
			return true;
	return false;
}

/*
 * All versions since 7.57 say one of the two: "Excess found: ...", "Excess found in a read: ...", "Excess found writing body:
 * ..."; "Leftovers after chunking: ...". No option and no result code tells the same.
 */
bool
http_framing_is_surplus(const char *text, size_t size)
{
	return contains(text, size, "excess found") || contains(text, size, "leftovers after chunking");
}
