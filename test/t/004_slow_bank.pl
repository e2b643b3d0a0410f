# 004_slow_bank.pl: with 100 requests hanging at the bank, nothing else waits: neither DROP DATABASE nor a reload nor the
# server's stop, and no worker holds a transaction or a snapshot meanwhile.
use strict;
use warnings;
use lib 'test/t/lib';
use PayoutTest;
use Test::More;
use Time::HiRes qw(time);

# The worker has no reason to turn of its own accord while we look.
my $t = PayoutTest->new(conf => [ 'payout.max_in_flight = 200', "payout.safety_poll = '1h'" ],
	channel => { mode => 'single', in_flight_max => 200, request_timeout_ms => 30000 });
my $node = $t->{node};

sub hang_100
{
	my $prefix = shift;
	$t->clear_faults;
	$t->fault(service => '18', kind => 'hang');
	$t->sql("select payout.approve('MERCHANT01', txid) from (select (payout.register('MERCHANT01', '$prefix' || i, 1000, 'CENA', '8800000001', 'Budi Santoso')).txid from generate_series(1, 100) i) r");
	$t->wait_for('100 requests hang', sub { $t->control('GET', 'hanging')->{count} >= 100 });
}

sub in_two_seconds
{
	my ($what, $code) = @_;
	my $started = time;
	$code->();
	my $took = time - $started;
	note sprintf '%s took %.2f s', $what, $took;
	ok($took < 2, "$what within 2 s");
}

# What a worker has open, and for how long.
sub workers_in_transaction
{
	return $node->safe_psql('postgres', "select backend_type, query, clock_timestamp() - xact_start, backend_xid, backend_xmin
		from pg_stat_activity where backend_type = 'payout worker'
		and (backend_xid is not null or backend_xmin is not null or xact_start is not null)");
}

# Notifications and folding make turns of their own; after those, the hundred requests are all there is.
hang_100('A');
$t->wait_sql('select not exists (select from payout.notification where due_at is not null or sending_by is not null)
	and not exists (select from payout.balance_delta)');
my $ends = time + 3;
my ($samples, @seen) = (0);
while (time < $ends)
{
	my $found = workers_in_transaction();
	$samples++;
	push @seen, $found if $found ne '';
}
note "$samples samples";
ok($samples > 20, 'looked often');
is(join("\n", @seen), '', 'no worker has a transaction or a snapshot');
is($t->control('GET', 'hanging')->{count}, 100, 'while the hundred were hanging');

in_two_seconds('reload', sub {
	$node->safe_psql('postgres', "alter system set payout.clock_offset = '1h'; select pg_reload_conf()");
	$t->wait_for('the worker reads its tables by the new clock', sub {
		$node->safe_psql('postgres', "select payout_reloaded from (select count(*) = 1 as payout_reloaded from pg_stat_activity
			where backend_type = 'payout worker' and state_change > pg_conf_load_time()) s") eq 't' });
});

in_two_seconds('DROP DATABASE with force', sub { $node->safe_psql('postgres', 'drop database app with (force)') });
$t->control('POST', 'release');

# Again, for the stop of the server.
$node->safe_psql('postgres', "alter system reset payout.clock_offset; select pg_reload_conf()");
$node->safe_psql('postgres', 'create database app');
$node->safe_psql('app', 'create extension payout');
$t->set_up;
hang_100('B');
in_two_seconds('fast stop', sub { $node->stop('fast') });

# What hung is in doubt, is asked for, and is paid once.
$t->clear_faults;
$t->control('POST', 'release');
$node->start;
$t->sql(q(select payout.alter_channel('BANK1', '{"not_found_grace_s": 0, "not_found_count": 1}')));
$t->wait_sql("select count(*) = 100 from payout.payout where state = 'paid'");
my $journal = PayoutTest::slurp("$t->{dir}/journal");
my %paid;
$paid{$_}++ for $journal =~ /"event":\s*"paid".*?"(MERCHANT01[0-9A-Z]{20})"/g;
my $ours = $t->sql("select string_agg(txid, ' ') from payout.payout");
is(scalar(grep { ($paid{$_} || 0) == 1 } split ' ', $ours), 100, 'each of the hundred is paid once');
is($t->sql('select * from payout.verify()'), '', 'verify() is empty');
done_testing();
