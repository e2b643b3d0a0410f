/*
 * inbound.c: what the inbound side of SNAP needs from C: signatures, tokens we issue, and the meaning of codes.
 *
 * Tokens are stateless: expiry, and an HMAC over it and the channel under a key derived from payout.secret_file. Their
 * life is real time. Every comparison of secrets takes constant time.
 */
#include "postgres.h"

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>

#include "catalog/pg_type.h"
#include "clock.h"
#include "executor/spi.h"
#include "fmgr.h"
#include "json_read.h"
#include "secret.h"
#include "secret_file.h"
#include "snap_code.h"
#include "snap_sign.h"
#include "utf8.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"

PG_FUNCTION_INFO_V1(payout_snap_item_class);
PG_FUNCTION_INFO_V1(payout_snap_same_amount);
PG_FUNCTION_INFO_V1(payout_snap_time);
PG_FUNCTION_INFO_V1(payout_bank_client_valid);
PG_FUNCTION_INFO_V1(payout_issue_token);
PG_FUNCTION_INFO_V1(payout_token_valid);
PG_FUNCTION_INFO_V1(payout_notice_signature_valid);

#define TOKEN_LIFE_S 900
#define TOKEN_PURPOSE "payout inbound token 1"
#define TOKEN_SIZE 128

static char *
argument(FunctionCallInfo fcinfo, int i)
{
	return PG_ARGISNULL(i) ? NULL : text_to_cstring(PG_GETARG_TEXT_PP(i));
}

/* snap_item_class(response_code): see inbound.sql. */
Datum
payout_snap_item_class(PG_FUNCTION_ARGS)
{
	PG_RETURN_TEXT_P(cstring_to_text(snap_class_name(snap_item_class(argument(fcinfo, 0)))));
}

/* snap_same_amount(value, amount): see inbound.sql. */
Datum
payout_snap_same_amount(PG_FUNCTION_ARGS)
{
	PG_RETURN_BOOL(snap_same_amount(argument(fcinfo, 0), argument(fcinfo, 1)));
}

/* snap_time(value): see inbound.sql. */
Datum
payout_snap_time(PG_FUNCTION_ARGS)
{
	char *text = argument(fcinfo, 0);
	long long unix_s;

	if (text == NULL || !snap_parse_timestamp(text, &unix_s))
		PG_RETURN_NULL();
	PG_RETURN_TIMESTAMPTZ(time_t_to_timestamptz((pg_time_t) unix_s));
}

/* How a channel writes its signatures. */
static SnapEncoding
channel_encoding(const char *channel_id)
{
	Oid types[] = {TEXTOID};
	Datum values[] = {CStringGetTextDatum(channel_id)};
	SnapEncoding encoding = SNAP_ENCODING_BASE64;

	SPI_connect();
	if (SPI_execute_with_args("select payout.option_text('channel', c.options, 'signature_encoding')"
							  " from payout.channel c where c.channel_id operator(pg_catalog.=) $1",
							  1, types, values, NULL, true, 1) != SPI_OK_SELECT)
		elog(ERROR, "could not read a channel");
	if (SPI_processed == 1 &&
		strcmp(SPI_getvalue(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1), "hex") == 0)
		encoding = SNAP_ENCODING_HEX;
	SPI_finish();
	return encoding;
}

/* bank_client_valid(channel_id, client_key, stamp, signature): see inbound.sql. Any public key that is good will do. */
Datum
payout_bank_client_valid(PG_FUNCTION_ARGS)
{
	char *channel_id = argument(fcinfo, 0);
	char *client_key = argument(fcinfo, 1);
	char *stamp = argument(fcinfo, 2);
	char *signature = argument(fcinfo, 3);
	List *public_keys;
	SnapEncoding encoding;
	bool valid = false;
	ListCell *cell;

	if (channel_id == NULL || client_key == NULL || stamp == NULL || signature == NULL)
		PG_RETURN_BOOL(false);
	public_keys = secret_values(psprintf("channel:%s", channel_id), "bank_public_key");
	encoding = channel_encoding(channel_id);
	foreach(cell, public_keys)
		valid |= snap_verify_token(lfirst(cell), client_key, stamp, encoding, signature);
	secret_wipe(public_keys);
	PG_RETURN_BOOL(valid);
}

