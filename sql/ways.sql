-- ways.sql: what an end says of the money is so whichever way a payout came to it: each end, disputed and decided three times over,
-- in every order, of both kinds, with and without a fee, with and without the option refund_fee_on_return.
\getenv tree PG_ABS_SRCDIR
\set fixture :tree /sql/include/fixture.inc
\i :fixture
\set cashout :tree /sql/include/cashout.inc
\i :cashout
select test.set_up('DISPUTE001', 'DISPCH', 'DISPBANK', 1000000000, '{"fee": {}}'),
	test.open_store('DISPSTORE');
select merchant_id, (payout.create_merchant(merchant_id, 'With a fee', null, options)).active, (payout.top_up(merchant_id, 1000000000, 'first')).kind
from (values ('DISPUTE002', '{"fee": {"online": {"flat": 25}, "cashout": {"flat": 25}}, "refund_fee_on_return": false}'::jsonb),
	('DISPUTE003', '{"fee": {"online": {"flat": 25}, "cashout": {"flat": 25}}, "refund_fee_on_return": true}')) m (merchant_id, options);
select test.live() >= 0 as alive;

-- One payout for each way. cost is what the merchant has paid by now: what was given back is never taken again.
create table test.way as
select row_number() over () as n, m.merchant_id, k.kind, k.first_end, array[a.outcome, b.outcome, c.outcome] as outcomes, 1000 + row_number() over () as amount,
	m.fee, case when m.is_refunded then 0 else m.fee end as fee_of_return, null::numeric as cost, null::text as ended
from (values ('DISPUTE001', 0, false), ('DISPUTE002', 25, false), ('DISPUTE003', 25, true)) m (merchant_id, fee, is_refunded),
	(values ('disbursement', 'paid'), ('disbursement', 'failed'), ('disbursement', 'returned'), ('cashout', 'paid'), ('cashout', 'failed'), ('cashout', 'expired')) k (kind, first_end),
	(values ('paid'), ('failed'), ('returned')) a (outcome), (values ('paid'), ('failed'), ('returned')) b (outcome), (values ('paid'), ('failed'), ('returned')) c (outcome);
select kind, first_end, count(*) from test.way group by 1, 2 order by 1, 2;
create function test.reference(w test.way) returns text language sql as $$ select 'DSP' || w.n $$;
create function test.decide(w test.way, outcome text) returns text
language sql as $$ select (payout.resolve(w.merchant_id, test.txid(test.reference(w)), outcome, 'a person knows')).state $$;
create function test.cost_after(w test.way, outcome text) returns numeric
language sql as $$
select case outcome when 'failed' then 0 when 'expired' then 0 when 'returned' then least(coalesce(w.cost, w.amount + w.fee), w.fee_of_return)
	else coalesce(w.cost, w.amount + w.fee) end
$$;
-- What is not as it should be: the books, each payout's state and the merchant's payment for it, and the balances.
create function test.wrong() returns table (what text)
language plpgsql as $$
begin
	return query select format('%s %s %s', v.check_name, v.txid, v.detail) from payout.verify() v
	union all
	select format('%s %s by %s: costs %s instead of %s', w.kind, p.state, w.outcomes, t.paid, w.cost)
	from test.way w join payout.payout p on p.merchant_id = w.merchant_id and p.reference_no = test.reference(w),
	lateral (select coalesce(sum(case when debit_account = 'available' then t.amount when credit_account = 'available' then -t.amount end), 0) as paid from payout.transfer t
			 where t.merchant_id = p.merchant_id and t.txid = p.txid) t
	where (p.state, t.paid) is distinct from (w.ended, w.cost)
	union all
	select format('%s has %s instead of %s', m.merchant_id, b.available, m.expected)
	from (select merchant_id, 1000000000 - sum(cost) as expected from test.way group by merchant_id) m, payout.balance(m.merchant_id) b
	where b.available <> m.expected
	-- what the bank keeps is what is paid, whoever bears it
	union all
	select format('settled is %s instead of %s', s.settled, s.expected)
	from (select (select sum(case when credit_account like 'settlement/%' then t.amount when debit_account like 'settlement/%' then -t.amount else 0 end) from payout.transfer t where t.merchant_id like 'DISPUTE%') as settled,
			(select sum(case when w.ended = 'paid' then w.amount else 0 end) from test.way w) as expected) s
	where s.settled <> s.expected
	limit 10;
end
$$;

