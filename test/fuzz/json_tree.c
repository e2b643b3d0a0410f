/*
 * json_tree.c
 *		json_read.h for a program without a server: the JSON parser is PostgreSQL's own (libpgcommon), the tree is
 *		one of the few lines below instead of jsonb. So what is fuzzed is the reader of answers on top of it, and the
 *		bound on nesting that protects the parser; jsonb itself is fuzzed in a server, see server.pl.
 */
#include "postgres.h"

#include <stdarg.h>

#include "common/jsonapi.h"
#include "fuzz.h"
#include "json_depth.h"
#include "json_read.h"
#include "mb/pg_wchar.h"

typedef struct Node
{
	struct Node *parent;
	struct Node *children; /* newest first */
	struct Node *next;
	char *name;
	char *text; /* of a scalar that is not null */
	bool is_object;
	bool is_null;
} Node;

typedef struct Builder
{
	Node *root;
	Node *open; /* the object or array that is being read */
	char *name; /* of the next value */
	int depth;
	int depth_most;
	size_t members;
	bool named_twice;
} Builder;

static Node *
add_node(Builder *builder, bool is_object, char *text)
{
	Node *node = palloc0(sizeof(Node));

	node->parent = builder->open;
	node->name = builder->name;
	node->text = text;
	node->is_object = is_object;
	builder->name = NULL;
	if (builder->open == NULL)
		builder->root = node;
	else
	{
		node->next = builder->open->children;
		builder->open->children = node;
	}
	return node;
}

static void
open_container(Builder *builder, bool is_object)
{
	builder->open = add_node(builder, is_object, NULL);
	builder->depth++;
	builder->depth_most = Max(builder->depth_most, builder->depth);
}

static void
on_object_start(void *state)
{
	open_container(state, true);
}

static void
on_array_start(void *state)
{
	open_container(state, false);
}

static void
on_end(void *state)
{
	Builder *builder = state;

	builder->depth--;
	builder->open = builder->open->parent;
}

static void
on_field(void *state, char *name, bool isnull)
{
	Builder *builder = state;

	for (const Node *node = builder->open->children; node != NULL; node = node->next)
		builder->named_twice |= strcmp(node->name, name) == 0;
	builder->members++;
	builder->name = name;
}

static void
on_scalar(void *state, char *token, JsonTokenType type)
{
	add_node(state, false, type == JSON_TOKEN_NULL ? NULL : token)->is_null = type == JSON_TOKEN_NULL;
}

Jsonb *
json_read_answer(const char *body, size_t size)
{
	Builder builder = {0};
	JsonSemAction actions = {.semstate = &builder,
							 .object_start = on_object_start,
							 .object_end = on_end,
							 .array_start = on_array_start,
							 .array_end = on_end,
							 .object_field_start = on_field,
							 .scalar = on_scalar};
	JsonLexContext *lex;
	JsonParseErrorType error;

	if (body == NULL || size == 0 || size > JSON_ANSWER_BYTES_MAX ||
		json_member_count(body, size) > JSON_ANSWER_MEMBERS_MAX || memchr(body, '\0', size) != NULL ||
		json_deeper_than(body, size, JSON_DEPTH_MAX))
		return NULL;
	if (pg_encoding_verifymbstr(PG_UTF8, body, (int) size) != (int) size)
		return NULL;
	lex = makeJsonLexContextCstringLen(pnstrdup(body, size), (int) size, PG_UTF8, true);
	error = pg_parse_json(lex, &actions);
	/* what the parser went through, up to its first error, is what was counted beforehand */
	REQUIRE(builder.depth_most <= JSON_DEPTH_MAX);
	/* the count by colons is the parser's */
	REQUIRE(error != JSON_SUCCESS || builder.members == json_member_count(body, size));
	return error == JSON_SUCCESS && !builder.named_twice ? (Jsonb *) builder.root : NULL;
}

static const Node *
node_at(const Jsonb *json, va_list path, bool *astray)
{
	const Node *node = (const Node *) json;
	const char *name;

	while ((name = va_arg(path, const char *)) != NULL && node != NULL)
	{
		const Node *child = node->is_object ? node->children : NULL;

		if (!node->is_object && !node->is_null && node != (const Node *) json)
			*astray = true;
		while (child != NULL && strcmp(child->name, name) != 0)
			child = child->next;
		node = child;
	}
	return node != (const Node *) json ? node : NULL;
}

char *
json_text(const Jsonb *json, ...)
{
	bool astray;
	const Node *node;
	va_list path;

	va_start(path, json);
	node = node_at(json, path, &astray);
	va_end(path);
	return node != NULL && node->text != NULL ? pstrdup(node->text) : NULL;
}

bool
json_names(const Jsonb *json, ...)
{
	bool astray = false;
	const Node *node;
	va_list path;

	va_start(path, json);
	node = node_at(json, path, &astray);
	va_end(path);
	return astray || (node != NULL && !node->is_null);
}
