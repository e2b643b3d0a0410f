/*
 * lost_tail.h: the worker's life in this database; see lost_tail.sql. For the worker and what it does in transactions of its own.
 */
#ifndef PAYOUT_LOST_TAIL_H
#define PAYOUT_LOST_TAIL_H

#include "utils/timestamp.h"
#include "utils/uuid.h"

/*
 * Whether what was registered at this moment may have been sent, or paid by a store, without a record here: by what is committed
 * now, whatever the caller's snapshot.
 */
extern bool lost_tail_asks_first(TimestampTz registered_at);

/* Begins the incarnation, here and now. Needs a transaction and SPI; lost_tail_begun() when that transaction has committed. */
extern void lost_tail_begin(const pg_uuid_t *incarnation_id);
extern void lost_tail_begun(void);

/*
 * Whether the incarnation is still the present one of this very creation of the extension, and no rows came in with a dump since.
 * Needs a transaction and SPI.
 */
extern bool lost_tail_life_holds(const pg_uuid_t *incarnation_id);

/* The last statement of a transaction that claims, or lets tokens expire: raises 40001 where the worker's life does not hold. */
extern void lost_tail_require_life(void);

#endif /* PAYOUT_LOST_TAIL_H */
