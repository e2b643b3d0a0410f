# BenchReport.pm: what is printed: the settings, a line for each figure, and the table with the bars at the end.
package BenchReport;

use strict;
use warnings;
use Exporter 'import';
use Time::HiRes qw(time);

our @EXPORT_OK = qw(median percentile);

# The bars: a text, and whether the figures so far meet it (undef: a figure it needs was not measured). $f holds the values
# by name; $r is the ratio of the line itself.
my %bars = (
	spread => [ '≥ 1.0 × diy_spread', sub { my ($f, $r) = @_; at_least($r, 1) } ],
	hot => [ '≥ 0.95 × spread; ≥ 2.8 × diy_hot; ≥ 0.95 × rows', sub { my ($f, $r) = @_;
		all_of(at_least(over($f->{hot}, $f->{spread}), 0.95), at_least($r, 2.8), at_least(over($f->{hot}, $f->{rows}), 0.95)) } ],
	hot_slow => [ '≥ 18 × diy_hot_slow', sub { my ($f, $r) = @_; at_least($r, 18) } ],
	hot_snapshot => [ '≥ 0.9 × hot', sub { my ($f, $r) = @_; at_least($r, 0.9) } ],
	batch => [ '≥ 40000/s; ≥ 8 × hot', sub { my ($f, $r) = @_; all_of(at_least($f->{batch}, 40000), at_least($r, 8)) } ],
	dispatch => [ '≥ 10000/s, the worker under one core', sub { my ($f, $r) = @_;
		all_of(at_least($f->{dispatch}, 10000), at_most($f->{dispatch_worker}, 1)) } ],
	notify => [ '≥ 3000/s', sub { my ($f, $r) = @_; at_least($f->{notify}, 3000) } ],
	single => [ '≥ 4000/s', sub { my ($f, $r) = @_; at_least($f->{single}, 4000) } ],
	single_50ms => [ '≥ 0.9 × (in-flight cap ÷ 50 ms)', sub { my ($f, $r) = @_; at_least($r, 0.9) } ],
	wake_p50 => [ '≤ 3 ms', sub { my ($f, $r) = @_; at_most($f->{wake_p50}, 3) } ],
	wake_p99 => [ '≤ 15 ms', sub { my ($f, $r) = @_; at_most($f->{wake_p99}, 15) } ],
	backlog => [ '≥ 0.7 × dispatch', sub { my ($f, $r) = @_; at_least($r, 0.7) } ],
	growth => [ '≥ 0.9 × at 100 thousand', sub { my ($f, $r) = @_; at_least($r, 0.9) } ],
	txid => [ '≤ 0.3 × gen_random_uuid()', sub { my ($f, $r) = @_; at_most($r, 0.3) } ],
	bytes => [ '≤ 2500 B', sub { my ($f, $r) = @_; at_most($f->{bytes}, 2500) } ]);

sub at_least { my ($value, $bar) = @_; return defined $value ? $value >= $bar : undef; }
sub at_most { my ($value, $bar) = @_; return defined $value ? $value <= $bar : undef; }
sub over { my ($value, $base) = @_; return defined $value && $base ? $value / $base : undef; }

# No beats unknown, unknown beats yes.
sub all_of
{
	my (@met) = @_;
	return 0 if grep { defined && !$_ } @met;
	return (grep { !defined } @met) ? undef : 1;
}

sub new
{
	my ($class, $folder) = @_;
	return bless { folder => $folder, lines => [], value => {}, began => time, busy_began => busy_s() }, $class;
}

sub median { return percentile(50, @_); }

