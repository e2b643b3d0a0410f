#!/usr/bin/env bash
# What a million issued tokens change: the cost of validating one (with 1,000 and with TOKENS of them), and how long the
# worker's transactions are when all expire at once. Started by enter.sh; prints its report.
#
# TOKENS=1000000  how many
set -euo pipefail

tokens=${TOKENS:-1000000}
merchants=20
folder=$BUILD_DIR/bench
here=test/bench
export PGHOST=$TMPDIR PGPORT=5432 PGDATABASE=app PGUSER=bench PGOPTIONS='-c client_min_messages=warning'

start_server()
{
	rm -rf "$folder"
	mkdir -p "$folder"
	(umask 077 && openssl rand -hex 32 >"$folder/secret")
	initdb --pgdata="$folder/data" --username=bench --auth=trust --locale=C --encoding=UTF8 --no-instructions >"$LOGS/bench_initdb.log"
	cat >>"$folder/data/postgresql.conf" <<-END
		listen_addresses = ''
		unix_socket_directories = '$TMPDIR'
		shared_preload_libraries = 'payout'
		payout.testing = on
		payout.secret_file = '$folder/secret'
		shared_buffers = 2GB
		max_wal_size = 8GB
		checkpoint_timeout = 30min
		track_commit_timestamp = on
		log_min_messages = warning
	END
	pg_ctl --pgdata="$folder/data" --log="$LOGS/bench_server.log" --wait start >/dev/null
	trap stop_server EXIT
}

stop_server()
{
	pg_ctl --pgdata="$folder/data" --mode=fast --wait stop >/dev/null || true
	rm -rf "$folder"
}

query()
{
	psql --no-psqlrc --quiet --tuples-only --no-align --set=ON_ERROR_STOP=1 "$@"
}

# usage: show DATABASE COUNT: the plans of one look-up and of one whole call
show()
{
	echo "== $2 issued tokens"
	PGDATABASE=$1 query --file="$here/probe_tokens.sql"
	echo
}

# Calls in turn in both databases, so that both meet the same weather.
compare()
{
	local round database
	for database in few app; do
		PGDATABASE=$database query --command="create table public.calls (us numeric)"
	done
	for round in $(seq 20); do
		for database in few app; do
			PGDATABASE=$database query --file="$here/call_tokens.sql"
		done
	done
}

median()
{
	PGDATABASE=$1 query --command="select round(percentile_cont(0.5) within group (order by us)::numeric) from public.calls"
}

# Everything expires: the worker is let loose on it, and the history says how long its transactions were.
expire_all()
{
	local due began
	due=$(query --command="select count(*) from payout.payout where expire_due_at is not null")
	began=$(date +%s)
	echo "== $due tokens and reservations end at once"
	query --command="alter system set payout.clock_offset = '2d'" --command="alter system set payout.databases = 'app'" --command="select pg_reload_conf()" >/dev/null
	while [ "$(query --command="select exists (select from payout.payout where expire_due_at is not null)")" = t ]; do
		if [ $(($(date +%s) - began)) -gt 1500 ]; then
			echo "not done after 1500 s"
			return 1
		fi
		sleep 1
	done
	query --command="select format('%s rows in %s s', count(*), round(extract(epoch from max(at) - min(at)), 1))
		from payout.payout_event where to_state in ('expired', 'suspect')"
	# From a transaction's first row to its commit, which includes the flush.
	query --command="create table public.expiry as
		select x.xid, x.rows, 1000 * extract(epoch from pg_xact_commit_timestamp(x.xid) - x.began) as ms
		from (select xmin as xid, count(*) as rows, min(at) as began from payout.payout_event where to_state in ('expired', 'suspect') group by xmin) x"
	query --command="select format('%s transactions of at most %s rows; median %s ms, 99 of 100 under %s ms, longest %s ms', count(*), max(rows),
		round(percentile_cont(0.5) within group (order by ms)::numeric, 1), round(percentile_cont(0.99) within group (order by ms)::numeric, 1), round(max(ms), 1)) from public.expiry"
}

bash test/tools/stage.sh >"$LOGS/stage.log"
start_server
for database in few app; do
	PGDATABASE=postgres query --command="create database $database"
	PGDATABASE=$database query --command="create extension payout" --command="select payout.arm()" --command="select from payout.create_cvs('STORE1', 'A store')" >/dev/null
done
PGDATABASE=few query --set=tokens=1000 --set=merchants=$merchants --file="$here/load_tokens.sql" >/dev/null
query --set=tokens="$tokens" --set=merchants=$merchants --file="$here/load_tokens.sql" >/dev/null
show few 1000
show app "$tokens"
compare
few_us=$(median few)
many_us=$(median app)
expire_all
echo "payout.verify(): $(query --command="select count(*) from payout.verify()") violations"
echo
query --command="select format('bench name=validate_token value=%s unit=us baseline=%s ratio=%s', $many_us, $few_us, round($many_us / $few_us::numeric, 2))"
query --command="select format('bench name=expire_transaction_longest value=%s unit=ms baseline=1000 ratio=%s', round(max(ms), 1), round(max(ms) / 1000, 3)) from public.expiry"
