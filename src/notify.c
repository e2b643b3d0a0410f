/*
 * notify.c: lane notify, the worker's half: signed messages to merchants.
 *
 * Signature: Standard Webhooks 1.0 (id.timestamp.body, HMAC-SHA256, "v1," and base64), one for each secret that is good,
 * which are two while the merchant changes over. No host may take more than its
 * share of the lane, and one that does not answer rests: slow merchants starve nobody.
 */
#include "postgres.h"

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>

#include "breaker.h"
#include "catalog/pg_type.h"
#include "clock.h"
#include "fmgr.h"
#include "lane.h"
#include "lib/stringinfo.h"
#include "plan.h"
#include "secret.h"
#include "settings.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/hsearch.h"
#include "utils/memutils.h"

#define MERCHANT_ID_SIZE 11
#define WEBHOOK_KEY_MAX 16384

/* A merchant as lane notify has met it: where it lives and what is under way to it. */
typedef struct NotifyMerchant
{
	char merchant_id[MERCHANT_ID_SIZE];
	int in_flight;
	char breaker_key[256];
} NotifyMerchant;

static HTAB *merchants = NULL;
static char last_merchant[MERCHANT_ID_SIZE] = ""; /* the next claim goes on after it */

/* At most so much for one merchant in one claim; with that much under way it takes no part in the next. */
static int
share_max(void)
{
	return Max(1, payout_max_in_flight / 4);
}

static NotifyMerchant *
find_merchant(const char *merchant_id)
{
	NotifyMerchant *merchant;
	bool found;

	if (merchants == NULL)
	{
		HASHCTL ctl = {
			.keysize = MERCHANT_ID_SIZE, .entrysize = sizeof(NotifyMerchant), .hcxt = TopMemoryContext};

		merchants = hash_create("payout notify", 64, &ctl, HASH_ELEM | HASH_STRINGS | HASH_CONTEXT);
	}
	merchant = hash_search(merchants, merchant_id, HASH_ENTER, &found);
	if (!found)
	{
		merchant->in_flight = 0;
		merchant->breaker_key[0] = '\0';
	}
	return merchant;
}

Datum
notify_skip(int64 *rests_until_ms)
{
	ArrayBuildState *skipped = NULL;
	HASH_SEQ_STATUS scan;
	NotifyMerchant *merchant;

	*rests_until_ms = 0;
	if (merchants != NULL)
	{
		hash_seq_init(&scan, merchants);
		while ((merchant = hash_seq_search(&scan)) != NULL)
		{
			int64 until_ms = 0;

			if (merchant->in_flight < breaker_allows(merchant->breaker_key, share_max(), &until_ms))
				continue;
			if (until_ms > 0 && (*rests_until_ms == 0 || until_ms < *rests_until_ms))
				*rests_until_ms = until_ms;
			skipped = accumArrayResult(skipped, CStringGetTextDatum(merchant->merchant_id), false, TEXTOID,
									   CurrentMemoryContext);
		}
	}
	if (skipped == NULL)
		return PointerGetDatum(construct_empty_array(TEXTOID));
	return makeArrayResult(skipped, CurrentMemoryContext);
}

/* The key of a webhook secret: what follows whsec_, decoded, or the text itself. Returns its length, 0 when malformed. */
static int
webhook_key(const char *secret, uint8 *key)
{
	const char *base64 = strncmp(secret, "whsec_", 6) == 0 ? secret + 6 : NULL;
	size_t len = strlen(base64 != NULL ? base64 : secret);
	int decoded;

	if (len > WEBHOOK_KEY_MAX)
		return 0;
	if (base64 == NULL)
	{
		memcpy(key, secret, len);
		return (int) len;
	}
	if (len % 4 != 0)
		return 0;
	decoded = EVP_DecodeBlock(key, (const uint8 *) base64, (int) len);
	if (decoded < 0)
		return 0;
	/* EVP_DecodeBlock counts the padding as bytes. */
	for (size_t i = len; i > 0 && base64[i - 1] == '='; i--)
		decoded--;
	return decoded;
}

/* Adds the signature of a text under a secret; false when the secret is malformed. */
static bool
add_signature(StringInfo header, const char *secret, const char *text)
{
	uint8 key[WEBHOOK_KEY_MAX];
	int key_len = webhook_key(secret, key);
	uint8 mac[32];
	char base64[48];
	bool ok = key_len > 0 &&
			  HMAC(EVP_sha256(), key, key_len, (const uint8 *) text, strlen(text), mac, NULL) != NULL;

	OPENSSL_cleanse(key, sizeof(key));
	if (!ok)
		return false;
	EVP_EncodeBlock((uint8 *) base64, mac, sizeof(mac));
	appendStringInfo(header, " v1,%s", base64);
	return true;
}

/* The headers of a delivery at this moment, signed with each secret that is good; NIL when none is usable. */
static List *
sign(Exchange *exchange, List *secrets)
{
	char *id = psprintf("msg_%s_%d", exchange->txid, exchange->event_no);
	char *stamp = psprintf("%lld", (long long) (payout_unix_ms() / 1000));
	char *text = psprintf("%s.%s.%s", id, stamp, exchange->request.body);
	StringInfoData signatures;
	bool is_signed = false;
	ListCell *cell;
	List *headers;

	initStringInfo(&signatures);
	appendStringInfoString(&signatures, "webhook-signature:");
	foreach(cell, secrets)
		is_signed |= add_signature(&signatures, lfirst(cell), text);
	if (!is_signed)
		return NIL;
	headers = list_make1("Content-Type: application/json");
	headers = lappend(headers, psprintf("webhook-id: %s", id));
	headers = lappend(headers, psprintf("webhook-timestamp: %s", stamp));
	return lappend(headers, signatures.data);
}

