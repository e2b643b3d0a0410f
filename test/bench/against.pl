# against.pl: `make bench AGAINST=COMMIT`: this build beside that of a commit, in rounds A B, B A, A B ... of each line, with a
# round before that does not count. A ratio is made of the two figures of one round, so that both met the same weather.
# What stands of the CPU time is less moved by others' work on the machine than a rate is.
#
# A line is not below the other build's when the median of the ratios is at least 0.97 or their upper quartile at least 1, and
# the CPU time for each payout is at most 1.03 of the other's. A line that is below fails the run.
use strict;
use warnings;
use BenchReport qw(median percentile);
use Cwd ();
use File::Path qw(make_path remove_tree);
use IPC::Open2 qw(open2);

$| = 1;
my @lines = split ' ', $ENV{ONLY} || 'spread hot batch dispatch single single_50ms';
my $rounds = $ENV{ROUNDS} || 11;
my $rate_ratio_min = 0.97;
my $upper_quartile_min = 1;
my $cpu_ratio_max = 1.03;

my $folder = "$ENV{BUILD_DIR}/bench";
my $tree = Cwd::getcwd();
my $stage_bin = substr $ENV{PG_BINDIR}, length $ENV{BUILD_DIR};
my %side = (
	this => { tree => $tree, bin => $ENV{PG_BINDIR} },
	other => { tree => "$ENV{BUILD_DIR}/against/tree", bin => "$ENV{BUILD_DIR}/against$stage_bin" });
my %figures;	# by line and side: [rate, cpu_s] of each round

sub start
{
	my ($name) = @_;
	my $side = $side{$name};
	local $ENV{PATH} = "$side->{bin}:$ENV{PATH}";
	chdir $side->{tree} or die "$side->{tree}: $!\n";
	$side->{pid} = open2(@$side{qw(from to)}, 'perl', "-I$tree/test/bench", "$tree/test/bench/side.pl", "$folder/$name", @lines);
	chdir $tree or die "$tree: $!\n";
	answer($name);
}

sub ask
{
	my ($name, $line) = @_;
	print { $side{$name}{to} } "$line\n";
	return answer($name);
}

sub answer
{
	my ($name) = @_;
	my $answer = readline $side{$name}{from};
	die "the side \"$name\" failed, see above\n" unless defined $answer;
	chomp $answer;
	return split ' ', $answer;
}

sub round
{
	my ($round, $line) = @_;
	my %got;
	for my $name ($round % 2 ? qw(this other) : qw(other this))
	{
		$got{$name} = [ ask($name, $line) ];
		push @{ $figures{$line}{$name} }, $got{$name} if $round > 0;
	}
	printf "round %d: %s this %.0f other %.0f\n", $round, $line, map { $got{$_}[0] } qw(this other) if $round > 0;
}

# The ratios this ÷ other of one of the two figures, round by round.
sub ratios
{
	my ($line, $which) = @_;
	return map { $figures{$line}{this}[$_][$which] / $figures{$line}{other}[$_][$which] } 0 .. $rounds - 1;
}

sub row
{
	my ($line) = @_;
	my @rate = ratios($line, 0);
	my ($middle, $upper, $cpu) = (median(@rate), percentile(75, @rate), median(ratios($line, 1)));
	my $met = ($middle >= $rate_ratio_min || $upper >= $upper_quartile_min) && $cpu <= $cpu_ratio_max;
	my %us = map { my $name = $_; $name => 1e6 * median(map { $_->[1] } @{ $figures{$line}{$name} }) } qw(this other);
	my %rate = map { my $name = $_; $name => median(map { $_->[0] } @{ $figures{$line}{$name} }) } qw(this other);
	printf "| %s | %.0f | %.0f | %.3f | %.3f | %.3f | %.1f | %.1f | %.3f | %s |\n", $line, @rate{qw(this other)}, percentile(25, @rate), $middle, $upper,
		@us{qw(this other)}, $cpu, $met ? 'no' : 'yes';
	return $met;
}

remove_tree($folder);
make_path($folder);
my $report = BenchReport->new($folder);
$report->machine;
$report->setting(against => $ENV{AGAINST}, rounds => $rounds, lines => "@lines");
start($_) for qw(this other);
for my $round (0 .. $rounds)
{
	round($round, $_) for @lines;
}
ask($_, 'books') for qw(this other);
stop();
$report->setting(cpu_used_by_others => $report->used_by_others);
print "\n| line | payouts/s | other | ratio, lower quartile | median | upper quartile | server's CPU, us for each | other | ratio | below |\n",
	"|---|---|---|---|---|---|---|---|---|---|\n";
my @below = grep { !row($_) } @lines;
print "\nBELOW: @below\n" if @below;
exit(@below ? 1 : 0);

sub stop
{
	for my $side (grep { $_->{pid} } values %side)
	{
		close $side->{to};
		waitpid delete $side->{pid}, 0;
	}
}

END
{
	my $status = $?;
	stop();
	remove_tree($folder) if $report;
	$? = $status;
}
