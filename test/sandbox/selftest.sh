#!/bin/bash
# Tests the sandbox with curl and openssl alone: an independent client that shares no code with it.
# Needs bash, curl, openssl, perl; works in a temporary folder and ends what it started.
set -u
cd "$(dirname "$0")" || exit 2
DIR=$(mktemp -d)
PASSED=0 FAILED=0 BANK_PID= LISTENER_PID= SERIAL=0
SECRET=selftest-secret
SOURCE=888801000157508

cleanup() {
	for pid in $BANK_PID $LISTENER_PID; do kill "$pid" 2>/dev/null; done
	rm -rf "$DIR"
}
trap cleanup EXIT

check() { # name, expected, actual
	if [ "$2" = "$3" ]; then PASSED=$((PASSED + 1)); else
		FAILED=$((FAILED + 1)); echo "not ok: $1: expected $2, got $3"; fi
}
has() { # name, pattern, text
	if grep -qE "$2" <<<"$3"; then PASSED=$((PASSED + 1)); else
		FAILED=$((FAILED + 1)); echo "not ok: $1: no $2 in: ${3:0:400}"; fi
}
wait_for() { # description, command: polls for 10 seconds
	local deadline=$((SECONDS + 10))
	until eval "$2"; do
		if [ $SECONDS -ge $deadline ]; then FAILED=$((FAILED + 1)); echo "not ok: gave up waiting: $1"; return 1; fi
		read -rt 0.05 <> <(:) || :
	done
}

start_bank() {
	: >"$DIR/out"
	./sandbox --config "$DIR/config.json" --journal "$DIR/journal" --port "${PORT:-0}" >"$DIR/out" 2>>"$DIR/err" &
	BANK_PID=$!
	wait_for "the sandbox" "grep -q '^sandbox: listening on' $DIR/out" || { cat "$DIR/err"; exit 1; }
	PORT=$(sed -n 's/^sandbox: listening on //p' "$DIR/out")
	CONTROL=http://127.0.0.1:$(sed -n 's/^sandbox: control on //p' "$DIR/out")/control
	BANK=http://127.0.0.1:$PORT
}
control() { # method, path, body
	curl -s -m 10 -X "$1" "$CONTROL$2" ${3:+-d "$3"}
}
stamp() { TZ=Asia/Jakarta date +%Y-%m-%dT%H:%M:%S%:z; }
hmac() { # secret, method, path, token, body, timestamp
	local hash
	hash=$(printf %s "$5" | openssl dgst -sha256 -r | cut -d' ' -f1)
	printf %s "$2:$3:$4:$hash:$6" | openssl dgst -sha512 -hmac "$1" -binary | base64 -w0
}
get_token() {
	local at signature
	at=$(stamp)
	signature=$(printf %s "CLIENT1|$at" | openssl dgst -sha256 -sign "$DIR/client.key" | base64 -w0)
	curl -s -m 10 "$BANK/bank/v1.0/access-token/b2b" -H 'Content-Type: application/json' -H "X-TIMESTAMP: $at" \
		-H 'X-CLIENT-KEY: CLIENT1' -H "X-SIGNATURE: ${1:-$signature}" -d '{"grantType":"client_credentials"}'
}
snap() { # product, body; EXTERNAL fixes the external id, WRONG breaks the signature, SIGNED is signed instead of the body; leaves the status in STATUS
	local path=/bank/v1.0/$1 at signature
	at=$(stamp)
	SERIAL=$((SERIAL + 1))
	signature=${WRONG:-$(hmac $SECRET POST "$path" "$TOKEN" "${SIGNED:-$2}" "$at")}
	curl -s -m "${LIMIT_S:-10}" -o "$DIR/reply" -w '%{http_code}' "$BANK$path" -H 'Content-Type: application/json' \
		-H "Authorization: Bearer $TOKEN" -H "X-TIMESTAMP: $at" -H "X-SIGNATURE: $signature" -H 'X-PARTNER-ID: PARTNER' \
		-H "X-EXTERNAL-ID: ${EXTERNAL:-$(date +%s)$SERIAL$RANDOM}" -H 'CHANNEL-ID: 95051' -d "$2" >"$DIR/status"
	RESULT=$?
	STATUS=$(cat "$DIR/status")
	REPLY_TEXT=$(cat "$DIR/reply" 2>/dev/null)
	CODE=$(grep -aoE '"responseCode":"[0-9]+"' "$DIR/reply" 2>/dev/null | head -1 | tr -dc 0-9)
	rm -f "$DIR/reply"
}
single() { # reference, amount, account
	echo '{"partnerReferenceNo":"'"$1"'","amount":{"value":"'"$2"'","currency":"IDR"},"beneficiaryAccountName":"Budi Santoso","beneficiaryAccountNo":"'"$3"'","beneficiaryBankCode":"002","sourceAccountNo":"'$SOURCE'","transactionDate":"2025-01-31T09:15:00+07:00"}'
}
item() { # reference, amount, account
	echo '{"partnerReferenceNo":"'"$1"'","bankCode":"002","beneficiaryAccountNo":"'"$3"'","beneficiaryAccountName":"Budi Santoso","amount":{"value":"'"$2"'","currency":"IDR"}}'
}
bulk() { # bulk id, items
	echo '{"partnerBulkId":"'"$1"'","customerReference":"C1","sourceAccountNo":"'$SOURCE'","transactionDate":"2025-01-31T09:15:00+07:00","bulkObject":['"$2"']}'
}
status() { snap transfer/status '{"originalPartnerReferenceNo":"'"$1"'","serviceCode":"'"${2:-18}"'"}'; }
books() { control GET "/books?summary=1"; }

