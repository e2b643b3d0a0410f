# 050_cancelled.pl: calls are cancelled and their sessions terminated at any moment. What was told is true, what was cancelled
# left nothing, nobody waits for ever, and the worker does not notice.
#
# The seed decides what is asked and when it is cancelled; how far a call has come by then depends on the machine.
use strict;
use warnings;
use lib 'test/t/lib';
use PayoutTest;
use Test::More;
use Time::HiRes qw(time);

# A session of psql that does not make its user wait.
package Session;
use IO::Select ();
use IPC::Open3 qw(open3);
use Time::HiRes qw(time);

sub new
{
	my ($class, $connstr) = @_;
	my $self = bless { connstr => $connstr, number => 0 }, $class;
	$self->connect;
	return $self;
}

sub connect
{
	my $self = shift;
	my ($in, $out);
	$self->{child} = open3($in, $out, undef, 'psql', '-XAtq', '-v', 'VERBOSITY=sqlstate', '-d', $self->{connstr});
	$in->autoflush(1);
	@$self{qw(in out text)} = ($in, $out, '');
	$self->{pid} = $self->ask('select pg_backend_pid()')->{text};
}

sub send
{
	my ($self, $sql) = @_;
	local $SIG{PIPE} = 'IGNORE';
	$self->{number}++;
	$self->{text} = '';
	print { $self->{in} } "$sql;\n\\echo \@$self->{number} :SQLSTATE\n";
}

# The answer, when it is there: SQLSTATE and text. A session that was ended has connected again by then; 08006 where it was
# ended between two calls, so that nobody read why.
sub answer
{
	my $self = shift;
	my $more = 1;
	$more = sysread $self->{out}, $self->{text}, 65536, length $self->{text} if IO::Select->new($self->{out})->can_read(0);
	if (!$more)
	{
		my $answer = { sqlstate => $self->{text} =~ /FATAL:\s+(\w{5})/ ? $1 : '08006', text => '' };
		$self->end;
		$self->connect;
		return $answer;
	}
	return undef if $self->{text} !~ /^(.*?)\n?\@$self->{number} (\w{5})\n/s;
	my ($text, $sqlstate) = ($1, $2);
	# A session that was ended behind its answer has answered; what psql says of the end may stand before or behind that.
	$text = join "\n", grep { !/^(FATAL:|server closed|\s|The connection|connection to server)/ } split /\n/, $text if $sqlstate eq '00000';
	return { sqlstate => $sqlstate, text => $text };
}

sub ask
{
	my ($self, $sql) = @_;
	my $ends = time + $PayoutTest::deadline_s;
	$self->send($sql);
	while (time < $ends)
	{
		IO::Select->new($self->{out})->can_read($ends - time);
		my $answer = $self->answer;
		return $answer if $answer;
	}
	die "no answer in time: $sql\n";
}

sub end
{
	my $self = shift;
	close $self->{in};
	close $self->{out};
	waitpid $self->{child}, 0;
}

package main;

srand 50;
my $t = PayoutTest->new(conf => [ 'max_connections = 40' ], channel => { mode => 'single', in_flight_max => 1000 }, balance => 1000000000);
$t->{node}->append_conf('postgresql.conf', 'payout.max_in_flight = 1000');
$t->{node}->reload;
my $connstr = $t->{node}->connstr('app');
my $desk = Session->new($connstr);
my @sessions = map { Session->new($connstr) } 1 .. 6;

sub worker_pid { return $desk->ask("select pid from pg_stat_activity where backend_type = 'payout worker'")->{text} }
my $worker = worker_pid();

