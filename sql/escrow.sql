-- escrow.sql: what shared memory counts follows the tables: own credits, savepoints, aborts, the total of the day, folding,
-- other people's hands, DROP and CREATE EXTENSION. In a database of its own, for rows that are written by hand break the books.
\getenv tree PG_ABS_SRCDIR
\set fixture :tree /sql/include/fixture.inc
\set regression :DBNAME
create database escrow_regression;
\c escrow_regression
create extension payout;
\i :fixture
select test.set_up('ESCROW0001', 'ESCROWCH', 'ESCROWB', 1000);

-- What the tables say of a merchant, as this transaction sees them, and what the slot says.
create function test.look(p_merchant_id text, out tables numeric, out slot numeric, out pins integer) language sql as $$
select c.available, round(e.available / 100.0, 2), e.pins
from payout.current_balance(p_merchant_id) c left join payout.escrow() e on e.merchant_id = p_merchant_id
$$;
-- When nothing is in progress: the balance, the total of the newest day, and whatever is not as it should be.
create function test.agree(p_merchant_id text) returns text language sql as $$
select concat_ws(', ', c.available, 'day ' || c.day_total,
	case when e is null then 'COLD' when e.available <> c.available * 100 then 'SLOT ' || e.available end,
	case when e.day_total <> case when e.day = c.day then c.day_total * 100 else 0 end then 'SLOT DAY ' || e.day_total end,
	case when e.pins <> 0 then 'PINNED' end,
	(select string_agg(distinct check_name, ' ') from payout.verify()))
from payout.current_balance(p_merchant_id) c left join payout.escrow() e on e.merchant_id = p_merchant_id
$$;
create function test.top_up(p_amount numeric, p_merchant_id text default 'ESCROW0001') returns numeric language sql as $$
select amount from payout.top_up(p_merchant_id, p_amount, gen_random_uuid()::text)
$$;
create function test.withdraw(p_amount numeric, p_merchant_id text default 'ESCROW0001') returns numeric language sql as $$
select amount from payout.withdraw(p_merchant_id, p_amount, gen_random_uuid()::text)
$$;
-- Whether a withdrawal is possible; it is not made.
create function test.can_take(p_amount numeric, p_merchant_id text default 'ESCROW0001') returns text language plpgsql as $$
begin
	perform test.withdraw(p_amount, p_merchant_id);
	raise sqlstate 'UNDO0';
exception
	when sqlstate 'UNDO0' then return 'yes';
	when others then return sqlstate;
end
$$;
select test.agree('ESCROW0001');

-- a transaction spends its own credit; others see of it what is left, after the commit
begin;
select test.top_up(500);
select * from test.look('ESCROW0001');
select test.can_take(1500.01), test.can_take(1500);
select test.pay('ESCROW0001', 'ESCROWB', 'OWN', 1400);
select * from test.look('ESCROW0001');
select test.can_take(100.01), test.can_take(100);
commit;
select test.agree('ESCROW0001');
-- with a credit left over
begin;
select test.top_up(300), test.withdraw(250);
select * from test.look('ESCROW0001');
commit;
select test.agree('ESCROW0001');
-- given, taken, given back: a refund is a credit too
begin;
select test.register('ESCROW0001', 'ESCROWB', 'LATER', 150);
select test.reschedule('LATER', clock_timestamp() + interval '1 day');
select state from payout.approve('ESCROW0001', test.txid('LATER'));
select test.can_take(0.01);
select state from payout.cancel('ESCROW0001', test.txid('LATER'), 'not wanted');
select * from test.look('ESCROW0001');
select test.can_take(150.01), test.can_take(150);
commit;
select test.agree('ESCROW0001');

