/*
 * estimate.c: what the planner's estimates tell.
 *
 * EXPLAIN shows how many rows the planner expects, and it expects them by the statistics of the whole table: of
 * merchant_id = 'ANOTHER' nearly the number of the other's payouts, though none of them would be read. So for readers who
 * may not read all merchants our tables have no statistics; they are read by index anyway.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "caller.h"
#include "catalog/dependency.h"
#include "catalog/namespace.h"
#include "catalog/pg_class.h"
#include "commands/extension.h"
#include "estimate.h"
#include "miscadmin.h"
#include "utils/acl.h"
#include "utils/selfuncs.h"
#include "utils/syscache.h"

static get_relation_stats_hook_type next_relation_stats = NULL;

/* Another schema of our name is none of ours. */
static bool
is_ours(Oid relation)
{
	Oid extension = get_extension_oid("payout", true);

	return OidIsValid(extension) && getExtensionOfObject(RelationRelationId, relation) == extension;
}

static bool
tells_too_much(Oid relation)
{
	HeapTuple tuple = SearchSysCache1(RELOID, ObjectIdGetDatum(relation));
	Oid reader = GetUserId();
	Oid schema;
	Oid owner;

	if (!HeapTupleIsValid(tuple))
		return false;
	schema = ((Form_pg_class) GETSTRUCT(tuple))->relnamespace;
	owner = ((Form_pg_class) GETSTRUCT(tuple))->relowner;
	ReleaseSysCache(tuple);
	return schema == get_namespace_oid("payout", true) && !superuser_arg(reader) &&
		   !has_privs_of_role(reader, owner) && is_ours(relation) &&
		   !caller_is_granted(reader, ACCESS_OPERATOR | ACCESS_ANALYST, NULL);
}

static bool
relation_stats(PlannerInfo *root, RangeTblEntry *rte, AttrNumber attribute, VariableStatData *data)
{
	if (rte->rtekind == RTE_RELATION && tells_too_much(rte->relid))
	{
		data->statsTuple = NULL;
		return true;
	}
	return next_relation_stats != NULL && next_relation_stats(root, rte, attribute, data);
}

void
estimate_install(void)
{
	next_relation_stats = get_relation_stats_hook;
	get_relation_stats_hook = relation_stats;
}
