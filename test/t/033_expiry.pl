# 033_expiry.pl: thousands of tokens expire at one moment. Each transaction is bounded and short, clients go on, a locked
# balance holds up its own merchant alone, a row that cannot be written is set aside, and every rupiah is back.
use strict;
use warnings;
use lib 'test/t/lib';
use PayoutTest;
use Test::More;
use Time::HiRes qw(time);

my $t = PayoutTest->new(balance => 1000000000, merchant => { fee => { cashout => { flat => 1000 } } });
my $node = $t->{node};
my @merchants = qw(MERCHANT01 MERCHANT02 MERCHANT03);
my $ttl = 86500;
my $clock = 0;
$t->sql(q(select payout.create_merchant('MERCHANT03', 'Merchant', null, '{"fee": {"cashout": {"flat": 1000}}}'), payout.top_up('MERCHANT03', 1000000000, 'first')));

sub available { return $t->sql("select string_agg((select available from payout.balance(m))::text, ' ' order by m) from unnest('{@{[join ',', @merchants]}}'::text[]) m"); }

# Issues tokens in one statement, of all merchants in turn, under references that begin with a word.
sub issue_many
{
	my ($word, $count) = @_;
	my $list = join ',', @merchants;
	$t->sql("select count(payout.approve(c.merchant_id, c.txid)) from generate_series(1, $count) g,
		lateral payout.register_cashout(('{$list}'::text[])[1 + g % 3], '$word' || g, 50000, 'Budi Santoso', '081234567890') c");
}

sub count_of { my ($word, $state, $more) = @_; return "select count(*) from payout.payout where reference_no like '$word%' and state = '$state'" . ($more || ''); }

sub wait_count
{
	my ($count, @what) = @_;
	return $t->wait_for("$count $what[0] are $what[1]", sub { $t->sql(count_of(@what)) == $count });
}

# Five thousand at one moment, while a merchant's client registers.
my $many = 5000;
my $before = available();
issue_many('MANY', $many);
isnt(available(), $before, 'all are charged');
# The client is there before the moment, and asks how far it is in its own session: all is over in a third of a second.
my $client = $node->background_psql('app');
my $began = time;
$t->set_clock($clock += $ttl);
my ($registered, $slowest) = (0, 0);
while ($client->query_safe(count_of('MANY', 'expired')) < $many && time < $began + $PayoutTest::deadline_s)
{
	my ($sent, $merchant) = (time, $merchants[$registered++ % 3]);
	$client->query_safe("select txid from payout.register_cashout('$merchant', 'CLIENT$registered', 10000, 'Budi Santoso', '081234567890')");
	my $took = time - $sent;
	$slowest = $took if $took > $slowest;
}
my $took = time - $began;
is($t->sql(count_of('MANY', 'expired')), $many, 'all expire');
$client->quit;

# A transaction's rows carry its id: so they tell how much it did, and for how long.
my ($transactions, $rows, $longest) = split /\|/, $t->sql("select count(*), max(n), max(extract(epoch from last - first))
	from (select count(*) as n, min(at) as first, max(at) as last from payout.payout_event where to_state = 'expired' group by xmin::text) x");
diag(sprintf '%d expired in %.2f s, in %d transactions of at most %d, the longest of %.3f s; meanwhile %d registrations, the slowest in %.3f s',
	$many, $took, $transactions, $rows, $longest, $registered, $slowest);
cmp_ok($rows, '<=', 500, 'each transaction is bounded');
cmp_ok($longest, '<', 3, 'and short');
my $among = $t->sql("select count(*) from payout.payout where reference_no like 'CLIENT%' and registered_at > (select min(at) from payout.payout_event where to_state = 'expired')
	and registered_at < (select max(at) from payout.payout_event where to_state = 'expired')");
cmp_ok($among, '>', 3, 'the client registered between their transactions');
cmp_ok($slowest, '<', 3, 'and did not wait for all of them');
$t->sql("select payout.reject(merchant_id, txid, 'test') from payout.payout where reference_no like 'CLIENT%'");
is(available(), $before, 'amounts and fees are back');
is($t->sql('select * from payout.verify()'), '', 'verify() is empty');

# Somebody holds every balance: refunds do not wait for them, nor does a payout.
issue_many('LOCK', 90);
my $locker = $node->background_psql('app');
$locker->query_safe('begin; select from payout.balance for update');
$began = time;
$t->set_clock($clock += $ttl);
wait_count(90, 'LOCK', 'expired');
$t->wait_state($t->pay, 'paid');
diag(sprintf '90 expired and a payout was paid in %.2f s while all balances were locked', time - $began);
is($t->sql('select count(*) from payout.hold'), '0', 'nothing is set aside');
$t->sql('select payout.fold(1000000)');
is($t->sql('select count(*) > 90 from payout.balance_delta'), 't', 'folding passes locked balances by');
$locker->query_safe('rollback');
$locker->quit;
$t->wait_for('all is folded', sub { $t->sql('select payout.wake(), count(*) from payout.balance_delta') eq '|0' });
$before = available();

# One row cannot be written.
issue_many('BAD', 300);
$t->sql(q(create function public.poison() returns trigger language plpgsql as $$ begin raise 'poisoned'; end $$;
	create trigger zz_poison before update on payout.payout for each row when (old.reference_no = 'BAD7' and new.state = 'expired') execute function public.poison()));
$t->set_clock($clock += $ttl);
wait_count(299, 'BAD', 'expired');
$t->wait_sql('select count(*) = 1 from payout.hold');
is($t->sql("select p.reference_no, h.lane, h.reason from payout.hold h join payout.payout p using (merchant_id, txid)"), 'BAD7|expire|P0001: poisoned', 'it is set aside with the reason');
is($t->sql("select status from payout.health() where check_name = 'hold_expire'"), 'warning', 'health() says so');
is($t->sql("select status from payout.health() where check_name = 'late_expire'"), 'ok', 'nothing else is late');
is($t->sql("select payout.money_position(merchant_id, txid) from payout.payout where reference_no = 'BAD7'"), 'in_transit', 'its money is kept');
issue_many('NEXT', 30);
$t->set_clock($clock += $ttl);
wait_count(30, 'NEXT', 'expired');
is($t->sql("select state from payout.payout where reference_no = 'BAD7'"), 'token_issued', 'the next ones do not wait for it');
$t->sql('drop trigger zz_poison on payout.payout');
$t->sql("select payout.resolve(merchant_id, txid, 'dispatch', 'cured') from payout.payout where reference_no = 'BAD7'");
wait_count(300, 'BAD', 'expired');
is($t->sql('select count(*) from payout.hold'), '0', 'nothing is left aside');

is(available(), $before, 'every rupiah is back');
is($t->sql("select count(*), count(distinct txid) from payout.payout_event where to_state = 'expired'"), '5420|5420', 'each expired once');
is($t->sql("select count(*) from (select from payout.transfer where kind = 'refund' group by merchant_id, txid having count(*) > 1) x"), '0', 'none was refunded twice');
$t->sound('at the end');
done_testing();
