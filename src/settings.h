/*
 * settings.h: the extension's settings (GUCs) as C variables.
 * Read them anywhere in the server; only settings.c defines them.
 */
#ifndef PAYOUT_SETTINGS_H
#define PAYOUT_SETTINGS_H

#include "nodes/pg_list.h"

extern char *payout_databases;	 /* comma separated; a worker runs for each */
extern char *payout_secret_file; /* absolute path, "" when unset */
extern char *payout_secret_file_old;
extern bool payout_dump_secrets; /* read by the conditions of dumped tables, see secret.sql */
extern char *payout_allow_hosts; /* comma separated hosts that may be plain http or private */
extern bool payout_testing;		 /* start-up: the clock may be moved */
extern int payout_clock_offset_s;
extern int payout_max_in_flight; /* per lane */
extern int payout_safety_poll_ms;
extern int payout_schedule_lead_min;
extern int payout_token_digits;
extern int payout_token_ttl_s;
extern int payout_token_tries;	   /* wrong tokens at one terminal */
extern int payout_token_lockout_s; /* how long wrong tokens count */
extern int payout_reservation_ttl_s;
extern int payout_chain_interval_s;
extern int payout_escrow_slots; /* start-up: merchants in shared memory */

extern void payout_define_settings(void);

/* The names of payout.databases, as a palloc'ed list of char *. */
extern List *payout_database_list(void);

#endif /* PAYOUT_SETTINGS_H */
