# 042_hostile_schema.pl: objects of others with the names of ours, or of what we use, change nothing: before the extension is
# made, first in everybody's search_path, and in pg_temp. Functions and operators that are called all the same leave a mark
# that no rollback removes.
use strict;
use warnings;
use lib 'test/t/lib';
use PayoutTest;
use Test::More;

# Everything that the server's own catalog has, once more under evil: operators, functions, aggregates (as functions) and
# types of common arguments, tables. Then each name of ours in evil, public or pg_temp.
my $evil = <<'END';
create schema evil;
grant all on schema evil to public;
create sequence evil.mark;
grant all on sequence evil.mark to public;
do $do$
declare
	o record;
	made integer := 0;
	common regtype[] := '{text,name,"char",bool,int2,int4,int8,numeric,float8,jsonb,bytea,uuid,timestamptz,timestamp,date,interval,time,oid,regclass,regtype,text[],int4[],jsonpath,record,varchar,bpchar,aclitem[],anyelement,anyarray,anycompatible,anycompatiblearray,anynonarray,xid,unknown,json,oidvector,name[],tid}';
	body text := 'begin perform pg_catalog.nextval(''evil.mark''); raise exception ''hostile: %''; end';
begin
	for o in
		select op.oprname, op.oprleft::regtype as l, op.oprright::regtype as r, op.oprresult::regtype as result, row_number() over () as n
		from pg_catalog.pg_operator op where op.oprnamespace = 'pg_catalog'::regnamespace and op.oprright = any (common) and op.oprleft = any (common || 0::oid::regtype)
	loop
		begin
			execute format('create function evil.op_%s(%s) returns %s language plpgsql as %L', o.n, concat_ws(', ', nullif(o.l::text, '-'), o.r), o.result, replace(body, '%', 'operator ' || replace(o.oprname, '%', '%%')));
			execute format('create operator evil.%s (function = evil.op_%s, %s rightarg = %s)', o.oprname, o.n, case when o.l <> 0 then 'leftarg = ' || o.l || ',' end, o.r);
			made := made + 1;
		exception when others then
			null;
		end;
	end loop;
	if made < 300 then raise exception 'only % operators', made; end if;
	for o in
		select p.proname, p.prokind, p.proretset, p.prorettype::regtype as result, (select string_agg(t::regtype::text, ', ' order by i) from unnest(p.proargtypes::oid[]) with ordinality u (t, i)) as arguments
		from pg_catalog.pg_proc p where p.pronamespace = 'pg_catalog'::regnamespace and p.proargtypes::oid[] <@ common::oid[] and p.provariadic = 0
		and p.prorettype not in ('internal'::regtype, 'cstring'::regtype, 'trigger'::regtype, 'event_trigger'::regtype)
	loop
		begin
			execute format('create function evil.%I(%s) returns %s language plpgsql as %L', o.proname, o.arguments, case when o.proretset then 'setof ' else '' end || o.result, replace(body, '%', 'function ' || o.proname));
			made := made + 1;
		exception when others then
			null;
		end;
	end loop;
	if made < 1500 then raise exception 'only % operators and functions', made; end if;
	for o in select typname from pg_catalog.pg_type where typnamespace = 'pg_catalog'::regnamespace and typtype in ('b', 'd') and typelem = 0 and typname !~ '^_' loop
		execute format('create domain evil.%I as int check (value < 0)', o.typname);
	end loop;
	for o in select relname from pg_catalog.pg_class where relnamespace = 'pg_catalog'::regnamespace and relkind in ('r', 'v') loop
		execute format('create table evil.%I (nothing int)', o.relname);
	end loop;
end $do$;
grant all on all tables in schema evil to public;
END

# The names of ours, of a database that has the extension, as statements that make hostile ones in another schema.
sub namesakes
{
	my ($t, $schema) = @_;
	return $t->sql(qq~
		select string_agg(format('create table $schema.%I (nothing int);', relname), ' ') from pg_class where relnamespace = 'payout'::regnamespace and relkind in ('r', 'v')~) . "\n"
		. ($schema eq 'pg_temp' ? '' : $t->sql(qq~
		select string_agg(format('create function $schema.%I(%s) returns %s language plpgsql as %L;', p.proname, (select string_agg(u::regtype::text, ', ') from unnest(p.proargtypes::oid[]) u),
			case when p.proretset then 'setof ' else '' end || p.prorettype::regtype, 'begin perform pg_catalog.nextval(''evil.mark''); raise exception ''hostile: function of ours''; end'), ' ')
		from pg_proc p where p.pronamespace = 'payout'::regnamespace and p.prokind = 'f' and p.prorettype <> all ('{trigger,record}'::regtype[])
		and not exists (select from unnest(p.proargtypes::oid[] || p.prorettype) x join pg_type y on y.oid = x where y.typnamespace = 'payout'::regnamespace)~))
		. "\n" . ($schema eq 'pg_temp' ? '' : $t->sql(qq~
		select string_agg(format('create type $schema.%I as (nothing int);', typname), ' ') from pg_type join pg_class c on c.oid = typrelid where typnamespace = 'payout'::regnamespace and c.relkind = 'c'~));
}

