/*
 * lane.h: what the worker does in each lane: claim work as exchanges, record how they ended.
 * One file per lane fills a LaneWork; worker.c runs them in turn. Both calls need a transaction and SPI.
 */
#ifndef PAYOUT_LANE_H
#define PAYOUT_LANE_H

#include "columns.h"
#include "exchange.h"

typedef struct LaneWork
{
	const char *name;
	Lane lane;

	/* Bank lanes: claims up to slots exchanges of the channel onto the list. NULL for notify. */
	void (*claim)(BankChannel *channel, int slots, dlist_head *claimed);

	/* Writes how exchanges of the lane ended, in one statement. */
	void (*record)(Exchange **exchanges, int count, const pg_uuid_t *incarnation_id);
} LaneWork;

extern const LaneWork validate_lane;
extern const LaneWork dispatch_lane;
extern const LaneWork check_lane;

/* The work of a bank lane. */
extern const LaneWork *lane_work(Lane lane);

/* Writes how exchanges of any one lane ended. */
extern void lane_record(Lane lane, Exchange **exchanges, int count, const pg_uuid_t *incarnation_id);

/* An exchange that has ended gives its place in flight back, or takes it again because it could not be recorded. */
extern void lane_leave_place(Exchange *exchange);
extern void lane_take_place(Exchange *exchange);

/* Gives back whatever an exchange of any lane takes. */
extern void lane_release(Exchange *exchange);

/* Claims up to slots notifications; hosts that rest or are at their limit are left out. Sets *rests_until_ms. */
extern void notify_claim(int slots, const pg_uuid_t *incarnation_id, dlist_head *claimed);
extern void notify_record(Exchange **exchanges, int count, const pg_uuid_t *incarnation_id);
/* The exchange takes one place of its merchant more (1) or less (-1). */
extern void notify_count(const Exchange *exchange, int change);

/* Merchants that notify_claim() leaves out now, as a text[] Datum, and the earliest end of a rest (0: none). */
extern Datum notify_skip(int64 *rests_until_ms);
extern const char *notify_last_merchant(void); /* claims go on after it */

/* The answers of a lane's exchanges, and the columns that all record functions begin with. */
typedef struct BankRecord
{
	Columns columns;
	BankAnswer *answers;
	bool *waits; /* accepted, and not yet done */
} BankRecord;

/*
 * Reads the exchanges' answers and fills the columns channel, attempt, outcome, class, HTTP status, response code,
 * latency and excerpt; a lane adds its own.
 */
extern void bank_record_begin(BankRecord *record, Exchange **exchanges, int count);

/* A column of the SPI result as palloc'ed text in the current context (SPI_finish() frees nothing of it). */
extern char *lane_column(uint64 row, int attno);

/* A column of type bytea; NULL for null. */
extern bytea *lane_bytes(uint64 row, int attno);

/* Writes the exchange's order as its protocol does, in the current context. What cannot be written is unfit. */
extern void lane_write(Exchange *exchange);

/* Takes what is unfit off the list and sets it aside for a person, with the reason. */
extern void lane_set_unfit_aside(dlist_head *claimed);

/* Runs a claim: a statement with channel_id and limit as $1 and $2. */
extern uint64 lane_claim(SPIPlanPtr *plan, const char *sql, BankChannel *channel, int slots);

#endif /* PAYOUT_LANE_H */
