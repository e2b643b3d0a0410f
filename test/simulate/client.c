/*
 * client.c: the clients of a crash campaign: a process for each, asking for all that merchants, stores and operators ask
 * for, while somebody else kills the server.
 *
 * The parent starts them, waits, and adds up. It must never end before its clients. See README.md.
 */
#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "operation.h"

#define CLIENTS_MAX 1000
#define FIRST_ID_BYTES_MAX 16

static void
usage(void)
{
	fputs("usage: client --conninfo-file FILE --seed N --clients N --seconds N --log DIR --first-id TEXT\n"
		  "              [--merchants N] [--hot N] [--sync-off]\n",
		  stderr);
	exit(2);
}

static long long
parse_number(const char *text, long long least, long long most)
{
	char *end;
	long long value;

	errno = 0;
	value = strtoll(text, &end, 10);
	if (errno != 0 || end == text || *end != '\0' || value < least || value > most)
	{
		fprintf(stderr, "client: \"%s\" is not a number from %lld to %lld\n", text, least, most);
		usage();
	}
	return value;
}

static void
take_option(Settings *settings, int option, const char *value)
{
	switch (option)
	{
		case 'f':
			settings->conninfo_file = value;
			break;
		case 's':
			settings->seed = (uint64_t) parse_number(value, 0, INT64_MAX);
			break;
		case 'c':
			settings->clients = (int) parse_number(value, 1, CLIENTS_MAX);
			break;
		case 't':
			settings->seconds = (int) parse_number(value, 1, 1000000);
			break;
		case 'l':
			settings->log_folder = value;
			break;
		case 'i':
			settings->first_id = value;
			break;
		case 'm':
			settings->merchants = (int) parse_number(value, 1, 1000000);
			break;
		case 'h':
			settings->hot = (int) parse_number(value, 0, 1000000);
			break;
		case 'o':
			settings->sync_off = true;
			break;
		default:
			usage();
	}
}

static void
read_options(Settings *settings, int argc, char **argv)
{
	static const struct option options[] = {{"conninfo-file", required_argument, NULL, 'f'},
											{"seed", required_argument, NULL, 's'},
											{"clients", required_argument, NULL, 'c'},
											{"seconds", required_argument, NULL, 't'},
											{"log", required_argument, NULL, 'l'},
											{"first-id", required_argument, NULL, 'i'},
											{"merchants", required_argument, NULL, 'm'},
											{"hot", required_argument, NULL, 'h'},
											{"sync-off", no_argument, NULL, 'o'},
											{NULL, 0, NULL, 0}};
	static const char plain[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.";
	int option;

	settings->merchants = 10;
	settings->hot = 1;
	while ((option = getopt_long(argc, argv, "", options, NULL)) != -1)
		take_option(settings, option, optarg);
	if (optind != argc || settings->conninfo_file == NULL || settings->log_folder == NULL ||
		settings->first_id == NULL || settings->clients == 0 || settings->seconds == 0)
		usage();
	if (settings->hot > settings->merchants)
		settings->hot = settings->merchants;
	if (settings->first_id[0] == '\0' || strlen(settings->first_id) > FIRST_ID_BYTES_MAX ||
		strspn(settings->first_id, plain) != strlen(settings->first_id))
	{
		fprintf(stderr, "client: the first id is 1 to %d letters, digits, _ and .\n", FIRST_ID_BYTES_MAX);
		usage();
	}
}

static void
on_signal(int signal_number)
{
	(void) signal_number;
	stop_requested = 1;
}

static void
catch_signals(void)
{
	struct sigaction action = {.sa_handler = on_signal};

	sigemptyset(&action.sa_mask);
	sigaction(SIGTERM, &action, NULL);
	sigaction(SIGINT, &action, NULL);
	signal(SIGPIPE, SIG_IGN);
}

/* The life of one client, in a process of its own. */
static int
run_client(const Settings *settings, int number, int64_t ends_ms, Counters *counters)
{
	static Client client;
	Session session = {
		.conninfo_file = settings->conninfo_file, .sync_off = settings->sync_off, .ends_ms = ends_ms};

	client.settings = settings;
	client.number = number;
	client.counters = counters;
	client.session = session;
	client.rival = session;
	random_start(&client.random, settings->seed, number);
	log_open(&client);
	while (!time_is_over(&client.session))
		client_act(&client);
	session_close(&client.session);
	session_close(&client.rival);
	close(client.log);
	if (counters->operations == 0)
		fprintf(stderr, "client %d: no operation; %.*s\n", number,
				(int) strcspn(client.session.last_error, "\n"), client.session.last_error);
	return 0;
}

static pid_t
start_client(const Settings *settings, int number, int64_t ends_ms, Counters *counters)
{
	pid_t parent = getpid();
	pid_t pid = fork();

	if (pid < 0)
	{
		fprintf(stderr, "client: cannot start client %d: %s\n", number, strerror(errno));
		stop_requested = 1;
	}
	if (pid != 0)
		return pid;
	/* should the parent be killed */
	prctl(PR_SET_PDEATHSIG, SIGTERM);
	if (getppid() != parent)
		stop_requested = 1;
	exit(run_client(settings, number, ends_ms, counters));
}

static void
pass_on_stop(const pid_t *pids, int clients)
{
	int i;

	for (i = 0; i < clients; i++)
	{
		if (pids[i] > 0)
			kill(pids[i], SIGTERM);
	}
}

/* Waits for all; whether all of them ended well. */
static bool
wait_for_clients(pid_t *pids, int clients)
{
	bool passed_on = false;
	bool well = true;
	int i;

	for (i = 0; i < clients; i++)
	{
		int status = 0;

		while (pids[i] > 0 && waitpid(pids[i], &status, 0) < 0 && errno == EINTR)
		{
			if (stop_requested && !passed_on)
				pass_on_stop(pids, clients);
			passed_on = stop_requested;
		}
		if (pids[i] <= 0 || status != 0)
		{
			fprintf(stderr, "client %d: ended with status %d\n", i + 1, status);
			well = false;
		}
		pids[i] = 0;
	}
	return well;
}

static void
print_sum(const Counters *counters, int clients)
{
	Counters sum = {0};
	int i;

	for (i = 0; i < clients; i++)
	{
		sum.operations += counters[i].operations;
		sum.ok += counters[i].ok;
		sum.refused += counters[i].refused;
		sum.unknown += counters[i].unknown;
		sum.payouts += counters[i].payouts;
		sum.strange += counters[i].strange;
	}
	printf("client: operations=%ld ok=%ld refused=%ld unknown=%ld payouts=%ld strange=%ld\n", sum.operations,
		   sum.ok, sum.refused, sum.unknown, sum.payouts, sum.strange);
}

int
main(int argc, char **argv)
{
	static pid_t pids[CLIENTS_MAX];
	Settings settings = {0};
	Counters *counters;
	int64_t ends_ms;
	bool well;
	int i;

	read_options(&settings, argc, argv);
	counters =
		mmap(NULL, CLIENTS_MAX * sizeof(Counters), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (counters == MAP_FAILED)
	{
		perror("client: mmap");
		return 1;
	}
	catch_signals();
	ends_ms = monotonic_ms() + 1000 * (int64_t) settings.seconds;
	for (i = 0; i < settings.clients; i++)
		pids[i] = start_client(&settings, i + 1, ends_ms, &counters[i]);
	well = wait_for_clients(pids, settings.clients);
	print_sum(counters, settings.clients);
	return well ? 0 : 1;
}
