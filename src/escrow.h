/*
 * escrow.h: what each merchant may still take, counted in shared memory.
 * Only ledger.c and hand.c take and give; payout.c reserves the memory.
 */
#ifndef PAYOUT_ESCROW_H
#define PAYOUT_ESCROW_H

#include "utils/date.h"

typedef enum EscrowResult
{
	ESCROW_TAKEN,
	ESCROW_TOO_LITTLE, /* available is less than the amount */
	ESCROW_DAY_FULL	   /* the total of the day would pass its bound */
} EscrowResult;

/* Amounts are in hundredths, 0 to LEDGER_SUM_MAX. */
typedef struct EscrowTake
{
	int64 amount;
	int64 day_amount; /* part that counts to the total of the day; 0: the day is not touched */
	int64 day_max;	  /* bound of that total; -1: none but LEDGER_SUM_MAX */
	int64 available;  /* out: what there was */
	int64 day_room;	  /* out: what the total of the day still allowed */
	DateADT day;	  /* out: the Jakarta day it counts to */
} EscrowTake;

/* What a top-up may bring a balance to: 16 digits before the decimal point, as a single amount has. */
#define LEDGER_MAX INT64CONST(999999999999999999)

/* What refunds may bring a balance to, and payouts the total of a day: a balance may be spent and topped up meanwhile. */
#define LEDGER_SUM_MAX INT64CONST(9000000000000000000)

/* Whether the library is preloaded. Without it the ledger locks rows instead. */
extern bool escrow_is_there(void);

/*
 * Takes at once, before any row says so; abort of the (sub)transaction gives back. The caller then writes the row, and
 * has an active snapshot. Raises what touching a merchant's slot raises: see escrow.c.
 */
extern EscrowResult escrow_take(const text *merchant_id, EscrowTake *take);

/*
 * Announces a credit; it counts for this transaction's own takes at once, for others after the commit. False, and nothing is
 * announced, where the balance would pass most.
 */
extern bool escrow_give(const text *merchant_id, int64 amount, int64 most);

/*
 * Somebody else's hand changes the tables by so much: the count follows where it is loaded, below zero if it must, and is
 * not loaded elsewhere until the transaction has ended.
 */
extern void escrow_follow(const text *merchant_id, int64 change, DateADT day, int64 day_amount);

extern Size escrow_shmem_size(void);
extern void escrow_shmem_init(void);		 /* in the shared memory start-up hook */
extern void escrow_register_callbacks(void); /* once per process */

#endif /* PAYOUT_ESCROW_H */
