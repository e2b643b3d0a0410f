# 060_copies_under_load.pl: dumps and physical clones taken while clients work and the bank pays. None of them sends
# anything, until the original is disarmed and the copy is armed; then it pays what its book says is to be paid, and
# what the original (or another copy) has paid meanwhile is not paid again: the bank knows the reference, the TXID.
#
# Three moments, the last one behind the original's disarming, so that some payouts are left for the copies to pay: at
# each a dump into another database of the same server, at the first two a clone as well. What keeps the clones from sending: another secret
# file, or (the same file and identity) the lock on that file, which keeps the worker out, and nothing else.
use strict;
use warnings;
use lib 'test/t/lib';
use IPC::Run ();
use JSON::PP ();
use PayoutTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(sleep time);

my $merchants = 10;
my @ids = map { sprintf 'SIMM%06d', $_ } 0 .. $merchants - 1;
my $t = PayoutTest->new(
	conf => [ 'max_connections = 60', 'max_worker_processes = 16', 'payout.token_tries = 1000' ],
	sandbox => { source_accounts => { '888801000157508' => '1000000000000.00' }, webhook_secrets => { map { $_ => 'whsec_' . PayoutTest::webhook_key() } 'MERCHANT01', 'MERCHANT02', @ids } },
	channel => { not_found_grace_s => 1, not_found_count => 2, batch_size_max => 20, linger_ms => 20 });
my $node = $t->{node};
my @copies;

sub ask
{
	my ($copy, $sql) = @_;
	return $copy->{server}->safe_psql($copy->{database}, $sql);
}

# TXID and one more column, as a hash.
sub pairs { return map { split /\|/, $_, 2 } split /\n/, ask(@_) }

