# LinesSlow.pm: hot_slow: one merchant, 64 clients, and a disk whose flush takes 2 ms longer (slow_disk.c).
package LinesSlow;

use strict;
use warnings;
use BenchRounds;
use BenchServer;
use Cwd ();

my $clients = 64;
my %hot = (first => 1000005000, merchants => 1);

sub measure
{
	my ($class, $report, $size, $wanted, $folder) = @_;
	my $server = BenchServer->new(folder => $folder, databases => ['app'], folding => ['app'], preload => Cwd::getcwd() . '/test/bench/slow_disk.so',
		conf => [ 'wal_sync_method = fdatasync', 'max_connections = 100' ]);
	my %common = (server => $server, database => 'app', clients => $clients, variables => \%hot);
	my @sides = ({ %common, name => 'diy_hot_slow', script => 'diy.pgbench' }, { %common, name => 'hot_slow', script => 'pay.pgbench' });
	$server->file('app', 'baseline.sql');
	$server->file('app', 'merchants.sql');
	my %rate = BenchRounds::run($size->{rounds}, $size->{seconds}, @sides);
	$report->line('diy_hot_slow', $rate{diy_hot_slow}, 'payouts/s', undef);
	$report->line('hot_slow', $rate{hot_slow}, 'payouts/s', $rate{diy_hot_slow});
}

1;
