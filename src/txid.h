/*
 * txid.h: TXIDs and slots.
 * payout.c enters to reserve the shared counter, token.c for the slot that a token begins with.
 */
#ifndef PAYOUT_TXID_H
#define PAYOUT_TXID_H

#include "fmgr.h"

extern Size txid_shmem_size(void);
extern void txid_shmem_init(void); /* in the shared memory start-up hook */

/* The slot of a merchant id, 0 to 1023: the frozen hash by which databases are split. */
extern int txid_slot(const char *merchant_id, size_t size);

/* payout.generate_txid. */
extern Datum payout_generate_txid(PG_FUNCTION_ARGS);

#endif /* PAYOUT_TXID_H */
