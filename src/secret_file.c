/*
 * secret_file.c: the file outside the database that makes this installation the one that may pay.
 *
 * The whole file is one secret, of 32 bytes to 64 kB, readable by the server's user alone. Keys for each purpose are
 * derived from it (HKDF, RFC 5869), so none can be computed from another. It is read anew at each use: a server whose
 * file was taken away is not armed from that moment.
 *
 * Lock: an open-file-description lock on the byte at an offset that stands for system identifier and database, so the
 * databases of a server do not exclude each other, and two copies of one database on one host do. The lock goes with
 * the process. A file system that is shared by hosts extends the lock to them as far as it supports such locks.
 */
#include "postgres.h"

#include <fcntl.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/kdf.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/hashfn.h"
#include "errors.h"
#include "secret_file.h"
#include "settings.h"
#include "storage/fd.h"

#define SECRET_BYTES_MIN 32
#define SECRET_BYTES_MAX 65536

static pg_attribute_noreturn() void refuse(const char *why)
{
	ereport(
		ERROR,
		(errcode(PY_NOT_ARMED), errmsg("payout.secret_file %s", why),
		 errhint(
			 "Make it once with: head -c 64 /dev/urandom > FILE; chmod 600 FILE; chown it to the server's user, "
			 "and set payout.secret_file to its absolute path. Copy it only to standbys that may take over.")));
}

/* The file's content in palloc'ed memory. */
static uint8 *
read_secret(size_t *size)
{
	int fd;
	struct stat st;
	uint8 *content;
	ssize_t got;

	if (payout_secret_file == NULL || payout_secret_file[0] == '\0')
		refuse("is not set");
	fd = OpenTransientFile(payout_secret_file, O_RDONLY | PG_BINARY);
	if (fd < 0)
		refuse("cannot be opened");
	if (fstat(fd, &st) != 0 || !S_ISREG(st.st_mode))
		refuse("is not a regular file");
	if ((st.st_mode & (S_IRWXG | S_IRWXO)) != 0)
		refuse("is open to others than its owner");
	if (st.st_size < SECRET_BYTES_MIN || st.st_size > SECRET_BYTES_MAX)
		refuse("has less than 32 or more than 65536 bytes");
	content = palloc(SECRET_BYTES_MAX);
	got = read(fd, content, SECRET_BYTES_MAX);
	CloseTransientFile(fd);
	if (got < SECRET_BYTES_MIN)
		refuse("cannot be read");
	*size = (size_t) got;
	return content;
}

void
secret_file_digest(uint8 digest[SECRET_DIGEST_LEN])
{
	size_t size;
	uint8 *content = read_secret(&size);
	bool ok = EVP_Digest(content, size, digest, NULL, EVP_sha256(), NULL) == 1;

	OPENSSL_cleanse(content, SECRET_BYTES_MAX);
	pfree(content);
	if (!ok)
		ereport(ERROR, (errcode(ERRCODE_INTERNAL_ERROR), errmsg("could not digest payout.secret_file")));
}

void
secret_file_key(const char *purpose, uint8 key[SECRET_KEY_LEN])
{
	size_t size;
	uint8 *content = read_secret(&size);
	size_t key_len = SECRET_KEY_LEN;
	EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_id(EVP_PKEY_HKDF, NULL);
	bool ok = ctx != NULL && EVP_PKEY_derive_init(ctx) > 0 &&
			  EVP_PKEY_CTX_set_hkdf_md(ctx, EVP_sha256()) > 0 &&
			  EVP_PKEY_CTX_set1_hkdf_key(ctx, content, (int) size) > 0 &&
			  EVP_PKEY_CTX_add1_hkdf_info(ctx, (const unsigned char *) purpose, (int) strlen(purpose)) > 0 &&
			  EVP_PKEY_derive(ctx, key, &key_len) > 0;

	EVP_PKEY_CTX_free(ctx);
	OPENSSL_cleanse(content, SECRET_BYTES_MAX);
	pfree(content);
	if (!ok)
		ereport(ERROR,
				(errcode(ERRCODE_INTERNAL_ERROR), errmsg("could not derive a key from payout.secret_file")));
}

/* Opens the file and describes the lock that stands for a database. */
static int
open_for_lock(uint64 system_identifier, Oid database, struct flock *lock)
{
	uint8 digest[SECRET_DIGEST_LEN];
	int fd;

	secret_file_digest(digest); /* the checks of the file */
	fd = open(payout_secret_file, O_RDWR | O_CLOEXEC);
	if (fd < 0)
		refuse("cannot be opened for locking");
	memset(lock, 0, sizeof(*lock));
	lock->l_type = F_WRLCK;
	lock->l_whence = SEEK_SET;
	lock->l_start = (off_t) (hash_bytes_extended((unsigned char *) &system_identifier,
												 sizeof(system_identifier), database) &
							 INT64CONST(0x3fffffffffffffff));
	lock->l_len = 1;
	return fd;
}

bool
secret_file_is_locked(uint64 system_identifier, Oid database)
{
	struct flock lock;
	int fd = open_for_lock(system_identifier, database, &lock);
	bool locked = fcntl(fd, F_OFD_GETLK, &lock) == 0 && lock.l_type != F_UNLCK;

	close(fd);
	return locked;
}

bool
secret_file_lock(uint64 system_identifier, Oid database)
{
	struct flock lock;
	int fd = open_for_lock(system_identifier, database, &lock);

	if (fcntl(fd, F_OFD_SETLK, &lock) == 0)
		return true; /* the descriptor stays open: it is the lock */
	close(fd);
	return false;
}
