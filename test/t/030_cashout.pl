# 030_cashout.pl: a cashout from checkout to the merchant's notification, and all that may come between: a reversal, a
# reservation that lapses, expiry, a crash of the server, of the worker in the middle of expiring, and a copy.
use strict;
use warnings;
use lib 'test/t/lib';
use PayoutTest;
use Test::More;

my $t = PayoutTest->new(merchant => { fee => { cashout => { flat => 2500 } } }, balance => 1000000000);
my $node = $t->{node};

sub available { my $merchant = shift || 'MERCHANT01'; return $t->sql("select available from payout.balance('$merchant')"); }

# Steps 1 to 12: charged at registration, the token at approval
my $txid = $t->register_cashout(amount => 500000);
like($txid, qr/^MERCHANT0107\d{14}[0-9A-Z]{4}$/, 'the TXID has its form');
is(available(), '999497500.00', 'amount and fee are charged with the registration');
my $token = $t->issue_token($txid);
like($token, qr/^\d{20}$/, 'the approval answers with a token');
is(substr($token, 0, 4) + 0, $t->sql("select payout.slot('MERCHANT01')"), 'it begins with the slot');
is(PayoutTest::check_digit(substr $token, 0, 19), substr($token, 19), 'and ends with the check digit');
is($t->sql("select txid, state, cashout_token is null from payout.approve('MERCHANT01', '$txid')"), "$txid|token_issued|t", 'a repeat shows no token');

# Steps 13 to 24
is($t->validate("$1 $2-$3 $4 $5\r\n", reference => 'A1', columns => 'txid, amount, currency, beneficiary_name'),
	"$txid|500000.00|IDR|B*** S***", 'validated, typed in groups') if $token =~ /^(.{4})(.{4})(.{4})(.{4})(.{4})$/;
