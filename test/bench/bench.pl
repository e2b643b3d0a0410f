# bench.pl: `make bench`: runs the groups of lines one after the other, each on servers of its own, and prints the table.
# A group that fails fails the whole run, but the others are measured nevertheless.
use strict;
use warnings;
use File::Path qw(remove_tree make_path);
use Time::HiRes qw(time);

use BenchReport;
use BenchServer;
use LinesFlow;
use LinesGrowth;
use LinesLedger;
use LinesQueue;
use LinesSlow;

$| = 1;
$SIG{INT} = $SIG{TERM} = sub { exit 130 };	# so that END ends what was started

my @groups = (
	[ 'LinesLedger', qw(tpcb simple_update rows diy_spread diy_hot spread hot hot_snapshot txid batch) ],
	[ 'LinesSlow', qw(hot_slow) ],
	[ 'LinesGrowth', qw(growth) ],
	[ 'LinesQueue', qw(dispatch backlog single single_50ms notify) ],
	[ 'LinesFlow', qw(bytes wake_p50 wake_p99) ]);

# How much of everything. Seconds are those of one round of one line; load_s bounds the loading of history_large.
my %size = $ENV{QUICK}
	? (rounds => 3, seconds => 3, scale => 10, txids => 300_000, history_small => 100_000, history_large => 1_000_000, load_s => 120,
		queue => 20_000, backlog => 100_000, queue_s => 4, notifications => 5_000, flow => 3_000, wakes => 200)
	: (rounds => 3, seconds => 10, scale => 50, txids => 1_000_000, history_small => 100_000, history_large => 10_000_000, load_s => 1500,
		queue => 60_000, backlog => 1_000_000, queue_s => 10, notifications => 30_000, flow => 20_000, wakes => 500);

my $folder = "$ENV{BUILD_DIR}/bench";
my $began = time;
my @failed;
my %wanted = wanted_lines();
my $report;

# The lines asked for, as a hash.
sub wanted_lines
{
	my @known = map { my ($module, @lines) = @$_; @lines } @groups;
	my @asked = $ENV{ONLY} ? split ' ', $ENV{ONLY} : @known;
	for my $line (@asked)
	{
		die "bench: no line \"$line\"; there are: @known\n" unless grep { $_ eq $line } @known;
	}
	return map { $_ => 1 } @asked;
}

sub run_group
{
	my ($module, @lines) = @_;
	my $group_began = time;
	my %mine = map { $_ => 1 } @lines;
	print "\n== @lines\n";
	eval { $module->measure($report, \%size, \%mine, "$folder/$module"); 1 } or do
	{
		my @missing = grep { !$report->has($_) } @lines;
		print "FAILED: $@";
		push @failed, @missing ? @missing : $module;
	};
	BenchServer->stop_all;
	remove_tree("$folder/$module");
	printf "(%.0f s)\n", time - $group_began;
}

remove_tree($folder);
make_path($folder);
$report = BenchReport->new($folder);
$report->machine;
$report->setting(run => $ENV{QUICK} ? 'QUICK' : 'full', map { $_ => $size{$_} } sort keys %size);
for my $group (@groups)
{
	my ($module, @lines) = @$group;
	my @mine = grep { $wanted{$_} } @lines;
	run_group($module, @mine) if @mine;
}
print "\n";
$report->setting(seconds => sprintf('%.0f', time - $began), cpu_used_by_others => $report->used_by_others);
$report->table;
print "\nFAILED: @failed\n" if @failed;
exit(@failed ? 1 : 0);

END
{
	my $status = $?;
	BenchServer->stop_all;
	remove_tree($folder) if $report;
	$? = $status;
}
