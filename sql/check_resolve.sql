-- check_resolve.sql: lane check and the operator: what the bank says of a transfer is believed, resent only when all is lost, or disputed.
\getenv tree PG_ABS_SRCDIR
\set fixture :tree /sql/include/fixture.inc
\i :fixture
select test.set_up('CHECKS0001', 'CHKCH', 'CHKBANK', 1000000, '{"fee": {"online": {"flat": 10}}}', '{"mode": "single"}');
select test.live() >= 0 as alive;
-- suspects: one for each thing the bank may say
select test.pay('CHECKS0001', 'CHKBANK', 'K' || i) from generate_series(1, 9) i;
select test.send('CHKCH', 100);
select test.answer('K' || i, 'unknown', 'unknown', 0, null) from generate_series(1, 9) i;
select test.inquire('K1', 'paid'), test.inquire('K2', 'failed'), test.inquire('K3', 'canceled'), test.inquire('K4', 'refunded'), test.inquire('K5', 'pending'),
	test.inquire('K6', 'unknown'), test.inquire('K7', 'not_found');
select test.money('K1');
select test.money('K2');
-- not found: counted, and only in a row; the same frozen batch is sent again
select not_found, status_due_at > payout.clock() as asked_later from payout.payout where reference_no = 'K7';
select test.inquire('K7', 'pending'), (test.payout('K7')).not_found;
select test.inquire('K7', 'not_found'), test.inquire('K7', 'unknown'), (test.payout('K7')).not_found;
select batch_id as k7, transaction_date as dated from payout.batch b join payout.payout p using (channel_id, batch_id) where reference_no = 'K7' \gset
select test.inquire('K7', 'not_found'), test.send('CHKCH');
select p.batch_id = :'k7' as same_batch, b.transaction_date = :'dated' as same_date, b.tries, count(a.*) as attempts, count(distinct a.external_id) as requests
from payout.payout p join payout.batch b using (channel_id, batch_id) join payout.attempt a using (channel_id, batch_id) where reference_no = 'K7' group by 1, 2, 3;
select test.answer('K7', 'yes', 'ok'), test.state('K7');
-- not found before the grace period proves nothing
select payout.alter_channel('CHKCH', '{"not_found_grace_s": 3600}') is distinct from null as altered;
select test.inquire('K8', 'not_found'), test.inquire('K8', 'not_found'), test.inquire('K8', 'not_found');
select payout.alter_channel('CHKCH', '{"not_found_grace_s": 0}') is distinct from null as altered;

-- a bulk is resent only when every member is lost
select payout.alter_channel('CHKCH', '{"mode": "bulk"}') is distinct from null as altered;
select test.pay('CHECKS0001', 'CHKBANK', 'M' || i) from generate_series(1, 6) i;
select test.send('CHKCH'), test.answer('M1', 'unknown', 'unknown', 0, null), test.state('M1', 'M2', 'M6');
select string_agg(test.inquire('M' || i, 'not_found'), ' ') from generate_series(1, 5) i, generate_series(1, 3);
select test.inquire('M6', 'paid'), test.send('CHKCH'), test.state('M1', 'M5');
select string_agg(test.inquire('M' || i, 'not_found'), ' ') from generate_series(1, 5) i, generate_series(1, 3);
select test.send('CHKCH');
-- a bulk of which all are lost goes again, all of it
select test.pay('CHECKS0001', 'CHKBANK', 'N' || i) from generate_series(1, 3) i;
select test.send('CHKCH'), test.answer('N1', 'unknown', 'unknown', 0, null);
select string_agg(test.inquire('N' || i, 'not_found'), ' ') from generate_series(1, 2) i, generate_series(1, 2);
select test.send('CHKCH'), test.inquire('N3', 'not_found'), test.send('CHKCH'), test.inquire('N3', 'not_found'), test.state('N1', 'N2', 'N3');
select test.send('CHKCH'), test.answer('N1', 'yes', 'ok'), test.state('N1', 'N2', 'N3');

-- late and contrary answers
select test.inquire('K1', 'paid'), test.inquire('K1', 'pending'), test.inquire('K1', 'not_found'), test.inquire('K1', 'unknown');
-- a negative answer to a question from before the last sending moves nothing
select test.inquire('K9', 'not_found');
update payout.payout set status_due_at = '-infinity' where reference_no = 'K9';
select test.ask('check', 'CHKCH', 1);
select a.attempt_id as k9, a.incarnation_id as life from test.attempt('check', 'K9') a \gset
select p.state from test.payout('K9') q, payout.apply_status(q, 'not_found', null, null, null, null, 'another answer') p;
select test.send('CHKCH');
select payout.record_statuses(:'life', '{CHKCH}', array[:'k9'::uuid], '{yes}', '{ok}', '{200}', '{2003600}', '{5}', '{null}', '{failed}', '{null}', '{true}', '{true}') = 1 as recorded, test.state('K9');
select test.answer('K9', 'yes', 'ok'), test.state('K9');

