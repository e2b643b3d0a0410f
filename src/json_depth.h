/*
 * json_depth.h: how deep a JSON text nests, seen before any parser recurses into it.
 * Knows nothing of PostgreSQL, so that it is tested and fuzzed by itself; only json_read.c enters.
 */
#ifndef PAYOUT_JSON_DEPTH_H
#define PAYOUT_JSON_DEPTH_H

#include <stdbool.h>
#include <stddef.h>

/* Whether a parser of this text would have more than depth_max brackets open at one moment. Any bytes are tolerated. */
extern bool json_deeper_than(const char *text, size_t size, int depth_max);

#endif /* PAYOUT_JSON_DEPTH_H */
