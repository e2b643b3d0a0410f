-- batch_singly.sql: what a batch does in C as a set, and each item by itself (do_register_batch, do_approve_batch), leave the
-- same answers and the same rows.
\getenv tree PG_ABS_SRCDIR
\set fixture :tree /sql/include/fixture.inc
\i :fixture
create function test.ways() returns setof text language sql as $$ values ('BATCHWAYS1'), ('BATCHWAYS2') $$;
select count(test.set_up(m, 'WAYSCH', 'WAYSBANK', 200000,
	'{"fee": {"online": {"flat": 25, "bps": 10}}, "limits": {"online": {"min": 2, "max": 90000}, "daily_total": 150000}, "notify_events": ["payout.approved"]}', '{}', 'https://merchant.example/hook')) from test.ways() m;
create table test.item (ordinal integer generated always as identity, item jsonb);
create function test.base(p_reference text) returns jsonb language sql as $$
select jsonb_build_object('reference_no', p_reference, 'amount', 1000.5, 'bank_code', 'WAYSBANK', 'account_no', '8811111111', 'beneficiary_name', 'Budi Santoso') $$;
-- amounts, as numbers and as texts
insert into test.item (item) select test.base('QWA' || n) || jsonb_build_object('amount', a) from unnest(array['7', '7.5', '7.50', '7.505', '7.', '.5', '0', '0.00', '0.01', '1.99', '2', '0002', ' 7', '+7', '-7', '7e1', '7,5', '', 'x', 'NaN', 'Infinity',
	'90000', '90000.01', '9999999999999999.99', '10000000000000000', '99999999999999999', '0x7', E'7\n']) with ordinality u (a, n);
insert into test.item (item) select test.base('QWB' || n) || jsonb_build_object('amount', a) from unnest('{7,7.5,7.50,7.505,0,-7,1e2,70000e-4,1e-1,1.99,2,90000,90000.01,9999999999999999.99,10000000000000000}'::numeric[]) with ordinality u (a, n);
-- texts, at and past their bounds
insert into test.item (item) select test.base(r) from unnest(array[rpad('QWC', 40, 'x'), rpad('QWC', 41, 'x'), 'QWC 1', 'QWCé', '', '[QWC]', '{QWC']) r;
insert into test.item (item) select test.base('QWD' || row_number() over ()) || jsonb_build_object(k, v) from (values ('beneficiary_name', repeat('é', 100)), ('beneficiary_name', repeat('é', 101)), ('beneficiary_name', '   '), ('beneficiary_name', '[x'),
	('beneficiary_name', E'a\tb'), ('beneficiary_name', ''), ('description', repeat('d', 100)), ('description', repeat('d', 101)), ('description', ''), ('description', '{'), ('beneficiary_phone', '+62 (812) 3-4.5'), ('beneficiary_phone', repeat('1', 21)),
	('beneficiary_phone', 'abc'), ('beneficiary_phone', ''), ('account_no', repeat('A', 34)), ('account_no', repeat('A', 35)), ('account_no', '1-2'), ('account_no', ''), ('bank_code', 'NOBANK'), ('bank_code', 'W'), ('bank_code', repeat('W', 12)),
	('method', 'online'), ('method', 'Online'), ('method', 'overbooking'), ('method', 'skn'), ('method', ''), ('scheduled_at', '2000-01-01'), ('scheduled_at', 'never')) u (k, v);
-- other types
insert into test.item (item) select test.base('QWE' || n) || v::jsonb from unnest(array['{"account_no": 8811111111}', '{"account_no": 88.10}', '{"account_no": true}', '{"beneficiary_name": 7}', '{"beneficiary_name": false}', '{"beneficiary_name": null}',
	'{"beneficiary_phone": 62812}', '{"beneficiary_phone": null}', '{"description": null}', '{"method": null}', '{"scheduled_at": null}', '{"options": null}', '{"options": {}}', '{"options": []}', '{"options": {"x": 1}}', '{"amount": null}', '{"amount": true}',
	'{"bank_code": null}', '{"bank_code": {}}', '{"amount": [7]}', '{"description": []}', '{"colour": "red"}', '{"": 1}', '{"Amount": 7}']) with ordinality u (v, n);
insert into test.item (item) select test.base('x') || v::jsonb from unnest(array['{"reference_no": 990001}', '{"reference_no": "990001"}', '{"reference_no": 99.10}', '{"reference_no": true}', '{"reference_no": null}', '{"reference_no": []}', '{"reference_no": "[]"}']) v;
insert into test.item (item) values ('7'), ('null'), ('true'), ('"x"'), ('[]'), ('{}'), ('[{}]');
-- the same number twice and more: with the same content, with other content, after one that is wrong
insert into test.item (item) values (test.base('QWF1')), (test.base('QWF1')), (test.base('QWF1') || '{"amount": 8}'), (test.base('QWF2') || '{"amount": "x"}'), (test.base('QWF2')), (test.base('QWF2')), (test.base('QWF3')), (test.base('QWF3') || '{"colour": 1}'), (test.base('QWF3') || '{"amount": 1000.50}');
create table test.answered as select m as merchant_id, r.* from test.ways() m, (select jsonb_agg(item order by ordinal) as items from test.item) i,
	lateral (select * from payout.register_batch(m, i.items) where m = 'BATCHWAYS1' union all select * from payout.do_register_batch(m, i.items) where m = 'BATCHWAYS2') r;
