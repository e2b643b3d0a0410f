/*
 * channel.h: the worker's view of the channels: options, opened secrets, token, and what is under way.
 * The worker, the lanes and the protocols enter; sessions never do.
 */
#ifndef PAYOUT_CHANNEL_H
#define PAYOUT_CHANNEL_H

#include "lib/ilist.h"
#include "snap_sign.h"
#include "datatype/timestamp.h"

typedef enum Lane
{
	LANE_VALIDATE,
	LANE_DISPATCH,
	LANE_CHECK,
	LANE_NOTIFY,
	LANE_TOKEN /* no queue of its own: a token is fetched when an exchange needs one */
} Lane;

#define BANK_LANES 3

struct Protocol;

typedef struct BankChannel
{
	dlist_node node;
	char channel_id[33];
	bool seen; /* in the last reading */
	bool paused;
	TimestampTz not_before; /* a refusal for now lasts until then; DT_NOBEGIN: none */
	char *version;
	MemoryContext context; /* of everything below that a new version replaces */
	const struct Protocol *protocol;
	char *base_url;
	char *breaker_key; /* this channel at this host: its rest is no other's */
	char *client_id;
	char *partner_id;
	char *channel_header;
	char *path_prefix;
	char *signed_path_prefix; /* NULL: that of the URL */
	char *ca_file;			  /* NULL: the system's */
	char *client_certificate; /* NULL: none */
	char *private_key;		  /* NULL: missing, or sealed with another file */
	char *client_secret;	  /* the same */
	SnapEncoding encoding;
	bool timestamp_ms;
	bool generic_service_code; /* answers with service 00 are the bank's own */
	int in_flight_max;
	int connect_timeout_ms;
	int request_timeout_ms;
	bool sends_bulks;

	/* lives on over versions */
	int version_no;
	char *token; /* in TopMemoryContext; NULL: none */
	int64 token_ends_ms;
	bool token_asked;
	int64 fresh_until_ms;			/* only new connections until then; 0: kept ones too */
	dlist_head waiting;				/* exchanges that wait for the token */
	int in_flight[BANK_LANES];		/* claimed and not recorded */
	int on_wire[BANK_LANES];		/* of those, sent and not answered */
	double answer_ms[BANK_LANES];	/* how long answers took of late; 0: not known */
	dlist_head reserve[BANK_LANES]; /* exchanges that wait for a place on the wire */
} BankChannel;

/* Reads the table anew if it has changed. Needs a transaction and SPI. Channels keep their address for the life of the worker. */
extern void channel_read_all(void);

/* Whether transfers may be sent now: not paused, and no refusal for now lasts. */
extern bool channel_may_dispatch(const BankChannel *channel);
extern dlist_head *channel_list(void);
extern BankChannel *channel_find(const char *channel_id); /* NULL: unknown */

/* Forgets the token, so that the next exchange fetches one. */
extern void channel_drop_token(BankChannel *channel);

#endif /* PAYOUT_CHANNEL_H */