# The payer's end for notices: keeps every request whole in a file.
cat >"$DIR/listener.pl" <<'PERL'
use strict; use warnings; use IO::Socket::INET;
my ($dir) = @ARGV; my $count = 0;
my $server = IO::Socket::INET->new(LocalAddr => '127.0.0.1', Listen => 50, ReuseAddr => 1) or die;
open(my $port, '>', "$dir/listener.tmp") or die; print $port $server->sockport; close $port;
rename "$dir/listener.tmp", "$dir/listener.port";
while (my $client = $server->accept) {
	my ($head, $body) = ('', '');
	while (my $line = <$client>) { last if $line =~ /^\r?\n$/; $head .= $line; }
	read($client, $body, $1) if $head =~ /content-length: (\d+)/i;
	my $answer = $head =~ m{access-token} ? '{"responseCode":"2007300","accessToken":"NTOKEN","tokenType":"Bearer","expiresIn":"900"}'
		: '{"responseCode":"2002100","responseMessage":"Successful"}';
	print $client "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: " . length($answer) . "\r\nConnection: close\r\n\r\n$answer";
	close $client;
	my $name = $head =~ m{access-token} ? 'token' : 'notice';
	$count++;
	open(my $out, '>', "$dir/part") or die; print $out "$head\n$body"; close $out;
	rename "$dir/part", "$dir/$name.$count";
}
PERL
perl "$DIR/listener.pl" "$DIR" &
LISTENER_PID=$!
wait_for "the listener" "[ -s $DIR/listener.port ]" || exit 1
NOTICE=http://127.0.0.1:$(cat "$DIR/listener.port")/snap/BANK1

for who in client bank; do
	openssl genpkey -algorithm RSA -pkeyopt rsa_keygen_bits:2048 -out "$DIR/$who.key" 2>/dev/null
	openssl pkey -in "$DIR/$who.key" -pubout -out "$DIR/$who.pub"
