/*
 * secret_file.h: the files payout.secret_file and payout.secret_file_old: read, digested, and the keys derived
 * from them. For secret.c, token.c, arming.c, inbound.c and secret_lock.c; their content never leaves these.
 *
 * Everything new is made with the present file. The old one, set while a rotation lasts, only opens what was made with
 * it; when it is not set or not usable it is as if it were not there, and payout.health() says so.
 */
#ifndef PAYOUT_SECRET_FILE_H
#define PAYOUT_SECRET_FILE_H

#define SECRET_KEY_LEN 32
#define SECRET_KEY_ID_LEN 8
#define SECRET_DIGEST_LEN 32

typedef enum SecretSource
{
	SECRET_PRESENT,
	SECRET_OLD
} SecretSource;

/* A key for one purpose, and a name for it that tells nothing about it. */
typedef struct SecretKey
{
	uint8 key[SECRET_KEY_LEN];
	uint8 id[SECRET_KEY_ID_LEN];
} SecretKey;

/* SHA-256 of a file. Raises PY015, with a hint, when the file is not set, not readable, open to others or too short. */
extern void secret_file_digest(SecretSource source, uint8 digest[SECRET_DIGEST_LEN]);

/*
 * HKDF-SHA256 of a file for a purpose (a short constant text). Raises PY015 as above for the present file; false where
 * the old one is not usable. The caller cleanses the key.
 */
extern bool secret_file_key(SecretSource source, const char *purpose, SecretKey *key);

/* The id of the present file's key for a purpose, palloc'ed. Raises PY015 as above. */
extern bytea *secret_file_key_id(const char *purpose);

/* The same without an error: false where the file is no secret. For secret_lock.c. */
extern bool secret_file_try_digest(SecretSource source, uint8 digest[SECRET_DIGEST_LEN]);

/* What the setting says; may be empty. */
extern const char *secret_file_path(SecretSource source);

#endif /* PAYOUT_SECRET_FILE_H */
