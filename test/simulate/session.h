/*
 * session.h: one connection to a server that may die, restart or move at any moment.
 * calls.c, block.c and operation.c enter; nobody else speaks to libpq.
 */
#ifndef SIMULATE_SESSION_H
#define SIMULATE_SESSION_H

#include <libpq-fe.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>

typedef struct Session
{
	const char *conninfo_file; /* its first line is read again for each try */
	bool sync_off;
	int64_t
		ends_ms; /* monotonic; after this no connection is made, and an answer is awaited a second longer */
	PGconn *connection;	  /* NULL: none */
	char last_error[400]; /* why the last try to connect failed */
} Session;

/* What a statement came to. */
typedef enum AnswerKind
{
	ANSWER_OK,	  /* the server is ready again after it */
	ANSWER_ERROR, /* refused, and the connection goes on */
	ANSWER_LOST	  /* no answer, or a last one: what became of the statement is not known */
} AnswerKind;

typedef struct Answer
{
	AnswerKind kind;
	char sqlstate[6];  /* of an error, even where the connection was lost with it; else empty */
	char message[160]; /* the error's primary message: it names no argument */
	PGresult *result;  /* ANSWER_OK: the answer; else NULL */
} Answer;

extern volatile sig_atomic_t stop_requested;

extern int64_t monotonic_ms(void);
extern int64_t unix_ms(void);

extern bool time_is_over(const Session *session);

/* Connects where there is no connection: once; or again and again, false when the time is over. */
extern bool session_try(Session *session);
extern bool session_open(Session *session);

/* Ends the connection where it stands, without reading what may still come. */
extern void session_close(Session *session);

/* Sends a statement with text parameters (NULL: null); false when there is no connection now. */
extern bool session_send(Session *session, const char *sql, int count, const char *const *values);

/* Reads all that the server answers to the statement sent. answer_free() afterwards. */
extern void session_read(Session *session, Answer *answer);

/* Both in one. */
extern void session_run(Session *session, const char *sql, int count, const char *const *values,
						Answer *answer);

extern void answer_free(Answer *answer);

#endif /* SIMULATE_SESSION_H */
