-- maker_checker.sql: who may approve: another role than the one that registered, two roles above an amount, and so much by one role on a day.
\getenv tree PG_ABS_SRCDIR
\set fixture :tree /sql/include/fixture.inc
\i :fixture
\set cashout :tree /sql/include/cashout.inc
\i :cashout
select test.set_up('MAKERCHECK', 'MAKERCH', 'MAKERBANK', 100000000, '{"fee": {"online": {"flat": 10}}, "notify_events": ["approval.given", "payout.approved"]}', '{}', 'https://merchant.example/hook');
create role payout_test_maker; create role payout_test_checker; create role payout_test_boss; create role payout_test_operator;
select count(payout.grant_access('payout_test_' || r, 'merchant', 'MAKERCHECK')) as granted from unnest(array['maker', 'checker', 'boss']) r;
select payout.grant_access('payout_test_operator', 'operator');

-- What a statement answers when a role runs it, or its SQLSTATE; what it did before it failed is undone.
create function test.as_role(p_role text, p_statement text) returns text language plpgsql as $$
declare
	answer text;
begin
	perform set_config('role', p_role, true);
	begin
		execute p_statement into answer;
	exception when others then
		answer := sqlstate;
	end;
	perform set_config('role', 'none', true);
	return answer;
end $$;
create function test.made(p_reference text, p_amount numeric, p_role text default 'payout_test_maker', p_scheduled_at timestamptz default null) returns text language sql as $$
	select test.as_role(p_role, format('select state from payout.register(%L, %L, %s, %L, %L, %L, scheduled_at => %L)', 'MAKERCHECK', p_reference, p_amount, 'MAKERBANK', '8811111111', 'Budi', p_scheduled_at)) $$;
create function test.made_cashout(p_reference text, p_amount numeric) returns text language sql as $$
	select test.as_role('payout_test_maker', format('select state from payout.register_cashout(%L, %L, %s, %L, %L)', 'MAKERCHECK', p_reference, p_amount, 'Budi', '0811')) $$;
create function test.approved(p_reference text, p_role text) returns text language sql as $$
	select test.as_role(p_role, format('select concat_ws('' '', state, case when cashout_token <> '''' then ''token'' end) from payout.approve(%L, %L)', 'MAKERCHECK', test.txid(p_reference))) $$;
create function test.approved_batch(p_role text, variadic p_references text[]) returns text language sql as $$
	select test.as_role(p_role, format('select string_agg(coalesce(sqlstate, state || coalesce('' ('' || message || '')'', '''')), '', '' order by ordinal) from payout.approve_batch(%L, %L)', 'MAKERCHECK',
		(select array_agg(test.txid(r) order by n) from unnest(p_references) with ordinality u (r, n)))) $$;
-- What the records say of a payout's approvals.
create function test.approvals(p_reference text) returns text language sql as $$
	select format('%s, approvals %s: %s', p.state, coalesce(p.approvals::text, '-'), coalesce(string_agg(format('%s %s %s>%s (%s%s%s)', replace(e.role_name, 'payout_test_', ''), e.event, e.from_state, e.to_state, a.needed,
		case when a.differs then ', differs' end, case when a.day is not null then ', counted' end), ', ' order by e.event_no) filter (where a.txid is not null), 'none'))
	from payout.payout p left join payout.payout_approval a on a.txid = p.txid left join payout.payout_event e on e.txid = a.txid and e.event_no = a.event_no
	where p.reference_no = p_reference group by p.txid, p.state, p.approvals $$;
create function test.rules(p_options jsonb) returns jsonb language sql as $$
	select (payout.alter_merchant('MAKERCHECK', '{"approver_differs": null, "second_approval_above": null, "approver_daily_max": null, "limits": null}'::jsonb || p_options)).options - 'fee' - 'notify_events' $$;

-- the options: checked, and an operator's alone
select o, test.sqlstate_of(format('select payout.alter_merchant(%L, %L)', 'MAKERCHECK', o)) from unnest(array[
	'{"approver_differs": "yes"}', '{"approver_differs": 1}', '{"second_approval_above": -1}', '{"second_approval_above": "much"}', '{"second_approval_above": 1.001}', '{"second_approval_above": true}', '{"second_approval_above": []}',
	'{"approver_daily_max": 1e17}', '{"approver_daily_max": "NaN"}', '{"approver_daily_max": {}}', '{"approver_max": 1}']) o;
