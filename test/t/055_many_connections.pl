# 055_many_connections.pl: more connections at one moment than a table of a fixed size would hold: each request is sent, and each
# is answered by its own.
use strict;
use warnings;
use lib 'test/t/lib';
use IO::Poll qw(POLLIN POLLHUP);
use IO::Socket::INET;
use JSON::PP ();
use PayoutTest;
use Test::More;

my $count = 1100;

# Descriptors, here and in all that is started from here.
PostgreSQL::Test::Utils::system_or_bail('prlimit', "--pid=$$", '--nofile=8000:');
my $t = PayoutTest->new(conf => [ 'log_min_messages = error', 'max_files_per_process = 5000', 'payout.max_in_flight = 1200' ], channel => {
	in_flight_max => 1200, request_timeout_ms => 120000, connect_timeout_ms => 60000 });

# A bank that holds its answers to account inquiries until so many wait. Its log has the most that did.
my $most = "$t->{dir}/most";
my $listener = IO::Socket::INET->new(Listen => 4096, LocalAddr => '127.0.0.1', Proto => 'tcp') or die "listen: $!";

sub answer
{
	my ($socket, %answer) = @_;
	my $body = JSON::PP::encode_json(\%answer);
	syswrite $socket, "HTTP/1.1 200 OK\r\nContent-Length: " . length($body) . "\r\n\r\n$body";
}

PayoutTest::beside(sub {
	my ($goes_on) = @_;
	my $poll = IO::Poll->new;
	my (%bytes, @held);
	my $hold = 1;
	$poll->mask($listener => POLLIN);
	while ($goes_on->())
	{
		$poll->poll(0.1);
		for my $socket ($poll->handles(POLLIN | POLLHUP))
		{
			if ($socket == $listener) { my $new = $listener->accept or next; $poll->mask($new => POLLIN); $bytes{$new} = ''; next; }
			if (!sysread $socket, $bytes{$socket}, 65536, length $bytes{$socket}) { $poll->remove($socket); close $socket; next; }
			next unless $bytes{$socket} =~ /^content-length: (\d+).*?\r\n\r\n(.*)/mis && length $2 == $1;
			my $body = $2;
			$bytes{$socket} = '';
			if ($body =~ /grantType/) { answer($socket, responseCode => '2007300', accessToken => 'a-token', expiresIn => '900'); next; }
			push @held, [ $socket, $body =~ /"partnerReferenceNo":"(\d+)"/, $body =~ /"beneficiaryAccountNo":"(\d+)"/ ];
		}
		if (@held >= $count) { PayoutTest::write_file($most, scalar @held); $hold = 0; }
		next if $hold;
		answer($_->[0], responseCode => '2001600', partnerReferenceNo => $_->[1], beneficiaryAccountNo => $_->[2], beneficiaryAccountName => 'BUDI SANTOSO') for splice @held;
	}
});

$t->sql("update payout.channel set base_url = 'http://127.0.0.1:" . $listener->sockport . "'");
$t->sql("select count(*) from payout.register_batch('MERCHANT01', (select jsonb_agg(jsonb_build_object('reference_no', 'M' || i, 'amount', 10000, 'bank_code', 'CENA', 'account_no', (8800000000 + i)::text, 'beneficiary_name', 'Budi Santoso')) from generate_series(1, $count) i))");
$t->wait_for('all wait at one moment', sub { -e $most }, 120);
$t->wait_sql("select not exists (select from payout.payout where account_check <> 'matched')", 120);
is($t->sql("select string_agg(distinct outcome, ' ') || ' ' || count(*) from payout.attempt"), "yes $count", 'each request was sent, once, and answered by its own answer');
is($t->sql('select * from payout.verify()'), '', 'verify() is empty');
done_testing();