# All that the extension is made of, as the server writes it with every name qualified.
sub definition
{
	my ($node, $database) = @_;
	return $node->safe_psql($database, q~
		set search_path = '';
		select pg_catalog.pg_get_functiondef(p.oid) from pg_catalog.pg_proc p where p.pronamespace operator(pg_catalog.=) 'payout'::pg_catalog.regnamespace and p.prokind operator(pg_catalog.<>) 'a' order by p.oid::pg_catalog.regprocedure::pg_catalog.text;
		select c.relname, pg_catalog.pg_get_viewdef(c.oid) from pg_catalog.pg_class c where c.relnamespace operator(pg_catalog.=) 'payout'::pg_catalog.regnamespace and c.relkind operator(pg_catalog.=) 'v' order by 1;
		select c.conrelid::pg_catalog.regclass, c.conname, pg_catalog.pg_get_constraintdef(c.oid) from pg_catalog.pg_constraint c where c.connamespace operator(pg_catalog.=) 'payout'::pg_catalog.regnamespace order by 1, 2;
		select i.indexrelid::pg_catalog.regclass, pg_catalog.pg_get_indexdef(i.indexrelid) from pg_catalog.pg_index i join pg_catalog.pg_class c on c.oid operator(pg_catalog.=) i.indrelid where c.relnamespace operator(pg_catalog.=) 'payout'::pg_catalog.regnamespace order by 1;
		select g.tgrelid::pg_catalog.regclass, pg_catalog.pg_get_triggerdef(g.oid) from pg_catalog.pg_trigger g where not g.tgisinternal order by 1, 2;
		select a.attrelid::pg_catalog.regclass, a.attname, pg_catalog.format_type(a.atttypid, a.atttypmod), pg_catalog.pg_get_expr(d.adbin, d.adrelid) from pg_catalog.pg_attribute a left join pg_catalog.pg_attrdef d on d.adrelid operator(pg_catalog.=) a.attrelid and d.adnum operator(pg_catalog.=) a.attnum
			join pg_catalog.pg_class c on c.oid operator(pg_catalog.=) a.attrelid where c.relnamespace operator(pg_catalog.=) 'payout'::pg_catalog.regnamespace and a.attnum operator(pg_catalog.>) 0 order by 1, a.attnum;
	~);
}

sub marks { my ($node, $database) = @_; return $node->safe_psql($database, 'select pg_catalog.count(*) from evil.mark where is_called'); }

my $t = PayoutTest->new;
my $node = $t->{node};
my $path = 'evil, public, pg_catalog, pg_temp';
$node->safe_psql('app', 'create role mallory login; create role merchant login; create role store login');

# --- A schema of ours that is there before: no extension, and nothing left behind, whoever has it and whatever is in it
for my $case ([ 'of another role', 'create schema payout authorization mallory' ], [ 'of a superuser', 'create schema payout' ],
	[ 'with functions of ours', "create schema payout authorization mallory; create function payout.caller() returns text language sql as 'select 1::text'" ])
{
	my ($name, $sql) = @$case;
	$node->safe_psql('postgres', 'create database taken');
	$node->safe_psql('taken', $sql);
	my $objects = 'select count(*) from (select oid from pg_proc union all select oid from pg_class union all select oid from pg_type union all select oid from pg_namespace union all select oid from pg_operator) a';
	my $before = $node->safe_psql('taken', $objects);
	is($t->sqlstate('create extension payout', 'taken'), '42P06', "a schema payout $name: no extension");
	is($t->sqlstate('create extension if not exists payout cascade', 'taken'), '42P06', 'nor with other words');
	isnt($t->sqlstate('create extension payout schema public', 'taken'), '00000', 'nor elsewhere');
	is($node->safe_psql('taken', "$objects; select count(*) from pg_extension where extname = 'payout'"), "$before\n0", 'and nothing is left behind');
	$node->safe_psql('taken', 'drop schema payout cascade');
	is($t->sqlstate('create extension payout', 'taken'), '00000', 'once it is gone, it is made');
	$node->safe_psql('postgres', 'drop database taken');
}

