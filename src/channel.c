/*
 * channel.c: the worker's view of the channels.
 *
 * Secrets are opened here, live in the memory of the worker alone, and are wiped when a new version replaces them.
 */
#include "postgres.h"

#include <openssl/crypto.h>

#include "breaker.h"
#include "channel.h"
#include "clock.h"
#include "executor/spi.h"
#include "gate.h"
#include "json_read.h"
#include "plan.h"
#include "protocol.h"
#include "row.h"
#include "secret.h"
#include "utils/builtins.h"
#include "utils/inval.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

/* Should a change go by unseen. */
#define READ_EACH_MS 1000

static dlist_head channels = DLIST_STATIC_INIT(channels);
static Oid channel_table = InvalidOid;
static Oid secret_table = InvalidOid;
static bool changed = true;
static int64 read_at_ms = 0;
static uint64 read_after = 0; /* so many stops that a session has counted (gate.c) */

dlist_head *
channel_list(void)
{
	return &channels;
}

BankChannel *
channel_find(const char *channel_id)
{
	dlist_iter iter;

	dlist_foreach(iter, &channels)
	{
		BankChannel *channel = dlist_container(BankChannel, node, iter.cur);

		if (strcmp(channel->channel_id, channel_id) == 0)
			return channel;
	}
	return NULL;
}

void
channel_drop_token(BankChannel *channel)
{
	if (channel->token == NULL)
		return;
	OPENSSL_cleanse(channel->token, strlen(channel->token));
	pfree(channel->token);
	channel->token = NULL;
}

static int
option_int(const Jsonb *options, const char *name)
{
	char *text = json_text(options, name, NULL);

	return text != NULL ? atoi(text) : 0;
}

static void
wipe(char *secret)
{
	if (secret != NULL)
		OPENSSL_cleanse(secret, strlen(secret));
}

/* A sealed secret of row column attno, opened; NULL when there is none or it was sealed with another file. */
static char *
open_secret(HeapTuple row, TupleDesc desc, int attno, const char *channel_id, const char *name)
{
	bool isnull;
	Datum sealed = SPI_getbinval(row, desc, attno, &isnull);
	char *secret;

	if (isnull)
		return NULL;
	secret = secret_open(psprintf("channel:%s", channel_id), name, DatumGetByteaPP(sealed));
	if (secret == NULL)
		ereport(WARNING,
				(errmsg("secret \"%s\" of channel \"%s\" was not sealed with this payout.secret_file", name,
						channel_id),
				 errhint("Set it again with payout.set_secret.")));
	return secret;
}

/* Fills the channel from a row of payout.worker_channels(), in a context of its own. */
static void
load(BankChannel *channel, HeapTuple row, TupleDesc desc, const char *version)
{
	MemoryContext context = AllocSetContextCreate(TopMemoryContext, "payout channel", ALLOCSET_SMALL_SIZES);
	MemoryContext old = MemoryContextSwitchTo(context);
	bool isnull;
	Jsonb *options = DatumGetJsonbPCopy(SPI_getbinval(row, desc, 6, &isnull));
	char *encoding = json_text(options, "signature_encoding", NULL);
	char *ms = json_text(options, "timestamp_ms", NULL);
	char *generic = json_text(options, "generic_service_code", NULL);
	char *mode = json_text(options, "mode", NULL);

	wipe(channel->private_key);
	wipe(channel->client_secret);
	if (channel->context != NULL)
		MemoryContextDelete(channel->context);
	channel->context = context;
	channel->version = pstrdup(version);
	channel->version_no++;
	channel->protocol = protocol_find(SPI_getvalue(row, desc, 2));
	channel->base_url = SPI_getvalue(row, desc, 3);
	channel->breaker_key = psprintf("channel %s at %s", channel->channel_id, breaker_host(channel->base_url));
	channel->client_id = json_text(options, "client_id", NULL);
	channel->partner_id = json_text(options, "partner_id", NULL);
	channel->channel_header = json_text(options, "channel_header", NULL);
	channel->path_prefix = json_text(options, "path_prefix", NULL);
	channel->signed_path_prefix = json_text(options, "signed_path_prefix", NULL);
	channel->ca_file = json_text(options, "ca_file", NULL);
	channel->client_certificate = json_text(options, "client_certificate", NULL);
	channel->encoding =
		encoding != NULL && strcmp(encoding, "hex") == 0 ? SNAP_ENCODING_HEX : SNAP_ENCODING_BASE64;
	channel->timestamp_ms = ms != NULL && strcmp(ms, "true") == 0;
	channel->generic_service_code = generic != NULL && strcmp(generic, "true") == 0;
	channel->in_flight_max = option_int(options, "in_flight_max");
	channel->sends_bulks = mode != NULL && strcmp(mode, "bulk") == 0;
	channel->connect_timeout_ms = option_int(options, "connect_timeout_ms");
	channel->request_timeout_ms = option_int(options, "request_timeout_ms");
	channel->private_key = open_secret(row, desc, 7, channel->channel_id, "private_key");
	channel->client_secret = open_secret(row, desc, 8, channel->channel_id, "client_secret");
	channel_drop_token(channel);
	MemoryContextSwitchTo(old);
}

