# 056_stops_of_others.pl: a stop reaches what it concerns, by whatever way it is made, and nothing else. A merchant that rejects its
# own payouts, in however many and however slow transactions, holds up nobody else's; holds that are prepared, moved to another
# payout, or made by a DBA's triggers inside the worker count as any other; where the extension is dropped nothing leaves.
use strict;
use warnings;
use lib 'test/t/lib';
use IPC::Run ();
use PayoutTest;
use Test::More;
use Time::HiRes qw(sleep time);

my $t = PayoutTest->new(conf => [ 'log_min_messages = error', 'payout.safety_poll = 30s' ], balance => 1000000000, channel => { mode => 'single', request_timeout_ms => 60000, connect_timeout_ms => 60000 });
$t->sql("insert into payout.retry_policy (lane, base_ms, max_ms, tries_max) values ('validate', 20, 50, 100000), ('dispatch', 20, 50, 1000)");
my $altered = 0;

# An approved payout whose order waits for a bearer; let_go lets the bank give it.
sub waiting
{
	my @txids = map { $t->register } 1 .. ($_[0] || 1);
	$t->wait_sql("select not exists (select from payout.payout where account_check = 'pending')");
	$t->sql("select payout.alter_channel('BANK1', '{\"connect_timeout_ms\": " . (60000 + ++$altered) . "}')");	# forgets the bearer
	$t->fault(service => '73', kind => 'hang', keep => JSON::PP::true);
	$t->approve($_) for @txids;
	$t->wait_for('the orders wait', sub { $t->sql("select count(*) from payout.attempt where lane = 'dispatch' and outcome is null") == @txids });
	return @txids;
}

sub let_go
{
	$t->clear_faults;
	$t->control('POST', 'release');
	$t->wait_for('nothing waits', sub { $t->sql("select count(*) from payout.attempt where outcome is null") == 0 });
}

sub went_on
{
	my ($name, @txids) = @_;
	$t->sql("select payout.resolve(merchant_id, txid, 'dispatch', 'go on') from (select distinct merchant_id, txid from payout.hold) h");
	$t->wait_state($_, 'paid') for @txids;
	is(join('', map { $t->times_paid($_) } @txids), '1' x @txids, "$name: then each is paid once");
}

my $hold = sub { "insert into payout.hold (merchant_id, txid, lane, reason) values ('MERCHANT01', '$_[0]', 'dispatch', 'a person')" };

# ---- Holds, by every way
my %way = (
	'by hand' => sub { $t->sql($hold->($_[0])) },
	'in a prepared transaction' => sub { $t->sql('begin; ' . $hold->($_[0]) . "; prepare transaction 'hold'"); $t->sql("commit prepared 'hold'") },
	'in a subtransaction' => sub { $t->sql('begin; savepoint a; ' . $hold->($_[0]) . '; release a; commit') },
	'moved from another payout' => sub { my $other = $t->register; $t->sql($hold->($other)); $t->sql("update payout.hold set txid = '$_[0]' where txid = '$other'") },
	'as a replica' => sub { $t->sql("set session_replication_role = replica; " . $hold->($_[0])) },
	'by COPY' => sub { $t->{node}->safe_psql('app', "copy payout.hold (merchant_id, txid, lane, reason) from stdin;\nMERCHANT01\t$_[0]\tdispatch\ta person\n\\.\n") });
for my $name (sort keys %way)
{
	my ($txid) = waiting();
	$way{$name}->($txid);
	let_go();
	is($t->times_paid($txid) . ' ' . $t->state($txid), '0 dispatching', "held $name: the order does not leave");
	went_on("held $name", $txid);
}
# What was undone stops nothing.
{
	my ($txid) = waiting();
	my $released = "select count(*) from payout.attempt where class is null and outcome = 'not_sent'";
	my $before = $t->sql($released);
	$t->sql('begin; ' . $hold->($txid) . '; rollback');
	$t->sql('begin; savepoint a; ' . $hold->($txid) . '; rollback to a; commit');
	let_go();
	$t->wait_state($txid, 'paid');
	is($t->sql($released), $before, 'a hold that was undone stops nothing');
}

