/*
 * caller.c: who is calling.
 *
 * Inside a SECURITY DEFINER function current_user is the definer, and session_user is whoever logged in, perhaps a
 * pooler. The one role that answers for a call is the one in force at the moment of the call: GetUserId() in the C
 * function that was called, before any switch. That role's grants decide; then the work is done as the extension's
 * owner, who alone has rights on the tables.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "caller.h"
#include "catalog/pg_proc.h"
#include "errors.h"
#include "executor/spi.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/syscache.h"

PG_FUNCTION_INFO_V1(payout_caller);
PG_FUNCTION_INFO_V1(payout_may_read);
PG_FUNCTION_INFO_V1(payout_may_read_all);

/* The role that called the public function now running; InvalidOid outside of one. */
static Oid current_caller = InvalidOid;

/* The role that answers for what is happening now. */
static Oid
answering_role(void)
{
	return OidIsValid(current_caller) ? current_caller : GetUserId();
}

/* The extension's owner owns its functions as well, and a function is found in a cache. */
static Oid
owner_of(Oid function)
{
	HeapTuple tuple = SearchSysCache1(PROCOID, ObjectIdGetDatum(function));
	Oid owner;

	if (!HeapTupleIsValid(tuple))
		elog(ERROR, "cache lookup failed for function %u", function);
	owner = ((Form_pg_proc) GETSTRUCT(tuple))->proowner;
	ReleaseSysCache(tuple);
	return owner;
}

/* Does a grant of one of the kinds reach this role? Runs as the owner. */
static bool
is_granted(Oid role, int kinds, const char *scope)
{
	static SPIPlanPtr plan = NULL;
	Oid types[] = {OIDOID, BOOLOID, BOOLOID, BOOLOID, BOOLOID, TEXTOID};
	Datum values[6];
	char nulls[6] = "     ";
	bool granted;

	SPI_connect();
	if (plan == NULL)
	{
		plan = SPI_prepare(
			"select from payout.access_grant g"
			" where pg_catalog.pg_has_role($1, (select r.oid from pg_catalog.pg_roles r"
			" where r.rolname operator(pg_catalog.=) g.role_name), 'USAGE')"
			" and ((g.kind operator(pg_catalog.=) 'merchant' and $2 and g.scope operator(pg_catalog.=) $6)"
			" or (g.kind operator(pg_catalog.=) 'cvs' and $3 and g.scope operator(pg_catalog.=) $6)"
			" or (g.kind operator(pg_catalog.=) 'operator' and $4)"
			" or (g.kind operator(pg_catalog.=) 'analyst' and $5)) limit 1",
			6, types);
		if (plan == NULL || SPI_keepplan(plan) != 0)
			elog(ERROR, "could not prepare the look-up of grants");
	}
	values[0] = ObjectIdGetDatum(role);
	values[1] = BoolGetDatum((kinds & ACCESS_MERCHANT) != 0);
	values[2] = BoolGetDatum((kinds & ACCESS_CVS) != 0);
	values[3] = BoolGetDatum((kinds & ACCESS_OPERATOR) != 0);
	values[4] = BoolGetDatum((kinds & ACCESS_ANALYST) != 0);
	values[5] = scope != NULL ? CStringGetTextDatum(scope) : (Datum) 0;
	if (scope == NULL)
		nulls[5] = 'n';
	if (SPI_execute_plan(plan, values, nulls, true, 1) != SPI_OK_SELECT)
		elog(ERROR, "could not look up grants");
	granted = SPI_processed > 0;
	SPI_finish();
	return granted;
}

/* Superusers and the owner may do everything; others need a grant. The current user must be the owner by now. */
static bool
may_act(Oid role, Oid owner, int kinds, const char *scope)
{
	return superuser_arg(role) || has_privs_of_role(role, owner) || is_granted(role, kinds, scope);
}

static void
switch_to_owner(Oid owner, CallerState *saved)
{
	GetUserIdAndSecContext(&saved->user, &saved->security);
	SetUserIdAndSecContext(owner, saved->security | SECURITY_LOCAL_USERID_CHANGE);
}

void
caller_enter(int kinds, const char *scope, Oid function, CallerState *saved)
{
	Oid role = GetUserId();
	Oid owner = owner_of(function);

	saved->outer_caller = current_caller;
	switch_to_owner(owner, saved);
	if (!may_act(role, owner, kinds, scope))
	{
		SetUserIdAndSecContext(saved->user, saved->security);
		ereport(
			ERROR,
			(errcode(PY_NOT_PERMITTED),
			 errmsg("role \"%s\" may not call payout.%s here", GetUserNameFromId(role, false),
					get_func_name(function)),
			 errhint(
				 "A role acts for a merchant, a store, or as an operator by its grants in payout.access_grant.")));
	}
	current_caller = role;
}

void
caller_leave(const CallerState *saved)
{
	current_caller = saved->outer_caller;
	SetUserIdAndSecContext(saved->user, saved->security);
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

static bool
may_read(Oid function, int kinds, const char *scope)
{
	Oid role = GetUserId();
	Oid owner = owner_of(function);
	CallerState saved;
	bool may;

	switch_to_owner(owner, &saved);
	may = may_act(role, owner, kinds, scope);
	SetUserIdAndSecContext(saved.user, saved.security);
	return may;
}

/* may_read(merchant_id): whether the reader of a view may see this merchant's rows. */
Datum
payout_may_read(PG_FUNCTION_ARGS)
{
	char *merchant_id = PG_ARGISNULL(0) ? NULL : text_to_cstring(PG_GETARG_TEXT_PP(0));

	PG_RETURN_BOOL(
		may_read(fcinfo->flinfo->fn_oid, ACCESS_MERCHANT | ACCESS_OPERATOR | ACCESS_ANALYST, merchant_id));
}

/* may_read_all(): whether the reader of a view may see the rows of all merchants. */
Datum
payout_may_read_all(PG_FUNCTION_ARGS)
{
	PG_RETURN_BOOL(may_read(fcinfo->flinfo->fn_oid, ACCESS_OPERATOR | ACCESS_ANALYST, NULL));
}
