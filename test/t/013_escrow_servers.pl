# 013_escrow_servers.pl: balances in shared memory, and what happens to whole servers: more merchants than slots, prepared
# transactions, a balance that is drained to zero by many, dumps into a live server, subscribers of a logical replication,
# promotion, and a server that does not preload the library.
use strict;
use warnings;
use lib 'test/t/lib';
use PayoutTest;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $dir = PostgreSQL::Test::Utils::tempdir();
my $node = PostgreSQL::Test::Cluster->new('main');
$node->init(allows_streaming => 'logical', extra => [ '--encoding=UTF8', '--locale=C' ]);
append_to_file("$dir/secret", 'x' x 64);
chmod 0600, "$dir/secret";
# No worker: what is not folded stays so until the test folds it.
$node->append_conf('postgresql.conf', join "\n", "shared_preload_libraries = 'payout'", 'payout.escrow_slots = 16', 'payout.testing = on',
	"payout.secret_file = '$dir/secret'", 'max_prepared_transactions = 5', 'jit = off', 'log_min_messages = warning', q(wal_retrieve_retry_interval = '100ms'), '');
$node->start;

# For the helpers of PayoutTest, which need a server and no bank.
my $t = bless { node => $node, children => [] }, 'PayoutTest';

sub sql { my ($sql, $database) = @_; return $t->{node}->safe_psql($database || 'app', $sql) }
sub code { my ($sql, $database) = @_; return $t->sqlstate($sql, $database) }
sub name { return sprintf 'M%09d', $_[0] }

my $reference = 0;
sub give_sql { my ($merchant, $amount) = @_; return "select amount from payout.top_up('" . name($merchant) . "', $amount, 'R" . ++$reference . "')" }
sub take_sql { my ($merchant, $amount) = @_; return "select amount from payout.withdraw('" . name($merchant) . "', $amount, 'R" . ++$reference . "')" }
sub give { my ($merchant, $amount, $database) = @_; return sql(give_sql($merchant, $amount), $database) }
sub take { my ($merchant, $amount, $database) = @_; return code(take_sql($merchant, $amount), $database) }
sub tables_say { my ($merchant, $database) = @_; return sql("select available from payout.current_balance('" . name($merchant) . "')", $database) }