-- savepoints: a credit is rolled back after it has been spent
begin;
savepoint a;
select test.top_up(300), test.withdraw(350);
select * from test.look('ESCROW0001');
rollback to a;
select * from test.look('ESCROW0001');
select test.can_take(150.01), test.can_take(150);
commit;
select test.agree('ESCROW0001');
-- a credit is spent in a savepoint, and the spending is rolled back
begin;
select test.top_up(100);
savepoint a;
select test.withdraw(250), test.can_take(0.01);
rollback to a;
select test.can_take(250.01), test.can_take(250);
rollback;
select test.agree('ESCROW0001');
-- nested
begin;
savepoint a;
select test.top_up(100);
savepoint b;
select test.top_up(100);
savepoint c;
select test.withdraw(325);
rollback to b;
select test.can_take(250.01), test.can_take(250);
savepoint c;
select test.withdraw(210);
savepoint d;
select test.top_up(7), test.withdraw(40);
rollback to d;
release c;
select test.can_take(40.01), test.can_take(40);
rollback to a;
select * from test.look('ESCROW0001');
commit;
select test.agree('ESCROW0001');
-- a credit whose savepoint is released is the parent's: spent there, rolled back with it
begin;
savepoint a;
savepoint b;
select test.top_up(100);
release b;
select test.withdraw(250), test.can_take(0.01);
rollback to a;
select test.can_take(150.01), test.can_take(150);
savepoint b;
select test.top_up(100);
release b;
release a;
select test.withdraw(240);
commit;
select test.agree('ESCROW0001');
-- what was spent in a released savepoint comes back with its parent
begin;
savepoint a;
savepoint b;
select test.withdraw(10);
release b;
select test.can_take(0.01);
rollback to a;
select test.withdraw(4);
commit;
select test.agree('ESCROW0001');
-- an error that is caught
select test.sqlstate_of($$do 'begin perform test.top_up(50), test.withdraw(55); perform 1 / 0; end'$$);
select test.agree('ESCROW0001');

-- abort gives back: by ROLLBACK, by an error, by the commit of a failed transaction
begin;
select test.withdraw(6), test.can_take(0.01);
rollback;
select test.agree('ESCROW0001');
select test.withdraw(5), 1 / 0;
select test.agree('ESCROW0001');
begin;
select test.withdraw(5);
select test.withdraw(2);
commit;
select test.agree('ESCROW0001');
-- where the deduction succeeds and the approval does not
create function test.refuse() returns trigger language plpgsql as $$ begin raise sqlstate 'REFUS'; end $$;
create constraint trigger refuse after update on payout.payout deferrable initially deferred for each row execute function test.refuse();
select test.pay('ESCROW0001', 'ESCROWB', 'REFUSED', 6);
drop trigger refuse on payout.payout;
select test.agree('ESCROW0001');
-- the same reference takes once
select amount from payout.top_up('ESCROW0001', 994, 'once');
select amount from payout.top_up('ESCROW0001', 994, 'once');
select amount from payout.withdraw('ESCROW0001', 100, 'once');
select amount from payout.withdraw('ESCROW0001', 100, 'once');
select test.agree('ESCROW0001');

-- the total of the day is taken and given back with the amount
select test.set_up('ESCROW0002', 'ESCROWCH2', 'ESCROWB2', 5000, '{"limits": {"daily_total": 1000}}');
begin;
select test.pay('ESCROW0002', 'ESCROWB2', 'DAY1', 600);
select test.sqlstate_of($$select test.pay('ESCROW0002', 'ESCROWB2', 'DAY2', 400.01)$$);
rollback;
select test.agree('ESCROW0002');
select test.pay('ESCROW0002', 'ESCROWB2', 'DAY1', 600);
begin;
savepoint a;
select test.pay('ESCROW0002', 'ESCROWB2', 'DAY2', 400);
select test.sqlstate_of($$select test.pay('ESCROW0002', 'ESCROWB2', 'DAY3', 0.01)$$);
rollback to a;
select test.sqlstate_of($$select test.pay('ESCROW0002', 'ESCROWB2', 'DAY2', 400.01)$$);
select test.pay('ESCROW0002', 'ESCROWB2', 'DAY2', 300);
commit;
select test.agree('ESCROW0002');
-- neither withdrawals nor refunds touch it, and what it refuses takes nothing
select test.withdraw(1000, 'ESCROW0002');
select state from payout.resolve('ESCROW0002', test.txid('DAY1'), 'failed', 'never sent');
select test.pay('ESCROW0002', 'ESCROWB2', 'DAY3', 100.01);
select test.agree('ESCROW0002');
-- the money is looked at first, the day as well
select test.register('ESCROW0002', 'ESCROWB2', 'DAY4', 99999), test.register('ESCROW0002', 'ESCROWB2', 'DAY5', 3500);
select test.sqlstate_of($$select payout.approve('ESCROW0002', test.txid('DAY4'))$$), test.sqlstate_of($$select payout.approve('ESCROW0002', test.txid('DAY5'))$$);
-- a day later it counts from nothing, also where the first deduction of the day is rolled back
select payout.fold(1000) > 0 as folded;
begin;
update payout.balance set day = day - 1 where merchant_id = 'ESCROW0002';
select test.pay('ESCROW0002', 'ESCROWB2', 'DAY6', 1000);
rollback;
select test.agree('ESCROW0002');
update payout.balance set day = day - 1 where merchant_id = 'ESCROW0002';
begin;
select test.pay('ESCROW0002', 'ESCROWB2', 'DAY6', 1000);
rollback;
begin;
select test.pay('ESCROW0002', 'ESCROWB2', 'DAY6', 1000);
select test.sqlstate_of($$select test.pay('ESCROW0002', 'ESCROWB2', 'DAY7', 0.01)$$);
rollback;
update payout.balance set day = day + 1 where merchant_id = 'ESCROW0002';
select test.agree('ESCROW0002');

