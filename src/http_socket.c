/*
 * http_socket.c
 *	  The sockets of the HTTP client.
 *
 * Owns the list of those that are open. libcurl (7.88) takes a kept connection for good when bytes wait in it, and reads
 * them as the answer to the next request. What waits may be a second answer to an earlier one, or the server's farewell.
 * So who must not mistake an answer asks here first. libcurl does not say which socket a transfer has, but which ends its
 * connection has.
 *
 * Never reads a socket, never raises an error, never uses palloc.
 */
#include "postgres.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <openssl/ssl.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "http_socket.h"

/* More than the server's limit on descriptors lets us have at one moment. */
#define SOCKETS_MAX 1024

typedef struct OpenSocket
{
	curl_socket_t fd;
	bool connected; /* what follows is known */
	int remote_port;
	int local_port;
	char remote_address[INET6_ADDRSTRLEN];
	char local_address[INET6_ADDRSTRLEN];
} OpenSocket;

static OpenSocket sockets[SOCKETS_MAX];
static int socket_count = 0;

curl_socket_t
http_socket_open(const struct curl_sockaddr *address)
{
	curl_socket_t fd = socket(address->family, address->socktype | SOCK_CLOEXEC, address->protocol);

	if (fd >= 0 && socket_count < SOCKETS_MAX)
	{
		memset(&sockets[socket_count], 0, sizeof(OpenSocket));
		sockets[socket_count++].fd = fd;
	}
	return fd;
}

int
http_socket_close(void *user_data, curl_socket_t fd)
{
	(void) user_data;
	for (int i = 0; i < socket_count; i++)
	{
		if (sockets[i].fd != fd)
			continue;
		sockets[i] = sockets[--socket_count];
		break;
	}
	return close(fd);
}

static int
local_port_of(curl_socket_t fd)
{
	struct sockaddr_storage address;
	socklen_t size = sizeof(address);

	if (getsockname(fd, (struct sockaddr *) &address, &size) != 0)
		return -1;
	if (address.ss_family == AF_INET6)
		return ntohs(((struct sockaddr_in6 *) &address)->sin6_port);
	return ntohs(((struct sockaddr_in *) &address)->sin_port);
}

void
http_socket_connected(const HttpEnds *ends)
{
	for (int i = 0; i < socket_count; i++)
	{
		OpenSocket *open = &sockets[i];

		if (open->connected || local_port_of(open->fd) != ends->local_port)
			continue;
		open->connected = true;
		open->remote_port = ends->remote_port;
		open->local_port = ends->local_port;
		strlcpy(open->remote_address, ends->remote_address, sizeof(open->remote_address));
		strlcpy(open->local_address, ends->local_address, sizeof(open->local_address));
		return;
	}
}

static const OpenSocket *
find(const HttpEnds *ends)
{
	for (int i = 0; i < socket_count; i++)
	{
		const OpenSocket *open = &sockets[i];

		if (open->connected && open->local_port == ends->local_port &&
			open->remote_port == ends->remote_port &&
			strcmp(open->remote_address, ends->remote_address) == 0 &&
			strcmp(open->local_address, ends->local_address) == 0)
			return open;
	}
	return NULL;
}

/* The TLS of the connection that the transfer has; NULL: none. */
static SSL *
tls_of(CURL *easy)
{
	struct curl_tlssessioninfo *info = NULL;

	if (curl_easy_getinfo(easy, CURLINFO_TLS_SSL_PTR, &info) != CURLE_OK || info == NULL ||
		info->backend != CURLSSLBACKEND_OPENSSL)
		return NULL;
	return info->internals;
}

static bool
speaks_http2(const SSL *tls)
{
	const unsigned char *name = NULL;
	unsigned int len = 0;

	SSL_get0_alpn_selected(tls, &name, &len);
	return len == 2 && memcmp(name, "h2", 2) == 0;
}

bool
http_socket_is_quiet(CURL *easy, const HttpEnds *ends)
{
	const OpenSocket *open = find(ends);
	SSL *tls = tls_of(easy);
	struct pollfd waiting;

	if (open == NULL)
		return false;
	if (tls != NULL && speaks_http2(tls))
		return true;
	waiting = (struct pollfd){.fd = open->fd, .events = POLLIN};
	return poll(&waiting, 1, 0) == 0 && (tls == NULL || SSL_pending(tls) == 0);
}
