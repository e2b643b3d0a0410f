# Doorway.pm: a door before a server: a process of its own that lets connections through, holds them, or lets none be made,
# and counts the bytes that came to it. So a test knows what has left the worker, and when: after a look all that had left by
# then is counted.
package Doorway;

use strict;
use warnings;
use Errno qw(EAGAIN EINPROGRESS EWOULDBLOCK);
use IO::Handle ();
use IO::Select;
use IO::Socket::INET;
use Socket qw(AF_UNIX SOCK_STREAM PF_UNSPEC);

# A door to a port of 127.0.0.1; port: where it is.
sub new
{
	my ($class, $target) = @_;
	my $listener = IO::Socket::INET->new(Listen => 128, LocalAddr => '127.0.0.1', Proto => 'tcp') or die "listen: $!";
	socketpair(my $ours, my $theirs, AF_UNIX, SOCK_STREAM, PF_UNSPEC) or die "socketpair: $!";
	my $self = bless { port => $listener->sockport, control => $ours, pid => fork, owner => $$ }, $class;
	if (!$self->{pid})
	{
		$SIG{PIPE} = 'IGNORE';
		close $ours;
		eval { serve($listener, $theirs, $target) };
		require POSIX;
		POSIX::_exit(0);
	}
	close $theirs;
	$ours->autoflush(1);
	return $self;
}

# One of: pass; hold (connections are made, nothing goes through); shut (none can be made); cut (all there are end); bytes (the
# number of bytes that have come so far). Answers when it is so.
sub say
{
	my ($self, $word) = @_;
	my $control = $self->{control};
	print $control "$word\n";
	my $answer = <$control>;
	chomp $answer;
	return $answer;
}

sub DESTROY
{
	my $self = shift;
	return if $$ != $self->{owner};
	local $?;
	kill 'KILL', $self->{pid};
	waitpid $self->{pid}, 0;
}

# ---- the process of the door

sub serve
{
	my ($listener, $control, $target) = @_;
	my %door = (listener => $listener, target => $target, mode => 'pass', bytes => 0, peer => {}, waiting => {}, client => {}, guests => [], select => IO::Select->new($listener, $control));
	$listener->blocking(0);
	$control->autoflush(1);
	while (1)
	{
		for my $ready ($door{select}->can_read(10))
		{
			if ($ready != $control) { look_at(\%door, $ready); next; }
			my $word = <$control>;
			return if !defined $word;
			chomp $word;
			print $control obey(\%door, $word), "\n";
		}
	}
}

sub obey
{
	my ($door, $word) = @_;
	if ($word eq 'bytes' || $word eq 'cut')
	{
		my @rest;
		do { @rest = grep { $_ == $door->{listener} || exists $door->{peer}{$_} } $door->{select}->can_read(0); look_at($door, $_) for @rest } while @rest;
		return $door->{bytes} if $word eq 'bytes';
		end($door, $_) for map { $_->[0] } values %{ $door->{client} };
		return 'done';
	}
	$door->{mode} = $word;
	if ($word eq 'shut')
	{
		# Nobody is let in, and guests of our own fill the queue before the door.
		$door->{select}->remove($door->{listener});
		listen $door->{listener}, 0;
		push @{ $door->{guests} }, map { IO::Socket::INET->new(PeerAddr => '127.0.0.1', PeerPort => $door->{listener}->sockport, Proto => 'tcp', Blocking => 0) } 1 .. 3;
		select undef, undef, undef, 0.05;
	}
	else
	{
		listen $door->{listener}, 128;
		$door->{guests} = [];
		$door->{select}->add($door->{listener}) unless $door->{select}->exists($door->{listener});
	}
	forward($door, $_) for $word eq 'pass' ? map { $_->[0] } values %{ $door->{client} } : ();
	return 'done';
}

sub look_at
{
	my ($door, $from) = @_;
	if ($from == $door->{listener})
	{
		my $client = $door->{listener}->accept or return;
		my $server = IO::Socket::INET->new(PeerAddr => '127.0.0.1', PeerPort => $door->{target}, Proto => 'tcp') or return;
		$_->blocking(0) for $client, $server;
		$door->{peer}{$client} = $server;
		$door->{peer}{$server} = $client;
		$door->{client}{$client} = [$client];
		$door->{waiting}{$client} = '';
		$door->{select}->add($client, $server);
		return;
	}
	return if !$door->{peer}{$from};
	my $data;
	my $read = sysread $from, $data, 65536;
	return if !defined $read && ($! == EAGAIN || $! == EWOULDBLOCK);
	return end($door, $from) if !$read;
	if ($door->{client}{$from})
	{
		$door->{bytes} += $read;
		$door->{waiting}{$from} .= $data;
		forward($door, $from) if $door->{mode} eq 'pass';
		return;
	}
	write_all($door->{peer}{$from}, $data);
}

sub forward
{
	my ($door, $client) = @_;
	write_all($door->{peer}{$client}, $door->{waiting}{$client}) if length $door->{waiting}{$client};
	$door->{waiting}{$client} = '';
}

sub write_all
{
	my ($to, $data) = @_;
	while (length $data)
	{
		my $written = syswrite $to, $data;
		if (!defined $written) { return if $! != EAGAIN && $! != EWOULDBLOCK; IO::Select->new($to)->can_write(1); next; }
		substr($data, 0, $written) = '';
	}
}

sub end
{
	my ($door, $one) = @_;
	my $other = delete $door->{peer}{$one};
	for my $socket (grep { defined } $one, $other)
	{
		delete $door->{peer}{$socket};
		delete $door->{client}{$socket};
		delete $door->{waiting}{$socket};
		$door->{select}->remove($socket);
		close $socket;
	}
}

1;
