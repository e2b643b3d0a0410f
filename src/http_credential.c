/*
 * http_credential.c
 *	  The files that operators name for TLS, as content.
 *
 * libcurl would read them itself, where a FIFO hangs the worker, and keep what it has read for a day. Here each request looks
 * at the file: what an operator has put there counts from the next request on. The content, not the path, goes to libcurl, which
 * compares it when it looks for a kept connection: one that was made under other content is not used. A request that waits for
 * its connection looks once more before its first byte (http_credential_is_current).
 *
 * Read again is a file whose device, inode, size or times differ from those of the last reading, and one that had been changed
 * less than a second before it, as a second change may have left the same times. What is kept holds a private key: it is wiped
 * when it is replaced. Raises no error; uses no palloc, as http_start() runs in any memory context.
 */
#include "postgres.h"

#include <fcntl.h>
#include <openssl/crypto.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "http_credential.h"

/* Two for each channel; more than that make files be read more often. */
#define KEPT_MAX 128

#define SETTLED_NS INT64CONST(1000000000)

typedef struct Credential
{
	char *path;
	struct stat at; /* when it was read */
	bool settled;	/* had its times for a while by then */
	char *content;
	size_t len;
} Credential;

static Credential kept[KEPT_MAX];
static int kept_count = 0;
static int next_to_go = 0;

static int64
in_ns(struct timespec at)
{
	return (int64) at.tv_sec * INT64CONST(1000000000) + at.tv_nsec;
}

static bool
is_settled(const struct stat *st)
{
	struct timespec now;

	clock_gettime(CLOCK_REALTIME, &now);
	return in_ns(now) - in_ns(st->st_ctim) >= SETTLED_NS;
}

static bool
same_file(const struct stat *a, const struct stat *b)
{
	return a->st_dev == b->st_dev && a->st_ino == b->st_ino && a->st_size == b->st_size &&
		   in_ns(a->st_mtim) == in_ns(b->st_mtim) && in_ns(a->st_ctim) == in_ns(b->st_ctim);
}

static void
forget(Credential *credential)
{
	if (credential->content != NULL)
		OPENSSL_cleanse(credential->content, credential->len);
	free(credential->content);
	free(credential->path);
	memset(credential, 0, sizeof(*credential));
}

/* The place of a path, which may be new and without content; NULL: out of memory. */
static Credential *
place_of(const char *path)
{
	Credential *credential;
	char *copy;

	for (int i = 0; i < kept_count; i++)
		if (strcmp(kept[i].path, path) == 0)
			return &kept[i];
	copy = strdup(path);
	if (copy == NULL)
		return NULL;
	if (kept_count < KEPT_MAX)
		credential = &kept[kept_count++];
	else
	{
		credential = &kept[next_to_go];
		next_to_go = (next_to_go + 1) % KEPT_MAX;
		forget(credential);
	}
	credential->path = copy;
	return credential;
}

/* All of the file; false with errno, or with 0 where it is not as long as it was said to be. */
static bool
read_all(int fd, char *content, size_t len)
{
	size_t done = 0;

	while (done < len)
	{
		ssize_t got = read(fd, content + done, len - done);

		if (got < 0 && errno == EINTR)
			continue;
		if (got <= 0)
		{
			if (got == 0)
				errno = 0;
			return false;
		}
		done += (size_t) got;
	}
	return true;
}

/* Reads the open file into its place. NULL: done; else what is wrong. */
static const char *
read_again(Credential *credential, int fd, const struct stat *st)
{
	size_t len = (size_t) st->st_size;
	bool settled = is_settled(st);
	char *content = malloc(len);

	if (content == NULL)
		return "does not fit into memory";
	if (!read_all(fd, content, len))
	{
		int why = errno;

		OPENSSL_cleanse(content, len);
		free(content);
		return why != 0 ? strerror(why) : "is being written";
	}
	if (credential->content != NULL)
		OPENSSL_cleanse(credential->content, credential->len);
	free(credential->content);
	credential->content = content;
	credential->len = len;
	credential->at = *st;
	credential->settled = settled;
	return NULL;
}

/* NULL: the place has the content of the open file; else what is wrong with it. */
static const char *
refresh(const char *path, int fd, size_t bytes_max, Credential **credential)
{
	struct stat st;

	if (fstat(fd, &st) != 0)
		return strerror(errno);
	if (!S_ISREG(st.st_mode))
		return "is not a regular file";
	if (st.st_size == 0)
		return "is empty";
	if ((uint64) st.st_size > bytes_max)
		return "is too large";
	*credential = place_of(path);
	if (*credential == NULL)
		return "does not fit into memory";
	if ((*credential)->content != NULL && (*credential)->settled && same_file(&st, &(*credential)->at))
		return NULL;
	return read_again(*credential, fd, &st);
}

bool
http_credential_read(const char *what, const char *path, size_t bytes_max, struct curl_blob *content,
					 HttpCredential *taken, char *error, size_t error_size)
{
	Credential *credential = NULL;
	const char *why;
	/* a FIFO opens at once, and is refused by its kind */
	int fd = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC | O_NOCTTY);

	if (fd < 0)
		why = strerror(errno);
	else
	{
		why = refresh(path, fd, bytes_max, &credential);
		(void) close(fd);
	}
	if (why != NULL)
	{
		snprintf(error, error_size, "file of option %s: %s", what, why);
		return false;
	}
	taken->path = strdup(path);
	taken->at = credential->at;
	if (taken->path == NULL)
	{
		strlcpy(error, "out of memory", error_size);
		return false;
	}
	content->data = credential->content;
	content->len = credential->len;
	content->flags = CURL_BLOB_COPY;
	return true;
}

void
http_credential_forget(HttpCredential *taken)
{
	free(taken->path);
	taken->path = NULL;
}

bool
http_credential_is_current(const HttpCredential *taken)
{
	struct stat now;

	return taken->path == NULL || (stat(taken->path, &now) == 0 && same_file(&now, &taken->at));
}
