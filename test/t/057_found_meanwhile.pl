# An order that the bank did not find goes again, and waits for a token. Meanwhile an older inquiry is answered: the bank has
# paid it. The worker has moved the payout itself, and its own order must not leave any more.
use strict;
use warnings;
use lib 'test/t/lib';
use JSON::PP ();
use PayoutTest;
use Test::More;

my $t = PayoutTest->new(
	balance => 1000000,
	channel => { mode => 'single', request_timeout_ms => 1000, not_found_grace_s => 0, not_found_count => 1, reference_memory_s => 86400, status_delay_s => 30 });
$t->sql("insert into payout.retry_policy (lane, base_ms, max_ms, tries_max) values ('check', 3600000, 3600000, 100000)");
my $txid = $t->register;
$t->wait_sql("select not exists (select from payout.payout where account_check = 'pending')");

$t->fault(service => '18', kind => 'hang', after_booking => JSON::PP::true, count => 1);
$t->fault(service => '36', kind => 'hang', count => 1);
$t->approve($txid);
$t->wait_state($txid, 'suspect');
is($t->times_paid($txid), 1, 'the bank has paid the order, and its answer is lost');

# the first inquiry waits, the second one says "not found"
my $under_way = sub { my ($lane, $count) = @_; $t->wait_sql("select count(*) = $count from payout.attempt where lane = '$lane' and outcome is null") };
$t->sql(q(select payout.alter_channel('BANK1', '{"request_timeout_ms": 60000, "status_delay_s": 0}')));
$t->sql("select payout.request_check('MERCHANT01', '$txid')");
$under_way->('check', 1);
$t->fault(service => '36', kind => 'answer', http => 404, code => '01', delay_ms => 1500, count => 1);
$t->sql("select payout.request_check('MERCHANT01', '$txid')");
$under_way->('check', 2);
$t->sql("select payout.pause_channel('BANK1', 'test')");
$t->wait_state($txid, 'dispatching');

# the order is claimed again and waits for a new token
$t->sql(q(select payout.alter_channel('BANK1', '{"connect_timeout_ms": 50000}')));
$t->fault(service => '73', kind => 'delay', delay_ms => 5000, count => 1);
my $sent = $t->requests('18');
$t->sql("select payout.resume_channel('BANK1')");
$under_way->('dispatch', 1);
$t->control('POST', 'release');
$t->wait_state($txid, 'paid');
$under_way->('dispatch', 0);
is($t->requests('18'), $sent, 'the order did not leave again');
is($t->times_paid($txid), 1, 'it is paid once');
is($t->state($txid), 'paid', 'and stays paid');
$t->end_children;

# A bulk that was refused for now goes again, and waits for a token. Meanwhile the bank tells by a notice that it has it: it does
# not leave, and is asked for.
my $b = PayoutTest->new(name => 'told', balance => 1000000, channel => { mode => 'bulk', linger_ms => 0, request_timeout_ms => 60000, status_delay_s => 0, not_found_grace_s => 0, not_found_count => 2 });
$b->sql("insert into payout.retry_policy (lane, base_ms, max_ms, tries_max) values ('check', 20, 100, 100000)");
$b->fault(service => '20', kind => 'answer', http => 429, code => '00', count => 1);
my $refused = $b->pay;
$b->wait_sql("select exists (select from payout.attempt where lane = 'dispatch' and outcome = 'refused_for_now')");
$b->sql(q(select payout.pause_channel('BANK1', 'test'); select payout.alter_channel('BANK1', '{"connect_timeout_ms": 50000}')));
$b->fault(service => '73', kind => 'delay', delay_ms => 5000, count => 1);
my $left = $b->requests('20');
$b->sql("select payout.resume_channel('BANK1')");
$b->wait_sql("select count(*) = 1 from payout.attempt where lane = 'dispatch' and outcome is null");
$b->sql("select payout.apply_notice('BANK1', jsonb_build_object('bulkId', 'B', 'partnerBulkId', batch_id, 'bulkObject', jsonb_build_array(
	jsonb_build_object('originalPartnerReferenceNo', txid, 'responseCode', '2022100', 'beneficiaryAccountNo', account_no)))) from payout.payout where txid = '$refused'");
$b->wait_state($refused, 'paid');
is($b->sql("select string_agg(outcome, ' ' order by started_at) from payout.attempt where lane = 'dispatch'"), 'refused_for_now not_sent yes', 'it did not leave when it was told of');
is($b->sql("select string_agg(coalesce(d.outcome, 'none') || ' ' || c.answer, ', ' order by c.started_at) from payout.attempt c left join payout.attempt d on d.channel_id = c.channel_id and d.attempt_id = c.asked_attempt_id
	where c.txid = '$refused' and c.lane = 'check' and c.started_at < (select max(a.started_at) from payout.attempt a where a.lane = 'dispatch')"),
	'refused_for_now not_found, refused_for_now not_found', 'the sending that the bank told of is asked for, before it goes again');
is($b->requests('20'), $left + 1, 'then it goes again');
is($b->times_paid($refused), 1, 'and is paid once');
$b->sound('told of before it left');
done_testing();
