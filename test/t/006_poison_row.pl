# 006_poison_row.pl: one row that cannot be written stops nobody else. A payout whose claim or whose outcome fails is set
# aside with the reason, the others are paid; a person releases it. A row that is merely locked is tried again.
use strict;
use warnings;
use lib 'test/t/lib';
use PayoutTest;
use Test::More;

my $t = PayoutTest->new(channel => { not_found_grace_s => 0, not_found_count => 2 });
my $node = $t->{node};
$t->sql("insert into payout.retry_policy (lane, base_ms, max_ms, tries_max) values ('check', 100, 100, 100000)");
$t->sql("create function public.poison() returns trigger language plpgsql as \$\$ begin raise 'poisoned'; end \$\$");

# Writing this payout fails where the condition holds.
sub poison
{
	my ($txid, $condition) = @_;
	$t->sql("create trigger zz_poison before update on payout.payout for each row when (old.txid = '$txid' and $condition) execute function public.poison()");
}

sub cure { $t->sql('drop trigger zz_poison on payout.payout'); }

sub held { my $txid = shift; return $t->sql("select lane, reason from payout.hold where txid = '$txid'"); }

# Ten payouts of which one is poisoned: nine are paid, it is set aside; cured and released, it is paid once.
sub set_aside
{
	my ($what, $condition, $lane, $reason) = @_;
	$t->sql("select payout.pause_channel('BANK1', 'poison')");
	my @txids = map { $t->pay } 1 .. 10;
	my $bad = $txids[4];
	poison($bad, $condition);
	$t->sql("select payout.resume_channel('BANK1')");
	$t->wait_sql("select count(*) = 9 from payout.payout where state = 'paid' and txid in ('" . join("', '", @txids) . "')");
	$t->wait_sql("select exists (select from payout.hold where txid = '$bad')");
	is(held($bad), "$lane|$reason", "$what: set aside with the reason");
	is($t->sql("select status from payout.health() where check_name = 'hold_$lane'"), 'warning', "$what: health() says so");
	is($t->sql("select payout.money_position(merchant_id, txid) from payout.payout where txid = '$bad'"), 'in_transit', "$what: its money is kept");
	is($t->sql('select count(*) from payout.hold'), '1', "$what: nobody else is");
	cure();
	$t->sql("select payout.resolve('MERCHANT01', '$bad', 'dispatch', 'cured')");
	$t->wait_state($bad, 'paid');
	is(join(' ', map { $t->times_paid($_) } @txids), join(' ', (1) x 10), "$what: each is paid once");
	is($t->sql('select count(*) from payout.hold'), '0', "$what: nothing is left aside");
}

my $unrecorded = 'its outcome could not be recorded: poisoned';

set_aside('claim of the check', "old.check_due_at is not null and new.check_due_at is null and new.account_check = 'pending'", 'validate', 'P0001: poisoned');
set_aside('record of the check', "old.account_check <> new.account_check", 'validate', $unrecorded);
set_aside('claim of the transfer, bulk', "new.state = 'dispatching'", 'dispatch', 'P0001: poisoned');
$t->sql(q(select payout.alter_channel('BANK1', '{"mode": "single"}')));
set_aside('claim of the transfer, single', "new.state = 'dispatching'", 'dispatch', 'P0001: poisoned');
set_aside('record of the transfer', "old.state = 'dispatching'", 'dispatch', $unrecorded);

# A worker that begins finds a transfer of a dead one whose end cannot be written: it begins all the same.
$t->fault(service => '18', kind => 'hang', after_booking => JSON::PP::true, count => 1);
my $orphan = $t->pay;
$t->wait_for('the bank has booked it', sub { $t->times_paid($orphan) == 1 });
poison($orphan, "old.state = 'dispatching'");
kill 'KILL', $node->safe_psql('postgres', "select pid from pg_stat_activity where backend_type = 'payout worker'");
$t->wait_sql('select count(*) = 2 from payout.incarnation');
my $other = $t->pay;
$t->wait_state($other, 'paid');
is(held($orphan), "dispatch|$unrecorded", 'the orphan is set aside');
cure();
$t->sql("select payout.resolve('MERCHANT01', '$orphan', 'dispatch', 'cured')");
$t->wait_state($orphan, 'paid');
is($t->times_paid($orphan), 1, 'paid once');

# Rows that somebody holds: one to be claimed, one to be recorded.
$t->fault(service => '18', kind => 'hang', count => 1);
my $recorded = $t->pay;
$t->wait_for('it hangs', sub { $t->control('GET', 'hanging')->{count} == 1 });
my $claimed = $t->register;
$t->wait_sql("select account_check = 'matched' from payout.payout where txid = '$claimed'");
$t->sql("select payout.pause_channel('BANK1', 'lock')");
$t->approve($claimed);
my $locker = $node->background_psql('app');
$locker->query_safe("begin; select from payout.payout where txid in ('$recorded', '$claimed') for update");
$t->sql("select payout.resume_channel('BANK1')");
$t->control('POST', 'release');
$t->wait_for('the bank has paid', sub { $t->times_paid($recorded) == 1 });
my $free = $t->pay;
$t->wait_state($free, 'paid');
is($t->state($recorded), 'dispatching', 'a locked row is not yet recorded');
is($t->state($claimed), 'approved', 'a locked row is not claimed');
is($t->sql('select count(*) from payout.hold'), '0', 'and neither is set aside');
$locker->query_safe('rollback');
$locker->quit;
$t->wait_state($_, 'paid') for $recorded, $claimed;
is($t->times_paid($_), 1, 'paid once') for $recorded, $claimed;

$t->sound('at the end');
done_testing();
