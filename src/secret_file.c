/*
 * secret_file.c: the file outside the database that makes this installation the one that may pay, and the one before it.
 *
 * The whole file is one secret, of 32 bytes to 64 kB, readable by the server's user alone. Keys for each purpose are
 * derived from it (HKDF, RFC 5869), so none can be computed from another. It is read anew at each use: a server whose
 * file was taken away is not armed from that moment.
 *
 * Locks, so that two copies of one database on one host exclude each other while the databases of a server do not. Both go with
 * the process:
 *	 - an abstract Unix address that is computed of what the file says, system identifier and database: it holds for copies of
 *	   the file as well, in all processes of one network name space;
 *	 - where the server may write the file, an open-file-description lock on the byte at an offset that stands for system identifier and database: it holds for
 *	   processes that share the file, in containers too. A file system that is shared by hosts extends it to them as far as it
 *	   supports such locks.
 */
#include "postgres.h"

#include <fcntl.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/kdf.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "common/hashfn.h"
#include "compat.h"
#include "errors.h"
#include "secret_file.h"
#include "settings.h"
#include "storage/fd.h"

#define SECRET_BYTES_MIN 32
#define SECRET_BYTES_MAX 65536

static const char *
file_path(SecretSource source)
{
	return source == SECRET_PRESENT ? payout_secret_file : payout_secret_file_old;
}

static pg_attribute_noreturn() void refuse(SecretSource source, const char *why)
{
	if (source == SECRET_OLD)
		ereport(ERROR,
				(errcode(PY_NOT_ARMED), errmsg("payout.secret_file_old %s", why),
				 errhint("It is the absolute path of the file that was payout.secret_file before, for as "
						 "long as a rotation lasts.")));
	ereport(
		ERROR,
		(errcode(PY_NOT_ARMED), errmsg("payout.secret_file %s", why),
		 errhint(
			 "Make it once with: head -c 64 /dev/urandom > FILE; chmod 600 FILE; chown it to the server's user, "
			 "and set payout.secret_file to its absolute path. Copy it only to standbys that may take over.")));
}

/* Why an open file is no secret; NULL when it is one. */
static const char *
fault_of(int fd)
{
	struct stat st;

	if (fstat(fd, &st) != 0 || !S_ISREG(st.st_mode))
		return "is not a regular file";
	if ((st.st_mode & (S_IRWXG | S_IRWXO)) != 0)
		return "is open to others than its owner";
	if (st.st_size < SECRET_BYTES_MIN || st.st_size > SECRET_BYTES_MAX)
		return "has less than 32 or more than 65536 bytes";
	return NULL;
}

/* A file's content in palloc'ed memory, or NULL and why. */
static uint8 *
try_read(SecretSource source, size_t *size, const char **why)
{
	const char *path = file_path(source);
	uint8 *content;
	ssize_t got;
	int fd;

	if (path == NULL || path[0] == '\0')
	{
		*why = "is not set";
		return NULL;
	}
	/* without blocking, should it be no file */
	fd = OpenTransientFile(path, O_RDONLY | O_NONBLOCK | PG_BINARY);
	*why = fd < 0 ? "cannot be opened" : fault_of(fd);
	if (*why != NULL)
	{
		if (fd >= 0)
			CloseTransientFile(fd);
		return NULL;
	}
	content = palloc(SECRET_BYTES_MAX);
	got = read(fd, content, SECRET_BYTES_MAX);
	CloseTransientFile(fd);
	if (got < SECRET_BYTES_MIN)
	{
		*why = "cannot be read";
		pfree(content);
		return NULL;
	}
	*size = (size_t) got;
	return content;
}

void
secret_file_digest(SecretSource source, uint8 digest[SECRET_DIGEST_LEN])
{
	size_t size = 0;
	const char *why;
	uint8 *content = try_read(source, &size, &why);
	bool ok;

	if (content == NULL)
		refuse(source, why);
	ok = EVP_Digest(content, size, digest, NULL, EVP_sha256(), NULL) == 1;
	OPENSSL_cleanse(content, size);
	pfree(content);
	if (!ok)
		ereport(ERROR, (errcode(ERRCODE_INTERNAL_ERROR), errmsg("could not digest payout.secret_file")));
}

