#!/usr/bin/env bash
# Formats the C sources as .clang-format says, or with --check only tells what it would change.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

# Other versions of the formatter break lines elsewhere, so the version is fixed.
formatter=clang-format-14

bash test/tools/packages.sh format

shopt -s nullglob
files=(src/*.[ch] test/bench/*.[ch] test/fuzz/*.[ch] test/sandbox/*.[ch] test/simulate/*.[ch] test/unit/*.[ch])
if [ ${#files[@]} -eq 0 ]; then
	echo "format.sh: no C sources"
	exit 0
fi

if [ "${1:-}" = --check ]; then
	"$formatter" --dry-run --Werror "${files[@]}"
	echo "${#files[@]} files are formatted"
else
	"$formatter" -i "${files[@]}"
fi
