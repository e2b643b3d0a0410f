# server.pl: hostile arguments against a private server: items, notices and texts (arguments.c), and random statements of
# an ordinary role (sqlsmith). No call ends with an SQLSTATE that it must not end with, no process of the server dies,
# and the books are sound afterwards.
#
# FUZZ_TARGETS (items notice text sqlsmith), FUZZ_SECONDS for each, FUZZ_SEED, FUZZ_BUILD: where the driver is.
use strict;
use warnings;
use lib 'test/t/lib';
use IPC::Run ();
use PayoutTest;
use Test::More;

my @targets = split ' ', $ENV{FUZZ_TARGETS} || 'items notice text sqlsmith';
my $seconds = $ENV{FUZZ_SECONDS} || 5;
my $seed = $ENV{FUZZ_SEED} || 1;
my $t = PayoutTest->new(balance => 10000000000, conf => [ "log_line_prefix = '%m [%p] %e '", 'track_functions = all', 'max_connections = 30', 'statement_timeout = 60s' ],
	channel => { status_delay_s => 3600 }, merchant => { notify_events => [] });
my $node = $t->{node};

# Runs a program for the time given and a little more; its output.
sub run_program
{
	my (@command) = @_;
	my $out = '';
	my $handle = IPC::Run::start(\@command, '<', \undef, '>&', \$out, my $timer = IPC::Run::timer($seconds + 60));
	eval { $handle->pump while $handle->pumpable && !$timer->is_expired };
	$handle->kill_kill(grace => 5) if $timer->is_expired;
	eval { $handle->finish };
	return ($handle->result(0) // -1, $out);
}

# Payouts that the bank is paying and whose notices never come, for notices to speak of.
sub under_way
{
	$t->fault(service => '21', kind => 'no_notice');
	my @txids = map { $t->pay } 1 .. 20;
	$t->wait_state($_, 'processing') for @txids;
}

# A role as a merchant's application has it.
sub make_role
{
	$t->sql("create role smith login; alter role smith set statement_timeout = '2s'; select payout.grant_access('smith', 'merchant', 'MERCHANT01')");
}

sub smith
{
	make_role();
	my ($status, $out) = run_program('timeout', '--preserve-status', '-s', 'TERM', $seconds, 'sqlsmith', '--verbose', "--seed=$seed", '--target=' . $node->connstr('app') . ' user=smith');
	my ($queries) = reverse $out =~ /queries: (\d+)/g;
	my $calls = $t->sql("select coalesce(sum(calls), 0) from pg_stat_user_functions where schemaname = 'payout'");
	note substr $out, -1500;
	diag("sqlsmith: seed=$seed queries=" . ($queries || 0) . " calls_of_payout=$calls");
	ok($calls > 0, 'sqlsmith has called functions of the extension');
}

under_way();
for my $target (@targets)
{
	if ($target eq 'sqlsmith')
	{
		smith();
	}
	else
	{
		my ($status, $out) = run_program("$ENV{FUZZ_BUILD}/arguments", $node->connstr('app'), $target, $seconds, $seed, "test/fuzz/corpus/$target");
		diag($out);
		is($status, 0, "$target: no finding");
		my ($executions, $early) = $out =~ /executions=(\d+) refused_early=(\d+)/;
		cmp_ok($executions || 0, '>', 2 * ($early || 0), "$target: most calls reached their function");
	}
	is($t->sql('select 1'), '1', "$target: the server serves");
}
my $log = PayoutTest::slurp($node->logfile);
is(join("\n", grep { /was terminated by signal|PANIC|TRAP:|server process .* exit code [^01]/ } split /\n/, $log), '', 'no process of the server died');
# Internal errors that the server's own code makes of sqlsmith's statements are not ours, unless raised inside a function of ours.
my @entries = split /^(?=\d{4}-\d\d-\d\d \S+ \S+ \[\d+\])/m, $log;
my @internal = grep { $entries[$_] =~ / XX\d{3} ERROR/ && ($entries[$_] . ($entries[ $_ + 1 ] // '')) =~ /^\d.* XX\d{3} (?:ERROR|CONTEXT):.*payout/m } 0 .. $#entries;
@internal = map { $entries[$_] } @internal;
is(join('', @internal), '', 'no internal error in our functions');
is($t->sql('select * from payout.verify()'), '', 'verify() is empty');
done_testing();
