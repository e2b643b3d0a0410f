-- validate.sql: lane validate without a worker: every answer to an account check, before and after approval.
\getenv tree PG_ABS_SRCDIR
\set fixture :tree /sql/include/fixture.inc
\i :fixture
select test.set_up('VALIDATE01', 'VALCH', 'VALBANK');
-- nothing is asked again by the passing of time, however slow the machine
insert into payout.retry_policy (lane, base_ms, max_ms, tries_max) values ('validate', 3600000, 3600000, 1000);
select test.live() >= 0 as alive;
select test.register('VALIDATE01', 'VALBANK', 'V' || i) from generate_series(1, 8) i;
-- claimed once; the service of the method, and the bank's code as it was when the payout was registered
select alter_bank is distinct from null as altered from payout.alter_bank('VALBANK', '{"wire_code": "014"}');
begin;
select service, wire_code, account_no from payout.claim_validate('VALCH', 1);
rollback;
select payout.claim_validate('NOCHANNEL', 10);
select test.ask('validate', 'VALCH', 3), test.ask('validate', 'VALCH', 10), test.ask('validate', 'VALCH');
-- what the bank said
select test.named('V1', 'yes', 'BUDI SANTOSO'), test.named('V2', 'yes', ' budi  santoso. '), test.named('V3', 'yes', 'ANI'), test.named('V4', 'no', null, 404, 'fail'),
	test.named('V5', 'unknown', null, 504, 'unknown'), test.named('V6', 'no', null, 400, 'fail'), test.named('V7', 'yes', null), test.named('V8', 'refused_for_now', null, 429, 'later');
select reference_no, state, account_check, account_name, check_tries, check_due_at > payout.clock() as asked_again from payout.payout where merchant_id = 'VALIDATE01' order by 1;
select event, reason from payout.payout_event where merchant_id = 'VALIDATE01' and event is not null order by reason;
-- approved: matched goes on, another name waits for a person, the unknown wait for the bank
select a.state from unnest('{V1,V3,V5}'::text[]) r, payout.approve('VALIDATE01', test.txid(r)) a;
select payout.approve('VALIDATE01', test.txid('V4'));
select reference_no, state, dispatch_due_at is not null as goes_on from payout.payout where merchant_id = 'VALIDATE01' and approved_at is not null order by 1;
select lane, reason from payout.hold where merchant_id = 'VALIDATE01';
select state from payout.resolve('VALIDATE01', test.txid('V3'), 'dispatch', 'the person is the same');
select count(*) from payout.hold where merchant_id = 'VALIDATE01';

-- asked while registered, answered while approved
select test.register('VALIDATE01', 'VALBANK', 'W' || i) from generate_series(1, 4) i;
select test.ask('validate', 'VALCH');
select a.state from unnest('{W1,W2,W3,W4}'::text[]) r, payout.approve('VALIDATE01', test.txid(r)) a;
select payout.alter_merchant('VALIDATE01', '{"on_name_differs": "pass"}') is distinct from null as altered;
select test.named('W1', 'yes', 'BUDI SANTOSO'), test.named('W2', 'yes', 'ANI'), test.named('W3', 'no', null, 404, 'fail'), test.named('W4', 'unknown', null, 0, 'unknown');
select reference_no, state, account_check, dispatch_due_at is not null as goes_on from payout.payout where reference_no like 'W%' order by 1;
select test.money('W3');
-- an answer counts once, and only for the life that asked
select test.register('VALIDATE01', 'VALBANK', 'X1'), test.register('VALIDATE01', 'VALBANK', 'X2'), test.ask('validate', 'VALCH');
select a.attempt_id as x1, a.incarnation_id as life from test.attempt('validate', 'X1') a \gset
select payout.record_checks(payout.new_id(), '{VALCH}', array[:'x1'::uuid], '{no}', '{fail}', '{404}', '{4041600}', '{5}', '{null}', '{null}') = 1 as other_life;
select payout.record_checks(:'life', '{VALCH}', array[:'x1'::uuid], '{yes}', '{ok}', '{200}', '{2001600}', '{5}', '{null}', array['BUDI SANTOSO']) = 1 as first;
select payout.record_checks(:'life', '{VALCH}', array[:'x1'::uuid], '{no}', '{fail}', '{404}', '{4041600}', '{5}', '{null}', '{null}') = 1 as second;
select account_check from payout.payout where reference_no = 'X1';
-- a worker dies between question and answer: asked again, the late answer moves nothing
select a.attempt_id as x2, a.incarnation_id as life from test.attempt('validate', 'X2') a \gset
select test.live() as orphans;
select payout.record_checks(:'life', '{VALCH}', array[:'x2'::uuid], '{no}', '{fail}', '{404}', '{4041600}', '{5}', '{null}', '{null}') = 1 as late;
select account_check, check_due_at <= payout.clock() as is_due from payout.payout where reference_no = 'X2';
select outcome, excerpt from payout.attempt where attempt_id = :'x2';
-- rejected meanwhile: the answer moves nothing
select test.ask('validate', 'VALCH'), (payout.reject('VALIDATE01', test.txid('X2'), 'no')).state;
select test.named('X2', 'yes', 'BUDI SANTOSO'), test.state('X2'), (test.payout('X2')).account_check;
-- never an answer: by the channel's option, failed with refund or sent all the same
update payout.payout set check_deadline_at = payout.clock() - interval '1 s', check_due_at = payout.clock() where reference_no in ('V5', 'W4');
select test.ask('validate', 'VALCH');
select test.named('V5', 'unknown', null, 0, 'unknown'), test.state('V5'), test.money('V5');
select payout.alter_channel('VALCH', '{"on_check_unavailable": "dispatch"}') is distinct from null as altered;
select test.named('W4', 'unknown', null, 0, 'unknown'), test.state('W4'), (test.payout('W4')).dispatch_due_at is not null as goes_on;
-- class stop pauses the channel
select test.register('VALIDATE01', 'VALBANK', 'Y1'), test.ask('validate', 'VALCH'), test.named('Y1', 'refused_for_now', null, 403, 'stop');
select paused_at is not null as paused, paused_reason from payout.channel where channel_id = 'VALCH';
select paused_at from payout.resume_channel('VALCH');
select check_name, detail from payout.verify();