# --- Made beside hostile objects, first in the path of who makes it and in its pg_temp: the same extension
$node->safe_psql('postgres', 'create database beside');
$node->safe_psql('beside', $evil . namesakes($t, 'evil') . namesakes($t, 'public'));
$node->safe_psql('beside', namesakes($t, 'pg_temp') . "set search_path = $path; create extension payout;");
is(definition($node, 'beside'), definition($node, 'app'), 'made beside hostile objects, it is the same');
is(marks($node, 'beside'), '0', 'and none of them was called');

# --- The flow with all of them first in the path, of every role and of the worker
$node->safe_psql('app', $evil . namesakes($t, 'evil') . namesakes($t, 'public'));
isnt($t->sqlstate("set search_path = $path; select 'a'::pg_catalog.text = 'a'::pg_catalog.text"), '00000', 'the trap works: an operator');
isnt($t->sqlstate("set search_path = $path; select length('a'::pg_catalog.text)"), '00000', 'a function');
isnt($t->sqlstate("set search_path = $path; select count(*) from pg_class"), '00000', 'an aggregate');
isnt($t->sqlstate("set search_path = $path; select 'a'::text"), '00000', 'a type');
is(marks($node, 'app'), '1', 'and leaves its mark');
$node->safe_psql('app', "select pg_catalog.setval('evil.mark', 1, false)");

$t->sql("select payout.grant_access('merchant', 'merchant', 'MERCHANT01'), payout.grant_access('store', 'cvs', 'STORE1')");
$node->safe_psql('postgres', "alter database app set search_path = $path");
$ENV{PGOPTIONS} = '-c search_path=public';	# of the test's own statements
{
	local $ENV{PGOPTIONS};
	$t->restart_relay;
}
$node->restart;	# the worker and the sessions begin anew
$t->wait_sql("select exists (select from pg_stat_activity where backend_type = 'payout worker')");

my $temp = namesakes($t, 'pg_temp');

# What a role with the hostile path and hostile tables in pg_temp gets.
sub hostile
{
	my ($role, $sql) = @_;
	local $ENV{PGOPTIONS};
	return $node->safe_psql('app', ($role eq '' ? '' : "set role $role; ") . "$temp set search_path = $path; $sql");
}

my $txid = hostile('merchant', "select txid from payout.register('MERCHANT01', 'HOSTILE1', 10000, 'CENA', '8800000001', 'Budi Santoso')");
is(hostile('merchant', "select state from payout.approve('MERCHANT01', '$txid')"), 'approved', 'a merchant registers and approves');
$t->wait_state($txid, 'paid');
$t->wait_told($txid, 'payout.paid');
is($t->times_paid($txid), 1, 'the worker and the notice of the bank go their way');
is(hostile('merchant', "call payout.check_status('MERCHANT01', '$txid', '10 s')"), 'paid', 'check_status');
is(hostile('merchant', "select state from payout.inquiry_reference('MERCHANT01', 'HOSTILE1')"), 'paid', 'inquiry');
like(hostile('merchant', "select available from payout.balance('MERCHANT01')"), qr/^\d/, 'balance');
is(hostile('merchant', "select state from payout.v_payout where txid operator(pg_catalog.=) '$txid'"), 'paid', 'a view');
like(hostile('merchant', "select txid from payout.v_statement limit 1"), qr/^(MERCHANT01|$)/, 'another one');
my $batch = hostile('merchant', qq(select txid from payout.register_batch('MERCHANT01', '[{"reference_no": "HOSTILE2", "amount": 5000, "bank_code": "CENA", "account_no": "8800000001", "beneficiary_name": "Budi Santoso"}]')));
is(hostile('merchant', "select state from payout.approve_batch('MERCHANT01', '{$batch}')"), 'approved', 'a batch');
my $cash = hostile('merchant', "select txid from payout.register_cashout('MERCHANT01', 'HOSTILE3', 50000, 'Budi Santoso', '081234567890')");
my $token = hostile('merchant', "select cashout_token from payout.approve('MERCHANT01', '$cash')");
$token = hostile('merchant', "select cashout_token from payout.reissue_token('MERCHANT01', '$cash')");
is(hostile('store', "select amount from payout.cashout_validate('STORE1', '$token', 'T', 'H1')"), '50000.00', 'a store validates');
is(hostile('store', "select state from payout.cashout_reverse('STORE1', '$token', 'H1', 'x')"), 'token_issued', 'reverses');
is(hostile('store', "select amount from payout.cashout_validate('STORE1', '$token', 'T', 'H2')"), '50000.00', 'validates');
is(hostile('store', "select state from payout.cashout_confirm('STORE1', '$token', 'H2')"), 'paid', 'and confirms');
my $not = hostile('merchant', "select txid from payout.register('MERCHANT01', 'HOSTILE4', 10000, 'CENA', '8800000001', 'Budi Santoso')");
is(hostile('merchant', "select state from payout.reject('MERCHANT01', '$not', 'x')"), 'rejected', 'a merchant rejects');
my $later = hostile('merchant', "select txid from payout.register('MERCHANT01', 'HOSTILE5', 10000, 'CENA', '8800000001', 'Budi Santoso', scheduled_at => pg_catalog.now() operator(pg_catalog.+) '3 hours'::pg_catalog.interval)");
is(hostile('merchant', "select state from payout.approve('MERCHANT01', '$later')"), 'scheduled', 'schedules');
is(hostile('merchant', "select state from payout.cancel('MERCHANT01', '$later', 'x')"), 'cancelled', 'and cancels');