select r, test.as_role('payout_test_' || r, $$select 'altered' from payout.alter_merchant('MAKERCHECK', '{"second_approval_above": "100.50", "approver_daily_max": 1000.25, "approver_differs": true}')$$)
from unnest(array['maker', 'checker', 'operator']) r;

-- no rules: whoever registered approves, and nothing is written of it
select test.rules('{"approver_differs": false}');
select test.made('MC1', 100), test.approved('MC1', 'payout_test_maker'), test.approvals('MC1');
select test.made('MC2', 100), test.approved_batch('payout_test_maker', 'MC2'), test.approvals('MC2');

-- another role approves than the one that registered
select test.rules('{"approver_differs": true}');
select test.made('MD1', 100), test.approved('MD1', 'payout_test_maker'), test.approved_batch('payout_test_maker', 'MD1', 'MC1');
select test.refusal(format('set local role payout_test_maker; select payout.approve(%L, %L)', 'MAKERCHECK', test.txid('MD1')), 'payout_test_maker');
select test.approvals('MD1'), test.money('MD1'), (test.payout('MD1')).events;
select test.approved('MD1', 'payout_test_checker'), test.approvals('MD1'), test.money('MD1');
-- the same answer to both from now on
select test.approved('MD1', 'payout_test_maker'), test.approved('MD1', 'payout_test_boss'), test.approvals('MD1');
-- sets of them
select test.as_role('payout_test_maker', $$select string_agg(state, ' ') from payout.register_batch('MAKERCHECK', (select jsonb_agg(jsonb_build_object('reference_no', 'MD' || i, 'amount', 100, 'bank_code', 'MAKERBANK', 'account_no', '1', 'beneficiary_name', 'Budi')) from generate_series(2, 4) i))$$);
select test.made('MD5', 100, 'payout_test_checker');
select test.approved_batch('payout_test_maker', 'MD2', 'MD3', 'MD5'), test.approved_batch('payout_test_checker', 'MD2', 'MD3', 'MD2', 'MD5');
select test.approvals('MD2'), test.approvals('MD5');
-- the owner is a role as any other, by hand, too
select test.register('MAKERCHECK', 'MAKERBANK', 'MD6'), test.sqlstate_of(format('select payout.approve(%L, %L)', 'MAKERCHECK', test.txid('MD6')));
select test.sqlstate_of($$update payout.payout set state = 'approved' where reference_no = 'MD6'$$), test.approved('MD6', 'payout_test_maker');
-- scheduled ones
select test.made('MD7', 100, 'payout_test_maker', payout.clock() + interval '1 day'), test.approved('MD7', 'payout_test_maker'), test.approved('MD7', 'payout_test_checker');
-- cashouts: the token, and each other token
select test.made_cashout('MD8', 100), test.approved('MD8', 'payout_test_maker'), (select count(*) from payout.cashout_token where txid = test.txid('MD8')) as tokens, test.approved('MD8', 'payout_test_checker');
select r, test.as_role('payout_test_' || r, format('select length(cashout_token) from payout.reissue_token(%L, %L)', 'MAKERCHECK', test.txid('MD8'))) from unnest(array['maker', 'checker', 'boss']) r;

