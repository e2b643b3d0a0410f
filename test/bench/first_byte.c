/*
 * first_byte.c: how long after a commit the bank hears of it. Stands between the worker and the sandbox and hands every
 * byte on; notes when the first byte of a transfer arrives. Approves payouts one after the other, each when the one
 * before has come to its end.
 *
 * A sample begins before COMMIT is sent, so it holds the commit's own flush as well, and ends when the first bytes of the
 * transfer's request have been read from the socket. One clock (CLOCK_MONOTONIC), one process.
 *
 * usage: first_byte CONNINFO BANK_PORT SAMPLES
 * Prints "first_byte: listening on PORT"; after a line on its input it takes the samples, and prints milliseconds, one a line.
 */
#include <arpa/inet.h>
#include <err.h>
#include <libpq-fe.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define PAIRS_MAX 64
#define SAMPLE_DEADLINE_S 30

static int bank_port;
static int listener;
static int sockets[2 * PAIRS_MAX]; /* of each pair the worker's and the bank's; -1 where closed */
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static double arrived_ms; /* guarded by lock; 0: not since the sample began */

static double
now_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec * 1e3 + now.tv_nsec / 1e6;
}

static void
sleep_ms(long ms)
{
	struct timespec left = {ms / 1000, ms % 1000 * 1000000};

	nanosleep(&left, NULL);
}

/* ---- the way to the bank ---- */

static int
new_socket(struct sockaddr_in *address, int port)
{
	int fd = socket(AF_INET, SOCK_STREAM, 0);

	memset(address, 0, sizeof(*address));
	address->sin_family = AF_INET;
	address->sin_port = htons((uint16_t) port);
	address->sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	if (fd < 0)
		err(1, "socket");
	return fd;
}

static int
listen_anywhere(void)
{
	struct sockaddr_in address;
	socklen_t size = sizeof(address);

	listener = new_socket(&address, 0);
	if (bind(listener, (struct sockaddr *) &address, sizeof(address)) != 0 || listen(listener, 64) != 0 ||
		getsockname(listener, (struct sockaddr *) &address, &size) != 0)
		err(1, "listen");
	return ntohs(address.sin_port);
}

