-- walk.sql: the books hold along every way: some payouts are led at random (always the same way, by its seed) by the bank's
-- words, by notices, by persons and by stores through ends, disputes and returns, while the merchant's fee and its option
-- refund_fee_on_return change. After each step the payout's cost, what the bank keeps and
-- the balance are what the way makes them; verify() looks at all of it now and then.
\getenv tree PG_ABS_SRCDIR
\set fixture :tree /sql/include/fixture.inc
\i :fixture
\set cashout :tree /sql/include/cashout.inc
\i :cashout
select test.set_up('WALKING001', 'WALKCH', 'WALKBANK', 1000000, '{"fee": {"online": {"flat": 25}, "cashout": {"flat": 25}}, "refund_fee_on_return": false}', '{"mode": "single"}'),
	test.open_store('WALKSTORE');
select test.live() >= 0 as alive;

create function test.walking(p_reference text) returns payout.payout language plpgsql as $$
declare
	p payout.payout;
begin
	select * into strict p from payout.payout q where q.merchant_id = 'WALKING001' and q.reference_no = p_reference;
	return p;
end
$$;

-- What each payout has cost the merchant by now, and what the bank or the store has of it. Once given back, nothing is taken
-- again: only a fee that was kept may follow.
create table test.walker (reference text primary key, state text, cost numeric, kept numeric, is_given_back boolean not null default false);

-- The two ways on which a return once paid the merchant a second time, and could not be booked at all.
select test.pay('WALKING001', 'WALKBANK', 'WLK' || i, 1000 + i) from generate_series(1, 4) i;
select test.send('WALKCH', 10);
select count(test.answer('WLK' || i, 'yes', 'ok')) from generate_series(1, 4) i;
create function test.lead(p_reference text, variadic p_outcomes text[] default '{}') returns text
language plpgsql as $$
declare
	outcome text;
begin
	foreach outcome in array p_outcomes loop
		if outcome = 'disputed' then
			update payout.payout set state = 'disputed' where merchant_id = 'WALKING001' and txid = (test.walking(p_reference)).txid;
		else
			perform payout.resolve('WALKING001', (test.walking(p_reference)).txid, outcome, 'a person knows');
		end if;
	end loop;
	return (select string_agg(t.kind, ' ' order by t.at, t.transfer_id) from payout.transfer t where t.merchant_id = 'WALKING001' and t.txid = (select q.txid from test.walking(p_reference) q));
end
$$;
-- The bank's own word, of the sending, asked after it ended; or by a notice.
create function test.say(p_reference text, p_status text, p_by_notice boolean) returns void
language sql as $$
select payout.believe(array[row(p.merchant_id, p.txid, p_status, case when not p_by_notice then (select a.attempt_id from payout.attempt a where a.channel_id = p.channel_id and a.batch_id = p.batch_id) end,
	case when not p_by_notice then clock_timestamp() end, '2003600', null, 'the bank says so')::payout.bank_word])
from test.walking(p_reference) p
$$;
select test.lead('WLK1', 'disputed', 'failed', 'disputed', 'paid', 'returned') as never_paid_then_paid_by_us;
select test.lead('WLK2', 'returned', 'disputed', 'paid', 'returned') as returned_twice;
select test.lead('WLK3', 'disputed', 'failed', 'disputed', 'paid'), test.say('WLK3', 'refunded', false);
select test.state('WLK3'), test.lead('WLK3');
select test.lead('WLK4', 'returned', 'disputed', 'paid'), test.say('WLK4', 'refunded', true);
select test.state('WLK4'), test.lead('WLK4', 'disputed', 'paid', 'returned', 'disputed', 'failed');
select available from payout.balance('WALKING001');
select check_name, txid, detail from payout.verify() limit 10;

-- The walkers: twelve of each kind.
select sum((test.pay('WALKING001', 'WALKBANK', 'WLKD' || i, 1000 + i) = 'approved')::integer) as approved from generate_series(1, 12) i;
select test.send('WALKCH', 12);
select count(test.answer('WLKD' || i, 'yes', case when i % 2 = 0 then 'ok' else 'wait' end, 200, '2001800', i % 2 = 1)) from generate_series(1, 12) i;
select sum((test.issue('WALKING001', 'WLKC' || i, 1000 + i) = 'token_issued')::integer) as issued,
	count(test.validate('WALKSTORE', 'WLKC' || i, 'WLK' || i)), count(case when i % 2 = 0 then test.confirm('WALKSTORE', 'WLKC' || i, 'WLK' || i) end) from generate_series(1, 12) i;
insert into test.walker (reference, state, cost, kept)
select p.reference_no, p.state, p.amount + p.fee, case p.state when 'paid' then p.amount else 0 end
from payout.payout p where p.merchant_id = 'WALKING001' and p.reference_no ~ '^WLK[CD]' order by 1;

