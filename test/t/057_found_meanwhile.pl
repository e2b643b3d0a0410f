# An order that the bank did not find goes again, and waits for a token. Meanwhile an older inquiry is answered: the bank has
# paid it. The worker has moved the payout itself, and its own order must not leave any more.
use strict;
use warnings;
use lib 'test/t/lib';
use JSON::PP ();
use PayoutTest;
use Test::More;

my $t = PayoutTest->new(
	balance => 1000000,
	channel => { mode => 'single', request_timeout_ms => 1000, not_found_grace_s => 0, not_found_count => 1, reference_memory_s => 86400, status_delay_s => 30 });
$t->sql("insert into payout.retry_policy (lane, base_ms, max_ms, tries_max) values ('check', 3600000, 3600000, 100000)");
my $txid = $t->register;
$t->wait_sql("select not exists (select from payout.payout where account_check = 'pending')");

$t->fault(service => '18', kind => 'hang', after_booking => JSON::PP::true, count => 1);
$t->fault(service => '36', kind => 'hang', count => 1);
$t->approve($txid);
$t->wait_state($txid, 'suspect');
is($t->times_paid($txid), 1, 'the bank has paid the order, and its answer is lost');

# the first inquiry waits, the second one says "not found"
my $under_way = sub { my ($lane, $count) = @_; $t->wait_sql("select count(*) = $count from payout.attempt where lane = '$lane' and outcome is null") };
$t->sql(q(select payout.alter_channel('BANK1', '{"request_timeout_ms": 60000, "status_delay_s": 0}')));
$t->sql("select payout.request_check('MERCHANT01', '$txid')");
$under_way->('check', 1);
$t->fault(service => '36', kind => 'answer', http => 404, code => '01', delay_ms => 1500, count => 1);
$t->sql("select payout.request_check('MERCHANT01', '$txid')");
$under_way->('check', 2);
$t->sql("select payout.pause_channel('BANK1', 'test')");
$t->wait_state($txid, 'dispatching');

# the order is claimed again and waits for a new token
$t->sql(q(select payout.alter_channel('BANK1', '{"connect_timeout_ms": 50000}')));
$t->fault(service => '73', kind => 'delay', delay_ms => 5000, count => 1);
my $sent = $t->requests('18');
$t->sql("select payout.resume_channel('BANK1')");
$under_way->('dispatch', 1);
$t->control('POST', 'release');
$t->wait_state($txid, 'paid');
$under_way->('dispatch', 0);
is($t->requests('18'), $sent, 'the order did not leave again');
is($t->times_paid($txid), 1, 'it is paid once');
is($t->state($txid), 'paid', 'and stays paid');
done_testing();
