# 090_readme.pl: what README.md says is what the extension has: functions with arguments, result and callers, settings,
# errors, options, states, moves, events, views, retries, files; and its SQL works as it stands.
use strict;
use warnings;
use lib 'test/t/lib';
use PayoutTest;
use Test::More;

# README.md starts from an empty database, so nothing is set up beforehand.
{ no warnings 'redefine'; *PayoutTest::set_up = sub {}; }

my $readme = PayoutTest::slurp('README.md');

# The text between a heading and the next one of any level.
sub section
{
	my ($heading) = @_;
	my ($text) = $readme =~ /^#+ \Q$heading\E\n(.*?)(?=^#+ |\z)/ms;
	BAIL_OUT("README.md has no section \"$heading\"") unless defined $text;
	return $text;
}

# The rows of the table in a section, cells without blanks around and without backticks.
sub table
{
	my ($heading) = @_;
	my @rows = map { s/^\|\s*|\s*\|\s*$//g; [ map { s/`//gr } split /\s*\|\s*/, $_ ] } grep { /^\|/ } split /\n/, section($heading);
	splice @rows, 0, 2;
	return @rows;
}

sub lines { return join "\n", sort @_ }

my $sandbox_secret = 'whsec_' . PayoutTest::webhook_key();
my $t = PayoutTest->new(sandbox => { webhook_secrets => { FLOWERSHOP => $sandbox_secret } });

# Functions: signature and result from the catalog, callers from the one list in C.
my %kinds = PayoutTest::slurp('src/entry.c') =~ /^\t\{"(\w+)", ([A-Z_| ]+)\},$/mg;
my %callers = ('ACCESS_MERCHANT' => 'merchant', 'ACCESS_CVS' => 'cvs', 'ACCESS_OPERATOR' => 'operator', 'ACCESS_MERCHANT | ACCESS_OPERATOR' => 'merchant, operator');
my @functions = map { [ split /\|/ ] } split /\n/, $t->sql(q(
	select p.proname, case p.prokind when 'p' then 'CALL ' else '' end || 'payout.' || p.proname || '(' || pg_get_function_arguments(p.oid) || ')',
		case p.prokind when 'p' then 'state' else pg_get_function_result(p.oid) end
	from pg_proc p where p.pronamespace = 'payout'::regnamespace
	and (p.prosrc = 'payout_entry' or p.proname in ('check_status', 'generate_txid', 'slot'))));
for my $f (@functions)
{
	$f->[1] =~ s/timestamp with time zone/timestamptz/g;
	$f->[1] =~ s/, OUT \w+ \w+|\bIN //g;
	$f->[1] =~ s/ DEFAULT ('[^']*'|\w+)(::\w+)?/ = $1/g;
	$f->[2] = $f->[2] =~ /^TABLE\((.*)\)$/ ? 'set of (' . join(', ', map { /^(\w+)/ } split /, /, $1) . ')'
		: $f->[2] eq 'record' ? '(available, in_transit, scheduled)' : $f->[2];
}
is(lines(map { join ' | ', @$_[0 .. 2] } table('Functions')),
	lines(map { join ' | ', @$_[1, 2], $callers{ $kinds{ $_->[0] } || '' } || 'owner' } @functions), 'functions');

# Errors: the list in C, and the SQL raises no other.
my @errors = map { "PY$_" } map { join '', @$_ } map { [ /'(\d)', '(\d)', '(\d)'/ ] } grep { /^#define PY_\w+ PY_STATE\('/ } split /\n/, PayoutTest::slurp('src/errors.h');
is(lines(map { $_->[0] } table('Errors')), lines(@errors), 'errors');
my %error = map { $_ => 1 } @errors;
is(lines(grep { !$error{$_} && $_ ne 'PY000' } map { PayoutTest::slurp($_) =~ /\b(PY\d{3})\b/g } glob 'src/*.sql'), '', 'SQL raises errors of the list only');

# Settings: name and default.
is(lines(map { "$_->[0] $_->[1]" } table('Settings')),
	$t->sql(q(select name || ' ' || case when boot_val in ('') then 'empty' else boot_val || coalesce(' ' || unit, '') end
		from pg_settings where name like 'payout.%' order by name collate "C")), 'settings');

# Options: scope, name, type with range, default.
is(lines(map { join ' | ', @$_[0 .. 3] } table('Options')), lines(split /\n/, $t->sql(q(
	select concat_ws(' | ', scope, name, case kind when 'integer' then format('%s to %s', minimum, maximum)
		when 'text' then format('text of %s to %s', minimum, maximum) when 'visible' then format('%s to %s visible characters', minimum, maximum) when 'choice' then array_to_string(choices, ', ') else kind end,
		case when name = 'notify_events' then 'all but account.checked, approval.given, payout.approved' else coalesce(default_value #>> '{}', 'none') end)
	from payout.option_definition))), 'options');

# States, moves, events
is(lines(map { $_->[0] } table('States')), $t->sql('select to_state from payout.allowed_move union select from_state from payout.allowed_move order by 1'), 'states');
is(lines(map { "$_->[0] $_->[1]" } grep { $_->[1] ne 'registration' } table('States')),
	lines(split /\n/, $t->sql(q(select to_state || ' ' || string_agg(distinct from_state, ', ' order by from_state) from payout.allowed_move group by to_state))), 'moves');
is(lines(map { $_->[0] } table('Events and notifications')), lines(split /\n/, $t->sql(q(select unnest(choices) from payout.option_definition where name = 'notify_events'))), 'events');

# Views, health checks, retries
is(lines(map { $_->[0] } table('Views')), $t->sql(q(select 'payout.' || relname from pg_class where relnamespace = 'payout'::regnamespace and relkind = 'v' order by 1)), 'views');
is(lines(map { split /, / } map { $_->[0] } table('Health')), $t->sql('select check_name from payout.health() order by check_name collate "C"'), 'health checks');
is(lines(map { join ' ', @$_[0 .. 3] } table('Retries')), $t->sql('select concat_ws(\' \', lane, base_ms, max_ms, tries_max) from payout.retry_policy order by lane'), 'retries');

# Files and commands that are named exist.
is(lines(grep { my @found = glob $_; !@found || !-e $found[0] } section('Map of the tree') =~ /`([\w.\/*-]+)`/g), '', 'files named exist');
my $makefile = PayoutTest::slurp('Makefile');
is(lines(grep { $makefile !~ /^\Q$_\E[ \w-]*:/m && !/^install(check)?$/ } $readme =~ /`make ([\w-]+)/g), '', 'commands named exist');

# The SQL, as it stands, but for addresses, key files and the extension, which is there already.
my %file = ('bank1.pem' => "$t->{dir}/ours.pem", 'bank1-theirs.pem' => "$t->{dir}/bank.pub", 'bank1.secret' => "$t->{dir}/client.secret", 'flowershop.secret' => "$t->{dir}/webhook.secret");
PayoutTest::write_file($file{'bank1.secret'}, 'a-shared-client-secret');
PayoutTest::write_file($file{'flowershop.secret'}, $sandbox_secret);
my $step = 0;
for my $block ($readme =~ /^```sql\n(.*?)^```/msg)
{
	$block =~ s{https://bank\.example}{"http://127.0.0.1:$t->{bank_port}/bank"}ge;
	$block =~ s{https://flowershop\.example/payout-events}{http://127.0.0.1:$t->{bank_port}/merchant/FLOWERSHOP};
	$block =~ s{/etc/payout/([\w.-]+)}{$file{$1}}g;
	$block =~ s/^create extension payout;$//m;
	my ($status, $out, $err) = $t->{node}->psql('app', $block, on_error_stop => 1);
	is("$status $err", '0 ', 'SQL block ' . ++$step . ' works') or diag($block);
	$t->wait_sql('select not exists (select from payout.payout where account_check = \'pending\')');
}
ok($step > 3, 'there is SQL to paste');
$t->wait_sql('select count(*) > 0 and bool_and(state = \'paid\') from payout.payout where state <> \'rejected\'');
$t->wait_for('the merchant is told', sub { grep { $_->{type} eq 'payout.paid' && $_->{verified} } @{ $t->webhooks('FLOWERSHOP') } });
$t->sound('after the SQL of README.md');
done_testing();
