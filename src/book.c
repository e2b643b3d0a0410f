/*
 * book.c: which creation of the extension this is, and whether a record may be missing that the server, or the database, before it
 * had: may_lack_tail() of lost_tail.sql, which says why.
 *
 * Stores' calls ask as well, so what is read leaves no trace (peek.c): a refused token must not tell by it what it was.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/xlog.h"
#include "book.h"
#include "executor/spi.h"
#include "fmgr.h"
#include "peek.h"
#include "place.h"
#include "utils/timestamp.h"

PG_FUNCTION_INFO_V1(payout_may_lack_tail);

/* What the rows of payout.installation say. */
typedef struct Installations
{
	pg_uuid_t own;
	bool own_is_here; /* the place and the timeline on which this creation was made */
	bool has_unknown; /* one that nobody has noted */
	bool has_first;
	pg_uuid_t first;
	TimestampTz first_at;
} Installations;

static Datum
column(HeapTuple tuple, TupleDesc desc, const char *name)
{
	PeekRow row = {.tuple = tuple, .desc = desc};
	bool isnull;

	return peek_column(&row, name, &isnull);
}

static bool
is_same(const pg_uuid_t *a, const pg_uuid_t *b)
{
	return memcmp(a->data, b->data, UUID_LEN) == 0;
}

/* Whether a life or an installation was in this very place, on this very timeline. */
static bool
is_here(HeapTuple tuple, TupleDesc desc)
{
	bytea *place = DatumGetByteaPP(column(tuple, desc, "place"));
	uint8 present[PLACE_DIGEST_LEN];

	place_digest(present);
	return VARSIZE_ANY_EXHDR(place) == PLACE_DIGEST_LEN &&
		   memcmp(VARDATA_ANY(place), present, PLACE_DIGEST_LEN) == 0 &&
		   DatumGetInt32(column(tuple, desc, "timeline_id")) == (int32) GetWALInsertionTimeLine();
}

static bool
is_known(const pg_uuid_t *installation_id)
{
	ScanKeyData key;

	peek_uuid_key(&key, 1, installation_id);
	return peek_count("known_installation", "known_installation_pkey", 1, &key, 1) > 0;
}

static void
take_installation(HeapTuple tuple, TupleDesc desc, void *argument)
{
	Installations *all = argument;
	pg_uuid_t id = *DatumGetUUIDP(column(tuple, desc, "installation_id"));
	TimestampTz at = DatumGetTimestampTz(column(tuple, desc, "installed_at"));

	if (is_same(&id, &all->own))
		all->own_is_here = is_here(tuple, desc);
	all->has_unknown = all->has_unknown || !is_known(&id);
	if (!all->has_first || at < all->first_at ||
		(at == all->first_at && memcmp(id.data, all->first.data, UUID_LEN) < 0))
	{
		all->has_first = true;
		all->first = id;
		all->first_at = at;
	}
}

/* Whether this creation's last life was here; where it had none yet, whether it was made here. */
static bool
has_lived_here(const Installations *all)
{
	ScanKeyData key;
	PeekRow life;

	peek_uuid_key(&key, 1, &all->own);
	peek_row("incarnation", "incarnation_alive", 1, &key, &life);
	if (life.tuple != NULL)
		return is_here(life.tuple, life.desc);
	return all->own_is_here && peek_count("incarnation", "incarnation_of", 1, &key, 1) == 0;
}

void
book_read(Book *book)
{
	Installations all = {0};
	ScanKeyData key;
	PeekRow own;

	peek_true_key(&key, 1);
	peek_row("known_installation", "known_installation_own", 1, &key, &own);
	if (own.tuple != NULL)
		all.own = *DatumGetUUIDP(column(own.tuple, own.desc, "installation_id"));
	peek_each("installation", "installation_pkey", 0, NULL, take_installation, &all);
	book->first = all.first;
	book->lacks_tail = own.tuple == NULL || all.has_unknown || !has_lived_here(&all);
}

/* may_lack_tail(): see lost_tail.sql. */
Datum
payout_may_lack_tail(PG_FUNCTION_ARGS)
{
	Book book;

	book_read(&book);
	PG_RETURN_BOOL(book.lacks_tail);
}
