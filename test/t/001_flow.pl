# 001_flow.pl: a payout from registration to the merchant's check, in bulk and one by one.
use strict;
use warnings;
use lib 'test/t/lib';
use PayoutTest;
use Test::More;

my $t = PayoutTest->new;

# Steps 1 to 9
my $txid = $t->register(amount => 250000);
like($txid, qr/^MERCHANT0107\d{14}[0-9A-Z]{4}$/, 'the TXID has its form');
$t->wait_sql("select account_check = 'matched' from payout.payout where txid = '$txid'");
is($t->sql("select account_name from payout.payout where txid = '$txid'"), 'BUDI SANTOSO', 'the bank named the holder');

# Steps 10 to 17
is($t->approve($txid), 'approved', 'approve answers with the state');
$t->wait_state($txid, 'paid');
is($t->times_paid($txid), 1, 'the bank paid once');
is($t->sql("select available from payout.balance('MERCHANT01')"), '99750000.00', 'the balance is lower by the amount');
$t->wait_for('the merchant is told', sub { grep { $_->{type} eq 'payout.paid' && $_->{verified} } @{ $t->webhooks } });
is(join(' ', map { $_->{type} } @{ $t->webhooks }), 'account.checked payout.approved payout.paid', 'in order, and signed');

# Steps 18 to 23
is($t->sql("call payout.check_status('MERCHANT01', '$txid')"), 'paid', 'the bank confirms');
is($t->sql("select count(*) from payout.attempt where lane = 'check' and outcome = 'yes'") > 0, 1, 'the check went to the bank');
is($t->sql("select state from payout.inquiry('MERCHANT01', '$txid')"), 'paid', 'inquiry');

# Overbooking goes one by one
my $own = $t->pay(bank => 'OWNB', method => 'overbooking', account => '8811111111');
$t->wait_state($own, 'paid');
is($t->sql("select service from payout.batch b join payout.payout p using (channel_id, batch_id) where txid = '$own'"), '17', 'overbooking is service 17');

# Single mode
$t->sql(q(select payout.alter_channel('BANK1', '{"mode": "single"}')));
my $single = $t->pay;
$t->wait_state($single, 'paid');
is($t->sql("select service from payout.batch b join payout.payout p using (channel_id, batch_id) where txid = '$single'"), '18', 'single mode is service 18');

# A wrong account is refused at approval
my $wrong = $t->register(account => '4040000001');
$t->wait_sql("select account_check = 'invalid' from payout.payout where txid = '$wrong'");
is($t->sqlstate("select payout.approve('MERCHANT01', '$wrong')"), 'PY008', 'an invalid account is not approved');

$t->sound('at the end');
done_testing();
