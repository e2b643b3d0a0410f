-- tenants.sql: between tenants: what a merchant learns of another's TXID, reference number, token or notification is what it learns of none, by functions,
-- views, plans, errors and unique keys.
\getenv tree PG_ABS_SRCDIR
\set fixture :tree /sql/include/fixture.inc
\i :fixture
\set cashout :tree /sql/include/cashout.inc
\i :cashout
select test.set_up('TENANTAAA1', 'TENANTCH', 'TENANTBANK', 1000000), test.set_up('TENANTBBB2', 'TENANTCH', 'TENANTBANK', 1000000, p_url => 'https://b.example/events');
select test.open_store('TENANTS1', '{"token_tries": 1000}'), test.open_store('TENANTS2', '{"token_tries": 1000}');
create role tenant_a; create role tenant_b; create role tenant_s2; create role tenant_analyst;
select payout.grant_access('tenant_a', 'merchant', 'TENANTAAA1'), payout.grant_access('tenant_b', 'merchant', 'TENANTBBB2'), payout.grant_access('tenant_s2', 'cvs', 'TENANTS2'),
	payout.grant_access('tenant_analyst', 'analyst');
-- B has payouts in several states, one with notifications, and many more
select test.register('TENANTBBB2', 'TENANTBANK', 'TENANT-B-1'), test.pay('TENANTBBB2', 'TENANTBANK', 'TENANT-B-2'), test.issue('TENANTBBB2', 'TENANT-B-3');
select count(*) filter (where state = 'registered') from payout.register_batch('TENANTBBB2', (select jsonb_agg(jsonb_build_object('reference_no', 'TENANT-B-X' || i, 'amount', 1000, 'bank_code', 'TENANTBANK', 'account_no', '8811111111', 'beneficiary_name', 'Budi'))
	from generate_series(1, 700) i));
select test.register('TENANTAAA1', 'TENANTBANK', 'TENANT-A-1');
select test.register('TENANTBBB2', 'TENANTBANK', 'TENANT-B-0');
select state from payout.reject('TENANTBBB2', test.txid('TENANT-B-0'), 'a test');
select count(*) > 0 as told from payout.notification where merchant_id = 'TENANTBBB2';
analyze payout.payout, payout.transfer;

-- All that an error says, the ids of those asked for apart; or the answer. Without the lines of the context that only a function's first call in a session has.
create function test.all_said(statement text, variadic ids text[] default '{}') returns text language plpgsql as $$
declare
	said text; detail text; hint text; context text; id text; answer text;
begin
	execute statement into answer;
	answer := coalesce(answer, 'null');
	raise sqlstate 'UNDO0';
exception when others then
	get stacked diagnostics said = message_text, detail = pg_exception_detail, hint = pg_exception_hint, context = pg_exception_context;
	if sqlstate <> 'UNDO0' then
		answer := concat_ws(' | ', sqlstate, said, detail, hint, regexp_replace(context, 'SQL expression [^\n]*\n', '', 'g'));
	end if;
	foreach id in array ids loop
		answer := replace(answer, id, 'ID');
	end loop;
	return answer;
end $$;
grant usage on schema test to public;
grant execute on all functions in schema test to public;
grant select on test.token to public;
create table test.foreign_id as
select 'txid' as kind, test.txid(r) as theirs, 'TENANTBBB20720260101000000' || n as nobodys from (values ('TENANT-B-0', 'ZZZ0'), ('TENANT-B-1', 'ZZZ1'), ('TENANT-B-2', 'ZZZ2'), ('TENANT-B-3', 'ZZZ3')) v (r, n)
union all values ('reference', 'TENANT-B-1', 'TENANT-NONE1');
grant select on test.foreign_id to public;

-- As A, of its own merchant: another's TXID and reference number are answered as none is
set role tenant_a;
create temporary table asked as
select f.call, i.theirs, test.all_said(format(f.call, 'TENANTAAA1', i.theirs), i.theirs) as of_theirs, test.all_said(format(f.call, 'TENANTAAA1', i.nobodys), i.nobodys) as of_nobodys
from (values ('txid', 'select payout.inquiry(%L, %L)'), ('txid', 'select payout.approve(%L, %L)'), ('txid', 'select payout.reject(%L, %L, ''x'')'), ('txid', 'select payout.cancel(%L, %L, ''x'')'),
	('txid', 'select payout.request_check(%L, %L)'), ('txid', 'select payout.resend_notification(%L, %L)'), ('txid', 'select payout.reissue_token(%L, %L)'), ('txid', 'select payout.approve_batch(%L, array[%L])'),
	('reference', 'select payout.inquiry_reference(%L, %L)')) f (kind, call) join test.foreign_id i on i.kind = f.kind;
