#!/usr/bin/env bash
# The body of `make bench`: builds what is needed and measures. Started by enter.sh in a private copy of the tree.
# What is measured and how to read it: README.md beside this file.
#
# QUICK=1             all lines, with shorter rounds and smaller sizes
# ONLY="hot spread"   only these lines, and the baselines that they need
# WORKER=0            no worker folds balances while spread, hot, hot_slow, batch and growth are measured
set -euo pipefail

export WORKER=${WORKER:-1}

{
	bash test/tools/stage.sh
	make -s -C test/sandbox
	make -s -C test/bench
} >"$LOGS/bench_build.log" 2>&1 || {
	cat "$LOGS/bench_build.log" >&2
	exit 1
}
exec perl -I test/bench test/bench/bench.pl