static void
accept_pair(void)
{
	struct sockaddr_in address;
	int one = 1;
	int worker = accept(listener, NULL, NULL);
	int bank = new_socket(&address, bank_port);
	int place = 0;

	while (place < PAIRS_MAX && sockets[2 * place] >= 0)
		place++;
	if (worker < 0 || place == PAIRS_MAX || connect(bank, (struct sockaddr *) &address, sizeof(address)) != 0)
		err(1, "no way to the bank");
	setsockopt(worker, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	setsockopt(bank, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	sockets[2 * place] = worker;
	sockets[2 * place + 1] = bank;
}

static void
close_pair(int place)
{
	close(sockets[2 * place]);
	close(sockets[2 * place + 1]);
	sockets[2 * place] = -1;
	sockets[2 * place + 1] = -1;
}

/* Reads what is there and hands it on; the first bytes of a transfer from the worker are what is waited for. */
static void
hand_on(int from)
{
	char data[65536];
	ssize_t size = read(sockets[from], data, sizeof(data) - 1);
	double at_ms = now_ms();

	if (size <= 0 || write(sockets[from ^ 1], data, (size_t) size) != size)
	{
		close_pair(from / 2);
		return;
	}
	data[size] = '\0';
	data[strcspn(data, "\r\n")] = '\0';
	if (from % 2 == 0 && strncmp(data, "POST ", 5) == 0 && strstr(data, "/transfer-") != NULL)
	{
		pthread_mutex_lock(&lock);
		if (arrived_ms == 0)
			arrived_ms = at_ms;
		pthread_mutex_unlock(&lock);
	}
}

static void *
carry(void *unused)
{
	struct pollfd waits[2 * PAIRS_MAX + 1];

	(void) unused;
	for (;;)
	{
		for (int i = 0; i < 2 * PAIRS_MAX; i++)
			waits[i] = (struct pollfd){.fd = sockets[i], .events = POLLIN};
		waits[2 * PAIRS_MAX] = (struct pollfd){.fd = listener, .events = POLLIN};
		poll(waits, 2 * PAIRS_MAX + 1, -1);
		for (int i = 0; i < 2 * PAIRS_MAX; i++)
			if (waits[i].revents != 0 && sockets[i] == waits[i].fd)
				hand_on(i);
		if (waits[2 * PAIRS_MAX].revents != 0)
			accept_pair();
	}
	return NULL;
}

/* ---- the client ---- */

static PGresult *
run(PGconn *conn, const char *sql, const char *merchant_id, const char *txid)
{
	const char *values[] = {merchant_id, txid};
	PGresult *result = PQexecParams(conn, sql, merchant_id != NULL ? 2 : 0, NULL, values, NULL, NULL, 0);
	ExecStatusType status = PQresultStatus(result);

	if (status != PGRES_COMMAND_OK && status != PGRES_TUPLES_OK)
		errx(1, "%s: %s", sql, PQerrorMessage(conn));
	return result;
}

static double
wait_for_arrival(double began_ms)
{
	double at_ms = 0;

	while (at_ms == 0)
	{
		if (now_ms() - began_ms > SAMPLE_DEADLINE_S * 1000.0)
			errx(1, "no transfer reached the bank in %d s", SAMPLE_DEADLINE_S);
		sleep_ms(1);
		pthread_mutex_lock(&lock);
		at_ms = arrived_ms;
		pthread_mutex_unlock(&lock);
	}
	return at_ms;
}

/* The system is idle again when the payout is at its end; then some random time more. */
static void
wait_for_end(PGconn *conn, const char *merchant_id, const char *txid)
{
	bool ended = false;

	for (int tries = 0; !ended; tries++)
	{
		PGresult *result =
			run(conn, "select final_at is not null from payout.payout where merchant_id = $1 and txid = $2",
				merchant_id, txid);

		ended = PQgetvalue(result, 0, 0)[0] == 't';
		PQclear(result);
		if (tries > SAMPLE_DEADLINE_S * 100)
			errx(1, "payout %s does not end", txid);
		sleep_ms(10);
	}
	sleep_ms(10 + random() % 20);
}

static double
sample(PGconn *conn, const char *merchant_id, const char *txid)
{
	double began_ms;
	double at_ms;

	PQclear(run(conn, "begin", NULL, NULL));
	PQclear(run(conn, "select payout.approve($1, $2)", merchant_id, txid));
	pthread_mutex_lock(&lock);
	arrived_ms = 0;
	pthread_mutex_unlock(&lock);
	began_ms = now_ms();
	PQclear(run(conn, "commit", NULL, NULL));
	at_ms = wait_for_arrival(began_ms);
	wait_for_end(conn, merchant_id, txid);
	return at_ms - began_ms;
}

int
main(int argc, char **argv)
{
	PGconn *conn;
	PGresult *payouts;
	pthread_t thread;
	char line[16];
	int samples;

	if (argc != 4)
		errx(1, "usage: first_byte CONNINFO BANK_PORT SAMPLES");
	conn = PQconnectdb(argv[1]);
	if (PQstatus(conn) != CONNECTION_OK)
		errx(1, "%s", PQerrorMessage(conn));
	bank_port = atoi(argv[2]);
	samples = atoi(argv[3]);
	memset(sockets, -1, sizeof(sockets));
	printf("first_byte: listening on %d\n", listen_anywhere());
	fflush(stdout);
	pthread_create(&thread, NULL, carry, NULL);
	if (fgets(line, sizeof(line), stdin) == NULL)
		return 1;
	payouts = run(
		conn,
		"select merchant_id, txid from payout.payout where state = 'registered' and account_check = 'matched' order by txid",
		NULL, NULL);
	if (PQntuples(payouts) < samples)
		errx(1, "%d payouts are ready, not %d", PQntuples(payouts), samples);
	for (int i = 0; i < samples; i++)
		printf("%.3f\n", sample(conn, PQgetvalue(payouts, i, 0), PQgetvalue(payouts, i, 1)));
	return 0;
}
