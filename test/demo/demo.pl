# demo.pl: the frame of `make demo`: sets the stage, has both flows tell every step as it was observed in the tables, at
# the bank and at the merchant's end, and closes the books: balances, payout.verify(), the stores' accounts and the
# bank's own books; exit 1 when any of them disagrees. Started by demo.sh.
use strict;
use warnings;
use Cashout;
use Disbursement;
use JSON::PP ();
use Report;
use Theatre;
use Time::HiRes qw(time);

my $begun = time;
my $merchant = 'FLOWERSHOP';
my $merchant_role = 'flowershop_app';
my $source = '888801000157508';
my $top_up = 10000000;
my $float = 1000000000;
my @stores = (
	{ code => 'KIOS24', name => 'Kios 24', role => 'kios24_app' },
	{ code => 'WARUNG7', name => 'Warung Tujuh', role => 'warung7_app' });
my $stage;

sub prepare
{
	print "A flower shop pays from its prepaid balance: six people to their bank accounts (one account does not exist, one is\n"
		. "refused by the bank at its payroll), and three customers in cash at a store (one of them never comes). Every line\n"
		. "below was observed in the tables, at the bank or at the shop's end.\n";
	heading('Getting ready');
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
		source_accounts => { $source => "$float.00" },
		accounts => [ map { { no => $_->{account}, name => uc $_->{name}, status => $_->{reference} eq 'INV-1004' ? 'invalid' : 'active' } } Disbursement::people() ],
		webhook_secrets => { $merchant => 'the-merchants-webhook-secret' } }));
	my $ports = $stage->start_sandbox('sandbox', '--config', $stage->path('sandbox.json'), '--journal', $stage->path('journal'), '--control-port', 0);
	$stage->{bank_port} = $ports->{listening};
	$stage->{control_port} = $ports->{control};
	$stage->control('POST', 'fault', { service => '20', kind => 'item_fail', account_no => '8900000005', http => 404, code => '11' });
}

sub configure
{
	my $channel = JSON::PP::encode_json({ client_id => 'PAYOUT-CLIENT', partner_id => 'PARTNER1', channel_header => '95221',
		source_account_no => $source, status_delay_s => 1, reference_memory_s => 31536000 });
	my $options = JSON::PP::encode_json({ fee => { online => { flat => 2500 }, cashout => { flat => 5000 } },
		notify_events => [qw(account.checked payout.approved payout.paid payout.failed payout.rejected payout.expired payout.reversed)] });
	$stage->rows(<<'END', url => "http://127.0.0.1:$stage->{bank_port}", channel => $channel, options => $options, merchant => $merchant, top_up => $top_up,
		select payout.create_channel('BANK1', 'snap', :'url' || '/bank', :'channel');
		select payout.set_secret('channel:BANK1', 'private_key', :'ours'), payout.set_secret('channel:BANK1', 'client_secret', 'a-shared-client-secret'),
			payout.set_secret('channel:BANK1', 'bank_public_key', :'bank');
		select payout.create_bank('OWNB', 'the bank of our account', 'BANK1', '{"internal": true}'), payout.load_banks('BANK1');
		select payout.create_merchant(:'merchant', 'A flower shop', :'url' || '/merchant/' || :'merchant', :'options');
		select payout.set_secret('merchant:' || :'merchant', 'webhook_secret', 'the-merchants-webhook-secret');
		select payout.top_up(:'merchant', :top_up, 'TOPUP-0001');
		select payout.arm();
END
		ours => Theatre::slurp($stage->path('ours.pem')), bank => Theatre::slurp($stage->path('bank.pub')));
	$stage->wait_for('the worker', sub { $stage->query('select pid from payout.incarnation where ended_at is null') });
	more("channel BANK1, merchant $merchant with a fee of 2,500.00 for each online payout and 5,000.00 for each cashout; armed, the worker runs");
	let_in($merchant_role, 'merchant', $merchant);
	for my $store (@stores)
	{
		$stage->query("select payout.create_cvs(:'c', :'n')", c => $store->{code}, n => $store->{name});
		let_in($store->{role}, 'cvs', $store->{code});
	}
	more('stores ' . join(' and ', map { "$_->{code} ($_->{name})" } @stores) . "; each of the three has a role of its own: $merchant_role, "
		. join(', ', map { $_->{role} } @stores));
	more('balance before: ' . rupiah($stage->query("select available from payout.balance(:'m')", m => $merchant))
		. ', our account at the bank: ' . rupiah($stage->control('GET', 'books?summary=1')->{source_accounts}{$source}));
}

# A role for an application: what it may call, and for whom. It has no right on any table.
sub let_in
{
	my ($role, $kind, $scope) = @_;
	$stage->rows(<<"END", role => $role, kind => $kind, scope => $scope);
		create role :"role" login;
		select payout.grant_access(:'role', :'kind', :'scope');
END
}

