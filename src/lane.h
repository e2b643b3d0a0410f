/*
 * lane.h: what the worker does in each lane: claim work as exchanges, record how they ended.
 * One file per lane fills a LaneWork; worker.c runs them in turn. Both calls need a transaction and SPI.
 */
#ifndef PAYOUT_LANE_H
#define PAYOUT_LANE_H

#include "exchange.h"
#include "executor/spi.h"

typedef struct LaneWork
{
	const char *name;
	Lane lane;

	/* Bank lanes: claims up to slots exchanges of the channel onto the list. NULL for notify. */
	void (*claim)(BankChannel *channel, int slots, dlist_head *claimed);

	/* Writes how the exchange ended, through the lane's SQL function. */
	void (*record)(Exchange *exchange, const pg_uuid_t *incarnation_id);
} LaneWork;

extern const LaneWork validate_lane;
extern const LaneWork dispatch_lane;
extern const LaneWork check_lane;

/* The work of a bank lane. */
extern const LaneWork *lane_work(Lane lane);

/* Gives back what an exchange of any lane takes. */
extern void lane_release(Exchange *exchange);

/* Claims up to slots notifications; hosts that rest or are at their limit are left out. Sets *rests_until_ms. */
extern void notify_claim(int slots, const pg_uuid_t *incarnation_id, dlist_head *claimed);
extern void notify_record(Exchange *exchange, const pg_uuid_t *incarnation_id);
/* The exchange no longer takes a place of its merchant. */
extern void notify_release(const Exchange *exchange);

/* Merchants that notify_claim() leaves out now, as a text[] Datum, and the earliest end of a rest (0: none). */
extern Datum notify_skip(int64 *rests_until_ms);
extern const char *notify_last_merchant(void); /* claims go on after it */

/* The common part of every bank lane's record function. */
typedef struct BankRecord
{
	Datum values[12];
	char nulls[13];
	Oid types[12];
	int count;
	BankAnswer answer;
	Outcome outcome;
	bool wait;
} BankRecord;

/*
 * Reads the exchange's answer and fills the arguments that all record functions begin with: channel, attempt,
 * incarnation, outcome, class, HTTP status, response code, latency, excerpt.
 */
extern void bank_record_begin(BankRecord *record, Exchange *exchange, const pg_uuid_t *incarnation_id);
extern void bank_record_text(BankRecord *record, const char *value);
extern void bank_record_bool(BankRecord *record, bool value);
extern void bank_record_run(BankRecord *record, SPIPlanPtr *plan, const char *function);

/* A column of the SPI result as palloc'ed text in the current context (SPI_finish() frees nothing of it). */
extern char *lane_column(uint64 row, int attno);

/* Runs the claim function payout.NAME(channel_id, limit). */
extern uint64 lane_claim(SPIPlanPtr *plan, const char *function, BankChannel *channel, int slots);

#endif /* PAYOUT_LANE_H */
