/*
 * json_depth.c: how deep a JSON text nests: a cheap first look, so that the parser never recurses far; and how many members
 * it names: outside of strings, a colon stands behind the name of a member and nowhere else.
 *
 * Counts brackets outside strings. What is no JSON may be judged either way; a parser stops at its first error, and up
 * to there both see the same brackets.
 */
#include "json_depth.h"

bool
json_deeper_than(const char *text, size_t size, int depth_max)
{
	int depth = 0;
	bool in_string = false;

	for (size_t i = 0; i < size; i++)
	{
		char c = text[i];

		if (in_string)
		{
			if (c == '\\')
				i++;
			else if (c == '"')
				in_string = false;
		}
		else if (c == '"')
			in_string = true;
		else if (c == '{' || c == '[')
		{
			if (++depth > depth_max)
				return true;
		}
		else if ((c == '}' || c == ']') && depth > 0)
			depth--;
	}
	return false;
}

size_t
json_member_count(const char *text, size_t size)
{
	size_t count = 0;
	bool in_string = false;

	for (size_t i = 0; i < size; i++)
	{
		char c = text[i];

		if (in_string && c == '\\')
			i++;
		else if (c == '"')
			in_string = !in_string;
		else if (c == ':' && !in_string)
			count++;
	}
	return count;
}
