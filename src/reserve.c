/*
 * reserve.c: what is claimed and not yet sent: requests to banks that wait for a place on the wire.
 *
 * An answer is recorded, and more work claimed, only by a turn's transaction, whose commit takes its time. So that a place
 * does not stand idle meanwhile, a little more is claimed than there are places, and sent as soon as an answer has given its
 * place back. The limits (payout.max_in_flight, the channel's in_flight_max) are those of requests on the wire, and exact.
 *
 * How much: while the wire is full, a channel with n places whose answers take t gives n / t places back in a unit of time.
 * The reserve is what will so have gone in RESERVE_MS, at most n: as many as there are places where answers take less than
 * that, none where they take more than n times that, or where nothing is known of them. Bulks have none: what waits for a
 * place joins a larger bulk meanwhile.
 *
 * Invariants kept here:
 *	 - Claimed is committed. A process that dies leaves what waited as unknown, like what was under way: the bank is asked.
 *	   Therefore the reserve is small.
 *	 - What waits passes the gate when it gets its place, and again before its first byte (gate.h). Signature, timestamp and
 *	   token are made when it leaves (exchange.c).
 *	 - A place is filled at once only after an answer of success. Any other may pause the channel or let it rest; its place
 *	   stays taken until a turn has read it.
 *	 - Answers may gather for a moment before a turn records them (worker.c), while half of the reserve is left: no place stands
 *	   idle for it. Who dies with them leaves them unknown, as always between answer and commit.
 *	 - Nothing waits longer than WAIT_MAX_MS. What does, or may not leave, was provably not sent: it ends as such, without a
 *	   class, counts as no try, and is due again.
 */
#include "postgres.h"

#include "breaker.h"
#include "clock.h"
#include "gate.h"
#include "reserve.h"
#include "settings.h"

#define RESERVE_MS 50
#define WAIT_MAX_MS 1000

/* Places that a channel has in a lane, full or not: its own limit, or what others leave it of the lane's. */
static int
places_of(const BankChannel *channel, Lane lane)
{
	int left = payout_max_in_flight;
	dlist_iter iter;

	dlist_foreach(iter, channel_list())
	{
		const BankChannel *other = dlist_container(BankChannel, node, iter.cur);

		if (other != channel)
			left -= Min(other->in_flight[lane], other->in_flight_max);
	}
	return Max(0, Min(left, channel->in_flight_max));
}

/* How many requests may wait, where there are so many places. */
static int
size_for(const BankChannel *channel, Lane lane, int places)
{
	double answer_ms = channel->answer_ms[lane];

	if (answer_ms <= 0 || (lane == LANE_DISPATCH && channel->sends_bulks))
		return 0;
	return (int) (places * Min(1, RESERVE_MS / answer_ms));
}

int
reserve_places(BankChannel *channel, Lane lane)
{
	int places = places_of(channel, lane);

	return places + size_for(channel, lane, places) - channel->in_flight[lane];
}

bool
reserve_lasts(const Exchange *exchange)
{
	const BankChannel *channel = exchange->channel;
	Lane lane = exchange->lane;
	int waiting = 0;
	dlist_iter iter;

	if (channel == NULL || exchange->on_wire)
		return false;
	dlist_foreach(iter, unconstify(dlist_head *, &channel->reserve[lane]))
		waiting++;
	return waiting > 0 && waiting >= size_for(channel, lane, places_of(channel, lane)) / 2;
}

static bool
has_place(const BankChannel *channel, Lane lane)
{
	return channel->on_wire[lane] < channel->in_flight_max && exchange_on_wire(lane) < payout_max_in_flight;
}

static void
serve_lane(BankChannel *channel, Lane lane)
{
	dlist_head *waiting = &channel->reserve[lane];
	int64 rests_until_ms;
	bool rests;

	if (dlist_is_empty(waiting))
		return;
	rests = breaker_allows(channel->breaker_key, 1, &rests_until_ms) == 0;
	while (!dlist_is_empty(waiting))
	{
		Exchange *exchange = dlist_head_element(Exchange, node, waiting);
		const char *why = gate_refusal(exchange);

		if (why == NULL && rests)
			why = "the bank ceased to answer before this was sent";
		if (why == NULL && payout_unix_ms() >= exchange->claimed_ms + WAIT_MAX_MS)
		{
			why = "no place came free for this in time";
			channel->answer_ms[lane] = 0; /* it answers slower than we knew */
		}
		if (why == NULL && (!has_place(channel, lane) || !http_can_start()))
			break;
		dlist_delete(&exchange->node);
		if (why != NULL)
			exchange_release(exchange, why);
		else
			exchange_start(exchange);
	}
}

void
reserve_start(void)
{
	dlist_iter iter;

	dlist_foreach(iter, channel_list())
		for (int lane = 0; lane < BANK_LANES; lane++)
			serve_lane(dlist_container(BankChannel, node, iter.cur), lane);
}

void
reserve_take(dlist_head *claimed)
{
	while (!dlist_is_empty(claimed))
	{
		Exchange *exchange = dlist_container(Exchange, node, dlist_pop_head_node(claimed));

		if (exchange->channel != NULL)
			dlist_push_tail(&exchange->channel->reserve[exchange->lane], &exchange->node);
		else
			exchange_start(exchange);
	}
	reserve_start();
}

bool
reserve_can_start(void)
{
	dlist_iter iter;

	dlist_foreach(iter, channel_list())
	{
		BankChannel *channel = dlist_container(BankChannel, node, iter.cur);

		for (int lane = 0; lane < BANK_LANES; lane++)
			if (!dlist_is_empty(&channel->reserve[lane]) && has_place(channel, lane))
				return true;
	}
	return false;
}

void
reserve_release(const char *why)
{
	dlist_iter iter;

	dlist_foreach(iter, channel_list())
	{
		BankChannel *channel = dlist_container(BankChannel, node, iter.cur);

		exchange_release_waiting(channel, why);
		for (int lane = 0; lane < BANK_LANES; lane++)
			while (!dlist_is_empty(&channel->reserve[lane]))
				exchange_release(
					dlist_container(Exchange, node, dlist_pop_head_node(&channel->reserve[lane])), why);
	}
}

int64
reserve_due_ms(void)
{
	int64 due_ms = PG_INT64_MAX;
	dlist_iter iter;

	dlist_foreach(iter, channel_list())
	{
		BankChannel *channel = dlist_container(BankChannel, node, iter.cur);

		for (int lane = 0; lane < BANK_LANES; lane++)
			if (!dlist_is_empty(&channel->reserve[lane]))
				due_ms = Min(due_ms, dlist_head_element(Exchange, node, &channel->reserve[lane])->claimed_ms +
										 WAIT_MAX_MS);
	}
	return due_ms;
}
