# 047_defaults.pl: what the defaults of a database or role are, its locale and its encoding, changes neither money, states nor
# names: one flow, of each kind of payout, in one database after the other, gives what it gives in the first.
use strict;
use warnings;
use lib 'test/t/lib';
use PayoutTest;
use Test::More;

my $key = 'whsec_' . PayoutTest::webhook_key();
my $t = PayoutTest->new(conf => [ 'payout.safety_poll = 2000', 'log_min_messages = error', 'max_worker_processes = 70' ],
	sandbox => { webhook_secrets => { map { $_ => $key } 'MERCHANT01', 'MERCHANT02' } },
	merchant => { fee => { online => { flat => 2500 }, cashout => { flat => 5000 } } });
my $node = $t->{node};
$node->safe_psql('postgres', q(create role dbo; create role payer login; create role till login; grant create on database postgres to dbo));
$t->sql(q(select payout.grant_access('payer', 'merchant', 'MERCHANT01'), payout.grant_access('till', 'cvs', 'STORE1'),
	payout.grant_access('payer', 'operator')));

# One session of the flow; what it answers says everything that may not differ. Each step waits for the worker.
my $flow = 0;

sub run_flow
{
	my ($name, $as_text) = @_;
	my $f = 'F' . ++$flow;
	my @out;
	my $step = sub {
		my ($sql, $wanted) = @_;
		my ($status, $out, $err);
		my $done = $t->wait_for("$name: $sql", sub {
			($status, $out, $err) = (3, '', '');
			eval { ($status, $out, $err) = $node->psql('app', $sql, on_error_stop => 1, extra_params => [ '-U', 'payer', '-v', 'VERBOSITY=verbose' ]) };
			return 0 if $status != 0 && $err =~ /\b(40001|40P01|55P03)\b/;	# stricter isolation: tried again
			diag("$name: $err") if $status != 0;
			return $status != 0 || !defined $wanted || $out eq $wanted;
		}, 20);
		push @out, $done ? $out : "$out (not in time)";
		return $out;
	};
	my $state = sub { my ($r, $state) = @_; $step->("select state from payout.inquiry_reference('MERCHANT01', '$f$r')", $state) };
	my $approve = sub { my $r = shift; $step->("select account_check from payout.inquiry_reference('MERCHANT01', '$f$r')", 'matched'); $step->("select state from payout.approve('MERCHANT01', (select txid from payout.inquiry_reference('MERCHANT01', '$f$r')))") };
	my $register = sub { my ($r, $account, $name) = @_; $step->("select state, amount from payout.register('MERCHANT01', '$f$r', 1234.50, 'CENA', '$account', '$name', 'online', null, null)") };

	my $before = $t->sql("select available from payout.balance('MERCHANT01')");
	# paid, disputed by a person's doing and resolved; refused; another name; scheduled
	$register->('A', '8800000001', 'Budi Santoso');
	$register->('B', '4040000001', 'Budi Santoso');
	$register->('C', '7770000001', 'budi santoso');
	$step->("select account_check from payout.inquiry_reference('MERCHANT01', '${f}C')", 'name_differs');
	$approve->('A');
	$state->('A', 'paid');
	$step->("select account_check from payout.inquiry_reference('MERCHANT01', '${f}B')", 'invalid');
	$step->("select state from payout.reject('MERCHANT01', (select txid from payout.inquiry_reference('MERCHANT01', '${f}C')), 'no')");
	$t->sql("set session_replication_role = origin; set transaction_read_only = off; update payout.payout set state = 'disputed', reason = 'proof' where reference_no = '${f}A'");
	$step->("select state, fee from payout.resolve('MERCHANT01', (select txid from payout.inquiry_reference('MERCHANT01', '${f}A')), 'failed', 'never paid')");
	$step->("select state, amount from payout.register('MERCHANT01', '${f}D', 1000, 'CENA', '8800000002', 'BUDI SANTOSO', 'online', null, now() + interval '90 min')");
	$approve->('D');
	$step->("select state from payout.cancel('MERCHANT01', (select txid from payout.inquiry_reference('MERCHANT01', '${f}D')), 'no')");
	# cash, whose token's life is seconds
	$step->("select state from payout.register_cashout('MERCHANT01', '${f}E', 50000, 'Budi Santoso', '0812')");
	my $token = $step->("select cashout_token from payout.approve('MERCHANT01', (select txid from payout.inquiry_reference('MERCHANT01', '${f}E')))");
	$out[-1] = length $token;
	my @till = (extra_params => [ '-U', 'till' ], on_error_stop => 1);
	push @out, join ' ', map { my (undef, $out) = $node->psql('app', $_, @till); $out } (
		"select amount, beneficiary_name, round(extract(epoch from reserved_until - clock_timestamp()) / 10) from payout.cashout_validate('STORE1', '$token', 'T1', '${f}E')",
		"select state from payout.cashout_confirm('STORE1', '$token', '${f}E')");
	push @out, $t->sql("select round(extract(epoch from k.valid_until - p.approved_at)) from payout.cashout_token k join payout.payout p using (merchant_id, txid) where reference_no = '${f}E'");
	$t->wait_for("$name: the merchant is told", sub { $t->sql("select not exists (select from payout.notification n join payout.payout p using (merchant_id, txid) where reference_no like '$f%' and n.delivered_at is null)") eq 't' }, 20);
	push @out, $t->sql("select p.reference_no || ' ' || string_agg(n.event, ' ' order by n.event_no) from payout.notification n join payout.payout p using (merchant_id, txid) where p.reference_no like '$f%' group by p.reference_no order by p.reference_no") =~ s/F\d+//gr;
	push @out, $t->sql("select p.reference_no || ' ' || string_agg(concat_ws(' ', x.kind, x.amount), ' ' order by x.at, x.transfer_id) from payout.transfer x join payout.payout p using (merchant_id, txid) where p.reference_no like '$f%' group by p.reference_no order by p.reference_no") =~ s/F\d+//gr;
	push @out, 'moved ' . ($before - $t->sql("select available from payout.balance('MERCHANT01')"));
	push @out, 'wrong ' . $t->sql('select check_name, detail from payout.verify()');
	return join "\n", @out;
}

