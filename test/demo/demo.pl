# demo.pl: a merchant pays six people (four arrive, two cannot), and every step of the disbursement flow says what was observed: in the tables, at
# the bank, at the merchant's end. Ends with balances, payout.verify() and the bank's own books; exit 1 when any of
# them disagrees. Started by demo.sh.
use strict;
use warnings;
use JSON::PP ();
use Theatre;
use Time::HiRes qw(time);

my $begun = time;
my $merchant = 'FLOWERSHOP';
my $source = '888801000157508';
my $wrong_answers = 0;
my $stage;

# The people to be paid. The fourth account does not exist; the fifth is refused by the bank at payroll.
my @people = (
	{ reference => 'INV-1001', name => 'Budi Santoso', bank => 'CENA', account => '8800000001', amount => 250000 },
	{ reference => 'INV-1002', name => 'Siti Rahayu', bank => 'BMRI', account => '8900000002', amount => 1500000 },
	{ reference => 'INV-1003', name => 'Dewi Lestari', bank => 'BNIN', account => '8700000003', amount => '75000.50' },
	{ reference => 'INV-1004', name => 'Agus Wijaya', bank => 'CENA', account => '4040000001', amount => 300000 },
	{ reference => 'INV-1005', name => 'Rina Hartati', bank => 'BMRI', account => '8900000005', amount => 125000 },
	{ reference => 'INV-1006', name => 'Joko Susilo', bank => 'OWNB', account => '8600000006', amount => 400000, method => 'overbooking' });

sub line { my ($step, $text) = @_; printf "%-11s %s\n", $step, $text; }

