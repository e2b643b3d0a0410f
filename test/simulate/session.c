/*
 * session.c: a connection that is opened again and again, and statements whose end may never be told.
 *
 * It must never call a statement done before the server has said that it is ready for the next one: in the extended
 * protocol a statement's own completion is sent before its commit. Every wait has a deadline and ends at once when
 * stop_requested is set. Called by calls.c, block.c and operation.c.
 */
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "session.h"

#define RECONNECT_EVERY_MS 50
#define CONNECT_MS_MAX 5000
#define ANSWER_MS_MAX \
	15000 /* longer than statement_timeout: a commit that waits for a standby is not under it */
#define OVERTIME_MS 1000
#define POLL_SLICE_MS 50 /* a signal between the look at stop_requested and poll() costs no more than this */

volatile sig_atomic_t stop_requested = 0;

static int64_t
read_clock(clockid_t clock)
{
	struct timespec now;

	clock_gettime(clock, &now);
	return (int64_t) now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

int64_t
monotonic_ms(void)
{
	return read_clock(CLOCK_MONOTONIC);
}

int64_t
unix_ms(void)
{
	return read_clock(CLOCK_REALTIME);
}

/* Waits for the socket; fd -1: only for the time. False when the deadline has passed or a stop is requested. */
static bool
wait_socket(int fd, short events, int64_t deadline_ms)
{
	struct pollfd entry = {.fd = fd, .events = events};

	while (!stop_requested)
	{
		int64_t left_ms = deadline_ms - monotonic_ms();
		int ready;

		if (left_ms <= 0)
			return false;
		ready = poll(&entry, 1, left_ms < POLL_SLICE_MS ? (int) left_ms : POLL_SLICE_MS);
		if (ready > 0 || (ready < 0 && errno != EINTR))
			return true;
	}
	return false;
}

static bool
read_conninfo(const char *path, char *conninfo, int size)
{
	FILE *file = fopen(path, "r");
	bool found;

	if (file == NULL)
		return false;
	found = fgets(conninfo, size, file) != NULL;
	fclose(file);
	if (found)
		conninfo[strcspn(conninfo, "\r\n")] = '\0';
	return found && conninfo[0] != '\0';
}

/* A server that dies warns each of its clients; libpq would say so on stderr. */
static void
ignore_notice(void *arg, const char *message)
{
	(void) arg;
	(void) message;
}

/* One try to connect, without blocking past its deadline. */
static bool
connect_once(Session *session)
{
	char conninfo[1024];
	const char *keywords[] = {"fallback_application_name", "dbname", NULL};
	const char *values[] = {"simulate", conninfo, NULL};
	int64_t deadline_ms = monotonic_ms() + CONNECT_MS_MAX;
	PostgresPollingStatusType status = PGRES_POLLING_WRITING;

	if (!read_conninfo(session->conninfo_file, conninfo, sizeof(conninfo)))
	{
		snprintf(session->last_error, sizeof(session->last_error), "no conninfo in the file");
		return false;
	}
	if (session->ends_ms < deadline_ms)
		deadline_ms = session->ends_ms;
	session->connection = PQconnectStartParams(keywords, values, 1);
	if (session->connection == NULL || PQstatus(session->connection) == CONNECTION_BAD)
		return false;
	PQsetNoticeProcessor(session->connection, ignore_notice, NULL);
	while (status != PGRES_POLLING_OK)
	{
		if (status == PGRES_POLLING_FAILED ||
			!wait_socket(PQsocket(session->connection), status == PGRES_POLLING_READING ? POLLIN : POLLOUT,
						 deadline_ms))
			return false;
		status = PQconnectPoll(session->connection);
	}
	return true;
}

/* A warning that slipped in between would push a statement's completion out before its commit. */
static bool
set_up(Session *session)
{
	static const char sql[] =
		"select pg_catalog.set_config('client_min_messages', 'error', false),"
		" pg_catalog.set_config('statement_timeout', '10s', false),"
		" case when $1::boolean then pg_catalog.set_config('synchronous_commit', 'off', false) end";
	const char *values[] = {session->sync_off ? "on" : "off"};
	const char *standby = PQparameterStatus(session->connection, "in_hot_standby");
	Answer answer;
	bool done;

	if (standby != NULL && strcmp(standby, "on") == 0)
		return false;
	session_run(session, sql, 1, values, &answer);
	done = answer.kind == ANSWER_OK;
	answer_free(&answer);
	return done;
}

bool
session_try(Session *session)
{
	if (session->connection != NULL && PQstatus(session->connection) == CONNECTION_BAD)
		session_close(session);
	if (session->connection != NULL)
		return true;
	if (connect_once(session) && set_up(session))
		return true;
	if (session->connection != NULL)
		snprintf(session->last_error, sizeof(session->last_error), "%s", PQerrorMessage(session->connection));
	session_close(session);
	return false;
}

bool
session_open(Session *session)
{
	while (!session_try(session))
	{
		wait_socket(-1, 0, monotonic_ms() + RECONNECT_EVERY_MS);
		if (time_is_over(session))
			return false;
	}
	return true;
}

bool
time_is_over(const Session *session)
{
	return stop_requested || monotonic_ms() >= session->ends_ms;
}

void
session_close(Session *session)
{
	PQfinish(session->connection);
	session->connection = NULL;
}

bool
session_send(Session *session, const char *sql, int count, const char *const *values)
{
	if (session->connection != NULL &&
		PQsendQueryParams(session->connection, sql, count, NULL, values, NULL, NULL, 0) == 1)
		return true;
	session_close(session);
	return false;
}

/* Waits until the next result is there, or the connection's end; false when it takes too long. */
static bool
wait_result(Session *session, int64_t deadline_ms)
{
	while (PQisBusy(session->connection))
	{
		if (!wait_socket(PQsocket(session->connection), POLLIN, deadline_ms))
			return false;
		if (!PQconsumeInput(session->connection))
			return true; /* PQgetResult says so */
	}
	return true;
}

/* Keeps the first error of a statement; true when it was the connection's last word. */
static bool
note_error(Answer *answer, const PGresult *result)
{
	const char *sqlstate = PQresultErrorField(result, PG_DIAG_SQLSTATE);
	const char *severity = PQresultErrorField(result, PG_DIAG_SEVERITY_NONLOCALIZED);
	const char *message = PQresultErrorField(result, PG_DIAG_MESSAGE_PRIMARY);

	if (sqlstate == NULL || severity == NULL)
		return true; /* libpq's own: the connection broke */
	if (answer->sqlstate[0] == '\0')
	{
		snprintf(answer->sqlstate, sizeof(answer->sqlstate), "%s", sqlstate);
		snprintf(answer->message, sizeof(answer->message), "%s", message != NULL ? message : "");
	}
	return strcmp(severity, "ERROR") != 0;
}

void
session_read(Session *session, Answer *answer)
{
	int64_t deadline_ms = monotonic_ms() + ANSWER_MS_MAX;
	bool lost = session->connection == NULL;
	PGresult *result;

	memset(answer, 0, sizeof(*answer));
	if (session->ends_ms + OVERTIME_MS < deadline_ms)
		deadline_ms = session->ends_ms + OVERTIME_MS;
	while (!lost)
	{
		if (!wait_result(session, deadline_ms))
			lost = true;
		else if ((result = PQgetResult(session->connection)) == NULL)
			break; /* ready for the next statement, or broken */
		else if (PQresultStatus(result) == PGRES_TUPLES_OK || PQresultStatus(result) == PGRES_COMMAND_OK)
		{
			PQclear(answer->result);
			answer->result = result;
		}
		else
		{
			lost = note_error(answer, result);
			PQclear(result);
		}
	}
	if (lost || PQstatus(session->connection) != CONNECTION_OK ||
		(answer->sqlstate[0] == '\0' && answer->result == NULL))
	{
		answer->kind = ANSWER_LOST;
		session_close(session);
	}
	else
		answer->kind = answer->sqlstate[0] == '\0' ? ANSWER_OK : ANSWER_ERROR;
	if (answer->kind != ANSWER_OK)
	{
		PQclear(answer->result);
		answer->result = NULL;
	}
}

void
session_run(Session *session, const char *sql, int count, const char *const *values, Answer *answer)
{
	session_send(session, sql, count, values);
	session_read(session, answer);
}

void
answer_free(Answer *answer)
{
	PQclear(answer->result);
	answer->result = NULL;
}
