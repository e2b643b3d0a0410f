# Saboteur.pm: breaks things, at seeded moments: processes of the server, the server, the bank, the network, the primary.
# Each act leaves the system able to go on by itself, or sees to it. campaign.pl enters.
package Saboteur;

use strict;
use warnings;
use File::Path qw(remove_tree);
use List::Util ();
use PayoutTest;
use PostgreSQL::Test::Cluster;
use Time::HiRes qw(sleep time);

# What may happen, and how often in proportion. Places to die at need a developer build. A primary is lost at
# moments of its own, see campaign.pl.
my %weights = (
	worker_killed => 3, worker_ended => 1, launcher_killed => 1, backend_killed => 2, server_stopped => 1, bank_killed => 2,
	crash_point => 8, faults_set => 12, faults_cleared => 2, bank_lies => 5, bank_down => 1, clock_advanced => 3, channel_paused => 1);

# What the sandbox can do, by what it means for us: each group is as likely as the others.
my @faults = (
	# it was booked, and we do not hear of it
	[ (map { my $s = $_; map { { service => $s, kind => $_, count => 3 } } qw(reset_after error_after garbage truncated) } qw(17 20)),
		(map { { service => $_, kind => 'hang', after_booking => JSON::PP::true, count => 2 } } qw(17 20)),
		{ service => 20, kind => 'oversized', bytes => 9000000, count => 1 } ],
	# it was not
	[ map { my $s = $_; map { { service => $s, kind => $_, count => 3 } } qw(reset_before error_before) } qw(17 20) ],
	# refused, for now or for good, whole or in part
	[ (map { { service => $_, kind => 'answer', http => 403, code => '14', count => 2 } } qw(17 20)),
		(map { { service => $_, kind => 'answer', http => 429, code => '00', count => 2 } } qw(17 20)),
		{ service => 17, kind => 'answer', http => 404, code => '11', count => 2 }, { service => 20, kind => 'answer', http => 400, code => '01', count => 1 },
		(map { { service => 20, kind => 'item_fail', http => 404, code => '11', count => $_ } } 1 .. 3) ],
	# later than it should be
	[ (map { { service => $_, kind => 'delay', delay_ms => 400, count => 5 } } qw(73 16 17 20 36 webhook)),
		{ service => 20, kind => 'notice_first', delay_ms => 300, count => 3 }, { service => 17, kind => 'pending', delay_ms => 300, count => 3 } ],
	# account checks and status inquiries
	[ (map { my $s = $_; map { { service => $s, kind => $_, count => 3 } } qw(reset_before reset_after error_before garbage truncated) } qw(16 36)),
		{ service => 36, kind => 'answer', http => 404, code => '01', count => 2 }, { service => 36, kind => 'hang', count => 1 } ],
	# tokens, notices, the merchant's end
	[ { service => 73, kind => 'error_before', count => 2 }, { service => 73, kind => 'reset_before', count => 2 },
		(map { { service => 21, kind => $_, count => 2 } } qw(wrong_signature duplicate_notice no_notice delay)),
		(map { { service => 'webhook', kind => $_, count => 3 } } qw(reset_before reset_after error_before error_after garbage)) ]);

sub new
{
	my ($class, %given) = @_;
	my $self = bless { kills => 0, faults => 0, promotions => 0, clock_s => 0, nodes => 1, points => [], %given }, $class;
	$self->{weights} = { %weights };
	delete $self->{weights}{crash_point} if !@{ $self->{points} };
	return $self;
}

sub node { my $self = shift; return $self->{test}{node} }

# A statement of the operator's, asked again while the server is down.
sub insist
{
	my ($self, $sql, $database) = @_;
	my $ends = time + 60;
	while (time < $ends)
	{
		my ($status, $out) = $self->{test}->try_sql($sql, $database);
		return $out if $status == 0;
		sleep 0.05;
	}
	die "the server did not come back for: $sql\n";
}

sub act
{
	my ($self, $name) = @_;
	my @names = map { my $name = $_; ($name) x $self->{weights}{$name} } sort keys %{ $self->{weights} };
	$name ||= $names[ rand @names ];
	my $what = $self->can($name)->($self);
	printf { $self->{screen} } "%7.1f s  %-15s %s\n", time - $self->{began}, $name, $what if $self->{screen};
}

sub kill_one
{
	my ($self, $which) = @_;
	my $pids = $self->insist("select pid from pg_stat_activity where $which and pid <> pg_backend_pid() order by pid", 'postgres');
	my @pids = split /\n/, $pids;
	return 'nobody there' if !@pids;
	my $pid = $pids[ rand @pids ];
	$self->{kills}++ if kill 'KILL', $pid;
	return "process $pid";
}

sub worker_killed { my $self = shift; return $self->kill_one("backend_type = 'payout worker'") }

sub launcher_killed { my $self = shift; return $self->kill_one("backend_type = 'payout launcher'") }

sub backend_killed { my $self = shift; return $self->kill_one("backend_type = 'client backend' and datname = 'app'") }

sub worker_ended
{
	my $self = shift;
	$self->insist("select pg_terminate_backend(pid) from pg_stat_activity where backend_type = 'payout worker'", 'postgres');
	return '';
}

sub server_stopped
{
	my $self = shift;
	$self->insist('select 1');	# not while it recovers from something else
	$self->node->stop('immediate');
	$self->node->start;
	$self->{kills}++;
	return '';
}

