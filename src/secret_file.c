/*
 * secret_file.c: the file outside the database that makes this installation the one that may pay, and the one before it.
 *
 * The whole file is one secret, of 32 bytes to 64 kB, readable by the server's user alone. Keys for each purpose are
 * derived from it (HKDF, RFC 5869), so none can be computed from another. It is read anew at each use: a server whose
 * file was taken away is not armed from that moment.
 */
#include "postgres.h"

#include <fcntl.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/kdf.h>
#include <sys/stat.h>
#include <unistd.h>

#include "compat.h"
#include "errors.h"
#include "secret_file.h"
#include "settings.h"
#include "storage/fd.h"

#define SECRET_BYTES_MIN 32
#define SECRET_BYTES_MAX 65536

const char *
secret_file_path(SecretSource source)
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
	const char *path = secret_file_path(source);
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

/* The digest of what was read, which is cleansed. */
static bool
digest_content(uint8 *content, size_t size, uint8 digest[SECRET_DIGEST_LEN])
{
	bool ok = EVP_Digest(content, size, digest, NULL, EVP_sha256(), NULL) == 1;

	OPENSSL_cleanse(content, size);
	pfree(content);
	return ok;
}

bool
secret_file_try_digest(SecretSource source, uint8 digest[SECRET_DIGEST_LEN])
{
	size_t size = 0;
	const char *why;
	uint8 *content = try_read(source, &size, &why);

	return content != NULL && digest_content(content, size, digest);
}

void
secret_file_digest(SecretSource source, uint8 digest[SECRET_DIGEST_LEN])
{
	size_t size = 0;
	const char *why;
	uint8 *content = try_read(source, &size, &why);

	if (content == NULL)
		refuse(source, why);
	if (!digest_content(content, size, digest))
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
