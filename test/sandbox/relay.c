/*
 * relay.c: an HTTP server that hands the bank's inbound calls to the database and answers with what it returned.
 * It must never judge a call itself: signatures, tokens and contents are the database's business. A program of its own.
 */
#include <arpa/inet.h>
#include <ctype.h>
#include <getopt.h>
#include <jansson.h>
#include <libpq-fe.h>
#include <microhttpd.h>
#include <netinet/in.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "util.h"

#define BODY_BYTES_MAX (1024u * 1024)
#define CONNECTIONS_MAX 16

typedef struct Call
{
	char *uri; /* as received */
	bool started;
	bool too_large;
	Buffer body;
	int http;
	json_t *headers; /* of the answer; object or NULL */
	char *reply;
} Call;

static const char *conninfo = "";
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t returned = PTHREAD_COND_INITIALIZER;
static PGconn *idle[CONNECTIONS_MAX];
static int idle_count;
static int in_use;

/* A connection from the pool, or a new one; waits while all are busy. May be a broken one. */
static PGconn *
take_connection(void)
{
	PGconn *connection = NULL;

	pthread_mutex_lock(&lock);
	while (in_use >= CONNECTIONS_MAX)
		pthread_cond_wait(&returned, &lock);
	in_use++;
	if (idle_count > 0)
		connection = idle[--idle_count];
	pthread_mutex_unlock(&lock);
	return connection == NULL ? PQconnectdb(conninfo) : connection;
}

static void
give_connection(PGconn *connection)
{
	bool good = PQstatus(connection) == CONNECTION_OK;

	pthread_mutex_lock(&lock);
	in_use--;
	if (good)
		idle[idle_count++] = connection;
	pthread_cond_signal(&returned);
	pthread_mutex_unlock(&lock);
	if (!good)
		PQfinish(connection);
}

/* Runs the call; a connection that turns out dead is opened again once: the function may be repeated. */
static PGresult *
query(PGconn *connection, const char *const *values)
{
	static const char sql[] =
		"SELECT status, headers, body FROM payout.bank_notification($1, $2, $3, $4::jsonb, $5)";
	PGresult *result = NULL;
	int tries;

	for (tries = 0; tries < 2; tries++)
	{
		if (PQstatus(connection) != CONNECTION_OK)
			PQreset(connection);
		PQclear(result);
		result = PQexecParams(connection, sql, 5, NULL, values, NULL, NULL, 0);
		if (PQstatus(connection) == CONNECTION_OK)
			break;
	}
	return result;
}

/* A statement that failed: bad text is the caller's fault, a database that cannot serve now is 503. */
static int
failure_status(const PGresult *result, const PGconn *connection)
{
	const char *state = PQresultErrorField(result, PG_DIAG_SQLSTATE);

	if (PQstatus(connection) != CONNECTION_OK || state == NULL)
		return 503;
	if (strncmp(state, "08", 2) == 0 || strncmp(state, "53", 2) == 0 || strncmp(state, "57", 2) == 0 ||
		strcmp(state, "25006") == 0)
		return 503;
	return strncmp(state, "22", 2) == 0 ? 400 : 500;
}

static void
ask_database(Call *call, const char *const *values)
{
	PGconn *connection = take_connection();
	PGresult *result = query(connection, values);

	if (PQresultStatus(result) == PGRES_TUPLES_OK && PQntuples(result) == 1)
	{
		call->http = atoi(PQgetvalue(result, 0, 0));
		call->headers = json_loads(PQgetvalue(result, 0, 1), 0, NULL);
		call->reply = xstrdup(PQgetvalue(result, 0, 2));
		if (call->http < 200 || call->http > 599)
			call->http = 500;
	}
	else
	{
		fprintf(stderr, "relay: %s", PQerrorMessage(connection));
		call->http = failure_status(result, connection);
	}
	PQclear(result);
	give_connection(connection);
}

static enum MHD_Result
add_header(void *cls, enum MHD_ValueKind kind, const char *key, const char *value)
{
	json_t *headers = cls;
	char name[128];
	size_t i;

	(void) kind;
	for (i = 0; key[i] != '\0' && i + 1 < sizeof(name); i++)
		name[i] = (char) tolower((unsigned char) key[i]);
	name[i] = '\0';
	/* no UTF-8: jansson refuses it and the header counts as missing */
	json_object_set_new(headers, name, json_string(value == NULL ? "" : value));
	return MHD_YES;
}

/* /snap/CHANNEL/...: finds the channel in the target; false when it is another path. */
static bool
find_channel(const char *uri, char *channel, size_t size)
{
	size_t length;

	if (strncmp(uri, "/snap/", 6) != 0)
		return false;
	length = strcspn(uri + 6, "/?");
	if (length == 0 || length >= size || uri[6 + length] != '/')
		return false;
	memcpy(channel, uri + 6, length);
	channel[length] = '\0';
	return true;
}

