/*
 * prepare.c: which merchant, which payout, which amount: all arguments of calls.
 *
 * It must never speak to the server. References are never used for two things: they begin with the run's first id and
 * the client's number. Called by operation.c and store.c.
 */
#include <stdio.h>
#include <string.h>

#include "prepare.h"

/* Both sides are arrays of one size, always terminated. */
#define COPY(to, from) memcpy(to, from, sizeof(to))
#define SET(to, ...) snprintf(to, sizeof(to), __VA_ARGS__)

#define TERMINALS 100

bool
is_any(const Payout *payout)
{
	return payout->txid[0] != '\0';
}

bool
is_disbursement(const Payout *payout)
{
	return !payout->cashout;
}

static bool
is_in(const Payout *payout, const char *state)
{
	return strcmp(payout->state, state) == 0;
}

bool
is_registered(const Payout *payout)
{
	return is_in(payout, "registered");
}

bool
is_registered_disbursement(const Payout *payout)
{
	return !payout->cashout && is_registered(payout);
}

bool
is_registered_cashout(const Payout *payout)
{
	return payout->cashout && is_registered(payout);
}

bool
is_scheduled(const Payout *payout)
{
	return is_in(payout, "scheduled");
}

bool
has_issued_token(const Payout *payout)
{
	return is_in(payout, "token_issued");
}

bool
has_token(const Payout *payout)
{
	return payout->token[0] != '\0' && has_issued_token(payout);
}

/* By this client, which so knows the store's reference. */
bool
is_reserved(const Payout *payout)
{
	return payout->cvs_reference[0] != '\0' && is_in(payout, "token_reserved");
}

bool
is_paid_at_store(const Payout *payout)
{
	return payout->cvs_reference[0] != '\0' && is_in(payout, "paid");
}

bool
is_uncertain(const Payout *payout)
{
	return payout->state[0] == '\0';
}

const Payout *
choose(Client *client, PayoutTest test)
{
	return memory_choose(&client->memory, &client->random, test);
}

static void
start(Call *call, CallKind kind)
{
	memset(call, 0, sizeof(*call));
	call->kind = kind;
}

static void
set_merchant(Client *client, Call *call)
{
	const Settings *settings = client->settings;
	int among = settings->merchants;

	if (settings->hot > 0 && random_one_in(&client->random, 2))
		among = settings->hot;
	SET(call->merchant, "SIMM%06d", random_below(&client->random, among));
}

/* A letter keeps stores' references apart from merchants'. */
static void
set_reference(Client *client, char *to, size_t size, const char *letter)
{
	snprintf(to, size, "%s-%d-%s%ld", client->settings->first_id, client->number, letter, ++client->keys);
}

static void
set_account(Client *client, Call *call)
{
	int dice = random_below(&client->random, 40);

	SET(call->name, "Budi Santoso");
	if (dice == 0)
		SET(call->account, "4040000001");
	else if (dice == 1)
		SET(call->account, "7770000001");
	else
		SET(call->account, "88%08d", random_below(&client->random, 100000000));
}

void
prepare_register(Client *client, Call *call, const char *method)
{
	bool overbooking = strcmp(method, "overbooking") == 0;
	long rupiah = 10000 + 100L * random_below(&client->random, 2000);
	int cents = random_one_in(&client->random, 8) ? random_below(&client->random, 100) : 0;

	start(call, CALL_REGISTER);
	set_merchant(client, call);
	set_reference(client, call->reference, sizeof(call->reference), "");
	set_account(client, call);
	/* more than anybody has */
	if (random_one_in(&client->random, 60))
		rupiah += 900000000000;
	SET(call->amount, "%ld.%02d", rupiah, cents);
	SET(call->bank, "%s", overbooking ? "OWNB" : "CENA");
	SET(call->method, "%s", method);
}

void
prepare_register_cashout(Client *client, Call *call)
{
	start(call, CALL_REGISTER_CASHOUT);
	set_merchant(client, call);
	set_reference(client, call->reference, sizeof(call->reference), "");
	SET(call->name, "Siti Rahayu");
	SET(call->method, "cashout");
	SET(call->amount, "%ld.00", 50000L * (1 + random_below(&client->random, 10)));
}

/* Top-ups are fewer than payouts and as much greater. */
void
prepare_merchant(Client *client, Call *call, CallKind kind)
{
	long unit = kind == CALL_TOP_UP ? 500000 : 1000;

	start(call, kind);
	set_merchant(client, call);
	if (kind == CALL_BALANCE)
		return;
	set_reference(client, call->reference, sizeof(call->reference), kind == CALL_TOP_UP ? "T" : "W");
	SET(call->amount, "%ld.00", unit * (1 + random_below(&client->random, 10)));
}

void
prepare_about(Call *call, CallKind kind, const Payout *payout)
{
	start(call, kind);
	COPY(call->merchant, payout->merchant);
	COPY(call->reference, payout->reference);
	COPY(call->txid, payout->txid);
	COPY(call->amount, payout->amount);
	if (payout->cashout)
		SET(call->method, "cashout");
}

void
prepare_validate(Client *client, Call *call, const Payout *payout)
{
	prepare_about(call, CALL_VALIDATE, payout);
	COPY(call->token, payout->token);
	SET(call->cvs, "STORE%d", 1 + random_below(&client->random, 2));
	SET(call->terminal, "TILL-%d-%d", client->number, random_below(&client->random, TERMINALS));
	set_reference(client, call->cvs_reference, sizeof(call->cvs_reference), "S");
}

void
prepare_redeem(Call *call, CallKind kind, const Payout *payout)
{
	prepare_about(call, kind, payout);
	COPY(call->token, payout->token);
	COPY(call->cvs, payout->cvs);
	COPY(call->terminal, payout->terminal);
	COPY(call->cvs_reference, payout->cvs_reference);
}

void
prepare_any(Client *client, Call *call)
{
	int dice = random_below(&client->random, 100);
	const Payout *payout = NULL;

	if (dice < 30 && (payout = choose(client, is_registered)) != NULL)
		prepare_about(call, CALL_APPROVE, payout);
	else if (dice < 40 && (payout = choose(client, has_token)) != NULL)
		prepare_validate(client, call, payout);
	else if (dice < 55 && (payout = choose(client, is_reserved)) != NULL)
		prepare_redeem(call, dice < 50 ? CALL_CONFIRM : CALL_REVERSE, payout);
	else if (dice < 60 && (payout = choose(client, is_scheduled)) != NULL)
		prepare_about(call, CALL_CANCEL, payout);
	else if (dice < 70)
		prepare_merchant(client, call, dice < 66 ? CALL_TOP_UP : CALL_WITHDRAW);
	else if (dice < 80)
		prepare_register_cashout(client, call);
	else
		prepare_register(client, call, dice < 95 ? "online" : "overbooking");
}