done
cat >"$DIR/config.json" <<CONFIG
{"client_id":"CLIENT1","partner_id":"PARTNER","channel_id":"95051","client_secret":"$SECRET",
 "client_public_key":"$DIR/client.pub","bank_private_key":"$DIR/bank.key","notice_base_url":"$NOTICE",
 "payroll_delay_ms":100,"source_accounts":{"$SOURCE":"1000000.00"},
 "accounts":[{"no":"5345000060","name":"BUDI SANTOSO","status":"active"},{"no":"5345000061","name":"ANI","status":"closed"},
  {"no":"5345000062","name":"ANI","status":"dormant"},{"no":"5345000063","name":"ANI","status":"frozen"}],
 "wildcards":[{"prefix":"88","name":"BUDI SANTOSO"}],"webhook_secrets":{"MERCHANT01":"whsec_c2VsZnRlc3Q="}}
CONFIG
start_bank

# tokens and the order of checks
has "token refused" '"responseCode":"4017300"' "$(get_token AAAA)"
REPLY_TEXT=$(get_token)
has "token" '"responseCode":"2007300".*"expiresIn":"900"' "$REPLY_TEXT"
TOKEN=$(sed -E 's/.*"accessToken":"([^"]+)".*/\1/' <<<"$REPLY_TEXT")
snap account-inquiry-external '{"beneficiaryBankCode":"002","beneficiaryAccountNo":"5345000060"}'
check "inquiry" 2001600 "$CODE"
has "name" 'BUDI SANTOSO' "$REPLY_TEXT"
snap account-inquiry-internal '{"beneficiaryAccountNo":"999"}'; check "unknown account" 4041511 "$CODE"
snap account-inquiry-internal '{"beneficiaryAccountNo":"5345000061"}'; check "closed account" 4031518 "$CODE"
snap account-inquiry-internal '{"beneficiaryAccountNo":"5345000062"}'; check "dormant account" 4031509 "$CODE"
snap account-inquiry-internal '{"beneficiaryAccountNo":"5345000063"}'; check "frozen account" 4031505 "$CODE"
snap account-inquiry-internal '{}'; check "missing field" 4001502 "$CODE"
snap balance-inquiry '{"accountNo":"'$SOURCE'"}'
has "balance" '"availableBalance":\{"value":"1000000.00"' "$REPLY_TEXT"
WRONG=AAAA snap balance-inquiry '{"accountNo":"'$SOURCE'"}'; check "wrong signature" 4011100 "$CODE"
KEPT=$TOKEN; TOKEN=none snap balance-inquiry '{"accountNo":"'$SOURCE'"}'; check "wrong token" 4011101 "$CODE"; TOKEN=$KEPT

# single transfers
EXTERNAL=777 snap transfer-interbank "$(single R1 10000.00 5345000060)"; check "transfer" 2001800 "$CODE"
EXTERNAL=777 snap transfer-interbank "$(single R1 10000.00 5345000060)"; check "external id again" 4091800 "$CODE"
snap transfer-interbank "$(single R1 10000.00 5345000060)"; check "same reference again" 4091801 "$CODE"
snap transfer-interbank "$(single R1 10001.00 5345000060)"; check "other content" 4041818 "$CODE"
snap transfer-interbank "$(single R2 10000.00 999)"; check "transfer to nowhere" 4041811 "$CODE"
snap transfer-interbank "$(single R3 99999999.00 5345000060)"; check "no cover" 4031814 "$CODE"
snap transfer-interbank "$(single R3 1.0 5345000060)"; check "malformed amount" 4001801 "$CODE"
SIGNED=$(single R1 10000.00 5345000060) snap transfer-interbank "$(single R1 10000.00 5345000060 | sed 's/,/ ,\n /g')"; check "blanks do not matter" 4091801 "$CODE"
status R1; has "status paid" '"responseCode":"2003600".*"latestTransactionStatus":"00"' "$REPLY_TEXT"
status R2; has "status failed" '"latestTransactionStatus":"06".*"previousResponseCode":"4041811"' "$REPLY_TEXT"
status R9; check "status not found" 4043601 "$CODE"

