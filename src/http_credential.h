/*
 * http_credential.h
 *	  The files that operators name for TLS, as content: authorities of a bank, our certificate with its key.
 *	  Only http_transfer.c enters.
 */
#ifndef PAYOUT_HTTP_CREDENTIAL_H
#define PAYOUT_HTTP_CREDENTIAL_H

#include <curl/curl.h>
#include <sys/stat.h>

#define CA_FILE_BYTES_MAX (1024 * 1024)
#define CLIENT_CERTIFICATE_BYTES_MAX (64 * 1024)

/* A file as a request has taken it. */
typedef struct HttpCredential
{
	char *path; /* malloc'ed; NULL: none */
	struct stat at;
} HttpCredential;

/*
 * The file's content as it is now, for CURLOPT_..._BLOB, which copies it: it is good until the next call. False, with the reason
 * in error, when the file cannot be read, is no regular file, is empty or larger than bytes_max. Never waits for a writer.
 * what: the option's name, for the reason. taken: filled, to be forgotten by the caller.
 */
extern bool http_credential_read(const char *what, const char *path, size_t bytes_max,
								 struct curl_blob *content, HttpCredential *taken, char *error,
								 size_t error_size);
extern void http_credential_forget(HttpCredential *taken);

/* Whether the file is still the one that was taken, unchanged; so is none. For libcurl's callbacks as well. */
extern bool http_credential_is_current(const HttpCredential *taken);

#endif /* PAYOUT_HTTP_CREDENTIAL_H */
