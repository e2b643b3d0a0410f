# LinesLedger.pm: registering and approving: spread, hot, hot_snapshot, batch, their baselines, and txid. The worker only
# folds; with WORKER=0 there is none.
#
# The snapshot is held in a database of its own (snap), from before its first payout to the end: then each round of hot has
# one of hot_snapshot beside it, and what died in all rounds before is still there.
package LinesLedger;

use strict;
use warnings;
use BenchReport qw(median);
use BenchRounds;
use BenchServer;

my $clients = 8;
my %spread = (first => 1000000001, merchants => 1000);
my %hot = (first => 1000005000, merchants => 1);

my %sides = (
	tpcb => { database => 'pgbench', builtin => 'tpcb-like' },
	simple_update => { database => 'pgbench', builtin => 'simple-update' },
	rows => { database => 'app', script => 'rows.pgbench', variables => \%hot },
	diy_spread => { database => 'app', script => 'diy.pgbench', variables => \%spread },
	diy_hot => { database => 'app', script => 'diy.pgbench', variables => \%hot },
	spread => { database => 'app', script => 'pay.pgbench', variables => \%spread, ours => 1 },
	hot => { database => 'app', script => 'pay.pgbench', variables => \%hot, ours => 1 },
	hot_snapshot => { database => 'snap', script => 'pay.pgbench', variables => \%hot, ours => 1 },
	batch => { database => 'app', script => 'batch.pgbench', variables => \%hot, ours => 1, per => 1000 });

my @order = qw(tpcb simple_update rows diy_spread diy_hot spread hot hot_snapshot);
my %baseline = (simple_update => 'tpcb', rows => 'simple_update', diy_spread => 'simple_update', diy_hot => 'simple_update',
	spread => 'diy_spread', hot => 'diy_hot', hot_snapshot => 'hot');
my %needs = (spread => ['diy_spread'], hot => [qw(diy_hot rows spread)], hot_snapshot => ['hot']);

sub measure
{
	my ($class, $report, $size, $wanted, $folder) = @_;
	my $server = BenchServer->new(folder => $folder, databases => [qw(pgbench app snap)], folding => [qw(app snap)]);
	my @names = sides_for($wanted);
	set_up($server, $size);
	$report->setting(map { $_ => $server->query('app', "show $_") } qw(fsync synchronous_commit full_page_writes wal_sync_method
		shared_buffers max_wal_size checkpoint_timeout autovacuum));
	pay($report, $server, $size, @names) if @names;
	txid($report, $server, $size) if $wanted->{txid};
	check_books($server);
	if ($wanted->{batch})
	{
		batch($report, $server, $size);
		check_books($server);
	}
}

# For a comparison of builds: a server for round(), which runs a line once and answers payouts/s and seconds of CPU for each.
sub prepare
{
	my ($class, $folder) = @_;
	my $server = BenchServer->new(folder => $folder, databases => ['app'], folding => ['app']);
	$server->file('app', 'merchants.sql');
	return $server;
}

sub round
{
	my ($class, $server, $name, $seconds) = @_;
	my $side = side($server, $name);
	my $run = $server->pgbench(%$side, seconds => $seconds);
	my $per = $side->{per} || 1;
	$side->{done} += $run->{done};
	return ($run->{rate} * $per, $run->{cpu_s} / ($run->{done} * $per));
}

# The sides of the lines asked for, and what they are compared with.
sub sides_for
{
	my ($wanted) = @_;
	my %all;
	my @left = keys %$wanted;
	while (my $name = shift @left)
	{
		push @left, @{ $needs{$name} || [] } unless $all{$name}++;
	}
	return grep { $all{$_} } @order;
}

sub set_up
{
	my ($server, $size) = @_;
	BenchServer::must("pgbench --initialize --quiet --scale=$size->{scale} '" . $server->conninfo('pgbench') . "' 2>/dev/null");
	$server->file('app', 'baseline.sql');
	$server->file('app', 'merchants.sql');
	$server->file('snap', 'merchants.sql');
	$server->hold_snapshot('snap');
}

sub side
{
	my ($server, $name) = @_;
	@{ $sides{$name} }{qw(name server clients)} = ($name, $server, $clients);
	return $sides{$name};
}

sub pay
{
	my ($report, $server, $size, @names) = @_;
	my @run = map { side($server, $_) } @names;
	my %rate = BenchRounds::run($size->{rounds}, $size->{seconds}, @run);
	BenchRounds::print_writes($_) for grep { !$_->{builtin} } @run;
	$report->line($_, $rate{$_}, $sides{$_}{builtin} ? 'transactions/s' : 'payouts/s', $baseline{$_} && $rate{ $baseline{$_} }) for @names;
}

# Beside hot, in rounds of their own.
sub batch
{
	my ($report, $server, $size) = @_;
	my @run = map { side($server, $_) } qw(hot batch);
	my %rate = BenchRounds::run($size->{rounds}, $size->{seconds}, @run);
	BenchRounds::print_writes($run[1]);
	$report->line('batch', $rate{batch}, 'payouts/s', $rate{hot});
}

# One call inside the server, of the two functions in turn, and of the loop alone, which is in both.
sub txid
{
	my ($report, $server, $size) = @_;
	my @calls = ("payout.generate_txid('1000000001')", 'gen_random_uuid()', 'i');
	my %us;
	for my $round (1 .. 2 * $size->{rounds} + 1)
	{
		for my $call (@calls)
		{
			push @{ $us{$call} }, $server->query('app', "select 1e6 * extract(epoch from clock_timestamp() - statement_timestamp()) / c
				from (select count($call) as c from generate_series(1, $size->{txids}) i) n");
		}
	}
	my ($txid, $uuid, $loop) = map { median(@{ $us{$_} }) } @calls;
	$report->line('txid', $txid, 'us', $uuid);
	$report->line('txid_loop', $loop, 'us', undef);
}

# Every payout that pgbench was answered is there, approved, and the books are in order.
sub check_books
{
	my ($server, @databases) = @_;
	for my $database (@databases ? @databases : qw(app snap))
	{
		my $told = 0;
		$told += ($_->{done} || 0) * ($_->{per} || 1) for grep { $_->{ours} && $_->{database} eq $database } values %sides;
		my $kept = $server->query($database, "select count(*) from payout.payout where state = 'approved'");
		die "$database: $told payouts were answered, $kept are there\n" if $kept != $told;
		my $wrong = $server->query($database, 'select * from payout.verify() limit 5');
		die "payout.verify() in $database:\n$wrong\n" if $wrong ne '';
		print "books of $database: $kept payouts, payout.verify() is empty\n";
	}
}

1;
