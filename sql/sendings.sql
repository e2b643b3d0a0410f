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
create function test.noticed(p_status text, variadic p_references text[]) returns text language plpgsql as $$
begin
	perform payout.believe(array_agg(row(p.merchant_id, p.txid, p_status, null, null, '4030005', null, 'notice')::payout.bank_word)) from unnest(p_references) r (r), test.payout(r.r) p;
	return test.state(variadic p_references);
end $$;

-- each sending is asked for in turn, and the first one is found though the second was denied
select test.pay('SENDINGS01', 'SENBANK', 'SNDA' || i) from generate_series(1, 4) i;
select test.send('SENCH', 100);
select string_agg(test.unknown('SNDA' || i)::text, ' ') from generate_series(1, 4) i;
select string_agg(test.lost('SNDA' || i), ', ' order by i) from generate_series(1, 4) i;
select test.send('SENCH', 100);
select string_agg(test.unknown('SNDA' || i)::text, ' ') from generate_series(1, 4) i;
select test.inquire('SNDA1', 'failed'), test.inquire('SNDA1', 'paid'), test.asked('SNDA1');
select test.money('SNDA1');
-- a denial of one is not one of the other; "not found" of the other is, often enough
select test.inquire('SNDA2', 'failed'), test.inquire('SNDA2', 'not_found'), test.inquire('SNDA2', 'failed'), test.inquire('SNDA2', 'not_found'), test.inquire('SNDA2', 'canceled'), test.asked('SNDA2');
select test.money('SNDA2');
-- nor does it go again for what the bank said of one of them
select test.inquire('SNDA3', 'not_found'), test.inquire('SNDA3', 'pending'), test.inquire('SNDA3', 'not_found'), test.inquire('SNDA3', 'not_found'), test.send('SENCH'), test.asked('SNDA3');
select test.inquire('SNDA3', 'not_found'), test.inquire('SNDA3', 'not_found'), test.send('SENCH'), test.answer('SNDA3', 'yes', 'ok'), test.state('SNDA3');
-- each once at once, then with patience; a notice begins anew
select test.inquire('SNDA4', 'pending'), (test.payout('SNDA4')).status_due_at <= payout.clock() as at_once, test.inquire('SNDA4', 'pending'), (test.payout('SNDA4')).status_due_at <= payout.clock() as at_once2;
select test.noticed('failed', 'SNDA4'), (test.payout('SNDA4')).status_due_at <= payout.clock() as at_once, test.inquire('SNDA4', 'failed'), (test.payout('SNDA4')).status_due_at <= payout.clock() as at_once2, test.inquire('SNDA4', 'refunded');

-- a late notice of the first sending, while the second is out, after it ended, and after it was accepted
select test.pay('SENDINGS01', 'SENBANK', 'SNDB' || i) from generate_series(1, 5) i;
select test.send('SENCH', 100);
select string_agg(test.unknown('SNDB' || i)::text, ' ') from generate_series(1, 5) i;
select test.noticed('failed', 'SNDB5');
select string_agg(test.lost('SNDB' || i), ', ' order by i) from generate_series(1, 4) i;
select test.send('SENCH', 100), test.noticed('failed', 'SNDB1', 'SNDB2', 'SNDB3');
select test.answer('SNDB1', 'yes', 'ok'), test.answer('SNDB2', 'yes', 'wait', 202, '2021800', true), test.unknown('SNDB3'), test.state('SNDB1', 'SNDB2', 'SNDB3');
select test.noticed('failed', 'SNDB1', 'SNDB2', 'SNDB3'), test.noticed('canceled', 'SNDB2'), (test.payout('SNDB3')).status_due_at <= payout.clock() as at_once;
select test.inquire('SNDB1', 'failed'), test.inquire('SNDB1', 'paid'), test.inquire('SNDB2', 'paid'), test.inquire('SNDB3', 'not_found'), test.inquire('SNDB3', 'paid');
-- an older snapshot may not see the sending that is out: a notice moves nothing in it
select test.pay('SENDINGS01', 'SENBANK', 'SNDB6'), test.send('SENCH'), test.unknown('SNDB6');
begin isolation level repeatable read;
select test.noticed('failed', 'SNDB6'), (test.payout('SNDB6')).status_due_at <= payout.clock() as at_once;
commit;
select test.noticed('failed', 'SNDB6');
-- what was in doubt and then did not leave is asked for anew, not sent again
select test.answer('SNDB4', 'refused_for_now', 'auth', 401, '4011801'), test.state('SNDB4');
select test.asked('SNDB4'), b.state, b.tries from payout.batch b where b.batch_id = (test.payout('SNDB4')).batch_id;
select test.send('SENCH'), test.inquire('SNDB4', 'not_found'), test.send('SENCH'), test.inquire('SNDB4', 'not_found'), test.send('SENCH'), test.answer('SNDB4', 'not_sent', 'unknown', 0), test.state('SNDB4');
select test.lost('SNDB4'), test.send('SENCH'), test.answer('SNDB4', 'not_sent', null, 0), test.state('SNDB4'), (test.payout('SNDB4')).not_found;
-- and so is what could not be sent again for a minute
select test.lost('SNDB4');
update payout.batch set decided_at = decided_at - interval '61 s' where batch_id = (test.payout('SNDB4')).batch_id;
select (payout.pause_channel('SENCH', 'a while')).channel_id, (payout.resume_channel('SENCH')).channel_id as resumed, test.send('SENCH'), test.state('SNDB4'), (test.payout('SNDB4')).not_found;
select test.lost('SNDB4'), test.send('SENCH'), test.answer('SNDB4', 'yes', 'ok'), test.state('SNDB4');

