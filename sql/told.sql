-- told.sql: the bank's own signed word that it has an order outranks its refusal of the same order, in whichever order they come; and an end that it contradicts is in doubt until it has answered.
\getenv tree PG_ABS_SRCDIR
\set fixture :tree /sql/include/fixture.inc
\i :fixture
select test.set_up('TOLDMERC01', 'TOLCH', 'TOLBANK', 2000000, '{}', '{"mode": "bulk"}');
select test.live() >= 0 as alive;
-- The batch that carries a payout now, and what was asked of it: the sendings of that batch, or of a bulk that it was split off, by their number.
create function test.batch_of(p_reference text) returns payout.batch language sql as $$ select b from test.payout(p_reference) p join payout.batch b on b.channel_id = p.channel_id and b.batch_id = p.batch_id $$;
create function test.asked_of(p_reference text) returns text language sql as $$
	with sent as (select d.attempt_id, case when d.batch_id = (test.payout(p_reference)).batch_id then 'own ' else 'bulk ' end || row_number() over (partition by d.batch_id order by d.started_at) as n
		from payout.attempt d where d.lane = 'dispatch' and d.channel_id = 'TOLCH')
	select string_agg(coalesce(s.n, '-') || ': ' || coalesce(c.answer, '?'), ', ' order by c.started_at)
	from payout.attempt c left join sent s on s.attempt_id = c.asked_attempt_id where c.txid = test.txid(p_reference) and c.lane = 'check' $$;
-- A notice under the id of a bulk, all its items with one code; the items that were no word, and the states.
create function test.bulk_notice(p_batch_id uuid, p_code text, variadic p_references text[]) returns text language sql as $$
	select concat_ws(' ', nullif(n.unknown_items, 0), nullif(n.misfits, ''), test.state(variadic p_references))
	from payout.apply_notice('TOLCH', jsonb_build_object('bulkId', '', 'partnerBulkId', p_batch_id, 'bulkObject',
		(select jsonb_agg(jsonb_build_object('originalPartnerReferenceNo', test.txid(r), 'responseCode', p_code, 'beneficiaryAccountNo', '8811111111')) from unnest(p_references) r))) n $$;
create function test.again(p_reference text) returns text language plpgsql as $$
begin
	update payout.batch set due_at = payout.clock() where batch_id = (test.batch_of(p_reference)).batch_id and state = 'open' and due_at is not null;
	update payout.channel set not_before = null, not_before_reason = null, paused_at = null, paused_reason = null where channel_id = 'TOLCH';
	return test.send('TOLCH', 100);
end $$;
create function test.bulk(p_prefix text, p_count integer) returns text language plpgsql as $$
begin
	perform test.pay('TOLDMERC01', 'TOLBANK', p_prefix || i) from generate_series(1, p_count) i;
	return test.send('TOLCH', 100);
end $$;
create function test.refuse(p_reference text) returns text language plpgsql as $$
begin
	perform test.answer(p_reference, 'no', 'fail', 400, '4002001');
	return (test.batch_of(p_reference)).state;
end $$;
create function test.doubted(p_reference text) returns text language sql as $$
	select concat_ws(', ', state, case when doubted_at is not null then 'in doubt' end, case when status_due_at is not null then 'asked on' end) from test.payout(p_reference) $$;
create function test.held_of(p_reference text) returns text language sql as $$ select h.lane || case when h.reason like '%reference_memory_s%' then ' memory' else ' ' || h.reason end from payout.hold h where h.txid = test.txid(p_reference) $$;
create function test.health_of(p_check text) returns text language sql as $$ select h.status from payout.health() h where h.check_name = p_check $$;

