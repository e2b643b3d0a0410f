/*
 * utf8.c: text in UTF-8, and from it, without an error where that cannot be: bytes of a database in SQL_ASCII may be anything, and some
 * encodings have bytes that stand for nothing.
 */
#include "postgres.h"

#include "access/xact.h"
#include "catalog/namespace.h"
#include "mb/pg_wchar.h"
#include "utf8.h"

static bool
is_ascii(const char *text, int len)
{
	for (int i = 0; i < len; i++)
		if (IS_HIGHBIT_SET(text[i]))
			return false;
	return true;
}

static const char *
convert(const char *text, int len, int *utf8_len)
{
	int encoding = GetDatabaseEncoding();
	Oid conversion = FindDefaultConversionProc(encoding, PG_UTF8);
	int size = len * MAX_CONVERSION_GROWTH + 1;
	char *utf8 = palloc(size);

	if (!OidIsValid(conversion) ||
		pg_do_encoding_conversion_buf(conversion, encoding, PG_UTF8,
									  (unsigned char *) unconstify(char *, text), len, (unsigned char *) utf8,
									  size, true) < len)
		return NULL;
	*utf8_len = (int) strlen(utf8);
	return utf8;
}

const char *
utf8_of(const char *text, int len, int *utf8_len)
{
	*utf8_len = len;
	if (GetDatabaseEncoding() == PG_UTF8 || is_ascii(text, len))
		return text;
	if (GetDatabaseEncoding() == PG_SQL_ASCII)
		return pg_verify_mbstr(PG_UTF8, text, len, true) ? text : NULL;
	return convert(text, len, utf8_len);
}

Oid
utf8_conversion(void)
{
	int encoding = GetDatabaseEncoding();

	if (encoding == PG_UTF8 || encoding == PG_SQL_ASCII || !IsTransactionState())
		return InvalidOid;
	return FindDefaultConversionProc(PG_UTF8, encoding);
}

bool
utf8_append(StringInfo text, Oid conversion, const char *utf8, int len)
{
	int encoding = GetDatabaseEncoding();
	char converted[4 * MAX_CONVERSION_GROWTH + 1];

	if (encoding == PG_UTF8 || encoding == PG_SQL_ASCII)
	{
		appendBinaryStringInfo(text, utf8, len);
		return true;
	}
	/* ASCII would be read as part of what surrounds it */
	if (!OidIsValid(conversion) ||
		pg_do_encoding_conversion_buf(conversion, PG_UTF8, encoding,
									  (unsigned char *) unconstify(char *, utf8), len,
									  (unsigned char *) converted, sizeof(converted), true) < len ||
		!IS_HIGHBIT_SET(converted[0]))
		return false;
	appendStringInfoString(text, converted);
	return true;
}