-- a bulk of two: both members, each sending
select payout.alter_channel('SENCH', '{"mode": "bulk"}') is distinct from null as altered;
select test.pay('SENDINGS01', 'SENBANK', 'SNDC' || i) from generate_series(1, 2) i;
select test.send('SENCH'), test.unknown('SNDC1'), test.lost('SNDC1'), test.lost('SNDC2'), test.send('SENCH'), test.unknown('SNDC1');
select test.noticed('failed', 'SNDC1', 'SNDC2');
select test.inquire('SNDC1', 'failed'), test.inquire('SNDC1', 'failed'), test.inquire('SNDC2', 'not_found'), test.inquire('SNDC2', 'not_found'), test.inquire('SNDC2', 'not_found'), test.inquire('SNDC2', 'not_found'), test.send('SENCH');
-- what the bank does not find of a batch that it knows waits for a person, who says what became of it; it cannot go again
select test.held('SNDC2') like '%another payout of its batch is known%' as held;
select state from payout.resolve('SENDINGS01', test.txid('SNDC2'), 'dispatch', 'alone');
select state from payout.resolve('SENDINGS01', test.txid('SNDC2'), 'failed', 'the bank knows nothing of it');
select count(*) as holds from payout.hold h where h.txid = test.txid('SNDC2');

