-- ledger.sql: the ledger: top-ups and withdrawals once per reference, rows that nobody changes, fees, limits, never overdrawn.
\getenv tree PG_ABS_SRCDIR
\set fixture :tree /sql/include/fixture.inc
\i :fixture
select test.set_up('LEDGER0001', 'LEDGERCH', 'LEDGERB', 0);
select kind, debit_account, credit_account, amount, currency, reference_no, created_by = current_user as by_me from payout.top_up('LEDGER0001', 1000, 'T1');
select t = (select q from payout.transfer q where merchant_id = 'LEDGER0001' and reference_no = 'T1') as same_row from payout.top_up('LEDGER0001', 1000.00, 'T1') t;
select payout.top_up('LEDGER0001', 1001, 'T1');
select * from payout.balance('LEDGER0001');
-- a withdrawal's references are its own
select kind, debit_account, credit_account, amount from payout.withdraw('LEDGER0001', 300.25, 'T1');
select kind, amount from payout.withdraw('LEDGER0001', 300.25, 'T1');
select payout.withdraw('LEDGER0001', 300.26, 'T1');
select payout.withdraw('LEDGER0001', 699.76, 'T2');
select kind, amount from payout.withdraw('LEDGER0001', 699.75, 'T2');
select * from payout.balance('LEDGER0001');
-- the failed try with T2 left nothing: the reference was free
select count(*) from payout.transfer where merchant_id = 'LEDGER0001';

-- rows are never changed: not by the owner, not by a superuser, not where triggers of replicas do not fire
update payout.transfer set amount = 1 where merchant_id = 'LEDGER0001';
delete from payout.transfer where merchant_id = 'LEDGER0001';
truncate payout.transfer;
set session_replication_role = replica;
update payout.transfer set amount = 1 where merchant_id = 'LEDGER0001';
delete from payout.transfer where merchant_id = 'LEDGER0001';
truncate payout.transfer;
update payout.payout_event set reason = 'x';
delete from payout.payout_event where merchant_id = 'LEDGER0001';
truncate payout.payout_event;
truncate payout.attempt;
reset session_replication_role;
select test.sqlstate_of('truncate payout.payout_event'), test.sqlstate_of('delete from payout.balance'), test.sqlstate_of('truncate payout.balance cascade');
-- a row cannot be unbalanced or without its kind's content
select test.sqlstate_of(format('insert into payout.transfer (merchant_id, kind, debit_account, credit_account, amount, txid, reference_no) values (''LEDGER0001'', %s)', v))
from unnest(array['''top_up'', ''funding'', ''available'', -1, null, ''N''', '''top_up'', ''funding'', ''available'', 0, null, ''N''',
	'''top_up'', ''available'', ''available'', 1, null, ''N''', '''top_up'', ''funding'', ''pocket'', 1, null, ''N''',
	'''top_up'', ''funding'', ''available'', 1, ''X'', ''N''', '''refund'', ''in_transit'', ''available'', 1, null, null', '''gift'', ''funding'', ''available'', 1, null, ''N''',
	'''settle'', ''in_transit'', ''settlement/X'', 1, ''X'', ''N''']) v;
-- what may happen to a payout again is told apart by a reference; all else happens once
begin;
insert into payout.transfer (merchant_id, kind, debit_account, credit_account, amount, txid, reference_no)
select 'LEDGER0001', kind, debit, credit, 1, 'X', n::text from generate_series(1, 2) n, (values ('loss', 'platform_loss', 'settlement/X'), ('loss_return', 'settlement/X', 'platform_loss')) k (kind, debit, credit);
select test.sqlstate_of($$insert into payout.transfer (merchant_id, kind, debit_account, credit_account, amount, txid, reference_no) values ('LEDGER0001', 'loss', 'platform_loss', 'settlement/X', 1, 'X', '2')$$) as same_occasion;
insert into payout.transfer (merchant_id, kind, debit_account, credit_account, amount, txid) values ('LEDGER0001', 'settle', 'in_transit', 'settlement/X', 1, 'X');
select test.sqlstate_of($$insert into payout.transfer (merchant_id, kind, debit_account, credit_account, amount, txid) values ('LEDGER0001', 'settle', 'in_transit', 'settlement/X', 1, 'X')$$) as once;
rollback;

-- approval deducts the amount and the fee, all or nothing
select payout.alter_merchant('LEDGER0001', '{"fee": {"online": {"flat": "2500", "bps": 15}}}') is distinct from null as altered;
select amount from payout.top_up('LEDGER0001', 12514.99, 'T3');
select test.pay('LEDGER0001', 'LEDGERB', 'L1', 10000);
select * from payout.balance('LEDGER0001');
select test.sqlstate_of($$select payout.inquiry_reference('LEDGER0001', 'L1')$$);
select amount from payout.top_up('LEDGER0001', 0.01, 'T4');
select test.pay('LEDGER0001', 'LEDGERB', 'L1', 10000), (test.payout('L1')).fee;
select * from payout.balance('LEDGER0001');
select test.money('L1');
-- the fee is fixed when the money was deducted, and given back with it
select payout.alter_merchant('LEDGER0001', '{"fee": null}') is distinct from null as altered;
select state from payout.resolve('LEDGER0001', test.txid('L1'), 'failed', 'never sent');
select test.money('L1');
select * from payout.balance('LEDGER0001');
-- basis points are rounded to two decimals
select payout.fee_of('{"fee": {"online": {"bps": 15}}}', 'online', 33.33), payout.fee_of('{"fee": {"online": {"bps": 15}}}', 'overbooking', 33.33), payout.fee_of('{}', 'online', 1);

-- bounds of a payout at registration, of a day at approval; refunds do not lower the day
select payout.alter_merchant('LEDGER0001', '{"limits": {"online": {"min": 100, "max": 5000}, "daily_total": 14000}}') is distinct from null as altered;
select test.sqlstate_of(format('select test.register(%L, %L, %L, %s)', 'LEDGER0001', 'LEDGERB', 'L' || a, a)) from unnest('{99.99,100,5000,5000.01}'::numeric[]) a;
select test.pay('LEDGER0001', 'LEDGERB', 'D1', 4000);
select test.register('LEDGER0001', 'LEDGERB', 'D2', 100.01);
select day_total from payout.current_balance('LEDGER0001');
select payout.approve('LEDGER0001', test.txid('D2'));
select test.state('D1', 'D2');
-- the next day counts from nothing
select payout.fold(1000000) > 0 as folded;
update payout.balance set day = day - 1 where merchant_id = 'LEDGER0001';
select state from payout.approve('LEDGER0001', test.txid('D2'));
select day_total from payout.current_balance('LEDGER0001');
-- put back, since today's transfers say otherwise
select payout.fold(1000000) > 0 as folded;
update payout.balance set day_total = 14100.01 where merchant_id = 'LEDGER0001';
-- nobody can make it negative
update payout.balance set available = -1 where merchant_id = 'LEDGER0001';
-- where a payout's money is, is found by an index: each approval of a cashout asks
begin;
set local enable_seqscan = off;
select seq_scan as scans from pg_stat_xact_user_tables where relid = 'payout.transfer'::regclass \gset
select payout.money_position('LEDGER0001', test.txid('D1'));
select seq_scan - :scans as scans_of_all_transfers from pg_stat_xact_user_tables where relid = 'payout.transfer'::regclass;
commit;
select check_name, detail from payout.verify();
