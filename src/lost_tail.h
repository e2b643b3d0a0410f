/*
 * lost_tail.h: what the worker tells of its server when its life begins and while it lasts; see lost_tail.sql.
 */
#ifndef PAYOUT_LOST_TAIL_H
#define PAYOUT_LOST_TAIL_H

#include "utils/uuid.h"

/* Begins the incarnation, on the server's timeline. Needs a transaction and SPI. */
extern void lost_tail_begin(const pg_uuid_t *incarnation_id);

/* Whether the incarnation's row says what is true of synchronous replication. False after it has ceased. */
extern bool lost_tail_is_told(void);

/* Corrects the row. Needs a transaction and SPI; lost_tail_told() when that transaction has committed. */
extern void lost_tail_tell(const pg_uuid_t *incarnation_id);
extern void lost_tail_told(void);

#endif /* PAYOUT_LOST_TAIL_H */
