/*
 * exchange.c: one HTTP exchange of the worker, from its claim to its record.
 *
 * Invariant kept here: exchange_start() runs only after the transaction that wrote the attempts has committed; so
 * no byte leaves that the tables do not know of. It is the only caller of http_start() for banks and merchants.
 *
 * An exchange with a bank that has no valid token waits in its channel's list while one token request is under way.
 * Whatever waits, there or inside libcurl, passes the gate last (gate.h).
 */
#include "postgres.h"

#include "breaker.h"
#include "catalog/pg_type.h"
#include "clock.h"
#include "columns.h"
#include "compat.h"
#include "exchange.h"
#include "gate.h"
#include "utils/memutils.h"

#define ANSWERS_AVERAGED 8

/*
 * After an exchange without an answer its bank gets new connections for a while, until others that may be as dead have become
 * too old for orders.
 */
#define FRESH_MS 3000

/* Ended without having been sent; exchange_collect() hands them out. */
static dlist_head ended_early = DLIST_STATIC_INIT(ended_early);
static int in_flight[LANE_TOKEN + 1];
static int on_wire[LANE_TOKEN + 1];

/* A row of payout.under_way that we have written: it can go when none of its attempts is under way any more. */
typedef struct ExchangeClaim
{
	dlist_node node; /* in claims_ended */
	pg_uuid_t claim_id;
	int exchanges;
} ExchangeClaim;

static dlist_head claims_ended = DLIST_STATIC_INIT(claims_ended);

Exchange *
exchange_new(Lane lane, BankChannel *channel)
{
	MemoryContext context = AllocSetContextCreate(TopMemoryContext, "payout exchange", ALLOCSET_SMALL_SIZES);
	Exchange *exchange = MemoryContextAllocZero(context, sizeof(Exchange));

	exchange->context = context;
	exchange->lane = lane;
	exchange->channel = channel;
	exchange->channel_version = channel != NULL ? channel->version_no : 0;
	exchange->claimed_ms = payout_unix_ms();
	exchange->early = OUTCOME_NOT_SENT;
	exchange->early_class = SNAP_UNKNOWN;
	if (channel != NULL)
	{
		identifier_uuid(&exchange->attempt_id);
		identifier_external(exchange->external_id);
		exchange->order.external_id = exchange->external_id;
	}
	exchange_take_place(exchange);
	return exchange;
}

static void
count_place(const Exchange *exchange, int change)
{
	in_flight[exchange->lane] += change;
	if (exchange->channel != NULL && exchange->lane < BANK_LANES)
		exchange->channel->in_flight[exchange->lane] += change;
}

void
exchange_take_place(Exchange *exchange)
{
	if (!exchange->has_place)
		count_place(exchange, 1);
	exchange->has_place = true;
}

static void
take_wire(Exchange *exchange)
{
	exchange->on_wire = true;
	on_wire[exchange->lane]++;
	if (exchange->channel != NULL && exchange->lane < BANK_LANES)
		exchange->channel->on_wire[exchange->lane]++;
}

static void
leave_wire(Exchange *exchange)
{
	if (!exchange->on_wire)
		return;
	exchange->on_wire = false;
	on_wire[exchange->lane]--;
	if (exchange->channel != NULL && exchange->lane < BANK_LANES)
		exchange->channel->on_wire[exchange->lane]--;
}

void
exchange_leave_place(Exchange *exchange)
{
	leave_wire(exchange);
	if (exchange->has_place)
		count_place(exchange, -1);
	exchange->has_place = false;
}

void
exchange_free(Exchange *exchange)
{
	ExchangeClaim *claim = exchange->claim;

	gate_leave(exchange);
	if (claim != NULL && --claim->exchanges == 0)
		dlist_push_tail(&claims_ended, &claim->node);
	exchange_leave_place(exchange);
	http_reply_free(&exchange->reply);
	MemoryContextDelete(exchange->context);
}

int
exchange_in_flight(Lane lane)
{
	return in_flight[lane];
}

int
exchange_on_wire(Lane lane)
{
	return on_wire[lane];
}

void
exchange_digest(const Exchange *exchange, uint8 digest[SHA256_LEN])
{
	const char *body = exchange->request.body;
	const bytea *salt = exchange->salt;

	sha256_salted(salt != NULL ? VARDATA_ANY(salt) : NULL, salt != NULL ? VARSIZE_ANY_EXHDR(salt) : 0, body,
				  strlen(body), digest);
}

/* Host and port of a URL. */
static char *
host_of(const char *url)
{
	const char *host = strstr(url, "://");

	host = host != NULL ? host + 3 : url;
	return pnstrdup(host, strcspn(host, "/?#"));
}

