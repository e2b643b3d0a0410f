-- schedule.sql: schedules: approved ahead, released at their moment, cancelled before it. The row's moment is moved, not the clock.
\getenv tree PG_ABS_SRCDIR
\set fixture :tree /sql/include/fixture.inc
\i :fixture
select test.set_up('SCHEDULE01', 'SCHCH', 'SCHBANK', 50000, '{"fee": {"online": {"flat": 100}}}');
create function test.at(p_reference text, p_at timestamptz) returns text language sql as
$$ select state from payout.register('SCHEDULE01', p_reference, 10000, 'SCHBANK', '8811111111', 'Budi Santoso', scheduled_at => p_at) $$;
-- at least payout.schedule_lead ahead, at most a year
show payout.schedule_lead;
select d, test.sqlstate_of(format('select test.at(%L, now() + interval %L)', 'S' || replace(d, ' ', ''), d))
from unnest(array['-1 day', '0', '59 min', '61 min', '364 days', '367 days']) d;
select test.sqlstate_of(format('select test.at(%L, %L)', 'S', v)) from unnest(array['infinity', '-infinity', '4714-11-24 00:00:00+00 BC', '294276-12-31 23:59:59+00']) v;

select test.at('S1', now() + interval '1 day'), test.at('S2', now() + interval '1 day'), test.at('S3', now() + interval '1 day'), test.at('S4', now() + interval '1 day');
select a.state from unnest('{S1,S2,S3}'::text[]) r, payout.approve('SCHEDULE01', test.txid(r)) a;
select * from payout.balance('SCHEDULE01');
-- cancelled: everything comes back, once
select state, reason from payout.cancel('SCHEDULE01', test.txid('S1'), 'no longer wanted');
select state, reason from payout.cancel('SCHEDULE01', test.txid('S1'), 'again');
select test.money('S1');
select * from payout.balance('SCHEDULE01');
-- nothing is released before its moment
select payout.release_schedules(100), test.state('S2', 'S3');

-- the account check of a scheduled payout: invalid ends it with a refund
select test.live() >= 0 as alive;
update payout.payout set check_due_at = null where merchant_id = 'SCHEDULE01' and reference_no not in ('S2', 'S3');
select test.ask('validate', 'SCHCH');
select test.named('S2', 'yes', 'BUDI  SANTOSO'), test.named('S3', 'no', null, 404, 'fail');
select test.state('S2', 'S3'), (test.payout('S2')).account_check;
select test.money('S3');

-- its moment comes
select test.reschedule('S2', payout.clock() - interval '1 s');
update payout.payout set release_due_at = payout.clock() - interval '1 s' where reference_no = 'S2';
select payout.cancel('SCHEDULE01', test.txid('S2'), 'too late');
select payout.release_schedules(100), test.state('S2'), (test.payout('S2')).dispatch_due_at <= payout.clock() as is_due;
select payout.release_schedules(100);
select payout.cancel('SCHEDULE01', test.txid('S2'), 'too late');
select event_no, event, from_state, to_state from payout.payout_event where txid = test.txid('S2') order by event_no;
-- approved too late
select test.reschedule('S4', payout.clock() - interval '1 s');
select payout.approve('SCHEDULE01', test.txid('S4'));
select test.money('S4');
update payout.payout set check_due_at = payout.clock() where merchant_id = 'SCHEDULE01' and state = 'registered';
select check_name, detail from payout.verify();
