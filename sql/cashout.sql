-- cashout.sql: a cashout from registration to its end: money, tokens, every call of a store in every state and order, disputes.
\getenv tree PG_ABS_SRCDIR
\set fixture :tree /sql/include/fixture.inc
\i :fixture
\set cashout :tree /sql/include/cashout.inc
\i :cashout
select test.set_up('CASHOUT001', 'CASHCH', 'CASHBANK', 1000000, '{"fee": {"cashout": {"flat": 2500}}, "limits": {"cashout": {"min": 10000, "max": 500000}}, "notify_events": ["payout.approved", "payout.paid", "payout.failed",
	"payout.suspect", "payout.rejected", "payout.cancelled", "payout.expired", "payout.reversed", "payout.returned", "payout.disputed"]}', '{}', 'https://merchant.example/hook');
select test.open_store('CASHA'), test.open_store('CASHB');

-- registered: charged at once, fee included; the same again is the same payout and charges nothing
select kind, state, method, amount, fee, currency, beneficiary_name, beneficiary_phone, description, bank_code, account_no, channel_id, cvs_code
from payout.register_cashout('CASHOUT001', 'CC1', 50000, 'Budi Santoso', '081234567890', 'refund of an order');
select test.money('CC1'), available, in_transit, scheduled from payout.balance('CASHOUT001');
select txid = test.txid('CC1') as same from payout.register_cashout('CASHOUT001', 'CC1', 50000, 'Budi Santoso', '081234567890', 'refund of an order');
select payout.register_cashout('CASHOUT001', 'CC1', 50001, 'Budi Santoso', '081234567890', 'refund of an order');
select payout.register_cashout('CASHOUT001', 'CC1', 50000, 'Budi Santosa', '081234567890', 'refund of an order');
select payout.register_cashout('CASHOUT001', 'CC1', 50000, 'Budi Santoso', '081234567891', 'refund of an order');
select payout.register_cashout('CASHOUT001', 'CC1', 50000, 'Budi Santoso', '081234567890');
-- one reference number, one payout, of whichever kind
select payout.register('CASHOUT001', 'CC1', 50000, 'CASHBANK', '8811111111', 'Budi Santoso', 'online', '081234567890', null, 'refund of an order');
select test.register('CASHOUT001', 'CASHBANK', 'CCD');
select test.register_cashout('CASHOUT001', 'CCD', 10000);
select available, in_transit from payout.balance('CASHOUT001');

-- refused: nothing is left, neither a row nor a charge; whole rupiah, the merchant's bounds, the fee counts
select payout.register_cashout('CASHOUT001', 'CC2', 50000.50, 'Budi', '0812');
select payout.register_cashout('CASHOUT001', 'CC2', 9999, 'Budi', '0812');
select payout.register_cashout('CASHOUT001', 'CC2', 500001, 'Budi', '0812');
select test.register_cashout('CASHOUT001', 'CC2', 500000);
select available from payout.balance('CASHOUT001');
select payout.register_cashout('CASHOUT001', 'CC3', 445000, 'Budi', '0812');
select payout.register_cashout('CASHOUT001', 'CC3', 442501, 'Budi', '0812');
select count(*) from payout.payout where reference_no = 'CC3';
begin;
select test.register_cashout('CASHOUT001', 'CC3', 442500);
select available from payout.balance('CASHOUT001');
select payout.register_cashout('CASHOUT001', 'CC4', 10000, 'Budi', '0812');
rollback;
select available, in_transit from payout.balance('CASHOUT001');

-- rejected: amount and fee come back, once
select state from payout.reject('CASHOUT001', test.txid('CC2'), 'out of stock');
select state from payout.reject('CASHOUT001', test.txid('CC2'), 'out of stock');
select test.money('CC2'), available, in_transit from payout.balance('CASHOUT001');
select payout.approve('CASHOUT001', test.txid('CC2'));
select payout.cancel('CASHOUT001', test.txid('CC1'), 'a cashout has no schedule');
select payout.reissue_token('CASHOUT001', test.txid('CC1'));

-- the merchant's day: what is registered counts, what is rejected has counted
select test.set_up('CASHOUT002', 'CASHCH', 'CASHBANK', 500000, '{"limits": {"daily_total": 100000}}');
select test.register_cashout('CASHOUT002', 'CT1', 60000);
select test.register_cashout('CASHOUT002', 'CT2', 40001);
select test.register_cashout('CASHOUT002', 'CT2', 40000);
select state from payout.reject('CASHOUT002', test.txid('CT1'), 'why');
select test.register_cashout('CASHOUT002', 'CT3', 1);
select count(*), sum(amount) from payout.payout where merchant_id = 'CASHOUT002';

