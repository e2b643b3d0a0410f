# Disbursement.pm: the 23 steps of a disbursement: a merchant pays six people, four of whom are reached. Each step asks
# and tells what it observed; the merchant's calls are made by the merchant's own role. demo.pl enters.
package Disbursement;

use strict;
use warnings;
use Report;
use Time::HiRes qw(time);

# The people to be paid. The fourth account does not exist; the fifth is refused by the bank at payroll.
my @people = (
	{ reference => 'INV-1001', name => 'Budi Santoso', bank => 'CENA', account => '8800000001', amount => 250000 },
	{ reference => 'INV-1002', name => 'Siti Rahayu', bank => 'BMRI', account => '8900000002', amount => 1500000 },
	{ reference => 'INV-1003', name => 'Dewi Lestari', bank => 'BNIN', account => '8700000003', amount => '75000.50' },
	{ reference => 'INV-1004', name => 'Agus Wijaya', bank => 'CENA', account => '4040000001', amount => 300000 },
	{ reference => 'INV-1005', name => 'Rina Hartati', bank => 'BMRI', account => '8900000005', amount => 125000 },
	{ reference => 'INV-1006', name => 'Joko Susilo', bank => 'OWNB', account => '8600000006', amount => 400000, method => 'overbooking' });

my ($stage, $merchant, %as_merchant);

sub people { return @people; }

# The whole flow on a stage that is set, for a merchant by the role that acts for it.
sub run
{
	($stage, $merchant, my $role) = @_;
	%as_merchant = (m => $merchant, as => $role);
	heading('Disbursement');
	register();
	check_accounts();
	approve();
	dispatch();
	notifications();
	check_status();
}

# Steps 1 to 5
sub register
{
	for my $p (@people)
	{
		my ($row) = $stage->rows("select txid, state, account_check from payout.register(:'m', :'r', :'a', :'b', :'no', :'n', :'method')",
			%as_merchant, r => $p->{reference}, a => $p->{amount}, b => $p->{bank}, no => $p->{account}, n => $p->{name}, method => $p->{method} || 'online');
		@$p{qw(txid state)} = @$row;
	}
	my $again = $stage->query("select txid from payout.register(:'m', 'INV-1001', 250000, 'CENA', '8800000001', 'Budi Santoso')", %as_merchant);
	my @refusal = $stage->failure("select payout.register(:'m', 'INV-1001', 999999, 'CENA', '8800000001', 'Budi Santoso')", %as_merchant);
	line('step 1-2', 'merchant -> platform: registration; data collected and checked');
	more(map { sprintf '%s  %-13s %13s  to %s %s by %s', $_->{reference}, $_->{name}, rupiah($_->{amount}), $_->{bank}, $_->{account}, $_->{method} || 'online' } @people);
	more('INV-1001 asked again: ' . must($again eq $people[0]{txid}, 'the same TXID', 'ANOTHER TXID') . '; asked again with another amount: '
		. refused('PY002', $refusal[0]));
	line('step 3', 'platform: TXID generated: merchant, 07, Jakarta time, 4 characters');
	more("$people[0]{txid} for INV-1001");
	line('step 4-5', 'platform -> merchant: TXID returned, merchant stores it');
	more(map { "$_->{reference} -> $_->{txid}  $_->{state}" } @people);
}

