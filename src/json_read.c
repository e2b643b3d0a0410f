/*
 * json_read.c: bounded reading of JSON that strangers wrote.
 *
 * PostgreSQL's own jsonb input does the work. It reports bad input by raising; here that is caught at once. This is
 * sound without a subtransaction because the input functions touch nothing but memory: no lock, no buffer, no table.
 *
 * A member that stands twice makes the whole text unreadable: jsonb would keep the last one in silence.
 */
#include "postgres.h"

#include <stdarg.h>

#include "compat.h"
#include "errors.h"
#include "fmgr.h"
#include "json_depth.h"
#include "json_read.h"
#include "mb/pg_wchar.h"
#include "utils/builtins.h"
#include "utils/memutils.h"

PG_FUNCTION_INFO_V1(payout_read_json);

/* The number of members of all objects within. */
static size_t
count_keys(Jsonb *json)
{
	JsonbIterator *iterator = JsonbIteratorInit(&json->root);
	JsonbIteratorToken token;
	JsonbValue value;
	size_t count = 0;

	while ((token = JsonbIteratorNext(&iterator, &value, false)) != WJB_DONE)
		if (token == WJB_KEY)
			count++;
	return count;
}

Jsonb *
json_read(const char *body, size_t size)
{
	MemoryContext context = CurrentMemoryContext;
	Jsonb *volatile json = NULL;
	char *copy;

	if (body == NULL || size == 0 || size > JSON_BYTES_MAX || memchr(body, '\0', size) != NULL ||
		json_deeper_than(body, size, JSON_DEPTH_MAX))
		return NULL;
	if (!pg_verify_mbstr(GetDatabaseEncoding(), body, (int) size, true))
		return NULL;
	copy = pnstrdup(body, size);
	PG_TRY();
	{
		json = DatumGetJsonbP(DirectFunctionCall1(jsonb_in, CStringGetDatum(copy)));
	}
	PG_CATCH();
	{
		int state = geterrcode();

		MemoryContextSwitchTo(context);
		if (ERRCODE_TO_CATEGORY(state) != ERRCODE_DATA_EXCEPTION &&
			ERRCODE_TO_CATEGORY(state) != ERRCODE_PROGRAM_LIMIT_EXCEEDED &&
			state != ERRCODE_FEATURE_NOT_SUPPORTED && state != ERRCODE_UNTRANSLATABLE_CHARACTER)
			PG_RE_THROW();
		FlushErrorState();
	}
	PG_END_TRY();
	pfree(copy);
	/* jsonb keeps one of the members that have the same name */
	return json != NULL && count_keys(json) == json_member_count(body, size) ? json : NULL;
}

static char *
scalar_text(const JsonbValue *value)
{
	switch (value->type)
	{
		case jbvString:
			return pnstrdup(value->val.string.val, value->val.string.len);
		case jbvNumeric:
			return DatumGetCString(DirectFunctionCall1(numeric_out, NumericGetDatum(value->val.numeric)));
		case jbvBool:
			return pstrdup(value->val.boolean ? "true" : "false");
		default:
			return NULL;
	}
}

/*
 * The value at the path; NULL when there is none. *astray (may be NULL) is set where the way to it ends at a value that is
 * neither an object nor null.
 */
static JsonbValue *
value_at(const Jsonb *json, va_list path, bool *astray)
{
	JsonbContainer *container =
		json != NULL && JB_ROOT_IS_OBJECT(json) ? (JsonbContainer *) &json->root : NULL;
	JsonbValue *value = NULL;
	const char *name;

	while ((name = va_arg(path, const char *)) != NULL)
	{
		if (astray != NULL && container == NULL && value != NULL && value->type != jbvNull)
			*astray = true;
		value = container != NULL ? getKeyJsonValueFromContainer(container, name, (int) strlen(name), NULL)
								  : NULL;
		container = value != NULL && value->type == jbvBinary && JsonContainerIsObject(value->val.binary.data)
						? value->val.binary.data
						: NULL;
	}
	return value;
}

char *
json_text(const Jsonb *json, ...)
{
	JsonbValue *value;
	va_list path;

	va_start(path, json);
	value = value_at(json, path, NULL);
	va_end(path);
	return value != NULL ? scalar_text(value) : NULL;
}

bool
json_names(const Jsonb *json, ...)
{
	bool astray = false;
	JsonbValue *value;
	va_list path;

	va_start(path, json);
	value = value_at(json, path, &astray);
	va_end(path);
	return astray || (value != NULL && value->type != jbvNull);
}

/* read_json(body): jsonb, or null for what json_read() refuses. */
Datum
payout_read_json(PG_FUNCTION_ARGS)
{
	text *body;
	Jsonb *json;

	if (PG_ARGISNULL(0))
		PG_RETURN_NULL();
	body = PG_GETARG_TEXT_PP(0);
	json = json_read(VARDATA_ANY(body), VARSIZE_ANY_EXHDR(body));
	if (json == NULL)
		PG_RETURN_NULL();
	PG_RETURN_JSONB_P(json);
}
