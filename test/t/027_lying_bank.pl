# 027_lying_bank.pl: a bank, or something between us and it, that answers what it should not: codes that contradict the
# status line, answers to other requests, bytes that are no text, tokens that are none. Nothing of it moves money or
# counts as "not found", and when the lies end each payout is paid once.
use strict;
use warnings;
use lib 'test/t/lib';
use HTTP::Tiny ();
use IO::Socket::INET;
use PayoutTest;
use Storable ();
use Test::More;

my $t = PayoutTest->new(conf => [ 'log_min_messages = error' ], channel => {
	mode => 'single', request_timeout_ms => 3000, not_found_grace_s => 0, not_found_count => 1 });
$t->sql("insert into payout.retry_policy (lane, base_ms, max_ms, tries_max) values
	('check', 20, 50, 100000), ('dispatch', 20, 50, 1000), ('validate', 20, 50, 100000)");

# The liar passes requests on to the bank, except those of the services for which a lie is set: [status, body], or [raw]; or
# [status, body, 1]: the bank is asked, then its answer is replaced, REFERENCE being its own referenceNo.
my %service = ('access-token/b2b' => 73, 'account-inquiry-external' => 16, 'transfer-interbank' => 18, 'transfer/status' => 36);
my $lies = "$t->{dir}/lies";

sub lie
{
	Storable::store({@_}, "$lies.new");
	rename "$lies.new", $lies or die "rename: $!";
}

sub answer
{
	my $client = shift;
	my ($head, $body) = ('', '');
	while ($head !~ /\r\n\r\n/) { return unless sysread $client, $head, 65536, length $head; }
	($head, $body) = split /\r\n\r\n/, $head, 2;
	my ($size) = $head =~ /^content-length: (\d+)/mi;
	while (length $body < ($size || 0)) { return unless sysread $client, $body, 65536, length $body; }
	my ($path, $rest) = $head =~ m{^POST /bank/v1\.0/(\S+)};
	my $lie = Storable::retrieve($lies)->{ $service{ $path || '' } || 0 };
	if (!$lie || @$lie == 3)
	{
		my %header = map { lc($_->[0]) => $_->[1] } map { [ split /: /, $_, 2 ] } grep { !/^(post |host|content-length|connection|expect)/i } split /\r\n/, $head;
		my $reply = HTTP::Tiny->new->request('POST', $t->bank_url . "/v1.0/$path", { headers => \%header, content => $body });
		return if $reply->{status} == 599;
		my ($reference) = $reply->{content} =~ /"referenceNo":\s*"([^"]+)"/;
		$lie = $lie ? [ $lie->[0], $lie->[1] =~ s/REFERENCE/$reference/r ] : [ $reply->{status}, $reply->{content} ];
	}
	print $client @$lie == 1 ? $lie->[0] : "HTTP/1.1 $lie->[0] X\r\nContent-Type: application/json\r\nConnection: close\r\nContent-Length: " . length($lie->[1]) . "\r\n\r\n$lie->[1]";
}

lie();
my $listener = IO::Socket::INET->new(Listen => 64, LocalAddr => '127.0.0.1', Proto => 'tcp') or die "listen: $!";
PayoutTest::answer_each($listener, \&answer);
$t->sql("update payout.channel set base_url = 'http://127.0.0.1:" . $listener->sockport . "/bank'");
my $honest = $t->pay;
$t->wait_state($honest, 'paid');

