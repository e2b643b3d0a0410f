-- queue_load.sql: :payouts approved disbursements over :merchants merchants, in bulk: the rows that register, the account
-- check and approve leave behind, so that payout.verify() finds nothing wrong. All are due, in the order of their TXIDs.
\set ON_ERROR_STOP on
set synchronous_commit = off;
set jit = off;
begin;
select count(payout.create_merchant(format('BENCH%s', to_char(i, 'FM00000')), 'Merchant of a benchmark')) as merchants from generate_series(1, :merchants) i;
select count(payout.top_up(format('BENCH%s', to_char(i, 'FM00000')), 100000000000, 'load')) as top_ups from generate_series(1, :merchants) i;
create temp table loaded on commit drop as
select merchant_id, payout.generate_txid(merchant_id) as txid, n, clock_timestamp() as at
from (select i as n, format('BENCH%s', to_char(1 + i % :merchants, 'FM00000')) as merchant_id from generate_series(1, :payouts) i) m;
insert into payout.payout (merchant_id, txid, kind, state, reference_no, method, amount, channel_id, bank_code, account_no, beneficiary_name,
	registered_at, approved_at, events, account_check, account_name, check_deadline_at, dispatch_due_at)
select merchant_id, txid, 'disbursement', 'approved', 'LOAD-' || n, 'online', 10000, 'BANK1', 'CENA', '88' || to_char(n, 'FM00000000'), 'Budi Santoso',
	at, at, 3, 'matched', 'BUDI SANTOSO', at + interval '1 hour', at
from loaded order by n;
insert into payout.payout_event (merchant_id, txid, event_no, event, from_state, to_state)
select merchant_id, txid, 1, null, null, 'registered' from loaded
union all
select merchant_id, txid, 2, 'account.checked', 'registered', 'registered' from loaded
union all
select merchant_id, txid, 3, 'payout.approved', 'registered', 'approved' from loaded;
insert into payout.transfer (merchant_id, kind, debit_account, credit_account, amount, txid)
select merchant_id, 'deduct', 'available', 'in_transit', 10000, txid from loaded;
update payout.balance b
set available = available - s.amount, day = payout.jakarta_day(now()), day_total = s.amount
from (select merchant_id, count(*) * 10000 as amount from loaded group by 1) s where s.merchant_id = b.merchant_id;
commit;
-- The worker's transactions: when each began. Batches are made and attempts completed by the worker alone.
create table public.turn (began timestamptz default now());
create function public.write_turn() returns trigger language plpgsql as $$ begin insert into public.turn default values; return null; end $$;
create trigger write_turn after insert on payout.batch for each statement execute function public.write_turn();
create trigger write_turn after update on payout.attempt for each statement execute function public.write_turn();
vacuum (analyze) payout.payout, payout.transfer, payout.payout_event, payout.balance;
checkpoint;
