# Theatre.pm: what stands behind the demo: keys, a private server, the sandbox (bank and merchant's end), the relay; and
# questions to each of them. It starts each program as a child and ends it by its pid, whatever happens; it decides
# nothing about the flow. demo.pl and the flows enter.
package Theatre;

use strict;
use warnings;
use File::Temp ();
use HTTP::Tiny ();
use IO::Handle ();
use IPC::Run ();
use JSON::PP ();
use Time::HiRes qw(sleep time);

my $patience_s = 20;

sub new
{
	my ($class) = @_;
	my $self = bless { pids => [], owner => $$ }, $class;
	$self->{dir} = File::Temp->newdir('demo.XXXXXX', TMPDIR => 1);
	return $self;
}

sub path { my ($self, $name) = @_; return "$self->{dir}/$name"; }

# Starts a program as a child, its output in a file of its name.
sub start
{
	my ($self, $name, @command) = @_;
	my $pid = fork;
	die "cannot fork: $!\n" unless defined $pid;
	if ($pid == 0)
	{
		open STDIN, '<', '/dev/null';
		open STDOUT, '>', $self->path("$name.log") or die $!;
		open STDERR, '>&', \*STDOUT or die $!;
		exec @command or die "cannot start $command[0]: $!\n";
	}
	push @{ $self->{pids} }, { name => $name, pid => $pid };
	return $pid;
}

# Ends what was started, the last first. SIGINT: a server ends its sessions and shuts down cleanly.
sub end
{
	my ($self) = @_;
	return if $$ != $self->{owner};
	for my $child (reverse splice @{ $self->{pids} })
	{
		my $deadline = time + $patience_s;
		kill 'INT', $child->{pid};
		while (waitpid($child->{pid}, 1) == 0)	# WNOHANG
		{
			kill 'QUIT', $child->{pid} if time > $deadline;
			sleep 0.01;
		}
	}
}

sub DESTROY { my $self = shift; local $?; $self->end; }

# Waits until code answers something true, and answers that. Never sleeps for a fixed time.
sub wait_for
{
	my ($self, $what, $code) = @_;
	my $deadline = time + $patience_s;
	while (1)
	{
		my $answer = $code->();
		return $answer if $answer;
		die "gave up waiting: $what\n" . $self->logs if time > $deadline;
		sleep 0.01;
	}
}

sub log_of { my ($self, $name) = @_; return slurp($self->path("$name.log")); }

sub logs
{
	my ($self) = @_;
	return join '', map { my $text = $self->log_of($_->{name}); $text eq '' ? '' : "---- $_->{name}\n" . substr($text, -2000) . "\n" }
		@{ $self->{pids} };
}

sub slurp
{
	my ($path) = @_;
	open my $file, '<', $path or return '';
	local $/;
	return scalar <$file> // '';
}

sub write_file
{
	my ($path, $text) = @_;
	open my $file, '>', $path or die "$path: $!\n";
	print $file $text;
	close $file or die "$path: $!\n";
}

sub run_quietly
{
	my (@command) = @_;
	my $out = '';
	IPC::Run::run(\@command, '<', \undef, '>', \$out, '2>', \$out) or die "@command failed:\n$out";
}

# RSA keys of both sides, and the secret file of the installation.
sub make_keys
{
	my ($self) = @_;
	for my $who (qw(ours bank))
	{
		run_quietly('openssl', 'genpkey', '-quiet', '-algorithm', 'RSA', '-pkeyopt', 'rsa_keygen_bits:2048', '-out', $self->path("$who.pem"));
		run_quietly('openssl', 'pkey', '-in', $self->path("$who.pem"), '-pubout', '-out', $self->path("$who.pub"));
	}
	umask 077;
	run_quietly('openssl', 'rand', '-out', $self->path('secret'), '64');
}

# A server as it would run in earnest (fsync stays on), reached through a socket in the folder alone.
sub start_server
{
	my ($self, $database) = @_;
	my $data = $self->path('data');
	run_quietly('initdb', '--auth=trust', '--username=postgres', '--encoding=UTF8', '--locale=C', '--pgdata', $data);
	open my $conf, '>>', "$data/postgresql.conf" or die $!;
	print $conf <<"END";
shared_preload_libraries = 'payout'
payout.databases = '$database'
payout.secret_file = '@{[ $self->path('secret') ]}'
# the clock of expiry may be moved
payout.testing = on
# a refused call would be logged with the token that is written in it (applications pass it as a parameter)
log_min_error_statement = panic
# bank and merchant live on this machine and speak plain http
payout.allow_hosts = '127.0.0.1'
listen_addresses = ''
unix_socket_directories = '$self->{dir}'
END
	close $conf;
	$self->start('server', 'postgres', '-D', $data);
	$self->{database} = 'postgres';
	$self->wait_for('the server', sub { eval { $self->query('select 1') } });
	$self->query("create database $database");
	$self->{database} = $database;
}

sub conninfo
{
	my ($self, $role) = @_;
	return "host=$self->{dir} user=" . ($role || 'postgres') . " dbname=$self->{database}";
}

