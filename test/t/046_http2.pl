# 046_http2.pl: banks that speak HTTP/2. Many requests share a connection; a stream that is refused or cut off is in doubt, and
# never repeated unasked; when the connection dies, all of its requests are in doubt; each payout is paid once.
use strict;
use warnings;
use lib 'test/t/lib';
use IPC::Run ();
use JSON::PP ();
use PayoutTest;
use Test::More;

my $t = PayoutTest->new(conf => [ 'log_min_messages = error' ], channel => {
	mode => 'single', in_flight_max => 8, not_found_grace_s => 0, not_found_count => 1, request_timeout_ms => 20000, connect_timeout_ms => 20000 });
$t->sql("insert into payout.retry_policy (lane, base_ms, max_ms, tries_max) values
	('check', 20, 50, 100000), ('dispatch', 20, 50, 1000), ('validate', 20, 50, 100000)");
my $dir = $t->{dir};
PostgreSQL::Test::Utils::system_or_bail('openssl', 'req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes', '-keyout', "$dir/tls.key", '-out', "$dir/tls.crt",
	'-subj', '/CN=bank', '-addext', 'subjectAltName=IP:127.0.0.1', '-days', '10');
my $ca = JSON::PP::encode_json({ ca_file => "$dir/tls.crt" });

sub approve_all { $t->sql("select payout.approve(merchant_id, txid) from payout.payout where state = 'registered'"); }

sub registered
{
	my ($count) = @_;
	my @txids = map { $t->register } 1 .. $count;
	$t->wait_sql("select not exists (select from payout.payout where account_check <> 'matched')");
	return @txids;
}

sub paid_once
{
	my ($name, @txids) = @_;
	$t->wait_sql("select bool_and(state = 'paid') from payout.payout where txid in (" . join(', ', map { "'$_'" } @txids) . ')');
	is(join('', map { $t->times_paid($_) } @txids), '1' x @txids, "$name: each is paid once");
	$t->sound($name);
}

# ---- A front of HTTP/2 before the bank
my $front_port = PostgreSQL::Test::Cluster::get_free_port();
my $log = "$dir/front_log";
my $front;

sub start_front
{
	my ($port) = $t->bank_url =~ /:(\d+)/;
	$front = IPC::Run::start([ 'nghttpx', '--workers=1', "--frontend=127.0.0.1,$front_port", "--backend=127.0.0.1,$port", "--accesslog-file=$log", '--accesslog-format=$alpn $remote_port $request',
		'--errorlog-file=/dev/null', '--conf=/dev/null', '--no-ocsp', "$dir/tls.key", "$dir/tls.crt" ], '<', \undef, '>', '/dev/null', '2>', '/dev/null', IPC::Run::timeout(3600));
	push @{ $t->{children} }, $front;
	$t->wait_for('the front listens', sub { IO::Socket::INET->new(PeerAddr => '127.0.0.1', PeerPort => $front_port) });
}

sub kill_front { $front->signal('KILL'); eval { $front->finish }; }

start_front();
# The path is signed as the bank sees it, which is as it was sent.
$t->sql("select payout.alter_channel('BANK1', '$ca'); update payout.channel set base_url = 'https://127.0.0.1:$front_port/bank'");
my @many = registered(60);
approve_all();
paid_once('60 transfers over HTTP/2', @many);
my @lines = split /\n/, PayoutTest::slurp($log);
my @transfers = grep { m{/transfer-interbank} } @lines;
is(scalar(@transfers), 60, 'each of them went through the front once');
is(scalar(grep { !/^h2 / } @lines), 0, 'all requests were of HTTP/2');
my %connections = map { (split / /)[1] => 1 } @transfers;
cmp_ok(scalar keys %connections, '<=', 8, 'on few connections');
note scalar(keys %connections) . ' connections';

# The connection dies under them
for my $after (0, 1)
{
	my $sent = $t->requests('18');
	my @txids = registered(20);
	$t->fault(service => '18', kind => 'hang', $after ? (after_booking => JSON::PP::true) : ());
	approve_all();
	$t->wait_for('eight hang', sub { $t->control('GET', 'hanging')->{count} == 8 });
	is($t->requests('18') - $sent, 8, 'as many as in_flight_max, though they share a connection');
	kill_front();
	$t->wait_sql("select count(*) >= 8 from payout.attempt join payout.payout p using (channel_id, batch_id) where outcome = 'unknown' and p.txid in (" . join(', ', map { "'$_'" } @txids) . ')');
	$t->clear_faults;
	start_front();
	paid_once($after ? 'it died behind the booking' : 'it died before the booking', @txids);
}

# ---- A server that refuses streams: its frames written by hand behind a TLS server, whose standard input and output are the
# connection's. It answers what it is asked, except transfers, of which it does the thing named.
my $hand_port = PostgreSQL::Test::Cluster::get_free_port();
my %hand = (in => '', out => '');
$hand{handle} = IPC::Run::start([ 'openssl', 's_server', '-accept', "127.0.0.1:$hand_port", '-quiet', '-alpn', 'h2', '-cert', "$dir/tls.crt", '-key', "$dir/tls.key" ],
	'<', \$hand{in}, '>', \$hand{out}, '2>', '/dev/null', IPC::Run::timeout(3600));
push @{ $t->{children} }, $hand{handle};
$t->wait_for('the server by hand listens', sub { IO::Socket::INET->new(PeerAddr => '127.0.0.1', PeerPort => $hand_port) });

my (%body, @heard, $deed);
my ($DATA, $HEADERS, $RST_STREAM, $SETTINGS, $PING, $GOAWAY) = (0, 1, 3, 4, 6, 7);
my ($END_STREAM, $ACK, $END_HEADERS) = (1, 1, 4);

sub frame { my ($type, $flags, $stream, $payload) = @_; $hand{in} .= substr(pack('N', length $payload), 1) . pack('CCN', $type, $flags, $stream) . $payload; }

# 200 and 404 stand in the static table of HPACK
sub respond
{
	my ($stream, $status, %answer) = @_;
	frame($HEADERS, $END_HEADERS, $stream, $status == 200 ? "\x88" : "\x8d");
	frame($DATA, $END_STREAM, $stream, JSON::PP::encode_json(\%answer));
}

sub handle
{
	my ($stream) = @_;
	my $body = delete $body{$stream};
	return respond($stream, 200, responseCode => '2007300', accessToken => 'a-token', expiresIn => '900') if $body =~ /grantType/;
	if ($body =~ /"originalPartnerReferenceNo":"(\w+)"/)
	{
		push @heard, [ 36, $1 ];
		return respond($stream, 404, responseCode => '4043601');
	}
	my ($reference) = $body =~ /"partnerReferenceNo":"(\w+)"/ or die $body;
	return respond($stream, 200, responseCode => '2001600', beneficiaryAccountName => 'BUDI SANTOSO') if $body !~ /"amount"/;
	push @heard, [ 18, $reference ];
	return respond($stream, 200, responseCode => '2001800', partnerReferenceNo => $reference) if !$deed;
	return frame($RST_STREAM, 0, $stream, pack('N', 7)) if $deed eq 'refuse';	# REFUSED_STREAM
	frame($GOAWAY, 0, 0, pack('NN', $stream - 2, 0));
}

# Reads what has arrived, a new connection's greeting included.
sub serve_frames
{
	$hand{handle}->pump_nb;
	while (1)
	{
		if ($hand{out} =~ s/^PRI \* HTTP\/2\.0\r\n\r\nSM\r\n\r\n//)
		{
			%body = ();
			frame($SETTINGS, 0, 0, '');
		}
		last if length $hand{out} < 9 || $hand{out} =~ /^PRI /;
		my $length = unpack 'N', "\0" . substr $hand{out}, 0, 3;
		last if length $hand{out} < 9 + $length;
		my ($type, $flags, $stream) = unpack 'x3 CCN', $hand{out};
		my $payload = substr(substr($hand{out}, 0, 9 + $length, ''), 9);
		frame($SETTINGS, $ACK, 0, '') if $type == $SETTINGS && !($flags & $ACK);
		frame($PING, $ACK, 0, $payload) if $type == $PING && !($flags & $ACK);
		$body{$stream} = '' if $type == $HEADERS;
		$body{$stream} .= $payload if $type == $DATA;
		handle($stream) if ($type == $DATA || $type == $HEADERS) && $flags & $END_STREAM;
	}
	$hand{handle}->pump_nb while length $hand{in};
}

$t->sql("select payout.alter_channel('BANK1', '{\"connect_timeout_ms\": 3000}'); update payout.channel set base_url = 'https://127.0.0.1:$hand_port/bank'");
for my $case ([ 'refuse', 'a stream that is refused' ], [ 'goaway', 'a stream that GOAWAY cuts off' ])
{
	my $txid = $t->register;
	my $name = $case->[1];
	$t->wait_for("$name: the account check", sub { serve_frames(); $t->sql("select account_check from payout.payout where txid = '$txid'") eq 'matched' });
	($deed, @heard) = ($case->[0]);
	$t->approve($txid);
	my $outcome = "from payout.attempt a join payout.payout p using (channel_id, batch_id) where p.txid = '$txid' and a.outcome is not null";
	$t->wait_for("$name: it ends", sub { serve_frames(); $t->sql("select count(*) $outcome") > 0 });
	is($t->sql("select outcome $outcome order by a.started_at limit 1"), 'unknown', "$name: in doubt");
	note $t->sql("select excerpt $outcome order by a.started_at limit 1");
	$deed = '';
	$t->wait_for("$name: it is paid", sub { serve_frames(); $t->state($txid) eq 'paid' });
	is(join(' ', map { $_->[0] } grep { $_->[1] eq $txid } @heard), '18 36 18', "$name: sent again when the bank has said that it knows nothing of it");
}
is($t->sql('select * from payout.verify()'), '', 'verify() is empty');
done_testing();
