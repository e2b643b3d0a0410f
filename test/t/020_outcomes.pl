# 020_outcomes.pl: what each answer of the bank leads to: every row of the table of response codes that concerns
# transfers, and every way an exchange can break, for a single transfer (18) and for a bulk (20). Whatever happens, the
# bank pays each payout once or, where it refused for good, not at all, and the books agree.
use strict;
use warnings;
use lib 'test/t/lib';
use PayoutTest;
use Test::More;

my $t = PayoutTest->new(conf => [ 'log_min_messages = error' ], channel => {
	request_timeout_ms => 20000, not_found_grace_s => 0, not_found_count => 2, batch_size_max => 10 });
# Retries within the test's patience; how delays grow is tested with backoff itself.
$t->sql("insert into payout.retry_policy (lane, base_ms, max_ms, tries_max) values
	('check', 20, 100, 100000), ('dispatch', 20, 100, 1000), ('validate', 20, 100, 100000)");

# HTTP status, case -> class
my @codes = (
	(map { [ 400, $_, 'fail' ] } qw(00 01 02)),
	[ 401, '00', 'stop' ], [ 401, '01', 'auth' ], [ 401, '03', 'auth' ], [ 401, '02', 'fail' ], [ 401, '04', 'fail' ],
	(map { [ 403, $_, 'fail' ] } qw(00 02 03 05 07 08 09 10 11 12 13 15 16 17 18 21 22)),
	(map { [ 403, $_, 'later' ] } qw(04 06 14 20 23)), [ 403, '01', 'stop' ], [ 403, '19', 'stop' ],
	(map { [ 404, $_, 'fail' ] } qw(03 04 11 12 13 15 19)), [ 404, '02', 'later' ],
	(map { [ 404, $_, 'stop' ] } qw(05 06 07 08 09 10 16 17)),
	(map { [ 404, $_, 'unknown' ] } qw(00 01 14 18)),
	[ 405, '00', 'stop' ], [ 405, '01', 'fail' ],
	(map { [ 409, $_, 'unknown' ] } qw(00 01)), [ 429, '00', 'later' ],
	(map { [ 500, $_, 'unknown' ] } qw(00 01 02)), [ 504, '00', 'unknown' ],
	[ 418, '77', 'unknown' ], [ 202, '00', 'wait' ]);
my %outcome = (fail => 'no', stop => 'refused_for_now', auth => 'refused_for_now', later => 'refused_for_now', unknown => 'unknown', wait => 'yes');

# Pays $count payouts into one batch and answers their TXIDs.
sub pay_together
{
	my $count = shift;
	$t->sql("select payout.pause_channel('BANK1', 'gathering')");
	my @txids = map { $t->pay } 1 .. $count;
	$t->sql("update payout.payout set account_check = 'matched', check_due_at = null where account_check = 'pending';
		update payout.payout set dispatch_due_at = payout.clock() where state = 'approved' and dispatch_due_at is null");
	$t->sql("select payout.resume_channel('BANK1')");
	return @txids;
}

sub first_attempt
{
	my $txid = shift;
	return $t->sql("select a.outcome || ' ' || a.class from payout.attempt a where a.lane = 'dispatch' and a.outcome is distinct from 'not_sent' and a.batch_id in
		(select coalesce(b.parent_batch_id, b.batch_id) from payout.batch b join payout.payout p using (channel_id, batch_id) where p.txid = '$txid')
		order by a.started_at limit 1");
}

sub expect_code
{
	my ($service, $http, $case, $class) = @_;
	my $name = "service $service, $http-$case";
	# "In progress" is only true of what the bank has taken in.
	$t->fault(service => $service, kind => 'answer', http => $http, code => $case, count => 1,
		$class eq 'wait' ? (after_booking => JSON::PP::true) : ());
	my $tokens = $t->requests('73');
	my @txids = pay_together($service == 20 ? 2 : 1);
	if ($class eq 'stop')
	{
		$t->wait_sql("select paused_reason like '%$http%' from payout.channel");
		is($t->sql("select string_agg(distinct payout.money_position(merchant_id, txid), ' ') from payout.payout where txid in ('" . join("','", @txids) . "')"),
			'in_transit', "$name: the channel is paused and the money kept");
		$t->sql("select payout.resume_channel('BANK1')");
	}
	# A refusal of a whole bulk names no culprit: its halves are sent, and here they pass. Asked for a transfer that
	# never came, the bank knows nothing, and the same batch is sent again.
	my $final = $class eq 'fail' && $service != 20 ? 'failed' : 'paid';
	$t->wait_state($_, $final) for @txids;
	like(first_attempt($txids[0]), qr/^$outcome{$class} /, "$name: outcome") unless $service == 20 && $class eq 'fail';
	is(join(' ', map { $t->times_paid($_) } @txids), join(' ', map { $final eq 'paid' ? 1 : 0 } @txids), "$name: $final");
	is($t->sendings($txids[0]), '2 1 2', "$name: the same order again, under a new external id") if $final eq 'paid' && $class =~ /later|auth|stop|unknown/;
	is($t->requests('73'), $tokens + 1, "$name: a new token") if $class eq 'auth';
	is($t->sql("select money_position from payout.money_position('MERCHANT01', '$txids[0]')"), 'refunded', "$name: the money is back") if $final eq 'failed';
	# A route that is down concerns the item, everything else of this class the whole channel.
	like($t->sql('select not_before_reason from payout.channel'), qr/\b$http$service$case\b/, "$name: the channel rested")
		if $class eq 'later' && "$http-$case" !~ /404-02|403-23/;
}

# How often a payout's batch was sent, in how many forms, under how many external ids.
# A broken exchange: in doubt, then paid once.
sub expect_broken
{
	my ($service, $name, %fault) = @_;
	$t->fault(service => $service, count => 1, %fault);
	my @txids = pay_together($service == 20 ? 2 : 1);
	$t->wait_state($_, 'paid') for @txids;
	is(join(' ', map { $t->times_paid($_) } @txids), join(' ', map { 1 } @txids), "service $service, $name: paid once");
	# The bank's notice may be faster than the end of the exchange.
	$t->wait_sql("select count(*) = 0 from payout.attempt where lane = 'dispatch' and outcome is null");
	like(first_attempt($txids[0]), qr/^unknown/, "service $service, $name: was in doubt");
}

my $yes = JSON::PP::true;
for my $service (18, 20)
{
	$t->sql(sprintf q(select payout.alter_channel('BANK1', '{"mode": "%s"}')), $service == 18 ? 'single' : 'bulk');
	expect_code($service, @$_) for @codes;
	expect_broken($service, 'reset before booking', kind => 'reset_before');
	expect_broken($service, 'reset after booking', kind => 'reset_after');
	expect_broken($service, '500 before booking', kind => 'error_before', http => 500);
	expect_broken($service, '503 after booking, no envelope', kind => 'error_after', http => 503, raw => $yes);
	expect_broken($service, '401 without an envelope', kind => 'error_before', http => 401, raw => $yes);
	expect_broken($service, 'garbage', kind => 'garbage');
	expect_broken($service, 'a truncated answer', kind => 'truncated');
	expect_broken($service, 'an oversized answer', kind => 'oversized');
	expect_broken($service, 'a deeply nested answer', kind => 'oversized', nested => $yes);
	# Short for these two alone: on a loaded machine an honest answer may take longer.
	$t->sql(q(select payout.alter_channel('BANK1', '{"request_timeout_ms": 700}')));
	expect_broken($service, 'no answer', kind => 'hang');
	expect_broken($service, 'no answer after booking', kind => 'hang', after_booking => $yes);
	$t->sql(q(select payout.alter_channel('BANK1', '{"request_timeout_ms": 20000}')));
}
is($t->sql('select count(*) from payout.attempt where length(excerpt) > 500'), '0', 'excerpts are bounded');
is($t->sql(q(select count(*) from payout.attempt where (excerpt is null) <> (outcome = 'yes'))), '0', 'and tell what went wrong, where something did');
is($t->sql("select count(*) from payout.payout where state not in ('paid', 'failed')"), '0', 'nothing is left open');
$t->sound('at the end');
done_testing();