# A run of psql, for IPC::Run. What is written with :'name' comes from %value; its key "as" names the role that asks.
sub session
{
	my ($self, $sql, $out, $err, %value) = @_;
	my $role = delete $value{as};
	return ([ 'psql', '--no-psqlrc', '--quiet', '--no-align', '--tuples-only', '--field-separator', "\x1f", '-v', 'ON_ERROR_STOP=1',
		'-v', 'VERBOSITY=verbose', '-d', $self->conninfo($role), map { ('-v', "$_=$value{$_}") } sort keys %value ],
		'<', \$sql, '>', $out, '2>', $err);
}

sub split_rows { return map { [ split /\x1f/, $_, -1 ] } split /\n/, shift; }

# SQLSTATE and message in psql's words, or nothing.
sub error_of { return shift =~ /ERROR:\s+([0-9A-Z]{5}): ([^\n]*)/; }

# One statement or several; %value as for session(). Answers rows of columns; dies with the error.
sub rows
{
	my ($self, $sql, %value) = @_;
	my ($out, $err) = ('', '');
	IPC::Run::run($self->session($sql, \$out, \$err, %value)) or die "$err\n";
	return split_rows($out);
}

# The first column of the first row.
sub query { my ($self, @sql) = @_; my ($row) = $self->rows(@sql); return defined $row ? $row->[0] : undef; }

# The error that a statement fails with, as (SQLSTATE, message); empty when it does not fail.
sub failure
{
	my ($self, @sql) = @_;
	return if eval { $self->rows(@sql); 1 };
	my @error = error_of($@);
	return @error ? @error : die $@;
}

# Several calls in sessions of their own at the same moment, each [sql, %value]. Answers for each {row} or {error}.
sub at_once
{
	my ($self, @calls) = @_;
	my @runs = map { { call => $_, out => '', err => '' } } @calls;
	# One harness for all: it feeds every session at once, where several would be fed one after the other.
	my @sessions = map { ('&', $self->session($_->{call}[0], \$_->{out}, \$_->{err}, @{ $_->{call} }[1 .. $#{ $_->{call} }])) } @runs;
	my $all = IPC::Run::start(@sessions[ 1 .. $#sessions ]);
	IPC::Run::finish($all);
	my @status = $all->full_results;
	for my $i (grep { $status[$_] } 0 .. $#runs)
	{
		$runs[$i]{error} = [ error_of($runs[$i]{err}) ];
		die $runs[$i]{err} unless @{ $runs[$i]{error} };
	}
	return map { $_->{error} ? { error => $_->{error} } : { row => (split_rows($_->{out}))[0] } } @runs;
}

# Moves the server's clock of expiry and schedules; 0 sets it right. The worker learns of it with this, others when
# they connect.
sub move_clock
{
	my ($self, $offset_s) = @_;
	$self->query("alter system set payout.clock_offset = '${offset_s}s'");
	$self->query('select pg_reload_conf()');
	$self->wait_for('the clock', sub { $self->query('select abs(extract(epoch from payout.clock() - clock_timestamp()) - :offset) < 60', offset => $offset_s) eq 't' });
}

# The whole database as pg_dump writes it.
sub dump_database
{
	my ($self) = @_;
	my ($out, $err) = ('', '');
	IPC::Run::run([ 'pg_dump', '-d', $self->conninfo ], '<', \undef, '>', \$out, '2>', \$err) or die "pg_dump: $err\n";
	return $out;
}

# Starts one of the sandbox's programs; answers the ports it prints.
sub start_sandbox
{
	my ($self, $name, @arguments) = @_;
	$self->start($name, "test/sandbox/$name", '--port', 0, @arguments);
	my $text = $self->wait_for("the $name", sub { my $log = slurp($self->path("$name.log")); $log =~ /^$name: listening on \d+$/m && $log });
	my %port = $text =~ /^$name: (listening|control) on (\d+)$/mg;
	return \%port;
}

# The bank's and the merchant's own record of what happened: /control/...
sub control
{
	my ($self, $method, $what, $body) = @_;
	my $answer = HTTP::Tiny->new(timeout => $patience_s)->request($method, "http://127.0.0.1:$self->{control_port}/control/$what",
		defined $body ? { content => JSON::PP::encode_json($body) } : {});
	die "control $what: $answer->{status} $answer->{content}\n" unless $answer->{success};
	return JSON::PP::decode_json($answer->{content});
}

# What the merchant's web server received of one payout: each [type, verified], oldest first.
sub webhooks_of
{
	my ($self, $merchant, $reference) = @_;
	return map { [ $_->{type}, $_->{verified} ] } grep { $_->{body}{data}{reference_no} eq $reference }
		@{ $self->control('GET', "webhooks?merchant_id=$merchant")->{webhooks} };
}

# Lines of the bank's journal of one event, decoded.
sub journal
{
	my ($self, $event) = @_;
	return grep { $_->{event} eq $event } map { JSON::PP::decode_json($_) } grep { /\S/ } split /\n/, slurp($self->path('journal'));
}

1;
