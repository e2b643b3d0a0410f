# 043_ssrf.pl: URLs that lead where a request may never go, as a merchant's notify_url and as a channel's base_url: none
# of them reaches a listener to which every address leads, as does the proxy of the environment (test/sandbox/world.c).
use strict;
use warnings;
use lib 'test/t/lib';
use Cwd qw(abs_path);
use IO::Socket::INET;
use PayoutTest;
use Test::More;
use Time::HiRes qw(sleep time);

# A listener that only counts who comes, and one that redirects. Both live in a process of their own, which ends with us.
sub listen_on_any { return IO::Socket::INET->new(Listen => 100, LocalAddr => '127.0.0.1', ReuseAddr => 1) || BAIL_OUT("listen: $!"); }

my $world = PostgreSQL::Test::Utils::tempdir();
my ($target, $redirector) = (listen_on_any(), listen_on_any());
my ($port, $redirect_port) = ($target->sockport, $redirector->sockport);

sub serve
{
	my ($socket, $log, $answer) = @_;
	my $pid = fork;
	return $pid if $pid;
	$SIG{PIPE} = 'IGNORE';
	while (my $client = $socket->accept)
	{
		my $head = '';
		if ($answer)
		{
			1 while $head !~ /\r\n\r\n/ && sysread $client, $head, 4096, length $head;
		}
		open my $file, '>>', $log or die;
		syswrite $file, $answer ? ($head =~ /^(.*?)\r/)[0] . "\n" : "connection\n";
		close $file;
		syswrite $client, $answer->($head) if $answer;
		close $client;
	}
	POSIX::_exit(0);
}

sub count { my $file = "$world/$_[0]"; return -e $file ? scalar split /\n/, PayoutTest::slurp($file) : 0; }

# What is asked of the redirector: /STATUS/WHERE
my %where = (loopback => "http://127.0.0.1:$port/", metadata => 'http://169.254.169.254/latest/meta-data/', tls => "https://127.0.0.1:$port/",
	relative => "//127.0.0.1:$port/", file => 'file:///etc/passwd');
my @servers = (serve($target, "$world/reached"), serve($redirector, "$world/redirected", sub {
	my ($status, $where) = $_[0] =~ m{^POST /(\d+)/(\w+)};
	return "HTTP/1.1 $status Elsewhere\r\nLocation: $where{$where}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"; }));
END { my $status = $?; kill 'KILL', @servers if @servers; $? = $status; }

# Names: what they mean changes with the file.
sub set_names { my %names = @_; PayoutTest::write_file("$world/names.new", join '', map { "$_ $names{$_}\n" } sort keys %names); rename "$world/names.new", "$world/names"; }
my %names = ('public.test' => '198.41.0.4', 'loopback.test' => '127.0.0.1', 'private.test' => '10.0.0.7', 'metadata.test' => '169.254.169.254',
	'mapped.test' => '::ffff:127.0.0.1', 'six.test' => '::1', 'ula.test' => 'fd00::7', 'second.test' => '198.41.0.9,127.0.0.1', 'changing.test' => '198.41.0.4');
set_names(%names);

