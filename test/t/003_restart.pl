# 003_restart.pl: the worker, the launcher and the whole server die while requests are under way; nothing is paid twice,
# nothing is lost, and what had been sent counts as unknown until the bank is asked.
use strict;
use warnings;
use lib 'test/t/lib';
use PayoutTest;
use Test::More;

my $t = PayoutTest->new(channel => { mode => 'single', not_found_grace_s => 0, not_found_count => 2 });
my $node = $t->{node};
my $incarnations = 1;

sub pid_of
{
	my $type = shift;
	return $node->safe_psql('postgres', "select pid from pg_stat_activity where backend_type = 'payout $type'");
}

# Two payouts are under way: the bank has booked one and not the other. Then something dies.
sub dies
{
	my ($what, $kill) = @_;
	$t->fault(service => '18', kind => 'hang', after_booking => JSON::PP::true, count => 1);
	my $booked = $t->pay;
	$t->wait_for('the bank has booked it', sub { $t->times_paid($booked) == 1 });
	$t->fault(service => '18', kind => 'hang', count => 1);
	my $unbooked = $t->pay;
	$t->wait_for('both hang', sub { $t->control('GET', 'hanging')->{count} >= 2 });
	$kill->();
	$incarnations++;
	$t->wait_sql("select count(*) = $incarnations from payout.incarnation");
	is($t->sql("select string_agg(distinct a.outcome, ' ') from payout.attempt a join payout.payout p using (channel_id, batch_id)
		where p.txid in ('$booked', '$unbooked') and a.incarnation_id = (select incarnation_id from payout.incarnation order by started_at desc offset 1 limit 1)"),
		'unknown', "$what: what was under way is unknown");
	$t->wait_for('the kept money', sub { $t->sql("select bool_and(payout.money_position(merchant_id, txid) in ('in_transit', 'settled')) from payout.payout where txid in ('$booked', '$unbooked')") eq 't' });
	for my $txid ($booked, $unbooked)
	{
		# the checks back off by the settable clock; it runs ahead so that the test does not wait
		$t->wait_state($txid, 'paid');
		is($t->times_paid($txid), 1, "$what: paid once");
	}
}

dies('the worker', sub { kill 'KILL', pid_of('worker'); });
dies('the launcher', sub { kill 'KILL', pid_of('launcher'); });
dies('the server', sub { $node->stop('immediate'); $node->start; });

# Terminated politely, the worker comes back as well.
my $worker = pid_of('worker');
$node->safe_psql('postgres', "select pg_terminate_backend($worker)");
$t->wait_for('another worker runs', sub { my $now = pid_of('worker'); $now ne '' && $now ne $worker });
$t->wait_state($t->pay, 'paid');

$t->sound('at the end');
done_testing();
