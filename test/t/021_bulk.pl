# 021_bulk.pl: a bulk that the bank refuses whole for one item is split until the culprit stands alone: that one fails
# with its refund, the others are paid. An item that fails at the bank's payroll fails alone.
use strict;
use warnings;
use lib 'test/t/lib';
use PayoutTest;
use Test::More;

my $t = PayoutTest->new(channel => { batch_size_max => 8, linger_ms => 60000, status_delay_s => 3600 });

# Eight payouts fill a bulk, and go at once although the linger is a minute.
sub bulk_of_eight
{
	my @txids = map { $t->register } 1 .. 8;
	$t->wait_sql("select count(*) = 0 from payout.payout where account_check = 'pending'");
	return @txids;
}

my @txids = bulk_of_eight();
my $culprit = $txids[4];
$t->fault(service => '20', kind => 'answer', http => 400, code => '01', reference_no => $culprit);
$t->approve($_) for @txids;
$t->wait_sql("select count(*) = 8 from payout.payout where state in ('paid', 'failed')");
is($t->state($culprit), 'failed', 'the culprit fails');
is($t->sql("select count(*) from payout.payout where state = 'paid'"), '7', 'the others are paid');
is($t->sql("select available from payout.balance('MERCHANT01')"), '99930000.00', 'and the culprit\'s money is back');
is($t->sql("select count(*) from payout.batch where state = 'split'"), '3', 'eight, four and two were split');
is($t->sql("select count(*) from payout.batch where state = 'refused'"), '1', 'and one refused');
$t->clear_faults;

@txids = bulk_of_eight();
$t->fault(service => '20', kind => 'item_fail', reference_no => $txids[2], http => 404, code => '11');
$t->approve($_) for @txids;
$t->wait_sql("select count(*) = 16 from payout.payout where state in ('paid', 'failed')");
is($t->state($txids[2]), 'failed', 'an item that fails at the payroll');
is($t->sql("select response_code from payout.payout where txid = '$txids[2]'") =~ /^404..11$/, 1, 'with the bank\'s code');

# Three do not fill a bulk; they go when the oldest has lingered.
my @three = map { $t->register } 1 .. 3;
$t->wait_sql("select count(*) = 0 from payout.payout where account_check = 'pending'");
$t->approve($_) for @three;
my $marker = $t->pay(bank => 'OWNB', method => 'overbooking');
$t->wait_state($marker, 'paid');
is($t->sql("select string_agg(distinct state, ' ') from payout.payout where txid in ('" . join("','", @three) . "')"), 'approved', 'three wait for company');
$t->set_clock(120);
$t->wait_state($_, 'paid') for @three;
is($t->sql("select count(distinct batch_id) from payout.payout where txid in ('" . join("','", @three) . "')"), '1', 'and then go together');
$t->sound('at the end');
done_testing();
