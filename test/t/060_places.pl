# 060_places.pl: a record that was copied does not pass for its own. Dumps restored in place or beside the original, copies of the
# files and of the database under the same OID, and rotations of the secret file by a copy: whatever the original has paid is paid
# once, at a bank that forgets references.
use strict;
use warnings;
use lib 'test/t/lib';
use PayoutTest;
use PostgreSQL::Test::Utils;
use Test::More;

my %common = (sandbox => { forget_references => JSON::PP::true },
	channel => { mode => 'single', not_found_grace_s => 0, not_found_count => 1, request_timeout_ms => 20000 });

sub quick { my $t = shift; $t->sql("insert into payout.retry_policy (lane, base_ms, max_ms, tries_max) values ('check', 20, 100, 100000), ('dispatch', 20, 100, 1000)") }

sub dump_of
{
	my ($t, $database) = @_;
	local $ENV{PGOPTIONS} = '-c payout.dump_secrets=on';
	my $file = "$t->{dir}/dump";
	$t->{node}->command_ok([ 'pg_dump', '-Fc', '-f', $file, $t->{node}->connstr($database // 'app') ], 'dumped');
	return $file;
}

# A dump that was taken in the worker's life brings that life back.
sub in_place
{
	my ($name, @options) = @_;
	my $t = PayoutTest->new(name => $name, %common);
	quick($t);
	$t->sql("select payout.pause_channel('BANK1', 'copying')");
	my $left = $t->pay;
	my $dump = dump_of($t);
	$t->sql("select payout.resume_channel('BANK1')");
	$t->wait_state($left, 'paid');
	$t->{relay}->signal('KILL');
	eval { $t->{relay}->finish };
	@{ $t->{children} } = grep { $_ != $t->{relay} } @{ $t->{children} };
	run_command([ 'pg_restore', @options, '--clean', '--if-exists', '-d', $t->{node}->connstr('app'), $dump ]);
	is($t->sql('select payout.is_armed(), payout.may_lack_tail()'), 'f|t', "$name: not armed, and it is known that something may be lost");
	is($t->sql("select status from payout.health() where check_name = 'lost_tail'"), 'warning', "$name: health() says so");
	$t->sql('select payout.arm()');
	$t->sql("select payout.resume_channel('BANK1')");
	$t->wait_state($left, 'paid');
	is($t->times_paid($left), 1, "$name: paid once");
	is($t->sql('select count(*) from payout.lost_tail'), '1', "$name: a lost tail has begun");
	is($t->sql("select string_agg(check_name, ' ') from payout.verify()"), '', "$name: verify() is empty");
	$t->{node}->stop('immediate');
	$t->end_children;
}

# An order was under way when the dump was taken: its life is not the present one, so the bank is asked.
sub under_way
{
	my $t = PayoutTest->new(name => 'under', %common);
	quick($t);
	$t->fault(service => '18', kind => 'hang');
	my $txid = $t->pay;
	$t->wait_sql("select exists (select from payout.attempt where outcome is null and lane = 'dispatch')");
	my $dump = dump_of($t);
	$t->clear_faults;
	eval { $t->control('POST', 'release') };
	$t->wait_sql('select not exists (select from payout.attempt where outcome is null)');
	$t->{relay}->signal('KILL');
	eval { $t->{relay}->finish };
	@{ $t->{children} } = grep { $_ != $t->{relay} } @{ $t->{children} };
	run_command([ 'pg_restore', '-1', '--clean', '--if-exists', '-d', $t->{node}->connstr('app'), $dump ]);
	$t->sql('select payout.arm()');
	$t->wait_state($txid, 'paid');
	is($t->times_paid($txid), 1, 'under way when it was dumped: paid once');
	$t->{node}->stop('immediate');
	$t->end_children;
}

# Restored into a database that was installed and armed before, whose worker runs; then beside the original.
sub under_a_worker
{
	my $t = PayoutTest->new(name => 'installed', %common);
	my $node = $t->{node};
	quick($t);
	$t->sql("select payout.pause_channel('BANK1', 'copying')");
	my $left = $t->pay;
	my $dump = dump_of($t);
	$node->safe_psql('postgres', 'create database target');
	$node->safe_psql('target', 'create extension payout');
	$node->safe_psql('postgres', "alter system set payout.databases = 'app, target'; select pg_reload_conf()");
	$node->safe_psql('target', 'select payout.arm()');
	$t->wait_for('the target has begun', sub { $node->safe_psql('target', 'select count(*) from payout.incarnation') == 1 });
	$t->sql("select payout.resume_channel('BANK1')");
	$t->wait_state($left, 'paid');
	run_command([ 'pg_restore', '-d', $node->connstr('target'), $dump ]);
	$node->safe_psql('target', "select payout.resume_channel('BANK1')");
	# The original is armed and its worker has the lock on the book: that of the copy waits, whatever database it is in.
	$t->wait_for('the copy waits', sub { slurp_file($node->logfile) =~ /another process holds payout\.secret_file/ });
	is($node->safe_psql('target', "select status from payout.health() where check_name = 'armed'"), 'critical', 'beside the original: its health() says so');
	is($node->safe_psql('target', "select state from payout.payout where txid = '$left'"), 'approved', 'it sends nothing');
	is($t->sql("select status from payout.health() where check_name = 'armed'"), 'ok', 'the original goes on');
	my $more = $t->pay;
	$t->wait_state($more, 'paid');
	$t->sql('select payout.disarm()');
	$t->wait_for('the copy has learnt that it is paid', sub { $node->safe_psql('target', "select state from payout.payout where txid = '$left'") eq 'paid' });
	is($t->times_paid($left), 1, 'restored under a worker that had begun: paid once');
	is($node->safe_psql('target', 'select count(*) from payout.lost_tail'), '1', 'a lost tail has begun');
	$node->stop('immediate');
	$t->end_children;
}

# A copy under the OID of the original, which is gone.
sub same_oid
{
	my $t = PayoutTest->new(name => 'sameoid', %common);
	my $node = $t->{node};
	$t->sql("select payout.pause_channel('BANK1', 'copying')");
	my $left = $t->pay;
	my $oid = $node->safe_psql('postgres', "select oid from pg_database where datname = 'app'");
	my $nobody = sub {
		$node->safe_psql('postgres', "alter system set payout.databases = ''; select pg_reload_conf()");
		$t->wait_for('nobody is connected', sub {
			$node->safe_psql('postgres', "select pg_terminate_backend(pid) from pg_stat_activity where datname in ('app', 'nightly') and backend_type = 'client backend'");
			$node->safe_psql('postgres', "select count(*) from pg_stat_activity where datname in ('app', 'nightly')") == 0 });
	};
	$t->{relay}->signal('KILL');
	eval { $t->{relay}->finish };
	@{ $t->{children} } = grep { $_ != $t->{relay} } @{ $t->{children} };
	$nobody->();
	$node->safe_psql('postgres', 'create database nightly template app');
	$node->safe_psql('postgres', "alter system set payout.databases = 'app'; select pg_reload_conf()");
	$t->restart_relay;
	$t->sql("select payout.resume_channel('BANK1')");
	$t->wait_state($left, 'paid');
	is($t->sql('select payout.is_armed(), payout.may_lack_tail()'), 't|f', 'a worker that is started anew in its place is armed and lacks nothing');
	$t->{relay}->signal('KILL');
	eval { $t->{relay}->finish };
	@{ $t->{children} } = grep { $_ != $t->{relay} } @{ $t->{children} };
	$nobody->();
	$node->safe_psql('postgres', 'drop database app');
	$node->safe_psql('postgres', "create database app oid $oid template nightly");
	is($t->sql('select payout.is_armed(), payout.may_lack_tail()'), 'f|t', 'a copy under the same OID is not armed');
	$node->safe_psql('postgres', "alter system set payout.databases = 'app'; select pg_reload_conf()");
	$t->sql("select payout.arm(), payout.resume_channel('BANK1')");
	$t->wait_state($left, 'paid');
	is($t->times_paid($left), 1, 'and asks once it is');
	$node->stop('immediate');
	$t->end_children;
}

# A standby that is made a primary by hand stays on its timeline: it is not armed there.
sub without_signal
{
	my $t = PayoutTest->new(name => 'nosignal', %common);
	quick($t);
	$t->{node}->backup('b');
	my $standby = PostgreSQL::Test::Cluster->new('nosignal_s');
	$standby->init_from_backup($t->{node}, 'b', has_streaming => 1);
	$standby->start;
	$t->sql("select payout.pause_channel('BANK1', 'a while')");
	my $txid = $t->pay;
	$t->{node}->wait_for_catchup($standby);
	$standby->stop;
	$t->sql("select payout.resume_channel('BANK1')");
	$t->wait_state($txid, 'paid');
	$t->{node}->stop('immediate');
	unlink $standby->data_dir . '/standby.signal' or die $!;
	$standby->start;
	$t->{node} = $standby;
	$t->restart_relay;
	$t->wait_sql('select not pg_is_in_recovery()');
	is($t->sql('select payout.timeline(), payout.is_armed(), payout.may_lack_tail()'), '1|f|t', 'standby.signal removed: not armed on the old timeline');
	$t->sql("select payout.arm(), payout.resume_channel('BANK1')");
	$t->wait_state($txid, 'paid');
	is($t->times_paid($txid), 1, 'and asks once it is');
	$standby->stop;
	$t->end_children;
}

# Two take-overs while the clock of the old server was ahead: two moments.
sub clock_ahead
{
	my $t = PayoutTest->new(name => 'ahead', %common);
	$t->sql("select payout.pause_channel('BANK1', 'a while')");
	my $open = $t->pay;
	$t->sql("set session_replication_role = replica; update payout.payout set registered_at = clock_timestamp() + interval '1 hour' where txid = '$open'");
	for my $n (1, 2)
	{
		$t->{node}->backup("b$n");
		my $next = PostgreSQL::Test::Cluster->new("ahead$n");
		$next->init_from_backup($t->{node}, "b$n", has_streaming => 1);
		$next->start;
		$t->{node}->wait_for_catchup($next);
		$t->{node}->stop('immediate');
		$next->promote;
		$t->{node} = $next;
		$t->restart_relay;
		$t->wait_sql('select not pg_is_in_recovery()');
		$t->wait_sql("select count(*) = $n from payout.lost_tail");
	}
	is($t->sql('select count(distinct at) from payout.lost_tail'), '2', 'two take-overs have two moments, though the clock was ahead');
	$t->{node}->stop('immediate');
	$t->end_children;
}

# Promoted, and no worker has begun; a session with an older snapshot when one has.
sub before_the_worker
{
	my $t = PayoutTest->new(name => 'window', %common);
	quick($t);
	$t->{node}->backup('b');
	my $standby = PostgreSQL::Test::Cluster->new('window_s');
	$standby->init_from_backup($t->{node}, 'b', has_streaming => 1);
	$standby->append_conf('postgresql.conf', "payout.databases = ''");
	$standby->start;
	my $registered = $t->register;
	my $scheduled = $t->register(schedule => $t->sql("select date_trunc('second', clock_timestamp()) + interval '90 min'"));
	$t->approve($scheduled);
	my $cash = $t->sql("select txid from payout.register_cashout('MERCHANT01', 'CASH', 50000, 'Budi Santoso', '0812')");
	$t->{node}->wait_for_catchup($standby);
	$standby->safe_psql('postgres', q(alter system set primary_conninfo = 'host=/nowhere port=1'; select pg_reload_conf()));
	$t->wait_for('it is cut off', sub { $t->{node}->safe_psql('postgres', 'select count(*) from pg_stat_replication') == 0 });
	$t->approve($registered);
	$t->wait_state($registered, 'paid');
	$t->set_clock(6000);
	$t->wait_state($scheduled, 'paid');
	$t->{node}->stop('immediate');
	$standby->promote;
	$t->{node} = $standby;
	$t->restart_relay;
	$t->wait_sql('select not pg_is_in_recovery()');
	my %refused = (reject => "select payout.reject('MERCHANT01', '$registered', 'x')", cancel => "select payout.cancel('MERCHANT01', '$scheduled', 'x')",
		approve => "select payout.approve('MERCHANT01', '$cash')", 'reject of cash' => "select payout.reject('MERCHANT01', '$cash', 'x')");
	is($t->sqlstate($refused{$_}), 'PY004', "no worker has begun: $_ is refused") for sort keys %refused;
	my $older = $t->session;
	$older->('begin isolation level repeatable read');
	$older->('select 1 from payout.payout limit 1');
	$standby->safe_psql('postgres', q(alter system set payout.databases = 'app'; select pg_reload_conf()));
	$t->wait_sql('select count(*) = 1 from payout.lost_tail');
	eval { $older->("select payout.cancel('MERCHANT01', '$scheduled', 'x')"); $older->('commit') };
	isnt($t->state($scheduled), 'cancelled', 'nor does an older snapshot end it');
	is($t->sqlstate($refused{$_}), 'PY004', "the worker has begun: $_ is refused") for sort keys %refused;
	$standby->stop('immediate');
	$t->end_children;
}

# A copy of the server on the same host, armed there, with a copy of the secret file: rotations let it in nowhere.
sub rotations
{
	my $t = PayoutTest->new(name => 'rotated', %common);
	my $node = $t->{node};
	my $make = sub { my ($file, $content, $mode) = @_; PayoutTest::write_file("$t->{dir}/$file", $content); chmod $mode // 0600, "$t->{dir}/$file"; return "$t->{dir}/$file" };
	my $set = sub {
		my ($server, %settings) = @_;
		$server->safe_psql('postgres', "alter system set payout.$_ = '$settings{$_}'") for sort keys %settings;
		$server->safe_psql('postgres', 'select pg_reload_conf()');
		$t->wait_for('the settings count', sub { 0 == grep { $server->safe_psql('postgres', "show payout.$_") ne $settings{$_} } keys %settings });
	};
	my $copy = $make->('copy', PayoutTest::slurp($t->{secret_file}));
	$node->backup('b');
	my $clone = PostgreSQL::Test::Cluster->new('rotated_clone');
	$clone->init_from_backup($node, 'b');
	$clone->append_conf('postgresql.conf', "payout.secret_file = '$copy'");
	$clone->start;
	my $looks = 0;
	# Its worker looks at each start, and finds the lock taken.
	my $waits = sub {
		my ($when) = @_;
		$clone->restart;
		$t->wait_for("$when: the clone looks", sub { my ($log) = slurp_file($clone->logfile) =~ /.*(starting PostgreSQL.*)/s; $log =~ /another process holds payout\.secret_file/ });
		is($clone->safe_psql('app', 'select count(*) from payout.incarnation where timeline_id = 1'), '1', "$when: it has not begun");
	};
	$clone->safe_psql('app', 'select payout.arm()');
	$waits->('armed');
	# The clone rotates to a file of its own.
	$set->($clone, secret_file => $make->('stranger', 'z' x 64), secret_file_old => $copy);
	is($clone->safe_psql('app', 'select payout.worker_holds_file()'), 'f', 'the clone rotates: its worker holds nothing');
	my ($status, $out, $err) = $clone->psql('app', 'select payout.rotate_secret_key()', extra_params => [ '-v', 'VERBOSITY=verbose' ]);
	like($err, qr/PY015/, 'so the arming is not carried over');
	$set->($clone, secret_file => $copy, secret_file_old => '');
	# The original rotates to a file that is no secret yet.
	my $second = $make->('second', 'y' x 64, 0644);
	my $first = $t->{secret_file};
	$set->($node, secret_file => $second, secret_file_old => $first);
	$t->sql('select payout.wake()');
	$t->wait_for('its worker has looked', sub { $t->sqlstate('select payout.rotate_secret_key()') eq 'PY015' });
	$waits->('a new file that is open to others');
	chmod 0600, $second;
	$t->sql('select payout.rotate_secret_key()');
	$t->wait_state($t->pay, 'paid');
	$waits->('rotated');
	# The setting is emptied before the file is destroyed.
	$set->($node, secret_file_old => '');
	$t->wait_state($t->pay, 'paid');
	$waits->('the old file is named no more');
	# The files are moved away altogether: nothing is sent, and the clone stays out.
	rename $second, "$second.away" or die $!;
	$t->sql('select payout.wake()');
	$waits->('the file is away');
	rename "$second.away", $second or die $!;
	$t->wait_state($t->pay, 'paid');
	# Disarmed it lets go.
	$t->sql('select payout.disarm()');
	$t->wait_for('the clone begins', sub { $clone->safe_psql('app', 'select payout.wake()'); $clone->safe_psql('app', 'select count(*) from payout.incarnation') == 2 });
	is($clone->safe_psql('app', 'select count(*) from payout.lost_tail'), '1', 'and asks, as it is in another place');
	$clone->stop('immediate');
	$node->stop('immediate');
	$t->end_children;
}

in_place('inplace', '-1');
in_place('inplace_steps');
under_way();
under_a_worker();
same_oid();
without_signal();
clock_ahead();
before_the_worker();
rotations();
done_testing();
