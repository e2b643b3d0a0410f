# 009_copies.pl: a dump loses nothing and its copy pays nothing until it is armed, and then only what the original had
# not; a physical clone on the same host is kept out by the lock on the secret file, one with another file is unarmed.
use strict;
use warnings;
use lib 'test/t/lib';
use PayoutTest;
use PostgreSQL::Test::Utils;
use Test::More;

my $t = PayoutTest->new(conf => ['payout.chain_interval = 1'], sandbox => { forget_references => JSON::PP::true },
	channel => { mode => 'single', not_found_grace_s => 0, not_found_count => 1 });
my $node = $t->{node};
my $dump = "$t->{dir}/app.dump";

my $paid = $t->pay;
$t->wait_state($paid, 'paid');
my $gone = $t->register;
$t->sql("select payout.reject('MERCHANT01', '$gone', 'not wanted')");
$t->sql("insert into payout.retry_policy (lane, base_ms, max_ms, tries_max) values ('notify', 2000, 60000, 7)");
# The first approval of two, and what its role has approved today.
$t->sql(q(select payout.create_merchant('TWOROLES01', 'A merchant', null, '{"second_approval_above": 1, "approver_daily_max": 100000}')));
is($t->sql("select (payout.approve('TWOROLES01', txid)).state from payout.register('TWOROLES01', 'TWO', 5000, 'CENA', '8800000009', 'Budi Santoso')"), 'registered', 'one of two approvals');
is($t->sql('select count(*), sum(total) from payout.payout_approval, payout.approver_day'), '1|5000.00', 'it is recorded');
$t->wait_sql("select not exists (select from payout.payout where account_check = 'pending')");
$t->wait_for('all notifications are delivered', sub { $t->sql('select count(*) from payout.notification where delivered_at is null') == 0 });
$t->sql("select payout.pause_channel('BANK1', 'copying')");
# The worker chains what is there, as if a minute had gone by; what follows waits for the next link.
$t->wait_for('all is chained', sub {
	$t->sql('update payout.chain_mark set bound_at = clock_timestamp()');
	$t->sql("select not exists (select from payout.transfer t where not exists (select from payout.chain_link l where l.merchant_id = t.merchant_id and l.until > t.at))") eq 't' });
my $left = $t->pay;

