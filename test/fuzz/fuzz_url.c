/*
 * fuzz_url.c
 *		URLs of merchants and banks, payout.allow_hosts, and addresses. Input: a line with the list, then the URL.
 *
 * The guard is judged by another reader of addresses: whatever the C library takes for an address in this host (in
 * decimal, octal, hex or short form) must not be a private one, unless the host is listed.
 */
#include "postgres.h"

#include <arpa/inet.h>
#include <curl/curl.h>
#include <netdb.h>

#include "fuzz.h"
#include "http_guard.h"
#include "settings.h"

char *payout_allow_hosts = NULL;

/* A part of the URL as libcurl reads it when it connects; NULL when there is none. The caller frees it. */
static char *
part_of(const char *url, CURLUPart part)
{
	CURLU *parsed = curl_url();
	char *text = NULL;

	REQUIRE(parsed != NULL);
	if (curl_url_set(parsed, CURLUPART_URL, url, 0) == CURLUE_OK)
		(void) curl_url_get(parsed, part, &text, CURLU_DEFAULT_PORT);
	curl_url_cleanup(parsed);
	return text;
}

/* Is this text an address to the C library, and a private one? */
static bool
means_private_address(const char *host)
{
	struct addrinfo hints = {.ai_flags = AI_NUMERICHOST, .ai_socktype = SOCK_STREAM};
	struct addrinfo *found = NULL;
	char bare[300];
	bool private = false;

	snprintf(bare, sizeof(bare), "%s", host[0] == '[' ? host + 1 : host);
	if (host[0] == '[' && strlen(bare) > 0)
		bare[strlen(bare) - 1] = '\0';
	if (getaddrinfo(bare, NULL, &hints, &found) != 0)
		return false;
	for (struct addrinfo *a = found; a != NULL; a = a->ai_next)
	private = private || http_guard_address_private(a->ai_addr);
	freeaddrinfo(found);
	return private;
}

static void
check_url(const char *url)
{
	char error[128];
	bool allowed;
	char *scheme;
	char *host;

	if (!http_guard_url(url, &allowed, error, sizeof(error)))
	{
		REQUIRE(error[0] != '\0' && !allowed);
		return;
	}
	for (const char *c = url; *c != '\0'; c++)
		REQUIRE((unsigned char) *c > ' ' && *c != 0x7F);
	scheme = part_of(url, CURLUPART_SCHEME);
	host = part_of(url, CURLUPART_HOST);
	REQUIRE(scheme != NULL && host != NULL);
	REQUIRE(strcmp(scheme, "https") == 0 || (strcmp(scheme, "http") == 0 && allowed));
	REQUIRE(part_of(url, CURLUPART_USER) == NULL && part_of(url, CURLUPART_PASSWORD) == NULL);
	REQUIRE(allowed || !means_private_address(host));
	REQUIRE(!allowed || payout_allow_hosts[0] != '\0');
	curl_free(scheme);
	curl_free(host);
}

/* An address in text form is judged as the same address in binary form. */
static void
check_address(const char *text)
{
	struct sockaddr_in in4 = {.sin_family = AF_INET};
	struct sockaddr_in6 in6 = {.sin6_family = AF_INET6};

	if (inet_pton(AF_INET, text, &in4.sin_addr) == 1)
		REQUIRE(http_guard_text_private(text) == http_guard_address_private((struct sockaddr *) &in4));
	else if (inet_pton(AF_INET6, text, &in6.sin6_addr) == 1)
		REQUIRE(http_guard_text_private(text) == http_guard_address_private((struct sockaddr *) &in6));
	else
		REQUIRE(http_guard_text_private(text));
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char *rest;
	char *url;

	payout_allow_hosts = fuzz_line(&data, &size);
	rest = fuzz_rest(data, size);
	url = malloc(size + 1);
	memcpy(url, rest, size);
	url[size] = '\0';
	check_url(url);
	check_address(url);
	free(url);
	free(rest);
	free(payout_allow_hosts);
	return 0;
}
