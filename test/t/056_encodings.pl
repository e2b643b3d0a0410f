# 056_encodings.pl: banks write UTF-8 whatever the encoding of the database is. Their answers are read; a character that the
# database cannot hold costs the name that it stands in, and nothing else.
use strict;
use warnings;
use utf8;
use lib 'test/t/lib';
use PayoutTest;
use Test::More;

for my $encoding ('LATIN1', 'SQL_ASCII')
{
	my $t = PayoutTest->new(name => lc "encoding_$encoding", database => "encoding '$encoding' locale 'C'", channel => { mode => 'single' },
		sandbox => { accounts => [ { no => '9900000001', name => 'José García', status => 'active' }, { no => '9900000002', name => 'Budi 李', status => 'active' }, { no => '9900000003', name => 'Budi 😀', status => 'active' } ] });
	is($t->sql('show server_encoding'), $encoding, "$encoding: the database");
	my $name = q(convert_from('\x4a6f73c3a92047617263c3ad61'::bytea, 'UTF8'));
	my $check = sub {
		my ($no, $ours) = @_;
		my $txid = $t->sql("select txid from payout.register('MERCHANT01', 'E$no', 1000, 'CENA', '$no', $ours)");
		$t->wait_sql("select account_check <> 'pending' from payout.payout where txid = '$txid'");
		return ($txid, $t->sql("select account_check from payout.payout where txid = '$txid'"));
	};
	my ($txid, $result) = $check->('9900000001', $name);
	is($result, 'matched', "$encoding: the name is the same");
	is($t->sql("select account_name = beneficiary_name from payout.payout where txid = '$txid'"), 't', "$encoding: and is kept as the database writes it");
	$t->sql("select payout.approve('MERCHANT01', '$txid')");
	$t->wait_state($txid, 'paid');
	for my $no ('9900000002', '9900000003')
	{
		($txid, $result) = $check->($no, "'Budi'");
		is($result, $encoding eq 'LATIN1' ? 'unreadable' : 'name_differs', "$encoding: a name that it cannot hold, $no");
		is($t->sql("select account_name like 'Budi _%' and account_name !~ '[\\x01-\\x1f]' from payout.payout where txid = '$txid'"), 't', "$encoding: its beginning is kept, $no");
	}
	$t->sound("$encoding: at the end");
}
done_testing();
