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
# moments of its own, see campaign.pl. For the witness is kept when sending was stopped (stops) and what an asynchronous
# standby has lost (tails), as [from, to] in unix ms.
my %weights = (
	worker_killed => 3, worker_ended => 1, launcher_killed => 1, backend_killed => 2, server_stopped => 1, bank_killed => 2,
	crash_point => 8, faults_set => 12, faults_cleared => 2, bank_lies => 5, bank_down => 1, clock_advanced => 3, stopped => 1, stopped_briefly => 2,
	others_answers => 3, denied_later => 3);

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
	my $self = bless { kills => 0, faults => 0, promotions => 0, clock_s => 0, nodes => 1, points => [], stops => [], tails => [], %given }, $class;
	$self->{weights} = { %weights };
	delete $self->{weights}{$_} for @{ $self->{without} || [] };
	delete $self->{weights}{crash_point} if !@{ $self->{points} };
	return $self;
}

sub names { return sort keys %weights }

sub node { my $self = shift; return $self->{test}{node} }

sub now_ms { return int time * 1000 }

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
	my $often = $self->{often} || [];
	@names = @$often if @$often && rand() < 0.5;
	$name ||= $names[ rand @names ];
	my $what = $self->can($name)->($self);
	printf { $self->{screen} } "%7.1f s  %-18s %s\n", time - $self->{began}, $name, $what if $self->{screen};
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

# What a gateway gives that has mixed up its answers: all is of this order but the service in the code. Who does not look at
# it takes what was not booked for paid or accepted, and what was booked for refused.
sub others_answers
{
	my $self = shift;
	my ($service, $digits) = @{ [ [ 17, '15' ], [ 17, '16' ], [ 17, '36' ], [ 17, '73' ], [ 20, '16' ], [ 20, '36' ] ]->[ rand 6 ] };
	my $booked = rand() < 0.5;
	$self->{test}->fault(service => $service, kind => 'answer', service_digits => $digits, count => 2,
		$booked ? (http => 404, code => '11', after_booking => JSON::PP::true) : (http => 200, code => '00'));
	return "$service under $digits, " . ($booked ? 'booked and refused' : 'not booked and taken');
}

