#!/usr/bin/env bash
# The body of `make bench`: builds what is needed and measures. Started by enter.sh in a private copy of the tree.
# What is measured and how to read it: README.md beside this file.
#
# QUICK=1             all lines, with shorter rounds and smaller sizes
# ONLY="hot spread"   only these lines, and the baselines that they need
# AGAINST=COMMIT      this build beside that of a commit, see against.pl; ROUNDS=11 of them
# WORKER=0            no worker folds balances while spread, hot, hot_slow, batch and growth are measured
set -euo pipefail

export WORKER=${WORKER:-1}

# usage: build    in a tree, with BUILD_DIR and PG_BINDIR of its own
build()
{
	bash test/tools/stage.sh
	make -s -C test/sandbox
	make -s -C test/bench
}

build_against()
{
	cd "$BUILD_DIR/against/tree"
	export PG_BINDIR=$BUILD_DIR/against${PG_BINDIR#"$BUILD_DIR"}
	export BUILD_DIR=$BUILD_DIR/against
	build
}

{
	build
	if [ -n "${AGAINST:-}" ]; then
		(build_against)
	fi
} >"$LOGS/bench_build.log" 2>&1 || {
	cat "$LOGS/bench_build.log" >&2
	exit 1
}
if [ -n "${AGAINST:-}" ]; then
	exec perl -I test/bench test/bench/against.pl
fi
exec perl -I test/bench test/bench/bench.pl
