-- dispatch.sql: lane dispatch without a worker: every outcome of a batch, who may record it, and what never happens twice.
\getenv tree PG_ABS_SRCDIR
\set fixture :tree /sql/include/fixture.inc
\i :fixture
select test.set_up('DISPATCH01', 'DISCH', 'DISBANK', 1000000, '{"fee": {"online": {"flat": 10}}}', '{"batch_size_max": 4}');
select test.live() >= 0 as alive, test.send('DISCH');
-- nine payouts: bulks of four at most, claimed once, saved before they are sent
select test.pay('DISPATCH01', 'DISBANK', 'B' || i) from generate_series(1, 9) i;
select test.send('DISCH'), test.send('DISCH');
select service, state, item_count, total, tries, sent_at is not null as sent from payout.batch where channel_id = 'DISCH' order by item_count desc;
select count(*), count(distinct external_id) as different, count(outcome) as answered from payout.attempt where channel_id = 'DISCH';
select string_agg(state, ' ') from payout.payout where merchant_id = 'DISPATCH01';
-- accepted: a bulk is processing until the bank says more of each
select test.answer('B1', 'yes', 'ok', 202, '2022000'), test.state('B1', 'B2', 'B3', 'B4');
select b.state, bank_batch_no from payout.batch b join payout.payout p using (channel_id, batch_id) where reference_no = 'B1';
-- refused whole: split, until the culprit stands alone
select test.answer('B5', 'no', 'fail', 400, '4002001'), test.state('B5', 'B6', 'B7', 'B8');
select state, count(*), sum(item_count) from payout.batch where channel_id = 'DISCH' group by 1 order by 1;
select test.send('DISCH');
select test.answer('B5', 'no', 'fail', 400, '4002001'), test.answer('B7', 'yes', 'ok', 202, '2022000'), test.state('B5', 'B6', 'B7', 'B8');
select test.send('DISCH');
select test.answer('B5', 'no', 'fail', 400, '4002001'), test.answer('B6', 'yes', 'ok', 202, '2022000'), test.state('B5', 'B6');
select test.money('B5');
-- unknown: reserved, asked for
select test.answer('B9', 'unknown', 'unknown', 504, null), test.state('B9'), test.money('B9'), (test.payout('B9')).status_due_at is not null as asked;
select test.send('DISCH');

-- one by one (18): paid, pending, not sent, refused
select payout.alter_channel('DISCH', '{"mode": "single"}') is distinct from null as altered;
select test.pay('DISPATCH01', 'DISBANK', 'C' || i) from generate_series(1, 7) i;
select test.send('DISCH', 100);
select test.answer('C1', 'yes', 'ok'), test.answer('C2', 'yes', 'wait', 202, '2021800', true), test.answer('C3', 'no', 'fail', 404, '4041811'),
	test.answer('C4', 'not_sent', 'not_sent', 0, null), test.answer('C5', 'refused_for_now', 'auth', 401, '4011801'), test.answer('C6', 'unknown', 'unknown', 0, null);
select reference_no, state, (select b.state from payout.batch b where b.channel_id = p.channel_id and b.batch_id = p.batch_id) as batch from payout.payout p where reference_no like 'C_' order by 1;
select test.money('C1');
select test.money('C3');
-- auth is tried again at once, what did not leave after a pause; always the same order
select test.send('DISCH');
select test.answer('C5', 'yes', 'ok'), test.state('C5');
update payout.batch b set due_at = payout.clock() from payout.payout p where p.batch_id = b.batch_id and p.reference_no = 'C4';
select test.send('DISCH'), (select count(*) from payout.attempt a join payout.payout p using (channel_id, batch_id) where p.reference_no = 'C4') as attempts;
-- refused for now: class later lets the channel rest, class stop pauses it; the money stays
select test.answer('C4', 'refused_for_now', 'later', 429, '4291800'), test.state('C4'), payout.may_dispatch('DISCH');
select not_before > payout.clock() as rests, paused_at is not null as paused from payout.channel where channel_id = 'DISCH';
select not_before from payout.resume_channel('DISCH');
select test.send('DISCH'), test.answer('C4', 'refused_for_now', 'stop', 403, '4031801'), payout.may_dispatch('DISCH');
select paused_at from payout.resume_channel('DISCH');
-- in doubt once: a later refusal proves nothing
select test.inquire('C6', 'not_found'), test.inquire('C6', 'not_found');
select test.send('DISCH');
select test.answer('C6', 'no', 'fail', 404, '4041811'), test.state('C6'), test.answer('C4', 'yes', 'ok'), test.state('C4');

