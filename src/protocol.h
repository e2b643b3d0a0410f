/*
 * protocol.h: what a family of banks must be able to do. Adding a family is one file that fills a Protocol.
 * Lanes and exchange.c enter; the protocols' files fill it in. No function here touches a table.
 */
#ifndef PAYOUT_PROTOCOL_H
#define PAYOUT_PROTOCOL_H

#include "channel.h"
#include "datatype/timestamp.h"
#include "http.h"
#include "nodes/pg_list.h"
#include "outcome.h"
#include "snap_code.h"

/* What we order or ask, in words that are not the bank's. */
typedef enum BankCall
{
	CALL_ACCOUNT_CHECK,
	CALL_TRANSFER, /* one item */
	CALL_BULK,	   /* many items */
	CALL_STATUS
} BankCall;

typedef struct BankItem
{
	char *merchant_id;
	char *txid; /* our reference at the bank, for ever */
	char *wire_code;
	char *account_no;
	char *beneficiary_name;
	char *amount;	   /* with two decimals */
	char *description; /* may be NULL */
} BankItem;

typedef struct BankOrder
{
	BankCall call;
	int service;
	const char *external_id; /* of this request */
	BankItem *items;
	int item_count;
	char *batch_id;
	char *source_account_no;
	TimestampTz transaction_date;
	int original_service;		/* CALL_STATUS: what is asked for */
	char *original_external_id; /* NULL: not known, nor its date; asked for by the reference alone */
	char *asked_attempt_id;		/* CALL_STATUS: that had this external id */
	char *known_external_ids; /* CALL_STATUS: under which the payout may have been received; NULL: no other */
	char *bank_reference_no;  /* may be NULL */
} BankOrder;

/* A request before it is signed: the same order gives the same bytes. */
typedef struct BankRequest
{
	char *path; /* from the root of the host, as in the URL */
	char *signed_path;
	char *body;
} BankRequest;

typedef struct BankAnswer
{
	SnapClass class;
	char *response_code; /* may be NULL, like all texts here */
	char *excerpt;
	char *reference_no;
	char *account_name;
	SnapStatus status;	/* CALL_STATUS */
	bool names_ours;	/* CALL_STATUS: something that we made, so that reference_no may be kept */
	bool names_sending; /* CALL_STATUS: the sending that was asked for */
} BankAnswer;

typedef struct Protocol
{
	const char *name;

	/*
	 * Writes the order; palloc'ed in the current context. Answers NULL, or the reason why the order has no form that says
	 * what was registered: then nothing is sent.
	 */
	const char *(*write)(const BankChannel *channel, const BankOrder *order, BankRequest *request);

	/* Headers for this moment (list of char *), signed with the channel's token; false with the reason in *error. */
	bool (*sign)(const BankChannel *channel, const BankRequest *request, const char *external_id,
				 List **headers, char **error);

	/* A request for a new token; false with the reason in *error. */
	bool (*ask_token)(const BankChannel *channel, BankRequest *request, List **headers, char **error);

	/* Reads the answer to it: the token and its life in seconds, or the class of the refusal. */
	SnapClass (*read_token)(const BankChannel *channel, const HttpReply *reply, char **token, int *life_s,
							char **response_code);

	/*
	 * Reads the answer to an order. Never raises on hostile bytes. The reply has ended as HTTP_ANSWERED. What does not
	 * belong to the order is of class UNKNOWN, and the excerpt says why.
	 */
	void (*read)(const BankChannel *channel, const BankOrder *order, const HttpReply *reply,
				 BankAnswer *answer);
} Protocol;

extern const Protocol snap_protocol;

/* The protocol of that name; NULL when unknown. */
extern const Protocol *protocol_find(const char *name);

#endif /* PAYOUT_PROTOCOL_H */
