-- notify.sql: lane notify without a worker: owed with the change, in order for each payout, retried, given up, sent again.
\getenv tree PG_ABS_SRCDIR
\set fixture :tree /sql/include/fixture.inc
\i :fixture
-- what other tests have left owed is delivered: nothing but this test's notifications is due here
update payout.notification set due_at = null, delivered_at = clock_timestamp() where due_at is not null;
select test.set_up('NOTIFY0001', 'NOTCH', 'NOTBANK', 1000000, '{"notify_events": ["payout.approved", "payout.paid", "payout.failed", "payout.rejected"]}', '{"mode": "single"}', 'https://merchant.example/hook');
select test.set_up('NOTIFY0002', 'NOTCH', 'NOTBANK', 1000000, '{}', '{"mode": "single"}');
select test.live() >= 0 as alive;
create function test.deliver(p_reference text, p_delivered boolean, p_life uuid default test.life(), p_released boolean default false) returns boolean language sql as
$$ select payout.record_notify(p_life, array[n.merchant_id], array[n.txid], array[n.event_no], array[case when p_delivered then 200 else 500 end],
	   array[case when not p_delivered then 'words' end], array[p_released]) = 1
   from payout.notification n where n.txid = test.txid(p_reference) and n.sending_by is not null $$;
create function test.owed(p_reference text) returns table (event text, place text, tries integer) language sql as
$$ select event, case when sending_by is not null then 'under way' when due_at > payout.clock() then 'later' when due_at is not null then 'due'
		when delivered_at is not null then 'delivered' when given_up_at is not null then 'given up' end, tries
   from payout.notification where txid = test.txid(p_reference) order by event_no $$;
-- owed in the transaction of the change, and not without it; by default and without a URL none
begin;
select test.pay('NOTIFY0001', 'NOTBANK', 'P0');
select count(*) from payout.notification where merchant_id = 'NOTIFY0001';
rollback;
select count(*) from payout.notification where merchant_id = 'NOTIFY0001';
select test.pay('NOTIFY0001', 'NOTBANK', 'P1'), test.pay('NOTIFY0002', 'NOTBANK', 'P2');
select test.send('NOTCH'), test.answer('P1', 'yes', 'ok'), test.answer('P2', 'yes', 'ok');
select * from test.owed('P1');
select * from test.owed('P2');
-- the body tells of the state, masks the account, and is frozen
select b ->> 'type' as type, b -> 'data' ->> 'state' as state, b -> 'data' ->> 'amount' as amount, b -> 'data' ->> 'account_no' as account_no,
	b -> 'data' ->> 'reference_no' as reference_no, b ->> 'timestamp' ~ '^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$' as has_time
from payout.notification n join payout.payout p using (merchant_id, txid), lateral (select payout.notification_body(n, p)::jsonb as b) j where txid = test.txid('P1') order by event_no;
-- the oldest first, the next only when that is delivered or given up
select event_no, url, tries, format, sealed_secrets from payout.claim_notify(test.life(), 10, '{}', 10, '');
select count(*) from payout.claim_notify(test.life(), 10, '{}', 10, '');
select * from test.owed('P1');
select test.deliver('P1', true, payout.new_id()) as other_life, test.deliver('P1', false) as recorded;
select * from test.owed('P1');
select count(*) from payout.claim_notify(test.life(), 10, '{}', 10, '');
update payout.notification set due_at = payout.clock() where txid = test.txid('P1');
select count(*) from payout.claim_notify(test.life(), 10, '{NOTIFY0001}', 10, '') as skipped;
select event_no, tries from payout.claim_notify(test.life(), 10, '{}', 10, '');
-- what the gate did not let go counts as no try
select test.deliver('P1', false, p_released => true) as released;
select * from test.owed('P1');
select event_no, tries from payout.claim_notify(test.life(), 10, '{}', 10, '');
select test.deliver('P1', true), test.deliver('P1', true) as again;
select * from test.owed('P1');
select event_no from payout.claim_notify(test.life(), 10, '{}', 10, '');
-- the worker dies: due again at once
select test.live() as orphans;
select * from test.owed('P1');
-- given up after the tries of the policy; a person may have all of them sent again
insert into payout.retry_policy (lane, source, base_ms, max_ms, tries_max) values ('notify', 'operator', 1, 1, 3);
select event_no, tries from payout.claim_notify(test.life(), 10, '{}', 10, '');
select test.deliver('P1', false);
update payout.notification set due_at = payout.clock() where txid = test.txid('P1') and due_at is not null;
select event_no, tries from payout.claim_notify(test.life(), 10, '{}', 10, '');
select payout.resend_notification('NOTIFY0001', test.txid('P1'));
select test.deliver('P1', false);
select * from test.owed('P1');
delete from payout.retry_policy where source = 'operator';
select payout.resend_notification('NOTIFY0001', test.txid('P1'));
select * from test.owed('P1');
select payout.resend_notification('NOTIFY0002', test.txid('P2'));
select payout.resend_notification('NOTIFY0002', test.txid('P1'));
select payout.resend_notification('NOMERCHANT', 'x');
-- merchants in turn, each with its share, going on after the last one
update payout.notification set due_at = null, delivered_at = clock_timestamp() where due_at is not null;
select test.set_up('NOTIFY000' || i, 'NOTCH', 'NOTBANK', 1000000, '{}', '{"mode": "single"}', 'https://merchant.example/hook') from generate_series(4, 6) i;
select test.register('NOTIFY000' || i, 'NOTBANK', 'T' || i || n) from generate_series(4, 6) i, generate_series(1, 3) n;
select count(payout.reject(merchant_id, txid, 'test')) as owed from payout.payout where reference_no ~ '^T[456][123]$';
begin;
select array_agg(merchant_id order by merchant_id) from payout.claim_notify(test.life(), 2, '{}', 1, '');
select array_agg(merchant_id order by merchant_id) from payout.claim_notify(test.life(), 2, '{}', 1, 'NOTIFY0005');
select array_agg(merchant_id order by merchant_id) from payout.claim_notify(test.life(), 9, '{NOTIFY0005}', 2, 'NOTIFY0006');
select payout.next_notify('{}', 'NOTIFY0004') <= payout.clock() as due, payout.next_notify('{NOTIFY0005}', '') is null as none;
rollback;
truncate payout.notification;
select check_name, detail from payout.verify();