sub more { line('', $_ =~ s/ +$//r) for @_; }

sub rupiah
{
	my $text = sprintf '%.2f', shift;
	1 while $text =~ s/^(-?\d+)(\d{3})/$1,$2/;
	return $text;
}

# A fact that must hold; the demo fails when one does not.
sub agree
{
	my ($holds, $text) = @_;
	$wrong_answers++ unless $holds;
	more(($holds ? 'agrees: ' : 'DISAGREES: ') . $text);
}

sub prepare
{
	print "A flower shop pays six people from its prepaid balance: four payouts arrive, one account does not exist, one is\n"
		. "refused by the bank at its payroll. Every line below was observed in the tables, at the bank or at the shop's end.\n\n"
		. "Getting ready\n";
	$stage->make_keys;
	more('two RSA keys (ours, the bank\'s) and the secret file of this installation');
	$stage->start_server('shop');
	$stage->query('create extension payout');
	more('PostgreSQL ' . ($stage->query('show server_version') =~ s/ .*//r) . ' of our own, fsync ' . $stage->query('show fsync')
		. ', payout ' . $stage->query("select extversion from pg_extension where extname = 'payout'"));
	my $relay = $stage->start_sandbox('relay', '--conninfo', $stage->conninfo);
	start_bank($relay->{listening});
	more("sandbox: a SNAP BI bank and the merchant's web server on port $stage->{bank_port}, an independent program with its own books",
		"relay: brings the bank's own calls into the database, port $relay->{listening}");
}

sub start_bank
{
	my ($relay_port) = @_;
	Theatre::write_file($stage->path('sandbox.json'), JSON::PP::encode_json({
		client_id => 'PAYOUT-CLIENT', client_secret => 'a-shared-client-secret', partner_id => 'PARTNER1', channel_id => '95221',
		client_public_key => $stage->path('ours.pub'), bank_private_key => $stage->path('bank.pem'),
		notice_base_url => "http://127.0.0.1:$relay_port/snap/BANK1", payroll_delay_ms => 300,
		source_accounts => { $source => '1000000000.00' },
		accounts => [ map { { no => $_->{account}, name => uc $_->{name}, status => $_->{reference} eq 'INV-1004' ? 'invalid' : 'active' } } @people ],
		webhook_secrets => { $merchant => 'the-merchants-webhook-secret' } }));
	my $ports = $stage->start_sandbox('sandbox', '--config', $stage->path('sandbox.json'), '--journal', $stage->path('journal'), '--control-port', 0);
	$stage->{bank_port} = $ports->{listening};
	$stage->{control_port} = $ports->{control};
	$stage->control('POST', 'fault', { service => '20', kind => 'item_fail', account_no => '8900000005', http => 404, code => '11' });
}

sub configure
{
	my $channel = JSON::PP::encode_json({ client_id => 'PAYOUT-CLIENT', partner_id => 'PARTNER1', channel_header => '95221',
		source_account_no => $source, status_delay_s => 1 });
	my $options = JSON::PP::encode_json({ fee => { online => { flat => 2500 } },
		notify_events => [qw(account.checked payout.approved payout.paid payout.failed payout.rejected)] });
	$stage->rows(<<'END', url => "http://127.0.0.1:$stage->{bank_port}", channel => $channel, options => $options, merchant => $merchant,
		select payout.create_channel('BANK1', 'snap', :'url' || '/bank', :'channel');
		select payout.set_secret('channel:BANK1', 'private_key', :'ours'), payout.set_secret('channel:BANK1', 'client_secret', 'a-shared-client-secret'),
			payout.set_secret('channel:BANK1', 'bank_public_key', :'bank');
		select payout.create_bank('OWNB', 'the bank of our account', 'BANK1', '{"internal": true}'), payout.load_banks('BANK1');
		select payout.create_merchant(:'merchant', 'A flower shop', :'url' || '/merchant/' || :'merchant', :'options');
		select payout.set_secret('merchant:' || :'merchant', 'webhook_secret', 'the-merchants-webhook-secret');
		select payout.top_up(:'merchant', 10000000, 'TOPUP-0001');
		select payout.arm();
END
		ours => Theatre::slurp($stage->path('ours.pem')), bank => Theatre::slurp($stage->path('bank.pub')));
	$stage->wait_for('the worker', sub { $stage->query('select pid from payout.incarnation where ended_at is null') });
	more("channel BANK1, merchant $merchant with a fee of 2,500.00 for each online payout; armed, the worker runs");
	more('balance before: ' . rupiah($stage->query("select available from payout.balance(:'m')", m => $merchant))
		. ', our account at the bank: ' . rupiah(bank_balance()));
}

sub bank_balance { return $stage->control('GET', 'books?summary=1')->{source_accounts}{$source}; }

# Steps 1 to 5
sub register
{
	for my $p (@people)
	{
		my ($row) = $stage->rows("select txid, state, account_check from payout.register(:'m', :'r', :'a', :'b', :'no', :'n', :'method')",
			m => $merchant, r => $p->{reference}, a => $p->{amount}, b => $p->{bank}, no => $p->{account}, n => $p->{name}, method => $p->{method} || 'online');
		@$p{qw(txid state)} = @$row;
	}
	my $again = $stage->query("select txid from payout.register(:'m', 'INV-1001', 250000, 'CENA', '8800000001', 'Budi Santoso')", m => $merchant);
	my ($state) = $stage->failure("select payout.register(:'m', 'INV-1001', 999999, 'CENA', '8800000001', 'Budi Santoso')", m => $merchant);
	line('step 1-2', 'merchant -> platform: registration; data collected and checked');
	more(map { sprintf '%s  %-13s %13s  to %s %s by %s', $_->{reference}, $_->{name}, rupiah($_->{amount}), $_->{bank}, $_->{account}, $_->{method} || 'online' } @people);
	more('INV-1001 asked again: ' . ($again eq $people[0]{txid} ? 'the same TXID' : 'ANOTHER TXID') . '; asked again with another amount: refused, ' . ($state || 'NOT REFUSED'));
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
	my ($state, $message) = $stage->failure("select payout.approve(:'m', :'t')", m => $merchant, t => $wrong->{txid});
	my @good = grep { $_ != $wrong } @people;
	my @answers = $stage->rows("begin;\n" . join("\n", map { "select (a).txid, (a).state from payout.approve(:'m', '$_->{txid}') a;" } @good)
		. "\nselect available, in_transit from payout.balance(:'m');\ncommit;", m => $merchant);
	my $balance = pop @answers;
	line('step 10-11', 'merchant -> platform: approve; amount and fee deducted in the same transaction');
	more("$wrong->{reference}  refused at approval: " . ($state ? "$state, $message" : 'NOT REFUSED'));
	$wrong_answers++ unless ($state || '') eq 'PY008';
	more(scalar(@good) . ' others approved in one transaction: available ' . rupiah($balance->[0]) . ', in transit ' . rupiah($balance->[1]));
	line('step 12', 'platform -> merchant: answer: processing');
	more(map { my $t = $_->[0]; my ($p) = grep { $_->{txid} eq $t } @good; "$p->{reference}  $_->[1]" } @answers);
	$stage->query("select payout.reject(:'m', :'t', 'the account does not exist')", m => $merchant, t => $wrong->{txid});
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
	$wrong_answers++ if $bad || @$webhooks != $owed;
}

# Steps 18 to 23
sub check_status
{
	my $p = $people[0];
	my $asked_before = $stage->control('GET', 'requests?service=36')->{count};
	my $began = time;
	my $state = $stage->query("call payout.check_status(:'m', :'t')", m => $merchant, t => $p->{txid});
	my $took_ms = int(1000 * (time - $began));
	my $asked = $stage->control('GET', 'requests?service=36')->{count} - $asked_before;
	my ($a) = $stage->rows("select service, outcome, http_status, response_code, latency_ms from payout.attempt where lane = 'check' and txid = :'t' order by started_at desc limit 1", t => $p->{txid});
	line('step 18-22', 'merchant -> platform -> bank -> platform -> merchant: status check, passed through');
	more("CALL payout.check_status for $p->{reference}: \"$state\" after $took_ms ms; inquiries that reached the bank meanwhile: $asked");
	more(sprintf 'attempt: service %s, outcome %s, HTTP %s, code %s, %s ms', @$a);
	$wrong_answers++ unless $state eq 'paid' && $asked > 0;
	my ($row) = $stage->rows("select state, amount, fee, bank_reference_no, status_checked_at > approved_at from payout.inquiry(:'m', :'t')", m => $merchant, t => $p->{txid});
	line('step 23', 'merchant: validates the status by payout.inquiry');
	more("$p->{reference}  $row->[0], amount " . rupiah($row->[1]) . ', fee ' . rupiah($row->[2]) . ", bank reference $row->[3]");
	more('its history:');
	more(map { sprintf '    %s. %-11s %-17s %s', @$_ } $stage->rows("select event_no, to_state, coalesce(event, '-'), coalesce(reason, '') from payout.payout_event where txid = :'t' order by 1", t => $p->{txid}));
}

sub close_books
{
	my $books = $stage->control('GET', 'books?summary=1');
	my ($b) = $stage->rows("select available, in_transit from payout.balance(:'m')", m => $merchant);
	my ($own) = $stage->rows("select coalesce(sum(amount) filter (where state = 'paid'), 0), count(*) filter (where state = 'paid'), coalesce(sum(fee) filter (where state = 'paid'), 0),
		10000000 - coalesce(sum(amount + fee) filter (where state = 'paid'), 0),
		(select coalesce(sum(amount), 0)::numeric(18,2) from payout.transfer where credit_account = 'settlement/BANK1') from payout.payout");
	my ($paid, $count, $fees, $expected, $settled) = @$own;
	my %times;
	$times{ $_->{partner_reference_no} }++ for $stage->journal('paid');
	print "\nThe books\n";
	more(sprintf 'balance: %s before - %s paid - %s fees = %s; available now %s, in transit %s', rupiah(10000000), rupiah($paid), rupiah($fees), rupiah($expected), rupiah($b->[0]), rupiah($b->[1]));
	more('statement: ' . join('; ', map { "$_->[0] x $_->[1]: " . rupiah($_->[2]) } $stage->rows('select kind, count(*), sum(amount) from payout.v_statement group by 1 order by min(at)')));
	agree($b->[0] == $expected && $b->[1] == 0, 'the balance is what is left');
	agree($settled == $paid && $books->{paid_total} == $paid && $books->{paid_count} == $count,
		"the bank's books: $books->{paid_count} paid over " . rupiah($books->{paid_total}) . '; ours: ' . "$count over " . rupiah($paid));
	agree(1000000000 - $books->{source_accounts}{$source} == $paid, 'our account at the bank: ' . rupiah($books->{source_accounts}{$source}));
	agree(keys %times == $count && !grep({ $_ != 1 } values %times), "the bank's journal: each of $count TXIDs paid exactly once");
	my @violations = $stage->rows('select check_name, txid, detail from payout.verify()');
	agree(!@violations, 'payout.verify(): ' . (@violations ? join('; ', map { join ' ', @$_ } @violations) : 'no violated invariant'));
	my @health = $stage->rows("select check_name, status, detail from payout.health() where status <> 'ok'");
	more('payout.health(): all ok' . (@health ? ', except ' . join('; ', map { "$_->[0] ($_->[1]): $_->[2]" } @health) : ''));
}

$SIG{$_} = sub { print STDERR "\ndemo: ended by a signal\n"; exit 130 } for qw(INT TERM HUP);
$SIG{ALRM} = sub { die "the demo took longer than a minute\n" };
STDOUT->autoflush(1);
alarm 60;
my $ok = eval {
	$stage = Theatre->new;
	prepare();
	configure();
	print "\nDisbursement\n";
	register();
	check_accounts();
	approve();
	dispatch();
	notifications();
	check_status();
	close_books();
	1;
};
my $error = $@;
alarm 0;
print STDERR "demo: $error", $stage ? $stage->logs : '' unless $ok;
printf "\n%s in %.1f s\n", $ok && !$wrong_answers ? 'everything agrees' : 'THE DEMO FAILED', time - $begun;
exit($ok && !$wrong_answers ? 0 : 1);

END { my $status = $?; $stage->end if $stage; $? = $status; }
