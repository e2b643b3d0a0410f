-- books.sql: a channel stands for one bank's books at a time. What was sent to those of before is neither sent nor asked for at the next bank, and each bank checks accounts once.
\getenv tree PG_ABS_SRCDIR
\set fixture :tree /sql/include/fixture.inc
\i :fixture
select test.set_up('BOOKSMER01', 'BOOCH', 'BOOBANK', 5000000, '{}', '{"mode": "single"}');
select test.live() >= 0 as alive;
create function test.bk_change(p_options text) returns text language plpgsql as $$
declare
	answer text := test.sqlstate_of(format('select payout.alter_channel(%L, %L)', 'BOOCH', p_options));
begin
	return answer || ' ' || (select c.epoch from payout.channel c where c.channel_id = 'BOOCH');
end $$;
create function test.bk_bank(n integer) returns text language plpgsql as $$
declare
	answer text;
begin
	perform payout.pause_channel('BOOCH', 'another bank');
	answer := test.bk_change(format('{"base_url": "https://bank%s.example"}', n));
	perform payout.resume_channel('BOOCH');
	return answer;
end $$;
-- Its account checked by the bank of today.
create function test.bk_order(p_reference text, p_count integer default null) returns text language plpgsql as $$
begin
	for i in 1 .. coalesce(p_count, 1) loop
		perform test.pay('BOOKSMER01', 'BOOBANK', p_reference || case when p_count is null then '' else i::text end);
	end loop;
	update payout.payout set check_epoch = (select c.epoch from payout.channel c where c.channel_id = 'BOOCH') where merchant_id = 'BOOKSMER01' and state = 'approved';
	return test.send('BOOCH', 100);
end $$;
create function test.bk_booked(p_reference text) returns payout.batch language sql as $$ select b from test.payout(p_reference) p join payout.batch b on b.channel_id = p.channel_id and b.batch_id = p.batch_id $$;
create function test.bk_noticed(p_batch_id uuid, p_code text, variadic p_references text[]) returns text language sql as $$
	select concat_ws(' ', nullif(n.misfits, ''), test.state(variadic p_references))
	from payout.apply_notice('BOOCH', jsonb_build_object('bulkId', '', 'partnerBulkId', p_batch_id, 'bulkObject',
		(select jsonb_agg(jsonb_build_object('originalPartnerReferenceNo', test.txid(r), 'responseCode', p_code, 'beneficiaryAccountNo', '8811111111')) from unnest(p_references) r))) n $$;
create function test.bk_waits(p_reference text) returns text language sql as $$
	select concat_ws(', ', p.state, case when p.doubted_at is not null then 'in doubt' end, case when p.status_due_at is not null then 'to be asked for' end, (select 'held in ' || string_agg(h.lane, ' ') from payout.hold h where h.txid = p.txid)) from test.payout(p_reference) p $$;
create function test.bk_health_of(p_check text) returns text language sql as $$ select h.status || ': ' || h.detail from payout.health() h where h.check_name = p_check $$;
create function test.bk_resolved(p_reference text, p_outcome text) returns text language sql as $$ select test.sqlstate_of(format('select payout.resolve(%L, %L, %L, %L)', 'BOOKSMER01', test.txid(p_reference), p_outcome, 'the bank of before has said so')) $$;

