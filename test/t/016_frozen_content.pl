# 016_frozen_content.pl: what was registered and checked is what is sent: banks, channels and accounts that are altered
# meanwhile concern later payouts alone; what would have to be cut is not sent; sums as large as they come are sent.
use strict;
use warnings;
use lib 'test/t/lib';
use PayoutTest;
use Test::More;

my $account = '888801000157508';
my $t = PayoutTest->new(channel => { mode => 'single', not_found_grace_s => 0, not_found_count => 1 }, balance => '9900000000000000',
	sandbox => { float_check => JSON::PP::false, source_accounts => { map { $_ => '1000000.00' } $account, '2222222222', '3333333333' } });
$t->sql("select payout.create_channel('BANK2', 'snap', base_url, options || '{\"source_account_no\": \"2222222222\"}') from payout.channel where channel_id = 'BANK1';"
	. $t->secret_sql('channel:BANK2', 'private_key', PayoutTest::slurp("$t->{dir}/ours.pem")) . $t->secret_sql('channel:BANK2', 'client_secret', 'a-shared-client-secret'));

# The bank's own line of what it paid: code, account to and account from.
sub booked
{
	my ($txid) = @_;
	my @lines = grep { $_->{event} eq 'paid' && $_->{partner_reference_no} eq $txid } map { JSON::PP::decode_json($_) } split /\n/, PayoutTest::slurp("$t->{dir}/journal");
	return join ', ', map { "$_->{bank_code} $_->{account_no} from $_->{source_account_no}" } @lines;
}

sub channel_of { my ($txid) = @_; return $t->sql("select string_agg(distinct a.channel_id, ' ') from payout.attempt a join payout.payout p on p.batch_id = a.batch_id where p.txid = '$txid'"); }

sub checked { my ($txid) = @_; $t->wait_sql("select account_check = 'matched' from payout.payout where txid = '$txid'"); return $txid; }

sub by_hand { my ($change) = @_; return $t->sql("set session_replication_role = replica; $change"); }

# between the account check and the approval: another channel with another code; then another code alone; then another account
my $moved = checked($t->register);
$t->sql(q(select payout.alter_bank('CENA', '{"channel_id": "BANK2", "wire_code": "002"}')));
$t->approve($moved);
$t->wait_state($moved, 'paid');
is(booked($moved), "014 8800000001 from $account", 'a bank moved to another channel: its code and account are those that were checked');
is(channel_of($moved), 'BANK1', 'by the channel that checked it');
my $later = $t->pay;
$t->wait_state($later, 'paid');
is(booked($later), '002 8800000001 from 2222222222', 'a payout that is registered then goes the new way');
is(channel_of($later), 'BANK2', 'by the new channel');
my $recoded = checked($t->register);
$t->sql(q(select payout.alter_bank('CENA', '{"wire_code": "009"}'), payout.alter_channel('BANK2', '{"source_account_no": "3333333333"}')));
$t->approve($recoded);
$t->wait_state($recoded, 'paid');
is(booked($recoded), '002 8800000001 from 2222222222', 'another code and another account of the same channel');
$t->sql(q(select payout.alter_bank('CENA', '{"channel_id": "BANK1", "wire_code": "014"}'), payout.alter_channel('BANK2', '{"source_account_no": "2222222222"}')));

# sent before, and sent again: the same order, though all was altered between
$t->fault(service => '18', kind => 'reset_before', count => 1);
$t->sql(q(select payout.alter_channel('BANK1', '{"status_delay_s": 3600}')));
my $resent = $t->pay;
$t->wait_state($resent, 'suspect');
$t->sql(q(select payout.alter_bank('CENA', '{"channel_id": "BANK2", "wire_code": "002"}'), payout.alter_channel('BANK1', '{"source_account_no": "3333333333", "status_delay_s": 0}')));
$t->sql("select payout.request_check('MERCHANT01', '$resent')");
$t->wait_state($resent, 'paid');
is(booked($resent), "014 8800000001 from $account", 'a resend is the order that was sent first');
is($t->sql('select count(*) from payout.hold'), '0', 'and nobody is asked');
is($t->sendings($resent), '2 1 2', 'by its digest');
$t->sql(q(select payout.alter_bank('CENA', '{"channel_id": "BANK1", "wire_code": "014"}'), payout.alter_channel('BANK1', '{"source_account_no": "888801000157508"}')));