-- a bulk was refused whole and split; its notice says that both were paid, while the halves wait: they are paid, and not sent
select test.bulk('TOLDA', 2), (test.batch_of('TOLDA1')).batch_id as ta \gset
select test.refuse('TOLDA1');
select test.bulk_notice(:'ta', '2002100', 'TOLDA1', 'TOLDA2'), test.again('TOLDA1'), test.again('TOLDA2');
-- it says of one that it is under way: all that was split off the bulk is asked for, by the bulk's sending, at every level, and sent only when it was not found
select test.bulk('TOLDB', 4), (test.batch_of('TOLDB1')).batch_id as tb \gset
select test.refuse('TOLDB1'), test.again('TOLDB1');
select test.refuse('TOLDB1');
select test.bulk_notice(:'tb', '2022100', 'TOLDB1');
select test.again('TOLDB1'), test.state('TOLDB1', 'TOLDB2', 'TOLDB3', 'TOLDB4');
select test.inquire('TOLDB1', 'paid'), test.asked_of('TOLDB1'), test.inquire('TOLDB2', 'not_found'), test.again('TOLDB2'), test.inquire('TOLDB2', 'not_found'), test.asked_of('TOLDB2'), test.again('TOLDB2'), test.state('TOLDB2');
select test.answer('TOLDB2', 'unknown', 'unknown', 504, null), test.state('TOLDB2'), test.inquire('TOLDB2', 'failed'), test.inquire('TOLDB2', 'paid'), test.asked_of('TOLDB2');
-- the other half is in flight: its refusal, for good, refunds nothing and splits nothing; what is denied of the bulk was not booked
select test.refuse('TOLDB3'), test.state('TOLDB3', 'TOLDB4'), test.inquire('TOLDB3', 'failed'), test.inquire('TOLDB3', 'failed'), test.asked_of('TOLDB3'), test.inquire('TOLDB4', 'paid');
select string_agg(distinct t.kind, ' ') from payout.transfer t where t.txid in (test.txid('TOLDB1'), test.txid('TOLDB2'), test.txid('TOLDB4'));
-- without the bank's word on repeated references a person decides
select payout.alter_channel('TOLCH', '{"reference_memory_s": null}') is distinct from null as altered;
select test.bulk('TOLDC', 2), (test.batch_of('TOLDC1')).batch_id as tc \gset
select test.refuse('TOLDC1'), test.bulk_notice(:'tc', '2022100', 'TOLDC1', 'TOLDC2'), test.again('TOLDC1');
select test.inquire('TOLDC1', 'not_found'), test.inquire('TOLDC1', 'not_found'), test.again('TOLDC1'), test.held_of('TOLDC1'), test.inquire('TOLDC2', 'paid');
select state from payout.resolve('TOLDMERC01', test.txid('TOLDC1'), 'paid', 'its statement says so');
-- the halves were refused as repetitions and refunded, and the bulk's notice comes then: disputed, or asked for and then disputed
select test.bulk('TOLDD', 3), (test.batch_of('TOLDD1')).batch_id as td \gset
select test.refuse('TOLDD1'), test.again('TOLDD1');
select test.refuse('TOLDD1'), test.again('TOLDD1');
select test.refuse('TOLDD1'), test.refuse('TOLDD2'), test.refuse('TOLDD3'), test.money('TOLDD1');
select test.bulk_notice(:'td', '2022100', 'TOLDD1', 'TOLDD2'), test.doubted('TOLDD1'), test.health_of('doubted'), test.bulk_notice(:'td', '2002100', 'TOLDD3');
select test.inquire('TOLDD1', 'pending'), test.doubted('TOLDD1'), test.inquire('TOLDD1', 'unknown'), test.doubted('TOLDD1'), test.inquire('TOLDD1', 'unknown'), test.inquire('TOLDD1', 'paid'), test.doubted('TOLDD1'), test.asked_of('TOLDD1');
select test.inquire('TOLDD2', 'failed'), test.doubted('TOLDD2'), test.inquire('TOLDD2', 'not_found'), test.doubted('TOLDD2'), test.inquire('TOLDD2', 'not_found'), test.inquire('TOLDD2', 'failed'), test.inquire('TOLDD2', 'not_found'), test.doubted('TOLDD2'), test.asked_of('TOLDD2');
select replace(reason, txid, 'TXID') as reason from payout.payout_event where txid = test.txid('TOLDD2') order by event_no desc limit 2;
select check_name, detail from payout.verify();

