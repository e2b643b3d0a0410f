/*
 * secret_lock.c: the locks that keep copies of one database apart, where they use one secret file or copies of it. They go with the
 * worker's process:
 *	 - an abstract Unix address that is computed of what the file says, system identifier and database: it holds for copies of
 *	   the file as well, in all processes of one network name space;
 *	 - where the server may write the file, an open-file-description lock on the byte at an offset that stands for system
 *	   identifier and database: it holds for processes that share the file, in containers too. A file system that is shared by
 *	   hosts extends it to them as far as it supports such locks.
 *
 * While payout.secret_file_old is set, that file is locked as well: a copy of this database that was not rotated is armed for it.
 * What is held is let go only when all that is wanted is held, so that a rotation leaves no gap.
 */
#include "postgres.h"

#include <fcntl.h>
#include <openssl/evp.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "common/hashfn.h"
#include "secret_file.h"
#include "secret_lock.h"
#include "settings.h"

/* The present file, the old one, and both of before a change of the settings. */
#define LOCKS_MAX 4

/* What the worker has looked at. */
typedef struct SeenFile
{
	bool is_seen;
	struct stat as_read;
	time_t read_at;
	uint8 digest[SECRET_DIGEST_LEN];
} SeenFile;

/* The lock on what a file says, and the one on the file itself. */
typedef struct ContentLock
{
	int fd; /* -1: none */
	uint8 digest[SECRET_DIGEST_LEN];
} ContentLock;

typedef struct InodeLock
{
	int fd; /* -1: none */
	dev_t device;
	ino_t inode;
} InodeLock;

static SeenFile seen[2] = {{.is_seen = false}, {.is_seen = false}};
static ContentLock contents[LOCKS_MAX] = {{.fd = -1}, {.fd = -1}, {.fd = -1}, {.fd = -1}};
static InodeLock inodes[LOCKS_MAX] = {{.fd = -1}, {.fd = -1}, {.fd = -1}, {.fd = -1}};
static bool is_ours =
	false; /* all that was wanted is locked, and the database is armed for the present file */

/* Opens a file and describes the lock that stands for a database. -1: it cannot be opened for that. */
static int
open_for_lock(const char *path, uint64 system_identifier, Oid database, struct flock *lock)
{
	memset(lock, 0, sizeof(*lock));
	lock->l_type = F_WRLCK;
	lock->l_whence = SEEK_SET;
	lock->l_start = (off_t) (hash_bytes_extended((unsigned char *) &system_identifier,
												 sizeof(system_identifier), database) &
							 INT64CONST(0x3fffffffffffffff));
	lock->l_len = 1;
	return open(path, O_RDWR | O_CLOEXEC | O_NONBLOCK);
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
	fd = open_for_lock(secret_file_path(SECRET_PRESENT), system_identifier, database, &lock);
	if (fd >= 0)
	{
		locked = locked || (fcntl(fd, F_OFD_GETLK, &lock) == 0 && lock.l_type != F_UNLCK);
		close(fd);
	}
	return locked;
}

/* Whether the file that the setting names is the one that was read, unchanged. */
static bool
is_as_read(SecretSource source)
{
	const struct stat *was = &seen[source].as_read;
	struct stat now;

	return seen[source].is_seen && stat(secret_file_path(source), &now) == 0 && now.st_dev == was->st_dev &&
		   now.st_ino == was->st_ino && now.st_mode == was->st_mode && now.st_size == was->st_size &&
		   now.st_mtim.tv_sec == was->st_mtim.tv_sec && now.st_mtim.tv_nsec == was->st_mtim.tv_nsec &&
		   now.st_ctim.tv_sec == was->st_ctim.tv_sec && now.st_ctim.tv_nsec == was->st_ctim.tv_nsec;
}

/*
 * The file's times have the grain of the kernel's clock: one that was changed shortly before it was read may have been changed
 * after that as well, and look the same.
 */
bool
secret_file_look(SecretSource source, uint8 digest[SECRET_DIGEST_LEN])
{
	SeenFile *file = &seen[source];
	const char *path = secret_file_path(source);

	if (path == NULL || path[0] == '\0')
	{
		file->is_seen = false;
		return false;
	}
	if (!is_as_read(source) || file->as_read.st_ctim.tv_sec + 1 >= file->read_at)
	{
		file->read_at = time(NULL);
		file->is_seen = stat(path, &file->as_read) == 0 && secret_file_try_digest(source, file->digest);
	}
	memcpy(digest, file->digest, SECRET_DIGEST_LEN);
	return file->is_seen;
}