sub count_faults
{
	my $self = shift;
	$self->{faults} += $_->{hits} for @{ $self->{test}->control('GET', 'fault') };
}

sub faults_set
{
	my $self = shift;
	my @chosen = map { my $group = $faults[ rand @faults ]; $group->[ rand @$group ] } 0 .. rand 4;
	$self->{test}->fault(%$_) for @chosen;
	return join ', ', map { "$_->{service} $_->{kind}" } @chosen;
}

# Transfers of our own that are booked and not answered: the bank says twice that it knows nothing of them, and refuses
# them when they come again. Who believes that refusal gives back what has been paid.
sub bank_lies
{
	my $self = shift;
	for my $n (1 .. 3)
	{
		my $reference = 'LIE-' . ++$self->{lies};
		my $txid = $self->insist("select txid from payout.register('SIMM000000', '$reference', 1000, 'OWNB', '8800000001', 'Budi Santoso', 'overbooking')");
		$self->{test}->fault(service => 17, kind => 'reset_after', count => 1, reference_no => $txid);
		$self->{test}->fault(service => 17, kind => 'answer', http => 404, code => '11', count => 1, reference_no => $txid);
		$self->{test}->fault(service => 36, kind => 'answer', http => 404, code => '01', count => 3, reference_no => $txid);
		$self->insist("select payout.approve('SIMM000000', '$txid')");
	}
	return '';
}

sub faults_cleared
{
	my $self = shift;
	$self->count_faults;
	$self->{test}->clear_faults;
	$self->{test}->control('POST', 'release');
	return '';
}

sub bank_killed
{
	my $self = shift;
	$self->faults_cleared;
	$self->{test}->kill_sandbox;
	sleep rand 0.5;
	$self->{test}->restart_sandbox;
	$self->{kills}++;
	return '';
}

sub bank_down
{
	my $self = shift;
	$self->{test}->control('POST', 'down', { down => JSON::PP::true });
	sleep rand 0.5;
	$self->{test}->control('POST', 'down', { down => JSON::PP::false });
	return '';
}

sub forget_crash_point
{
	my $self = shift;
	return if !$self->{crash_point_set};
	$self->{kills}++ if !unlink $self->{crash_file};
	$self->{crash_point_set} = 0;
}

sub crash_point
{
	my $self = shift;
	# Each place once before any comes again.
	$self->{bag} = [ List::Util::shuffle(@{ $self->{points} }) ] if !@{ $self->{bag} || [] };
	my $point = shift @{ $self->{bag} };
	my $passes = int rand 6;
	$self->forget_crash_point;
	PayoutTest::write_file($self->{crash_file}, "$point $passes\n");
	$self->{crash_point_set} = 1;
	return "$point after $passes";
}

sub clock_advanced
{
	my ($self, $seconds) = @_;
	$seconds ||= 60 * (1 + int rand 60);
	$self->{clock_s} += $seconds;
	$self->insist("alter system set payout.clock_offset = '$self->{clock_s}s'");
	$self->insist('select pg_reload_conf()');
	return "by $seconds s";
}

sub channel_paused
{
	my $self = shift;
	$self->insist("select payout.pause_channel('BANK1', 'a campaign')");
	sleep rand 0.5;
	$self->insist("select payout.resume_channel('BANK1')");
	return '';
}

# A synchronous standby of the present primary, with a copy of the secret file, as on another host.
sub make_standby
{
	my ($self) = @_;
	my $name = 'node' . ++$self->{nodes};
	my $primary = $self->node;
	my $standby = PostgreSQL::Test::Cluster->new($name);
	my $secret = "$self->{test}{dir}/secret_$name";
	$self->insist('select 1');
	PayoutTest::write_file($secret, PayoutTest::slurp($self->{test}{secret_file}));
	chmod 0600, $secret;
	$primary->backup($name);
	$standby->init_from_backup($primary, $name, has_streaming => 1);
	remove_tree($primary->backup_dir . "/$name");
	$standby->append_conf('postgresql.conf', "payout.secret_file = '$secret'\nsynchronous_standby_names = ''");
	$standby->start;
	$primary->append_conf('postgresql.conf', "synchronous_standby_names = '$name'");
	$self->insist('select pg_reload_conf()');
	my $ends = time + 60;
	until ($self->insist("select exists (select from pg_stat_replication where sync_state = 'sync')", 'postgres') eq 't')
	{
		die "the standby does not follow\n" if time > $ends;
		sleep 0.05;
	}
	$self->{replica} = $standby;
}

# The standby is promoted while the old primary still runs, cut off from it: what the old one commits from here on waits
# for ever for its standby, so it can send nothing new. Then it is found and stopped.
sub primary_lost
{
	my ($self) = @_;
	my $old = $self->node;
	# A primary that is cut off and starts again shows commits that its standby never got: no place to die at now.
	$self->forget_crash_point;
	$self->make_standby;
	$self->{replica}->promote;
	$self->{test}{node} = $self->{replica};
	sleep rand 1;
	PayoutTest::write_file($self->{conninfo_file}, $self->node->connstr('app') . "\n");
	$self->{test}->restart_relay;
	sleep rand 1;
	$old->stop('immediate');
	$self->{promotions}++;
	$self->{kills}++;
	return $self->node->name . ' instead of ' . $old->name;
}

# Nothing breaks any more, and what is broken is whole.
sub rest
{
	my ($self) = @_;
	$self->forget_crash_point;
	$self->faults_cleared;
	$self->insist('select 1');
}

1;
