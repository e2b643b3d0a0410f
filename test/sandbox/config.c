/*
 * config.c: reads the sandbox's JSON configuration into conf. Called once by main(), before any thread exists.
 * It must never be changed afterwards: other files keep pointers into it.
 */
#include "config.h"

#include <openssl/pem.h>
#include <stdio.h>
#include <string.h>

#include "util.h"

Config conf;

static const char *
text_of(const json_t *root, const char *name, const char *standard)
{
	const json_t *value = json_object_get(root, name);

	if (value == NULL || json_is_null(value))
		return standard;
	if (!json_is_string(value))
		die("config: %s must be a string", name);
	return json_string_value(value);
}

static int64_t
number_of(const json_t *root, const char *name, int64_t standard)
{
	const json_t *value = json_object_get(root, name);

	if (value == NULL || json_is_null(value))
		return standard;
	if (!json_is_integer(value))
		die("config: %s must be a whole number", name);
	return json_integer_value(value);
}

static bool
flag_of(const json_t *root, const char *name, bool standard)
{
	const json_t *value = json_object_get(root, name);

	if (value == NULL || json_is_null(value))
		return standard;
	if (!json_is_boolean(value))
		die("config: %s must be true or false", name);
	return json_is_true(value);
}

/* A PEM text, or the path of a file that holds one. */
static EVP_PKEY *
key_of(const json_t *root, const char *name, bool is_private)
{
	const char *text = text_of(root, name, NULL);
	EVP_PKEY *key;
	BIO *bio;

	if (text == NULL)
		return NULL;
	bio = (strncmp(text, "-----", 5) == 0) ? BIO_new_mem_buf(text, -1) : BIO_new_file(text, "r");
	if (bio == NULL)
		die("config: cannot read %s", name);
	key = is_private ? PEM_read_bio_PrivateKey(bio, NULL, NULL, NULL)
					 : PEM_read_bio_PUBKEY(bio, NULL, NULL, NULL);
	BIO_free(bio);
	if (key == NULL)
		die("config: %s is not a usable PEM key", name);
	return key;
}

static const json_t *
part_of(const json_t *root, const char *name, json_type type)
{
	const json_t *value = json_object_get(root, name);

	if (value == NULL || json_is_null(value))
		return NULL;
	if (json_typeof(value) != type)
		die("config: %s must be %s", name, type == JSON_ARRAY ? "an array" : "an object");
	return value;
}

void
config_load(const char *path)
{
	static json_t *root;
	json_error_t error;
	const char *encoding;
	const char *limit;

	root = json_load_file(path, JSON_REJECT_DUPLICATES, &error);
	if (!json_is_object(root))
		die("config: %s: %s (line %d)", path, error.text, error.line);
	conf.client_id = text_of(root, "client_id", "");
	conf.client_secret = text_of(root, "client_secret", "");
	if (conf.client_id[0] == '\0' || conf.client_secret[0] == '\0')
		die("config: client_id and client_secret are needed");
	conf.partner_id = text_of(root, "partner_id", "");
	conf.channel_id = text_of(root, "channel_id", "");
	conf.client_public_key = key_of(root, "client_public_key", false);
	conf.bank_private_key = key_of(root, "bank_private_key", true);
	conf.notice_base_url = text_of(root, "notice_base_url", NULL);
	if (conf.notice_base_url != NULL && conf.bank_private_key == NULL)
		die("config: notice_base_url needs bank_private_key");
	conf.notice_signed_strip = text_of(root, "notice_signed_strip", "");
	conf.signed_path_strip = text_of(root, "signed_path_strip", "");
	encoding = text_of(root, "signature_encoding", "base64");
	if (strcmp(encoding, "hex") != 0 && strcmp(encoding, "base64") != 0)
		die("config: signature_encoding must be base64 or hex");
	conf.signature_hex = strcmp(encoding, "hex") == 0;
	conf.not_found_as_07 = flag_of(root, "not_found_as_07", false);
	conf.float_check = flag_of(root, "float_check", true);
	conf.forget_references = flag_of(root, "forget_references", false);
	conf.timestamp_window_s = (int) number_of(root, "timestamp_window_s", 300);
	conf.token_life_s = (int) number_of(root, "token_life_s", 900);
	conf.payroll_delay_ms = (int) number_of(root, "payroll_delay_ms", 200);
	conf.bulk_items_max = (int) number_of(root, "bulk_items_max", 1000);
	/* above this the sum of a bulk could leave 64 bits */
	if (conf.bulk_items_max < 1 || conf.bulk_items_max > 5000)
		die("config: bulk_items_max must be 1 to 5000");
	conf.seed = (uint64_t) number_of(root, "seed", 1);
	limit = text_of(root, "amount_max", NULL);
	if (limit != NULL && !money_parse(limit, &conf.amount_max_cents))
		die("config: amount_max must look like 250000000.00");
	conf.source_accounts = part_of(root, "source_accounts", JSON_OBJECT);
	conf.accounts = part_of(root, "accounts", JSON_ARRAY);
	conf.wildcards = part_of(root, "wildcards", JSON_ARRAY);
	conf.webhook_secrets = part_of(root, "webhook_secrets", JSON_OBJECT);
}