-- never used: no pause is needed; the word that the books are the same changes nothing, nor does any other option
select test.bk_change('{"base_url": "https://bank2.example"}'), test.bk_change('{"base_url": "https://bank3.example", "same_books": true}'), test.bk_change('{"connect_timeout_ms": 3000}');
-- used, and not paused; paused in the very transaction
select test.bk_order('BOA1'), test.answer('BOA1', 'yes', 'ok'), test.state('BOA1');
select test.bk_change('{"client_id": "OTHER"}');
begin;
select payout.pause_channel('BOOCH', 'another bank') is distinct from null as paused, test.bk_change('{"client_id": "OTHER"}');
rollback;
begin isolation level repeatable read;
select payout.pause_channel('BOOCH', 'another bank') is distinct from null as paused, test.bk_change('{"client_id": "OTHER"}');
rollback;
-- open in every way: sent and not answered, refused for now, in doubt, accepted, disputed, a paid one that is denied, a failed one of which it is said that it is under way, asked for or to be asked for
create function test.bk_stands(p_reference text, p_what text) returns text language sql as $$ select p_what || ': ' || test.bk_bank(4) || ', ' || test.bk_waits(p_reference) $$;
select test.bk_order('BOB1'), test.bk_stands('BOB1', 'sent'), test.answer('BOB1', 'refused_for_now', 'later', 404, '4041802'), test.bk_stands('BOB1', 'refused for now');
update payout.batch set due_at = payout.clock() where channel_id = 'BOOCH' and state = 'open';
select test.send('BOOCH'), test.answer('BOB1', 'unknown', 'unknown', 504, null), test.bk_stands('BOB1', 'unknown'), test.ask('check', 'BOOCH'), test.bk_stands('BOB1', 'asked for'), test.told('BOB1', 'failed'), test.bk_waits('BOB1');
select test.bk_order('BOB2'), test.answer('BOB2', 'yes', 'wait', 202, '2021800', true), test.bk_stands('BOB2', 'accepted'), test.inquire('BOB2', 'paid');
select test.bk_order('BOB3'), test.answer('BOB3', 'no', 'fail', 400, '4001801'), test.bk_waits('BOB3');
select test.bk_noticed((test.bk_booked('BOB3')).batch_id, '2022100', 'BOB3'), test.bk_stands('BOB3', 'contradicted');
select test.ask('check', 'BOOCH'), test.bk_stands('BOB3', 'contradicted and asked for'), test.told('BOB3', 'failed'), test.bk_waits('BOB3');
select test.bk_noticed((test.bk_booked('BOB3')).batch_id, '2002100', 'BOB3'), test.bk_stands('BOB3', 'disproved'), test.bk_resolved('BOB3', 'failed');
-- a merchant that asks again for a paid one keeps nobody from it
select payout.request_check('BOOKSMER01', test.txid('BOA1')) is not null as asked, test.bk_waits('BOA1'), test.bk_bank(4), test.bk_waits('BOA1');
select test.ask('check', 'BOOCH'), test.bk_waits('BOA1');
select payout.request_check('BOOKSMER01', test.txid('BOA1')) is not null as asked, test.bk_waits('BOA1'), (payout.check_answered('BOOKSMER01', test.txid('BOA1'), now())).answered;
select test.bk_health_of('other_books');

-- what the bank of before says late is believed, and nobody is asked: a person decides
select test.bk_noticed((test.bk_booked('BOB3')).batch_id, '2022100', 'BOB3'), test.bk_waits('BOB3'), test.ask('check', 'BOOCH'), test.bk_waits('BOB3');
select test.bk_noticed((test.bk_booked('BOB1')).batch_id, '2002100', 'BOB1'), test.bk_waits('BOB1'), test.bk_resolved('BOB1', 'paid'), test.bk_waits('BOB1');
select regexp_replace(test.bk_health_of('other_books'), 'since .*', 'since') as other_books, test.bk_resolved('BOB3', 'dispatch'), test.bk_waits('BOB3');
select check_name, detail from payout.verify();
-- it keeps nobody from the next change
select test.bk_bank(5);
select test.bk_resolved('BOB3', 'failed'), test.bk_waits('BOB3'), test.bk_health_of('other_books');

-- numbers are the bank's: each counts from 1
create function test.bk_answer_number(p_reference text, p_number text) returns text language plpgsql as $$
declare
	a payout.attempt := test.attempt('dispatch', p_reference);
begin
	perform payout.record_transfers(a.incarnation_id, array[a.channel_id], array[a.attempt_id], '{yes}', '{ok}', '{200}', '{2001800}', '{5}', '{null}', array[p_number], '{false}');
	return test.state(p_reference);
end $$;
select test.bk_order('BOC', 2), test.bk_answer_number('BOC1', 'BONR1');
select test.bk_bank(6) as not_while_one_is_out, test.bk_answer_number('BOC2', 'BONR2'), test.bk_bank(6);
select test.bk_order('BOD', 4), test.bk_answer_number('BOD1', 'BONR1'), test.bk_answer_number('BOD2', 'BONR1'), test.inquire('BOD2', 'paid', true, 'BONR1'), test.inquire('BOD2', 'paid', true, 'BONR2');
select test.answer('BOD3', 'unknown', 'unknown', 504, null), test.inquire('BOD3', 'paid', true, 'BONR2'), test.inquire('BOD3', 'paid', true, 'BONR3');
select test.answer('BOD4', 'unknown', 'unknown', 504, null), test.inquire('BOD4', 'paid');
select check_name, detail from payout.verify();

