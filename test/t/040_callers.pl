# 040_callers.pl: who is calling, by every way that a role comes into force: logins, poolers, SET ROLE, SET SESSION AUTHORIZATION, definers' functions,
# triggers, DO, prepared statements and cursors; and what becomes of grants in dumps, in other servers, and at the moment they are taken.
use strict;
use warnings;
use lib 'test/t/lib';
use IPC::Run ();
use PayoutTest;
use PostgreSQL::Test::Utils;
use Test::More;

my $t = PayoutTest->new;
my $node = $t->{node};
$t->sql(q(
	create role m1 login; create role m2 login; create role store login; create role op login; create role analyst login; create role nobody login;
	create role pool login noinherit in role m1, m2;
	create role "both" login in role m1, m2;
	create role definer;
	select payout.create_merchant('MERCHANT03', 'Merchant');
	select payout.grant_access('m1', 'merchant', 'MERCHANT01'), payout.grant_access('m2', 'merchant', 'MERCHANT02'), payout.grant_access('store', 'cvs', 'STORE1'),
		payout.grant_access('op', 'operator'), payout.grant_access('analyst', 'analyst'), payout.grant_access('definer', 'merchant', 'MERCHANT02');
	create schema app authorization m1; grant usage, create on schema app to public));

# What a session of a login answers: rows, and SQLSTATEs of what fails, a line each.
sub as
{
	my ($login, $sql, $server, $database) = @_;
	my ($status, $out, $err) = ($server || $node)->psql($database || 'app', $sql, on_error_stop => 0, extra_params => [ '-q', '-U', $login, '-v', 'VERBOSITY=sqlstate' ],
		stderr => \my $errors);
	return join ' ', grep { $_ ne '' } split(/\n/, $out // ''), map { /(?:ERROR|FATAL):\s+(\w{5})/ ? $1 : () } split /\n/, $errors // '';
}

my $balance = q(select available > 0 from payout.balance('MERCHANT0%d'));
sub balance { return sprintf "$balance;\n", shift }

# Logins
is(as('m1', balance(1)), 't', 'a merchant of its own');
is(as('m1', balance(2)), 'PY013', 'and of another');
is(as('nobody', balance(1)), '42501', 'a login without grants');
is(as('store', balance(1)), '42501', 'a store');
is(as('store', "select payout.cashout_validate('STORE2', '1234', 'T', 'R')"), 'PY013', 'in the name of another store');
is(as('op', balance(1) . balance(2)), 't t', 'an operator');
is(as('analyst', balance(1)), '42501', 'an analyst calls nothing');

# A pooler's login has no right of its own, and those of the role that it becomes.
is(as('pool', balance(1)), '42501', 'a pooler, before it has become anybody');
is(as('pool', 'set role m1;' . balance(1) . balance(2) . 'set role m2;' . balance(1) . balance(2)), 't t PY013 PY013', 'a pooler after SET ROLE');
is(as('pool', 'set role m1;' . balance(1) . 'reset role;' . balance(1)), 't 42501', 'and after RESET ROLE');
is(as('pool', 'begin; set local role m2;' . balance(2) . 'commit;' . balance(2)), 't 42501', 'SET LOCAL ROLE ends with its transaction');
is(as('pool', 'set role m1; begin; set local role m2; savepoint s; set local role m1; rollback to s;' . balance(2) . balance(1) . 'rollback;' . balance(1)),
	't t PY013', 'the role in force after ROLLBACK TO and ROLLBACK');
is(as('pool', 'set role op;' . balance(1)), '42501 42501', 'it becomes nobody else');
is(as('pool', "set role m1; select txid is not null from payout.register('MERCHANT01', 'BY-POOL', 5000, 'CENA', '8800000001', 'Budi')"), 't', 'it registers');
is($t->sql(q(select role_name from payout.payout_event join payout.payout p using (merchant_id, txid) where p.reference_no = 'BY-POOL' and from_state is null limit 1)), 'm1',
	'the history names the role that it was');

# A login that is several merchants by membership
is(as('both', balance(1) . balance(2) . balance(3)), 't t PY013', 'a member of two merchants');
$t->register(merchant => 'MERCHANT02', reference => 'OF-TWO');
$t->sql("select payout.register('MERCHANT03', 'OF-THREE', 5000, 'CENA', '8800000001', 'Budi')");
is(as('both', q(select string_agg(distinct merchant_id, ' ' order by merchant_id) from payout.v_payout)), 'MERCHANT01 MERCHANT02', 'reads of both');
is(as('both', "set role m1; select string_agg(distinct merchant_id, ' ') from payout.v_payout"), 'MERCHANT01', 'or of one');

# A superuser becomes somebody for the session.
my $super = $t->sql('select current_user');
is(as($super, 'set session authorization m1;' . balance(1) . balance(2) . 'reset session authorization;' . balance(2)), 't t PY013', 'SET SESSION AUTHORIZATION');
is(as($super, 'set session authorization pool;' . balance(1) . 'set role m1;' . balance(1)), 't 42501', 'and then SET ROLE');

# In a definer's function the definer calls, whoever calls that.
$t->sql(q(
	create function app.of_definer(merchant text) returns boolean language sql security definer as $$ select available > 0 from payout.balance(merchant) $$;
	alter function app.of_definer owner to definer;
	create function app.of_invoker(merchant text) returns boolean language plpgsql as $$ begin perform app.of_definer(merchant); return (select available > 0 from payout.balance(merchant)); end $$;
	create function app.of_both(merchant text) returns boolean language plpgsql security definer as $$ begin return (select available > 0 from payout.balance(merchant)); end $$;
	alter function app.of_both owner to "both";
	create function app.nested(merchant text) returns boolean language plpgsql security definer as $$ begin perform app.of_both(merchant); return (select available > 0 from payout.balance(merchant)); end $$;
	alter function app.nested owner to definer;
	create function app.register(merchant text, reference text) returns boolean language sql security definer as $$ select txid is not null from payout.register(merchant, reference, 5000, 'CENA', '8800000001', 'Budi') $$;
	alter function app.register owner to definer));
is(as('m1', "select app.of_definer('MERCHANT02'); select app.of_definer('MERCHANT01')"), 't PY013', "the definer's grants count, not the caller's");
is(as('nobody', "select app.of_definer('MERCHANT02'); select app.of_definer('MERCHANT01')"), 't PY013', 'also for a caller without any');
is(as('m1', "select app.of_invoker('MERCHANT02')") . ' ' . as('m2', "select app.of_invoker('MERCHANT02')"), 'PY013 t', 'after it the invoker again');
is(as('m1', "select app.nested('MERCHANT02'); select app.nested('MERCHANT01');" . balance(1)), 't t PY013', 'definers in definers: each for itself, then the caller again');
is(as('nobody', "select app.register('MERCHANT02', 'BY-DEFINER')"), 't', "a definer's function registers");
is($t->sql(q(select role_name from payout.payout_event join payout.payout p using (merchant_id, txid) where p.reference_no = 'BY-DEFINER' and from_state is null limit 1)), 'definer', 'the history names the definer');
$t->sql(q(
	create procedure app.asks(merchant text) language plpgsql security definer as $$ declare s text; begin call payout.check_status(merchant, 'x', '0 s', s); end $$;
	alter procedure app.asks owner to definer));
is(as('m1', "call app.asks('MERCHANT01')") . ' ' . as('m1', "call app.asks('MERCHANT02')"), 'PY013 2D000', 'check_status in a definer: its grants count, and it cannot wait there');
is(as('m1', "call payout.check_status('MERCHANT02', 'x', '0 s'); begin; call payout.check_status('MERCHANT02', 'x', '0 s')"), 'PY013 PY013', 'the door of check_status is before its wait');

# Triggers: the role that writes calls, or the trigger's definer.
$t->sql(q(
	create function app.asks_invoker() returns trigger language plpgsql as $$ begin perform payout.balance(new.merchant); return new; end $$;
	create function app.asks_definer() returns trigger language plpgsql security definer as $$ begin perform payout.balance(new.merchant); return new; end $$;
	alter function app.asks_definer owner to definer;
	create table app.one (merchant text); create table app.two (merchant text); alter table app.one owner to m1; alter table app.two owner to m1;
	create trigger asks before insert on app.one for each row execute function app.asks_invoker();
	create trigger asks before insert on app.two for each row execute function app.asks_definer();
	create trigger asks_late after insert on app.two for each row execute function app.asks_definer();
	create constraint trigger asks_last after insert on app.one deferrable initially deferred for each row execute function app.asks_invoker();
	grant insert on app.one, app.two to public));
is(as('m2', "insert into app.one values ('MERCHANT01'); insert into app.one values ('MERCHANT02') returning 'ok'"), 'ok PY013', "in a trigger on another's table the writer calls");
is(as('m1', "insert into app.two values ('MERCHANT01'); insert into app.two values ('MERCHANT02') returning 'ok'"), 'ok PY013', "in a definer's trigger the definer");

# A view of a merchant's own over ours reads as its owner and its reader: nobody gains.
as('m1', 'create view app.shared as select * from payout.v_payout; grant select on app.shared to public');
is(as('m2', "select string_agg(distinct merchant_id, ' ') from app.shared"), 'MERCHANT02', 'a shared view shows the reader his own');
is(as('nobody', 'select count(*) from app.shared'), '42501', 'and nothing to who has no right on its functions');

# One block, many roles
is(as($super, q(do $$
declare seen text := '';
begin
	for i in 1..3 loop
		set local role m1; perform payout.balance('MERCHANT01');
		set local role m2; perform payout.balance('MERCHANT02');
		begin perform payout.balance('MERCHANT01'); seen := seen || 'let in'; exception when sqlstate 'PY013' then seen := seen || i; end;
		reset role;
	end loop;
	perform set_config('test.seen', seen, false);
end $$; select current_setting('test.seen'))), '123', 'DO: the same statement under changing roles');

# Prepared once, executed by many; the views too, with one plan for all.
my $roles = join '', map { "set role $_; execute b; execute v; execute s; reset role;" } qw(m1 m2 analyst m1 nobody m2);
for my $mode (qw(auto force_generic_plan force_custom_plan))
{
	is(as($super, "set plan_cache_mode = $mode; prepare b as select available > 0 from payout.balance('MERCHANT01');
		prepare v as select count(distinct merchant_id) || ':' || min(merchant_id) from payout.v_payout;
		prepare s as select count(distinct merchant_id) || ':' || min(merchant_id) from payout.v_statement; $roles"),
		't 1:MERCHANT01 1:MERCHANT01 1:MERCHANT02 1:MERCHANT02 3:MERCHANT01 2:MERCHANT01 t 1:MERCHANT01 1:MERCHANT01 1:MERCHANT02 1:MERCHANT02 PY013 42501 42501 42501 42501 PY013',
		"prepared statements, $mode");
}
is(as($super, q(begin; set local role m2; declare c cursor for select merchant_id from payout.v_payout order by 1; set local role m1; fetch all c; commit)) =~ /MERCHANT0[23]/ ? 'leaks' : 'own', 'own',
	'a cursor that is fetched by another role shows that role nothing of the first one');

# What is taken is gone at once, in a transaction that began before as well; the row alone decides.
my $old = $node->background_psql('app', on_error_stop => 0, extra_params => [ '-U', 'm1', '-v', 'VERBOSITY=sqlstate' ]);
$old->query('begin isolation level repeatable read');
is($old->query(balance(1)), 't', 'an old transaction calls');
$t->sql(q(delete from payout.access_grant where role_name = 'm1'::regrole));
is(scalar $old->query('select count(*) from payout.v_payout'), '0', 'it reads nothing any more');
$old->query(balance(1));
like($old->{stderr}, qr/PY013/, 'nor does it call');
$old->{stderr} = '';
$old->query('rollback');
$t->sql(q(select payout.grant_access('m1', 'merchant', 'MERCHANT01')));
is($old->query(balance(1)), 't', 'and it is let in again');
$old->quit;

# Two that grant at one moment do not fail each other: the second waits for the first.
$t->sql('create role first; create role second');
my $first = $node->background_psql('app');
$first->query_safe(q(begin; select payout.grant_access('first', 'merchant', 'MERCHANT01')));
my %second = (out => '');
$second{handle} = IPC::Run::start([ 'psql', '-XAtq', '-v', 'ON_ERROR_STOP=1', '-d', $node->connstr('app'),
	'-c', q(select payout.grant_access('second', 'merchant', 'MERCHANT02')) ], '<', \undef, '>', \$second{out}, '2>&1');
$t->wait_sql(q{select exists (select from pg_stat_activity where wait_event_type = 'Lock' and query like '%grant_access(''second''%' and pid <> pg_backend_pid())});
$first->query_safe('commit');
$first->quit;
ok($second{handle}->finish, 'the second of two grants') or diag($second{out});
is($t->sql(q(select string_agg(role_name::text, ' ' order by role_name::text) from payout.access_grant where role_name in ('first'::regrole, 'second'::regrole))), 'first second', 'both are there');
$t->sql(q(select payout.revoke_access('first', 'merchant', 'MERCHANT01'), payout.revoke_access('second', 'merchant', 'MERCHANT02')));
$t->sql('drop role first, second');

# What moves a stuck payout is in the history: by whom, when, why.
$t->sql("select payout.pause_channel('BANK1', 'a test')");
my $stuck = $t->pay(reference => 'STUCK');
my $held = $t->pay(reference => 'HELD');
$t->sql("select payout.hold_payout('MERCHANT01', '$held', 'dispatch', 'a test')");
is(as('m1', "select payout.resolve('MERCHANT01', '$stuck', 'failed', 'mine')"), '42501', 'a merchant resolves nothing');
is(as('op', "select state from payout.resolve('MERCHANT01', '$stuck', 'failed', 'the bank says so')"), 'failed', 'an operator decides');
is(as('op', "select state from payout.resolve('MERCHANT01', '$held', 'dispatch', 'looked at')"), 'approved', 'and lets one go on');
my ($cash, $token) = $t->issue(reference => 'BYLIST');
$t->sql($t->validate_sql($token, reference => 'LISTED'));
my $today = $t->sql('select payout.jakarta_day(now())');
isnt(as('op', qq(select count(*) from payout.import_cvs_settlement('STORE1', '$today', '[{"cvs_reference": "LISTED", "amount": "50000.00", "status": "SUCCESS"}]'))), '', 'an operator takes a list');
is($t->sql("select string_agg(concat_ws(' ', p.reference_no, e.to_state, e.role_name, (e.at between now() - interval '10 min' and clock_timestamp())::text, (e.reason <> '')::text), ', ' order by p.reference_no)
	from payout.payout p join lateral (select * from payout.payout_event e where (e.merchant_id, e.txid) = (p.merchant_id, p.txid) order by event_no desc limit 1) e on true
	where p.reference_no in ('STUCK', 'HELD', 'BYLIST')"), 'BYLIST paid op true true, HELD approved op true true, STUCK failed op true true', 'the history has role, time and reason of each');
is(as('op', q(select count(*) > 0 from payout.v_payout where state = 'failed')), 't', 'an operator sees what stands where');
$t->sql("select payout.resume_channel('BANK1')");

# A dump takes the grants along: of roles as they are called now, not of those that were dropped.
$t->sql(q(alter role store rename to shop; create role gone; select payout.grant_access('gone', 'analyst')));
$t->sql('drop owned by gone');
$t->sql('drop role gone; create role gone');
my $grants = q(select string_agg(concat_ws(' ', role_name, kind, scope), ', ' order by role_name::text) from payout.access_grant where role_name in (select oid from pg_roles));
my $before = $t->sql($grants);
my $dump = "$t->{dir}/grants.dump";
$node->command_ok([ 'pg_dump', '-Fc', '-f', $dump, $node->connstr('app') ], 'pg_dump');
$node->safe_psql('postgres', 'create database copy');
$node->command_ok([ 'pg_restore', '--exit-on-error', '-d', $node->connstr('copy'), $dump ], 'pg_restore beside');
is($node->safe_psql('copy', $grants), $before, 'the same grants');
is($node->safe_psql('copy', 'select count(*) from payout.access_grant'), $node->safe_psql('copy', 'select count(*) from payout.access_grant where role_name in (select oid from pg_roles)'), 'none of a dropped role');
is(as('m1', balance(1) . balance(2), $node, 'copy'), 't PY013', 'a merchant works there');
is(as($super, 'set role gone; select count(*) from payout.v_payout', $node, 'copy'), '42501', 'a role of the name of a dropped one does not');
is($node->safe_psql('copy', "select status from payout.health() where check_name = 'access_grants'"), 'ok', 'health() agrees');

# In another server roles have other numbers; without the roles the grants are missed with an error, not given to others.
my $other = PostgreSQL::Test::Cluster->new('other');
$other->init(extra => [ '--encoding=UTF8', '--locale=C' ]);
$other->append_conf('postgresql.conf', join "\n", "shared_preload_libraries = 'payout'", "payout.secret_file = '$t->{secret_file}'", '');
$other->start;
$other->safe_psql('postgres', join ';', map { "create role stranger$_ login" } 1 .. 40);
$other->safe_psql('postgres', 'create database bare; create database whole');
my ($restored) = PostgreSQL::Test::Utils::run_command([ 'pg_restore', '--no-acl', '--no-owner', '--exit-on-error', '-d', $other->connstr('bare'), $dump ]);
isnt($?, 0, 'without its roles a dump of grants is not restored in silence');
is($other->safe_psql('bare', 'select count(*) from payout.access_grant'), '0', 'and nobody is let in');
my $roles_file = "$t->{dir}/roles.sql";
$node->command_ok([ 'pg_dumpall', '--roles-only', '-f', $roles_file, '-d', $node->connstr('postgres') ], 'pg_dumpall');
$other->psql('postgres', PayoutTest::slurp($roles_file), on_error_stop => 0);
$other->command_ok([ 'pg_restore', '--exit-on-error', '-d', $other->connstr('whole'), $dump ], 'pg_restore elsewhere, after the roles');
is($other->safe_psql('whole', $grants), $before, 'the same grants there');
isnt($other->safe_psql('whole', q(select 'm1'::regrole::oid)), $t->sql(q(select 'm1'::regrole::oid)), 'though the roles have other numbers');
is(as('m1', balance(1) . balance(2), $other, 'whole'), 't PY013', 'a merchant works there');
is(as('stranger1', balance(1), $other, 'whole'), '42501', 'a stranger does not');
$other->stop;

$t->sound('at the end');
done_testing();