# A worker takes defaults over when it begins.
sub restart_worker
{
	my $pid = $node->safe_psql('postgres', "select pid from pg_stat_activity where backend_type = 'payout worker'");
	$node->safe_psql('postgres', "select pg_terminate_backend($pid)") if $pid ne '';
	$t->wait_for('a new worker', sub {
		my $new = $node->safe_psql('postgres', "select pid from pg_stat_activity where backend_type = 'payout worker'");
		return $new ne '' && $new ne $pid }, 30);
}

my $reference = run_flow('as it comes');
unlike($reference, qr/not in time/, 'the flow runs');
like($reference, qr/^wrong $/m, 'and the books are sound');
note($reference);

# Several at once, as each takes effect by itself; those that forbid the client to write are undone for it by its role.
my @variants = (
	[ 'triggers of origin do not fire' => [ "session_replication_role = replica" ] ],
	[ 'another role' => [ "role = dbo" ], 'client too' ],
	[ 'read only, repeatable read' => [ "default_transaction_isolation = 'repeatable read'", "default_transaction_read_only = on", "default_transaction_deferrable = on" ], undef, [ 'default_transaction_read_only = off' ] ],
	[ 'serializable' => [ "default_transaction_isolation = serializable" ] ],
	[ 'zones, styles, locales' => [ "timezone = 'America/New_York'", "datestyle = 'SQL, DMY'", "intervalstyle = sql_standard", "bytea_output = escape", "extra_float_digits = -15", "lc_numeric = 'C.UTF-8'", "lc_monetary = 'C.UTF-8'", "lc_time = 'C.UTF-8'", "lc_messages = 'C.UTF-8'", "xmloption = document", "xmlbinary = hex", "timezone_abbreviations = 'India'" ] ],
	[ 'the language' => [ "standard_conforming_strings = off", "escape_string_warning = off", "backslash_quote = on", "array_nulls = off", "transform_null_equals = on", "quote_all_identifiers = on", "row_security = off", "check_function_bodies = off", "search_path = 'pg_temp'", "default_text_search_config = 'pg_catalog.turkish'", "exit_on_error = on" ], undef, [ 'exit_on_error = off' ] ],
	[ 'the strict plpgsql' => [ "plpgsql.extra_errors = 'all'", "plpgsql.extra_warnings = 'all'", "plpgsql.variable_conflict = use_variable", "plpgsql.check_asserts = off", "plpgsql.print_strict_params = on" ] ],
	[ 'the other plpgsql' => [ "plpgsql.variable_conflict = use_column" ] ],
	[ 'no plan is allowed' => [ (map { "enable_$_ = off" } qw(seqscan indexscan indexonlyscan bitmapscan tidscan nestloop hashjoin mergejoin sort hashagg material memoize incremental_sort gathermerge)), "plan_cache_mode = force_custom_plan", "from_collapse_limit = 1", "join_collapse_limit = 1", "geqo_threshold = 2", "cursor_tuple_fraction = 1", "random_page_cost = 1000", "work_mem = '64kB'", "maintenance_work_mem = '1MB'", "temp_buffers = 100" ] ],
	[ 'all is compiled, in parallel' => [ "jit = on", "jit_above_cost = 0", "jit_inline_above_cost = 0", "jit_optimize_above_cost = 0", "force_parallel_mode = on", "parallel_setup_cost = 0", "parallel_tuple_cost = 0", "min_parallel_table_scan_size = 0" ] ],
	[ 'short patience' => [ "statement_timeout = '3s'", "lock_timeout = '2s'", "idle_in_transaction_session_timeout = '1s'", "idle_session_timeout = '1s'", "deadlock_timeout = '10ms'", "synchronous_commit = off", "commit_delay = 0", "client_min_messages = error" ] ],
	[ 'an encoding of the client' => [ "client_encoding = 'LATIN1'", "gin_fuzzy_search_limit = 1", "default_statistics_target = 1", "vacuum_cost_delay = 100", "stats_fetch_consistency = none", "default_toast_compression = pglz", "constraint_exclusion = on" ] ]);
