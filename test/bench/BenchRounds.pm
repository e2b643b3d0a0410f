# BenchRounds.pm: sides that are measured in turn, A B C, B C A, C A B, so that all meet the same weather. Each round begins
# with another side: a round of some sides takes about as long as autovacuum rests, which would come to the same one each time.
package BenchRounds;

use strict;
use warnings;
use BenchReport qw(median);
use BenchServer;

# Runs the sides ROUNDS times. A side: name, server, per (payouts of one transaction), and what BenchServer::pgbench takes.
# A run of each, of warm_up_s seconds (1), comes first and does not count: it fills caches and writes the pages that the
# checkpoint before made new. Answers the median rate by name, in payouts per
# second, and leaves the number of transactions (done) and the last run in each side.
sub run
{
	my ($rounds, $seconds, @sides) = @_;
	my %rates;
	# What was loaded before is written to disk now, not during the first round.
	BenchServer::must('sync');
	for my $round (0 .. $rounds)
	{
		my $first = $round % @sides;
		for my $side (@sides[$first .. $#sides], @sides[0 .. $first - 1])
		{
			my $run = $side->{server}->pgbench(%$side, seconds => $round == 0 ? $side->{warm_up_s} || 1 : $seconds);
			$side->{done} += $run->{done};
			$side->{last} = $run;
			push @{ $rates{ $side->{name} } }, $run->{rate} * ($side->{per} || 1) if $round > 0;
		}
		print_round($round, map { $_->{name} => $rates{ $_->{name} }[-1] } @sides) if $round > 0;
	}
	return map { $_ => median(@{ $rates{$_} }) } keys %rates;
}

sub print_round
{
	my ($round, @pairs) = @_;
	print "round $round:";
	while (my ($name, $rate) = splice @pairs, 0, 2)
	{
		print " $name ", BenchReport::figure($rate);
	}
	print "\n";
}

# What one payout of a side writes, by its last run: rows inserted + updated (HOT among them) in each table, and WAL.
sub print_writes
{
	my ($side) = @_;
	my ($before, $after) = @{ $side->{last} }{qw(before after)};
	my $payouts = $side->{last}{done} * ($side->{per} || 1);
	my @tables;
	for my $table (sort keys %{ $after->{tables} })
	{
		my @counts = map { ($after->{tables}{$table}[$_] - ($before->{tables}{$table}[$_] || 0)) / $payouts } 0 .. 2;
		push @tables, sprintf '%s=%.2f+%.2f(%.2f)', $table, @counts if $counts[0] + $counts[1] >= 0.005;
	}
	printf "writes name=%s wal_bytes=%.0f inserts+updates(hot): %s\n", $side->{name}, ($after->{wal} - $before->{wal}) / $payouts, "@tables";
}

1;
