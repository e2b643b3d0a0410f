/*
 * calls.h: one call of a public function with all that a client knows of it: arguments, answer, and what it came to.
 * Every file of this folder that makes or remembers calls may enter.
 */
#ifndef SIMULATE_CALLS_H
#define SIMULATE_CALLS_H

#include "session.h"

typedef enum CallKind
{
	CALL_REGISTER,
	CALL_REGISTER_CASHOUT,
	CALL_APPROVE,
	CALL_REISSUE_TOKEN,
	CALL_REJECT,
	CALL_CANCEL,
	CALL_TOP_UP,
	CALL_WITHDRAW,
	CALL_VALIDATE,
	CALL_CONFIRM,
	CALL_REVERSE,
	CALL_CHECK_STATUS,
	CALL_REQUEST_CHECK,
	CALL_INQUIRY,
	CALL_INQUIRY_REFERENCE,
	CALL_BALANCE,
	CALL_RESEND_NOTIFICATION
} CallKind;

/* Results that are no SQLSTATE of the server's. */
#define RESULT_OK "ok"
#define RESULT_UNKNOWN "unknown"
#define RESULT_ROLLED_BACK "40000" /* did its work, but its transaction or savepoint was rolled back */

/* An empty text is none. */
typedef struct Call
{
	CallKind kind;
	char merchant[12];
	char reference[44]; /* of a payout, or of a top_up or withdrawal */
	char txid[32];
	char amount[24];
	char bank[8];
	char account[16];
	char name[32];
	char method[16]; /* "cashout" where the call is about a cashout */
	char scheduled_at[40];
	char cvs[8];
	char terminal[32];
	char cvs_reference[44];
	char token[32]; /* secret: never printed */
	char state[24]; /* answered */
	char result[8];
	const char *vanished; /* how the client left before it had the answer; NULL: it stayed */
	bool again;			  /* asked before, with the same arguments */
} Call;

/* The function's name; of the stores' functions without "cashout_". */
extern const char *call_name(const Call *call);

extern bool call_is_ok(const Call *call);
extern bool call_is_unknown(const Call *call);

/* Whether asking it again with the same arguments must be harmless, as far as its result is known. */
extern bool call_may_repeat(const Call *call);

/* Forgets the answer, so that the same can be asked again. */
extern void call_again(Call *call);

/* Sends; false when there is no connection now. */
extern bool call_send(Session *session, const Call *call);

/*
 * Reads the answer of the call sent: fills state, txid, amount, token and cvs_reference from it, and result, which
 * inside a transaction block is not the last word. answer->result is freed already.
 */
extern void call_read(Session *session, Call *call, Answer *answer);

#endif /* SIMULATE_CALLS_H */
