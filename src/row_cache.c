/*
 * row_cache.c: what a session remembers of merchants, banks, channels, their options and the allowed moves. They seldom
 * change, and each payout asks for several of them.
 *
 * A change of such a row invalidates the relation cache's entry of its table (trigger payout.forget_rows), which reaches
 * every session as any change of a definition does: after the commit, and before that session's next lock. All is
 * forgotten then. A row is read with the newest snapshot, not with the transaction's: otherwise an old one could bring back
 * what has just been forgotten. So a change of an option counts from its commit on, in all isolation levels.
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "catalog/pg_collation.h"
#include "commands/trigger.h"
#include "fmgr.h"
#include "row.h"
#include "row_cache.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/hsearch.h"
#include "utils/inval.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"

PG_FUNCTION_INFO_V1(payout_forget_rows);
PG_FUNCTION_INFO_V1(payout_merchant_now);
PG_FUNCTION_INFO_V1(payout_bank_now);
PG_FUNCTION_INFO_V1(payout_channel_now);

#define TABLES_MAX 8
#define KEY_SIZE 96
#define ENTRIES_MAX 20000

/* What a row is found by: number of its table, and its key's texts, each with its end. */
typedef struct CacheKey
{
	char bytes[KEY_SIZE];
} CacheKey;

typedef struct CacheEntry
{
	CacheKey key;
	HeapTuple tuple;
} CacheEntry;

typedef struct CachedTable
{
	const char *name;
	Oid oid;
	TupleDesc desc; /* not freed: callers may still hold it */
} CachedTable;

static CachedTable tables[TABLES_MAX];
static int table_count = 0;
static HTAB *entries = NULL; /* in context */
static MemoryContext context = NULL;
static uint64 changes = 0;		/* counts invalidations */
static uint64 filled_after = 0; /* what the count was when the cache was empty */

static void
count_change(Datum arg, Oid relation)
{
	bool concerned = !OidIsValid(relation);

	for (int i = 0; i < table_count; i++)
		concerned = concerned || relation == tables[i].oid;
	if (concerned)
		changes++;
}

static void
forget_all(void)
{
	HASHCTL control = {.keysize = sizeof(CacheKey), .entrysize = sizeof(CacheEntry)};

	if (context == NULL)
	{
		context = AllocSetContextCreate(TopMemoryContext, "payout rows", ALLOCSET_DEFAULT_SIZES);
		CacheRegisterRelcacheCallback(count_change, (Datum) 0);
	}
	entries = NULL;
	MemoryContextReset(context);
	control.hcxt = context;
	entries = hash_create("payout rows", 256, &control, HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
	filled_after = changes;
	for (int i = 0; i < table_count; i++)
		tables[i].oid = InvalidOid;
}

static int
find_table(const char *name)
{
	for (int i = 0; i < table_count; i++)
		if (strcmp(tables[i].name, name) == 0)
			return i;
	if (table_count == TABLES_MAX)
		elog(ERROR, "too many tables are cached");
	tables[table_count] = (CachedTable){.name = name, .oid = InvalidOid, .desc = NULL};
	return table_count++;
}

/* False where the key is too long to be kept. */
static bool
make_key(int table, int keys, const Datum *key, CacheKey *made)
{
	size_t used = 1;

	memset(made, 0, sizeof(*made));
	made->bytes[0] = (char) table;
	for (int i = 0; i < keys; i++)
	{
		text *part = DatumGetTextPP(key[i]);
		size_t size = VARSIZE_ANY_EXHDR(part);

		if (used + size + 1 > KEY_SIZE)
			return false;
		memcpy(made->bytes + used, VARDATA_ANY(part), size);
		used += size + 1;
	}
	return true;
}

/* Reads the row, and notes its table's identity and form. */
static HeapTuple
read_row(CachedTable *table, const char *index, int keys, const Datum *key)
{
	Relation rel = table_open(row_relation(table->name), AccessShareLock);
	HeapTuple tuple;

	table->oid = RelationGetRelid(rel);
	if (table->desc == NULL || !equalTupleDescs(table->desc, RelationGetDescr(rel)))
	{
		MemoryContext outer = MemoryContextSwitchTo(TopMemoryContext);

		table->desc = CreateTupleDescCopyConstr(RelationGetDescr(rel));
		MemoryContextSwitchTo(outer);
	}
	PushActiveSnapshot(GetLatestSnapshot());
	tuple = row_scan(rel, index, keys, key);
	PopActiveSnapshot();
	table_close(rel, NoLock);
	return tuple;
}

static void
keep(const CacheKey *key, HeapTuple tuple)
{
	CacheEntry *entry;
	MemoryContext outer;
	bool found;

	if (hash_get_num_entries(entries) >= ENTRIES_MAX)
		forget_all();
	outer = MemoryContextSwitchTo(context);
	tuple = heap_copytuple(tuple);
	MemoryContextSwitchTo(outer);
	entry = hash_search(entries, key, HASH_ENTER, &found);
	entry->tuple = tuple;
}

HeapTuple
row_cached(const char *table, const char *index, int keys, const Datum *key, TupleDesc *desc)
{
	int number = find_table(table);
	bool keepable;
	CacheKey cache_key;
	CacheEntry *entry;
	HeapTuple tuple;
	uint64 before;

	AcceptInvalidationMessages();
	if (entries == NULL || filled_after != changes)
		forget_all();
	keepable = make_key(number, keys, key, &cache_key);
	entry = keepable ? hash_search(entries, &cache_key, HASH_FIND, NULL) : NULL;
	if (entry != NULL)
	{
		*desc = tables[number].desc;
		return heap_copytuple(entry->tuple);
	}
	before = changes;
	tuple = read_row(&tables[number], index, keys, key);
	*desc = tables[number].desc;
	/* What changed while it was read may have come after the snapshot. */
	if (tuple != NULL && keepable && before == changes)
		keep(&cache_key, tuple);
	return tuple;
}

/* The row of a key, for SQL; null when there is none. */
static Datum
answer_row(FunctionCallInfo fcinfo, const char *table, const char *index)
{
	Datum key = PG_GETARG_DATUM(0);
	TupleDesc desc;
	HeapTuple tuple = row_cached(table, index, 1, &key, &desc);

	if (tuple == NULL)
		PG_RETURN_NULL();
	PG_RETURN_DATUM(heap_copy_tuple_as_datum(tuple, desc));
}

/* merchant_now(merchant_id): see merchant.sql. */
Datum
payout_merchant_now(PG_FUNCTION_ARGS)
{
	return answer_row(fcinfo, "merchant", "merchant_pkey");
}

/* bank_now(bank_code): see register.sql. */
Datum
payout_bank_now(PG_FUNCTION_ARGS)
{
	return answer_row(fcinfo, "bank", "bank_pkey");
}

/* channel_now(channel_id): see register.sql. */
Datum
payout_channel_now(PG_FUNCTION_ARGS)
{
	return answer_row(fcinfo, "channel", "channel_pkey");
}

/* Trigger forget_rows, after a row has changed: all sessions forget what they know of the table. */
Datum
payout_forget_rows(PG_FUNCTION_ARGS)
{
	if (!CALLED_AS_TRIGGER(fcinfo))
		ereport(ERROR, (errcode(ERRCODE_E_R_I_E_TRIGGER_PROTOCOL_VIOLATED),
						errmsg("payout.forget_rows is a trigger")));
	CacheInvalidateRelcache(((TriggerData *) fcinfo->context)->tg_relation);
	return PointerGetDatum(NULL);
}
