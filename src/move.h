/*
 * move.h: keeps the trigger of payout.payout out of a statement that does the trigger's work for a whole set.
 * batch.c alone may enter.
 */
#ifndef PAYOUT_MOVE_H
#define PAYOUT_MOVE_H

/* From now on, or no longer. To be ended on error as well. */
extern void move_by_set(bool on);

#endif /* PAYOUT_MOVE_H */
