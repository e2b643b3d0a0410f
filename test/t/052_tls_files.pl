# 052_tls_files.pl: the files that a channel names for TLS count as they are at each request: an authority that is taken out is
# trusted no more, not even on a connection that is kept; one that is put in is trusted at once. What is no plain file neither
# hangs nor harms the worker: nothing is sent, and the attempt says why.
use strict;
use warnings;
use lib 'test/t/lib';
use IO::Socket::INET;
use IPC::Run ();
use JSON::PP ();
use POSIX ();
use PayoutTest;
use Test::More;

my $t = PayoutTest->new(conf => [ 'log_min_messages = error' ], channel => { mode => 'single' });
$t->sql("insert into payout.retry_policy (lane, base_ms, max_ms, tries_max) values ('check', 20, 50, 100000), ('dispatch', 20, 50, 1000), ('validate', 20, 50, 100000)");
my $dir = PostgreSQL::Test::Utils::tempdir();
my $write = \&PayoutTest::write_file;

sub openssl
{
	my ($out, $err) = ('', '');
	IPC::Run::run([ 'openssl', @_ ], '<', \undef, '>', \$out, '2>', \$err) or BAIL_OUT("openssl @_: $err");
	return $out;
}

my @curve = ('-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes');
for my $authority (qw(one two clients))
{
	openssl('req', '-x509', @curve, '-keyout', "$dir/$authority.key", '-out', "$dir/$authority.crt", '-subj', "/CN=$authority", '-days', '10');
}
for my $case ([ 'bank', 'one' ], [ 'newbank', 'two' ], [ 'we', 'clients' ], [ 'stranger', 'two' ])
{
	my ($name, $authority) = @$case;
	openssl('req', '-new', @curve, '-keyout', "$dir/$name.key", '-out', "$dir/$name.csr", '-subj', "/CN=$name");
	$write->("$dir/$name.ext", "subjectAltName=IP:127.0.0.1\n");
	openssl('x509', '-req', '-in', "$dir/$name.csr", '-CA', "$dir/$authority.crt", '-CAkey', "$dir/$authority.key", '-CAcreateserial', '-days', '10', '-extfile', "$dir/$name.ext", '-out', "$dir/$name.crt");
}
my %pem = map { $_ => PayoutTest::slurp("$dir/$_.crt") . ($_ =~ /^(one|two|clients)$/ ? '' : PayoutTest::slurp("$dir/$_.key")) } qw(one two we stranger);

# Servers whose standard input and output are the connection's.
my (%server, %answers);
%answers = ('/access-token/b2b' => { responseCode => '2007300', accessToken => 'a-token', expiresIn => '900' }, '/account-inquiry-external' => { responseCode => '2001600', beneficiaryAccountNo => '8800000001', beneficiaryAccountName => 'BUDI SANTOSO' });

sub start_tls
{
	my ($id, $certificate, $port, @options) = @_;
	my %new = (port => $port, in => '', out => '', requests => 0);
	$new{handle} = IPC::Run::start([ 'openssl', 's_server', '-accept', "127.0.0.1:$port", '-quiet', '-cert', "$dir/$certificate.crt", '-key', "$dir/$certificate.key", @options ],
		'<', \$new{in}, '>', \$new{out}, '2>', '/dev/null', IPC::Run::timeout(3600));
	push @{ $t->{children} }, $new{handle};
	$server{$id} = \%new;
	$t->wait_for('a TLS server starts', sub { IO::Socket::INET->new(PeerAddr => '127.0.0.1', PeerPort => $port) });
}

