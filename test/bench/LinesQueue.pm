# LinesQueue.pm: what the worker does with a queue: dispatch, backlog, single, single_50ms, notify.
#
# Two databases on one server, each with its worker and its bank; one of them works at a time, the other's channel is paused.
#   short   its queue is filled for each round
#   long    a long queue, loaded once, under a snapshot held since before; works for some seconds a round
# A round begins with resume_channel and ends when the queue is empty or its time is over; what is under way then is awaited.
# Rate: payouts paid ÷ time from resume_channel to the last one paid.
package LinesQueue;

use strict;
use warnings;
use BenchBank;
use BenchReport qw(median);
use BenchRounds;
use BenchServer;
use Time::HiRes qw(sleep time);

my %without = (first => 2000000001, merchants => 20);	# notifications
my %with = (first => 3000000001, merchants => 20);
my $in_flight = 64;	# requests at a time; of notifications to one host a quarter of payout.max_in_flight
my $delay_ms = 50;
my $end_s = 120;	# what is under way must have ended by then

# The channel's options of each line.
my %mode = (
	dispatch => { mode => 'bulk', in_flight_max => 8 },
	backlog => { mode => 'bulk', in_flight_max => 8 },
	single => { mode => 'single', in_flight_max => $in_flight },
	single_50ms => { mode => 'single', in_flight_max => $in_flight });

my ($short, $long);
my %rates;
my %cpu;	# seconds, by line and who
my $loads = 0;

sub measure
{
	my ($class, $report, $size, $wanted, $folder) = @_;
	my $server = start_server($folder, qw(short long));
	$wanted->{dispatch} = 1 if $wanted->{backlog};
	$short = start_bank($server, 'short');
	$long = start_long($server, $size->{backlog}) if $wanted->{backlog};
	BenchServer::must('sync');
	for my $round (1 .. $size->{rounds})
	{
		my @lines = grep { $wanted->{$_} } qw(dispatch backlog single single_50ms);
		transfers($_, $size) for @lines;
		notifications($size->{notifications}) if $wanted->{notify};
		BenchRounds::print_round($round, map { $_ => $rates{$_}[-1] } @lines, $wanted->{notify} ? qw(notify bare_notify) : ());
	}
	$_->check_books for grep { defined } $short, $long;
	print_lines($report, $wanted);
}

# For a comparison of builds: a bank for round(), which runs a line once and answers payouts/s and seconds of CPU for each.
sub prepare
{
	my ($class, $folder) = @_;
	return $short = start_bank(start_server($folder, 'short'), 'short');
}

sub round
{
	my ($class, $line, $size) = @_;
	return transfers($line, $size);
}

sub print_lines
{
	my ($report, $wanted) = @_;
	my %baseline = (single_50ms => $in_flight * 1000 / $delay_ms, $rates{dispatch} ? (backlog => median(@{ $rates{dispatch} })) : (),
		$rates{bare_notify} ? (notify => median(@{ $rates{bare_notify} })) : ());
	for my $line (grep { $wanted->{$_} } qw(dispatch backlog single single_50ms notify))
	{
		my $spent = $cpu{$line};
		$report->line($line, median(@{ $rates{$line} }), $line eq 'notify' ? 'notifications/s' : 'payouts/s', $baseline{$line});
		$report->line("${line}_worker", $spent->{worker} / $spent->{wall}, 'cores', undef);
		printf "cpu of $line, microseconds each: worker %.0f, server %.0f, bank %.0f\n", map { 1e6 * $spent->{$_} / $spent->{done} } qw(worker server bank);
		$report->line("${line}_ours", 100 * $spent->{server} / ($spent->{server} + $spent->{bank}), '% of the CPU time', undef);
	}
}

sub start_server
{
	my ($folder, @databases) = @_;
	return BenchServer->new(folder => $folder, databases => \@databases,
		conf => [ "payout.databases = '@{[ join ', ', @databases ]}'", 'payout.max_in_flight = ' . 4 * $in_flight ]);
}

sub start_bank
{
	my ($server, $database) = @_;
	my $bank = BenchBank->new($server, $database);
	$bank->query("select from payout.pause_channel('BANK1', 'between rounds')");
	return $bank;
}

