# 050_service_digits.pl: an answer belongs to its question. Whatever names another service, reference, amount, currency or
# account than was asked is no word: nothing is paid, refused, found or lost by it, and the attempt says what did not fit. When
# the bank answers properly again, each payout is paid once.
use strict;
use warnings;
use lib 'test/t/lib';
use HTTP::Tiny ();
use IO::Socket::INET;
use JSON::PP ();
use PayoutTest;
use Storable ();
use Test::More;

my $t = PayoutTest->new(conf => [ 'log_min_messages = error' ], channel => {
	mode => 'single', request_timeout_ms => 20000, not_found_grace_s => 0, not_found_count => 1 });
$t->sql("insert into payout.retry_policy (lane, base_ms, max_ms, tries_max) values
	('check', 20, 50, 100000), ('dispatch', 20, 50, 1000), ('validate', 20, 50, 100000)");

# The front passes requests on to the bank and alters the answers of the services for which it is told what to write into them:
# [status or undef, members]. A name with a point is of an inner object; undef as value removes the member. A member "=" is the
# whole answer. Requests are noted, with the references that they name.
my %service = ('access-token/b2b' => 73, 'account-inquiry-internal' => 15, 'account-inquiry-external' => 16, 'transfer-intrabank' => 17,
	'transfer-interbank' => 18, 'transfer-interbank-bulk' => 20, 'transfer/status' => 36);
my ($lies, $log) = map { "$t->{dir}/$_" } qw(lies log);

sub lie
{
	Storable::store({@_}, "$lies.new");
	rename "$lies.new", $lies or die "rename: $!";
}

sub altered
{
	my ($content, %member) = @_;
	return $member{'='} if exists $member{'='};
	my $answer = JSON::PP::decode_json($content);
	for my $name (keys %member)
	{
		my ($outer, $inner) = split /\./, $name;
		my $object = $inner ? ($answer->{$outer} ||= {}) : $answer;
		if (defined $member{$name}) { $object->{ $inner || $outer } = $member{$name} } else { delete $object->{ $inner || $outer } }
	}
	return JSON::PP::encode_json($answer);
}

sub answer
{
	my $client = shift;
	my ($head, $body) = ('', '');
	while ($head !~ /\r\n\r\n/) { return unless sysread $client, $head, 65536, length $head; }
	($head, $body) = split /\r\n\r\n/, $head, 2;
	my ($size) = $head =~ /^content-length: (\d+)/mi;
	while (length $body < ($size || 0)) { return unless sysread $client, $body, 65536, length $body; }
	my ($path) = $head =~ m{^POST /bank/v1\.0/(\S+)};
	my ($external) = $head =~ /^x-external-id: (\d+)/mi;
	my ($reference) = $body =~ /"partnerReferenceNo":"(\w+)"/;
	open my $file, '>>', $log or die;
	syswrite $file, join(' ', $service{$path}, $external || '-', $reference || '-') . "\n";
	close $file;
	my %header = map { lc($_->[0]) => $_->[1] } map { [ split /: /, $_, 2 ] } grep { !/^(post |host|content-length|connection|expect)/i } split /\r\n/, $head;
	my $reply = HTTP::Tiny->new->request('POST', $t->bank_url . "/v1.0/$path", { headers => \%header, content => $body });
	return if $reply->{status} == 599;
	my $lie = Storable::retrieve($lies)->{ $service{$path} };
	my ($status, $content) = $lie ? ($lie->[0] || $reply->{status}, altered($reply->{content}, %{ $lie->[1] })) : ($reply->{status}, $reply->{content});
	print $client "HTTP/1.1 $status X\r\nContent-Type: application/json\r\nConnection: close\r\nContent-Length: " . length($content) . "\r\n\r\n$content";
}

lie();
my $listener = IO::Socket::INET->new(Listen => 64, LocalAddr => '127.0.0.1', Proto => 'tcp') or die "listen: $!";
PayoutTest::answer_each($listener, \&answer);
$t->sql("update payout.channel set base_url = 'http://127.0.0.1:" . $listener->sockport . "/bank'");

my %bank = (15 => [ bank => 'OWNB', method => 'overbooking' ], 16 => [], 17 => [ bank => 'OWNB', method => 'overbooking' ], 18 => []);

# A registered payout whose account is checked.
sub checked
{
	my ($service) = @_;
	my $txid = $t->register(@{ $bank{$service} });
	$t->wait_sql("select account_check = 'matched' from payout.payout where txid = '$txid'");
	return $txid;
}

# A transfer whose answer is altered: in doubt for this member, then, by the bank's own word, paid once.
sub doubted
{
	my ($name, $service, $member, $status, %members) = @_;
	my $txid = checked($service);
	lie($service => [ $status, \%members ]);
	$t->approve($txid);
	my $first = "from payout.attempt join payout.payout p using (channel_id, batch_id) where p.txid = '$txid' and outcome is not null";
	$t->wait_sql("select count(*) > 0 $first");
	lie();
	$t->wait_state($txid, 'paid');
	is($t->sql("select outcome $first order by started_at limit 1"), 'unknown', "transfer ($service), $name: in doubt");
	like($t->sql("select excerpt $first order by started_at limit 1"), qr/^\Q$member\E does not fit/, "transfer ($service), $name: the excerpt says what does not fit");
	is($t->times_paid($txid), 1, "transfer ($service), $name: paid once");
}

sub believed
{
	my ($name, $service, %members) = @_;
	my $txid = checked($service);
	lie($service => [ undef, \%members ]);
	$t->approve($txid);
	$t->wait_state($txid, 'paid');
	lie();
	is($t->sql("select outcome from payout.attempt join payout.payout p using (channel_id, batch_id) where p.txid = '$txid'"), 'yes', "transfer ($service), $name: believed");
}

# ---- Services
for my $case ([ 18, 16 ], [ 18, 17 ], [ 18, 36 ], [ 18, 73 ], [ 18, '00' ], [ 18, 'US' ], [ 18, '1a' ], [ 17, 18 ], [ 17, 15 ], [ 17, 20 ])
{
	my ($asked, $named) = @$case;
	doubted("a success of service $named", $asked, 'responseCode', undef, responseCode => "200${named}00");
}
doubted("a final refusal of service $_", 18, 'responseCode', 404, responseCode => "404${_}11") for 16, 36, 73, '00', 'ab';
doubted('a refusal for now of service 16', 18, 'responseCode', 429, responseCode => '4291600');
doubted('a refusal as a partner of service 73', 18, 'responseCode', 401, responseCode => '4017300');
is($t->sql('select count(*) from payout.channel where paused_at is not null or not_before is not null'), '0', 'refusals of another service neither pause a channel nor let it rest');
$t->sql(q(select payout.alter_channel('BANK1', '{"generic_service_code": true}')));
believed('service 00 where the channel says so', 18, responseCode => '2000000');
doubted('another service even there', 18, 'responseCode', undef, responseCode => '2001600');
$t->sql(q(select payout.alter_channel('BANK1', '{"generic_service_code": null}')));
isnt($t->sqlstate(q(select payout.alter_channel('BANK1', '{"generic_service_code": "yes"}'))), '00000', 'the option is a boolean');

# ---- Members
doubted('another reference', 18, 'partnerReferenceNo', undef, partnerReferenceNo => 'X');
doubted('another amount', 18, 'amount.value', undef, 'amount.value' => '1000.00');
doubted('a hundredth more', 18, 'amount.value', undef, 'amount.value' => '10000.01');
doubted('an amount with an exponent', 18, 'amount.value', undef, 'amount.value' => '1e4');
doubted('an amount without a number', 17, 'amount.value', undef, 'amount.value' => '');
doubted('an amount that is no object', 18, 'amount.value', undef, amount => '10000.00');
doubted('another currency', 18, 'amount.currency', undef, 'amount.currency' => 'USD');
doubted('another currency beside the amount', 17, 'currency', undef, currency => 'USD');
doubted('another account', 18, 'beneficiaryAccountNo', undef, beneficiaryAccountNo => '8800000002');
doubted('an account that is a list', 18, 'beneficiaryAccountNo', undef, beneficiaryAccountNo => ['8800000001']);
doubted('another account and no reference', 18, 'beneficiaryAccountNo', undef, partnerReferenceNo => undef, beneficiaryAccountNo => '1', 'amount.value' => '1.00', 'amount.currency' => 'USD');
doubted('a refusal that names another amount', 18, 'amount.value', 404, responseCode => '4041811', 'amount.value' => '1.00');
doubted('a refusal of another reference', 18, 'partnerReferenceNo', 404, responseCode => '4041811', partnerReferenceNo => 'X');
doubted('a refusal for another account', 17, 'beneficiaryAccountNo', 404, responseCode => '4041711', beneficiaryAccountNo => '8800000002');
doubted('a refusal for now of another reference', 18, 'partnerReferenceNo', 403, responseCode => '4031814', partnerReferenceNo => 'X');
believed('the amount without decimals', 18, 'amount.value' => '10000');
believed('the amount with one decimal', 18, 'amount.value' => '10000.0');
believed('the amount as a number', 18, 'amount.value' => 10000);
believed('nothing but the code', 18, map { $_ => undef } qw(partnerReferenceNo amount beneficiaryAccountNo beneficiaryBankCode sourceAccountNo transactionDate referenceNo));
believed('members that are null', 17, amount => JSON::PP::null, partnerReferenceNo => JSON::PP::null);

# ---- Numbers of the bank that are none are not taken
for my $number ('', 'x' x 65, "a\nb", 'a b', "caf\x{e9}")
{
	my $txid = checked(18);
	lie(18 => [ undef, { referenceNo => $number } ]);
	$t->approve($txid);
	$t->wait_state($txid, 'paid');
	lie();
	is($t->sql("select bank_reference_no is null from payout.payout where txid = '$txid'"), 't', 'a number of ' . length($number) . ' characters is not taken');
}

# ---- A number that the bank has given to another payout
my $given = $t->sql("select bank_reference_no from payout.payout where bank_reference_no is not null and state = 'paid' limit 1");
for my $service (17, 18)
{
	my $txid = checked($service);
	lie($service => [ undef, { referenceNo => $given } ]);
	$t->approve($txid);
	my $first = "from payout.attempt join payout.payout p using (channel_id, batch_id) where p.txid = '$txid' and outcome is not null";
	$t->wait_sql("select count(*) > 0 $first");
	lie();
	$t->wait_state($txid, 'paid');
	like($t->sql("select outcome || ' ' || excerpt $first order by started_at limit 1"), qr/^unknown the bank's number/, "transfer ($service), the number of another payout: in doubt");
	isnt($t->sql("select bank_reference_no from payout.payout where txid = '$txid'"), $given, "transfer ($service), the number of another payout: not taken");
	is($t->times_paid($txid), 1, "transfer ($service), the number of another payout: paid once");
}

# ---- A member that stands twice
for my $body ('"responseCode":"4041811","responseCode":"2001800"', '"responseCode":"2001800","responseCode":"2001800"', '"responseCode":"2001800","\u0072esponseCode":"4041811"',
	'"responseCode":"2001800","additionalInfo":{"a":{"b":1,"b":1}}')
{
	my $txid = checked(18);
	lie(18 => [ 200, { '=' => "{$body}" } ]);
	$t->approve($txid);
	my $first = "from payout.attempt join payout.payout p using (channel_id, batch_id) where p.txid = '$txid' and outcome is not null";
	$t->wait_sql("select count(*) > 0 $first");
	lie();
	$t->wait_state($txid, 'paid');
	is($t->sql("select outcome $first order by started_at limit 1"), 'unknown', "transfer, $body: no word");
	is($t->times_paid($txid), 1, 'paid once');
}

# ---- A bulk's acceptance
$t->sql(q(select payout.alter_channel('BANK1', '{"mode": "bulk"}')));
for my $case ([ 'another bulk', 'partnerBulkId', partnerBulkId => 'X' ], [ 'another service', 'responseCode', responseCode => '2001800' ], [ 'another currency', 'currency', currency => 'USD' ])
{
	my ($name, $member, %members) = @$case;
	my $txid = checked(18);
	lie(20 => [ undef, \%members ]);
	$t->approve($txid);
	my $first = "from payout.attempt join payout.payout p using (channel_id, batch_id) where p.txid = '$txid' and outcome is not null";
	$t->wait_sql("select count(*) > 0 $first");
	lie();
	$t->wait_state($txid, 'paid');
	like($t->sql("select outcome || ' ' || excerpt $first order by started_at limit 1"), qr/^unknown \Q$member\E does not fit/, "bulk, $name: in doubt");
	is($t->times_paid($txid), 1, "bulk, $name: paid once");
}
$t->sql(q(select payout.alter_channel('BANK1', '{"mode": "single"}')));

# ---- Account inquiries: they have a reference of their own, and no answer to another question is theirs
my @inquiries = map { [split / /] } grep { /^1[56] / } split /\n/, PayoutTest::slurp($log);
is(scalar(grep { $_->[1] ne $_->[2] } @inquiries), 0, 'the reference of each inquiry is its external id');
my %seen;
is(scalar(grep { $seen{ $_->[2] }++ } @inquiries), 0, 'which is never the same');
is(scalar(grep { /^1[78] (\S+) (\S+)/ && $seen{$2} } split /\n/, PayoutTest::slurp($log)), 0, 'and never that of a transfer');
for my $case ([ 'a success of a transfer', 16, 'responseCode', responseCode => '2001800' ], [ 'another reference', 16, 'partnerReferenceNo', partnerReferenceNo => '1' ], [ 'our TXID as reference', 15, 'partnerReferenceNo' ],
	[ 'another account', 15, 'beneficiaryAccountNo', beneficiaryAccountNo => '8800000002' ], [ 'an invalid account of service 18', 16, 'responseCode', responseCode => '4041811' ])
{
	my ($name, $service, $member, %members) = @$case;
	# The TXID of an earlier one: that of the payout itself nobody knows beforehand.
	$members{partnerReferenceNo} = $t->sql('select max(txid) from payout.payout') if $name =~ /TXID/;
	lie($service => [ $members{responseCode} && $members{responseCode} =~ /^404/ ? 404 : undef, \%members ]);
	my $txid = $t->register(@{ $bank{$service} });
	my $attempts = "from payout.attempt where txid = '$txid' and outcome is not null";
	$t->wait_sql("select count(*) > 1 $attempts");
	is($t->sql("select account_check from payout.payout where txid = '$txid'"), 'unavailable', "account inquiry, $name: no word");
	like($t->sql("select outcome || ' ' || excerpt $attempts order by started_at limit 1"), qr/^unknown \Q$member\E does not fit/, "account inquiry, $name: the excerpt says what does not fit");
	lie();
	$t->wait_sql("select account_check = 'matched' from payout.payout where txid = '$txid'");
}

# The account is mandatory in a success.
for my $case ([ 'no account', 16, undef ], [ 'no account at our own bank', 15, undef ], [ 'an empty account', 16, '' ], [ 'an account that is null', 15, JSON::PP::null ])
{
	my ($name, $service, $account) = @$case;
	lie($service => [ undef, { beneficiaryAccountNo => $account } ]);
	my $txid = $t->register(@{ $bank{$service} });
	my $attempts = "from payout.attempt where txid = '$txid' and outcome is not null";
	$t->wait_sql("select count(*) > 1 $attempts");
	is($t->sql("select account_check from payout.payout where txid = '$txid'"), 'unavailable', "account inquiry, $name: no word");
	like($t->sql("select outcome || ' ' || excerpt $attempts order by started_at limit 1"), qr/^unknown the answer has no beneficiaryAccountNo/, "account inquiry, $name: the excerpt says what is missing");
	lie();
	$t->wait_sql("select account_check = 'matched' from payout.payout where txid = '$txid'");
}

# ---- Status inquiries: what does not fit neither ends the doubt nor counts as "not found"
$t->fault(service => '18', kind => 'reset_before', count => 1);
lie(36 => [ 500, {} ]);
my $lost = checked(18);
$t->approve($lost);
$t->wait_state($lost, 'suspect');
my ($external) = $t->sql("select a.external_id from payout.attempt a join payout.payout p using (channel_id, batch_id) where p.txid = '$lost'");
my %mine = (responseCode => '2003600', originalPartnerReferenceNo => $lost, originalExternalId => $external, serviceCode => '18', amount => { value => '10000.00', currency => 'IDR' },
	beneficiaryAccountNo => '8800000001', latestTransactionStatus => '00');
my $sent = "select count(*) from payout.attempt where lane = 'dispatch'";
my $orders = $t->sql($sent);
for my $case ([ 'service 18', 'responseCode', responseCode => '2001800' ], [ 'service 00', 'responseCode', responseCode => '2000000' ], [ 'another reference', 'originalPartnerReferenceNo', originalPartnerReferenceNo => 'X' ],
	[ 'another amount', 'amount.value', amount => { value => '10000.01' } ],
	[ 'another currency', 'amount.currency', amount => { value => 10000, currency => 'SGD' } ], [ 'another account, failed', 'beneficiaryAccountNo', beneficiaryAccountNo => '1', latestTransactionStatus => '06' ],
	[ 'not found of service 18', 'responseCode', status => 404, responseCode => '4041801' ], [ 'not found with letters', 'responseCode', status => 404, responseCode => '404xx01' ],
	[ 'not found of another transfer', 'originalPartnerReferenceNo', status => 404, responseCode => '4043601', originalPartnerReferenceNo => 'X' ])
{
	my ($name, $member, %members) = @$case;
	my $status = delete $members{status} || 200;
	lie(36 => [ $status, { '=' => JSON::PP::encode_json({ %mine, %members }) } ]);
	my $asked = $t->sql("select count(*) from payout.attempt where lane = 'check'");
	$t->wait_sql("select count(*) >= $asked + 2 from payout.attempt where lane = 'check' and outcome is not null");
	is($t->state($lost) . ' ' . ($t->sql($sent) - $orders), 'suspect 0', "status inquiry, $name: still in doubt, and not sent again");
	$t->wait_sql("select outcome = 'unknown' and excerpt like '$member does not fit%' from payout.attempt where lane = 'check' and outcome is not null order by started_at desc limit 1");
}
# So it is with whatever identifies a transfer, and whatever is said of it.
my ($others, $others_external, $others_number) = split /\|/, $t->sql("select p.txid, a.external_id, p.bank_reference_no from payout.payout p join payout.attempt a using (channel_id, batch_id)
	where p.state = 'paid' and p.bank_reference_no is not null and a.outcome = 'yes' limit 1");
my @misnamed = ([ 'the external id of another payout', 'originalExternalId does not fit', originalExternalId => $others_external ],
	[ 'the external id of another payout and nothing of ours', 'originalExternalId does not fit', originalExternalId => $others_external, originalPartnerReferenceNo => undef ],
	[ 'an external id of nobody', 'originalExternalId does not fit', originalExternalId => '1' ], [ 'an external id that is a list', 'originalExternalId does not fit', originalExternalId => [$external] ],
	[ 'all of another payout', 'originalPartnerReferenceNo does not fit', originalPartnerReferenceNo => $others, originalExternalId => $others_external, originalReferenceNo => $others_number ],
	(map { [ "service $_", 'serviceCode does not fit', serviceCode => $_ ] } qw(17 20 36)),
	[ 'the number of another payout', "the bank''s number in the answer is of another", originalReferenceNo => $others_number ],
	[ 'the number of another payout and nothing of ours', "the bank''s number in the answer is of another", originalReferenceNo => $others_number, originalPartnerReferenceNo => undef, originalExternalId => undef ]);
for my $status (qw(00 03 04 05 06 07 404))
{
	for my $case (@misnamed)
	{
		my ($name, $why, %members) = @$case;
		my %answer = (%mine, $status eq '404' ? (responseCode => '4043601', latestTransactionStatus => undef) : (latestTransactionStatus => $status), %members);
		delete @answer{ grep { !defined $answer{$_} } keys %answer };
		$why = 'the answer does not name what it denies' if $name =~ /number.*nothing/ && $status =~ /^0[456]$/;
		lie(36 => [ $status eq '404' ? 404 : 200, { '=' => JSON::PP::encode_json(\%answer) } ]);
		my $asked = $t->sql("select count(*) from payout.attempt where lane = 'check'");
		$t->wait_sql("select count(*) >= $asked + 2 from payout.attempt where lane = 'check' and outcome is not null");
		$t->wait_sql("select outcome || answer = 'unknownunknown' and excerpt like '$why%' from payout.attempt where lane = 'check' and outcome is not null order by started_at desc limit 1");
		is($t->state($lost) . ' ' . ($t->sql($sent) - $orders), 'suspect 0', "status inquiry, $status with $name: no word");
	}
}
# A number that comes with nothing of ours is not taken, and makes no later answer ours.
my $numbered = sub {
	my ($status, %members) = @_;
	lie(36 => [ 200, { '=' => JSON::PP::encode_json({ responseCode => '2003600', originalReferenceNo => 'OF-SOMEBODY', latestTransactionStatus => $status, %members }) } ]);
	my $asked = $t->sql("select count(*) from payout.attempt where lane = 'check'");
	$t->wait_sql("select count(*) >= $asked + 2 from payout.attempt where lane = 'check' and outcome is not null");
	return $t->state($lost) . ' ' . $t->sql("select coalesce(bank_reference_no, 'none') from payout.payout where txid = '$lost'");
};
is($numbered->('03'), 'suspect none', 'a number that names nothing of ours is not taken');
is($numbered->($_), 'suspect none', "a denial ($_) that names what was not taken is no word") for qw(04 05 06);
is($numbered->('03', serviceCode => '18', beneficiaryAccountNo => '8800000001', amount => { value => '10000.00' }), 'suspect none', 'account, amount and service are nothing of ours alone');
# Its amount written otherwise is its amount.
lie(36 => [ 200, { '=' => JSON::PP::encode_json({ %mine, amount => { value => '10000' }, latestTransactionStatus => '03' }) } ]);
$t->wait_sql("select outcome = 'yes' and answer = 'pending' from payout.attempt where lane = 'check' and outcome is not null order by started_at desc limit 1");
is($numbered->('03', originalExternalId => $external), 'suspect OF-SOMEBODY', 'a number that comes with our external id is taken');
$t->sql("update payout.payout set bank_reference_no = null where txid = '$lost'");
lie();
$t->wait_state($lost, 'paid');
is($t->times_paid($lost), 1, 'when the bank says so itself, it is sent again and paid once');

# ---- Of two sendings. The bank pays the first, whose answer is lost, and refuses the reference of the second.
my $twice = checked(18);
lie(18 => [ 500, { '=' => '{}' } ], 36 => [ 404, { '=' => '{"responseCode":"4043601"}' } ]);
$t->approve($twice);
$t->wait_for('two sendings', sub { $t->sendings($twice) =~ /^([2-9]|\d\d)/ });
lie(36 => [ 500, {} ]);
$t->wait_state($twice, 'suspect');
my @external = split /\n/, $t->sql("select a.external_id from payout.attempt a join payout.payout p using (channel_id, batch_id) where p.txid = '$twice' order by a.started_at");
my $answers = sub {
	my ($status, %members) = @_;
	my %answer = (responseCode => '2003600', originalPartnerReferenceNo => $twice, serviceCode => '18', latestTransactionStatus => $status, %members);
	($answer{responseCode}, $status) = ('4043601', delete $answer{latestTransactionStatus}) if $status eq '404';
	lie(36 => [ $answer{responseCode} eq '4043601' ? 404 : 200, { '=' => JSON::PP::encode_json(\%answer) } ]);
	my $since = $t->sql('select clock_timestamp()');
	my $asked = "from payout.attempt c where txid = '$twice' and lane = 'check' and started_at > '$since' and outcome is not null";
	$t->wait_sql("select count(distinct asked_attempt_id) = " . @external . " and min(n) >= 2 from (select asked_attempt_id, count(*) over (partition by asked_attempt_id) as n $asked) c");
	return $t->sql("select string_agg(distinct (a.started_at = (select min(d.started_at) from payout.attempt d where d.batch_id = a.batch_id))::text || ' ' || c.answer, ', ') from
		(select asked_attempt_id, answer $asked) c join payout.attempt a on a.attempt_id = c.asked_attempt_id");
};
my $untouched = sub { my ($name) = @_; is(join(' ', $t->state($twice), $t->sendings($twice) =~ /^(\d+)/, $t->sql("select string_agg(kind, ' ') from payout.transfer where txid = '$twice'")), 'suspect ' . @external . ' deduct', "$name: in doubt, neither sent again nor refunded") };
for my $denial (qw(04 05 06))
{
	like($answers->($denial, originalExternalId => $external[-1]), qr/true unknown/, "$denial of another sending is no word on the first");
	$untouched->("$denial of one sending, whichever is asked for");
	is($answers->($denial), 'false unknown, true unknown', "$denial of neither by name is no word on any");
	$untouched->("$denial that names no sending");
}
like($answers->('07', originalExternalId => $external[-1]), qr/true unknown/, '"not found" (07) of another sending is no word on the first');
$untouched->('"not found" (07) of one sending');
like($answers->('404', originalExternalId => $external[-1]), qr/true unknown/, '"not found" (404) of another sending is no word on the first');
$untouched->('"not found" (404) of one sending');
is($answers->('03', originalExternalId => $external[0]), 'false pending, true pending', 'that one of its sendings is being paid is true of the payout');
is($answers->('00', originalExternalId => $others_external), 'false unknown, true unknown', 'that one of another payout is paid is not');
$untouched->('paid, of another payout');
lie(36 => [ 200, { '=' => JSON::PP::encode_json({ responseCode => '2003600', originalExternalId => $external[0], serviceCode => '18', latestTransactionStatus => '00' }) } ]);
$t->wait_state($twice, 'paid');
lie();
is($t->times_paid($twice), 1, 'that one of its sendings is paid is believed, by its external id alone');

# ---- Refused for now, then taken in: the bank may speak of what it refused.
my $taken = checked(18);
lie(18 => [ 403, { '=' => '{"responseCode":"4031814"}' } ], 36 => [ 500, {} ]);
$t->approve($taken);
$t->wait_sql("select count(*) > 0 from payout.attempt join payout.payout p using (channel_id, batch_id) where p.txid = '$taken' and outcome = 'refused_for_now'");
lie(18 => [ 202, { '=' => '{"responseCode":"2021800"}' } ], 36 => [ 500, {} ]);
$t->wait_state($taken, 'processing');
for my $denial (qw(04 05 06))
{
	lie(36 => [ 200, { '=' => JSON::PP::encode_json({ responseCode => '2003600', originalPartnerReferenceNo => $taken, latestTransactionStatus => $denial }) } ]);
	my $asked = $t->sql("select count(*) from payout.attempt where lane = 'check'");
	$t->wait_sql("select count(*) >= $asked + 3 from payout.attempt where lane = 'check' and outcome is not null");
	is($t->state($taken), 'processing', "$denial that does not say whether it is of what was refused for now: no word");
}
lie();
$t->wait_state($taken, 'paid');

# ---- Tokens
my $ms = 5000;
for my $code ('2001800', '2000000', '200ab00', '20073000', 'x')
{
	lie(73 => [ 200, { responseCode => $code } ]);
	$t->sql("select payout.alter_channel('BANK1', '{\"connect_timeout_ms\": " . ++$ms . '}\')');	# forgets the token
	my $used = $t->requests('16');
	my $txid = $t->register;
	$t->wait_sql("select account_check = 'unavailable' from payout.payout where txid = '$txid'");
	is($t->requests('16'), $used, "a token under $code: not used");
	lie();
	$t->wait_sql("select account_check = 'matched' from payout.payout where txid = '$txid'");
}

is($t->sql("select string_agg(distinct state, ' ') from payout.payout where approved_at is not null"), 'paid', 'all that was approved is paid');
$t->sound('at the end');
done_testing();
