/*
 * http_socket.c
 *	  The sockets of the HTTP client.
 *
 * Owns the table of those that are open. libcurl (7.88) takes a kept connection for good when bytes wait in it, and reads
 * them as the answer to the next request; those of a new connection as well. What waits may be a second answer to an earlier
 * request, the server's farewell, or an answer that was never asked for. So who must not mistake an answer asks here first.
 * libcurl does not say which socket a transfer has, but which ends its connection has.
 *
 * Never takes a byte from a connection, never raises an error, never uses palloc.
 */
#include "postgres.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "http_socket.h"

#define SOCKETS_FIRST 64

typedef struct OpenSocket
{
	curl_socket_t fd;
	const void *opener; /* of a socket that is not connected; never looked into */
	bool connected;		/* what follows is known */
	int remote_port;
	int local_port;
	char remote_address[INET6_ADDRSTRLEN];
	char local_address[INET6_ADDRSTRLEN];
} OpenSocket;

static OpenSocket *sockets = NULL;
static int socket_count = 0;
static int sockets_size = 0;

/* Makes room for one more. */
static bool
have_room(void)
{
	int size = sockets_size == 0 ? SOCKETS_FIRST : sockets_size * 2;
	OpenSocket *grown;

	if (socket_count < sockets_size)
		return true;
	grown = realloc(sockets, size * sizeof(OpenSocket));
	if (grown == NULL)
		return false;
	sockets = grown;
	sockets_size = size;
	return true;
}

curl_socket_t
http_socket_open(const struct curl_sockaddr *address, const void *opener)
{
	curl_socket_t fd;

	if (!have_room())
		return CURL_SOCKET_BAD;
	fd = socket(address->family, address->socktype | SOCK_CLOEXEC, address->protocol);
	if (fd < 0)
		return CURL_SOCKET_BAD;
	memset(&sockets[socket_count], 0, sizeof(OpenSocket));
	sockets[socket_count].fd = fd;
	sockets[socket_count++].opener = opener;
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
http_socket_connected(const HttpEnds *ends, const void *opener)
{
	for (int i = 0; i < socket_count; i++)
	{
		OpenSocket *open = &sockets[i];

		if (open->connected || open->opener != opener || local_port_of(open->fd) != ends->local_port)
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

/*
 * Whether a TLS connection that no request has used yet holds no data for us. Behind the handshake a server may have sent
 * tickets and the like, so the socket alone does not tell: OpenSSL reads on, and keeps the data that it finds for the one who
 * asks next. It reads from the socket itself, as libcurl's own layer between the two works within libcurl's calls alone.
 */
static bool
new_tls_is_quiet(SSL *tls, curl_socket_t fd)
{
	BIO *reads = SSL_get_rbio(tls);
	BIO *writes = SSL_get_wbio(tls);
	BIO *direct = BIO_new_socket(fd, BIO_NOCLOSE);
	bool quiet;
	char byte;
	int got;

	if (direct == NULL || reads == NULL || writes == NULL)
	{
		BIO_free(direct);
		return false;
	}
	BIO_up_ref(reads);
	BIO_up_ref(writes);
	SSL_set_bio(tls, direct, direct);
	ERR_clear_error();
	got = SSL_peek(tls, &byte, 1);
	quiet = got <= 0 && SSL_get_error(tls, got) == SSL_ERROR_WANT_READ;
	ERR_clear_error();
	SSL_set0_rbio(tls, reads);
	SSL_set0_wbio(tls, writes);
	return quiet;
}

bool
http_socket_is_quiet(CURL *easy, const HttpEnds *ends, bool is_new)
{
	const OpenSocket *open = find(ends);
	SSL *tls = tls_of(easy);
	struct pollfd waiting;

	if (open == NULL || (tls != NULL && speaks_http2(tls)))
		return false;
	if (tls != NULL && is_new)
		return new_tls_is_quiet(tls, open->fd);
	waiting = (struct pollfd){.fd = open->fd, .events = POLLIN};
	return poll(&waiting, 1, 0) == 0 && (tls == NULL || SSL_pending(tls) == 0);
}
