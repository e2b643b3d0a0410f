/*
 * lost_tail.c: what the worker tells of its server, so that the one that comes after it knows what it may lack: the
 * timeline, and whether everything was committed to a synchronous standby before it was sent. And what the one that comes
 * after can prove: that it received the end of that timeline as a standby does.
 *
 * Invariant kept here: a row of payout.incarnation says "synchronous" only while each commit waits for a standby. Once that
 * ceases, the row is corrected before anything else is claimed, and stays so for the rest of this life.
 */
#include "postgres.h"

#include "access/timeline.h"
#include "access/xact.h"
#include "access/xlog.h"
#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "fmgr.h"
#include "lost_tail.h"
#include "miscadmin.h"
#include "replication/syncrep.h"
#include "replication/walreceiver.h"
#include "replication/walsender.h"

PG_FUNCTION_INFO_V1(payout_has_streamed);

static bool says_synchronous = false; /* what our row says */

/*
 * Whether a commit of ours waits until each standby that synchronous_standby_names lists has it on disk. Where it waits for some of
 * them, the one that takes over may be another; and "*" lists nobody.
 */
static bool
is_synchronous(void)
{
	const char *name;

	if (max_wal_senders == 0 || SyncRepConfig == NULL || SyncRepConfig->num_sync < SyncRepConfig->nmembers ||
		synchronous_commit < SYNCHRONOUS_COMMIT_REMOTE_FLUSH)
		return false;
	name = SyncRepConfig->member_names;
	for (int i = 0; i < SyncRepConfig->nmembers; i++, name += strlen(name) + 1)
		if (strcmp(name, "*") == 0)
			return false;
	return true;
}

/*
 * The end of the timeline came by streaming when the WAL receiver got it; what is restored from an archive, or was there at
 * the start, did not. The receiver's record lasts until the server stops. When it is only asked to begin, it notes the
 * place where it should as flushed, with nothing behind the latest chunk's start.
 */
Datum
payout_has_streamed(PG_FUNCTION_ARGS)
{
	TimeLineID timeline = (TimeLineID) PG_GETARG_INT32(0);
	TimeLineID received;
	XLogRecPtr chunk_start;
	XLogRecPtr flushed = GetWalRcvFlushRecPtr(&chunk_start, &received);
	List *history;

	if (RecoveryInProgress() || received != timeline || flushed <= chunk_start)
		PG_RETURN_BOOL(false);
	history = readTimeLineHistory(GetWALInsertionTimeLine());
	PG_RETURN_BOOL(list_length(history) > 1 && ((TimeLineHistoryEntry *) lsecond(history))->tli == timeline &&
				   flushed >= tliSwitchPoint(timeline, history, NULL));
}

void
lost_tail_begin(const pg_uuid_t *incarnation_id)
{
	Oid types[] = {UUIDOID, INT4OID, INT4OID, BOOLOID};
	TimeLineID timeline = GetWALInsertionTimeLine();
	Datum values[4];
	bool isnull;
	int64 payouts;

	says_synchronous = is_synchronous();
	values[0] = UUIDPGetDatum(incarnation_id);
	values[1] = Int32GetDatum(MyProcPid);
	values[2] = Int32GetDatum((int32) timeline);
	values[3] = BoolGetDatum(says_synchronous);
	if (SPI_execute_with_args("select payout.begin_incarnation($1, $2, $3, $4)", 4, types, values, NULL,
							  false, 0) != SPI_OK_SELECT)
		elog(ERROR, "could not begin an incarnation");
	payouts = DatumGetInt64(SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1, &isnull));
	if (isnull)
		return;
	ereport(LOG, (errmsg("payout begins on timeline %u, and may lack what the server before it did last",
						 timeline),
				  errdetail("Payouts that were ordered before are asked for before they are sent: %lld now.",
							(long long) payouts)));
}

bool
lost_tail_is_told(void)
{
	return !says_synchronous || is_synchronous();
}

void
lost_tail_tell(const pg_uuid_t *incarnation_id)
{
	Oid types[] = {UUIDOID};
	Datum values[] = {UUIDPGetDatum(incarnation_id)};

	if (lost_tail_is_told())
		return;
	if (SPI_execute_with_args("update payout.incarnation set synchronous = false where incarnation_id = $1",
							  1, types, values, NULL, false, 0) != SPI_OK_UPDATE)
		elog(ERROR, "could not correct an incarnation");
}

void
lost_tail_told(void)
{
	if (!is_synchronous())
		says_synchronous = false;
}
