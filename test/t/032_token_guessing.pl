# 032_token_guessing.pl: who guesses tokens gets a bounded number of tries, whatever he varies: digits, calls, names of terminals,
# transactions that he rolls back, sessions. Others are not concerned, and with time he gets them back, slowly.
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
my %stores = (STORE3 => '{"token_tries": 1000000}', STORE4 => '{"token_tries": 30}', STORE5 => '{}', CHAIN => '{}', OWNROLES => '{"token_tries": 30}');
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
is("$seen{PY010} $seen{PY012}", '20 30', 'each rolled back: payout.token_tries tries and no more');
is(guess('validate', 'STORE1', 'T1', tokens($tries)), "PY012 $tries", 'not one more afterwards');
is(guess('validate', 'STORE1', 'T2', tokens($tries)), 'PY010 20, PY012 ' . ($tries - 20), 'another terminal, in one transaction: the same');
is(locks(), '2 0', 'two terminals are locked');
is(health(), 'warning', 'health() says so');
is($t->sqlstate($t->validate_sql($right)), 'PY012', 'even the right token is refused there');
is($t->sqlstate($t->validate_sql($right, terminal => 'T2', reference => 'R1')), 'PY012', 'and there');
is($t->sqlstate($t->validate_sql($right, terminal => 'T3', reference => 'R1')), '00000', 'at a third terminal it is taken');

# What is not written as a token can be tried for ever: it is looked up nowhere.
is(guess('validate,confirm,reverse', 'STORE1', 'T5', map { PayoutTest::random_token($slot) =~ s/(\d)$/($1 + 1) % 10/er } 1 .. 500), 'PY010 500', 'wrong check digits are no tries');
is(locks(), '2 0', 'and lock nothing');

# A right token forgives nothing.
my (undef, $own) = $t->issue;
is(guess('validate', 'STORE2', 'T1', tokens(19)), 'PY010 19', 'nineteen wrong ones');
is($t->sqlstate($t->validate_sql($own, cvs => 'STORE2', reference => 'OWN')), '00000', 'a right one');
is(guess('validate', 'STORE2', 'T1', tokens(10)), 'PY010 1, PY012 9', 'and one more wrong one, not twenty');
is($t->confirm($own, cvs => 'STORE2', reference => 'OWN'), 'paid', 'what was validated is confirmed all the same');

# Ever new names of terminals share what the store may try in an hour; a terminal where the store has paid has that for itself.
my (undef, $first) = $t->issue;
my (undef, $second) = $t->issue;
my (undef, $third) = $t->issue;
$t->validate($first, terminal => 'PAYS', reference => 'F1');
is($t->confirm($first, reference => 'F1'), 'paid', 'a terminal has paid');
is(guess('validate', 'STORE1', 'X%s', tokens($tries)), 'PY010 1040, PY012 ' . ($tries - 1040), 'new names gain nothing: 1,080 for all of them');
is(locks(), '3 1', 'unknown terminals of the store are locked');
is($t->sqlstate($t->validate_sql($second, terminal => 'NEW')), 'PY012', 'the right token is refused at one');
is($t->sqlstate($t->validate_sql($second, terminal => 'PAYS', reference => 'F2')), '00000', 'and taken where the store has paid');
is($t->confirm($right, reference => 'R1'), 'paid', 'a reservation of before is confirmed');
is($t->reverse_it($second, reference => 'F2'), 'token_issued', 'or reversed');
is($t->sqlstate($t->validate_sql($second, terminal => 'NEW')), 'PY012', 'the lock lasts');
$t->sql("select payout.unlock_terminal('STORE1', 'NEW')");
is($t->sqlstate($t->validate_sql($second, terminal => 'NEW', reference => 'F3')), '00000', 'until an operator names the terminal');
is($t->reverse_it($second, reference => 'F3'), 'token_issued', 'reversed');

# Confirmations of nothing share it as well. Reversals of nothing are looked up nowhere, and remembered up to a bound.
is(guess('validate,confirm', 'STORE4', 'X%s', tokens($tries)), 'PY010 30, PY012 ' . ($tries - 30), 'the calls count together');
is(guess('confirm', 'STORE5', '', tokens($tries)), 'PY010 1080, PY012 ' . ($tries - 1080), 'confirmations alone');
is(guess('reverse', 'STORE5', '', tokens(3000)), '00000 1000, PY018 2000', 'reversals of nothing, locked or not');

# No store pays for another, and noise does not push a lock out of the table.
is(guess('validate', 'STORE3', 'T1', tokens(21)), 'PY010 20, PY012 1', 'a store that may try often');
is(guess('validate', 'STORE3', 'Y%s', tokens($tries)), "PY010 $tries", 'makes noise from ever new terminals');
is(guess('validate', 'STORE3', 'T1', tokens(2)), 'PY012 2', 'its locked terminal stays locked');
is($t->sqlstate($t->validate_sql($third, cvs => 'STORE2', terminal => 'T7', reference => 'OTHER')), '00000', 'another store works');