# the bulk and its notice
snap transfer-interbank-bulk "$(bulk B0 "$(item I0 1.00 5345000060),$(item I0x 1 5345000060)")"; check "malformed bulk" 4002001 "$CODE"
snap transfer-interbank-bulk "$(bulk B1 "$(item I1 100.00 5345000060),$(item I2 50.00 999),$(item I3 25.50 8812345)")"
check "bulk" 2002000 "$CODE"
FIRST=$REPLY_TEXT
snap transfer-interbank-bulk "$(bulk B1 "$(item I1 100.00 5345000060),$(item I2 50.00 999),$(item I3 25.50 8812345)")"
check "bulk again" "$FIRST" "$REPLY_TEXT"
snap transfer-interbank-bulk "$(bulk B1 "$(item I1 100.00 5345000060)")"; check "bulk with other content" 4042018 "$CODE"
wait_for "the notice" "ls $DIR/notice.* >/dev/null 2>&1" && {
	FILE=$(ls "$DIR"/notice.* | head -1)
	HEAD=$(sed '/^\r*$/,$d' "$FILE" | tr -d '\r'); BODY=$(sed '1,/^\r*$/d' "$FILE")
	header() { sed -nE "s/^$1: //Ip" <<<"$HEAD"; }
	check "notice signature" "$(hmac $SECRET POST /snap/BANK1/v1.0/transfer-interbank-bulk/notify NTOKEN "$BODY" "$(header x-timestamp)")" "$(header x-signature)"
	has "notice items" '"I1","responseCode":"2000000".*"I2","responseCode":"4040011".*"I3","responseCode":"2000000"' "$BODY"
	HEAD=$(tr -d '\r' <"$(ls "$DIR"/token.* | head -1)")
	header x-signature | base64 -d >"$DIR/signature"
	check "notice token signature" "Verified OK" "$(printf %s "CLIENT1|$(header x-timestamp)" | openssl dgst -sha256 -verify "$DIR/bank.pub" -signature "$DIR/signature")"
}
status I3 20; has "item paid" '"latestTransactionStatus":"00"' "$REPLY_TEXT"
status I2 20; has "item failed" '"latestTransactionStatus":"06"' "$REPLY_TEXT"
has "books" '"paid_total":"10125.50","paid_count":3' "$(books)"
has "float" "\"$SOURCE\":\"989874.50\"" "$(books)"

# faults
control POST /fault '{"service":"18","kind":"reset_before","count":1}' >/dev/null
snap transfer-interbank "$(single R10 10.00 5345000060)"; check "reset before" 56 "$RESULT"
status R10; check "nothing booked" 4043601 "$CODE"
control POST /fault '{"service":"18","kind":"reset_after","count":1}' >/dev/null
snap transfer-interbank "$(single R10 10.00 5345000060)"; check "reset after" 56 "$RESULT"
status R10; has "booked" '"latestTransactionStatus":"00"' "$REPLY_TEXT"
control POST /fault '{"service":"18","kind":"truncated","count":1}' >/dev/null
snap transfer-interbank "$(single R11 10.00 5345000060)"; check "truncated" 18 "$RESULT"
control POST /fault '{"service":"36","kind":"error_before","http":503,"raw":true,"count":1}' >/dev/null
status R11; check "raw error" 503 "$STATUS"; has "a page" '<html>' "$REPLY_TEXT"
control POST /fault '{"service":"36","kind":"answer","http":403,"code":"06","count":1}' >/dev/null
status R11; check "chosen answer" 4033606 "$CODE"
control POST /fault '{"service":"36","kind":"oversized","bytes":3000000,"count":1}' >/dev/null
status R11; check "oversized" 1 "$((${#REPLY_TEXT} > 3000000))"
control POST /fault '{"service":"36","kind":"oversized","nested":true,"count":1}' >/dev/null
status R11; check "nested" 1 "$((${#REPLY_TEXT} > 200000))"
control POST /fault '{"service":"36","kind":"garbage","count":1}' >/dev/null
status R11 2>/dev/null; check "garbage" 200 "$STATUS"
control POST /fault '{"service":"17","kind":"pending","delay_ms":100,"count":1}' >/dev/null
snap transfer-intrabank "$(single R12 10.00 5345000060)"; check "pending" 2021700 "$CODE"
wait_for "the booking" "status R12 17; grep -q '\"latestTransactionStatus\":\"00\"' <<<\"\$REPLY_TEXT\"" && PASSED=$((PASSED + 1))
control POST /fault '{"service":"20","kind":"item_fail","http":403,"code":"03","reference_no":"I5","count":1}' >/dev/null
control POST /fault '{"service":"20","kind":"notice_first","delay_ms":50,"count":1}' >/dev/null
BEFORE=$(ls "$DIR"/notice.* | wc -l)
snap transfer-interbank-bulk "$(bulk B2 "$(item I4 1.00 5345000060),$(item I5 1.00 5345000060)")"; check "notice first" 2002000 "$CODE"
check "the notice was first" $((BEFORE + 1)) "$(ls "$DIR"/notice.* | wc -l)"
status I5 20; has "item failed on demand" '"previousResponseCode":"4032003"' "$REPLY_TEXT"

