/*
 * server.c
 *		The few functions of the server that src/snap.c calls, for a program without one: memory that is freed after
 *		each execution, and text in UTF-8. What only writes requests is not reached, and says so.
 */
#include "postgres.h"

#include "clock.h"
#include "common/logging.h"
#include "fuzz.h"
#include "mb/pg_wchar.h"
#include "nodes/pg_list.h"
#include "utf8.h"
#include "utils/json.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

typedef struct Chunk
{
	struct Chunk *next;
	struct Chunk *previous;
} Chunk;

static Chunk chunks = {&chunks, &chunks};

void *
palloc_extended(Size size, int flags)
{
	Chunk *chunk =
		(flags & MCXT_ALLOC_ZERO) != 0 ? calloc(1, sizeof(Chunk) + size) : malloc(sizeof(Chunk) + size);

	REQUIRE(chunk != NULL && size <= MaxAllocSize);
	chunk->next = chunks.next;
	chunk->previous = &chunks;
	chunk->next->previous = chunk;
	chunks.next = chunk;
	return chunk + 1;
}

void *
palloc(Size size)
{
	return palloc_extended(size, 0);
}

void *
palloc0(Size size)
{
	return palloc_extended(size, MCXT_ALLOC_ZERO);
}

void
pfree(void *pointer)
{
	Chunk *chunk = (Chunk *) pointer - 1;

	chunk->next->previous = chunk->previous;
	chunk->previous->next = chunk->next;
	free(chunk);
}

void *
repalloc(void *pointer, Size size)
{
	Chunk *chunk = realloc((Chunk *) pointer - 1, sizeof(Chunk) + size);

	REQUIRE(chunk != NULL && size <= MaxAllocSize);
	chunk->next->previous = chunk;
	chunk->previous->next = chunk;
	return chunk + 1;
}

char *
pnstrdup(const char *text, Size len)
{
	Size used = strnlen(text, len);
	char *copy = palloc(used + 1);

	memcpy(copy, text, used);
	copy[used] = '\0';
	return copy;
}

char *
pstrdup(const char *text)
{
	return pnstrdup(text, strlen(text));
}

void
fuzz_free_all(void)
{
	while (chunks.next != &chunks)
		pfree(chunks.next + 1);
}

int
pg_mbstrlen_with_len(const char *text, int len)
{
	int characters = 0;

	for (int i = 0; i < len; characters++)
		i += pg_utf_mblen((const unsigned char *) text + i);
	return characters;
}

int
pg_mbcharcliplen(const char *text, int len, int limit)
{
	int clipped = 0;

	while (clipped < len && limit-- > 0)
		clipped += pg_utf_mblen((const unsigned char *) text + clipped);
	return Min(clipped, len);
}

/* ---- not reached by reading an answer ---- */

static void
unreachable(const char *name)
{
	fprintf(stderr, "%s was called\n", name);
	abort();
}

#define UNREACHABLE(name) unreachable(name), pg_unreachable()

bool
errstart(int level, const char *domain)
{
	UNREACHABLE("errstart");
}

bool
errstart_cold(int level, const char *domain)
{
	UNREACHABLE("errstart_cold");
}

void
errfinish(const char *file, int line, const char *function)
{
	UNREACHABLE("errfinish");
}

int
errmsg_internal(const char *format, ...)
{
	UNREACHABLE("errmsg_internal");
}

const char *
utf8_of(const char *text, int len, int *utf8_len)
{
	UNREACHABLE("utf8_of");
}

void
escape_json(StringInfo buffer, const char *text)
{
	UNREACHABLE("escape_json");
}

List *
lappend(List *list, void *datum)
{
	UNREACHABLE("lappend");
}

TimestampTz
GetCurrentTimestamp(void)
{
	UNREACHABLE("GetCurrentTimestamp");
}

int64
payout_unix_ms(void)
{
	UNREACHABLE("payout_unix_ms");
}
