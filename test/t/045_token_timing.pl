# 045_token_timing.pl: the time of a refusal does not tell how near a token is to a right one. Look-ups are by digest (HMAC under a key outside of the
# database), so digits that are nearly right lead to a place as far away as any; this measures it. Tokens that exist and are of
# no use (used, reserved elsewhere) may take longer to refuse: they are good for nothing.
use strict;
use warnings;
use lib 'test/t/lib';
use List::Util qw(shuffle);
use PayoutTest;
use Test::More;

my $t = PayoutTest->new(balance => 1000000000);
my $rounds = $ENV{LONG} ? 3000 : 400;
my $tolerance = 0.3;
$t->sql("select payout.create_cvs('TIMED', 'Store', '{\"token_tries\": 1000000}')");
my (undef, $right) = $t->issue;
$t->issue for 1 .. 20;

# The check digit that makes a token well-formed.
sub with_check_digit
{
	my ($digits) = @_;
	my ($sum, $double) = (0, 1);
	for my $d (reverse split //, $digits)
	{
		my $x = $double ? $d * 2 : $d;
		$sum += $x > 9 ? $x - 9 : $x;
		$double = !$double;
	}
	return $digits . (10 - $sum % 10) % 10;
}

my $body = substr $right, 0, -1;
is(with_check_digit($body), $right, 'check digits are as here');
# One digit beside the right one: the last before the check digit, with 14 of 16 right; and the first random one, with 4.
sub beside { my ($at) = @_; my $digits = $body; substr($digits, $at, 1) = (substr($digits, $at, 1) + 1 + int rand 9) % 10; return with_check_digit($digits) }
my %kind = (
	near => sub { beside(-1) },
	early => sub { beside(4) },
	far => sub { with_check_digit(substr($right, 0, 4) . join '', map { int rand 10 } 1 .. 11) },
	elsewhere => sub { with_check_digit(join '', map { int rand 10 } 1 .. 15) });
my @kinds = sort keys %kind;
$t->sql(q(create table public.guess (n serial, kind text, token text, took double precision, scans bigint)));
my @rows;
for my $round (1 .. $rounds)
{
	push @rows, map { sprintf "('%s', '%s')", $_, $kind{$_}->() } shuffle @kinds;
}
$t->sql('insert into public.guess (kind, token) values ' . join ', ', @rows);

# Each guess on its own, in the order of the table, kinds mixed; refused as PY010, or the test has found what it was looking for.
$t->sql(q(do $$
declare
	g record; began timestamptz; ended timestamptz; scans bigint; refused text;
	index_oid oid := 'payout.cashout_token_digest'::regclass;
begin
	for g in select * from public.guess order by n loop
		scans := pg_stat_get_xact_numscans(index_oid);
		began := clock_timestamp();
		begin
			perform payout.cashout_validate('TIMED', g.token, 'T' || g.n, 'R' || g.n);
			refused := 'no';
		exception when others then
			refused := sqlstate;
		end;
		ended := clock_timestamp();
		if refused <> 'PY010' then
			raise exception 'guess % was answered with %', g.kind, refused;
		end if;
		update public.guess set took = extract(epoch from ended - began) * 1e6, scans = pg_stat_get_xact_numscans(index_oid) - guess_scans.before
		from (select scans as before) guess_scans where n = g.n;
	end loop;
end $$));
is($t->sql('select count(distinct scans) || $$ $$ || max(scans) from public.guess'), '1 0', 'no guess shows in the statistics of the index of digests');
my %median = map { split /\|/ } split /\n/, $t->sql('select kind, percentile_cont(0.5) within group (order by took) from public.guess group by 1');
diag(join ', ', map { sprintf '%s %.0f us', $_, $median{$_} } @kinds);
for my $kind (grep { $_ ne 'far' } @kinds)
{
	cmp_ok(abs($median{$kind} / $median{far} - 1), '<', $tolerance, "a token that is $kind takes as long as one that is far");
	# How often one of the kind took longer than one that is far: a half where nothing is told. Equal times, a third of all pairs where calls
	# take the same few microseconds, count as half of each.
	my $longer = $t->sql("select avg((sign(a.took - b.took) + 1) / 2) from public.guess a, public.guess b where a.kind = '$kind' and b.kind = 'far'");
	cmp_ok(abs($longer - 0.5), '<', $tolerance / 2, "and as often longer as shorter ($kind)");
}
$t->sound('at the end');
done_testing();
