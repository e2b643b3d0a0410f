-- sendings.sql: a payout that was sent more than once: each sending that may have been booked is asked for, before a denial moves money and before it goes again.
\getenv tree PG_ABS_SRCDIR
\set fixture :tree /sql/include/fixture.inc
\i :fixture
select test.set_up('SENDINGS01', 'SENCH', 'SENBANK', 1000000, '{}', '{"mode": "single"}');
select test.live() >= 0 as alive;
-- The sendings that were asked for, in order, by their number.
create function test.asked(p_reference text) returns text language sql as $$
	with sent as (select d.attempt_id, row_number() over (order by d.started_at) as n from payout.attempt d where d.batch_id = (test.payout(p_reference)).batch_id)
	select string_agg(coalesce(s.n::text, '-') || ' ' || coalesce(c.answer, '?'), ', ' order by c.started_at)
	from payout.attempt c left join sent s on s.attempt_id = c.asked_attempt_id where c.txid = test.txid(p_reference) and c.lane = 'check' $$;
create function test.lost(p_reference text) returns text language sql as $$ select test.inquire(p_reference, 'not_found') || ' ' || test.inquire(p_reference, 'not_found') $$;
create function test.unknown(p_reference text, p_code text default null) returns boolean language sql as $$ select test.answer(p_reference, 'unknown', 'unknown', 200, p_code) $$;
create function test.held(p_reference text) returns text language sql as $$ select h.lane || case when h.reason like '%reference_memory_s%' then ' memory' when h.reason like '%refuses this order%' then ' refused' else ' ' || h.reason end from payout.hold h where h.txid = test.txid(p_reference) $$;
-- What the bank says by a notice, in this session.
create function test.notice(p_status text, variadic p_references text[]) returns text language plpgsql as $$
begin
	perform payout.believe(array_agg(row(p.merchant_id, p.txid, p_status, null, null, '4030005', null, 'notice')::payout.bank_word)) from unnest(p_references) r (r), test.payout(r.r) p;
	return test.state(variadic p_references);
end $$;

-- each sending is asked for in turn, and the first one is found though the second was denied
select test.pay('SENDINGS01', 'SENBANK', 'A' || i) from generate_series(1, 4) i;
select test.send('SENCH', 100);
select string_agg(test.unknown('A' || i)::text, ' ') from generate_series(1, 4) i;
select string_agg(test.lost('A' || i), ', ' order by i) from generate_series(1, 4) i;
select test.send('SENCH', 100);
select string_agg(test.unknown('A' || i)::text, ' ') from generate_series(1, 4) i;
select test.inquire('A1', 'failed'), test.inquire('A1', 'paid'), test.asked('A1');
select test.money('A1');
-- a denial of one is not one of the other; "not found" of the other is, often enough
select test.inquire('A2', 'failed'), test.inquire('A2', 'not_found'), test.inquire('A2', 'failed'), test.inquire('A2', 'not_found'), test.inquire('A2', 'canceled'), test.asked('A2');
select test.money('A2');
-- nor does it go again for what the bank said of one of them
select test.inquire('A3', 'not_found'), test.inquire('A3', 'pending'), test.inquire('A3', 'not_found'), test.inquire('A3', 'not_found'), test.send('SENCH'), test.asked('A3');
select test.inquire('A3', 'not_found'), test.inquire('A3', 'not_found'), test.send('SENCH'), test.answer('A3', 'yes', 'ok'), test.state('A3');
-- each once at once, then with patience; a notice begins anew
select test.inquire('A4', 'pending'), (test.payout('A4')).status_due_at <= payout.clock() as at_once, test.inquire('A4', 'pending'), (test.payout('A4')).status_due_at <= payout.clock() as at_once2;
select test.notice('failed', 'A4'), (test.payout('A4')).status_due_at <= payout.clock() as at_once, test.inquire('A4', 'failed'), (test.payout('A4')).status_due_at <= payout.clock() as at_once2, test.inquire('A4', 'refunded');

