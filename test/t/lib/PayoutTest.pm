# PayoutTest.pm: what every TAP test of the flow needs: a server with the extension, the sandbox (a SNAP bank and a
# merchant's webhook end), the relay for the bank's notices, and waiting for facts instead of for time.
package PayoutTest;

use strict;
use warnings;
use Carp;
use IO::Select;
use IPC::Run ();
use JSON::PP ();
use HTTP::Tiny ();
use POSIX ();
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Scalar::Util ();
use Time::HiRes qw(sleep time);

my @living;	# every object there is, for END

our $deadline_s = $ENV{PG_TEST_TIMEOUT_DEFAULT} || 60;

# A server whose database "app" has the extension, a merchant with money, a channel and a bank; armed unless told not to.
# Options: conf (more settings), sandbox (more keys of its configuration), channel and merchant (more options),
# balance, armed, name (of the server, where a test has several).
sub new
{
	my ($class, %option) = @_;
	my $self = bless { dir => PostgreSQL::Test::Utils::tempdir(), option => \%option, children => [] }, $class;
	push @living, $self;
	Scalar::Util::weaken($living[-1]);
	$self->make_keys;
	$self->start_sandbox;
	$self->start_server;
	$self->start_relay;
	$self->set_up;
	return $self;
}

sub make_keys
{
	my $self = shift;
	for my $who (qw(ours bank))
	{
		my $path = "$self->{dir}/$who";
		system_or_bail('openssl', 'genpkey', '-quiet', '-algorithm', 'RSA', '-pkeyopt', 'rsa_keygen_bits:2048', '-out', "$path.pem");
		system_or_bail('openssl', 'pkey', '-in', "$path.pem", '-pubout', '-out', "$path.pub");
	}
	my $secret = "$self->{dir}/secret";
	append_to_file($secret, join('', map { chr(33 + int rand 90) } 1 .. 64));
	chmod 0600, $secret;
	$self->{secret_file} = $secret;
}

# Starts a program and reads the ports that it prints.
sub start_program
{
	my ($self, $name, @arguments) = @_;
	my $out = '';
	my $log = "$PostgreSQL::Test::Utils::log_path/" . basename_of_test() . "_$name.log";
	my $handle = IPC::Run::start([ "test/sandbox/$name", @arguments ], '<', \undef, '>', \$out, '2>>', $log,
		IPC::Run::timeout(3600));
	my $ends = time + $deadline_s;
	while ($out !~ /^$name: listening on \d+$/m)
	{
		croak "$name did not start: $out" if time > $ends || !$handle->pumpable;
		$handle->pump_nb;
		sleep 0.01;
	}
	push @{ $self->{children} }, $handle;
	my %port = $out =~ /^$name: (listening|control) on (\d+)$/mg;
	return ($handle, \%port);
}

sub basename_of_test
{
	my ($name) = $0 =~ m{([^/]+?)(\.pl)?$};
	return $name;
}

sub start_sandbox
{
	my $self = shift;
	$self->{relay_port} = PostgreSQL::Test::Cluster::get_free_port();
	my $config = {
		client_id => 'PAYOUT-CLIENT', client_secret => 'a-shared-client-secret', partner_id => 'PARTNER1', channel_id => '95221',
		client_public_key => "$self->{dir}/ours.pub", bank_private_key => "$self->{dir}/bank.pem",
		notice_base_url => "http://127.0.0.1:$self->{relay_port}/snap/BANK1",
		payroll_delay_ms => 50,
		source_accounts => { '888801000157508' => '1000000000.00' },
		accounts => [
			{ no => '4040000001', name => 'NOBODY', status => 'invalid' },
			{ no => '4030000001', name => 'CLOSED', status => 'closed' },
			{ no => '7770000001', name => 'SOMEBODY ELSE', status => 'active' } ],
		wildcards => [ { prefix => '88', name => 'BUDI SANTOSO' } ],
		webhook_secrets => { MERCHANT01 => 'whsec_' . webhook_key(), MERCHANT02 => 'whsec_' . webhook_key() },
		%{ $self->{option}{sandbox} || {} } };
	write_file("$self->{dir}/sandbox.json", JSON::PP::encode_json($config));
	$self->run_sandbox(0, 0);
}