select count(*), count(*) filter (where of_theirs = of_nobodys) as the_same, count(*) filter (where of_theirs ~ 'PY003') as no_such_payout from asked;
select call, of_theirs, of_nobodys from asked where of_theirs is distinct from of_nobodys;
select theirs from test.foreign_id where kind = 'txid' order by 1 limit 1 \gset
call payout.check_status('TENANTAAA1', :'theirs', '0 s');
call payout.check_status('TENANTAAA1', 'TENANTBBB20720260101000000ZZZ1', '0 s');
-- in another's name: whether there is such a merchant is not told either
select call, test.all_said(format(call, 'TENANTBBB2', theirs), theirs, 'TENANTBBB2') = test.all_said(format(call, 'TENANTNONE', theirs), theirs, 'TENANTNONE') as the_same, left(test.all_said(format(call, 'TENANTBBB2', theirs)), 5) as refused
from (select distinct call from asked union values ('select payout.balance(%L)'), ('select payout.register_cashout(%L, ''TENANT-B-3'', 1, ''x'', ''0812'')'), ('select payout.register_batch(%L, ''[]'')'),
	('select payout.register(%L, ''TENANT-B-1'', 10000, ''TENANTBANK'', ''8811111111'', ''Budi Santoso'')')) c (call), (select :'theirs' as theirs) t order by 1;
call payout.check_status('TENANTBBB2', :'theirs', '0 s');
call payout.check_status('TENANTNONE', :'theirs', '0 s');
-- unique keys: A uses B's reference numbers as if nobody had, with other content too, alone and in a batch
select test.all_said($$select state from payout.register('TENANTAAA1', 'TENANT-B-1', 77000, 'TENANTBANK', '8822222222', 'Siti')$$) as used_by_b, test.all_said($$select state from payout.register('TENANTAAA1', 'TENANT-NONE1', 77000, 'TENANTBANK', '8822222222', 'Siti')$$) as free;
select ordinal, state, sqlstate from payout.register_batch('TENANTAAA1', '[{"reference_no": "TENANT-B-2", "amount": 5000, "bank_code": "TENANTBANK", "account_no": "8811111111", "beneficiary_name": "Budi"},
	{"reference_no": "TENANT-B-3", "amount": 5000, "bank_code": "TENANTBANK", "account_no": "8811111111", "beneficiary_name": "Budi"}]');
select test.all_said($$select state from payout.register_cashout('TENANTAAA1', 'TENANT-B-X1', 100, 'Siti', '0812')$$);
-- B's money and B's limits move nothing of A's
select available, in_transit from payout.balance('TENANTAAA1');

-- views: whatever is asked, only A's rows are seen
select count(*) filter (where merchant_id <> 'TENANTAAA1') as of_others, count(*) as own from payout.v_payout;
select count(*) filter (where merchant_id <> 'TENANTAAA1') as of_others, count(*) as own from payout.v_statement;
select count(*) from payout.v_payout where merchant_id = 'TENANTBBB2' or txid = :'theirs' or reference_no like 'TENANT-B-X%';
select exists (select from payout.v_payout where merchant_id = 'TENANTBBB2') as by_exists, (select max(amount) from payout.v_statement where merchant_id = 'TENANTBBB2') as by_max;
-- functions of A's own, cheap and leaky, in every place of a query; they would be called first if they could
create temporary table seen (value text);
create function pg_temp.leak(value text) returns boolean language plpgsql cost 0.0000001 as $$ begin insert into seen values (value); return true; end $$;
create operator pg_temp.<<< (leftarg = text, rightarg = text, function = textne, restrict = eqsel);
select count(*) from payout.v_payout where pg_temp.leak(merchant_id) and pg_temp.leak(reference_no);
select count(*) from payout.v_statement where pg_temp.leak(merchant_id) or pg_temp.leak(reference_no);
select count(*) from payout.v_payout p join payout.v_statement s on pg_temp.leak(p.merchant_id) and pg_temp.leak(s.merchant_id) where p.txid = s.txid;
select count(*) from payout.v_payout group by pg_temp.leak(merchant_id) having pg_temp.leak(max(merchant_id));
select count(*) > 0 from (select 1 from payout.v_payout order by pg_temp.leak(merchant_id)) s;
select count(*) from payout.v_payout where merchant_id operator(pg_temp.<<<) 'x';
select count(*) > 0 as called, count(*) filter (where value like 'TENANTB%') as leaked from seen;
-- errors: none is raised by a row of B's
select count(*) from payout.v_payout where reference_no <> 'TENANT-A-1' and reference_no not like 'TENANT-B-_' and reference_no::integer = 1;
select count(*) from payout.v_statement where 1 / (case when merchant_id = 'TENANTBBB2' then 0 else 1 end) = 1 and reference_no is not null;
reset role;
-- plans: what is expected of B's rows is what is expected of nobody's, and no row of B's is looked at
create function test.plan(statement text) returns jsonb language plpgsql as $$
declare answer jsonb;
begin
	execute 'explain (format json, analyze, buffers off, timing off, summary off) ' || statement into answer;
	return answer;