# Every table, counted and summed, but for those that are not copied, the arming and a mark that means nothing elsewhere, and the one
# where the copy adds itself.
sub contents
{
	my ($server, $database) = @_;
	my $tables = $server->safe_psql($database, "select string_agg(relname, ' ' order by relname) from pg_class
		where relnamespace = 'payout'::regnamespace and relkind = 'r' and relname not in ('arming', 'chain_mark', 'installation', 'known_installation')");
	return join "\n", map { "$_ " . $server->safe_psql($database, "select count(*), md5(string_agg(r::text, '/' order by r::text)) from payout.$_ r") }
		split ' ', $tables;
}

$t->wait_for('balances are folded', sub { $t->sql('select payout.wake(), count(*) from payout.balance_delta') eq '|0' });
my $original = contents($node, 'app');
{
	local $ENV{PGOPTIONS} = '-c payout.dump_secrets=on';
	$node->command_ok([ 'pg_dump', '-Fc', '-f', $dump, $node->connstr('app') ], 'pg_dump');
}
$node->safe_psql('postgres', 'create database copy');
$node->command_ok([ 'pg_restore', '--exit-on-error', '-d', $node->connstr('copy'), $dump ], 'pg_restore');
is(contents($node, 'copy'), $original, 'nothing is lost');
is($node->safe_psql('copy', 'select * from payout.verify()'), '', 'the copy is sound');
is($node->safe_psql('copy', 'select payout.is_armed()'), 'f', 'the copy is not armed');
# Its chains go on after the last link that was copied.
my $links = $node->safe_psql('copy', 'select count(*) from payout.chain_link');
$node->safe_psql('copy', "select from payout.extend_chains(1000); update payout.chain_mark set bound_at = clock_timestamp();
	select count(payout.extend_chains(1000)) from generate_series(1, 40)");
cmp_ok($node->safe_psql('copy', 'select count(*) from payout.chain_link'), '>', $links, 'the copy links what was not');
is($node->safe_psql('copy', "select v.check_name, v.detail from payout.merchant m, payout.verify_chain(m.merchant_id) v"), '', 'and each chain holds');
is($node->safe_psql('copy', "select sum(events) = (select count(*) from payout.payout_event) from payout.chain_link"), 't', 'each row stands in one link');

# A worker for the copy sends nothing: its channel is open, its payout due, and it has looked.
$node->safe_psql('postgres', "alter system set payout.databases = 'app, copy'; select pg_reload_conf()");
$t->wait_for('the copy has a worker', sub { $node->safe_psql('postgres',
	"select count(*) from pg_stat_activity where backend_type = 'payout worker' and datname = 'copy'") == 1 });
$node->safe_psql('copy', "select payout.resume_channel('BANK1')");
$t->sql("select payout.resume_channel('BANK1')");
$t->wait_state($left, 'paid');
is($node->safe_psql('copy', "select state, account_check from payout.payout where txid = '$left'"), 'approved|pending', 'the copy has not moved');
is($node->safe_psql('copy', 'select count(*) from payout.incarnation where ended_at is null'), '1', 'its worker has not begun');
is($t->times_paid($left), 1, 'paid once, by the original');

# Armed after the original has paid, the copy asks for what it has not heard of, at a bank that would pay it again.
$t->sql('select payout.disarm()');
is($node->safe_psql('copy', "select status from payout.health() where check_name = 'lost_tail'"), 'warning', 'its health() says that it will ask first');
$node->safe_psql('copy', 'select payout.arm()');
$t->wait_for('the copy has learnt that it is paid', sub { $node->safe_psql('copy', "select state from payout.payout where txid = '$left'") eq 'paid' });
is($t->times_paid($left), 1, 'still paid once');
is($node->safe_psql('copy', "select count(*) from payout.lost_tail"), '1', 'a lost tail has begun');
is($node->safe_psql('copy', "select status from payout.health() where check_name = 'lost_tail'"), 'ok', 'and nothing is left of it');
is($node->safe_psql('copy', 'select * from payout.verify()'), '', 'the copy is sound');

# So does a database made from it as a template.
$node->safe_psql('copy', "select payout.pause_channel('BANK1', 'copying'), payout.approve('MERCHANT01', txid) from payout.register('MERCHANT01', 'TEMPLATE', 7000, 'CENA', '8800000009', 'Budi Santoso')");
$node->safe_psql('postgres', "alter system set payout.databases = 'app'; select pg_reload_conf()");
$t->wait_for('nobody is connected to the copy', sub { $node->safe_psql('postgres', "select count(*) from pg_stat_activity where datname = 'copy'") == 0 });
$node->safe_psql('postgres', "create database second template copy");
$node->safe_psql('postgres', "alter system set payout.databases = 'app, copy'; select pg_reload_conf()");
$node->safe_psql('copy', "select payout.resume_channel('BANK1')");
$t->wait_for('the template has paid', sub { $node->safe_psql('copy', "select state from payout.payout where reference_no = 'TEMPLATE'") eq 'paid' });
$node->safe_psql('copy', 'select payout.disarm()');
$node->safe_psql('postgres', "alter system set payout.databases = 'app, copy, second'; select pg_reload_conf()");
$node->safe_psql('second', "select payout.resume_channel('BANK1'), payout.arm()");
$t->wait_for('its copy has learnt that', sub { $node->safe_psql('second', "select state from payout.payout where reference_no = 'TEMPLATE'") eq 'paid' });
is($t->times_paid($node->safe_psql('second', "select txid from payout.payout where reference_no = 'TEMPLATE'")), 1, 'paid once');
$node->safe_psql('second', 'select payout.disarm()');
$node->safe_psql('copy', 'select payout.disarm()');
$t->sql('select payout.arm()');

# A physical clone with the same secret file: it is in another place, so not armed; armed, the lock keeps its worker out.
$node->safe_psql('postgres', "alter system set payout.databases = 'app'; select pg_reload_conf()");
$node->backup('clone');
my $clone = PostgreSQL::Test::Cluster->new('clone');
$clone->init_from_backup($node, 'clone');
$clone->start;
is($clone->safe_psql('app', 'select payout.is_armed()'), 'f', 'a clone with the secret file is in another place, and not armed');
$clone->safe_psql('app', 'select payout.arm()');
my $sent = $t->requests('any');
$clone->safe_psql('app', "select payout.approve('MERCHANT02', txid) from payout.register('MERCHANT02', 'CLONE', 5000, 'CENA', '8800000009', 'Budi Santoso')");
$t->wait_for('its worker says why it does not turn', sub { PostgreSQL::Test::Utils::slurp_file($clone->logfile) =~ /another process holds payout\.secret_file/ });
is($clone->safe_psql('app', "select state from payout.payout where reference_no = 'CLONE'"), 'approved', 'the clone has sent nothing');

# Nor does it pay cash: the token of a payout would be redeemed in both.
my $cash = $t->sql("select txid from payout.register_cashout('MERCHANT01', 'CASH', 50000, 'Budi Santoso', '0812')");
my $token = $t->sql("select cashout_token from payout.approve('MERCHANT01', '$cash')");
my $in_clone = sub {
	my ($status, $out, $err) = $clone->psql('app', $_[0], on_error_stop => 1, extra_params => [ '-v', 'VERBOSITY=verbose' ]);
	return $err =~ /ERROR:\s+(\w{5}):/ ? $1 : $out;
};
is($in_clone->("select payout.cashout_validate('STORE1', '$token', 'T', 'R')"), 'PY015', 'the clone validates no token');
is($in_clone->("select payout.approve('MERCHANT01', txid) from payout.register_cashout('MERCHANT01', 'CASH2', 50000, 'Budi Santoso', '0812')"), 'PY015', 'and issues none');
is($clone->safe_psql('app', "select status from payout.health() where check_name = 'armed'"), 'critical', 'its health() says so');
is($t->sql("select status from payout.health() where check_name = 'armed'"), 'ok', 'the original is well');
is($t->sql("select (payout.cashout_validate('STORE1', '$token', 'T', 'R')).amount"), '50000.00', 'the original validates it');
is($t->sql("select (payout.cashout_confirm('STORE1', '$token', 'R')).state"), 'paid', 'and is told of the cash');

# It makes no difference by which name and in which copy the clone has the secret: the same content is the same witness.
sub copied
{
	my ($name, $make) = @_;
	my $path = "$t->{dir}/secret_$name";
	$make->($path);
	$clone->append_conf('postgresql.conf', "payout.secret_file = '$path'");
	$clone->restart;
	$t->wait_for("$name: the clone's worker has begun to turn", sub { my ($log) = PostgreSQL::Test::Utils::slurp_file($clone->logfile) =~ /.*(starting PostgreSQL.*)/s; $log =~ /another process holds payout\.secret_file/ });
	is($clone->safe_psql('app', 'select payout.is_armed()'), 't', "$name: the clone counts as armed");
	is($clone->safe_psql('app', "select state from payout.payout where reference_no = 'CLONE'"), 'approved', "$name: and sends nothing");
	is($clone->safe_psql('app', "select status from payout.health() where check_name = 'armed'"), 'critical', "$name: its health() says so");
	is($in_clone->("select payout.cashout_validate('STORE1', '$token', 'T', 'R9')"), 'PY015', "$name: it validates no token");
}
copied('copy', sub { PayoutTest::write_file($_[0], PayoutTest::slurp($t->{secret_file})); chmod 0600, $_[0] });
copied('hard link', sub { link $t->{secret_file}, $_[0] or die $! });
copied('symbolic link', sub { symlink $t->{secret_file}, $_[0] or die $! });
# The original's file is replaced by a copy of itself, again and again: the lock stays.
for my $n (1 .. 3)
{
	PayoutTest::write_file("$t->{secret_file}.new", PayoutTest::slurp($t->{secret_file}));
	chmod 0600, "$t->{secret_file}.new";
	rename "$t->{secret_file}.new", $t->{secret_file} or die $!;
	$t->wait_state($t->pay, 'paid');
}
is($clone->safe_psql('app', "select state from payout.payout where reference_no = 'CLONE'"), 'approved', 'the original\'s file replaced: the clone sends nothing');
# The secret file is rotated: the clone, which was not, is armed for the old one, and stays out, before, between and after the steps.
PayoutTest::write_file("$t->{dir}/secret2", 'y' x 64);
chmod 0600, "$t->{dir}/secret2";
sub clone_has_turned
{
	my ($when) = @_;
	$clone->restart;
	$t->wait_for("$when: the clone's worker looks", sub { my ($log) = PostgreSQL::Test::Utils::slurp_file($clone->logfile) =~ /.*(starting PostgreSQL.*)/s; $log =~ /another process holds payout\.secret_file/ });
	is($clone->safe_psql('app', "select state from payout.payout where reference_no = 'CLONE'"), 'approved', "$when: the clone sends nothing");
}
$clone->append_conf('postgresql.conf', "payout.secret_file = '$t->{dir}/secret_copy'");
$node->safe_psql('postgres', "alter system set payout.secret_file_old = '$t->{secret_file}'");
$node->safe_psql('postgres', "alter system set payout.secret_file = '$t->{dir}/secret2'");
$node->safe_psql('postgres', 'select pg_reload_conf()');
$t->wait_for('the setting counts', sub { $node->safe_psql('postgres', 'show payout.secret_file') =~ /secret2/ });
clone_has_turned('reloaded');
$t->sql('select payout.rotate_secret_key()');
$t->wait_state($t->pay, 'paid');
clone_has_turned('rotated');
$node->restart;
$t->wait_state($t->pay, 'paid');
clone_has_turned('restarted');
# Back again, for what follows.
$node->safe_psql('postgres', "alter system set payout.secret_file_old = '$t->{dir}/secret2'");
$node->safe_psql('postgres', "alter system set payout.secret_file = '$t->{secret_file}'");
$node->safe_psql('postgres', 'select pg_reload_conf()');
$t->wait_for('the setting counts', sub { $node->safe_psql('postgres', 'show payout.secret_file_old') =~ /secret2/ });
$t->sql('select payout.rotate_secret_key()');
$t->wait_state($t->pay, 'paid');
$node->safe_psql('postgres', "alter system set payout.secret_file_old = ''");
$node->safe_psql('postgres', 'select pg_reload_conf()');

# Whose file is disarmed lets go of the lock: who moves on to the copy may do so while the original still runs.
$t->sql('select payout.disarm()');
$t->wait_for('the clone goes on', sub { $clone->safe_psql('app', 'select payout.wake()'); $clone->safe_psql('app', "select state from payout.payout where reference_no = 'CLONE'") eq 'paid' });
$clone->stop;
$t->sql('select payout.arm()');
$t->wait_state($t->pay, 'paid');
is($t->sql("select status from payout.health() where check_name = 'armed'"), 'ok', 'and so does the original, once it is armed and the clone gone');
$clone->start;

# With another file it is not armed at all.
my $other = "$t->{dir}/other";
PayoutTest::write_file($other, 'x' x 64);
chmod 0600, $other;
$clone->append_conf('postgresql.conf', "payout.secret_file = '$other'");
$clone->restart;
is($clone->safe_psql('app', 'select payout.is_armed()'), 'f', 'a clone with another file is not armed');
$t->wait_for('and its worker has not begun', sub { $clone->safe_psql('app', "select exists (select from pg_stat_activity where backend_type = 'payout worker' and datname = 'app')") eq 't' });
$clone->safe_psql('app', "select payout.approve('MERCHANT02', txid) from payout.register('MERCHANT02', 'CLONE2', 5000, 'CENA', '8800000009', 'Budi Santoso')");
is($clone->safe_psql('app', "select account_check || ' ' || state from payout.payout where reference_no = 'CLONE2'"), 'pending approved', 'and sends nothing');
$clone->stop;
# The clone has paid one that the original knows nothing of.
is($t->sql('select * from payout.verify()'), '', 'the original is sound');
done_testing();