-- to the first ends
select sum((test.pay(merchant_id, 'DISPBANK', test.reference(w), amount) = 'approved')::integer) as approved from test.way w where kind = 'disbursement';
select test.send('DISPCH', 1000);
select count(test.answer(reference, 'yes', 'ok')) as answered from (select min(reference_no) as reference from payout.payout where merchant_id like 'DISPUTE%' and batch_id is not null group by batch_id) b;
select first_end, count(*) from (select first_end, test.decide(w, case first_end when 'failed' then 'failed' else 'paid' end) from test.way w where kind = 'disbursement') d group by 1 order by 1;
select count(*) from (select test.decide(w, 'returned') from test.way w where kind = 'disbursement' and first_end = 'returned') d;
select sum((test.issue(merchant_id, test.reference(w), amount) = 'token_issued')::integer) as issued from test.way w where kind = 'cashout';
select count(test.validate('DISPSTORE', test.reference(w), 'DSP' || n)) as validated from test.way w where kind = 'cashout' and first_end <> 'expired';
select count(test.confirm('DISPSTORE', test.reference(w), 'DSP' || n)) as confirmed from test.way w where kind = 'cashout' and first_end = 'paid';
select count(test.make_due(test.reference(w))) as due from test.way w where kind = 'cashout' and first_end <> 'paid';
update payout.payout set state = payout.state_after_expiry(state), reason = payout.reason_of_expiry(state), expire_due_at = null where merchant_id like 'DISPUTE%' and expire_due_at <= payout.clock();
select count(*) from (select test.decide(w, 'failed') from test.way w where kind = 'cashout' and first_end = 'failed') d;
update test.way w set cost = test.cost_after(w, first_end), ended = first_end;
select * from test.wrong();
select kind, state, count(*) from payout.payout where merchant_id like 'DISPUTE%' group by 1, 2 order by 1, 2;

-- disputed and decided, three times; what expired is disputed by a store's confirmation
select test.confirm('DISPSTORE', test.reference(w), 'DSP' || n) as confirmed, count(*) from test.way w where kind = 'cashout' and first_end = 'expired' group by 1;
update payout.payout set state = 'disputed', reason = 'contrary proof' where merchant_id like 'DISPUTE%' and state <> 'disputed';
update test.way set ended = 'disputed';
select check_name, detail from payout.verify() limit 10;
select count(*) from (select test.decide(w, outcomes[1]) from test.way w) d;
update test.way w set cost = test.cost_after(w, outcomes[1]), ended = outcomes[1];
select * from test.wrong();
update payout.payout set state = 'disputed', reason = 'contrary proof' where merchant_id like 'DISPUTE%';
select check_name, detail from payout.verify() limit 10;
select count(*) from (select test.decide(w, outcomes[2]) from test.way w) d;
update test.way w set cost = test.cost_after(w, outcomes[2]), ended = outcomes[2];
select * from test.wrong();
update payout.payout set state = 'disputed', reason = 'contrary proof' where merchant_id like 'DISPUTE%';
select check_name, detail from payout.verify() limit 10;
select count(*) from (select test.decide(w, outcomes[3]) from test.way w) d;
update test.way w set cost = test.cost_after(w, outcomes[3]), ended = outcomes[3];
select * from test.wrong();

-- each kind of transfer means one thing: a return was paid before and given back, what was never paid is not settled any more
select ended, kinds, count(*) from test.way w, lateral (select string_agg(t.kind, ' ' order by t.at, t.transfer_id) as kinds from payout.transfer t where t.txid = test.txid(test.reference(w))) t
where merchant_id = 'DISPUTE002' and w.kind = 'disbursement' and outcomes[1] = outcomes[2] and outcomes[2] = outcomes[3] group by 1, 2 order by 1, 2;
-- a merchant reads what moved its balance
select v.kind, count(*), sum(v.amount) filter (where v.kind like 'fee%') as fees from payout.v_statement v where merchant_id = 'DISPUTE002' group by 1 order by 1;
-- a fee that a payout has lost, or kept, unknown to its end, is found
begin;
alter table payout.transfer disable trigger refuse_change;
delete from payout.transfer where kind = 'fee_refund' and txid = (select test.txid(test.reference(w)) from test.way w where merchant_id = 'DISPUTE002' and ended = 'failed' and first_end = 'returned' order by n limit 1);
select distinct check_name from payout.verify() where merchant_id like 'DISPUTE%' order by 1;
rollback;
begin;
alter table payout.transfer disable trigger refuse_change;
update payout.transfer set credit_account = 'available' where kind = 'unsettle' and txid = (select test.txid(test.reference(w)) from test.way w where merchant_id = 'DISPUTE002' and ended = 'failed' and first_end = 'paid' order by n limit 1);
select distinct check_name from payout.verify() where merchant_id like 'DISPUTE%' order by 1;
rollback;

-- what no store has held cannot be paid by one: refused, not read
begin;
select test.issue('DISPUTE001', 'DSP0', 1000), test.make_due('DSP0');
update payout.payout set state = 'expired', expire_due_at = null where reference_no = 'DSP0';
update payout.payout set state = 'disputed' where reference_no = 'DSP0';
select test.sqlstate_of($$select payout.resolve('DISPUTE001', test.txid('DSP0'), 'paid', 'by nobody')$$),
	test.sqlstate_of($$select payout.ledger_refund('DISPUTE001', test.txid('DSP0'), null, 0)$$), test.sqlstate_of($$select payout.ledger_fund('DISPUTE001', null, 1, 'x')$$),
	test.sqlstate_of($$select payout.resolve('DISPUTE001', test.txid('DSP0'), 'failed', 'nobody had it')$$);
rollback;
select * from test.wrong();