# The operator is a superuser here: what he does runs with his own rights, if it runs at all.
is(hostile('', "select amount from payout.top_up('MERCHANT01', 500, 'HOSTILE')"), '500.00', 'an operator tops up');
is(hostile('', "select amount from payout.withdraw('MERCHANT01', 500, 'HOSTILE')"), '500.00', 'withdraws');
hostile('', $_) for
	q(select payout.create_merchant('HOSTILE001', 'x', 'https://a.example', '{"fee": {"online": {"flat": 1}}}'); select payout.alter_merchant('HOSTILE001', '{"active": false}')),
	q(select payout.create_channel('HOSTILE', 'snap', 'https://a.example', '{"client_id": "x"}'); select payout.alter_channel('HOSTILE', '{"linger_ms": 5}'); select payout.load_banks('HOSTILE')),
	q(select payout.pause_channel('HOSTILE', 'x'); select payout.resume_channel('HOSTILE')), q(select payout.create_bank('HOST', 'x', 'HOSTILE'); select payout.alter_bank('HOST', '{"enabled": false}')),
	q(select payout.create_cvs('HOSTILE', 'x'); select payout.alter_cvs('HOSTILE', '{"opening_hours": "07:00-22:00"}')), q(select payout.set_secret('merchant:HOSTILE001', 'webhook_secret', 'x', '2000-01-01'::pg_catalog.timestamptz operator(pg_catalog.+) (pg_catalog.now() operator(pg_catalog.-) '1999-12-01'))),
	q(select payout.grant_access('mallory', 'analyst'); select payout.grant_access('mallory', 'operator'); select payout.revoke_access('mallory', 'operator'); select payout.revoke_access('mallory', 'analyst')),
	"select payout.resend_notification('MERCHANT01', '$txid'); select payout.request_check('MERCHANT01', '$txid')", "select payout.resolve('MERCHANT01', '$txid', 'returned', 'x')",
	q(select payout.cvs_settlement('STORE1', '2026-01-31'); select payout.import_cvs_settlement('STORE1', '2026-01-31', '[{"cvs_reference": "NONE", "amount": "1", "status": "SUCCESS"}]')),
	q(select payout.bank_notification('BANK1', 'POST', '/x', '{}', '')), 'select payout.disarm(); select payout.arm()';
is(hostile('', 'select payout.verify()'), '', 'verify()');
like(hostile('', 'select payout.health()'), qr/armed,ok/, 'health()');
like(hostile('', "select * from payout.$_ limit 1; select 'read'"), qr/read/, "reads $_") for split / /, $t->sql(q(select string_agg(relname, ' ') from pg_class where relnamespace = 'payout'::regnamespace and relkind = 'v'));
is(hostile('', "update payout.balance set day_total = day_total where merchant_id operator(pg_catalog.=) 'HOSTILE001'; update payout.payout set status_tries = status_tries where txid operator(pg_catalog.=) '$txid'; select 1"), '1', 'changes by hand, with the triggers');
my $waiting = $t->pay;
$t->wait_state($_, 'paid') for $batch, $waiting;
$t->set_clock(90000);
my (undef, $expiring) = $t->issue;
$t->set_clock(180000);
$t->wait_sql(q(select exists (select from payout.payout where state = 'expired')));
is(marks($node, 'app'), '0', 'none of the hostile objects was called');
is($node->safe_psql('app', 'set search_path = public; select * from payout.verify()'), '', 'and the books are sound');
done_testing();