# Amount, count and fees of what was paid, of one kind.
sub paid_of
{
	my ($kind) = @_;
	my ($row) = $stage->rows("select coalesce(sum(amount), 0), count(*), coalesce(sum(fee), 0) from payout.payout where state = 'paid' and kind = :'kind'",
		kind => $kind);
	return @$row;
}

# What each ledger account holds: credits less debits.
sub account_sums
{
	return map { $_->[0] => $_->[1] } $stage->rows("select account, sum(amount) from (
		select credit_account, amount from payout.transfer union all select debit_account, -amount from payout.transfer) t (account, amount) group by 1");
}

sub close_books
{
	my ($b) = $stage->rows("select available, in_transit from payout.balance(:'m')", m => $merchant);
	my ($disbursed, $disbursements, $disbursement_fees) = paid_of('disbursement');
	my ($cashed, $cashouts, $cashout_fees) = paid_of('cashout');
	my $fees = $disbursement_fees + $cashout_fees;
	my $expected = $top_up - $disbursed - $cashed - $fees;
	heading('The books');
	more(sprintf 'balance: %s before - %s disbursed - %s cashed out - %s fees = %s; available now %s, in transit %s',
		map { rupiah($_) } $top_up, $disbursed, $cashed, $fees, $expected, @$b);
	more('statement: ' . join('; ', map { "$_->[0] x $_->[1]: " . rupiah($_->[2]) }
		$stage->rows('select kind, count(*), sum(amount) from payout.v_statement group by 1 order by min(at)')));
	agree($b->[0] == $expected && $b->[1] == 0, 'the balance is what is left');
	close_ledger($b->[0], $disbursed, $fees);
	close_bank($disbursed, $disbursements);
	agree($cashouts == 2, "cash handed over: $cashouts payouts over " . rupiah($cashed) . ', no others');
	my @violations = $stage->rows('select check_name, txid, detail from payout.verify()');
	agree(!@violations, 'payout.verify(): ' . (@violations ? join('; ', map { join ' ', @$_ } @violations) : 'no violated invariant'));
	my @health = $stage->rows("select check_name, status, detail from payout.health() where status <> 'ok'");
	more('payout.health(): all ok' . (@health ? ', except ' . join('; ', map { "$_->[0] ($_->[1]): $_->[2]" } @health) : ''));
}

# The ledger's accounts against the payouts, and the stores' against what they were told is owed to them.
sub close_ledger
{
	my ($available, $disbursed, $fees) = @_;
	my %account = account_sums();
	more('accounts:', map { sprintf '    %-24s %18s', $_, rupiah($account{$_}) } sort keys %account);
	agree($account{funding} == -$top_up && $account{available} == $available && $account{in_transit} == 0
			&& $account{fee} == $fees && $account{'settlement/BANK1'} == $disbursed,
		'each account is what the payouts say');
	for my $store (@stores)
	{
		my $listed = $stage->query("select coalesce(sum(amount), 0) from payout.cvs_settlement(:'c', (now() at time zone 'Asia/Jakarta')::date)", c => $store->{code});
		my $owed = $stage->query("select coalesce(sum(amount), 0) from payout.payout where state = 'paid' and cvs_code = :'c'", c => $store->{code});
		my $held = $account{"settlement/cvs:$store->{code}"} // 0;
		agree($held == $owed && $held == $listed, "owed to $store->{code}: " . rupiah($held) . ' by its account, its payouts and its day');
	}
}

sub close_bank
{
	my ($disbursed, $count) = @_;
	my $books = $stage->control('GET', 'books?summary=1');
	my %times;
	$times{ $_->{partner_reference_no} }++ for $stage->journal('paid');
	agree($books->{paid_total} == $disbursed && $books->{paid_count} == $count,
		"the bank's books: $books->{paid_count} paid over " . rupiah($books->{paid_total}) . "; ours: $count over " . rupiah($disbursed));
	agree($float - $books->{source_accounts}{$source} == $disbursed, 'our account at the bank: ' . rupiah($books->{source_accounts}{$source}));
	agree(keys %times == $count && !grep({ $_ != 1 } values %times), "the bank's journal: each of $count TXIDs paid exactly once");
}

$SIG{$_} = sub { print STDERR "\ndemo: ended by a signal\n"; exit 130 } for qw(INT TERM HUP);
$SIG{ALRM} = sub { die "the demo took longer than a minute\n" };
STDOUT->autoflush(1);
alarm 60;
my $ok = eval {
	$stage = Theatre->new;
	prepare();
	configure();
	Disbursement::run($stage, $merchant, $merchant_role);
	Cashout::run($stage, $merchant, $merchant_role, @stores);
	close_books();
	1;
};
my $error = $@;
alarm 0;
print STDERR "demo: $error", $stage ? $stage->logs : '' unless $ok;
$ok &&= !wrong_answers();
printf "\n%s in %.1f s\n", $ok ? 'everything agrees' : 'THE DEMO FAILED', time - $begun;
exit($ok ? 0 : 1);

END { my $status = $?; $stage->end if $stage; $? = $status; }