# ---- Inside the worker: a DBA's triggers
{
	$t->sql(q(create function public.hold_others() returns trigger language plpgsql as $$ begin
			insert into payout.hold (merchant_id, txid, lane, reason) select p.merchant_id, p.txid, 'dispatch', 'same account' from payout.payout p where p.state = 'dispatching' on conflict do nothing;
			return null; end $$;
		create trigger hold_others after insert on payout.payout_event for each row when (new.event = 'account.checked') execute function public.hold_others();
		alter table payout.payout_event disable trigger hold_others));
	my ($txid) = waiting();
	$t->sql('alter table payout.payout_event enable trigger hold_others');
	# Another channel's account check ends meanwhile, in a turn of the worker.
	$t->sql("select payout.create_channel('BANK2', 'snap', '" . $t->bank_url . "', (select options from payout.channel where channel_id = 'BANK1')), payout.create_bank('OTHR', 'Other', 'BANK2');"
		. $t->secret_sql('channel:BANK2', 'private_key', PayoutTest::slurp("$t->{dir}/ours.pem")) . $t->secret_sql('channel:BANK2', 'client_secret', 'a-shared-client-secret'));
	$t->clear_faults;
	my $other = $t->register(bank => 'OTHR');
	$t->wait_sql("select exists (select from payout.hold where txid = '$txid')");
	$t->sql('drop trigger hold_others on payout.payout_event');
	let_go();
	is($t->times_paid($txid), 0, 'held by a trigger in a turn of the worker: the order does not leave');
	went_on('held by a trigger in a turn of the worker', $txid);
	# A channel that is paused as its claim is written.
	$t->sql(q(create function public.pause() returns trigger language plpgsql as $$ begin
			update payout.channel set paused_at = now(), paused_reason = 'a trigger' where channel_id = new.channel_id; return null; end $$;
		create trigger pause after insert on payout.attempt for each row when (new.lane = 'dispatch') execute function public.pause()));
	my $paused = $t->pay;
	$t->wait_sql("select paused_at is not null from payout.channel where channel_id = 'BANK1'");
	$t->wait_for('nothing waits', sub { $t->sql('select count(*) from payout.attempt where outcome is null') == 0 });
	is($t->times_paid($paused), 0, 'paused by a trigger as its claim is written: the order does not leave');
	$t->sql("drop trigger pause on payout.attempt; select payout.resume_channel('BANK1')");
	went_on('paused by a trigger', $paused);
}

