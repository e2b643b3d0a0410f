/*
 * http_guard.c
 *	  Where a request may go.
 *
 * Owns the rules on URLs and the reading of payout.allow_hosts, a list separated by commas of host names or
 * addresses, each with or without a port: "bank.example, 10.1.2.3, 127.0.0.1:8080, [::1]:8080, fd00::7".
 * An entry without a port allows every port of its host. Names are compared as names: a name is not resolved
 * to be compared with an address.
 *
 * The URL is taken apart by libcurl, because two parsers that disagree are how such rules are usually passed
 * by. The address is judged again when the socket is opened and once more before the request is written: a
 * name may answer differently each time it is asked, and a kept connection may be older than the setting.
 *
 * Never resolves, never connects, never raises an error, never uses palloc. Called by http.c, also from inside
 * callbacks of libcurl, and by functions that store a URL.
 */
#include "postgres.h"

#include <arpa/inet.h>
#include <curl/curl.h>
#include <netinet/in.h>

#include "http_guard.h"
#include "settings.h"

/* A URL longer than this is no honest one. */
#define URL_BYTES_MAX 2048

/* A host name has 253 characters at most; an address in brackets is shorter. */
#define HOST_BYTES_MAX 256

typedef struct HostPort
{
	char host[HOST_BYTES_MAX]; /* lower case, no brackets, no dot at the end */
	int port;				   /* 0: any */
} HostPort;

/*
 * Copies a host in the form it is compared in. False when it is empty or too long.
 */
static bool
normalise_host(const char *text, size_t length, char *host)
{
	size_t i;

	if (length >= 2 && text[0] == '[' && text[length - 1] == ']')
	{
		text++;
		length -= 2;
	}
	if (length > 1 && text[length - 1] == '.')
		length--;
	if (length == 0 || length >= HOST_BYTES_MAX)
		return false;

	for (i = 0; i < length; i++)
		host[i] = (char) pg_ascii_tolower((unsigned char) text[i]);
	host[length] = '\0';
	return true;
}

/*
 * The port in length digits, or -1.
 */
static int
parse_port(const char *digits, size_t length)
{
	int port = 0;
	size_t i;

	if (length == 0 || length > 5)
		return -1;
	for (i = 0; i < length; i++)
	{
		if (digits[i] < '0' || digits[i] > '9')
			return -1;
		port = port * 10 + (digits[i] - '0');
	}
	return (port >= 1 && port <= 65535) ? port : -1;
}

/*
 * Takes one entry of the list apart. A bare IPv6 address has several colons and no port; one in brackets may
 * have a port. False for an entry that makes no sense, which then allows nothing.
 */
static bool
parse_entry(const char *entry, size_t length, HostPort *result)
{
	const char *colon = NULL;
	const char *end = entry + length;
	const char *p;
	int colons = 0;

	result->port = 0;
	if (length > 0 && entry[0] == '[')
	{
		const char *bracket = memchr(entry, ']', length);

		if (bracket == NULL)
			return false;
		if (bracket + 1 < end)
		{
			if (bracket[1] != ':')
				return false;
			colon = bracket + 1;
		}
	}
	else
	{
		for (p = entry; p < end; p++)
		{
			if (*p == ':')
			{
				colon = p;
				colons++;
			}
		}
		if (colons > 1)
			colon = NULL;
	}

	if (colon != NULL)
	{
		result->port = parse_port(colon + 1, (size_t) (end - colon - 1));
		if (result->port < 0)
			return false;
		length = (size_t) (colon - entry);
	}
	return normalise_host(entry, length, result->host);
}

static bool
is_blank(char c)
{
	return c == ' ' || c == '\t' || c == '\n' || c == '\r';
}

/*
 * Is the host with this port in payout.allow_hosts? The list is short and read once per request.
 */
static bool
listed(const HostPort *wanted)
{
	const char *p = payout_allow_hosts;
	HostPort entry;

	while (p != NULL && *p != '\0')
	{
		const char *start = p;
		const char *end;

		while (*p != '\0' && *p != ',')
			p++;
		end = p;
		if (*p == ',')
			p++;

		while (start < end && is_blank(*start))
			start++;
		while (end > start && is_blank(end[-1]))
			end--;

		if (parse_entry(start, (size_t) (end - start), &entry) && strcmp(entry.host, wanted->host) == 0 &&
			(entry.port == 0 || entry.port == wanted->port))
			return true;
	}
	return false;
}

