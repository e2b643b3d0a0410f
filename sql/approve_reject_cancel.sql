-- approve_reject_cancel.sql: approval, rejection, cancellation: steps 10 to 12 and their opposites. No bank is needed.
\getenv tree PG_ABS_SRCDIR
\set fixture :tree /sql/include/fixture.inc
\i :fixture
select test.set_up('APPROVE001', 'APPCH', 'APPBANK', 30000);
select test.register('APPROVE001', 'APPBANK', 'A' || i) from generate_series(1, 5) i;
select a.state, a.txid = test.txid('A1') as same, cashout_token, valid_until from payout.approve('APPROVE001', test.txid('A1')) a;
-- a repeat answers with the state and moves nothing
select a.state from payout.approve('APPROVE001', test.txid('A1')) a;
select test.money('A1');
select * from payout.balance('APPROVE001');
select event_no, event, from_state, to_state from payout.payout_event where txid = test.txid('A1') order by event_no;
-- approved while the account check is pending: it waits for the bank
select dispatch_due_at is null as waits, check_due_at is not null as will_be_asked from payout.payout where reference_no = 'A1';

-- rejection ends a registered payout, once
select state, reason, final_at is not null as is_final, check_due_at from payout.reject('APPROVE001', test.txid('A2'), 'wrong person');
select state, reason from payout.reject('APPROVE001', test.txid('A2'), 'another reason');
select payout.approve('APPROVE001', test.txid('A2'));
select payout.reject('APPROVE001', test.txid('A1'), 'too late');
select payout.cancel('APPROVE001', test.txid('A1'), 'too late');
select payout.cancel('APPROVE001', test.txid('A3'), 'not scheduled');
select payout.reject('APPROVE001', test.txid('A3'), null);
select payout.reject('APPROVE001', test.txid('A3'), '');
select payout.reject('APPROVE001', 'no such txid', 'x');
select test.money('A2');

-- an account that the bank does not know
update payout.payout set account_check = 'invalid', check_due_at = null where reference_no = 'A3';
select payout.approve('APPROVE001', test.txid('A3'));
-- an inactive merchant approves nothing, but rejects
select active from payout.alter_merchant('APPROVE001', '{"active": false}');
select payout.approve('APPROVE001', test.txid('A4'));
select a.state from payout.approve('APPROVE001', test.txid('A1')) a;
select active from payout.alter_merchant('APPROVE001', '{"active": true}');

-- too little money: nothing remains of the try
select amount from payout.withdraw('APPROVE001', 10000.01, 'leaves-9999.99');
select payout.approve('APPROVE001', test.txid('A4'));
select test.state('A4'), test.money('A4'), (test.payout('A4')).events;
select amount from payout.top_up('APPROVE001', 0.01, 'back-to-10000');
select a.state from payout.approve('APPROVE001', test.txid('A4')) a;
select available from payout.balance('APPROVE001');
select payout.approve('APPROVE001', test.txid('A5'));
-- undone with its savepoint
select amount from payout.top_up('APPROVE001', 10000, 'for-A5');
begin;
savepoint s;
select a.state from payout.approve('APPROVE001', test.txid('A5')) a;
rollback to s;
select available from payout.balance('APPROVE001');
select test.state('A5'), test.money('A5');
commit;

-- another merchant's payout is as unknown as any
select test.set_up('APPROVE002', 'APPCH', 'APPBANK', 1);
select payout.approve('APPROVE002', test.txid('A5'));
select payout.reject('APPROVE002', test.txid('A5'), 'x');
select payout.approve('NOMERCHANT', test.txid('A5'));

-- no move but the allowed ones, whoever writes it
select s, test.sqlstate_of(format('update payout.payout set state = %L where reference_no = ''A5''', s))
from unnest(array['paid', 'failed', 'dispatching', 'processing', 'suspect', 'returned', 'disputed', 'cancelled', 'expired', 'nonsense']) s;
select test.state('A5'), test.money('A5');
select check_name, detail from payout.verify();

-- the plain way, in C, and the way by all rules leave the same rows
select test.set_up('PLAIN00001', 'PLAINCH', 'PLAINBANK', 100000);
select payout.alter_merchant('PLAIN00001', '{"fee": {"online": {"flat": 25, "bps": 10}}}') is not null as has_fees;
create table test.both (way text, reference_no text);
insert into test.both values ('plain', 'AB1'), ('by rules', 'AB2'), ('plain', 'AB3'), ('by rules', 'AB4');
do $$
declare
	b test.both;
	p payout.payout;
begin
	for b in select * from test.both order by reference_no loop
		if b.way = 'plain' then
			p := payout.register('PLAIN00001', b.reference_no, 1000.5, 'PLAINBANK', '123', 'Name', 'online', '+62 1', null, 'for', '{}');
		else
			p := payout.do_register('PLAIN00001', b.reference_no, 1000.5, 'PLAINBANK', '123', 'Name', 'online', '+62 1', null, 'for', '{}');
		end if;
		if b.reference_no >= 'AB3' then
			update payout.payout set account_check = 'matched', check_due_at = null where txid = p.txid;
		end if;
	end loop;
end
$$;
create function test.without_times(t anyelement) returns jsonb language sql as $$
	select jsonb_object_agg(key, case when key in ('txid', 'reference_no', 'transfer_id') then '"-"' when key ~ '_?at$' or key in ('content_salt', 'content_digest') then to_jsonb(value <> 'null') else value end) from jsonb_each(to_jsonb(t)) $$;
create function test.differ() returns setof text language sql as $$
	select f.from_table from test.both a join test.both b on a.way = 'plain' and b.way = 'by rules' and right(b.reference_no, 1)::integer = right(a.reference_no, 1)::integer + 1
	join payout.payout p on p.reference_no = a.reference_no join payout.payout q on q.reference_no = b.reference_no,
	lateral (values
		('payout', test.without_times(p), test.without_times(q)),
		('history', (select jsonb_agg(test.without_times(e) order by e.event_no) from payout.payout_event e where e.txid = p.txid),
					(select jsonb_agg(test.without_times(e) order by e.event_no) from payout.payout_event e where e.txid = q.txid)),
		('transfer', (select jsonb_agg(test.without_times(t) order by t.kind) from payout.transfer t where t.txid = p.txid),
					 (select jsonb_agg(test.without_times(t) order by t.kind) from payout.transfer t where t.txid = q.txid))) f (from_table, x, y)
	where x is distinct from y or x is null $$;
select count(*) as registered from test.both b join payout.payout p on p.reference_no = b.reference_no and p.state = 'registered' and p.merchant_id = 'PLAIN00001';
select (payout.approve('PLAIN00001', test.txid('AB1'))).state, (payout.do_approve('PLAIN00001', test.txid('AB2'))).state,
	(payout.approve('PLAIN00001', test.txid('AB3'))).state, (payout.do_approve('PLAIN00001', test.txid('AB4'))).state;
select * from test.differ();
select reference_no, state, fee, check_deadline_at > payout.clock() as is_asked, dispatch_due_at is not null as is_due from payout.payout where merchant_id = 'PLAIN00001' order by 1;
-- nor do they write where nothing may be written
begin read only;
select test.sqlstate_of($$select payout.register('PLAIN00001', 'AB5', 1000, 'PLAINBANK', '123', 'Name')$$), test.sqlstate_of(format('select payout.approve(%L, %L)', 'PLAIN00001', test.txid('AB1')));
commit;
drop table test.both cascade;
drop function test.without_times(anyelement), test.differ();
