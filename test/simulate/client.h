/*
 * client.h: one client of a campaign: what it was told to do, what it knows, and its log.
 * The files that act for a client enter: client.c, transaction.c, prepare.c, operation.c, store.c.
 */
#ifndef SIMULATE_CLIENT_H
#define SIMULATE_CLIENT_H

#include "memory.h"

typedef struct Settings
{
	const char *conninfo_file;
	const char *log_folder;
	const char *first_id; /* begins every reference */
	uint64_t seed;
	int clients;
	int seconds;
	int merchants;
	int hot; /* so many of them are chosen half of the time */
	bool sync_off;
} Settings;

/* Shared with the parent, so that what a dead client did is counted. */
typedef struct Counters
{
	long operations; /* lines of the log */
	long ok;
	long refused;
	long unknown;
	long payouts; /* registered, repeats not counted */
	long strange; /* what should not happen, said on stderr */
} Counters;

typedef struct Client
{
	const Settings *settings;
	int number;
	Random random;
	Session session;
	Session rival; /* of two stores with one token, the other one's */
	int log;
	long lines;
	long keys; /* references made */
	Memory memory;
	Counters *counters;
} Client;

/* Opens DIR/client_N.log for appending; ends the program when it cannot. */
extern void log_open(Client *client);

/* A call has come to its end: one line of the log, the counters, and the memory. */
extern void client_finish(Client *client, Call *call);

/* Says on stderr, and counts, an error that no client may see. */
extern void client_judge(Client *client, const char *operation, const Answer *answer);
extern void client_complain(Client *client, const char *operation, const char *what);

#endif /* SIMULATE_CLIENT_H */
