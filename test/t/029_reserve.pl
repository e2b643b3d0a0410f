# 029_reserve.pl: requests that are claimed before they have a place on the wire. The bank never sees more than in_flight_max at
# a time; what waits is sent when an answer comes, and not at all once the channel is paused, altered or refused for now, the
# bank gone, or the database disarmed: it is then simply due again. A dead worker leaves it in doubt. Whatever happens, each is
# paid once.
use strict;
use warnings;
use lib 'test/t/lib';
use PayoutTest;
use Test::More;
use Time::HiRes qw(sleep time);

my $places = 6;	# more than it takes to let a host rest
my $t = PayoutTest->new(conf => [ 'log_min_messages = error' ], sandbox => { bulk_items_max => 100 }, channel => {
	mode => 'single', in_flight_max => $places, not_found_grace_s => 0, not_found_count => 1, request_timeout_ms => 60000 });
$t->sql("insert into payout.retry_policy (lane, base_ms, max_ms, tries_max) values
	('check', 20, 50, 100000), ('dispatch', 20, 50, 1000), ('validate', 20, 50, 100000)");

sub registered
{
	my ($count) = @_;
	my @txids = map { $t->register } 1 .. $count;
	$t->wait_sql("select not exists (select from payout.payout where account_check <> 'matched')");
	return @txids;
}

sub approve_all { $t->sql("select payout.approve('MERCHANT01', txid) from payout.payout where state = 'registered'"); }
sub list { return join ', ', map { "'$_'" } @_; }

sub paid_once
{
	my ($name, @txids) = @_;
	$t->wait_sql('select bool_and(state = \'paid\') from payout.payout where txid in (' . list(@txids) . ')');
	is(join('', map { $t->times_paid($_) } @txids), '1' x @txids, "$name: each is paid once");
	$t->sound($name);
}

sub open_attempts { return $t->sql("select count(*) from payout.attempt where outcome is null"); }
# Transfers that the bank has not answered yet.
sub under_way { return scalar grep { !$_->{http} } @{ $t->control('GET', 'requests?service=18')->{requests} }; }
sub hanging { return $t->control('GET', 'hanging')->{count}; }
sub released { return $t->sql("select count(*) from payout.attempt where outcome = 'not_sent' and class is null and http_status is null"); }

sub let_go { $t->clear_faults; $t->control('POST', 'release'); }

my ($before, $waiting);	# how many were given back before the last fill, and waited at its end

# Whether every place is taken and requests wait: these stay a second, which a busy machine may sleep through.
sub is_filled
{
	my $ends = time + 2;
	while (time < $ends)
	{
		$waiting = open_attempts() - $places;
		return 1 if hanging() == $places && $waiting > 0;
	}
	return 0;
}

# Answers so fast that there is a reserve; then the bank hangs, with every place taken and requests waiting.
sub fill
{
	my ($name, $count) = @_;
	for (1 .. 20)
	{
		my @fast = registered(30);
		approve_all();
		$t->wait_sql("select bool_and(state = 'paid') from payout.payout");
		my @txids = registered($count);
		$before = released();
		$t->fault(service => '18', kind => 'hang', keep => JSON::PP::true);
		approve_all();
		return @txids if is_filled();
		let_go();
		$t->wait_sql("select bool_and(state = 'paid') from payout.payout");
	}
	die "$name: there is never a reserve\n";
}

# ---- The limit is that of the wire, at every moment
my @many;
my ($most, $most_open) = (0, 0);
$t->fault(service => '18', kind => 'delay', delay_ms => 20);
for (1 .. 10)	# a busy machine may look at none of the moments in which more is claimed
{
	push @many, registered(60);
	approve_all();
	$t->wait_for('all are paid', sub {
		my ($now, $open) = (under_way(), open_attempts());
		$most = $now if $now > $most;
		$most_open = $open if $open > $most_open;
		$t->sql("select bool_and(state = 'paid') from payout.payout") eq 't' });
	last if $most_open > $places;
}
cmp_ok($most, '<=', $places, 'the bank never has more than in_flight_max');
cmp_ok($most_open, '>', $places, 'though more is claimed');
cmp_ok($most_open, '<=', 2 * $places, 'at most as much again');
$t->clear_faults;
paid_once('a slow bank', @many);

# ---- What makes it stay here: before an answer comes that would let it go
my %stop = (
	'the channel is paused' => [ "select payout.pause_channel('BANK1', 'a test')", "select payout.resume_channel('BANK1')" ],
	'the database is disarmed' => [ 'select payout.disarm()', 'select payout.arm()' ],
	'the bank refused for now' => [ "update payout.channel set not_before = payout.clock() + interval '1 h', not_before_reason = 'a test'", 'update payout.channel set not_before = null, not_before_reason = null; select payout.wake()' ]);
for my $name (sort keys %stop)
{
	my ($stop, $go) = @{ $stop{$name} };
	my @txids = fill($name, 15);
	my $on_wire = $t->requests('18');
	note "$name: $waiting wait";
	$t->sql($stop);
	let_go();
	$t->wait_for("$name: nothing is under way", sub { open_attempts() == 0 });
	is($t->requests('18'), $on_wire, "$name: what waited was not sent");
	cmp_ok(released() - $before, '>=', $waiting, "$name: and says so");
	is($t->sql("select count(*) from payout.batch where state = 'open' and tries > 0"), '0', "$name: it counts as no try");
	$t->sql($go);
	paid_once($name, @txids);
}

# ---- Nothing waits for long, nor again and again while the bank hangs
{
	my @txids = fill('a bank that hangs', 15);
	$t->wait_for('what waited is given back', sub { open_attempts() == $places && released() > $before });
	my $given_back = released() - $before;
	cmp_ok($given_back, '<=', $places, "$given_back are given back");
	my $later = time + 3;
	$t->wait_for('a while', sub { time > $later });
	is(open_attempts() . ' ' . (released() - $before), "$places $given_back", 'and are not claimed again as long as nothing is known of the bank\'s speed');
	let_go();
	paid_once('a bank that hangs', @txids);
}

# ---- Answers gather while the reserve lasts, but not for long: one is recorded though the others take long and more waits
{
	my @late_ms;
	for (1 .. 3)
	{
		my @fast = registered(30);
		approve_all();
		$t->wait_sql("select bool_and(state = 'paid') from payout.payout");
		my @txids = registered(15);
		my $began = $t->sql('select clock_timestamp()');
		$t->fault(service => '18', kind => 'delay', delay_ms => 2000, count => $places - 1);
		$t->fault(service => '18', kind => 'delay', delay_ms => 200, count => 1);
		$t->fault(service => '18', kind => 'delay', delay_ms => 2000);
		approve_all();
		$t->wait_sql("select exists (select from payout.attempt where lane = 'dispatch' and outcome = 'yes' and started_at > '$began')");
		$t->clear_faults;
		paid_once('answers gather', @txids);
		push @late_ms, $t->sql("select round(1000 * extract(epoch from finished_at - started_at)) - latency_ms from payout.attempt
			where lane = 'dispatch' and outcome = 'yes' and started_at > '$began' order by finished_at limit 1");
	}
	@late_ms = sort { $a <=> $b } @late_ms;
	note "recorded after @late_ms ms";
	cmp_ok($late_ms[1], '<', 400, 'an answer is recorded long before the requests that wait have waited too long');
}

# ---- The bank goes: nothing that waits is tried
{
	my @txids = fill('the bank goes', 15);
	$t->control('POST', 'down', { down => JSON::PP::true });
	$t->wait_for('what waited is given back', sub { released() > $before });
	$t->clear_faults;
	$t->control('POST', 'down', { down => JSON::PP::false });
	paid_once('the bank goes', @txids);
}

# ---- The worker dies: what waited may have been sent, as far as anybody knows, and the bank is asked
{
	my @txids = fill('the worker dies', 15);
	my $pid = $t->sql("select pid from pg_stat_activity where backend_type = 'payout worker'");
	kill 'KILL', $pid;
	$t->wait_sql("select count(*) >= $places from payout.attempt where lane = 'dispatch' and outcome = 'unknown' and excerpt like '%died%'");
	let_go();
	paid_once('the worker dies', @txids);
}

# ---- The other lanes give back what waits in the same way
{
	my @txids = registered(30);
	for (1 .. 20)
	{
		$t->fault(service => '16', kind => 'hang', keep => JSON::PP::true);
		# In one transaction: registered one by one, each would wait for its place alone.
		push @txids, split /\n/, $t->sql("select txid from generate_series(1, 15), payout.register('MERCHANT01', 'MANY' || generate_series || '/$_', 10000, 'CENA', '8800000001', 'Budi Santoso')");
		last if is_filled();
		let_go();
		$t->wait_sql("select bool_and(account_check = 'matched') from payout.payout");
	}
	$t->sql("select payout.pause_channel('BANK1', 'a test')");
	let_go();
	$t->wait_for('nothing is under way', sub { open_attempts() == 0 });
	is($t->sql("select count(*) from payout.payout where account_check not in ('pending', 'matched')"), '0', 'account checks: what waited is as pending as before');
	$t->sql("select payout.resume_channel('BANK1')");
	$t->wait_sql("select bool_and(account_check = 'matched') from payout.payout");
	approve_all();
	paid_once('account checks', @txids);

	my @doubtful = registered(12);
	$t->fault(service => '18', kind => 'reset_after', count => 12);
	$t->fault(service => '36', kind => 'hang', keep => JSON::PP::true);
	approve_all();
	$t->wait_for('status inquiries: places are taken', sub { hanging() == $places && $t->sql("select count(*) from payout.payout where state = 'suspect'") == 12 });
	$t->sql("select payout.pause_channel('BANK1', 'a test')");
	let_go();
	$t->wait_for('nothing is under way', sub { open_attempts() == 0 });
	is($t->sql("select count(*) from payout.payout where state = 'suspect' and status_due_at is null"), '0', 'status inquiries: what was not asked is due again');
	$t->sql("select payout.resume_channel('BANK1')");
	paid_once('status inquiries', @doubtful);
}

done_testing();
