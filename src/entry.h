/*
 * entry.h: who may call which public function; the one table is in entry.c.
 * check_status.c, which enters by itself, may ask.
 */
#ifndef PAYOUT_ENTRY_H
#define PAYOUT_ENTRY_H

/* The kinds of access (caller.h) that are let through the door of this public function. */
extern int entry_kinds(const char *name);

#endif /* PAYOUT_ENTRY_H */
