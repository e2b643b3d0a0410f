# 012_escrow_histories.pl: random histories of balances against a model. Sessions run random transactions (top-ups,
# withdrawals, approvals, cancellations, transfers by hand; savepoints, errors that are caught and errors that are not, old
# snapshots, timeouts) and remember what they were told; others are cancelled and terminated; deltas are folded and balances
# watched all the time; backends are killed, so that the server starts over. There are 16 slots for 60 merchants, so they are
# loaded and evicted without end. Whenever nothing is in progress, the tables say exactly what was told, and the slots what
# the tables say.
#
# SEED=n repeats the choices (not their timing); LONG=seconds goes on for longer (LONG=1: two minutes).
use strict;
use warnings;
use lib 'test/t/lib';
use PayoutTest;
use POSIX ();
use Test::More;
use Time::HiRes qw(sleep time);

my $seed = defined $ENV{SEED} && $ENV{SEED} ne '' ? $ENV{SEED} : int rand 1000000;
my $long = $ENV{LONG} || 0;
my $round_s = 4;
my $rounds = $long ? int(($long == 1 ? 120 : $long) / $round_s) || 1 : 4;
my $writers = 5;
my $merchants = 60;
diag("SEED=$seed");

our $connstr;
my @ids = map { sprintf 'H%09d', $_ } 1 .. $merchants;
my (%fee, %daily_total);
$fee{ $ids[$_] } = 700 for grep { $_ % 3 == 0 } 0 .. $#ids;
$daily_total{ $ids[$_] } = 300000 for grep { $_ % 5 == 0 } 0 .. $#ids;

# A psql that is asked and answers; undef for an answer: its server is gone.
package Psql;
use IPC::Open3 qw(open3);
use Time::HiRes qw(sleep time);

sub new
{
	my ($class, $connstr, $name) = @_;
	my $self = bless { connstr => "$connstr application_name=$name" }, $class;
	return $self->connect;
}

sub connect
{
	my $self = shift;
	my $ends = time + $PayoutTest::deadline_s;
	while (time < $ends)
	{
		my ($in, $out);
		$self->{child} = open3($in, $out, undef, 'psql', '-XAtq', '-v', 'VERBOSITY=sqlstate', '-d', $self->{connstr});
		$in->autoflush(1);
		@$self{qw(in out)} = ($in, $out);
		my $answer = $self->ask("select 'here';\n");
		return $self if $answer && $answer =~ /here/;
		$self->end;
		sleep 0.02;
	}
	die "no server\n";
}

# The text of the answer to some lines; undef where the session did not live to the end of it.
sub ask
{
	my ($self, $lines) = @_;
	local $SIG{PIPE} = 'IGNORE';
	local $SIG{ALRM} = sub { die "no answer in time: $lines\n" };
	alarm 2 * $PayoutTest::deadline_s;
	print { $self->{in} } "$lines\\echo \@\@\n";
	my ($text, $line, $done) = ('');
	while (!$done && defined($line = readline $self->{out}))
	{
		$done = $line eq "\@\@\n";
		$text .= $line if !$done;
	}
	alarm 0;
	# psql may notice only at its next statement that it speaks to nobody.
	return $done && $text !~ /^\w+:\s+57P0\d$|server closed the connection/m ? $text : undef;
}

sub end
{
	my $self = shift;
	close $self->{in};
	close $self->{out};
	waitpid $self->{child}, 0;
}

# ---- A writer: random transactions, and what was told of them
package Writer;
use Time::HiRes qw(time);

sub new
{
	my ($class, $number, $round, $open, $log) = @_;
	return bless { name => "W$number", first => "$round.$number", psql => Psql->new($connstr, "writer$number"), log => $log,
		open => $open, transactions => 0, told => {} }, $class;
}

sub note { my ($self, @words) = @_; print { $self->{log} } join(' ', @words), "\n" }

sub cents { my ($from, $to) = @_; return $from + int rand $to - $from + 1 }

sub money { return sprintf '%.2f', $_[0] / 100 }

