/*
 * util.c: memory, time, money, encodings, buffer, hash table and generator of the sandbox.
 * It must never hold a floating point amount and never know what a bank is. Called by every other file; nothing here locks.
 */
#include "util.h"

#include <ctype.h>
#include <openssl/evp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define JAKARTA_OFFSET_S (7 * 3600)
#define MONEY_DIGITS_MAX 16

typedef struct HashNode
{
	struct HashNode *next;
	uint64_t hash;
	void *value;
	char key[];
} HashNode;

struct Hash
{
	HashNode **slots;
	size_t slot_count;
	size_t count;
};

static uint64_t random_state = 1;

void
die(const char *format, ...)
{
	va_list args;

	va_start(args, format);
	fputs("sandbox: ", stderr);
	vfprintf(stderr, format, args);
	fputc('\n', stderr);
	va_end(args);
	exit(2);
}

void *
xmalloc(size_t size)
{
	void *result = malloc(size > 0 ? size : 1);

	if (result == NULL)
		die("out of memory");
	return result;
}

void *
xrealloc(void *old, size_t size)
{
	void *result = realloc(old, size > 0 ? size : 1);

	if (result == NULL)
		die("out of memory");
	return result;
}

char *
xstrdup(const char *text)
{
	size_t size = (text == NULL) ? 1 : strlen(text) + 1;
	char *result = xmalloc(size);

	memcpy(result, text == NULL ? "" : text, size);
	return result;
}

int64_t
now_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_REALTIME, &now);
	return (int64_t) now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

/* Waits for the condition, no longer than to that moment. The lock is held. */
void
wait_until(pthread_cond_t *changed, pthread_mutex_t *lock, int64_t until_ms)
{
	struct timespec until = {until_ms / 1000, (until_ms % 1000) * 1000000};

	pthread_cond_timedwait(changed, lock, &until);
}

void
time_format(char *out, int64_t at_ms)
{
	time_t seconds = (time_t) (at_ms / 1000 + JAKARTA_OFFSET_S);
	struct tm parts;

	gmtime_r(&seconds, &parts);
	strftime(out, TIME_TEXT_SIZE, "%Y-%m-%dT%H:%M:%S+07:00", &parts);
}

void
day_format(char *out, int64_t at_ms)
{
	time_t seconds = (time_t) (at_ms / 1000 + JAKARTA_OFFSET_S);
	struct tm parts;

	gmtime_r(&seconds, &parts);
	strftime(out, 16, "%Y%m%d", &parts);
}

/* Reads count digits at *text into *value and moves on. */
static bool
take_digits(const char **text, int count, int *value)
{
	*value = 0;
	for (; count > 0; count--, (*text)++)
	{
		if (**text < '0' || **text > '9')
			return false;
		*value = *value * 10 + (**text - '0');
	}
	return true;
}

static bool
take_char(const char **text, char wanted)
{
	if (**text != wanted)
		return false;
	(*text)++;
	return true;
}

/* The zone part: Z or +hh:mm, as seconds east of Greenwich. */
static bool
take_zone(const char **text, int *offset_s)
{
	int hours;
	int minutes;
	char sign = **text;

	*offset_s = 0;
	if (sign == 'Z')
	{
		(*text)++;
		return true;
	}
	if (sign != '+' && sign != '-')
		return false;
	(*text)++;
	if (!take_digits(text, 2, &hours) || !take_char(text, ':') || !take_digits(text, 2, &minutes) ||
		hours > 14 || minutes > 59)
		return false;
	*offset_s = (hours * 3600 + minutes * 60) * (sign == '-' ? -1 : 1);
	return true;
}

