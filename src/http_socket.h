/*
 * http_socket.h
 *	  Room for the sockets of the HTTP client: which one is behind a connection, and whether bytes wait in it.
 *	  Only http_transfer.c enters. Nothing here raises an error or uses palloc: callbacks of libcurl call it.
 */
#ifndef PAYOUT_HTTP_SOCKET_H
#define PAYOUT_HTTP_SOCKET_H

#include <curl/curl.h>

/* The two ends of a connection, as libcurl tells them to CURLOPT_PREREQFUNCTION. */
typedef struct HttpEnds
{
	const char *remote_address;
	int remote_port;
	const char *local_address;
	int local_port;
} HttpEnds;

/* Opens a socket for an address that libcurl is about to connect to for the opener; CURL_SOCKET_BAD when it cannot. */
extern curl_socket_t http_socket_open(const struct curl_sockaddr *address, const void *opener);

/* For CURLOPT_CLOSESOCKETFUNCTION. */
extern int http_socket_close(void *user_data, curl_socket_t fd);

/* The connection with these ends has been made with one of the sockets that were opened for the opener. */
extern void http_socket_connected(const HttpEnds *ends, const void *opener);

/*
 * Whether nothing has arrived on a connection that the next request would take for its answer. is_new: no request has used it.
 * False also when the connection is not known here, or speaks HTTP/2, where no bytes tell.
 */
extern bool http_socket_is_quiet(CURL *easy, const HttpEnds *ends, bool is_new);

#endif /* PAYOUT_HTTP_SOCKET_H */