-- without the bank's word on how long it refuses a reference a person decides, on any member, for all of them
select payout.alter_channel('SENCH', '{"reference_memory_s": null}') is distinct from null as altered;
select test.pay('SENDINGS01', 'SENBANK', 'SNDD' || i) from generate_series(1, 3) i;
select test.send('SENCH'), test.unknown('SNDD1'), test.lost('SNDD1'), test.lost('SNDD2'), test.inquire('SNDD3', 'not_found'), test.held('SNDD1');
select state from payout.resolve('SENDINGS01', test.txid('SNDD1'), 'dispatch', 'too early');
select test.inquire('SNDD3', 'not_found'), test.send('SENCH'), test.held('SNDD1'), test.held('SNDD2'), test.held('SNDD3');
select test.inquire('SNDD3', 'not_found'), (test.payout('SNDD3')).status_due_at > payout.clock() as asked_later, test.held('SNDD3');
select check_name, detail from payout.verify();
select batch_id as d from payout.payout where reference_no = 'SNDD2' \gset
select state, reason from payout.resolve('SENDINGS01', test.txid('SNDD2'), 'dispatch', 'the bank knows nothing of it');
select test.state('SNDD1', 'SNDD2', 'SNDD3'), count(*) as holds from payout.hold where merchant_id = 'SENDINGS01' and txid in (test.txid('SNDD1'), test.txid('SNDD2'), test.txid('SNDD3'));
select test.send('SENCH'), test.answer('SNDD1', 'yes', 'ok', 200, '2002000'), test.state('SNDD1', 'SNDD2', 'SNDD3'), (test.payout('SNDD3')).batch_id = :'d' as same_batch;
select state from payout.resolve('SENDINGS01', test.txid('SNDD2'), 'dispatch', 'twice');
-- not when one of them is known, or is being asked anew
select test.pay('SENDINGS01', 'SENBANK', 'SNDE' || i) from generate_series(1, 2) i;
select test.send('SENCH'), test.unknown('SNDE1'), test.lost('SNDE1'), test.lost('SNDE2'), test.held('SNDE1'), test.inquire('SNDE2', 'pending');
select state from payout.resolve('SENDINGS01', test.txid('SNDE1'), 'dispatch', 'it is there');
select test.lost('SNDE2'), test.inquire('SNDE2', 'paid'), test.state('SNDE1', 'SNDE2');
select state from payout.resolve('SENDINGS01', test.txid('SNDE1'), 'dispatch', 'it is there');
select state from payout.resolve('SENDINGS01', test.txid('SNDE1'), 'paid', 'it is there as well');
-- the bank's word has an end: counted from the first sending, a request's time before
select payout.alter_channel('SENCH', '{"mode": "single", "reference_memory_s": 31, "request_timeout_ms": 600000}') is distinct from null as altered;
select test.pay('SENDINGS01', 'SENBANK', 'SNDF' || i) from generate_series(1, 2) i;
select test.send('SENCH'), test.unknown('SNDF1'), test.unknown('SNDF2'), test.lost('SNDF1'), test.held('SNDF1'), test.send('SENCH');
select payout.alter_channel('SENCH', '{"reference_memory_s": 31536000}') is distinct from null as altered;
select test.inquire('SNDF1', 'not_found'), test.send('SENCH'), test.lost('SNDF2'), test.held('SNDF2'), test.send('SENCH'), test.answer('SNDF2', 'yes', 'ok');
select state from payout.resolve('SENDINGS01', test.txid('SNDF1'), 'dispatch', 'in spite of it');
select test.send('SENCH'), test.answer('SNDF1', 'yes', 'ok'), test.state('SNDF1', 'SNDF2');
select payout.alter_channel('SENCH', '{"reference_memory_s": 0}');
select payout.alter_channel('SENCH', '{"reference_memory_s": 315360001}');

-- the same final refusal under a success's status, twice, and never found: not a third time
select test.pay('SENDINGS01', 'SENBANK', 'SNDG' || i) from generate_series(1, 3) i;
select test.send('SENCH');
select string_agg(test.unknown('SNDG' || i, '4041811')::text || test.lost('SNDG' || i), ' ') from generate_series(1, 3) i;
select test.send('SENCH'), test.unknown('SNDG1', '4041811'), test.unknown('SNDG2', '4031805'), test.answer('SNDG3', 'no', 'fail', 404, '4041811');
select test.lost('SNDG1'), test.lost('SNDG1'), test.held('SNDG1'), test.lost('SNDG2'), test.lost('SNDG2'), coalesce(test.held('SNDG2'), 'not held'), test.lost('SNDG3'), coalesce(test.held('SNDG3'), 'not held');
select test.send('SENCH'), test.answer('SNDG2', 'yes', 'ok');
select state from payout.resolve('SENDINGS01', test.txid('SNDG1'), 'failed', 'the account is closed');
select state from payout.resolve('SENDINGS01', test.txid('SNDG3'), 'failed', 'the account is closed');

-- what is recorded of an end changes with a history row only, and takes no text that is no reference
select test.pay('SENDINGS01', 'SENBANK', 'SNDH' || i) from generate_series(1, 2) i;
select test.send('SENCH'), test.unknown('SNDH2'), test.inquire('SNDH2', 'unknown');
select payout.record_transfers(a.incarnation_id, array[a.channel_id], array[a.attempt_id], '{yes}', '{ok}', '{200}', '{2001800}', '{5}', '{null}', array[null::text], '{f}')
from test.attempt('dispatch', 'SNDH1') a;
create function test.word(p_reference text, p_status text, p_number text) returns text language plpgsql as $$
begin
	perform payout.believe(array[row(p.merchant_id, p.txid, p_status, null, null, '2000000', p_number, 'notice')::payout.bank_word]) from test.payout(p_reference) p;
	return (select concat_ws(' ', p.state, p.response_code, coalesce(p.bank_reference_no, '-'), p.events) from test.payout(p_reference) p);
