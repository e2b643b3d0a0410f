/*
 * exchange.c: one HTTP exchange of the worker, from its claim to its record.
 *
 * Invariant kept here: exchange_start_all() runs only after the transaction that wrote the attempts has committed; so
 * no byte leaves that the tables do not know of. It is the only caller of http_start() for banks and merchants.
 *
 * An exchange with a bank that has no valid token waits in its channel's list while one token request is under way.
 */
#include "postgres.h"

#include "breaker.h"
#include "compat.h"
#include "clock.h"
#include "common/cryptohash.h"
#include "catalog/pg_type.h"
#include "exchange.h"
#include "executor/spi.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/memutils.h"

/* Ended without having been sent; exchange_collect() hands them out. */
static dlist_head ended_early = DLIST_STATIC_INIT(ended_early);
static int in_flight[LANE_TOKEN + 1];

Exchange *
exchange_new(Lane lane, BankChannel *channel)
{
	MemoryContext context = AllocSetContextCreate(TopMemoryContext, "payout exchange", ALLOCSET_SMALL_SIZES);
	Exchange *exchange = MemoryContextAllocZero(context, sizeof(Exchange));

	exchange->context = context;
	exchange->lane = lane;
	exchange->channel = channel;
	exchange->early = OUTCOME_NOT_SENT;
	exchange->early_class = SNAP_UNKNOWN;
	in_flight[lane]++;
	if (channel != NULL && lane < BANK_LANES)
		channel->in_flight[lane]++;
	return exchange;
}

void
exchange_free(Exchange *exchange)
{
	in_flight[exchange->lane]--;
	if (exchange->channel != NULL && exchange->lane < BANK_LANES)
		exchange->channel->in_flight[exchange->lane]--;
	http_reply_free(&exchange->reply);
	MemoryContextDelete(exchange->context);
}

int
exchange_in_flight(Lane lane)
{
	return in_flight[lane];
}

void
exchange_digest(const Exchange *exchange, uint8 digest[EXCHANGE_DIGEST_LEN])
{
	const char *body = exchange->request.body;
	pg_cryptohash_ctx *ctx = pg_cryptohash_create(PG_SHA256);

	if (pg_cryptohash_init(ctx) < 0 || pg_cryptohash_update(ctx, (const uint8 *) body, strlen(body)) < 0 ||
		pg_cryptohash_final(ctx, digest, EXCHANGE_DIGEST_LEN) < 0)
		ereport(ERROR, (errcode(ERRCODE_INTERNAL_ERROR), errmsg("could not digest a request")));
	pg_cryptohash_free(ctx);
}

static Datum
text_or_null(const char *value, char *null)
{
	*null = value != NULL ? ' ' : 'n';
	return value != NULL ? CStringGetTextDatum(value) : (Datum) 0;
}

static void
save_attempt(Exchange *exchange, const pg_uuid_t *incarnation_id)
{
	static SPIPlanPtr plan = NULL;
	static const char *const lane_names[] = {"validate", "dispatch", "check"};
	Oid types[] = {TEXTOID, UUIDOID, TEXTOID, INT4OID, TEXTOID, TEXTOID, TEXTOID, TEXTOID, BYTEAOID, UUIDOID};
	Datum values[10];
	char nulls[11] = "          ";
	bool dispatch = exchange->lane == LANE_DISPATCH;
	const BankOrder *order = &exchange->order;
	bytea *digest = palloc(VARHDRSZ + EXCHANGE_DIGEST_LEN);

	identifier_uuid(&exchange->attempt_id);
	identifier_external(exchange->external_id);
	values[0] = CStringGetTextDatum(exchange->channel->channel_id);
	values[1] = UUIDPGetDatum(&exchange->attempt_id);
	values[2] = CStringGetTextDatum(lane_names[exchange->lane]);
	values[3] = Int32GetDatum(order->service);
	values[4] = text_or_null(dispatch ? order->batch_id : NULL, &nulls[4]);
	values[5] = text_or_null(dispatch ? NULL : order->items[0].merchant_id, &nulls[5]);
	values[6] = text_or_null(dispatch ? NULL : order->items[0].txid, &nulls[6]);
	values[7] = CStringGetTextDatum(exchange->external_id);
	SET_VARSIZE(digest, VARHDRSZ + EXCHANGE_DIGEST_LEN);
	exchange_digest(exchange, (uint8 *) VARDATA(digest));
	values[8] = PointerGetDatum(digest);
	values[9] = UUIDPGetDatum(incarnation_id);
	if (plan == NULL)
	{
		plan = SPI_prepare("select payout.save_attempt($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)", 10, types);
		if (plan == NULL || SPI_keepplan(plan) != 0)
			elog(ERROR, "could not prepare the saving of attempts");
	}
	if (SPI_execute_plan(plan, values, nulls, false, 0) != SPI_OK_SELECT)
		elog(ERROR, "could not save an attempt");
}