# Many sessions at one moment: the lock is looked at and the try counted in one step.
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
is("$wrong $locked", '20 ' . (500 * $sessions - 20), 'all sessions together have the tries of one');

# Whatever names a terminal gives, those under a role of their own are not concerned, known ones and new ones.
$t->sql(q(create role till1 login; create role till2 login; select payout.grant_access(r, 'cvs', 'OWNROLES') from unnest('{till1,till2}'::text[]) r;
	grant execute on function public.guess(text[], text, text, text[]) to public));
my (undef, $fourth) = $t->issue;
my (undef, $fifth) = $t->issue;
sub as_role { my ($role, $sql) = @_; my ($status, $got, $err) = $node->psql('app', $sql, extra_params => [ '-q', '-U', $role, '-v', 'VERBOSITY=sqlstate' ], stderr => \my $errors); return $status == 0 ? $got : $errors =~ /ERROR:\s+(\w{5})/ ? $1 : $errors; }
as_role('till2', $t->validate_sql($fourth, cvs => 'OWNROLES', terminal => 'TILL-2', reference => 'O1'));
is(as_role('till2', $t->confirm_sql($fourth, cvs => 'OWNROLES', reference => 'O1')), 'paid', 'a terminal with a role of its own has paid');
is(as_role('till1', guess_sql('validate', 'OWNROLES', 'TILL-2', tokens(100))), 'PY010 20, PY012 80', 'another role gives its name');
is(as_role('till1', guess_sql('validate', 'OWNROLES', 'TILL-%s', tokens(100))), 'PY010 10, PY012 90', 'and all others');
isnt(as_role('till2', $t->validate_sql($fifth, cvs => 'OWNROLES', terminal => 'TILL-2', reference => 'O2')), 'PY012', 'the terminal itself is not locked');
is(as_role('till2', guess_sql('validate', 'OWNROLES', 'TILL-2', tokens(30))), 'PY010 20, PY012 10', 'it has tries of its own');

# Time gives one try back in each payout.token_lockout.
my (undef, $later) = $t->issue;
$t->set_clock(800);
is($t->sqlstate($t->validate_sql($later, cvs => 'STORE3', terminal => 'T1')), 'PY012', 'still locked before its time');
$t->set_clock(1000);
is($t->sqlstate($t->validate_sql($later, cvs => 'STORE3', terminal => 'T1', reference => 'LATER')), '00000', 'the right token is taken at the first terminal');
is(guess('validate', 'STORE3', 'T1', tokens(10)), 'PY010 1, PY012 9', 'and a guesser has one try');
$t->set_clock(1000 + 20 * 900);
is(guess('validate', 'STORE3', 'T1', tokens(100)), 'PY010 20, PY012 80', 'all of them after as many times of that');

# An honest chain: 20,000 terminals, 50,000 validations in an hour, one in fifty of them with wrong digits that even have the right check digit.
my $hour = 100;
my $tills = 20000;
sub of_the_chain { my $count = shift; return guess_sql('validate', 'CHAIN', 'TILL%s', tokens($count)); }
is($t->sql(of_the_chain(1000)), 'PY010 1000', 'on its first day no terminal is known, and none is locked');
$t->sql("insert into payout.known_terminal (cvs_code, terminal, role_name) select 'CHAIN', 'TILL' || i, current_user from generate_series(1, $tills) i");
my %answered = (PY010 => 0, PY012 => 0);
for (1 .. 12)
{
	$t->set_clock(++$hour * 3600);
	my $got = $t->sql(of_the_chain(1000));
	$answered{$1} += $2 while $got =~ /(PY\d+) (\d+)/g;
}
is("$answered{PY010} $answered{PY012}", '12000 0', 'hour after hour, a thousand wrong tokens of the chain lock nothing');
# Who holds all of them and guesses as fast as he can, by known names and by invented ones
%answered = (PY010 => 0, PY012 => 0);
my $hours = 24;
for (1 .. $hours)
{
	$t->set_clock(++$hour * 3600);
	my $got = $t->sql(of_the_chain(3000)) . ' ' . $t->sql(guess_sql('validate,confirm', 'CHAIN', 'INVENTED%s', tokens(2000)));
	$answered{$1} += $2 while $got =~ /(PY\d+) (\d+)/g;
}
# What the buckets held at the beginning is had once.
my $an_hour = ($answered{PY010} - 2 * 1080) / $hours;
my $redeemed = $an_hour * 24 * 365.25 * 100 * 1e6 / 1e15;
diag(sprintf 'all terminals of a chain try %.0f tokens an hour: %.2f of a million are guessed in 100 years', $an_hour, $redeemed);
cmp_ok($redeemed, '<', 1, 'less than one token in 100 years');
cmp_ok($an_hour, '>', 1000, 'and more than the honest chain needs');

$t->sound('at the end');
done_testing();