bool
secret_file_is_ours(void)
{
	return is_ours && is_as_read(SECRET_PRESENT);
}

bool
secret_file_holds(const uint8 digest[SECRET_DIGEST_LEN])
{
	for (int i = 0; i < LOCKS_MAX; i++)
		if (contents[i].fd >= 0 && memcmp(contents[i].digest, digest, SECRET_DIGEST_LEN) == 0)
			return true;
	return false;
}

static void
let_go(int *fd)
{
	if (*fd >= 0)
		close(*fd);
	*fd = -1;
}

void
secret_file_unlock(void)
{
	is_ours = false;
	for (int i = 0; i < LOCKS_MAX; i++)
	{
		let_go(&contents[i].fd);
		let_go(&inodes[i].fd);
	}
}

/* Locks what a file says; true where it is locked already. */
static bool
lock_content(const SeenFile *file, uint64 system_identifier, Oid database)
{
	struct sockaddr_un address;
	socklen_t size;

	if (secret_file_holds(file->digest))
		return true;
	make_address(system_identifier, database, file->digest, &address, &size);
	for (int i = 0; i < LOCKS_MAX; i++)
	{
		if (contents[i].fd >= 0)
			continue;
		contents[i].fd = open_socket();
		memcpy(contents[i].digest, file->digest, SECRET_DIGEST_LEN);
		if (contents[i].fd >= 0 && bind(contents[i].fd, (struct sockaddr *) &address, size) == 0)
			return true;
		let_go(&contents[i].fd);
		return false;
	}
	return false;
}

static bool
is_on(const InodeLock *lock, const SeenFile *file)
{
	return lock->fd >= 0 && lock->device == file->as_read.st_dev && lock->inode == file->as_read.st_ino;
}

/* Locks a file itself. One that the server may only read has no such lock: what it says is locked all the same. */
static bool
lock_inode(SecretSource source, uint64 system_identifier, Oid database)
{
	const SeenFile *file = &seen[source];
	InodeLock *room = NULL;
	struct flock lock;

	for (int i = 0; i < LOCKS_MAX; i++)
	{
		if (is_on(&inodes[i], file))
			return true;
		if (inodes[i].fd < 0)
			room = &inodes[i];
	}
	if (room == NULL)
		return false;
	room->fd = open_for_lock(secret_file_path(source), system_identifier, database, &lock);
	room->device = file->as_read.st_dev;
	room->inode = file->as_read.st_ino;
	if (room->fd < 0 || fcntl(room->fd, F_OFD_SETLK, &lock) == 0)
		return true;
	let_go(&room->fd);
	return false;
}

/* Lets go what stands for neither of the two files any more. */
static void
let_others_go(void)
{
	for (int i = 0; i < LOCKS_MAX; i++)
	{
		bool is_content_wanted = false;
		bool is_inode_wanted = false;

		for (int source = 0; source < (int) lengthof(seen); source++)
		{
			if (!seen[source].is_seen)
				continue;
			is_content_wanted =
				is_content_wanted || memcmp(contents[i].digest, seen[source].digest, SECRET_DIGEST_LEN) == 0;
			is_inode_wanted = is_inode_wanted || is_on(&inodes[i], &seen[source]);
		}
		if (!is_content_wanted)
			let_go(&contents[i].fd);
		if (!is_inode_wanted)
			let_go(&inodes[i].fd);
	}
}

bool
secret_file_lock(uint64 system_identifier, Oid database, bool is_armed)
{
	bool has_all = seen[SECRET_PRESENT].is_seen;

	for (int source = 0; source < (int) lengthof(seen) && has_all; source++)
		if (seen[source].is_seen)
			has_all = lock_content(&seen[source], system_identifier, database) &&
					  lock_inode(source, system_identifier, database);
	if (!has_all)
	{
		secret_file_unlock();
		return false;
	}
	let_others_go();
	is_ours = is_armed;
	return true;
}

void
secret_file_keep(void)
{
	is_ours = false;
}
