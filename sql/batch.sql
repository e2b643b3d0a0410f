-- batch.sql: many payouts in one call: each item its own result, the sets and the single ways the same.
\getenv tree PG_ABS_SRCDIR
\set fixture :tree /sql/include/fixture.inc
\i :fixture
\set cashout :tree /sql/include/cashout.inc
\i :cashout
select test.set_up('BATCHES001', 'BATCHCH', 'BATCHBANK', 100000, '{"fee": {"online": {"flat": 10}}, "notify_events": ["payout.approved"]}', '{}', 'https://merchant.example/hook');
select test.set_up('BATCHES002', 'BATCHCH', 'BATCHBANK', 100000);
select test.open_store('BATCHCVS');
create function test.batch_item(p_reference text, p_amount text, p_more jsonb default '{}') returns jsonb language sql as $$
select jsonb_build_object('reference_no', p_reference, 'amount', p_amount, 'bank_code', 'BATCHBANK', 'account_no', '8811111111', 'beneficiary_name', 'Budi Santoso') || p_more $$;
create view test.registered as select reference_no, state, amount, fee, method, channel_id, bank_code, account_no, beneficiary_name, beneficiary_phone, description, options,
	account_check, check_due_at is not null as is_asked, check_deadline_at - check_due_at as asked_for, registered_at is not null as has_time, scheduled_at is not null as is_scheduled, events
	from payout.payout where merchant_id in ('BATCHES001', 'BATCHES002') and reference_no like 'QB%';
-- one of each kind
select ordinal, txid is not null as has_txid, state, sqlstate from payout.register_batch('BATCHES001', jsonb_build_array(
	test.batch_item('QB1', '10000'), test.batch_item('QB2', '20000.50', '{"beneficiary_phone": "+62 812", "description": "rent"}'), test.batch_item('QB1', '10000'), test.batch_item('QB1', '10001'),
	test.batch_item('QB3', '90000'), test.batch_item('QB4', '5', '{"bank_code": "NOBANK"}'), test.batch_item('QB5', '-5'), test.batch_item('QB6', 'x'), test.batch_item('QB7', '5', '{"colour": "red"}'),
	7, null, '{}'::jsonb, test.batch_item('QB8', '500', jsonb_build_object('scheduled_at', now() + interval '1 day')), test.batch_item('QB9', '1.234'), test.batch_item(repeat('B', 41), '1'),
	test.batch_item('QBA', '7', '{"options": {}}'), test.batch_item('QBB', '7', '{"options": {"colour": 1}}'), test.batch_item('QBC', '7', '{"method": "overbooking"}'),
	test.batch_item('QBD', '7', '{"beneficiary_name": "   "}'), test.batch_item('QBE', '7', '{"account_no": null}'), test.batch_item('QBF', '7') || '{"amount": 7.5}', test.batch_item('QBG', '99999999999999999')));
-- a set writes what a single call writes
select state from payout.register('BATCHES002', 'QB1', 10000, 'BATCHBANK', '8811111111', 'Budi Santoso');
select count(*) as kinds from (select distinct to_jsonb(r) - 'asked_for' from test.registered r where reference_no = 'QB1') d;
select * from test.registered where reference_no in ('QB2', 'QB8');
select e.event_no, e.event, e.from_state, e.to_state, e.reason, count(*) from payout.payout_event e join payout.payout p using (merchant_id, txid)
	where p.merchant_id = 'BATCHES001' group by 1, 2, 3, 4, 5 order by 1;
-- a repeat answers the same
select count(distinct (b.txid, b.state)) from (select * from payout.register_batch('BATCHES001', jsonb_build_array(test.batch_item('QB1', '10000'), test.batch_item('QB3', '90000')))
	union all select * from payout.register_batch('BATCHES001', jsonb_build_array(test.batch_item('QB1', '10000'), test.batch_item('QB3', '90000')))) b;
select test.sqlstate_of(format('select payout.register_batch(%L, %L::jsonb)', m, i)) from (values ('BATCHES001', '{}'), ('BATCHES001', null), ('BATCHES001', '7'), ('NOMERCHANT', '[]'),
	('BATCHES001', (select jsonb_agg(1) from generate_series(1, 10001))::text), ('BATCHES001', '[]')) v (m, i);
-- bounds: nesting, and bytes of all items together
select ordinal, state, sqlstate, message from payout.register_batch('BATCHES001', jsonb_build_array(test.batch_item('QBN1', '5', '{"reference_no": []}'), test.batch_item('QBN2', '5', '{"beneficiary_name": {"a": 1}}'),
	test.batch_item('QBN3', '5', '{"amount": [5]}'), test.batch_item('QBN4', '5', jsonb_build_object('description', (repeat('[', 500) || repeat(']', 500))::jsonb)), test.batch_item('QBN5', '5', '{"options": {"a": {}}}')));
