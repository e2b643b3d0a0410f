# 048_token_traces.pl: what a refused call of a store leaves behind, beside its answer: the transaction's id, its snapshot, locks, statistics, WAL,
# messages, errors of locks and of read-only transactions. It is the same for every token that the store will not get.
use strict;
use warnings;
use lib 'test/t/lib';
use PayoutTest;
use Test::More;

# With wal_log_hints a hint bit is as good as a write.
my $t = PayoutTest->new(balance => 1000000000, conf => [ 'payout.token_tries = 1000000', 'wal_log_hints = on', 'track_functions = all', 'autovacuum = off', 'max_locks_per_transaction = 256' ]);
my $node = $t->{node};
my $tries = '{"token_tries": 1000000}';
$t->sql(qq(create role sa login; select payout.alter_cvs(c, '$tries') from unnest('{STORE1,STORE2}'::text[]) c;
	select payout.grant_access('sa', 'cvs', 'STORE1'); create schema seen; grant usage, create on schema seen to public));
$t->sql(q(
	create function seen.digits() returns text language sql volatile as $$ select current_setting('seen.token') $$;
	-- All that a session can ask about itself.
	create function seen.channels() returns text language sql volatile as $$
	select jsonb_pretty(jsonb_build_object('xid', pg_current_xact_id_if_assigned(), 'snapshot', pg_current_snapshot(),
		'tables', (select jsonb_agg(to_jsonb(s) order by s.relid) from pg_stat_xact_all_tables s where s.schemaname = 'payout'),
		'functions', (select jsonb_agg(to_jsonb(f) - '{total_time,self_time}'::text[] order by f.funcid) from pg_stat_xact_user_functions f where f.schemaname = 'payout'),
		'locks', (select jsonb_agg(to_jsonb(l) - '{pid,virtualtransaction,virtualxid,waitstart}'::text[] order by l.locktype, l.relation, l.mode, l.page, l.tuple) from pg_locks l where l.pid = pg_backend_pid())))
	$$;
	create function seen.state_of(call text) returns text language plpgsql volatile as $$
	begin
		execute call;
		return '00000';
	exception when others then
		return sqlstate;
	end $$;
	-- What everybody reads about all sessions, of our relations.
	create function seen.totals() returns text language sql volatile as $$
	select (select jsonb_agg(to_jsonb(s) order by s.relid) from pg_stat_all_tables s where s.schemaname = 'payout')::text
		|| (select jsonb_agg(to_jsonb(s) order by s.indexrelid) from pg_stat_all_indexes s where s.schemaname = 'payout')::text
		|| (select jsonb_agg(to_jsonb(s) order by s.relid) from pg_statio_all_tables s where s.schemaname = 'payout')::text
		|| (select jsonb_agg(to_jsonb(s) order by s.indexrelid) from pg_statio_all_indexes s where s.schemaname = 'payout')::text
	$$;
	grant execute on all functions in schema seen to public));

# Tokens that the store will not get, each of them fresh: nobody has looked at its rows since they were written.
my $held = 0;
my %make = (
	unknown => sub { PayoutTest::random_token($t->sql("select payout.slot('MERCHANT01')")) },
	elsewhere => sub { my (undef, $token) = $t->issue; $t->validate($token, cvs => 'STORE2', reference => 'H' . ++$held); $token },
	used => sub { my (undef, $token) = $t->issue; $t->validate($token, cvs => 'STORE2', reference => 'H' . ++$held); $t->confirm($token, cvs => 'STORE2', reference => "H$held"); $token },
	replaced => sub { my ($txid, $token) = $t->issue; $t->sql("select state from payout.reissue_token('MERCHANT01', '$txid')"); $token },
	disputed => sub { my (undef, $token) = $t->issue; $t->validate($token, cvs => 'STORE2', reference => 'H' . ++$held); $t->confirm($token, cvs => 'STORE2', reference => "H$held");
		$t->reverse_it($token, cvs => 'STORE2', reference => "H$held"); $token },
	own_other_till => sub { my (undef, $token) = $t->issue; $t->validate($token, reference => 'H' . ++$held, terminal => 'ANOTHER'); $token });
my %call = (
	validate => "select payout.cashout_validate('STORE1', seen.digits(), 'TILL', 'FRESH')",
	confirm => "select payout.cashout_confirm('STORE1', seen.digits(), 'FRESH')",
	reverse => "select payout.cashout_reverse('STORE1', seen.digits(), 'TAKEN', 'why')");