# Steps 6 to 9
sub check_accounts
{
	$stage->wait_for('the account checks', sub { !$stage->query("select count(*) from payout.payout where account_check = 'pending'") });
	line('step 6-9', 'platform <-> bank: account inquiry; the bank\'s answer stored');
	for my $row ($stage->rows('select p.reference_no, p.account_check, coalesce(p.account_name, chr(45)), a.service, a.http_status, a.response_code, a.latency_ms
		from payout.payout p join payout.attempt a using (merchant_id, txid) order by p.reference_no'))
	{
		my ($reference, $check, $said, $service, $http, $code, $ms) = @$row;
		more(sprintf '%s  %-8s %-13s service %s, HTTP %s, code %s, %s ms', $reference, $check, $said, $service, $http, $code, $ms);
	}
}

# Steps 10 to 12
sub approve
{
	my ($wrong) = grep { $_->{reference} eq 'INV-1004' } @people;
	my @refusal = $stage->failure("select payout.approve(:'m', :'t')", %as_merchant, t => $wrong->{txid});
	my @good = grep { $_ != $wrong } @people;
	my @answers = $stage->rows("begin;\n" . join("\n", map { "select (a).txid, (a).state from payout.approve(:'m', '$_->{txid}') a;" } @good)
		. "\nselect available, in_transit from payout.balance(:'m');\ncommit;", %as_merchant);
	my $balance = pop @answers;
	line('step 10-11', 'merchant -> platform: approve; amount and fee deducted in the same transaction');
	more("$wrong->{reference}  approval " . refused('PY008', @refusal));
	more(scalar(@good) . ' others approved in one transaction: available ' . rupiah($balance->[0]) . ', in transit ' . rupiah($balance->[1]));
	line('step 12', 'platform -> merchant: answer: processing');
	more(map { my $t = $_->[0]; my ($p) = grep { $_->{txid} eq $t } @good; "$p->{reference}  $_->[1]" } @answers);
	$stage->query("select payout.reject(:'m', :'t', 'the account does not exist')", %as_merchant, t => $wrong->{txid});
	more("$wrong->{reference}  rejected by the merchant");
}

# Steps 13 to 16
sub dispatch
{
	$stage->wait_for('all payouts', sub { !$stage->query('select count(*) from payout.payout where final_at is null') });
	line('step 13-16', 'platform <-> bank: batches sent; the bank runs its payroll; answers received');
	for my $b ($stage->rows('select b.batch_id, b.service, b.item_count, b.total, b.bank_batch_no, b.state, a.external_id, a.outcome, a.response_code, a.latency_ms
		from payout.batch b join payout.attempt a using (channel_id, batch_id) order by b.service desc'))
	{
		my ($id, $service, $items, $total, $bank_no, $state, $external_id, $outcome, $code, $ms) = @$b;
		more("batch $id: service $service, $items payout" . ($items > 1 ? 's' : '') . ' over ' . rupiah($total) . ", $state by the bank" . ($bank_no ? " as $bank_no" : ''));
		more("    attempt: external id $external_id, outcome $outcome, code $code, $ms ms");
	}
	for my $n ($stage->rows('select bank_batch_no, items, unknown_items, external_id from payout.notice'))
	{
		more("notice 21 received from the bank: bulk $n->[0], $n->[1] items, $n->[2] of them unknown to us; token and signature verified");
	}
	more(map { sprintf '%s  %-8s bank reference %-20s %s', @$_ }
		$stage->rows("select reference_no, state, coalesce(bank_reference_no, 'none'), coalesce(reason, '') from payout.payout where batch_id is not null order by reference_no"));
}

# Step 17
sub notifications
{
	my $owed = $stage->query('select count(*) from payout.notification');
	$stage->wait_for('the notifications', sub { $stage->query('select count(*) from payout.notification where delivered_at is not null') == $owed });
	my $webhooks = $stage->control('GET', "webhooks?merchant_id=$merchant")->{webhooks};
	my %of;
	push @{ $of{ $_->{body}{data}{reference_no} } }, $_ for @$webhooks;
	line('step 17', 'platform -> merchant: notifications, as the merchant\'s web server received them');
	for my $reference (sort keys %of)
	{
		more("$reference  " . join(', ', map { $_->{type} . ($_->{verified} ? '' : ' (BAD SIGNATURE)') } @{ $of{$reference} }));
	}
	my $bad = grep { !$_->{verified} } @$webhooks;
	more(sprintf '%d of %d owed arrived, %d with a signature that the merchant verified; the first: %s', scalar @$webhooks, $owed, @$webhooks - $bad, $webhooks->[0]{webhook_id});
	must(!$bad && @$webhooks == $owed);
}

# Steps 18 to 23
sub check_status
{
	my $p = $people[0];
	my $asked_before = $stage->control('GET', 'requests?service=36')->{count};
	my $began = time;
	my $state = $stage->query("call payout.check_status(:'m', :'t')", %as_merchant, t => $p->{txid});
	my $took_ms = int(1000 * (time - $began));
	my $asked = $stage->control('GET', 'requests?service=36')->{count} - $asked_before;
	my ($a) = $stage->rows("select service, outcome, http_status, response_code, latency_ms from payout.attempt where lane = 'check' and txid = :'t' order by started_at desc limit 1", t => $p->{txid});
	line('step 18-22', 'merchant -> platform -> bank -> platform -> merchant: status check, passed through');
	more("CALL payout.check_status for $p->{reference}: \"$state\" after $took_ms ms; inquiries that reached the bank meanwhile: $asked");
	more(sprintf 'attempt: service %s, outcome %s, HTTP %s, code %s, %s ms', @$a);
	must($state eq 'paid' && $asked > 0);
	my ($row) = $stage->rows("select state, amount, fee, bank_reference_no, status_checked_at > approved_at from payout.inquiry(:'m', :'t')", %as_merchant, t => $p->{txid});
	line('step 23', 'merchant: validates the status by payout.inquiry');
	more("$p->{reference}  $row->[0], amount " . rupiah($row->[1]) . ', fee ' . rupiah($row->[2]) . ", bank reference $row->[3]");
	more('its history:');
	more(map { sprintf '    %s. %-11s %-17s %s', @$_ } $stage->rows("select event_no, to_state, coalesce(event, '-'), coalesce(reason, '') from payout.payout_event where txid = :'t' order by 1", t => $p->{txid}));
}

1;