static BankChannel *
add_channel(const char *channel_id)
{
	BankChannel *channel = MemoryContextAllocZero(TopMemoryContext, sizeof(BankChannel));

	strlcpy(channel->channel_id, channel_id, sizeof(channel->channel_id));
	dlist_init(&channel->waiting);
	for (int lane = 0; lane < BANK_LANES; lane++)
		dlist_init(&channel->reserve[lane]);
	dlist_push_tail(&channels, &channel->node);
	return channel;
}

bool
channel_may_dispatch(const BankChannel *channel)
{
	return !channel->paused && channel->not_before <= payout_now();
}

/* A relation has changed, or with InvalidOid any may have (trigger payout.forget_rows). */
static void
mark_changed(Datum arg, Oid relation)
{
	if (!OidIsValid(relation) || relation == channel_table || relation == secret_table)
		changed = true;
}

static bool
has_changed(void)
{
	static bool registered = false;

	if (!registered)
		CacheRegisterRelcacheCallback(mark_changed, (Datum) 0);
	registered = true;
	return changed || read_after != gate_configuration_seen() ||
		   payout_unix_ms() >= read_at_ms + READ_EACH_MS;
}

void
channel_read_all(void)
{
	static SPIPlanPtr plan = NULL;
	dlist_iter iter;
	bool isnull;

	if (!has_changed())
		return;
	/* before it is read: what comes meanwhile is read the next time; should this fail, it is read again */
	read_at_ms = 0;
	changed = false;
	channel_table = row_relation("channel");
	secret_table = row_relation("channel_secret");
	/* not read-only: recording in the same transaction may have changed one */
	(void) plan_run(
		&plan,
		"select channel_id, protocol, base_url, version, paused, options, private_key, client_secret, not_before"
		" from payout.worker_channels()",
		0, NULL, NULL, NULL);
	dlist_foreach(iter, &channels)
		dlist_container(BankChannel, node, iter.cur)->seen = false;
	for (uint64 i = 0; i < SPI_processed; i++)
	{
		HeapTuple row = SPI_tuptable->vals[i];
		TupleDesc desc = SPI_tuptable->tupdesc;
		char *channel_id = SPI_getvalue(row, desc, 1);
		char *version = SPI_getvalue(row, desc, 4);
		BankChannel *channel = channel_find(channel_id);

		if (channel == NULL)
			channel = add_channel(channel_id);
		channel->seen = true;
		channel->paused = strcmp(SPI_getvalue(row, desc, 5), "t") == 0;
		channel->not_before = DatumGetTimestampTz(SPI_getbinval(row, desc, 9, &isnull));
		if (isnull)
			TIMESTAMP_NOBEGIN(channel->not_before);
		if (channel->version == NULL || strcmp(channel->version, version) != 0)
			load(channel, row, desc, version);
	}
	read_at_ms = payout_unix_ms();
	read_after = gate_configuration_seen();
}