# an account number cannot be guessed from what stays: digests are salted
my $asked = $t->sql("select external_id from payout.attempt where lane = 'validate' and txid = '$resent'");
my $body = qq({"partnerReferenceNo":"$asked","beneficiaryBankCode":"014","beneficiaryAccountNo":"8800000001"});
is($t->sql("select a.request_digest = sha256(p.content_salt || convert_to('$body', 'UTF8')), a.request_digest = sha256(convert_to('$body', 'UTF8'))
	from payout.attempt a join payout.payout p using (merchant_id, txid) where a.lane = 'validate' and txid = '$resent'"), 't|f', 'the digest of a request is over its salt');

# what does not fit a field, by whatever hand, is not cut and not sent: it waits for a person, and stops nothing else
(my $sent, $asked) = map { $t->requests($_) } 18, 16;
$t->sql("select payout.pause_channel('BANK1', 'by hand')");
my ($long, $coded) = (checked_unsent('8800000002'), $t->register(account => '8800000003'));
sub checked_unsent
{
	my ($to) = @_;
	$t->sql("select payout.resume_channel('BANK1')");
	my $txid = checked($t->register(account => $to));
	$t->sql("select payout.pause_channel('BANK1', 'by hand')");
	$t->approve($txid);
	return $txid;
}
$asked = $t->requests(16);
by_hand("update payout.payout set account_no = account_no || repeat('0', 25) where txid = '$long'; update payout.payout set wire_code = '0140000000000' where txid = '$coded'");
is($t->sql("select string_agg(check_name, ' ') from payout.verify() where check_name like 'content%'"), 'content_is_registered content_is_registered', 'verify() finds both');
$t->sql("select payout.resume_channel('BANK1')");
$t->wait_sql("select count(*) = 2 from payout.hold");
is($t->sql("select string_agg(lane, ' ' order by lane) from payout.hold"), 'dispatch validate', 'both wait for a person');
my $other = $t->pay;
$t->wait_state($other, 'paid');
is($t->requests(18), $sent + 1, 'the one is not sent');
is($t->requests(16), $asked + 1, 'the other is not asked for');
by_hand("update payout.payout set account_no = '8800000002' where txid = '$long'; update payout.payout set wire_code = '014' where txid = '$coded'");
$t->sql("select payout.resolve('MERCHANT01', txid, 'dispatch', 'mended') from payout.hold");
$t->approve($coded);
$t->wait_state($_, 'paid') for $long, $coded;
is(booked($long), "014 8800000002 from $account", 'mended, it goes where it was to go');
# and so with a question about one
$t->fault(service => '18', kind => 'reset_after', count => 1);
$t->sql(q(select payout.alter_channel('BANK1', '{"status_delay_s": 3600}')));
my $question = $t->pay;
$t->wait_state($question, 'suspect');
$t->sql("update payout.payout set bank_reference_no = repeat('9', 65), status_due_at = payout.clock() where txid = '$question'");
$t->wait_sql("select exists (select from payout.hold where txid = '$question' and lane = 'check')");
$t->sql("update payout.payout set bank_reference_no = null where txid = '$question'; select payout.resolve('MERCHANT01', '$question', 'dispatch', 'mended')");
$t->wait_state($question, 'paid');
$t->sql(q(select payout.alter_channel('BANK1', '{"status_delay_s": 0}')));

# two payouts that are more than 10^16 together leave in one bulk, and stop no other channel
$t->sql(q(select payout.alter_channel('BANK1', '{"mode": "bulk", "linger_ms": 0}'), payout.create_bank('BNIN', 'BNI', 'BANK2')));
my @large = map { checked($t->register(merchant => $_, amount => '9000000000000000')) } qw(MERCHANT01 MERCHANT02);
$t->sql("begin; select payout.approve(merchant_id, txid) from payout.payout where txid in ('$large[0]', '$large[1]'); commit");
my $small = $t->pay(bank => 'BNIN');
$t->wait_state($_, 'paid') for @large, $small;
is($t->sql("select item_count || ' ' || total from payout.batch where total > 1e16"), '2 18000000000000000.00', 'a bulk over 18 quadrillions');
is($t->times_paid($_), 1, 'paid once') for @large;
$t->sound('at the end');

# names are sent in UTF-8: what has no equivalent there is refused at the door, and another encoding changes no digest
my $node = $t->{node};
for my $encoding (qw(SQL_ASCII WIN1252))
{
	my $database = 'other_' . lc $encoding;
	$node->safe_psql('postgres', "create database $database template template0 encoding '$encoding' locale 'C'");
	$node->safe_psql($database, q(create extension payout; select payout.create_channel('BANK1', 'snap', 'https://bank.example', '{"source_account_no": "1"}'), payout.create_bank('CENA', 'BCA', 'BANK1'),
		payout.create_merchant('MERCHANT01', 'Merchant')));
	my $register = "set client_encoding = '$encoding'; select payout.register('MERCHANT01', '%s', 1, 'CENA', '88', E'Andr%s')";
	is($t->sqlstate(sprintf($register, 'BAD', '\x81'), $database), 'PY016', "$encoding: a byte that stands for nothing");
	is($node->safe_psql($database, qq(set client_encoding = '$encoding'; select coalesce(sqlstate, state) from payout.register_batch('MERCHANT01', jsonb_build_array(
		jsonb_build_object('reference_no', 'B1', 'amount', 1, 'bank_code', 'CENA', 'account_no', '88', 'beneficiary_name', E'Andr\\x81'),
		jsonb_build_object('reference_no', 'B2', 'amount', 1, 'bank_code', 'CENA', 'account_no', '88', 'beneficiary_name', 'Andre'))))), "PY016\nregistered", "$encoding: alone in its batch");
	is($t->sqlstate(sprintf($register, 'GOOD', $encoding eq 'SQL_ASCII' ? '\xc3\xa9' : '\xe9'), $database), '00000', "$encoding: a name that can be sent");
	is($node->safe_psql($database, "select count(*) from payout.verify() where check_name like 'content%'"), '0', "$encoding: content is as registered");
}
# carried to a database in UTF8, with the same rows
$node->safe_psql('postgres', "create database in_utf8 template template0 encoding 'UTF8' locale 'C'");
my $dump = "$t->{dir}/dump.sql";
$node->run_log([ 'pg_dump', '-d', $node->connstr('other_win1252'), '-f', $dump ]);
$node->run_log([ 'psql', '-qX', '-d', $node->connstr('in_utf8'), '-f', $dump ]);
is($node->safe_psql('in_utf8', "select count(*), count(content_salt), max(length(beneficiary_name)) from payout.payout"), '2|2|5', 'restored in another encoding');
is($node->safe_psql('in_utf8', "select count(*) from payout.verify() where check_name like 'content%'"), '0', 'the digests are the same');
done_testing();