my $settings = 0;
for my $variant (@variants)
{
	my ($name, $set, undef, $of_role) = @$variant;
	$settings += @$set;
	$node->safe_psql('postgres', join '', map { "alter database app set $_;\n" } @$set);
	$node->safe_psql('postgres', join '', map { "alter role payer set $_; alter role till set $_; alter role " . $node->safe_psql('postgres', 'select current_user') . " in database app set $_;\n" } @$of_role) if $of_role;
	# who calls is the caller's own affair: here nobody but the worker is another
	$node->safe_psql('postgres', 'alter role payer in database app set role = payer; alter role till in database app set role = till; alter role ' . $node->safe_psql('postgres', 'select current_user') . ' in database app set role = none') if $name eq 'another role';
	restart_worker();
	is(run_flow($name), $reference, $name);
	$node->safe_psql('postgres', 'alter database app reset all; alter role payer reset all; alter role till reset all; alter role payer in database app reset all; alter role till in database app reset all; alter role ' . $node->safe_psql('postgres', 'select current_user') . ' in database app reset all');
}
cmp_ok($settings, '>=', 40, 'settings enough');

# The worker cannot do its work, by somebody's doing: health() says so, and that it can again.
restart_worker();
$t->sql(q(create function public.refuse() returns trigger language plpgsql as $$ begin raise exception 'the DBA says no'; end $$;
	create trigger refuse before insert on payout.incarnation for each row execute function public.refuse()));