end $$;
update payout.payout set bank_reference_no = null where reference_no = 'SNDH2';
select test.word('SNDH1', 'pending', n) from unnest(array['', repeat('x', 65), E'a\nb\x01', ' ', null]) n;
select test.word('SNDH1', 'pending', 'FIRST'), test.word('SNDH1', 'paid', 'SECOND'), test.word('SNDH1', 'unknown', '');
select event_no, from_state, to_state, reason from payout.payout_event where txid = test.txid('SNDH1') order by event_no desc limit 1;
select test.word('SNDH2', 'paid', E'\x7f'), test.word('SNDH2', 'paid', 'OWN'), test.word('SNDH2', 'failed', 'OTHER');

-- a notice may speak of a sending that was refused for now: its denial moves nothing before, while and after another is sent
select payout.alter_channel('SENCH', '{"mode": "bulk", "request_timeout_ms": 1000, "reference_memory_s": 31536000}') is distinct from null as altered;
create function test.refused(p_reference text, p_outcome text, p_class text, p_code text) returns text language plpgsql as $$
begin
	perform test.answer(p_reference, p_outcome, p_class, left(coalesce(p_code, '0'), 3)::integer, p_code);
	update payout.batch set due_at = payout.clock() where batch_id = (test.payout(p_reference)).batch_id and state = 'open';
	perform payout.resume_channel('SENCH');
	update payout.channel set not_before = null, not_before_reason = null where channel_id = 'SENCH';
	return (select state from payout.batch where batch_id = (test.payout(p_reference)).batch_id);
end $$;
select test.pay('SENDINGS01', 'SENBANK', 'SNDI' || i) from generate_series(1, 3) i;
select test.send('SENCH'), test.refused('SNDI1', 'refused_for_now', 'later', '4032014'), test.noticed('failed', 'SNDI1');
select test.send('SENCH'), test.noticed('failed', 'SNDI1', 'SNDI2'), test.answer('SNDI1', 'yes', 'ok', 200, '2002000'), test.noticed('failed', 'SNDI1', 'SNDI2'), (test.payout('SNDI1')).status_due_at <= payout.clock() as at_once;
select test.inquire('SNDI1', 'failed'), test.inquire('SNDI2', 'paid'), test.noticed('paid', 'SNDI3'), test.money('SNDI1');
-- so it is with a token that had ended, and with a refusal of which we do not know; not with what never left
select test.pay('SENDINGS01', 'SENBANK', 'SNDJ' || i) from generate_series(1, 2) i;
select test.send('SENCH'), test.refused('SNDJ1', 'refused_for_now', 'auth', '4012001'), test.send('SENCH'), test.noticed('canceled', 'SNDJ1'), test.answer('SNDJ1', 'unknown', 'unknown', 504, null), test.noticed('refunded', 'SNDJ1', 'SNDJ2');
select test.inquire('SNDJ1', 'failed'), test.inquire('SNDJ2', 'paid');
select test.pay('SENDINGS01', 'SENBANK', 'SNDK' || i) from generate_series(1, 2) i;
select test.send('SENCH'), test.refused('SNDK1', 'not_sent', 'unknown', null), test.send('SENCH'), test.noticed('failed', 'SNDK1'), test.answer('SNDK1', 'yes', 'ok', 200, '2002000'), test.noticed('failed', 'SNDK2');
-- a notice of what was refused for now says that one was paid: the others are asked for, and wait for a person if they are never found
select test.pay('SENDINGS01', 'SENBANK', 'SNDL' || i) from generate_series(1, 3) i;
select test.send('SENCH'), test.refused('SNDL1', 'refused_for_now', 'later', '4292000'), test.noticed('paid', 'SNDL1'), test.send('SENCH'), test.state('SNDL1', 'SNDL2', 'SNDL3');
select test.inquire('SNDL2', 'not_found'), coalesce(test.held('SNDL2'), 'not held'), test.inquire('SNDL2', 'not_found'), test.held('SNDL2') like '%another payout of its batch is known%' as held, coalesce(test.held('SNDL3'), 'not held');
select test.inquire('SNDL3', 'paid'), (test.payout('SNDL2')).status_due_at is not null as asked_for;
select state from payout.resolve('SENDINGS01', test.txid('SNDL2'), 'failed', 'the bank has it not');
select count(*) as holds from payout.hold h where h.txid = test.txid('SNDL2');