-- two roles above an amount
select test.rules('{"second_approval_above": 500}');
select test.made('ME1', 500), test.approved('ME1', 'payout_test_maker'), test.approvals('ME1');
select test.made('ME2', 500.01), test.approved('ME2', 'payout_test_maker'), test.approvals('ME2'), test.money('ME2');
-- what an application sees of it
select test.as_role('payout_test_maker', format('select approvals from payout.inquiry(%L, %L)', 'MAKERCHECK', test.txid('ME2'))), (select approvals from payout.v_payout where reference_no = 'ME2');
select test.notified('ME2');
-- the same role once more: nothing
select test.approved('ME2', 'payout_test_maker'), test.approved_batch('payout_test_maker', 'ME2', 'ME2'), test.approvals('ME2'), (test.payout('ME2')).events;
select test.as_role('payout_test_maker', format('select payout.do_approve(%L, %L)', 'MAKERCHECK', test.txid('ME2')));
select test.approved('ME2', 'payout_test_checker'), test.approvals('ME2'), test.money('ME2'), test.notified('ME2');
-- by hand the money waits for the second as well
select test.made('ME3', 501), test.sqlstate_of($$update payout.payout set state = 'approved' where reference_no = 'ME3'$$), test.sqlstate_of($$update payout.payout set state = 'scheduled' where reference_no = 'ME3'$$);
select test.approved_batch('payout_test_boss', 'ME3'), test.approved_batch('payout_test_maker', 'ME3'), test.approvals('ME3');
-- cashouts
select test.made_cashout('ME4', 501), test.approved('ME4', 'payout_test_checker'), test.approved('ME4', 'payout_test_checker'), test.approvals('ME4'), test.approved('ME4', 'payout_test_boss'), test.approvals('ME4');
select test.sqlstate_of(format('select payout.do_reissue_token(%L, %L)', 'MAKERCHECK', test.txid('ME4')));
-- a schedule
select test.made('ME5', 501, 'payout_test_maker', payout.clock() + interval '1 day'), test.approved('ME5', 'payout_test_checker'), test.approved('ME5', 'payout_test_maker'), test.approvals('ME5');
-- the first approval obeys the other rules, but needs no money
select test.made('ME6', 99000000), test.made('ME7', 99000000), test.approved('ME6', 'payout_test_checker'), test.approved('ME7', 'payout_test_checker'), test.approved('ME6', 'payout_test_boss'), test.approved('ME7', 'payout_test_boss'), test.approvals('ME7');
update payout.payout set account_check = 'invalid', check_due_at = null where reference_no = 'ME7';
select test.approved('ME7', 'payout_test_boss'), test.approved('ME7', 'payout_test_checker');
select test.made('ME8', 501), (payout.alter_merchant('MAKERCHECK', '{"active": false}')).active, test.approved('ME8', 'payout_test_checker'), (payout.alter_merchant('MAKERCHECK', '{"active": true}')).active;
-- an approval ends with its payout
select test.approved('ME8', 'payout_test_checker'), test.as_role('payout_test_maker', format('select state from payout.reject(%L, %L, %L)', 'MAKERCHECK', test.txid('ME8'), 'wrong')), test.approved('ME8', 'payout_test_boss'), test.approvals('ME8');
select test.made('ME9', 501), test.approved('ME9', 'payout_test_boss'), test.approvals('ME9');
-- the rule goes: one is enough, and it may be the same
select test.rules('{}'), test.approved('ME9', 'payout_test_boss'), test.approvals('ME9');
-- no approvals are counted by hand where none are asked for, nor of other states
select test.made('ME10', 501), test.sqlstate_of($$update payout.payout set approvals = 1 where reference_no = 'ME10'$$);

-- both
select test.rules('{"approver_differs": true, "second_approval_above": 500}');
select test.sqlstate_of($$update payout.payout set approvals = 9 where reference_no = 'ME9'$$);
select test.made('MF1', 501), test.approved('MF1', 'payout_test_maker'), test.approved('MF1', 'payout_test_checker'), test.approved('MF1', 'payout_test_maker'), test.approvals('MF1'), test.approved('MF1', 'payout_test_boss'), test.approvals('MF1');
select test.made('MF2', 500), test.approved('MF2', 'payout_test_maker'), test.approved('MF2', 'payout_test_checker'), test.approvals('MF2');
-- who registered approved while that was allowed: it does not count once it is not
select test.rules('{"second_approval_above": 500}'), test.made('MF3', 501), test.approved('MF3', 'payout_test_maker');
select test.rules('{"approver_differs": true, "second_approval_above": 500}'), test.approved('MF3', 'payout_test_checker'), test.approvals('MF3');
select test.approved('MF3', 'payout_test_checker'), test.approved('MF3', 'payout_test_boss'), test.approvals('MF3');

