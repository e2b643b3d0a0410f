/*
 * token_tries.h: wrong cashout tokens, counted in shared memory per terminal and per store.
 * payout.c reserves the memory; SQL enters through the functions of token_tries.c.
 */
#ifndef PAYOUT_TOKEN_TRIES_H
#define PAYOUT_TOKEN_TRIES_H

extern Size token_tries_shmem_size(void);
extern void token_tries_shmem_init(void); /* in the shared memory start-up hook */

#endif /* PAYOUT_TOKEN_TRIES_H */
