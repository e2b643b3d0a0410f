/*
 * journal.h: the append-only file that proves what happened; one JSON object per line.
 * Writers hold the state lock for journal_add(); anyone may call journal_commit() without it.
 */
#ifndef SANDBOX_JOURNAL_H
#define SANDBOX_JOURNAL_H

#include <jansson.h>
#include <stdbool.h>

/* Opens or creates the file, hands every whole line to replay, and cuts a torn last line off. Ends the process on failure. */
extern void journal_open(const char *path, bool sync, void (*replay)(const json_t *line));

/* Adds "at" and "event" to line (stolen) and queues it; nothing is on disk before the next journal_commit(). */
extern void journal_add(const char *event, json_t *line);

/* Writes and flushes everything queued so far; returns when it is on disk. Call it before an answer leaves. */
extern void journal_commit(void);

extern void journal_close(void);

#endif
