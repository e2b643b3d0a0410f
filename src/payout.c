/*
 * payout.c: table of contents: what the library sets up when it is loaded.
 *
 * Words, one for each thing: payout (one order to pay), TXID (its id), reference number (the merchant's own id),
 * account (a ledger account of a merchant), transfer (one ledger movement), channel (a connection to one bank), bank (a
 * destination), batch (payouts sent to a channel together), attempt (one HTTP exchange with a bank, with its outcome),
 * notification (one message owed to a merchant), lane (validate, dispatch, check, notify), hold (waits for a person),
 * CVS (a store that pays cash), token (the secret that the customer shows there), redemption (what a store did with a
 * token, under the store's own reference).
 */
#include "postgres.h"

#include "compat.h"
#include "escrow.h"
#include "estimate.h"
#include "fmgr.h"
#include "gate.h"
#include "miscadmin.h"
#include "settings.h"
#include "storage/ipc.h"
#include "storage/lwlock.h"
#include "storage/shmem.h"
#include "token_tries.h"
#include "txid.h"
#include "wakeup.h"
#include "worker.h"

PG_MODULE_MAGIC;

#if COMPAT_SHMEM_REQUEST_HOOK
static shmem_request_hook_type next_shmem_request = NULL;
#endif
static shmem_startup_hook_type next_shmem_startup = NULL;

void _PG_init(void);

static void
request_shmem(void)
{
#if COMPAT_SHMEM_REQUEST_HOOK
	if (next_shmem_request != NULL)
		next_shmem_request();
#endif
	RequestAddinShmemSpace(txid_shmem_size() + wakeup_shmem_size() + token_tries_shmem_size() +
						   escrow_shmem_size() + gate_shmem_size());
	RequestNamedLWLockTranche("payout", 4); /* wakeup.c, token_tries.c, escrow.c, gate.c */
}

static void
start_shmem(void)
{
	if (next_shmem_startup != NULL)
		next_shmem_startup();
	LWLockAcquire(AddinShmemInitLock, LW_EXCLUSIVE);
	txid_shmem_init();
	wakeup_shmem_init();
	token_tries_shmem_init();
	escrow_shmem_init();
	gate_shmem_init();
	LWLockRelease(AddinShmemInitLock);
}

void
_PG_init(void)
{
	payout_define_settings();
	wakeup_register_callback();
	escrow_register_callbacks();
	gate_register_callback();
	estimate_install();
	/* During pg_upgrade nothing may run; without preloading there is no shared memory, and functions say so. */
	if (!process_shared_preload_libraries_in_progress || IsBinaryUpgrade)
		return;
#if COMPAT_SHMEM_REQUEST_HOOK
	next_shmem_request = shmem_request_hook;
	shmem_request_hook = request_shmem;
#else
	request_shmem();
#endif
	next_shmem_startup = shmem_startup_hook;
	shmem_startup_hook = start_shmem;
	launcher_register();
}