select test.sqlstate_of(format('select payout.register_batch(%L, jsonb_build_array(jsonb_build_object(%L, repeat(%L, %s))))', 'BATCHES001', 'description', 'x', n)) from unnest('{16777000,16777200}'::integer[]) n;
select count(*) from payout.payout where reference_no like 'QBN%' or reference_no = '[]';
-- rules of the merchant
select payout.alter_merchant('BATCHES001', '{"limits": {"online": {"min": 100, "max": 30000}, "daily_total": 40000}}') is not null as altered;
select ordinal, state, sqlstate from payout.register_batch('BATCHES001', jsonb_build_array(test.batch_item('QBL1', '99.99'), test.batch_item('QBL2', '100'), test.batch_item('QBL3', '30000.01'), test.batch_item('QBL4', '30000')));
-- who fits goes through, the first ones first: the day's total, then the balance
select test.issue('BATCHES001', 'QBCASH', 1000), test.register_cashout('BATCHES001', 'QBCASH2', 1000);
select u.ordinal, p.reference_no, u.state, u.cashout_token is not null as has_token, u.sqlstate from payout.approve_batch('BATCHES001',
	array(select txid from payout.payout where reference_no in ('QB1', 'QB2', 'QB3', 'QBF', 'QBL2', 'QBL4', 'QB8', 'QBCASH', 'QBCASH2') and merchant_id = 'BATCHES001' order by reference_no)
	|| array['nothing', null, (select txid from payout.payout where merchant_id = 'BATCHES002' and reference_no = 'QB1')]) u left join payout.payout p on p.txid = u.txid order by 1;
select payout.alter_merchant('BATCHES001', '{"limits": null}') is not null as altered;
select u.ordinal, p.reference_no, u.state, u.sqlstate from payout.approve_batch('BATCHES001',
	array(select txid from payout.payout where reference_no in ('QB1', 'QB3', 'QBL4', 'QBA') and merchant_id = 'BATCHES001' order by reference_no)
	|| array(select txid from payout.payout where reference_no in ('QBA') and merchant_id = 'BATCHES001')) u left join payout.payout p on p.txid = u.txid order by 1;
select * from payout.balance('BATCHES001');
-- a set writes what a single call writes
select payout.alter_merchant('BATCHES002', '{"fee": {"online": {"flat": 10}}, "notify_events": ["payout.approved"], "notify_url": "https://merchant.example/hook"}') is not null as altered;
select (payout.approve('BATCHES002', txid)).state from payout.payout where merchant_id = 'BATCHES002' and reference_no = 'QB1';
select count(*) as kinds from (select distinct to_jsonb(r) - 'asked_for' from test.registered r where reference_no = 'QB1') d;
select p.merchant_id, e.event_no, e.event, e.from_state, e.to_state, n.state as told from payout.payout_event e join payout.payout p using (merchant_id, txid)
	left join payout.notification n using (merchant_id, txid, event_no) where p.reference_no = 'QB1' and p.merchant_id like 'BATCHES00_' order by 1, 2;
select p.merchant_id, t.kind, t.debit_account, t.credit_account, t.amount from payout.transfer t join payout.payout p using (merchant_id, txid) where p.reference_no = 'QB1' and p.merchant_id like 'BATCHES00_' order by 1, 2;
-- an account that the bank has confirmed goes on at once
select count(*) from payout.register_batch('BATCHES002', jsonb_build_array(test.batch_item('QBM1', '5'), test.batch_item('QBM2', '5'), test.batch_item('QBM3', '5')));
update payout.payout set account_check = case reference_no when 'QBM1' then 'matched' when 'QBM2' then 'invalid' else 'name_differs' end, check_due_at = null where reference_no in ('QBM1', 'QBM2', 'QBM3');
select u.state, u.sqlstate from payout.approve_batch('BATCHES002', array(select txid from payout.payout where reference_no in ('QBM1', 'QBM2', 'QBM3') order by reference_no)) u order by u.ordinal;
select p.reference_no, p.state, p.dispatch_due_at is not null as is_due, h.lane as held from payout.payout p left join payout.hold h on h.txid = p.txid where reference_no in ('QBM1', 'QBM2', 'QBM3') order by 1;
select test.sqlstate_of(format('select payout.approve_batch(%L, %L::text[])', m, i)) from (values ('BATCHES001', null), ('NOMERCHANT', '{}'), ('BATCHES001', (select array_agg('x'::text) from generate_series(1, 10001))::text), ('BATCHES001', '{}')) v (m, i);
-- an inactive merchant
select payout.alter_merchant('BATCHES002', '{"active": false}') is not null as altered;
select ordinal, state, sqlstate from payout.register_batch('BATCHES002', jsonb_build_array(test.batch_item('QBI', '5')));
select u.sqlstate from payout.approve_batch('BATCHES002', array(select txid from payout.payout where reference_no = 'QBM2')) u;
-- nothing remains of a call that is rolled back
begin;
select count(*) from payout.register_batch('BATCHES001', jsonb_build_array(test.batch_item('QBR', '5')));
select u.state from payout.approve_batch('BATCHES001', array(select txid from payout.payout where reference_no = 'QBR')) u;
rollback;
select count(*) from payout.payout where reference_no = 'QBR';
select check_name, detail from payout.verify();
