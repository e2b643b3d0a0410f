/*
 * bank_auth.c: access tokens (service 73) and the checks that every transaction passes before its body is looked at:
 * headers, time, token, signature, external id. It must never trust a request field by field order of its own making:
 * the order of the checks is the documented one. Called by bank_process() under the state lock.
 */
#include "bank.h"

#include <ctype.h>
#include <openssl/rand.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "config.h"
#include "snap.h"

#define EXTERNAL_ID_MAX 36
#define TOKENS_MAX 10000

static Hash *tokens;

/* All headers of the list must be there and not empty. */
static bool
have_headers(Request *request, const char *const *names)
{
	for (; *names != NULL; names++)
	{
		const char *value = request_header(request, *names);

		if (value == NULL || value[0] == '\0')
		{
			answer(request, 400, 2, *names, NULL);
			return false;
		}
	}
	if (strncasecmp(request_header(request, "Content-Type"), "application/json", 16) != 0)
	{
		answer(request, 400, 1, "Content-Type", NULL);
		return false;
	}
	return true;
}

static bool
timestamp_fits(Request *request)
{
	int64_t at_ms;
	int64_t distance_ms;

	if (!time_parse(request_header(request, "X-TIMESTAMP"), &at_ms))
	{
		answer(request, 400, 1, "X-TIMESTAMP", NULL);
		return false;
	}
	distance_ms = now_ms() - at_ms;
	if (distance_ms < 0)
		distance_ms = -distance_ms;
	if (distance_ms > (int64_t) conf.timestamp_window_s * 1000)
	{
		answer(request, 401, 0, "[Timestamp]", NULL);
		return false;
	}
	return true;
}

static void
drop_tokens(void)
{
	hash_free(tokens);
	tokens = hash_new();
}

void
bank_token(Request *request)
{
	static const char *const needed[] = {"Content-Type", "X-TIMESTAMP", "X-CLIENT-KEY", "X-SIGNATURE", NULL};
	const char *grant;
	unsigned char bytes[24];
	char life[16];
	char *token;

	if (!have_headers(request, needed) || !timestamp_fits(request))
		return;
	if (!same_text(request_header(request, "X-CLIENT-KEY"), conf.client_id))
	{
		answer(request, 401, 0, "[Unknown client]", NULL);
		return;
	}
	if (!snap_verify_token(conf.client_public_key, conf.client_id, request_header(request, "X-TIMESTAMP"),
						   request_header(request, "X-SIGNATURE"), conf.signature_hex))
	{
		answer(request, 401, 0, "[Signature]", NULL);
		return;
	}
	grant = bank_text(request->root, "grantType");
	if (grant[0] == '\0')
	{
		answer(request, 400, 2, "grantType", NULL);
		return;
	}
	if (strcmp(grant, "client_credentials") != 0)
	{
		answer(request, 400, 0, "grantType", NULL);
		return;
	}
	if (tokens == NULL)
		tokens = hash_new();
	if (hash_count(tokens) >= TOKENS_MAX)
		drop_tokens();
	if (RAND_bytes(bytes, sizeof(bytes)) != 1)
		die("no random bytes");
	token = hex_encode(bytes, sizeof(bytes));
	/* the value is the moment of expiry itself */
	hash_put(tokens, token, (void *) (intptr_t) (now_ms() + (int64_t) conf.token_life_s * 1000));
	snprintf(life, sizeof(life), "%d", conf.token_life_s);
	answer(request, 200, 0, NULL,
		   json_pack("{s:s, s:s, s:s}", "accessToken", token, "tokenType", "Bearer", "expiresIn", life));
	free(token);
}

static const char *
bearer(const Request *request)
{
	const char *value = request_header(request, "Authorization");

	return strncasecmp(value, "Bearer ", 7) == 0 ? value + 7 : NULL;
}

static bool
token_fits(Request *request)
{
	const char *token = bearer(request);
	intptr_t expires_ms = (token == NULL || tokens == NULL) ? 0 : (intptr_t) hash_get(tokens, token);

	if (expires_ms != 0 && expires_ms > now_ms())
		return true;
	answer(request, 401, 1, NULL, NULL);
	return false;
}

static bool
signature_fits(Request *request)
{
	const char *path = request->uri;
	size_t strip = strlen(conf.signed_path_strip);
	char *expected;
	bool fits;

	if (strip > 0 && strncmp(path, conf.signed_path_strip, strip) == 0)
		path += strip;
	expected = snap_sign(conf.client_secret, request->method, path, bearer(request), request->body.data,
						 request->body.size, request_header(request, "X-TIMESTAMP"), conf.signature_hex);
	fits = same_text(expected, request_header(request, "X-SIGNATURE"));
	free(expected);
	if (!fits)
		answer(request, 401, 0, "[Signature]", NULL);
	return fits;
}

static bool
partner_fits(Request *request)
{
	const char *partner = request_header(request, "X-PARTNER-ID");
	const char *channel = request_header(request, "CHANNEL-ID");
	size_t i;

	for (i = 0; partner[i] != '\0'; i++)
	{
		if (!isalnum((unsigned char) partner[i]) && strchr("-_.", partner[i]) == NULL)
			break;
	}
	if (partner[i] != '\0' || i > 36)
		answer(request, 400, 1, "X-PARTNER-ID", NULL);
	else if (conf.partner_id[0] != '\0' && strcmp(partner, conf.partner_id) != 0)
		answer(request, 401, 0, "[Unknown partner]", NULL);
	else if (conf.channel_id[0] != '\0' && strcmp(channel, conf.channel_id) != 0)
		answer(request, 401, 0, "[Unknown channel]", NULL);
	else
		return true;
	return false;
}

static bool
external_id_fits(Request *request)
{
	const char *id = request_header(request, "X-EXTERNAL-ID");

	if (strlen(id) > EXTERNAL_ID_MAX || strspn(id, "0123456789") != strlen(id))
	{
		answer(request, 400, 1, "X-EXTERNAL-ID", NULL);
		return false;
	}
	if (!books_use_external_id(request_header(request, "X-PARTNER-ID"), id, request->service,
							   request->arrived_ms))
	{
		answer(request, 409, 0, NULL, NULL);
		return false;
	}
	return true;
}

bool
bank_authorize(Request *request)
{
	static const char *const needed[] = {"Content-Type", "Authorization", "X-TIMESTAMP", "X-SIGNATURE",
										 "X-PARTNER-ID", "X-EXTERNAL-ID", "CHANNEL-ID",	 NULL};

	return have_headers(request, needed) && timestamp_fits(request) && token_fits(request) &&
		   signature_fits(request) && partner_fits(request) && external_id_fits(request);
}
