/*
 * token_tries.h: tries of cashout tokens, counted in shared memory per terminal and per store.
 * payout.c reserves the memory; the calls of stores enter.
 */
#ifndef PAYOUT_TOKEN_TRIES_H
#define PAYOUT_TOKEN_TRIES_H

extern Size token_tries_shmem_size(void);
extern void token_tries_shmem_init(void); /* in the shared memory start-up hook */

/* Who tries. */
typedef struct Trier
{
	const char *cvs_code;
	const char *terminal; /* NULL: the call names none */
	const char *role;
	bool is_known;	 /* the store has paid at this terminal, for this role, or an operator has named it */
	int store_tries; /* the store's option token_tries */
} Trier;

/*
 * Counts one try, unless the terminal or what it shares with others is used up: PY012, and nothing is counted. Both in one
 * step, and for good, whatever becomes of the transaction. PY014 without shared memory.
 */
extern void token_tries_take(const Trier *trier);

/* The token has proved good: its try was none. */
extern void token_tries_give_back(const Trier *trier);

#endif /* PAYOUT_TOKEN_TRIES_H */