void
exchange_save_attempts(dlist_head *exchanges, const pg_uuid_t *incarnation_id)
{
	dlist_iter iter;

	dlist_foreach(iter, exchanges)
	{
		Exchange *exchange = dlist_container(Exchange, node, iter.cur);

		if (exchange->channel != NULL)
			save_attempt(exchange, incarnation_id);
	}
}

/* The exchange ends without having been sent. */
static void
end_early(Exchange *exchange, Outcome outcome, SnapClass class, const char *why)
{
	exchange->early = outcome;
	exchange->early_class = class;
	exchange->reply.end = HTTP_NOT_SENT;
	strlcpy(exchange->reply.error, why, sizeof(exchange->reply.error));
	dlist_push_tail(&ended_early, &exchange->node);
}

/* Hands a signed request to the HTTP client. */
static bool
send(Exchange *exchange, const char *url, const char *body, List *headers, char *error, size_t error_size)
{
	BankChannel *channel = exchange->channel;
	const char **list = palloc0((list_length(headers) + 1) * sizeof(char *));
	HttpRequest request = {
		.method = "POST", .url = url, .headers = list, .body = body, .body_len = strlen(body)};
	ListCell *cell;

	foreach(cell, headers)
		list[foreach_current_index(cell)] = lfirst(cell);
	request.connect_timeout_ms = channel != NULL ? channel->connect_timeout_ms : 5000;
	request.request_timeout_ms = channel != NULL ? channel->request_timeout_ms : 15000;
	request.reply_bytes_max = EXCHANGE_REPLY_BYTES_MAX;
	request.ca_file = channel != NULL ? channel->ca_file : NULL;
	request.client_certificate = channel != NULL ? channel->client_certificate : NULL;
	request.money = exchange->lane == LANE_DISPATCH;
	return http_start(&request, exchange, error, error_size);
}

static void
send_to_bank(Exchange *exchange)
{
	BankChannel *channel = exchange->channel;
	MemoryContext old = MemoryContextSwitchTo(exchange->context);
	List *headers = NIL;
	char *why = NULL;
	char error[256];

	if (!channel->protocol->sign(channel, &exchange->request, exchange->external_id, &headers, &why))
		end_early(exchange, OUTCOME_REFUSED_FOR_NOW, SNAP_STOP, why);
	else if (!send(exchange, psprintf("%s%s", channel->base_url, exchange->request.path),
				   exchange->request.body, headers, error, sizeof(error)))
		end_early(exchange, OUTCOME_NOT_SENT, SNAP_UNKNOWN, error);
	MemoryContextSwitchTo(old);
}

/* Ends the wait of all that waited for the channel's token: with it, or without. */
static void
end_wait(BankChannel *channel, Outcome outcome, SnapClass class, const char *why)
{
	while (!dlist_is_empty(&channel->waiting))
	{
		Exchange *exchange = dlist_container(Exchange, node, dlist_pop_head_node(&channel->waiting));

		if (channel->token != NULL)
			send_to_bank(exchange);
		else
			end_early(exchange, outcome, class, why);
	}
}