# A bulk is not taken, and the notice that says so comes when the same bulk has been sent again, just before the answer to that
# or at some moment about it: then it speaks of nothing that still counts.
sub denied_later
{
	my $self = shift;
	my $delay = rand() < 0.5 ? -1 : 500 + int rand 2000;
	$self->{test}->fault(service => 20, kind => 'deny_later', delay_ms => $delay, count => 2);
	return $delay < 0 ? 'as it comes again' : "after $delay ms";
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

# An operator stops sending, and lifts that after a while. Stopped is what psql was told to be committed.
sub stop_for
{
	my ($self, $seconds) = @_;
	my ($stop, $lift) = rand() < 0.5 ? ("select payout.pause_channel('BANK1', 'a campaign')", "select payout.resume_channel('BANK1')")
		: ('select payout.disarm()', 'select payout.arm()');
	$self->insist($stop);
	my $from = now_ms();
	sleep $seconds;
	push @{ $self->{stops} }, [ $from, now_ms() ];
	$self->insist($lift);
	return sprintf '%s for %.1f s', $stop =~ /payout\.(\w+)/, $seconds;
}

sub stopped_briefly { my $self = shift; return $self->stop_for(0.4 + rand 0.8) }

# The same while orders wait for the bank's bearer, which the worker has forgotten because the channel was altered.
sub stopped
{
	my $self = shift;
	my $delay = 1000 + int rand 1000;
	my $timeout = 4000 + ++$self->{altered};
	my $asked = $self->{test}->requests(73);
	$self->{test}->fault(service => 73, kind => 'delay', delay_ms => $delay, count => 2);
	$self->insist(qq{select payout.alter_channel('BANK1', '{"connect_timeout_ms": $timeout}')});
	# A server that is just starting again does not ask in time; then this is a stop like others.
	my $ends = time + 2;
	sleep 0.02 until $self->{test}->requests(73) > $asked || time > $ends;
	sleep rand 0.3;
	return $self->stop_for(2.5 + rand 1) . ", bearer after $delay ms";
}

# A standby of the present primary, with a copy of the secret file, as on another host.
sub make_standby
{
	my ($self, $synchronous) = @_;
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
	$primary->append_conf('postgresql.conf', 'synchronous_standby_names = ' . ($synchronous ? "'$name'" : "''"));
	$self->insist('select pg_reload_conf()');
	my $ends = time + 60;
	my $state = $synchronous ? "sync_state = 'sync'" : "state = 'streaming'";
	until ($self->insist("select exists (select from pg_stat_replication where $state)", 'postgres') eq 't')
	{
		die "the standby does not follow\n" if time > $ends;
		sleep 0.05;
	}
	$self->{replica} = $standby;
}

# A synchronous standby is promoted while the old primary still runs, cut off from it: what the old one commits from here on waits
# for ever for its standby, so it can send nothing new. Then it is found and stopped.
sub primary_lost
{
	my ($self) = @_;
	my $old = $self->node;
	# A primary that is cut off and starts again shows commits that its standby never got: no place to die at now.
	$self->forget_crash_point;
	$self->make_standby(1);
	$self->promote_standby;
	sleep rand 1;
	$old->stop('immediate');
	$self->{promotions}++;
	$self->{kills}++;
	return $self->node->name . ' instead of ' . $old->name;
}

# Clients and bank find the standby a little later.
sub promote_standby
{
	my ($self) = @_;
	$self->{replica}->promote;
	$self->{test}{node} = $self->{replica};
	sleep rand 1;
	PayoutTest::write_file($self->{conninfo_file}, $self->node->connstr('app') . "\n");
	$self->{test}->restart_relay;
}

# The process that receives for the standby stands still: what is committed from here on never gets there. Everything that was
# told before the answered moment has got there.
sub stop_receiver
{
	my ($self) = @_;
	my $from = now_ms();
	my $lsn = $self->insist('select pg_current_wal_flush_lsn()');
	my $ends = time + 60;
	my $pid;
	until ($pid)
	{
		die "the standby does not receive\n" if time > $ends;
		my ($status, $out) = $self->{replica}->psql('postgres', "select pid from pg_stat_wal_receiver where pg_last_wal_receive_lsn() >= '$lsn'");
		$pid = $out if $status == 0;
		sleep 0.02 if !$pid;
	}
	kill 'STOP', $pid or die "process $pid: $!\n";
	return ($from, $pid);
}

# The primary dies; a standby that followed as it could, and lacks the last seconds, takes its place. What the old primary told
# clients and the bank meanwhile is lost: that is the price of asynchronous replication. Paying twice is not.
sub primary_lost_async
{
	my ($self) = @_;
	my $old = $self->node;
	$self->forget_crash_point;
	$self->make_standby(0);
	my ($from, $receiver) = $self->stop_receiver;
	sleep 1 + rand 2;
	$old->stop('immediate');
	# What it sent last is read before anything of the next primary comes.
	sleep 0.3;
	# It ends as it wakes, before it reads what is left in its socket; promotion would wait for it.
	kill 'TERM', $receiver;
	kill 'CONT', $receiver;
	push @{ $self->{tails} }, [ $from, now_ms() ];
	$self->promote_standby;
	$self->{promotions}++;
	$self->{kills}++;
	return sprintf '%s instead of %s, which had %.1f s more', $self->node->name, $old->name, ($self->{tails}[-1][1] - $from) / 1000;
}

# A bank that has forgotten what it was sent before begins to remember: it is another program now, with the same books.
sub bank_remembers
{
	my ($self) = @_;
	$self->faults_cleared;
	$self->{test}->kill_sandbox;
	my $path = "$self->{test}{dir}/sandbox.json";
	my $config = JSON::PP::decode_json(PayoutTest::slurp($path));
	delete $config->{forget_references};
	PayoutTest::write_file($path, JSON::PP::encode_json($config));
	$self->{test}->restart_sandbox;
	$self->{kills}++;
	$self->tell_memory('31536000');
	return '';
}

# For how long the bank refuses a repeated reference, in seconds, or null: then nothing is sent again without a person.
sub tell_memory
{
	my ($self, $seconds) = @_;
	$self->insist(qq{select payout.alter_channel('BANK1', '{"reference_memory_s": $seconds}')
		from payout.option_definition where (scope, name) = ('channel', 'reference_memory_s')});
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
