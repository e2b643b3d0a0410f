/*
 * store.c: what stores do with tokens, in the order that they should and in others.
 *
 * A token comes from the client's own memory, goes out as a bind parameter, and must never be shown. Called by
 * operation.c.
 */
#include <stdio.h>
#include <string.h>

#include "operation.h"
#include "prepare.h"
#include "transaction.h"

/* Brings a cashout nearer to where a store can do something with it. */
static void
bring_nearer(Client *client)
{
	const Payout *payout = choose(client, is_registered_cashout);
	Call call;

	if (payout == NULL)
		prepare_register_cashout(client, &call);
	else
		prepare_about(&call, CALL_APPROVE, payout);
	client_call(client, &call);
}

void
do_validate(Client *client)
{
	const Payout *payout = choose(client, has_token);
	Call call;

	if (payout == NULL)
	{
		bring_nearer(client);
		return;
	}
	prepare_validate(client, &call, payout);
	client_call(client, &call);
}

/* Another store, or another till of the same one, with the same token. */
static void
prepare_rival(Client *client, Call *call, const Payout *payout, const Call *first)
{
	prepare_validate(client, call, payout);
	if (!random_one_in(&client->random, 4))
		snprintf(call->cvs, sizeof(call->cvs), "%s", strcmp(first->cvs, "STORE1") == 0 ? "STORE2" : "STORE1");
}

void
do_validate_twice_at_once(Client *client)
{
	const Payout *payout = choose(client, has_token);
	Call calls[2];
	Answer answer;
	int winner;

	if (payout == NULL)
	{
		bring_nearer(client);
		return;
	}
	prepare_validate(client, &calls[0], payout);
	prepare_rival(client, &calls[1], payout, &calls[0]);
	if (!session_open(&client->session) || !session_try(&client->rival))
		return;
	call_send(&client->session, &calls[0]);
	call_send(&client->rival, &calls[1]);
	call_read(&client->session, &calls[0], &answer);
	client_judge(client, call_name(&calls[0]), &answer);
	call_read(&client->rival, &calls[1], &answer);
	client_judge(client, call_name(&calls[1]), &answer);
	if (call_is_ok(&calls[0]) && call_is_ok(&calls[1]))
		client_complain(client, calls[0].txid, "two validations of one token were answered ok");

	/* the winner's last, so that it is what is remembered */
	winner = call_is_ok(&calls[0]) ? 0 : 1;
	client_finish(client, &calls[1 - winner]);
	client_finish(client, &calls[winner]);
}

/* A call that follows a validation; without one, a validation first. */
static bool
redeem(Client *client, CallKind kind, PayoutTest test, Call *call)
{
	const Payout *payout = choose(client, test);

	if (payout == NULL)
	{
		do_validate(client);
		return false;
	}
	prepare_redeem(call, kind, payout);
	return client_call(client, call);
}

void
do_confirm(Client *client)
{
	Call call;

	redeem(client, CALL_CONFIRM, is_reserved, &call);
}

void
do_confirm_twice(Client *client)
{
	Call call;

	if (redeem(client, CALL_CONFIRM, is_reserved, &call))
	{
		call_again(&call);
		client_call(client, &call);
	}
}

/* Now and then of what has been paid: a dispute. */
void
do_reverse(Client *client)
{
	bool is_late = random_one_in(&client->random, 12);
	Call call;

	redeem(client, CALL_REVERSE, is_late ? is_paid_at_store : is_reserved, &call);
}

/* The reversal overtakes its validation, which must then be refused; what became of the payout is asked. */
void
do_reverse_before(Client *client)
{
	const Payout *payout = choose(client, has_token);
	Call late;
	Call call;

	if (payout == NULL)
	{
		bring_nearer(client);
		return;
	}
	prepare_validate(client, &late, payout);
	call = late;
	call.kind = CALL_REVERSE;
	if (!client_call(client, &call))
		return;
	if (client_call(client, &late))
		client_complain(client, late.txid, "a validation was answered ok after its reversal");
	payout = memory_find(&client->memory, late.txid);
	if (payout == NULL)
		return;
	prepare_about(&call, CALL_INQUIRY, payout);
	client_call(client, &call);
}

/* At a till of its own, since that will be locked. */
void
do_wrong_token(Client *client)
{
	static const Payout nothing;
	Call call;

	prepare_validate(client, &call, &nothing);
	snprintf(call.terminal, sizeof(call.terminal), "TILL-%d-WRONG", client->number);
	snprintf(call.token, sizeof(call.token), "%08d%08d", random_below(&client->random, 100000000),
			 random_below(&client->random, 100000000));
	if (client_call(client, &call))
		client_complain(client, "wrong token", "a token by the dice was answered ok");
}
