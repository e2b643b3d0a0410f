/*
 * config.h: what the operator of the sandbox set, read once at start and constant afterwards.
 * Every file may read conf; only config.c writes it.
 */
#ifndef SANDBOX_CONFIG_H
#define SANDBOX_CONFIG_H

#include <jansson.h>
#include <openssl/evp.h>
#include <stdbool.h>
#include <stdint.h>

typedef struct Config
{
	const char *client_id;
	const char *client_secret;
	const char *partner_id;			 /* "" = any */
	const char *channel_id;			 /* header CHANNEL-ID; "" = any */
	EVP_PKEY *client_public_key;	 /* NULL = every token request is refused */
	EVP_PKEY *bank_private_key;		 /* NULL = no notices */
	const char *notice_base_url;	 /* NULL = no notices */
	const char *notice_signed_strip; /* prefix left out of the signed path of notices; "" = none */
	const char *signed_path_strip;	 /* the same for requests to the bank */
	bool signature_hex;
	bool not_found_as_07;
	bool float_check;
	bool forget_references; /* a reference or bulk id that comes again is a new order */
	int timestamp_window_s;
	int token_life_s;
	int payroll_delay_ms;
	int bulk_items_max;
	int64_t amount_max_cents; /* 0 = no limit */
	uint64_t seed;
	const json_t *source_accounts; /* object, or NULL = any source account, bottomless */
	const json_t *accounts;		   /* array or NULL */
	const json_t *wildcards;	   /* array or NULL; both NULL = every account is active */
	const json_t *webhook_secrets; /* object or NULL */
} Config;

extern Config conf;

/* Reads the file; ends the process with a message when it is unusable. */
extern void config_load(const char *path);

#endif
