/*
 * json_read.h: bounded reading of JSON that strangers wrote.
 * For the protocols, the inbound side and SQL; needs no transaction.
 */
#ifndef PAYOUT_JSON_READ_H
#define PAYOUT_JSON_READ_H

#include "utils/jsonb.h"

#define JSON_BYTES_MAX (1024 * 1024)
#define JSON_DEPTH_MAX 32

/* Of an answer to a question of ours, which is short. */
#define JSON_ANSWER_BYTES_MAX (64 * 1024)
#define JSON_ANSWER_MEMBERS_MAX 1000

/*
 * The text as jsonb in the current memory context; NULL when it is no JSON, not valid in the server's encoding, longer
 * than JSON_BYTES_MAX, nested deeper than JSON_DEPTH_MAX, holds what jsonb cannot (a NUL, a number out of range), or has
 * an object that names a member twice: whoever looks at the other one than we do reads another message (RFC 8259, 4).
 * Characters that the server's encoding lacks, escaped or not, are read as UTF8_SUBSTITUTE. Raises nothing but out of
 * memory.
 */
extern Jsonb *json_read(const char *body, size_t size);

/*
 * The same of the bytes of an answer, which are UTF-8 whatever the server's encoding is; NULL also beyond the two limits
 * of an answer.
 */
extern Jsonb *json_read_answer(const char *body, size_t size);

/* The scalar at the path (names, ended by NULL) as palloc'ed text; NULL when there is none, or it is null or no scalar. */
extern char *json_text(const Jsonb *json, ...);

/* Whether there is anything at the path but null, or something else than an object on the way to it. */
extern bool json_names(const Jsonb *json, ...);

#endif /* PAYOUT_JSON_READ_H */
