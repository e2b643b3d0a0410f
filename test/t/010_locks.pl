# 010_locks.pl: what sessions and databases are set to does not reach the worker: hostile defaults of the database, locks
# held by open transactions, and a commit that has not reached its synchronous standby.
use strict;
use warnings;
use lib 'test/t/lib';
use PayoutTest;
use Test::More;

my $t = PayoutTest->new(channel => { mode => 'single' });
my $node = $t->{node};

sub pid_of_worker { return $node->safe_psql('postgres', "select pid from pg_stat_activity where backend_type = 'payout worker'"); }

# The worker begins anew under these; what a client asks for on connecting wins over them, so the test can still write.
$node->safe_psql('postgres', "alter database app set $_") for (
	'synchronous_commit = off', 'default_transaction_read_only = on', "statement_timeout = '1ms'", "lock_timeout = '1ms'",
	'default_transaction_isolation = serializable', 'default_transaction_deferrable = on', "idle_in_transaction_session_timeout = '1ms'",
	"search_path = 'public'", "datestyle = 'German'", "intervalstyle = 'sql_standard'", "timezone = 'America/New_York'", "bytea_output = 'escape'",
	'extra_float_digits = -15', 'transform_null_equals = on', 'standard_conforming_strings = off', 'quote_all_identifiers = on');
$ENV{PGOPTIONS} = '-c statement_timeout=0 -c lock_timeout=0 -c default_transaction_read_only=off -c idle_in_transaction_session_timeout=0'
	. ' -c default_transaction_deferrable=off -c default_transaction_isolation=read\ committed';
my $before = pid_of_worker();
$node->safe_psql('postgres', "select pg_terminate_backend($before)");
$t->wait_for('a worker under hostile defaults', sub { my $now = pid_of_worker(); $now ne '' && $now ne $before });

is($t->sql('show bytea_output'), 'escape', 'the defaults are in force');
my @paid = map { $t->pay } 1 .. 3;
$t->wait_state($_, 'paid') for @paid;
is($t->sql("call payout.check_status('MERCHANT01', '$paid[0]')"), 'paid', 'and the check lane works');
$t->sql(q(select payout.alter_channel('BANK1', '{"mode": "bulk"}')));
push @paid, $t->pay;
$t->wait_state($paid[-1], 'paid');
$t->wait_for('the merchant is told', sub { 4 == grep { $_->{type} eq 'payout.paid' && $_->{verified} } @{ $t->webhooks } });
is($t->times_paid($_), 1, 'paid once') for @paid;
$t->sql(q(select payout.alter_channel('BANK1', '{"mode": "single"}')));

# A reload does not bring the defaults back.
$node->safe_psql('postgres', 'select pg_reload_conf()');
push @paid, $t->pay;
$t->wait_state($paid[-1], 'paid');

# Nothing is sent before its claim is safe, though the database's default is not to wait: the client's commit returns,
# the worker waits for the standby that must confirm its own, and the bank hears nothing.
my $unsafe = $t->register;
$t->wait_sql("select account_check = 'matched' from payout.payout where txid = '$unsafe'");
my $sent = $t->requests('18');
$node->safe_psql('postgres', q(alter system set synchronous_standby_names = 'nobody'));
$node->safe_psql('postgres', 'select pg_reload_conf()');
$t->wait_for('the setting', sub { $node->safe_psql('postgres', 'show synchronous_standby_names') eq 'nobody' });
is($t->approve($unsafe), 'approved', 'the default is in force for clients');
$t->wait_for('the worker waits for the standby', sub {
	$node->safe_psql('postgres', "select count(*) from pg_stat_activity where backend_type = 'payout worker' and wait_event = 'SyncRep'") eq '1' });
is($t->requests('18'), $sent, 'nothing is sent before its claim is durable');
$node->safe_psql('postgres', 'alter system reset synchronous_standby_names');
$node->safe_psql('postgres', 'select pg_reload_conf()');
$t->wait_state($unsafe, 'paid');
is($t->times_paid($unsafe), 1, 'paid once');

# Who may connect and nothing else holds every advisory lock that SQL's functions can take under the numbers of ours: neither a
# merchant whose balance is not in shared memory yet nor a worker that begins waits for it.
$node->safe_psql('app', 'create role stranger login');
my $ours = "select objsubid, objid, classid from pg_locks where locktype = 'advisory' and database = (select oid from pg_database where datname = 'app')";
my @locks = split /\n/, $t->sql("$ours and pid = " . pid_of_worker());
is(scalar @locks, 1, 'the worker holds its lock');
is($t->sql("select count(*) from ($ours) l where l.objsubid in (1, 2)"), 0, 'which is of no class that SQL takes');
my $stranger = $node->background_psql('app', extra_params => [ '--username=stranger' ]);
for my $class (0, 1, 0x7061, 0x7061796f, map { (split /\|/)[0, 2] } @locks)
{
	$stranger->query_safe("select pg_advisory_lock($class, n), pg_advisory_lock((cast($class as bigint) << 32) | n), pg_advisory_lock((n::bigint << 32) | $class) from generate_series(0, 8) n");
}
$t->sql("select from payout.create_merchant('MERCHANT09', 'Not in memory')");
is($t->sql("set lock_timeout = '10s'; select amount from payout.top_up('MERCHANT09', 100, 'T')"), '100.00', 'a balance is loaded');
is($t->sql("set lock_timeout = '10s'; update payout.balance set available = available where merchant_id = 'MERCHANT09' returning merchant_id"), 'MERCHANT09', 'and changed by hand');
$before = pid_of_worker();
$node->safe_psql('postgres', "select pg_terminate_backend($before)");
$t->wait_for('the next worker', sub { my $now = pid_of_worker(); $now ne '' && $now ne $before });
push @paid, $t->pay;
$t->wait_state($paid[-1], 'paid');
$stranger->quit;

# A lock on a whole table stops the work while it is held, and no longer.
$t->sql("select payout.pause_channel('BANK1', 'lock')");
my $locked = $t->pay;
my $locker = $node->background_psql('app');
$locker->query_safe('begin; lock table payout.payout in share mode');
$t->sql("select payout.resume_channel('BANK1')");
$t->wait_for('the worker meets the lock', sub { PostgreSQL::Test::Utils::slurp_file($node->logfile) =~ /payout could not claim work: canceling statement due to lock timeout/ });
$locker->query_safe('rollback');
$locker->quit;
$t->wait_state($locked, 'paid');
is($t->times_paid($locked), 1, 'paid once');
is($t->sql('select count(*) from payout.hold'), '0', 'nobody was set aside for a lock');
$t->sound('at the end');
done_testing();
