/*
 * transaction.c: what calls come to: ok only when the server has told that their transaction is committed.
 *
 * A call of a block gets its line when the block has ended, since nothing of it is known before. It must never take an
 * answer to a call for the answer to its commit. Called by operation.c and store.c.
 */
#include <stdio.h>
#include <string.h>

#include "transaction.h"

static void
set_result(Call *call, const char *result)
{
	snprintf(call->result, sizeof(call->result), "%s", result);
}

bool
client_call(Client *client, Call *call)
{
	Answer answer;

	if (!session_open(&client->session))
		return false;
	call_send(&client->session, call);
	call_read(&client->session, call, &answer);
	client_judge(client, call_name(call), &answer);
	client_finish(client, call);
	return call_is_ok(call);
}

void
client_call_unread(Client *client, Call *call)
{
	if (!session_open(&client->session))
		return;
	call_send(&client->session, call);
	session_close(&client->session);
	call->vanished = "unread";
	set_result(call, RESULT_UNKNOWN);
	client_finish(client, call);
}

/* A statement around the calls; whether it was answered with its own tag. Else sqlstate is why, 40000 for another tag. */
static bool
control(Block *block, const char *sql, const char *tag_wanted, char *sqlstate)
{
	Answer answer;
	bool done;

	session_run(&block->client->session, sql, 0, NULL, &answer);
	client_judge(block->client, sql, &answer);
	done = answer.kind == ANSWER_OK && strcmp(PQcmdStatus(answer.result), tag_wanted) == 0;
	if (answer.kind == ANSWER_LOST)
		block->lost = true;
	else if (!done)
		block->refused = true;
	snprintf(sqlstate, sizeof(answer.sqlstate), "%s",
			 answer.kind == ANSWER_ERROR ? answer.sqlstate : RESULT_ROLLED_BACK);
	answer_free(&answer);
	return done;
}

bool
block_begin(Block *block, Client *client)
{
	char sqlstate[6];

	memset(block, 0, sizeof(*block));
	block->client = client;
	block->savepoint = -1;
	return session_open(&client->session) &&
		   control(block,
				   random_one_in(&client->random, 12) ? "begin isolation level repeatable read" : "begin",
				   "BEGIN", sqlstate);
}

bool
block_call(Block *block, Call *call)
{
	Session *session = &block->client->session;
	Answer answer;

	if (block->refused || block->lost || block->count == BLOCK_CALLS_MAX)
		return false;
	call_send(session, call);
	call_read(session, call, &answer);
	client_judge(block->client, call_name(call), &answer);
	if (answer.kind == ANSWER_LOST)
		block->lost = true;
	else if (answer.kind == ANSWER_ERROR)
		block->refused = true;
	block->calls[block->count++] = *call;
	return answer.kind == ANSWER_OK;
}

/* What the calls since the first so many come to, where they had been answered ok. */
static void
settle(Block *block, int first, const char *result)
{
	int i;

	for (i = first; i < block->count; i++)
	{
		if (call_is_ok(&block->calls[i]))
			set_result(&block->calls[i], result);
	}
}

bool
block_savepoint(Block *block)
{
	char sqlstate[6];

	if (block->refused || block->lost || !control(block, "savepoint before", "SAVEPOINT", sqlstate))
		return false;
	block->savepoint = block->count;
	return true;
}

bool
block_back(Block *block)
{
	char sqlstate[6];

	if (block->lost || block->savepoint < 0)
		return false;
	block->refused = false;
	if (!control(block, "rollback to savepoint before", "ROLLBACK", sqlstate))
		return false;
	settle(block, block->savepoint, RESULT_ROLLED_BACK);
	return true;
}

static void
finish(Block *block)
{
	int i;

	for (i = 0; i < block->count; i++)
		client_finish(block->client, &block->calls[i]);
}

bool
block_commit(Block *block)
{
	bool committed = false;
	char sqlstate[6];

	/* A client may also say commit to a transaction that has failed: then the answer is ROLLBACK. */
	if (!block->lost && block->refused && random_one_in(&block->client->random, 2))
		control(block, "rollback", "ROLLBACK", sqlstate);
	else if (!block->lost)
		committed = control(block, "commit", "COMMIT", sqlstate);
	if (block->lost)
		settle(block, 0, RESULT_UNKNOWN);
	else if (!committed)
		settle(block, 0, sqlstate);
	finish(block);
	return committed;
}

void
block_vanish(Block *block, bool commit)
{
	const char *how = commit ? "commit" : "uncommitted";
	int i;

	if (!block->lost && !block->refused)
	{
		if (commit)
			session_send(&block->client->session, "commit", 0, NULL);
		for (i = 0; i < block->count; i++)
			block->calls[i].vanished = how;
	}
	session_close(&block->client->session);
	settle(block, 0, block->refused && !block->lost ? RESULT_ROLLED_BACK : RESULT_UNKNOWN);
	finish(block);
}
