/*
 * json_read.c: bounded reading of JSON that strangers wrote.
 *
 * PostgreSQL's own jsonb input does the work. It reports bad input by raising; here that is caught at once. This is
 * sound without a subtransaction because the input functions touch nothing but memory: no lock, no buffer, no table.
 *
 * Characters are brought into the server's encoding here, where that is not UTF-8: jsonb input raises at an escape that it
 * cannot translate, and the message would be lost for one letter of a name.
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
#include "utf8.h"
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

/* The four hexadecimal digits behind a backslash and a "u"; -1: they are none. */
static int
escaped_unit(const char *text, size_t size)
{
	int unit = 0;

	if (size < 6 || text[0] != '\\' || text[1] != 'u')
		return -1;
	for (int i = 2; i < 6; i++)
	{
		const char *digits = "0123456789abcdef";
		const char *digit = strchr(digits, pg_ascii_tolower((unsigned char) text[i]));

		if (text[i] == '\0' || digit == NULL)
			return -1;
		unit = unit * 16 + (int) (digit - digits);
	}
	return unit;
}

/* The bytes that an escaped character beyond ASCII takes; 0: there is none that is whole. */
static int
escaped_character(const char *text, size_t size, pg_wchar *code)
{
	int unit = escaped_unit(text, size);
	int second;

	if (unit < 0x80 || is_utf16_surrogate_second((pg_wchar) unit))
		return 0;
	*code = (pg_wchar) unit;
	if (!is_utf16_surrogate_first(*code))
		return 6;
	second = escaped_unit(text + 6, size - 6);
	if (second < 0 || !is_utf16_surrogate_second((pg_wchar) second))
		return 0;
	*code = surrogate_pair_to_codepoint(*code, (pg_wchar) second);
	return 12;
}

static void
append_character(StringInfo text, Oid conversion, const char *utf8, int len)
{
	if (!utf8_append(text, conversion, utf8, len))
		appendStringInfo(text, "\\u%04x", UTF8_SUBSTITUTE);
}

/* The text in the server's encoding, escapes beyond ASCII resolved; its own characters are of UTF-8 or the server's. */
static char *
to_server(const char *body, size_t size, bool is_utf8)
{
	Oid conversion = utf8_conversion();
	StringInfoData text;
	size_t i = 0;

	initStringInfo(&text);
	while (i < size)
	{
		pg_wchar code;
		unsigned char utf8[MAX_MULTIBYTE_CHAR_LEN + 1] = {0};
		int len;

		if (body[i] == '\\' && (len = escaped_character(body + i, size - i, &code)) > 0)
		{
			unicode_to_utf8(code, utf8);
			append_character(&text, conversion, (char *) utf8, pg_utf_mblen(utf8));
		}
		else if (is_utf8 && IS_HIGHBIT_SET(body[i]))
		{
			len = pg_utf_mblen((const unsigned char *) body + i);
			append_character(&text, conversion, body + i, len);
		}
		else
		{
			len = body[i] == '\\' && i + 1 < size ? 2 : 1;
			appendBinaryStringInfo(&text, body + i, len);
		}
		i += (size_t) len;
	}
	return text.data;
}

/* The text as jsonb; NULL where jsonb input raises for what the text is. */
static Jsonb *
parse(char *text)
{
	MemoryContext context = CurrentMemoryContext;
	Jsonb *volatile json = NULL;

	PG_TRY();
	{
		json = DatumGetJsonbP(DirectFunctionCall1(jsonb_in, CStringGetDatum(text)));
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
	return json;
}

static Jsonb *
read_bounded(const char *body, size_t size, bool is_utf8)
{
	int encoding = GetDatabaseEncoding();
	char *text;
	Jsonb *json;

	if (memchr(body, '\0', size) != NULL || json_deeper_than(body, size, JSON_DEPTH_MAX))
		return NULL;
	/* text of a database in SQL_ASCII is what its client sent, who had it from the bank */
	is_utf8 = is_utf8 || encoding == PG_SQL_ASCII;
	if (!pg_verify_mbstr(is_utf8 ? PG_UTF8 : encoding, body, (int) size, true))
		return NULL;
	text = encoding == PG_UTF8 ? pnstrdup(body, size) : to_server(body, size, is_utf8);
	json = parse(text);
	pfree(text);
	/* jsonb keeps one of the members that have the same name */
	return json != NULL && count_keys(json) == json_member_count(body, size) ? json : NULL;
}

Jsonb *
json_read(const char *body, size_t size)
{
	if (body == NULL || size == 0 || size > JSON_BYTES_MAX)
		return NULL;
	return read_bounded(body, size, false);
}

Jsonb *
json_read_answer(const char *body, size_t size)
{
	if (body == NULL || size == 0 || size > JSON_ANSWER_BYTES_MAX ||
		json_member_count(body, size) > JSON_ANSWER_MEMBERS_MAX)
		return NULL;
	return read_bounded(body, size, true);
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
