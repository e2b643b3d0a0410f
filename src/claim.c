/*
 * claim.c: takes due work in every lane, up to the free places, and finds out when there is work next.
 *
 * All lanes are claimed in one transaction. Should that fail, lane by lane; a lane that fails alone has its due payouts
 * tried one by one, and those that fail alone are set aside (payout.isolate), so that no row stops a lane and no lane
 * another.
 */
#include "postgres.h"

#include "breaker.h"
#include "catalog/pg_type.h"
#include "clock.h"
#include "crash_point.h"
#include "executor/spi.h"
#include "gate.h"
#include "lost_tail.h"
#include "plan.h"
#include "reserve.h"
#include "settings.h"
#include "turn.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"
#include "wakeup.h"

#define LEAST_WAIT_MS 50 /* should due work turn out to be locked by others */

static int64 lane_pause_until_ms[BANK_LANES + 1];
static bool expiry_is_due = false;

/* Free places of a channel in a lane, reserve included. Sets *rests_until_ms where its host rests. */
static int
free_places(BankChannel *channel, Lane lane, int64 *rests_until_ms)
{
	int places = reserve_places(channel, lane);

	if (!channel->seen || channel->paused || channel->protocol == NULL || !http_can_start())
		return 0;
	if (payout_unix_ms() < lane_pause_until_ms[lane])
	{
		*rests_until_ms = lane_pause_until_ms[lane];
		return 0;
	}
	if (gate_is_stopping(channel->channel_id))
	{
		*rests_until_ms = payout_unix_ms() + LEAST_WAIT_MS;
		return 0;
	}
	return Max(0, breaker_allows(channel->breaker_key, places, rests_until_ms));
}

/* Free places of lane notify; its hosts' own limits are notify_skip()'s. */
static int
notify_places(void)
{
	return http_can_start() ? Max(0, payout_max_in_flight - exchange_in_flight(LANE_NOTIFY)) : 0;
}

static void
claim_lane(const LaneWork *work, dlist_head *claimed)
{
	dlist_iter iter;
	int64 ignored;

	dlist_foreach(iter, channel_list())
	{
		BankChannel *channel = dlist_container(BankChannel, node, iter.cur);
		int places = free_places(channel, work->lane, &ignored);

		if (places > 0 && (work->lane != LANE_DISPATCH || channel_may_dispatch(channel)))
			work->claim(channel, places, claimed);
	}
}

/* The names of the channels that can take nothing in a lane now. */
static Datum
full_channels(Lane lane, int64 *rests_until_ms)
{
	ArrayBuildState *full = initArrayResult(TEXTOID, CurrentMemoryContext, false);
	dlist_iter iter;

	dlist_foreach(iter, channel_list())
	{
		BankChannel *channel = dlist_container(BankChannel, node, iter.cur);

		if (free_places(channel, lane, rests_until_ms) == 0)
			full = accumArrayResult(full, CStringGetTextDatum(channel->channel_id), false, TEXTOID,
									CurrentMemoryContext);
	}
	return makeArrayResult(full, CurrentMemoryContext);
}

/* When the tables have work next that could be taken, as real milliseconds. */
static int64
find_next_turn(void)
{
	static SPIPlanPtr plan = NULL;
	Oid types[] = {TEXTARRAYOID, TEXTARRAYOID, TEXTARRAYOID, BOOLOID, TEXTARRAYOID, TEXTOID};
	int64 now_ms = payout_unix_ms();
	int64 rests_ms[BANK_LANES + 1] = {0};
	int64 next_ms = now_ms + payout_safety_poll_ms;
	Datum values[6];
	bool isnull;
	TimestampTz due;

	for (int lane = 0; lane < BANK_LANES; lane++)
		values[lane] = full_channels(lane, &rests_ms[lane]);
	values[3] = BoolGetDatum(notify_places() == 0);
	values[4] = notify_skip(&rests_ms[BANK_LANES]);
	values[5] = CStringGetTextDatum(notify_last_merchant());
	(void) plan_run(&plan, "select payout.next_due($1, $2, $3, $4, $5, $6, false)", 6, types, values, NULL);
	due = DatumGetTimestampTz(SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1, &isnull));
	if (!isnull && due < payout_now() + (int64) payout_safety_poll_ms * 1000)
		next_ms = now_ms + Max((due - payout_now()) / 1000 + 1, LEAST_WAIT_MS);
	for (int lane = 0; lane <= BANK_LANES; lane++)
		if (rests_ms[lane] > 0)
			next_ms = Min(next_ms, Max(rests_ms[lane], now_ms + LEAST_WAIT_MS));
	return next_ms;
}

/* Parts of a claiming transaction: each bank lane, schedules, and notify. */
#define PART(lane) (1 << (lane))
#define PART_SCHEDULES PART(LANE_TOKEN)
#define ALL_PARTS (PART(LANE_TOKEN + 1) - 1)

