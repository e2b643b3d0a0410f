/*
 * arming.c: what this database is, so that a copy can tell that it is not the one that was armed.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/xlog.h"
#include "arming.h"
#include "book.h"
#include "compat.h"
#include "errors.h"
#include "fmgr.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "peek.h"
#include "place.h"
#include "secret_lock.h"
#include "utils/uuid.h"
#include "wakeup.h"

PG_FUNCTION_INFO_V1(payout_identity);
PG_FUNCTION_INFO_V1(payout_old_secret_digest);
PG_FUNCTION_INFO_V1(payout_is_locked_elsewhere);
PG_FUNCTION_INFO_V1(payout_worker_holds_file);
PG_FUNCTION_INFO_V1(payout_require_armed);
PG_FUNCTION_INFO_V1(payout_require_preload);

/* identity(): system identifier, database OID, digest of the secret file. PY015 without the file. */
Datum
payout_identity(PG_FUNCTION_ARGS)
{
	TupleDesc desc;
	bytea *digest = palloc(VARHDRSZ + SECRET_DIGEST_LEN);
	Datum values[3];
	bool nulls[3] = {false, false, false};

	if (get_call_result_type(fcinfo, NULL, &desc) != TYPEFUNC_COMPOSITE)
		elog(ERROR, "return type must be a row type");
	SET_VARSIZE(digest, VARHDRSZ + SECRET_DIGEST_LEN);
	secret_file_digest(SECRET_PRESENT, (uint8 *) VARDATA(digest));
	values[0] = Int64GetDatum((int64) GetSystemIdentifier());
	values[1] = ObjectIdGetDatum(MyDatabaseId);
	values[2] = PointerGetDatum(digest);
	PG_RETURN_DATUM(HeapTupleGetDatum(heap_form_tuple(BlessTupleDesc(desc), values, nulls)));
}

/* old_secret_digest(): what identity() answered with payout.secret_file_old. PY015 without it. */
Datum
payout_old_secret_digest(PG_FUNCTION_ARGS)
{
	bytea *digest = palloc(VARHDRSZ + SECRET_DIGEST_LEN);

	SET_VARSIZE(digest, VARHDRSZ + SECRET_DIGEST_LEN);
	secret_file_digest(SECRET_OLD, (uint8 *) VARDATA(digest));
	PG_RETURN_BYTEA_P(digest);
}

/*
 * is_locked_elsewhere(book): whether another worker holds payout.secret_file for this very database, or the lock on its book: then
 * one of the two is a copy of the other. PY015 without the file.
 */
Datum
payout_is_locked_elsewhere(PG_FUNCTION_ARGS)
{
	PG_RETURN_BOOL(!wakeup_file_is_ours() &&
				   secret_file_is_locked(GetSystemIdentifier(), MyDatabaseId, PG_GETARG_UUID_P(0)->data));
}

/* worker_holds_file(): whether our own worker has the locks on the file that this database is armed for. */
Datum
payout_worker_holds_file(PG_FUNCTION_ARGS)
{
	PG_RETURN_BOOL(wakeup_file_is_ours());
}

static bool
is_same(Datum bytes, const uint8 *expected, size_t len)
{
	bytea *value = DatumGetByteaPP(bytes);

	return VARSIZE_ANY_EXHDR(value) == len && memcmp(VARDATA_ANY(value), expected, len) == 0;
}

/* Whether what was armed is this database, or one that took over from it, and not a copy: as payout.is_armed_for(). */
static bool
is_in_place(const PeekRow *row)
{
	uint8 place[PLACE_DIGEST_LEN];
	bool isnull;

	place_digest(place);
	return is_same(peek_column(row, "place", &isnull), place, PLACE_DIGEST_LEN) || RecoveryInProgress() ||
		   DatumGetInt32(peek_column(row, "timeline_id", &isnull)) != (int32) GetWALInsertionTimeLine();
}

/* Whether the newest committed arming is of this database and of the secret file as it is: as payout.is_armed(). */
static bool
is_armed(void)
{
	uint8 digest[SECRET_DIGEST_LEN];
	ScanKeyData key;
	PeekRow row;
	bool isnull;

	peek_true_key(&key, 1);
	peek_row("arming", "arming_pkey", 1, &key, &row);
	if (row.tuple == NULL || !DatumGetBool(peek_column(&row, "is_armed", &isnull)) ||
		!secret_file_try_digest(SECRET_PRESENT, digest))
		return false;
	return DatumGetInt64(peek_column(&row, "system_identifier", &isnull)) == (int64) GetSystemIdentifier() &&
		   DatumGetObjectId(peek_column(&row, "database_oid", &isnull)) == MyDatabaseId &&
		   is_same(peek_column(&row, "secret_digest", &isnull), digest, SECRET_DIGEST_LEN) &&
		   is_in_place(&row);
}

/* Whether another worker than ours has the locks that ours should have: as payout.is_held_elsewhere(). */
static bool
is_held_elsewhere(void)
{
	Book book;

	if (wakeup_file_is_ours())
		return false;
	book_read(&book);
	return secret_file_is_locked(GetSystemIdentifier(), MyDatabaseId, book.first.data);
}

void
arming_require(void)
{
	if (!is_armed())
		ereport(ERROR, (errcode(PY_NOT_ARMED), errmsg("this database is not armed"),
						errhint("payout.arm() arms it, after making sure that no copy of it is in use.")));
	if (is_held_elsewhere())
		ereport(ERROR, (errcode(PY_NOT_ARMED), errmsg("a copy of this database is in use"),
						errhint("Its worker holds payout.secret_file on this host; only one of the two may "
								"go on.")));
}

/* require_armed(): see token.sql. */
Datum
payout_require_armed(PG_FUNCTION_ARGS)
{
	arming_require();
	PG_RETURN_VOID();
}

Datum
payout_require_preload(PG_FUNCTION_ARGS)
{
	if (!wakeup_is_ready())
		ereport(ERROR, (errcode(PY_NOT_PRELOADED), errmsg("the library payout is not preloaded"),
						errhint("Add payout to shared_preload_libraries and restart the server.")));
	PG_RETURN_VOID();
}