# Answers each whole request that has arrived.
sub serve
{
	for my $server (values %server)
	{
		$server->{handle}->pump_nb;
		while ($server->{out} =~ s/^(POST (\S+) HTTP.*?\r\n\r\n)//s)
		{
			my ($head, $path) = ($1, $2);
			my ($length) = $head =~ /^content-length: (\d+)/mi;
			$server->{handle}->pump while length $server->{out} < $length;
			substr($server->{out}, 0, $length) = '';
			$server->{requests}++;
			my ($answer) = map { JSON::PP::encode_json($answers{$_}) } grep { $path =~ /\Q$_\E$/ } keys %answers;
			$server->{in} .= "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: " . length($answer) . "\r\n\r\n$answer";
			$server->{handle}->pump_nb;
		}
	}
}

sub create
{
	my ($id, $port, %option) = @_;
	my $json = JSON::PP::encode_json({ client_id => 'C', partner_id => 'P', channel_header => '1', source_account_no => '1', %option });
	$t->sql("begin; select payout.create_channel('$id', 'snap', 'https://127.0.0.1:$port', '$json'), payout.create_bank('$id', '$id', '$id');" . $t->secret_sql("channel:$id", 'private_key', PayoutTest::slurp("$t->{dir}/ours.pem"))
		. $t->secret_sql("channel:$id", 'client_secret', 'c') . 'commit');
}

sub register { my ($bank) = @_; return $t->sql("select txid from payout.register('MERCHANT01', payout.new_external_id(), 10000, '$bank', '8800000001', 'Budi Santoso')"); }

sub accepted
{
	my ($name, $bank, $txid) = @_;
	$txid ||= register($bank);
	$t->wait_for($name, sub { serve(); $t->sql("select account_check from payout.payout where txid = '$txid'") eq 'matched' });
	is($t->sql("select account_check from payout.payout where txid = '$txid'"), 'matched', "accepted: $name");
	return $txid;
}

# Answers the TXID, which is asked for again and again.
sub refused
{
	my ($name, $bank, $why) = @_;
	my $before = $server{$bank}{requests};
	my $txid = register($bank);
	my $mine = "from payout.attempt where txid = '$txid' and outcome is not null";
	$t->wait_for($name, sub { serve(); $t->sql("select count(*) $mine") >= 2 });
	is($t->sql("select string_agg(distinct outcome, ' ') $mine"), 'not_sent', "refused: $name");
	like($t->sql("select excerpt $mine order by started_at desc limit 1"), $why, "$name: the attempt says why");
	is($server{$bank}{requests}, $before, "$name: the server has received nothing");
	return $txid;
}

my $verify = qr/certificate|SSL/i;

# ---- Authorities
my $port = PostgreSQL::Test::Cluster::get_free_port();
my $trusted = "$dir/trusted.crt";
$write->($trusted, $pem{one});
start_tls('BANKA', 'bank', $port);
create('BANKA', $port, ca_file => $trusted);
accepted('the authority is in the file', 'BANKA');
accepted('and again, perhaps on the connection that is kept', 'BANKA');
$write->($trusted, $pem{two});
my $waiting = refused('another one is written over it, while a connection is kept', 'BANKA', $verify);
$write->("$trusted.new", $pem{one});
rename "$trusted.new", $trusted or die $!;
accepted('the right file is moved in its place', 'BANKA', $waiting);
$write->($trusted, $pem{two} . $pem{one});
accepted('both are in the file', 'BANKA');
$server{BANKA}{handle}->signal('KILL');
eval { $server{BANKA}{handle}->finish };
start_tls('BANKA', 'newbank', $port);
accepted('the bank has a certificate of the other one', 'BANKA');
$write->($trusted, $pem{one});
$waiting = refused('which is taken out', 'BANKA', $verify);
$write->("$dir/both.crt", $pem{one} . $pem{two});
$t->sql("select payout.alter_channel('BANKA', '{\"ca_file\": \"$dir/both.crt\"}')");
accepted('the channel names another file', 'BANKA', $waiting);
$t->sql("select payout.alter_channel('BANKA', '{\"ca_file\": \"$trusted\"}')");

# ---- What is no file of authorities
for my $case ([ 'a FIFO', sub { POSIX::mkfifo($trusted, 0600) }, qr/ca_file: is not a regular file/ ], [ 'a device', sub { symlink '/dev/zero', $trusted }, qr/ca_file: is not a regular file/ ],
	[ 'a folder', sub { mkdir $trusted }, qr/ca_file: / ], [ 'nothing', sub { 1 }, qr/ca_file: No such file/ ], [ 'an empty file', sub { $write->($trusted, ''); 1 }, qr/ca_file: is empty/ ],
	[ 'a file that is too large', sub { $write->($trusted, $pem{two} . "\n" x 1048576); 1 }, qr/ca_file: is too large/ ], [ 'no certificate', sub { $write->($trusted, 'words'); 1 }, qr/./ ],
	[ 'a link to nowhere', sub { symlink "$dir/nowhere", $trusted }, qr/ca_file: No such file/ ])
{
	my ($name, $make, $why) = @$case;
	-d $trusted && !-l $trusted ? rmdir $trusted : unlink $trusted;
	$make->() or die "$name: $!";
	$waiting = refused("$name in its place", 'BANKA', $why);
	# Other channels do not wait for it.
	my $other = $t->pay;
	$t->wait_state($other, 'paid');
}
unlink $trusted;
$write->($trusted, $pem{two});
accepted('the file is back', 'BANKA', $waiting);

# ---- Our certificate
my $own = "$dir/own.pem";
my $own_port = PostgreSQL::Test::Cluster::get_free_port();
$write->($own, $pem{we});
start_tls('BANKC', 'newbank', $own_port, '-tls1_2', '-Verify', '1', '-CAfile', "$dir/clients.crt", '-verify_return_error');
create('BANKC', $own_port, ca_file => "$dir/two.crt", client_certificate => $own);
accepted('our certificate is the one that the bank wants', 'BANKC');
$write->($own, $pem{stranger});
$waiting = refused('another certificate is written over it, while a connection is kept', 'BANKC', qr/./);
$write->($own, $pem{we});
accepted('ours is back', 'BANKC', $waiting);
$write->($own, PayoutTest::slurp("$dir/we.crt") . PayoutTest::slurp("$dir/stranger.key"));
$waiting = refused('the key is another\'s', 'BANKC', qr/./);
$write->($own, PayoutTest::slurp("$dir/we.crt") . openssl('pkey', '-in', "$dir/we.key", '-aes128', '-passout', 'pass:secret'));
refused('a key that wants a password, which nobody is asked for', 'BANKC', qr/./);
unlink $own;
POSIX::mkfifo($own, 0600) or die $!;
refused('a FIFO in its place', 'BANKC', qr/client_certificate: is not a regular file/);
unlink $own;
$write->($own, $pem{we} . "\n" x 65536);
refused('a file that is too large', 'BANKC', qr/client_certificate: is too large/);
$write->($own, $pem{we});
accepted('ours is back again', 'BANKC', $waiting);
is($t->sql("select count(*) from payout.incarnation"), '1', 'the worker has lived through it');
is($t->sql('select * from payout.verify()'), '', 'verify() is empty');
done_testing();
