#!/usr/bin/env bash
# The body of `make crashtest` and `make crashtest-selfcheck`, started by enter.sh in a private copy of the tree: builds
# the developer build, the sandbox and the clients, and hands over to campaign.pl.
#
# usage: crashtest.sh [--selfcheck]      SECONDS_TO_RUN, SEED, CAMPAIGN (more arguments of campaign.pl) from the environment
set -euo pipefail

if ! { bash test/tools/developer.sh && make -s -C test/sandbox && make -s -C test/simulate; } >"$LOGS/crashtest_build.log" 2>&1; then
	cat "$LOGS/crashtest_build.log" >&2
	exit 1
fi
export PATH=$BUILD_DIR/developer/stage$("$PG_CONFIG" --bindir):$PATH
export TESTDIR=$BUILD_DIR/campaign PG_TEST_PORT_DIR=$BUILD_DIR/ports PGPORT=65432
mkdir -p "$PG_TEST_PORT_DIR"

# shellcheck disable=SC2086
campaign()
{
	rm -rf "$TESTDIR"
	mkdir -p "$TESTDIR"
	perl -I "$PGXS_DIR/src/test/perl" -I test/t/lib -I test/simulate test/simulate/campaign.pl \
		--seconds "${SECONDS_TO_RUN:-60}" --seed "${SEED:-1}" ${CAMPAIGN:-} "$@"
}

if [ "${1:-}" != --selfcheck ]; then
	campaign
	exit
fi

# Each fault that is committed on purpose must be noticed.
missed=0
for fault in send_before_commit timeout_is_failed refund_on_suspect skip_fence forget_idempotency_key credit_before_commit; do
	if campaign --mutation "$fault" >"$LOGS/selfcheck_$fault.log" 2>&1; then
		echo "$fault: MISSED"
		missed=$((missed + 1))
	else
		echo "$fault: noticed: $(grep '^crashtest:' "$LOGS/selfcheck_$fault.log" || tail -n 1 "$LOGS/selfcheck_$fault.log")"
	fi
done
# Clients that do not wait for the disk lose what they were told: until the first loss, at most five times.
for SEED in 1 2 3 4 5; do
	campaign --sync-off --no-standby >"$LOGS/selfcheck_sync_off_$SEED.log" 2>&1 || break
done
grep -h '^crashtest:' "$LOGS/selfcheck_sync_off_$SEED.log" | sed 's/^/synchronous_commit off: /'
grep -q ' lost=[1-9]' "$LOGS/selfcheck_sync_off_$SEED.log" || missed=$((missed + 1))
[ "$missed" -eq 0 ]