static void
serve(Call *call, struct MHD_Connection *connection, const char *method)
{
	char channel[128];
	const char *values[5];
	json_t *headers;
	char *header_text;

	if (call->too_large)
		call->http = 413;
	else if (!find_channel(call->uri, channel, sizeof(channel)))
		call->http = 404;
	else if (call->body.size > 0 && memchr(call->body.data, '\0', call->body.size) != NULL)
		call->http = 400;
	if (call->http != 0)
		return;
	headers = json_object();
	MHD_get_connection_values(connection, MHD_HEADER_KIND, add_header, headers);
	header_text = json_dumps(headers, JSON_COMPACT);
	json_decref(headers);
	values[0] = channel;
	values[1] = method;
	values[2] = call->uri; /* as requested: the bank signed it */
	values[3] = header_text;
	values[4] = call->body.size == 0 ? "" : call->body.data;
	ask_database(call, values);
	free(header_text);
}

static enum MHD_Result
give(Call *call, struct MHD_Connection *connection)
{
	const char *text = call->reply == NULL ? "" : call->reply;
	struct MHD_Response *response =
		MHD_create_response_from_buffer(strlen(text), (void *) text, MHD_RESPMEM_MUST_COPY);
	enum MHD_Result queued;
	const char *name;
	json_t *value;

	json_object_foreach(call->headers, name, value)
	{
		if (json_is_string(value))
			MHD_add_response_header(response, name, json_string_value(value));
	}
	queued = MHD_queue_response(connection, (unsigned int) call->http, response);
	MHD_destroy_response(response);
	return queued;
}

static void *
on_target(void *cls, const char *uri, struct MHD_Connection *connection)
{
	Call *call = xmalloc(sizeof(Call));

	(void) cls;
	(void) connection;
	memset(call, 0, sizeof(*call));
	call->uri = xstrdup(uri);
	return call;
}

static enum MHD_Result
on_call(void *cls, struct MHD_Connection *connection, const char *url, const char *method,
		const char *version, const char *upload, size_t *upload_size, void **con_cls)
{
	Call *call = *con_cls;

	(void) cls;
	(void) url;
	(void) version;
	if (!call->started)
	{
		call->started = true;
		return MHD_YES;
	}
	if (*upload_size > 0)
	{
		if (call->body.size + *upload_size > BODY_BYTES_MAX)
			call->too_large = true;
		else
			buffer_add(&call->body, upload, *upload_size);
		*upload_size = 0;
		return MHD_YES;
	}
	serve(call, connection, method);
	return give(call, connection);
}

static void
on_completed(void *cls, struct MHD_Connection *connection, void **con_cls,
			 enum MHD_RequestTerminationCode how)
{
	Call *call = *con_cls;

	(void) cls;
	(void) connection;
	(void) how;
	if (call == NULL)
		return;
	free(call->uri);
	free(call->reply);
	json_decref(call->headers);
	buffer_free(&call->body);
	free(call);
	*con_cls = NULL;
}

static void
usage(void)
{
	fputs("usage: relay [--port N] --conninfo \"...\"\n", stderr);
	exit(2);
}

static struct MHD_Daemon *
start(int port)
{
	struct sockaddr_in address;

	memset(&address, 0, sizeof(address));
	address.sin_family = AF_INET;
	address.sin_port = htons((uint16_t) port);
	address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	return MHD_start_daemon(MHD_USE_THREAD_PER_CONNECTION | MHD_USE_INTERNAL_POLLING_THREAD | MHD_USE_POLL |
								MHD_USE_ERROR_LOG,
							0, NULL, NULL, on_call, NULL, MHD_OPTION_SOCK_ADDR, &address,
							MHD_OPTION_LISTENING_ADDRESS_REUSE, 1u, MHD_OPTION_URI_LOG_CALLBACK, on_target,
							NULL, MHD_OPTION_NOTIFY_COMPLETED, on_completed, NULL, MHD_OPTION_END);
}

static void
run(int port, const sigset_t *signals)
{
	struct MHD_Daemon *server = start(port);
	int signal_number;

	if (server == NULL)
		die("relay: cannot listen on port %d", port);
	printf("relay: listening on %d\n", (int) MHD_get_daemon_info(server, MHD_DAEMON_INFO_BIND_PORT)->port);
	fflush(stdout);
	while (sigwait(signals, &signal_number) != 0)
		continue;
	MHD_stop_daemon(server);
	while (idle_count > 0)
		PQfinish(idle[--idle_count]);
}

int
main(int argc, char **argv)
{
	static const struct option options[] = {{"port", required_argument, NULL, 'p'},
											{"conninfo", required_argument, NULL, 'c'},
											{NULL, 0, NULL, 0}};
	sigset_t signals;
	int port = 0;
	int option;

	while ((option = getopt_long(argc, argv, "", options, NULL)) != -1)
	{
		if (option == 'p')
			port = atoi(optarg);
		else if (option == 'c')
			conninfo = optarg;
		else
			usage();
	}
	if (optind != argc || port < 0 || port > 65535)
		usage();
	sigemptyset(&signals);
	sigaddset(&signals, SIGTERM);
	sigaddset(&signals, SIGINT);
	pthread_sigmask(SIG_BLOCK, &signals, NULL);
	signal(SIGPIPE, SIG_IGN);
	run(port, &signals);
	return 0;
}
