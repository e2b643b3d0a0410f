# 005_bank_down.pl: a bank that cannot be reached costs time, never money: payouts wait, the breaker lets the host rest,
# and once the bank is back each is paid once; also when the bank dies with requests and an accepted bulk under way.
use strict;
use warnings;
use lib 'test/t/lib';
use PayoutTest;
use Test::More;

my $t = PayoutTest->new(sandbox => { payroll_delay_ms => 1000 },
	channel => { not_found_grace_s => 0, not_found_count => 2, check_deadline_s => 86400 });

# Without waits of our own between tries, the breaker alone holds the worker back.
$t->sql("insert into payout.retry_policy (lane, base_ms, max_ms, tries_max) values ('validate', 1, 1, 100000), ('dispatch', 1, 1, 100000), ('check', 100, 100, 100000)");

sub paid_once
{
	my ($what, @txids) = @_;
	$t->wait_sql("select count(*) = " . @txids . " from payout.payout where state = 'paid' and txid in (" . join(', ', map { "'$_'" } @txids) . ')');
	is(join(' ', map { $t->times_paid($_) } @txids), join(' ', map { 1 } @txids), "$what: each is paid once");
}

# Down before the account check
$t->control('POST', 'down', { down => JSON::PP::true });
my @waiting = map { $t->pay } 1 .. 5;
my $gaps = "(select started_at - lag(started_at) over (order by started_at) as gap, row_number() over (order by started_at) as n from payout.attempt) g";
$t->wait_sql("select count(*) >= 2 from $gaps where gap > interval '700 ms'");
is($t->sql('select distinct outcome from payout.attempt where outcome is not null'), 'not_sent', 'nothing left for the bank');
is($t->sql("select count(*) from $gaps where gap <= interval '700 ms' and n > (select min(n) from $gaps where gap > interval '700 ms')"), '0',
	'the breaker lets one request try at a time, after a rest');
is($t->sql("select distinct state from payout.payout"), 'approved', 'the payouts wait');
is($t->sql("select in_transit from payout.balance('MERCHANT01')"), '50000.00', 'with their money');
$t->control('POST', 'down', { down => JSON::PP::false });
paid_once('down before the check', @waiting);

# Down before the transfer
my @checked = map { $t->register } 1 .. 5;
$t->wait_sql("select count(*) = 5 from payout.payout where state = 'registered' and account_check = 'matched'");
$t->control('POST', 'down', { down => JSON::PP::true });
$t->approve($_) for @checked;
$t->wait_sql("select count(*) >= 5 from payout.attempt a join payout.payout p using (channel_id, batch_id)
	where a.lane = 'dispatch' and a.outcome = 'not_sent' and p.txid in (" . join(', ', map { "'$_'" } @checked) . ')');
is($t->sql("select distinct state in ('dispatching', 'approved', 'suspect') from payout.payout where txid in (" . join(', ', map { "'$_'" } @checked) . ')'), 't',
	'none is refused for it');
is(join('', map { $t->times_paid($_) } @checked), '00000', 'none is paid');
$t->control('POST', 'down', { down => JSON::PP::false });
paid_once('down before the transfer', @checked);

# The bank dies: with a bulk accepted and not yet booked, a request booked and not answered, one not even booked.
my $accepted = $t->pay;
$t->wait_state($accepted, 'processing');
is($t->times_paid($accepted), 0, 'the bulk is accepted, its payroll has not run');
$t->fault(service => '17', kind => 'hang', after_booking => JSON::PP::true, count => 1);
my $booked = $t->pay(bank => 'OWNB', method => 'overbooking', account => '8811111111');
$t->wait_for('the bank has booked it', sub { $t->times_paid($booked) == 1 });
$t->fault(service => '17', kind => 'hang', count => 1);
my $unbooked = $t->pay(bank => 'OWNB', method => 'overbooking', account => '8811111112');
$t->wait_for('both hang', sub { $t->control('GET', 'hanging')->{count} >= 2 });
$t->kill_sandbox;
$t->wait_sql("select count(*) = 2 from payout.payout where state = 'suspect' and txid in ('$booked', '$unbooked')");
is($t->sql("select payout.money_position(merchant_id, txid) from payout.payout where txid = '$unbooked'"), 'in_transit', 'what is in doubt keeps its money');
$t->restart_sandbox;
paid_once('the bank died', $accepted, $booked, $unbooked);

$t->sound('at the end');
done_testing();
