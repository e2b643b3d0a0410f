-- cvs_settlement.sql: what is owed to a store by days, and the comparison with the store's own list.
\getenv tree PG_ABS_SRCDIR
\set fixture :tree /sql/include/fixture.inc
\i :fixture
\set cashout :tree /sql/include/cashout.inc
\i :cashout
select test.set_up('SETTLE0001', 'SETCH', 'SETBANK', 1000000, '{"fee": {"cashout": {"flat": 1000}}}', '{}', 'https://merchant.example/hook');
select test.set_up('SETTLE0002', 'SETCH', 'SETBANK', 1000000);
select test.open_store('SETA'), test.open_store('SETB'), test.open_store('SETC');
-- a channel of a store's name is another account
select channel_id from payout.create_channel('SETA', 'snap', 'https://bank.example', '{"source_account_no": "1"}');
select payout.jakarta_day(now()) as today, payout.jakarta_day(now()) + 1 as tomorrow, payout.jakarta_day(now()) - 1 as yesterday \gset
create function test.settlement(p_cvs_code text, p_day date) returns table (line text, amount numeric) language sql as $$
select concat_ws(' ', p.reference_no, s.kind, s.cvs_reference), s.amount from payout.cvs_settlement(p_cvs_code, p_day) s join payout.payout p on p.merchant_id = s.merchant_id and p.txid = s.txid
$$;
-- Every day of a month around today.
create function test.settled(p_cvs_code text) returns numeric language sql as $$
select coalesce(sum(s.amount), 0) from generate_series(-15, 15) i, payout.cvs_settlement(p_cvs_code, payout.jakarta_day(now()) + i) s
$$;
create function test.owed_to(p_cvs_code text) returns numeric language sql as $$
select coalesce(sum(case when credit_account = 'settlement/cvs:' || p_cvs_code then amount else -amount end), 0) from payout.transfer
where 'settlement/cvs:' || p_cvs_code in (debit_account, credit_account)
$$;

-- paid is owed to the store, returned is not any more; a loss is owed by the platform, until it comes back
select r, test.issue('SETTLE0001', r, a) from unnest('{SE1,SE2,SE3,SE4,SE5}'::text[], '{10000,20000,30000,40000,50000}'::numeric[]) u (r, a);
select test.issue('SETTLE0002', 'SE6', 60000);
select r, test.validate('SETA', r, r) from unnest('{SE1,SE2,SE5,SE6}'::text[]) r;
select test.confirm('SETA', 'SE1', 'SE1'), test.confirm('SETA', 'SE2', 'SE2'), test.confirm('SETA', 'SE6', 'SE6');
select * from test.settlement('SETA', :'today');
select test.reverse('SETA', 'SE2', 'SE2');
select * from test.settlement('SETA', :'today');
select state from payout.resolve('SETTLE0001', test.txid('SE2'), 'returned', 'why');
select test.make_due('SE3'), test.make_due('SE4'), payout.expire_tokens(10);
select test.confirm('SETA', 'SE3', 'SE3'), test.confirm('SETA', 'SE4', 'SE4');
select state from payout.resolve('SETTLE0001', test.txid('SE3'), 'paid', 'why');
select state from payout.resolve('SETTLE0001', test.txid('SE4'), 'paid', 'why');
select test.reverse('SETA', 'SE4', 'SE4');
select state from payout.resolve('SETTLE0001', test.txid('SE4'), 'failed', 'why');
select * from test.settlement('SETA', :'today');
select test.settled('SETA'), test.settled('SETA') = test.owed_to('SETA') as same, test.settled('SETB') as other_store;
select currency, count(*), count(distinct merchant_id) as merchants, bool_and(at >= :'today'::date - 1) as at from payout.cvs_settlement('SETA', :'today') group by 1;
-- days are Jakarta's: each line is on one day
alter table payout.transfer disable trigger refuse_change;
update payout.transfer set at = :'yesterday'::timestamp at time zone interval '+07:00' where txid = test.txid('SE1') and kind = 'settle';
update payout.transfer set at = (:'today'::timestamp at time zone interval '+07:00') - interval '1 us' where txid = test.txid('SE6') and kind = 'settle';
alter table payout.transfer enable always trigger refuse_change;
select * from test.settlement('SETA', :'yesterday');
set timezone = 'America/New_York';
select * from test.settlement('SETA', :'yesterday');
reset timezone;
select count(*) from test.settlement('SETA', :'yesterday'::date - 1) union all select count(*) from test.settlement('SETA', :'tomorrow');
select test.settled('SETA') = test.owed_to('SETA') as same;
-- a channel's settlement of the same name is not the store's
begin;
select bank_code from payout.create_bank('SETCHBK', 'Bank', 'SETA');
select state from payout.register('SETTLE0001', 'SED', 70000, 'SETCHBK', '8811111111', 'Budi');
select payout.ledger_deduct('SETTLE0001', test.txid('SED'), 70000, 0, null), payout.ledger_settle('SETTLE0001', test.txid('SED'), 70000, payout.settlement_account('SETA', null));
select debit_account, credit_account from payout.transfer where txid = test.txid('SED') and kind = 'settle';
select count(*) as of_the_channel from test.settlement('SETA', :'today') where line like 'SED%';
select test.settled('SETA') = test.owed_to('SETA') as same;
rollback;
select payout.cvs_settlement('NOSTORE', :'today');
select payout.cvs_settlement('SETA', null);

