# BenchServer.pm: a private server of the staged build, as durable as in production: fsync and synchronous_commit stay on.
# It is a child of this process, so that its CPU time is known at the end.
package BenchServer;

use strict;
use warnings;
use File::Path qw(make_path);
use File::Temp ();
use IPC::Run ();
use JSON::PP ();
use Time::HiRes qw(sleep time);

my @running;

$ENV{PGOPTIONS} = '-c client_min_messages=warning';
$ENV{PGUSER} = 'bench';

# Options: folder, databases (list), conf (list of more settings), preload (a library for the server's process), folding
# (list of databases that have a worker unless WORKER=0: their channels are paused, so all it does is to fold balances).
sub new
{
	my ($class, %option) = @_;
	my $self = bless { %option, runs => 0, children => [] }, $class;
	make_path($self->{folder});
	$self->{socket} = File::Temp::tempdir('benchXXXX', DIR => $ENV{TMPDIR}, CLEANUP => 1);
	$self->make_cluster;
	$self->start;
	$self->query('postgres', "create database $_") for @{ $self->{databases} };
	return $self;
}

sub make_cluster
{
	my $self = shift;
	must("initdb --pgdata=$self->{folder}/data --username=bench --auth=trust --locale=C --encoding=UTF8 --no-instructions >$ENV{LOGS}/bench_initdb.log");
	must("(umask 077 && head -c 64 /dev/urandom >$self->{folder}/secret)");
	open my $conf, '>>', "$self->{folder}/data/postgresql.conf" or die "postgresql.conf: $!\n";
	print $conf map { "$_\n" } "listen_addresses = ''", "unix_socket_directories = '$self->{socket}'", "shared_preload_libraries = 'payout'",
		"payout.secret_file = '$self->{folder}/secret'", "payout.allow_hosts = '127.0.0.1'", 'log_min_messages = warning',
		'shared_buffers = 1GB', 'max_wal_size = 16GB', 'checkpoint_timeout = 30min', @{ $self->{conf} || [] },
		$ENV{WORKER} && $self->{folding} ? "payout.databases = '@{[ join ', ', @{ $self->{folding} } ]}'" : ();
	close $conf or die "postgresql.conf: $!\n";
}

sub start
{
	my $self = shift;
	my $deadline = time + 60;
	my $pid = fork // die "fork: $!\n";
	if ($pid == 0)
	{
		$ENV{LD_PRELOAD} = $self->{preload} if $self->{preload};
		open STDOUT, '>>', "$ENV{LOGS}/bench_server.log";
		open STDERR, '>&', \*STDOUT;
		exec 'postgres', '-D', "$self->{folder}/data";
	}
	$self->{pid} = $pid;
	push @running, $self;
	until (system("pg_isready --quiet --host=$self->{socket} --dbname=postgres") == 0)
	{
		die "the server did not start, see $ENV{LOGS}/bench_server.log\n" if time > $deadline || waitpid($pid, 1) == $pid;
		sleep 0.1;
	}
}

# Ends the server, and what was started for it.
sub stop
{
	my $self = shift;
	local $?;
	$_->() for reverse splice @{ $self->{children} };
	@running = grep { $_ != $self } @running;
	my $pid = delete $self->{pid} or return;
	kill 'INT', $pid;
	waitpid $pid, 0;
}

# Code that is run before the server ends.
sub end_with { my ($self, $code) = @_; push @{ $self->{children} }, $code; }

sub stop_all
{
	my @all = reverse @running;
	$_->stop for @all;
}

sub must
{
	my ($command) = @_;
	system('bash', '-c', $command) == 0 or die "failed: $command\n";
}

sub conninfo { my ($self, $database) = @_; return "host=$self->{socket} dbname=$database user=bench"; }

sub psql
{
	my ($self, $database, %variable) = @_;
	return ('psql', '--no-psqlrc', '--quiet', '--tuples-only', '--no-align', '--set=ON_ERROR_STOP=1', '--dbname=' . $self->conninfo($database),
		map { "--set=$_=$variable{$_}" } sort keys %variable);
}

# Runs SQL text, with variables of psql; answers what it printed.
sub query
{
	my ($self, $database, $sql, %variable) = @_;
	my ($out, $error) = ('', '');
	IPC::Run::run([ $self->psql($database, %variable) ], '<', \$sql, '>', \$out, '2>', \$error) or die "$error\n";
	chomp $out;
	return $out;
}