# Nothing is in progress, and what the slots and the books say is what the tables say.
sub agrees
{
	my ($name, $database) = @_;
	is(sql("select e.merchant_id, e.available, e.day_total, e.pins, c.available, c.day_total from payout.escrow() e, lateral payout.current_balance(e.merchant_id) c
		where e.available <> c.available * 100 or e.day_total <> case when e.day = c.day then c.day_total * 100 else 0 end or e.pins <> 0", $database), '', "$name: slots are what the tables say");
	is(sql('select * from payout.verify()', $database), '', "$name: verify() is empty");
}

# A session in which something stays open. Answers of tell() are SQLSTATEs or ok; one that waits for a lock is begun and
# its answer taken later.
my $tell = q(create function tell(statement text) returns text language plpgsql as
	$$ begin execute statement; return 'told ok'; exception when others then return 'told ' || sqlstate; end $$;);
sub told { my ($session, $sql) = @_; my ($text) = scalar($session->query("select tell(\$s\$$sql\$s\$)")) =~ /^told (\w+)$/m; return $text }

sub begin_to_tell
{
	my ($session, $sql) = @_;
	my $pid = $session->query('select pg_backend_pid()');
	$session->query_until(qr/^begun$/m, "\\echo begun\nselect tell(\$s\$$sql\$s\$);\n");
	$t->wait_for('it waits for a lock', sub { $t->{node}->safe_psql('postgres', "select wait_event_type from pg_stat_activity where pid = $pid") eq 'Lock' });
}

sub told_now { my ($session) = @_; my ($text) = $session->query_until(qr/^told \w+$/m, '') =~ /^told (\w+)$/m; return $text }

sub set_up
{
	my ($database) = @_;
	$node->safe_psql('postgres', "create database $database");
	sql('create extension payout', $database);
	sql($tell, $database);
	sql(q(select payout.create_channel('BANK1', 'snap', 'https://bank.example', '{"source_account_no": "1"}'), payout.create_bank('CENA', 'BCA', 'BANK1')), $database);
	sql("select payout.create_merchant('M' || lpad(i::text, 9, '0'), 'Merchant') from generate_series(1, 40) i", $database);
}

# Others come by until the merchant's slot is one of theirs.
sub evict
{
	my ($merchant, $database) = @_;
	for my $other ((21 .. 40) x 3)
	{
		return 1 if sql("select count(*) from payout.escrow() where merchant_id = '" . name($merchant) . "'", $database) == 0;
		give($other, 1, $database);
	}
	return 0;
}

sub more_merchants_than_slots
{
	my $db = 'crowd';
	set_up($db);
	my $all = sub { my ($from, $to) = @_; return "select payout.top_up('M' || lpad(i::text, 9, '0'), 1, 'all$reference') from generate_series($from, $to) i" };
	my ($status, $out, $err) = $node->psql($db, $all->(1, 17), extra_params => [ '-v', 'VERBOSITY=verbose' ]);
	like($err, qr/ERROR:  53200: all slots for balances are in use\nHINT:  Raise payout\.escrow_slots/, 'a transaction of 17 merchants needs more than 16 slots');
	is(sql('select count(*) from payout.transfer', $db), '0', 'nothing of it remains');
	agrees('after it', $db);
	is(code($all->(1, 16), $db), '00000', 'one of 16 does not');
	is(sql('select count(*), sum(available) from payout.escrow()', $db), '16|1600', 'all slots are taken');
	$reference++;
	is(code('begin; ' . $all->(1, 16) . '; savepoint a; select tell($s$' . $all->(17, 17) . '$s$); commit', $db), '00000', 'what fails in a savepoint');
	is(sql("select count(*), count(*) filter (where merchant_id = '" . name(17) . "') from payout.transfer", $db), '32|0', 'fails alone');
	agrees('after it', $db);

	# While one session holds them all, another merchant's turn does not come; theirs does.
	my $holder = $node->background_psql($db);
	$reference++;
	$holder->query_safe('begin; ' . $all->(1, 16));
	is(code(give_sql(17, 1), $db), '53200', 'a slot that is in use is not taken away');
	is(take(1, 2, $db), '00000', 'its merchant is served');
	is(take(1, 0.01, $db), 'PY001', 'as far as its money goes');
	$holder->query_safe('commit');
	is(code(give_sql(17, 1), $db), '00000', 'when the transaction has ended, slots are free');
	$holder->quit;
	is(tables_say(1, $db), '1.00', 'the credit came with the commit');
	agrees('after it', $db);

	# An old snapshot does not bring back what was spent, when the slot has gone meanwhile.
	give(18, 1000, $db);
	my $old = $node->background_psql($db);
	$old->query_safe('begin isolation level repeatable read; select count(*) from payout.transfer');
	is(take(18, 600, $db), '00000', 'spent after the snapshot');
	ok(evict(18, $db), 'the slot goes to others');
	is(told($old, take_sql(18, 400.01)), 'PY001', 'an old snapshot does not bring it back');
	is(told($old, take_sql(18, 400)), 'ok', 'what is there can be taken');
	$old->query_safe('commit');
	$old->quit;
	is(tables_say(18, $db), '0.00', 'exactly');
	agrees('after an old snapshot', $db);
}

sub prepared
{
	is(code('begin; ' . give_sql(3, 1) . "; prepare transaction 'credit'"), '0A000', 'a transaction with a credit is not prepared');
	is(code("begin; select payout.register('" . name(3) . "', 'PREPARED', 1, 'CENA', '1', 'Budi'); prepare transaction 'data'"), '00000', 'one that touches no balance is');
	is(sql("select string_agg(gid, ' ') from pg_prepared_xacts"), 'data', 'it is there');
	is(code("commit prepared 'data'"), '00000', 'and is committed');
	is(sql("select state from payout.payout where reference_no = 'PREPARED'"), 'registered', 'with what it did');
	agrees('after it');
}

# Eight clients take amounts of all sizes until nothing is left, and go on asking for a while.
sub drain
{
	give(4, 12345.67);
	sql('create table refused (sqlstate text)');
	my $merchant = name(4);
	sql(qq(create function take_some() returns void language plpgsql as \$\$
		declare
			wanted numeric;
		begin
			foreach wanted in array array[round((random() * 60 + 0.01)::numeric, 2), 1, 0.01] loop
				begin
					perform payout.withdraw('$merchant', wanted, payout.new_id()::text);
					return;
				exception when sqlstate 'PY001' then
					insert into refused values (sqlstate);
				end;
			end loop;
		end \$\$));
	PayoutTest::write_file("$dir/drain.sql", "select take_some();\n");
	my $pgbench = sub { $node->command_ok([ 'pgbench', '-n', '-c', 8, '-j', 2, '-t', 150, '-f', "$dir/drain.sql", $node->connstr('app') ], 'eight clients take') };
	for (1 .. 5) { $pgbench->(); last if tables_say(4) == 0 }
	is(tables_say(4), '0.00', 'all is taken');
	is(sql("select sum(amount) from payout.transfer where merchant_id = '$merchant' and kind = 'withdraw'"), '12345.67', 'and no more than there was');
	cmp_ok(sql('select count(*) from refused'), '>', 2, 'the others are refused');
	is(take(4, 0.01), 'PY001', 'nothing is left');
	agrees('after it');
	cmp_ok(sql('select payout.fold(1000000)'), '>', 100, 'their deltas are folded');
	is(sql("select available from payout.balance where merchant_id = '$merchant'"), '0.00', 'to nothing');
	agrees('folded');
}

# Balances, what is not folded, and the transfers.
sub sums { my ($database) = @_; return sql('select sum(available), sum(day_total) from payout.balance; select count(*), sum(amount), sum(day_amount) from payout.balance_delta;
	select count(*), sum(amount) from payout.transfer; select count(*) from payout.payout', $database) }

sub pay { my ($merchant, $amount, $database) = @_; $reference++;
	return code("select payout.approve(r.merchant_id, r.txid) from payout.register('" . name($merchant) . "', 'P$reference', $amount, 'CENA', '1', 'Budi') r", $database) }

# A dump is restored into the server that the original runs in, while a transaction of the original holds its slots.
sub dumps
{
	give(5, 1000);
	sql('select payout.fold(1000000)');
	is(pay(5, 300), '00000', 'a day has begun');
	give(5, 50);
	my $holder = $node->background_psql('app');
	$holder->query_safe('begin; ' . take_sql(5, 100));
	my $before = sums('app');
	for my $form ([ 'custom', '-Fc' ], [ 'inserts', '--inserts' ])
	{
		my ($name, @options) = @$form;
		$node->safe_psql('postgres', "create database $name");
		$node->command_ok([ 'pg_dump', @options, '-f', "$dir/$name.dump", $node->connstr('app') ], "$name: pg_dump");
		$node->command_ok($name eq 'custom' ? [ 'pg_restore', '--exit-on-error', '-d', $node->connstr($name), "$dir/$name.dump" ]
			: [ 'psql', '-X', '-q', '-v', 'ON_ERROR_STOP=1', '-d', $node->connstr($name), '-f', "$dir/$name.dump" ], "$name: restored");
		is(sums($name), $before, "$name: nothing is lost and nothing counted twice");
		agrees("$name: restored", $name);
		is(take(5, 750.01, $name), 'PY001', "$name: no more than there is");
		is(pay(5, 750, $name), '00000', "$name: and all of that");
		is(sql("select available, day_total from payout.current_balance('" . name(5) . "')", $name), '0.00|1050.00', "$name: the day goes on");
		agrees("$name: spent", $name);
		cmp_ok(sql('select payout.fold(1000000)', $name), '>', 0, "$name: folded");
		agrees("$name: folded", $name);
	}
	is(sums('app'), $before, 'the original has not noticed');
	$holder->query_safe('commit');
	$holder->quit;
	is(tables_say(5), '650.00', 'its own count goes on');
	agrees('the original');
	$node->safe_psql('postgres', "drop database $_") for qw(custom inserts);
}

sub replication
{
	$node->safe_psql('postgres', 'create database subscriber');
	sql('create extension payout', 'subscriber');
	# What the extension ships would be there twice.
	sql('truncate payout.bank_code, payout.option_definition, payout.retry_policy, payout.allowed_move, payout.arming, payout.known_installation cascade', 'subscriber');
	sql('create publication everything for tables in schema payout');
	sql("select pg_create_logical_replication_slot('subscriber', 'pgoutput')");
	sql("create subscription subscriber connection '" . $node->connstr . " dbname=app' publication everything with (create_slot = false)", 'subscriber');
	$t->wait_for('the tables are copied', sub { sql("select bool_and(srsubstate = 'r') from pg_subscription_rel", 'subscriber') eq 't' });
	is(sums('subscriber'), sums('app'), 'a subscriber has everything');
	agrees('subscriber, copied', 'subscriber');
	my $follows = sub
	{
		my ($name) = @_;
		$node->wait_for_catchup('subscriber');
		is(sums('subscriber'), sums('app'), "subscriber, $name: the same");
		agrees("subscriber, $name", 'subscriber');
	};
	# Only slots that are loaded follow; a call that is rolled back loads one.
	$node->psql('subscriber', "begin; select payout.withdraw('" . name(6) . "', 1, 'loads'); rollback");
	give(6, 1000);
	$follows->('credit');
	is(sql("select available from payout.escrow() where merchant_id = '" . name(6) . "'", 'subscriber'), '100000', 'its slot is loaded');
	is(take(6, 100), '00000', 'spent');
	is(pay(6, 200), '00000', 'paid');
	is(code('begin; ' . take_sql(6, 50) . '; rollback'), '00000', 'and not');
	$follows->('spent');
	sql('select payout.fold(1)');
	$follows->('one folded');
	sql('select payout.fold(1000000)');
	$follows->('all folded');
	is(sql("select available, day_total, (select count(*) from payout.balance_delta) from payout.balance where merchant_id = '" . name(6) . "'", 'subscriber'), '700.00|200.00|0', 'folded there as well');
	# Hot there: its own session knows what has come.
	is(take(6, 700.01, 'subscriber'), 'PY001', 'no more than has come');
	is(take(6, 700, 'subscriber'), '00000', 'all that has come');
	agrees('subscriber, its own', 'subscriber');
	sql('alter subscription subscriber disable', 'subscriber');
	sql('alter subscription subscriber set (slot_name = none)', 'subscriber');
	sql('drop subscription subscriber', 'subscriber');
	$t->wait_for('the slot is free', sub { my ($status) = $node->psql('app', "select pg_drop_replication_slot('subscriber')"); $status == 0 });
	$node->safe_psql('postgres', 'drop database subscriber');
	agrees('publisher');
}

sub promotion
{
	$node->backup('standby');
	my $standby = PostgreSQL::Test::Cluster->new('standby');
	$standby->init_from_backup($node, 'standby', has_streaming => 1);
	$standby->start;
	give(7, 1000);
	my $txid = sql("select txid from payout.register('" . name(7) . "', 'STANDBY', 10, 'CENA', '1', 'Budi')");
	$node->wait_for_catchup($standby);

	# A session that has begun on the standby lives on after promotion.
	my $session = $standby->background_psql('app');
	is(told($session, "select payout.approve('" . name(7) . "', '$txid')"), '25006', 'a standby approves nothing');
	is(told($session, take_sql(7, 1)), '25006', 'and takes nothing');
	is($standby->safe_psql('app', 'select count(*) from payout.escrow()'), '0', 'no slot is loaded there');
	is($standby->safe_psql('app', "select available from payout.current_balance('" . name(7) . "')"), '1000.00', 'though it sees the balance');

	is(take(7, 600), '00000', 'the primary goes on');
	my $open = $node->background_psql('app');
	$open->query_safe('begin; ' . take_sql(7, 300));
	$node->wait_for_catchup($standby);
	is($standby->safe_psql('app', 'select count(*) from payout.escrow()'), '0', 'what is replayed loads no slot');
	$node->stop('immediate');
	eval { $open->quit };
	$standby->promote;
	$t->{node} = $standby;
	is(told($session, take_sql(7, 400.01)), 'PY001', 'promoted: what the primary has spent is spent');
	is(told($session, take_sql(7, 300)), 'ok', 'what it had not committed is not');
	is(told($session, take_sql(7, 100.01)), 'PY001', 'and no more');
	is(take(7, 100), '00000', 'to the end');
	$session->quit;
	is(tables_say(7), '0.00', 'nothing is left');
	agrees('promoted');
}

sub restart_with
{
	my ($libraries) = @_;
	$t->{node}->append_conf('postgresql.conf', "shared_preload_libraries = '$libraries'");
	$t->{node}->restart;
}

# Of two sessions that take from one merchant, the second waits for the first.
sub contend
{
	my ($name, $merchant, $first_takes, $end, $second_takes, $level, $expected) = @_;
	my ($first, $second) = map { $t->{node}->background_psql('app') } 1 .. 2;
	$second->query("begin isolation level $level; select count(*) from payout.transfer");
	$first->query('begin');
	is(told($first, take_sql($merchant, $first_takes)), 'ok', "$name: the first takes");
	begin_to_tell($second, take_sql($merchant, $second_takes));
	$first->query($end);
	is(told_now($second), $expected, "$name: after its $end the second is told $expected");
	$second->query('commit');
	$_->quit for $first, $second;
	is(sql('select merchant_id, c.available from payout.balance b, lateral payout.current_balance(b.merchant_id) c where c.available < 0'), '', "$name: nobody is overdrawn");
}

sub without_preloading
{
	# Left in memory's time: 8 and 9 have more in the row than there is, 10 has less.
	for my $merchant (8, 9) { give($merchant, 1000) }
	sql('select payout.fold(1000000)');
	is(take($_, 900), '00000', 'spent and not folded') for 8, 9;
	give(10, 1000);
	sql("select payout.alter_merchant('" . name(11) . q[', '{"limits": {"daily_total": 100}}')]);
	give(11, 1000);
	is(pay(11, 60), '00000', 'a day has begun');
	restart_with('');
	is(sql('select count(*) from payout.escrow()'), '0', 'not preloaded: there is no shared memory');
	is($t->{node}->safe_psql('postgres', q(select setting from pg_file_settings where name = 'payout.escrow_slots' order by seqno desc limit 1)), '16', 'though its size is set');
	is(take(8, 100.01), 'PY001', 'what is not folded counts');
	is(take(8, 20), '00000', 'and is folded first');
	is(sql("select available, (select count(*) from payout.balance_delta where merchant_id = b.merchant_id) from payout.balance b where merchant_id = '" . name(8) . "'"), '80.00|0', 'into the row, which holds everything');
	is(pay(11, 40.01), 'PY007', 'the day goes on');
	is(pay(11, 40), '00000', 'to its bound');
	is(sql("select available, day_total, (select count(*) from payout.balance_delta where merchant_id = b.merchant_id) from payout.balance b where merchant_id = '" . name(11) . "'"), '900.00|100.00|0', 'in the row');
	give(11, 1);
	is(tables_say(11), '901.00', 'a credit too');
	is(code('begin; ' . give_sql(12, 5) . '; ' . take_sql(12, 5) . '; savepoint a; ' . give_sql(12, 7) . '; rollback to a; select tell($s$' . take_sql(12, 1) . '$s$); commit'), '00000', 'a transaction spends its own credit');
	is(tables_say(12), '0.00', 'and no other');
	is(code("insert into payout.transfer (merchant_id, kind, debit_account, credit_account, amount, reference_no) values ('" . name(8) . "', 'withdraw', 'available', 'funding', 80.01, 'hand')"), 'PY001', 'a hand cannot overdraw');

	contend('row', 8, 50, 'commit', 50, 'read committed', 'PY001');
	contend('row', 8, 20, 'rollback', 30, 'read committed', 'ok');
	give(8, 100);
	contend('old snapshot', 8, 60, 'commit', 60, 'repeatable read', '40001');
	# Whoever waits for one that folds and rolls back finds the deltas that came back.
	contend('debits not folded', 9, 50, 'rollback', 500, 'read committed', 'PY001');
	contend('credits not folded', 10, 50, 'rollback', 500, 'read committed', 'ok');
	give(13, 1000);
	is(sql('select * from payout.verify()'), '', 'not preloaded: verify() is empty');

	restart_with('payout');
	is(take(8, 40.01), 'PY001', 'preloaded again: no more than there is');
	is(take(8, 40), '00000', 'and all of that');
	is(take(9, 100), '00000', 'what was not folded');
	is(take(9, 0.01), 'PY001', 'counts once');
	is(pay(11, 0.01), 'PY007', 'the day goes on');
	agrees('preloaded again');
	sql('select payout.fold(1000000)');
	agrees('folded');
}

more_merchants_than_slots();
set_up('app');
prepared();
drain();
dumps();
replication();
promotion();
without_preloading();
done_testing();