# ---- One merchant's rejections, undone and done, slow and many: the other's orders go at once
{
	$t->sql(q(create function public.reject_all(undo boolean) returns void language plpgsql as $$ declare p payout.payout; begin
		for p in select * from payout.payout where merchant_id = 'MERCHANT02' and state = 'registered' loop
			begin
				perform payout.reject('MERCHANT02', p.txid, 'not wanted');
				if undo then raise sqlstate 'UNDO0'; end if;
			exception when sqlstate 'UNDO0' then null;
			end;
		end loop; end $$));
	my $many = sub { $t->sql("select count(*) from generate_series(1, 100) n, payout.register('MERCHANT02', 'MANY$_[0]/' || n, 10000, 'CENA', '8800000001', 'Budi Santoso')") };
	my $slow = 'set client_min_messages = error; ' . join(' ', map { "create temp table t$_ (a int primary key, b text) on commit delete rows;" } 1 .. 100);
	for my $undo ('true', 'false')
	{
		$many->($undo);
		$t->wait_sql("select not exists (select from payout.payout where account_check = 'pending')");
		my $session = $t->session;
		$session->($slow);
		my @mine = map { $t->register } 1 .. 10;
		$t->wait_sql("select not exists (select from payout.payout where account_check = 'pending')");
		my $began = time;
		$session->("begin; insert into t1 values (1, 'x'); select public.reject_all($undo); commit");
		note sprintf 'the transaction took %.1f s', time - $began;
		my $pid = fork;
		if (!$pid)
		{
			my $ends = time + 20;
			eval { $t->{node}->safe_psql('app', "select public.reject_all(true)") while time < $ends };
			require POSIX;
			POSIX::_exit(0);
		}
		$began = time;
		$t->approve($_) for @mine;
		$t->wait_sql('select bool_and(state = \'paid\') from payout.payout where txid in (' . join(', ', map { "'$_'" } @mine) . ')');
		my $took_s = time - $began;
		kill 'KILL', $pid;
		waitpid $pid, 0;
		cmp_ok($took_s, '<', 6, sprintf 'rejections %s: ten orders of another merchant went in %.1f s', $undo eq 'true' ? 'undone' : 'done', $took_s);
	}
	is($t->sql("select count(*) from payout.attempt a join payout.payout p using (channel_id, batch_id) where p.merchant_id = 'MERCHANT01' and a.class is null and a.outcome = 'not_sent' and a.started_at > (select max(registered_at) from payout.payout where merchant_id = 'MERCHANT02')"),
		'0', 'and none of them was held up once');
}
$t->sound('after all of these');

# ---- A merchant whose address is at the bank's host: its failing webhook does not let the bank rest
{
	$t->sql("select payout.alter_merchant('MERCHANT02', '{\"notify_url\": \"http://127.0.0.1:$t->{bank_port}/nothing/here\", \"notify_events\": [\"payout.rejected\"]}')");
	$t->fault(service => 'webhook', kind => 'error_before', count => 1000);
	$t->sql("select count(*) from generate_series(1, 30) n, payout.register('MERCHANT02', 'HOOK' || n, 10000, 'CENA', '8800000001', 'Budi Santoso')");
	$t->wait_sql("select not exists (select from payout.payout where account_check = 'pending')");
	$t->sql("select count(payout.reject(merchant_id, txid, 'no')) from payout.payout where reference_no like 'HOOK%'");
	$t->wait_sql("select count(*) >= 10 from payout.notification where error is not null");
	my $began = time;
	$t->wait_state($t->pay, 'paid');
	cmp_ok(time - $began, '<', 5, 'the bank is not let rest for a merchant\'s address at its host');
}

# ---- A secret file that may only be read
{
	chmod 0400, $t->{secret_file};
	$t->sql("select pg_terminate_backend(pid) from pg_stat_activity where backend_type = 'payout worker'");
	$t->wait_state($t->pay, 'paid');
	is($t->sql("select string_agg(check_name || ' ' || status, ', ') from payout.health() where check_name in ('armed', 'secret_file', 'worker') and status <> 'ok'"), '', 'a secret file that the server may only read serves');
}

# ---- The trigger's function, misused, is an error
is($t->sqlstate("create table public.x (a text); create trigger x after insert on public.x for each row execute function payout.stop_requests('channel', 'nope'); insert into public.x values ('a')"), 'XX000', 'a column that is not there is an error');
is($t->sqlstate("create table public.y (a text); create trigger y after insert on public.y for each row execute function payout.stop_requests('channel', 'a'); insert into public.y values (null)"), '00000', 'and null stops nothing');

# ---- Where the extension is gone nothing leaves
{
	my ($txid) = waiting();
	$t->sql('drop extension payout cascade');
	$t->clear_faults;
	$t->control('POST', 'release');
	$t->wait_for('the worker is gone', sub { $t->sql("select count(*) from pg_stat_activity where backend_type = 'payout worker'") == 0 }, 40);
	is($t->times_paid($txid), 0, 'the extension is dropped while an order waits: it does not leave');
}
done_testing();
