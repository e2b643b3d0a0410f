# 054_gate.pl: what was stopped does not leave. Requests of each lane wait in each place where a request can wait; then something
# stops them, and its commit has returned: not one byte of a request leaves after that. When the stop is lifted, all of it goes on.
# The reserve, one more such place, is in 029_reserve.pl. Then stops come at any moment of a busy lane, 200 times each.
use strict;
use warnings;
use lib 'test/t/lib';
use Cwd qw(abs_path);
use Doorway;
use IPC::Run ();
use JSON::PP ();
use PayoutTest;
use Test::More;
use Time::HiRes qw(sleep time);

my $count = $ENV{LONG} ? 40 : 17;	# requests of each lane in each place
my $races = 200;
my $t = PayoutTest->new(conf => [ 'log_min_messages = error' ], balance => 1000000000, sandbox => { source_accounts => { '888801000157508' => '999999999999.00' } }, merchant => { notify_events => ['payout.rejected'] }, channel => {
	mode => 'single', in_flight_max => 64, request_timeout_ms => 60000, connect_timeout_ms => 60000, not_found_grace_s => 0, not_found_count => 1 });
my $world = PostgreSQL::Test::Utils::tempdir();
my $dir = $t->{dir};

# Names are looked up in a world of ours, where an answer can be held back.
$t->{node}->stop;
{
	local %ENV = (%ENV, LD_PRELOAD => abs_path('test/sandbox/world.so'), WORLD_DIR => $world);
	$t->{node}->append_conf('postgresql.conf', "payout.allow_hosts = '127.0.0.1, " . join(', ', map { "name$_.test" } 1 .. 40) . "'");
	$t->{node}->start;
}
PayoutTest::write_file("$world/names", join '', map { "name$_.test 127.0.0.1\n" } 1 .. 40);
my $names = 0;	# taken so far
$t->wait_sql('select count(*) = 2 from payout.incarnation');
$t->sql("insert into payout.retry_policy (lane, base_ms, max_ms, tries_max) values
	('check', 20, 50, 100000), ('dispatch', 20, 50, 1000), ('validate', 20, 50, 100000), ('notify', 20, 50, 1000)");

# The bank behind a door, another door to it, and behind a third door one that speaks TLS.
my $door = Doorway->new($t->{bank_port});
my $other = Doorway->new($t->{bank_port});
PostgreSQL::Test::Utils::system_or_bail('openssl', 'req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes', '-keyout', "$dir/tls.key", '-out', "$dir/tls.crt",
	'-subj', '/CN=bank', '-addext', 'subjectAltName=IP:127.0.0.1', '-days', '10');
my $tls_port = PostgreSQL::Test::Cluster::get_free_port();
push @{ $t->{children} }, IPC::Run::start([ 'nghttpx', '--workers=1', "--frontend=127.0.0.1,$tls_port", "--backend=127.0.0.1,$t->{bank_port}", '--npn-list=http/1.1',
	'--errorlog-file=/dev/null', '--conf=/dev/null', '--no-ocsp', "$dir/tls.key", "$dir/tls.crt" ], '<', \undef, '>', '/dev/null', '2>', '/dev/null', IPC::Run::timeout(3600));
$t->wait_for('the bank listens over TLS', sub { IO::Socket::INET->new(PeerAddr => '127.0.0.1', PeerPort => $tls_port) });
my $tls_door = Doorway->new($tls_port);

my %service = (account_check => '16', dispatch => '18', status_check => '36');
sub arrived { return join ' ', map { $t->requests($service{$_}) } sort keys %service; }
my $session = $t->session;
sub open_attempts { return $session->('select count(*) from payout.attempt where outcome is null'); }
sub setting { my ($name, $value) = @_; $t->{node}->safe_psql('postgres', "alter system set $name = '$value'"); $t->{node}->safe_psql('postgres', 'select pg_reload_conf()'); }
sub worker_runs { return $t->sql("select count(*) from pg_stat_activity where backend_type = 'payout worker'"); }

# Reaches the bank by this address, with a bearer that is good, and no connection kept.
sub go_by
{
	my ($url, $door) = @_;
	$t->sql('select payout.alter_channel(\'BANK1\', \'' . JSON::PP::encode_json({ base_url => "$url/bank", same_books => JSON::PP::true, ca_file => "$dir/tls.crt" }) . '\')');
	$t->wait_state($t->pay, 'paid');
	$t->wait_for('nothing is under way', sub { open_attempts() == 0 });
	$door->say('cut');
}

my $altered = 0;

# Where a request can wait: how it comes there, which door it would leave by, and how it is let on.
my %place = (
	'for a bearer' => sub {
		# an altered channel forgets its bearer
		$t->sql("select payout.alter_channel('BANK1', '{\"base_url\": \"http://127.0.0.1:$door->{port}/bank\", \"same_books\": true, \"connect_timeout_ms\": " . (60000 + ++$altered) . "}')");
		$t->fault(service => '73', kind => 'hang', keep => JSON::PP::true);
		return ($door, sub { $t->clear_faults; $t->control('POST', 'release') }) },
	'for the name that the bearer is asked of' => sub {
		PayoutTest::write_file("$world/hold", '');
		$t->sql("select payout.alter_channel('BANK1', '{\"base_url\": \"http://name" . ++$names . ".test:$door->{port}/bank\", \"same_books\": true}')");
		return ($door, sub { unlink "$world/hold" }) },
	'for a connection' => sub {
		go_by("http://127.0.0.1:$door->{port}", $door);
		$door->say('shut');
		return ($door, sub { $door->say('pass') }) },
	'for TLS' => sub {
		go_by("https://127.0.0.1:$tls_door->{port}", $tls_door);
		$tls_door->say('hold');
		return ($tls_door, sub { $tls_door->say('pass') }) });

my $hold = "insert into payout.hold (merchant_id, txid, lane, reason) select q.merchant_id, q.txid, l, 'a person' from payout.payout q, unnest('{validate,dispatch,check}'::text[]) l where q.reference_no like 'GATE%' and (q.final_at is null or q.status_checked_at is not null)";
my %stop = (
	'pause_channel' => [ sub { $t->sql("select payout.pause_channel('BANK1', 'a test')") }, sub { } ],
	'disarm' => [ sub { $t->sql('select payout.disarm()') }, sub { $t->sql('select payout.arm()') } ],
	'alter_channel' => [ sub { $t->sql("select payout.alter_channel('BANK1', '{\"base_url\": \"http://127.0.0.1:$other->{port}/bank\", \"same_books\": true}')") }, sub { } ],
	'emptied list' => [ sub { setting('payout.databases', ''); $t->wait_for('the worker has heard', sub { worker_runs() == 0 }) }, sub { setting('payout.databases', 'app'); $t->wait_for('the worker is there', sub { worker_runs() == 1 }) } ],
	'secret file' => [ sub { rename $t->{secret_file}, "$t->{secret_file}.away" or die $! }, sub { rename "$t->{secret_file}.away", $t->{secret_file} or die $!; $t->sql('select payout.wake()') } ],
	'hold' => [ sub { $t->sql($hold) }, sub { $t->sql("select payout.resolve(merchant_id, txid, 'dispatch', 'go on') from (select distinct merchant_id, txid from payout.hold) h") } ]);

my $made = 0;
my %released;
my $list = sub { return join ', ', map { "'$_'" } @_ };

# So many payouts, registered with one statement.
sub registered
{
	my ($name, $merchant) = @_;
	$made++;
	return split /\n/, $t->sql("select r.txid from generate_series(1, $count) n, payout.register('" . ($merchant || 'MERCHANT01') . "', 'GATE$made/' || n, 10000, 'CENA', '8800000001', 'Budi Santoso') r");
}

my @paid = registered();
$t->wait_sql("select bool_and(account_check = 'matched') from payout.payout");
$t->sql("select payout.approve(merchant_id, txid) from payout.payout where state = 'registered'");
$t->wait_sql("select bool_and(state = 'paid') from payout.payout");

for my $place (sort keys %place)
{
	for my $stop (sort keys %stop)
	{
		my $name = "$stop, waiting $place";
		$t->sql("select payout.resume_channel('BANK1')");
		my @matched = registered();
		$t->wait_sql("select bool_and(account_check = 'matched') from payout.payout where txid in (" . $list->(@matched) . ')');
		my ($leaves_by, $let_go) = $place{$place}->();
		# All three lanes have work when the channel resumes; it comes to the place and stays there.
		$t->sql("select payout.pause_channel('BANK1', 'a test')");
		my @new = registered();
		$t->sql('select payout.approve(merchant_id, txid) from payout.payout where txid in (' . $list->(@matched) . ');
			select payout.request_check(merchant_id, txid) from payout.payout where txid in (' . $list->(@paid) . ')');
		$t->sql("select payout.resume_channel('BANK1')");
		my $all = 3 * $count;
		$t->wait_for("$name: all wait there", sub { open_attempts() == $all });
		my $attempts = $t->sql('select string_agg(attempt_id::text, \',\') from payout.attempt where outcome is null');

		my ($before, $bytes) = (arrived(), $leaves_by->say('bytes'));
		$stop{$stop}[0]->();
		my $other_bytes = $other->say('bytes');
		my $bytes_at_stop = $leaves_by->say('bytes');
		$let_go->();
		$t->wait_for("$name: none waits any more", sub {
			worker_runs() == 0 || $t->sql("select count(*) from payout.attempt where outcome is null and attempt_id = any ('{$attempts}'::uuid[])") == 0 });
		# A door that was shut hears of connections in time; none of them brings anything.
		sleep 1.1 if $place eq 'for a connection';
		# Over TLS bytes tell nothing; and the bearer is asked for though the payouts are held.
		if ($place eq 'for TLS' || ($stop eq 'hold' && $place =~ /name/)) { is(arrived(), $before, "$name: no request leaves") if $stop ne 'alter_channel' }
		else { is($leaves_by->say('bytes'), $bytes_at_stop, "$name: no byte leaves") }
		$released{$stop}{$place} = $all;
		is($t->sql("select string_agg(distinct concat_ws(' ', outcome, class), ',') from payout.attempt where attempt_id = any ('{$attempts}'::uuid[])"), 'not_sent', "$name: they were not sent, and it counts as no try") if $stop ne 'emptied list';
		$stop{$stop}[1]->();
		$t->sql("select payout.resume_channel('BANK1')");
		$t->wait_sql('select bool_and(state = \'paid\') from payout.payout where txid in (' . $list->(@matched) . ')');
		$t->wait_sql("select bool_and(account_check = 'matched') from payout.payout where txid in (" . $list->(@new) . ')');
		$t->wait_sql("select not exists (select from payout.payout where status_due_at is not null or check_due_at is not null) and not exists (select from payout.attempt where outcome is null)");
		$t->sql('select payout.reject(merchant_id, txid, \'done\') from payout.payout where txid in (' . $list->(@new) . ')');
		is(join('', map { $t->times_paid($_) } @matched), '1' x $count, "$name: each is paid once");
		@paid = @matched;
	}
}
$t->sound('after all of these');
for my $stop (sort keys %released)
{
	note "$stop: " . join ', ', map { "$_ $released{$stop}{$_}" } sort keys %{ $released{$stop} };
}

# ---- Whom the bank may be certified by: the file is another one while the handshake waits
{
	PostgreSQL::Test::Utils::system_or_bail('openssl', 'req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes', '-keyout', "$dir/else.key", '-out', "$dir/else.crt",
		'-subj', '/CN=somebody else', '-addext', 'subjectAltName=IP:127.0.0.1', '-days', '10');
	my $right = PayoutTest::slurp("$dir/tls.crt");
	my @matched = registered();
	$t->wait_sql("select bool_and(account_check = 'matched') from payout.payout where txid in (" . $list->(@matched) . ')');
	my ($leaves_by, $let_go) = $place{'for TLS'}->();
	$t->sql('select payout.approve(merchant_id, txid) from payout.payout where txid in (' . $list->(@matched) . ')');
	$t->wait_for('all wait for TLS', sub { open_attempts() == $count });
	my $before = arrived();
	PayoutTest::write_file("$dir/tls.crt", PayoutTest::slurp("$dir/else.crt"));
	$let_go->();
	# After a few failures the address rests, for longer each time.
	$t->wait_sql("select count(*) >= 5 from payout.attempt where outcome = 'not_sent' and excerpt like '%certificate%' and started_at > (select max(registered_at) from payout.payout)");
	is(arrived(), $before, 'another authority in ca_file while the handshake waits: no request leaves');
	PayoutTest::write_file("$dir/tls.crt", $right);
	$t->wait_sql('select bool_and(state = \'paid\') from payout.payout where txid in (' . $list->(@matched) . ')');
	is(join('', map { $t->times_paid($_) } @matched), '1' x $count, 'and with the right one each is paid once');
}

# ---- A payout that has moved on: the merchant rejects it while its account check waits
{
	go_by("http://127.0.0.1:$door->{port}", $door);
	$door->say('shut');
	my @new = registered();
	$t->wait_for('account checks wait for a connection', sub { open_attempts() == $count });
	my $bytes = $door->say('bytes');
	$t->sql('select payout.reject(merchant_id, txid, \'not wanted\') from payout.payout where txid in (' . $list->(@new) . ')');
	$door->say('pass');
	$t->wait_for('none waits any more', sub { open_attempts() == 0 });
	is($door->say('bytes'), $bytes, 'rejected while its account check waits: no byte leaves');
	$t->sound('after that');
}

# ---- Messages to merchants: what stops all stops them; a merchant's new address counts at once; a channel's pause is not theirs
my %message_stop = (
	(map { $_ => $stop{$_} } 'disarm', 'emptied list', 'secret file'),
	'alter_merchant' => [ sub { $t->sql("select payout.alter_merchant('MERCHANT02', '{\"notify_url\": \"http://127.0.0.1:$other->{port}/merchant/MERCHANT02\"}')") }, sub { } ]);
for my $place ('for a connection', 'for a name')
{
	for my $stop (sort keys %message_stop)
	{
		my $name = "message, $stop, waiting $place";
		my $host = $place eq 'for a name' ? 'name' . ++$names . '.test' : '127.0.0.1';
		$t->sql("select payout.alter_merchant('MERCHANT02', '{\"notify_url\": \"http://$host:$door->{port}/merchant/MERCHANT02\"}')");
		my @new = registered($name, 'MERCHANT02');
		$t->wait_sql("select bool_and(account_check = 'matched') from payout.payout where txid in (" . $list->(@new) . ')');
		$door->say('cut');
		if ($place eq 'for a name') { PayoutTest::write_file("$world/hold", '') } else { $door->say('shut') }
		$t->sql('select payout.reject(merchant_id, txid, \'done\') from payout.payout where txid in (' . $list->(@new) . ')');
		$t->wait_sql('select count(*) > 0 from payout.notification where sending_by is not null');
		my $told = scalar @{ $t->webhooks('MERCHANT02') };
		$message_stop{$stop}[0]->();
		my $bytes = $door->say('bytes');
		unlink "$world/hold";
		$door->say('pass');
		$t->wait_for("$name: none waits any more", sub { worker_runs() == 0 || $t->sql("select count(*) from payout.notification where sending_by is not null") == 0 });
		sleep 1.1 if $place eq 'for a connection';
		is($door->say('bytes'), $bytes, "$name: no byte leaves");
		$message_stop{$stop}[1]->();
		$t->wait_sql('select not exists (select from payout.notification where delivered_at is null)');
		is($t->sql("select max(tries) from payout.notification where merchant_id = 'MERCHANT02' and txid in (" . $list->(@new) . ')'), '1', "$name: it counted as no try") if $stop ne 'emptied list';
	}
}
is($t->sql("select string_agg(distinct state, ' ') from payout.payout where state not in ('paid', 'rejected')"), '', 'nothing else happened');

# ---- At any moment of a busy lane
go_by("http://127.0.0.1:$door->{port}", $door);
$t->sql("update payout.channel set options = options || '{\"in_flight_max\": 6}'");
my $due = 'select count(*) from payout.payout where status_due_at is not null';
my %race = (
	pause_channel => [ "select payout.pause_channel('BANK1', 'a test')", "select payout.resume_channel('BANK1')" ],
	disarm => [ 'select payout.disarm()', 'select payout.arm()' ],
	alter_channel => [ "select payout.alter_channel('BANK1', '{\"base_url\": \"http://127.0.0.1:$other->{port}/bank\", \"same_books\": true}')", "select payout.alter_channel('BANK1', '{\"base_url\": \"http://127.0.0.1:$door->{port}/bank\", \"same_books\": true}')" ]);
for my $stop (sort keys %race)
{
	my ($late, $busy) = (0, 0);
	for my $try (1 .. $races)
	{
		$session->("select count(payout.request_check(merchant_id, txid)) from payout.payout where state = 'paid'") if $session->($due) < 100;
		sleep rand 0.01;
		$session->($race{$stop}[0]);
		my $bytes = $door->say('bytes');
		$busy++ if $session->($due) > 0;
		$t->wait_for('what is under way ends', sub { $stop eq 'alter_channel' || open_attempts() == 0 });
		$late++ if $door->say('bytes') != $bytes;
		$session->($race{$stop}[1]);
	}
	is($late, 0, "$stop at any moment: $races times not a byte leaves after it");
	cmp_ok($busy, '>', $races / 2, "$stop: while there was more to send, $busy times");
}
$t->wait_sql('select not exists (select from payout.payout where status_due_at is not null) and not exists (select from payout.attempt where outcome is null)');
$t->sound('at the end');

# ---- What cannot be stopped at its commit is refused
is($t->sqlstate("begin; select payout.pause_channel('BANK1', 'a test'); prepare transaction 'pause'"), '0A000', 'a pause cannot be prepared');
is($t->sqlstate("begin; select payout.disarm(); prepare transaction 'disarm'"), '0A000', 'nor can disarm()');

# ---- A launcher that starts again knows the worker of the one before, and an emptied list ends it
my $worker = $t->sql("select pid from pg_stat_activity where backend_type = 'payout worker'");
$t->sql("select pg_terminate_backend(pid) from pg_stat_activity where backend_type = 'payout launcher'");
$t->wait_sql("select exists (select from pg_stat_activity where backend_type = 'payout launcher' and backend_start > (select max(started_at) from payout.incarnation))", 30);
$t->wait_state($t->pay, 'paid');
is($t->sql("select string_agg(pid::text, ',') from pg_stat_activity where backend_type = 'payout worker'"), $worker, 'the worker goes on under a new launcher');
setting('payout.databases', '');
$t->wait_for('the worker ends', sub { worker_runs() == 0 });
my $idle = $t->pay;
setting('payout.databases', 'app');
$t->wait_state($idle, 'paid');
unlike(PostgreSQL::Test::Utils::slurp_file($t->{node}->logfile), qr/already running/, 'and no second worker was started');
done_testing();