-- what was decided in time may be claimed too late: the bank is asked anew, and a person decides
select payout.alter_channel('SENCH', '{"mode": "single", "reference_memory_s": 3600, "connect_timeout_ms": 1000}') is distinct from null as altered;
select test.pay('SENDINGS01', 'SENBANK', 'SNDM' || i) from generate_series(1, 4) i;
select test.send('SENCH');
select string_agg(test.unknown('SNDM' || i)::text, ' ') from generate_series(1, 4) i;
select string_agg(test.lost('SNDM' || i), ', ' order by i) from generate_series(1, 4) i;
begin;
select p.reference_no, w.leave_before - a.started_at as bound from payout.claim_dispatch('SENCH', 1) w join payout.payout p using (merchant_id, txid) join payout.attempt a on a.batch_id = w.batch_id;
rollback;
select payout.alter_channel('SENCH', '{"request_timeout_ms": 600000, "reference_memory_s": 601}') is distinct from null as altered;
select test.send('SENCH'), test.state('SNDM1', 'SNDM2'), test.lost('SNDM1'), test.held('SNDM1'), test.send('SENCH');
select payout.alter_channel('SENCH', '{"reference_memory_s": 3600}') is distinct from null as altered;
select test.lost('SNDM2') as second;
select payout.alter_channel('SENCH', '{"reference_memory_s": null}') is distinct from null as altered, test.send('SENCH'), test.state('SNDM2');
-- the connection and the token take their time as well
select payout.alter_channel('SENCH', '{"reference_memory_s": 3600, "request_timeout_ms": 1000}') is distinct from null as altered;
select test.lost('SNDM3') as third;
select payout.alter_channel('SENCH', '{"reference_memory_s": 602, "connect_timeout_ms": 600000}') is distinct from null as altered, test.send('SENCH'), test.state('SNDM3');
-- a person is not bound
select state from payout.resolve('SENDINGS01', test.txid('SNDM1'), 'dispatch', 'in spite of it');
begin;
select w.leave_before is null as unbound from payout.claim_dispatch('SENCH', 1) w;
rollback;
select test.send('SENCH'), test.unknown('SNDM1'), test.lost('SNDM1'), test.lost('SNDM1'), test.held('SNDM1');
select check_name, detail from payout.verify();

-- a denial of what is paid is looked into at every sending, however often the bank was asked before
select payout.alter_channel('SENCH', '{"reference_memory_s": 31536000, "request_timeout_ms": 1000, "connect_timeout_ms": 1000}') is distinct from null as altered;
create function test.asks_on(p_reference text) returns text language sql as $$ select state || case when status_due_at is not null then ', asked on' else '' end from test.payout(p_reference) $$;
select test.pay('SENDINGS01', 'SENBANK', 'SNDR' || i) from generate_series(1, 4) i;
select test.send('SENCH', 100);
select string_agg(test.unknown('SNDR' || i)::text, ' ') from generate_series(1, 4) i;
select string_agg(test.lost('SNDR' || i), ', ' order by i) from generate_series(1, 3) i;
select test.send('SENCH', 100);
select string_agg(test.unknown('SNDR' || i)::text, ' ') from generate_series(1, 3) i;
select string_agg(test.inquire('SNDR' || i, 'paid'), ' ' order by i) from generate_series(1, 4) i;
update payout.payout set status_tries = 500 where reference_no like 'SNDR%' and merchant_id = 'SENDINGS01';
select test.inquire('SNDR1', 'failed'), test.asks_on('SNDR1'), test.inquire('SNDR1', 'refunded'), test.asks_on('SNDR1');
select test.inquire('SNDR2', 'failed'), test.inquire('SNDR2', 'not_found'), test.asks_on('SNDR2'), test.inquire('SNDR2', 'failed'), test.inquire('SNDR2', 'not_found'), test.asks_on('SNDR2'), test.inquire('SNDR2', 'failed');
select test.inquire('SNDR3', 'canceled'), test.inquire('SNDR3', 'paid'), test.asks_on('SNDR3'), test.inquire('SNDR3', 'not_found'), test.inquire('SNDR3', 'paid'), test.asks_on('SNDR3');
-- of the only one it is believed, and "not found" is no denial
select test.inquire('SNDR4', 'not_found'), test.asks_on('SNDR4'), test.inquire('SNDR4', 'failed');

