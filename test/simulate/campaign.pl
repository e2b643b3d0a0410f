# campaign.pl: clients ask for everything at once while a saboteur breaks things; then all comes to rest, and three books
# must agree: ours, the bank's, and what the clients were told. Prints one line of counters; exit 1 when one is not zero.
#
# usage: campaign.pl [--seconds N] [--seed N] [--clients N] [--no-standby] [--sync-off] [--mutation NAME] [--verbose]
#                    [--sync | --async] [--forgetful | --remembering] [--without ACT,...] [--often ACT,...]
#
# Primaries are lost to synchronous and asynchronous standbys in turn; --sync, --async: to those alone. The bank forgets the
# references that it was sent until half of the time is over; --forgetful: always, --remembering: never. ACT: of Saboteur.pm,
# not done, or half of all that is done.
#
# The seed decides what the clients ask and what is broken in which order; the moments depend on the machine as well.
use strict;
use warnings;
use lib 'test/t/lib', 'test/simulate';
use IO::Handle ();
use Getopt::Long qw(GetOptions);
use IPC::Run ();
use Operator;
use PayoutTest;
use Saboteur;
use Test::More;
use Time::HiRes qw(sleep time);
use Witness;

# PostgreSQL's test modules send the output of a test to its log; ours is for the eye.
my $screen;
BEGIN { open $screen, '>&', \*STDOUT or die $!; $screen->autoflush(1) }

# Whoever ends it: servers and programs go with it.
$SIG{$_} = sub { exit 130 } for qw(INT TERM HUP);

Test::More->builder->no_ending(1);
my %option = (seconds => 60, seed => 1, clients => 6, standby => 1);
GetOptions(\%option, 'seconds=i', 'seed=i', 'clients=i', 'standby!', 'sync-off', 'mutation=s', 'verbose', 'sync', 'async', 'forgetful',
	'remembering', 'without=s', 'often=s') or exit 2;
my %acts = map { $_ => [ split /,/, $option{$_} || '' ] } qw(without often);
for my $name (map { @$_ } values %acts) { die "no such act: $name\n" if !grep { $_ eq $name } Saboteur::names() }
srand $option{seed};

my $merchants = 20;
my $hot = 2;
my @ids = map { sprintf 'SIMM%06d', $_ } 0 .. $merchants - 1;

# Faults that are committed on purpose, to see whether the campaign notices. Those with SQL are put into the database;
# the others the developer build commits by itself.
my %mutations = (
	send_before_commit => '', timeout_is_failed => '',
	refund_on_suspect => "update payout.allowed_move set money = 'refund' where kind = 'disbursement' and to_state = 'suspect'",
	skip_fence => 'create function public.forget() returns trigger language plpgsql as $$ begin new.was_unknown := false; return new; end $$;
		create trigger forget before update on payout.batch for each row execute function public.forget()',
	forget_idempotency_key => '', credit_before_commit => '', gate_not_asked => '', service_digits_ignored => '',
	believe_early => "create or replace function payout.denial_counts(p payout.payout, p_asked_attempt_id uuid, p_asked_at timestamptz) returns boolean
		language sql as 'select true'",
	lost_tail_unasked => "create or replace function payout.asks_first(p_registered_at timestamptz) returns boolean language sql as 'select false'");
die "no such mutation: $option{mutation}\n" if $option{mutation} && !exists $mutations{ $option{mutation} };

my $t = PayoutTest->new(
	# the log is kept for a standby that was just made: a fast machine writes and removes several segments while it starts
	conf => [ 'wal_keep_size = 1GB', 'log_statement = none', 'max_connections = 60', 'max_wal_senders = 5', 'payout.token_ttl = 2h', 'payout.reservation_ttl = 10min', 'payout.token_tries = 1000' ],
	# the bank has our money's worth: an empty float would only stop everything
	sandbox => { source_accounts => { '888801000157508' => '999999999999.00' }, webhook_secrets => { map { $_ => 'whsec_' . PayoutTest::webhook_key() } 'MERCHANT01', 'MERCHANT02', @ids }, seed => $option{seed}, status_by_external_id => JSON::PP::true,
		$option{remembering} ? () : (forget_references => JSON::PP::true) },
	channel => { not_found_grace_s => 1, not_found_count => 2, batch_size_max => 20, linger_ms => 20, request_timeout_ms => 2000, status_delay_s => 0 });
my $crash_file = "$t->{dir}/crash";
my $conninfo_file = "$t->{dir}/conninfo";
my $log_dir = "$t->{dir}/told";
mkdir $log_dir or die $!;
my @points = sort { $a cmp $b } keys %{ { map { $_ => 1 } map { PayoutTest::slurp($_) =~ /\bcrash_point\("(\w+)"\)/g } glob 'src/*.c' } };
my $saboteur = Saboteur->new(test => $t, began => time, screen => $option{verbose} ? $screen : undef, points => \@points, crash_file => $crash_file,
	conninfo_file => $conninfo_file, %acts);
my $operator = Operator->new(test => $t, rows => \&rows);

sub rows { return map { [ split /\|/, $_, -1 ] } split /\n/, $saboteur->insist($_[0]) }