is($t->sqlstate($t->validate_sql($token, cvs => 'STORE2')), 'PY010', 'another store is refused');
is($t->confirm($token, reference => 'A1', columns => 'txid, state, amount, cvs_reference'), "$txid|paid|500000.00|A1", 'confirmed');
$t->wait_told($txid, 'payout.paid');
is(join(' ', map { $_->{type} } @{ $t->webhooks }), 'payout.approved payout.paid', 'the merchant is told in order');
my ($told) = grep { $_->{type} eq 'payout.paid' } @{ $t->webhooks };
is(join(' ', map { $_ // '-' } @{ $told->{body}{data} }{qw(kind state amount fee cvs_code cvs_reference)}), 'cashout paid 500000.00 2500.00 STORE1 A1', 'what and by which store');
unlike(JSON::PP::encode_json($t->webhooks), qr/$token/, 'never the token');
is($t->sql("select sum(amount) from payout.cvs_settlement('STORE1', payout.jakarta_day(now()))"), '500000.00', 'owed to the store');

# The server dies with a token issued and another reserved
my ($issued, $issued_token) = $t->issue;
my ($reserved, $reserved_token) = $t->issue;
$t->validate($reserved_token, reference => 'B1');
$node->stop('immediate');
$node->start;
is($t->state($reserved), 'token_reserved', 'the reservation survives');
is($t->confirm($reserved_token, reference => 'B1'), 'paid', 'and is confirmed');
$t->wait_told($reserved, 'payout.paid');

# Reversal
is($t->validate($issued_token, reference => 'C1'), $issued, 'the token survives');
is($t->reverse_it($issued_token, reference => 'C1'), 'token_issued', 'reversed, it is free again');
$t->wait_told($issued, 'payout.reversed');
is($t->sqlstate($t->validate_sql($issued_token, reference => 'C1')), 'PY004', 'the late original is refused');
is($t->validate($issued_token, cvs => 'STORE2', reference => 'C2'), $issued, 'another store validates it');
is($t->reverse_it($issued_token, reference => 'C1'), 'token_issued', 'the reversal repeated answers the same');
is($t->state($issued), 'token_reserved', 'and moves nothing');
is($t->confirm($issued_token, cvs => 'STORE2', reference => 'C2'), 'paid', 'paid by the other store');

# A reservation lapses; a token expires
my $before = available();
my ($lapses, $lapses_token) = $t->issue(amount => 70000);
my ($expires, $expires_token) = $t->issue(amount => 90000);
my ($reissued, $dead_token) = $t->issue(amount => 10000);
$t->validate($lapses_token, reference => 'D1');
$t->set_clock(910);
$t->wait_state($lapses, 'suspect');
$t->wait_told($lapses, 'payout.suspect');
is($t->sqlstate($t->validate_sql($lapses_token, cvs => 'STORE2')), 'PY010', 'a suspect is not redeemable elsewhere');
is($t->state($expires), 'token_issued', 'tokens go on');
is($t->confirm($lapses_token, reference => 'D1'), 'paid', 'the late confirmation is taken');
$t->wait_told($lapses, 'payout.paid');
my $alive_token = $t->sql("select cashout_token from payout.reissue_token('MERCHANT01', '$reissued')");
$t->set_clock(86500);
$t->wait_state($expires, 'expired');
$t->wait_told($expires, 'payout.expired');
is($t->state($reissued), 'token_issued', 'a token that was issued again has its own time');
is(available(), sprintf('%.2f', $before - 72500 - 12500), 'amount and fee of the expired one are back');
is($t->sqlstate($t->validate_sql($expires_token)), 'PY011', 'its token says so');
is($t->sqlstate($t->validate_sql($dead_token)), 'PY010', 'the replaced token is dead');
is($t->validate($alive_token, reference => 'E1'), $reissued, 'the new one is taken');
is($t->confirm($alive_token, reference => 'E1'), 'paid', 'and paid');

# The worker dies in the middle of a batch of expiries
$before = available('MERCHANT02');
$t->sql("select payout.approve('MERCHANT02', c.txid) from generate_series(1, 1200) g,
	lateral payout.register_cashout('MERCHANT02', 'MANY' || g, 10000, 'Budi Santoso', '081234567890') c");
is(available('MERCHANT02'), sprintf('%.2f', $before - 1200 * 12500), 'all charged');
$t->sql(q(create table public.may_go (at timestamptz);
	create function public.wait() returns trigger language plpgsql as $$
	begin
		while not exists (select from public.may_go) loop
			perform pg_sleep(0.02);
		end loop;
		return new;
	end $$;
	create trigger zz_wait before update on payout.payout for each row when (old.reference_no = 'MANY700') execute function public.wait()));
my $expired = "select count(*) from payout.payout where merchant_id = 'MERCHANT02' and state = 'expired'";
$t->set_clock(86500 * 2);
my $worker = "pg_stat_activity where backend_type = 'payout worker'";
$t->wait_sql("select wait_event = 'PgSleep' from $worker");
my $half = $t->sql($expired);
ok($half > 0 && $half < 1200, "in the middle: $half have expired");
kill 'KILL', $t->sql("select pid from $worker");
$t->wait_sql('select count(*) = 3 from payout.incarnation');
is($t->sql($expired), $half, 'the batch that died has left nothing');
is($t->sql('select * from payout.verify()'), '', 'verify() is empty in between');
$t->sql('insert into public.may_go values (now())');
$t->wait_for('all expire', sub { $t->sql($expired) == 1200 });
is(available('MERCHANT02'), $before, 'everything is back, once');
is($t->sql("select count(*), count(distinct txid) from payout.payout_event where to_state = 'expired' and merchant_id = 'MERCHANT02'"), '1200|1200', 'each expired once');
$t->sql('drop trigger zz_wait on payout.payout');
$t->wait_sql("select count(*) = 1200 from payout.notification where merchant_id = 'MERCHANT02' and event = 'payout.expired' and delivered_at is not null");

# A copy issues and validates nothing; what a store has paid is recorded
my ($waits, $waits_token) = $t->issue;
my ($taken, $taken_token) = $t->issue;
my $unapproved = $t->register_cashout;
$t->validate($taken_token, reference => 'F1');
$node->command_ok([ 'pg_dump', '-Fc', '-f', "$t->{dir}/app.dump", $node->connstr('app') ], 'pg_dump');
$node->safe_psql('postgres', 'create database copy');
$node->command_ok([ 'pg_restore', '--exit-on-error', '-d', $node->connstr('copy'), "$t->{dir}/app.dump" ], 'pg_restore');
is($node->safe_psql('copy', 'select payout.is_armed()'), 'f', 'the copy is not armed');
is($t->sqlstate($t->validate_sql($waits_token), 'copy'), 'PY015', 'it validates nothing');
is($t->sqlstate($t->validate_sql('1'), 'copy'), 'PY015', 'and says of a wrong token no more than of a right one');
is($t->sqlstate("select payout.approve('MERCHANT01', '$unapproved')", 'copy'), 'PY015', 'it approves no cashout');
is($t->sqlstate("select payout.reissue_token('MERCHANT01', '$waits')", 'copy'), 'PY015', 'it issues no token again');
is($node->safe_psql('copy', "select state from payout.register_cashout('MERCHANT01', 'COPY', 20000, 'Budi Santoso', '081234567890')"), 'registered', 'it registers');
is($node->safe_psql('copy', $t->confirm_sql($taken_token, reference => 'F1')), 'paid', 'it records a confirmation');
is($node->safe_psql('copy', "select state, cvs_code from payout.payout where txid = '$taken'"), 'paid|STORE1', 'for good');
is($node->safe_psql('copy', 'select * from payout.verify()'), '', 'the copy is sound');
is($t->state($taken), 'token_reserved', 'the original knows nothing of it');
is($t->confirm($taken_token, reference => 'F1'), 'paid', 'until it is told');
is($t->validate($waits_token, reference => 'F2'), $waits, 'and validates');
is($t->reverse_it($waits_token, reference => 'F2'), 'token_issued', 'and reverses');

$t->sound('at the end');
done_testing();
