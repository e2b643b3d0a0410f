# 008_promotion.pl: a standby sends nothing; once promoted, its worker pays what the old primary had not, and only that.
use strict;
use warnings;
use lib 'test/t/lib';
use PayoutTest;
use Test::More;

my $t = PayoutTest->new(channel => { mode => 'single', not_found_grace_s => 0, not_found_count => 1 });
my $primary = $t->{node};

$primary->backup('standby');
my $standby = PostgreSQL::Test::Cluster->new('standby');
$standby->init_from_backup($primary, 'standby', has_streaming => 1);
$standby->start;

my $before = $t->pay;
$t->wait_state($before, 'paid');
is($standby->safe_psql('postgres', "select count(*) from pg_stat_activity where backend_type like 'payout%'"), '0', 'no worker on a standby');

# One payout hangs at the bank, having been booked; another has not left.
$t->fault(service => '18', kind => 'hang', after_booking => JSON::PP::true, count => 1);
my $hanging = $t->pay;
$t->wait_for('the bank has it', sub { $t->times_paid($hanging) == 1 });
$t->sql("select payout.pause_channel('BANK1', 'take-over')");
my $left = $t->pay;
$t->wait_sql("select state = 'approved' and account_check = 'pending' from payout.payout where txid = '$left'");
$primary->wait_for_catchup($standby);
$primary->stop('immediate');
$standby->promote;
$t->{node} = $standby;

$t->wait_sql('select count(*) = 2 from payout.incarnation');
is($t->sql("select outcome from payout.attempt a join payout.payout p using (channel_id, batch_id) where p.txid = '$hanging'"), 'unknown',
	'what was under way is unknown');
$t->sql("select payout.resume_channel('BANK1')");
$t->wait_state($hanging, 'paid');
$t->wait_state($left, 'paid');
is($t->times_paid($_), 1, 'paid once') for $before, $hanging, $left;
$t->sound('after promotion');
done_testing();
