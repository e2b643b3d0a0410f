# 015_bounded_reads.pl: payout.verify() and folding read each row a bounded number of times, even where the planner's statistics
# are of a time when there was next to nothing. A plan that looks through one table for each row of another is right for
# small tables alone, and shows in time alone; so what was read is counted.
use strict;
use warnings;
use lib 'test/t/lib';
use PayoutTest;
use Test::More;

my $payouts = 1000;
my $merchants = 300;
my $per_row = 20;
my $t = PayoutTest->new(conf => ['autovacuum = off'], balance => 1000000000, channel => { mode => 'single' }, merchant => { notify_events => ['payout.paid'] });

# Rows and entries of indexes of such tables that were read so far, as sessions have reported.
sub reads
{
	my ($tables) = @_;
	return $t->sql("select (select sum(seq_tup_read) from pg_stat_user_tables where schemaname = 'payout' and relname like '$tables')
		+ (select sum(idx_tup_read) from pg_stat_user_indexes where schemaname = 'payout' and relname like '$tables')");
}

# How many a statement makes the server read.
sub reads_of
{
	my ($sql, $tables) = @_;
	my $before = reads($tables);
	$t->sql("$sql; select pg_stat_force_next_flush()");
	return reads($tables) - $before;
}

sub rows
{
	return $t->sql('select ' . join ' + ', map { "(select count(*) from payout.$_)" } @_);
}

$t->pay;
$t->wait_sql("select bool_and(state = 'paid') from payout.payout");
$t->sql('vacuum analyze');
$t->sql("select count(payout.create_merchant('MANY' || to_char(i, 'FM000000'), 'One of many')) from generate_series(1, $merchants) i");
$t->sql("select count(payout.approve(p.merchant_id, p.txid)) from generate_series(1, $payouts) i,
	lateral payout.register('MERCHANT01', 'MANY' || i, 1000, 'CENA', '8800000001', 'Budi Santoso') p");
$t->wait_sql("select not exists (select from payout.notification where due_at is not null)
	and (select bool_and(state = 'paid') from payout.payout) and not exists (select from payout.balance_delta)");
# Without a worker that reads, too.
$t->sql("alter system set payout.databases = ''");
$t->sql('select pg_reload_conf()');
$t->wait_sql("select not exists (select from pg_stat_activity where backend_type like 'payout worker%')");

my $rows = rows(qw(payout payout_event transfer attempt batch notification balance merchant));
cmp_ok(reads_of('select payout.verify()', '%'), '<', $per_row * $rows, "verify reads no row of $rows more than $per_row times, on average");

# As the worker folds: with its settings, and with plans that were made while there was nothing.
my $deltas = 10 * $merchants;
my $settings = join ' ', map { "set $_;" } ('enable_seqscan = off', 'enable_hashjoin = off', 'enable_mergejoin = off', 'plan_cache_mode = force_generic_plan');
my $fold = join ';', ('select payout.fold(1000)') x 8;
cmp_ok(reads_of("$settings $fold; select count(payout.top_up('MANY' || to_char(i % $merchants + 1, 'FM000000'), 100, 'T' || i)) from generate_series(1, $deltas) i; $fold", 'balance%'),
	'<', $per_row * $deltas, "nor does folding, of $deltas deltas");
is($t->sql('select count(*) from payout.balance_delta'), 0, 'all of them are folded');
$t->sound('after all');
done_testing();