# Each URL and why it is hostile. PORT is the listener's; addresses without it get there all the same.
my @hostile = map { s/PORT/$port/r } (
	'https://127.0.0.1:PORT/', 'http://127.0.0.1:PORT/', 'https://127.0.0.1/', 'http://169.254.169.254/latest/meta-data/', 'https://169.254.169.254/', 'https://100.100.100.200/',
	# written otherwise: decimal, octal, hex, short, percent-encoded, full-width, with a dot at the end
	'https://2130706433:PORT/', 'https://0177.0.0.01:PORT/', 'https://0x7f000001:PORT/', 'https://0x7f.1:PORT/', 'https://127.1:PORT/', 'https://0:PORT/', 'https://127.0.0.1.:PORT/',
	'https://%31%32%37.0.0.1:PORT/', 'https://0x7f00000%31:PORT/', "https://\x{ff11}\x{ff12}\x{ff17}.0.0.1:PORT/", "https://127\x{3002}0\x{3002}0\x{3002}1:PORT/", 'https://127.0.0.1%00.public.test/',
	# IPv6: loopback, unspecified, mapped, compatible, NAT64, 6to4, Teredo, link-local, unique local, with a zone
	'https://[::1]:PORT/', 'https://[::]:PORT/', 'https://[::ffff:127.0.0.1]:PORT/', 'https://[::ffff:7f00:1]:PORT/', 'https://[::127.0.0.1]:PORT/', 'https://[64:ff9b::127.0.0.1]/', 'https://[64:ff9b::a9fe:a9fe]/',
	'https://[64:ff9b:1::a00:1]/', 'https://[2002:7f00:1::]/', 'https://[2002:a9fe:a9fe::1]/', 'https://[2001:0:7f00:1::]/', 'https://[fe80::1]/', 'https://[fe80::1%25eth0]/', 'https://[fd00::7]/', 'https://[ff02::1]/', 'https://[fec0::1]/',
	# ranges
	'https://0.0.0.0:PORT/', 'https://10.0.0.1/', 'https://172.16.0.1/', 'https://192.168.0.1/', 'https://100.64.0.1/', 'https://198.18.0.1/', 'https://192.0.0.192/', 'https://224.0.0.1/', 'https://255.255.255.255/',
	# names: of this machine, of private addresses, of a public one that does not answer and then a private one
	'https://localhost:PORT/', 'https://localhost.:PORT/', 'https://x.localhost:PORT/', 'https://loopback.test:PORT/', 'https://LOOPBACK.TEST.:PORT/', 'https://private.test/', 'https://metadata.test/', 'https://mapped.test:PORT/', 'https://six.test:PORT/',
	'https://ula.test/', 'https://second.test:PORT/',
	# users, which make a host look like another
	'https://public.test@127.0.0.1:PORT/', 'https://user:secret@public.test/', 'https://public.test:443@127.0.0.1:PORT/', 'https://public.test%40127.0.0.1:PORT/', "https://public.test\\\@127.0.0.1:PORT/", 'https://127.0.0.1:PORT#@public.test/', 'https://127.0.0.1:PORT?@public.test/',
	# schemes, ports and what is no URL
	'http://public.test/', 'gopher://127.0.0.1:PORT/_POST', 'dict://127.0.0.1:PORT/x', 'ftp://127.0.0.1:PORT/', 'file:///etc/passwd', 'ldap://127.0.0.1:PORT/', 'smb://127.0.0.1/x', 'telnet://127.0.0.1:PORT', 'scp://127.0.0.1:PORT/x', 'unix:///tmp/x', 'HTTP://127.0.0.1:PORT/',
	'https://127.0.0.1:22/', 'https://public.test:0/', 'https://public.test:65536/', 'https://public.test:-1/', 'https:///127.0.0.1/', 'https://', '//127.0.0.1:PORT/', '127.0.0.1:PORT', ' https://127.0.0.1:PORT/',
	"https://127.0.0.1:PORT/\r\nX-Injected: yes", "https://public.test\r\n.127.0.0.1:PORT/", "https://public.test\t@127.0.0.1:PORT/", 'https://[::1', 'https://' . ('a' x 3000) . '.test/');
cmp_ok(scalar @hostile, '>=', 25, scalar @hostile . ' hostile URLs');

my $t = PayoutTest->new(merchant => { notify_events => ['payout.rejected'] });
# From now on the server lives in that world, with a proxy in its environment.
$t->{node}->stop;
{
	my $proxy = "http://127.0.0.1:$port";
	local %ENV = (%ENV, LD_PRELOAD => abs_path('test/sandbox/world.so'), WORLD_DIR => $world, WORLD_PORT => $port, http_proxy => $proxy, https_proxy => $proxy,
		HTTPS_PROXY => $proxy, ALL_PROXY => $proxy, all_proxy => $proxy, no_proxy => '', NO_PROXY => '');
	$t->{node}->append_conf('postgresql.conf', "payout.allow_hosts = '127.0.0.1:$t->{bank_port}, 127.0.0.1:$redirect_port'");
	$t->{node}->start;
}
$t->wait_sql('select exists (select from payout.incarnation where ended_at is null)');

