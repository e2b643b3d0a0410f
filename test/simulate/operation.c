/*
 * operation.c: what merchants and operators ask, how often, and how clients leave.
 *
 * Weights and arguments come from the dice and from what was answered, never from the time. Called by client.c.
 */
#include <stdio.h>
#include <string.h>

#include "operation.h"
#include "prepare.h"
#include "transaction.h"

static void
do_register_online(Client *client)
{
	Call call;

	prepare_register(client, &call, "online");
	client_call(client, &call);
}

static void
do_register_overbooking(Client *client)
{
	Call call;

	prepare_register(client, &call, "overbooking");
	client_call(client, &call);
}

/* The schedule is a moment of the server's own clock; as text, so that a repeat names the same one. */
static void
do_register_scheduled(Client *client)
{
	char minutes[8];
	const char *values[] = {minutes};
	Answer answer;
	Call call;

	prepare_register(client, &call, "online");
	snprintf(minutes, sizeof(minutes), "%d", 61 + random_below(&client->random, 120));
	if (!session_open(&client->session))
		return;
	session_run(&client->session, "select payout.clock() + pg_catalog.make_interval(mins => $1::integer)", 1,
				values, &answer);
	client_judge(client, "clock", &answer);
	if (answer.kind == ANSWER_OK && PQntuples(answer.result) == 1)
		snprintf(call.scheduled_at, sizeof(call.scheduled_at), "%s", PQgetvalue(answer.result, 0, 0));
	answer_free(&answer);
	if (call.scheduled_at[0] != '\0')
		client_call(client, &call);
}

static void
do_register_cashout(Client *client)
{
	Call call;

	prepare_register_cashout(client, &call);
	client_call(client, &call);
}

/* Registers and approves within a block; false when the block is over. */
static bool
register_and_approve(Client *client, Block *block)
{
	Call registered;
	Call approval;

	if (random_one_in(&client->random, 5))
		prepare_register_cashout(client, &registered);
	else
		prepare_register(client, &registered, random_one_in(&client->random, 4) ? "overbooking" : "online");
	/* mostly one merchant in one transaction; now and then several, which may deadlock */
	if (block->count > 0 && !random_one_in(&client->random, 4))
		memcpy(registered.merchant, block->calls[0].merchant, sizeof(registered.merchant));
	if (!block_call(block, &registered))
		return false;
	approval = registered;
	approval.kind = CALL_APPROVE;
	return block_call(block, &approval);
}

static void
do_register_and_approve(Client *client)
{
	Block block;

	if (!block_begin(&block, client))
		return;
	register_and_approve(client, &block);
	block_commit(&block);
}

static void
do_register_several_and_approve(Client *client)
{
	int left = 2 + random_below(&client->random, 4);
	Block block;

	if (!block_begin(&block, client))
		return;
	while (left-- > 0 && register_and_approve(client, &block))
		continue;
	block_commit(&block);
}

/* A call about one of the payouts that pass the test, now and then about any; without one, something new. */
static void
do_about(Client *client, CallKind kind, PayoutTest test)
{
	const Payout *payout = choose(client, random_one_in(&client->random, 25) ? is_any : test);
	Call call;

	if (payout == NULL)
		prepare_any(client, &call);
	else
		prepare_about(&call, kind, payout);
	client_call(client, &call);
}

static void
do_approve(Client *client)
{
	do_about(client, CALL_APPROVE, is_registered_disbursement);
}

static void
do_approve_cashout(Client *client)
{
	if (choose(client, is_registered_cashout) == NULL)
		do_register_cashout(client);
	else
		do_about(client, CALL_APPROVE, is_registered_cashout);
}

static void
do_reissue_token(Client *client)
{
	do_about(client, CALL_REISSUE_TOKEN, has_issued_token);
}

static void
do_reject(Client *client)
{
	do_about(client, CALL_REJECT, is_registered);
}

static void
do_cancel(Client *client)
{
	do_about(client, CALL_CANCEL, is_scheduled);
}

static void
do_check_status(Client *client)
{
	do_about(client, CALL_CHECK_STATUS, is_disbursement);
}

static void
do_request_check(Client *client)
{
	do_about(client, CALL_REQUEST_CHECK, is_disbursement);
}

static void
do_inquiry(Client *client)
{
	do_about(client, CALL_INQUIRY, choose(client, is_uncertain) != NULL ? is_uncertain : is_any);
}

static void
do_inquiry_reference(Client *client)
{
	do_about(client, CALL_INQUIRY_REFERENCE, is_any);
}

static void
do_resend_notification(Client *client)
{
	do_about(client, CALL_RESEND_NOTIFICATION, is_any);
}