# The median of an even number of values is the mean of the middle two; other percentiles are the nearest value above.
sub percentile
{
	my ($percent, @values) = @_;
	@values = sort { $a <=> $b } @values;
	die "no values\n" unless @values;
	return ($values[$#values / 2] + $values[@values / 2]) / 2 if $percent == 50;
	my $rank = int(@values * $percent / 100 + 0.999999);
	return $values[($rank || 1) - 1];
}

sub setting
{
	my ($self, @pairs) = @_;
	while (my ($name, $value) = splice @pairs, 0, 2)
	{
		print "setting $name=$value\n";
	}
}

sub machine
{
	my $self = shift;
	my $memory_kb = first_match('/proc/meminfo', qr/^MemTotal:\s*(\d+)/);
	chomp(my $cores = `nproc`);
	chomp(my $kernel = `uname -sr`);
	chomp(my $version = `postgres --version`);
	chomp(my $flush = `test/bench/flush $self->{folder}/flush`);
	chomp(my $slow = `LD_PRELOAD=\$PWD/test/bench/slow_disk.so test/bench/flush $self->{folder}/flush`);
	$self->setting(cores => $cores, cpu => first_match('/proc/cpuinfo', qr/^model name\s*:\s*(.+)$/), memory_gb => int($memory_kb / 1048576),
		kernel => $kernel, server => $version, load_average => first_match('/proc/loadavg', qr/^(\S+)/), flush_us => $flush, flush_us_hot_slow => $slow);
}

sub first_match
{
	my ($path, $pattern) = @_;
	open my $file, '<', $path or return '?';
	while (my $line = <$file>)
	{
		return $1 if $line =~ $pattern;
	}
	return '?';
}

# usage: line(NAME, VALUE, UNIT, BASELINE or undef)
sub line
{
	my ($self, $name, $value, $unit, $baseline) = @_;
	my $ratio = $baseline ? $value / $baseline : undef;
	push @{ $self->{lines} }, { name => $name, value => $value, unit => $unit, baseline => $baseline, ratio => $ratio };
	$self->{value}{$name} = $value;
	printf "bench name=%s value=%s unit=%s baseline=%s ratio=%s\n", $name, figure($value), $unit, figure($baseline), ratio($ratio);
}

sub has { my ($self, $name) = @_; return exists $self->{value}{$name}; }

# No more decimals than mean something.
sub figure
{
	my ($value) = @_;
	return '-' unless defined $value;
	return sprintf $value >= 100 ? '%.0f' : $value >= 1 ? '%.2f' : '%.3f', $value;
}

sub ratio { my ($ratio) = @_; return defined $ratio ? sprintf '%.3f', $ratio : '-'; }

sub table
{
	my $self = shift;
	print "\n| line | value | unit | baseline | ratio | bar | met |\n|---|---|---|---|---|---|---|\n";
	for my $line (@{ $self->{lines} })
	{
		my ($bar, $meets) = @{ $bars{ $line->{name} } || [ '' ] };
		my $met = $meets && $meets->($self->{value}, $line->{ratio});
		my $word = !$meets ? '' : !defined $met ? '?' : $met ? 'yes' : 'no';
		printf "| %s | %s | %s | %s | %s | %s | %s |\n", $line->{name}, figure($line->{value}), $line->{unit}, figure($line->{baseline}),
			ratio($line->{ratio}), $bar, $word;
	}
}

# Seconds of CPU that this machine has spent.
sub busy_s
{
	my @ticks = split ' ', first_match('/proc/stat', qr/^cpu\s+(.+)$/);
	return ($ticks[0] + $ticks[1] + $ticks[2] + $ticks[5] + $ticks[6]) / 100;
}

# The share of all cores that processes other than ours took since the beginning. True only when all servers have ended:
# their time counts when they are waited for.
sub used_by_others
{
	my $self = shift;
	my ($user, $system, $children_user, $children_system) = times;
	my $others_s = busy_s() - $self->{busy_began} - $user - $system - $children_user - $children_system;
	chomp(my $cores = `nproc`);
	return sprintf '%.0f%%', 100 * ($others_s > 0 ? $others_s : 0) / ((time - $self->{began}) * $cores);
}

1;