-- TXIDs as the reference numbers that they belong to
create function test.named(p_text text) returns text language sql as $$ select coalesce((select replace(p_text, p.txid, p.reference_no) from payout.payout p where strpos(p_text, p.txid) > 0 and p.merchant_id like 'BATCHWAYS%'), p_text) $$;
create function test.differ() returns table (ordinal integer, merchant_id text, a text) language sql as $$
	select ordinal, merchant_id, a from (select ordinal, merchant_id, count(*) over (partition by ordinal, a) as ways, a
		from (select ordinal, merchant_id, replace(test.named(to_jsonb(t)::text), 'BATCHWAYS2', 'BATCHWAYS1') as a from test.answered t) t) u where ways <> 2 order by 1, 2 $$;
select sqlstate, count(*) from test.answered where merchant_id = 'BATCHWAYS1' group by 1 order by 1;
select * from test.differ();
create function test.comparable(t anyelement) returns jsonb language sql as $$
	select jsonb_object_agg(key, case when key in ('txid', 'transfer_id', 'merchant_id') then '"-"' when key ~ '_?at$' or key in ('content_salt', 'content_digest') then to_jsonb(value <> 'null') else value end) from jsonb_each(to_jsonb(t)) $$;
create function test.rows_of(p payout.payout) returns jsonb language sql as $$
	select jsonb_build_array(test.comparable(p), round(extract(epoch from p.check_deadline_at - p.check_due_at) / 60),
		(select jsonb_agg(test.comparable(e) order by e.event_no) from payout.payout_event e where e.txid = p.txid),
		(select jsonb_agg(test.comparable(t) order by t.kind) from payout.transfer t where t.txid = p.txid),
		(select jsonb_agg(test.comparable(n) order by n.event_no) from payout.notification n where n.txid = p.txid)) $$;
create function test.rows_differ() returns table (merchant_id text, reference_no text, made jsonb) language sql as $$
	select merchant_id, reference_no, r from (select p.merchant_id, p.reference_no, test.rows_of(p) as r, count(*) over (partition by p.reference_no, test.rows_of(p)) as ways
		from payout.payout p where p.merchant_id like 'BATCHWAYS%') u where ways <> 2 or r is null order by 2, 1 $$;
select merchant_id, count(*) from payout.payout where merchant_id like 'BATCHWAYS%' group by 1 order by 1;
select * from test.rows_differ();

-- approvals: of several states and account checks, with scheduled ones between, some twice, more than the day allows
update payout.payout set account_check = c, check_due_at = null, check_deadline_at = case when c = 'unavailable' then now() - interval '1 day' else check_deadline_at end
	from (values ('QWA1', 'matched'), ('QWA2', 'invalid'), ('QWA3', 'name_differs'), ('QWA11', 'unavailable'), ('QWA12', 'matched')) v (r, c) where reference_no = r and merchant_id like 'BATCHWAYS%';
select count(payout.reject(merchant_id, txid, 'wrong')), count(distinct merchant_id) from payout.payout where reference_no = 'QWB1' and merchant_id like 'BATCHWAYS%';
select count((payout.approve(merchant_id, txid)).state), count(distinct merchant_id) from payout.payout where reference_no = 'QWB2' and merchant_id like 'BATCHWAYS%';
select count((payout.register(m, 'QWS1', 5, 'WAYSBANK', '8811111111', 'Budi', scheduled_at => now() + interval '1 day')).state) from test.ways() m;
select count(r.txid) from test.ways() m, lateral (select * from payout.register_batch(m, jsonb_build_array(test.base('QWZ1') || '{"amount": 50000}', test.base('QWZ2') || '{"amount": 60000}', test.base('QWZ3') || '{"amount": 20000}', test.base('QWZ4') || '{"amount": 4}'))) r;
create function test.txids_of(p_merchant_id text) returns text[] language sql as $$
	select array_agg(txid order by reference_no) || array['nothing', null, ''] || array_agg(txid order by reference_no desc) filter (where reference_no like 'QWZ%' or reference_no like 'QWA%') from payout.payout where merchant_id = p_merchant_id $$;
