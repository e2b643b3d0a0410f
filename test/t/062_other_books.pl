# 062_other_books.pl: two banks with books of their own, behind one channel one after the other. However the change falls together with
# what the worker does, an order reaches one of them; the second one is not asked for what the first has, and its numbers are its own.
use strict;
use warnings;
use lib 'test/t/lib';
use HTTP::Tiny ();
use JSON::PP ();
use PayoutTest;
use Test::More;

my %quick = (mode => 'single', not_found_grace_s => 0, not_found_count => 2, request_timeout_ms => 20000);

# Another bank, with the same keys.
sub second_bank
{
	my ($t) = @_;
	my (undef, $ports) = $t->start_program('sandbox', '--config', "$t->{dir}/sandbox.json", '--journal', "$t->{dir}/journal2", '--port', 0, '--control-port', 0);
	return { journal => "$t->{dir}/journal2", control => $ports->{control}, at => "\"base_url\": \"http://127.0.0.1:$ports->{listening}/bank\"" };
}

sub requests { my ($bank, $service) = @_; return JSON::PP::decode_json(HTTP::Tiny->new->get("http://127.0.0.1:$bank->{control}/control/requests?service=$service")->{content})->{count} }
sub paid_in { my ($journal, $txid) = @_; return -e $journal ? scalar grep { /"event":\s*"paid"/ && /"\Q$txid\E"/ } split /\n/, PayoutTest::slurp($journal) : 0 }
sub paid_at { my ($t, $bank, $txid) = @_; return join(' ', paid_in("$t->{dir}/journal", $txid), paid_in($bank->{journal}, $txid)) }
sub start { my $t = PayoutTest->new(@_); $t->sql("insert into payout.retry_policy (lane, base_ms, max_ms, tries_max) values ('check', 20, 100, 100000), ('dispatch', 20, 100, 1000)"); return ($t, second_bank($t)) }
sub alter { my ($options) = @_; return "select payout.alter_channel('BANK1', '{$options}')" }
# What is registered now is checked in a turn of the worker that has seen all that was due before.
sub wait_turn { my ($t) = @_; my $txid = $t->register; $t->wait_sql("select account_check = 'matched' from payout.payout where txid = '$txid'") }

# The change stays uncommitted while an order is due: of a channel that pays, paused in the same transaction, and of one that was never
# used; the transaction is undone first, and then repeated.
my ($t, $b) = start(name => 'open', channel => \%quick);
for my $case ('never used', 'paused with it')
{
	my $pause = $case eq 'never used' ? '' : "select payout.pause_channel('BANK1', 'we move');";
	my $there = $case eq 'never used' ? $b->{at} : "\"base_url\": \"" . $t->bank_url . '"';
	my $s = $t->session;
	for my $end ('rollback', 'commit')
	{
		$s->('begin; ' . $pause . alter($there));
		my $txid = $t->register;
		$t->wait_sql("select account_check = 'matched' from payout.payout where txid = '$txid'");
		$t->approve($txid);
		my @before = ($t->requests('18'), requests($b, '18'));
		wait_turn($t);
		is(join(' ', $t->requests('18'), requests($b, '18'), $t->state($txid)), "@before approved", "$case: while the change is not committed nothing leaves ($end)");
		$s->("select payout.resume_channel('BANK1')") if $pause;
		$s->($end);
		$t->wait_state($txid, 'paid');
		is(paid_at($t, $b, $txid), ($end eq 'rollback') == ($case eq 'never used') ? '1 0' : '0 1', "$case: after the $end it is paid once, by the bank that stands there");
		my $checks = $t->sql("select count(*) from payout.attempt where lane = 'validate' and txid = '$txid'");
		is($checks, $end eq 'commit' ? 2 : 1, "$case: and its account was checked there");
		# back to an unused channel there is no way: the first case ends with the change
		last if $case eq 'never used' && $end eq 'commit';
		if ($case eq 'never used')
		{
			# It has paid by now: so this is the pause and the change, each committed.
			is($t->sqlstate(alter($b->{at})), 'PY004', 'a channel that has paid is not changed while it is not paused');
			$pause = "select payout.pause_channel('BANK1', 'we move');";
		}
	}
}
is($t->sql('select epoch from payout.channel'), '3', 'two changes');
is($t->sql('select * from payout.verify()'), '', 'sound');