# Lets the sessions work side by side. $next answers with a call: sql, ms until it is interrupted (undef: it is not), whether
# by termination, and what to do with its answer; or undef when there is no more.
sub work
{
	my ($next) = @_;
	my $ends = time + 2 * $PayoutTest::deadline_s;
	my ($more, %call) = (1);
	while ($more || %call)
	{
		die "calls do not end\n" if time > $ends;
		for my $i (0 .. $#sessions)
		{
			next if $call{$i} || !$more;
			my $call = $next->();
			$more = 0 if !$call;
			next if !$call;
			$call->{at} = time + $call->{ms} / 1000 if defined $call->{ms};
			$sessions[$i]->send($call->{sql});
			$call{$i} = $call;
		}
		my ($soonest) = sort { $a <=> $b } map { $_->{at} || () } values %call;
		my $wait = defined $soonest ? $soonest - time : 0.1;
		IO::Select->new(map { $sessions[$_]{out} } keys %call)->can_read($wait > 0 ? $wait : 0);
		for my $i (sort keys %call)
		{
			if (my $answer = $sessions[$i]->answer)
			{
				(delete $call{$i})->{told}->($answer);
			}
			elsif ($call{$i}{at} && time >= $call{$i}{at})
			{
				# Before the call has begun there is nothing to interrupt; then a moment later.
				my $interrupt = $call{$i}{terminate} ? 'pg_terminate_backend' : 'pg_cancel_backend';
				my $is_done = $desk->ask("select $interrupt(pid) from pg_stat_activity where pid = $sessions[$i]{pid} and state = 'active'")->{text} eq 't';
				$call{$i}{at} = $is_done ? undef : time + 0.001;
			}
		}
	}
}

sub tally { my ($seen) = @_; return join ', ', map { "$_ $seen->{$_}" } sort keys %$seen }

# ---- Asking the bank: it answers at once, late, never
my @paid = map { $t->pay } 1 .. 6;
$t->wait_state($_, 'paid') for @paid;
my %bank = (fast => [], slow => [ { service => 36, kind => 'delay', delay_ms => 30 } ], silent => [ { service => 36, kind => 'hang' } ]);

# Only a call that nobody answers takes so long.
sub call_of { my ($txid) = @_; return "call payout.check_status('MERCHANT01', '$txid', '60 s')" }

sub nobody_is_stuck
{
	my ($name) = @_;
	ok($t->wait_for("$name: all are idle", sub { $desk->ask("select not exists (select from pg_stat_activity
		where backend_type = 'client backend' and state <> 'idle' and pid <> pg_backend_pid() and query !~ 'bank_notification')")->{text} eq 't' }),
		"$name: no session is stuck");
}

for my $kind (sort keys %bank)
{
	my ($left, $stops, %seen, @strange) = (100, time + $PayoutTest::deadline_s);
	my $is_enough = sub { ($seen{57014} || 0) >= 20 && ($seen{'57P01'} || 0) >= 5 };
	$t->fault(%$_) for @{ $bank{$kind} };
	work(sub {
		return undef if $left-- <= 0 && ($is_enough->() || time > $stops);
		my $interrupted = $kind eq 'silent' || rand() < 0.7;
		return { sql => call_of($paid[ rand @paid ]), ms => $interrupted ? int rand 61 : undef, terminate => rand() < 0.4,
			told => sub {
				my ($answer) = @_;
				$seen{ $answer->{sqlstate} }++;
				push @strange, "$answer->{sqlstate} $answer->{text}"
					if $answer->{sqlstate} !~ /^(00000|57014|57P01|08006)$/ || $answer->{sqlstate} eq '00000' && $answer->{text} ne 'paid';
			} };
	});
	is(join('; ', @strange), '', "$kind bank: each call is answered, cancelled or terminated: " . tally(\%seen));
	is($seen{'00000'} || 0, 0, "$kind bank: none is answered") if $kind eq 'silent';
	ok($is_enough->(), "$kind bank: many are cancelled, some terminated");
	nobody_is_stuck("$kind bank");
	$t->clear_faults;
	$t->control('POST', 'release');
	for my $i (1 .. 5)
	{
		my $asked = $desk->ask('select clock_timestamp()')->{text};
		$sessions[$i]->ask(call_of($paid[$i]));
		is($desk->ask("select status_checked_at > '$asked' from payout.payout where txid = '$paid[$i]'")->{text}, 't', "$kind bank: a fresh call is answered");
	}
	# A waiter that missed its signal would look again after a second, however fast all else is.
	ok($t->wait_for("$kind bank: a signal", sub { my $began = time; $sessions[0]->ask(call_of($paid[0])); time - $began < 0.8 }),
		"$kind bank: and by its signal");
}

# Several wait for a silent bank; half of them are cancelled, the others hear the answer.
# Questions of calls that were cancelled may still be under way: their answers would be heard.
$t->wait_sql("select not exists (select from payout.payout where status_due_at is not null) and not exists (select from payout.attempt where outcome is null)");
$t->fault(service => 36, kind => 'hang', keep => JSON::PP::true);
$sessions[$_]->send(call_of($paid[$_])) for 0 .. 5;
my $waiting = "select count(*) from pg_stat_activity where query ~ '^call' and wait_event_type = 'Extension' and state = 'active'";
$t->wait_for('six wait', sub { $desk->ask($waiting)->{text} eq '6' });
$desk->ask("select pg_cancel_backend($sessions[$_]{pid})") for 0, 2, 4;
$t->wait_for('three wait', sub { $desk->ask($waiting)->{text} eq '3' });
$t->clear_faults;
$t->control('POST', 'release');
my @answers;
$t->wait_for('all are answered', sub { $answers[$_] ||= $sessions[$_]->answer for 0 .. 5; 6 == grep { $_ } @answers });
is(join(' ', map { $_->{sqlstate} } @answers), '57014 00000 57014 00000 57014 00000', 'the others are served');
is(worker_pid(), $worker, 'by the same worker');

# ---- Calls that move money: each chain of calls ends where one of them is interrupted
my %chain = (
	disbursement => [
		[ register => sub { "select txid from payout.register('MERCHANT01', '$_[0]{name}', 1000, 'CENA', '8800000001', 'Budi Santoso')" }, 'registered' ],
		[ approve => sub { "select txid from payout.approve('MERCHANT01', '$_[0]{answer}')" }, 'paid' ] ],
	cashout => [
		[ register_cashout => sub { "select txid from payout.register_cashout('MERCHANT01', '$_[0]{name}', 1000, 'Budi Santoso', '0812')" }, 'registered' ],
		[ token => sub { "select cashout_token from payout.approve('MERCHANT01', '$_[0]{answer}')" }, 'token_issued' ],
		[ validate => sub { $_[0]{token} = $_[0]{answer}; $t->validate_sql($_[0]{token}, reference => $_[0]{name}) }, 'token_reserved' ],
		[ confirm => sub { $t->confirm_sql($_[0]{token}, reference => $_[0]{name}) }, 'paid' ] ]);
my (@begun, @all, @strange, %cancelled, %seen);
my $each = 4;
my $stops = time + $PayoutTest::deadline_s;

sub is_enough { return !grep { ($cancelled{ $_->[0] } || 0) < $each } map { @$_ } values %chain }

work(sub {
	my $one = shift @begun;
	if (!$one)
	{
		return undef if is_enough() || time > $stops;
		my $kind = rand() < 0.3 ? 'disbursement' : 'cashout';
		$one = { name => 'CHAIN' . @all, kind => $kind, steps => 0 };
		push @all, $one;
	}
	my $step = $chain{ $one->{kind} }[ $one->{steps} ];
	my $rare = ($cancelled{ $step->[0] } || 0) >= $each;
	return { sql => $step->[1]->($one), ms => rand() < ($rare ? 0.1 : 0.5) ? rand 6 : undef, terminate => rand() < 0.2,
		told => sub {
			my ($answer) = @_;
			my $sqlstate = $answer->{sqlstate};
			$seen{$sqlstate}++;
			push @strange, "$step->[0]: $sqlstate $answer->{text}" if $sqlstate !~ /^(00000|57014|57P01|08006)$/;
			$cancelled{ $step->[0] }++ if $sqlstate eq '57014';
			# A session that is terminated may have committed before.
			$one->{unknown} = $sqlstate ne '57014' && $sqlstate ne '00000';
			return if $sqlstate ne '00000';
			$one->{steps}++;
			$one->{answer} = $answer->{text};
			push @begun, $one if $one->{steps} < @{ $chain{ $one->{kind} } };
		} };
});
is(join('; ', @strange), '', scalar(@all) . ' chains of calls: answered, cancelled or terminated: ' . tally(\%seen));
ok(is_enough(), 'each kind of call was cancelled: ' . tally(\%cancelled));
$t->wait_sql("select not exists (select from payout.payout where state in ('approved', 'dispatching', 'processing', 'suspect'))");

my %state = map { split /\|/ } split /\n/, $t->sql("select reference_no, state from payout.payout where reference_no ~ '^CHAIN'");
my %redeemed = map { $_ => 1 } split /\n/, $t->sql('select cvs_reference from payout.redemption where reserved_at is not null');
my @wrong;
for my $one (@all)
{
	my @states = ('', map { $_->[2] } @{ $chain{ $one->{kind} } });
	my @allowed = @states[ $one->{steps} .. $one->{steps} + ($one->{unknown} ? 1 : 0) ];
	my $is = $state{ $one->{name} } || '';
	push @wrong, "$one->{name}: $one->{steps} calls were told ok, it is \"$is\"" if !grep { $_ eq $is } @allowed;
	push @wrong, "$one->{name}: \"$is\", and a reservation" if $one->{kind} eq 'cashout' && $is =~ /^(|registered|token_issued)$/ && $redeemed{ $one->{name} };
}
is(join("\n", @wrong), '', 'what was told is true, what was cancelled left nothing');
nobody_is_stuck('at the end');
is(worker_pid(), $worker, 'the worker has lived through it all');
is($t->sql('select * from payout.hold'), '', 'nothing was set aside');
$_->end for @sessions, $desk;
$t->sound('at the end');
done_testing();