bool
secret_file_key(SecretSource source, const char *purpose, SecretKey *key)
{
	size_t size = 0;
	const char *why;
	uint8 *content = try_read(source, &size, &why);
	size_t key_len =
		sizeof(SecretKey); /* key and id in one: each byte of HKDF's output is as good as the others */
	EVP_PKEY_CTX *ctx;
	bool ok;

	if (content == NULL && source == SECRET_OLD)
		return false;
	if (content == NULL)
		refuse(source, why);
	ctx = EVP_PKEY_CTX_new_id(EVP_PKEY_HKDF, NULL);
	ok = ctx != NULL && EVP_PKEY_derive_init(ctx) > 0 && EVP_PKEY_CTX_set_hkdf_md(ctx, EVP_sha256()) > 0 &&
		 EVP_PKEY_CTX_set1_hkdf_key(ctx, content, (int) size) > 0 &&
		 EVP_PKEY_CTX_add1_hkdf_info(ctx, (const unsigned char *) purpose, (int) strlen(purpose)) > 0 &&
		 EVP_PKEY_derive(ctx, (uint8 *) key, &key_len) > 0;
	EVP_PKEY_CTX_free(ctx);
	OPENSSL_cleanse(content, size);
	pfree(content);
	if (!ok)
		ereport(ERROR,
				(errcode(ERRCODE_INTERNAL_ERROR), errmsg("could not derive a key from payout.secret_file")));
	return true;
}

bytea *
secret_file_key_id(const char *purpose)
{
	SecretKey key;
	bytea *id = palloc(VARHDRSZ + SECRET_KEY_ID_LEN);

	secret_file_key(SECRET_PRESENT, purpose, &key);
	SET_VARSIZE(id, VARHDRSZ + SECRET_KEY_ID_LEN);
	memcpy(VARDATA(id), key.id, SECRET_KEY_ID_LEN);
	OPENSSL_cleanse(&key, sizeof(key));
	return id;
}

/* Opens the file and describes the lock that stands for a database. -1: it cannot be opened for that. */
static int
open_for_lock(uint64 system_identifier, Oid database, struct flock *lock)
{
	memset(lock, 0, sizeof(*lock));
	lock->l_type = F_WRLCK;
	lock->l_whence = SEEK_SET;
	lock->l_start = (off_t) (hash_bytes_extended((unsigned char *) &system_identifier,
												 sizeof(system_identifier), database) &
							 INT64CONST(0x3fffffffffffffff));
	lock->l_len = 1;
	return open(payout_secret_file, O_RDWR | O_CLOEXEC | O_NONBLOCK);
}

/*
 * The abstract address that stands for a database of a server with this secret. It cannot be computed without the secret. It is
 * bound by one process of a host (of a network name space, to be exact) and goes with it.
 */
static void
make_address(uint64 system_identifier, Oid database, const uint8 digest[SECRET_DIGEST_LEN],
			 struct sockaddr_un *address, socklen_t *size)
{
	struct
	{
		char purpose[24];
		uint64 system_identifier;
		uint64 database;
		uint8 digest[SECRET_DIGEST_LEN];
	} text = {"payout worker", system_identifier, database, {0}};
	uint8 hash[SECRET_DIGEST_LEN];

	memcpy(text.digest, digest, SECRET_DIGEST_LEN);
	if (EVP_Digest(&text, sizeof(text), hash, NULL, EVP_sha256(), NULL) != 1)
		ereport(ERROR, (errcode(ERRCODE_INTERNAL_ERROR), errmsg("could not digest payout.secret_file")));
	memset(address, 0, sizeof(*address));
	address->sun_family = AF_UNIX;
	strcpy(address->sun_path + 1, "payout/");
	for (int i = 0; i < 16; i++)
		snprintf(address->sun_path + 8 + 2 * i, 3, "%02x", hash[i]);
	*size = offsetof(struct sockaddr_un, sun_path) + 8 + 32;
}

static int
open_socket(void)
{
	return socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
}

bool
secret_file_is_locked(uint64 system_identifier, Oid database)
{
	uint8 digest[SECRET_DIGEST_LEN];
	struct sockaddr_un address;
	socklen_t size;
	struct flock lock;
	bool locked;
	int fd;

	secret_file_digest(SECRET_PRESENT, digest); /* the checks of the file */
	make_address(system_identifier, database, digest, &address, &size);
	fd = open_socket();
	locked = fd >= 0 && connect(fd, (struct sockaddr *) &address, size) == 0;
	if (fd >= 0)
		close(fd);
	fd = open_for_lock(system_identifier, database, &lock);
	if (fd >= 0)
	{
		locked = locked || (fcntl(fd, F_OFD_GETLK, &lock) == 0 && lock.l_type != F_UNLCK);
		close(fd);
	}
	return locked;
}

