#!/usr/bin/env bash
# Looks for memory errors and undefined behaviour. Started by enter.sh.
#
# 1. The programs that stand alone (unit tests, sandbox) under AddressSanitizer and UBSan.
# 2. The extension built with UBSan: regress and isolation tests on it.
# 3. The extension as it ships: regress tests with the whole server under valgrind.
#
# AddressSanitizer is not used in the server: Debian's postgres hangs with libasan preloaded.
# REGRESS_SECONDS bounds each run of tests; a run that takes longer fails.
set -euo pipefail

seconds_max=${REGRESS_SECONDS:-1500}
passed=0
failed=0

# usage: step NAME COMMAND [ARG...]
step()
{
	local name=$1
	shift
	printf '\n==== %s\n' "$name"
	if "$@"; then
		echo "==== $name: passed"
		passed=$((passed + 1))
	else
		echo "==== $name: FAILED"
		failed=$((failed + 1))
	fi
}

bounded()
{
	timeout --kill-after=30 "$seconds_max" "$@"
}

sandbox_under_asan()
{
	make -s -C test/sandbox clean &&
		make -s -C test/sandbox SANITIZE=address &&
		{ [ ! -f test/sandbox/selftest.sh ] || bounded bash test/sandbox/selftest.sh; }
}

# Debian's postgres knows nothing of the UBSan runtime, so it is linked into the library.
regress_under_ubsan()
{
	local status=0
	make -s clean
	UBSAN_OPTIONS=print_stacktrace=1:abort_on_error=1 \
		COPT="-fsanitize=undefined -fno-sanitize-recover=undefined -static-libubsan" \
		WERROR=0 PART="regress isolation" bounded bash test/tools/test.sh || status=$?
	if grep -rh 'runtime error:' "$LOGS/regress" "$LOGS/isolation" 2>/dev/null; then
		status=1
	fi
	make -s clean
	return "$status"
}

if [ -f test/unit/Makefile ]; then
	step "unit tests under AddressSanitizer" bounded make -s -C test/unit check
fi
if [ -f test/sandbox/Makefile ]; then
	step "sandbox under AddressSanitizer" sandbox_under_asan
fi
if compgen -G 'sql/*.sql' >/dev/null; then
	step "extension under UBSan" regress_under_ubsan
	step "extension under valgrind" bounded bash test/tools/valgrind.sh
fi

printf '\nsanitize: %s passed, %s failed\n' "$passed" "$failed"
[ "$failed" -eq 0 ] && [ "$passed" -gt 0 ]
