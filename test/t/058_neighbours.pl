# Two merchants whose addresses are at one host: where one does not answer, only its own messages rest.
use strict;
use warnings;
use lib 'test/t/lib';
use PayoutTest;
use Test::More;

my $messages = 40;
my $t = PayoutTest->new(merchant => { notify_events => ['payout.rejected'] });
$t->sql("select payout.alter_merchant('MERCHANT02', '{\"notify_url\": \"http://127.0.0.1:$t->{bank_port}/merchant/MERCHANT02\"}')");
$t->fault(service => 'webhook', kind => 'error_before', merchant_id => 'MERCHANT02', count => 100000);
my $reject = "select payout.reject(merchant_id, txid, 'test') from payout.payout where merchant_id = 'MERCHANT02'";
$t->sql("select payout.register('MERCHANT02', 'M' || n, 10000, 'CENA', '8800000001', 'Budi Santoso') from generate_series(1, $messages) n");
my @mine = map { $t->register } 1 .. 6;
$t->wait_sql("select not exists (select from payout.payout where account_check = 'pending')");

my $told = sub {
	my $txid = shift;
	$t->sql("select payout.reject('MERCHANT01', '$txid', 'test')");
	$t->wait_sql("select tries = 1 and delivered_at is not null from payout.notification where txid = '$txid'", 5);
};
$told->(shift @mine);	# the worker knows where it sends
$t->sql($reject);
$t->wait_sql("select sum(tries) >= 6 from payout.notification where merchant_id = 'MERCHANT02'");
$t->set_clock(-3600);	# the rest, of about a second, is an hour long now
for my $txid (@mine)
{
	$told->($txid);
	pass('a message of the neighbour arrives at its first try');
}
is($t->sql("select count(*) from payout.notification where merchant_id = 'MERCHANT02' and delivered_at is not null"), '0', 'those of the other do not');
done_testing();
