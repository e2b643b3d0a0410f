# 005_bank_down.pl: the bank is unreachable, and dies and comes back in the middle: payouts wait, nothing is lost, each is
# paid once.
use strict;
use warnings;
use lib 'test/t/lib';
use PayoutTest;
use Test::More;

my $t = PayoutTest->new(channel => { not_found_grace_s => 0, not_found_count => 2, connect_timeout_ms => 1000 });
$t->sql("insert into payout.retry_policy (lane, base_ms, max_ms, tries_max) values
	('check', 20, 200, 100000), ('dispatch', 20, 200, 1000), ('validate', 20, 200, 100000), ('notify', 20, 200, 1000)");

my $checked = $t->register;
$t->wait_sql("select account_check = 'matched' from payout.payout where txid = '$checked'");
$t->control('POST', 'down', { down => JSON::PP::true });
my @txids = ($checked, map { $t->register } 1 .. 20);
$t->approve($_) for @txids;
$t->wait_sql("select count(*) > 0 from payout.attempt where lane = 'dispatch' and outcome = 'not_sent'");
is($t->state($checked), 'dispatching', 'what did not leave stays to be sent');
is($t->sql('select in_transit from payout.balance(\'MERCHANT01\')'), '210000.00', 'its money stays reserved');
$t->control('POST', 'down', { down => JSON::PP::false });
$t->set_clock(60);	# the breaker's rest is over
$t->wait_sql("select count(*) = 21 from payout.payout where state = 'paid'");

# Killed with a bulk accepted but not booked, the bank remembers it by its journal.
$t->fault(service => '20', kind => 'delay', delay_ms => 100);
my @more = map { $t->register } 1 .. 10;
$t->wait_sql("select count(*) = 0 from payout.payout where account_check = 'pending'");
$t->approve($_) for @more;
$t->kill_sandbox;
$t->wait_sql("select count(*) = 0 from payout.payout where state = 'approved'");
$t->restart_sandbox;
$t->set_clock(120);
$t->wait_sql("select count(*) = 31 from payout.payout where state = 'paid'");
is(scalar(grep { $t->times_paid($_) != 1 } @txids, @more), 0, 'each is paid once');
$t->sound('at the end');
done_testing();
