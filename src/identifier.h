/*
 * identifier.h: ids that are not TXIDs: time-ordered uuids and the external ids of HTTP requests.
 * Anyone in the extension may enter.
 */
#ifndef PAYOUT_IDENTIFIER_H
#define PAYOUT_IDENTIFIER_H

#include "utils/uuid.h"

#define EXTERNAL_ID_SIZE 29 /* 28 digits and the end */

/* A uuid of version 7 (RFC 9562, section 5.7): milliseconds since 1970, then random bits. Raises without entropy. */
extern void identifier_uuid(pg_uuid_t *out);

/* 28 digits: milliseconds since 1970 (13) and random digits (15). Raises without entropy. */
extern void identifier_external(char out[EXTERNAL_ID_SIZE]);

#endif /* PAYOUT_IDENTIFIER_H */