static void
do_top_up(Client *client)
{
	Call call;

	prepare_merchant(client, &call, CALL_TOP_UP);
	client_call(client, &call);
}

static void
do_withdraw(Client *client)
{
	Call call;

	prepare_merchant(client, &call, CALL_WITHDRAW);
	client_call(client, &call);
}

static void
do_balance(Client *client)
{
	Call call;

	prepare_merchant(client, &call, CALL_BALANCE);
	client_call(client, &call);
}

static void
do_repeat(Client *client)
{
	Call call;

	if (ring_copy(&client->memory.done, &client->random, &call))
		call_again(&call);
	else
		prepare_any(client, &call);
	client_call(client, &call);
}

/* The work of a client that will not wait for its end. */
static void
do_some(Client *client, Block *block)
{
	int left = 1 + random_below(&client->random, 3);
	Call call;

	while (left-- > 0)
	{
		if (random_one_in(&client->random, 2))
		{
			if (!register_and_approve(client, block))
				return;
			continue;
		}
		prepare_any(client, &call);
		if (!block_call(block, &call))
			return;
	}
}

static void
do_vanish_uncommitted(Client *client)
{
	Block block;

	if (!block_begin(&block, client))
		return;
	do_some(client, &block);
	block_vanish(&block, false);
}

static void
do_vanish_with_commit(Client *client)
{
	Block block;

	if (!block_begin(&block, client))
		return;
	do_some(client, &block);
	block_vanish(&block, true);
}

static void
do_vanish_unread(Client *client)
{
	Call call;

	prepare_any(client, &call);
	client_call_unread(client, &call);
}

/* A deduction that is taken back to a savepoint, in a transaction that commits; half of the time it is made after all. */
static void
do_savepoint(Client *client)
{
	const Payout *payout = choose(client, is_registered);
	bool after_all = random_one_in(&client->random, 2);
	Call registered;
	Call approval;
	Block block;

	prepare_register(client, &registered, "online");
	if (payout != NULL)
		prepare_about(&approval, CALL_APPROVE, payout);
	if (!block_begin(&block, client))
		return;
	if (block_call(&block, &registered) && block_savepoint(&block))
	{
		Call again;

		if (payout == NULL)
		{
			approval = registered;
			approval.kind = CALL_APPROVE;
		}
		again = approval;
		block_call(&block, &approval);
		if (block_back(&block) && after_all)
			block_call(&block, &again);
	}
	block_commit(&block);
}

/* Something that may or may not have been done: asked again, as real clients do; or looked for; or left alone. */
static void
do_in_doubt(Client *client)
{
	int dice = random_below(&client->random, 5);
	Call call;

	if (!ring_take(&client->memory.unknown, &client->random, &call) || dice == 0)
		return;
	call_again(&call);
	if (dice == 1 && (call.kind == CALL_REGISTER || call.kind == CALL_REGISTER_CASHOUT))
		call.kind = CALL_INQUIRY_REFERENCE;
	client_call(client, &call);
}

typedef struct Operation
{
	int weight;
	void (*act)(Client *client);
} Operation;

static const Operation operations[] = {
	{110, do_register_online},
	{40, do_register_overbooking},
	{30, do_register_scheduled},
	{90, do_register_and_approve},
	{40, do_register_several_and_approve},
	{110, do_approve},
	{40, do_repeat},
	{20, do_cancel},
	{20, do_reject},
	{50, do_top_up},
	{20, do_withdraw},
	{70, do_register_cashout},
	{70, do_approve_cashout},
	{15, do_reissue_token},
	{60, do_validate},
	{25, do_validate_twice_at_once},
	{50, do_confirm},
	{15, do_confirm_twice},
	{15, do_reverse},
	{8, do_reverse_before},
	{2, do_wrong_token},
	{4, do_check_status},
	{20, do_request_check},
	{25, do_inquiry},
	{15, do_inquiry_reference},
	{15, do_balance},
	{10, do_resend_notification},
	{8, do_vanish_uncommitted},
	{12, do_vanish_unread},
	{10, do_vanish_with_commit},
	{15, do_savepoint},
};

#define OPERATIONS (sizeof(operations) / sizeof(operations[0]))

void
client_act(Client *client)
{
	int total = 0;
	int dice;
	size_t i;

	if (client->memory.unknown.count > 0 && random_one_in(&client->random, 3))
	{
		do_in_doubt(client);
		return;
	}
	for (i = 0; i < OPERATIONS; i++)
		total += operations[i].weight;
	dice = random_below(&client->random, total);
	for (i = 0; dice >= operations[i].weight; i++)
		dice -= operations[i].weight;
	operations[i].act(client);
}