# A statement with what it does when it succeeds: kind, merchant, reference, amount, what it adds to the balance.
sub statement
{
	my ($self, $mine) = @_;
	my $id = $ids[ rand() < 0.3 ? rand 5 : rand @ids ];
	my $reference = "$self->{first}." . ++$self->{number};
	my $amount = cents(1, 30000);
	my $sum = money($amount);
	my $kind = rand;
	if ($kind < 0.27)
	{
		return { sql => "select 1 from payout.top_up('$id', $sum, '$reference')", does => [ 'top_up', $id, $reference, $amount, $amount ] };
	}
	elsif ($kind < 0.50)
	{
		return { sql => "select 1 from payout.withdraw('$id', $sum, '$reference')", does => [ 'withdraw', $id, $reference, $amount, -$amount ] };
	}
	elsif ($kind < 0.60)
	{
		my ($name, $debit, $credit, $sign) = rand() < 0.5 ? qw(top_up funding available 1) : qw(withdraw available funding -1);
		return { sql => "insert into payout.transfer (merchant_id, kind, debit_account, credit_account, amount, reference_no)
			values ('$id', '$name', '$debit', '$credit', $sum, '$reference')", does => [ $name, $id, $reference, $amount, $sign * $amount ] };
	}
	elsif ($kind < 0.65)
	{
		return { sql => "select 1 from payout.register('$id', '$reference', $sum, 'CENA', '8800000001', 'Budi Santoso') r, lateral payout.reject('$id', r.txid, 'not wanted')",
			does => [ 'rejected', $id, $reference, $amount, 0 ] };
	}
	elsif ($kind < 0.72 && $self->{repeat})
	{
		my ($name, $whose, $which, $how_much) = @{ $self->{repeat} };
		return { sql => "select 1 from payout.$name('$whose', " . money($how_much) . ", '$which')" };
	}
	elsif ($kind < 0.82 && (%{ $self->{open} } || %$mine))
	{
		my $open = %$mine && rand() < 0.3 ? $mine : $self->{open};
		my ($which) = sort keys %$open or return $self->statement($mine);
		my ($whose, $sum_and_fee) = @{ delete $open->{$which} };
		push @{ $self->{tried} }, [ $which, $whose, $sum_and_fee ];
		return { sql => "select 1 from payout.cancel('$whose', (payout.inquiry_reference('$whose', '$which')).txid, 'not wanted')",
			does => [ 'cancelled', $whose, $which, 0, $sum_and_fee ] };
	}
	my $sum_and_fee = $amount + ($fee{$id} || 0);
	$mine->{$reference} = [ $id, $sum_and_fee ];
	return { sql => "select 1 from payout.register('$id', '$reference', $sum, 'CENA', '8800000001', 'Budi Santoso', scheduled_at => clock_timestamp() + interval '1 day') r,"
		. " lateral payout.approve('$id', r.txid)", does => [ 'scheduled', $id, $reference, $amount, -$sum_and_fee ] };
}

# The steps of a transaction.
sub plan
{
	my $self = shift;
	my (@steps, @names, %mine);
	my $is_caught = rand() < 0.6;
	my $left = rand() < 0.1 ? cents(8, 14) : cents(1, 6);
	while ($left > 0)
	{
		my $what = rand;
		my $name = 's' . @steps;
		if ($what < 0.15 && @names < 4) { push @steps, { savepoint => $name, sql => "savepoint $name" }; push @names, $name }
		elsif ($what < 0.23 && @names)
		{
			$#names = int rand @names;
			push @steps, { rollback => $names[-1], sql => "rollback to $names[-1]" };
		}
		elsif ($what < 0.30 && @names) { my $i = int rand @names; push @steps, { release => $names[$i], sql => "release $names[$i]" }; $#names = $i - 1 }
		else
		{
			my $timeout = rand() < 0.1 ? cents(1, 4) : 0;
			push @steps, { savepoint => $name, sql => "savepoint $name" } if $is_caught;
			push @steps, { sql => "set local statement_timeout = $timeout" } if $timeout;
			push @steps, $self->statement(\%mine);
			push @steps, { if_error => 1, rollback => $name, sql => "rollback to $name" } if $is_caught;
			push @steps, { sql => 'set local statement_timeout = 0' } if $timeout;
			push @steps, { release => $name, sql => "release $name" } if $is_caught;
			$left--;
		}
	}
	return @steps;
}

# What the answers mean: the effects that a commit would keep, or undef where the transaction has failed.
sub understand
{
	my ($self, $steps, $text) = @_;
	return undef if $text =~ /^\@none$/m;
	my %said = $text =~ /^\@(\d+) (\w{5})$/mg;
	my ($failed, @frames) = (0, { name => '', effects => [] });
	for my $i (0 .. $#$steps)
	{
		my $step = $steps->[$i];
		next if $step->{if_error} && !defined $said{$i};
		my $sqlstate = $said{$i} // 'none';
		$self->{told}{$sqlstate}++;
		if ($sqlstate ne '00000') { $failed = 1 }
		elsif ($step->{savepoint}) { push @frames, { name => $step->{savepoint}, effects => [] } }
		elsif ($step->{rollback})
		{
			pop @frames while $frames[-1]{name} ne $step->{rollback};
			$frames[-1]{effects} = [];
			$failed = 0;
		}
		elsif ($step->{release})
		{
			my ($frame, @effects);
			do { $frame = pop @frames; unshift @effects, @{ $frame->{effects} } } while $frame->{name} ne $step->{release};
			push @{ $frames[-1]{effects} }, @effects;
		}
		elsif ($step->{does}) { push @{ $frames[-1]{effects} }, $step->{does} }
	}
	return $failed ? undef : [ map { @{ $_->{effects} } } @frames ];
}

sub transaction
{
	my $self = shift;
	my $level = rand() < 0.75 ? 'read committed' : rand() < 0.8 ? 'repeatable read' : 'serializable';
	$self->{tried} = [];
	my @steps = $self->plan;
	# A BEGIN that was cancelled begins nothing.
	my $sql = "begin isolation level $level;\n\\if :ERROR\n\\echo \@none\n\\else\n";
	# The snapshot is old by the time it matters.
	$sql .= "select count(*) from payout.balance where available < 0;\n" if $level ne 'read committed';
	for my $i (0 .. $#steps)
	{
		my $one = "$steps[$i]{sql};\n\\echo \@$i :SQLSTATE\n";
		$sql .= $steps[$i]{if_error} ? "\\if :ERROR\n$one\\endif\n" : $one;
	}
	$sql .= "\\endif\n";
	$self->{transactions}++;
	my $text = $self->{psql}->ask($sql);
	my $kept = defined $text ? $self->understand(\@steps, $text) : undef;
	my $end = $kept && rand() < 0.85 ? 'commit' : 'rollback';
	my $answer = defined $text ? $self->{psql}->ask("$end;\n\\echo \@end :SQLSTATE\n") : undef;
	my $is_known = 1;
	if (!defined $answer)
	{
		$is_known = !defined $text || $end eq 'rollback';
		$self->{psql}->end;
		$self->{psql}->connect;
		$self->{ended}++;
		$kept = undef if $is_known;
	}
	elsif ($end eq 'rollback' || $answer !~ /^\@end 00000$/m)
	{
		my ($sqlstate) = $answer =~ /^\@end (\w{5})$/m;
		$self->{told}{ $sqlstate // 'none' }++;
		$kept = undef;
	}
	$self->remember($is_known ? 'told' : 'unknown', $kept || []);
}

# Writes down what is kept, and what can be cancelled or repeated from now on.
sub remember
{
	my ($self, $how, $kept) = @_;
	my %touched;
	$self->note($how, $self->{transactions}, @$_) for @$kept;
	for my $does (@$kept)
	{
		my ($kind, $id, $reference, $amount, $adds) = @$does;
		$touched{$reference} = 1;
		next if $how eq 'unknown';
		$self->{open}{$reference} = [ $id, -$adds ] if $kind eq 'scheduled';
		$self->{repeat} = [ $kind, $id, $reference, $amount ] if $kind =~ /^(top_up|withdraw)$/;
		delete $self->{open}{$reference} if $kind eq 'cancelled';
	}
	# What was to be cancelled and was not may be tried again, if it was there before.
	for my $one (@{ $self->{tried} })
	{
		my ($reference, $id, $amount) = @$one;
		$self->{open}{$reference} = [ $id, $amount ] if !$touched{$reference} && $self->{was_open}{$reference};
	}
	$self->{was_open} = { map { $_ => 1 } keys %{ $self->{open} } };
}

sub work
{
	my ($self, $ends) = @_;
	$self->{was_open} = { map { $_ => 1 } keys %{ $self->{open} } };
	$self->transaction while time < $ends;
	$self->note('tally', $self->{transactions}, $self->{ended} || 0, %{ $self->{told} });
	$self->note('open', $_, @{ $self->{open}{$_} }) for sort keys %{ $self->{open} };
	$self->{psql}->end;
}

package main;

my $t = PayoutTest->new(conf => [ 'payout.escrow_slots = 16', 'max_connections = 40' ], channel => { mode => 'bulk' });
my $node = $t->{node};
$connstr = $node->connstr('app');

# What the writers were told: balances in cents, transfers and payouts by their references.
my (%balance, %transfer, %state, %open, %seen);
my ($transactions, $ended, $looks) = (0, 0, 0);

# The worker folds too; it pays nothing.
$t->sql("select payout.pause_channel('BANK1', 'histories')");
# A commit takes a while now and then, so that sessions are ended in the middle of one.
$t->sql("create function linger() returns trigger language plpgsql as \$\$ begin if random() < 0.1 then perform pg_sleep(0.003); end if; return null; end \$\$;
	create constraint trigger linger after insert on payout.transfer deferrable initially deferred for each row execute function linger()");
srand $seed;
for my $id (@ids)
{
	my $options = join ', ', $fee{$id} ? '"fee": {"online": {"flat": "7"}}' : (), $daily_total{$id} ? '"limits": {"daily_total": 3000}' : ();
	my $first = 1 + int rand 100000;
	$t->sql("select payout.create_merchant('$id', 'Merchant', null, '{$options}'); select payout.top_up('$id', $first / 100.0, 'first')");
	$balance{$id} = $first;
	$transfer{"$id top_up first"} = $first;
}

# Runs code in a process of its own, which writes to a file; its lines are read when it has ended.
sub start
{
	my ($name, $code) = @_;
	my $path = "$t->{dir}/$name";
	my $pid = fork;
	die "fork: $!" if !defined $pid;
	return { name => $name, pid => $pid, path => $path } if $pid;
	my $number = 0;
	$number = $number * 31 % 1000003 + ord for split //, $name;
	srand $seed * 1000 + $number;
	open my $log, '>', $path or POSIX::_exit(2);
	my $is_done = eval { $code->($log); 1 };
	print $log "died $@" if !$is_done;
	close $log;
	POSIX::_exit($is_done ? 0 : 1);
}

sub finish
{
	my ($process) = @_;
	waitpid $process->{pid}, 0;
	my @lines = split /\n/, PayoutTest::slurp($process->{path});
	is(join('; ', grep { /^died/ } @lines), '', "$process->{name} came to its end") if $? || grep { /^died/ } @lines;
	return @lines;
}

# Asks the same again and again; a session that ends begins anew. What is strange is written down.
sub ask_until
{
	my ($log, $ends, $name, $question, $judge) = @_;
	my $psql = Psql->new($connstr, $name);
	my $answers = 0;
	while (time < $ends)
	{
		my $answer = $psql->ask($question->());
		if (!defined $answer) { $psql->end; $psql->connect; next }
		$answers++;
		$answer =~ s/\s+/ /g;
		print $log "strange $answer\n" if !$judge->($answer);
	}
	print $log "answers $answers\n";
	$psql->end;
}

sub watch
{
	my ($log, $ends) = @_;
	ask_until($log, $ends, 'watcher', sub { return <<'SQL' }, sub { $_[0] =~ /^ ?$/ });
select b.merchant_id, c.available from payout.balance b, lateral payout.current_balance(b.merchant_id) c where c.available < 0;
select merchant_id, available, 'in shared memory' from payout.escrow() where available < 0;
select * from payout.verify_escrow();
SQL
}

sub fold
{
	my ($log, $ends) = @_;
	ask_until($log, $ends, 'folder', sub {
		sleep rand 0.02;
		my $fold = 'select payout.fold(' . (1 + int rand 50) . ");\n";
		return $fold if rand() < 0.7;
		my $level = rand() < 0.5 ? 'repeatable read' : 'read committed';
		return "begin isolation level $level;\nselect count(*) from payout.balance;\n$fold$fold" . (rand() < 0.5 ? "commit;\n" : "rollback;\n");
	}, sub { $_[0] =~ /^[\d ]*(ERROR: 40001 |ERROR: 25P02 )*$/ });
}

# Cancels and terminates writers that do something at the moment; at one moment, where that is asked for, kills the backend
# of one. Answers how many were killed.
sub disturb
{
	my ($ends, $kill_at) = @_;
	my $desk = Psql->new($connstr, 'desk');
	my $killed = 0;
	my $victim = "from pg_stat_activity where application_name ~ '^writer' and state <> 'idle' order by random() limit 1";
	while (time < $ends)
	{
		my $kills = $kill_at && !$killed && time > $kill_at;
		my $what = $kills ? 'pid' : rand() < 0.5 ? 'pg_terminate_backend(pid)' : 'pg_cancel_backend(pid)';
		my $answer = $desk->ask("select $what $victim;\n");
		if (!defined $answer) { $desk->end; $desk->connect }
		elsif ($kills && $answer =~ /^(\d+)$/m) { $killed = kill 'KILL', $1 }
		sleep rand 0.1;
	}
	$desk->end;
	return $killed;
}

sub apply
{
	my ($kind, $id, $reference, $amount, $adds) = @_;
	$balance{$id} += $adds;
	if ($kind =~ /^(top_up|withdraw)$/) { $transfer{"$id $kind $reference"} = $amount }
	else { $state{$reference} = $kind }
}

sub pairs { return map { split /\|/ } split /\n/, $t->sql($_[0]) }

# Of a transaction whose session was ended while it committed, either all is there or nothing.
sub settle_unknown
{
	my ($name, $unknown) = @_;
	my %there = pairs("select merchant_id || ' ' || kind || ' ' || reference_no, 1 from payout.transfer where reference_no is not null");
	my %payout = pairs('select reference_no, state from payout.payout');
	my ($kept, @torn) = (0);
	for my $key (sort keys %$unknown)
	{
		my @does = @{ $unknown->{$key} };
		# What is scheduled and cancelled in one transaction is cancelled.
		my %last = map { $_->[2] => $_->[0] } @does;
		my $found = grep { my ($kind, $id, $reference) = @$_;
			$kind =~ /^(top_up|withdraw)$/ ? $there{"$id $kind $reference"} : ($payout{$reference} || '') eq $last{$reference} } @does;
		push @torn, "$key: $found of " . @does if $found && $found != @does;
		apply(@$_) for $found ? @does : ();
		$kept++ if $found;
	}
	is(join("\n", @torn), '', "$name: of " . keys(%$unknown) . ' transactions that were ended at their commit, ' . $kept . ' are there as a whole, the others not at all');
}

# The keys at which two hashes differ, the first few.
sub difference
{
	my ($is, $should) = @_;
	my %all = (%$is, %$should);
	my @keys = grep { ($is->{$_} // 'nothing') ne ($should->{$_} // 'nothing') } sort keys %all;
	return join "\n", map { "$_: is " . ($is->{$_} // 'nothing') . ', should be ' . ($should->{$_} // 'nothing') } @keys > 5 ? @keys[ 0 .. 4 ] : @keys;
}

sub check
{
	my ($name) = @_;
	# The transactions of those who were ended end a moment later.
	$t->wait_sql(q(select not exists (select from payout.escrow() where pins > 0) and not exists (select from pg_stat_activity where application_name ~ '^(writer|folder|watcher|desk)')));
	is($t->sql('select * from payout.verify()'), '', "$name: verify() is empty");
	is($t->sql('select e.merchant_id, e.available, c.available from payout.escrow() e, lateral payout.current_balance(e.merchant_id) c where e.available <> c.available * 100'),
		'', "$name: the slots say what the tables say");
	cmp_ok($t->sql('select count(*) from payout.escrow()'), '<=', 16, "$name: and are no more than there are");
	is(difference({ pairs("select b.merchant_id, (c.available * 100)::bigint from payout.balance b, lateral payout.current_balance(b.merchant_id) c where b.merchant_id ~ '^H'") }, \%balance),
		'', "$name: balances are what was told");
	is(difference({ pairs("select merchant_id || ' ' || kind || ' ' || reference_no, (amount * 100)::bigint from payout.transfer where reference_no is not null and merchant_id ~ '^H'") }, \%transfer),
		'', "$name: all top-ups and withdrawals that were told are there, and no others");
	is(difference({ pairs("select reference_no, state from payout.payout where merchant_id ~ '^H'") }, \%state), '', "$name: so are the payouts");
	is($t->sql("select m.merchant_id, c.day_total from payout.merchant m, lateral payout.current_balance(m.merchant_id) c where c.day_total > (m.options #>> '{limits,daily_total}')::numeric"),
		'', "$name: no day's total is passed");
}

for my $round (1 .. $rounds)
{
	my $kills = $round % 4 == 2 || $round % 4 == 3;
	my $name = "round $round" . ($kills ? ', a backend is killed' : '');
	my $ends = time + $round_s;
	my @writers = map { my $number = $_; start("round$round.writer$number", sub { Writer->new($number, $round, $open{$number} || {}, $_[0])->work($ends) }) } 1 .. $writers;
	my @others = (start("round$round.watcher", sub { watch($_[0], $ends) }), start("round$round.folder", sub { fold($_[0], $ends) }));
	my $killed = disturb($ends, $kills ? $ends - $round_s * 0.7 : undef);
	is($killed, 1, "$name: killed in the middle") if $kills;
	my %unknown;
	for my $number (1 .. $writers)
	{
		$open{$number} = {};
		for my $line (finish($writers[ $number - 1 ]))
		{
			my ($word, @words) = split / /, $line;
			if ($word eq 'told') { shift @words; apply(@words) }
			elsif ($word eq 'unknown') { my $which = shift @words; push @{ $unknown{"$number.$which"} }, [@words] }
			elsif ($word eq 'open') { $open{$number}{ $words[0] } = [ @words[ 1, 2 ] ] }
			elsif ($word eq 'tally')
			{
				my ($made, $were_ended, %told) = @words;
				$transactions += $made;
				$ended += $were_ended;
				$seen{$_} += $told{$_} for keys %told;
			}
		}
	}
	for my $process (@others)
	{
		my @lines = finish($process);
		$looks += /^answers (\d+)/ ? $1 : 0 for $process->{name} =~ /watcher/ ? @lines : ();
		is(join("\n", grep { /^strange/ } @lines), '', "$process->{name} has seen nothing strange");
	}
	settle_unknown($name, \%unknown);
	check($name);
}

my @strange = grep { !/^(00000|PY001|PY003|PY004|PY007|57014|25P02|3B001|40001|53200)$/ } sort keys %seen;
is(join(' ', @strange), '', "$transactions transactions, $ended sessions ended, $looks looks; statements: " . join ', ', map { "$_ $seen{$_}" } sort keys %seen);
ok(($seen{PY001} || 0) > 0 && ($seen{57014} || 0) > 0 && $ended > 0 && $looks > 0, 'some were refused, cancelled, ended, and watched');
diag("$transactions transactions, $ended sessions ended, $looks looks; " . join ', ', map { "$_ $seen{$_}" } sort keys %seen);
done_testing();
