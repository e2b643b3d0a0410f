# 007_databases.pl: the extension and its database come and go while the worker works; several databases each have their
# worker.
use strict;
use warnings;
use lib 'test/t/lib';
use PayoutTest;
use Test::More;

my $t = PayoutTest->new(conf => [ 'payout.max_in_flight = 100' ], channel => { mode => 'single', in_flight_max => 100 });
my $node = $t->{node};

sub workers
{
	return $node->safe_psql('postgres', "select string_agg(datname, ' ' order by datname) from pg_stat_activity where backend_type = 'payout worker'");
}

# Dropped while requests are under way
$t->fault(service => 'any', kind => 'hang');
$t->register for 1 .. 10;
$t->wait_for('requests hang', sub { $t->control('GET', 'hanging')->{count} >= 1 });
$t->sql('drop extension payout cascade');
$t->wait_for('the worker has gone', sub { workers() eq '' || $t->sql('select count(*) from pg_extension where extname = \'payout\'') eq '0' });
$t->clear_faults;
$t->control('POST', 'release');
$t->sql('create extension payout');
$t->set_up;
$t->wait_state($t->pay(reference => 'AGAIN1'), 'paid');

# A plain DROP DATABASE, once the database is off the list
$node->safe_psql('postgres', "alter system set payout.databases = ''; select pg_reload_conf()");
$t->wait_for('no worker is left', sub { workers() eq '' });
$node->safe_psql('postgres', 'drop database app');
pass('drop database');

# Dropped by force under the worker's hands, and created again
$node->safe_psql('postgres', "alter system set payout.databases = 'app, second'; select pg_reload_conf()");
$node->safe_psql('postgres', 'create database app');
$node->safe_psql('app', 'create extension payout');
$t->set_up;
$t->wait_state($t->pay(reference => 'AGAIN2'), 'paid');
$node->safe_psql('postgres', 'drop database app with (force)');
$node->safe_psql('postgres', 'create database app');
$node->safe_psql('app', 'create extension payout');
$t->set_up;
$t->wait_state($t->pay(reference => 'AGAIN3'), 'paid');

# Two databases, two workers
$node->safe_psql('postgres', 'create database second');
$node->safe_psql('second', 'create extension payout; select payout.arm()');
$t->wait_for('both have a worker', sub { workers() eq 'app second' });
$node->safe_psql('postgres', "alter system set payout.databases = 'app'; select pg_reload_conf()");
$t->wait_for('one is left', sub { workers() eq 'app' });
$t->wait_state($t->pay(reference => 'AGAIN4'), 'paid');
is($t->sql('select * from payout.verify()'), '', 'verify() is empty');
done_testing();