-- a denial that does not say of which sending it is counts only where the bank has received no other
select test.pay('SENDINGS01', 'SENBANK', 'SNDW' || i) from generate_series(1, 5) i;
select test.send('SENCH', 100);
select test.unknown('SNDW1'), test.lost('SNDW1'), test.refused('SNDW2', 'refused_for_now', 'later', '4031814'), test.unknown('SNDW3'), test.refused('SNDW4', 'refused_for_now', 'auth', '4011801'), test.unknown('SNDW5'), test.lost('SNDW5');
select test.send('SENCH', 100), test.unknown('SNDW1'), test.answer('SNDW2', 'yes', 'wait', 202, '2021800', true), test.unknown('SNDW4'), test.answer('SNDW5', 'yes', 'ok');
select test.inquire('SNDW1', 'failed', false), test.inquire('SNDW1', 'canceled', false), test.inquire('SNDW1', 'failed', false), test.inquire('SNDW1', 'failed', false), test.asked('SNDW1');
select test.inquire('SNDW1', 'failed'), test.inquire('SNDW1', 'failed', false), test.inquire('SNDW1', 'failed'), test.inquire('SNDW1', 'failed');
select test.inquire('SNDW2', 'failed', false), test.inquire('SNDW2', 'refunded', false), test.asked('SNDW2'), test.inquire('SNDW2', 'failed');
select test.inquire('SNDW3', 'failed', false);
select test.inquire('SNDW4', 'canceled', false), test.inquire('SNDW4', 'not_found'), test.inquire('SNDW4', 'canceled');
-- of what is paid it makes us ask for each sending, and moves nothing
select test.inquire('SNDW5', 'failed', false), test.asks_on('SNDW5'), test.inquire('SNDW5', 'failed', false), test.inquire('SNDW5', 'refunded', false), test.inquire('SNDW5', 'refunded', false), test.money('SNDW5');
select a.outcome, a.answer, a.excerpt like '%which of several sendings%' as why from payout.attempt a where a.txid = test.txid('SNDW2') and a.lane = 'check' order by a.started_at;

-- a bank's own number is of one payout: what brings another's is no word, whatever it says
create function test.number(p_reference text) returns text language sql as $$ select coalesce((test.payout(p_reference)).bank_reference_no, '-') $$;
select test.pay('SENDINGS01', 'SENBANK', 'SNDX' || i) from generate_series(1, 6) i;
select test.send('SENCH', 100), test.answer('SNDX1', 'yes', 'ok'), test.number('SNDX1') = 'B-' || test.txid('SNDX1') as kept, test.unknown('SNDX2'), test.unknown('SNDX3'), test.unknown('SNDX6');
select s, test.inquire('SNDX2', s, true, test.number('SNDX1')), test.number('SNDX2'), (test.payout('SNDX2')).not_found from unnest('{paid,pending,refunded,canceled,failed,not_found}'::text[]) s;
select distinct a.outcome, a.answer, a.excerpt like 'the bank''s number%' as why from payout.attempt a where a.txid = test.txid('SNDX2') and a.lane = 'check';
select test.inquire('SNDX2', 'paid', true, 'OF-OUR-OWN'), test.number('SNDX2'), test.inquire('SNDX2', 'paid', true, 'OF-OUR-OWN');
-- in the answer to an order, and in answers that end together
create function test.numbered(p_number text, variadic p_references text[]) returns integer language plpgsql as $$
declare
	a payout.attempt[] := array(select test.attempt('dispatch', r) from unnest(p_references) r);
	n integer := cardinality(a);
begin
	return payout.record_transfers(a[1].incarnation_id, array(select u.channel_id from unnest(a) u), array(select u.attempt_id from unnest(a) u), array_fill('yes'::text, array[n]), array_fill('ok'::text, array[n]),
		array_fill(200, array[n]), array_fill('2001800'::text, array[n]), array_fill(5, array[n]), array_fill(null::text, array[n]), array_fill(p_number, array[n]), array_fill(false, array[n]));
