/*
 * sha256.c: SHA-256 (FIPS 180-4) by OpenSSL.
 *
 * What OpenSSL looks up for a digest is kept: it costs more than a row's digest does.
 */
#include "postgres.h"

#include <openssl/evp.h>

#include "sha256.h"

void
sha256_salted(const void *salt, size_t salt_len, const void *bytes, size_t len,
			  unsigned char digest[SHA256_LEN])
{
	static EVP_MD *sha256 = NULL;
	static EVP_MD_CTX *context = NULL;

	if (sha256 == NULL)
		sha256 = EVP_MD_fetch(NULL, "SHA256", NULL);
	if (context == NULL)
		context = EVP_MD_CTX_new();
	if (sha256 == NULL || context == NULL || EVP_DigestInit_ex(context, sha256, NULL) != 1 ||
		EVP_DigestUpdate(context, salt, salt_len) != 1 || EVP_DigestUpdate(context, bytes, len) != 1 ||
		EVP_DigestFinal_ex(context, digest, NULL) != 1)
		ereport(ERROR, (errcode(ERRCODE_INTERNAL_ERROR), errmsg("could not compute SHA-256")));
}
