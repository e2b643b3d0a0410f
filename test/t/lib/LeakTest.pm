# LeakTest.pm: what tests of secrecy need beyond PayoutTest: a server that logs and counts everything it can, clients that
# send values as bind parameters, and a search through all that a server writes.
package LeakTest;

use strict;
use warnings;
use parent -norequire, 'PayoutTest';
use File::Find ();
use IPC::Run ();
use PayoutTest;
use Test::More;

# Options as for PayoutTest. What clients print is kept in {output}, what pg_stat_activity showed in {activity}.
sub new
{
	my ($class, %option) = @_;
	my $self = $class->SUPER::new(%option, conf => [
		"shared_preload_libraries = 'payout, pg_stat_statements, auto_explain'",
		'log_statement = all', 'log_min_duration_statement = 0', 'log_duration = on', 'log_min_messages = debug5', 'log_error_verbosity = verbose',
		'log_min_error_statement = debug5', 'log_lock_waits = on', 'deadlock_timeout = 10ms',
		'log_parameter_max_length = 0', 'log_parameter_max_length_on_error = 0',
		'pg_stat_statements.track = all', 'pg_stat_statements.max = 10000',
		'auto_explain.log_min_duration = 0', 'auto_explain.log_nested_statements = on', 'auto_explain.log_analyze = on', 'auto_explain.log_verbose = on',
		@{ $option{conf} || [] } ]);
	$self->{output} = $self->{activity} = '';
	$self->sql('create extension pg_stat_statements');
	return $self;
}

# Starts a client whose script has :name for each bind parameter of the hash; in mode simple it writes them into the
# statements instead.
sub start_client
{
	my ($self, $script, $value, %option) = @_;
	my $mode = $option{mode} || 'extended';
	my $file = "$self->{dir}/client.sql";
	my $names = join '|', sort keys %$value;
	PayoutTest::write_file($file, $mode eq 'simple' ? $script =~ s/:($names)\b/':$1'/gr : $script);
	local $ENV{PGAPPNAME} = 'client';
	local $ENV{PGOPTIONS} = $option{options} if $option{options};
	my %client = (out => '');
	$client{handle} = IPC::Run::start([ 'pgbench', '-n', '-t', '1', '--verbose-errors', '-M', $mode,
		(map { ('-D', "$_=$value->{$_}") } sort keys %$value), '-f', $file, $self->{node}->connstr('app') ], '<', \undef, '>&', \$client{out});
	return \%client;
}

# 1 when its statements succeeded.
sub finish_client
{
	my ($self, $client) = @_;
	$client->{handle}->finish;
	$self->{output} .= $client->{out};
	return $client->{handle}->result == 0 ? 1 : 0;
}

sub client { my ($self, @call) = @_; return $self->finish_client($self->start_client(@call)); }

# A client waits for a row that another session has locked by this statement; looks at the server's activity meanwhile.
sub waiting
{
	my ($self, $lock, $then, @call) = @_;
	my $locker = $self->{node}->background_psql('app');
	$locker->query_safe("begin; $lock");
	my $client = $self->start_client(@call);
	$self->wait_sql("select count(*) = 1 from pg_stat_activity where application_name = 'client' and wait_event_type = 'Lock'");
	$self->{activity} .= $self->sql('select string_agg(a::text, chr(10)) from pg_stat_activity a');
	$then->();
	$locker->query_safe('rollback');
	$locker->quit;
	return $self->finish_client($client);
}

# All that the server has written, by place; stops it.
sub places
{
	my $self = shift;
	my $node = $self->{node};
	my %place = (
		'clients\' output' => $self->{output},
		pg_stat_activity => $self->{activity},
		pg_stat_statements => $self->sql('select string_agg(query, chr(10)) from pg_stat_statements'),
		history => $self->sql('select string_agg(e::text, chr(10)) from payout.payout_event e'),
		notifications => $self->sql('select string_agg(n::text, chr(10)) from payout.notification n'),
		dump => '');
	IPC::Run::run([ 'pg_dump', $node->connstr('app') ], '>', \$place{dump}) or die 'pg_dump';
	$self->sql('checkpoint');
	$node->stop;
	$place{log} = PayoutTest::slurp($node->logfile);
	for my $name ('data files', 'WAL')
	{
		$place{$name} = '';
		File::Find::find({ no_chdir => 1, wanted => sub {
			$place{$name} .= PayoutTest::slurp($_) if -f && -s && (m{/pg_wal/} xor $name eq 'data files') } }, $node->data_dir);
		cmp_ok(length $place{$name}, '>=', 1 << 24, "there are $name");
	}
	return \%place;
}

# Each place has what is known, so that it can be searched, and nothing of what is secret.
sub search
{
	my ($self, $place, $secret, $known) = @_;
	for my $name (sort keys %$place)
	{
		my @found;
		while ($place->{$name} =~ /$secret/g)
		{
			push @found, substr($place->{$name}, $-[0] > 80 ? $-[0] - 80 : 0, 160) =~ s/[^ -~]/./gr;
		}
		is(scalar @found, 0, "$name: no secret") or diag(join "\n", @found > 5 ? @found[0 .. 4] : @found);
		ok($place->{$name} =~ $known, "$name: the control is found");
	}
}

1;
