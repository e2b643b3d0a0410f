/*
 * errors.h: the SQLSTATEs of class PY, the one list in C (README lists the same).
 * Every file that raises an error a user can meet may enter.
 */
#ifndef PAYOUT_ERRORS_H
#define PAYOUT_ERRORS_H

#define PY_STATE(c1, c2, c3) MAKE_SQLSTATE('P', 'Y', c1, c2, c3)

#define PY_INSUFFICIENT_BALANCE PY_STATE('0', '0', '1')
#define PY_REFERENCE_REUSED PY_STATE('0', '0', '2')
#define PY_NO_SUCH_PAYOUT PY_STATE('0', '0', '3')
#define PY_NOT_ALLOWED_IN_STATE PY_STATE('0', '0', '4')
#define PY_UNKNOWN_MERCHANT PY_STATE('0', '0', '5')
#define PY_UNKNOWN_BANK PY_STATE('0', '0', '6')
#define PY_AMOUNT_OUT_OF_BOUNDS PY_STATE('0', '0', '7')
#define PY_INVALID_ACCOUNT PY_STATE('0', '0', '8')
#define PY_SCHEDULE_OUT_OF_BOUNDS PY_STATE('0', '0', '9')
#define PY_INVALID_TOKEN PY_STATE('0', '1', '0')
#define PY_TOKEN_EXPIRED PY_STATE('0', '1', '1')
#define PY_TOO_MANY_WRONG_TOKENS PY_STATE('0', '1', '2')
#define PY_NOT_PERMITTED PY_STATE('0', '1', '3')
#define PY_NOT_PRELOADED PY_STATE('0', '1', '4')
#define PY_NOT_ARMED PY_STATE('0', '1', '5')
#define PY_BAD_INPUT PY_STATE('0', '1', '6')
#define PY_SLOT_NOT_SERVED PY_STATE('0', '1', '7')
#define PY_TOO_MUCH_OPEN PY_STATE('0', '1', '8')

#endif /* PAYOUT_ERRORS_H */