# The late word of the first bank on what it had denied: it is in doubt, and the second bank is asked nothing.
$t->sql("select payout.alter_channel('BANK1', '{\"mode\": \"bulk\", \"linger_ms\": 0}')");
$t->fault(service => '21', kind => 'no_notice');
$t->fault(service => '20', kind => 'item_fail', http => 404, code => '11', count => 2);
my @failed = map { my $f = $t->pay; $t->wait_state($f, 'failed'); $f } 1 .. 2;
$t->sql("select payout.pause_channel('BANK1', 'we move')");
is($t->sqlstate(alter($b->{at})), '00000', 'all is at its end: another bank');
$t->sql("select payout.resume_channel('BANK1')");
sub notice
{
	my ($txid, $code) = @_;
	$t->sql("select payout.apply_notice('BANK1', jsonb_build_object('bulkId', b.bank_batch_no, 'partnerBulkId', batch_id, 'bulkObject', jsonb_build_array(
		jsonb_build_object('originalPartnerReferenceNo', txid, 'responseCode', '$code', 'beneficiaryAccountNo', account_no)))) from payout.payout join payout.batch b using (channel_id, batch_id) where txid = '$txid'");
}
notice($failed[0], '2022000');
$t->wait_sql("select exists (select from payout.hold where txid = '$failed[0]' and lane = 'check')");
notice($failed[1], '2002000');
is($t->state($failed[1]), 'disputed', 'what the first bank has paid is believed');
is(requests($b, '36'), 0, 'the second bank is asked nothing');
is($t->sql("select status from payout.health() where check_name = 'other_books'"), 'warning', 'health() names it');
is($t->sqlstate("select payout.resolve('MERCHANT01', '$failed[0]', 'dispatch', 'ask')"), 'PY004', 'nor does a person have it asked');
$t->sql("select payout.resolve('MERCHANT01', '$failed[0]', 'failed', 'it was a mistake'); select payout.resolve('MERCHANT01', '$failed[1]', 'paid', 'its statement says so')");
is($t->sql("select doubted_at is null from payout.payout where txid = '$failed[0]'"), 't', 'a person decides, and the doubt ends');

# Its numbers begin where those of the first bank did.
$t->sql("select payout.alter_channel('BANK1', '{\"mode\": \"single\"}')");
my @new = map { my $n = $t->pay; $t->wait_state($n, 'paid'); $n } 1 .. 3;
is(join(', ', map { paid_at($t, $b, $_) } @new), '0 1, 0 1, 0 1', 'it pays each once');
is($t->sql('select count(*) > 0 from payout.payout p join payout.payout q on q.bank_reference_no = p.bank_reference_no and q.batch_id <> p.batch_id'), 't', 'though numbers are the same');
is($t->sql('select * from payout.verify()'), '', 'sound at the end');
$t->end_children;

# What the worker has taken waits for a standby to be committed, and nobody sees it; the channel is paused.
my ($w, $c) = start(name => 'waiting', channel => \%quick);
$w->wait_state($w->pay, 'paid');
my $txid = $w->register;
$w->wait_sql("select account_check = 'matched' from payout.payout where txid = '$txid'");
my $node = $w->{node};
$node->safe_psql('postgres', q(alter system set synchronous_standby_names = 'nobody'; select pg_reload_conf()));
$w->wait_for('the setting', sub { $node->safe_psql('postgres', 'show synchronous_standby_names') eq 'nobody' });
$w->sql("set synchronous_commit = local; select payout.approve('MERCHANT01', '$txid')");
$w->wait_for('the worker waits', sub { $node->safe_psql('postgres', "select count(*) from pg_stat_activity where backend_type = 'payout worker' and wait_event = 'SyncRep'") eq '1' });
is($w->state($txid), 'approved', 'what it has taken is not seen');
$w->sql("set synchronous_commit = local; select payout.pause_channel('BANK1', 'we move')");
is($w->sqlstate('set synchronous_commit = local; ' . alter($c->{at})), 'PY004', 'the bank does not change meanwhile');
$node->safe_psql('postgres', 'alter system reset synchronous_standby_names');
$node->safe_psql('postgres', 'select pg_reload_conf()');
$w->wait_sql("select state = 'dispatching' from payout.payout where txid = '$txid'");
is($w->sqlstate(alter($c->{at})), 'PY004', 'nor afterwards, while it is open');
$w->sql("select payout.resume_channel('BANK1')");
$w->wait_state($txid, 'paid');
is(paid_at($w, $c, $txid), '1 0', 'it is paid once, by the bank for which it was taken');
$w->sql("select payout.pause_channel('BANK1', 'we move')");
is($w->sqlstate(alter($c->{at})), '00000', 'then it changes');
$w->sql("select payout.resume_channel('BANK1')");
my $last = $w->pay;
$w->wait_state($last, 'paid');
is(paid_at($w, $c, $last), '0 1', 'and the other one pays');
is($w->sql('select * from payout.verify()'), '', 'sound after a wait');
done_testing();