/* Hex HMAC-SHA256 of channel and expiry under the key of a file; false where that file is not usable. */
static bool
token_mac(SecretSource source, const char *channel_id, long long ends_s, char mac_hex[65])
{
	SecretKey key;
	uint8 mac[32];
	char *text = psprintf("%s:%lld", channel_id, ends_s);

	if (!secret_file_key(source, TOKEN_PURPOSE, &key))
		return false;
	if (HMAC(EVP_sha256(), key.key, sizeof(key.key), (const uint8 *) text, strlen(text), mac, NULL) == NULL)
		ereport(ERROR, (errcode(ERRCODE_INTERNAL_ERROR), errmsg("could not sign a token")));
	OPENSSL_cleanse(&key, sizeof(key));
	for (int i = 0; i < (int) sizeof(mac); i++)
		snprintf(mac_hex + 2 * i, 3, "%02x", mac[i]);
	return true;
}

/* issue_token(channel_id): see inbound.sql. */
Datum
payout_issue_token(PG_FUNCTION_ARGS)
{
	char mac[65];
	long long ends_s = payout_unix_ms() / 1000 + TOKEN_LIFE_S;

	if (PG_ARGISNULL(0))
		PG_RETURN_NULL();
	token_mac(SECRET_PRESENT, argument(fcinfo, 0), ends_s, mac);
	PG_RETURN_TEXT_P(cstring_to_text(psprintf("%lld.%s", ends_s, mac)));
}

/* token_valid(channel_id, token): see inbound.sql. */
Datum
payout_token_valid(PG_FUNCTION_ARGS)
{
	char *token = argument(fcinfo, 1);
	char *dot = token != NULL ? strchr(token, '.') : NULL;
	char mac[65];
	long long ends_s;
	bool valid = false;

	if (PG_ARGISNULL(0) || dot == NULL || strlen(token) > TOKEN_SIZE || strlen(dot + 1) != 64)
		PG_RETURN_BOOL(false);
	ends_s = strtoll(token, NULL, 10);
	for (SecretSource source = SECRET_PRESENT; source <= SECRET_OLD && !valid; source++)
		valid = token_mac(source, argument(fcinfo, 0), ends_s, mac) && CRYPTO_memcmp(mac, dot + 1, 64) == 0;
	PG_RETURN_BOOL(valid && payout_unix_ms() / 1000 < ends_s);
}

/* notice_signature_valid(channel_id, method, path, token, body, stamp, signature): see inbound.sql. */
Datum
payout_notice_signature_valid(PG_FUNCTION_ARGS)
{
	char *channel_id = argument(fcinfo, 0);
	char *method = argument(fcinfo, 1);
	char *path = argument(fcinfo, 2);
	char *token = argument(fcinfo, 3);
	const char *body = argument(fcinfo, 4);
	char *stamp = argument(fcinfo, 5);
	char *signature = argument(fcinfo, 6);
	int body_len = 0;
	List *secrets;
	SnapEncoding encoding;
	bool valid = false;
	ListCell *cell;

	if (channel_id == NULL || method == NULL || path == NULL || token == NULL || body == NULL ||
		stamp == NULL || signature == NULL)
		PG_RETURN_BOOL(false);
	/* as the bank has signed it, whatever this database's encoding is */
	body = utf8_of(body, (int) strlen(body), &body_len);
	if (body == NULL)
		PG_RETURN_BOOL(false);
	secrets = secret_values(psprintf("channel:%s", channel_id), "client_secret");
	encoding = channel_encoding(channel_id);
	foreach(cell, secrets)
		valid |= snap_verify_symmetric(lfirst(cell), method, path, token, body, body_len, stamp, encoding,
									   signature);
	secret_wipe(secrets);
	PG_RETURN_BOOL(valid);
}
