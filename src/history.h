/*
 * history.h: writes the history of a payout.
 * The steps in C that change one enter; SQL calls payout.write_event.
 */
#ifndef PAYOUT_HISTORY_H
#define PAYOUT_HISTORY_H

/*
 * Writes row event_no of a payout, made by the present caller, now. The event that merchants may be told of, the state
 * before and the reason may be NULL. The payout's row is locked or new.
 */
extern void history_write(Datum merchant_id, Datum txid, int event_no, const char *event,
						  const char *from_state, const char *to_state, const char *reason);

#endif /* PAYOUT_HISTORY_H */
