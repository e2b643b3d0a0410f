# 011_queue_plans.pl: the worker finds its work by indexes, whatever the planner knows of its tables: it never reads a whole
# table of payouts, even where nothing was analyzed and much waits.
use strict;
use warnings;
use lib 'test/t/lib';
use PayoutTest;
use Test::More;

my $t = PayoutTest->new(conf => [ 'autovacuum = off' ], balance => 1000000000);

# What waits for its schedule is in the queues' tables all the time.
$t->sql("select payout.pause_channel('BANK1', 'loading')");
$t->sql("select count(payout.approve(p.merchant_id, p.txid)) from generate_series(1, 1000) i,
	lateral payout.register('MERCHANT01', 'WAITS' || i, 1000, 'CENA', '8800000001', 'Budi Santoso', scheduled_at => now() + interval '2 days') p");
$t->sql("select count(payout.approve(p.merchant_id, p.txid)) from generate_series(1, 300) i,
	lateral payout.register('MERCHANT01', 'GOES' || i, 1000, 'CENA', '8800000001', 'Budi Santoso') p");
$t->sql("select count(payout.approve(p.merchant_id, p.txid)) from generate_series(1, 300) i,
	lateral payout.register_cashout('MERCHANT02', 'CASH' || i, 1000, 'Budi Santoso', '0812') p");
my $whole = "select coalesce(sum(seq_scan), 0) from pg_stat_user_tables where relid in ('payout.payout'::regclass, 'payout.payout_event'::regclass,
	'payout.attempt'::regclass, 'payout.notification'::regclass, 'payout.transfer'::regclass, 'payout.batch'::regclass, 'payout.cashout_token'::regclass)";
my $before = $t->sql($whole);
$t->sql("select payout.resume_channel('BANK1')");
$t->wait_for('the account checks', sub { $t->webhooks && @{ $t->webhooks } >= 300 });
$t->set_clock(86500);
$t->wait_for('notifications', sub { grep({ $_->{type} eq 'payout.expired' } @{ $t->webhooks('MERCHANT02') }) >= 300 });
is($t->sql($whole), $before, 'no whole table was read');
$t->wait_sql("select bool_and(state = 'paid') from payout.payout where reference_no like 'GOES%'");
$t->sound('after all');
done_testing();