-- a merchant that is not active registers and approves nothing; what it has registered it may repeat and reject
select active from payout.alter_merchant('CASHOUT002', '{"active": false, "limits": {}}');
select test.register_cashout('CASHOUT002', 'CT3', 1);
select test.register_cashout('CASHOUT002', 'CT2', 40000);
select payout.approve('CASHOUT002', test.txid('CT2'));
select state from payout.reject('CASHOUT002', test.txid('CT2'), 'why');
select available, in_transit from payout.balance('CASHOUT002');

-- approved: a token of the merchant's slot, with a check digit, shown once; its digits are nowhere in the database
select txid = test.txid('CC1') as same_txid, state, cashout_token as token, valid_until > now() + '23:59' and valid_until <= now() + '24:01' as a_day from payout.approve('CASHOUT001', test.txid('CC1')) \gset
select :'same_txid' as same_txid, :'state' as state, :'a_day' as a_day;
select length(:'token') = current_setting('payout.token_digits')::integer as digits, left(:'token', 4)::integer = payout.slot('CASHOUT001') as slot, test.luhn(:'token') as luhn, :'token' ~ '^[0-9]+$' as numeric;
select state, cashout_token, valid_until = (select expire_due_at from payout.payout where reference_no = 'CC1') as same_time from payout.approve('CASHOUT001', test.txid('CC1'));
select test.keep_token('CC1', :'token');
select count(*) from (select p::text as t from payout.payout p union all select e::text from payout.payout_event e union all select k::text from payout.cashout_token k union all select n::text || payout.notification_body(n, p) from payout.notification n join payout.payout p using (merchant_id, txid)
	union all select r::text from payout.redemption r) s where strpos(t, :'token') > 0 or strpos(t, encode(:'token', 'hex')) > 0;
select test.money('CC1'), approved_at is not null as approved, final_at is null as open, available, in_transit from payout.payout, payout.balance('CASHOUT001') where reference_no = 'CC1';
select payout.reject('CASHOUT001', test.txid('CC1'), 'too late');

-- nobody but the store knows what becomes of it: a check returns at once and changes nothing
select payout.request_check('CASHOUT001', test.txid('CC1'));
select test.txid('CC1') as c1 \gset
call payout.check_status('CASHOUT001', :'c1', '1 hour');
select state, status_due_at, events from payout.payout where reference_no = 'CC1';

-- lost: another token with another time; the old one is dead, and no call knows it
select test.reissue('CC1'), test.luhn(test.token('CC1')) as luhn, test.token('CC1') <> test.earlier_token('CC1') as another;
select count(*), count(replaced_at) as replaced from payout.cashout_token where txid = test.txid('CC1');
select payout.cashout_validate('CASHA', test.earlier_token('CC1'), 'OLD', 'OLD1');
select payout.cashout_confirm('CASHA', test.earlier_token('CC1'), 'OLD1');
select txid, state, amount, currency, cvs_reference from payout.cashout_reverse('CASHA', test.earlier_token('CC1'), 'OLD1', 'why');
select merchant_id, txid, token_no, reverse_state from payout.redemption where cvs_reference = 'OLD1';

-- validated, confirmed, paid; all answers of repeats are the same
select txid = :'c1' as txid, amount, currency, beneficiary_name, reserved_until > now() + '14 min' and reserved_until < now() + '16 min' as until, reserved_until
from payout.cashout_validate('CASHA', test.token('CC1'), 'T1', 'A1') \gset first_
select :'first_txid' as txid, :'first_amount' as amount, :'first_currency' as currency, :'first_beneficiary_name' as beneficiary_name, :'first_until' as until;
select expire_due_at = :'first_reserved_until' as until, state, cvs_code, cvs_reference, final_at from payout.payout where reference_no = 'CC1';
select payout.cashout_validate('CASHA', test.token('CC1'), 'T1', 'A1') = payout.cashout_validate('CASHA', regexp_replace(test.token('CC1'), '(....)', '\1 ', 'g'), 'T1', 'A1') as same;
select available, in_transit from payout.balance('CASHOUT001');
select payout.reissue_token('CASHOUT001', :'c1');
create table test.first_answer as select * from payout.cashout_confirm('CASHA', test.token('CC1'), 'A1');
select txid = :'c1' as txid, state, amount, currency, cvs_reference from test.first_answer;
select payout.cashout_confirm('CASHA', test.token('CC1'), 'A1') = (select f from test.first_answer f) as same;
select test.money('CC1'), available, in_transit from payout.balance('CASHOUT001');
select state, cvs_code, cvs_reference, final_at is not null as final from payout.payout where reference_no = 'CC1';
select test.history('CC1'), test.notified('CC1');
-- disputed: the store takes back what it has confirmed; its answers stay what they were
select test.reverse('CASHA', 'CC1', 'A1'), test.reverse('CASHA', 'CC1', 'A1', 'another reason');
select payout.cashout_confirm('CASHA', test.token('CC1'), 'A1') = (select f from test.first_answer f) as same;
select test.money('CC1'), available, in_transit from payout.balance('CASHOUT001');
select state, final_at, reason from payout.payout where reference_no = 'CC1';
-- the operator believes the store: what was paid comes back, without the fee unless the merchant's option says so
select state from payout.resolve('CASHOUT001', :'c1', 'returned', 'the store showed its journal');
select test.money('CC1'), available, in_transit from payout.balance('CASHOUT001');
select test.confirm('CASHA', 'CC1', 'A1'), test.reverse('CASHA', 'CC1', 'A1'), test.state('CC1');
select test.history('CC1'), test.notified('CC1');

