#!/usr/bin/env bash
# The body of `make test`, started by enter.sh in a private copy of the tree. Runs every kind of
# test there is and ends with one line, "N passed, N failed", over all of them.
#
# PART=lists|unit|sandbox|fuzz|regress|isolation|tap|crash   one kind alone (several: PART="regress tap")
# TESTS="name..."     of regress, isolation and TAP only the tests of these names, without endings
# WERROR=0            warnings are no errors (for builds with unusual flags)
# PROVE_JOBS=2        TAP files at a time
#
# What is counted: regress tests, isolation specs, TAP files, unit and sandbox assertions, and the
# build itself. A kind without tests is named as such; a missing tool is a failure, never a skip.
set -euo pipefail

tree=$PWD
all_parts="lists unit sandbox fuzz regress isolation tap crash"
parts=${PART:-$all_parts}
total_passed=0
total_failed=0
extension_built=unknown
sandbox_built=unknown

# ---------------------------------------------------------------------------
# Bookkeeping

headline()
{
	printf '\n== %s\n' "$1"
}

# usage: record NAME PASSED FAILED
record()
{
	echo "-- $1: $2 passed, $3 failed"
	total_passed=$((total_passed + $2))
	total_failed=$((total_failed + $3))
}

# Runs a command with its output on the screen and in LOGS/NAME.log; the command's exit status.
# usage: logged NAME COMMAND [ARG...]
logged()
{
	local log=$LOGS/$1.log
	shift
	"$@" 2>&1 | tee "$log"
}

# usage: count_lines PATTERN FILE
count_lines()
{
	grep -cE "$1" "$2" || true
}

# Prints the end of a file under its name, for the log of a failure.
# usage: show_end LINES FILE
show_end()
{
	if [ -s "$2" ]; then
		printf '\n---- %s (last %s lines)\n' "$2" "$1"
		tail -n "$1" "$2"
	fi
}

wanted()
{
	case " $parts " in
		*" $1 "*) return 0 ;;
		*) return 1 ;;
	esac
}