-- the store's list: what waits for it is settled or released, what contradicts an end is disputed; the rest is told and moves nothing
create function test.list(variadic p_rows text[]) returns jsonb language sql as $$
select coalesce(jsonb_agg(jsonb_build_object('cvs_reference', split_part(r, ' ', 1), 'amount', split_part(r, ' ', 2)::numeric, 'status', split_part(r, ' ', 3))), '[]') from unnest(p_rows) r
$$;
create function test.import(p_cvs_code text, p_day date, p_rows jsonb)
returns table (finding text, cvs_reference text, reference_no text, our_state text, our_amount numeric, their_status text, their_amount numeric, said boolean) language sql as $$
select i.finding, i.cvs_reference, p.reference_no, i.our_state, i.our_amount, i.their_status, i.their_amount, i.detail <> ''
from payout.import_cvs_settlement(p_cvs_code, p_day, p_rows) with ordinality i left join payout.payout p on p.txid = i.txid order by i.ordinality
$$;
select r, test.issue('SETTLE0001', r, 10000) from unnest('{SF1,SF2,SF3,SF4,SF5,SF6,SF7,SF8,SF9,SF10,SF11,SF12,SF13,SF14}'::text[]) r;
select r, test.validate('SETB', r, r) from unnest('{SF1,SF2,SF3,SF4,SF5,SF6,SF7,SF8,SF9,SF10,SF11,SF12,SF13}'::text[]) r;
-- 1 paid; 2 reserved and 3 suspect, listed as paid; 4 reserved and 5 suspect, listed as cancelled; 6 paid, listed as cancelled; 7 suspect and resolved as failed, listed as paid;
-- 8 paid and not listed; 9 paid, listed with another amount; 10 reversed, listed as cancelled; 11 reversed, listed as paid; 12 reserved, listed with another amount; 13 reserved, not listed; 14 never validated
select r, test.confirm('SETB', r, r) from unnest('{SF1,SF6,SF8,SF9}'::text[]) r;
select r, test.reverse('SETB', r, r) from unnest('{SF10,SF11}'::text[]) r;
select test.make_due('SF3'), test.make_due('SF5'), test.make_due('SF7'), payout.expire_tokens(10);
select state from payout.resolve('SETTLE0001', test.txid('SF7'), 'failed', 'the store does not answer');
select test.list('SF1 10000 SUCCESS', 'SF2 10000 SUCCESS', 'SF3 10000 SUCCESS', 'SF4 10000 CANCEL', 'SF5 10000 CANCEL', 'SF6 10000 CANCEL', 'SF7 10000 SUCCESS', 'SF9 9000 SUCCESS', 'SF10 10000 CANCEL', 'SF11 10000 SUCCESS', 'SF12 9000 SUCCESS',
	'SFX 10000 SUCCESS', 'SFY 10000 CANCEL') as list \gset
select * from test.import('SETB', :'today', :'list');
select test.state('SF1', 'SF2', 'SF3', 'SF4', 'SF5', 'SF6', 'SF7', 'SF8', 'SF9', 'SF10', 'SF11', 'SF12', 'SF13', 'SF14');
select test.history('SF2'), test.notified('SF2'), test.history('SF4'), test.notified('SF4'), test.history('SF6'), test.notified('SF6'), test.history('SF7'), test.notified('SF7');
select test.money('SF2'), test.money('SF4'), test.money('SF6'), test.money('SF7');
select test.settled('SETB'), test.settled('SETB') = test.owed_to('SETB') as same, sum(amount) filter (where kind = 'settle') as settle from payout.cvs_settlement('SETB', :'today');
select check_name, detail from payout.verify();
-- the same again: nothing moves, and what did not agree does not agree
select sum(events) as events from payout.payout where merchant_id = 'SETTLE0001' \gset
select * from test.import('SETB', :'today', :'list');
select sum(events) = :events as nothing_moved from payout.payout where merchant_id = 'SETTLE0001';
select count(*), sum(amount) from payout.cvs_settlement_row where cvs_code = 'SETB';
-- the calls of the store that come after its list are answered as if they had been in time
select test.confirm('SETB', 'SF2', 'SF2'), test.reverse('SETB', 'SF4', 'SF4'), test.reverse('SETB', 'SF6', 'SF6'), test.confirm('SETB', 'SF7', 'SF7'), test.state('SF2', 'SF4', 'SF6', 'SF7');
-- the freed token is good elsewhere
select test.validate('SETC', 'SF4', 'SF4'), test.confirm('SETC', 'SF4', 'SF4');
-- another list of that day takes the place of the first; what was moved stays
select * from test.import('SETB', :'today', test.list('SF1 10000 SUCCESS', 'SF2 10000 SUCCESS', 'SF3 10000 SUCCESS', 'SF8 10000 SUCCESS', 'SF9 10000 SUCCESS', 'SF12 10000 SUCCESS', 'SF13 10000 CANCEL'));
select count(*) from payout.cvs_settlement_row where cvs_code = 'SETB';
select test.state('SF8', 'SF9', 'SF12', 'SF13');
select finding, cvs_reference from test.import('SETB', :'today', test.list('SF1 10000 SUCCESS', 'SF2 10000 SUCCESS', 'SF3 10000 SUCCESS', 'SF8 10000 SUCCESS', 'SF9 10000 SUCCESS', 'SF12 10000 SUCCESS', 'SF13 10000 CANCEL'));
-- an empty list: all that was paid on the day is missing; a day on which nothing was: nothing
select finding, cvs_reference, our_state, their_status from test.import('SETB', :'today', '[]');
select * from test.import('SETB', :'tomorrow', '[]');
-- listed on another day than ours: it agrees, and is not missing
select finding, cvs_reference from test.import('SETB', :'tomorrow', test.list('SF8 10000 SUCCESS', 'SF9 10000.00 SUCCESS'));
select finding, cvs_reference from test.import('SETB', :'today', test.list('SF1 10000 SUCCESS', 'SF2 10000 SUCCESS', 'SF3 10000 SUCCESS', 'SF12 10000 SUCCESS'));
-- a reference is the store's own: another store's list knows nothing of it
select finding, cvs_reference, our_state from test.import('SETA', :'tomorrow', test.list('SF8 10000 CANCEL'));
select test.state('SF8');

