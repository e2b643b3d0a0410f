# 031_token_secrecy.pl: a token that clients send as a bind parameter is nowhere but at the clients: not in the server's
# log with everything logged, not in statistics or activity, not in tables, dumps, data files or WAL. The same searches
# find a token that is given away.
use strict;
use warnings;
use lib 'test/t/lib';
use LeakTest;
use Test::More;

my $t = LeakTest->new(conf => [ 'payout.token_digits = 20', 'payout.token_tries = 1000' ]);
my $node = $t->{node};
$t->sql(qq(select payout.alter_cvs('$_', '{"token_tries": 1000}'))) for qw(STORE1 STORE2);

my %script = (
	validate => "select txid from payout.cashout_validate('STORE1', :token, 'T1', :reference);\n",
	confirm => "select state from payout.cashout_confirm('STORE1', :token, :reference);\n",
	reverse => "select state from payout.cashout_reverse('STORE1', :token, :reference, 'the customer left');\n");
$script{failing} = "begin;\n$script{validate}select 1 / (length(:token) - length(:token));\ncommit;\n";
$script{undone} = "begin;\n$script{validate}rollback;\n";
$script{cast} = "select :token::text::inet;\n";

sub client
{
	my ($call, $token, $reference, %option) = @_;
	return $t->client($script{$call}, { token => $token, reference => $reference }, %option);
}

# A client waits for a payout that another session holds.
sub waiting
{
	my ($txid, $then, $call, $token, $reference, %option) = @_;
	return $t->waiting("select from payout.payout where txid = '$txid' for update", $then, $script{$call}, { token => $token, reference => $reference }, %option);
}

sub blanks { my $token = shift; return join ' ', $token =~ /(.{1,4})/g; }

# How a token may be written: whole, in groups, any 8 digits of its random part; as characters or as their codes in hex.
sub pattern
{
	my %part;
	for my $token (@_)
	{
		$part{$_} = 1 for $token, blanks($token);
		$part{substr $token, $_, 8} = 1 for 4 .. length($token) - 9;
	}
	my $all = join '|', map { ($_, unpack 'H*', $_) } sort keys %part;
	return qr/$all/;
}

# Tokens of every fate
my %fate;
$fate{$_} = [ $t->issue ] for qw(right used reversed replaced waiting cancelled undone expired control);
my %token = map { $_ => $fate{$_}[1] } keys %fate;
$token{wrong} = PayoutTest::random_token($t->sql("select payout.slot('MERCHANT01')"), 20);
$token{new} = $t->sql("select cashout_token from payout.reissue_token('MERCHANT01', '$fate{replaced}[0]')");
my $control = delete $token{control};

is(client('validate', $token{right}, 'A1'), 1, 'a right token');
is(client('validate', blanks($token{right}), 'A1', mode => 'prepared'), 1, 'the same in groups, prepared');
is(client('confirm', " $token{right} ", 'A1'), 1, 'confirmed');
is(client('validate', $token{used}, 'B1') + client('confirm', blanks($token{used}), 'B1'), 2, 'another one is used');
is(client($_, $token{used}, 'B2'), 0, "$_ of a used one") for qw(validate confirm);
is(client('reverse', $token{used}, 'B1'), 1, 'taken back: disputed');
is(client('validate', $token{reversed}, 'C1') + client('reverse', $token{reversed}, 'C1'), 2, 'one is reversed');
is(client('validate', $token{reversed}, 'C1'), 0, 'its late original');
for my $call (qw(validate confirm reverse))
{
	# A reversal of nothing is remembered, whatever the token.
	my $taken = $call eq 'reverse' ? 1 : 0;
	is(client($call, $token{wrong}, 'D1'), $taken, "$call of a wrong one");
	is(client($call, blanks($token{wrong}), 'D1', mode => 'prepared'), $taken, "$call of a wrong one in groups");
	is(client($call, "$token{new}0", 'D1'), 0, "$call of a good one with a digit too many");
	is(client($call, "$token{new}x", 'D1'), 0, "$call of a good one with a letter");
	is(client($call, $token{replaced}, 'D1'), 0, "$call of a replaced one");
}
is(client('failing', $token{undone}, 'E1'), 0, 'in a transaction that fails');
is(client('undone', $token{undone}, 'E2'), 1, 'in one that is rolled back');
is(waiting($fate{waiting}[0], sub { }, 'validate', $token{waiting}, 'F1'), 1, 'while it waits for a lock');
is(waiting($fate{cancelled}[0], sub { $t->sql("select pg_cancel_backend(pid) from pg_stat_activity where application_name = 'client'") },
	'validate', $token{cancelled}, 'F2'), 0, 'cancelled while it waits');
$t->set_clock(86500);
$t->wait_state($fate{expired}[0], 'expired');
is(client($_, $token{expired}, 'G1'), 0, "$_ of an expired one") for qw(validate);
is(client($_, $token{expired}, 'G2'), 1, "$_ of an expired one") for qw(confirm);
is($t->sql("select string_agg(distinct state, ' ' order by state) from payout.payout"), 'disputed expired paid suspect', 'all that was done');

# The control is given away in every place.
is(client('validate', $control, 'X1', mode => 'simple'), 0, 'the control: as a literal');
my ($open, $open_token) = $t->issue;
waiting($open, sub { }, 'validate', $open_token, 'X2', mode => 'simple');
$t->sql("do \$\$ begin perform '$control'; end \$\$");
is(client('cast', $control, '-'), 0, 'in an error that shows its argument');
$t->sql("select payout.reject('MERCHANT01', '" . $t->register_cashout . "', 'was $control')");
my $logged_token = PayoutTest::random_token(1, 20);
client('validate', $logged_token, 'X3', options => '-c log_parameter_max_length=-1');

# Where it might be.
my $place = $t->places;
like($place->{pg_stat_statements}, qr/payout\.token_digest\(/, 'nested statements are in the statistics');
ok($place->{log} =~ /Query Text: .*payout\.cashout_token t/, 'nested statements are in the log');

# With log_verbose the plan of a client's own statement shows its parameters: that alone is left out, and counted.
my @lines = split /\n/, $place->{log};
my @others = grep { !/^\s+Function Call: payout\.cashout_\w+\('STORE1'::text, / } @lines;
cmp_ok(@lines - @others, '>=', 12, 'auto_explain.log_verbose must be off: it shows what clients bind');
$place->{log} = join "\n", @others;

$t->search($place, pattern(values %token), pattern($control, $open_token));
ok($place->{log} =~ pattern($logged_token), 'log_parameter_max_length is what keeps a bind parameter out of the log');
done_testing();
