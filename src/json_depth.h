/*
 * json_depth.h: what a JSON text shows without a parser: how deep it nests, and how many members it names.
 * Knows nothing of PostgreSQL, so that it is tested and fuzzed by itself; only json_read.c enters.
 */
#ifndef PAYOUT_JSON_DEPTH_H
#define PAYOUT_JSON_DEPTH_H

#include <stdbool.h>
#include <stddef.h>

/* Whether a parser of this text would have more than depth_max brackets open at one moment. Any bytes are tolerated. */
extern bool json_deeper_than(const char *text, size_t size, int depth_max);

/* How many members all its objects have together, one that stands twice counted twice. The text is known to be JSON. */
extern size_t json_member_count(const char *text, size_t size);

#endif /* PAYOUT_JSON_DEPTH_H */
