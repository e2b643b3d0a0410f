/*
 * snap_sign.h
 *		Signatures and timestamps of SNAP BI: what goes into a header, and whether one received is genuine.
 *		For the SNAP protocol, inbound and outbound, and for the unit tests; libc and OpenSSL only.
 */
#ifndef SNAP_SIGN_H
#define SNAP_SIGN_H

#include <stdbool.h>
#include <stddef.h>

/* how a bank wants its signatures written */
typedef enum SnapEncoding
{
	SNAP_ENCODING_BASE64,
	SNAP_ENCODING_HEX
} SnapEncoding;

#define SNAP_HASH_SIZE 65		 /* hex SHA-256 and its NUL */
#define SNAP_SIGNATURE_SIZE 2049 /* an RSA key of 8192 bits in hex, and its NUL */
#define SNAP_TIMESTAMP_SIZE 30	 /* with milliseconds, and its NUL */

/* longest inputs, in bytes without NUL; anything longer is refused, never cut; a body has no limit */
#define SNAP_METHOD_MAX 16
#define SNAP_PATH_MAX 8192
#define SNAP_TOKEN_MAX 8192
#define SNAP_CLIENT_ID_MAX 256
#define SNAP_TIMESTAMP_MAX 64
#define SNAP_SECRET_MAX 4096
#define SNAP_KEY_MAX 32768

/*
 * Common to all below: method in any case of letters (signed in upper case); path starts with '/' and
 * includes the query string; token without "Bearer ", NULL or left out for type 2; a body may be NULL when
 * its length is 0, and is given exactly as sent or received; timestamp is the text of X-TIMESTAMP. A text
 * with a control character, an empty or overlong one makes the call fail. Out is an empty string after a
 * failure, where it has room for one. RSA keys have 2048 to 8192 bits. The thread's OpenSSL error queue is
 * left as it was.
 */

/*
 * Drops the blanks outside strings, keeps every other byte; returns the bytes written, which no NUL follows.
 * out has room for body_len bytes and may be body itself.
 */
extern size_t snap_minify(const char *body, size_t body_len, char *out);

/* Lower-case hex SHA-256 of the minified body; false only when OpenSSL fails. */
extern bool snap_body_hash(const char *body, size_t body_len, char hash[SNAP_HASH_SIZE]);

/* The text that is signed; malloc'ed, NULL on failure. It holds the token: cleanse before free. */
extern char *snap_string_to_sign(const char *method, const char *path, const char *token, const char *body,
								 size_t body_len, const char *timestamp);

/* Type 1: HMAC-SHA512 under the client secret. */
extern bool snap_sign_symmetric(const char *client_secret, const char *method, const char *path,
								const char *token, const char *body, size_t body_len, const char *timestamp,
								SnapEncoding encoding, char *out, size_t out_size);

/*
 * Service 73: SHA256withRSA, PKCS#1 v1.5, over client_id|timestamp. The key is PEM, or the bare base64 of its
 * DER.
 */
extern bool snap_sign_token(const char *private_key, const char *client_id, const char *timestamp,
							SnapEncoding encoding, char *out, size_t out_size);

/* Type 2: SHA256withRSA over the request without a token. */
extern bool snap_sign_asymmetric(const char *private_key, const char *method, const char *path,
								 const char *body, size_t body_len, const char *timestamp,
								 SnapEncoding encoding, char *out, size_t out_size);

/*
 * The other side of the three above: true only for a genuine signature in exactly this encoding (base64
 * padded, hex in either case). Any input is tolerated. Whether the timestamp is fresh and the token alive is
 * the caller's to see. A public key is PEM (SubjectPublicKeyInfo), or the bare base64 of its DER.
 */
extern bool snap_verify_symmetric(const char *client_secret, const char *method, const char *path,
								  const char *token, const char *body, size_t body_len, const char *timestamp,
								  SnapEncoding encoding, const char *signature);
extern bool snap_verify_token(const char *public_key, const char *client_id, const char *timestamp,
							  SnapEncoding encoding, const char *signature);
extern bool snap_verify_asymmetric(const char *public_key, const char *method, const char *path,
								   const char *body, size_t body_len, const char *timestamp,
								   SnapEncoding encoding, const char *signature);

/*
 * The moment as Jakarta time: 2025-01-31T09:15:00+07:00, or with .SSS where milliseconds is not -1 but 0 to
 * 999. False before 1970-01-01 UTC, after the year 9999, or where out is too small.
 */
extern bool snap_timestamp(long long unix_seconds, int milliseconds, char *out, size_t out_size);

/*
 * Reads YYYY-MM-DDTHH:MM:SS, optionally .SSS, then +07:00 or Z, and nothing else; milliseconds are dropped.
 * False, and unix_seconds untouched, for any other text, a date that does not exist, or a moment before 1970
 * UTC.
 */
extern bool snap_parse_timestamp(const char *text, long long *unix_seconds);

#endif /* SNAP_SIGN_H */
