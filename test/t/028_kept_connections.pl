# 028_kept_connections.pl: money on connections that are kept. They are used again; a request that finds its connection ended
# is in doubt, and never repeated unasked; no answer to another request is taken for its own.
use strict;
use warnings;
use lib 'test/t/lib';
use HTTP::Tiny ();
use IO::Select;
use IO::Socket::INET;
use PayoutTest;
use Test::More;
use Time::HiRes qw(sleep time);

my $t = PayoutTest->new(conf => [ 'log_min_messages = error' ], channel => {
	mode => 'single', request_timeout_ms => 20000, not_found_grace_s => 0, not_found_count => 1, in_flight_max => 4 });
$t->sql("insert into payout.retry_policy (lane, base_ms, max_ms, tries_max) values
	('check', 20, 50, 100000), ('dispatch', 20, 50, 1000), ('validate', 20, 50, 100000)");

# The front passes requests on to the bank over connections that it keeps, and notes "CONNECTION SERVICE REFERENCE". The file
# "fault" says what it does to the next transfer, unless that is the first request of its connection; it goes when that is done.
#   end_before   ends the connection, the bank not having heard of it
#   end_after    the same, the bank having done it
#   late         answers 3 s later
#   twice        answers, and a moment later again: a final refusal without any reference
my %service = ('access-token/b2b' => 73, 'account-inquiry-external' => 16, 'transfer-interbank' => 18, 'transfer/status' => 36);
my ($log, $fault) = map { "$t->{dir}/$_" } qw(front_log fault);
my %client;		# by file number: socket, number, requests, bytes
my @later;		# [when, client, bytes]
my $clients = 0;

sub note_down { open my $file, '>>', $log or die; syswrite $file, "@_\n"; close $file; }

sub pass_on
{
	my ($head, $body) = @_;
	my ($path) = $head =~ m{^POST /bank/v1\.0/(\S+)};
	my %header = map { lc($_->[0]) => $_->[1] } map { [ split /: /, $_, 2 ] } grep { !/^(post |host|content-length|connection|expect)/i } split /\r\n/, $head;
	my $reply = HTTP::Tiny->new->request('POST', $t->bank_url . "/v1.0/$path", { headers => \%header, content => $body });
	return answer($reply->{status}, $reply->{content});
}

sub answer { my ($status, $body) = @_; return "HTTP/1.1 $status X\r\nContent-Type: application/json\r\nContent-Length: " . length($body) . "\r\n\r\n$body"; }

sub leave { my ($client) = @_; delete $client{ fileno $client->{socket} }; close $client->{socket}; }

sub handle
{
	my ($client, $head, $body) = @_;
	my ($path) = $head =~ m{^POST /bank/v1\.0/(\S+)};
	my ($reference) = $body =~ /"(?:originalP|p)artnerReferenceNo":"(\w+)"/;
	my $number = $service{$path};
	my $kind = '';
	if ($number == 18 && $client->{requests}++ > 0 && -e $fault)
	{
		$kind = PayoutTest::slurp($fault);
	}
	note_down($client->{number}, $number, $reference || '-', $kind);
	unlink $fault if $kind;
	return leave($client) if $kind eq 'end_before';
	my $reply = pass_on($head, $body);
	return leave($client) if $kind eq 'end_after';
	return push @later, [ time + 3, $client, $reply ] if $kind eq 'late';
	syswrite $client->{socket}, $reply;
	push @later, [ time + 0.1, $client, answer(404, '{"responseCode":"4041811","responseMessage":"Invalid Account"}') ] if $kind eq 'twice';
}

sub serve
{
	my ($client) = @_;
	return leave($client) unless sysread $client->{socket}, $client->{bytes}, 65536, length $client->{bytes};
	while ($client->{bytes} =~ /^(.*?)\r\n\r\n/s)
	{
		my $head = $1;
		my ($size) = $head =~ /^content-length: (\d+)/mi;
		return if length $client->{bytes} < length($head) + 4 + $size;
		my $request = substr $client->{bytes}, 0, length($head) + 4 + $size, '';
		handle($client, $head, substr $request, length($head) + 4);
	}
}

my $listener = IO::Socket::INET->new(Listen => 64, LocalAddr => '127.0.0.1', Proto => 'tcp') or die "listen: $!";
PayoutTest::beside(sub {
	my ($goes_on) = @_;
	while ($goes_on->())
	{
		for my $ready (IO::Select->new($listener, map { $_->{socket} } values %client)->can_read(0.02))
		{
			if ($ready != $listener) { serve($client{ fileno $ready }) if $client{ fileno $ready }; next; }
			my $socket = $listener->accept or next;
			$client{ fileno $socket } = { socket => $socket, number => ++$clients, requests => 0, bytes => '' };
			note_down("connection $clients");
		}
		for my $due (grep { $_->[0] <= time } @later)
		{
			syswrite $due->[1]{socket}, $due->[2] if $due->[1]{socket}->opened;
			note_down("$due->[1]{number} sent what nobody waits for");
		}
		@later = grep { $_->[0] > time } @later;
	}
});
$t->sql("update payout.channel set base_url = 'http://127.0.0.1:" . $listener->sockport . "/bank'");

sub front_log { return -e $log ? PayoutTest::slurp($log) : ''; }
sub connections { return scalar grep { /^connection/ } split /\n/, front_log(); }
# The services that a reference was in, in their order.
sub heard { my ($txid) = @_; return join ' ', map { /^\d+ (\d+) \Q$txid\E / ? $1 : () } split /\n/, front_log(); }
sub wait_checked { my ($txid) = @_; $t->wait_sql("select account_check = 'matched' from payout.payout where txid = '$txid'"); }
sub first_outcome { my ($txid) = @_; return $t->sql("select a.outcome from payout.attempt a join payout.payout p using (channel_id, batch_id) where p.txid = '$txid' order by a.started_at limit 1"); }

# ---- Connections are used again, for money too
my @many = map { $t->register } 1 .. 40;
wait_checked($_) for @many;
my $before = connections();
$t->sql("select payout.approve('MERCHANT01', txid) from payout.payout where state = 'registered'");
$t->wait_state($_, 'paid') for @many;
is(join('', map { $t->times_paid($_) } @many), '1' x 40, '40 transfers: each is paid once');
cmp_ok(connections() - $before, '<=', 8, '40 transfers: few connections for them');
note connections() . ' connections';

# ---- What happens to a transfer on a kept connection. One place: so each connection is used in turn.
$t->sql(q(select payout.alter_channel('BANK1', '{"in_flight_max": 1}')));
# A transfer whose connection another one has used a moment ago; answers the TXIDs of both.
sub strike
{
	my ($kind) = @_;
	my $seen = () = front_log() =~ / $kind$/mg;
	my ($first, $second);
	my $ends = time + $PayoutTest::deadline_s;	# for some seconds after a doubt, each gets a connection of its own
	PayoutTest::write_file($fault, $kind);
	while (-e $fault)
	{
		die "$kind: no connection is used twice\n" if time > $ends;
		($first, $second) = map { $t->register } 1 .. 2;
		wait_checked($_) for $first, $second;
		$t->sql("select payout.approve('MERCHANT01', txid) from unnest('{$first,$second}'::text[]) txid");
		# On a slow machine the second may come too late for the first's connection.
		$t->wait_for("$kind: it has happened, or both are paid", sub { !-e $fault || $t->state($first) . $t->state($second) eq 'paidpaid' });
	}
	my $struck = (front_log() =~ /^\d+ 18 (\w+) $kind$/mg)[$seen];
	return ($struck, grep { $_ ne $struck } $first, $second);
}
sub sent_for_nobody { return scalar(() = front_log() =~ /sent what nobody waits for/g); }

for my $case ([ 'end_before', '18 36 18', 'sent again when the bank has said that it knows nothing of it' ], [ 'end_after', '18 36', 'asked for, and found paid' ])
{
	my ($kind, $services, $name) = @$case;
	for my $round (1 .. 3)
	{
		my ($struck, $other) = strike($kind);
		$t->wait_state($_, 'paid') for $struck, $other;
		is(first_outcome($struck), 'unknown', "$kind $round: in doubt");
		is(heard($struck) =~ s/^16 //r, $services, "$kind $round: $name");
		is($t->times_paid($struck) . $t->times_paid($other), '11', "$kind $round: paid once");
	}
}
like($t->sql("select string_agg(distinct excerpt, ';') from payout.attempt where lane = 'dispatch' and outcome = 'unknown'"), qr/not repeated/, 'libcurl was about to repeat some of them');

# ---- A second answer to one request is nobody's, whatever is asked next
for my $next ('transfer', 'account check')
{
	my $sent = sent_for_nobody();
	my $waiting = $t->register;
	wait_checked($waiting);
	my ($struck, $other) = strike('twice');
	$t->wait_state($_, 'paid') for $struck, $other;
	$t->wait_for("$next: the second answer was sent", sub { sent_for_nobody() > $sent });
	$waiting = $t->register if $next eq 'account check';
	$t->approve($waiting);
	$t->wait_for("$next: it ends", sub { $t->state($waiting) =~ /^(paid|failed)$/ });
	is($t->state($waiting), 'paid', "$next: the second answer to an earlier request is not taken for its own");
	is($t->times_paid($_), 1, "$next: paid once") for $struck, $other, $waiting;
}
is($t->sql("select count(*) from payout.attempt where response_code = '4041811'"), '0', 'nobody has read the second answers');

# ---- Nor is an answer that comes when we have given up: its connection is used no more
$t->sql(q(select payout.alter_channel('BANK1', '{"request_timeout_ms": 1000}')));
my $sent = sent_for_nobody();
my ($late, $other) = strike('late');
$t->wait_sql("select exists (select from payout.attempt join payout.payout p using (channel_id, batch_id) where p.txid = '$late' and outcome = 'unknown')");
$t->sql(q(select payout.alter_channel('BANK1', '{"request_timeout_ms": 20000}')));
$t->wait_state($_, 'paid') for $late, $other;
$t->wait_for('the late answer was sent', sub { sent_for_nobody() > $sent });
my ($number) = front_log() =~ /^(\d+) 18 $late late$/m;
is(scalar(grep { /^$number \d/ } split /\n/, (front_log() =~ s/.* late\n//sr)), 0, 'the connection of a request that was given up is used no more');
is($t->times_paid($late), 1, 'given up: paid once');

$t->sound('at the end');
done_testing();
