/*
 * txid.h: TXIDs and slots.
 * Only payout.c enters, to reserve the shared counter.
 */
#ifndef PAYOUT_TXID_H
#define PAYOUT_TXID_H

extern Size txid_shmem_size(void);
extern void txid_shmem_init(void); /* in the shared memory start-up hook */

#endif /* PAYOUT_TXID_H */
