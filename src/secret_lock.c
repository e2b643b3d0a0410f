/*
 * secret_lock.c: the locks that keep copies of one database apart, where they use one secret file or copies of it. They go with the
 * worker's process:
 *	 - an abstract Unix address that is computed of what the file says, system identifier and database: it holds for copies of
 *	   the file as well, in all processes of one network name space;
 *	 - where the server may write the file, an open-file-description lock on the byte at an offset that stands for system
 *	   identifier and database: it holds for processes that share the file, in containers too. A file system that is shared by
 *	   hosts extends it to them as far as it supports such locks;
 *	 - an abstract address that is computed of the book, which is the same in all its copies whatever file they use and whichever
 *	   database they are in: it holds for a dump that was restored beside its original, and never changes by a rotation.
 *
 * While payout.secret_file_old is set, that file is locked as well: a copy of this database that was not rotated is armed for it.
 * All that is wanted is taken, or nothing of it. What is held is let go by secret_file_unlock() alone, which the worker calls where
 * the database is not armed: a file that was moved, changed, or is named no more keeps its lock until then.
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
#include "utils/memutils.h"

/* What the worker has looked at. */
typedef struct SeenFile
{
	bool is_seen;
	struct stat as_read;
	time_t read_at;
	uint8 digest[SECRET_DIGEST_LEN];
} SeenFile;

/* The lock on what a file says, or on the book, whose number is filled up with zeros. */
typedef struct ContentLock
{
	int fd;
	uint8 digest[SECRET_DIGEST_LEN];
} ContentLock;

/* The lock on a file itself. */
typedef struct InodeLock
{
	int fd; /* -1: the server may only read the file */
	dev_t device;
	ino_t inode;
} InodeLock;

static SeenFile seen[2] = {{.is_seen = false}, {.is_seen = false}};
static ContentLock *contents = NULL;
static int content_count = 0;
static InodeLock *inodes = NULL;
static int inode_count = 0;
/* all that was wanted is locked, and the database is armed for the present file */
static bool is_ours = false;

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

/* The abstract address that a digest stands for. It is bound by one process of a host (of a network name space, to be exact). */
static void
name_address(const void *text, size_t length, struct sockaddr_un *address, socklen_t *size)
{
	uint8 hash[SECRET_DIGEST_LEN];

	if (EVP_Digest(text, length, hash, NULL, EVP_sha256(), NULL) != 1)
		ereport(ERROR, (errcode(ERRCODE_INTERNAL_ERROR), errmsg("could not digest payout.secret_file")));
	memset(address, 0, sizeof(*address));
	address->sun_family = AF_UNIX;
	strcpy(address->sun_path + 1, "payout/");
	for (int i = 0; i < 16; i++)
		snprintf(address->sun_path + 8 + 2 * i, 3, "%02x", hash[i]);
	*size = offsetof(struct sockaddr_un, sun_path) + 8 + 32;
}

/* For a database of a server with this secret. It cannot be computed without the secret. */
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

	memcpy(text.digest, digest, SECRET_DIGEST_LEN);
	name_address(&text, sizeof(text), address, size);
}

/* For a book. It cannot be computed without having read the book. */
static void
make_book_address(const uint8 book[UUID_LEN], struct sockaddr_un *address, socklen_t *size)
{
	struct
	{
		char purpose[24];
		uint8 book[UUID_LEN];
	} text = {"payout book", {0}};

	memcpy(text.book, book, UUID_LEN);
	name_address(&text, sizeof(text), address, size);
}

static int
open_socket(void)
{
	return socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
}

static bool
is_bound(const struct sockaddr_un *address, socklen_t size)
{
	int fd = open_socket();
	bool bound = fd >= 0 && connect(fd, (const struct sockaddr *) address, size) == 0;

	if (fd >= 0)
		close(fd);
	return bound;
}

bool
secret_file_is_locked(uint64 system_identifier, Oid database, const uint8 book[UUID_LEN])
{
	uint8 digest[SECRET_DIGEST_LEN];
	struct sockaddr_un address;
	socklen_t size;
	struct flock lock;
	bool locked;
	int fd;

	secret_file_digest(SECRET_PRESENT, digest); /* the checks of the file */
	make_address(system_identifier, database, digest, &address, &size);
	locked = is_bound(&address, size);
	make_book_address(book, &address, &size);
	locked = locked || is_bound(&address, size);
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
	for (int i = 0; i < content_count; i++)
		if (memcmp(contents[i].digest, digest, SECRET_DIGEST_LEN) == 0)
			return true;
	return false;
}