# the digits of another service
control POST /fault '{"service":"18","kind":"answer","http":200,"code":"00","service_digits":"16","count":1}' >/dev/null
snap transfer-interbank "$(single R13 10.00 5345000060)"; check "another service's success" 2001600 "$CODE"
has "it names the order" '"partnerReferenceNo":"R13"' "$REPLY_TEXT"; has "and the amount" '"value":"10.00"' "$REPLY_TEXT"
status R13; check "nothing booked for it" 4043601 "$CODE"
control POST /fault '{"service":"20","kind":"answer","http":404,"code":"11","service_digits":"36","after_booking":true,"count":1}' >/dev/null
snap transfer-interbank-bulk "$(bulk B2d "$(item I4d 1.00 5345000060)")"; check "another service's refusal" 4043611 "$CODE"
wait_for "the booking behind it" "status I4d 20; grep -q '\"latestTransactionStatus\":\"00\"' <<<\"\$REPLY_TEXT\"" && PASSED=$((PASSED + 1))
has "of an answer only" 'service_digits' "$(control POST /fault '{"service":"18","kind":"reset_after","service_digits":"16"}')"

# a denial that comes later: of the first sending, while the second is taken
has "of bulks only" 'only service 20' "$(control POST /fault '{"service":"18","kind":"deny_later"}')"
control POST /fault '{"service":"20","kind":"deny_later","delay_ms":400,"count":2}' >/dev/null
NOW_MS=$(date +%s%3N)
snap transfer-interbank-bulk "$(bulk BD "$(item ID1 100.00 5345000060),$(item ID2 50.00 8812345)")"; check "reset" 56 "$RESULT"
status ID1 20; check "not taken" 4043601 "$CODE"
ARRIVED=$(grep '"event":"arrived"' "$DIR/journal" | tail -1 | sed -E 's/.*"arrived_ms":([0-9]+).*/\1/')
check "the journal tells when it came" 1 "$((ARRIVED >= NOW_MS && ARRIVED <= $(date +%s%3N)))"
has "the report too" "\"arrived_ms\":$ARRIVED,\"service\":20" "$(control GET '/requests?service=20')"
control DELETE /fault >/dev/null
snap transfer-interbank-bulk "$(bulk BD "$(item ID1 100.00 5345000060),$(item ID2 50.00 8812345)")"; check "the same bulk again" 2002000 "$CODE"
OWN_ID=$(sed -E 's/.*"bulkId":"([^"]+)".*/\1/' <<<"$REPLY_TEXT")
denial() { grep -lE '"partnerBulkId":"BD".*"ID1","responseCode":"4040011".*"value":"100.00".*"beneficiaryAccountNo":"5345000060".*"ID2","responseCode":"4040011"' "$DIR"/notice.*; }
wait_for "the denial" "denial >/dev/null" && {
	FILE=$(denial | head -1)
	HEAD=$(sed '/^\r*$/,$d' "$FILE" | tr -d '\r'); BODY=$(sed '1,/^\r*$/d' "$FILE")
	check "its signature" "$(hmac $SECRET POST /snap/BANK1/v1.0/transfer-interbank-bulk/notify NTOKEN "$BODY" "$(header x-timestamp)")" "$(header x-signature)"
	check "its own bulkId" 0 "$(grep -c "$OWN_ID" <<<"$BODY")"
}
control POST /fault '{"service":"20","kind":"deny_later","delay_ms":-1,"count":1}' >/dev/null
snap transfer-interbank-bulk "$(bulk BF "$(item IF1 100.00 5345000060)")"; check "reset again" 56 "$RESULT"
snap transfer-interbank-bulk "$(bulk BF "$(item IF1 100.00 5345000060)")"; check "taken as it comes again" 2002000 "$CODE"
check "denied before that answer" 1 "$(grep -lE '"partnerBulkId":"BF".*"IF1","responseCode":"4040011"' "$DIR"/notice.* | wc -l)"
status ID2 20; has "paid all the same" '"latestTransactionStatus":"00"' "$REPLY_TEXT"
control POST /fault '{"service":"20","kind":"deny_later","count":1}' >/dev/null
snap transfer-interbank-bulk "$(bulk BE "$(item ID1 100.00 5345000060),$(item ID3 50.00 8812345)")"; check "what is booked is not denied" 2002000 "$CODE"

