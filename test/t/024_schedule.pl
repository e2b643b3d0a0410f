# 024_schedule.pl: a scheduled payout deducts at its approval, waits, can be cancelled until its moment, and then goes.
use strict;
use warnings;
use lib 'test/t/lib';
use PayoutTest;
use Test::More;

my $t = PayoutTest->new;
my $soon = $t->sql("select clock_timestamp() + interval '30 min'");
my $later = $t->sql("select clock_timestamp() + interval '2 h'");

is($t->sqlstate("select payout.register('MERCHANT01', 'SOON', 1000, 'CENA', '8800000001', 'Budi Santoso', scheduled_at => '$soon')"), 'PY009', 'nearer than payout.schedule_lead');
my ($goes, $cancelled, $missed) = map { $t->register(schedule => $later, amount => 70000) } 1 .. 3;
my $wrong = $t->register(schedule => $later, amount => 70000, account => '4040000001');
is($t->approve($_), 'scheduled', 'approved ahead of its schedule') for $goes, $cancelled;
is($t->sql("select scheduled from payout.balance('MERCHANT01')"), '140000.00', 'deducted, and counted as scheduled');

# The account turns out to be invalid while the payout waits
$t->sql("select payout.pause_channel('BANK1', 'later')");
my $invalid = $t->register(schedule => $later, amount => 70000, account => '4040000001', merchant => 'MERCHANT02');
is($t->approve($invalid), 'scheduled', 'approved before its account was checked');
$t->sql("select payout.resume_channel('BANK1')");
$t->wait_state($invalid, 'failed');
is($t->sql("select available from payout.balance('MERCHANT02')"), '100000000.00', 'its money is back at once');

is($t->sql("select state from payout.cancel('MERCHANT01', '$cancelled', 'changed my mind')"), 'cancelled', 'cancel');
is($t->sql("select state from payout.cancel('MERCHANT01', '$cancelled', 'again')"), 'cancelled', 'and again');
is($t->sql("select scheduled from payout.balance('MERCHANT01')"), '70000.00', 'its money is back');
is($t->state($goes), 'scheduled', 'the other waits');

$t->set_clock(7300);
$t->wait_state($goes, 'paid');
is($t->sqlstate("select payout.approve('MERCHANT01', '$missed')"), 'PY009', 'approval after the schedule');
is($t->sqlstate("select payout.cancel('MERCHANT01', '$goes', 'too late')"), 'PY004', 'cancel after the payment');
is($t->sqlstate("select payout.approve('MERCHANT01', '$wrong')"), 'PY008', 'the invalid account is refused at approval');
is($t->times_paid($goes), 1, 'paid once');
$t->sound('at the end');
done_testing();