static void
ask_token(BankChannel *channel)
{
	Exchange *exchange = exchange_new(LANE_TOKEN, channel);
	MemoryContext old = MemoryContextSwitchTo(exchange->context);
	List *headers = NIL;
	char *why = NULL;
	char error[256];

	exchange->host = channel->base_url;
	if (!channel->protocol->ask_token(channel, &exchange->request, &headers, &why))
	{
		end_wait(channel, OUTCOME_REFUSED_FOR_NOW, SNAP_STOP, why);
		exchange_free(exchange);
	}
	else if (!send(exchange, psprintf("%s%s", channel->base_url, exchange->request.path),
				   exchange->request.body, headers, error, sizeof(error)))
	{
		end_wait(channel, OUTCOME_NOT_SENT, SNAP_UNKNOWN, error);
		exchange_free(exchange);
	}
	else
		channel->token_asked = true;
	MemoryContextSwitchTo(old);
}

/* The answer to a token request has come, or has not. */
static void
end_token(Exchange *exchange)
{
	BankChannel *channel = exchange->channel;
	MemoryContext old = MemoryContextSwitchTo(exchange->context);
	char *token = NULL;
	char *code = NULL;
	int life_s = 0;
	SnapClass class;

	channel->token_asked = false;
	breaker_report(exchange->host, exchange->reply.end == HTTP_ANSWERED && exchange->reply.status < 500);
	if (exchange->reply.end != HTTP_ANSWERED)
		end_wait(channel, OUTCOME_NOT_SENT, SNAP_UNKNOWN, psprintf("no token: %s", exchange->reply.error));
	else
	{
		class = channel->protocol->read_token(&exchange->reply, &token, &life_s, &code);
		if (class == SNAP_OK)
		{
			/* Renewed after four fifths of its life; its life is real time. */
			channel->token = MemoryContextStrdup(TopMemoryContext, token);
			channel->token_ends_ms = payout_unix_ms() + (int64) life_s * 800;
		}
		end_wait(
			channel, class == SNAP_STOP || class == SNAP_LATER ? OUTCOME_REFUSED_FOR_NOW : OUTCOME_NOT_SENT,
			class,
			psprintf("no token: HTTP %d, code %s", exchange->reply.status, code != NULL ? code : "none"));
	}
	MemoryContextSwitchTo(old);
	exchange_free(exchange);
}

static void
start(Exchange *exchange)
{
	BankChannel *channel = exchange->channel;
	char error[256];
	MemoryContext old;

	if (channel == NULL)
	{
		old = MemoryContextSwitchTo(exchange->context);
		if (!send(exchange, exchange->url, exchange->request.body, exchange->headers, error, sizeof(error)))
			end_early(exchange, OUTCOME_NOT_SENT, SNAP_UNKNOWN, error);
		MemoryContextSwitchTo(old);
		return;
	}
	if (channel->token != NULL && payout_unix_ms() >= channel->token_ends_ms)
		channel_drop_token(channel);
	if (channel->token != NULL)
	{
		send_to_bank(exchange);
		return;
	}
	dlist_push_tail(&channel->waiting, &exchange->node);
	if (!channel->token_asked)
		ask_token(channel);
}

void
exchange_start_all(dlist_head *exchanges)
{
	while (!dlist_is_empty(exchanges))
		start(dlist_container(Exchange, node, dlist_pop_head_node(exchanges)));
}

void
exchange_collect(dlist_head *ended)
{
	void *owner;
	HttpReply reply;

	while (http_finished(&owner, &reply))
	{
		Exchange *exchange = owner;

		exchange->reply = reply;
		if (exchange->lane == LANE_TOKEN)
		{
			end_token(exchange);
			continue;
		}
		breaker_report(exchange->host, reply.end == HTTP_ANSWERED && reply.status < 500);
		dlist_push_tail(ended, &exchange->node);
	}
	while (!dlist_is_empty(&ended_early))
		dlist_push_tail(ended, dlist_pop_head_node(&ended_early));
}
