/*
 * slow_disk.c: preloaded into a server, makes each flush take SLOW_DISK_US microseconds longer (2000), as it does on
 * networked disks. Nothing else changes: what is flushed is flushed.
 */
#include <dlfcn.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

static void
wait_longer(void)
{
	const char *text = getenv("SLOW_DISK_US");
	long us = text != NULL ? atol(text) : 2000;
	struct timespec left = {us / 1000000, us % 1000000 * 1000};

	while (nanosleep(&left, &left) != 0)
		;
}

static int
real_flush(const char *name, int fd)
{
	int (*flush)(int) = (int (*)(int)) dlsym(RTLD_NEXT, name);

	return flush(fd);
}

int
fdatasync(int fd)
{
	wait_longer();
	return real_flush("fdatasync", fd);
}

int
fsync(int fd)
{
	wait_longer();
	return real_flush("fsync", fd);
}
