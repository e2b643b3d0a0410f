# 052_every_sending.pl: an order that was sent twice. Each sending is asked for: one that the bank books late is found, and a
# late notice of the first refunds nothing while the second is out. What the bank never finds is sent again by itself only
# where its channel says so, else by a person, as the same bytes.
use strict;
use warnings;
use lib 'test/t/lib';
use PayoutTest;
use Test::More;

my $t = PayoutTest->new(sandbox => { status_by_external_id => JSON::PP::true },
	channel => { mode => 'single', request_timeout_ms => 20000, not_found_grace_s => 0, not_found_count => 2, batch_size_max => 2 });
my $yes = JSON::PP::true;

sub alter { my ($options) = @_; $t->sql("select payout.alter_channel('BANK1', '$options')") }
sub quick { $t->sql("insert into payout.retry_policy (lane, base_ms, max_ms, tries_max) values ('check', 20, 100, 100000), ('dispatch', 20, 100, 1000)") }
sub wait_sendings { my ($txid, $count) = @_; $t->wait_for("$count sendings", sub { $t->sendings($txid) =~ /^$count / }) }

quick();

# The first sending hangs at the bank and is booked late, after the second has timed out too.
sub booked_late
{
	my ($name, %second) = @_;
	# So long after each sending nothing goes again.
	alter('{"request_timeout_ms": 700, "not_found_grace_s": 2}');
	$t->fault(service => '18', kind => 'hang', keep => $yes, count => 1);
	my $txid = $t->pay;
	$t->wait_for("$name: it hangs", sub { $t->control('GET', 'hanging')->{count} > 0 });
	$t->fault(service => '18', count => 1, %second);
	wait_sendings($txid, 2);
	# From here on nothing goes again: what is found is found by asking.
	alter('{"request_timeout_ms": 20000, "not_found_grace_s": 3600}');
	$t->wait_sql("select count(distinct asked_attempt_id) = 2 from payout.attempt where txid = '$txid' and lane = 'check'
		and started_at > (select max(a.finished_at) from payout.attempt a join payout.payout p using (channel_id, batch_id) where p.txid = '$txid')");
	is($t->state($txid), 'suspect', "$name: both sendings are asked for");
	$t->control('POST', 'release');
	$t->wait_state($txid, 'paid');
	is($t->times_paid($txid), 1, "$name: the first sending is found, and paid once");
	is($t->sendings($txid), '2 1 2', "$name: it was sent twice, the same order");
	$t->clear_faults;
}
booked_late('the second times out', kind => 'hang');
booked_late('the second is answered with 500', kind => 'error_before', http => 500);
booked_late('the second is reset', kind => 'reset_before');

# Each inquiry names the external id of the sending that it asks for.
is($t->sql("select count(*) from payout.attempt c left join payout.attempt d on d.channel_id = c.channel_id and d.attempt_id = c.asked_attempt_id
	where c.lane = 'check' and d.lane is distinct from 'dispatch'"), '0', 'each inquiry names a sending');

# A late notice of the first bulk says that all failed, while the second is out.
alter('{"mode": "bulk", "request_timeout_ms": 30000, "not_found_grace_s": 0}');
$t->fault(service => '20', kind => 'deny_later', delay_ms => 1500, count => 1);
$t->fault(service => '20', kind => 'hang', count => 1);
my ($one, $two) = map { $t->register } 1 .. 2;
$t->wait_sql("select count(*) = 0 from payout.payout where account_check = 'pending'");
$t->sql("select payout.approve_batch('MERCHANT01', array['$one', '$two'])");
wait_sendings($one, 2);
$t->wait_for('the denial has come', sub { $t->sql("select count(*) from payout.notice where batch_id = (select batch_id::text from payout.payout where txid = '$one')") > 0 });
is($t->sql("select string_agg(kind, ' ' order by kind) from payout.transfer where txid in ('$one', '$two')"), 'deduct deduct', 'a late denial refunds nothing while a sending is out');
$t->control('POST', 'release');
$t->wait_state($_, 'paid') for $one, $two;
is(join(' ', map { $t->times_paid($_) } $one, $two), '1 1', 'both are paid, once');

# Without the bank's word a person decides.
alter('{"mode": "single", "reference_memory_s": null}');
$t->fault(service => '18', kind => 'error_before', http => 500, count => 1);
my $lost = $t->pay;
$t->wait_sql("select exists (select from payout.hold where txid = '$lost' and lane = 'dispatch')");
is($t->state($lost), 'suspect', 'it is held, and still in doubt');
my $asked = $t->requests('36');
$t->wait_for('it goes on being asked for', sub { $t->requests('36') > $asked + 1 });
is($t->sendings($lost), '1 1 1', 'it was not sent again');
is($t->sql("select status from payout.health() where check_name = 'hold_dispatch'"), 'warning', 'health() says so');
is($t->sql("select state from payout.resolve('MERCHANT01', '$lost', 'dispatch', 'the bank has written that it knows nothing')"), 'dispatching', 'a person sends it');
$t->wait_state($lost, 'paid');
is($t->sendings($lost), '2 1 2', 'the same bytes, once');
is($t->times_paid($lost), 1, 'paid once');
is($t->sql('select count(*) from payout.hold'), '0', 'nothing is held any more');
$t->sound('at the end');
$t->end_children;

# The first sending is lost, the second taken, and then fails at payroll without a notice.
sub fails_later
{
	my ($name, $knows_sendings, %first) = @_;
	my $b = PayoutTest->new(name => $name =~ tr/ /_/r, sandbox => { status_by_external_id => $knows_sendings ? $yes : JSON::PP::false },
		channel => { mode => 'bulk', batch_size_max => 2, linger_ms => 0, request_timeout_ms => 20000, not_found_grace_s => 0, not_found_count => 2 });
	$b->sql("insert into payout.retry_policy (lane, base_ms, max_ms, tries_max) values ('check', 20, 100, 100000), ('dispatch', 20, 100, 1000)");
	$b->fault(service => '20', count => 1, %first);
	$b->fault(service => '20', kind => 'item_fail', http => 404, code => '11', count => 1);
	$b->fault(service => '21', kind => 'no_notice');
	my $failing = $b->pay;
	my $answers = "from payout.attempt where txid = '$failing' and lane = 'check' and started_at > (select max(a.finished_at) from payout.attempt a join payout.payout p using (channel_id, batch_id) where p.txid = '$failing')";
	if (!$knows_sendings)
	{
		# Whichever sending it is asked for, it denies the second: of the first, which it may have booked, that says nothing.
		$b->wait_sql("select count(*) filter (where answer = 'failed') > 2 and count(*) filter (where answer = 'unknown' and excerpt like 'originalExternalId does not fit%') > 2 $answers");
		is($b->state($failing), 'processing', "$name: it is in doubt");
		is($b->sql("select string_agg(kind, ' ' order by at) from payout.transfer where txid = '$failing'"), 'deduct', "$name: no money moves");
		is($b->sql("select state from payout.resolve('MERCHANT01', '$failing', 'failed', 'the bank has written that it paid neither')"), 'failed', "$name: a person decides");
	}
	$b->wait_state($failing, 'failed');
	is($b->sendings($failing), '2 1 2', "$name: it was sent twice, the same order");
	is($b->times_paid($failing), 0, "$name: the bank paid nothing");
	is($b->sql("select string_agg(kind, ' ' order by at) from payout.transfer where txid = '$failing'"), 'deduct refund', "$name: the money is given back, once");
	like($b->sql("select string_agg(distinct answer, ' ' order by answer) $answers"), qr/failed.* not_found/, "$name: the one failed, the other is not known") if $knows_sendings;
	$b->sound($name);
	$b->end_children;
}
fails_later('a bulk that is lost first', 1, kind => 'reset_before');
fails_later('a bulk that is answered with 500 first', 1, kind => 'error_before', http => 500);
fails_later('a bank that answers of its newest record', 0, kind => 'reset_before');
done_testing();
