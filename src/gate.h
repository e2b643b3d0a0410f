/*
 * gate.h: the one gate: whether a request of the worker may leave now.
 * The worker and exchange.c ask; sessions say at commit what they have stopped. See gate.c for how the two meet.
 */
#ifndef PAYOUT_GATE_H
#define PAYOUT_GATE_H

#include "exchange.h"

/* What a stop concerns. */
typedef enum GateScope
{
	GATE_DATABASE, /* all requests: arming */
	GATE_CHANNEL,  /* all requests to a bank: pause, options, secrets; id: channel_id */
	GATE_MERCHANT, /* all messages to a merchant: address, secrets; id: merchant_id */
	GATE_PAYOUT	   /* whatever carries a payout: it is held, or has moved on; id: TXID */
} GateScope;

extern Size gate_shmem_size(void);
extern void gate_shmem_init(void);		  /* in the shared memory start-up hook */
extern void gate_register_callback(void); /* once per process, from _PG_init */

/*
 * From the commit of this transaction on, no request of this scope that was claimed before leaves. id: NULL for GATE_DATABASE.
 * For GATE_PAYOUT the caller has changed the payout's row so that it is not due any more, or has locked the batch that carries it. Does nothing without shared memory.
 */
extern void gate_stop_at_commit(GateScope scope, const char *id);

/* The worker: this process is one. */
extern void gate_begin_worker(void);
extern bool gate_is_worker(void);

/* The worker: a request of this payout was claimed and has not ended. payout_key: see gate_state.h. */
extern bool gate_has_claimed(uint64 payout_key);

/*
 * The worker, before the transaction in which it looks at arming, channels and queues: what is claimed in it passes the gate
 * only while nothing is stopped after this moment.
 */
extern void gate_look(void);

/* How often arming, a channel or a merchant had been changed at the last look: the worker's own copies are older or not. */
extern uint64 gate_configuration_seen(void);

/* The worker: the settings were read. Whether payout.databases lists this database. No transaction may be open. */
extern bool gate_settings_read(void);

/* The exchange was claimed, or made, under the last look. Needs its channel or merchant, and its order. */
extern void gate_admit(Exchange *exchange);

/* It has ended: nothing of it can leave any more. */
extern void gate_leave(Exchange *exchange);

/* Whether a session is about to commit a change of the channel, or of what concerns all: nothing is claimed then. */
extern bool gate_is_stopping(const char *channel_id);

/*
 * Why the exchange may not leave now; NULL: it may. Reads memory and one inode, raises nothing, allocates nothing: libcurl's
 * callback asks it last, when the connection stands, before the first byte.
 */
extern const char *gate_refusal(const Exchange *exchange);

/*
 * Moves bytes. No stop commits meanwhile: so a request that has passed the gate has left before the commit, or does not leave.
 * No transaction may be open.
 */
extern void gate_pump(void);

#endif /* PAYOUT_GATE_H */