/* The codes of the banks that an order names, each once; NULL for an inquiry. */
static char *
wire_codes_of(const Exchange *exchange)
{
	const BankOrder *order = &exchange->order;
	List *codes = NIL;
	StringInfoData joined;
	ListCell *cell;

	if (exchange->lane == LANE_CHECK)
		return NULL;
	for (int i = 0; i < order->item_count; i++)
	{
		bool is_new = order->items[i].wire_code != NULL;

		foreach(cell, codes)
			is_new = is_new && strcmp(lfirst(cell), order->items[i].wire_code) != 0;
		if (is_new)
			codes = lappend(codes, order->items[i].wire_code);
	}
	initStringInfo(&joined);
	foreach(cell, codes)
		appendStringInfo(&joined, "%s%s", joined.len > 0 ? "," : "", (char *) lfirst(cell));
	return codes != NIL ? joined.data : NULL;
}

/* Fills a row of the columns of payout.save_attempts(). */
static void
fill_attempt(Exchange *exchange, Columns *columns, int row)
{
	static const char *const lane_names[] = {"validate", "dispatch", "check"};
	const BankOrder *order = &exchange->order;
	bytea *digest = palloc(VARHDRSZ + SHA256_LEN);
	int column = 0;

	SET_VARSIZE(digest, VARHDRSZ + SHA256_LEN);
	exchange_digest(exchange, (uint8 *) VARDATA(digest));
	columns_set_text(columns, column++, row, exchange->channel->channel_id);
	columns_set(columns, column++, row, UUIDPGetDatum(&exchange->attempt_id));
	columns_set_text(columns, column++, row, lane_names[exchange->lane]);
	columns_set(columns, column++, row, Int32GetDatum(order->service));
	if (exchange->lane == LANE_DISPATCH)
	{
		columns_set_text(columns, column++, row, order->batch_id);
		column += 2;
	}
	else
	{
		column++;
		columns_set_text(columns, column++, row, order->items[0].merchant_id);
		columns_set_text(columns, column++, row, order->items[0].txid);
	}
	columns_set_text(columns, column++, row, exchange->external_id);
	columns_set(columns, column++, row, PointerGetDatum(digest));
	columns_set_text(columns, column++, row, order->asked_attempt_id);
	columns_set_text(columns, column++, row, host_of(exchange->channel->base_url));
	columns_set_text(columns, column, row, wire_codes_of(exchange));
}

/* Forgets claims that have ended. Those that a failing transaction keeps are found by the next life. */
static void
end_claims(const pg_uuid_t *incarnation_id)
{
	static SPIPlanPtr plan = NULL;
	static const Oid types[] = {UUIDOID};
	Columns columns;
	dlist_iter iter;
	int rows = 0;

	dlist_foreach(iter, &claims_ended)
		rows++;
	if (rows == 0)
		return;
	columns_begin(&columns, rows, lengthof(types), types);
	while (rows-- > 0)
	{
		ExchangeClaim *claim = dlist_container(ExchangeClaim, node, dlist_pop_head_node(&claims_ended));
		pg_uuid_t *claim_id = palloc(sizeof(pg_uuid_t));

		*claim_id = claim->claim_id;
		columns_set(&columns, 0, rows, UUIDPGetDatum(claim_id));
		pfree(claim);
	}
	columns_run(&columns, &plan, "end_claims", incarnation_id);
}

/* The claim that payout.save_attempts() has answered with, for exchanges of this number. */
static ExchangeClaim *
new_claim(int exchanges)
{
	ExchangeClaim *claim = MemoryContextAlloc(TopMemoryContext, sizeof(ExchangeClaim));
	bool isnull;

	claim->claim_id = *DatumGetUUIDP(SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1, &isnull));
	claim->exchanges = exchanges;
	return claim;
}