-- refused for now, and then told of, or told of while it was in flight: asked for, not sent again, and not held for having been tried too often
select payout.alter_channel('TOLCH', '{"reference_memory_s": 31536000}') is distinct from null as altered;
insert into payout.retry_policy (lane, base_ms, max_ms, tries_max) values ('dispatch', 1000, 1000, 1);
select test.bulk('TOLDE', 2), test.answer('TOLDE1', 'refused_for_now', 'later', 429, '4292000'), (test.batch_of('TOLDE1')).state;
select test.held_of('TOLDE1') is not null as held, test.bulk_notice((test.batch_of('TOLDE1')).batch_id, '2022100', 'TOLDE1');
select test.again('TOLDE1'), test.state('TOLDE1', 'TOLDE2'), test.inquire('TOLDE1', 'paid'), test.inquire('TOLDE2', 'failed'), test.asked_of('TOLDE2');
select test.bulk('TOLDF', 2), test.bulk_notice((test.batch_of('TOLDF1')).batch_id, '2022100', 'TOLDF2'), test.answer('TOLDF1', 'refused_for_now', 'auth', 401, '4012000'), test.state('TOLDF1', 'TOLDF2'), test.again('TOLDF1'), test.inquire('TOLDF1', 'not_found'), test.inquire('TOLDF2', 'not_found'), test.inquire('TOLDF1', 'not_found'), test.inquire('TOLDF2', 'not_found'), test.again('TOLDF1');
delete from payout.retry_policy where source = 'operator' and lane = 'dispatch';
-- each later word is asked about anew
select test.bulk_notice((test.batch_of('TOLDF1')).batch_id, '2022100', 'TOLDF1'), test.answer('TOLDF1', 'not_sent', null, 0), test.again('TOLDF1'), test.state('TOLDF1', 'TOLDF2'), (test.payout('TOLDF1')).not_found, test.inquire('TOLDF1', 'paid'), test.inquire('TOLDF2', 'paid');
-- a denial of one is a word of what the bank has as well: the others are asked for; nothing that says nothing is
select test.bulk('TOLDG', 2), test.answer('TOLDG1', 'refused_for_now', 'later', 429, '4292000'), test.bulk_notice((test.batch_of('TOLDG1')).batch_id, '5002100', 'TOLDG1'), (test.batch_of('TOLDG1')).told_at, test.bulk_notice((test.batch_of('TOLDG1')).batch_id, '4042111', 'TOLDG1'), test.again('TOLDG1'), test.state('TOLDG1', 'TOLDG2');
select test.inquire('TOLDG1', 'failed'), test.inquire('TOLDG2', 'paid');
-- told of in flight, then refused: one is not refunded, two are not split
select test.bulk('TOLDH', 1), test.bulk_notice((test.batch_of('TOLDH1')).batch_id, '2022100', 'TOLDH1'), test.refuse('TOLDH1'), test.state('TOLDH1'), test.inquire('TOLDH1', 'paid'), test.money('TOLDH1');
select test.bulk('TOLDI', 2), test.bulk_notice((test.batch_of('TOLDI1')).batch_id, '2022100', 'TOLDI1'), test.refuse('TOLDI1'), test.state('TOLDI1', 'TOLDI2'), test.again('TOLDI1'), test.inquire('TOLDI1', 'paid'), test.inquire('TOLDI2', 'failed');
-- an inquiry that is answered late, when the order was not found and goes again, is such a word too
select payout.alter_channel('TOLCH', '{"mode": "single"}') is distinct from null as altered;
select test.bulk('TOLDY', 3);
select string_agg(test.answer('TOLDY' || i, 'unknown', 'unknown', 504, null)::text, ' ') from generate_series(1, 3) i;
create function test.asks_twice(p_reference text) returns integer language plpgsql as $$
begin
	for i in 1 .. 2 loop
		update payout.payout set status_due_at = '-infinity' where merchant_id = 'TOLDMERC01' and reference_no = p_reference;
		perform test.ask('check', 'TOLCH', 1);
	end loop;
	return (select count(*) from payout.attempt a where a.txid = test.txid(p_reference) and a.outcome is null);