-- every call in every state. Each state has a store that holds the token under H; other calls come from this store under
-- another reference, and from another store. The answer, then the state that it leads to; all is undone.
create table test.held (wanted text, reference text, store text);
insert into test.held select w, 'CS-' || w, 'CASH-' || w from unnest(array['token_issued', 'token_reserved', 'suspect', 'paid', 'reversed', 'expired', 'lapsed', 'failed', 'disputed', 'refuted', 'returned']) w;
select payout.top_up('CASHOUT001', 1000000, 'for-the-states') is not null as more;
select count(test.open_store(store)) from test.held;
select count(test.open_store('CASH-OTHER' || i)) from generate_series(1, 100) i;
select wanted, test.issue('CASHOUT001', reference, 10000) from test.held;
select wanted, test.validate(store, reference, 'H') from test.held where wanted not in ('token_issued', 'expired');
select test.make_due(reference) from test.held where wanted in ('suspect', 'expired', 'failed', 'refuted');
select payout.expire_tokens(100);
select wanted, test.confirm(store, reference, 'H') from test.held where wanted in ('paid', 'disputed', 'returned');
select wanted, test.end_token(reference) from test.held where wanted = 'lapsed';
select wanted, test.reverse(store, reference, 'H') from test.held where wanted in ('reversed', 'lapsed', 'disputed', 'returned');
select wanted, state from test.held, payout.resolve('CASHOUT001', test.txid(reference), case wanted when 'returned' then 'returned' else 'failed' end, 'why') where wanted in ('failed', 'refuted', 'returned');
select wanted, test.confirm(store, reference, 'H') from test.held where wanted = 'refuted';
select check_name, detail from payout.verify();
create sequence test.other;
create function test.call(p_name text, p_store text, p_reference text, p_cvs_reference text) returns text language sql as $$
select test.undone(format('select %s || '' > '' || test.state(%L)', case p_name
	when 'validate' then format('test.validate(%L, %L, %L, %L)', p_store, p_reference, p_cvs_reference, case p_cvs_reference when 'H' then 'T1' else p_cvs_reference end)
	else format('test.%s(%L, %L, %L)', p_name, p_store, p_reference, p_cvs_reference) end, p_reference))
$$;
select h.wanted, f.name, test.call(f.name, h.store, h.reference, 'H') as held, test.call(f.name, h.store, h.reference, 'N') as other_reference,
	test.call(f.name, 'CASH-OTHER' || nextval('test.other'), h.reference, 'H') as other_store
