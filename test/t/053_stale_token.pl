# 053_stale_token.pl: a channel is altered while its token is being asked for: that token is of another bank or client, and is not
# used. Who waited for it was not tried, and is asked again with a token of the channel as it now is.
use strict;
use warnings;
use lib 'test/t/lib';
use PayoutTest;
use Test::More;

my $t = PayoutTest->new(conf => [ 'log_min_messages = error' ], channel => { mode => 'single', request_timeout_ms => 20000 });
my $ms = 5000;
# A transfer needs a token while another is checked: both wait for it.
for my $case ([ 'a token', [] ], [ 'an error', [ kind => 'error_before', http => 500 ] ], [ 'no answer', [ kind => 'reset_before' ] ], [ 'a refusal as a partner', [ kind => 'answer', http => 401, code => '00' ] ])
{
	my ($name, $fault) = @$case;
	my $txid = $t->register;
	$t->wait_sql("select account_check = 'matched' from payout.payout where txid = '$txid'");
	# Forgets the token.
	$t->sql("select payout.alter_channel('BANK1', jsonb_build_object('connect_timeout_ms', " . ++$ms . '))');
	my $asked = $t->requests('73');
	$t->fault(service => '73', count => 1, delay_ms => 1500, @$fault ? @$fault : (kind => 'delay'));
	my $other = $t->register;
	$t->approve($txid);
	$t->wait_for("$name: a token is asked for", sub { $t->requests('73') > $asked });
	$t->wait_sql("select count(*) = 2 from payout.attempt where outcome is null");
	$t->sql("select payout.alter_channel('BANK1', jsonb_build_object('base_url', '" . $t->bank_url . "/', 'connect_timeout_ms', " . ++$ms . '))');
	$t->wait_state($txid, 'paid');
	$t->wait_sql("select account_check = 'matched' from payout.payout where txid = '$other'");
	cmp_ok($t->requests('73') - $asked, '>=', 2, "$name: another token is asked for");
	is($t->sql("select count(*) from payout.attempt a join payout.payout p using (channel_id, batch_id) where p.txid = '$txid' and a.outcome = 'not_sent' and a.class is null"), '1', "$name: the transfer was not sent, and not tried");
	is($t->sql("select tries from payout.batch b join payout.payout p using (channel_id, batch_id) where p.txid = '$txid'"), '1', "$name: it counts once");
	is($t->sql("select check_tries from payout.payout where txid = '$other'"), '1', "$name: so does the account check");
	is($t->times_paid($txid), 1, "$name: paid once");
}
is($t->sql('select count(*) from payout.channel where paused_at is not null'), '0', 'what the old bank said of its client pauses nothing');
$t->sound('at the end');
done_testing();
