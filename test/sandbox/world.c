/*
 * world.c: the world outside of the machine, preloaded (LD_PRELOAD) into a server; it is no part of the sandbox.
 *
 * Owns the library calls by which a server asks for names, connects, and reads the authorities that it trusts, so that
 * tests can do with them what strangers do, and nothing ever leaves the machine:
 *   WORLD_DIR/names   lines "NAME ADDRESS[,ADDRESS...]": what the names below .test and .example mean at this moment; every
 *                     look-up is a line of WORLD_DIR/asked. Other names, but localhost, do not exist. While there is a file
 *                     WORLD_DIR/hold no look-up ends.
 *   WORLD_PORT        every address but loopback is found there, on loopback, whatever the port; so are the ports of
 *                     loopback below 1024. 198.41.0.9 refuses connections.
 *   WORLD_DIR/certs   instead of /etc/ssl/certs, where it is there.
 *
 * Must never keep state but in these files: each process of the server, each of its threads, calls it.
 */
#include <arpa/inet.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#define PATH_SIZE 4096
#define CERTS "/etc/ssl/certs"

/* The call that would have been made without us. */
#define NEXT(name) ((__typeof__(&name)) dlsym(RTLD_NEXT, #name))

/* ---- names ---- */

static bool
ends_with(const char *text, const char *end)
{
	size_t text_len = strlen(text);
	size_t len = strlen(end);

	return text_len >= len && strcasecmp(text + text_len - len, end) == 0;
}

/* The addresses of a name; false when there are none. */
static bool
read_name(const char *name, char *addresses, size_t size)
{
	char path[PATH_SIZE];
	char line[1024];
	size_t len = strlen(name);
	bool found = false;
	FILE *file;

	snprintf(path, sizeof(path), "%s/names", getenv("WORLD_DIR"));
	file = fopen(path, "re");
	if (file == NULL)
		return false;
	if (len > 0 && name[len - 1] == '.')
		len--;
	while (!found && fgets(line, sizeof(line), file) != NULL)
	{
		line[strcspn(line, "\n")] = '\0';
		if (strncasecmp(line, name, len) == 0 && line[len] == ' ')
		{
			snprintf(addresses, size, "%s", line + len + 1);
			found = true;
		}
	}
	fclose(file);
	return found;
}

static void
note_question(const char *name, const char *addresses)
{
	char path[PATH_SIZE];
	char line[1280];
	int len = snprintf(line, sizeof(line), "%.200s %s\n", name, addresses);
	int fd;

	snprintf(path, sizeof(path), "%s/asked", getenv("WORLD_DIR"));
	fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
	if (fd < 0)
		return;
	if (write(fd, line, (size_t) len) < 0)
		perror(path);
	close(fd);
}

/* Waits while nobody is to be answered, a minute at most. */
static void
hold(void)
{
	char path[PATH_SIZE];

	snprintf(path, sizeof(path), "%s/hold", getenv("WORLD_DIR"));
	for (int i = 0; i < 6000 && access(path, F_OK) == 0; i++)
		usleep(10000);
}

int
getaddrinfo(const char *name, const char *service, const struct addrinfo *hints, struct addrinfo **result)
{
	char addresses[1024] = "";
	struct addrinfo **tail = result;
	char *rest = addresses;
	char *address;
	int status = EAI_NONAME;

	if (getenv("WORLD_DIR") == NULL || name == NULL || strcmp(name, "localhost") == 0)
		return NEXT(getaddrinfo)(name, service, hints, result);
	if (!ends_with(name, ".test") && !ends_with(name, ".test.") && !ends_with(name, ".example"))
	{
		struct addrinfo numeric = {0};

		if (hints != NULL)
			numeric = *hints;
		numeric.ai_flags |= AI_NUMERICHOST;
		return NEXT(getaddrinfo)(name, service, &numeric, result);
	}
	if (!read_name(name, addresses, sizeof(addresses)))
		snprintf(addresses, sizeof(addresses), "nothing");
	note_question(name, addresses);
	hold();
	*result = NULL;
	while ((address = strsep(&rest, ",")) != NULL)
	{
		/* freeaddrinfo() frees the items of a list one by one, so lists may be joined */
		if (NEXT(getaddrinfo)(address, service, hints, tail) != 0)
			continue;
		status = 0;
		while (*tail != NULL)
			tail = &(*tail)->ai_next;
	}
	return status;
}

/* ---- the network ---- */

/* Where a connection to this address really goes; false: there as it is. */
static bool
leaves(const struct sockaddr *address, bool *refused)
{
	*refused = false;
	if (address->sa_family == AF_INET)
	{
		const struct sockaddr_in *in4 = (const struct sockaddr_in *) address;
		uint32_t host = ntohl(in4->sin_addr.s_addr);

		*refused = host == 0xC6290009; /* 198.41.0.9 */
		return host >> 24 != 127 || ntohs(in4->sin_port) < 1024;
	}
	if (address->sa_family == AF_INET6)
	{
		const struct sockaddr_in6 *in6 = (const struct sockaddr_in6 *) address;

		return !IN6_IS_ADDR_LOOPBACK(&in6->sin6_addr) || ntohs(in6->sin6_port) < 1024;
	}
	return false;
}

int
connect(int fd, const struct sockaddr *address, socklen_t size)
{
	struct sockaddr_in in4 = {.sin_family = AF_INET};
	struct sockaddr_in6 in6 = {.sin6_family = AF_INET6};
	const char *port = getenv("WORLD_PORT");
	bool refused;

	if (port == NULL || !leaves(address, &refused))
		return NEXT(connect)(fd, address, size);
	if (refused)
	{
		errno = ECONNREFUSED;
		return -1;
	}
	if (address->sa_family == AF_INET)
	{
		in4.sin_port = htons((uint16_t) atoi(port));
		in4.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
		return NEXT(connect)(fd, (struct sockaddr *) &in4, sizeof(in4));
	}
	in6.sin6_port = htons((uint16_t) atoi(port));
	inet_pton(AF_INET6, "::ffff:127.0.0.1", &in6.sin6_addr);
	return NEXT(connect)(fd, (struct sockaddr *) &in6, sizeof(in6));
}

/* ---- trusted authorities ---- */

/* The path that is meant: ours instead of the machine's. */
static const char *
certs_path(const char *path, char *buffer)
{
	const char *dir = getenv("WORLD_DIR");

	if (dir == NULL || path == NULL || strncmp(path, CERTS, strlen(CERTS)) != 0)
		return path;
	snprintf(buffer, PATH_SIZE, "%s/certs", dir);
	if (access(buffer, F_OK) != 0)
		return path;
	snprintf(buffer, PATH_SIZE, "%s/certs%s", dir, path + strlen(CERTS));
	return buffer;
}

FILE *
fopen(const char *path, const char *mode)
{
	char buffer[PATH_SIZE];

	return NEXT(fopen)(certs_path(path, buffer), mode);
}

FILE *
fopen64(const char *path, const char *mode)
{
	char buffer[PATH_SIZE];

	return NEXT(fopen64)(certs_path(path, buffer), mode);
}

int
stat(const char *path, struct stat *status)
{
	char buffer[PATH_SIZE];

	return NEXT(stat)(certs_path(path, buffer), status);
}
