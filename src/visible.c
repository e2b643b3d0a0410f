/*
 * visible.c: control characters and characters that do not show, in the encoding of any database.
 *
 * What Unicode says decides: U+0080 to U+009F steer terminals as those below U+0020 do; blanks of all widths, marks of direction,
 * joiners and fillers show nothing. Texts of other encodings are looked at as Unicode; what has no place there is no
 * character and cannot be sent to a bank either. In SQL_ASCII bytes beyond ASCII mean nothing to the server: they pass.
 */
#include "postgres.h"

#include "catalog/namespace.h"
#include "mb/pg_wchar.h"
#include "visible.h"

typedef struct Range
{
	pg_wchar first;
	pg_wchar last;
} Range;

/* Categories Zs, Zl, Zp and Cf, and what else is drawn as nothing, beyond ASCII. */
static const Range hidden[] = {
	{0x00A0, 0x00A0},	{0x00AD, 0x00AD},	{0x034F, 0x034F},	{0x0600, 0x0605},	{0x061C, 0x061C},
	{0x06DD, 0x06DD},	{0x070F, 0x070F},	{0x08E2, 0x08E2},	{0x115F, 0x1160},	{0x1680, 0x1680},
	{0x17B4, 0x17B5},	{0x180B, 0x180F},	{0x2000, 0x200F},	{0x2028, 0x202F},	{0x205F, 0x206F},
	{0x2800, 0x2800},	{0x3000, 0x3000},	{0x3164, 0x3164},	{0xFE00, 0xFE0F},	{0xFEFF, 0xFEFF},
	{0xFFA0, 0xFFA0},	{0xFFF0, 0xFFFB},	{0xFFFE, 0xFFFF},	{0x110BD, 0x110BD}, {0x110CD, 0x110CD},
	{0x13430, 0x1343F}, {0x1BCA0, 0x1BCA3}, {0x1D173, 0x1D17A}, {0xE0000, 0xE0FFF},
};

static bool
is_control(pg_wchar character)
{
	return character < 0x20 || (character >= 0x7F && character < 0xA0);
}

static bool
is_hidden(pg_wchar character)
{
	if (character == ' ')
		return true;
	for (int i = 0; i < (int) lengthof(hidden); i++)
		if (character >= hidden[i].first && character <= hidden[i].last)
			return true;
	return false;
}

static int
find_in_utf8(const char *bytes, int size, bool *shows)
{
	const unsigned char *start = (const unsigned char *) bytes;

	for (int i = 0; i < size; i += pg_utf_mblen(start + i))
	{
		pg_wchar character = utf8_to_unicode(start + i);

		if (is_control(character))
			return i;
		if (!*shows && !is_hidden(character))
			*shows = true;
	}
	return -1;
}

static int
find_in_bytes(const char *bytes, int size, bool *shows)
{
	for (int i = 0; i < size; i++)
	{
		unsigned char byte = (unsigned char) bytes[i];

		if (byte < 0x80 && is_control(byte))
			return i;
		if (byte != ' ')
			*shows = true;
	}
	return -1;
}

static bool
is_ascii_only(const char *bytes, int size)
{
	for (int i = 0; i < size; i++)
		if (IS_HIGHBIT_SET(bytes[i]))
			return false;
	return true;
}

/* The text as UTF-8; its length, or less than the whole was good for: then *done is how many bytes of it were. */
static int
to_utf8(const char *bytes, int size, char **utf8, int *done)
{
	Oid conversion = FindDefaultConversionProc(GetDatabaseEncoding(), PG_UTF8);
	int room = size * MAX_CONVERSION_GROWTH + 1;

	*utf8 = palloc0(room);
	if (!OidIsValid(conversion))
		return -1;
	*done = pg_do_encoding_conversion_buf(conversion, GetDatabaseEncoding(), PG_UTF8,
										  (unsigned char *) unconstify(char *, bytes), size,
										  (unsigned char *) *utf8, room, true);
	return strlen(*utf8);
}

int
visible_find_control(const char *bytes, int size, bool *shows)
{
	char *utf8;
	int done;
	int length;

	*shows = false;
	if (GetDatabaseEncoding() == PG_UTF8)
		return find_in_utf8(bytes, size, shows);
	if (GetDatabaseEncoding() == PG_SQL_ASCII || is_ascii_only(bytes, size))
		return find_in_bytes(bytes, size, shows);
	length = to_utf8(bytes, size, &utf8, &done);
	if (length < 0)
		return find_in_bytes(bytes, size, shows);
	if (done < size)
		return done;
	return find_in_utf8(utf8, length, shows) < 0 ? -1 : 0;
}
