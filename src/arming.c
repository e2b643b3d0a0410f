/*
 * arming.c: what this database is, so that a copy can tell that it is not the one that was armed.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/xlog.h"
#include "compat.h"
#include "errors.h"
#include "fmgr.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "secret_lock.h"
#include "utils/uuid.h"
#include "wakeup.h"

PG_FUNCTION_INFO_V1(payout_identity);
PG_FUNCTION_INFO_V1(payout_old_secret_digest);
PG_FUNCTION_INFO_V1(payout_is_locked_elsewhere);
PG_FUNCTION_INFO_V1(payout_worker_holds_file);
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

Datum
payout_require_preload(PG_FUNCTION_ARGS)
{
	if (!wakeup_is_ready())
		ereport(ERROR, (errcode(PY_NOT_PRELOADED), errmsg("the library payout is not preloaded"),
						errhint("Add payout to shared_preload_libraries and restart the server.")));
	PG_RETURN_VOID();
}