-- a late notice of the first sending, while the second is out, after it ended, and after it was accepted
select test.pay('SENDINGS01', 'SENBANK', 'B' || i) from generate_series(1, 5) i;
select test.send('SENCH', 100);
select string_agg(test.unknown('B' || i)::text, ' ') from generate_series(1, 5) i;
select test.notice('failed', 'B5');
select string_agg(test.lost('B' || i), ', ' order by i) from generate_series(1, 4) i;
select test.send('SENCH', 100), test.notice('failed', 'B1', 'B2', 'B3');
select test.answer('B1', 'yes', 'ok'), test.answer('B2', 'yes', 'wait', 202, '2021800', true), test.unknown('B3'), test.state('B1', 'B2', 'B3');
select test.notice('failed', 'B1', 'B2', 'B3'), test.notice('canceled', 'B2'), (test.payout('B3')).status_due_at <= payout.clock() as at_once;
select test.inquire('B1', 'failed'), test.inquire('B1', 'paid'), test.inquire('B2', 'paid'), test.inquire('B3', 'not_found'), test.inquire('B3', 'paid');
-- an older snapshot may not see the sending that is out: a notice moves nothing in it
select test.pay('SENDINGS01', 'SENBANK', 'B6'), test.send('SENCH'), test.unknown('B6');
begin isolation level repeatable read;
select test.notice('failed', 'B6'), (test.payout('B6')).status_due_at <= payout.clock() as at_once;
commit;
select test.notice('failed', 'B6');
-- what was in doubt and then did not leave is asked for anew, not sent again
select test.answer('B4', 'refused_for_now', 'auth', 401, '4011801'), test.state('B4');
select test.asked('B4'), b.state, b.tries from payout.batch b where b.batch_id = (test.payout('B4')).batch_id;
select test.send('SENCH'), test.inquire('B4', 'not_found'), test.send('SENCH'), test.inquire('B4', 'not_found'), test.send('SENCH'), test.answer('B4', 'not_sent', 'unknown', 0), test.state('B4');
select test.lost('B4'), test.send('SENCH'), test.answer('B4', 'not_sent', null, 0), test.state('B4'), (test.payout('B4')).not_found;
-- and so is what could not be sent again for a minute
select test.lost('B4');
update payout.batch set due_at = due_at - interval '61 s' where batch_id = (test.payout('B4')).batch_id;
select (payout.pause_channel('SENCH', 'a while')).channel_id, (payout.resume_channel('SENCH')).channel_id as resumed, test.send('SENCH'), test.state('B4'), (test.payout('B4')).not_found;
select test.lost('B4'), test.send('SENCH'), test.answer('B4', 'yes', 'ok'), test.state('B4');

-- a bulk of two: both members, each sending
select payout.alter_channel('SENCH', '{"mode": "bulk"}') is distinct from null as altered;
select test.pay('SENDINGS01', 'SENBANK', 'C' || i) from generate_series(1, 2) i;
select test.send('SENCH'), test.unknown('C1'), test.lost('C1'), test.lost('C2'), test.send('SENCH'), test.unknown('C1');
select test.notice('failed', 'C1', 'C2');
select test.inquire('C1', 'failed'), test.inquire('C1', 'failed'), test.inquire('C2', 'not_found'), test.inquire('C2', 'not_found'), test.inquire('C2', 'not_found'), test.inquire('C2', 'not_found'), test.send('SENCH');

