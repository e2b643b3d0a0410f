/*
 * prepare.h: calls made ready to be asked, with arguments by the dice.
 * operation.c and store.c enter.
 */
#ifndef SIMULATE_PREPARE_H
#define SIMULATE_PREPARE_H

#include "client.h"

/* Tests of payouts. */
extern bool is_any(const Payout *payout);
extern bool is_disbursement(const Payout *payout);
extern bool is_registered(const Payout *payout);
extern bool is_registered_disbursement(const Payout *payout);
extern bool is_registered_cashout(const Payout *payout);
extern bool is_scheduled(const Payout *payout);
extern bool has_issued_token(const Payout *payout);
extern bool has_token(const Payout *payout);
extern bool is_reserved(const Payout *payout);
extern bool is_paid_at_store(const Payout *payout);
extern bool is_uncertain(const Payout *payout);

/* One of a client's payouts; NULL: none. */
extern const Payout *choose(Client *client, PayoutTest test);

/* New payouts, of a merchant by the dice. Method: online or overbooking. */
extern void prepare_register(Client *client, Call *call, const char *method);
extern void prepare_register_cashout(Client *client, Call *call);

/* CALL_TOP_UP or CALL_WITHDRAW, with a new reference; CALL_BALANCE. */
extern void prepare_merchant(Client *client, Call *call, CallKind kind);

/* A call of the merchant about a payout. */
extern void prepare_about(Call *call, CallKind kind, const Payout *payout);

/* A store's call about a payout with a token: a new validation; or what follows the validation there was. */
extern void prepare_validate(Client *client, Call *call, const Payout *payout);
extern void prepare_redeem(Call *call, CallKind kind, const Payout *payout);

/* Any writing call that fits what is remembered; a registration where nothing else does. */
extern void prepare_any(Client *client, Call *call);

#endif /* SIMULATE_PREPARE_H */
