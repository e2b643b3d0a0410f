/*
 * calls.c: the statement of each call, its arguments, and how its answer is read.
 *
 * All arguments are bind parameters; a token must never stand in a statement's text. Called by client.c and block.c.
 */
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include "calls.h"

#define PARAMETERS_MAX 8
#define FIELD(name) (int) offsetof(Call, name)

typedef enum Repeat
{
	NEVER,	  /* it only reads */
	IN_DOUBT, /* after an answer that was lost; else a repeat does something new */
	ALWAYS	  /* a repeat answers the same */
} Repeat;

typedef struct CallForm
{
	const char *name;
	Repeat repeat;
	const char *sql;
	int count;
	int fields[PARAMETERS_MAX]; /* offsets of the parameters in Call */
} CallForm;

static const CallForm forms[] = {
	[CALL_REGISTER] = {"register",
					   ALWAYS,
					   "select txid, state from payout.register($1, $2, $3::numeric, $4, $5, $6, $7, null,"
					   " $8::timestamptz)",
					   8,
					   {FIELD(merchant), FIELD(reference), FIELD(amount), FIELD(bank), FIELD(account),
						FIELD(name), FIELD(method), FIELD(scheduled_at)}},
	[CALL_REGISTER_CASHOUT] = {"register_cashout",
							   ALWAYS,
							   "select txid, state from payout.register_cashout($1, $2, $3::numeric, $4,"
							   " '081234567890')",
							   4,
							   {FIELD(merchant), FIELD(reference), FIELD(amount), FIELD(name)}},
	[CALL_APPROVE] = {"approve",
					  ALWAYS,
					  "select txid, state, cashout_token from payout.approve($1, $2)",
					  2,
					  {FIELD(merchant), FIELD(txid)}},
	[CALL_REISSUE_TOKEN] = {"reissue_token",
							IN_DOUBT,
							"select txid, state, cashout_token from payout.reissue_token($1, $2)",
							2,
							{FIELD(merchant), FIELD(txid)}},
	[CALL_REJECT] = {"reject",
					 ALWAYS,
					 "select txid, state from payout.reject($1, $2, 'the customer changed his mind')",
					 2,
					 {FIELD(merchant), FIELD(txid)}},
	[CALL_CANCEL] = {"cancel",
					 ALWAYS,
					 "select txid, state from payout.cancel($1, $2, 'not needed any more')",
					 2,
					 {FIELD(merchant), FIELD(txid)}},
	[CALL_TOP_UP] = {"top_up",
					 ALWAYS,
					 "select reference_no from payout.top_up($1, $2::numeric, $3)",
					 3,
					 {FIELD(merchant), FIELD(amount), FIELD(reference)}},
	[CALL_WITHDRAW] = {"withdraw",
					   ALWAYS,
					   "select reference_no from payout.withdraw($1, $2::numeric, $3)",
					   3,
					   {FIELD(merchant), FIELD(amount), FIELD(reference)}},
	[CALL_VALIDATE] = {"validate",
					   IN_DOUBT,
					   "select txid, amount from payout.cashout_validate($1, $2, $3, $4)",
					   4,
					   {FIELD(cvs), FIELD(token), FIELD(terminal), FIELD(cvs_reference)}},
	[CALL_CONFIRM] = {"confirm",
					  ALWAYS,
					  "select txid, state, amount, cvs_reference from payout.cashout_confirm($1, $2, $3)",
					  3,
					  {FIELD(cvs), FIELD(token), FIELD(cvs_reference)}},
	[CALL_REVERSE] = {"reverse",
					  ALWAYS,
					  "select txid, state, amount, cvs_reference from payout.cashout_reverse($1, $2, $3,"
					  " 'the customer left')",
					  3,
					  {FIELD(cvs), FIELD(token), FIELD(cvs_reference)}},
	[CALL_CHECK_STATUS] =
		{"check_status", NEVER, "call payout.check_status($1, $2, '2 s')", 2, {FIELD(merchant), FIELD(txid)}},
	[CALL_REQUEST_CHECK] =
		{"request_check", NEVER, "select payout.request_check($1, $2)", 2, {FIELD(merchant), FIELD(txid)}},
	[CALL_INQUIRY] = {"inquiry",
					  NEVER,
					  "select txid, state from payout.inquiry($1, $2)",
					  2,
					  {FIELD(merchant), FIELD(txid)}},
	[CALL_INQUIRY_REFERENCE] = {"inquiry_reference",
								NEVER,
								"select txid, state from payout.inquiry_reference($1, $2)",
								2,
								{FIELD(merchant), FIELD(reference)}},
	[CALL_BALANCE] = {"balance", NEVER, "select available from payout.balance($1)", 1, {FIELD(merchant)}},
	[CALL_RESEND_NOTIFICATION] = {"resend_notification",
								  NEVER,
								  "select payout.resend_notification($1, $2)",
								  2,
								  {FIELD(merchant), FIELD(txid)}},
};

const char *
call_name(const Call *call)
{
	return forms[call->kind].name;
}

bool
call_is_ok(const Call *call)
{
	return strcmp(call->result, RESULT_OK) == 0;
}

bool
call_is_unknown(const Call *call)
{
	return strcmp(call->result, RESULT_UNKNOWN) == 0;
}

bool
call_may_repeat(const Call *call)
{
	return forms[call->kind].repeat == ALWAYS ||
		   (forms[call->kind].repeat == IN_DOUBT && call_is_unknown(call));
}

void
call_again(Call *call)
{
	call->again = true;
	call->state[0] = '\0';
	call->result[0] = '\0';
	call->vanished = NULL;
	if (call->kind == CALL_REGISTER || call->kind == CALL_REGISTER_CASHOUT)
		call->txid[0] = '\0';
	if (call->kind == CALL_APPROVE || call->kind == CALL_REISSUE_TOKEN)
		call->token[0] = '\0';
}

bool
call_send(Session *session, const Call *call)
{
	const CallForm *form = &forms[call->kind];
	const char *values[PARAMETERS_MAX];
	int i;

	for (i = 0; i < form->count; i++)
	{
		const char *value = (const char *) call + form->fields[i];

		values[i] = value[0] == '\0' ? NULL : value;
	}
	return session_send(session, form->sql, form->count, values);
}

/* Copies a column of the first row, where there is one of this name and it is not null. */
static void
take(const PGresult *result, const char *column, char *to, size_t size)
{
	int number = PQfnumber(result, column);

	if (number >= 0 && PQntuples(result) > 0 && !PQgetisnull(result, 0, number))
		snprintf(to, size, "%s", PQgetvalue(result, 0, number));
}

void
call_read(Session *session, Call *call, Answer *answer)
{
	session_read(session, answer);
	if (answer->kind == ANSWER_OK)
	{
		take(answer->result, "txid", call->txid, sizeof(call->txid));
		take(answer->result, "state", call->state, sizeof(call->state));
		take(answer->result, "amount", call->amount, sizeof(call->amount));
		take(answer->result, "cashout_token", call->token, sizeof(call->token));
		take(answer->result, "cvs_reference", call->cvs_reference, sizeof(call->cvs_reference));
		snprintf(call->result, sizeof(call->result), RESULT_OK);
	}
	else
		snprintf(call->result, sizeof(call->result), "%s",
				 answer->kind == ANSWER_ERROR ? answer->sqlstate : RESULT_UNKNOWN);
	answer_free(answer);
}