-- without the bank's word on how long it refuses a reference a person decides, on any member, for all of them
select payout.alter_channel('SENCH', '{"reference_memory_s": null}') is distinct from null as altered;
select test.pay('SENDINGS01', 'SENBANK', 'D' || i) from generate_series(1, 3) i;
select test.send('SENCH'), test.unknown('D1'), test.lost('D1'), test.lost('D2'), test.inquire('D3', 'not_found'), test.held('D1');
select state from payout.resolve('SENDINGS01', test.txid('D1'), 'dispatch', 'too early');
select test.inquire('D3', 'not_found'), test.send('SENCH'), test.held('D1'), test.held('D2'), test.held('D3');
select test.inquire('D3', 'not_found'), (test.payout('D3')).status_due_at > payout.clock() as asked_later, test.held('D3');
select check_name, detail from payout.verify();
select batch_id as d from payout.payout where reference_no = 'D2' \gset
select state, reason from payout.resolve('SENDINGS01', test.txid('D2'), 'dispatch', 'the bank knows nothing of it');
select test.state('D1', 'D2', 'D3'), count(*) as holds from payout.hold;
select test.send('SENCH'), test.answer('D1', 'yes', 'ok', 200, '2002000'), test.state('D1', 'D2', 'D3'), (test.payout('D3')).batch_id = :'d' as same_batch;
select state from payout.resolve('SENDINGS01', test.txid('D2'), 'dispatch', 'twice');
-- not when one of them is known, or is being asked anew
select test.pay('SENDINGS01', 'SENBANK', 'E' || i) from generate_series(1, 2) i;
select test.send('SENCH'), test.unknown('E1'), test.lost('E1'), test.lost('E2'), test.held('E1'), test.inquire('E2', 'pending');
select state from payout.resolve('SENDINGS01', test.txid('E1'), 'dispatch', 'it is there');
select test.lost('E2'), test.inquire('E2', 'paid'), test.state('E1', 'E2');
select state from payout.resolve('SENDINGS01', test.txid('E1'), 'dispatch', 'it is there');
select state from payout.resolve('SENDINGS01', test.txid('E1'), 'paid', 'it is there as well');
-- the bank's word has an end: counted from the first sending, a request's time before
select payout.alter_channel('SENCH', '{"mode": "single", "reference_memory_s": 31, "request_timeout_ms": 600000}') is distinct from null as altered;
select test.pay('SENDINGS01', 'SENBANK', 'F' || i) from generate_series(1, 2) i;
select test.send('SENCH'), test.unknown('F1'), test.unknown('F2'), test.lost('F1'), test.held('F1'), test.send('SENCH');
select payout.alter_channel('SENCH', '{"reference_memory_s": 31536000}') is distinct from null as altered;
select test.inquire('F1', 'not_found'), test.send('SENCH'), test.lost('F2'), test.held('F2'), test.send('SENCH'), test.answer('F2', 'yes', 'ok');
select state from payout.resolve('SENDINGS01', test.txid('F1'), 'dispatch', 'in spite of it');
select test.send('SENCH'), test.answer('F1', 'yes', 'ok'), test.state('F1', 'F2');
select payout.alter_channel('SENCH', '{"reference_memory_s": 0}');
select payout.alter_channel('SENCH', '{"reference_memory_s": 315360001}');

-- the same final refusal under a success's status, twice, and never found: not a third time
select test.pay('SENDINGS01', 'SENBANK', 'G' || i) from generate_series(1, 3) i;
select test.send('SENCH');
select string_agg(test.unknown('G' || i, '4041811')::text || test.lost('G' || i), ' ') from generate_series(1, 3) i;
select test.send('SENCH'), test.unknown('G1', '4041811'), test.unknown('G2', '4031805'), test.answer('G3', 'no', 'fail', 404, '4041811');
select test.lost('G1'), test.lost('G1'), test.held('G1'), test.lost('G2'), test.lost('G2'), coalesce(test.held('G2'), 'not held'), test.lost('G3'), coalesce(test.held('G3'), 'not held');
select test.send('SENCH'), test.answer('G2', 'yes', 'ok');
select state from payout.resolve('SENDINGS01', test.txid('G1'), 'failed', 'the account is closed');
select state from payout.resolve('SENDINGS01', test.txid('G3'), 'failed', 'the account is closed');

-- what is recorded of an end changes with a history row only, and takes no text that is no reference
select test.pay('SENDINGS01', 'SENBANK', 'H' || i) from generate_series(1, 2) i;
select test.send('SENCH'), test.answer('H1', 'yes', 'ok'), test.unknown('H2'), test.inquire('H2', 'unknown');
create function test.word(p_reference text, p_status text, p_number text) returns text language plpgsql as $$
begin
	perform payout.believe(array[row(p.merchant_id, p.txid, p_status, null, null, '2000000', p_number, 'notice')::payout.bank_word]) from test.payout(p_reference) p;
	return (select concat_ws(' ', p.state, p.response_code, coalesce(p.bank_reference_no, '-'), p.events) from test.payout(p_reference) p);
end $$;
update payout.payout set bank_reference_no = null where reference_no in ('H1', 'H2');
select test.word('H1', 'pending', n) from unnest(array['', repeat('x', 65), E'a\nb\x01', ' ', null]) n;
select test.word('H1', 'pending', 'FIRST'), test.word('H1', 'paid', 'SECOND'), test.word('H1', 'unknown', '');
select event_no, from_state, to_state, reason from payout.payout_event where txid = test.txid('H1') order by event_no desc limit 1;
select test.word('H2', 'paid', E'\x7f'), test.word('H2', 'paid', 'OWN'), test.word('H2', 'failed', 'OTHER');
select check_name, detail from payout.verify();
