#!/usr/bin/env bash
# The fuzz targets. Started by enter.sh.
#
# SECONDS_TO_RUN=60   for each target
# TARGET="answer url code token sign items notice text sqlsmith"   some of them
# SEED=...            of the random numbers (default: another one each time)
# KEEP_CORPUS=FOLDER  where new inputs of interest are collected (default: thrown away)
#
# answer url code token sign: libFuzzer on the sources of src/, with AddressSanitizer and UBSan. items notice text: mutated
# arguments to a server. sqlsmith: random statements of an ordinary role. An input that breaks something is printed
# and kept in LOGS. The last line is "fuzz: N passed, N failed", counted by target.
set -euo pipefail

seconds=${SECONDS_TO_RUN:-60}
targets=${TARGET:-answer url code token sign items notice text sqlsmith}
seed=${SEED:-$((RANDOM + 1))}
build=$BUILD_DIR/fuzz
passed=0
failed=0
server_targets=()

record()
{
	if [ "$2" -eq 0 ]; then
		passed=$((passed + 1))
	else
		failed=$((failed + 1))
	fi
	echo "-- fuzz $1: $3"
}

# usage: run_standalone TARGET
run_standalone()
{
	local target=$1 status=0 corpus options=() executions
	corpus=${KEEP_CORPUS:-$build}/found_$target
	mkdir -p "$corpus"
	if [ -f "test/fuzz/$target.dict" ]; then
		options+=("-dict=test/fuzz/$target.dict")
	fi
	"$build/fuzz_$target" -max_total_time="$seconds" -timeout=20 -max_len=8192 -rss_limit_mb=3000 -print_final_stats=1 -seed="$seed" \
		-artifact_prefix="$LOGS/$target-" "${options[@]}" "$corpus" "test/fuzz/corpus/$target" >"$LOGS/fuzz_$target.log" 2>&1 || status=$?
	executions=$(sed -n 's/^stat::number_of_executed_units: //p' "$LOGS/fuzz_$target.log")
	if [ "$status" -ne 0 ] || [ -z "$executions" ]; then
		status=1
		tail -n 60 "$LOGS/fuzz_$target.log"
	fi
	record "$target" "$status" "seed=$seed executions=${executions:-0}"
}

# usage: run_on_server TARGET...
run_on_server()
{
	local status=0
	export FUZZ_SECONDS=$seconds FUZZ_SEED=$seed FUZZ_BUILD=$build FUZZ_TARGETS=$*
	export TESTDIR=$BUILD_DIR/fuzz_server TESTDATADIR=$BUILD_DIR/fuzz_server/tmp_check
	export PG_TEST_PORT_DIR=$BUILD_DIR/ports PGPORT=65432 top_builddir=$BUILD_DIR/fuzz_server
	rm -rf "$TESTDIR"
	mkdir -p "$TESTDIR" "$PG_TEST_PORT_DIR"
	prove -I "$PGXS_DIR/src/test/perl" test/fuzz/server.pl || status=$?
	for target in "$@"; do
		record "$target" "$status" "seed=$seed, see above"
	done
}

for target in $targets; do
	case $target in
		answer | url | code | token | sign) ;;
		items | notice | text | sqlsmith) server_targets+=("$target") ;;
		*)
			echo "fuzz.sh: unknown target \"$target\"" >&2
			exit 2
			;;
	esac
done

make -s -j"$(nproc)" -C test/fuzz BUILD_DIR="$build" PG_CONFIG="$PG_CONFIG" targets driver
if [ ${#server_targets[@]} -gt 0 ]; then
	bash test/tools/stage.sh
	make -s -C test/sandbox
fi
for target in $targets; do
	case " ${server_targets[*]} " in
		*" $target "*) ;;
		*) run_standalone "$target" ;;
	esac
done
if [ ${#server_targets[@]} -gt 0 ]; then
	run_on_server "${server_targets[@]}"
fi

printf '\nfuzz: %s passed, %s failed\n' "$passed" "$failed"
[ "$failed" -eq 0 ] && [ "$passed" -gt 0 ]