my (undef, $taken) = $t->issue;
$t->validate($taken, reference => 'TAKEN');

sub as_store
{
	my ($script, %option) = @_;
	my ($status, $out, $err) = $node->psql('app', $script, on_error_stop => 0, extra_params => [ '-q', '-U', 'sa', '-v', 'VERBOSITY=' . ($option{verbosity} || 'sqlstate') ], stderr => \my $errors);
	return ($out // '', $errors // '');
}

# A call of an unknown token first, so that the session has all plans and caches; then the one that counts, and what is to be seen.
sub traces
{
	my ($call, $token, $isolation) = @_;
	my $warm = $make{unknown}->();
	my ($out, $errors) = as_store(qq(
		set seen.token = '$warm';
		begin isolation level $isolation; select length(seen.channels()) > 0; savepoint s; $call{$call}; rollback to s; select length(seen.channels()) > 0; commit;
		set seen.token = '$token';
		begin isolation level $isolation;
		select 1; savepoint s;
		$call{$call};
		rollback to s;
		select seen.channels();
		commit;), verbosity => 'verbose');
	$out =~ s/"snapshot": "[\d:,]*"/"snapshot": "-"/ if $isolation eq 'read committed';
	$out =~ s/"(?:snapshot)": "\K[\d:,]*//g;
	return join "\n", $out, $errors =~ s/"\K\d{20}(?=")/DIGITS/gr =~ s/psql:<stdin>:\d+: //gr;
}

for my $isolation ('read committed', 'repeatable read', 'serializable')
{
	for my $call (sort keys %call)
	{
		my %seen;
		for my $kind (sort keys %make)
		{
			my $token = $make{$kind}->();
			push @{ $seen{ traces($call, $token, $isolation) } }, $kind;
		}
		is(scalar(keys %seen), 1, "$call, $isolation: all refusals leave the same") or diag(join "\n---\n", map { "@{$seen{$_}}: $_" } sort keys %seen);
		my ($trace) = keys %seen;
		like($trace, qr/"xid": null/, 'no transaction id');
		unlike($trace, qr/SIRead/, 'no predicate lock');
		is(() = $trace =~ /ERROR:  PY010/g, 2, 'PY010');
	}
}

# Nobody else writes or reads our tables from here on.
$t->sql("alter system set payout.databases = ''", 'postgres');
$t->sql('select pg_reload_conf()');
$t->wait_sql("select not exists (select from pg_stat_activity where backend_type = 'payout worker')");

# WAL: by the end of it, and by what EXPLAIN counts. The server itself writes at times, so one of a few tries has to be still.
for my $call (sort keys %call)
{
	for my $kind (sort keys %make)
	{
		my ($moved, $explained);
		for my $try (1 .. 5)
		{
			my $token = $make{$kind}->();
			$t->sql('checkpoint');
			my ($out) = as_store(qq(
				set seen.token = '@{[$make{unknown}->()]}'; select seen.state_of(\$\$$call{$call}\$\$); set seen.token = '$token';
				select pg_current_wal_insert_lsn() as before \\gset
				select seen.state_of(\$\$$call{$call}\$\$);
				select 'moved ' || (pg_current_wal_insert_lsn() - :'before'::pg_lsn);
				explain (analyze, wal, costs off, timing off, summary off) select seen.state_of(\$\$$call{$call}\$\$);));
			$explained = $out =~ /WAL:/ ? 'WAL' : 'none';
			($moved) = $out =~ /moved (\d+)/;
			last if $moved eq '0';
		}
		is("$moved $explained", '0 none', "$call of one $kind writes no WAL");
	}
}

# What all sessions can read of all sessions, after the calls have been flushed into it
for my $call (sort keys %call)
{
	my %seen;
	for my $kind (sort keys %make)
	{
		my $token = $make{$kind}->();
		my ($out) = as_store(qq(
			set seen.token = '@{[$make{unknown}->()]}'; select seen.state_of(\$\$$call{$call}\$\$); select length(seen.totals()) > 0; set seen.token = '$token';
			select pg_stat_force_next_flush();
			create temporary table before as select seen.totals() as v;
			select seen.state_of(\$\$$call{$call}\$\$); select seen.state_of(\$\$$call{$call}\$\$); select seen.state_of(\$\$$call{$call}\$\$);
			select pg_stat_force_next_flush();
			select case when v = seen.totals() then 'same' else 'changed' end from before;));
		my ($result) = $out =~ /(same|changed)\s*$/;
		push @{ $seen{$result} }, $kind;
	}
	is(join(' ', sort keys %seen), 'same', "$call: the statistics of our tables and indexes stand still") or diag(explain(\%seen));
}