-- settled, returned and settled after all: in the list of what is missing it stands once
select test.issue('SETTLE0001', 'SG1', 10000), test.validate('SETB', 'SG1', 'SG1'), test.make_due('SG1'), payout.expire_tokens(10);
select state from payout.resolve('SETTLE0001', test.txid('SG1'), 'paid', 'the store said so by telephone');
select test.reverse('SETB', 'SG1', 'SG1');
select state from payout.resolve('SETTLE0001', test.txid('SG1'), 'returned', 'the store said so in writing');
select finding, cvs_reference from test.import('SETB', :'yesterday', test.list('SG1 10000 SUCCESS'));
select state, test.money('SG1') from payout.resolve('SETTLE0001', test.txid('SG1'), 'paid', 'the store lists it');
select finding, cvs_reference from test.import('SETB', :'yesterday', '[]');
select finding, cvs_reference from test.import('SETB', :'today', '[]') where cvs_reference = 'SG1';
select amount, line from test.settlement('SETB', :'today') where line like 'SG1%';

-- bad rows: refused whole, with the number of the row; nothing is written
create function test.bad_row(p_rows jsonb) returns text language plpgsql as $$
declare
	d text; h text;
begin
	perform payout.import_cvs_settlement('SETC', payout.jakarta_day(now()), p_rows);
	return 'ok';
exception when others then
	get stacked diagnostics d = pg_exception_detail, h = pg_exception_hint;
	return concat_ws(' ', sqlstate, substring(d from 'row (\d+)'), case when h = '' then 'NO HINT' end);
end $$;
select n, test.bad_row(rows) from (values (1, '[{"cvs_reference": "A", "amount": 1, "status": "SUCCESS"}, 5]'::jsonb), (2, '[{"cvs_reference": "A", "amount": 1, "status": "SUCCESS"}, {"cvs_reference": "B", "amount": "x", "status": "SUCCESS"}, {}]'),
	(3, '[{}]'), (4, test.list('A 1 SUCCESS', 'B 1 SUCCESS', 'C 1 CANCEL', 'B 1 CANCEL')), (5, test.list('A 1 SUCCESS', 'A 1 SUCCESS')), (6, (select jsonb_agg(jsonb_build_object('cvs_reference', 'R' || i, 'amount', case i when 700 then -1 else i end, 'status', 'SUCCESS')) from generate_series(1, 1000) i)),
	(7, '{"cvs_reference": "A", "amount": 1, "status": "SUCCESS"}'), (8, null)) v (n, rows);
select count(*) from payout.cvs_settlement_row where cvs_code = 'SETC';
-- amounts as texts, as some stores write them
select finding, cvs_reference, our_amount, their_amount from test.import('SETC', :'today', '[{"cvs_reference": "SF4", "amount": "10000.00", "status": "SUCCESS"}]');
-- an inactive store's list is taken, and one of a copy that is not armed
select r, test.validate('SETC', r, r) from unnest('{SF14,SF10}'::text[]) r;
select active from payout.alter_cvs('SETC', '{"active": false}');
select payout.disarm();
select finding, cvs_reference from test.import('SETC', :'today', test.list('SF4 10000 SUCCESS', 'SF14 10000 SUCCESS', 'SF10 10000 CANCEL'));
select payout.arm();
select test.state('SF14', 'SF10');
select test.settled(s) = test.owed_to(s) as same from unnest('{SETA,SETB,SETC}'::text[]) s;
select check_name, detail from payout.verify();