drop table test.answered;
create table test.answered as select m as merchant_id, r.* from test.ways() m,
	lateral (select * from payout.approve_batch(m, test.txids_of(m)) where m = 'BATCHWAYS1' union all select * from payout.do_approve_batch(m, test.txids_of(m)) where m = 'BATCHWAYS2') r;
select state, sqlstate, count(*) from test.answered where merchant_id = 'BATCHWAYS1' group by 1, 2 order by 1, 2;
select ordinal, test.named(txid) as reference_no, state, sqlstate, message from test.answered where merchant_id = 'BATCHWAYS1' and test.named(txid) like 'QWZ%' order by 1;
select * from test.differ();
select * from test.rows_differ();
select a.available = b.available and a.in_transit = b.in_transit as same, a.available from payout.balance('BATCHWAYS1') a, payout.balance('BATCHWAYS2') b;
select (select count(*) from payout.verify_chain(m)) as broken from test.ways() m;

-- (a trigger whose function is in schema payout counts as ours, so the set is written at once)
-- a number that another session writes between the look for it and the writing: nothing of the set is kept, each goes by itself
create sequence test.row_written;
create function payout.meet_another() returns trigger language plpgsql as $$ begin
	if new.reference_no like 'QWR%' and nextval('test.row_written') = 2 then raise unique_violation; end if;
	return new;
end $$;
create trigger meet_another before insert on payout.payout for each row execute function payout.meet_another();
select ordinal, state, sqlstate from payout.register_batch('BATCHWAYS1', jsonb_build_array(test.base('QWR3'), test.base('QWR1'), test.base('QWR2')));
select last_value from test.row_written;
drop trigger meet_another on payout.payout;
select p.reference_no, p.events, count(e) from payout.payout p left join payout.payout_event e using (merchant_id, txid) where p.reference_no like 'QWR%' group by 1, 2 order by 1;
-- any other error ends the call
create or replace function payout.meet_another() returns trigger language plpgsql as $$ begin raise exception using errcode = 'P0007'; end $$;
create trigger meet_another before insert on payout.payout_event for each row execute function payout.meet_another();
select test.sqlstate_of(format('select payout.register_batch(%L, %L)', 'BATCHWAYS1', jsonb_build_array(test.base('QWR4'))));
drop trigger meet_another on payout.payout_event;
select count(*) from payout.payout where reference_no = 'QWR4';
-- a statement of somebody else within the set is no part of it: its change is made whole
create or replace function payout.meet_another() returns trigger language plpgsql as $$ begin
	if new.reference_no = 'QWR1' then perform payout.reject(new.merchant_id, test.txid('QWR2'), 'by a trigger'); end if;
	return new;
end $$;
create trigger meet_another before update on payout.payout for each row execute function payout.meet_another();
select ordinal, state, sqlstate from payout.approve_batch('BATCHWAYS1', array[test.txid('QWR1'), test.txid('QWR3')]);
drop trigger meet_another on payout.payout;
select p.reference_no, p.state, p.events, count(e), (select string_agg(t.kind || ' ' || t.amount, ', ' order by t.kind) from payout.transfer t where t.txid = p.txid) as money from payout.payout p left join payout.payout_event e using (merchant_id, txid) where p.reference_no like 'QWR%' group by 1, 2, 3, p.txid order by 1;

-- many: several pages, in no order
select count(*), count(distinct r.txid), count(r.sqlstate) from payout.register_batch('BATCHWAYS1', (select jsonb_agg(test.base('QWM' || i) || '{"amount": 2}' order by md5(i::text)) from generate_series(1, 450) i)) r;
select count(*), count(e.txid) from payout.payout p left join payout.payout_event e using (merchant_id, txid) where p.reference_no like 'QWM%';
select a.state, a.sqlstate, count(*) from payout.approve_batch('BATCHWAYS1', array(select txid from payout.payout where reference_no like 'QWM%' order by md5(txid))) a group by 1, 2;
select count(*), sum(t.amount) from payout.payout p join payout.transfer t using (merchant_id, txid) where p.reference_no like 'QWM%';
select count(*) as broken from payout.verify_chain('BATCHWAYS1');

-- nor does a batch write where nothing may be written, whatever is in it
begin read only;
select test.sqlstate_of(format('select payout.register_batch(%L, %L)', 'BATCHWAYS1', i)) from unnest(array['[]', '[7]', jsonb_build_array(test.base('QWX1'))::text]) i;
select test.sqlstate_of(format('select payout.approve_batch(%L, %L)', 'BATCHWAYS1', i)) from unnest(array['{}', '{x}', array[test.txid('QWR3')]::text]) i;
commit;
select check_name, detail from payout.verify();
drop table test.item, test.answered;
drop sequence test.row_written;
drop function test.ways(), test.base(text), test.named(text), test.differ(), test.comparable(anyelement), test.rows_of(payout.payout), test.rows_differ(), test.txids_of(text), payout.meet_another();
