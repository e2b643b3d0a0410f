# 032_token_guessing.pl: who guesses tokens gets a handful of tries, whatever he varies: digits, calls, names of terminals,
# transactions that he rolls back, sessions. Others are not concerned, and after payout.token_lockout it is forgotten.
use strict;
use warnings;
use lib 'test/t/lib';
use IPC::Run ();
use PayoutTest;
use Test::More;
use Time::HiRes qw(time);

my $t = PayoutTest->new;
my $node = $t->{node};
my $tries = 10000;
my $slot = $t->sql("select payout.slot('MERCHANT01')");
my (undef, $right) = $t->issue;
my %stores = (STORE3 => '{"token_tries": 1000000}', STORE4 => '{"token_tries": 30}', STORE5 => '{}');
$t->sql("select payout.create_cvs('$_', 'Store', '$stores{$_}')") for sort keys %stores;

# Guesses in one statement: how many calls got which SQLSTATE. %s in the terminal is the number of the call.
$t->sql(q(create function public.guess(p_calls text[], p_cvs text, p_terminal text, p_tokens text[]) returns text
language plpgsql as $$
declare
	seen jsonb := '{}';
	got text;
begin
	for i in 1..cardinality(p_tokens) loop
		begin
			case p_calls[1 + i % cardinality(p_calls)]
				when 'validate' then perform payout.cashout_validate(p_cvs, p_tokens[i], replace(p_terminal, '%s', i::text), 'GUESS' || i);
				when 'confirm' then perform payout.cashout_confirm(p_cvs, p_tokens[i], 'GUESS' || i);
				when 'reverse' then perform payout.cashout_reverse(p_cvs, p_tokens[i], 'GUESS' || i, 'guess');
			end case;
			got := '00000';
		exception when others then
			got := sqlstate;
		end;
		seen := seen || jsonb_build_object(got, coalesce((seen ->> got)::integer, 0) + 1);
	end loop;
	return coalesce((select string_agg(key || ' ' || value, ', ' order by key) from jsonb_each_text(seen)), '');
end
$$));

sub tokens { my $count = shift; return map { PayoutTest::random_token($slot) } 1 .. $count; }

sub guess_sql
{
	my ($calls, $cvs, $terminal, @tokens) = @_;
	return "select public.guess('{$calls}', '$cvs', '$terminal', '{" . join(',', @tokens) . "}')";
}

# In a transaction that is rolled back.
sub guess
{
	my $began = time;
	my $got = $t->sql('begin; ' . guess_sql(@_) . '; rollback');
	diag(sprintf '%s at %s %s: %s in %.1f s', @_[0, 1, 2], $got, time - $began);
	return $got;
}

sub locks { return $t->sql('select terminals || $$ $$ || stores from payout.token_locks()'); }

sub health { return $t->sql("select status from payout.health() where check_name = 'token_locks'"); }

# One terminal. The first calls each in a transaction of their own that fails and is rolled back.
is(locks(), '0 0', 'nothing is locked');
is(health(), 'ok', 'health() finds nothing');
my $script = join '', map { "begin;\n" . $t->validate_sql($_) . ";\n\\echo :SQLSTATE\nrollback;\n" } tokens(50);
my (undef, $out) = $node->psql('app', $script, on_error_stop => 0);
my %seen;
$seen{$_}++ for $out =~ /^(PY\d+)$/mg;
is("$seen{PY010} $seen{PY012}", '5 45', 'each rolled back: payout.token_tries tries and no more');
is(guess('validate', 'STORE1', 'T1', tokens($tries)), "PY012 $tries", 'not one more afterwards');
is(guess('validate', 'STORE1', 'T2', tokens($tries)), 'PY010 5, PY012 ' . ($tries - 5), 'another terminal, in one transaction: the same');
is(locks(), '2 0', 'two terminals are locked');
is(health(), 'warning', 'health() says so');
is($t->sqlstate($t->validate_sql($right)), 'PY012', 'even the right token is refused there');
is($t->sqlstate($t->validate_sql($right, terminal => 'T2', reference => 'R1')), 'PY012', 'and there');
is($t->sqlstate($t->validate_sql($right, terminal => 'T3', reference => 'R1')), '00000', 'at a third terminal it is taken');

