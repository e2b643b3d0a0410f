/*
 * snap.h: the sandbox's own reading of the SNAP BI and Standard Webhooks signatures, independent of the extension's.
 * The bank, the merchant end and the notices enter; nothing here keeps state or locks.
 */
#ifndef SANDBOX_SNAP_H
#define SANDBOX_SNAP_H

#include <openssl/evp.h>
#include <stdbool.h>
#include <stddef.h>

/* Malloc'ed signature of a transaction (type 1): HMAC-SHA512 in base64, or hex. body are the bytes as sent or received. */
extern char *snap_sign(const char *secret, const char *method, const char *path, const char *token,
					   const char *body, size_t body_size, const char *timestamp, bool hex);

/* RSA over client|timestamp, for token requests; text in base64, or hex. */
extern char *snap_sign_token(EVP_PKEY *key, const char *client_id, const char *timestamp, bool hex);
extern bool snap_verify_token(EVP_PKEY *key, const char *client_id, const char *timestamp,
							  const char *signature, bool hex);

/* Standard Webhooks: the header may list several space-separated v1 signatures; one must fit. */
extern bool webhook_verify(const char *secret, const char *id, const char *timestamp, const char *body,
						   size_t body_size, const char *signatures);

extern bool same_text(const char *a, const char *b);

#endif
