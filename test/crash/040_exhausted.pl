# 040_exhausted.pl: what runs out is not ours alone: connections, locks, patience of clients, places for workers. Clients get
# a clear error of which nothing remains, the worker goes on or recovers by itself, and each payout is paid once.
use strict;
use warnings;
use lib 'test/t/lib';
use PayoutTest;
use Test::More;

# Few connections and a small table of locks. Errors at connecting have their code in the log alone.
my $t = PayoutTest->new(
	conf => [ 'max_connections = 24', 'superuser_reserved_connections = 3', 'max_locks_per_transaction = 24', 'max_prepared_transactions = 0',
		'max_wal_senders = 0', 'wal_level = minimal', 'autovacuum_max_workers = 1', "log_line_prefix = '%m [%p] %e '" ],
	channel => { not_found_grace_s => 0, not_found_count => 1 });
my $node = $t->{node};
$t->sql("insert into payout.retry_policy (lane, source, base_ms, max_ms, tries_max)
	select lane, 'operator', 50, 200, tries_max from payout.retry_policy where source = 'shipped'");
$t->sql("create role client login; grant client to current_user;
	insert into payout.access_grant (role_name, kind, scope) values ('client', 'merchant', 'MERCHANT01');
	grant usage on schema payout to client; grant execute on all functions in schema payout to client");

sub worker_pid { return $node->safe_psql('postgres', "select pid from pg_stat_activity where backend_type = 'payout worker'") }

# A session that stays, and is not ended by the errors that it gets.
sub session
{
	my $session = $node->background_psql('app', on_error_stop => 0);
	$session->set_query_timer_restart;
	return $session;
}

# What a session answers; its errors are forgotten.
sub ask
{
	my ($session, $sql) = @_;
	$session->{stderr} = '';
	return scalar $session->query($sql);
}

# The SQLSTATE that a session gets.
sub told
{
	my ($session, $sql) = @_;
	my ($sqlstate) = ask($session, "$sql;\n\\echo :SQLSTATE") =~ /(\w+)\s*\z/;
	return $sqlstate;
}

sub registered { my ($reference) = @_; return $t->sql("select count(*) from payout.payout where reference_no = '$reference'") }

# Payouts that wait behind a paused channel.
sub queue
{
	my ($count) = @_;
	$t->sql("select payout.pause_channel('BANK1', 'a queue')");
	return map { $t->pay } 1 .. $count;
}

sub paid_once
{
	my ($name, @txids) = @_;
	my $list = join ', ', map { "'$_'" } @txids;
	$t->wait_sql("select bool_and(state = 'paid') from payout.payout where txid in ($list)");
	is(join(' ', map { $t->times_paid($_) } @txids), join(' ', map { 1 } @txids), "$name: each is paid once");
	is($t->sql('select * from payout.hold'), '', "$name: nothing was set aside");
	is($t->sql('select * from payout.verify()'), '', "$name: verify() is empty");
}

# ---- Connections: idle clients have them all, at last those that are kept for superusers as well
{
	my @queued = queue(5);
	my $desk = session();
	my $free = "select current_setting('max_connections')::integer - (select count(*) from pg_stat_activity where backend_type = 'client backend')";
	my @idle;
	my $fill = sub {
		my ($user, $leave) = @_;
		# Until those that have left are gone, they count as well.
		$t->wait_for("only $leave connections are left, and stay so", sub {
			my $left = ask($desk, $free) - $leave;
			push @idle, $node->background_psql('app', wait => 0, extra_params => [ '-U', $user ]) for 1 .. $left;
			$t->wait_for('they are there', sub { $_->{run}->pump_nb for @idle; ask($desk, $free) <= $leave });
			$left <= 0 });
	};
	my $superuser = ask($desk, 'select current_user');
	my $log = sub { return scalar(() = PayoutTest::slurp($node->logfile) =~ / 53300 FATAL: /g) };

	$fill->('client', 3);
	my $refused = $log->();
	my ($status, $out, $err) = $node->psql('app', "select payout.balance('MERCHANT01')", extra_params => [ '-U', 'client' ]);
	like($err, qr/remaining connection slots are reserved/, 'a client is told that there are no connections');
	cmp_ok($log->(), '>', $refused, 'by 53300');
	$fill->($superuser, 0);
	$refused = $log->();
	($status, $out, $err) = $node->psql('app', 'select 1');
	like($err, qr/too many clients already/, 'a superuser too');
	cmp_ok($log->(), '>', $refused, 'by 53300');

	my $is_paid = "select bool_and(state = 'paid') from payout.payout where txid in ('" . join("', '", @queued) . "')";
	my $worker = "select pid from pg_stat_activity where backend_type = 'payout worker'";
	my $pid = ask($desk, $worker);
	ask($desk, "select payout.resume_channel('BANK1')");
	$t->wait_for('the worker pays what is queued', sub { ask($desk, $is_paid) eq 't' });
	is(ask($desk, $worker), $pid, 'the same worker');
	ask($desk, "select pg_terminate_backend($pid)");
	$t->wait_for('another worker finds its place', sub { my $now = ask($desk, $worker); $now =~ /^\d+$/ && $now != $pid });
	my $txid = ask($desk, "select txid from payout.register('MERCHANT01', 'CROWDED', 10000, 'CENA', '8800000001', 'Budi Santoso')");
	ask($desk, "select payout.approve('MERCHANT01', '$txid')");
	$t->wait_for('and pays', sub { ask($desk, "select state from payout.payout where txid = '$txid'") eq 'paid' });
	$_->quit for @idle;
	$t->wait_for('clients can connect again', sub { ask($desk, $free) > 10 });
	$desk->quit;
	paid_once('without connections', @queued, $txid);
}

# ---- Locks: a session has all that there are (advisory ones: all kinds share one table), and then they come back one by one
{
	# Work for each lane: an answer to record, transfers, account checks and status checks to claim.
	my @paid = queue(1);
	$t->sql("select payout.resume_channel('BANK1')");
	$t->wait_state($_, 'paid') for @paid;
	my @hanging = queue(3);
	$t->fault(service => 20, kind => 'hang', keep => JSON::PP::true, count => 1);
	$t->sql("select payout.resume_channel('BANK1')");
	$t->wait_for('a bulk is at the bank', sub { $t->control('GET', 'hanging')->{count} == 1 });
	my @queued = queue(3);
	my $unchecked = $t->register;
	$t->sql("select payout.request_check('MERCHANT01', '$paid[0]')");
	my $asked = $t->sql('select clock_timestamp()');

	my ($desk, $opener, $hog, $drip) = map { session() } 1 .. 4;
	my $drops = 60;
	ask($drip, "select count(pg_advisory_lock(i)) from generate_series(1, $drops) i");
	ask($opener, "begin; select payout.resume_channel('BANK1')");
	ask($hog, "begin; do \$\$ begin
		for i in 1 .. 1000000 loop
			begin
				perform pg_advisory_xact_lock(1, i);
			exception when out_of_memory then
				exit;
			end;
		end loop; end \$\$");
	is(told($desk, "select payout.register('MERCHANT01', 'LOCKLESS', 10000, 'CENA', '8800000001', 'Budi Santoso')"), '53200', 'a client gets 53200');
	is(told($desk, "select payout.approve('MERCHANT01', '$unchecked')"), '53200', 'so does another call');
	$t->control('POST', 'release');
	ask($opener, 'commit');	# which needs no lock, and wakes the worker

	my $in_vain = sub { return PayoutTest::slurp($node->logfile) =~ / LOG:  payout (?:could not|worker cannot).*: out of shared memory/ };
	$t->wait_for('the worker tries in vain', $in_vain);

	# Each time the worker has tried again, one lock more. The view of activity would need locks.
	my ($freed, $ok, @told) = (0, 0);
	my $is_done = 'select count(*) from payout.attempt where outcome is null';
	my $turned = "select state_change from pg_stat_get_activity(null) where backend_type = 'payout worker'";
	my $before = '';
	while ($freed < $drops && $ok < 3)
	{
		$t->wait_for('the worker tries', sub { ask($desk, $turned) !~ /^(|\Q$before\E)$/ || ask($desk, $is_done) eq '0' });
		$before = ask($desk, $turned);
		ask($drip, 'select pg_advisory_unlock(' . ++$freed . ')');
		push @told, told($desk, "select payout.register('MERCHANT01', 'DRIP$freed', 10000, 'CENA', '8800000001', 'Budi Santoso')");
		$ok++ if $told[-1] eq '00000';
	}
	note join ' ', @told;
	ask($hog, 'rollback');
	$_->quit for $hog, $drip, $desk, $opener;
	my $expected = join ' ', map { 'DRIP' . ($_ + 1) } grep { $told[$_] eq '00000' } 0 .. $#told;
	is($t->sql("select coalesce(string_agg(reference_no, ' ' order by registered_at), '') from payout.payout where reference_no ~ '^(DRIP|LOCKLESS)'"),
		$expected, "of what was refused nothing is there, of what was told ok everything");
	is(join(' ', grep { !/^(00000|53200)$/ } @told), '', 'no other errors');
	paid_once('without locks', @paid, @hanging, @queued);
	$t->wait_sql("select status_checked_at > '$asked' from payout.payout where txid = '$paid[0]'");
	$t->wait_sql("select account_check = 'matched' from payout.payout where txid = '$unchecked'");
}

# ---- Patience of clients: a call that waited too long has done nothing, and is repeated
{
	my $holder = session();
	my %limits = (57014 => "set statement_timeout = '100ms'", '55P03' => "set lock_timeout = '100ms'");
	for my $sqlstate (sort keys %limits)
	{
		my $txid = $t->register;
		$t->wait_sql("select account_check = 'matched' from payout.payout where txid = '$txid'");
		my ($cash, $token) = $t->issue;
		my $reference = "PATIENCE$sqlstate";
		my $before = $t->sql("select * from payout.balance('MERCHANT01')");
		$t->validate($token, reference => $reference);
		my %call = (
			'approve, the payout locked' => [ "select from payout.payout where txid = '$txid' for update", "select state from payout.approve('MERCHANT01', '$txid')", 'approved' ],
			'approve, the ledger locked' => [ 'lock table payout.balance_delta in share mode',
				"select state from payout.approve('MERCHANT01', '$txid')", 'approved' ],
			'register, the same reference under way' => [ "select payout.register('MERCHANT01', '$reference', 20000, 'CENA', '8800000001', 'Budi Santoso')",
				"select state from payout.register('MERCHANT01', '$reference', 20000, 'CENA', '8800000001', 'Budi Santoso')", 'registered' ],
			'register_cashout, the ledger locked' => [ 'lock table payout.balance_delta in share mode',
				"select state from payout.register_cashout('MERCHANT01', '${reference}C', 20000, 'Budi Santoso', '0812')", 'registered' ],
			'confirm' => [ "select from payout.payout where txid = '$cash' for update", $t->confirm_sql($token, reference => $reference), 'paid' ]);
		my @names = sort keys %call;
		for my $name (@names)
		{
			my ($lock, $sql) = @{ $call{$name} };
			ask($holder, "begin; $lock");
			is($t->sqlstate("$limits{$sqlstate}; $sql"), $sqlstate, "$name: $sqlstate");
			ask($holder, 'rollback');
		}
		is($t->sql("select string_agg(state, ' ' order by txid) from payout.payout where txid in ('$txid', '$cash')"), 'registered token_reserved', "$sqlstate: nothing has moved");
		is($t->sql("select count(*) from payout.payout where reference_no ~ '^$reference'"), '0', "$sqlstate: nothing is registered");
		is($t->sql("select * from payout.balance('MERCHANT01')"), $before, "$sqlstate: no money has moved");
		is($t->sql($call{$_}[1]), $call{$_}[2], "$_: repeated, it is done") for grep { $_ ne 'approve, the ledger locked' } @names;
		paid_once($sqlstate, $txid);
	}

	# A client that sits in its transaction is thrown out of it.
	my ($txid, $before) = ($t->register, $t->sql("select * from payout.balance('MERCHANT01')"));
	my $sits = $node->background_psql('app', on_error_stop => 0);
	ask($sits, "set idle_in_transaction_session_timeout = '50ms'; begin; select payout.approve('MERCHANT01', '$txid');
		select payout.register('MERCHANT01', 'SITS', 20000, 'CENA', '8800000001', 'Budi Santoso');
		select payout.register_cashout('MERCHANT01', 'SITSC', 20000, 'Budi Santoso', '0812')");
	$t->wait_for('it is thrown out', sub { PayoutTest::slurp($node->logfile) =~ / 25P03 FATAL: / });
	is($t->state($txid), 'registered', 'its approval is gone');
	is($t->sql("select count(*) from payout.payout where reference_no ~ '^SITS'"), '0', 'so are its registrations');
	is($t->sql("select * from payout.balance('MERCHANT01')"), $before, 'and no money has moved');
	$t->approve($txid);
	paid_once('after idle_in_transaction_session_timeout', $txid);
	eval { $sits->{run}->finish };
	$holder->quit;
}

# ---- Patience of the worker: it begins, and what it has to write is locked
{
	my $holder = session();
	ask($holder, 'begin; lock table payout.incarnation in share mode');
	my $before = worker_pid();
	$t->sql("select pg_terminate_backend($before)");
	my $in_vain = sub { return scalar(() = PayoutTest::slurp($node->logfile) =~ /payout worker cannot turn: canceling statement due to lock timeout/g) };
	$t->wait_for('the worker begins in vain, twice', sub { $in_vain->() > 1 });
	ask($holder, 'rollback');
	$holder->quit;
	my $txid = $t->pay;
	paid_once('a worker that could not begin', $txid);
}

# ---- Tiny limits of the database, of the worker's role, and of both together: they are for others
{
	my $role = $t->sql('select rolname from pg_authid where oid = 10');
	my @places = ("database app", "role \"$role\"", "role \"$role\" in database app");
	local $ENV{PGOPTIONS} = join ' ', map { "-c $_=0" } qw(statement_timeout lock_timeout idle_in_transaction_session_timeout idle_session_timeout);
	my @limits = qw(statement_timeout lock_timeout idle_in_transaction_session_timeout idle_session_timeout deadlock_timeout);
	$node->safe_psql('postgres', join '', map { my $place = $_; map { "alter $place set $_ = '1ms';" } @limits } @places);
	my $before = worker_pid();
	$node->safe_psql('postgres', "select pg_terminate_backend($before)");
	$t->wait_for('a worker that begins under them', sub { my $now = worker_pid(); $now ne '' && $now ne $before });
	$before = worker_pid();
	my @txids = map { $t->pay } 1 .. 3;
	my $holder = session();
	ask($holder, "begin; select from payout.payout where txid = '$txids[0]' for update");
	$t->wait_state($_, 'paid') for @txids[ 1, 2 ];
	$node->reload;
	ask($holder, 'rollback');
	$holder->quit;
	paid_once('under tiny limits', @txids);
	is($t->sql("call payout.check_status('MERCHANT01', '$txids[0]')"), 'paid', 'the bank is asked');
	is(worker_pid(), $before, 'by the same worker');
	$node->safe_psql('postgres', join '', map { "alter $_ reset all;" } @places);
}

# ---- Places for workers: too few for the worker, then for the launcher as well
{
	my $health = sub { return $t->sql("select check_name || ' ' || status from payout.health() where check_name in ('launcher', 'worker') order by 1") };
	my $hint = sub { return $t->sql("select hint from payout.health() where check_name = '$_[0]'") };
	my @txids = map { $t->register } 1 .. 2;
	$node->append_conf('postgresql.conf', "max_worker_processes = 2\nmax_parallel_workers = 0");
	$node->restart;
	$t->wait_for('the log says why', sub { PayoutTest::slurp($node->logfile) =~ /53400 WARNING:  out of background worker slots for payout/ });
	is($health->(), "launcher ok\nworker critical", 'health() says that the worker does not run');
	like($hint->('worker'), qr/log says why/, 'and where to look');
	$t->approve($_) for @txids;
	$node->append_conf('postgresql.conf', 'max_worker_processes = 1');
	$node->restart;
	is($health->(), "launcher critical\nworker critical", 'nor the launcher');
	like($hint->('launcher'), qr/log says why/, 'and where to look');
	like(PayoutTest::slurp($node->logfile), qr/too many background workers.*max_worker_processes/s, 'the log names the setting');
	is($t->sqlstate("select payout.register('MERCHANT01', 'PLACE', 20000, 'CENA', '8800000001', 'Budi Santoso')"), '00000', 'clients go on');
	$node->append_conf('postgresql.conf', 'max_worker_processes = 8');
	$node->restart;
	$t->wait_sql("select count(*) = 2 from payout.health() where check_name in ('launcher', 'worker') and status = 'ok'");
	paid_once('with places', @txids);
}
$t->sound('at the end');
done_testing();
