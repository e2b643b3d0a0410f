#!/usr/bin/env bash
# Runs the regress tests against a server that runs under valgrind, every process of it. Fails when
# a test fails, or when valgrind saw an error in whose call stack payout.so stands.
# Started by sanitize.sh in the tree that enter.sh made. TESTS="name..." narrows.
#
# valgrind is not told to change exit codes: the postmaster would take a process that ends with
# an unusual one for crashed, restart everything, and hide what comes after.
set -euo pipefail

data=$BUILD_DIR/valgrind_data
output=$LOGS/valgrind
port=65431
start_seconds_max=120

rm -rf "$data" "$output"
mkdir -p "$output"

write_settings()
{
	(umask 077 && openssl rand -hex 32 >"$BUILD_DIR/valgrind_secret")
	{
		cat test/payout.conf
		echo "payout.secret_file = '$BUILD_DIR/valgrind_secret'"
		echo "listen_addresses = ''"
		echo "unix_socket_directories = '$TMPDIR'"
		echo "port = $port"
		echo "fsync = off"
		echo "jit = off"
		# everything takes tens of times as long
		echo "statement_timeout = 0"
		echo "autovacuum = off"
	} >>"$data/postgresql.conf"
}

start_server()
{
	valgrind --quiet --trace-children=yes --leak-check=no --num-callers=40 \
		--suppressions=test/tools/valgrind.supp --xml=yes --xml-file="$output/%p.xml" \
		"$PG_BINDIR/postgres" -D "$data" >"$output/server.log" 2>&1 &
	server=$!
	trap stop_server EXIT
}

stop_server()
{
	if kill -INT "$server" 2>/dev/null; then
		wait "$server" || true
	fi
}

wait_for_server()
{
	local deadline=$((SECONDS + start_seconds_max))
	until pg_isready --quiet --host="$TMPDIR" --port="$port"; do
		if [ "$SECONDS" -ge "$deadline" ] || ! kill -0 "$server" 2>/dev/null; then
			echo "the server did not start under valgrind:"
			tail -n 40 "$output/server.log"
			exit 1
		fi
		sleep 0.2
	done
}

# Prints the errors with payout.so in their stack: what happened, then the calls. Leaks are no errors
# here: a process ends with what it holds, and valgrind cannot see into memory contexts.
our_errors()
{
	cat "$output"/*.xml | awk '
		/<error>/ { block = ""; ours = 0; inside = 1 }
		inside {
			if ($0 ~ /<kind>Leak_/) inside = 0
			if ($0 ~ /<obj>.*\/payout\.so<\/obj>/) ours = 1
			if ($0 ~ /<(kind|what|text|fn|file|line|auxwhat)>/) block = block $0 "\n"
		}
		/<\/error>/ { if (ours) print block; inside = 0 }
	' | sed -E 's/<[^>]*>//g'
}

bash test/tools/stage.sh
initdb --no-sync --auth=trust --pgdata="$data" >"$output/initdb.log"
write_settings
start_server
wait_for_server

status=0
names=${TESTS:-$(find sql -name '*.sql' -printf '%f\n' | sed 's/\.sql$//' | sort)}
# shellcheck disable=SC2086  # a list of names
"$PG_REGRESS" --bindir="$PG_BINDIR" --inputdir="$PWD" --outputdir="$output" --host="$TMPDIR" --port="$port" \
	--load-extension=payout --dbname=contrib_regression $names || status=$?
if [ "$status" -ne 0 ]; then
	tail -n 200 "$output/regression.diffs" || true
	tail -n 40 "$output/server.log"
fi
stop_server

errors=$(our_errors)
if [ -n "$errors" ]; then
	echo "valgrind saw errors below payout.so:"
	echo "$errors"
	status=1
fi
exit "$status"