/* The secrets that the last row had. */
typedef struct SecretsOfRow
{
	char merchant_id[MERCHANT_ID_SIZE];
	List *secrets; /* opened */
} SecretsOfRow;

static void
forget_secrets(SecretsOfRow *last)
{
	secret_wipe(last->secrets);
	last->secrets = NIL;
}

/* The secrets in a row, opened. Rows of a merchant follow each other, so they are opened once for all of them. */
static List *
read_secrets(uint64 row, const char *merchant_id, SecretsOfRow *last)
{
	bool isnull;

	if (strcmp(last->merchant_id, merchant_id) == 0)
		return last->secrets;
	forget_secrets(last);
	strlcpy(last->merchant_id, merchant_id, sizeof(last->merchant_id));
	last->secrets =
		secret_open_all(psprintf("merchant:%s", merchant_id), "webhook_secret",
						SPI_getbinval(SPI_tuptable->vals[row], SPI_tuptable->tupdesc, 8, &isnull));
	return last->secrets;
}

static void
read_row(uint64 row, SecretsOfRow *last, dlist_head *claimed)
{
	const char *merchant_id = lane_column(row, 1);
	List *secrets = read_secrets(row, merchant_id, last);
	Exchange *exchange = exchange_new(LANE_NOTIFY, NULL);
	MemoryContext old = MemoryContextSwitchTo(exchange->context);
	NotifyMerchant *merchant;

	dlist_push_tail(claimed, &exchange->node);
	exchange->merchant_id = pstrdup(merchant_id);
	merchant = find_merchant(exchange->merchant_id);
	merchant->in_flight++;
	exchange->txid = lane_column(row, 2);
	exchange->event_no = atoi(lane_column(row, 3));
	exchange->url = lane_column(row, 4);
	exchange->breaker_key = psprintf("merchant %s at %s", exchange->merchant_id, breaker_host(exchange->url));
	strlcpy(merchant->breaker_key, exchange->breaker_key, sizeof(merchant->breaker_key));
	exchange->request.body = lane_column(row, 5);
	exchange->headers = sign(exchange, secrets);
	if (exchange->headers == NIL)
		exchange->url = ""; /* never sent unsigned: an empty URL ends it at once */
	MemoryContextSwitchTo(old);
}

void
notify_claim(int slots, const pg_uuid_t *incarnation_id, dlist_head *claimed)
{
	static SPIPlanPtr plan = NULL;
	Oid types[] = {UUIDOID, INT4OID, TEXTARRAYOID, INT4OID, TEXTOID};
	SecretsOfRow last = {"", NIL};
	int64 rests_until_ms;
	Datum values[] = {UUIDPGetDatum(incarnation_id), Int32GetDatum(slots), notify_skip(&rests_until_ms),
					  Int32GetDatum(share_max()), CStringGetTextDatum(last_merchant)};

	(void) plan_run(&plan, "select * from payout.claim_notify($1, $2, $3, $4, $5)", 5, types, values, NULL);
	for (uint64 row = 0; row < SPI_processed; row++)
		read_row(row, &last, claimed);
	forget_secrets(&last);
	if (SPI_processed > 0)
		strlcpy(last_merchant, lane_column(SPI_processed - 1, 1), sizeof(last_merchant));
}

const char *
notify_last_merchant(void)
{
	return last_merchant;
}

/* Why a delivery failed; NULL when it did not. */
static const char *
failure(const Exchange *exchange)
{
	const HttpReply *reply = &exchange->reply;

	if (exchange->headers == NIL)
		return "the merchant has no usable webhook_secret";
	if (reply->end != HTTP_ANSWERED)
		return reply->error;
	return reply->status >= 200 && reply->status < 300 ? NULL : psprintf("HTTP %d", reply->status);
}

void
notify_record(Exchange **exchanges, int count, const pg_uuid_t *incarnation_id)
{
	static SPIPlanPtr plan = NULL;
	/* in their order: */
	enum
	{
		MERCHANT,
		PAYOUT,
		EVENT_NO,
		STATUS,
		ERROR_TEXT,
		RELEASED
	};
	static const Oid types[] = {TEXTOID, TEXTOID, INT4OID, INT4OID, TEXTOID, BOOLOID};
	Columns columns;

	columns_begin(&columns, count, lengthof(types), types);
	for (int i = 0; i < count; i++)
	{
		const Exchange *exchange = exchanges[i];

		columns_set_text(&columns, MERCHANT, i, exchange->merchant_id);
		columns_set_text(&columns, PAYOUT, i, exchange->txid);
		columns_set(&columns, EVENT_NO, i, Int32GetDatum(exchange->event_no));
		if (exchange->reply.end == HTTP_ANSWERED)
			columns_set(&columns, STATUS, i, Int32GetDatum(exchange->reply.status));
		columns_set_text(&columns, ERROR_TEXT, i, failure(exchange));
		columns_set(&columns, RELEASED, i, BoolGetDatum(exchange->released));
	}
	columns_run(&columns, &plan, "record_notify", incarnation_id);
}

void
notify_count(const Exchange *exchange, int change)
{
	find_merchant(exchange->merchant_id)->in_flight += change;
}