end $$;
create function test.answers(p_reference text, variadic p_statuses text[]) returns text language plpgsql as $$
declare
	a payout.attempt;
begin
	for i in 1 .. cardinality(p_statuses) loop
		select * into strict a from payout.attempt q where q.txid = test.txid(p_reference) and q.outcome is null order by q.started_at desc limit 1;
		perform payout.record_statuses(a.incarnation_id, array[a.channel_id], array[a.attempt_id], '{yes}', '{ok}', '{200}', '{2003600}', '{5}', '{null}', array[p_statuses[i]], array['B-' || test.txid(p_reference)], '{true}', '{true}');
	end loop;
	return test.state(p_reference);
end $$;
select string_agg(test.inquire('TOLDY' || i, 'not_found'), ' ') from generate_series(1, 3) i;
select test.asks_twice('TOLDY' || i) from generate_series(1, 3) i;
select test.answers('TOLDY1', 'not_found', 'pending'), test.answers('TOLDY2', 'not_found', 'failed'), test.answers('TOLDY3', 'not_found', 'unknown'), test.send('TOLCH', 100), test.state('TOLDY1', 'TOLDY2', 'TOLDY3');
select payout.alter_channel('TOLCH', '{"mode": "bulk"}') is distinct from null as altered;
-- another bulk's word is none
select test.bulk('TOLDJ', 2), test.refuse('TOLDJ1'), test.bulk_notice(:'td', '2002100', 'TOLDJ1'), test.bulk_notice((test.batch_of('TOLDJ2')).batch_id, '2002100', 'TOLDJ1'), test.bulk_notice(null, '2002100', 'TOLDJ1'), test.again('TOLDJ1');
select test.answer('TOLDJ1', 'yes', 'ok', 200, '2002000'), test.answer('TOLDJ2', 'yes', 'ok', 200, '2002000'), test.bulk_notice((test.batch_of('TOLDJ1')).batch_id, '2002100', 'TOLDJ1'), test.bulk_notice((test.batch_of('TOLDJ2')).batch_id, '4042111', 'TOLDJ2');
select check_name, detail from payout.verify();

-- what was split off and not sent yet a person decides: it leaves, and the others go without it
select test.bulk('TOLDK', 6), test.refuse('TOLDK1');
select payout.pause_channel('TOLCH', 'a while') is distinct from null as paused;
select o, test.sqlstate_of(format('select payout.resolve(%L, %L, %L, %L)', 'TOLDMERC01', test.txid('TOLDK' || n), o, 'the statement says so')) from (values (1, 'paid'), (2, 'failed'), (4, 'returned')) v (n, o);
select test.state('TOLDK1', 'TOLDK2', 'TOLDK3', 'TOLDK4', 'TOLDK5', 'TOLDK6'), (test.batch_of('TOLDK1')).state, (test.batch_of('TOLDK2')).state, (test.batch_of('TOLDK3')).item_count, (test.batch_of('TOLDK5')).item_count, (test.batch_of('TOLDK5')).total;
select check_name, detail from payout.verify();
select state from payout.resolve('TOLDMERC01', test.txid('TOLDK3'), 'paid', 'the statement says so');
select test.again('TOLDK5'), test.state('TOLDK3', 'TOLDK5', 'TOLDK6'), test.sqlstate_of(format('select payout.resolve(%L, %L, %L, %L)', 'TOLDMERC01', test.txid('TOLDK5'), 'failed', 'in flight'));
select test.answer('TOLDK5', 'not_sent', 'unknown', 0), test.sqlstate_of(format('select payout.resolve(%L, %L, %L, %L)', 'TOLDMERC01', test.txid('TOLDK5'), 'failed', 'the other would go without it')), test.again('TOLDK5'), test.answer('TOLDK5', 'yes', 'ok', 200, '2002000');
-- not what was never sent at all
select test.pay('TOLDMERC01', 'TOLBANK', 'TOLDK7'), test.send('TOLCH'), test.answer('TOLDK7', 'not_sent', null, 0), test.sqlstate_of(format('select payout.resolve(%L, %L, %L, %L)', 'TOLDMERC01', test.txid('TOLDK7'), 'paid', 'no')), test.again('TOLDK7'), test.answer('TOLDK7', 'yes', 'ok', 200, '2002000');
select check_name, detail from payout.verify();

