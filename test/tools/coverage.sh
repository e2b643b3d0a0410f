#!/usr/bin/env bash
# Which lines of the extension the tests run: a build with gcov's counters, regress, isolation and TAP
# tests on it, then a table per file. Started by enter.sh.
# A process that is killed writes no counters, so what only dying workers run is not seen.
set -euo pipefail

export COPT="--coverage -Og"
export WERROR=0
export PART=${PART:-"regress isolation tap"}

status=0
make -s clean
bash test/tools/test.sh || status=$?

# gcov prints three lines per file: its name, the share of its lines that ran, and a blank one.
summarise()
{
	awk '
		/^File / { name = $2; gsub(/\047/, "", name) }
		/^Lines executed:/ && name ~ /^src\// {
			split($0, part, /[:% ]+/)
			percent = part[3]
			lines = part[5]
			printf "%-32s %8s %8.1f%%\n", name, lines, percent
			all += lines
			ran += lines * percent / 100
			name = ""
		}
		END { if (all > 0) printf "%-32s %8d %8.1f%%\n", "together", all, 100 * ran / all }
	'
}

printf '\n%-32s %8s %9s\n' file lines run
gcov --no-output --object-directory src src/*.c 2>"$LOGS/gcov.log" | summarise
exit "$status"
