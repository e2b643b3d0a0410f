#!/usr/bin/env bash
# What an old snapshot does to a long queue: QUEUE approved payouts are sent in bulk to the sandbox and paid by its
# notices, once without, and once while another session holds a snapshot from before they were loaded: then no dead
# row and no dead index entry can go until the end. Started by enter.sh; prints its report.
#
# QUEUE=100000       how many
# LIMIT_S=1500       each run is given up after so long; its report is of what was done until then
# MODE=bulk          or single: the channel's option of that name
set -euo pipefail

queue=${QUEUE:-100000}
limit_s=${LIMIT_S:-1500}
mode=${MODE:-bulk}
merchants=20
folder=$BUILD_DIR/bench_queue
here=test/bench
children=()
export PGHOST=$TMPDIR PGPORT=5433 PGDATABASE=app PGUSER=bench PGOPTIONS='-c client_min_messages=warning'

query()
{
	psql --no-psqlrc --quiet --tuples-only --no-align --set=ON_ERROR_STOP=1 "$@"
}

make_keys()
{
	local who
	for who in ours bank; do
		openssl genpkey -quiet -algorithm RSA -pkeyopt rsa_keygen_bits:2048 -out "$folder/$who.pem"
		openssl pkey -in "$folder/$who.pem" -pubout -out "$folder/$who.pub"
	done
	(umask 077 && openssl rand -hex 32 >"$folder/secret")
}

start_server()
{
	initdb --pgdata="$folder/data" --username=bench --auth=trust --locale=C --encoding=UTF8 --no-instructions >"$LOGS/bench_initdb.log"
	cat >>"$folder/data/postgresql.conf" <<-END
		listen_addresses = ''
		port = $PGPORT
		unix_socket_directories = '$PGHOST'
		shared_preload_libraries = 'payout'
		payout.secret_file = '$folder/secret'
		payout.allow_hosts = '127.0.0.1'
		shared_buffers = 1GB
		max_wal_size = 8GB
		checkpoint_timeout = 30min
		track_commit_timestamp = on
		log_min_messages = warning
		${SETTINGS:-}
	END
	pg_ctl --pgdata="$folder/data" --log="$LOGS/bench_server.log" --wait start >/dev/null
	PGDATABASE=postgres query --command="create database app"
	query --command="create extension payout"
}

# usage: start_program NAME ARG...: starts a program of the sandbox's folder; its port is then in $port
start_program()
{
	local name=$1 deadline=$((SECONDS + 30))
	shift
	: >"$folder/$name.out"
	"test/sandbox/$name" "$@" >"$folder/$name.out" 2>>"$LOGS/bench_$name.log" &
	children+=($!)
	until grep -q "^$name: listening on" "$folder/$name.out"; do
		if [ "$SECONDS" -gt "$deadline" ]; then
			echo "$name did not start" >&2
			return 1
		fi
		sleep 0.05
	done
	port=$(sed -n "s/^$name: listening on //p" "$folder/$name.out")
}

start_bank()
{
	start_program relay --port 0 --conninfo "host=$PGHOST port=$PGPORT dbname=app user=$PGUSER"
	cat >"$folder/sandbox.json" <<-END
		{"client_id": "PAYOUT-CLIENT", "client_secret": "a-shared-client-secret", "partner_id": "PARTNER1", "channel_id": "95221",
		 "client_public_key": "$folder/ours.pub", "bank_private_key": "$folder/bank.pem", "notice_base_url": "http://127.0.0.1:$port/snap/BANK1",
		 "payroll_delay_ms": 50, "source_accounts": {"888801000157508": "1000000000000.00"}, "wildcards": [{"prefix": "88", "name": "BUDI SANTOSO"}]}
	END
	start_program sandbox --config "$folder/sandbox.json" --journal "$folder/journal" --port 0 --control-port 0
	query --set=url="http://127.0.0.1:$port/bank" --set=mode="$mode" --set=private_key="$(cat "$folder/ours.pem")" \
		--set=bank_key="$(cat "$folder/bank.pub")" >/dev/null <<-'END'
		select payout.create_channel('BANK1', 'snap', :'url', jsonb_build_object('client_id', 'PAYOUT-CLIENT', 'partner_id', 'PARTNER1',
			'channel_header', '95221', 'source_account_no', '888801000157508', 'mode', :'mode'));
		select payout.set_secret('channel:BANK1', 'private_key', :'private_key');
		select payout.set_secret('channel:BANK1', 'client_secret', 'a-shared-client-secret');
		select payout.set_secret('channel:BANK1', 'bank_public_key', :'bank_key');
		select payout.create_bank('CENA', 'A bank', 'BANK1', '{"wire_code": "014"}');
		select payout.arm();
	END
}

stop_all()
{
	local pid
	for pid in "${children[@]}"; do
		kill "$pid" 2>/dev/null || true
		wait "$pid" 2>/dev/null || true
	done
	children=()
	if [ -f "$folder/data/postmaster.pid" ]; then
		pg_ctl --pgdata="$folder/data" --mode=fast --wait stop >/dev/null || true
	fi
	rm -rf "$folder"
}

# A session that looks once, in a transaction that sees one snapshot, and then waits until it is ended.
hold_snapshot()
{
	mkfifo "$folder/holder"
	query <"$folder/holder" >"$folder/holder.out" &
	children+=($!)
	exec 9>"$folder/holder"
	echo "begin isolation level repeatable read; select count(*) from payout.payout;" >&9
	until [ -s "$folder/holder.out" ]; do
		sleep 0.05
	done
}

# The worker is let loose on the queue.
work_off()
{
	local deadline=$((SECONDS + limit_s))
	query --command="alter system set payout.databases = 'app'" --command="select pg_reload_conf()" >/dev/null
	while [ "$(query --command="select exists (select from payout.payout where final_at is null)")" = t ]; do
		if [ "$SECONDS" -gt "$deadline" ]; then
			echo "given up after $limit_s s"
			query --command="select payout.disarm()" >/dev/null
			break
		fi
		sleep 1
	done
}

# usage: run SNAPSHOT: measures; leaves the rate in $rate
run()
{
	mkdir -p "$folder"
	make_keys
	start_server
	start_bank
	if [ "$1" = old ]; then
		hold_snapshot
	fi
	query --set=payouts="$queue" --set=merchants=$merchants --file="$here/queue_load.sql" >/dev/null
	work_off
	query --set=payouts="$queue" --file="$here/queue_report.sql" | sed '/^$/d'
	rate=$(query --command="select round(count(*) / extract(epoch from max(e.at) - (select at from public.began)))
		from payout.payout_event e where e.to_state = 'paid'")
	exec 9>&-
	stop_all
}

trap stop_all EXIT
{ bash test/tools/stage.sh && make -s -C test/sandbox; } >"$LOGS/stage.log"
rm -rf "$folder"
echo "== $queue approved payouts, mode $mode"
run none
baseline=$rate
echo
echo "== the same under a snapshot from before they were loaded"
run old
echo
echo "bench name=queue_old_snapshot value=$rate unit=payouts/s baseline=$baseline ratio=$(awk "BEGIN { printf \"%.3f\", $rate / $baseline }")"
