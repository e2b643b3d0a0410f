# 014_more_merchants_than_slots.pl: a dump of more merchants than shared memory has slots for is restored, and so many
# balances can be changed by hand in one transaction: slots that are cold stay cold until it has ended.
use strict;
use warnings;
use lib 'test/t/lib';
use IPC::Run ();
use PayoutTest;
use Test::More;

my $merchants = 60;
my $t = PayoutTest->new(conf => ['payout.escrow_slots = 16']);
my $node = $t->{node};
my $all = "select format('MANY%s', to_char(i, 'FM000000')) as m from generate_series(1, $merchants) i";

$t->sql("select payout.create_merchant(m, 'Merchant') from ($all) a");
$t->sql("select payout.top_up('MANY00000$_', 1000, 'first')") for 1 .. 9;
$t->sql("select payout.top_up('MANY0000$_', 1000, 'first')") for 10 .. $merchants;
my $sum = $t->sql('select sum(c.available) from payout.merchant m, payout.current_balance(m.merchant_id) c');

$node->safe_psql('postgres', 'create database copy');
ok(IPC::Run::run([ 'pg_dump', '-Fc', $node->connstr('app') ], '|', [ 'pg_restore', '--exit-on-error', '-d', $node->connstr('copy') ]), 'the dump is restored');
is($node->safe_psql('copy', 'select sum(c.available) from payout.merchant m, payout.current_balance(m.merchant_id) c'), $sum, 'with all the money');
is($node->safe_psql('copy', 'select * from payout.verify()'), '', 'the copy is sound');
is($node->safe_psql('copy', "select amount from payout.withdraw('MANY000060', 1000, 'all')"), '1000.00', 'and each balance can be taken');
is(PayoutTest::sqlstate($t, "select payout.withdraw('MANY000060', 1, 'more')", 'copy'), 'PY001', 'and no more');

# By hand: one of them just used, so that its slot is loaded; the others cold, or evicted meanwhile.
$t->sql("select payout.withdraw('MANY000030', 1, 'x')");
my $change = "update payout.balance set available = available + 500 where merchant_id like 'MANY%'";
is($t->sqlstate("begin; $change; select payout.withdraw('MANY000001', 1, 'y'); commit"), '55000', 'a cold balance is not loaded from rows that are not committed');
is($t->sql("begin; $change; select (payout.withdraw('MANY000030', 1, 'z')).amount; rollback"), '1.00', 'a loaded one follows');
is($t->sql('select count(*) from payout.verify_escrow()'), '0', 'and comes back');

my $hand = $node->background_psql('app');
$hand->query_safe("begin; update payout.balance set available = available + 500 where merchant_id like 'MANY00000%'");
my $taker = $node->background_psql('app', on_error_stop => 0);
$taker->query_until(qr/asks/, "\\echo asks\nselect payout.withdraw('MANY000002', 1400, 'w');\n");
$t->wait_sql("select exists (select from pg_locks where locktype = 'advisory' and not granted)");
$hand->query_safe('commit');
$taker->quit;
$hand->quit;
is($t->sql("select available from payout.current_balance('MANY000002')"), '100.00', 'who needs a cold balance waits, and finds what was committed');
is($t->sql('select count(*) from payout.verify_escrow()'), '0', 'shared memory says what the tables say');
done_testing();
