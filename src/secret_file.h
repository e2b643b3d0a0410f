/*
 * secret_file.h: the file payout.secret_file: read, digested, locked, and the keys derived from it.
 * For secret.c, arming.c, inbound.c and the worker; its content never leaves these.
 */
#ifndef PAYOUT_SECRET_FILE_H
#define PAYOUT_SECRET_FILE_H

#define SECRET_KEY_LEN 32
#define SECRET_DIGEST_LEN 32

/* SHA-256 of the file. Raises PY015, with a hint, when the file is not set, not readable, open to others or too short. */
extern void secret_file_digest(uint8 digest[SECRET_DIGEST_LEN]);

/* HKDF-SHA256 of the file for a purpose (a short constant text). Raises PY015 as above. */
extern void secret_file_key(const char *purpose, uint8 key[SECRET_KEY_LEN]);

/*
 * Takes the exclusive lock of this database on the file, for the life of the process; false when another process
 * (a copy of this database on this host) has it. Raises PY015 as above.
 */
extern bool secret_file_lock(uint64 system_identifier, Oid database);

/* Whether any process has that lock now. Raises PY015 as above. */
extern bool secret_file_is_locked(uint64 system_identifier, Oid database);

#endif /* PAYOUT_SECRET_FILE_H */