# The commit log is one for all relations: every look at a token uses it as often. The least of a few tries: others use it as well.
for my $call (sort keys %call)
{
	my %seen;
	for my $kind (sort keys %make)
	{
		my $least;
		for my $try (1 .. 4)
		{
			my $token = $make{$kind}->();
			my ($out) = as_store(qq(
				set seen.token = '@{[$make{unknown}->()]}'; select seen.state_of(\$\$$call{$call}\$\$); set seen.token = '$token';
				select pg_stat_force_next_flush();
				select blks_hit + blks_read as before from pg_stat_slru where name = 'Xact' \\gset
				select seen.state_of(\$\$$call{$call}\$\$);
				select pg_stat_force_next_flush();
				select 'used ' || blks_hit + blks_read - :before from pg_stat_slru where name = 'Xact';));
			my ($used) = $out =~ /used (\d+)/;
			$least = $used if !defined $least || $used < $least;
		}
		push @{ $seen{$least} }, $kind;
	}
	is(scalar(keys %seen), 1, "$call: the commit log is used as often for each") or diag(explain(\%seen));
}

# While a store is locked no token is looked for at all: not even the count of buffers tells.
{
	$t->sql(q(select payout.create_cvs('LOCKED', 'Store', '{"token_tries": 1}'), payout.grant_access('sa', 'cvs', 'LOCKED')));
	my ($own_txid, $own) = $t->issue;
	$t->validate($own, cvs => 'LOCKED', reference => 'TAKEN');
	is($t->sqlstate($t->confirm_sql($make{unknown}->(), cvs => 'LOCKED')), 'PY010', 'the one try of a store');
	for my $call (sort keys %call)
	{
		my $locked = $call{$call} =~ s/STORE1/LOCKED/r;
		my %seen;
		for my $kind (sort(keys %make), 'good')
		{
			my $token = $kind eq 'good' ? ($t->issue)[1] : $make{$kind}->();
			my $explain = "explain (analyze, buffers, costs off, timing off, summary off) select seen.state_of(\$\$$locked\$\$)";
			my ($out) = as_store("set seen.token = '@{[$make{unknown}->()]}'; $explain; $explain; set seen.token = '$token'; $explain; select 'state ' || seen.state_of(\$\$$locked\$\$);");
			my ($buffers) = $out =~ /.*(Buffers: [^\n]*)/s;
			my ($state) = $out =~ /state (\w+)/;
			push @{ $seen{ ($buffers // 'none') . " $state" } }, $kind;
		}
		is(scalar(keys %seen), 1, "$call at a locked store reads the same for each") or diag(explain(\%seen));
		like((keys %seen)[0], qr/PY012/, 'PY012');
	}
}

# Messages that settings which anybody may set send to the client
{
	my @settings = ('client_min_messages = debug5', 'debug_print_parse = on', 'debug_print_rewritten = on', 'debug_print_plan = on', 'debug_pretty_print = on', 'trace_sort = on', 'trace_notify = on', 'jit = on', 'jit_above_cost = 0');
	my $set = join ' ', map { "set $_;" } @settings;
	for my $call (sort keys %call)
	{
		my %seen;
		for my $kind (sort keys %make)
		{
			my $token = $make{$kind}->();
			my (undef, $errors) = as_store("set seen.token = '@{[$make{unknown}->()]}'; $call{$call}; set seen.token = '$token'; $set $call{$call};", verbosity => 'verbose');
			unlike($errors, qr/MERCHANT0\d/, "$call of one $kind: no message names a merchant");
			$errors =~ s/\d+/N/g;
			push @{ $seen{$errors} }, $kind;
		}
		is(scalar(keys %seen), 1, "$call: all print the same") or diag(join "\n---\n", map { "@{$seen{$_}}: " . length } keys %seen);
	}
}

# A caller that has used up its stack gets the same error, wherever in the call it comes
{
	my $function = 'create function pg_temp.at(n integer, call text) returns text language plpgsql as $f$ begin if n > 0 then return pg_temp.at(n - 1, call); end if; execute call; return $$ok$$; end $f$;
		create function pg_temp.answer(n integer, call text) returns text language plpgsql as $f$ declare c text; begin return pg_temp.at(n, call); exception when others then get stacked diagnostics c = pg_exception_context; return sqlstate || md5(c); end $f$;
		create function pg_temp.deepest(call text) returns integer language plpgsql as $f$ declare low integer := 1; high integer := 20000; mid integer;
		begin while high - low > 1 loop mid := (low + high) / 2; if pg_temp.answer(mid, call) like $$PY%$$ then low := mid; else high := mid; end if; end loop; return low; end $f$;';
	for my $call (sort keys %call)
	{
		my %kinds = map { $_ => $make{$_}->() } qw(unknown elsewhere used);
		my $script = "set plan_cache_mode = force_custom_plan; set max_stack_depth = '200kB'; $function set seen.token = '@{[$make{unknown}->()]}'; select pg_temp.deepest(\$\$$call{$call}\$\$) as d \\gset\n";
		for my $above (-3 .. 3)
		{
			$script .= "set seen.token = '$kinds{$_}'; select '$above $_ ' || pg_temp.answer(:d + $above, \$\$$call{$call}\$\$);\n" for sort keys %kinds;
		}
		my ($out) = as_store($script);
		my %seen;
		$seen{$1}{$2} = 1 while $out =~ /^(-?\d) \w+ (\S+)$/mg;
		is(scalar(keys %seen), 7, "$call: seven depths");
		ok(!(grep { keys %$_ > 1 } values %seen), "$call: at each depth of the stack all tokens are answered alike") or diag($out);
		like($out, qr/54001/, "$call: some are too deep");
	}
}

# Errors of another kind: a lock that is held, a transaction that may not write
my ($good_txid, $good) = $t->issue;
my $holder = $node->background_psql('app');
$holder->query_safe('begin');
my %token = map { $_ => $make{$_}->() } keys %make;
$holder->query_safe("select from payout.payout where txid <> '$good_txid' for update");
for my $call (sort keys %call)
{
	my %seen;
	for my $kind (sort keys %token)
	{
		my (undef, $errors) = as_store("set lock_timeout = '100ms'; set seen.token = '$token{$kind}'; $call{$call};");
		$seen{ join ' ', $errors =~ /ERROR:\s+(\w{5})/g }++;
	}
	is(join(' ', keys %seen), 'PY010', "$call waits for nobody's lock");
}
$holder->query_safe('rollback');
$holder->quit;
for my $call (sort keys %call)
{
	my %seen;
	for my $kind (sort(keys %token), 'good')
	{
		my $digits = $kind eq 'good' ? $good : $token{$kind};
		my (undef, $errors) = as_store("set seen.token = '$digits'; begin read only; $call{$call}; rollback;");
		$seen{ join ' ', $errors =~ /ERROR:\s+(\w{5})/g }++;
	}
	is(join(' ', keys %seen), '25006', "$call in a read-only transaction says so of every token, a good one too");
	my (undef, $errors) = as_store("set seen.token = '123'; begin read only; $call{$call}; rollback;");
	like($errors, qr/PY010/, 'but of what is no token');
}
is($t->sqlstate("set seen.token = '$good'; $call{confirm}"), 'PY010', 'a good token that was not validated is confirmed by nobody');
is($t->sqlstate($t->validate_sql($good, reference => 'GOOD')), '00000', 'and is validated');

# Of another's merchant and of one that never was, a role learns the same
$t->sql("create role ma login; select payout.grant_access('ma', 'merchant', 'MERCHANT01'); grant usage on schema seen to ma");
{
	my %seen;
	for my $merchant (qw(MERCHANT02 NOTHING001))
	{
		my ($status, $out, $err) = $node->psql('app', "select available from payout.balance('MERCHANT01'); begin isolation level serializable; savepoint s; select payout.balance('$merchant'); rollback to s; select seen.channels(); commit;",
			on_error_stop => 0, extra_params => [ '-q', '-U', 'ma', '-v', 'VERBOSITY=verbose' ], stderr => \my $errors);
		$out =~ s/"snapshot": "[\d:,]*"//;
		$seen{"$out $errors"}++;
	}
	is(scalar(keys %seen), 1, 'another merchant and none leave the same') or diag(join "\n---\n", keys %seen);
	like((keys %seen)[0], qr/PY013/, 'PY013');
}
$t->sound('at the end');
done_testing();
