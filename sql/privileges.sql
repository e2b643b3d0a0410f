-- privileges.sql: the door: PUBLIC may do nothing; a caller is the role in force at the call; a merchant's role acts for its merchant alone, a store's for its store.
\getenv tree PG_ABS_SRCDIR
\set fixture :tree /sql/include/fixture.inc
\i :fixture
\set cashout :tree /sql/include/cashout.inc
\i :cashout
select test.set_up('PRIVILEGE1', 'PRIVCH', 'PRIVBANK', 100000);
select test.set_up('PRIVILEGE2', 'PRIVCH', 'PRIVBANK', 100000);
-- a store may have the same id as a merchant: that makes neither the other
select test.open_store('PRIVILEGE1'), test.open_store('PRIVILEGE2');
-- PUBLIC: from the catalog, with what is granted by default where nothing is written
select 'schema' as object, nspname::text as name from pg_namespace, aclexplode(coalesce(nspacl, acldefault('n', nspowner))) a where nspname = 'payout' and a.grantee = 0
union all
select 'relation', c.oid::regclass::text from pg_class c, aclexplode(coalesce(relacl, acldefault(case relkind when 'S' then 's' else 'r' end::"char", relowner))) a
where relnamespace = 'payout'::regnamespace and relkind in ('r', 'v', 'm', 'S', 'p', 'f') and a.grantee = 0
union all
select 'routine', p.oid::regprocedure::text from pg_proc p, aclexplode(coalesce(proacl, acldefault('f', proowner))) a where pronamespace = 'payout'::regnamespace and a.grantee = 0
union all
select 'type', t.typname from pg_type t left join pg_class c on c.oid = t.typrelid, aclexplode(coalesce(typacl, acldefault('T', typowner))) a
where typnamespace = 'payout'::regnamespace and typcategory <> 'A' and coalesce(relkind, 'c') = 'c' and a.grantee = 0;
-- nobody but the owner may call a work function
select p.oid::regprocedure from pg_proc p, aclexplode(proacl) a where pronamespace = 'payout'::regnamespace and a.grantee <> proowner;
select p.oid::regprocedure as security_definer from pg_proc p where pronamespace = 'payout'::regnamespace and prosecdef;

create role payout_test_nobody; create role payout_test_merchant; create role payout_test_member in role payout_test_merchant; create role payout_test_outsider noinherit in role payout_test_merchant;
create role payout_test_operator; create role payout_test_definer; create role payout_test_store;
-- without USAGE nothing is even seen
set role payout_test_nobody;
select payout.balance('PRIVILEGE1');
select * from payout.payout;
reset role;
-- with EXECUTE on everything public, the grants decide
grant usage on schema payout to payout_test_nobody, payout_test_merchant, payout_test_store, payout_test_operator, payout_test_definer, payout_test_outsider;
do $$
declare f regprocedure;
begin
	for f in select p.oid from pg_proc p where pronamespace = 'payout'::regnamespace and prosrc = 'payout_entry' loop
		execute format('grant execute on function %s to payout_test_nobody, payout_test_merchant, payout_test_store, payout_test_operator, payout_test_definer, payout_test_outsider', f);
	end loop;
end $$;
insert into payout.access_grant (role_name, kind, scope) values ('payout_test_merchant', 'merchant', 'PRIVILEGE1'), ('payout_test_operator', 'operator', ''),
	('payout_test_store', 'cvs', 'PRIVILEGE2');
-- Calls a function with a first argument and nulls.
create function test.try(f regproc, first text) returns text language plpgsql as $$
begin
	return test.sqlstate_of(format('select %s(%s)', f, (select string_agg(case when i = 0 and t = 'text'::regtype then format('%L', first) else format('null::%s', t::regtype) end, ', ' order by i)
		from pg_proc p, unnest(p.proargtypes::oid[]) with ordinality u (t, n), lateral (select n - 1 as i) x where p.oid = f)));