-- whatever of an earlier epoch would go is asked for, that is: set aside. (Nothing of the kind is left by a change.)
select test.bk_order('BOE', 3), test.answer('BOE1', 'not_sent', null, 0), test.answer('BOE2', 'refused_for_now', 'later', 404, '4041802'), test.answer('BOE3', 'unknown', 'unknown', 504, null);
begin;
update payout.channel set epoch = epoch + 1, not_before = null where channel_id = 'BOOCH';
update payout.batch set due_at = payout.clock() where channel_id = 'BOOCH' and state = 'open';
select test.send('BOOCH', 100), test.bk_waits('BOE1'), test.bk_waits('BOE2'), test.bk_waits('BOE3');
select test.ask('check', 'BOOCH'), test.bk_waits('BOE1'), test.bk_waits('BOE2'), test.bk_waits('BOE3');
select test.bk_resolved('BOE1', 'dispatch'), test.bk_resolved('BOE3', 'dispatch'), test.bk_resolved('BOE3', 'failed'), test.bk_waits('BOE3');
select check_name, detail from payout.verify();
rollback;
update payout.channel set not_before = null where channel_id = 'BOOCH';
update payout.batch set due_at = payout.clock() where channel_id = 'BOOCH' and state = 'open';
select test.send('BOOCH', 100), test.answer('BOE1', 'yes', 'ok'), test.answer('BOE2', 'yes', 'ok'), test.inquire('BOE3', 'paid');

-- what a lost tail may have taken the record of keeps the bank behind the channel: approved, scheduled and registered
begin;
select test.register('BOOKSMER01', 'BOOBANK', 'BOF1');
select payout.begin_lost_tail(i, payout.new_id()) >= 0 as lost from payout.incarnation i where i.ended_at is null;
select test.bk_bank(7), test.state('BOF1');
update payout.payout set account_check = 'matched', check_due_at = null, check_epoch = 5 where reference_no = 'BOF1';
select state from payout.approve('BOOKSMER01', test.txid('BOF1'));
select test.bk_bank(7);
-- once asked for it is open, or at its end
select test.send('BOOCH'), test.state('BOF1'), test.bk_bank(7), test.inquire('BOF1', 'paid'), test.bk_bank(7);
rollback;
begin;
select state from payout.register('BOOKSMER01', 'BOF3', 10000, 'BOOBANK', '8811111111', 'Budi Santoso', 'online', null, date_trunc('second', clock_timestamp()) + interval '2 hours');
select state from payout.approve('BOOKSMER01', test.txid('BOF3'));
select test.bk_bank(7) as not_lost;
select payout.begin_lost_tail(i, payout.new_id()) >= 0 as lost from payout.incarnation i where i.ended_at is null;
select test.bk_bank(8);
rollback;

-- accounts: asked by the bank that is to pay, once, until its own deadline; what comes of it holds
select payout.alter_channel('BOOCH', '{"on_check_unavailable": "dispatch", "check_deadline_s": 60}') is distinct from null as altered;
select test.register('BOOKSMER01', 'BOOBANK', 'BOG' || i) from generate_series(1, 5) i;
select test.ask('validate', 'BOOCH');
select string_agg(test.named('BOG' || i, 'yes', 'Budi Santoso')::text, ' ') from generate_series(1, 4) i;
select test.bk_bank(7) as one_is_being_asked_for, string_agg((payout.approve('BOOKSMER01', test.txid('BOG' || i))).state, ' ') from generate_series(1, 5) i;
create function test.bk_checks(variadic p_references text[]) returns text language sql as $$ select string_agg((test.payout(r)).account_check || case when (test.payout(r)).check_due_at is null then '' else ', to be asked for' end, '; ' order by n) from unnest(p_references) with ordinality u (r, n) $$;
-- the answer of the bank of before is none: it is asked for again
select test.send('BOOCH', 100), test.bk_checks('BOG1', 'BOG5'), test.named('BOG5', 'yes', 'Budi Santoso'), test.bk_checks('BOG5'), test.send('BOOCH', 100), test.bk_checks('BOG5');
select test.ask('validate', 'BOOCH'), test.named('BOG1', 'yes', 'Budi Santoso'), test.named('BOG2', 'no', null, 400, 'fail'), test.named('BOG3', 'no', null, 404, 'fail'), test.named('BOG4', 'yes', 'Siti Aminah'), test.named('BOG5', 'yes', 'Budi Santoso');
select test.bk_checks('BOG1', 'BOG2', 'BOG3', 'BOG4', 'BOG5'), test.send('BOOCH', 100), test.state('BOG1', 'BOG2', 'BOG3', 'BOG4', 'BOG5');
-- no answer until the deadline, which is not put off
create function test.bk_deadline(p_reference text) returns timestamptz language sql as $$ select (test.payout(p_reference)).check_deadline_at $$;
select test.bk_deadline('BOG2') as before \gset
update payout.payout set check_due_at = payout.clock() where txid = test.txid('BOG2');
select test.ask('validate', 'BOOCH'), test.named('BOG2', 'no', null, 400, 'fail'), test.bk_deadline('BOG2') = :'before' as same;
update payout.payout set check_deadline_at = payout.clock(), check_due_at = payout.clock() where txid = test.txid('BOG2');
select test.ask('validate', 'BOOCH'), test.named('BOG2', 'no', null, 400, 'fail'), test.bk_checks('BOG2'), test.send('BOOCH'), test.state('BOG2');
select string_agg(test.answer('BOG' || i, 'yes', 'ok')::text, ' ') from unnest('{1,2,5}'::integer[]) i;
select test.bk_waits('BOG4'), test.bk_resolved('BOG4', 'failed');
select check_name, detail from payout.verify();

