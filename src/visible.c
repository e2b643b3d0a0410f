/*
 * visible.c: control characters and characters that do not show.
 *
 * What Unicode says decides: U+0080 to U+009F steer terminals as those below U+0020 do; blanks of all widths, marks of direction,
 * joiners and fillers show nothing.
 */
#include "postgres.h"

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

int
visible_find_control(const char *utf8, int size, bool *shows)
{
	const unsigned char *start = (const unsigned char *) utf8;

	*shows = false;
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
