/*
 * place.c: what tells a database from its copies, though it is copied with them.
 *
 * PostgreSQL makes the file PG_VERSION with a database's directory. Recovery may write it once more, but makes no other one. So its
 * inode and the moment of its birth, which no program can set, are those of this directory alone: another directory, a base backup,
 * a database that is made from this one as a template, even under the same OID, has a file of its own. Where the file system tells
 * of no birth the inode must do. The host is added, as file systems number alike.
 *
 * The device's number is left out on purpose: it may be another one after each start of the host, and a place that changes by
 * itself would make every restart a take-over. So a copy of the whole disk that is put back on the same host is not told apart.
 */
#include "postgres.h"

#include <fcntl.h>
#include <openssl/evp.h>
#include <sys/stat.h>
#include <unistd.h>

#include "access/xlog.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "place.h"
#include "storage/fd.h"

PG_FUNCTION_INFO_V1(payout_place);

/* The host's name for itself, for as long as it is installed; zeros where it has none, as in many containers. */
static void
read_machine_id(char id[32])
{
	int fd = OpenTransientFile("/etc/machine-id", O_RDONLY | PG_BINARY);

	memset(id, 0, 32);
	if (fd < 0)
		return;
	if (read(fd, id, 32) != 32)
		memset(id, 0, 32);
	CloseTransientFile(fd);
}

static void
make_digest(uint8 digest[PLACE_DIGEST_LEN])
{
	struct
	{
		char purpose[16];
		char machine_id[32];
		uint64 system_identifier;
		uint64 database;
		uint64 inode;
		int64 seconds;
		int64 nanoseconds;
	} text = {"payout place", {0}, GetSystemIdentifier(), MyDatabaseId, 0, 0, 0};
	char *path = psprintf("%s/PG_VERSION", DatabasePath);
	struct statx file;

	if (statx(AT_FDCWD, path, 0, STATX_INO | STATX_BTIME, &file) != 0)
		ereport(ERROR, (errcode_for_file_access(), errmsg("could not stat file \"%s\": %m", path)));
	read_machine_id(text.machine_id);
	text.inode = file.stx_ino;
	if ((file.stx_mask & STATX_BTIME) != 0)
	{
		text.seconds = file.stx_btime.tv_sec;
		text.nanoseconds = file.stx_btime.tv_nsec;
	}
	if (EVP_Digest(&text, sizeof(text), digest, NULL, EVP_sha256(), NULL) != 1)
		ereport(ERROR, (errcode(ERRCODE_INTERNAL_ERROR), errmsg("could not digest the database's place")));
	pfree(path);
}

/* A database's directory stays what it is while anybody is connected. */
void
place_digest(uint8 digest[PLACE_DIGEST_LEN])
{
	static uint8 made[PLACE_DIGEST_LEN];
	static bool is_made = false;

	if (!is_made)
		make_digest(made);
	is_made = true;
	memcpy(digest, made, PLACE_DIGEST_LEN);
}

/* place(): see place.sql. */
Datum
payout_place(PG_FUNCTION_ARGS)
{
	bytea *digest = palloc(VARHDRSZ + PLACE_DIGEST_LEN);

	SET_VARSIZE(digest, VARHDRSZ + PLACE_DIGEST_LEN);
	place_digest((uint8 *) VARDATA(digest));
	PG_RETURN_BYTEA_P(digest);
}