-- folding: credits first, so the row is never below zero wherever the limit falls; the sum never moves, and exactly as many
-- deltas go as were folded
select test.set_up('ESCROW0003', 'ESCROWCH3', 'ESCROWB3', 10);
select test.withdraw(10, 'ESCROW0003'), test.top_up(20, 'ESCROW0003'), test.withdraw(15, 'ESCROW0003'), test.pay('ESCROW0003', 'ESCROWB3', 'FOLD', 5);
select test.top_up(1, 'ESCROW0003'), test.withdraw(0.5, 'ESCROW0003'), test.top_up(0.25, 'ESCROW0003');
create function test.fold(p_merchant_id text, p_rows integer, out folded integer, out row_says numeric, out deltas bigint, out sum numeric, out agree text)
returns setof record language plpgsql as $$
begin
	loop
		folded := payout.fold(p_rows);
		select b.available, (select count(*) from payout.balance_delta where merchant_id = p_merchant_id) into row_says, deltas
		from payout.balance b where merchant_id = p_merchant_id;
		sum := (payout.current_balance(p_merchant_id)).available;
		agree := test.agree(p_merchant_id);
		return next;
		exit when folded = 0;
	end loop;
end
$$;
select payout.fold(0), test.sqlstate_of('select payout.fold(-1)');
begin;
select * from test.fold('ESCROW0003', 1);
rollback;
select count(*) from payout.balance_delta where merchant_id = 'ESCROW0003';
select * from test.fold('ESCROW0003', 3);
-- what goes is what was added
select test.top_up(5, 'ESCROW0003'), test.withdraw(3, 'ESCROW0003'), test.top_up(8, 'ESCROW0003');
create temporary table before as select delta_id, amount from payout.balance_delta where merchant_id = 'ESCROW0003';
select payout.fold(1);
select amount, exists (select from payout.balance_delta d where d.delta_id = b.delta_id) as is_left from before b order by amount;
-- in the transaction that wrote the deltas, and not if it is rolled back
begin;
select test.top_up(1, 'ESCROW0003'), payout.fold(100);
rollback;
select count(*) from payout.balance_delta where merchant_id = 'ESCROW0003';
begin;
select test.top_up(1, 'ESCROW0003'), payout.fold(100);
commit;
select test.agree('ESCROW0003');
-- several merchants, a limit over all of them
select test.top_up(2, 'ESCROW0003'), test.top_up(1, 'ESCROW0001'), test.withdraw(2, 'ESCROW0001'), test.withdraw(3, 'ESCROW0003');
select payout.fold(3), (select string_agg(amount::text, ' ' order by amount) from payout.balance_delta);
select payout.fold(3), (select count(*) from payout.balance_delta);
select test.agree('ESCROW0001'), test.agree('ESCROW0003');