sub prepare
{
	$t->{node}->append_conf('postgresql.conf', "payout.crash_file = '$crash_file'\npayout.mutation = '" . ($option{mutation} || '') . "'");
	$t->{node}->reload;
	my $merchant = '{"fee": {"online": {"flat": 2500}, "cashout": {"flat": 5000}}, "on_name_differs": "pass"}';
	for my $id (@ids)
	{
		$t->sql("select payout.create_merchant('$id', 'Merchant', 'http://127.0.0.1:$t->{bank_port}/merchant/$id', '$merchant');"
			. $t->secret_sql("merchant:$id", 'webhook_secret', 'whsec_' . PayoutTest::webhook_key())
			. "select payout.top_up('$id', 3000000, 'first')");
	}
	$t->sql("select payout.alter_cvs(c, '{\"token_tries\": 100000}') from unnest('{STORE1,STORE2}'::text[]) c");
	$t->sql("insert into payout.retry_policy (lane, source, base_ms, max_ms, tries_max)
		select lane, 'operator', 50, 1000, tries_max from payout.retry_policy where source = 'shipped'");
	plant($mutations{ $option{mutation} }) if $option{mutation};
	$saboteur->tell_memory($option{remembering} ? '31536000' : 'null');
	PayoutTest::write_file($conninfo_file, $t->{node}->connstr('app') . "\n");
}

# A function that has other arguments by now would stand beside the fault, and be called.
sub plant
{
	my ($sql) = @_;
	$t->sql($sql);
	my ($function) = $sql =~ /replace function payout\.(\w+)/ or return;
	die "payout.$function has other arguments\n" if $t->sql("select count(*) from pg_proc where proname = '$function'") > 1;
}

sub start_clients
{
	my @command = ('test/simulate/client', '--conninfo-file', $conninfo_file, '--seed', $option{seed}, '--clients', $option{clients},
		'--seconds', $option{seconds} + 600, '--log', $log_dir, '--first-id', "S$option{seed}", '--merchants', $merchants, '--hot', $hot);
	push @command, '--sync-off' if $option{'sync-off'};
	my $out = '';
	my $err = '';
	my $handle = IPC::Run::start(\@command, '<', \undef, '>', \$out, '2>', \$err);
	push @{ $t->{children} }, $handle;
	return { handle => $handle, out => \$out, err => \$err };
}

sub stop_clients
{
	my ($clients) = @_;
	$clients->{handle}->signal('TERM');
	$clients->{handle}->finish;
	@{ $t->{children} } = grep { $_ != $clients->{handle} } @{ $t->{children} };
	print $screen ${ $clients->{out} };
	my @strange = split /\n/, ${ $clients->{err} };
	print $screen "$_\n" for @strange > 20 ? @strange[ 0 .. 19 ] : @strange;
}

# Everything that can end by itself ends: schedules and tokens become due, the bank answers, messages are delivered. What
# waits for a person the operator decides.
sub drain
{
	$saboteur->clock_advanced(2 * 86400);
	my $open = "select count(*) from payout.payout p where p.final_at is null and p.state not in ('registered', 'disputed')
		and not (p.kind = 'cashout' and p.state = 'suspect')
		and not exists (select from payout.hold h where h.merchant_id = p.merchant_id and h.txid = p.txid)";
	# As long as it gets less.
	my ($least, $ends) = (1e9, time + 60);
	while (time < $ends)
	{
		my $left = $operator->decide + $saboteur->insist("select ($open) + (select count(*) from payout.notification where delivered_at is null and given_up_at is null)
			+ (select count(*) from payout.attempt where outcome is null)");
		last if $left == 0;
		($least, $ends) = ($left, time + 60) if $left < $least;
		sleep 0.2;
	}
	# The witness reads the books one after the other: nobody may write in them meanwhile.
	$saboteur->insist("alter system set payout.databases = ''");
	$saboteur->insist('select pg_reload_conf()');
	$saboteur->insist('select 1') until $saboteur->insist("select exists (select from pg_stat_activity where backend_type = 'payout worker')") eq 'f';
}

prepare();
my $clients = start_clients();
my $ends = time + $option{seconds};
my $remembers_at = $option{forgetful} || $option{remembering} ? undef : time + $option{seconds} / 2;
my $primary_lost_at = time + 5 + rand 10;
my @losses = $option{sync} ? 'primary_lost' : $option{async} ? 'primary_lost_async' : qw(primary_lost_async primary_lost);
my %miscounted;	# a crash forgets what shared memory counts, so that is compared with the tables all the while
while (time < $ends)
{
	sleep 0.1 + rand 0.9;
	die "the clients ended: ${ $clients->{err} }\n" if !$clients->{handle}->pumpable;
	$clients->{handle}->pump_nb;
	if ($option{standby} && time > $primary_lost_at)
	{
		push @losses, shift @losses;
		$saboteur->act($losses[-1]);
		$primary_lost_at = time + 10 + rand 25;
	}
	if (defined $remembers_at && time > $remembers_at)
	{
		$saboteur->act('bank_remembers');
		undef $remembers_at;
	}
	$miscounted{ $_->[1] } ||= $_->[2] for rows('select check_name, merchant_id, detail from payout.verify_escrow()');
	$saboteur->act;
}
stop_clients($clients);
$saboteur->rest;
drain();

my $witness = Witness->new(server => \&rows, journal => "$t->{dir}/journal", logs => [ glob "$log_dir/client_*.log" ],
	stops => $saboteur->{stops}, tails => $saboteur->{tails});
my $counters = $witness->compare;
$witness->count('unbalanced', "shared memory, $_: $miscounted{$_}") for sort keys %miscounted;
print $screen "  $_\n" for @{ $witness->{named} };
printf $screen "crashtest: seed=%d seconds=%d payouts=%d paid=%d kills=%d faults=%d promotions=%d %s\n", @option{qw(seed seconds)},
	scalar keys %{ $witness->{payout} }, $witness->{paid}, $saboteur->{kills}, $saboteur->{faults}, $saboteur->{promotions},
	join ' ', map { "$_=$counters->{$_}" } qw(paid_twice lost overdrawn unbalanced told_wrong stuck);
exit(grep({ $_ } values %$counters) ? 1 : 0);
