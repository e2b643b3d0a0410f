# 023_hostile_answers.pl: account inquiries, status inquiries and token requests are answered by a hostile or broken bank:
# nothing is believed that cannot be trusted, nothing leaks, and the rules for names and missing answers hold.
use strict;
use warnings;
use lib 'test/t/lib';
use PayoutTest;
use Test::More;

my $t = PayoutTest->new(channel => { mode => 'single', request_timeout_ms => 700, check_deadline_s => 3600 });
$t->sql("insert into payout.retry_policy (lane, base_ms, max_ms, tries_max) values
	('check', 20, 100, 100000), ('dispatch', 20, 100, 1000), ('validate', 20, 100, 100000)");
my $yes = JSON::PP::true;
my @broken = ([ kind => 'reset_before' ], [ kind => 'garbage' ], [ kind => 'truncated' ], [ kind => 'oversized' ], [ kind => 'oversized', nested => $yes ],
	[ kind => 'error_before', http => 500 ], [ kind => 'error_before', http => 503, raw => $yes ], [ kind => 'hang' ]);

sub check_of { my $txid = shift; return $t->sql("select account_check from payout.payout where txid = '$txid'"); }

# Account inquiries: asked again until there is an answer to believe
for my $fault (@broken)
{
	my $name = join ' ', grep { !ref } @$fault;
	$t->fault(service => '16', count => 1, @$fault);
	my $txid = $t->register;
	$t->wait_for("$name: asked again", sub { check_of($txid) eq 'matched' });
	# libcurl repeats an inquiry by itself whose kept connection was reset: only orders must not be repeated
	my $tries = $t->sql("select check_tries from payout.payout where txid = '$txid'");
	cmp_ok($tries, '>=', $name =~ /reset/ ? 1 : 2, "account inquiry, $name: the next answer counts");
}

# The bank's own accounts (15) and the fate of a transfer (36), likewise
for my $fault (@broken)
{
	my $name = join ' ', grep { !ref } @$fault;
	$t->fault(service => '15', count => 1, @$fault);
	my $txid = $t->register(bank => 'OWNB', method => 'overbooking');
	$t->wait_for("$name: asked again", sub { check_of($txid) eq 'matched' });
	$t->fault(service => '17', count => 1, kind => 'reset_after');
	$t->fault(service => '36', count => 1, @$fault);
	$t->approve($txid);
	$t->wait_state($txid, 'paid');
	is($t->times_paid($txid), 1, "services 15 and 36, $name: paid once");
}
is($t->sql("select count(*) from payout.payout where state = 'paid' and reason not like 'status inquiry: paid%'"), '0', 'each because the bank said so');

# Tokens: a broken answer is no token; a refusal as a partner pauses the channel
my $connect_timeout_ms = 1000;
for my $fault (@broken)
{
	my $name = join ' ', grep { !ref } @$fault;
	# An option that changes forgets the token.
	$connect_timeout_ms++;
	$t->sql("select payout.alter_channel('BANK1', '{\"connect_timeout_ms\": $connect_timeout_ms}')");
	$t->fault(service => '73', count => 1, @$fault);
	my $asked = $t->requests('73');
	my $txid = $t->register;
	$t->wait_for("token request, $name: asked again", sub { check_of($txid) eq 'matched' });
	cmp_ok($t->requests('73') - $asked, '>=', 2, "token request, $name: no token");
}
$t->sql(q(select payout.alter_channel('BANK1', '{"connect_timeout_ms": 2500}')));
$t->fault(service => '73', kind => 'answer', http => 401, code => '00', count => 1);
my $refused = $t->register;
$t->wait_sql("select paused_reason like '%401%' from payout.channel");
$t->sql("select payout.resume_channel('BANK1')");
$t->wait_for('after the resume', sub { check_of($refused) eq 'matched' });

# Memory: three hundred hostile answers more, and the worker is no larger than a bound
my $pid = $t->{node}->safe_psql('postgres', "select pid from pg_stat_activity where backend_type = 'payout worker'");
sub resident_kb { my ($kb) = PayoutTest::slurp("/proc/$pid/status") =~ /VmRSS:\s+(\d+)/; return $kb; }
my $before = resident_kb();
$t->fault(service => '16', count => 300, kind => 'garbage');
my @many = map { $t->register } 1 .. 10;
$t->wait_for('300 hostile answers were taken', sub { $t->sql("select count(*) from payout.attempt where lane = 'validate' and outcome = 'unknown'") >= 300 });
$t->wait_for('then the accounts are checked', sub { $t->sql("select count(*) from payout.payout where account_check <> 'matched'") eq '0' });
my $growth = resident_kb() - $before;
note "the worker grew by $growth kB";
ok($growth < 16384, 'memory is bounded');

# Another name: a person decides, or it passes, as the merchant wants
my $held = $t->pay(account => '7770000001');
$t->wait_sql("select exists (select from payout.hold where txid = '$held')");
is($t->state($held), 'approved', 'another name waits for a person');
$t->sql("select payout.resolve('MERCHANT01', '$held', 'dispatch', 'asked the beneficiary')");
$t->wait_state($held, 'paid');
$t->sql(q(select payout.alter_merchant('MERCHANT01', '{"on_name_differs": "pass"}')));
$t->wait_state($t->pay(account => '7770000001'), 'paid');

# No answer until the deadline: failed or dispatched, as the channel says; before, it waits
$t->fault(service => '16', kind => 'error_before', http => 500);
my $late = $t->pay;
$t->wait_for('asked in vain', sub { check_of($late) eq 'unavailable' });
is($t->state($late), 'approved', 'before the deadline it waits');
$t->set_clock(4000);
$t->wait_state($late, 'failed');
is($t->sql("select payout.money_position('MERCHANT01', '$late')"), 'refunded', 'with its money back');
$t->sql(q(select payout.alter_channel('BANK1', '{"on_check_unavailable": "dispatch"}')));
my $bold = $t->pay;
$t->wait_for('asked in vain', sub { check_of($bold) eq 'unavailable' });
$t->set_clock(9000);
$t->wait_state($bold, 'paid');
$t->sound('at the end');
done_testing();