/* Lets go what was taken last, down to these counts. */
static void
let_go_beyond(int contents_kept, int inodes_kept)
{
	while (content_count > contents_kept)
		close(contents[--content_count].fd);
	while (inode_count > inodes_kept)
		if (inodes[--inode_count].fd >= 0)
			close(inodes[inode_count].fd);
}

void
secret_file_unlock(void)
{
	is_ours = false;
	let_go_beyond(0, 0);
}

/* Room for one more at the end of an array. */
static void *
make_room(void *array, int count, size_t size)
{
	return array == NULL ? MemoryContextAlloc(TopMemoryContext, size) : repalloc(array, (count + 1) * size);
}

/* Locks what has this address; true where it is locked already. */
static bool
lock_address(const uint8 digest[SECRET_DIGEST_LEN], const struct sockaddr_un *address, socklen_t size)
{
	int fd;

	if (secret_file_holds(digest))
		return true;
	contents = make_room(contents, content_count, sizeof(ContentLock));
	fd = open_socket();
	if (fd < 0 || bind(fd, (const struct sockaddr *) address, size) != 0)
	{
		if (fd >= 0)
			close(fd);
		return false;
	}
	contents[content_count].fd = fd;
	memcpy(contents[content_count].digest, digest, SECRET_DIGEST_LEN);
	content_count++;
	return true;
}

static bool
lock_content(const SeenFile *file, uint64 system_identifier, Oid database)
{
	struct sockaddr_un address;
	socklen_t size;

	make_address(system_identifier, database, file->digest, &address, &size);
	return lock_address(file->digest, &address, size);
}

static bool
lock_book(const uint8 book[UUID_LEN])
{
	uint8 digest[SECRET_DIGEST_LEN] = {0};
	struct sockaddr_un address;
	socklen_t size;

	memcpy(digest, book, UUID_LEN);
	make_book_address(book, &address, &size);
	return lock_address(digest, &address, size);
}

/* Locks a file itself. One that the server may only read has no such lock: what it says is locked all the same. */
static bool
lock_inode(SecretSource source, uint64 system_identifier, Oid database)
{
	const SeenFile *file = &seen[source];
	struct flock lock;
	int fd;

	for (int i = 0; i < inode_count; i++)
		if (inodes[i].device == file->as_read.st_dev && inodes[i].inode == file->as_read.st_ino)
			return true;
	inodes = make_room(inodes, inode_count, sizeof(InodeLock));
	fd = open_for_lock(secret_file_path(source), system_identifier, database, &lock);
	if (fd >= 0 && fcntl(fd, F_OFD_SETLK, &lock) != 0)
	{
		close(fd);
		return false;
	}
	inodes[inode_count++] = (InodeLock){fd, file->as_read.st_dev, file->as_read.st_ino};
	return true;
}

/* Files that have no name any more: nobody else can open them, and what they say is locked apart from that. */
static void
let_nameless_go(void)
{
	int kept = 0;

	for (int i = 0; i < inode_count; i++)
	{
		struct stat now;

		if (inodes[i].fd >= 0 && fstat(inodes[i].fd, &now) == 0 && now.st_nlink == 0)
			close(inodes[i].fd);
		else
			inodes[kept++] = inodes[i];
	}
	inode_count = kept;
}

bool
secret_file_lock(uint64 system_identifier, Oid database, const uint8 book[UUID_LEN], bool is_armed)
{
	int contents_before = content_count;
	int inodes_before;
	bool has_all;

	let_nameless_go();
	inodes_before = inode_count;
	has_all = seen[SECRET_PRESENT].is_seen && lock_book(book);
	for (int source = 0; source < (int) lengthof(seen) && has_all; source++)
		if (seen[source].is_seen)
			has_all = lock_content(&seen[source], system_identifier, database) &&
					  lock_inode(source, system_identifier, database);
	if (!has_all)
		let_go_beyond(contents_before, inodes_before);
	is_ours = has_all && is_armed;
	return has_all;
}

void
secret_file_keep(void)
{
	is_ours = false;
}