-- the fence of this lane
update payout.payout set status_due_at = '-infinity' where reference_no = 'K5';
select test.ask('check', 'CHKCH', 1);
select a.attempt_id as k5, a.incarnation_id as life from test.attempt('check', 'K5') a \gset
select payout.record_statuses(payout.new_id(), '{CHKCH}', array[:'k5'::uuid], '{yes}', '{ok}', '{200}', '{2003600}', '{5}', '{null}', '{failed}', '{null}', '{true}', '{true}') = 1 as other_life, test.state('K5');
select test.live() > 0 as orphans;
select payout.record_statuses(:'life', '{CHKCH}', array[:'k5'::uuid], '{yes}', '{ok}', '{200}', '{2003600}', '{5}', '{null}', '{failed}', '{null}', '{true}', '{true}') = 1 as late, test.state('K5');
select status_due_at is not null as asked_again from payout.payout where reference_no = 'K5';

-- contrary proof: disputed, and no money moves by itself
select test.money('K3');
select p.state from test.payout('K3') q, payout.apply_status(q, 'paid', null, null, null, null, 'a notice') p;
select test.money('K3');
select p.state from test.payout('K1') q, payout.apply_status(q, 'failed', null, null, null, null, 'a notice') p;
select p.state from test.payout('K4') q, payout.apply_status(q, 'paid', null, null, null, null, 'a late notice') p;
select p.state from test.payout('K7') q, payout.apply_status(q, 'refunded', null, null, null, null, 'came back') p;
select test.money('K7');

-- an operator ends a dispute: the money goes where the outcome says, the merchant is never overdrawn for it
select available as before from payout.balance('CHECKS0001') \gset
select state from payout.resolve('CHECKS0001', test.txid('K3'), 'paid', 'the bank proved it');
select test.money('K3');
select available - :before as merchant_pays from payout.balance('CHECKS0001');
select state from payout.resolve('CHECKS0001', test.txid('K1'), 'returned', 'the bank gave it back');
select test.money('K1');
select state from payout.resolve('CHECKS0001', test.txid('K4'), 'failed', 'the notice was wrong');
select test.money('K4');
-- suspects, by a person; repeats; what a person cannot say
select state, reason from payout.resolve('CHECKS0001', test.txid('K8'), 'failed', 'the bank has never heard of it');
select state, reason from payout.resolve('CHECKS0001', test.txid('K8'), 'failed', 'again');
select test.money('K8');
select state from payout.resolve('CHECKS0001', test.txid('M1'), 'paid', 'seen on the bank''s list');
select payout.resolve('CHECKS0001', test.txid('K8'), 'paid', 'changed my mind');
select payout.resolve('CHECKS0001', test.txid('K8'), 'returned', 'x');
select payout.resolve('CHECKS0001', test.txid('K8'), 'disputed', 'x');
select payout.resolve('CHECKS0001', test.txid('K8'), 'dispatch', 'x');
select payout.resolve('CHECKS0001', test.txid('K8'), 'failed', '');
select payout.resolve('CHECKS0001', 'nothing', 'failed', 'x');
select role_name = current_user as by_me, reason from payout.payout_event where txid = test.txid('K8') order by event_no desc limit 1;

-- beyond the bank's memory: set aside for a person
update payout.batch b set sent_at = sent_at - interval '40 days' from payout.payout p where p.batch_id = b.batch_id and p.reference_no = 'K6';
select test.inquire('K6', 'pending');
select lane, left(reason, 40) as reason from payout.hold where txid = test.txid('K6');
update payout.payout set status_due_at = payout.clock() where reference_no = 'K6';
begin;
select count(*) from payout.claim_check('CHKCH', 1000) where txid = test.txid('K6');
rollback;
select state from payout.resolve('CHECKS0001', test.txid('K6'), 'paid', 'seen on the list');
select count(*) from payout.hold where txid = test.txid('K6');

-- request_check asks again what is open or paid, and nothing else
select test.pay('CHECKS0001', 'CHKBANK', 'Q1'), payout.request_check('CHECKS0001', test.txid('Q1')), (test.payout('Q1')).status_due_at;
select payout.request_check('CHECKS0001', test.txid('K7')), (test.payout('K7')).status_due_at;
select payout.request_check('CHECKS0001', test.txid('K6')), (test.payout('K6')).status_due_at is not null as asked;
select payout.request_check('CHECKS0001', 'nothing');
-- check_status waits outside a transaction only
begin;
call payout.check_status('CHECKS0001', 'nothing');
rollback;
select check_name, detail from payout.verify();
