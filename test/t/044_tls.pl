# 044_tls.pl: whom the worker talks to over TLS. Real servers (openssl s_server), each with one thing wrong or nothing: a
# request is sent only to a server that proves who it is to the authorities of the channel's own file, or of the system
# where the channel has none, over TLS 1.2 or later.
use strict;
use warnings;
use lib 'test/t/lib';
use Cwd qw(abs_path);
use IO::Socket::INET;
use IPC::Run ();
use JSON::PP ();
use PayoutTest;
use Test::More;
use Time::HiRes qw(sleep time);

my $t = PayoutTest->new(merchant => { notify_events => ['payout.rejected'] });
my $dir = PostgreSQL::Test::Utils::tempdir();
my $write = \&PayoutTest::write_file;

sub openssl
{
	my ($out, $err) = ('', '');
	IPC::Run::run([ 'openssl', @_ ], '<', \undef, '>', \$out, '2>', \$err) or BAIL_OUT("openssl @_: $err");
	return $out;
}

sub make_authority
{
	my ($name) = @_;
	openssl('req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes', '-keyout', "$dir/$name.key", '-out', "$dir/$name.crt", '-subj', "/CN=$name", '-days', '10');
}

# A certificate for these names, with its key in the same file.
sub make_certificate
{
	my ($name, $authority, $names, $days) = @_;
	openssl('req', '-new', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes', '-keyout', "$dir/$name.key", '-out', "$dir/$name.csr", '-subj', "/CN=$name");
	$write->("$dir/$name.ext", "subjectAltName=$names\n");
	openssl('x509', '-req', '-in', "$dir/$name.csr", '-CA', "$dir/$authority.crt", '-CAkey', "$dir/$authority.key", '-CAcreateserial', '-days', $days || 10, '-extfile', "$dir/$name.ext", '-out', "$dir/$name.crt");
	$write->("$dir/$name.pem", PayoutTest::slurp("$dir/$name.crt") . PayoutTest::slurp("$dir/$name.key"));
}

make_authority($_) for qw(bankca systemca clientca);
make_certificate('good', 'bankca', 'IP:127.0.0.1');
make_certificate('public', 'systemca', 'IP:127.0.0.1');
make_certificate('othername', 'bankca', 'IP:127.0.0.2,DNS:bank.example,DNS:127.0.0.1');
make_certificate('expired', 'bankca', 'IP:127.0.0.1', -1);
make_certificate('we', 'clientca', 'DNS:payout');
make_certificate('stranger', 'bankca', 'DNS:payout');
openssl('req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes', '-keyout', "$dir/self.key", '-out', "$dir/self.crt", '-subj', '/CN=self', '-addext', 'subjectAltName=IP:127.0.0.1', '-days', '10');
$write->("$dir/self.pem", PayoutTest::slurp("$dir/self.crt") . PayoutTest::slurp("$dir/self.key"));

# The authorities that the system trusts, in a bundle and in a folder, as Debian has them.
mkdir "$dir/certs" or die $!;
$write->("$dir/certs/ca-certificates.crt", PayoutTest::slurp("$dir/systemca.crt"));
chomp(my $hash = openssl('x509', '-hash', '-noout', '-in', "$dir/systemca.crt"));
$write->("$dir/certs/$hash.0", PayoutTest::slurp("$dir/systemca.crt"));

# OpenSSL itself would speak anything: what is refused is refused by us.
$write->("$dir/lax.cnf", "openssl_conf = init\n[init]\nssl_conf = ssl\n[ssl]\nsystem_default = lax\n[lax]\nMinProtocol = TLSv1\nCipherString = DEFAULT:\@SECLEVEL=0\n");
$t->{node}->stop;
{
	local %ENV = (%ENV, LD_PRELOAD => abs_path('test/sandbox/world.so'), WORLD_DIR => $dir, OPENSSL_CONF => "$dir/lax.cnf");
	$t->{node}->start;
}
$t->wait_sql('select exists (select from payout.incarnation where ended_at is null)');

my @old = ('-tls1_1', '-cipher', 'DEFAULT:@SECLEVEL=0');
my @demands = ('-Verify', '1', '-CAfile', "$dir/clientca.crt", '-verify_return_error');
my %bank = (ca_file => "$dir/bankca.crt");
# id => what, certificate, options of the channel (none: a merchant), of the server, and whether it gets a request
my @cases = (
	[ 'GOOD', 'our bank', 'good', {%bank}, [], 1 ],
	[ 'TLS12', 'our bank, TLS 1.2', 'good', {%bank}, ['-tls1_2'], 1 ],
	[ 'TLS13', 'our bank, TLS 1.3', 'good', {%bank}, ['-tls1_3'], 1 ],
	[ 'TLS11', 'our bank, TLS 1.1', 'good', {%bank}, \@old, 0 ],
	[ 'NAME', 'a certificate for another name', 'othername', {%bank}, [], 0 ],
	[ 'EXPIRED', 'a certificate that has expired', 'expired', {%bank}, [], 0 ],
	[ 'SELF', 'a certificate signed by itself', 'self', {%bank}, [], 0 ],
	[ 'PUBLIC', 'a certificate of the system\'s authority where the channel names its own', 'public', {%bank}, [], 0 ],
	[ 'SYSTEM', 'the same where it names none', 'public', {}, [], 1 ],
	[ 'UNKNOWN', 'a certificate of an authority that the system does not know', 'good', {}, [], 0 ],
	[ 'NOFILE', 'a file of authorities that is not there', 'good', { ca_file => "$dir/nothing.crt" }, [], 0 ],
	[ 'WE', 'our certificate is demanded and given', 'good', { %bank, client_certificate => "$dir/we.pem" }, \@demands, 1 ],
	[ 'WE12', 'the same, TLS 1.2', 'good', { %bank, client_certificate => "$dir/we.pem" }, [ @demands, '-tls1_2' ], 1 ],
	[ 'NONE', 'our certificate is demanded and there is none', 'good', {%bank}, \@demands, 0 ],
	[ 'STRANGER', 'another certificate than ours', 'good', { %bank, client_certificate => "$dir/stranger.pem" }, \@demands, 0 ],
	[ 'NOKEY', 'a certificate without its key', 'good', { %bank, client_certificate => "$dir/we.crt" }, \@demands, 0 ],
	[ 'MERCHANT01', 'a merchant with a certificate that the system trusts', 'public', undef, [], 1 ],
	[ 'MERCHANT02', 'a merchant with another one', 'good', undef, [], 0 ]);

# A server, its standard input and output being the connection's.
sub start_tls
{
	my ($certificate, @options) = @_;
	my %server = (port => PostgreSQL::Test::Cluster::get_free_port(), in => '', out => '', err => '');
	$server{handle} = IPC::Run::start([ 'openssl', 's_server', '-accept', "127.0.0.1:$server{port}", '-quiet', '-cert', "$dir/$certificate.crt", '-key', "$dir/$certificate.key", @options ],
		'<', \$server{in}, '>', \$server{out}, '2>', \$server{err}, IPC::Run::timeout(600));
	push @{ $t->{children} }, $server{handle};
	return \%server;
}

my %answers = ('/access-token/b2b' => { responseCode => '2007300', accessToken => 'a-token', expiresIn => '900' },
	'/account-inquiry-external' => { responseCode => '2001600', beneficiaryAccountNo => '8800000001', beneficiaryAccountName => 'BUDI SANTOSO' });

# Answers each whole request that has arrived; notes its path.
sub serve
{
	my ($server) = @_;
	$server->{handle}->pump_nb;
	while ($server->{out} =~ s/^(POST (\S+) HTTP.*?\r\n\r\n)//s)
	{
		my ($head, $path) = ($1, $2);
		my ($length) = $head =~ /^content-length: (\d+)/mi;
		$server->{handle}->pump while length $server->{out} < $length;
		substr($server->{out}, 0, $length) = '';
		push @{ $server->{requests} }, $path;
		my ($answer) = map { JSON::PP::encode_json($answers{$_}) } grep { $path =~ /\Q$_\E$/ } keys %answers;
		$answer ||= '{}';
		$server->{in} .= "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: " . length($answer) . "\r\n\r\n$answer";
		$server->{handle}->pump_nb;
	}
}

my %server;
sub serve_all { serve($_) for values %server; }

%server = map { $_->[0] => start_tls($_->[2], @{ $_->[4] }) } @cases;
for my $server (values %server)
{
	$t->wait_for('a TLS server starts', sub { IO::Socket::INET->new(PeerAddr => '127.0.0.1', PeerPort => $server->{port}) });
}
for my $case (@cases)
{
	my ($id, undef, undef, $channel) = @$case;
	my $url = "https://127.0.0.1:$server{$id}{port}";
	if ($channel)
	{
		my $json = JSON::PP::encode_json({ client_id => 'C', partner_id => 'P', channel_header => '1', source_account_no => '1', %$channel });
		$t->sql("select payout.create_channel('$id', 'snap', '$url', '$json'), payout.create_bank('$id', '$id', '$id');" . $t->secret_sql("channel:$id", 'private_key', PayoutTest::slurp("$t->{dir}/ours.pem"))
			. $t->secret_sql("channel:$id", 'client_secret', 'c') . "select payout.register('MERCHANT01', '$id', 10000, '$id', '8800000001', 'Budi Santoso')");
		serve_all();
	}
	else
	{
		$t->sql("select payout.alter_merchant('$id', '{\"notify_url\": \"$url/told\"}'); select payout.reject('$id', txid, 'a test') from payout.register('$id', 'OWED', 10000, 'CENA', '8800000001', 'Budi')");
	}
}

# The server of TLS 1.1 works for whoever asks for it.
{
	my ($out, $err) = ('', '');
	local $ENV{OPENSSL_CONF} = "$dir/lax.cnf";
	IPC::Run::run([ 'openssl', 's_client', '-connect', "127.0.0.1:$server{TLS11}{port}", '-tls1_1', '-CAfile', "$dir/bankca.crt" ], '<', \'', '>', \$out, '2>', \$err);
	like($out, qr/Protocol\s*: TLSv1\.1/, 'a lax client is served over TLS 1.1');
}

for my $case (@cases)
{
	my ($id, $what, undef, $channel, undef, $accepted) = @$case;
	if ($channel && $accepted)
	{
		$t->wait_for("$id: $what", sub { serve_all(); $t->sql("select account_check from payout.payout where reference_no = '$id'") eq 'matched' });
		like(join(' ', map { s{.*/}{}r } @{ $server{$id}{requests} }), qr/^(b2b )+account-inquiry-external/, "accepted: $what");
	}
	elsif ($channel)
	{
		$t->wait_for("$id: $what", sub { serve_all(); $t->sql("select count(*) from payout.attempt where channel_id = '$id' and outcome = 'not_sent'") >= 2 });
		is(join(' ', @{ $server{$id}{requests} || [] }), '', "refused: $what");
		is($t->sql("select count(*) from payout.attempt where channel_id = '$id' and (outcome <> 'not_sent' or http_status is not null)"), '0', "$id: and nothing counts as sent");
	}
	elsif ($accepted)
	{
		$t->wait_for("$id: $what", sub { serve_all(); $t->sql("select count(*) from payout.notification where merchant_id = '$id' and delivered_at is not null") == 1 });
		is($server{$id}{requests}[0], '/told', "accepted: $what");
	}
	else
	{
		$t->wait_for("$id: $what", sub { serve_all(); $t->sql("select count(*) from payout.notification where merchant_id = '$id' and tries > 0 and error <> '' and delivered_at is null") == 1 });
		is(join(' ', @{ $server{$id}{requests} || [] }), '', "refused: $what");
	}
}
note join "\n", split /\n/, $t->sql("select distinct channel_id, excerpt from payout.attempt where outcome = 'not_sent' order by 1");
is($t->sql('select * from payout.verify()'), '', 'verify() is empty');
done_testing();
