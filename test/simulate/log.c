/*
 * log.c: a client's log, one JSON object a line, and which errors are strange.
 *
 * A line is one write(2), made when the answer has been read, so that a client that dies has told all it knew. A token
 * must never be written: this file does not read that field. Called by transaction.c and store.c.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "client.h"

typedef struct Line
{
	char text[1024];
	size_t length;
} Line;

void
log_open(Client *client)
{
	char path[1024];

	snprintf(path, sizeof(path), "%s/client_%d.log", client->settings->log_folder, client->number);
	client->log = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
	if (client->log < 0)
	{
		fprintf(stderr, "client %d: cannot open %s: %s\n", client->number, path, strerror(errno));
		exit(1);
	}
}

__attribute__((format(printf, 2, 3))) static void
put(Line *line, const char *format, ...)
{
	size_t left = sizeof(line->text) - line->length;
	va_list arguments;
	int length;

	va_start(arguments, format);
	length = vsnprintf(line->text + line->length, left, format, arguments);
	va_end(arguments);
	if (length < 0 || (size_t) length >= left)
		abort(); /* all fields are bounded, far below the line */
	line->length += (size_t) length;
}

/* All values are printable ASCII, made here or by the extension; anything else is shown as a question mark. */
static void
put_text(Line *line, const char *key, const char *value)
{
	const char *c;

	put(line, ", \"%s\": ", key);
	if (value == NULL || value[0] == '\0')
	{
		put(line, "null");
		return;
	}
	put(line, "\"");
	for (c = value; *c != '\0'; c++)
		put(line, "%c", *c < ' ' || *c > '~' || *c == '"' || *c == '\\' ? '?' : *c);
	put(line, "\"");
}

static void
log_write(Client *client, const Call *call)
{
	Line line = {.length = 0};

	put(&line, "{\"t\": %lld, \"n\": %ld", (long long) unix_ms(), ++client->lines);
	put_text(&line, "op", call_name(call));
	put_text(&line, "merchant", call->merchant);
	put_text(&line, "reference", call->reference);
	put_text(&line, "txid", call->txid);
	put_text(&line, "amount", call->amount);
	put_text(&line, "cvs", call->cvs);
	put_text(&line, "cvs_reference", call->cvs_reference);
	put_text(&line, "state", call->state);
	if (call->vanished != NULL)
		put_text(&line, "vanished", call->vanished);
	put_text(&line, "result", call->result);
	put(&line, "}\n");
	if (write(client->log, line.text, line.length) != (ssize_t) line.length)
	{
		fprintf(stderr, "client %d: cannot write its log: %s\n", client->number, strerror(errno));
		exit(1);
	}
}

void
client_finish(Client *client, Call *call)
{
	Counters *counters = client->counters;

	log_write(client, call);
	counters->operations++;
	if (call_is_ok(call))
		counters->ok++;
	else if (call_is_unknown(call))
		counters->unknown++;
	else
		counters->refused++;
	if (memory_learn(&client->memory, call))
		counters->payouts++;
}

static bool
is_expected(const char *sqlstate)
{
	static const char *const expected[] = {"PY",	"08",	 "40001", "40P01", "55P03", "57014",
										   "57P01", "57P02", "57P03", "53300", "53100", "53200"};
	size_t i;

	for (i = 0; i < sizeof(expected) / sizeof(expected[0]); i++)
	{
		if (strncmp(sqlstate, expected[i], strlen(expected[i])) == 0)
			return true;
	}
	return false;
}

void
client_judge(Client *client, const char *operation, const Answer *answer)
{
	char what[200];

	if (answer->sqlstate[0] == '\0' || is_expected(answer->sqlstate))
		return;
	snprintf(what, sizeof(what), "%s: %s", answer->sqlstate, answer->message);
	client_complain(client, operation, what);
}

void
client_complain(Client *client, const char *operation, const char *what)
{
	client->counters->strange++;
	fprintf(stderr, "client %d: strange, line %ld, %s: %s\n", client->number, client->lines + 1, operation,
			what);
}