/* yyyy-MM-ddTHH:mm:ss, an optional fraction of milliseconds, then Z or an offset; nothing else is a time. */
bool
time_parse(const char *text, int64_t *at_ms)
{
	struct tm parts;
	int millis = 0;
	int offset_s;
	const char *rest = text;

	memset(&parts, 0, sizeof(parts));
	if (!take_digits(&rest, 4, &parts.tm_year) || !take_char(&rest, '-') ||
		!take_digits(&rest, 2, &parts.tm_mon) || !take_char(&rest, '-') ||
		!take_digits(&rest, 2, &parts.tm_mday) || !take_char(&rest, 'T') ||
		!take_digits(&rest, 2, &parts.tm_hour) || !take_char(&rest, ':') ||
		!take_digits(&rest, 2, &parts.tm_min) || !take_char(&rest, ':') ||
		!take_digits(&rest, 2, &parts.tm_sec))
		return false;
	if (*rest == '.' && (rest++, !take_digits(&rest, 3, &millis)))
		return false;
	if (!take_zone(&rest, &offset_s) || *rest != '\0')
		return false;
	if (parts.tm_mon < 1 || parts.tm_mon > 12 || parts.tm_mday < 1 || parts.tm_mday > 31 ||
		parts.tm_hour > 23 || parts.tm_min > 59 || parts.tm_sec > 60 || parts.tm_year < 1970)
		return false;
	parts.tm_year -= 1900;
	parts.tm_mon -= 1;
	*at_ms = ((int64_t) timegm(&parts) - offset_s) * 1000 + millis;
	return true;
}

bool
money_parse(const char *text, int64_t *cents)
{
	int digits = 0;
	int64_t value = 0;

	if (text == NULL)
		return false;
	for (; isdigit((unsigned char) *text); text++)
	{
		if (++digits > MONEY_DIGITS_MAX)
			return false;
		value = value * 10 + (*text - '0');
	}
	if (digits == 0 || text[0] != '.' || !isdigit((unsigned char) text[1]) ||
		!isdigit((unsigned char) text[2]) || text[3] != '\0')
		return false;
	*cents = value * 100 + (text[1] - '0') * 10 + (text[2] - '0');
	return true;
}

void
money_format(char *out, int64_t cents)
{
	int64_t whole = cents < 0 ? -cents : cents;

	snprintf(out, MONEY_TEXT_SIZE, "%s%lld.%02d", cents < 0 ? "-" : "", (long long) (whole / 100),
			 (int) (whole % 100));
}

char *
hex_encode(const unsigned char *bytes, size_t size)
{
	static const char digits[] = "0123456789abcdef";
	char *out = xmalloc(size * 2 + 1);
	size_t i;

	for (i = 0; i < size; i++)
	{
		out[i * 2] = digits[bytes[i] >> 4];
		out[i * 2 + 1] = digits[bytes[i] & 15];
	}
	out[size * 2] = '\0';
	return out;
}

char *
base64_encode(const unsigned char *bytes, size_t size)
{
	char *out = xmalloc((size + 2) / 3 * 4 + 1);

	EVP_EncodeBlock((unsigned char *) out, bytes, (int) size);
	return out;
}

unsigned char *
base64_decode(const char *text, size_t *size)
{
	size_t length = strlen(text);
	unsigned char *out;
	int decoded;

	if (length == 0 || length % 4 != 0)
		return NULL;
	out = xmalloc(length / 4 * 3 + 1);
	decoded = EVP_DecodeBlock(out, (const unsigned char *) text, (int) length);
	if (decoded < 0)
	{
		free(out);
		return NULL;
	}
	/* EVP_DecodeBlock counts padding as bytes */
	decoded -= (text[length - 1] == '=') + (text[length - 2] == '=');
	*size = (size_t) decoded;
	return out;
}

void
buffer_add(Buffer *buffer, const void *bytes, size_t size)
{
	if (buffer->size + size + 1 > buffer->room)
	{
		buffer->room = (buffer->size + size + 1) * 2;
		buffer->data = xrealloc(buffer->data, buffer->room);
	}
	memcpy(buffer->data + buffer->size, bytes, size);
	buffer->size += size;
	buffer->data[buffer->size] = '\0';
}

void
buffer_free(Buffer *buffer)
{
	free(buffer->data);
	memset(buffer, 0, sizeof(*buffer));
}

