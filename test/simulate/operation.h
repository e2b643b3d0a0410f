/*
 * operation.h: what a client does next.
 * client.c enters for client_act(); operation.c for what stores do.
 */
#ifndef SIMULATE_OPERATION_H
#define SIMULATE_OPERATION_H

#include "client.h"

/* One operation by the dice: one call, or several that belong together. */
extern void client_act(Client *client);

/* In store.c. Where no payout fits they register a cashout, or approve one, so that there will be one. */
extern void do_validate(Client *client);
extern void do_validate_twice_at_once(Client *client);
extern void do_confirm(Client *client);
extern void do_confirm_twice(Client *client);
extern void do_reverse(Client *client);
extern void do_reverse_before(Client *client);
extern void do_wrong_token(Client *client);

#endif /* SIMULATE_OPERATION_H */
