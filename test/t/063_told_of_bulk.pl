# 063_told_of_bulk.pl: a bulk is refused whole, though the bank has booked it, and is split. What was split off it is claimed and waits for
# a bearer; meanwhile a notice of the bulk names one of its payouts. None of the others leaves unasked.
use strict;
use warnings;
use lib 'test/t/lib';
use JSON::PP ();
use PayoutTest;
use Test::More;

my $yes = JSON::PP::true;
# How deep it was split, and what the notice says of the one that it names.
for my $case ([ 'halves', 2, '2002100' ], [ 'halves of halves', 4, '2002100' ], [ 'in progress', 2, '2022100' ])
{
	my ($name, $count, $code) = @$case;
	my $t = PayoutTest->new(name => $name =~ tr/ /_/r, sandbox => { forget_references => $yes },
		channel => { mode => 'bulk', batch_size_max => $count, linger_ms => 0, not_found_grace_s => 0, not_found_count => 2, request_timeout_ms => 60000, connect_timeout_ms => 60000 });
	$t->sql("insert into payout.retry_policy (lane, base_ms, max_ms, tries_max) values ('check', 20, 100, 100000), ('dispatch', 20, 100, 1000)");
	my @all = map { $t->register } 1 .. $count;
	$t->wait_sql("select not exists (select from payout.payout where account_check = 'pending')");
	$t->fault(service => '21', kind => 'no_notice');
	$t->fault(service => '20', kind => 'answer', http => 404, code => '11', after_booking => $yes, delay_ms => 2000, count => 1);
	$t->fault(service => '20', kind => 'answer', http => 404, code => '11', delay_ms => 1000, count => 2) if $count > 2;
	$t->sql(sprintf "select payout.approve_batch('MERCHANT01', array[%s])", join ', ', map { "'$_'" } @all);
	# The last refusals find the worker without a bearer: what follows from them waits for one.
	$t->wait_for('the last refused ones are there', sub { $t->requests('20') >= ($count > 2 ? 3 : 1) });
	$t->sql(q(select payout.alter_channel('BANK1', '{"connect_timeout_ms": 50000}')));
	$t->fault(service => '73', kind => 'hang', keep => $yes, count => 1);
	$t->wait_sql("select count(*) = $count from payout.attempt where lane = 'dispatch' and outcome is null");
	my $sent = $t->requests('20');
	$t->sql("select payout.apply_notice('BANK1', jsonb_build_object('bulkId', 'B', 'partnerBulkId', b.batch_id, 'bulkObject', jsonb_build_array(
		jsonb_build_object('originalPartnerReferenceNo', '$all[0]', 'responseCode', '$code', 'beneficiaryAccountNo', '8800000001')))) from payout.batch b where b.parent_batch_id is null");
	is($t->requests('20'), $sent, "$name: nothing has left when the bank tells of the bulk, by one of its payouts");
	$t->control('POST', 'release');
	$t->wait_state($_, 'paid') for @all;
	is($t->requests('20'), $sent, "$name: nothing leaves afterwards: the bank is asked, and has them");
	is(join(' ', map { $t->times_paid($_) } @all), join(' ', (1) x $count), "$name: each is paid once");
	is($t->sql("select count(*) from payout.attempt where lane = 'dispatch' and outcome = 'not_sent'"), $count, "$name: what was claimed did not leave");
	$t->sound($name);
	$t->end_children;
}
done_testing();
