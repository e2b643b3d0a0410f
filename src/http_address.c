/*
 * http_address.c
 *	  Which network addresses are private.
 *
 * Owns the table of ranges of the IANA special-purpose registries. For IPv6 the rule is turned round: only
 * 2000::/3 is handed out to the public, so all else is private without being listed. When in doubt, private:
 * a wrong refusal is a message to the operator, who can list the host; a wrong pass is a hole.
 *
 * Never allocates, never resolves, never includes a header of PostgreSQL. Called by http_guard.c and by
 * unit tests.
 */
#include "http_address.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

typedef struct Range4
{
	uint32_t prefix; /* host byte order */
	int bits;		 /* 1..32 */
} Range4;

typedef struct Range6
{
	uint8_t prefix[16];
	int bits; /* 1..128 */
} Range6;

static const Range4 private4[] = {
	{0x00000000, 8},  /* 0.0.0.0/8 this network, unspecified */
	{0x0A000000, 8},  /* 10.0.0.0/8 private */
	{0x64400000, 10}, /* 100.64.0.0/10 shared with a carrier */
	{0x7F000000, 8},  /* 127.0.0.0/8 loopback */
	{0xA9FE0000, 16}, /* 169.254.0.0/16 link-local, metadata services */
	{0xAC100000, 12}, /* 172.16.0.0/12 private */
	{0xC0000000, 24}, /* 192.0.0.0/24 protocol assignments */
	{0xC0000200, 24}, /* 192.0.2.0/24 documentation */
	{0xC0586300, 24}, /* 192.88.99.0/24 6to4 relays, withdrawn */
	{0xC0A80000, 16}, /* 192.168.0.0/16 private */
	{0xC6120000, 15}, /* 198.18.0.0/15 benchmarks */
	{0xC6336400, 24}, /* 198.51.100.0/24 documentation */
	{0xCB007100, 24}, /* 203.0.113.0/24 documentation */
	{0xE0000000, 4},  /* 224.0.0.0/4 multicast */
	{0xF0000000, 4}	  /* 240.0.0.0/4 reserved, broadcast */
};

/* inside 2000::/3 */
static const Range6 private6[] = {
	{{0x20, 0x01, 0x00}, 23},		/* 2001::/23 protocol assignments: Teredo, benchmarks, ORCHID */
	{{0x20, 0x01, 0x0d, 0xb8}, 32}, /* 2001:db8::/32 documentation */
	{{0x3f, 0xff, 0x00}, 20}		/* 3fff::/20 documentation */
};

static const Range6 public6 = {{0x20}, 3};					/* 2000::/3 */
static const Range6 sixtofour = {{0x20, 0x02}, 16};			/* 2002::/16, IPv4 in bytes 2..5 */
static const Range6 nat64 = {{0x00, 0x64, 0xff, 0x9b}, 96}; /* 64:ff9b::/96, IPv4 in bytes 12..15 */
static const Range6 mapped = {{0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff}, 96}; /* ::ffff:0:0/96, likewise */

static bool
in_range4(uint32_t address, const Range4 *range)
{
	uint32_t mask = UINT32_MAX << (32 - range->bits);

	return (address & mask) == (range->prefix & mask);
}

static bool
in_range6(const uint8_t *address, const Range6 *range)
{
	int whole = range->bits / 8;
	int rest = range->bits % 8;
	uint8_t mask;

	if (memcmp(address, range->prefix, (size_t) whole) != 0)
		return false;
	if (rest == 0)
		return true;
	mask = (uint8_t) (0xFF << (8 - rest));
	return (address[whole] & mask) == (range->prefix[whole] & mask);
}

/* address: 4 bytes in network order */
static bool
is_private4(const uint8_t *address)
{
	uint32_t host_order;
	size_t i;

	host_order = ((uint32_t) address[0] << 24) | ((uint32_t) address[1] << 16) |
				 ((uint32_t) address[2] << 8) | (uint32_t) address[3];

	for (i = 0; i < sizeof(private4) / sizeof(private4[0]); i++)
	{
		if (in_range4(host_order, &private4[i]))
			return true;
	}
	return false;
}

/* address: 16 bytes in network order */
static bool
is_private6(const uint8_t *address)
{
	size_t i;

	/* a packet to these ends at the IPv4 address inside */
	if (in_range6(address, &mapped) || in_range6(address, &nat64))
		return is_private4(address + 12);
	if (in_range6(address, &sixtofour))
		return is_private4(address + 2);

	if (!in_range6(address, &public6))
		return true;
	for (i = 0; i < sizeof(private6) / sizeof(private6[0]); i++)
	{
		if (in_range6(address, &private6[i]))
			return true;
	}
	return false;
}

bool
http_guard_address_private(const struct sockaddr *address)
{
	/* memcpy: a sockaddr handed over by a library need not be aligned for what it holds */
	if (address == NULL)
		return true;
	if (address->sa_family == AF_INET)
	{
		struct sockaddr_in in4;

		memcpy(&in4, address, sizeof(in4));
		return is_private4((const uint8_t *) &in4.sin_addr);
	}
	if (address->sa_family == AF_INET6)
	{
		struct sockaddr_in6 in6;

		memcpy(&in6, address, sizeof(in6));
		return is_private6((const uint8_t *) &in6.sin6_addr);
	}
	return true;
}

bool
http_guard_text_private(const char *text)
{
	uint8_t bytes[16];

	if (text == NULL)
		return true;
	if (inet_pton(AF_INET, text, bytes) == 1)
		return is_private4(bytes);
	if (inet_pton(AF_INET6, text, bytes) == 1)
		return is_private6(bytes);
	return true;
}