end $$;
select test.numbered(test.number('SNDX1'), 'SNDX4'), test.state('SNDX4'), test.number('SNDX4');
select test.pay('SENDINGS01', 'SENBANK', 'SNDX7'), test.send('SENCH', 100), test.numbered('OF-BOTH', 'SNDX5', 'SNDX7'), test.state('SNDX5', 'SNDX7'), test.number('SNDX5'), test.number('SNDX7');
select test.inquire('SNDX4', 'paid'), test.inquire('SNDX5', 'paid'), test.inquire('SNDX7', 'failed'), test.inquire('SNDX6', 'paid');
-- what was recorded all the same is found
begin;
alter table payout.payout disable trigger move;
update payout.payout set bank_reference_no = test.number('SNDX1') where reference_no = 'SNDX2' and merchant_id = 'SENDINGS01';
select v.check_name, p.reference_no from payout.verify() v join payout.payout p using (merchant_id, txid) order by 2, 1;
rollback;
-- a number that comes with nothing of ours is not kept
update payout.payout set bank_reference_no = null where reference_no = 'SNDX3' and merchant_id = 'SENDINGS01';
create function test.bare(p_reference text, p_status text, p_number text) returns text language plpgsql as $$
declare
	a payout.attempt;
begin
	update payout.payout set status_due_at = '-infinity' where reference_no = p_reference and merchant_id = 'SENDINGS01';
	perform test.ask('check', 'SENCH', 1);
	a := test.attempt('check', p_reference);
	perform payout.record_statuses(a.incarnation_id, array[a.channel_id], array[a.attempt_id], '{yes}', '{ok}', '{200}', '{2003600}', '{5}', '{null}', array[p_status], array[p_number], '{false}', '{false}');
	return test.state(p_reference) || ' ' || test.number(p_reference);
end $$;
select test.bare('SNDX3', 'pending', 'OTHERS-REF-1'), test.bare('SNDX3', 'pending', test.number('SNDX1')), test.inquire('SNDX3', 'pending', true, 'OF-MINE'), test.number('SNDX3'), test.inquire('SNDX3', 'paid', true, 'OF-MINE');

-- a bulk that is refused whole, of which a notice has shown that the bank has it, is in doubt; else it goes in halves
select payout.alter_channel('SENCH', '{"mode": "bulk"}') is distinct from null as altered;
select test.pay('SENDINGS01', 'SENBANK', 'SNDS' || i) from generate_series(1, 2) i;
select test.send('SENCH'), test.noticed('paid', 'SNDS1'), test.answer('SNDS1', 'no', 'fail', 403, '4032002'), test.state('SNDS1', 'SNDS2'), test.send('SENCH');
select test.inquire('SNDS2', 'paid'), test.asked('SNDS2');
select test.pay('SENDINGS01', 'SENBANK', 'SNDT' || i) from generate_series(1, 3) i;
select test.send('SENCH'), test.noticed('failed', 'SNDT3'), test.answer('SNDT1', 'no', 'fail', 403, '4032002'), test.state('SNDT1', 'SNDT2', 'SNDT3'), test.send('SENCH');
select test.inquire('SNDT1', 'paid'), test.inquire('SNDT2', 'failed');
select test.pay('SENDINGS01', 'SENBANK', 'SNDU' || i) from generate_series(1, 2) i;
select test.send('SENCH'), test.answer('SNDU1', 'no', 'fail', 403, '4032002'), test.state('SNDU1', 'SNDU2'), test.send('SENCH');
select test.answer('SNDU1', 'yes', 'ok', 200, '2002000'), test.answer('SNDU2', 'yes', 'ok', 200, '2002000');
-- an order that did not leave here may have been sent by a copy: where a notice has told of it, before or after, it is asked for
select test.pay('SENDINGS01', 'SENBANK', 'SNDV' || i) from generate_series(1, 4) i;
select payout.alter_channel('SENCH', '{"batch_size_max": 2}') is distinct from null as altered;
select test.send('SENCH', 100);
select test.noticed('paid', 'SNDV1'), test.answer('SNDV1', 'not_sent', null, 0), test.answer('SNDV3', 'not_sent', null, 0), test.noticed('paid', 'SNDV3');
select check_name, detail from payout.verify();
select test.send('SENCH', 100), test.state('SNDV1', 'SNDV2', 'SNDV3', 'SNDV4');
select test.inquire('SNDV2', 'paid'), test.inquire('SNDV4', 'failed');
select check_name, detail from payout.verify();