/* What the worker has looked at, and locked. */
typedef struct SeenFile
{
	bool is_seen;
	struct stat as_read;
	time_t read_at;
	uint8 digest[SECRET_DIGEST_LEN];
} SeenFile;

static SeenFile seen = {.is_seen = false};
static SeenFile locked = {.is_seen = false};
static int inode_fd = -1;	/* the lock on the file */
static int content_fd = -1; /* the lock on what it says */

static bool
same_inode(const struct stat *a, const struct stat *b)
{
	return a->st_dev == b->st_dev && a->st_ino == b->st_ino;
}

/* Whether the file that the setting names is the one that was read, unchanged. */
static bool
is_as_read(void)
{
	const struct stat *was = &seen.as_read;
	struct stat now;

	return seen.is_seen && stat(payout_secret_file, &now) == 0 && same_inode(&now, was) &&
		   now.st_mode == was->st_mode && now.st_size == was->st_size &&
		   now.st_mtim.tv_sec == was->st_mtim.tv_sec && now.st_mtim.tv_nsec == was->st_mtim.tv_nsec &&
		   now.st_ctim.tv_sec == was->st_ctim.tv_sec && now.st_ctim.tv_nsec == was->st_ctim.tv_nsec;
}

/*
 * The file's times have the grain of the kernel's clock: one that was changed shortly before it was read may have been changed
 * after that as well, and look the same.
 */
bool
secret_file_look(uint8 digest[SECRET_DIGEST_LEN])
{
	size_t size = 0;
	const char *why;
	uint8 *content;

	if (!is_as_read() || seen.as_read.st_ctim.tv_sec + 1 >= seen.read_at)
	{
		seen.is_seen = false;
		seen.read_at = time(NULL);
		if (stat(payout_secret_file, &seen.as_read) != 0 ||
			(content = try_read(SECRET_PRESENT, &size, &why)) == NULL)
			return false;
		seen.is_seen = EVP_Digest(content, size, seen.digest, NULL, EVP_sha256(), NULL) == 1;
		OPENSSL_cleanse(content, size);
		pfree(content);
	}
	memcpy(digest, seen.digest, SECRET_DIGEST_LEN);
	return seen.is_seen;
}

bool
secret_file_is_ours(void)
{
	return locked.is_seen && is_as_read();
}

static void
close_lock(int *fd)
{
	if (*fd >= 0)
		close(*fd);
	*fd = -1;
}

void
secret_file_unlock(void)
{
	locked.is_seen = false;
	close_lock(&inode_fd);
	close_lock(&content_fd);
}

/* Locks what the file says. */
static bool
lock_content(uint64 system_identifier, Oid database)
{
	struct sockaddr_un address;
	socklen_t size;

	make_address(system_identifier, database, seen.digest, &address, &size);
	content_fd = open_socket();
	return content_fd >= 0 && bind(content_fd, (struct sockaddr *) &address, size) == 0;
}

/* Locks the file itself. One that the server may only read has no such lock: what it says is locked all the same. */
static bool
lock_inode(uint64 system_identifier, Oid database)
{
	struct flock lock;

	inode_fd = open_for_lock(system_identifier, database, &lock);
	return inode_fd < 0 || fcntl(inode_fd, F_OFD_SETLK, &lock) == 0;
}

bool
secret_file_lock(uint64 system_identifier, Oid database)
{
	if (!seen.is_seen)
		return false;
	if (content_fd >= 0 && memcmp(locked.digest, seen.digest, SECRET_DIGEST_LEN) != 0)
		close_lock(&content_fd);
	if (inode_fd >= 0 && !same_inode(&locked.as_read, &seen.as_read))
		close_lock(&inode_fd);
	locked = seen;
	if ((content_fd >= 0 || lock_content(system_identifier, database)) &&
		(inode_fd >= 0 || lock_inode(system_identifier, database)))
		return true;
	secret_file_unlock();
	return false;
}