sub prepare
{
	for my $id (@ids)
	{
		$t->sql("select payout.create_merchant('$id', 'Merchant', 'http://127.0.0.1:$t->{bank_port}/merchant/$id', '{\"on_name_differs\": \"pass\"}');"
			. $t->secret_sql("merchant:$id", 'webhook_secret', 'whsec_' . PayoutTest::webhook_key())
			. "select payout.top_up('$id', 30000000, 'first')");
	}
	$t->sql("select payout.alter_cvs(c, '{\"token_tries\": 100000}') from unnest('{STORE1,STORE2}'::text[]) c");
	$t->sql("insert into payout.retry_policy (lane, source, base_ms, max_ms, tries_max)
		select lane, 'operator', 50, 1000, tries_max from payout.retry_policy where source = 'shipped'");
}

sub start_clients
{
	my $told = "$t->{dir}/told";
	my ($out, $err) = ('', '');
	mkdir $told or die $!;
	PayoutTest::write_file("$t->{dir}/conninfo", $node->connstr('app') . "\n");
	my $handle = IPC::Run::start([ 'test/simulate/client', '--conninfo-file', "$t->{dir}/conninfo", '--seed', 1, '--clients', 3, '--seconds', 600,
		'--log', $told, '--first-id', 'COPY', '--merchants', $merchants, '--hot', 2 ], '<', \undef, '>', \$out, '2>', \$err);
	push @{ $t->{children} }, $handle;
	return { handle => $handle, out => \$out };
}

sub stop_clients
{
	my ($clients) = @_;
	$clients->{handle}->signal('TERM');
	$clients->{handle}->finish;
	@{ $t->{children} } = grep { $_ != $clients->{handle} } @{ $t->{children} };
	diag(${ $clients->{out} } =~ s/\s+$//r);
}

# How often the bank has paid each TXID, and the external ids of all requests that it was ever sent.
sub journal
{
	my (%times, @external);
	for my $line (grep { /"event":\s*"(paid|external_id)"/ } split /\n/, PayoutTest::slurp("$t->{dir}/journal"))
	{
		my $row = eval { JSON::PP::decode_json($line) } or next;	# written this moment
		if ($row->{event} eq 'paid') { $times{ $row->{partner_reference_no} }++ }
		else { push @external, $row->{external_id} }
	}
	return (\%times, \@external);
}

# The first few of many, for messages; nothing when there are none.
sub some { return join ' ', @_ > 5 ? (@_[ 0 .. 4 ], 'and ' . (@_ - 5) . ' more') : @_ }

# Requests at the bank of which none of these databases has an attempt. The journal is read first.
sub strangers
{
	my (@senders) = @_;
	my ($times, $external) = journal();
	my %known = map { pairs($_, 'select external_id, lane from payout.attempt') } @senders;
	return some(grep { !$known{$_} } @$external);
}

# Every table, counted and summed, but whether it is armed and who said so: a copy whose worker has not begun changes in nothing.
sub contents
{
	my ($copy) = @_;
	my $tables = ask($copy, "select string_agg(relname, ' ' order by relname) from pg_class
		where relnamespace = 'payout'::regnamespace and relkind = 'r' and relname not in ('arming', 'admin_event', 'admin_link')");
	return join "\n", map { "$_ " . ask($copy, "select count(*), md5(string_agg(r::text, '/' order by r::text)) from payout.$_ r") } split ' ', $tables;
}

# Wakes a copy's worker and waits until it has had its turn.
sub let_it_look
{
	my ($copy) = @_;
	my $turned = "select exists (select from pg_stat_activity where backend_type = 'payout worker' and datname = current_database()
		and state = 'idle' and state_change > '" . ask($copy, 'select clock_timestamp()') . "')";
	$t->wait_for("the worker of $copy->{name} has looked", sub { ask($copy, 'select payout.wake()'); ask($copy, $turned) eq 't' });
}

my ($cash, $token);

sub validated_in { my ($copy, $what) = @_; return PayoutTest::sqlstate({ node => $copy->{server} }, $t->validate_sql($what), $copy->{database}) }

# A copy that was just taken: sound, and refused.
sub is_kept_out
{
	my ($copy) = @_;
	let_it_look($copy);
	is(ask($copy, 'select * from payout.verify()'), '', "$copy->{name}, just taken: verify() is empty");
	is(validated_in($copy, $token), 'PY015', "$copy->{name}, just taken: validates no token");
}

# The same copy, later.
sub has_sent_nothing
{
	my ($copy, $when) = @_;
	let_it_look($copy);
	is(validated_in($copy, $token), 'PY015', "$copy->{name}, $when: validates no token");
	is(contents($copy), $copy->{contents}, "$copy->{name}, $when: nothing has moved in it, so it is as sound as it was");
}

sub add_copy
{
	my (%copy) = @_;
	push @copies, \%copy;
	$copy{contents} = contents(\%copy);
	return \%copy;
}

sub dump_into
{
	my ($database) = @_;
	local $ENV{PGOPTIONS} = '-c payout.dump_secrets=on';	# its channels are to send
	$node->safe_psql('postgres', "create database $database");
	IPC::Run::run([ 'pg_dump', '-Fc', $node->connstr('app') ], '|', [ 'pg_restore', '--exit-on-error', '-d', $node->connstr($database) ])
		or BAIL_OUT('dump and restore failed');
	my $copy = add_copy(name => $database, server => $node, database => $database, kind => 'dump');
	my $listed = join ', ', 'app', map { $_->{database} } grep { $_->{kind} eq 'dump' } @copies;
	$node->safe_psql('postgres', "alter system set payout.databases = '$listed'");
	$node->safe_psql('postgres', 'select pg_reload_conf()');
	is_kept_out($copy);
}

sub write_other_secret
{
	my ($name) = @_;
	my $file = "$t->{dir}/secret_$name";
	PayoutTest::write_file($file, $name x 16);
	chmod 0600, $file;
	return $file;
}

sub clone_as
{
	my ($name, $kind) = @_;
	my $server = PostgreSQL::Test::Cluster->new($name);
	$node->backup($name);
	$server->init_from_backup($node, $name);
	# What postgresql.auto.conf says of databases is of the original's.
	unlink $server->data_dir . '/postgresql.auto.conf';
	$server->append_conf('postgresql.conf', "payout.secret_file = '" . write_other_secret($name) . "'") if $kind eq 'other file';
	# By the recipe of the README: on a timeline of its own it knows that the original may have sent what it holds as open.
	$server->append_conf('postgresql.conf', "restore_command = 'false'");
	$server->set_recovery_mode;
	$server->start;
	$t->wait_for("$name has a timeline of its own", sub { $server->safe_psql('postgres', 'select pg_is_in_recovery()') eq 'f' });
	my $copy = add_copy(name => $name, server => $server, database => 'app', kind => $kind);
	is(ask($copy, 'select payout.is_armed()'), $kind eq 'same file' ? 't' : 'f', "$name: armed only where identity and file are the same");
	if ($kind eq 'same file')
	{
		# The lock keeps its worker out. It does not keep stores out: they are told so by disarming.
		let_it_look($copy);
		$t->wait_for("$name says why it does not turn", sub { PayoutTest::slurp($server->logfile) =~ /another process holds payout\.secret_file/ });
		ask($copy, 'select payout.disarm()');
	}
	is_kept_out($copy);
}

# The bank and the worker have come to rest.
sub wait_for_bank
{
	my ($copy) = @_;
	$t->wait_for('all requests have ended', sub { ask($copy, 'select count(*) from payout.attempt where outcome is null') == 0 });
	$t->wait_for('the bank has booked what it accepted', sub { $t->control('GET', 'books?summary=1')->{accepted_count} == 0 });
}

my $paid_by_others = 0;
my $open_states = "('scheduled', 'approved', 'dispatching', 'processing', 'suspect')";

# The copy is armed and has its schedules due: what is open in it comes to its end.
sub take_over
{
	my ($copy) = @_;
	my ($before) = journal();
	my %open = pairs($copy, "select txid, state from payout.payout where kind = 'disbursement' and state in $open_states");
	ask($copy, 'select payout.arm()');
	if ($copy->{kind} eq 'other file')
	{
		is(validated_in($copy, $token), 'PY010', "$copy->{name}, armed: another secret file knows no token of the original");
		# A store may have paid by the token of the original: an operator has made sure that none has.
		ask($copy, "select payout.resolve('MERCHANT01', '$cash', 'dispatch', 'no store has paid it')");
		my $again = ask($copy, "select cashout_token from payout.reissue_token('MERCHANT01', '$cash')");
		is(validated_in($copy, $again), '00000', "$copy->{name}, armed: one that it issued itself");
	}
	else { is(validated_in($copy, $token), '00000', "$copy->{name}, armed: a token of the original") }
	# All accounts are checked before the clock passes the time that a check may take.
	$t->wait_for("$copy->{name}: all accounts are checked",
		sub { ask($copy, "select count(*) from payout.payout where account_check in ('pending', 'unavailable') and state in $open_states") == 0 });
	ask($copy, "alter system set payout.clock_offset = '4h'");
	ask($copy, 'select pg_reload_conf()');
	# A copy does not end by itself what the original may have sent: a person does, who has asked the bank.
	$t->wait_for("$copy->{name}: all comes to an end",
		sub { ask($copy, "select count(payout.resolve(p.merchant_id, p.txid, 'failed', 'the bank knows nothing of it')) from payout.payout p join payout.hold h using (merchant_id, txid)
				where h.lane = 'dispatch' and p.state = 'approved' and p.account_check = 'invalid'");
			ask($copy, "select count(*) from payout.payout where kind = 'disbursement' and state in $open_states") == 0 });
	wait_for_bank($copy);
	check_payments($copy, $before, \%open);
	ask($copy, 'select payout.disarm()');
}

# Exactly what was open and not yet paid has been paid, unless its account is invalid.
sub check_payments
{
	my ($copy, $before, $open) = @_;
	my $name = $copy->{name};
	my ($after) = journal();
	my %state = pairs($copy, "select txid, state from payout.payout where kind = 'disbursement'");
	my %invalid = pairs($copy, "select txid, state from payout.payout where state = 'failed' and account_check = 'invalid'");
	my @new = grep { !$before->{$_} } sort keys %$after;
	my $known = grep { $before->{$_} } keys %$open;

	is(some(grep { !$open->{$_} } @new), '', "$name: paid is nothing but what was approved in it");
	is(some(grep { $state{$_} ne 'paid' && !$invalid{$_} } sort keys %$open), '', "$name: what was approved is paid, or its account is invalid");
	is(some(grep { ($after->{$_} || 0) != ($state{$_} eq 'paid' ? 1 : 0) } grep { $open->{$_} || $state{$_} eq 'paid' } sort keys %state), '',
		"$name: the bank has paid once what it says is paid, and nothing that it says is not");
	is(some(grep { $after->{$_} > 1 } sort keys %$after), '', "$name: no TXID is paid twice by anybody");
	is(ask($copy, 'select * from payout.verify()'), '', "$name: verify() is empty in the end");
	$copy->{new} = @new;
	$paid_by_others += $known;
	diag(sprintf '%s: %d were open, %d of them paid already, %d paid now', $name, scalar keys %$open, $known, scalar @new);
}

prepare();
($cash, $token) = $t->issue;
$t->pay(schedule => $t->sql("select payout.clock() + interval '61 min'"));
my $original = { name => 'the original', server => $node, database => 'app' };
my $clients = start_clients();
my $began = time;
my $at_work = 'select count(*) from payout.payout where kind = \'disbursement\' and state';
$t->wait_for('the first are paid', sub { $t->sql("$at_work = 'paid'") > 30 });
dump_into('copy1');
clone_as('clone1', 'other file');
dump_into('copy2');
clone_as('clone2', 'same file');
$t->wait_for('it is late enough', sub { $clients->{handle}->pump_nb; time > $began + 8 });
is(strangers($original), '', 'all that the bank was sent so far came from the original');

$t->sql('select payout.disarm()');
is($t->sqlstate($t->validate_sql($token)), 'PY015', 'the original, disarmed, validates no token');
wait_for_bank($original);
$t->wait_for('payouts queue up', sub { $t->sql("$at_work = 'approved'") > 30 });
dump_into('copy3');
ok($clients->{handle}->pumpable, 'the clients were there all the time');
stop_clients($clients);

is(strangers($original), '', 'all that the bank was sent came from the original');
is($t->sql('select * from payout.verify()'), '', 'the original: verify() is empty');
has_sent_nothing($_, 'beside a disarmed original') for @copies;

my ($paid) = journal();
cmp_ok(scalar keys %$paid, '>', 100, 'the original has paid ' . keys %$paid);
take_over($_) for grep { $_->{kind} eq 'dump' } @copies;
for my $copy (grep { $_->{kind} eq 'other file' } @copies)
{
	# Sealed with the old file: all secrets are set again.
	ask($copy, $t->secret_sql('channel:BANK1', 'private_key', PayoutTest::slurp("$t->{dir}/ours.pem"))
		. $t->secret_sql('channel:BANK1', 'client_secret', 'a-shared-client-secret')
		. $t->secret_sql('channel:BANK1', 'bank_public_key', PayoutTest::slurp("$t->{dir}/bank.pub"))
		. join '', map { $t->secret_sql("merchant:$_", 'webhook_secret', 'whsec_' . PayoutTest::webhook_key()) } 'MERCHANT01', 'MERCHANT02', @ids);
	take_over($copy);
}
is($t->sql('select * from payout.verify()'), '', 'the original, after the notices of others: verify() is empty');
is(strangers($original, @copies), '', 'the bank was sent nothing without an attempt');

# Only the original's end lets the lock go.
my ($same) = grep { $_->{kind} eq 'same file' } @copies;
$node->stop;
has_sent_nothing($same, 'the original stopped');
take_over($same);
cmp_ok($copies[0]{new}, '>', 0, 'the first copy paid what the original had only scheduled');
cmp_ok($copies[-1]{new}, '>', 0, 'the last dump paid what the original had left');
cmp_ok($paid_by_others, '>', 0, "and $paid_by_others times a copy was told that others had paid");
$_->{server}->stop for grep { $_->{kind} ne 'dump' } @copies;
done_testing();