-- the fence: another life, or a second answer, records nothing
select a.attempt_id as c7, a.incarnation_id as life from test.attempt('dispatch', 'C7') a \gset
select payout.record_transfers(payout.new_id(), '{DISCH}', array[:'c7'::uuid], '{no}', '{fail}', '{404}', '{4041811}', '{5}', '{null}', '{null}', '{false}') = 1 as other_life, test.state('C7');
select payout.record_transfers(:'life', '{DISCH}', array[payout.new_id()], '{no}', '{fail}', '{404}', '{4041811}', '{5}', '{null}', '{null}', '{false}') = 1 as other_attempt, test.state('C7');
-- the worker dies: unknown, never "not sent", and its late answer moves nothing
select test.live() as orphans, test.state('C7');
select payout.record_transfers(:'life', '{DISCH}', array[:'c7'::uuid], '{no}', '{fail}', '{404}', '{4041811}', '{5}', '{null}', '{null}', '{false}') = 1 as late, test.state('C7');
select payout.record_transfers(:'life', '{DISCH}', array[:'c7'::uuid], '{yes}', '{ok}', '{200}', '{2001800}', '{5}', '{null}', '{null}', '{false}') = 1 as late, test.state('C7');
select outcome, excerpt from payout.attempt where attempt_id = :'c7';
-- attempts are evidence
update payout.attempt set outcome = 'yes' where attempt_id = :'c7';
update payout.attempt set excerpt = 'x' where attempt_id = :'c7';
delete from payout.attempt where attempt_id = :'c7';

-- tried too often: a person is asked, who lets it go on
insert into payout.retry_policy (lane, source, base_ms, max_ms, tries_max) values ('dispatch', 'operator', 1, 1, 1);
select test.pay('DISPATCH01', 'DISBANK', 'E1'), test.send('DISCH'), test.answer('E1', 'not_sent', 'not_sent', 0, null);
select lane, reason from payout.hold where txid = test.txid('E1');
select test.send('DISCH');
select state from payout.resolve('DISPATCH01', test.txid('E1'), 'dispatch', 'the line is mended');
select test.send('DISCH'), test.answer('E1', 'yes', 'ok'), test.state('E1');
delete from payout.retry_policy where source = 'operator';
-- a person speaks of a payout being sent: refused while a request is under way
select test.pay('DISPATCH01', 'DISBANK', 'E2'), test.send('DISCH');
select payout.resolve('DISPATCH01', test.txid('E2'), 'failed', 'guess');
select payout.resolve('DISPATCH01', test.txid('E2'), 'paid', 'guess');
select test.answer('E2', 'yes', 'ok'), test.state('E2');
-- a bulk that lingers goes whole or not at all, though time passes while its members are looked at
select payout.alter_channel('DISCH', '{"mode": "bulk", "batch_size_max": 100, "linger_ms": 30}') is distinct from null as altered;
select count(test.pay('DISPATCH01', 'DISBANK', 'LINGER' || i)) from generate_series(1, 40) i;
begin;
create sequence test.tick;
create or replace function payout.clock() returns timestamptz language sql volatile as $$ select now() + nextval('test.tick') * interval '1 ms' $$;
update payout.payout set dispatch_due_at = now() where dispatch_due_at is not null;
select sum(claimed) as claimed from (select (select count(*) from payout.claim_dispatch('DISCH', 10 + 0 * i)) as claimed from generate_series(1, 100) i) c;
select b.item_count, count(*) as members, b.total = sum(p.amount) as same_total from payout.batch b join payout.payout p using (channel_id, batch_id) where p.reference_no like 'LINGER%' group by b.batch_id, b.item_count, b.total;
rollback;
select check_name, detail from payout.verify();
