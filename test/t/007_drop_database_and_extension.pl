# 007_drop_database_and_extension.pl: the worker stands in nobody's way: the extension and its database can be dropped
# while it works, and made again; two databases have a worker each.
use strict;
use warnings;
use lib 'test/t/lib';
use PayoutTest;
use Test::More;

my $t = PayoutTest->new(channel => { mode => 'single' });
my $node = $t->{node};

sub workers
{
	return $node->safe_psql('postgres', "select coalesce(string_agg(datname, ' ' order by datname), '') from pg_stat_activity where backend_type = 'payout worker'");
}

sub list_databases
{
	my $names = shift;
	$node->safe_psql('postgres', "alter system set payout.databases = '$names'; select pg_reload_conf()");
}

# The extension goes while requests hang.
$t->wait_state($t->pay, 'paid');
$t->fault(service => '18', kind => 'hang');
$t->pay for 1 .. 3;
$t->wait_for('three hang', sub { $t->control('GET', 'hanging')->{count} == 3 });
$t->sql('drop extension payout cascade');
is($t->sql("select count(*) from pg_namespace where nspname = 'payout'"), '0', 'the extension is gone');
$t->wait_for('its worker is gone', sub { workers() eq '' }, 45);
$t->clear_faults;
$t->control('POST', 'release');

# Made again; arming calls the worker, long before the launcher would look by itself.
$t->sql('create extension payout');
$t->set_up;
is(workers(), 'app', 'arm() calls a worker');
my $again = $t->pay;
$t->wait_state($again, 'paid');
is($t->times_paid($again), 1, 'paid once');

# Two databases
{
	local $ENV{PGOPTIONS} = '-c payout.dump_secrets=on';
	$node->command_ok([ 'pg_dump', '-Fc', '-f', "$t->{dir}/app.dump", $node->connstr('app') ], 'pg_dump');
}
$node->safe_psql('postgres', 'create database second');
$node->command_ok([ 'pg_restore', '--exit-on-error', '-d', $node->connstr('second'), "$t->{dir}/app.dump" ], 'pg_restore');
list_databases('app, "second"');
$node->safe_psql('second', 'select payout.arm()');
$t->wait_for('two workers', sub { workers() eq 'app second' });
my $first = $t->pay;
$t->wait_state($first, 'paid');
# Both are the same book: one of them sends at a time.
is($node->safe_psql('second', "select status from payout.health() where check_name = 'armed'"), 'critical', 'a dump waits while its original is armed');
$t->sql('select payout.disarm()');
$t->wait_for('its worker begins', sub { $node->safe_psql('second', 'select payout.wake()'); $node->safe_psql('second', 'select count(*) from payout.lost_tail') == 1 });
my $second = $node->safe_psql('second', "select txid from payout.register('MERCHANT02', 'SECOND', 7000, 'CENA', '8800000002', 'Budi Santoso')");
$node->safe_psql('second', "select payout.approve('MERCHANT02', '$second')");
$t->wait_for('the second database pays', sub { $node->safe_psql('second', 'select payout.wake()'); $node->safe_psql('second', "select state from payout.payout where txid = '$second'") eq 'paid' });
is($t->times_paid($_), 1, 'paid once') for $first, $second;
is($node->safe_psql('second', 'select * from payout.verify()'), '', 'the second database is sound');
$node->safe_psql('second', 'select payout.disarm()');
$t->sql('select payout.arm()');

# Taken off the list, a database loses its worker and can be dropped without force.
list_databases('app');
$t->wait_for('one worker', sub { workers() eq 'app' });
my ($status, $out, $err) = $node->psql('postgres', 'drop database second');
is($status, 0, "the database is dropped: $err");
is(workers(), 'app', 'the other worker goes on');
$t->wait_state($t->pay, 'paid');

# The list may name what does not exist; it gets its worker when it does, without a restart.
list_databases('app, second');
$node->safe_psql('postgres', 'create database second');
$node->command_ok([ 'pg_restore', '--exit-on-error', '-d', $node->connstr('second'), "$t->{dir}/app.dump" ], 'pg_restore again');
$node->safe_psql('second', 'select payout.arm()');
$t->wait_for('two workers again', sub { workers() eq 'app second' });
$node->safe_psql('postgres', 'drop database second with (force)');
is(workers(), 'app', 'a forced drop ends the worker');
$t->wait_state($t->pay, 'paid');

is($t->sql('select * from payout.verify()'), '', 'verify() is empty');
done_testing();