end $$;
grant usage on schema test to public;
create table test.entry as select p.oid::regproc as f from pg_proc p where pronamespace = 'payout'::regnamespace and prosrc = 'payout_entry';
grant select on test.entry to public;
create table test.tried (role_name text, f regproc, first text, result text);
grant insert on test.tried to public;
set role payout_test_nobody;
insert into test.tried select current_user, f, m, test.try(f, m) from test.entry, unnest(array['PRIVILEGE1', null]) m;
set role payout_test_merchant;
insert into test.tried select current_user, f, m, test.try(f, m) from test.entry, unnest(array['PRIVILEGE1', 'PRIVILEGE2', null]) m;
set role payout_test_store;
insert into test.tried select current_user, f, m, test.try(f, m) from test.entry, unnest(array['PRIVILEGE1', 'PRIVILEGE2', null]) m;
reset role;
select role_name, coalesce(first, 'null') as first, result, count(*) from test.tried where role_name = 'payout_test_nobody' group by 1, 2, 3 order by 1, 2, 3;
-- the merchant: for its own merchant these are let through (and then complain of other arguments), for others none
select f, result from test.tried where role_name = 'payout_test_merchant' and first = 'PRIVILEGE1' and result <> 'PY013' order by f::text;
select coalesce(first, 'null') as first, result, count(*) from test.tried where role_name = 'payout_test_merchant' and first is distinct from 'PRIVILEGE1' group by 1, 2 order by 1, 2;
-- the store: its three functions for itself, and nothing else for anybody
select f, result from test.tried where role_name = 'payout_test_store' and first = 'PRIVILEGE2' and result <> 'PY013' order by f::text;
select coalesce(first, 'null') as first, result, count(*) from test.tried where role_name = 'payout_test_store' and first is distinct from 'PRIVILEGE2' group by 1, 2 order by 1, 2;
set role payout_test_merchant;
select state from payout.register('PRIVILEGE1', 'PR1', 100, 'PRIVBANK', '8811111111', 'Budi');
select payout.register('PRIVILEGE2', 'PR1', 100, 'PRIVBANK', '8811111111', 'Budi');
select payout.do_top_up('PRIVILEGE1', 1, 'x');
select payout.ledger_return('PRIVILEGE1', 'x', 1, 0, 'settlement/X');
select payout.claim_dispatch('PRIVCH', 1);
update payout.payout set state = 'paid';
set role payout_test_operator;
select amount from payout.top_up('PRIVILEGE2', 1, 'by-the-operator');
select payout.register('PRIVILEGE2', 'PR2', 100, 'PRIVBANK', '8811111111', 'Budi');
select payout.register_cashout('PRIVILEGE2', 'PR3', 100, 'Budi', '0812');
reset role;
-- a cashout from the merchant's hand to the store's; who did what stands in the history
grant all on test.token to public;
grant execute on all functions in schema test to public;
set role payout_test_merchant;
select state from payout.register_cashout('PRIVILEGE1', 'PR4', 100, 'Budi', '0812');
reset role;
select test.txid('PR4') as txid \gset
set role payout_test_operator;
select payout.approve('PRIVILEGE1', :'txid');
select payout.reissue_token('PRIVILEGE1', :'txid');
set role payout_test_store;
select payout.approve('PRIVILEGE1', :'txid');
set role payout_test_merchant;
select state, cashout_token as token from payout.approve('PRIVILEGE1', :'txid') \gset
select payout.cashout_validate('PRIVILEGE1', :'token', 'T1', 'R1');
set role payout_test_operator;
select payout.cashout_validate('PRIVILEGE2', :'token', 'T1', 'R1');
set role payout_test_store;
select payout.cashout_validate('PRIVILEGE1', :'token', 'T1', 'R1');
select amount, currency, beneficiary_name from payout.cashout_validate('PRIVILEGE2', :'token', 'T1', 'R1');
select payout.inquiry('PRIVILEGE1', :'txid');
select state, amount, currency, cvs_reference from payout.cashout_confirm('PRIVILEGE2', :'token', 'R1');
select payout.do_cashout_validate('PRIVSTORE', :'token', 'T1', 'R1');
select payout.forget_tries('PRIVSTORE', null);
select payout.issue_token(null, now());
select count(*) from payout.cashout_token;
select count(*) from payout.redemption;
select payout.cvs_settlement('PRIVILEGE2', '2026-01-31');
reset role;
select to_state, role_name from payout.payout_event where txid = :'txid' order by event_no;
select role_name from payout.payout_event where txid = test.txid('PR1');
select created_by from payout.transfer where reference_no = 'by-the-operator';
-- a member inherits, one that does not inherit must first become the role
set role payout_test_member;
select (payout.balance('PRIVILEGE1')).available;
set role payout_test_outsider;
select payout.balance('PRIVILEGE1');
-- inside somebody else's SECURITY DEFINER function the definer calls
reset role;
create function test.as_definer(merchant text) returns numeric language sql security definer as $$ select available from payout.balance(merchant) $$;
alter function test.as_definer(text) owner to payout_test_definer;
grant execute on function test.as_definer(text) to public;
set role payout_test_merchant;
select test.as_definer('PRIVILEGE1');
reset role;
select test.as_definer('PRIVILEGE1');
insert into payout.access_grant (role_name, kind, scope) values ('payout_test_definer', 'merchant', 'PRIVILEGE2');
set role payout_test_nobody;
select test.as_definer('PRIVILEGE2');
select payout.balance('PRIVILEGE2');
select test.as_definer('PRIVILEGE1');
-- who the caller is does not outlive the call, even one that failed
select current_user, payout.balance('PRIVILEGE2') is not null;
select current_user;
reset role;
select current_user = session_user as back;
-- a grant revoked is gone at the next call
set role payout_test_merchant;
select (payout.balance('PRIVILEGE1')).available;
reset role;
delete from payout.access_grant where role_name = 'payout_test_merchant'::regrole;
set role payout_test_merchant;
select payout.balance('PRIVILEGE1');
reset role;
delete from payout.access_grant where role_name::text like 'payout_test_%';
drop function test.as_definer(text);
drop owned by payout_test_nobody, payout_test_merchant, payout_test_store, payout_test_operator, payout_test_definer, payout_test_outsider;
drop role payout_test_member, payout_test_outsider, payout_test_nobody, payout_test_merchant, payout_test_store, payout_test_operator, payout_test_definer;
select check_name, detail from payout.verify();
