/*
 * main.c: table of contents of the sandbox: reads the command line, replays the journal, starts the parts, waits for a
 * signal and ends them in order. It must never do anything of a bank itself.
 */
#include <curl/curl.h>
#include <getopt.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include "books.h"
#include "config.h"
#include "control.h"
#include "journal.h"
#include "payroll.h"
#include "request.h"
#include "server.h"
#include "util.h"
#include "webhook.h"

static void
usage(void)
{
	fputs("usage: sandbox --config FILE --journal FILE [--port N] [--control-port N] [--no-sync]\n", stderr);
	exit(2);
}

static int
port_of(const char *text)
{
	char *end;
	long port = strtol(text, &end, 10);

	if (*end != '\0' || end == text || port < 0 || port > 65535)
		usage();
	return (int) port;
}

static void
replay(const json_t *line)
{
	const char *event = json_string_value(json_object_get(line, "event"));

	if (event != NULL && strcmp(event, "webhook") == 0)
		webhook_replay(line);
	else
		books_replay(line);
}

/* Hundreds of clients may hang at once. */
static void
raise_file_limit(void)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit) == 0)
	{
		limit.rlim_cur = limit.rlim_max;
		(void) setrlimit(RLIMIT_NOFILE, &limit);
	}
}

/* Signals are blocked in every thread and taken by the main one alone. */
static void
wait_for_end(const sigset_t *signals)
{
	int signal_number;

	while (sigwait(signals, &signal_number) != 0)
		continue;
}

static void
run(int port, int control_port, const sigset_t *signals)
{
	server_init(&port);
	hold_start();
	payroll_recover();
	payroll_start();
	server_up();
	/* last: from here on its thread may take the listener down and up */
	control_start(&control_port);
	printf("sandbox: control on %d\n", control_port);
	printf("sandbox: listening on %d\n", port);
	fflush(stdout);
	wait_for_end(signals);
	control_stop();
	server_down();
	payroll_stop();
	hold_stop();
	journal_close();
}

int
main(int argc, char **argv)
{
	static const struct option options[] = {
		{"config", required_argument, NULL, 'c'}, {"journal", required_argument, NULL, 'j'},
		{"port", required_argument, NULL, 'p'},	  {"control-port", required_argument, NULL, 'k'},
		{"no-sync", no_argument, NULL, 'n'},	  {NULL, 0, NULL, 0}};
	const char *config = NULL;
	const char *journal = NULL;
	int port = 0;
	int control_port = 0;
	bool sync = true;
	sigset_t signals;
	int option;

	while ((option = getopt_long(argc, argv, "", options, NULL)) != -1)
	{
		if (option == 'c')
			config = optarg;
		else if (option == 'j')
			journal = optarg;
		else if (option == 'p')
			port = port_of(optarg);
		else if (option == 'k')
			control_port = port_of(optarg);
		else if (option == 'n')
			sync = false;
		else
			usage();
	}
	if (config == NULL || journal == NULL || optind != argc)
		usage();
	sigemptyset(&signals);
	sigaddset(&signals, SIGTERM);
	sigaddset(&signals, SIGINT);
	pthread_sigmask(SIG_BLOCK, &signals, NULL);
	signal(SIGPIPE, SIG_IGN);
	raise_file_limit();
	curl_global_init(CURL_GLOBAL_DEFAULT);
	config_load(config);
	random_seed(conf.seed);
	books_init();
	webhook_init();
	journal_open(journal, sync, replay);
	run(port, control_port, &signals);
	curl_global_cleanup();
	return 0;
}