-- so much by one role on a day: amounts, without fees
select test.rules('{"approver_daily_max": 1000}');
select test.made('MG1', 600), test.made('MG2', 400.01), test.made('MG3', 400), test.made('MG4', 0.01), test.made('MG5', 1000.01);
select test.approved('MG1', 'payout_test_checker'), test.approved('MG2', 'payout_test_checker'), test.money('MG2'), test.approvals('MG2'), test.approved('MG3', 'payout_test_checker'), test.approved('MG4', 'payout_test_checker');
select test.approved('MG5', 'payout_test_boss'), test.approved_batch('payout_test_boss', 'MG5', 'MG2', 'MG4', 'MG1'), test.approvals('MG1'), test.approvals('MG2');
select replace(role_name, 'payout_test_', '') as role, total, day = payout.jakarta_day(now()) as today from payout.approver_day where merchant_id = 'MAKERCHECK' order by 1;
-- given back by a rollback, and by a refusal that comes after
begin;
savepoint s;
select test.made('MG6', 500), test.approved('MG6', 'payout_test_boss');
rollback to s;
select total from payout.approver_day where merchant_id = 'MAKERCHECK' and role_name = 'payout_test_boss';
commit;
select test.made('MG7', 500), test.rules('{"approver_daily_max": 1000, "limits": {"daily_total": 1}}'), test.approved('MG7', 'payout_test_boss');
select test.rules('{"approver_daily_max": 1000}'), total from payout.approver_day where merchant_id = 'MAKERCHECK' and role_name = 'payout_test_boss';
-- another day's total does not count
begin;
alter table payout.approver_day disable trigger all;
update payout.approver_day set day = day - 1 where merchant_id = 'MAKERCHECK';
select test.made('MG8', 1000), test.approved('MG8', 'payout_test_checker');
rollback;
-- cashouts count; a rejection gives nothing back, and a repeat takes nothing
select test.made_cashout('MG9', 400), test.approved('MG9', 'payout_test_boss'), test.approved('MG9', 'payout_test_boss'), test.approvals('MG9'), test.made_cashout('MG10', 200), test.approved('MG10', 'payout_test_boss'), (select count(*) from payout.cashout_token where txid = test.txid('MG10')) as tokens;
select test.rules('{"approver_daily_max": 1000, "second_approval_above": 10}');
select test.made('MG11', 199.98), test.approved('MG11', 'payout_test_boss'), test.approved('MG11', 'payout_test_boss'), test.as_role('payout_test_boss', format('select state from payout.reject(%L, %L, %L)', 'MAKERCHECK', test.txid('MG11'), 'wrong'));
select total from payout.approver_day where merchant_id = 'MAKERCHECK' and role_name = 'payout_test_boss';
-- each of two approvals counts to its role, and one role's two of a payout count once
select test.made('MG12', 700), test.approved('MG12', 'payout_test_maker'), test.approved('MG12', 'payout_test_checker'), test.approvals('MG12'), test.rules('{"approver_daily_max": 1000}'), test.approved('MG12', 'payout_test_maker'), test.approvals('MG12');
select total from payout.approver_day where merchant_id = 'MAKERCHECK' and role_name = 'payout_test_maker';
-- zero: nobody
select test.rules('{"approver_daily_max": 0}'), test.made('MG13', 0.01), test.approved('MG13', 'payout_test_maker');
select test.rules('{}'), test.approved('MG13', 'payout_test_maker'), test.approvals('MG13');

-- the records are not changed
select s, test.sqlstate_of(s) from unnest(array['update payout.payout_approval set needed = 1', 'delete from payout.payout_approval', 'truncate payout.payout_approval', 'delete from payout.approver_day', 'truncate payout.approver_day']) s;
select check_name, detail from payout.verify();
delete from payout.access_grant where role_name::text like 'payout_test_%';
drop owned by payout_test_maker, payout_test_checker, payout_test_boss, payout_test_operator;
drop role payout_test_maker, payout_test_checker, payout_test_boss, payout_test_operator;
drop function test.as_role(text, text), test.made(text, numeric, text, timestamptz), test.made_cashout(text, numeric), test.approved(text, text), test.approved_batch(text, text[]), test.approvals(text), test.rules(jsonb);
