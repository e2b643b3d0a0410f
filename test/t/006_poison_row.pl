# 006_poison_row.pl: a row that cannot be changed, or whose outcome cannot be recorded, is set aside with its error and
# stops nobody; a row that somebody has locked is merely late.
use strict;
use warnings;
use lib 'test/t/lib';
use PayoutTest;
use Test::More;

my $t = PayoutTest->new(channel => { mode => 'single' });
my $node = $t->{node};

# Makes each UPDATE of a payout fail that fulfils the condition.
sub poison
{
	my $condition = shift;
	$t->sql("create function public.poison() returns trigger language plpgsql as \$\$ begin
		if $condition then raise exception 'poisoned'; end if; return new; end \$\$;
		create trigger poison before update on payout.payout for each row execute function public.poison()");
}
sub cure { $t->sql('drop trigger poison on payout.payout; drop function public.poison()'); }

# Claiming fails
my $bad = $t->register;
my $good = $t->register;
$t->wait_sql("select count(*) = 2 from payout.payout where account_check = 'matched'");
poison("new.txid = '$bad' and new.state = 'dispatching'");
$t->approve($_) for $bad, $good;
$t->wait_state($good, 'paid');
$t->wait_sql("select exists (select from payout.hold where txid = '$bad' and lane = 'dispatch' and reason like '%poisoned%')");
is($t->state($bad), 'approved', 'the bad row stays where it was');
$t->wait_state($t->pay, 'paid');
cure();
$t->sql("select payout.resolve('MERCHANT01', '$bad', 'dispatch', 'cured')");
$t->wait_state($bad, 'paid');

# The account check cannot be claimed
poison("new.beneficiary_name = 'Bad Santoso'");
my $unchecked = $t->register(name => 'Bad Santoso');
$t->wait_state($t->pay, 'paid');
$t->wait_sql("select exists (select from payout.hold where txid = '$unchecked' and lane = 'validate')");
cure();

# Recording fails: the bank has paid, and we cannot write it
poison("new.beneficiary_name = 'BUDI  SANTOSO' and new.state = 'paid'");
my $paid = $t->pay(name => 'BUDI  SANTOSO');
$good = $t->pay;
$t->wait_state($good, 'paid');
$t->wait_sql("select exists (select from payout.hold where txid = '$paid' and reason like '%could not be recorded%')");
is($t->times_paid($paid), 1, 'the bank has paid it');
is($t->sql("select payout.money_position('MERCHANT01', '$paid')"), 'in_transit', 'its money is kept');
cure();
$t->sql("select payout.resolve('MERCHANT01', '$paid', 'dispatch', 'cured')");
$t->wait_state($paid, 'paid');
is($t->times_paid($paid), 1, 'and has paid it once');

# A row that a session has locked while its outcome arrives
$t->fault(service => '18', kind => 'delay', delay_ms => 300, count => 1);
my $locked = $t->pay;
$t->wait_for('it is under way', sub { $t->state($locked) eq 'dispatching' });
my ($in, $out) = ('', '');
my $holder = IPC::Run::start([ 'psql', '-XAtq', '-d', $node->connstr('app') ], '<', \$in, '>', \$out);
$in = "begin; select 'locked' from payout.payout where txid = '$locked' for update;\n";
$t->wait_for('the lock is held', sub { $holder->pump_nb; $out =~ /locked/ });
my $other = $t->pay(merchant => 'MERCHANT02');
$t->wait_state($other, 'paid');
$t->wait_for('the bank has paid the locked one', sub { $t->times_paid($locked) == 1 });
is($t->state($locked), 'dispatching', 'the locked one waits');
$in = "commit;\n\\q\n";
$holder->finish;
$t->wait_state($locked, 'paid');
is($t->sql('select count(*) from payout.hold'), '1', 'being locked sets nothing aside');
$t->sound('at the end');
done_testing();