void
exchange_save_attempts(dlist_head *exchanges, const pg_uuid_t *incarnation_id)
{
	static SPIPlanPtr plan = NULL;
	static const Oid types[] = {TEXTOID, UUIDOID, TEXTOID,	INT4OID, TEXTOID, TEXTOID,
								TEXTOID, TEXTOID, BYTEAOID, TEXTOID, TEXTOID, TEXTOID};
	ExchangeClaim *claim;
	Columns columns;
	dlist_iter iter;
	int rows = 0;

	dlist_foreach(iter, exchanges)
		if (dlist_container(Exchange, node, iter.cur)->channel != NULL)
			rows++;
	if (rows == 0)
		return;
	end_claims(incarnation_id);
	columns_begin(&columns, rows, lengthof(types), types);
	rows = 0;
	dlist_foreach(iter, exchanges)
	{
		Exchange *exchange = dlist_container(Exchange, node, iter.cur);

		if (exchange->channel != NULL)
			fill_attempt(exchange, &columns, rows++);
	}
	columns_run(&columns, &plan, "save_attempts", incarnation_id);
	claim = new_claim(rows);
	dlist_foreach(iter, exchanges)
	{
		Exchange *exchange = dlist_container(Exchange, node, iter.cur);

		if (exchange->channel != NULL)
			exchange->claim = claim;
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

/* What libcurl's callback asks, see gate.h. */
static const char *
refusal(const void *owner)
{
	return gate_refusal(owner);
}

/* Hands a signed request to the HTTP client, which asks the gate again before the first byte. */
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
	request.reply_bytes_max = channel != NULL ? EXCHANGE_REPLY_BYTES_MAX : EXCHANGE_PAGE_BYTES_MAX;
	request.no_body = channel == NULL;
	request.ca_file = channel != NULL ? channel->ca_file : NULL;
	request.client_certificate = channel != NULL ? channel->client_certificate : NULL;
	request.money = exchange->lane == LANE_DISPATCH;
	request.exact = channel != NULL;
	request.fresh = channel != NULL && payout_unix_ms() < channel->fresh_until_ms;
	request.refusal = refusal;
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
		const char *stopped = gate_refusal(exchange);

		if (stopped != NULL)
			exchange_release(exchange, stopped);
		else if (channel->token != NULL)
			send_to_bank(exchange);
		else
			end_early(exchange, outcome, class, why);
	}
}

void
exchange_release_waiting(BankChannel *channel, const char *why)
{
	while (!dlist_is_empty(&channel->waiting))
		exchange_release(dlist_container(Exchange, node, dlist_pop_head_node(&channel->waiting)), why);
}

static void
ask_token(BankChannel *channel)
{
	Exchange *exchange = exchange_new(LANE_TOKEN, channel);
	MemoryContext old = MemoryContextSwitchTo(exchange->context);
	List *headers = NIL;
	char *why = NULL;
	char error[256];

	exchange->breaker_key = pstrdup(channel->breaker_key); /* the channel may be altered meanwhile */
	gate_admit(exchange);
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
	if (!exchange->reply.refused)
		breaker_report(exchange->breaker_key,
					   exchange->reply.end == HTTP_ANSWERED && exchange->reply.status < 500);
	if (exchange->reply.refused)
		exchange_release_waiting(channel, exchange->reply.error);
	else if (exchange->channel_version != channel->version_no)
		exchange_release_waiting(channel, "the channel was altered while its token was asked for");
	else if (exchange->reply.end != HTTP_ANSWERED)
		end_wait(channel, OUTCOME_NOT_SENT, SNAP_UNKNOWN, psprintf("no token: %s", exchange->reply.error));
	else
	{
		class = channel->protocol->read_token(channel, &exchange->reply, &token, &life_s, &code);
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

void
exchange_release(Exchange *exchange, const char *why)
{
	exchange->released = true;
	end_early(exchange, OUTCOME_NOT_SENT, SNAP_UNKNOWN, why);
}

void
exchange_start(Exchange *exchange)
{
	BankChannel *channel = exchange->channel;
	char error[256];
	MemoryContext old;

	take_wire(exchange);
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

/* A bank's success, of whatever it was asked: its place is free, and we know better how long answers take. */
static void
end_success(Exchange *exchange)
{
	double *answer_ms = &exchange->channel->answer_ms[exchange->lane];
	double took_ms = Max(exchange->reply.latency_ms, 1);

	*answer_ms = *answer_ms == 0 ? took_ms : *answer_ms + (took_ms - *answer_ms) / ANSWERS_AVERAGED;
	leave_wire(exchange);
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
		gate_leave(exchange);
		if (reply.refused)
		{
			exchange->released = true;
			dlist_push_tail(ended, &exchange->node);
			continue;
		}
		breaker_report(exchange->breaker_key, reply.end == HTTP_ANSWERED && reply.status < 500);
		if (exchange->channel != NULL && reply.end == HTTP_UNKNOWN)
			exchange->channel->fresh_until_ms = payout_unix_ms() + FRESH_MS;
		if (exchange->channel != NULL && reply.end == HTTP_ANSWERED && reply.status < 300)
			end_success(exchange);
		dlist_push_tail(ended, &exchange->node);
	}
	while (!dlist_is_empty(&ended_early))
	{
		gate_leave(dlist_head_element(Exchange, node, &ended_early));
		dlist_push_tail(ended, dlist_pop_head_node(&ended_early));
	}
}