sub run_sandbox
{
	my ($self, $port, $control_port) = @_;
	my ($handle, $ports) = $self->start_program('sandbox', '--config', "$self->{dir}/sandbox.json",
		'--journal', "$self->{dir}/journal", '--port', $port, '--control-port', $control_port);
	$self->{sandbox} = $handle;
	$self->{bank_port} = $ports->{listening};
	$self->{control_port} = $ports->{control};
}

# The bank dies where it stands and comes back with its journal.
sub kill_sandbox
{
	my $self = shift;
	$self->{sandbox}->signal('KILL');
	eval { $self->{sandbox}->finish };
	@{ $self->{children} } = grep { $_ != $self->{sandbox} } @{ $self->{children} };
}

sub restart_sandbox
{
	my $self = shift;
	$self->run_sandbox($self->{bank_port}, $self->{control_port});
}

sub webhook_key { return 'MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE='; }

sub write_file
{
	my ($path, $text) = @_;
	open my $file, '>', $path or croak "$path: $!";
	print $file $text;
	close $file or croak "$path: $!";
}

sub slurp
{
	my ($path) = @_;
	return PostgreSQL::Test::Utils::slurp_file($path);
}

sub settings
{
	my $self = shift;
	return join "\n", "shared_preload_libraries = 'payout'", 'payout.testing = on', "payout.secret_file = '$self->{secret_file}'",
		"payout.allow_hosts = '127.0.0.1'", "payout.databases = 'app'", 'log_min_messages = warning', 'jit = off',
		'max_prepared_transactions = 5', 'restart_after_crash = on', @{ $self->{option}{conf} || [] }, '';
}

sub start_server
{
	my $self = shift;
	my $node = PostgreSQL::Test::Cluster->new($self->{option}{name} || 'main');
	$node->init(allows_streaming => 1, extra => [ '--encoding=UTF8', '--locale=C' ]);
	$node->append_conf('postgresql.conf', $self->settings);
	$node->start;
	$node->safe_psql('postgres', 'create database app' . ($self->{option}{database} ? " template template0 $self->{option}{database}" : ''));
	$node->safe_psql('app', 'create extension payout');
	$self->{node} = $node;
}

sub start_relay
{
	my $self = shift;
	($self->{relay}) = $self->start_program('relay', '--port', $self->{relay_port}, '--conninfo', $self->{node}->connstr('app'));
}

# The relay follows the server to another place.
sub restart_relay
{
	my $self = shift;
	$self->{relay}->signal('KILL');
	eval { $self->{relay}->finish };
	@{ $self->{children} } = grep { $_ != $self->{relay} } @{ $self->{children} };
	$self->start_relay;
}

sub bank_url { my $self = shift; return "http://127.0.0.1:$self->{bank_port}/bank"; }

