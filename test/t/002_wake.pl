# 002_wake.pl: a commit wakes the worker, a rollback wakes nobody and moves nothing, and what cannot wake is found by the
# safety poll.
use strict;
use warnings;
use lib 'test/t/lib';
use PayoutTest;
use Test::More;
use Time::HiRes qw(time);

my $t = PayoutTest->new(conf => [ "payout.safety_poll = '1h'" ], channel => { mode => 'single', status_delay_s => 3600 });
my $node = $t->{node};

my $txid = $t->register;
$t->wait_sql("select account_check = 'matched' from payout.payout where txid = '$txid'");
my $balance = $t->sql("select available from payout.balance('MERCHANT01')");

# The marker is committed after the rollback: once its request has arrived, the rolled-back one would have, too.
$t->sql("begin; select payout.approve('MERCHANT01', '$txid'); rollback");
my $started = time;
my $marker = $t->pay(merchant => 'MERCHANT02');
$t->wait_for('the request of the marker is at the bank', sub { $t->requests('18') == 1 }, 5);
note sprintf 'from registration to the bank in %.0f ms', (time - $started) * 1000;
$t->wait_state($marker, 'paid');
is($t->state($txid), 'registered', 'the rolled-back approval changed nothing');
is($t->sql("select available from payout.balance('MERCHANT01')"), $balance, 'and deducted nothing');
is($t->requests('18'), 1, 'and sent nothing');

$started = time;
$t->approve($txid);
$t->wait_for('the request is at the bank', sub { $t->requests('18') == 2 }, 5);
my $took = time - $started;
note sprintf 'from approval to the bank in %.0f ms, observation included', $took * 1000;
ok($took < 2, 'a commit wakes the worker with the safety poll at an hour');
$t->wait_state($txid, 'paid');

# Money that was set aside cannot wait for a second phase; a registration can. It commits in silence; the safety poll finds it.
is($t->sqlstate("begin; select payout.approve('MERCHANT01', '" . $t->register . "'); prepare transaction 'money'"), '0A000', 'an approval cannot be prepared');
$t->sql("begin; select payout.register('MERCHANT01', 'PREPARED', 20000, 'CENA', '8800000001', 'Budi Santoso'); prepare transaction 'p'");
$t->sql("commit prepared 'p'");
is($t->sql("select account_check from payout.payout where reference_no = 'PREPARED'"), 'pending', 'nobody was woken');
$node->safe_psql('postgres', "alter system set payout.safety_poll = '100ms'; select pg_reload_conf()");
$t->wait_sql("select account_check = 'matched' from payout.payout where reference_no = 'PREPARED'");
$t->sound('at the end');
done_testing();
