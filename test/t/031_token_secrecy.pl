# 031_token_secrecy.pl: a token that clients send as a bind parameter is nowhere but at the clients: not in the server's
# log with everything logged, not in statistics or activity, not in tables, dumps, data files or WAL. The same searches
# find a token that is given away.
use strict;
use warnings;
use lib 'test/t/lib';
use File::Find ();
use IPC::Run ();
use PayoutTest;
use Test::More;

my $t = PayoutTest->new(conf => [
	"shared_preload_libraries = 'payout, pg_stat_statements, auto_explain'",
	'log_statement = all', 'log_min_duration_statement = 0', 'log_duration = on', 'log_min_messages = debug5', 'log_error_verbosity = verbose',
	'log_min_error_statement = debug5', 'log_lock_waits = on', 'deadlock_timeout = 10ms',
	'log_parameter_max_length = 0', 'log_parameter_max_length_on_error = 0',
	'pg_stat_statements.track = all', 'pg_stat_statements.max = 10000',
	'auto_explain.log_min_duration = 0', 'auto_explain.log_nested_statements = on', 'auto_explain.log_analyze = on', 'auto_explain.log_verbose = on',
	'payout.token_digits = 20', 'payout.token_tries = 1000' ]);
my $node = $t->{node};
$t->sql('create extension pg_stat_statements');
$t->sql(qq(select payout.alter_cvs('$_', '{"token_tries": 1000}'))) for qw(STORE1 STORE2);

# Everything that clients print, and what pg_stat_activity shows while they wait.
my ($output, $activity) = ('', '');

my %script = (
	validate => "select txid from payout.cashout_validate('STORE1', :token, 'T1', :reference);\n",
	confirm => "select state from payout.cashout_confirm('STORE1', :token, :reference);\n",
	reverse => "select state from payout.cashout_reverse('STORE1', :token, :reference, 'the customer left');\n");
$script{failing} = "begin;\n$script{validate}select 1 / (length(:token) - length(:token));\ncommit;\n";
$script{undone} = "begin;\n$script{validate}rollback;\n";
$script{cast} = "select :token::text::inet;\n";

# Starts a client that sends the token as a bind parameter; in mode simple it writes it into the statement instead.
sub start_client
{
	my ($call, $token, $reference, %option) = @_;
	my $mode = $option{mode} || 'extended';
	my $file = "$t->{dir}/$call.sql";
	PayoutTest::write_file($file, $mode eq 'simple' ? $script{$call} =~ s/:(token|reference)/':$1'/gr : $script{$call});
	local $ENV{PGAPPNAME} = 'store';
	local $ENV{PGOPTIONS} = $option{options} if $option{options};
	my %client = (out => '');
	$client{handle} = IPC::Run::start([ 'pgbench', '-n', '-t', '1', '--verbose-errors', '-M', $mode,
		'-D', "token=$token", '-D', "reference=$reference", '-f', $file, $node->connstr('app') ], '<', \undef, '>&', \$client{out});
	return \%client;
}

# 1 when its statements succeeded.
sub finish_client
{
	my ($client) = @_;
	$client->{handle}->finish;
	$output .= $client->{out};
	return $client->{handle}->result == 0 ? 1 : 0;
}

sub client { return finish_client(start_client(@_)); }

# A client waits for a payout that another session holds; looks at the server's activity meanwhile.
sub waiting
{
	my ($txid, $then, @call) = @_;
	my $locker = $node->background_psql('app');
	$locker->query_safe("begin; select from payout.payout where txid = '$txid' for update");
	my $client = start_client(@call);
	$t->wait_sql("select count(*) = 1 from pg_stat_activity where application_name = 'store' and wait_event_type = 'Lock'");
	$activity .= $t->sql('select string_agg(a::text, chr(10)) from pg_stat_activity a');
	$then->();
	$locker->query_safe('rollback');
	$locker->quit;
	return finish_client($client);
}

sub blanks { my $token = shift; return join ' ', $token =~ /(.{1,4})/g; }

# How a token may be written: whole, in groups, any 8 digits of its random part; as characters or as their codes in hex.
sub pattern
{
	my %part;
	for my $token (@_)
	{
		$part{$_} = 1 for $token, blanks($token);
		$part{substr $token, $_, 8} = 1 for 4 .. length($token) - 9;
	}
	my $all = join '|', map { ($_, unpack 'H*', $_) } sort keys %part;
	return qr/$all/;
}

# Tokens of every fate
my %fate;
$fate{$_} = [ $t->issue ] for qw(right used reversed replaced waiting cancelled undone expired control);
my %token = map { $_ => $fate{$_}[1] } keys %fate;
$token{wrong} = PayoutTest::random_token($t->sql("select payout.slot('MERCHANT01')"), 20);
$token{new} = $t->sql("select cashout_token from payout.reissue_token('MERCHANT01', '$fate{replaced}[0]')");
my $control = delete $token{control};

