/*
 * util.h: small tools without knowledge of banks: memory, time, money, text encodings, a hash table, a seeded generator.
 * Every file of the sandbox may enter; nothing here may include another header of the sandbox.
 */
#ifndef SANDBOX_UTIL_H
#define SANDBOX_UTIL_H

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Memory: never return NULL, the process ends instead. A NULL text is copied as "". */
extern void *xmalloc(size_t size);
extern void *xrealloc(void *old, size_t size);
extern char *xstrdup(const char *text);
extern void die(const char *format, ...) __attribute__((noreturn, format(printf, 1, 2)));

/* Time in milliseconds since 1970; texts are Jakarta time, seconds precision: 2025-01-31T09:15:00+07:00. */
#define TIME_TEXT_SIZE 32
extern int64_t now_ms(void);
extern void wait_until(pthread_cond_t *changed, pthread_mutex_t *lock, int64_t until_ms);
extern void time_format(char *out, int64_t at_ms);
extern bool time_parse(const char *text, int64_t *at_ms);
extern void day_format(char *out, int64_t at_ms);

/* Money: whole cents only. Text is digits, a point and exactly two decimals. */
#define MONEY_TEXT_SIZE 32
extern bool money_parse(const char *text, int64_t *cents);
extern void money_format(char *out, int64_t cents);

/* Encodings. The encoders return malloc'ed text; the decoder returns malloc'ed bytes, or NULL for bad input. */
extern char *hex_encode(const unsigned char *bytes, size_t size);
extern char *base64_encode(const unsigned char *bytes, size_t size);
extern unsigned char *base64_decode(const char *text, size_t *size);

/* A growing byte buffer; data is NUL-terminated once something was added. */
typedef struct Buffer
{
	char *data;
	size_t size;
	size_t room;
} Buffer;

extern void buffer_add(Buffer *buffer, const void *bytes, size_t size);
extern void buffer_free(Buffer *buffer);

/* Text-keyed hash table; keys are copied, values are the caller's. */
typedef struct Hash Hash;

extern Hash *hash_new(void);
extern void *hash_get(const Hash *hash, const char *key);
extern void hash_put(Hash *hash, const char *key, void *value);
extern void *hash_remove(Hash *hash, const char *key);
extern void hash_each(const Hash *hash, void (*visit)(const char *key, void *value, void *arg), void *arg);
extern size_t hash_count(const Hash *hash);
extern void hash_free(Hash *hash);

/* Seeded generator, not for secrets. random_unit() is in [0, 1). */
extern void random_seed(uint64_t seed);
extern uint64_t random_next(void);
extern double random_unit(void);

#endif