end $$;
create function test.numbers(statement text) returns text language sql as $$
select string_agg(v #>> '{}', ' ' order by n) from jsonb_path_query(test.plan(statement), 'strict $.**."Plan Rows"') with ordinality p (v, n)
$$;
create function test.looked_at(statement text) returns numeric language sql as $$
select coalesce(sum((v #>> '{}')::numeric), 0) from (
	select * from jsonb_path_query(test.plan(statement), 'strict $.**."Rows Removed by Filter"') union all select * from jsonb_path_query(test.plan(statement), 'strict $.**."Rows Removed by Join Filter"')
	union all select * from jsonb_path_query(test.plan(statement), 'strict $.**."Rows Removed by Index Recheck"')) x (v)
$$;
grant execute on all functions in schema test to public;
create table test.question as
select v, format('select * from payout.%s where %s', v, q) as of_b, replace(replace(format('select * from payout.%s where %s', v, q), 'TENANTBBB2', 'TENANTNONE'), 'TENANT-B-1', 'TENANT-NONE') as of_none
from unnest(array['v_payout', 'v_statement']) v, unnest(array[$$merchant_id = 'TENANTBBB2'$$, $$merchant_id >= 'TENANTBBB2' and merchant_id <= 'TENANTBBB2'$$, $$merchant_id like 'TENANTBBB2%'$$,
	$$reference_no = 'TENANT-B-1' and merchant_id = 'TENANTBBB2'$$, $$reference_no = 'TENANT-B-1'$$, $$txid > 'TENANTBBB2' and txid < 'TENANTBBB2Z'$$]) q;
grant select on test.question to public;
set role tenant_a;
select of_b, test.numbers(of_b), test.numbers(of_none) as of_none from test.question where test.numbers(of_b) <> test.numbers(of_none);
set enable_seqscan = off;
select count(*) filter (where test.looked_at(of_b) = test.looked_at(of_none)) = count(*) as same_work, sum(test.looked_at(of_b)) < 100 as little from test.question;
reset enable_seqscan;
reset role;
-- that those who may know are told shows that there was something to hide
set role tenant_analyst;
select test.numbers($$select * from payout.v_payout where merchant_id = 'TENANTBBB2'$$) = test.numbers($$select * from payout.v_payout where merchant_id = 'TENANTNONE'$$) as same_estimates;
reset role;
-- statistics and the like are nobody's
set role tenant_a;
select count(*) from pg_stats where schemaname = 'payout';
select (select count(*) from payout.payout), 'never';
reset role;

-- tokens: of another store's reservation, of a used, replaced or mistyped token a store learns what it learns of an unknown one
select test.issue('TENANTBBB2', 'TENANT-B-4'), test.issue('TENANTBBB2', 'TENANT-B-5'), test.issue('TENANTBBB2', 'TENANT-B-6'), test.reissue('TENANT-B-6');
select test.validate('TENANTS1', 'TENANT-B-4', 'TENANT-R4'), test.validate('TENANTS1', 'TENANT-B-5', 'TENANT-R5'), test.confirm('TENANTS1', 'TENANT-B-5', 'TENANT-R5');
create table test.foreign_token as select * from (values ('reserved', test.token('TENANT-B-4')), ('used', test.token('TENANT-B-5')), ('replaced', test.earlier_token('TENANT-B-6')), ('mistyped', test.mistyped(test.token('TENANT-B-6'))), ('unknown', '0000000000000000')) t (what, token);
grant select on test.foreign_token to public;
set role tenant_s2;
select what, count(*), count(distinct said) as answers, min(left(said, 5)) as refused from (
	select t.what, test.all_said(format(c.call, 'TENANTS2', t.token, r.reference), t.token) = test.all_said(format(c.call, 'TENANTS2', '0000000000000000', r.reference), '0000000000000000') as the_same,
		test.all_said(format(c.call, 'TENANTS2', t.token, r.reference), t.token) as said
	from test.foreign_token t, (values ('select payout.cashout_validate(%1$L, %2$L, ''T'' || random(), %3$L)'), ('select payout.cashout_confirm(%1$L, %2$L, %3$L)')) c (call),
		(values ('TENANT-R4'), ('TENANT-R9')) r (reference)) s where the_same group by 1 order by 1;
select payout.cashout_validate('TENANTS1', (select token from test.foreign_token where what = 'reserved'), 'T1', 'TENANT-R4');
select payout.inquiry('TENANTBBB2', 'x');
reset role;
-- nothing of B's was changed by any of it
select string_agg(state, ' ' order by reference_no) from payout.payout where merchant_id = 'TENANTBBB2' and reference_no like 'TENANT-B-_';
select merchant_id, role_name from payout.payout_event where role_name like 'tenant%' and merchant_id <> 'TENANTAAA1';
drop table test.foreign_id, test.question, test.foreign_token;
drop owned by tenant_a, tenant_b, tenant_s2, tenant_analyst;
delete from payout.access_grant where role_name::text like 'tenant%';
drop role tenant_a, tenant_b, tenant_s2, tenant_analyst;
select check_name, detail from payout.verify();
