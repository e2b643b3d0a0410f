# LinesGrowth.pm: growth: spread in a database that holds many payouts, beside the same in one that holds few.
package LinesGrowth;

use strict;
use warnings;
use BenchRounds;
use BenchServer;
use Time::HiRes qw(time);

my $clients = 8;
my $chunk = 100_000;
my %spread = (first => 1000000001, merchants => 1000);

sub measure
{
	my ($class, $report, $size, $wanted, $folder) = @_;
	my $server = BenchServer->new(folder => $folder, databases => [qw(small large)], folding => [qw(small large)]);
	for my $database (qw(small large))
	{
		$server->file($database, 'merchants.sql');
		my $held = load($server, $database, $size->{"history_$database"}, $size->{load_s});
		$report->setting("growth_$database" => "$held payouts");
	}
	my %common = (server => $server, clients => $clients, script => 'pay.pgbench', variables => \%spread, warm_up_s => $size->{seconds});
	my @sides = map { { %common, name => "growth_$_", database => $_ } } qw(small large);
	my %rate = BenchRounds::run($size->{rounds} + 2, $size->{seconds}, @sides);
	BenchRounds::print_writes($_) for @sides;
	$report->line('growth', $rate{growth_large}, 'payouts/s', $rate{growth_small});
}

# Loads that many, or as many as fit into the time; answers the count.
sub load
{
	my ($server, $database, $payouts, $seconds) = @_;
	my ($began, $loaded) = (time, 0);
	while ($loaded < $payouts && time - $began < $seconds)
	{
		$server->files_at_once(map { [ $database, 'load_history.sql', payouts => $chunk / 2, %spread, load => "LOAD$loaded$_", notify => 0 ] } qw(A B));
		$loaded += $chunk;
	}
	$server->query($database, 'vacuum analyze');
	$server->query($database, 'checkpoint');
	printf "%s: %d payouts loaded in %.0f s, %.1f GB\n", $database, $loaded, time - $began,
		$server->query($database, "select pg_database_size('$database')") / 1e9;
	return $loaded;
}

1;
