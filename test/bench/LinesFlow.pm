# LinesFlow.pm: payouts that go the whole way: bytes (what one leaves behind) and wake (how soon the bank hears of one).
package LinesFlow;

use strict;
use warnings;
use BenchBank;
use BenchReport qw(percentile);
use BenchServer;
use IPC::Run ();

my %with = (first => 3000000001, merchants => 20);	# notifications
my $clients = 8;
my $warm_up = 5;	# samples of wake that do not count: the first opens connections and fetches a token

sub measure
{
	my ($class, $report, $size, $wanted, $folder) = @_;
	my $server = BenchServer->new(folder => $folder, databases => ['flow'], conf => ["payout.databases = 'flow'"]);
	my $bank = BenchBank->new($server, 'flow');
	bytes($report, $bank, $size->{flow}) if $wanted->{bytes};
	wake($report, $bank, $size->{wakes}) if $wanted->{wake_p50} || $wanted->{wake_p99};
	$bank->check_books;
}

# Registered, checked, approved, sent in bulk, paid, notified, in forty parts with a plain vacuum after each: autovacuum is set
# for the payouts at a twentieth more. So each part uses the room again that the versions of rows before it took, and what the
# second half adds is what a payout leaves behind for good.
sub bytes
{
	my ($report, $bank, $payouts) = @_;
	my $part = int($payouts / 20 / $clients) * $clients;
	flow($bank, $part, $_ * $part) for 1 .. 20;
	my %before = sizes($bank);
	flow($bank, $part, $_ * $part) for 21 .. 40;
	my %after = sizes($bank);
	my %bytes = map { $_ => ($after{$_} - $before{$_}) / (20 * $part) } keys %after;
	my $all = 0;
	$all += $_ for values %bytes;
	print "bytes by table:", (map { sprintf ' %s=%.0f', $_, $bytes{$_} } sort { $bytes{$b} <=> $bytes{$a} } grep { $bytes{$_} >= 1 } keys %bytes), "\n";
	$report->line('bytes', $all, 'B', undef);
}

# So many more payouts go the whole way; then there are as many in all.
sub flow
{
	my ($bank, $payouts, $all) = @_;
	$bank->{server}->pgbench(database => 'flow', script => 'pay.pgbench', clients => $clients, transactions => $payouts / $clients, variables => \%with);
	$bank->wait_for('all paid and told', 60 + $payouts / 10, "select count(*) = $all from payout.payout p where p.state = 'paid'
		and exists (select from payout.notification n where (n.merchant_id, n.txid, n.event) = (p.merchant_id, p.txid, 'payout.paid') and n.delivered_at is not null)");
	$bank->query('vacuum');
}

sub sizes
{
	my ($bank) = @_;
	return map { split /\|/ } split /\n/, $bank->query(
		"select relname, pg_total_relation_size(oid) from pg_class where relnamespace = 'payout'::regnamespace and relkind = 'r'");
}

# See first_byte.c. The system is idle: one payout at a time, registered and checked long before.
sub wake
{
	my ($report, $bank, $samples) = @_;
	$samples += $warm_up;
	$bank->query("select count(*) from generate_series(1, $samples) i, payout.register('2000000001', 'WAKE' || i, 10000, 'CENA', '8800000001', 'Budi Santoso')");
	$bank->wait_for('account checks', 120, "select not exists (select from payout.payout where account_check <> 'matched')");
	my ($in, $out, $error) = ('', '', '');
	my $program = IPC::Run::start([ 'test/bench/first_byte', $bank->{server}->conninfo('flow'), $bank->{port}, $samples ], '<', \$in, '>', \$out, '2>', \$error);
	$bank->{server}->end_with(sub { eval { $program->signal('KILL'); $program->finish } });
	$program->pump until $out =~ /listening on (\d+)\n/ || !$program->pumpable;
	my ($port) = $out =~ /listening on (\d+)/ or die "first_byte did not start: $error\n";
	$bank->query("select from payout.alter_channel('BANK1', '{\"base_url\": \"http://127.0.0.1:$port/bank\", \"same_books\": true}')");
	$in = "go\n";
	$program->finish or die "first_byte: $error\n";
	my @ms = $out =~ /^([\d.]+)$/mg;
	splice @ms, 0, $warm_up;
	printf "wake: %d samples, least %.2f ms, most %.2f ms\n", scalar @ms, percentile(0, @ms), percentile(100, @ms);
	$report->line("wake_p$_", percentile($_, @ms), 'ms', undef) for 50, 99;
	$bank->query("select from payout.alter_channel('BANK1', '{\"base_url\": \"http://127.0.0.1:$bank->{port}/bank\", \"same_books\": true}')");
}

1;
