/*
 * grants.h: what payout.access_grant gives a role, itself or by membership.
 * caller.c alone may enter.
 */
#ifndef PAYOUT_GRANTS_H
#define PAYOUT_GRANTS_H

#include "nodes/pg_list.h"

/* Whether a role may act as a kind for this scope ("" for the kinds without). As of the newest committed grants. */
extern bool grants_include(Oid role, const char *kind, const char *scope);

/* The scopes of a kind, texts that are valid until the next call. */
extern List *grants_scopes(Oid role, const char *kind);

#endif /* PAYOUT_GRANTS_H */
