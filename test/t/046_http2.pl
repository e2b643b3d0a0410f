# 046_http2.pl: servers that speak HTTP/2. A bank gets HTTP/1.1, so that no request waits where no check can stop it; webhooks
# share connections of HTTP/2, and come through streams that are refused or cut off and connections that die.
use strict;
use warnings;
use lib 'test/t/lib';
use Cwd qw(abs_path);
use IPC::Run ();
use JSON::PP ();
use PayoutTest;
use Test::More;

my $t = PayoutTest->new(conf => [ 'log_min_messages = error' ], merchant => { notify_events => ['payout.rejected'] }, channel => {
	mode => 'single', in_flight_max => 8, not_found_grace_s => 0, not_found_count => 1, request_timeout_ms => 20000, connect_timeout_ms => 20000 });
$t->sql("insert into payout.retry_policy (lane, base_ms, max_ms, tries_max) values
	('check', 20, 50, 100000), ('dispatch', 20, 50, 1000), ('validate', 20, 50, 100000), ('notify', 20, 50, 100000)");
my $dir = $t->{dir};
PostgreSQL::Test::Utils::system_or_bail('openssl', 'req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes', '-keyout', "$dir/tls.key", '-out', "$dir/tls.crt",
	'-subj', '/CN=bank', '-addext', 'subjectAltName=IP:127.0.0.1', '-days', '10');
my $ca = JSON::PP::encode_json({ ca_file => "$dir/tls.crt" });

# The system trusts the same certificate: banks without a file of their own and merchants look for it there.
mkdir "$dir/certs" or die $!;
chomp(my $hash = `openssl x509 -hash -noout -in $dir/tls.crt`);
PayoutTest::write_file($_, PayoutTest::slurp("$dir/tls.crt")) for "$dir/certs/ca-certificates.crt", "$dir/certs/$hash.0";
$t->{node}->stop;
{
	local %ENV = (%ENV, LD_PRELOAD => abs_path('test/sandbox/world.so'), WORLD_DIR => $dir);
	$t->{node}->start;
}
$t->wait_sql('select exists (select from payout.incarnation where ended_at is null)');

# Registered and rejected: the merchant is told.
sub told
{
	my ($count) = @_;
	return map { my $txid = $t->register; $t->sql("select payout.reject('MERCHANT01', '$txid', 'a test')"); $txid } 1 .. $count;
}
sub delivered { $t->wait_sql('select not exists (select from payout.notification where delivered_at is null)'); }

# ---- A front of HTTP/2 before the bank and the merchants
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
sub requests_at { my ($path) = @_; return grep { m{$path} } split /\n/, PayoutTest::slurp($log); }

start_front();
my $deliver = "select payout.alter_merchant('MERCHANT01', '{\"notify_url\": \"https://127.0.0.1:%d/merchant/MERCHANT01\"}')";
$t->sql(sprintf $deliver, $front_port);
# The path is signed as the bank sees it, which is as it was sent. With authorities of its own, and with the system's: then the
# merchants' connections of HTTP/2 to the same place differ in nothing else. (A message may take the bank's kind of connection.)
$t->sql("update payout.channel set base_url = 'https://127.0.0.1:$front_port/bank'");
for my $options ($ca, '{"ca_file": null}')
{
	$t->sql("select payout.alter_channel('BANK1', '$options')");
	my @txids = map { $t->register } 1 .. 20;
	told(1);
	$t->wait_sql("select not exists (select from payout.payout where account_check <> 'matched' and state <> 'rejected')");
	$t->sql("select payout.approve(merchant_id, txid) from payout.payout where state = 'registered'");
	told(1) for 1 .. 10;
	delivered();
	is(scalar(grep { !/^h2 / } requests_at('/merchant/')), 0, 'a merchant that offers HTTP/2 gets it') if $options eq $ca;
	$t->wait_state($_, 'paid') for @txids;
	is(join('', map { $t->times_paid($_) } @txids), '1' x @txids, "$options: each is paid once");
}
delivered();
is(scalar(requests_at('/transfer-interbank')), 40, 'each transfer went through the front once');
is(scalar(grep { !m{^http/1\.1 } } requests_at('/bank/')), 0, 'a bank that offers HTTP/2 gets HTTP/1.1');
cmp_ok(scalar(grep { /^h2 / } requests_at('/merchant/')), '>', 0, 'though merchants have connections of HTTP/2 to the same place');
$t->sql("update payout.channel set base_url = '" . $t->bank_url . "'");

# Many messages share a connection, which dies under them
my @many = told(40);
delivered();
my %connections = map { (split / /)[1] => 1 } requests_at('/merchant/');
cmp_ok(scalar keys %connections, '<=', 12, 'messages share connections');
note scalar(keys %connections) . ' connections';
$t->fault(service => 'webhook', kind => 'hang');
told(8);
$t->wait_for('some hang', sub { $t->control('GET', 'hanging')->{count} > 0 });
kill_front();
$t->wait_sql("select count(*) > 0 from payout.notification where delivered_at is null and error <> ''");
$t->clear_faults;
start_front();
delivered();
$t->sound('the connection died');

# ---- A server that refuses streams: its frames written by hand behind a TLS server, whose standard input and output are the
# connection's. It takes each message, except that it does the thing named to the first of a payout.
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

# 200 stands in the static table of HPACK
sub handle
{
	my ($stream) = @_;
	my ($txid) = delete($body{$stream}) =~ /"txid" ?: ?"(\w+)"/ or die 'no message';
	push @heard, $txid;
	return frame($HEADERS, $END_HEADERS | $END_STREAM, $stream, "\x88") if !$deed;
	my $done = $deed;
	$deed = '';
	return frame($RST_STREAM, 0, $stream, pack('N', 7)) if $done eq 'refuse';	# REFUSED_STREAM
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

$t->sql(sprintf $deliver, $hand_port);
for my $case ([ 'refuse', 'a stream that is refused' ], [ 'goaway', 'a stream that GOAWAY cuts off' ])
{
	my $name = $case->[1];
	($deed, @heard) = ($case->[0]);
	my ($txid) = told(1);
	$t->wait_for("$name: the message is delivered", sub { serve_frames(); $t->sql("select count(*) from payout.notification where txid = '$txid' and delivered_at is not null") == 1 });
	cmp_ok(scalar(grep { $_ eq $txid } @heard), '>=', 2, "$name: it came again");
}
is($t->sql('select * from payout.verify()'), '', 'verify() is empty');
done_testing();
