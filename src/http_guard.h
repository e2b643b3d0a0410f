/*
 * http_guard.h
 *	  Room for the rules on where a request may go: URLs of merchants are hostile input.
 *	  The HTTP client enters for each request; functions that store a URL may ask beforehand.
 */
#ifndef PAYOUT_HTTP_GUARD_H
#define PAYOUT_HTTP_GUARD_H

#include <stddef.h>

#include "http_address.h"

/*
 * True when a request may be made to url: absolute, https (http only when its host is listed in
 * payout.allow_hosts), no user name or password, a host of plain ASCII, and no literal private address unless
 * listed. *host_allowed (may be NULL) tells whether the host is listed, which frees it from the test of its
 * addresses. On false, error (error_size > 0 bytes) holds the reason; it never repeats the URL. Raises no
 * error and allocates nothing with palloc, so it may be called anywhere.
 */
extern bool http_guard_url(const char *url, bool *host_allowed, char *error, size_t error_size);

/*
 * True when a socket may be opened to the resolved address, or used to the address in text form, on behalf of
 * a URL whose host_allowed is given. For use inside callbacks of libcurl.
 */
extern bool http_guard_address(const struct sockaddr *address, bool host_allowed);
extern bool http_guard_text(const char *address, bool host_allowed);

#endif /* PAYOUT_HTTP_GUARD_H */
