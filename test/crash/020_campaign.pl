# 020_campaign.pl: the short form of `make crashtest`: half a minute of clients and a saboteur (LONG=1: half an hour), after
# which three books agree.
# With clients that do not wait for the disk the same campaign must report a loss: it can fail.
use strict;
use warnings;
use File::Path qw(make_path);
use Test::More;

my $number = 0;

# Runs a campaign in a folder of its own; its exit status, and its counters.
sub campaign
{
	my (@arguments) = @_;
	local $ENV{TESTDIR} = "$ENV{TESTDIR}/campaign_" . ++$number;
	make_path($ENV{TESTDIR});
	my @include = map { "-I$_" } grep { !ref && m{src/test/perl} } @INC;
	open my $child, '-|', $^X, @include, '-Itest/t/lib', '-Itest/simulate', 'test/simulate/campaign.pl', @arguments or die "cannot start: $!";
	my @lines = <$child>;
	close $child;
	my $status = $? >> 8;
	diag($_) for map { s/\s+$//r } @lines;
	my %counter = map { /(\w+)=(\d+)/g } grep { /^crashtest:/ } @lines;
	return ($status, \%counter);
}

my ($status, $counter) = campaign('--seconds', $ENV{LONG} ? 1800 : 30, '--seed', 1);
is($status, 0, 'three books agree');
is($counter->{$_}, 0, "$_=0") for qw(paid_twice lost overdrawn unbalanced told_wrong stuck);
cmp_ok($counter->{payouts}, '>', 500, 'of many payouts');
# A slow machine spends the time on coming up again.
cmp_ok($counter->{kills}, '>=', 3, 'and kills');
cmp_ok($counter->{faults}, '>', 20, 'and faults');
cmp_ok($counter->{promotions}, '>', 0, 'and a lost primary');

# Until the first loss, at most five times.
my $seed = 0;
do { ($status, $counter) = campaign('--seconds', 15, '--seed', ++$seed, '--sync-off', '--no-standby') } until $counter->{lost} || $seed == 5;
cmp_ok($counter->{lost} || 0, '>', 0, 'clients with synchronous_commit = off lose what they were told');
done_testing();
