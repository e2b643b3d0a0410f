# 010_crash_points.pl: a process of the server dies (-9) at every named line of the code, under every kind of bank answer;
# afterwards each payout has been paid exactly as often as it says, and nothing is lost or left over.
#
# Needs the library built with DEVELOPER=1. Each place once, with another answer each; LONG=1: each with all answers.
use strict;
use warnings;
use lib 'test/t/lib';
use PayoutTest;
use Test::More;
use Time::HiRes qw(sleep time);

# The places are read from the source, so that a new one cannot be forgotten.
my @points = sort { $a cmp $b } keys %{ { map { $_ => 1 } map { PayoutTest::slurp($_) =~ /\bcrash_point\("(\w+)"\)/g } glob 'src/*.c' } };
cmp_ok(scalar @points, '>', 15, scalar(@points) . ' places to die at');

# What the bank does meanwhile: to the transfers (bulk 20 and single 17), and to the merchant's end.
my %answers = (
	yes => [],
	item_fails => [ { service => 20, kind => 'item_fail', account_no => '8800000002', http => 404, code => '11' } ],
	reset_before => [ map { { service => $_, kind => 'reset_before', count => 1 } } 20, 17, 'webhook' ],
	reset_after => [ map { { service => $_, kind => 'reset_after', count => 1 } } 20, 17, 'webhook' ],
	error_before => [ map { { service => $_, kind => 'error_before', count => 1 } } 20, 17, 36 ],
	error_after => [ map { { service => $_, kind => 'error_after', count => 1 } } 20, 17, 16 ],
	garbage => [ map { { service => $_, kind => 'garbage', count => 1 } } 20, 17, 36 ],
	later => [ map { { service => $_, kind => 'answer', http => 403, code => '14', count => 1 } } 20, 17 ],
	notice_first => [ { service => 20, kind => 'notice_first', delay_ms => 100 } ],
	no_notice => [ { service => 21, kind => 'no_notice' } ]);

my $t = PayoutTest->new(channel => { not_found_grace_s => 0, not_found_count => 1, linger_ms => 0 });
my $node = $t->{node};
my $crash_file = "$t->{dir}/crash";
$node->append_conf('postgresql.conf', "payout.crash_file = '$crash_file'\npayout.token_ttl = 1h\nlog_min_messages = log");
$node->reload;
$t->sql("insert into payout.retry_policy (lane, source, base_ms, max_ms, tries_max)
	select lane, 'operator', 50, 200, tries_max from payout.retry_policy where source = 'shipped'");

# A statement that is asked until the server answers it, as clients do; every one of them is idempotent.
sub insist
{
	my ($sql) = @_;
	my ($status, $out);
	$t->wait_for($sql, sub { ($status, $out) = $t->try_sql($sql); $status == 0 });
	return $out;
}

# Four disbursements and four cashouts, begun and brought as far as their clients bring them.
sub work
{
	my ($name, $moved) = @_;
	my %account = (B1 => '8800000001', B2 => '8800000002', B3 => '8800000003');
	my @txids;
	for my $r (sort keys %account)
	{
		push @txids, insist("select txid from payout.register('MERCHANT01', '$name$r', 10000, 'CENA', '$account{$r}', 'Budi Santoso')");
	}
	push @txids, insist("select txid from payout.register('MERCHANT02', '${name}O', 20000, 'OWNB', '8800000004', 'Budi Santoso', 'overbooking')");
	insist("select payout.approve(left('$_', 10), '$_')") for @txids;
	my @cash = map { insist("select txid from payout.register_cashout('MERCHANT01', '$name$_', 50000, 'Budi Santoso', '0812')") } qw(C1 C2 C3 C4);
	my @tokens;
	for my $txid (@cash)
	{
		# A token that was lost with the answer is issued again.
		my $token = insist("select cashout_token from payout.approve('MERCHANT01', '$txid')")
			|| insist("select cashout_token from payout.reissue_token('MERCHANT01', '$txid')");
		push @tokens, $token;
	}
	insist("select payout.cashout_validate('STORE1', '$tokens[0]', 'TILL1', '$txids[0]')");
	insist("select payout.cashout_confirm('STORE1', '$tokens[0]', '$txids[0]')");
	insist("select payout.cashout_validate('STORE1', '$tokens[1]', 'TILL1', '$txids[1]')");
	insist("select payout.cashout_reverse('STORE1', '$tokens[1]', '$txids[1]', 'no cash')");
	insist("select payout.cashout_validate('STORE2', '$tokens[1]', 'TILL1', '$txids[1]')");
	insist("select payout.cashout_confirm('STORE2', '$tokens[1]', '$txids[1]')");
	insist("select payout.reject('MERCHANT01', txid, 'x') from payout.register_cashout('MERCHANT01', '${name}C5', 50000, 'Budi Santoso', '0812')");
	# C3 and C4 expire.
	insist("alter system set payout.clock_offset = '${moved}s'");
	insist('select pg_reload_conf()');
	return (\@txids, \@cash);
}

my $moved = 0;

sub crash
{
	my ($point, $answer) = @_;
	my $name = "$point/$answer";
	$moved += 7200;
	$t->clear_faults;
	$t->fault(%$_) for @{ $answers{$answer} };
	PayoutTest::write_file($crash_file, "$point 0\n");
	$t->sql("select pg_terminate_backend(pid) from pg_stat_activity where backend_type = 'payout worker'") if $point =~ /^begin_/;
	my ($txids, $cash) = work("$name/", $moved);
	$t->wait_for("$name: the process dies there", sub { !-e $crash_file });
	$t->wait_all_ended;
	my $as_it_says = 1;
	for my $txid (@$txids)
	{
		my ($state, $times) = ($t->state($txid), $t->times_paid($txid));
		$as_it_says &&= $times == ($state eq 'paid' ? 1 : 0);
		diag("$name: $txid is $state, the bank paid it $times times") if $times != ($state eq 'paid' ? 1 : 0);
	}
	ok($as_it_says, "$name: each was paid as often as it says");
	is(join(' ', map { $t->state($_) } @$cash), 'paid paid expired expired', "$name: cashouts");
	is($t->sql('select * from payout.verify()'), '', "$name: verify() is empty");
	my %told;
	$told{$_}++ for map { "$_->{body}{data}{txid} $_->{type}" } @{ $t->webhooks };
	is(join(' ', grep { !$told{"$_ payout.paid"} && !$told{"$_ payout.failed"} } grep { /^MERCHANT01/ } @$txids), '', "$name: the merchant was told of each end");
}

my @kinds = sort keys %answers;
for my $i (0 .. $#points)
{
	crash($points[$i], $_) for $ENV{LONG} ? @kinds : $kinds[ $i % @kinds ];
}
$t->sound('after all');
done_testing();