/* FNV-1a: good enough for references that a test makes up. */
static uint64_t
hash_text(const char *key)
{
	uint64_t hash = UINT64_C(14695981039346656037);

	for (; *key != '\0'; key++)
		hash = (hash ^ (unsigned char) *key) * UINT64_C(1099511628211);
	return hash ^ (hash >> 29);
}

Hash *
hash_new(void)
{
	Hash *hash = xmalloc(sizeof(Hash));

	hash->slot_count = 1024;
	hash->count = 0;
	hash->slots = xmalloc(hash->slot_count * sizeof(HashNode *));
	memset(hash->slots, 0, hash->slot_count * sizeof(HashNode *));
	return hash;
}

static HashNode **
hash_place(const Hash *hash, const char *key, uint64_t code)
{
	HashNode **place = &hash->slots[code & (hash->slot_count - 1)];

	while (*place != NULL && ((*place)->hash != code || strcmp((*place)->key, key) != 0))
		place = &(*place)->next;
	return place;
}

static void
hash_grow(Hash *hash)
{
	HashNode **old = hash->slots;
	size_t old_count = hash->slot_count;
	size_t i;

	hash->slot_count *= 4;
	hash->slots = xmalloc(hash->slot_count * sizeof(HashNode *));
	memset(hash->slots, 0, hash->slot_count * sizeof(HashNode *));
	for (i = 0; i < old_count; i++)
	{
		while (old[i] != NULL)
		{
			HashNode *node = old[i];
			HashNode **place = &hash->slots[node->hash & (hash->slot_count - 1)];

			old[i] = node->next;
			node->next = *place;
			*place = node;
		}
	}
	free(old);
}

void *
hash_get(const Hash *hash, const char *key)
{
	HashNode *node = *hash_place(hash, key, hash_text(key));

	return node == NULL ? NULL : node->value;
}

void
hash_put(Hash *hash, const char *key, void *value)
{
	uint64_t code = hash_text(key);
	HashNode **place = hash_place(hash, key, code);

	if (*place == NULL)
	{
		size_t size = strlen(key) + 1;
		HashNode *node = xmalloc(sizeof(HashNode) + size);

		memcpy(node->key, key, size);
		node->hash = code;
		node->next = NULL;
		*place = node;
		hash->count++;
	}
	(*place)->value = value;
	if (hash->count > hash->slot_count)
		hash_grow(hash);
}

void *
hash_remove(Hash *hash, const char *key)
{
	HashNode **place = hash_place(hash, key, hash_text(key));
	HashNode *node = *place;
	void *value;

	if (node == NULL)
		return NULL;
	value = node->value;
	*place = node->next;
	free(node);
	hash->count--;
	return value;
}

void
hash_each(const Hash *hash, void (*visit)(const char *key, void *value, void *arg), void *arg)
{
	size_t i;

	for (i = 0; i < hash->slot_count; i++)
	{
		HashNode *node = hash->slots[i];

		while (node != NULL)
		{
			HashNode *next = node->next;

			visit(node->key, node->value, arg);
			node = next;
		}
	}
}

size_t
hash_count(const Hash *hash)
{
	return hash->count;
}

void
hash_free(Hash *hash)
{
	size_t i;

	for (i = 0; i < hash->slot_count; i++)
	{
		while (hash->slots[i] != NULL)
		{
			HashNode *node = hash->slots[i];

			hash->slots[i] = node->next;
			free(node);
		}
	}
	free(hash->slots);
	free(hash);
}

void
random_seed(uint64_t seed)
{
	random_state = seed * UINT64_C(0x9E3779B97F4A7C15) + 1;
	if (random_state == 0)
		random_state = 1;
}

/* xorshift64*: repeatable from the seed on every machine. */
uint64_t
random_next(void)
{
	random_state ^= random_state >> 12;
	random_state ^= random_state << 25;
	random_state ^= random_state >> 27;
	return random_state * UINT64_C(0x2545F4914F6CDD1D);
}

double
random_unit(void)
{
	return (double) (random_next() >> 11) / 9007199254740992.0;
}