-- PREPARE TRANSACTION would leave nobody to give back
begin;
select test.pay('ESCROW0001', 'ESCROWB', 'PREPARED', 100);
prepare transaction 'escrow';
select test.agree('ESCROW0001');
begin;
select test.top_up(1);
prepare transaction 'escrow';
begin;
savepoint a;
select test.withdraw(1);
rollback to a;
prepare transaction 'escrow';
select count(*) from pg_prepared_xacts where gid = 'escrow';
select test.agree('ESCROW0001');

-- TRUNCATE is refused, in replica mode as well, and so is to delete a balance
truncate payout.balance_delta;
truncate payout.balance;
truncate payout.balance_delta, payout.balance;
set session_replication_role = replica;
truncate payout.balance_delta;
truncate payout.balance;
delete from payout.balance;
reset session_replication_role;
select test.agree('ESCROW0001');

-- somebody else's hand: transfers
create function test.by_hand(p_kind text, p_amount numeric, p_merchant_id text default 'ESCROW0001') returns text language plpgsql as $$
begin
	insert into payout.transfer (merchant_id, kind, debit_account, credit_account, amount, reference_no)
	values (p_merchant_id, p_kind, case p_kind when 'top_up' then 'funding' else 'available' end,
			case p_kind when 'top_up' then 'available' else 'funding' end, p_amount, gen_random_uuid()::text);
	return 'ok';
exception when others then
	return sqlstate;
end
$$;
select test.by_hand('withdraw', 899.01);
select test.agree('ESCROW0001');
select test.by_hand('top_up', 100), test.by_hand('withdraw', 50);
select test.agree('ESCROW0001');
begin;
select test.by_hand('top_up', 100), test.by_hand('withdraw', 1049.01), test.by_hand('withdraw', 1049);
rollback;
select test.agree('ESCROW0001');
select test.by_hand('withdraw', 949), test.by_hand('withdraw', 0.01);
select test.agree('ESCROW0001');
select test.by_hand('top_up', 943);
select test.agree('ESCROW0001');
-- a deduction counts to its day; without its payout it is a violation, so it is rolled back
begin;
insert into payout.transfer (merchant_id, kind, debit_account, credit_account, amount, txid) values ('ESCROW0001', 'deduct', 'available', 'in_transit', 43, 'BYHAND');
insert into payout.transfer (merchant_id, kind, debit_account, credit_account, amount, txid) values ('ESCROW0001', 'settle', 'in_transit', 'settlement/ESCROWCH', 43, 'BYHAND');
select tables, slot, c.day_total, e.day_total / 100.0 = c.day_total as same_day from test.look('ESCROW0001'), payout.current_balance('ESCROW0001') c, payout.escrow() e where e.merchant_id = 'ESCROW0001';
rollback;
select test.agree('ESCROW0001');
-- a restore brings the deltas along
begin;
set local check_function_bodies = off;
select test.by_hand('top_up', 5);
select * from test.look('ESCROW0001');
rollback;

