/*
 * journal.c: owns the journal file. Lines are queued under the state lock and reach the disk in journal_commit(), where
 * threads that arrive together share one write and one flush. It must never let an answer leave before its lines.
 * Called by the books, the bank, the merchant end and the workers.
 */
#include "journal.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "util.h"

static int journal_fd = -1;
static bool journal_sync;
static Buffer queued;		   /* guarded by queue_lock */
static uint64_t queued_bytes;  /* ever queued, guarded by queue_lock */
static uint64_t flushed_bytes; /* ever flushed, guarded by file_lock */
static pthread_mutex_t queue_lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_mutex_t file_lock = PTHREAD_MUTEX_INITIALIZER;

/* Replays whole lines; returns the offset behind the last whole one. */
static off_t
replay_file(FILE *file, void (*replay)(const json_t *line))
{
	char *line = NULL;
	size_t room = 0;
	ssize_t size;
	off_t end = 0;

	while ((size = getline(&line, &room, file)) > 0)
	{
		json_t *object;

		if (line[size - 1] != '\n')
			break;
		object = json_loadb(line, (size_t) size, 0, NULL);
		if (!json_is_object(object))
			die("journal: line at byte %lld is not an object", (long long) end);
		replay(object);
		json_decref(object);
		end += size;
	}
	free(line);
	return end;
}

void
journal_open(const char *path, bool sync, void (*replay)(const json_t *line))
{
	FILE *file = fopen(path, "r");
	off_t end = 0;

	if (file != NULL)
	{
		end = replay_file(file, replay);
		fclose(file);
	}
	journal_sync = sync;
	journal_fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
	if (journal_fd < 0)
		die("journal: cannot open %s: %s", path, strerror(errno));
	/* a torn line was never acknowledged; left in place it would swallow the next one */
	if (ftruncate(journal_fd, end) != 0)
		die("journal: cannot cut %s: %s", path, strerror(errno));
}

void
journal_add(const char *event, json_t *line)
{
	char at[TIME_TEXT_SIZE];
	json_t *head;
	char *text;
	size_t size;

	time_format(at, now_ms());
	head = json_pack("{s:s, s:s}", "at", at, "event", event);
	json_object_update(head, line);
	json_decref(line);
	text = json_dumps(head, JSON_COMPACT);
	json_decref(head);
	if (text == NULL)
		die("journal: cannot write a line as JSON");
	size = strlen(text);
	text[size] = '\n';
	pthread_mutex_lock(&queue_lock);
	buffer_add(&queued, text, size + 1);
	queued_bytes += size + 1;
	pthread_mutex_unlock(&queue_lock);
	free(text);
}

static void
write_all(const char *bytes, size_t size)
{
	while (size > 0)
	{
		ssize_t done = write(journal_fd, bytes, size);

		if (done < 0 && errno == EINTR)
			continue;
		/* a bank that cannot keep its books must not go on answering */
		if (done <= 0)
			die("journal: write failed: %s", strerror(errno));
		bytes += done;
		size -= (size_t) done;
	}
}

void
journal_commit(void)
{
	Buffer mine;
	uint64_t target;

	pthread_mutex_lock(&queue_lock);
	target = queued_bytes;
	pthread_mutex_unlock(&queue_lock);
	pthread_mutex_lock(&file_lock);
	if (flushed_bytes < target && journal_fd >= 0)
	{
		pthread_mutex_lock(&queue_lock);
		mine = queued;
		target = queued_bytes;
		memset(&queued, 0, sizeof(queued));
		pthread_mutex_unlock(&queue_lock);
		write_all(mine.data, mine.size);
		if (journal_sync && fdatasync(journal_fd) != 0)
			die("journal: flush failed: %s", strerror(errno));
		flushed_bytes = target;
		buffer_free(&mine);
	}
	pthread_mutex_unlock(&file_lock);
}

void
journal_close(void)
{
	journal_commit();
	pthread_mutex_lock(&file_lock);
	close(journal_fd);
	journal_fd = -1;
	pthread_mutex_unlock(&file_lock);
	buffer_free(&queued);
}
