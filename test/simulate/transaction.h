/*
 * transaction.h: calls one by one and in transaction blocks, by clients that stay for the answer and clients that vanish.
 * operation.c and store.c enter.
 */
#ifndef SIMULATE_TRANSACTION_H
#define SIMULATE_TRANSACTION_H

#include "client.h"

#define BLOCK_CALLS_MAX 12

typedef struct Block
{
	Client *client;
	Call calls[BLOCK_CALLS_MAX];
	int count;
	int savepoint; /* calls made before it; -1: none */
	bool refused;  /* the transaction has failed and can only be rolled back */
	bool lost;	   /* with its connection */
} Block;

/* One call in a transaction of its own; whether it was answered ok. False without a line when the time is over. */
extern bool client_call(Client *client, Call *call);

/* Sends a call and leaves without reading the answer. */
extern void client_call_unread(Client *client, Call *call);

/* Begins a block; false when there is none. Then calls, until one answers false; then, always, commit or vanish. */
extern bool block_begin(Block *block, Client *client);
extern bool block_call(Block *block, Call *call);

/* A savepoint; and back to it, which mends a block that was refused after it. False when the block is over. */
extern bool block_savepoint(Block *block);
extern bool block_back(Block *block);

/* Ends the block; each of its calls becomes a line now. Whether all was committed. */
extern bool block_commit(Block *block);

/* Leaves the block: without commit, or having sent the commit but not read its answer. */
extern void block_vanish(Block *block, bool commit);

#endif /* SIMULATE_TRANSACTION_H */
