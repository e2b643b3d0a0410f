/*
 * exchange.h: one HTTP exchange of the worker, from its claim to its record.
 * Lanes make and record exchanges; the worker starts them and collects their ends.
 */
#ifndef PAYOUT_EXCHANGE_H
#define PAYOUT_EXCHANGE_H

#include "channel.h"
#include "http.h"
#include "identifier.h"
#include "lib/ilist.h"
#include "protocol.h"
#include "sha256.h"
#include "utils/uuid.h"

/* Of a bank; what a merchant's server writes behind its status is not looked at, and may be a page. */
#define EXCHANGE_REPLY_BYTES_MAX (64 * 1024)
#define EXCHANGE_PAGE_BYTES_MAX (1024 * 1024)

typedef struct Exchange
{
	dlist_node node;	   /* in one of the lists: claimed, waiting for a place, waiting for a token, ended */
	MemoryContext context; /* of the exchange and all it points to */
	Lane lane;
	bool has_place;		  /* in flight */
	bool on_wire;		  /* it was started, and its place on the wire is not free again */
	BankChannel *channel; /* NULL: notify */
	int channel_version;  /* that it was written for */
	int64 claimed_ms;
	pg_uuid_t attempt_id;		 /* with a bank: from the beginning, like its external id */
	struct ExchangeClaim *claim; /* that wrote the attempt; NULL: none */
	struct GatePass *pass;		 /* under which it may leave, see gate.h */
	char external_id[EXTERNAL_ID_SIZE];
	BankOrder order;
	BankRequest request;
	bytea *salt;			  /* of the order's digest; NULL: it was erased */
	TimestampTz leave_before; /* of a resend, see payout.leave_before(); 0: no bound */
	const char *unfit;		  /* why it cannot be sent at all; NULL: it can */
	char *breaker_key;		  /* whose silence lets whom rest, see breaker.h */

	/* notify */
	char *merchant_id;
	char *txid;
	int event_no;
	char *url;
	List *headers;

	/* how it ended */
	HttpReply reply;
	Outcome early; /* when it ended before it was sent: OUTCOME_NOT_SENT or OUTCOME_REFUSED_FOR_NOW */
	SnapClass early_class;
	bool released; /* the gate let it not go: it was not even tried */
} Exchange;

/*
 * A new exchange in a memory context of its own; switch to its context to fill it. It has a place: its channel counts it
 * as under way.
 */
extern Exchange *exchange_new(Lane lane, BankChannel *channel);

/*
 * SHA-256 of the body that is sent, over the order's salt: rows of payout.attempt stay, and an account number behind a bare
 * digest could be guessed. Salts can be erased with the personal data.
 */
extern void exchange_digest(const Exchange *exchange, uint8 digest[SHA256_LEN]);

/* Writes the attempts of bank exchanges in one statement, as one claim. Needs a transaction and SPI. */
extern void exchange_save_attempts(dlist_head *exchanges, const pg_uuid_t *incarnation_id);

/*
 * Starts an exchange, its attempt having been committed; one that cannot start ends at once. No transaction may be open.
 */
extern void exchange_start(Exchange *exchange);

/* An exchange that was not started ends as not sent. It counts as no try, and is due again. */
extern void exchange_release(Exchange *exchange, const char *why);

/* The same for all exchanges that wait for the channel's token. */
extern void exchange_release_waiting(BankChannel *channel, const char *why);

/*
 * Collects what ended since the last call into the list (token exchanges are dealt with here). A success gives its place on
 * the wire back; any other end keeps it until exchange_leave_place().
 */
extern void exchange_collect(dlist_head *ended);

/* Gives the place in flight back, takes it again, unless done already. */
extern void exchange_leave_place(Exchange *exchange);
extern void exchange_take_place(Exchange *exchange);

/* Gives place and memory back. */
extern void exchange_free(Exchange *exchange);

/* The number of exchanges that hold a place of the lane. */
extern int exchange_in_flight(Lane lane);

/* The number of those that are on the wire. */
extern int exchange_on_wire(Lane lane);

#endif /* PAYOUT_EXCHANGE_H */