# A right token forgives nothing.
my (undef, $own) = $t->issue;
is(guess('validate', 'STORE2', 'T1', tokens(4)), 'PY010 4', 'four wrong ones');
is($t->sqlstate($t->validate_sql($own, cvs => 'STORE2', reference => 'OWN')), '00000', 'a right one');
is(guess('validate', 'STORE2', 'T1', tokens(10)), 'PY010 1, PY012 9', 'and one more wrong one, not five');
is($t->confirm($own, cvs => 'STORE2', reference => 'OWN'), 'paid', 'what was validated is confirmed all the same');

# Ever new names of terminals: the store's own limit. T1 and T2 had their five each.
is(guess('validate', 'STORE1', 'X%s', tokens($tries)), 'PY010 90, PY012 ' . ($tries - 90), 'new names gain nothing: 100 for the store');
is(locks(), '3 1', 'the store is locked');
is($t->sqlstate($t->validate_sql($right, terminal => 'NEW')), 'PY012', 'the right token is refused at all its terminals');
is($t->confirm($right, reference => 'R1'), 'paid', 'its own reservation is confirmed while it is locked');

# All three calls mixed; confirm and reverse name no terminal and share one count.
is(guess('validate,confirm,reverse', 'STORE4', 'X%s', tokens($tries)), 'PY010 30, PY012 ' . ($tries - 30), 'the calls count together');
is(guess('confirm,reverse', 'STORE5', 'X%s', tokens($tries)), 'PY010 5, PY012 ' . ($tries - 5), 'confirmations and reversals alone count as one terminal');

# No store pays for another, and noise does not push a lock out of the table.
is(guess('validate', 'STORE3', 'T1', tokens(6)), 'PY010 5, PY012 1', 'a store that may try often');
is(guess('validate', 'STORE3', 'Y%s', tokens($tries)), "PY010 $tries", 'makes noise from ever new terminals');
is(guess('validate', 'STORE3', 'T1', tokens(2)), 'PY012 2', 'its locked terminal stays locked');
is($t->sqlstate($t->validate_sql($right, terminal => 'NEW')), 'PY012', 'the locked store stays locked');
my (undef, $other) = $t->issue;
is($t->sqlstate($t->validate_sql($other, cvs => 'STORE2', terminal => 'T2', reference => 'OTHER')), '00000', 'another store works');

# Many sessions at one moment: each may have looked before the limit was reached.
my $sessions = 8;
my $gate = $node->background_psql('app');
$gate->query_safe('select pg_advisory_lock(1)');
my @runs = map {
	my %run = (out => '');
	$run{handle} = IPC::Run::start([ 'psql', '-XAtq', '-v', 'ON_ERROR_STOP=1', '-d', $node->connstr('app'),
		'-c', 'select pg_advisory_lock_shared(1)', '-c', guess_sql('validate', 'STORE3', 'CROWD', tokens(500)) ], '<', \undef, '>', \$run{out});
	\%run
} 1 .. $sessions;
$t->wait_sql("select count(*) = $sessions from pg_locks where locktype = 'advisory' and objid = 1 and not granted");
$gate->query_safe('select pg_advisory_unlock(1)');
$gate->quit;
$_->{handle}->finish for @runs;
my ($wrong, $locked) = (0, 0);
for my $run (@runs)
{
	$wrong += $1 if $run->{out} =~ /PY010 (\d+)/;
	$locked += $1 if $run->{out} =~ /PY012 (\d+)/;
}
is($wrong + $locked, 500 * $sessions, 'all calls of all sessions answered');
diag("$sessions sessions: $wrong tries for 5");
cmp_ok($wrong, '>=', 5, 'at least the limit');
cmp_ok($wrong, '<', 5 + $sessions, 'passed by fewer than there are sessions');

# The lock ends.
my (undef, $later) = $t->issue;
$t->set_clock(800);
is($t->sqlstate($t->validate_sql($later, terminal => 'NEW')), 'PY012', 'still locked before its time');
$t->set_clock(2000);
is(locks(), '0 0', 'nothing is locked any more');
is(health(), 'ok', 'health() finds nothing');
is($t->sqlstate($t->validate_sql($later, reference => 'LATER')), '00000', 'the right token is taken at the first terminal');
is(guess('validate', 'STORE1', 'T1', tokens(10)), 'PY010 5, PY012 5', 'and a guesser gets his few tries anew');

$t->sound('at the end');
done_testing();
