#!/usr/bin/env bash
# The body of `make demo`, started by enter.sh in a private copy of the tree: builds what is needed and hands over to
# demo.pl, which starts a private server and the sandbox, runs the flow and ends all that it started.
set -euo pipefail

begun=$SECONDS
echo "building the extension and the sandbox ..."
if ! { bash test/tools/stage.sh && make -s -C test/sandbox; } >"$LOGS/demo_build.log" 2>&1; then
	cat "$LOGS/demo_build.log" >&2
	exit 1
fi
echo "built in $((SECONDS - begun)) s"
echo

# exec: signals of whoever ends this script reach the one that cleans up.
exec perl -I test/demo test/demo/demo.pl