sub file { my ($self, $database, $file, %variable) = @_; return $self->query($database, "\\i test/bench/$file\n", %variable); }

# Several files at the same time; each is [database, file, variables].
sub files_at_once
{
	my ($self, @jobs) = @_;
	my ($out, $error) = ('', '');
	my @handles;
	for my $job (@jobs)
	{
		my ($database, $file, %variable) = @$job;
		push @handles, IPC::Run::start([ $self->psql($database, %variable), "--file=test/bench/$file" ], '<', \undef, '>', \$out, '2>', \$error);
	}
	my @bad = grep { !$_->finish } @handles;
	die "$error\n" if @bad;
}

# A session that looks once, in a transaction that sees one snapshot, and stays like that until the server stops.
sub hold_snapshot
{
	my ($self, $database) = @_;
	my ($in, $out, $error) = ("begin isolation level repeatable read; select 'held' from (select count(*) from payout.payout) c;\n", '', '');
	my $holder = IPC::Run::start([ $self->psql($database) ], '<', \$in, '>', \$out, '2>', \$error);
	$self->end_with(sub { eval { $holder->signal("KILL"); $holder->finish } });
	$holder->pump until $out =~ /held/ || !$holder->pumpable;
	die "no snapshot is held: $error\n" unless $out =~ /held/;
}

# What was written so far: [inserts, updates, HOT updates] by table, and bytes of WAL.
sub written
{
	my ($self, $database) = @_;
	return JSON::PP::decode_json($self->query($database, q{select json_build_object('wal', pg_current_wal_lsn() - '0/0', 'tables',
		(select coalesce(json_object_agg(schemaname || '.' || relname, json_build_array(n_tup_ins, n_tup_upd, n_tup_hot_upd)), '{}') from pg_stat_user_tables))}));
}

# Seconds of CPU that the server has taken so far: its process, those it has waited for, and those that run.
sub cpu_s
{
	my $self = shift;
	my ($seconds, $waited);
	do
	{
		# A process that ends in between would be missed: its time goes over to the server's.
		$waited = waited_s($self->{pid});
		$seconds = $waited;
		$seconds += cpu_of($_) for $self->{pid}, split ' ', `pgrep -P $self->{pid}`;
	} until waited_s($self->{pid}) == $waited;
	return $seconds;
}

# Seconds of CPU of a process.
sub cpu_of
{
	my ($pid) = @_;
	my @ticks = ticks($pid);
	return ($ticks[0] + $ticks[1]) / 100;
}

# Seconds of CPU of the children that a process has waited for.
sub waited_s
{
	my ($pid) = @_;
	my @ticks = ticks($pid);
	return ($ticks[2] + $ticks[3]) / 100;
}

sub ticks
{
	my ($pid) = @_;
	open my $file, '<', "/proc/$pid/stat" or return (0, 0, 0, 0);
	return (split ' ', (<$file> =~ s/^.*\) //r))[11 .. 14];
}

# Runs pgbench. Options: database, script (or builtin), clients, seconds (or transactions of each client), variables (hash). Answers rate, transactions,
# seconds of the server's CPU, and what was written before and after.
sub pgbench
{
	my ($self, %option) = @_;
	my ($out, $error) = ('', '');
	my %variable = (i => 0, run => ++$self->{runs}, %{ $option{variables} || {} });
	my @command = ('pgbench', '--no-vacuum', '--protocol=prepared', "--client=$option{clients}", '--jobs=2', 
		$option{transactions} ? "--transactions=$option{transactions}" : "--time=$option{seconds}",
		$option{builtin} ? "--builtin=$option{builtin}" : ("--file=test/bench/$option{script}", map { "--define=$_=$variable{$_}" } sort keys %variable),
		$self->conninfo($option{database}));
	my $before = $self->written($option{database});
	my $cpu_before_s = $self->cpu_s;
	IPC::Run::run(\@command, '<', \undef, '>', \$out, '2>', \$error) or die "@command\n", $error =~ /^((?:.*\n){0,4})/, "\n";
	my $cpu_s = $self->cpu_s - $cpu_before_s;
	my ($rate) = $out =~ /^tps = ([\d.]+)/m or die "pgbench gave no rate:\n$out$error\n";
	my ($done) = $out =~ /^number of transactions actually processed: (\d+)/m;
	return { rate => $rate, done => $done, cpu_s => $cpu_s, before => $before, after => $self->written($option{database}) };
}

1;