my $worker = "select status from payout.health() where check_name = 'worker'";
is($t->sql($worker), 'ok', 'a worker that turns is well');
$node->safe_psql('postgres', "select pg_terminate_backend(pid) from pg_stat_activity where backend_type = 'payout worker'");
$t->wait_for('health() says that turns fail', sub { $t->sql($worker) eq 'critical' && $t->sql("select detail like '%the DBA says no%' from payout.health() where check_name = 'worker'") eq 't' }, 40);
ok($t->sql("select exists (select from pg_stat_activity where backend_type = 'payout worker')") eq 't', 'while its process lives');
$t->sql('drop trigger refuse on payout.incarnation');
$t->wait_for('health() says that they do not', sub { $t->sql($worker) eq 'ok' }, 40);
# what a lane claims
$t->sql('create trigger refuse before insert or update on payout.attempt for each statement execute function public.refuse()');
my $stuck = $t->pay;
$t->wait_for('health() says that nothing is claimed', sub { $t->sql($worker) eq 'critical' }, 40);
$t->sql('drop trigger refuse on payout.attempt');
$t->wait_state($stuck, 'paid');
$t->wait_for('health() says that it is', sub { $t->sql($worker) eq 'ok' }, 40);
my $long = 'x' x 1000;
$t->sql(qq(create or replace function public.refuse() returns trigger language plpgsql as \$\$ begin raise exception '$long'; end \$\$; create trigger refuse before insert or update on payout.attempt for each statement execute function public.refuse()));
$stuck = $t->pay;
$t->wait_sql('select length(last_error) = 200 from payout.worker_state()');
$t->sql('drop trigger refuse on payout.attempt');
$t->wait_state($stuck, 'paid');
is($t->sql('select * from payout.verify()'), '', 'verify() is empty');

# Databases of other encodings and locales: names are compared alike.
my @pairs = (
	[ "'Budi Santoso'", "'BUDI SANTOSO'", 'matched' ], [ "'Indira'", "'INDIRA'", 'matched' ], [ "'indira'", "'Indira'", 'matched' ], [ "'H. Budi'", "' h budi.'", 'matched' ], [ "'Budi'", "'Ani'", 'name_differs' ],
	[ "'-'", "''", 'unreadable' ], [ "'***'", "'...'", 'unreadable' ], [ "'Budi'", "'1'", 'unreadable' ]);
my @latin = ([ "convert_from('\\xe9'::bytea, 'ONEBYTE') || 'tienne'", "convert_from('\\xc9'::bytea, 'ONEBYTE') || 'TIENNE'", 'matched' ], [ "convert_from('\\xe9'::bytea, 'ONEBYTE')", "'E'", 'name_differs' ],
	[ "convert_from('\\xa0'::bytea, 'ONEBYTE')", "convert_from('\\xb7'::bytea, 'ONEBYTE')", 'unreadable' ]);
my @unicode = ([ "convert_from('\\xe69d8ee6988e'::bytea, 'UTF8')", "convert_from('\\xe78e8be88ab3'::bytea, 'UTF8')", 'name_differs' ], [ "convert_from('\\x65cc81'::bytea, 'UTF8')", "convert_from('\\xc389'::bytea, 'UTF8')", 'matched' ]);
my %databases = (
	utf8_c => [ "encoding 'UTF8' locale 'C'", @latin, @unicode ],
	utf8_unicode => [ "encoding 'UTF8' locale 'C.UTF-8'", @latin, @unicode ],
	utf8_turkish => [ "encoding 'UTF8' locale 'C.UTF-8' locale_provider icu icu_locale 'tr'", @latin, @unicode ],
	utf8_lithuanian => [ "encoding 'UTF8' locale 'C' locale_provider icu icu_locale 'lt'", @latin, @unicode ],
	latin1 => [ "encoding 'LATIN1' locale 'C'", @latin ], win1252 => [ "encoding 'WIN1252' locale 'C'", @latin ],
	latin9_turkish => [ "encoding 'LATIN9' locale 'C' locale_provider icu icu_locale 'tr'", @latin ],
	sql_ascii => [ "encoding 'SQL_ASCII' locale 'C'", [ "convert_from('\\xe9'::bytea, 'SQL_ASCII')", "convert_from('\\xc9'::bytea, 'SQL_ASCII')", 'name_differs' ], [ "convert_from('\\xe9'::bytea, 'SQL_ASCII')", "convert_from('\\xe9'::bytea, 'SQL_ASCII')", 'matched' ] ],
	euc_jis_2004 => [ "encoding 'EUC_JIS_2004' locale 'C'" ]);