# The snapshot is older than the queue: nothing that dies in it can go.
sub start_long
{
	my ($server, $payouts) = @_;
	my $bank = start_bank($server, 'long');
	my $began = time;
	$server->hold_snapshot('long');
	load($bank, $payouts);
	printf "long: %d payouts loaded in %.0f s\n", $payouts, time - $began;
	return $bank;
}

sub load
{
	my ($bank, $payouts) = @_;
	while ($payouts > 0)
	{
		my $part = $payouts > 100_000 ? 100_000 : $payouts;
		$bank->{server}->file($bank->{database}, 'load_queue.sql', payouts => $part, load => 'LOAD' . ++$loads, %without);
		$payouts -= $part;
	}
}

# One round of a line of transfers; answers payouts/s and seconds of the server's CPU for each.
sub transfers
{
	my ($line, $size) = @_;
	my $bank = $line eq 'backlog' ? $long : $short;
	my %option = %{ $mode{$line} };
	my $waiting = $bank->query('select count(*) from payout.payout where dispatch_due_at is not null');
	load($bank, ($bank == $short ? $size->{queue} : $size->{backlog}) - $waiting);
	$bank->query("select from payout.alter_channel('BANK1', '{\"mode\": \"$option{mode}\", \"in_flight_max\": $option{in_flight_max}}')");
	$bank->control('POST', 'fault', { service => '18', kind => 'delay', delay_ms => $delay_ms }) if $line eq 'single_50ms';
	my $before = $bank->cpu;
	my $began = $bank->query("select clock_timestamp() from payout.resume_channel('BANK1')");
	work($bank, $size->{queue_s});
	my ($paid, $seconds) = split /\|/, $bank->query("select count(*), extract(epoch from max(final_at) - '$began') from payout.payout
		where final_at >= '$began' and state = 'paid'");
	die "$line: nothing was paid\n" unless $paid;
	push @{ $rates{$line} }, $paid / $seconds;
	my $after = $bank->cpu;
	spend($line, $paid, $before, $after, $seconds);
	$bank->control('DELETE', 'fault') if $line eq 'single_50ms';
	return ($paid / $seconds, ($after->{server} - $before->{server}) / $paid);
}

# Lets the worker work that long, or until the queue is empty, and waits for what it has begun. The long queue does not end,
# and looking for its first entry would be work of ours in its time.
sub work
{
	my ($bank, $seconds) = @_;
	my $ends = time + $seconds;
	while (time < $ends)
	{
		sleep 0.2;
		last if $bank == $short && $bank->query('select not exists (select from payout.payout where dispatch_due_at is not null)') eq 't';
	}
	$bank->query("select from payout.pause_channel('BANK1', 'between rounds')");
	$bank->wait_for('the end of what is under way', $end_s, "select not exists (select from payout.attempt where outcome is null)
		and not exists (select from payout.payout where status_due_at is not null) and not exists (select from payout.batch where state = 'open' and tries > 0)");
}

sub spend
{
	my ($line, $done, $before, $after, $seconds) = @_;
	$cpu{$line}{done} += $done;
	$cpu{$line}{$_} += $after->{$_} - $before->{$_} for keys %$after;
	$cpu{$line}{wall} += $seconds;
}

# One round of notify: all notifications become due at one moment. Then the same number by libcurl alone.
sub notifications
{
	my ($count) = @_;
	my $due = $short->{server}->file('short', 'load_history.sql', payouts => $count, load => 'NOTE' . ++$loads, notify => 1, %with);
	$due =~ s/^.*\n//s;
	my $before = $short->cpu;
	$short->wait_for('the notifications', $end_s + $count / 50, 'select not exists (select from payout.notification where delivered_at is null)');
	my ($told, $seconds) = split /\|/, $short->query("select count(*), extract(epoch from max(delivered_at) - '$due') from payout.notification where delivered_at >= '$due'");
	die "$told notifications were delivered, not $count\n" if $told != $count;
	push @{ $rates{notify} }, $count / $seconds;
	spend('notify', $count, $before, $short->cpu, $seconds);

	my $body = "$short->{folder}/body";
	$short->query("\\o $body\nselect payout.notification_body(n, p) from payout.notification n join payout.payout p using (merchant_id, txid) limit 1;");
	chomp(my $bare = `test/bench/bare_notify @{[ $short->merchant_url('3000000001') ]} $BenchBank::webhook_key $body $count $in_flight`);
	die "bare_notify failed\n" if $?;
	push @{ $rates{bare_notify} }, $bare;
}

1;
