/*
 * utf8.c: text in UTF-8, without an error where that cannot be: bytes of a database in SQL_ASCII may be anything, and some
 * encodings have bytes that stand for nothing.
 */
#include "postgres.h"

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