for my $database (sort keys %databases)
{
	my ($how, @more) = @{ $databases{$database} };
	$node->safe_psql('postgres', "create database $database template template0 $how");
	$node->safe_psql($database, 'create extension payout');
	my $onebyte = $how =~ /encoding '(LATIN\d|WIN\d+)'/ ? $1 : 'LATIN1';
	my @all = map { [ map { s/ONEBYTE/$onebyte/gr } @$_ ] } @pairs, @more;
	is($node->safe_psql($database, 'select ' . join(" || ' ' || ", map { "payout.compare_names($_->[0], $_->[1])" } @all)), join(' ', map { $_->[2] } @all), "$database: names");
	# what a bank writes in JSON: characters that the encoding lacks cost no more than themselves
	is($node->safe_psql($database, q(select payout.read_json('{"name":"Budi \\u674e","amount":"1.00","x":"\\"\\\\u674e"}') ->> 'amount')), '1.00', "$database: an escaped character is read or stands aside");
	is($node->safe_psql($database, q(select coalesce(payout.read_json('{"name":"\\ud83d\\ude00 Budi","a":1}') ->> 'a', 'none') || coalesce(payout.read_json('{"name":"\\ud83d"}') ->> 'name', ' none') || coalesce(payout.read_json('{"n":"\\u00zz"}') ->> 'n', ' none'))), '1 none none', "$database: pairs are one character, halves none");
	is($node->safe_psql($database, q(select payout.compare_names('Budi', payout.read_json('{"name":"BUDI\\u0e01"}') ->> 'name'))), $how =~ /UTF8|SQL_ASCII/ ? 'name_differs' : 'unreadable', "$database: a name with such a character");
	# the whole way of the account check, charge and cash, without a bank
	$node->safe_psql($database, q(select payout.create_merchant('MERCHANT01', 'M', null, '{"fee": {"online": {"flat": 10}, "cashout": {"flat": 20}}}'), payout.create_channel('CH', 'snap', 'https://bank.example', '{"source_account_no": "1"}'), payout.create_bank('CENA', 'B', 'CH'),
		payout.create_cvs('STORE1', 'S'), payout.top_up('MERCHANT01', 1000000, 'first'), payout.arm()));
	is($node->safe_psql($database, q(select state from payout.register('MERCHANT01', 'A', 1000, 'CENA', '88', 'Indira Imaniah');
		select payout.approve('MERCHANT01', txid) is not null from payout.payout; select state from payout.register_cashout('MERCHANT01', 'B', 5000, 'Indira', '0812');
		select available from payout.balance('MERCHANT01'); select payout.masked_name('indira i'); select check_name from payout.verify())) =~ s/^t\n//mr, "registered\nf\nregistered\n993970.00\ni*** i***", "$database: books");
	is(($node->psql($database, "select payout.register('MERCHANT01', 'Z', 1000, 'CENA', '88', convert_from('\\x85'::bytea, '$onebyte'))", extra_params => [ '-v', 'VERBOSITY=verbose' ]))[2] =~ /ERROR:\s+(\w{5})/ ? $1 : 'ok', 'PY016', "$database: a control character is refused") if $how =~ /LATIN|UTF8/;
	is(($node->psql($database, "select payout.register('MERCHANT01', 'Z', 1000, 'CENA', '88', convert_from('\\xa0'::bytea, '$onebyte'))", extra_params => [ '-v', 'VERBOSITY=verbose' ]))[2] =~ /ERROR:\s+(\w{5})/ ? $1 : 'ok', 'PY016', "$database: a blank of another kind is blank") if @more && $how !~ /SQL_ASCII/;
}
done_testing();