/*
 * Copies one part of a parsed URL; false when the part is missing or does not fit.
 */
static bool
url_part(CURLU *parsed, CURLUPart part, unsigned int flags, char *buffer, size_t size)
{
	char *text = NULL;
	bool fits;

	if (curl_url_get(parsed, part, &text, flags) != CURLUE_OK || text == NULL)
		return false;
	fits = strlcpy(buffer, text, size) < size;
	curl_free(text);
	return fits;
}

/*
 * Host and port of a parsed URL, checked for what no honest host contains.
 */
static bool
url_host_port(CURLU *parsed, HostPort *result)
{
	char host[HOST_BYTES_MAX];
	char port[8];
	const char *p;

	if (!url_part(parsed, CURLUPART_HOST, 0, host, sizeof(host)) ||
		!url_part(parsed, CURLUPART_PORT, CURLU_DEFAULT_PORT, port, sizeof(port)))
		return false;
	for (p = host; *p != '\0'; p++)
	{
		if ((unsigned char) *p <= ' ' || (unsigned char) *p >= 0x7F)
			return false;
	}
	result->port = parse_port(port, strlen(port));
	return result->port > 0 && normalise_host(host, strlen(host), result->host);
}

/*
 * A literal address can be judged without opening a socket. A host of digits and dots or with a colon is
 * meant as an address; so is what the C library would read as one: libcurl writes numbers in hex, in octal and
 * in short forms out, but not where part of one is percent-encoded. Anything else is a name, to be judged when
 * it is resolved.
 */
static bool
is_private_literal(const char *host)
{
	struct sockaddr_in in4 = {.sin_family = AF_INET};

	if (strchr(host, ':') != NULL || strspn(host, "0123456789.") == strlen(host))
		return http_guard_text_private(host);
	return inet_aton(host, &in4.sin_addr) != 0 && http_guard_address_private((struct sockaddr *) &in4);
}

/*
 * The reason why a parsed URL is refused, or NULL.
 */
static const char *
refusal(CURLU *parsed, bool *host_allowed)
{
	HostPort target;
	char text[URL_BYTES_MAX];
	char scheme[8];

	if (url_part(parsed, CURLUPART_USER, 0, text, sizeof(text)) ||
		url_part(parsed, CURLUPART_PASSWORD, 0, text, sizeof(text)))
		return "URL contains a user name or password";
	if (!url_host_port(parsed, &target))
		return "URL has no usable host and port";

	*host_allowed = listed(&target);
	if (!url_part(parsed, CURLUPART_SCHEME, 0, scheme, sizeof(scheme)))
		return "URL has no usable scheme";
	if (strcmp(scheme, "https") != 0 && strcmp(scheme, "http") != 0)
		return "URL is not https";
	if (strcmp(scheme, "https") != 0 && !*host_allowed)
		return "URL is not https and its host is not in payout.allow_hosts";
	if (!*host_allowed && is_private_literal(target.host))
		return "address is private and not in payout.allow_hosts";
	return NULL;
}

bool
http_guard_url(const char *url, bool *host_allowed, char *error, size_t error_size)
{
	CURLU *parsed;
	const char *reason;
	bool allowed = false;

	if (host_allowed != NULL)
		*host_allowed = false;
	error[0] = '\0';

	if (url == NULL || url[0] == '\0' || strnlen(url, URL_BYTES_MAX + 1) > URL_BYTES_MAX)
	{
		snprintf(error, error_size, "URL is empty or longer than %d bytes", URL_BYTES_MAX);
		return false;
	}

	parsed = curl_url();
	if (parsed == NULL)
		reason = "out of memory";
	else if (curl_url_set(parsed, CURLUPART_URL, url, CURLU_DISALLOW_USER) != CURLUE_OK)
		reason = "URL is malformed, of an unknown scheme, or contains a user name";
	else
		reason = refusal(parsed, &allowed);
	curl_url_cleanup(parsed);

	if (reason != NULL)
	{
		strlcpy(error, reason, error_size);
		return false;
	}
	if (host_allowed != NULL)
		*host_allowed = allowed;
	return true;
}

bool
http_guard_address(const struct sockaddr *address, bool host_allowed)
{
	return host_allowed || !http_guard_address_private(address);
}

bool
http_guard_text(const char *address, bool host_allowed)
{
	return host_allowed || !http_guard_text_private(address);
}
