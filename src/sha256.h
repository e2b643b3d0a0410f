/*
 * sha256.h: SHA-256 over up to two pieces of bytes.
 * Whatever digests many rows or requests enters.
 */
#ifndef PAYOUT_SHA256_H
#define PAYOUT_SHA256_H

#define SHA256_LEN 32

/* The digest of the bytes behind the salt. The salt may be empty. */
extern void sha256_salted(const void *salt, size_t salt_len, const void *bytes, size_t len,
						  unsigned char digest[SHA256_LEN]);

#endif /* PAYOUT_SHA256_H */
