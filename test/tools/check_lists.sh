#!/usr/bin/env bash
# Checks that the Makefile's explicit lists name every source file that is there, and no other.
# usage: check_lists.sh "C FILES" "SQL FILES" (names without folder and ending)
set -euo pipefail

status=0

# usage: compare NAME ENDING LISTED
compare()
{
	local listed present difference
	listed=$(tr ' ' '\n' <<<"$3" | sed '/^$/d' | sort)
	present=$(find src -name "*.$2" -printf '%f\n' | sed "s/\.$2\$//" | sort)
	difference=$(diff <(echo "$listed") <(echo "$present") || true)
	if [ -n "$difference" ]; then
		echo "$1 of the Makefile (<) and src/*.$2 (>) differ:"
		grep '^[<>]' <<<"$difference"
		status=1
	fi
}

compare C_FILES c "$1"
compare SQL_FILES sql "$2"
exit "$status"
