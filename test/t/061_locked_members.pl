# 061_locked_members.pl: somebody else's lock on a payout, or a person's hold, stops that payout and what goes with it, and nobody
# else: the worker waits for nobody, and a bulk that was not sent goes on without those that are held.
use strict;
use warnings;
use lib 'test/t/lib';
use PayoutTest;
use Test::More;

my $t = PayoutTest->new(channel => { mode => 'single', in_flight_max => 4, not_found_grace_s => 0, not_found_count => 1 });
$t->sql("insert into payout.retry_policy (lane, base_ms, max_ms, tries_max) values ('validate', 20, 50, 100000), ('dispatch', 20, 50, 1000), ('check', 20, 50, 1000)");

# Orders that the bank has refused for now, or that are to be asked for instead of sent again, with locked payouts
for my $kind ('to be sent again', 'to be asked for', 'of a prepared transaction')
{
	$t->sql("select payout.pause_channel('BANK1', 'gathering')");
	my @locked = map { $t->pay } 1 .. 6;
	$t->fault(service => '18', kind => 'answer', http => 404, code => '02');
	$t->sql("select payout.resume_channel('BANK1')");
	$t->wait_sql("select count(*) = 6 from payout.batch b join payout.payout p using (channel_id, batch_id) where b.state = 'open' and b.tries > 0 and p.state = 'dispatching'");
	$t->sql("select payout.pause_channel('BANK1', 'locking')");
	my $list = join "','", @locked;
	my $locker = $t->session;
	my $lock = "begin; select payout.request_check(merchant_id, txid) from payout.payout where txid in ('$list') order by txid";
	if ($kind eq 'of a prepared transaction') { $t->sql("$lock; prepare transaction 'forgotten'") } else { $locker->($lock) }
	# As if they had been in doubt, and the decision to send them again were old: each is asked for first.
	$t->sql("set session_replication_role = replica; update payout.batch set was_unknown = true, asked_since = created_at, due_at = due_at - interval '2 min' where state = 'open'") if $kind eq 'to be asked for';
	$t->clear_faults;
	$t->sql("select payout.resume_channel('BANK1')");
	my $other = $t->pay(merchant => 'MERCHANT02');
	$t->wait_state($other, 'paid');
	is($t->sql("select count(*) from payout.payout where txid in ('$list') and state = 'dispatching'"), '6', "orders $kind, locked: another merchant's goes on meanwhile");
	if ($kind eq 'of a prepared transaction') { $t->sql("rollback prepared 'forgotten'") } else { $locker->('rollback') }
	if ($kind eq 'to be asked for')
	{
		# Nothing says until when the bank refuses a reference that it has not taken: a person sends them; once more what the gate
		# took back meanwhile, as that is asked for again.
		$t->wait_sql('select count(*) = 6 from payout.hold');
		$t->wait_for('a person has sent all', sub {
			$t->sqlstate("select payout.resolve(merchant_id, txid, 'dispatch', 'not there') from payout.hold limit 1");
			$t->sql("select count(*) from payout.payout where txid in ('$list') and state = 'paid'") == 6 });
	}
	$t->wait_state($_, 'paid') for @locked;
	is(join('', map { $t->times_paid($_) } @locked, $other), '1111111', "orders $kind: each is paid once");
}

# Holds in a bulk that waits for its bearer
$t->sql(q(select payout.alter_channel('BANK1', '{"mode": "bulk", "batch_size_max": 50, "linger_ms": 0, "connect_timeout_ms": 60000}')));
$t->sql("select payout.pause_channel('BANK1', 'gathering')");
my @bulk = map { $t->register(merchant => $_ % 2 ? 'MERCHANT01' : 'MERCHANT02') } 1 .. 8;
$t->sql("select payout.resume_channel('BANK1')");
$t->wait_sql("select not exists (select from payout.payout where account_check = 'pending')");
$t->sql("select payout.pause_channel('BANK1', 'gathering')");
$t->sql("select payout.approve(merchant_id, txid) from payout.payout where state = 'registered'");
$t->sql(q(select payout.alter_channel('BANK1', '{"connect_timeout_ms": 59000}')));
$t->fault(service => '73', kind => 'hang', keep => JSON::PP::true);
$t->sql("select payout.resume_channel('BANK1')");
$t->wait_sql("select count(*) = 1 from payout.batch where item_count = 8 and state = 'sending'");
my ($fraud, $doubtful) = @bulk[1, 4];
$t->sql("insert into payout.hold (merchant_id, txid, lane, reason) select merchant_id, txid, 'dispatch', 'a person' from payout.payout where txid in ('$fraud', '$doubtful')");
$t->clear_faults;
$t->control('POST', 'release');
my @others = grep { $_ ne $fraud && $_ ne $doubtful } @bulk;
$t->wait_state($_, 'paid') for @others;
is(join(' ', map { $t->state($_) } $fraud, $doubtful), 'dispatching dispatching', 'held members of a bulk that was not sent wait, and the others go on');
sub resolve { my ($txid, $outcome) = @_; return $t->sqlstate("select payout.resolve(merchant_id, txid, '$outcome', 'looked into') from payout.payout where txid = '$txid'") }
is(resolve($fraud, 'paid'), 'PY004', 'what was never sent was not paid');
is(resolve($fraud, 'failed'), '00000', 'a person ends one of them');
is($t->state($fraud), 'failed', 'and its money is given back');
is(resolve($doubtful, 'dispatch'), '00000', 'and lets another go');
$t->wait_state($doubtful, 'paid');
is(join('', map { $t->times_paid($_) } @bulk), '10111111', 'each is paid once, but the one that was ended');
$t->sound('at the end');
done_testing();
