#!/usr/bin/env bash
# Checks that no source depends on the locale or the time zone of a database or session, nor on a name that strangers share:
# what says so is a word or two.
# usage: check_words.sh, at the top of the tree
set -euo pipefail

status=0

# Prints the lines of files that match a pattern, comments and COMMENT ON left out; that is a failure, because of a reason.
# usage: refuse REASON PATTERN [EXCEPT] < "FILE:LINE:TEXT" lines
refuse()
{
	local found
	found=$(grep -E -- "$2" | grep -vE -- "${3:-^$}" || true)
	if [ -n "$found" ]; then
		echo "$1:"
		echo "$found"
		status=1
	fi
}

sql_lines()
{
	grep -n '' src/*.sql | grep -vE '^[^:]+:[0-9]+:[[:space:]]*--' | grep -vE "^[^:]+:[0-9]+:(comment on|')" | sed -E 's/[[:space:]]-- .*$//'
}

c_lines()
{
	grep -nE '' src/*.c src/*.h | grep -vE '^[^:]+:[0-9]+:[[:space:]]*(/\*|\*)' | sed -E 's,/\*.*\*/,,'
}

refuse 'The case of letters follows the locale, unless a collation is named' '\b(upper|lower|initcap)\(|\bilike\b' 'collate' < <(sql_lines)
refuse 'Classes of characters follow the locale, unless a collation is named' '\[:[a-z]+:\]|\\[wWdDsSmMyY]' 'collate' < <(sql_lines)
refuse 'A backslash means another thing where standard_conforming_strings is off, but in E strings' '\\' "E'" < <(sql_lines)
refuse 'A pattern that ignores case follows the locale, unless a collation is named' '~\*' 'collate' < <(sql_lines)
refuse 'A span of days, weeks, months or years follows the time zone; give hours' "interval '[^']*(day|week|mon|year|[0-9]d)" < <(sql_lines)
refuse 'A setting that is read as an interval may have days; use payout.setting_interval' 'current_setting\([^)]*\)::interval' < <(sql_lines)
refuse 'The functions of <ctype.h> follow the locale; compare characters, or use pg_ascii_*' \
	'\b(isalnum|isalpha|islower|isupper|isdigit|isspace|ispunct|isprint|isgraph|iscntrl|isxdigit|toupper|tolower|isw[a-z]+|tow[a-z]+|strcoll|strcasecmp|strncasecmp|pg_toupper|pg_tolower)\(' < <(c_lines)
refuse 'Any role can take the advisory locks of SQL; use advisory.h' 'pg_(try_)?advisory' < <(sql_lines)
refuse 'Advisory locks stand in one list, advisory.h' 'SET_LOCKTAG_ADVISORY' '^src/advisory\.h:' < <(c_lines)
refuse 'Any role can listen to a notification channel and write into one' ':[[:space:]]*(notify|listen)[[:space:]]|pg_notify' < <(sql_lines)
refuse 'Any role can write into a notification channel' '\bAsync_(Notify|Listen)\(' < <(c_lines)
refuse 'Any session sets its own application name' '\bapplication_name\b' < <(sql_lines)
refuse 'Any role may set a setting that the library does not define, and read others; define it in settings.c' "(current_setting|set_config)\('payout\.(\$|[^']*)'" \
	"'payout\.($(grep -ohE '"payout\.[a-z_]+"' src/*.c | tr -d '"' | sed 's/^payout\.//' | sort -u | paste -sd'|'))'" < <(sql_lines)
exit "$status"