sub quoted { my ($text) = @_; utf8::encode($text) if utf8::is_utf8($text); return "E'" . $text =~ s/(['\\\r\n\t])/sprintf('\\x%02x', ord $1)/ger . "'"; }

# A merchant and a channel for each URL. Those that the functions refuse are put in by hand, as an operator may.
my $number = 0;
my %refused_by_function;
sub add
{
	my ($url) = @_;
	my $n = ++$number;
	my $id = sprintf 'SSRF%06d', $n;
	my $channel = '{"client_id": "C", "partner_id": "P", "channel_header": "1", "source_account_no": "1"}';
	my $state = $t->sqlstate("select payout.create_merchant('$id', 'Hostile', " . quoted($url) . ", '{\"notify_events\": [\"payout.rejected\"]}')");
	my $channel_state = $t->sqlstate("select payout.create_channel('$id', 'snap', " . quoted($url) . ", '$channel')");
	is($state =~ /^(00000|PY016)$/ && $channel_state =~ /^(00000|PY016)$/ ? 'ok' : "$state $channel_state", 'ok', "URL $n is taken or refused in order");
	$refused_by_function{$n} = $state eq 'PY016';
	$t->sql("select payout.create_merchant('$id', 'Hostile', 'https://x.example/', '{\"notify_events\": [\"payout.rejected\"]}');
		update payout.merchant set notify_url = " . quoted($url) . " where merchant_id = '$id'") if $state ne '00000';
	$t->sql("select payout.create_channel('$id', 'snap', 'https://x.example', '$channel'); update payout.channel set base_url = " . quoted($url) . " where channel_id = '$id'") if $channel_state ne '00000';
	$t->sql($t->secret_sql("merchant:$id", 'webhook_secret', 'whsec_' . PayoutTest::webhook_key())
		. $t->secret_sql("channel:$id", 'private_key', PayoutTest::slurp("$t->{dir}/ours.pem")) . $t->secret_sql("channel:$id", 'client_secret', 'c')
		. "select payout.create_bank('$id', 'Hostile', '$id')");
	return $id;
}

# Something is owed to the merchant, and something is to be asked through the channel.
sub provoke
{
	my ($id) = @_;
	$t->sql("select payout.reject('$id', txid, 'a test') from payout.register('$id', 'OWED', 10000, 'CENA', '8800000001', 'Budi');
		select payout.register('MERCHANT01', '$id', 10000, '$id', '8800000001', 'Budi')");
}

# Nothing more is sent for it. A notification that is under way is not given up before its end, as the worker would not.
sub set_aside
{
	my ($id) = @_;
	$t->sql("select payout.pause_channel('$id', 'a test')");
	$t->wait_for("$id is set aside", sub {
		$t->sql("update payout.notification set due_at = null, given_up_at = clock_timestamp() where merchant_id = '$id' and due_at is not null and sending_by is null");
		return $t->sql("select not exists (select from payout.notification where merchant_id = '$id' and given_up_at is null)") eq 't';
	});
	$t->wait_sql('select not exists (select from payout.attempt where outcome is null)');
}

sub tried { my ($id) = @_; return $t->sql("select (select count(*) from payout.notification where merchant_id = '$id' and tries > 0 and sending_by is null) > 0
	and (select count(*) from payout.attempt where channel_id = '$id' and outcome is not null) > 0") eq 't'; }

sub not_sent { my ($id) = @_; return $t->sql("select (select bool_and(http_status is null and error <> '' and delivered_at is null) from payout.notification where merchant_id = '$id'),
	(select bool_and(outcome = 'not_sent' and http_status is null) from payout.attempt where channel_id = '$id')"); }

my %id = map { $_ => add($hostile[$_]) } 0 .. $#hostile;
provoke($id{$_}) for sort { $a <=> $b } keys %id;
for my $n (sort { $a <=> $b } keys %id)
{
	my $shown = substr($hostile[$n], 0, 60) =~ s/([^ -~])/sprintf("\\x{%x}", ord $1)/ger;
	$t->wait_for("tried: $shown", sub { tried($id{$n}) });
	is(not_sent($id{$n}), 't|t', "refused: $shown");
}
is(count('reached'), 0, 'nothing has reached the listener');
cmp_ok(scalar(grep { $_ } values %refused_by_function), '>=', 20, 'many are refused by the functions that store them');
ok(!-e "$world/asked" || PayoutTest::slurp("$world/asked") !~ /localhost|^[\d.]+ /m, 'only names were looked up as names');

# Redirects of a host that may be reached: taken as an answer, never followed.
my @redirects = map { my $status = $_; map { "$status/$_" } sort keys %where } 301, 302, 303, 307, 308;
my %redirected = map { $_ => add("http://127.0.0.1:$redirect_port/$_") } @redirects;
provoke($redirected{$_}) for @redirects;
for my $redirect (@redirects)
{
	my $id = $redirected{$redirect};
	$t->wait_for("tried: redirect $redirect", sub { tried($id) });
	my ($status) = $redirect =~ /^(\d+)/;
	is($t->sql("select distinct http_status from payout.notification where merchant_id = '$id'"), $status, "redirect $redirect is an answer and no receipt");
}
cmp_ok(count('redirected'), '>=', 2 * @redirects, 'the redirecting host was asked each time');
is(count('reached'), 0, 'no redirect was followed');

# The listener can be reached: a public address leads there. Then the same name means another address.
my $changing = add('https://changing.test/');
provoke($changing);
$t->wait_for('a name with a public address is connected to', sub { count('reached') > 0 });
set_aside($changing);
for my $address ('127.0.0.1', '10.0.0.7', '::1', '::ffff:169.254.169.254', '198.41.0.9,127.0.0.1')
{
	my $asked = count('asked');
	my $reached = count('reached');
	set_names(%names, 'changing.test' => $address);
	# libcurl remembers a name for a minute; another worker does not
	my $life = $t->sql('select incarnation_id from payout.incarnation where ended_at is null');
	$t->sql("select pg_terminate_backend(pid) from pg_stat_activity where backend_type = 'payout worker'");
	$t->wait_sql("select exists (select from payout.incarnation where ended_at is null and incarnation_id <> '$life')");
	my $tries = $t->sql("select count(*) from payout.attempt where channel_id = '$changing'");
	$t->sql("select payout.resend_notification('$changing', txid) from payout.payout where merchant_id = '$changing'; select payout.resume_channel('$changing')");
	$t->wait_for("the name was asked for again, now $address", sub { count('asked') >= $asked + 2 });
	$t->wait_sql("select exists (select from payout.notification where merchant_id = '$changing' and tries > 0 and sending_by is null)");
	$t->wait_sql("select count(*) > $tries and bool_and(outcome is not null) from payout.attempt where channel_id = '$changing'");
	is(count('reached'), $reached, "the name now means $address: nothing is connected to");
	set_aside($changing);
}
$t->sound('at the end');
done_testing();