/* Whether there was anything to claim. */
static bool
claim_parts(int parts, dlist_head *claimed)
{
	dlist_iter iter;
	bool has_claimed;
	static SPIPlanPtr schedules_plan = NULL;
	static SPIPlanPtr expiry_plan = NULL;

	if ((parts & PART_SCHEDULES) != 0)
		(void) plan_run(&schedules_plan, "select payout.release_schedules(1000)", 0, NULL, NULL, NULL);
	for (int lane = 0; lane < BANK_LANES; lane++)
		if ((parts & PART(lane)) != 0)
			claim_lane(lane_work(lane), claimed);
	if ((parts & PART(LANE_NOTIFY)) != 0 && notify_places() > 0)
	{
		notify_claim(notify_places(), &turn_incarnation_id, claimed);
		if (!dlist_is_empty(claimed))
			crash_point("notify_claimed");
	}
	lane_set_unfit_aside(claimed);
	dlist_foreach(iter, claimed)
		gate_admit(dlist_container(Exchange, node, iter.cur));
	exchange_save_attempts(claimed, &turn_incarnation_id);
	expiry_is_due =
		turn_query_bool(&expiry_plan, "select coalesce(payout.next_expiry() <= payout.clock(), false)");
	has_claimed = !dlist_is_empty(claimed);
	lost_tail_require_life();
	if (mutation("send_before_commit"))
	{
		reserve_take(claimed);
		for (int i = 0; i < 20; i++, pg_usleep(1000))
			gate_pump();
	}
	return has_claimed;
}

bool
claim_all(dlist_head *claimed)
{
	return claim_parts(ALL_PARTS, claimed);
}

void
claim_undo(dlist_head *claimed)
{
	while (!dlist_is_empty(claimed))
		lane_release(dlist_container(Exchange, node, dlist_pop_head_node(claimed)));
}

/* One claiming transaction, its attempts included. False when it failed and nothing was claimed. */
static bool
claim_in_transaction(int parts, dlist_head *all, MemoryContext context)
{
	dlist_head claimed = DLIST_STATIC_INIT(claimed);
	ErrorData *volatile error = NULL;
	volatile bool has_claimed = false;

	PG_TRY();
	{
		turn_begin();
		has_claimed = claim_parts(parts, &claimed);
		if (has_claimed)
			crash_point("claim_before_commit");
		turn_commit();
		if (has_claimed)
			crash_point("claim_after_commit");
	}
	PG_CATCH();
	{
		error = turn_fail(context);
	}
	PG_END_TRY();
	if (error == NULL)
	{
		while (!dlist_is_empty(&claimed))
			dlist_push_tail(all, dlist_pop_head_node(&claimed));
		return true;
	}
	claim_undo(&claimed);
	turn_exit_if_dropped();
	wakeup_worker_failed(error->message);
	ereport(LOG, (errmsg("payout could not claim work: %s", error->message),
				  error->context ? errcontext("%s", error->context) : 0));
	return false;
}

/* A claim failed: tries each due payout of the lane alone, and sets aside those that fail alone. */
static void
isolate(const char *lane_name, MemoryContext context)
{
	Oid types[] = {TEXTOID};
	Datum values[] = {CStringGetTextDatum(lane_name)};

	PG_TRY();
	{
		turn_begin();
		if (SPI_execute_with_args("select payout.isolate($1)", 1, types, values, NULL, false, 0) !=
			SPI_OK_SELECT)
			elog(ERROR, "could not look for the payout that fails");
		turn_commit();
	}
	PG_CATCH();
	{
		ErrorData *error = turn_fail(context);

		ereport(LOG,
				(errmsg("payout could not isolate what fails in lane %s: %s", lane_name, error->message)));
	}
	PG_END_TRY();
}

void
claim_due(dlist_head *claimed, MemoryContext context)
{
	if (claim_in_transaction(ALL_PARTS, claimed, context))
		return;
	for (int part = 0; part <= LANE_TOKEN; part++)
	{
		if (part < BANK_LANES && payout_unix_ms() < lane_pause_until_ms[part])
			continue;
		if (claim_in_transaction(PART(part), claimed, context))
			continue;
		if (part < BANK_LANES)
			lane_pause_until_ms[part] = payout_unix_ms() + TURN_PAUSE_MS;
		if (part != LANE_NOTIFY)
			isolate(part == LANE_TOKEN ? "dispatch" : lane_work(part)->name, context);
	}
}

bool
claim_found_expiry(void)
{
	return expiry_is_due;
}

int64
claim_next_due_ms(MemoryContext context)
{
	volatile int64 planned_ms = payout_unix_ms() + Min(payout_safety_poll_ms, TURN_PAUSE_MS);

	PG_TRY();
	{
		turn_begin();
		planned_ms = find_next_turn();
		turn_commit();
	}
	PG_CATCH();
	{
		(void) turn_fail(context);
	}
	PG_END_TRY();
	return planned_ms;
}
