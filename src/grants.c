/*
 * grants.c: the grants of a role, found by its own roles: whose merchant or store it asks for takes no part in the search, and is
 * compared in memory. So what a caller can see of the search (statistics, locks, time) is the same for another's merchant
 * and for one that never was.
 *
 * A session keeps the grants of the roles that it calls as. They are read anew after any change of a grant (the trigger
 * forget_rows invalidates the table), of a membership, a role or the database's owner: such messages reach every session after
 * the commit, and are looked at here before each answer. So what was revoked is gone at once, in old transactions too.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "catalog/pg_auth_members.h"
#include "catalog/pg_authid.h"
#include "executor/spi.h"
#include "grants.h"
#include "peek.h"
#include "row.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/catcache.h"
#include "utils/fmgroids.h"
#include "utils/hsearch.h"
#include "utils/inval.h"
#include "utils/memutils.h"
#include "utils/syscache.h"

#define ROLES_MAX 1000

typedef struct Grant
{
	char *kind;
	char *scope;
} Grant;

typedef struct RoleGrants
{
	Oid role; /* key */
	int count;
	int room;
	Grant *grants; /* sorted */
} RoleGrants;

static MemoryContext context = NULL; /* holds all that is kept; reset when something has changed */
static HTAB *kept = NULL;			 /* in context */
static Oid table = InvalidOid;
static uint64 changes = 0;		/* counts invalidations */
static uint64 filled_after = 0; /* what the count was when nothing was kept */

static void
count_change(Datum arg, Oid relation)
{
	if (!OidIsValid(relation) || relation == table)
		changes++;
}

static void
count_role_change(Datum arg, int cache, uint32 hash)
{
	changes++;
}

static void
forget_all(void)
{
	HASHCTL control = {.keysize = sizeof(Oid), .entrysize = sizeof(RoleGrants)};

	if (context == NULL)
	{
		context = AllocSetContextCreate(TopMemoryContext, "payout grants", ALLOCSET_DEFAULT_SIZES);
		CacheRegisterRelcacheCallback(count_change, (Datum) 0);
		CacheRegisterSyscacheCallback(AUTHMEMMEMROLE, count_role_change, (Datum) 0);
		CacheRegisterSyscacheCallback(AUTHOID, count_role_change, (Datum) 0);
		CacheRegisterSyscacheCallback(DATABASEOID, count_role_change, (Datum) 0);
	}
	kept = NULL;
	MemoryContextReset(context);
	control.hcxt = context;
	kept = hash_create("payout grants", 16, &control, HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
	filled_after = changes;
}

/* Roles that one is a member of, itself included, whether it inherits from them or not. */
static List *
memberships(Oid role)
{
	List *roles = list_make1_oid(role);
	ListCell *cell;

	roles = list_append_unique_oid(roles, ROLE_PG_DATABASE_OWNER);
	foreach(cell, roles)
	{
		CatCList *members = SearchSysCacheList1(AUTHMEMMEMROLE, ObjectIdGetDatum(lfirst_oid(cell)));

		for (int i = 0; i < members->n_members; i++)
			roles = list_append_unique_oid(
				roles, ((Form_pg_auth_members) GETSTRUCT(&members->members[i]->tuple))->roleid);
		ReleaseSysCacheList(members);
	}
	return roles;
}

static void
add_grant(HeapTuple tuple, TupleDesc desc, void *argument)
{
	RoleGrants *grants = argument;
	MemoryContext outer = MemoryContextSwitchTo(context);
	Grant grant = {.kind = SPI_getvalue(tuple, desc, SPI_fnumber(desc, "kind")),
				   .scope = SPI_getvalue(tuple, desc, SPI_fnumber(desc, "scope"))};

	if (grants->count == grants->room)
	{
		grants->room *= 2;
		grants->grants = repalloc_huge(grants->grants, grants->room * sizeof(Grant));
	}
	grants->grants[grants->count++] = grant;
	MemoryContextSwitchTo(outer);
}

static int
compare_grants(const void *a, const void *b)
{
	const Grant *left = a;
	const Grant *right = b;
	int order = strcmp(left->kind, right->kind);

	return order != 0 ? order : strcmp(left->scope, right->scope);
}

static void
read_grants(Oid role, RoleGrants *grants)
{
	ListCell *cell;

	*grants = (RoleGrants){.role = role, .room = 16};
	grants->grants = MemoryContextAlloc(context, grants->room * sizeof(Grant));
	table = row_relation("access_grant");
	foreach(cell, memberships(role))
	{
		ScanKeyData key;

		if (!has_privs_of_role(role, lfirst_oid(cell)))
			continue;
		peek_role_key(&key, 1, lfirst_oid(cell));
		peek_each("access_grant", "access_grant_role", 1, &key, add_grant, grants);
	}
	qsort(grants->grants, grants->count, sizeof(Grant), compare_grants);
}

/* The grants of a role, valid until the next call. */
static RoleGrants *
grants_of(Oid role)
{
	RoleGrants grants;
	RoleGrants *found;
	uint64 before;

	AcceptInvalidationMessages();
	if (kept == NULL || filled_after != changes || hash_get_num_entries(kept) >= ROLES_MAX)
		forget_all();
	found = hash_search(kept, &role, HASH_FIND, NULL);
	if (found != NULL)
		return found;
	do
	{
		before = changes;
		read_grants(role, &grants);
		/* What changed while it was read may have been missed: then all is forgotten at the next call, and this is read again. */
	} while (before != changes);
	found = hash_search(kept, &role, HASH_ENTER, NULL);
	*found = grants;
	return found;
}

bool
grants_include(Oid role, const char *kind, const char *scope)
{
	RoleGrants *grants = grants_of(role);
	Grant wanted = {.kind = unconstify(char *, kind), .scope = unconstify(char *, scope)};

	return bsearch(&wanted, grants->grants, grants->count, sizeof(Grant), compare_grants) != NULL;
}

List *
grants_scopes(Oid role, const char *kind)
{
	RoleGrants *grants = grants_of(role);
	List *scopes = NIL;

	for (int i = 0; i < grants->count; i++)
		if (strcmp(grants->grants[i].kind, kind) == 0)
			scopes = lappend(scopes, grants->grants[i].scope);
	return scopes;
}