from test.held h, unnest(array['validate', 'confirm', 'reverse']) with ordinality f (name, n) order by array_position(array['token_issued', 'token_reserved', 'suspect', 'paid', 'reversed', 'expired', 'lapsed', 'failed', 'disputed', 'refuted', 'returned'], h.wanted), f.n;
-- the same reference at another terminal is another cashier
select payout.cashout_validate('CASH-token_reserved', test.token('CS-token_reserved'), 'T2', 'H');
-- a reference of another token is taken
select payout.cashout_validate('CASH-token_reserved', test.token('CS-token_issued'), 'T3', 'H');
select payout.cashout_confirm('CASH-token_reserved', test.token('CS-paid'), 'H');
select payout.cashout_confirm('CASH-token_reserved', test.token('CS-expired'), 'H');
select payout.cashout_reverse('CASH-token_reserved', test.token('CS-token_issued'), 'H', 'why');
select test.state('CS-token_reserved', 'CS-token_issued', 'CS-paid', 'CS-expired');
-- what an operator may say in every state
select h.wanted, o, test.undone(format('select state || '': '' || test.money(%L) from payout.resolve(%L, %L, %L, %L)', h.reference, 'CASHOUT001', test.txid(h.reference), o, 'why')) as result
from test.held h, unnest(array['paid', 'failed', 'returned', 'dispatch']) with ordinality u (o, n)
where h.wanted in ('token_issued', 'token_reserved', 'suspect', 'paid', 'expired', 'failed', 'disputed', 'refuted', 'returned')
order by array_position(array['token_issued', 'token_reserved', 'suspect', 'paid', 'reversed', 'expired', 'lapsed', 'failed', 'disputed', 'refuted', 'returned'], h.wanted), n;
-- what a merchant may say in every state
select h.wanted, test.undone(format('select test.reissue(%L)', h.reference)) as reissue, test.undone(format('select state from payout.reject(%L, %L, %L)', 'CASHOUT001', test.txid(h.reference), 'why')) as reject,
	test.undone(format('select state || coalesce(cashout_token, '''') from payout.approve(%L, %L)', 'CASHOUT001', test.txid(h.reference))) as approve
from test.held h order by array_position(array['token_issued', 'token_reserved', 'suspect', 'paid', 'reversed', 'expired', 'lapsed', 'failed', 'disputed', 'refuted', 'returned'], h.wanted);

-- every order: v validates, c confirms, r reverses, x is the end of what time was running; each step's answer, and whether verify
-- is content after all of them. The first column is the order.
create sequence test.order_no;
create function test.step(p_step text, p_store text, p_reference text) returns text language plpgsql as $$
begin
	if p_step = 'x' then
		perform test.make_due(p_reference), payout.expire_tokens(1000);
		return test.state(p_reference);
	end if;
	return case p_step when 'v' then left(test.validate(p_store, p_reference, 'R'), 3) when 'c' then test.confirm(p_store, p_reference, 'R') when 'r' then test.reverse(p_store, p_reference, 'R') end;
exception when others then
	return sqlstate;
end $$;
create function test.run(p_steps text, out answers text, out money text, out violations text) language plpgsql as $$
declare
	store text := 'CASHO' || nextval('test.order_no');
	reference text := 'CO' || currval('test.order_no');
begin
	perform test.open_store(store), test.issue('CASHOUT001', reference, 10000);
	answers := '';
	for i in 1..length(p_steps) loop
		answers := answers || ' ' || test.step(substr(p_steps, i, 1), store, reference);
	end loop;
	answers := ltrim(answers) || ' > ' || test.state(reference);
	select string_agg(kind, ' ' order by at, transfer_id) into money from payout.transfer where txid = test.txid(reference) and kind not like 'fee%';
	select coalesce(string_agg(check_name, ' '), 'sound') into violations from payout.verify();
	raise sqlstate 'UNDO0';
exception when sqlstate 'UNDO0' then
	null;
end $$;
select s1 || s2 || s3 as steps, r.* from unnest('{v,c,r,x}'::text[]) s1, unnest('{v,c,r,x}'::text[]) s2, unnest('{v,c,r,x}'::text[]) s3, lateral test.run(s1 || s2 || s3) r order by 1;
-- four steps: what all orders come to. Whoever got cash by a confirmation that was told 'paid' was paid by the merchant, once.
select r.violations, count(*), count(*) filter (where r.answers ~ '\mpaid\M.* > (?!paid|disputed)') as paid_and_forgotten, count(*) filter (where r.money ~ 'settle' and r.money ~ 'refund') as paid_and_refunded,
	count(*) filter (where r.money ~ 'settle' and r.answers !~ '\mpaid\M') as settled_unsaid
from unnest('{v,c,r,x}'::text[]) s1, unnest('{v,c,r,x}'::text[]) s2, unnest('{v,c,r,x}'::text[]) s3, unnest('{v,c,r,x}'::text[]) s4, lateral test.run(s1 || s2 || s3 || s4) r group by 1 order by 1;

-- disputed after the money was given back: the operator believes the store, and the platform bears it
select test.confirm('CASHB', 'CS-expired', 'B1'), test.confirm('CASHB', 'CS-expired', 'B1'), test.state('CS-expired');
select test.money('CS-expired');
select state, cvs_code, cvs_reference from payout.resolve('CASHOUT001', test.txid('CS-expired'), 'paid', 'the store showed its journal');
select test.money('CS-expired');
select test.history('CS-expired'), test.notified('CS-expired');
-- ... or does not
select test.confirm('CASHB', 'CS-lapsed', 'B2');
select state from payout.resolve('CASHOUT001', test.txid('CS-lapsed'), 'failed', 'the journal has no such row');
select test.confirm('CASHB', 'CS-lapsed', 'B2'), test.state('CS-lapsed'), test.money('CS-lapsed');
select test.history('CS-lapsed'), test.notified('CS-lapsed');
-- a second dispute: what was borne comes back
select test.reverse('CASHB', 'CS-expired', 'B1');
select state from payout.resolve('CASHOUT001', test.txid('CS-expired'), 'returned', 'why');
select test.money('CS-expired');
-- the fee of a return, by the merchant's option
select options -> 'refund_fee_on_return' as refund from payout.alter_merchant('CASHOUT001', '{"refund_fee_on_return": true}');
select state, test.money('CS-disputed') from payout.resolve('CASHOUT001', test.txid('CS-disputed'), 'returned', 'why');
select test.history('CS-disputed'), test.notified('CS-disputed');
select test.history('CS-reversed'), test.notified('CS-reversed');
select test.history('CC2'), test.notified('CC2');
-- a notification names the store and hides what is secret
select b::jsonb #>> '{data,kind}' as kind, b::jsonb #>> '{data,state}' as state, b::jsonb #>> '{data,cvs_code}' as store, b::jsonb #>> '{data,cvs_reference}' as reference, strpos(b, '081234567890') as phone_at
from payout.notification n join payout.payout p using (merchant_id, txid), payout.notification_body(n, p) b where txid = test.txid('CC1') and event = 'payout.paid';

-- a suspended store validates nothing; what it has validated it confirms and reverses
select test.issue('CASHOUT001', 'CX1', 10000), test.issue('CASHOUT001', 'CX2', 10000), test.issue('CASHOUT001', 'CX3', 10000);
select test.validate('CASHB', 'CX1', 'X1'), test.validate('CASHB', 'CX2', 'X2');
select active from payout.alter_cvs('CASHB', '{"active": false}');
select test.validate('CASHB', 'CX3', 'X3');
select test.validate('CASHB', 'CX1', 'X1');
select test.confirm('CASHB', 'CX1', 'X1'), test.reverse('CASHB', 'CX2', 'X2'), test.state('CX1', 'CX2', 'CX3');
select active from payout.alter_cvs('CASHB', '{"active": true}');

-- not armed, as a copy is: no token leaves, none is validated; what has happened is recorded
select test.validate('CASHB', 'CX2', 'X4'), test.validate('CASHB', 'CX3', 'X5');
select payout.disarm();
select test.register_cashout('CASHOUT001', 'CX4', 10000);
select payout.approve('CASHOUT001', test.txid('CX4'));
select test.state('CX4'), count(*) as tokens from payout.cashout_token where txid = test.txid('CX4');
select payout.reissue_token('CASHOUT001', test.txid('CS-reversed'));
select payout.cashout_validate('CASHA', test.token('CS-reversed'), 'T9', 'Z9');
select test.confirm('CASHB', 'CX2', 'X4'), test.reverse('CASHB', 'CX3', 'X5'), test.state('CX2', 'CX3');
select payout.arm();
select test.approve_cashout('CX4'), test.validate('CASHA', 'CX4', 'X6'), test.confirm('CASHA', 'CX4', 'X6');

-- a charge that is missing issues no token
alter table payout.transfer disable trigger refuse_change;
begin;
select test.register_cashout('CASHOUT001', 'CX5', 10000);
delete from payout.transfer where txid = test.txid('CX5');
select payout.approve('CASHOUT001', test.txid('CX5'));
rollback;
alter table payout.transfer enable always trigger refuse_change;

-- the views
select reference_no, kind, method, state, amount, fee, channel_id, bank_code, account_no, beneficiary_phone, cvs_code, cvs_reference from payout.v_payout where reference_no in ('CC1', 'CX4') order by 1;
select kind, channel_id, cvs_code, state, payouts, amount, fee, to_final_median_s is not null as timed from payout.v_daily where merchant_id = 'CASHOUT001' and cvs_code in ('CASHA', 'CASHB') order by 3, 4;
select kind, reference_no, amount from payout.v_statement where merchant_id = 'CASHOUT001' and reference_no in ('CC1', 'CC2') order by reference_no, at, transfer_id;
select balance_after = (select available from payout.balance('CASHOUT001')) as agrees from payout.v_statement where merchant_id = 'CASHOUT001' order by at desc, transfer_id desc limit 1;
-- what is in transit is what the states say
select in_transit = (select sum(case when credit_account = 'in_transit' then amount else -amount end) from payout.transfer where merchant_id = 'CASHOUT001' and 'in_transit' in (debit_account, credit_account)) as agrees from payout.balance('CASHOUT001');
select check_name, detail from payout.verify();
