/*
 * caller.c: who is calling.
 *
 * Inside a SECURITY DEFINER function current_user is the definer, and session_user is whoever logged in, perhaps a
 * pooler. The one role that answers for a call is the one in force at the moment of the call: GetUserId() in the C
 * function that was called, before any switch. That role's grants decide; then the work is done as the extension's
 * owner, who alone has rights on the tables.
 *
 * The caller's settings hold for the work as well, its timeouts among them. Two may not: where triggers of origin do not fire
 * (session_replication_role, left over from a migration as a default of the database perhaps) the money would not follow the
 * state; and no plan of ours is worth being compiled.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "caller.h"
#include "catalog/pg_proc.h"
#include "catalog/pg_type.h"
#include "commands/trigger.h"
#include "errors.h"
#include "fmgr.h"
#include "grants.h"
#include "jit/jit.h"
#include "miscadmin.h"
#include "utils/acl.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/syscache.h"

PG_FUNCTION_INFO_V1(payout_caller);
PG_FUNCTION_INFO_V1(payout_may_read_all);
PG_FUNCTION_INFO_V1(payout_readable_merchants);

#define READS_ALL (ACCESS_OPERATOR | ACCESS_ANALYST)

typedef struct AccessKind
{
	const char *name;
	int kind;
	bool has_scope;
} AccessKind;

static const AccessKind access_kinds[] = {
	{"merchant", ACCESS_MERCHANT, true},
	{"cvs", ACCESS_CVS, true},
	{"operator", ACCESS_OPERATOR, false},
	{"analyst", ACCESS_ANALYST, false},
};

/* The role that called the public function now running; InvalidOid outside of one. */
static Oid current_caller = InvalidOid;

/* The role that answers for what is happening now. */
static Oid
answering_role(void)
{
	return OidIsValid(current_caller) ? current_caller : GetUserId();
}

/* The extension's owner owns its functions as well, and a function is found in a cache. */
Oid
caller_owner_of(Oid function)
{
	HeapTuple tuple = SearchSysCache1(PROCOID, ObjectIdGetDatum(function));
	Oid owner;

	if (!HeapTupleIsValid(tuple))
		elog(ERROR, "cache lookup failed for function %u", function);
	owner = ((Form_pg_proc) GETSTRUCT(tuple))->proowner;
	ReleaseSysCache(tuple);
	return owner;
}

bool
caller_is_granted(Oid role, int kinds, const char *scope)
{
	for (int i = 0; i < (int) lengthof(access_kinds); i++)
	{
		const AccessKind *kind = &access_kinds[i];

		if ((kinds & kind->kind) != 0 && (scope != NULL || !kind->has_scope) &&
			grants_include(role, kind->name, kind->has_scope ? scope : ""))
			return true;
	}
	return false;
}

/* Superusers and the owner may do everything; others need a grant. */
static bool
may_act(Oid role, Oid function, int kinds, const char *scope)
{
	return superuser_arg(role) || has_privs_of_role(role, caller_owner_of(function)) ||
		   caller_is_granted(role, kinds, scope);
}

int
access_kind(const char *name)
{
	for (int i = 0; i < (int) lengthof(access_kinds); i++)
		if (strcmp(access_kinds[i].name, name) == 0)
			return access_kinds[i].kind;
	return 0;
}

/*
 * jit is a mere variable to the planner, so it costs nothing to set it; nobody shows it or resets it meanwhile but functions
 * that set it themselves, and these find what they left.
 */
static void
enter_settings(CallerState *saved)
{
	saved->nest_level = 0;
	if (SessionReplicationRole != SESSION_REPLICATION_ROLE_ORIGIN)
	{
		saved->nest_level = NewGUCNestLevel();
		(void) set_config_option("session_replication_role", "origin", PGC_SUSET, PGC_S_SESSION,
								 GUC_ACTION_SAVE, true, 0, false);
	}
	saved->jit = jit_enabled;
	jit_enabled = false;
}

static void
leave_settings(const CallerState *saved)
{
	jit_enabled = saved->jit;
	if (saved->nest_level > 0)
		AtEOXact_GUC(false, saved->nest_level);
}

void
caller_enter(int kinds, const char *scope, Oid function, CallerState *saved)
{
	Oid role = GetUserId();

	if (!may_act(role, function, kinds, scope))
		ereport(ERROR, (errcode(PY_NOT_PERMITTED),
						errmsg("role \"%s\" may not call payout.%s here", GetUserNameFromId(role, false),
							   get_func_name(function)),
						errhint("A role acts for a merchant, for a store, or as an operator, by "
								"payout.grant_access.")));
	saved->outer_caller = current_caller;
	GetUserIdAndSecContext(&saved->user, &saved->security);
	enter_settings(saved);
	SetUserIdAndSecContext(caller_owner_of(function), saved->security | SECURITY_LOCAL_USERID_CHANGE);
	current_caller = role;
}

void
caller_leave(const CallerState *saved)
{
	current_caller = saved->outer_caller;
	SetUserIdAndSecContext(saved->user, saved->security);
	leave_settings(saved);
}

char *
caller_name(void)
{
	return GetUserNameFromId(answering_role(), false);
}

/* caller(): name of the role that called the public function now running. */
Datum
payout_caller(PG_FUNCTION_ARGS)
{
	PG_RETURN_TEXT_P(cstring_to_text(caller_name()));
}

/* may_read_all(): whether the reader of a view may see the rows of all merchants. */
Datum
payout_may_read_all(PG_FUNCTION_ARGS)
{
	PG_RETURN_BOOL(may_act(GetUserId(), fcinfo->flinfo->fn_oid, READS_ALL, NULL));
}

/* readable_merchants(): the merchants whose rows the reader of a view may see as their own. */
Datum
payout_readable_merchants(PG_FUNCTION_ARGS)
{
	List *scopes = grants_scopes(GetUserId(), "merchant");
	Datum *merchants = palloc(sizeof(Datum) * (list_length(scopes) + 1));
	int count = 0;
	ListCell *cell;

	foreach(cell, scopes)
		merchants[count++] = CStringGetTextDatum(lfirst(cell));
	PG_RETURN_ARRAYTYPE_P(construct_array(merchants, count, TEXTOID, -1, false, TYPALIGN_INT));
}