-- a denial of what is paid is not forgotten, whatever becomes of an inquiry for it, until the bank has said which holds
create function test.denied_paid(p_reference text) returns text language plpgsql as $$
begin
	perform test.bulk(p_reference, 1), test.answer(p_reference || 1, 'refused_for_now', 'later', 429, '4292000'), test.again(p_reference || 1);
	perform test.answer(p_reference || 1, 'yes', 'ok', 200, '2002000'), test.inquire(p_reference || 1, 'paid');
	perform test.bulk_notice((test.batch_of(p_reference || 1)).batch_id, '4042111', p_reference || 1);
	return test.doubted(p_reference || 1);
end $$;
select test.denied_paid('TOLDL'), test.inquire('TOLDL1', 'unknown'), test.doubted('TOLDL1'), test.inquire('TOLDL1', 'pending'), test.doubted('TOLDL1'), test.inquire('TOLDL1', 'not_found'), test.doubted('TOLDL1'), test.health_of('doubted');
select test.bulk_notice((test.batch_of('TOLDL1')).batch_id, '5002100', 'TOLDL1'), test.doubted('TOLDL1'), test.bulk_notice((test.batch_of('TOLDL1')).batch_id, '2002100', 'TOLDL1'), test.doubted('TOLDL1'), test.inquire('TOLDL1', 'failed'), test.doubted('TOLDL1');
select test.denied_paid('TOLDM'), test.inquire('TOLDM1', 'unknown'), test.inquire('TOLDM1', 'paid'), test.doubted('TOLDM1');
-- nor by an inquiry that was claimed and never left, one that was asked before, or a worker that died
create function test.ask_only(p_reference text) returns integer language plpgsql as $$
begin
	update payout.payout set status_due_at = '-infinity' where merchant_id = 'TOLDMERC01' and reference_no = p_reference;
	return test.ask('check', 'TOLCH', 1);
end $$;
select test.denied_paid('TOLDN'), test.ask_only('TOLDN1'), test.bulk_notice((test.batch_of('TOLDN1')).batch_id, '4042111', 'TOLDN1'), test.told('TOLDN1', 'paid'), test.doubted('TOLDN1');
select test.ask_only('TOLDN1');
select payout.record_statuses(a.incarnation_id, array[a.channel_id], array[a.attempt_id], '{not_sent}', '{null}', '{0}', '{null}', '{0}', '{null}', '{unknown}', '{null}', '{null}', '{null}'), test.doubted('TOLDN1') from test.attempt('check', 'TOLDN1') a;
select test.ask_only('TOLDN1'), test.live() > 0 as died, test.doubted('TOLDN1');
-- a person decides that it stands, or that it does not
select state from payout.resolve('TOLDMERC01', test.txid('TOLDN1'), 'paid', 'the statement says so');
select test.doubted('TOLDN1'), test.denied_paid('TOLDO'), test.denied_paid('TOLDP');
select state from payout.resolve('TOLDMERC01', test.txid('TOLDO1'), 'failed', 'the statement lacks it');
select state from payout.resolve('TOLDMERC01', test.txid('TOLDP1'), 'returned', 'it came back');
select test.doubted('TOLDO1'), test.doubted('TOLDP1'), test.money('TOLDO1');
-- nor where one of several sendings is denied, and the others are not answered for
select test.bulk('TOLDQ', 1), test.answer('TOLDQ1', 'unknown', 'unknown', 504, null), test.inquire('TOLDQ1', 'not_found'), test.inquire('TOLDQ1', 'not_found'), test.again('TOLDQ1'), test.answer('TOLDQ1', 'yes', 'ok', 200, '2002000'), test.inquire('TOLDQ1', 'paid');
select test.inquire('TOLDQ1', 'failed'), test.doubted('TOLDQ1'), test.inquire('TOLDQ1', 'unknown'), test.doubted('TOLDQ1'), test.inquire('TOLDQ1', 'failed'), test.inquire('TOLDQ1', 'failed'), test.doubted('TOLDQ1');
select test.denied_paid('TOLDR');
begin;
update payout.payout set status_due_at = null where merchant_id = 'TOLDMERC01' and reference_no = 'TOLDR1';
select check_name, detail from payout.verify();
rollback;
select check_name, detail from payout.verify();