# hanging, leaving and release
control POST /fault '{"service":"11","kind":"hang"}' >/dev/null
for i in $(seq 60); do
	curl -s -m 30 -o /dev/null -w '%{http_code}\n' "$BANK/bank/v1.0/balance-inquiry" -d '{}' >>"$DIR/hanging" &
done
wait_for "60 hanging" "[ \"\$(control GET /hanging)\" = '{\"count\":60}' ]" && PASSED=$((PASSED + 1))
LIMIT_S=0.3 snap balance-inquiry '{"accountNo":"'$SOURCE'"}'; check "hangs" 28 "$RESULT"
wait_for "one left" "[ \"\$(control GET /hanging)\" = '{\"count\":60}' ]" && PASSED=$((PASSED + 1))
has "released" '"released":60' "$(control POST /release)"
wait_for "60 answers" "[ \$(grep -c 400 $DIR/hanging) = 60 ]" && PASSED=$((PASSED + 1))
control POST /reset >/dev/null

# down and up on the same port
control POST /down '{"down":true}' >/dev/null
status R1; check "refused while down" 7 "$RESULT"
control POST /down '{"down":false}' >/dev/null
status R1; check "up again" 2003600 "$CODE"
control POST /refund '{"partner_reference_no":"R1"}' >/dev/null
status R1; has "refunded" '"latestTransactionStatus":"04"' "$REPLY_TEXT"

# the merchant's end
webhook() { # id, timestamp, body, signature
	local signature
	signature=v1,$(printf %s "$1.$2.$3" | openssl dgst -sha256 -hmac selftest -binary | base64 -w0)
	curl -s -m 10 -o /dev/null -w '%{http_code}' "$BANK/merchant/MERCHANT01" -H "webhook-id: $1" -H "webhook-timestamp: $2" \
		-H "webhook-signature: ${4:-$signature}" -d "$3"
}
NOW=$(date +%s)
check "webhook" 200 "$(webhook m1 "$NOW" '{"type":"payout.paid","data":{}}')"
check "webhook again" 200 "$(webhook m1 "$NOW" '{"type":"payout.paid","data":{}}')"
check "webhook too old" 401 "$(webhook m2 $((NOW - 1000)) '{}')"
check "webhook with a wrong signature" 401 "$(webhook m3 "$NOW" '{}' v1,AAAA)"
has "webhooks kept" '"count":4.*"verified":true,"repeat":true,"type":"payout.paid"' "$(control GET '/webhooks?merchant_id=MERCHANT01')"

