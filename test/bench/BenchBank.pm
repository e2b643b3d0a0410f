# BenchBank.pm: one database's bank: the sandbox (which receives its merchants' notifications as well) and the relay that
# hands the bank's notices to the database. The sandbox does not flush its journal: its disk is not what is measured.
package BenchBank;

use strict;
use warnings;
use BenchServer;
use File::Path qw(make_path);
use HTTP::Tiny;
use JSON::PP ();
use Time::HiRes qw(sleep time);

our $webhook_key = 'MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE=';

# The database must be empty; afterwards it is armed, and its worker has begun (payout.databases must name it).
sub new
{
	my ($class, $server, $database) = @_;
	my $self = bless { server => $server, database => $database, folder => "$server->{folder}/$database" }, $class;
	make_path($self->{folder});
	$self->make_keys;
	my $relay = $self->start_program('relay', '--port', 0, '--conninfo', $server->conninfo($database));
	$self->configure($relay->{port});
	my $sandbox = $self->start_program('sandbox', '--config', "$self->{folder}/sandbox.json", '--journal', "$self->{folder}/journal",
		'--port', 0, '--control-port', 0, '--no-sync');
	@$self{qw(relay sandbox port control_port)} = ($relay->{pid}, $sandbox->{pid}, $sandbox->{port}, $sandbox->{control});
	$server->file($database, 'bank.sql', url => "http://127.0.0.1:$self->{port}/bank", notify_url => $self->merchant_url(''),
		private_key => slurp("$self->{folder}/ours.pem"), bank_key => slurp("$self->{folder}/bank.pub"), webhook_key => "whsec_$webhook_key");
	$self->wait_for('a worker', 60, 'select exists (select from payout.incarnation where ended_at is null)');
	return $self;
}

sub merchant_url { my ($self, $merchant) = @_; return "http://127.0.0.1:$self->{port}/merchant/$merchant"; }

sub make_keys
{
	my $self = shift;
	for my $who (qw(ours bank))
	{
		my $path = "$self->{folder}/$who";
		BenchServer::must("openssl genpkey -quiet -algorithm RSA -pkeyopt rsa_keygen_bits:2048 -out $path.pem && openssl pkey -in $path.pem -pubout -out $path.pub");
	}
}

sub configure
{
	my ($self, $relay_port) = @_;
	open my $file, '>', "$self->{folder}/sandbox.json" or die "sandbox.json: $!\n";
	print $file JSON::PP::encode_json({
		client_id => 'PAYOUT-CLIENT', client_secret => 'a-shared-client-secret', partner_id => 'PARTNER1', channel_id => '95221',
		client_public_key => "$self->{folder}/ours.pub", bank_private_key => "$self->{folder}/bank.pem",
		notice_base_url => "http://127.0.0.1:$relay_port/snap/BANK1", payroll_delay_ms => 20,
		wildcards => [ { prefix => '88', name => 'BUDI SANTOSO' } ],
		webhook_secrets => { map { 3000000000 + $_ => "whsec_$webhook_key" } 1 .. 20 } });
	close $file or die "sandbox.json: $!\n";
}

sub slurp
{
	my ($path) = @_;
	open my $file, '<', $path or die "$path: $!\n";
	local $/;
	return scalar <$file>;
}

# Starts a program of the sandbox's folder, which prints its ports; it ends with the server.
sub start_program
{
	my ($self, $name, @arguments) = @_;
	my $out = "$self->{folder}/$name.out";
	my $deadline = time + 30;
	my $pid = fork // die "fork: $!\n";
	if ($pid == 0)
	{
		open STDOUT, '>', $out;
		open STDERR, '>>', "$ENV{LOGS}/bench_$name.log";
		exec "test/sandbox/$name", @arguments;
	}
	$self->{server}->end_with(sub { kill 'KILL', $pid; waitpid $pid, 0 });
	until (-e $out && slurp($out) =~ /listening on (\d+)/)
	{
		die "$name did not start, see $ENV{LOGS}/bench_$name.log\n" if time > $deadline;
		sleep 0.05;
	}
	my ($port) = slurp($out) =~ /listening on (\d+)/;
	my ($control) = slurp($out) =~ /control on (\d+)/;
	return { pid => $pid, port => $port, control => $control };
}

sub query { my ($self, $sql) = @_; return $self->{server}->query($self->{database}, $sql); }

sub control
{
	my ($self, $method, $path, $body) = @_;
	my $answer = HTTP::Tiny->new(timeout => 60)->request($method, "http://127.0.0.1:$self->{control_port}/control/$path",
		$body ? { content => JSON::PP::encode_json($body) } : {});
	die "control $path: $answer->{status} $answer->{content}\n" unless $answer->{success};
	return JSON::PP::decode_json($answer->{content});
}

# Until a query answers true.
sub wait_for
{
	my ($self, $what, $seconds, $sql) = @_;
	my $deadline = time + $seconds;
	until ($self->query($sql) eq 't')
	{
		die "$what: not in $seconds s\n" if time > $deadline;
		sleep 0.1;
	}
}

# Seconds of CPU so far, by who took them: the worker; the server (all its processes, the worker among them); the bank
# (sandbox and relay).
sub cpu
{
	my $self = shift;
	my $worker = $self->query("select pid from pg_stat_activity where backend_type = 'payout worker' and datname = current_database()");
	return { worker => BenchServer::cpu_of($worker), server => $self->{server}->cpu_s,
		bank => BenchServer::cpu_of($self->{sandbox}) + BenchServer::cpu_of($self->{relay}) };
}

# Ours and the bank's books say the same, and ours are in order.
sub check_books
{
	my $self = shift;
	my $ours = $self->query("select count(*) from payout.payout where state = 'paid'");
	my $theirs = $self->control('GET', 'books?summary=1')->{paid_count};
	die "$self->{database}: $ours payouts are paid here, $theirs at the bank\n" if $ours != $theirs;
	my $wrong = $self->query('select * from payout.verify() limit 5');
	die "payout.verify() in $self->{database}:\n$wrong\n" if $wrong ne '';
	print "books of $self->{database}: $ours paid, as at the bank; payout.verify() is empty\n";
}

1;
