/*
 * crash_point.c: lets tests kill a process of the server at a named line, or commit a named fault.
 *
 * Compiled in with DEVELOPER=1 alone: a production build has neither the settings nor the calls. The file that
 * payout.crash_file names holds "NAME PASSES": the process that comes by NAME when PASSES have gone by before removes the
 * file and kills itself, so it happens once, whatever starts again after it.
 *
 * payout.mutation names a fault that the code then commits, to see whether the tests notice.
 */
#include "postgres.h"

#ifdef PAYOUT_DEVELOPER

#include <fcntl.h>
#include <signal.h>
#include <unistd.h>

#include "crash_point.h"
#include "utils/guc.h"

static char *crash_file = NULL;
static char *mutation_name = NULL;

void
crash_point_define_settings(void)
{
	DefineCustomStringVariable("payout.crash_file", "File that names the place to die at.", NULL, &crash_file,
							   "", PGC_SIGHUP, 0, NULL, NULL, NULL);
	DefineCustomStringVariable("payout.mutation", "Fault to commit.", NULL, &mutation_name, "", PGC_SIGHUP, 0,
							   NULL, NULL, NULL);
}

bool
mutation(const char *name)
{
	return strcmp(mutation_name, name) == 0;
}

void
crash_point(const char *name)
{
	char content[100] = "";
	char wanted[80] = "";
	int passes = 0;
	int fd;

	if (crash_file[0] == '\0' || (fd = open(crash_file, O_RDWR)) < 0)
		return;
	if (read(fd, content, sizeof(content) - 1) > 0 && sscanf(content, "%79s %d", wanted, &passes) >= 1 &&
		strcmp(wanted, name) == 0)
	{
		if (passes <= 0 && unlink(crash_file) == 0)
			kill(getpid(), SIGKILL);
		snprintf(content, sizeof(content), "%s %d\n", wanted, passes - 1);
		if (ftruncate(fd, 0) != 0 || pwrite(fd, content, strlen(content), 0) < 0)
			elog(LOG, "could not count a passage of \"%s\"", name);
	}
	close(fd);
}

#endif /* PAYOUT_DEVELOPER */
