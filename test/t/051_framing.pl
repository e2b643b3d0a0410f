# 051_framing.pl: where an answer ends. One whose head can be read in two ways, or behind which more bytes come, is in doubt,
# and its connection is used no more; bytes that are there before a request keep it from being sent. Honest answers of every
# plain form are believed. Whatever happens, each payout is paid once.
use strict;
use warnings;
use lib 'test/t/lib';
use HTTP::Tiny ();
use IO::Select;
use IO::Socket::INET;
use IPC::Run ();
use JSON::PP ();
use PayoutTest;
use Socket qw(IPPROTO_TCP TCP_NODELAY);
use Test::More;
use Time::HiRes qw(sleep time);

my $t = PayoutTest->new(conf => [ 'log_min_messages = error' ], channel => {
	mode => 'single', request_timeout_ms => 20000, not_found_grace_s => 0, not_found_count => 1, in_flight_max => 4 });
$t->sql("insert into payout.retry_policy (lane, base_ms, max_ms, tries_max) values
	('check', 20, 50, 100000), ('dispatch', 20, 50, 1000), ('validate', 20, 50, 100000)");

# What the front makes of the bank's status and body: CODE gives the bytes of the whole answer. (The size of the body stands for
# %d.) "plain" is what it makes of all others.
sub headed { my ($head, $status, $body) = @_; my $size = length $body; $head =~ s/%d/$size/g; $head =~ s/\n/\r\n/g; return "HTTP/1.1 $status X\r\n$head\r\n\r\n$body"; }
sub chunked { my ($body) = @_; return sprintf("%x\r\n%s\r\n0\r\n\r\n", length $body, $body); }
my $second = '{"responseCode":"4041811","responseMessage":"Invalid Account"}';
my $refusal = "HTTP/1.1 404 X\r\nContent-Length: " . length($second) . "\r\n\r\n$second";
my %form = (
	plain => sub { headed("Content-Type: application/json\nContent-Length: %d", @_) },
	# believed
	'LF alone' => sub { my $raw = headed("Content-Length: %d", @_); $raw =~ s/\r\n/\n/g; $raw },
	'chunks' => sub { my ($status, $body) = @_; headed('Transfer-Encoding: chunked', $status, '') . chunked($body) },
	'chunks and a trailer' => sub { my ($status, $body) = @_; headed('Transfer-Encoding: Chunked', $status, '') . (chunked($body) =~ s/\r\n\z/X-Sum: 1\r\n\r\n/r) },
	'until the end' => sub { headed('Connection: close', @_) },
	'interim answers before it' => sub { "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Hints\r\nLink: a\r\n\r\n" . headed('Content-Length: %d', @_) },
	'chunks with extensions' => sub { my ($status, $body) = @_; headed('Transfer-Encoding: chunked', $status, '') . (chunked($body) =~ s/\r\n/ ;a=b\r\n/r) },
	'an encoding that is none' => sub { headed("Content-Encoding: identity\nContent-Length: %d", @_) },
	# in doubt
	'two lengths' => sub { headed("Content-Length: 20\nContent-Length: %d", @_) },
	'two equal lengths' => sub { headed("Content-Length: %d\nX-A: 1\ncontent-length: %d", @_) },
	'a list of lengths' => sub { headed('Content-Length: %d, %d', @_) },
	'a length with a sign' => sub { headed('Content-Length: +%d', @_) },
	'a blank before the colon' => sub { headed('Content-Length : %d', @_) },
	'a folded line' => sub { headed("X-A: 1\n more\nContent-Length: %d", @_) },
	'a folded length' => sub { headed("X-A: 1\n\tContent-Length: 9\nContent-Length: %d", @_) },
	'chunks and a length' => sub { my ($status, $body) = @_; headed("Transfer-Encoding: chunked\nContent-Length: 4", $status, '') . chunked($body) },
	'a length and chunks' => sub { my ($status, $body) = @_; headed("Content-Length: 400\nTransfer-Encoding: chunked", $status, '') . chunked($body) },
	'chunks twice' => sub { my ($status, $body) = @_; headed("Transfer-Encoding: chunked\nTransfer-Encoding: chunked", $status, '') . chunked($body) },
	'another encoding' => sub { headed("Transfer-Encoding: identity\nContent-Length: %d", @_) },
	'another encoding before chunks' => sub { my ($status, $body) = @_; headed('Transfer-Encoding: gzip, chunked', $status, '') . chunked($body) },
	'a line without a name' => sub { headed("nothing\nContent-Length: %d", @_) },
	'a status line of its own making' => sub { headed('Content-Length: %d', @_) =~ s/200/2001800/r },
	'a line before the status line' => sub { "\r\n" . headed('Content-Length: %d', @_) },
	'a header before the status line' => sub { "Content-Length: 3\r\n" . headed('Content-Length: %d', @_) },
	'two lengths behind an interim answer' => sub { "HTTP/1.1 100 Continue\r\n\r\n" . headed("Content-Length: %d\nContent-Length: %d", @_) },
	'a length of an interim answer' => sub { my ($status, $body) = @_; "HTTP/1.1 100 Continue\r\nContent-Length: " . length($body) . "\r\n\r\n" . headed('Connection: close', $status, "$body") },
	'no length of an interim answer' => sub { "HTTP/1.1 103 Hints\r\nContent-Length: 0\r\n\r\n" . headed('Content-Length: %d', @_) },
	'chunks of an interim answer' => sub { "HTTP/1.1 103 Hints\r\nTransfer-Encoding: chunked\r\n\r\n" . headed('Content-Length: %d', @_) },
	(map { my ($name, $wrong) = @$_; ("a chunk's size $name" => sub { my ($status, $body) = @_; headed('Transfer-Encoding: chunked', $status, '') . (chunked($body) =~ s/^(\w+)\r\n/$wrong->($1)/er) }) }
		[ 'with a letter behind it', sub { "$_[0]g\r\n" } ], [ 'with another number behind it', sub { "$_[0] $_[0]\r\n" } ], [ 'with a sign', sub { "+$_[0]\r\n" } ], [ 'that ends in LF', sub { "$_[0]\n" } ]),
	'a chunk that ends in LF' => sub { my ($status, $body) = @_; headed('Transfer-Encoding: chunked', $status, '') . (chunked($body) =~ s/\r\n0\r/\n0\r/r) },
	'a length in the trailer' => sub { my ($status, $body) = @_; headed('Transfer-Encoding: chunked', $status, '') . (chunked($body) =~ s/\r\n\z/Content-Length: 1\r\n\r\n/r) },
	'plain text that is called gzip' => sub { headed("Content-Encoding: gzip\nContent-Length: %d", @_) },
	'two encodings of the content' => sub { headed("Content-Encoding: identity\ncontent-encoding: deflate\nContent-Length: %d", @_) },
	# more comes behind it
	'a second answer' => sub { headed('Content-Length: %d', @_) . $refusal },
	'a refusal, then the answer' => sub { $refusal . headed('Content-Length: %d', @_) },
	'a byte' => sub { headed('Content-Length: %d', @_) . "\n" },
	'a second answer behind chunks' => sub { my ($status, $body) = @_; headed('Transfer-Encoding: chunked', $status, '') . chunked($body) . $refusal },
	'a body behind none' => sub { headed('Content-Length: 0', @_) },
	'what a length cuts off' => sub { my ($status, $body) = @_; headed("Content-Length: " . length($body), $status, "$body $body") });

# The front keeps connections and notes "CONNECTION SERVICE REFERENCE". Of a transfer's answer it makes the form that the file
# "form" names; that file goes when it is done.
my %service = ('access-token/b2b' => 73, 'account-inquiry-external' => 16, 'transfer-interbank' => 18, 'transfer/status' => 36);
my ($log, $wanted, $early) = map { "$t->{dir}/$_" } qw(front_log form early);
my %client;
my $clients = 0;

sub note_down { open my $file, '>>', $log or die; syswrite $file, "@_\n"; close $file; }
sub leave { my ($client) = @_; delete $client{ fileno $client->{socket} }; close $client->{socket}; }

sub handle
{
	my ($client, $head, $body) = @_;
	my ($path) = $head =~ m{^POST /bank/v1\.0/(\S+)};
	my ($reference) = $body =~ /"(?:originalP|p)artnerReferenceNo":"(\w+)"/;
	my $form = $service{$path} == 18 && -e $wanted ? PayoutTest::slurp($wanted) : 'plain';
	note_down($client->{number}, $service{$path}, $reference || '-');
	my %header = map { lc($_->[0]) => $_->[1] } map { [ split /: /, $_, 2 ] } grep { !/^(post |host|content-length|connection|expect)/i } split /\r\n/, $head;
	my $reply = HTTP::Tiny->new->request('POST', $t->bank_url . "/v1.0/$path", { headers => \%header, content => $body });
	syswrite $client->{socket}, $form{$form}->($reply->{status}, $reply->{content});
	unlink $wanted if $form ne 'plain';
	leave($client) if $form eq 'until the end' || -e $early;
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

# An answer that nobody has asked for: it speaks of another transfer, for the case that it is read.
my $unasked = '{"responseCode":"2001800","partnerReferenceNo":"X"}';
my $unasked_answer = "HTTP/1.1 200 X\r\nContent-Length: " . length($unasked) . "\r\n\r\n$unasked";

my $listener = IO::Socket::INET->new(Listen => 64, LocalAddr => '127.0.0.1', Proto => 'tcp') or die "listen: $!";
PayoutTest::beside(sub {
	my ($goes_on) = @_;
	while ($goes_on->())
	{
		for my $ready (IO::Select->new($listener, map { $_->{socket} } values %client)->can_read(0.02))
		{
			if ($ready != $listener) { serve($client{ fileno $ready }) if $client{ fileno $ready }; next; }
			my $socket = $listener->accept or next;
			syswrite $socket, $unasked_answer if -e $early;
			$client{ fileno $socket } = { socket => $socket, number => ++$clients, bytes => '' };
		}
	}
});
my $front_url = 'http://127.0.0.1:' . $listener->sockport . '/bank';
$t->sql("update payout.channel set base_url = '$front_url'");

sub front_log { return -e $log ? split(/\n/, PayoutTest::slurp($log)) : (); }
sub checked
{
	my $txid = $t->register;
	$t->wait_sql("select account_check = 'matched' from payout.payout where txid = '$txid'");
	return $txid;
}
sub first_of { my ($txid) = @_; return "from payout.attempt join payout.payout p using (channel_id, batch_id) where p.txid = '$txid' and outcome is not null"; }

# A transfer that is answered so; its TXID, when it has ended.
sub answered_so
{
	my ($form) = @_;
	my $txid = checked();
	PayoutTest::write_file($wanted, $form);
	$t->approve($txid);
	my $first = first_of($txid);
	$t->wait_sql("select count(*) > 0 $first");
	$t->wait_state($txid, 'paid');
	is($t->times_paid($txid), 1, "$form: paid once");
	return ($txid, $t->sql("select outcome || ' ' || coalesce(excerpt, '') $first order by started_at limit 1"));
}

for my $form ('LF alone', 'chunks', 'chunks and a trailer', 'chunks with extensions', 'an encoding that is none', 'until the end', 'interim answers before it')
{
	my ($txid, $end) = answered_so($form);
	like($end, qr/^yes/, "$form: believed");
}
my @behind = ('a second answer', 'a refusal, then the answer', 'a byte', 'a second answer behind chunks', 'a body behind none', 'what a length cuts off');
my %is_plain = map { $_ => 1 } 'plain', 'LF alone', 'chunks', 'chunks and a trailer', 'chunks with extensions', 'an encoding that is none', 'until the end', 'interim answers before it', @behind;
for my $form (sort(grep { !$is_plain{$_} } keys %form), @behind)
{
	my ($txid, $end) = answered_so($form);
	like($end, qr/^unknown \S/, "$form: in doubt");
	note "$form: $end";
	my @lines = front_log();
	my ($place) = grep { $lines[$_] =~ / 18 \Q$txid\E$/ } 0 .. $#lines;
	my ($number) = $lines[$place] =~ /^(\d+) /;
	is(scalar(grep { /^$number / } @lines[ $place + 1 .. $#lines ]), 0, "$form: its connection is used no more");
}
is($t->sql("select count(*) from payout.attempt where lane = 'dispatch' and response_code = '4041811'"), '0', 'nothing that came beside an answer was read');
is($t->sql("select count(*) from payout.attempt where lane = 'dispatch' and outcome = 'unknown' and excerpt like 'bytes came behind%'"), scalar @behind, 'the excerpt tells of bytes behind an answer');

# ---- A server that answers at accept, before it was asked. Whether its bytes are there in time is a matter of luck; if they are
# not, they are read as an answer, which names another transfer. Either way nothing of it is believed.
my $txid = checked();
PayoutTest::write_file($early, '');
$t->approve($txid);
$t->wait_for('bytes wait in a new connection', sub { $t->sql("select count(*) from payout.attempt where outcome = 'not_sent' and excerpt like '%nobody asked for%'") > 0 });
is($t->sql("select count(*) from payout.attempt where outcome = 'yes' and lane <> 'validate' and started_at > (select approved_at from payout.payout where txid = '$txid')"), '0', 'nothing is believed that was said before it was asked');
unlink $early;
$t->wait_state($txid, 'paid');
is($t->times_paid($txid), 1, 'answered at accept: paid once');

# ---- The same over TLS, where the handshake's own end comes before it. What the server sends is held back a moment, so that the
# end of the handshake and the unasked answer come in one piece.
my $dir = $t->{dir};
PostgreSQL::Test::Utils::system_or_bail('openssl', 'req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes', '-keyout', "$dir/tls.key", '-out', "$dir/tls.crt",
	'-subj', '/CN=bank', '-addext', 'subjectAltName=IP:127.0.0.1', '-days', '10');

sub start_tls
{
	my ($version) = @_;
	my %server = (port => PostgreSQL::Test::Cluster::get_free_port(), in => '', out => '');
	$server{handle} = IPC::Run::start([ 'openssl', 's_server', '-accept', "127.0.0.1:$server{port}", '-quiet', $version, '-cert', "$dir/tls.crt", '-key', "$dir/tls.key" ],
		'<', \$server{in}, '>', \$server{out}, '2>', '/dev/null', IPC::Run::timeout(3600));
	push @{ $t->{children} }, $server{handle};
	$t->wait_for('the TLS server listens', sub { IO::Socket::INET->new(PeerAddr => '127.0.0.1', PeerPort => $server{port}) });
	return \%server;
}

# Holds back what comes from the server at this port.
sub start_holder
{
	my ($port) = @_;
	my $holder = IO::Socket::INET->new(Listen => 8, LocalAddr => '127.0.0.1', Proto => 'tcp') or die "listen: $!";
	PayoutTest::beside(sub {
		my ($goes_on) = @_;
		while ($goes_on->())
		{
			next unless IO::Select->new($holder)->can_read(1);
			my $client = $holder->accept or next;
			my $server = IO::Socket::INET->new(PeerAddr => '127.0.0.1', PeerPort => $port) or next;
			my ($held, $due) = ('', 0);
			PAIR: while ($goes_on->())
			{
				for my $ready (IO::Select->new($client, $server)->can_read(0.02))
				{
					my $bytes = '';
					last PAIR unless sysread $ready, $bytes, 65536;
					if ($ready == $client) { syswrite $server, $bytes; next; }
					$due = time + 0.3 if $held eq '';
					$held .= $bytes;
				}
				if ($held ne '' && time > $due) { syswrite $client, $held; $held = ''; }
			}
			close $_ for $client, $server;
		}
	});
	my $own = $holder->sockport;
	close $holder;
	return $own;
}

for my $version ('-tls1_2', '-tls1_3')
{
	my $server = start_tls($version);
	my $port = start_holder($server->{port});
	my $id = $version =~ s/\W//r;
	$server->{in} = $unasked_answer if $version eq '-tls1_2';
	my $json = JSON::PP::encode_json({ client_id => 'C', partner_id => 'P', channel_header => '1', source_account_no => '1', ca_file => "$dir/tls.crt" });
	my $bank = uc($id =~ s/_//r);
	$t->sql("select payout.create_channel('$id', 'snap', 'https://127.0.0.1:$port', '$json'), payout.create_bank('$bank', 'Bank', '$id');" . $t->secret_sql("channel:$id", 'private_key', PayoutTest::slurp("$t->{dir}/ours.pem"))
		. $t->secret_sql("channel:$id", 'client_secret', 'c') . "select payout.register('MERCHANT02', '$id', 10000, '$bank', '8800000001', 'Budi Santoso')");
	if ($version eq '-tls1_2')
	{
		# The unasked bytes go out with each new connection of the server's, which has one at a time.
		$t->wait_for("$version: nothing is sent", sub {
			$server->{in} = $unasked_answer if $server->{in} eq '';
			$server->{handle}->pump_nb;
			$t->sql("select count(*) from payout.attempt where channel_id = '$id' and outcome = 'not_sent' and excerpt like '%nobody asked for%'") > 0 });
		is($server->{out}, '', "$version: the server has received nothing");
	}
	else
	{
		# Tickets that come behind the handshake are no answer.
		$t->wait_for("$version: the request arrives", sub { $server->{handle}->pump_nb; $server->{out} =~ m{^POST /v1\.0/access-token/b2b HTTP/1\.1} });
		is($t->sql("select count(*) from payout.attempt where channel_id = '$id' and excerpt like '%nobody asked for%'"), '0', "$version: tickets are no answer");
	}
}
$t->sound('at the end');
done_testing();
