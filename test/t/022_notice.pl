# 022_notice.pl: the bank's notices: before the answer, twice, wrongly signed, or never.
use strict;
use warnings;
use lib 'test/t/lib';
use PayoutTest;
use Test::More;

# Status inquiries would hide what notices do.
my $t = PayoutTest->new(channel => { status_delay_s => 3600 });

sub reason { my $txid = shift; return $t->sql("select reason from payout.payout where txid = '$txid'"); }

$t->fault(service => '20', kind => 'notice_first', delay_ms => 700, count => 1);
my $early = $t->pay;
$t->wait_state($early, 'paid');
like(reason($early), qr/^notice:/, 'paid by the notice');
is($t->sql("select count(*) from payout.attempt where lane = 'dispatch' and outcome is null"), '1', 'while the answer is still to come');
$t->wait_sql("select count(*) = 0 from payout.attempt where outcome is null");
is($t->state($early), 'paid', 'the late answer is recorded and moves nothing');
is($t->sql("select b.state from payout.batch b join payout.payout p using (channel_id, batch_id) where p.txid = '$early'"), 'accepted', 'the batch is accepted');

$t->fault(service => '21', kind => 'duplicate_notice', count => 1);
my $twice = $t->pay;
$t->wait_state($twice, 'paid');
$t->wait_for('both notices have come', sub { $t->sql('select count(*) from payout.notice') >= 3 });
is($t->sql("select count(*) from payout.transfer where txid = '$twice' and kind = 'settle'"), '1', 'a notice twice settles once');

# Forged ones are refused, until the bank signs rightly.
my $kept = $t->sql('select count(*) from payout.notice');
my $fault = $t->fault(service => '21', kind => 'wrong_signature');
my $forged = $t->pay;
$t->wait_for('two forged notices', sub { grep { $_->{id} == $fault && $_->{hits} >= 2 } @{ $t->control('GET', 'fault') } });
is($t->state($forged), 'processing', 'a forged notice moves nothing');
is($t->sql('select count(*) from payout.notice'), $kept, 'and is not kept');
$t->clear_faults;
$t->wait_state($forged, 'paid');
is($t->sql('select count(*) from payout.notice'), $kept + 1, 'the genuine one is');

$t->control('POST', 'notice', { partner_reference_no => $forged });
$t->wait_sql("select count(*) = $kept + 2 from payout.notice");
is($t->sql("select count(*) from payout.transfer where txid = '$forged' and kind = 'settle'"), '1', 'the same notice later settles nothing again');

# None comes: the status inquiry finds out.
$t->fault(service => '21', kind => 'no_notice', count => 1);
my $silent = $t->pay;
$t->wait_state($silent, 'processing');
$t->set_clock(7200);
$t->wait_state($silent, 'paid');
like(reason($silent), qr/^status inquiry:/, 'paid by the status inquiry');
is($t->sql('select coalesce(sum(unknown_items), 0) from payout.notice'), '0', 'every item was known');

# Names of headers are letters of ASCII, whatever the database's locale makes of "I" and "K": all of them are found, and what is
# wrong is the signature.
my $node = $t->{node};
for my $locale ('tr-TR', 'lt-LT', 'en-US')
{
	$node->safe_psql('postgres', "create database other template template0 encoding 'UTF8' locale 'C' locale_provider icu icu_locale '$locale'");
	$node->safe_psql('other', q(create extension payout; select payout.create_channel('BANK1', 'snap', 'https://bank.example', '{"client_id": "C"}')));
	for my $case ([ 'access-token/b2b', '4017300', q('X-CLIENT-KEY', 'K') ], [ 'transfer-interbank-bulk/notify', '4012101', q('AUTHORIZATION', 'Bearer x', 'X-PARTNER-ID', 'P', 'X-EXTERNAL-ID', '1') ])
	{
		my ($path, $code, $more) = @$case;
		is($node->safe_psql('other', qq(select body::json ->> 'responseCode' from payout.bank_notification('BANK1', 'POST', '/v1.0/$path',
			jsonb_build_object('X-TIMESTAMP', to_char(clock_timestamp() at time zone interval '+07:00', 'YYYY-MM-DD"T"HH24:MI:SS"+07:00"'), 'X-SIGNATURE', 'AAAA', $more), '{}'))), $code, "$locale: headers of $path are found");
	}
	$node->safe_psql('postgres', 'drop database other');
}
$t->sound('at the end');
done_testing();
