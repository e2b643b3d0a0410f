/*
 * http_address.h
 *	  Room for the judgement of network addresses: which ones a request may never reach by accident.
 *	  Needs libc alone, so that a test program can use it without a server.
 */
#ifndef PAYOUT_HTTP_ADDRESS_H
#define PAYOUT_HTTP_ADDRESS_H

#include <stdbool.h>
#include <sys/socket.h>

/*
 * True unless the address is an ordinary one of the public internet: loopback, private, link-local,
 * unspecified, multicast, broadcast, reserved and documentation ranges are private, and so is an IPv6
 * address that carries such an IPv4 address (mapped, NAT64, 6to4). NULL and other families are private.
 */
extern bool http_guard_address_private(const struct sockaddr *address);

/* The same for the text form of an address, without brackets; text that is no address is private. */
extern bool http_guard_text_private(const char *text);

#endif /* PAYOUT_HTTP_ADDRESS_H */
