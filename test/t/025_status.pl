# 025_status.pl: asking the bank: CALL payout.check_status and its limits, the bank's minimum delay and its memory, and
# truth that comes after the end.
use strict;
use warnings;
use lib 'test/t/lib';
use PayoutTest;
use Test::More;
use Time::HiRes qw(time);

my $t = PayoutTest->new(channel => { mode => 'single' });
my $node = $t->{node};
my $txid = $t->pay;
$t->wait_state($txid, 'paid');

is($t->sql("call payout.check_status('MERCHANT01', '$txid')"), 'paid', 'the bank says paid');
is($t->sqlstate("begin; call payout.check_status('MERCHANT01', '$txid'); commit"), '2D000', 'not inside a transaction block');
is($t->sqlstate("call payout.check_status('MERCHANT01', 'X')"), 'PY003', 'no such payout');
is($t->sqlstate("call payout.check_status('MERCHANT02', '$txid')"), 'PY003', 'not another merchant\'s');
is($t->sqlstate("call payout.check_status('MERCHANT01', '$txid', '-1 s')"), 'PY016', 'a negative wait');
is($t->sqlstate("call payout.check_status('MERCHANT01', '$txid', null)"), 'PY016', 'no wait');

# A bank that does not answer: the call gives up in time, and holds no snapshot while it waits
$t->fault(service => '36', kind => 'hang');
my $started = time;
is($t->sql("call payout.check_status('MERCHANT01', '$txid', '500 ms')"), 'paid', 'the state as it is known');
ok(time - $started < 3, 'after max_wait');
my ($in, $out, $err) = ("call payout.check_status('MERCHANT01', '$txid', '1 min');\n", '', '');
my $waiter = IPC::Run::start([ 'psql', '-XAtq', '-d', $node->connstr('app') ], '<', \$in, '>', \$out, '2>', \$err);
my $waiting = "from pg_stat_activity where query like 'call payout.check_status%' and wait_event_type = 'Extension'";
$t->wait_for('it waits', sub { $waiter->pump_nb; $t->sql("select count(*) $waiting") eq '1' });
is($t->sql("select count(*) $waiting and (backend_xmin is not null or backend_xid is not null)"), '0', 'without a snapshot');
$t->sql("select pg_cancel_backend(pid) $waiting");
$in = "\\q\n";
$waiter->finish;
like($err, qr/cancel/, 'a cancel ends the wait');
my $cancelled = $t->sql('select clock_timestamp()');
$t->clear_faults;
$t->control('POST', 'release');
$t->wait_sql("select status_checked_at > '$cancelled' from payout.payout where txid = '$txid'");	# the question stays asked

# Money that comes back
$t->wait_sql("select count(*) = 0 from payout.attempt where outcome is null");
$t->control('POST', 'refund', { partner_reference_no => $txid });
is($t->sql("call payout.check_status('MERCHANT01', '$txid')"), 'returned', 'the bank gave it back');
is($t->sql("select available from payout.balance('MERCHANT01')"), '100000000.00', 'to the merchant');

# The minimum delay, by the settable clock
$t->sql(q(select payout.alter_channel('BANK1', '{"status_delay_s": 600, "status_window_days": 2, "not_found_grace_s": 604800}')));
$t->fault(service => '18', kind => 'reset_before', count => 1);
my $lost = $t->pay;
$t->wait_state($lost, 'suspect');
my $asked = $t->requests('36');
$t->sql("select payout.request_check('MERCHANT01', '$lost')");
$t->wait_state($t->pay, 'paid');	# the worker has turned since
is($t->requests('36'), $asked, 'not before the bank\'s minimum delay');
$t->set_clock(700);
$t->wait_for('then it is asked', sub { $t->requests('36') > $asked });
is($t->state($lost), 'suspect', 'not found proves nothing within the grace period');

# Past the bank's memory a person decides
$t->set_clock(3 * 86400);
$t->wait_sql("select exists (select from payout.hold where txid = '$lost' and lane = 'check')");
is($t->sql("select payout.money_position('MERCHANT01', '$lost')"), 'in_transit', 'its money is kept');
is($t->sql("select status <> 'ok' from payout.health() where check_name like '%hold%' and status <> 'ok' limit 1"), 't', 'health shows it');
is($t->sql("select state from payout.resolve('MERCHANT01', '$lost', 'failed', 'the statement does not have it')"), 'failed', 'a person decides');
is($t->sql("select payout.money_position('MERCHANT01', '$lost')"), 'refunded', 'its money is back');

# Proof of payment after a refusal: the bank refuses a bulk, and books it nevertheless
$t->sql(q(select payout.alter_channel('BANK1', '{"mode": "bulk"}')));
$t->fault(service => '21', kind => 'delay', delay_ms => 700, count => 1);
$t->fault(service => '20', kind => 'answer', http => 403, code => '05', after_booking => JSON::PP::true, count => 1);
my $liar = $t->pay(merchant => 'MERCHANT02');
$t->wait_state($liar, 'failed');
is($t->sql("select available from payout.balance('MERCHANT02')"), '100000000.00', 'refused: its money is back');
$t->wait_state($liar, 'disputed');
is($t->sql("select status <> 'ok' from payout.health() where check_name like '%disputed%' limit 1"), 't', 'health shows it');
is($t->sql("select available from payout.balance('MERCHANT02')"), '100000000.00', 'a dispute moves no money');
is($t->sqlstate("select payout.approve('MERCHANT02', '$liar')"), '00000', 'approve answers');
is($t->sql("select state from payout.resolve('MERCHANT02', '$liar', 'paid', 'on the statement')"), 'paid', 'a person decides');
is($t->sql("select payout.money_position('MERCHANT02', '$liar')"), 'lost', 'the platform bears it');
is($t->sql("select available from payout.balance('MERCHANT02')"), '100000000.00', 'the merchant does not');
is($t->times_paid($liar), 1, 'paid once');
$t->sound('at the end');
done_testing();