-- somebody else's hand: deltas. From here on the balances are not the sums of the transfers.
begin;
insert into payout.balance_delta (merchant_id, amount) values ('ESCROW0001', 57), ('ESCROW0001', -100);
select * from test.look('ESCROW0001');
select test.can_take(900.01), test.can_take(900);
rollback;
select test.agree('ESCROW0001');
insert into payout.balance_delta (merchant_id, amount) values ('ESCROW0001', 57);
select test.agree('ESCROW0001'), test.can_take(1000.01), test.can_take(1000);
insert into payout.balance_delta (merchant_id, amount, day, day_amount) select 'ESCROW0001', -10, day, 10 from payout.current_balance('ESCROW0001');
select test.agree('ESCROW0001');
-- more than there is: the books are below zero, and nothing can be taken
begin;
insert into payout.balance_delta (merchant_id, amount) values ('ESCROW0001', -990.01);
select * from test.look('ESCROW0001');
select test.can_take(0.01);
rollback;
select test.agree('ESCROW0001');
insert into payout.balance_delta (merchant_id, amount) values ('ESCROW0001', -1000);
select test.agree('ESCROW0001'), test.can_take(0.01);
select test.top_up(10), test.can_take(0.01);
select test.top_up(1000);
select test.agree('ESCROW0001');
select test.can_take(67.01), test.can_take(67);
update payout.balance_delta set amount = amount + 1 where merchant_id = 'ESCROW0001';
delete from payout.balance_delta where merchant_id = 'ESCROW0001';
-- as the apply worker of a replication does
set session_replication_role = replica;
begin;
update payout.balance_delta set amount = amount + 1 where merchant_id = 'ESCROW0001' and amount = -1000;
select * from test.look('ESCROW0001');
rollback;
select test.agree('ESCROW0001');
update payout.balance_delta set amount = amount + 1 where merchant_id = 'ESCROW0001' and amount = -1000;
select test.agree('ESCROW0001');
update payout.balance_delta set day_amount = day_amount - 3 where merchant_id = 'ESCROW0001' and day is not null;
select test.agree('ESCROW0001');
delete from payout.balance_delta where merchant_id = 'ESCROW0001' and amount = -999;
select test.agree('ESCROW0001');
insert into payout.balance_delta (merchant_id, amount) values ('ESCROW0001', 1), ('ESCROW0001', 2), ('ESCROW0001', -4);
select test.agree('ESCROW0001');
reset session_replication_role;

-- somebody else's hand: the row
begin;
update payout.balance set available = available + 1 where merchant_id = 'ESCROW0001';
update payout.balance set available = available + 1, day_total = day_total + 5 where merchant_id = 'ESCROW0001';
select * from test.look('ESCROW0001');
rollback;
select test.agree('ESCROW0001');
update payout.balance set available = available + 1, day_total = day_total + 5 where merchant_id = 'ESCROW0001';
select test.agree('ESCROW0001');
update payout.balance set available = available - 2, day_total = 0, day = null where merchant_id = 'ESCROW0001';
select test.agree('ESCROW0001');
update payout.balance set available = -1 where merchant_id = 'ESCROW0001';
select test.agree('ESCROW0001');
select payout.fold(1000) > 0 as folded;
select test.agree('ESCROW0001');
insert into payout.merchant (merchant_id, name) values ('ESCROW0004', 'By hand');
begin;
insert into payout.balance (merchant_id, available) values ('ESCROW0004', 5);
rollback;
select test.can_take(0.01, 'ESCROW0004');
insert into payout.balance (merchant_id, available) values ('ESCROW0004', 5);
select test.agree('ESCROW0004'), test.can_take(5.01, 'ESCROW0004'), test.can_take(5, 'ESCROW0004');

-- a balance has an end
select test.set_up('ESCROW0005', 'ESCROWCH5', 'ESCROWB5', 0);
select test.top_up(9999999999999999.98, 'ESCROW0005');
select test.top_up(0.02, 'ESCROW0005');
begin;
select test.top_up(0.01, 'ESCROW0005');
select test.sqlstate_of($$select test.top_up(0.01, 'ESCROW0005')$$);
select test.withdraw(1, 'ESCROW0005'), test.top_up(1, 'ESCROW0005');
commit;
select test.agree('ESCROW0005');
select payout.fold(1000) > 0 as folded, test.withdraw(9999999999999999.99, 'ESCROW0005');
select test.agree('ESCROW0005');

-- another extension, another balance: what the slots of the old one say does not count
begin;
drop extension payout cascade;
create extension payout;
select merchant_id from payout.create_merchant('ESCROW0001', 'Another');
select amount from payout.top_up('ESCROW0001', 5, 'first');
select amount from payout.withdraw('ESCROW0001', 4, 'first');
select merchant_id, available, pins from payout.escrow();
select amount from payout.withdraw('ESCROW0001', 2, 'second');
rollback;
select test.agree('ESCROW0001');
drop extension payout cascade;
create extension payout;
\i :fixture
select count(*) from payout.escrow();
select test.set_up('ESCROW0001', 'ESCROWCH', 'ESCROWB', 7);
select test.agree('ESCROW0001'), test.can_take(7.01), test.can_take(7);
\c :regression
drop database escrow_regression;
