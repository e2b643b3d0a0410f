/*
 * test_address.c
 *		Addresses that a request may reach by accident, and those it may not: both ends of each range.
 */
#include "http_address.h"
#include "unit.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stddef.h>
#include <string.h>

static const char *const private_addresses[] = {
	"0.0.0.0", "0.255.255.255", "10.0.0.0", "10.255.255.255", "100.64.0.0", "100.127.255.255", "127.0.0.0",
	"127.0.0.1", "127.255.255.255", "169.254.0.0", "169.254.169.254", "169.254.255.255", "172.16.0.0",
	"172.31.255.255", "192.0.0.0", "192.0.0.255", "192.0.2.1", "192.88.99.1", "192.168.0.0",
	"192.168.255.255", "198.18.0.0", "198.19.255.255", "198.51.100.7", "203.0.113.7", "224.0.0.0",
	"239.255.255.255", "240.0.0.0", "255.255.255.255",
	/* loopback, unspecified, mapped, compatible, NAT64, 6to4, Teredo, documentation, unique local, link-local, multicast */
	"::", "::1", "::ffff:127.0.0.1", "::ffff:10.0.0.1", "::127.0.0.1", "::8.8.8.8", "64:ff9b::7f00:1",
	"64:ff9b::a9fe:a9fe", "64:ff9b:1::808:808", "2002:7f00:1::", "2002:a9fe:a9fe::1", "2001::1",
	"2001:1ff:ffff::", "2001:db8::1", "3fff::1", "3fff:fff:ffff::", "fc00::", "fd00::7",
	"fdff:ffff::", "fe80::1", "febf::1", "fec0::1", "ff02::1", "ffff::", "4000::", "1fff:ffff::", "100::1",
	"5f00::1",
	/* what is no address */
	"", "localhost", "127.1", "0x7f.0.0.1", "[::1]", "1.2.3.4.5", "::1%lo", " 8.8.8.8"};

static const char *const public_addresses[] = {"1.0.0.0",
											   "8.8.8.8",
											   "9.255.255.255",
											   "11.0.0.0",
											   "100.63.255.255",
											   "100.128.0.0",
											   "126.255.255.255",
											   "128.0.0.0",
											   "169.253.255.255",
											   "169.255.0.0",
											   "172.15.255.255",
											   "172.32.0.0",
											   "191.255.255.255",
											   "192.0.1.0",
											   "192.0.3.0",
											   "192.88.98.255",
											   "192.88.100.0",
											   "192.167.255.255",
											   "192.169.0.0",
											   "198.17.255.255",
											   "198.20.0.0",
											   "198.51.99.255",
											   "198.51.101.0",
											   "203.0.112.255",
											   "203.0.114.0",
											   "223.255.255.255",
											   "2000::1",
											   "2001:200::1",
											   "2001:4860:4860::8888",
											   "2001:db7::1",
											   "2001:db9::1",
											   "3ffe::1",
											   "3fff:1000::",
											   "2606:4700::1111",
											   "::ffff:8.8.8.8",
											   "64:ff9b::808:808",
											   "2002:808:808::1"};

/* The same address in binary form; true as well for what is no address. */
static bool
is_private_in_binary(const char *text)
{
	struct sockaddr_in in4 = {.sin_family = AF_INET};
	struct sockaddr_in6 in6 = {.sin6_family = AF_INET6};

	if (inet_pton(AF_INET, text, &in4.sin_addr) == 1)
		return http_guard_address_private((const struct sockaddr *) &in4);
	if (inet_pton(AF_INET6, text, &in6.sin6_addr) == 1)
		return http_guard_address_private((const struct sockaddr *) &in6);
	return true;
}

void
test_address(void)
{
	struct sockaddr other = {.sa_family = AF_UNIX};
	size_t i;

	for (i = 0; i < sizeof(private_addresses) / sizeof(private_addresses[0]); i++)
		ok(http_guard_text_private(private_addresses[i]) && is_private_in_binary(private_addresses[i]),
		   "\"%s\" is private", private_addresses[i]);
	for (i = 0; i < sizeof(public_addresses) / sizeof(public_addresses[0]); i++)
		ok(!http_guard_text_private(public_addresses[i]) && !is_private_in_binary(public_addresses[i]),
		   "\"%s\" is public", public_addresses[i]);
	ok(http_guard_text_private(NULL) && http_guard_address_private(NULL), "no address is private");
	ok(http_guard_address_private(&other), "so is one of another family");
}
