# 030_disk_full.pl: the disk gets full while clients and worker go on, below base (tables) or pg_wal, for a moment or for
# longer. Clients get 53100, or the server restarts; once there is space the worker goes on by itself. Nothing that a client
# was told is lost, and each payout is paid once.
#
# Mounting a small file system would need root. A library that is preloaded into the server does not: it answers for the
# disk, see test/simulate/full_disk.c.
use strict;
use warnings;
use lib 'test/t/lib';
use Cwd qw(abs_path);
use PayoutTest;
use Test::More;

my $t = PayoutTest->new(conf => [ 'shared_buffers = 64MB', "log_line_prefix = '%m [%p] %e '", 'checkpoint_timeout = 30s', 'autovacuum_naptime = 1s' ],
	channel => { not_found_grace_s => 0, not_found_count => 1, batch_size_max => 5 });
my $node = $t->{node};
my $flags = "$t->{dir}/flags";
mkdir $flags or die $!;
$t->sql("insert into payout.retry_policy (lane, source, base_ms, max_ms, tries_max)
	select lane, 'operator', 50, 500, tries_max from payout.retry_policy where source = 'shipped'");

# The server as its service manager starts it, on a disk that can be full.
sub start
{
	local $ENV{LD_PRELOAD} = abs_path('test/simulate/full_disk.so');
	local $ENV{FULL_DISK_FLAGS} = $flags;
	$node->start;
}

sub log_of_server { return PayoutTest::slurp($node->logfile) }

my (%told, %seen);
my $number = 0;

# What clients do: each asks for a payout and a cashout, as far as it is answered, and remembers what it was told.
my $script = <<'END';
\set VERBOSITY sqlstate
select txid from payout.register('MERCHANT01', :'name', 10000, 'CENA', '8800000001', 'Budi Santoso') \gset
\echo :SQLSTATE txid :txid
\if :{?txid}
	select txid as approved from payout.approve('MERCHANT01', :'txid') \gset
	\echo :SQLSTATE approved :approved
\endif
select txid as cash from payout.register_cashout('MERCHANT01', :'name' || 'C', 50000, 'Budi Santoso', '0812') \gset
\echo :SQLSTATE cash :cash
\if :{?cash}
	select cashout_token as token from payout.approve('MERCHANT01', :'cash') \gset
	\echo :SQLSTATE token :token
\endif
\if :{?token}
	select txid as validated from payout.cashout_validate('STORE1', :'token', 'T1', :'name') \gset
	\echo :SQLSTATE validated :validated
\endif
\if :{?validated}
	select txid as confirmed from payout.cashout_confirm('STORE1', :'token', :'name') \gset
	\echo :SQLSTATE confirmed :confirmed
\endif
END

sub ask
{
	my $n = ++$number;
	my ($status, $out) = $t->try_sql($script, undef, on_error_stop => 0, extra_params => [ '-v', "name=DISK$n" ]);
	$told{$n} = {};
	for my $answer (split /\n/, $out)
	{
		my ($sqlstate, $what, $value) = split / /, $answer;
		$seen{$sqlstate}++;
		$told{$n}{$what} = $value if $sqlstate eq '00000';
	}
	$seen{gone}++ if $status == 2;	# the connection
}

# Clients insist, as they should: every call is repeated until it was answered.
sub complete
{
	my @open = grep { !$told{$_}{done} } sort { $a <=> $b } keys %told;
	my $insist = '';
	for my $n (@open)
	{
		my $token = $told{$n}{token} ? "\\set token $told{$n}{token}" : "\\unset token";
		$insist .= "$token\n" . <<"END";
select txid from payout.register('MERCHANT01', 'DISK$n', 10000, 'CENA', '8800000001', 'Budi Santoso') \\gset
select txid as cash from payout.register_cashout('MERCHANT01', 'DISK${n}C', 50000, 'Budi Santoso', '0812') \\gset
select txid as approved from payout.approve('MERCHANT01', :'txid') \\gset
select cashout_token as answered from payout.approve('MERCHANT01', :'cash') \\gset
\\if :{?answered}
	\\set token :answered
\\elif :{?token}
\\else
	select cashout_token as token from payout.reissue_token('MERCHANT01', :'cash') \\gset
\\endif
select txid as validated from payout.cashout_validate('STORE1', :'token', 'T1', 'DISK$n') \\gset
select txid as confirmed from payout.cashout_confirm('STORE1', :'token', 'DISK$n') \\gset
\\echo $n :txid
END
	}
	$told{ (split)[0] } = { %{ $told{ (split)[0] } }, txid => (split)[1], done => 1 } for split /\n/, $t->sql($insist);
}

# What was told before is true: of each payout that some client was told of.
sub remembered
{
	my ($name) = @_;
	my %state = map { split /\|/ } split /\n/, $t->sql('select txid, state from payout.payout');
	my @lost;
	for my $n (sort { $a <=> $b } keys %told)
	{
		my $told = $told{$n};
		push @lost, "DISK$n" if $told->{txid} && !$state{ $told->{txid} }
			|| $told->{approved} && $state{ $told->{txid} } eq 'registered'
			|| $told->{cash} && !$state{ $told->{cash} }
			|| $told->{token} && $state{ $told->{cash} } eq 'registered'
			|| $told->{validated} && $state{ $told->{cash} } eq 'token_issued'
			|| $told->{confirmed} && $state{ $told->{cash} } ne 'paid';
	}
	is(join(' ', @lost), '', "$name: nothing is lost that a client was told");
}

# The disbursements that the bank has not paid exactly once.
sub not_paid_once
{
	my %times;
	$times{$_}++ for PayoutTest::slurp("$t->{dir}/journal") =~ /"event":"paid".*?"partner_reference_no":"(\w+)"/g;
	return grep { ($times{$_} || 0) != 1 } split /\n/, $t->sql("select txid from payout.payout where kind = 'disbursement' order by txid");
}

# The disk has space again: all comes to an end by itself. Clients, whose answers were 00000, those given, or none because
# the server was gone, remember the truth.
sub recovers
{
	my ($name, @answers) = @_;
	my %expected = map { $_ => 1 } '00000', 'gone', @answers;
	$t->wait_for('the server answers', sub {
		my $log = log_of_server();
		rindex($log, 'database system is ready to accept connections') > rindex($log, ' PANIC: ') && ($t->try_sql('select true'))[0] == 0 });
	is(join(' ', grep { !$expected{$_} } keys %seen), '', "$name: clients get no other answers: " . join ', ', map { "$_ $seen{$_}" } sort keys %seen);
	%seen = ();
	remembered($name);
	$t->wait_sql("select (payout.resume_channel('BANK1')).paused_at is null");
	complete();
	$t->wait_all_ended;
	is($t->sql('select txid, lane, reason from payout.hold'), '', "$name: nothing was set aside");
	is($t->sql("select txid, state from payout.payout where state <> case when reference_no ~ '^EXPIRE' then 'expired' else 'paid' end"), '', "$name: all are paid, or expired");
	is(join(' ', not_paid_once()), '', "$name: once");
	is($t->sql('select * from payout.verify()'), '', "$name: verify() is empty");
}

# Payouts that are due, and others that are at a bank which does not answer yet, in bulks of five.
my $queues = 0;

sub queue
{
	my ($bulks) = @_;
	my $name = 'QUEUE' . ++$queues . '_';
	my $is_at_bank = "substr(reference_no, length('$name') + 1)::integer <= 5 * $bulks";
	my $approve = "select count(payout.approve(merchant_id, txid)) from payout.payout where state = 'registered' and reference_no ~ '^$name'";
	$t->sql("select count(payout.register('MERCHANT01', '$name' || i, 10000, 'CENA', '8800000001', 'Budi Santoso')) from generate_series(1, 50) i");
	$t->wait_sql("select not exists (select from payout.payout where account_check = 'pending')");
	$t->fault(service => 20, kind => 'hang', keep => JSON::PP::true, count => $bulks);
	$t->sql("$approve and $is_at_bank");
	$t->wait_for('the bulks are at the bank', sub { $t->control('GET', 'hanging')->{count} == $bulks });
	$t->sql("select payout.pause_channel('BANK1', 'a queue')");
	$t->sql($approve);
}

sub full
{
	my ($flag) = @_;
	unlink glob "$flags/met_*";
	PayoutTest::write_file("$flags/$flag", '');
}

sub has_space { my ($flag) = @_; unlink "$flags/$flag" or die $!; }

# Has the worker that runs now met the full disk?
sub worker_met_it
{
	my ($status, $pid) = $t->try_sql("select pid from pg_stat_activity where backend_type = 'payout worker'");
	return $status == 0 && $pid ne '' && -e "$flags/met_$pid";
}

sub panics { return scalar(() = log_of_server() =~ /53100 PANIC: /g) }

# The table of what is set aside has had a row, so that the next one needs no space.
{
	my $txid = $t->pay(account => '7770000001');
	$t->wait_sql("select exists (select from payout.hold where txid = '$txid')");
	$t->sql("select payout.resolve('MERCHANT01', '$txid', 'dispatch', 'the same person')");
	$t->wait_state($txid, 'paid');
}
$node->stop;
start();
ask() for 1 .. 3;
recovers('before');

# ---- Tables: no space until clients and the worker have met it, while tokens expire as well; the second time by another
# worker, which has to record what became of the first
for my $round (1 .. 2)
{
	queue($round == 1 ? 1 : 6);
	$t->sql("select count(payout.approve('MERCHANT01', (payout.register_cashout('MERCHANT01', 'EXPIRE${round}_' || i, 50000, 'Budi Santoso', '0812')).txid))
		from generate_series(1, 100) i");
	# A commit needs no space in tables.
	my $opener = $node->background_psql('app');
	$opener->query_safe("begin; select payout.resume_channel('BANK1')");
	full('data');
	$opener->query_safe($round == 1 ? 'commit' : "select pg_terminate_backend(pid, 60000) from pg_stat_activity where backend_type = 'payout worker'; commit");
	$t->set_clock(90000 * $round);
	$t->control('POST', 'release');
	$t->wait_for('clients and the worker meet it', sub { ask(); ($seen{53100} || 0) >= 5 && worker_met_it() });
	$opener->quit;
	has_space('data');
	recovers("full tables, $round", 53100);
}

# ---- Tables: one write at a time finds no space
{
	queue(1);
	$t->control('POST', 'release');
	$t->sql("select payout.resume_channel('BANK1')");
	for my $i (1 .. 5)
	{
		full('data_once');
		$t->wait_for('somebody meets it', sub { ask(); !-e "$flags/data_once" });
	}
	recovers('tables full for a moment', 53100);
}

# ---- WAL: one write finds no space; the server restarts by itself
for my $who ('the worker works', 'clients ask')
{
	my $before = panics();
	queue(1) if $who eq 'the worker works';
	full('wal_once');
	$t->control('POST', 'release');
	$t->wait_for('somebody meets it', sub { ask() if $who eq 'clients ask'; !-e "$flags/wal_once" });
	$t->wait_for('the server restarts', sub { panics() > $before });
	recovers("WAL full for a moment while $who");
}

# ---- WAL: no space while the server tries to restart
{
	my $before = panics();
	queue(1);
	full('wal');
	$t->control('POST', 'release');
	$t->wait_for('the server tries', sub { ask(); panics() >= $before + 4 });
	has_space('wal');
	recovers('full WAL');
}
$t->sound('at the end');
done_testing();