is(client('validate', $token{right}, 'A1'), 1, 'a right token');
is(client('validate', blanks($token{right}), 'A1', mode => 'prepared'), 1, 'the same in groups, prepared');
is(client('confirm', " $token{right} ", 'A1'), 1, 'confirmed');
is(client('validate', $token{used}, 'B1') + client('confirm', blanks($token{used}), 'B1'), 2, 'another one is used');
is(client($_, $token{used}, 'B2'), 0, "$_ of a used one") for qw(validate confirm);
is(client('reverse', $token{used}, 'B1'), 1, 'taken back: disputed');
is(client('validate', $token{reversed}, 'C1') + client('reverse', $token{reversed}, 'C1'), 2, 'one is reversed');
is(client('validate', $token{reversed}, 'C1'), 0, 'its late original');
for my $call (qw(validate confirm reverse))
{
	is(client($call, $token{wrong}, 'D1'), 0, "$call of a wrong one");
	is(client($call, blanks($token{wrong}), 'D1', mode => 'prepared'), 0, "$call of a wrong one in groups");
	is(client($call, "$token{new}0", 'D1'), 0, "$call of a good one with a digit too many");
	is(client($call, "$token{new}x", 'D1'), 0, "$call of a good one with a letter");
	is(client($call, $token{replaced}, 'D1'), 0, "$call of a replaced one");
}
is(client('failing', $token{undone}, 'E1'), 0, 'in a transaction that fails');
is(client('undone', $token{undone}, 'E2'), 1, 'in one that is rolled back');
is(waiting($fate{waiting}[0], sub { }, 'validate', $token{waiting}, 'F1'), 1, 'while it waits for a lock');
is(waiting($fate{cancelled}[0], sub { $t->sql("select pg_cancel_backend(pid) from pg_stat_activity where application_name = 'store'") },
	'validate', $token{cancelled}, 'F2'), 0, 'cancelled while it waits');
$t->set_clock(86500);
$t->wait_state($fate{expired}[0], 'expired');
is(client($_, $token{expired}, 'G1'), 0, "$_ of an expired one") for qw(validate);
is(client($_, $token{expired}, 'G2'), 1, "$_ of an expired one") for qw(confirm);
is($t->sql("select string_agg(distinct state, ' ' order by state) from payout.payout"), 'disputed expired paid suspect', 'all that was done');

# The control is given away in every place.
is(client('validate', $control, 'X1', mode => 'simple'), 0, 'the control: as a literal');
my ($open, $open_token) = $t->issue;
waiting($open, sub { }, 'validate', $open_token, 'X2', mode => 'simple');
$t->sql("do \$\$ begin perform '$control'; end \$\$");
is(client('cast', $control, '-'), 0, 'in an error that shows its argument');
$t->sql("select payout.reject('MERCHANT01', '" . $t->register_cashout . "', 'was $control')");
my $logged_token = PayoutTest::random_token(1, 20);
client('validate', $logged_token, 'X3', options => '-c log_parameter_max_length=-1');

# Where it might be.
my %place = (
	'clients\' output' => $output,
	pg_stat_activity => $activity,
	pg_stat_statements => $t->sql('select string_agg(query, chr(10)) from pg_stat_statements'),
	history => $t->sql('select string_agg(e::text, chr(10)) from payout.payout_event e'),
	notifications => $t->sql('select string_agg(n::text, chr(10)) from payout.notification n'));
like($place{pg_stat_statements}, qr/payout\.token_digest\(/, 'nested statements are in the statistics');
my $dump = '';
IPC::Run::run([ 'pg_dump', $node->connstr('app') ], '>', \$dump) or die 'pg_dump';
$place{dump} = $dump;
$t->sql('checkpoint');
$node->stop;
$place{log} = PayoutTest::slurp($node->logfile);
ok($place{log} =~ /Query Text: .*payout\.cashout_token q where q\.digest/, 'nested statements are in the log');
for my $name ('data files', 'WAL')
{
	$place{$name} = '';
	File::Find::find({ no_chdir => 1, wanted => sub {
		$place{$name} .= PayoutTest::slurp($_) if -f && -s && (m{/pg_wal/} xor $name eq 'data files') } }, $node->data_dir);
	cmp_ok(length $place{$name}, '>=', 1 << 24, "there are $name");
}

# With log_verbose the plan of a client's own statement shows its parameters: that alone is left out, and counted.
my @lines = split /\n/, $place{log};
my @others = grep { !/^\s+Function Call: payout\.cashout_\w+\('STORE1'::text, / } @lines;
cmp_ok(@lines - @others, '>=', 12, 'auto_explain.log_verbose must be off: it shows what clients bind');
$place{log} = join "\n", @others;

my $secret = pattern(values %token);
my $known = pattern($control, $open_token);
for my $name (sort keys %place)
{
	my @found;
	while ($place{$name} =~ /$secret/g)
	{
		push @found, substr($place{$name}, $-[0] > 80 ? $-[0] - 80 : 0, 160) =~ s/[^ -~]/./gr;
	}
	is(scalar @found, 0, "$name: no token") or diag(join "\n", @found > 5 ? @found[0 .. 4] : @found);
	ok($place{$name} =~ $known, "$name: the control is found");
}
ok($place{log} =~ pattern($logged_token), 'log_parameter_max_length is what keeps a bind parameter out of the log');
done_testing();