-- the notice and the answer to an order of one contradict each other: asked, and disputed where the end was wrong
select test.bulk('TOLDS', 1), test.bulk_notice((test.batch_of('TOLDS1')).batch_id, '2002100', 'TOLDS1'), test.refuse('TOLDS1'), test.doubted('TOLDS1'), test.inquire('TOLDS1', 'unknown'), test.doubted('TOLDS1'), test.inquire('TOLDS1', 'failed');
select test.bulk('TOLDT', 1), test.bulk_notice((test.batch_of('TOLDT1')).batch_id, '4042111', 'TOLDT1'), test.answer('TOLDT1', 'yes', 'ok', 200, '2002000'), test.doubted('TOLDT1'), test.inquire('TOLDT1', 'unknown'), test.doubted('TOLDT1'), test.inquire('TOLDT1', 'paid');
select test.bulk('TOLDU', 1), test.bulk_notice((test.batch_of('TOLDU1')).batch_id, '4042111', 'TOLDU1'), test.answer('TOLDU1', 'yes', 'ok', 200, '2002000'), test.inquire('TOLDU1', 'failed'), test.doubted('TOLDU1');
-- one of several, and one refused for now
select test.bulk('TOLDV', 2), test.bulk_notice((test.batch_of('TOLDV1')).batch_id, '2002100', 'TOLDV1'), test.answer('TOLDV1', 'refused_for_now', 'later', 429, '4292000'), test.doubted('TOLDV1'), test.doubted('TOLDV2'), test.inquire('TOLDV1', 'paid'), test.doubted('TOLDV1'), test.inquire('TOLDV2', 'paid');
select test.bulk('TOLDW', 2), test.bulk_notice((test.batch_of('TOLDW1')).batch_id, '4042111', 'TOLDW1'), test.answer('TOLDW1', 'yes', 'ok', 200, '2002000'), test.doubted('TOLDW1'), test.doubted('TOLDW2'), test.inquire('TOLDW2', 'paid');

-- a notice that says nothing puts no inquiry off
select test.bulk('TOLDX', 2), test.answer('TOLDX1', 'yes', 'ok', 200, '2002000');
update payout.payout set status_due_at = payout.clock() + interval '5 s', status_tries = 20 where merchant_id = 'TOLDMERC01' and reference_no in ('TOLDX1', 'TOLDX2');
select p.status_due_at as due from test.payout('TOLDX1') p \gset
select test.bulk_notice((test.batch_of('TOLDX1')).batch_id, c, 'TOLDX1'), (test.payout('TOLDX1')).status_due_at <= :'due' as not_later, (test.payout('TOLDX1')).status_tries from unnest(array['5002100', '2022100', '5002100']) c;
-- what was accepted over an hour ago, and is asked for without an answer that fits, is counted; not what the bank says is under way
select test.health_of('unanswered');
update payout.payout set status_tries = 0 where merchant_id = 'TOLDMERC01' and reference_no in ('TOLDX1', 'TOLDX2');
select string_agg(test.inquire('TOLDX1', 'unknown'), ' ') from generate_series(1, 3);
select test.health_of('unanswered');
update payout.batch set sent_at = sent_at - interval '61 min' where batch_id = (test.batch_of('TOLDX1')).batch_id;
select test.health_of('unanswered'), detail from payout.health() where check_name = 'unanswered';
select test.inquire('TOLDX1', 'pending'), test.health_of('unanswered');
select string_agg(test.inquire('TOLDX2', 'unknown'), ' ') from generate_series(1, 3);
select test.health_of('unanswered'), test.inquire('TOLDX2', 'paid'), test.health_of('unanswered');
select check_name, detail from payout.verify();