# Prints the names of the tests FOLDER/NAME.ENDING, those in TESTS only where that is given.
# usage: names_of FOLDER ENDING
names_of()
{
	local file name
	for file in "$1"/*."$2"; do
		[ -e "$file" ] || continue
		name=$(basename "$file" ".$2")
		case " ${TESTS:-$name} " in
			*" $name "*) echo "$name" ;;
		esac
	done
}

# ---------------------------------------------------------------------------
# What the parts need built

need_extension()
{
	local flags=(WERROR=1)
	if [ "${WERROR:-1}" = 0 ]; then
		flags=()
	fi
	if [ "$extension_built" = unknown ]; then
		headline "build"
		if logged build bash test/tools/stage.sh "${flags[@]}"; then
			extension_built=yes
			record build 1 0
		else
			extension_built=no
			record build 0 1
		fi
	fi
	if [ "$extension_built" = no ]; then
		echo "not run: the extension did not build"
		return 1
	fi
}

need_sandbox()
{
	if [ ! -f test/sandbox/Makefile ]; then
		echo "no sandbox yet"
		return 0
	fi
	if [ "$sandbox_built" = unknown ]; then
		if logged sandbox_build make -s -C test/sandbox; then
			sandbox_built=yes
			record "sandbox build" 1 0
		else
			sandbox_built=no
			record "sandbox build" 0 1
		fi
	fi
	if [ "$sandbox_built" = no ]; then
		echo "not run: the sandbox did not build"
		return 1
	fi
}

# Settings of the private servers of regress and isolation tests.
write_settings()
{
	settings=$BUILD_DIR/server.conf
	secret_file=$BUILD_DIR/secret
	if [ ! -s "$secret_file" ]; then
		(umask 077 && openssl rand -hex 32 >"$secret_file")
	fi
	cat test/payout.conf - >"$settings" <<-END
		payout.secret_file = '$secret_file'
		# a test that hangs ends by itself
		statement_timeout = '${STATEMENT_TIMEOUT:-120s}'
		# these servers are thrown away
		fsync = off
		jit = off
	END
}

# ---------------------------------------------------------------------------
# The parts

part_lists()
{
	headline "lists of the Makefile"
	if logged lists make -s check-lists; then
		record lists 1 0
	else
		record lists 0 1
	fi
}

# Programs that end with a line "...: N passed, N failed" are counted by it.
# usage: run_counting NAME COMMAND [ARG...]
run_counting()
{
	local name=$1 status=0 line passed=0 failed=0
	shift
	logged "$name" "$@" || status=$?
	line=$(grep -E '[0-9]+ passed, [0-9]+ failed' "$LOGS/$name.log" | tail -n 1 || true)
	if [[ $line =~ ([0-9]+)\ passed,\ ([0-9]+)\ failed ]]; then
		passed=${BASH_REMATCH[1]}
		failed=${BASH_REMATCH[2]}
	elif [ "$status" -eq 0 ]; then
		echo "no line \"N passed, N failed\" from $name"
		status=1
	fi
	if [ "$status" -ne 0 ] && [ "$failed" -eq 0 ]; then
		failed=1
	fi
	record "$name" "$passed" "$failed"
}

part_unit()
{
	headline "unit tests"
	if [ ! -f test/unit/Makefile ]; then
		echo "no unit tests yet"
		return
	fi
	run_counting unit make -s -C test/unit check
}

# Each target for a few seconds (LONG=1: ten minutes).
part_fuzz()
{
	local seconds=3
	if [ "${LONG:-0}" = 1 ]; then
		seconds=600
	fi
	headline "fuzzing"
	need_extension || return 0
	need_sandbox || return 0
	SECONDS_TO_RUN=${FUZZ_SECONDS:-$seconds} TARGET= run_counting fuzz bash test/fuzz/fuzz.sh
}

part_sandbox()
{
	headline "sandbox"
	need_sandbox || return 0
	if [ -f test/sandbox/selftest.sh ]; then
		run_counting sandbox bash test/sandbox/selftest.sh
	fi
}

# usage: run_regress KIND PROGRAM INPUT-FOLDER DATABASE NAME...
run_regress()
{
	local kind=$1 program=$2 input=$3 database=$4 status=0 passed failed
	local output=$LOGS/$kind
	shift 4
	rm -rf "$output"
	mkdir -p "$output"
	write_settings
	logged "$kind" "$program" --bindir="$PG_BINDIR" --inputdir="$input" --outputdir="$output" \
		--temp-instance="$BUILD_DIR/instance_$kind" --temp-config="$settings" \
		--load-extension=payout --dbname="$database" "$@" || status=$?

	passed=$(count_lines '\.\.\. +ok' "$LOGS/$kind.log")
	failed=$(count_lines '\.\.\. +FAILED' "$LOGS/$kind.log")
	if [ "$status" -ne 0 ]; then
		[ "$failed" -gt 0 ] || failed=1
		show_end 300 "$output/regression.diffs"
		if [ -s "$output/log/postmaster.log" ]; then
			show_end 60 "$output/log/postmaster.log"
		else
			show_end 40 "$output/log/initdb.log"
		fi
	fi
	record "$kind" "$passed" "$failed"
}

part_regress()
{
	local names
	headline "regress tests"
	mapfile -t names < <(names_of sql sql)
	if [ ${#names[@]} -eq 0 ]; then
		echo "no regress tests${TESTS:+ of these names}"
		return
	fi
	need_extension || return 0
	run_regress regress "$PG_REGRESS" "$tree" contrib_regression "${names[@]}"
}

part_isolation()
{
	local names
	headline "isolation tests"
	mapfile -t names < <(names_of test/specs spec)
	if [ ${#names[@]} -eq 0 ]; then
		echo "no isolation tests${TESTS:+ of these names}"
		return
	fi
	need_extension || return 0
	run_regress isolation "$PGXS_DIR/src/test/isolation/pg_isolation_regress" "$tree/test" \
		isolation_regression "${names[@]}"
}

# The environment is what PGXS gives to TAP tests.
# usage: prove_files FOLDER FILE...
prove_files()
{
	export TESTDIR=$1
	export TESTDATADIR=$TESTDIR/tmp_check
	export PG_TEST_PORT_DIR=$BUILD_DIR/ports
	export PGPORT=65432
	export top_builddir=$TESTDIR
	shift
	rm -rf "$TESTDIR"
	mkdir -p "$TESTDIR" "$PG_TEST_PORT_DIR"
	prove -j "${PROVE_JOBS:-2}" -I "$PGXS_DIR/src/test/perl" -I test/t "$@"
}

# usage: run_tap KIND FOLDER NAME...
run_tap()
{
	local kind=$1 folder=$2 files name status=0 passed=0 failed=0
	shift 2
	files=("${@/#/$folder/}")
	files=("${files[@]/%/.pl}")
	logged "$kind" prove_files "$BUILD_DIR/$kind" "${files[@]}" || status=$?

	for name in "$@"; do
		if grep -qE "^$folder/$name\.pl \.+ +ok" "$LOGS/$kind.log"; then
			passed=$((passed + 1))
		else
			failed=$((failed + 1))
			show_end 80 "$BUILD_DIR/$kind/tmp_check/log/regress_log_$name"
		fi
	done
	if [ "$status" -ne 0 ] && [ "$failed" -eq 0 ]; then
		failed=1
	fi
	record "$kind" "$passed" "$failed"
}

part_tap()
{
	local names
	headline "TAP tests"
	mapfile -t names < <(names_of test/t pl)
	if [ ${#names[@]} -eq 0 ]; then
		echo "no TAP tests${TESTS:+ of these names}"
		return
	fi
	need_extension || return 0
	need_sandbox || return 0
	run_tap tap test/t "${names[@]}"
}

# Tests that need the places to die at: with a developer build in a stage of its own.
part_crash()
{
	local names
	headline "crash tests"
	mapfile -t names < <(names_of test/crash pl)
	if [ ${#names[@]} -eq 0 ]; then
		echo "no crash tests${TESTS:+ of these names}"
		return
	fi
	need_sandbox || return 0
	if ! logged developer_build bash test/tools/developer.sh; then
		record "developer build" 0 1
		return 0
	fi
	if ! logged clients_build make -s -C test/simulate; then
		record "clients build" 0 1
		return 0
	fi
	PROVE_JOBS=1 PATH=$BUILD_DIR/developer/stage$("$PG_CONFIG" --bindir):$PATH run_tap crash test/crash "${names[@]}"
}

# ---------------------------------------------------------------------------

for part in $parts; do
	case " $all_parts " in
		*" $part "*) ;;
		*)
			echo "unknown part \"$part\"; there are: $all_parts" >&2
			exit 2
			;;
	esac
done

for part in $all_parts; do
	if wanted "$part"; then
		"part_$part"
	fi
done

# A run that tested nothing has proved nothing.
if [ $((total_passed + total_failed)) -eq 0 ]; then
	echo "nothing was tested"
	total_failed=1
fi

printf '\n%s passed, %s failed\n' "$total_passed" "$total_failed"
[ "$total_failed" -eq 0 ]
