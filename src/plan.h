/*
 * plan.h: statements of SQL that a session prepares once.
 * All who run the extension's own statements from C enter.
 */
#ifndef PAYOUT_PLAN_H
#define PAYOUT_PLAN_H

#include "executor/spi.h"

/* Prepares a statement for the rest of the session, unless *plan, which begins as NULL, is there already. SPI is connected. */
extern void plan_prepare(SPIPlanPtr *plan, const char *sql, int count, Oid *types);

/*
 * Runs a statement that may write, prepared at its first run; the number of rows. SPI is connected, and a snapshot is
 * active. nulls as for SPI_execute_plan.
 */
extern uint64 plan_run(SPIPlanPtr *plan, const char *sql, int count, Oid *types, Datum *values,
					   const char *nulls);

#endif /* PAYOUT_PLAN_H */