-- One step; answers with what was done, or its SQLSTATE.
create function test.step(p_reference text, p_choice integer) returns text
language plpgsql as $$
declare
	p payout.payout := test.walking(p_reference);
	word text := (array['paid', 'failed', 'refunded', 'canceled', 'pending', 'not_found'])[1 + floor(random() * 6)::integer];
	outcome text := (array['paid', 'failed', 'returned'])[1 + floor(random() * 3)::integer];
begin
	if p.kind = 'disbursement' and p_choice < 4 then
		perform test.say(p_reference, word, p_choice = 0);
		return word;
	elsif p_choice < 8 then
		perform payout.resolve(p.merchant_id, p.txid, outcome, 'a person knows');
		return outcome;
	elsif p_choice = 8 then
		update payout.payout u set state = 'disputed', reason = 'contrary proof' where u.merchant_id = p.merchant_id and u.txid = p.txid;
		return 'disputed';
	elsif p.kind = 'cashout' then
		return test.confirm('WALKSTORE', p_reference, replace(p_reference, 'C', ''));
	end if;
	perform payout.alter_merchant(p.merchant_id, jsonb_build_object('refund_fee_on_return', random() < 0.5, 'fee', jsonb_build_object('online', jsonb_build_object('flat', floor(random() * 50)))));
	return 'altered';
exception when sqlstate 'PY004' then
	return sqlstate;
end
$$;

-- What the books say of a payout: its cost, and what the bank or store keeps.
create function test.booked(p_reference text, out cost numeric, out kept numeric)
language sql as $$
select coalesce(sum(case when debit_account = 'available' then t.amount when credit_account = 'available' then -t.amount end), 0),
	coalesce(sum(case when credit_account like 'settlement/%' then t.amount when debit_account like 'settlement/%' then -t.amount end), 0)
from payout.transfer t where t.merchant_id = 'WALKING001' and t.txid = (select q.txid from test.walking(p_reference) q)
$$;

create function test.walk(p_steps integer) returns table (kind text, done text, times bigint)
language plpgsql as $$
declare
	references_of text[] := (select array_agg(w.reference order by w.reference collate "C") from test.walker w);
	walker text;
	w test.walker;
	p payout.payout;
	m payout.merchant;
	b record;
	begun numeric := (select x.available from payout.balance('WALKING001') x) + (select sum(q.cost) from test.walker q);
	total numeric;
	wrong text;
	doing text;
begin
	create temporary table done_by (kind text, done text) on commit drop;
	for step in 1 .. p_steps loop
		walker := references_of[1 + floor(random() * cardinality(references_of))::integer];
		select * into strict w from test.walker q where q.reference = walker;
		doing := test.step(w.reference, floor(random() * 10)::integer);
		p := test.walking(w.reference);
		select * into strict m from payout.merchant q where q.merchant_id = p.merchant_id;
		if p.state <> w.state then
			if p.state = 'failed' then
				w.cost := 0;
			elsif p.state = 'returned' and not w.is_given_back then
				w.cost := case when payout.option('merchant', m.options, 'refund_fee_on_return')::boolean then 0 else p.fee end;
			end if;
			w.is_given_back := w.is_given_back or p.state in ('failed', 'returned');
			w.kept := case when p.state = 'paid' then p.amount when p.state in ('failed', 'returned') then 0 else w.kept end;
			w.state := p.state;
			update test.walker q set (state, cost, kept, is_given_back) = (w.state, w.cost, w.kept, w.is_given_back) where q.reference = w.reference;
		end if;
		select * into b from test.booked(w.reference);
		if (b.cost, b.kept) is distinct from (w.cost, w.kept) then
			raise exception 'step %: % of % to %: costs % instead of %, keeps % instead of %', step, doing, w.reference, p.state, b.cost, w.cost, b.kept, w.kept;
		end if;
		select x.available into total from payout.balance('WALKING001') x;
		if total <> begun - (select sum(q.cost) from test.walker q) then
			raise exception 'step %: the balance is %', step, total;
		end if;
		if step % 200 = 0 then
			select string_agg(v::text, '; ') into wrong from payout.verify() v;
			if wrong is not null then
				raise exception 'step %: % of %: %', step, doing, w.reference, wrong;
			end if;
		end if;
		insert into done_by values (p.kind, doing);
	end loop;
	return query select d.kind, d.done, count(*) from done_by d group by 1, 2 order by 1, 2;
end
$$;
select setseed(0.7);
select count(*) > 12 as in_many_ways, sum(times) as steps, count(*) filter (where done !~ '^(paid|failed|refunded|canceled|pending|not_found|returned|disputed|altered|PY004)') as others from test.walk(600);
select kind, state, count(*) > 0 as some from payout.payout where merchant_id = 'WALKING001' and reference_no ~ '^WLK[CD]' and state in ('paid', 'failed', 'returned', 'disputed') group by 1, 2 order by 1, 2;
select check_name, txid, detail from payout.verify() limit 10;