-- the bank has received a bulk that it refused whole: a denial that names no sending may be of that one, and is none of the half's
select payout.alter_channel('BOOCH', '{"mode": "bulk"}') is distinct from null as altered;
select test.bk_order('BOH', 4), test.answer('BOH1', 'no', 'fail', 404, '4042011'), test.send('BOOCH'), test.answer('BOH1', 'yes', 'ok'), test.answer('BOH3', 'no', 'fail', 404, '4042011'), test.send('BOOCH'), test.answer('BOH3', 'yes', 'ok'), test.answer('BOH4', 'yes', 'ok');
select test.inquire('BOH1', 'failed', false), test.inquire('BOH3', 'canceled', false), test.inquire('BOH4', 'refunded', false), test.inquire('BOH1', 'failed'), test.inquire('BOH3', 'paid');
select cardinality(string_to_array(payout.external_ids('BOOCH', (test.bk_booked('BOH4')).batch_id), ' ')) as received, (select count(*) from payout.line('BOOCH', (test.bk_booked('BOH4')).batch_id)) as batches, payout.count_sendings(test.payout('BOH4')) as may_be_booked;
-- a notice names the batch: under the half's id it is of the half, under the bulk's of both
select test.bk_noticed((test.bk_booked('BOH2')).batch_id, '4042111', 'BOH2'), test.bk_noticed((select b.parent_batch_id from payout.batch b where b.batch_id = (test.bk_booked('BOH4')).batch_id), '4042111', 'BOH4'), test.bk_waits('BOH4'), test.inquire('BOH4', 'failed'), test.inquire('BOH4', 'failed');
select check_name, detail from payout.verify();

-- a decision to send again is as old as it is, whatever becomes of the queue: held and released, paused and resumed
select payout.alter_channel('BOOCH', '{"mode": "single", "reference_memory_s": null}') is distinct from null as altered;
select test.bk_order('BOI', 3);
select string_agg(test.answer('BOI' || i, 'unknown', 'unknown', 504, null)::text, ' ') from generate_series(1, 3) i;
select string_agg(test.inquire('BOI' || i, 'not_found') || ' ' || test.inquire('BOI' || i, 'not_found') || ' ' || test.bk_resolved('BOI' || i, 'dispatch'), ', ') from generate_series(1, 3) i;
insert into payout.hold (merchant_id, txid, lane, reason) select 'BOOKSMER01', test.txid('BOI' || i), 'dispatch', 'looks like fraud' from generate_series(1, 2) i;
select payout.pause_channel('BOOCH', 'a while') is distinct from null as paused;
select (test.bk_booked('BOI1')).decided_at is not null as decided;
update payout.batch b set decided_at = b.decided_at - interval '61 s' from payout.payout p where p.txid in (test.txid('BOI1'), test.txid('BOI3')) and b.channel_id = p.channel_id and b.batch_id = p.batch_id;
select test.bk_resolved('BOI1', 'dispatch'), test.bk_resolved('BOI2', 'dispatch'), payout.resume_channel('BOOCH') is distinct from null as resumed;
select test.send('BOOCH', 100), test.bk_waits('BOI1'), test.bk_waits('BOI2'), test.bk_waits('BOI3');
select test.answer('BOI2', 'yes', 'ok'), test.inquire('BOI1', 'paid'), test.inquire('BOI3', 'paid'), (test.bk_booked('BOI1')).decided_at;

-- accepted, and never found: a person is told
select test.bk_order('BOJ1'), test.answer('BOJ1', 'yes', 'wait', 202, '2021800', true), test.inquire('BOJ1', 'not_found'), test.bk_health_of('accepted_not_found'), test.inquire('BOJ1', 'not_found'), test.bk_health_of('accepted_not_found');
select test.ask('check', 'BOOCH') >= 0 as asked, test.bk_health_of('accepted_not_found') as while_asked;
update payout.payout set status_due_at = '-infinity' where reference_no = 'BOJ1';
select test.ask('check', 'BOOCH', 1), test.told('BOJ1', 'pending'), test.bk_health_of('accepted_not_found'), test.inquire('BOJ1', 'paid');
select check_name, detail from payout.verify();
