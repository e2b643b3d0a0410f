/*
 * secret.h: sealing and opening of stored secrets.
 * For the worker and the functions that verify signatures; nothing here that opens is callable from SQL.
 */
#ifndef PAYOUT_SECRET_H
#define PAYOUT_SECRET_H

#include "nodes/pg_list.h"

/*
 * Opens what payout.seal() made for the same owner and name; palloc'ed text. NULL when it was made with neither
 * payout.secret_file nor payout.secret_file_old, or for another owner or name, or was changed. PY015 without the file.
 */
extern char *secret_open(const char *owner, const char *name, const bytea *sealed);

/* The same for each of an array (bytea[], the present value first); what does not open is left out. Texts in a list. */
extern List *secret_open_all(const char *owner, const char *name, Datum sealed);

/* The values of a stored secret that are good now, the present one first; NIL: none. */
extern List *secret_values(const char *owner, const char *name);

/* Overwrites and frees texts. */
extern void secret_wipe(List *values);

/* Worker, in each turn: now and then removes values whose overlap has ended. Needs a transaction and SPI. */
extern void secret_drop_old(void);

#endif /* PAYOUT_SECRET_H */
