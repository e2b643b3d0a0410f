/*
 * secret.h: sealing and opening of stored secrets.
 * For the worker and the functions that verify signatures; nothing here is callable from SQL but sealing.
 */
#ifndef PAYOUT_SECRET_H
#define PAYOUT_SECRET_H

/* Opens what payout.seal() made for the same owner and name; palloc'ed text. NULL when it was not made with this file. */
extern char *secret_open(const char *owner, const char *name, const bytea *sealed);

#endif /* PAYOUT_SECRET_H */
