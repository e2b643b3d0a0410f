/*
 * caller.h: who is calling, what that role may do, and the switch to the extension's owner and its settings.
 * Public functions enter through entry.c; check_status.c enters by itself, because it ends transactions.
 */
#ifndef PAYOUT_CALLER_H
#define PAYOUT_CALLER_H

/* Kinds of access; who holds which for what is in payout.access_grant. */
#define ACCESS_MERCHANT 0x01 /* the function's first argument must be the role's own merchant */
#define ACCESS_CVS 0x02		 /* the function's first argument must be the role's own store */
#define ACCESS_OPERATOR 0x04
#define ACCESS_ANALYST 0x08

typedef struct CallerState
{
	Oid user;
	int security;
	Oid outer_caller;
	bool jit;
	int nest_level; /* of settings that were changed for the call; 0: none was */
} CallerState;

/* A kind by its name in payout.access_grant; 0 for no such kind. */
extern int access_kind(const char *name);

/* Whether one of the kinds is granted to a role, for this scope where the kind has one. */
extern bool caller_is_granted(Oid role, int kinds, const char *scope);

/*
 * Identifies the immediate caller, raises PY013 unless it may act as one of the kinds (scope: the merchant or store,
 * NULL when the argument is null), and switches to the owner of the function, the extension's, and to settings under which the
 * tables' triggers fire. Undo with caller_leave(), on error too.
 */
extern void caller_enter(int kinds, const char *scope, Oid function, CallerState *saved);
extern void caller_leave(const CallerState *saved);

/* The owner of a function of ours, which is the extension's. */
extern Oid caller_owner_of(Oid function);

/* The role that answers for what is happening now; history rows and transfers name it. palloc'ed. */
extern char *caller_name(void);

#endif /* PAYOUT_CALLER_H */