# What no service may believe; CODE is the code of a success.
sub nonsense
{
	my $code = shift;
	return (
		'an empty body' => [ 200, '' ], 'null' => [ 200, 'null' ], 'a list' => [ 200, '[]' ], 'a string' => [ 200, qq("$code") ],
		'no code' => [ 200, '{}' ], 'a code with NUL' => [ 200, qq({"responseCode":"$code\\u0000"}) ], 'a NUL byte' => [ 200, qq({"responseCode":"$code","x":"\0"}) ],
		'bytes that are no UTF-8' => [ 200, qq({"responseCode":"$code","responseMessage":"\xff\xfe"}) ],
		'half a surrogate' => [ 200, qq({"responseCode":"$code","responseMessage":"\\ud800"}) ],
		'two answers' => [ 200, qq({"responseCode":"$code"}{"responseCode":"$code"}) ],
		'success on a failing status line' => [ 404, qq({"responseCode":"$code"}) ], 'a redirection' => [ 302, qq({"responseCode":"$code"}) ],
		'a code too long' => [ 200, '{"responseCode":"' . '2' x 100000 . '"}' ], 'no HTTP' => [ "HELO bank\r\n\r\n$code" ],
		'a broken chunk' => [ "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nZZZ\r\n$code" ],
		'more bytes than an answer has' => [ 200, qq({"responseCode":"$code","x":") . 'x' x 65536 . '"}' ],
		'more members than an answer has' => [ 200, qq({"responseCode":"$code",) . join(',', map { qq("m$_":1) } 1 .. 1000) . '}' ],
		'a head without end' => [ "HTTP/1.1 200 OK\r\nX: " . 'x' x 2000000 ]);
}

# Transfers: in doubt
my %transfer = (nonsense('2001800'),
	'a refusal on a success line' => [ 200, '{"responseCode":"4041811"}' ], 'a refusal on another line' => [ 403, '{"responseCode":"4041811"}' ],
	'another reference' => [ 200, '{"responseCode":"2001800","partnerReferenceNo":"X"}' ],
	'a refusal of another reference' => [ 404, '{"responseCode":"4041811","partnerReferenceNo":"X"}' ],
	'paid to another bank' => [ 200, '{"responseCode":"2001800","beneficiaryBankCode":"002"}' ], 'a refusal for another bank' => [ 404, '{"responseCode":"4041811","beneficiaryBankCode":14}' ],
	'from another account' => [ 200, '{"responseCode":"2001800","sourceAccountNo":"999"}' ], 'from a masked account' => [ 200, '{"responseCode":"2001800","sourceAccountNo":"**********7508"}' ],
	'from another account, by its other name' => [ 200, '{"responseCode":"2001800","sourceAccount":"0999"}' ],
	'success that failed' => [ 200, '{"responseCode":"2001800","latestTransactionStatus":"06"}' ], 'success of which the status is none' => [ 200, '{"responseCode":"2001800","transactionStatus":"OK"}' ],
	'a refusal that is paid' => [ 404, '{"responseCode":"4041811","transactionStatus":"00"}' ], 'refused for now, and pending' => [ 403, '{"responseCode":"4031814","transactionStatus":"03"}' ],
	'two statuses' => [ 200, '{"responseCode":"2001800","transactionStatus":"00","latestTransactionStatus":"01"}' ]);
for my $name (sort keys %transfer)
{
	my $txid = $t->register;
	$t->wait_sql("select account_check = 'matched' from payout.payout where txid = '$txid'");
	# Once: what is refused twice so is held for a person.
	$t->sql(q(select payout.alter_channel('BANK1', '{"not_found_count": 1000}')));
	lie(18 => $transfer{$name});
	$t->approve($txid);
	my $first = "from payout.attempt join payout.payout p using (channel_id, batch_id) where p.txid = '$txid' and outcome is not null";
	$t->wait_sql("select count(*) > 0 $first");
	lie();
	$t->sql(q(select payout.alter_channel('BANK1', '{"not_found_count": 1}')));
	$t->wait_state($txid, 'paid');
	is($t->sql("select outcome $first order by started_at limit 1"), 'unknown', "transfer, $name: in doubt");
	is($t->times_paid($txid), 1, "transfer, $name: paid once");
}

# Status inquiries: the payout stays in doubt; it would be sent again at the first "not found"
$t->fault(service => '18', kind => 'reset_before', count => 1);
lie(36 => [ 200, '' ]);
my $lost = $t->pay;
$t->wait_state($lost, 'suspect');
my $mine = qq("originalPartnerReferenceNo":"$lost","amount":{"value":"10000.00","currency":"IDR"},"beneficiaryAccountNo":"8800000001");
my %status = (nonsense('2003600'),
	'not found on a failing line' => [ 500, '{"responseCode":"4043601"}' ], 'not found on a success line' => [ 200, '{"responseCode":"4043601"}' ],
	'paid on a failing line' => [ 500, qq({"responseCode":"2003600",$mine,"latestTransactionStatus":"00"}) ],
	'another reference' => [ 200, qq({"responseCode":"2003600","originalPartnerReferenceNo":"X","latestTransactionStatus":"00"}) ],
	'another amount' => [ 200, qq({"responseCode":"2003600","originalPartnerReferenceNo":"$lost","amount":{"value":"10000.01"},"latestTransactionStatus":"00"}) ],
	'another account' => [ 200, qq({"responseCode":"2003600","originalPartnerReferenceNo":"$lost","beneficiaryAccountNo":"1","latestTransactionStatus":"06"}) ],
	(map { ("status $_" => [ 200, qq({"responseCode":"2003600",$mine,"latestTransactionStatus":$_}) ]) } '"0"', '"00 "', '"08"', '""', 'null', '[]', '{"a":"00"}'),
	(map { my $denial = $_; map { ("$denial of nothing, $_->[0]" => [ 200, qq({"responseCode":"2003600",$_->[1]"latestTransactionStatus":"$denial"}) ]) }
		[ 'bare', '' ], [ 'empty names', '"originalPartnerReferenceNo":"","originalReferenceNo":null,' ], [ 'by what we have not', '"originalReferenceNo":"R","amount":{"value":"10000.00"},' ] } '04', '05', '06'),
	(map { ("status of another bank, $_" => [ 200, qq({"responseCode":"2003600",$mine,"beneficiaryBankCode":"002","latestTransactionStatus":"$_"}) ]) } '00', '06'),
	(map { ("status from another account, $_" => [ 200, qq({"responseCode":"2003600",$mine,"sourceAccountNo":"xxxx7508","latestTransactionStatus":"$_"}) ]) } '00', '05'),
	'paid, and refused before' => [ 200, qq({"responseCode":"2003600",$mine,"previousResponseCode":"4041811","latestTransactionStatus":"00"}) ],
	'failed, and paid before' => [ 200, qq({"responseCode":"2003600",$mine,"previousResponseCode":"2000000","latestTransactionStatus":"06"}) ],
	'failed and paid' => [ 200, qq({"responseCode":"2003600",$mine,"transactionStatus":"00","latestTransactionStatus":"06"}) ],
	'not found, and paid' => [ 404, qq({"responseCode":"4043601",$mine,"latestTransactionStatus":"00"}) ],
	'not found, and two statuses' => [ 404, qq({"responseCode":"4043601","transactionStatus":"07","latestTransactionStatus":"03"}) ],
	'refused as failed' => [ 404, '{"responseCode":"4043611"}' ]);
my $sent = "select count(*) from payout.attempt where lane = 'dispatch'";
my $orders = $t->sql($sent);
for my $name (sort keys %status)
{
	lie(36 => $status{$name});
	my $asked = $t->sql("select count(*) from payout.attempt where lane = 'check'");
	$t->wait_sql("select count(*) >= $asked + 2 from payout.attempt where lane = 'check' and outcome is not null");
	is($t->state($lost) . ' ' . ($t->sql($sent) - $orders), 'suspect 0', "status inquiry, $name: still in doubt, and not sent again");
}
lie();
$t->wait_state($lost, 'paid');
is($t->times_paid($lost), 1, 'when the bank says so itself, it is sent again and paid once');

# A success that is still pending is not paid yet; and the number that the bank gave is the one that its answers must name
my $code = sub { my ($http, $status) = @_; return [ $http, qq({"responseCode":"${http}1800","referenceNo":"REFERENCE","transactionStatus":"$status"}), 1 ] };
for my $answer ([ 200, '01' ], [ 200, '03' ], [ 202, '00' ])
{
	my $name = join ' ', @$answer;
	lie(18 => $code->(@$answer), 36 => [ 200, '' ]);
	my $pending = $t->pay;
	$t->wait_state($pending, 'processing');
	isnt($t->sql("select bank_reference_no from payout.payout where txid = '$pending'"), '', "transfer, $name: taken in, and not paid yet");
	for my $status ('00', '05', '06')
	{
		for my $member ('originalReferenceNo', 'referenceNo')
		{
			my $asked = $t->sql("select count(*) from payout.attempt where lane = 'check' and txid = '$pending'");
			lie(36 => [ 200, qq({"responseCode":"2003600","originalPartnerReferenceNo":"$pending","$member":"OF-SOMEBODY-ELSE","latestTransactionStatus":"$status"}) ]);
			$t->wait_sql("select count(*) >= $asked + 2 from payout.attempt where lane = 'check' and txid = '$pending' and outcome is not null");
			is($t->state($pending), 'processing', "status inquiry, $status with another $member: no word");
		}
	}
	lie();
	$t->wait_state($pending, 'paid');
	is($t->times_paid($pending), 1, "transfer, $name: paid once");
}

# Account inquiries: no lie is a match, and what is kept is bounded
my $named = sub { return [ 200, qq({"responseCode":"2001600","beneficiaryAccountNo":"$_[1]","beneficiaryAccountName":$_[0]}) ] };
my %account = (nonsense('2001600'), 'no name' => [ 200, '{"responseCode":"2001600"}' ], 'a name that is none' => $named->('{"a":"Budi Santoso"}', '8800000001'),
	'another account' => $named->('"Budi Santoso"', '8800000002'), 'another bank' => [ 200, '{"responseCode":"2001600","beneficiaryAccountNo":"8800000001","beneficiaryBankCode":"002","beneficiaryAccountName":"Budi Santoso"}' ],
	'a name of marks' => $named->('"Budi Santoso' . "\xcc\x81" x 12000 . "\xcc\xa7" x 12000 . '"', '8800000001'), 'a name too long by one' => $named->('"' . 'Budi Santoso ' x 23 . 'Bu"', '8800000001'),
	'a name without end' => $named->('"' . 'Budi Santoso ' x 5000 . '"', '8800000001'));
for my $name (sort keys %account)
{
	lie(16 => $account{$name});
	my $txid = $t->register;
	$t->wait_sql("select account_check <> 'pending' from payout.payout where txid = '$txid'");
	isnt($t->sql("select account_check from payout.payout where txid = '$txid'"), 'matched', "account inquiry, $name: no match");
	# Else the earlier ones, asked again and again, keep the breaker open before the next one is asked for at all.
	lie();
	$t->wait_sql("select account_check in ('matched', 'unreadable') from payout.payout where txid = '$txid'");
	is($t->sql("select account_check || ' ' || (account_name like 'Budi Santoso%') from payout.payout where txid = '$txid'"), 'unreadable true', "account inquiry, $name: its beginning is kept") if $name =~ /^a name (?!that)/;
}
is($t->sql('select count(*) from payout.payout where length(account_name) > 140'), '0', 'names are bounded');
lie();
$t->wait_sql("select count(*) = 0 from payout.payout where account_check = 'unavailable'");

# Tokens: none that is unfit for a header, or without a life, is used
my $token = sub { return [ 200, qq({"responseCode":"2007300","accessToken":$_[0],"tokenType":"Bearer","expiresIn":$_[1]}) ] };
my %token = ('an empty token' => $token->('""', '"900"'), 'a second header in it' => $token->('"a\\r\\nX-Evil: 1"', '"900"'), 'a blank in it' => $token->('"a b"', '"900"'),
	'no text' => $token->('{"a":1}', '"900"'), 'a huge one' => $token->('"' . 'x' x 100000 . '"', '"900"'), 'no life' => $token->('"abc"', '"0"'),
	'a life below zero' => $token->('"abc"', '"-900"'), 'a life that is none' => $token->('"abc"', '"soon"'), 'a life without end' => $token->('"abc"', '1e300'));
my $used = $t->requests('16');
my $ms = 2000;
my $waiting;
for my $name (sort keys %token)
{
	lie(73 => $token{$name});
	$t->sql("select payout.alter_channel('BANK1', '{\"connect_timeout_ms\": " . ++$ms . '}\')');	# forgets the token
	$waiting = $t->register;
	$t->wait_sql("select account_check = 'unavailable' from payout.payout where txid = '$waiting'");
	is($t->requests('16'), $used, "token, $name: not used");
}
lie();
$t->wait_sql("select account_check = 'matched' from payout.payout where txid = '$waiting'");

is($t->sql("select string_agg(distinct state, ' ') from payout.payout where approved_at is not null"), 'paid', 'all that was approved is paid');
is($t->sql('select count(*) from payout.hold'), '0', 'nothing was set aside');
$t->sound('at the end');
done_testing();