# a kill: the books, the external ids and the accepted bulk survive
sed -i 's/"payroll_delay_ms":100/"payroll_delay_ms":3000/' "$DIR/config.json"
kill "$BANK_PID"; wait "$BANK_PID"; check "a clean end" 0 $?
start_bank
TOKEN=$(get_token | sed -E 's/.*"accessToken":"([^"]+)".*/\1/')
snap transfer-interbank-bulk "$(bulk B3 "$(item I6 7.00 5345000060)")"; check "bulk before the kill" 2002000 "$CODE"
status I6 20; has "pending" '"latestTransactionStatus":"03"' "$REPLY_TEXT"
BOOKS=$(books)
kill -9 "$BANK_PID"; wait "$BANK_PID" 2>/dev/null
printf '{"at":"torn","event":"pa' >>"$DIR/journal"
sed -i 's/"payroll_delay_ms":3000/"payroll_delay_ms":500/' "$DIR/config.json"
start_bank
check "the books after a kill" "$BOOKS" "$(books)"
TOKEN=$(get_token | sed -E 's/.*"accessToken":"([^"]+)".*/\1/')
EXTERNAL=777 snap transfer-interbank "$(single R20 10000.00 5345000060)"; check "external id after a kill" 4091800 "$CODE"
wait_for "the bulk is booked" "status I6 20; grep -q '\"latestTransactionStatus\":\"00\"' <<<\"\$REPLY_TEXT\"" && PASSED=$((PASSED + 1))
snap transfer-interbank-bulk "$(bulk B4 "$(item I6 7.00 5345000060)")"; check "an item again" 2002000 "$CODE"
wait_for "its booking" "grep -q bulk_booked.*B4 $DIR/journal"
check "paid once" 1 "$(grep -c '"event":"paid".*"I6"' "$DIR/journal")"
kill "$BANK_PID"; wait "$BANK_PID"; check "a clean end again" 0 $?

# a bank that forgets references pays again, and its inquiry tells of the paid one
sed -i 's/"payroll_delay_ms":500/"payroll_delay_ms":50,"forget_references":true/' "$DIR/config.json"
paid() { grep -c '"event":"paid".*"partner_reference_no":"'"$1"'"' "$DIR/journal"; }
start_bank
TOKEN=$(get_token | sed -E 's/.*"accessToken":"([^"]+)".*/\1/')
snap transfer-interbank "$(single R30 30.00 5345000060)"; check "a transfer" 2001800 "$CODE"
NUMBER=$(grep -oE '"referenceNo":"[0-9]+"' <<<"$REPLY_TEXT")
snap transfer-interbank "$(single R30 30.00 5345000060)"; check "forgotten" 2001800 "$CODE"
check "another number" 1 "$([ "$NUMBER" != "$(grep -oE '"referenceNo":"[0-9]+"' <<<"$REPLY_TEXT")" ] && echo 1)"
check "paid again" 2 "$(paid R30)"
snap transfer-interbank "$(single R30 31.00 5345000061)"; check "other content is a new order" 4031818 "$CODE"
status R30; has "the paid one is told" '"latestTransactionStatus":"00"' "$REPLY_TEXT"
for n in 1 2; do
	snap transfer-interbank-bulk "$(bulk B5 "$(item R30 30.00 5345000060),$(item I7 7.00 5345000060)")"; check "bulk $n" 2002000 "$CODE"
	wait_for "its booking" "[ \$(grep -c bulk_booked.*B5 $DIR/journal) = $n ]"
done
check "an item is paid again" 2 "$(paid I7)"
check "and so is a single transfer" 4 "$(paid R30)"
BOOKS=$(books)
kill -9 "$BANK_PID"; wait "$BANK_PID" 2>/dev/null
start_bank
check "the books after another kill" "$BOOKS" "$(books)"
TOKEN=$(get_token | sed -E 's/.*"accessToken":"([^"]+)".*/\1/')
snap transfer-interbank "$(single R1 10000.00 5345000060)"; check "what was paid before is forgotten too" 2001800 "$CODE"
kill "$BANK_PID"; wait "$BANK_PID"; check "a clean end after forgetting" 0 $?
BANK_PID=
check "nothing on stderr" "" "$(cat "$DIR/err")"

echo "sandbox selftest: $PASSED passed, $FAILED failed"
[ "$FAILED" -eq 0 ]
