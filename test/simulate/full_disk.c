/*
 * full_disk.c: a disk that is full on demand, preloaded (LD_PRELOAD) into a server; it is no part of the client.
 *
 * Owns the library calls by which a server takes space. While FULL_DISK_FLAGS/wal exists, those that touch a file below
 * pg_wal of the current folder fail with ENOSPC; likewise FULL_DISK_FLAGS/data and base. Like a file system that copies
 * on write, so overwriting fails as well. FULL_DISK_FLAGS/wal_once and data_once are used up by the one call that they
 * let fail: space that comes back at once. Who was failed leaves a file FULL_DISK_FLAGS/met_PID. Without the variable
 * nothing ever fails.
 *
 * Must never allocate, keep state, or change errno but to ENOSPC: any process calls it, in critical sections too.
 */
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#define PATH_SIZE 4096

/* The call that would have been made without us. */
#define NEXT(name) ((__typeof__(&name)) dlsym(RTLD_NEXT, #name))

static bool
flagged(const char *flags, const char *name)
{
	char path[PATH_SIZE];
	char once[PATH_SIZE];
	int fd;

	snprintf(path, sizeof(path), "%s/%s", flags, name);
	snprintf(once, sizeof(once), "%s/%s_once", flags, name);
	/* of several processes one alone can remove it */
	if (access(path, F_OK) != 0 && unlink(once) != 0)
		return false;
	snprintf(path, sizeof(path), "%s/met_%d", flags, (int) getpid());
	fd = NEXT(open)(path, O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
	if (fd >= 0)
		close(fd);
	return true;
}

/* path is relative to the current folder, which is the data folder of every process of a running server. */
static bool
is_full_at(const char *path)
{
	const char *flags = getenv("FULL_DISK_FLAGS");

	if (flags == NULL)
		return false;
	if (strncmp(path, "pg_wal/", 7) == 0)
		return flagged(flags, "wal");
	if (strncmp(path, "base/", 5) == 0)
		return flagged(flags, "data");
	return false;
}

/* May this file not take space now? Sets errno to ENOSPC when it may not, and leaves it alone when it may. */
static bool
is_full(int fd)
{
	int saved = errno;
	char link[64];
	char folder[PATH_SIZE];
	char path[PATH_SIZE];
	ssize_t length;
	size_t prefix;
	bool full = false;

	if (getenv("FULL_DISK_FLAGS") == NULL)
		return false;
	snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
	length = readlink(link, path, sizeof(path) - 1);
	if (length > 0 && getcwd(folder, sizeof(folder)) != NULL)
	{
		path[length] = '\0';
		prefix = strlen(folder);
		full = strncmp(path, folder, prefix) == 0 && path[prefix] == '/' && is_full_at(path + prefix + 1);
	}
	errno = full ? ENOSPC : saved;
	return full;
}

/* A file that is there already takes no space when it is opened. */
int
open(const char *path, int flags, ...)
{
	int saved = errno;
	mode_t mode = 0;
	va_list arguments;

	if ((flags & O_CREAT) != 0 || (flags & O_TMPFILE) == O_TMPFILE)
	{
		va_start(arguments, flags);
		mode = va_arg(arguments, mode_t);
		va_end(arguments);
	}
	if ((flags & O_CREAT) != 0 && access(path, F_OK) != 0 && is_full_at(path))
	{
		errno = ENOSPC;
		return -1;
	}
	errno = saved;
	return NEXT(open)(path, flags, mode);
}

ssize_t
write(int fd, const void *data, size_t size)
{
	return is_full(fd) ? -1 : NEXT(write)(fd, data, size);
}

ssize_t
pwrite(int fd, const void *data, size_t size, off_t at)
{
	return is_full(fd) ? -1 : NEXT(pwrite)(fd, data, size, at);
}

ssize_t
pwritev(int fd, const struct iovec *parts, int count, off_t at)
{
	return is_full(fd) ? -1 : NEXT(pwritev)(fd, parts, count, at);
}

/* Shrinking gives space back. */
int
ftruncate(int fd, off_t size)
{
	struct stat now;

	if (fstat(fd, &now) == 0 && size > now.st_size && is_full(fd))
		return -1;
	return NEXT(ftruncate)(fd, size);
}

int
fallocate(int fd, int mode, off_t at, off_t size)
{
	return is_full(fd) ? -1 : NEXT(fallocate)(fd, mode, at, size);
}

/* Answers with the error instead of setting errno. */
int
posix_fallocate(int fd, off_t at, off_t size)
{
	return is_full(fd) ? ENOSPC : NEXT(posix_fallocate)(fd, at, size);
}

/* The names that programs built with large files call; here off_t is wide anyway. */
_Static_assert(sizeof(off_t) == 8, "off_t must be as wide as off64_t");
int open64(const char *path, int flags, ...) __attribute__((alias("open")));
ssize_t pwrite64(int fd, const void *data, size_t size, off64_t at) __attribute__((alias("pwrite")));
ssize_t pwritev64(int fd, const struct iovec *parts, int count, off64_t at) __attribute__((alias("pwritev")));
int ftruncate64(int fd, off64_t size) __attribute__((alias("ftruncate")));
int fallocate64(int fd, int mode, off64_t at, off64_t size) __attribute__((alias("fallocate")));
int posix_fallocate64(int fd, off64_t at, off64_t size) __attribute__((alias("posix_fallocate")));
