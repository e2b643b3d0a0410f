# 026_notify.pl: notifications are delivered at least once, in order, unchanged; they are given up after many tries and
# can be sent again; a slow or failing merchant holds up nobody else.
use strict;
use warnings;
use lib 'test/t/lib';
use PayoutTest;
use Test::More;

my $t = PayoutTest->new(conf => [ 'payout.max_in_flight = 8' ]);
$t->sql("insert into payout.retry_policy (lane, base_ms, max_ms, jitter, tries_max) values ('notify', 60000, 600000, 0, 3)");
sub owed { return $t->sql("select count(*) from payout.notification where delivered_at is null and given_up_at is null and merchant_id = '$_[0]'"); }

# Refused twice, then taken: the same id and body, and the later message waits for the earlier
$t->fault(service => 'webhook', kind => 'error_before', http => 500, count => 2, merchant_id => 'MERCHANT01');
my $txid = $t->register;
$t->wait_sql("select account_check = 'matched' from payout.payout where txid = '$txid'");
$t->approve($txid);
$t->wait_state($txid, 'paid');
$t->wait_sql("select exists (select from payout.notification where tries = 1 and http_status = 500)");
is(scalar @{ $t->webhooks }, 0, 'nothing has arrived');
$t->set_clock(61);
$t->wait_sql("select exists (select from payout.notification where tries = 2 and sending_by is null)");
$t->set_clock(300);
$t->wait_for('all arrive', sub { owed('MERCHANT01') == 0 });
my @seen = @{ $t->webhooks };
is(join(' ', map { $_->{type} } @seen), 'account.checked payout.approved payout.paid', 'in order');
is(scalar(grep { $_->{verified} } @seen), 3, 'each signed');
# Each tells of its moment, whatever became of the payout since.
my @made = split /\n/, $t->sql("select payout.notification_body(n, p) from payout.notification n join payout.payout p using (merchant_id, txid)
	where txid = '$txid' order by event_no");
is_deeply([ map { JSON::PP::decode_json($_) } @made ], [ map { $_->{body} } @seen ], 'a body is the same whenever it is made');
is(join(' ', map { $_->{body}{data}{state} } @seen), 'registered approved paid', 'and tells of its moment');

# Taken, but the merchant's answer is lost: the same message again, under the same id
$t->fault(service => 'webhook', kind => 'error_after', http => 500, count => 1, merchant_id => 'MERCHANT02');
my $again = $t->register(merchant => 'MERCHANT02');
$t->wait_for('it arrives', sub { @{ $t->webhooks('MERCHANT02') } == 1 });
$t->wait_sql("select exists (select from payout.notification where txid = '$again' and tries = 1 and sending_by is null)");
$t->set_clock(400);
$t->wait_for('it arrives again', sub { @{ $t->webhooks('MERCHANT02') } == 2 });
my ($one, $two) = @{ $t->webhooks('MERCHANT02') };
is($two->{webhook_id}, $one->{webhook_id}, 'the same id');
is(JSON::PP->new->canonical->encode($two->{body}), JSON::PP->new->canonical->encode($one->{body}), 'the same body');
ok($two->{verified} && $two->{repeat}, 'signed anew, and known as a repeat');

# Given up, and sent again on request
$t->fault(service => 'webhook', kind => 'error_before', http => 410, merchant_id => 'MERCHANT01');
my $dead = $t->register;
my $clock = 400;
$t->wait_for('it is given up', sub {
	$t->set_clock($clock += 700);
	return $t->sql("select count(*) from payout.notification where txid = '$dead' and given_up_at is not null and tries = 3") == 1;
});
is($t->sql("select status from payout.health() where check_name like '%given_up%'") =~ /warning|critical/, 1, 'health shows it');
$t->clear_faults;
is($t->sql("select payout.resend_notification('MERCHANT01', '$dead')"), '1', 'one is sent again');
$t->wait_for('it arrives', sub { scalar(@{ $t->webhooks }) == 4 });

# A merchant that never answers, and another one
$t->fault(service => 'webhook', kind => 'hang', merchant_id => 'MERCHANT01');
$t->register for 1 .. 20;
my $other = $t->register(merchant => 'MERCHANT02');
$t->wait_for('the other is told', sub { grep { $_->{body}{data}{txid} eq $other } @{ $t->webhooks('MERCHANT02') } });
ok(owed('MERCHANT01') > 0, 'while the first still hangs');

# Without a secret nothing is sent unsigned
$t->sql("delete from payout.merchant_secret where merchant_id = 'MERCHANT02'");
$t->register(merchant => 'MERCHANT02');
$t->wait_sql("select exists (select from payout.notification where merchant_id = 'MERCHANT02' and error like '%webhook_secret%')");
is(scalar(grep { !$_->{verified} } @{ $t->webhooks('MERCHANT02') }), 0, 'nothing unsigned has arrived');
is($t->sql("select count(*) > 0 from payout.health() where status <> 'ok' and (check_name like '%secret%' or detail like '%webhook_secret%')"), 't', 'health says so');
is($t->sql('select * from payout.verify()'), '', 'verify() is empty');
done_testing();
