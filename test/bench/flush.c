/*
 * flush.c: how long this disk takes to flush 8 kB, as the server's WAL does: pwrite and fdatasync, FLUSHES times over a
 * file that is there already. Prints the median in microseconds. usage: flush FILE
 */
#include <err.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define FLUSHES 300
#define BLOCK 8192

static double
now_us(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec * 1e6 + now.tv_nsec / 1e3;
}

static int
compare(const void *a, const void *b)
{
	double left = *(const double *) a;
	double right = *(const double *) b;

	return (left > right) - (left < right);
}

int
main(int argc, char **argv)
{
	static char block[BLOCK];
	double took_us[FLUSHES];
	int fd = argc == 2 ? open(argv[1], O_RDWR | O_CREAT, 0600) : -1;

	if (fd < 0)
		err(1, "usage: flush FILE");
	for (int i = 0; i < FLUSHES; i++)
		if (pwrite(fd, block, BLOCK, (off_t) i * BLOCK) != BLOCK)
			err(1, "%s", argv[1]);
	if (fsync(fd) != 0)
		err(1, "%s", argv[1]);
	memset(block, 1, BLOCK);
	for (int i = 0; i < FLUSHES; i++)
	{
		double began_us = now_us();

		if (pwrite(fd, block, BLOCK, (off_t) i * BLOCK) != BLOCK || fdatasync(fd) != 0)
			err(1, "%s", argv[1]);
		took_us[i] = now_us() - began_us;
	}
	qsort(took_us, FLUSHES, sizeof(double), compare);
	printf("%.0f\n", took_us[FLUSHES / 2]);
	close(fd);
	unlink(argv[1]);
	return 0;
}