sub set_up
{
	my $self = shift;
	my $channel = JSON::PP::encode_json({
		client_id => 'PAYOUT-CLIENT', partner_id => 'PARTNER1', channel_header => '95221', source_account_no => '888801000157508',
		status_delay_s => 0, linger_ms => 0, reference_memory_s => 31536000, %{ $self->{option}{channel} || {} } });
	my $merchant = JSON::PP::encode_json({
		notify_events => [qw(account.checked payout.approved payout.paid payout.failed payout.suspect payout.rejected
			payout.cancelled payout.returned payout.disputed payout.expired payout.reversed)], %{ $self->{option}{merchant} || {} } });
	my $balance = $self->{option}{balance} || 100000000;
	my $keys = join '', map { $self->secret_sql(@$_) } (
		[ 'channel:BANK1', 'private_key', slurp("$self->{dir}/ours.pem") ],
		[ 'channel:BANK1', 'client_secret', 'a-shared-client-secret' ],
		[ 'channel:BANK1', 'bank_public_key', slurp("$self->{dir}/bank.pub") ]);
	my $merchants = '';
	for my $id (qw(MERCHANT01 MERCHANT02))
	{
		$merchants .= "select payout.create_merchant('$id', 'Merchant', 'http://127.0.0.1:$self->{bank_port}/merchant/$id', '$merchant');\n"
			. $self->secret_sql("merchant:$id", 'webhook_secret', 'whsec_' . webhook_key())
			. "select payout.top_up('$id', $balance, 'first');\n";
	}
	$self->{node}->safe_psql('app', "select payout.create_channel('BANK1', 'snap', '" . $self->bank_url . "', '$channel');
		$keys $merchants
		select payout.create_bank('CENA', 'BCA', 'BANK1', '{\"wire_code\": \"014\"}');
		select payout.create_bank('OWNB', 'Own bank', 'BANK1', '{\"internal\": true}');
		select payout.create_cvs('STORE1', 'First store'), payout.create_cvs('STORE2', 'Second store');");
	$self->arm unless exists $self->{option}{armed} && !$self->{option}{armed};
}

sub secret_sql
{
	my ($self, $owner, $name, $value) = @_;
	return "select payout.set_secret('$owner', '$name', \$s\$$value\$s\$);\n";
}

# Armed, and the worker has begun.
sub arm
{
	my $self = shift;
	$self->sql('select payout.arm()');
	$self->wait_sql('select exists (select from payout.incarnation where ended_at is null)');
}

sub sql
{
	my ($self, $sql) = @_;
	return $self->{node}->safe_psql('app', $sql);
}

# A session that stays: answers code that runs SQL in it and answers its output. Where much is asked, connecting takes longer.
sub session
{
	my $self = shift;
	my ($in, $out, $err) = ('', '', '');
	my $psql = IPC::Run::start([ 'psql', '-XAtq', '-d', $self->{node}->connstr('app') ], '<', \$in, '>', \$out, '2>', \$err);
	push @{ $self->{children} }, $psql;
	return sub {
		my ($sql) = @_;
		($out, $err) = ('', '');
		$in .= "$sql;\n\\echo done\n";
		$psql->pump until $out =~ s/^done\n\z//m || !$psql->pumpable;
		croak "$sql: $err" if $err ne '';
		chomp $out;
		return $out;
	};
}

# The SQLSTATE that a statement fails with, in "app" or another database; 00000 when it does not.
sub sqlstate
{
	my ($self, $sql, $database) = @_;
	my ($status, $out, $err) = $self->{node}->psql($database || 'app', $sql, on_error_stop => 1, extra_params => [ '-v', 'VERBOSITY=verbose' ]);
	return '00000' if $status == 0;
	return $err =~ /(?:ERROR|FATAL):\s+([0-9A-Z]{5}):/ ? $1 : "? $err";
}

# Waits until code answers true; the test fails when it does not in time.
sub wait_for
{
	my ($self, $what, $code, $seconds) = @_;
	my $ends = time + ($seconds || $deadline_s);
	until ($code->())
	{
		if (time > $ends)
		{
			fail("in time: $what");
			diag($self->sql("select txid, state, account_check, reason, dispatch_due_at, status_due_at from payout.payout order by txid limit 20"));
			diag($self->sql("select lane, service, outcome, class, response_code, excerpt from payout.attempt order by started_at desc limit 10"));
			return 0;
		}
		sleep 0.02;
	}
	return 1;
}

# psql's status and output, of a server that may be just starting again: a psql that cannot connect does not read what it is
# told, of which IPC::Run makes an error.
sub try_sql
{
	my ($self, $sql, $database, %params) = @_;
	my ($status, $out) = (2, '');
	eval { ($status, $out) = $self->{node}->psql($database || 'app', $sql, %params) };
	return ($status, $out);
}

# A server that is just starting again counts as "not yet".
sub wait_sql
{
	my ($self, $sql, $seconds) = @_;
	return $self->wait_for($sql, sub { my ($status, $out) = $self->try_sql($sql); $status == 0 && $out eq 't' }, $seconds);
}

# All payouts are at their end, all merchants were told, and nothing is under way.
sub wait_all_ended
{
	my $self = shift;
	return $self->wait_sql('select not exists (select from payout.payout where final_at is null)
		and not exists (select from payout.notification where delivered_at is null)
		and not exists (select from payout.attempt where outcome is null)');
}

my $reference = 0;

# Registers a payout and answers its TXID. Options: merchant, reference, amount, bank, account, name, method, schedule.
sub register
{
	my ($self, %option) = @_;
	my $schedule = $option{schedule} ? "'$option{schedule}'" : 'null';
	return $self->sql(sprintf "select txid from payout.register('%s', '%s', %s, '%s', '%s', '%s', '%s', null, %s)",
		$option{merchant} || 'MERCHANT01', $option{reference} || 'REF' . ++$reference, $option{amount} || 10000,
		$option{bank} || 'CENA', $option{account} || '8800000001', $option{name} || 'Budi Santoso',
		$option{method} || 'online', $schedule);
}

sub approve
{
	my ($self, $txid) = @_;
	return $self->sql("select state from payout.approve(left('$txid', 10), '$txid')");
}

# Registers and approves; answers the TXID.
sub pay
{
	my ($self, %option) = @_;
	my $txid = $self->register(%option);
	$self->approve($txid);
	return $txid;
}

# Registers a cashout and answers its TXID. Options: merchant, reference, amount, name.
sub register_cashout
{
	my ($self, %option) = @_;
	return $self->sql(sprintf "select txid from payout.register_cashout('%s', '%s', %s, '%s', '081234567890')",
		$option{merchant} || 'MERCHANT01', $option{reference} || 'REF' . ++$reference, $option{amount} || 50000,
		$option{name} || 'Budi Santoso');
}

# The token that the approval of a cashout answers with, for once.
sub issue_token
{
	my ($self, $txid) = @_;
	return $self->sql("select cashout_token from payout.approve(left('$txid', 10), '$txid')");
}

# Registers and approves a cashout; answers its TXID and its token. Options as for register_cashout.
sub issue
{
	my ($self, %option) = @_;
	my $txid = $self->register_cashout(%option);
	return ($txid, $self->issue_token($txid));
}

# The statements of a store. Options: cvs, terminal, reference (a new one each time), columns.
sub validate_sql
{
	my ($self, $token, %option) = @_;
	return sprintf "select %s from payout.cashout_validate('%s', '%s', '%s', '%s')", $option{columns} || 'txid',
		$option{cvs} || 'STORE1', $token, $option{terminal} || 'T1', $option{reference} || 'CVS' . ++$reference;
}

sub confirm_sql
{
	my ($self, $token, %option) = @_;
	return sprintf "select %s from payout.cashout_confirm('%s', '%s', '%s')", $option{columns} || 'state',
		$option{cvs} || 'STORE1', $token, $option{reference} || 'CVS' . ++$reference;
}

sub reverse_sql
{
	my ($self, $token, %option) = @_;
	return sprintf "select %s from payout.cashout_reverse('%s', '%s', '%s', 'the customer left')", $option{columns} || 'state',
		$option{cvs} || 'STORE1', $token, $option{reference} || 'CVS' . ++$reference;
}

# The same, done.
sub validate { my ($self, @call) = @_; return $self->sql($self->validate_sql(@call)); }
sub confirm { my ($self, @call) = @_; return $self->sql($self->confirm_sql(@call)); }
sub reverse_it { my ($self, @call) = @_; return $self->sql($self->reverse_sql(@call)); }

# The last digit of a token, for the digits before it.
sub check_digit
{
	my ($digits) = @_;
	my ($sum, $twice) = (0, 1);
	for my $digit (reverse split //, $digits)
	{
		$sum += $twice ? (2 * $digit > 9 ? 2 * $digit - 9 : 2 * $digit) : $digit;
		$twice = !$twice;
	}
	return (10 - $sum % 10) % 10;
}

# A token that is written as a merchant's own are, and is none.
sub random_token
{
	my ($slot, $length) = @_;
	my $digits = sprintf('%04d', $slot) . join('', map { int rand 10 } 6 .. ($length || 20));
	return $digits . check_digit($digits);
}

# Waits until the merchant has been told of an event of a payout, signed.
sub wait_told
{
	my ($self, $txid, $type) = @_;
	return $self->wait_for("the merchant is told $type of $txid", sub {
		grep { $_->{type} eq $type && $_->{verified} && $_->{body}{data}{txid} eq $txid } @{ $self->webhooks(substr $txid, 0, 10) } });
}

sub state
{
	my ($self, $txid) = @_;
	return $self->sql("select state from payout.payout where txid = '$txid'");
}

sub wait_state
{
	my ($self, $txid, $state, $seconds) = @_;
	return $self->wait_for("$txid becomes $state", sub { $self->state($txid) eq $state }, $seconds);
}

sub control
{
	my ($self, $method, $path, $body) = @_;
	my $answer = HTTP::Tiny->new(timeout => $deadline_s)->request($method, "http://127.0.0.1:$self->{control_port}/control/$path",
		defined $body ? { content => JSON::PP::encode_json($body), headers => { 'content-type' => 'application/json' } } : {});
	BAIL_OUT("control $path: $answer->{status} $answer->{content}") unless $answer->{success};
	return JSON::PP::decode_json($answer->{content});
}

sub fault { my ($self, %fault) = @_; $fault{$_} = "$fault{$_}" for grep { exists $fault{$_} } qw(service code); return $self->control('POST', 'fault', \%fault)->{id}; }

sub clear_faults { my $self = shift; return $self->control('DELETE', 'fault'); }

# How often the bank has paid a TXID: the witness.
sub times_paid
{
	my ($self, $txid) = @_;
	return scalar grep { /"event":\s*"paid"/ && /"\Q$txid\E"/ } split /\n/, slurp("$self->{dir}/journal");
}

# What may have left of the payout's order: how many sendings, how many contents and how many external ids.
# A sending that the gate took back counts as none: the change that it saw may have been made a moment before it was claimed.
sub sendings
{
	my ($self, $txid) = @_;
	return $self->sql("select concat_ws(' ', count(*), count(distinct a.request_digest), count(distinct a.external_id))
		from payout.attempt a join payout.payout p using (channel_id, batch_id)
		where p.txid = '$txid' and a.outcome is distinct from 'not_sent'");
}

sub requests
{
	my ($self, $service) = @_;
	return $self->control('GET', "requests?service=$service")->{count};
}

sub webhooks
{
	my ($self, $merchant) = @_;
	return $self->control('GET', 'webhooks?merchant_id=' . ($merchant || 'MERCHANT01'))->{webhooks};
}

# Moves the clock of schedules, expiry and backoff, here and in the worker.
sub set_clock
{
	my ($self, $seconds) = @_;
	$self->{node}->safe_psql('postgres', "alter system set payout.clock_offset = '${seconds}s'; select pg_reload_conf()");
	$self->wait_sql("select payout.clock() > clock_timestamp() + interval '${seconds} s' - interval '1 s'");
}

# Nothing is out of order, and the bank's books say the same as ours; of stores the bank knows nothing.
sub sound
{
	my ($self, $name) = @_;
	is($self->sql('select * from payout.verify()'), '', "$name: verify() is empty");
	my $books = $self->control('GET', 'books?summary=1');
	is($self->sql("select coalesce(sum(case when credit_account like 'settlement/%' then amount when debit_account like 'settlement/%' then -amount end), 0)::numeric(22,2) from payout.transfer
		where credit_account not like 'settlement/cvs:%' and debit_account not like 'settlement/cvs:%'"),
		$books->{paid_total}, "$name: the bank's books say the same");
}

# Ends what was started, by its handle.
sub end_children
{
	my $self = shift;
	local $?;
	for my $child (reverse splice @{ $self->{children} || [] })
	{
		eval { $child->signal('KILL'); $child->finish };
	}
}

sub DESTROY { my $self = shift; $self->end_children; }

my $owner = $$;
my @beside;	# processes of beside()

# Runs code in a process of its own, a peer of the worker's. The code is given a function that says whether the test still runs,
# and must end when it does not; at the test's end the process is killed.
sub beside
{
	my ($code) = @_;
	my $pid = fork;
	die "fork: $!" if !defined $pid;
	if (!$pid)
	{
		$SIG{PIPE} = 'IGNORE';
		eval { $code->(sub { getppid == $owner }); 1 } or print STDERR $@;
		POSIX::_exit(0);
	}
	push @beside, $pid;
}

# Beside the test: hands each connection to a function, one after the other.
sub answer_each
{
	my ($listener, $answer) = @_;
	beside(sub {
		my ($goes_on) = @_;
		my $ready = IO::Select->new($listener);
		while ($goes_on->())
		{
			next unless $ready->can_read(1);
			my $client = $listener->accept or next;
			eval { $answer->($client) };
			close $client;
		}
	});
}

sub end_beside
{
	return if $$ != $owner;
	local $?;
	kill 'KILL', $_ for @beside;
	waitpid $_, 0 for splice @beside;
}

# An object of a test's main file lives until global destruction, when its handles may be gone before it.
END { end_beside(); $_->end_children for grep { defined } @living }

1;
