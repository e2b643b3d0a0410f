#!/usr/bin/env bash
# The body of `make crashtest` and `make crashtest-selfcheck`, started by enter.sh in a private copy of the tree: builds
# the developer build, the sandbox and the clients, and hands over to campaign.pl.
#
# usage: crashtest.sh [--selfcheck [FAULT...]]
# SECONDS_TO_RUN, SEED, CAMPAIGN (more arguments of campaign.pl) from the environment; FAULT: a mutation of campaign.pl, or sync_off
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

# Each fault that is committed on purpose must be noticed, where what it breaks is what the saboteur does.
declare -A where=(
	[send_before_commit]="--sync --remembering"
	[timeout_is_failed]="--sync --remembering"
	[refund_on_suspect]="--sync --remembering"
	[skip_fence]="--sync --remembering"
	[forget_idempotency_key]="--sync --remembering"
	[credit_before_commit]="--sync --remembering"
	[gate_not_asked]="--no-standby --remembering --often stopped"
	[service_digits_ignored]="--no-standby --remembering --often others_answers"
	[believe_early]="--no-standby --remembering --often denied_later"
	[lost_tail_unasked]="--async --forgetful"
)
missed=0

# A campaign that came to no end has noticed nothing.
check_fault()
{
	local log=$LOGS/selfcheck_$1.log
	# shellcheck disable=SC2086
	if ! campaign --mutation "$1" ${where[$1]} >"$log" 2>&1 && grep -q '^crashtest:' "$log"; then
		echo "$1: noticed: $(grep '^crashtest:' "$log")"
	else
		echo "$1: MISSED: $(tail -n 1 "$log")"
		missed=$((missed + 1))
	fi
}

# Clients that do not wait for the disk lose what they were told: until the first loss, at most five times.
check_sync_off()
{
	for SEED in 1 2 3 4 5; do
		campaign --sync-off --no-standby --remembering >"$LOGS/selfcheck_sync_off_$SEED.log" 2>&1 || break
	done
	grep -h '^crashtest:' "$LOGS/selfcheck_sync_off_$SEED.log" | sed 's/^/synchronous_commit off: /'
	grep -q ' lost=[1-9]' "$LOGS/selfcheck_sync_off_$SEED.log" || missed=$((missed + 1))
}

shift
[ $# -gt 0 ] || set -- send_before_commit timeout_is_failed refund_on_suspect skip_fence forget_idempotency_key credit_before_commit \
	gate_not_asked service_digits_ignored believe_early lost_tail_unasked sync_off
for fault; do
	if [ "$fault" = sync_off ]; then check_sync_off; else check_fault "$fault"; fi
done
[ "$missed" -eq 0 ]
