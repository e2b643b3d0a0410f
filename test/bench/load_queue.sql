-- load_queue.sql: adds :payouts approved payouts over the merchants :first to :first + :merchants - 1, in bulk: the rows that
-- register, the account check and approve leave behind, so that payout.verify() finds nothing wrong. All are due, in the
-- order in which they were made.
\set ON_ERROR_STOP on
set synchronous_commit = off;
-- Transfers that are written by hand would change the balances by themselves, one by one.
set session_replication_role = replica;
set jit = off;
begin;
create temp table loaded on commit drop as
select (:first + i % :merchants)::text as merchant_id, payout.generate_txid((:first + i % :merchants)::text) as txid, i as n, clock_timestamp() as at
from generate_series(1, :payouts) i;
insert into payout.payout (merchant_id, txid, kind, state, reference_no, method, amount, channel_id, bank_code, wire_code, source_account_no, account_no, beneficiary_name,
	registered_at, approved_at, events, account_check, account_name, check_deadline_at, dispatch_due_at)
select merchant_id, txid, 'disbursement', 'approved', format('%s-%s', :'load', n), 'online', 10000, 'BANK1', 'CENA', 'CENA', '888801000157508', '88' || to_char(n, 'FM00000000'), 'Budi Santoso',
	at, at, 3, 'matched', 'BUDI SANTOSO', at + interval '1 hour', at
from loaded order by n;
insert into payout.payout_event (merchant_id, txid, event_no, event, from_state, to_state, content_digest)
select l.merchant_id, l.txid, s.event_no, s.event, s.from_state, s.to_state, case when s.event_no = 1 then payout.content_digest(p) end
from loaded l join payout.payout p on p.merchant_id = l.merchant_id and p.txid = l.txid, (values
	(1, null, null, 'registered'),
	(2, 'account.checked', 'registered', 'registered'),
	(3, 'payout.approved', 'registered', 'approved')) s (event_no, event, from_state, to_state);
insert into payout.transfer (merchant_id, kind, debit_account, credit_account, amount, txid)
select merchant_id, 'deduct', 'available', 'in_transit', 10000, txid from loaded;
insert into payout.balance_delta (merchant_id, amount, day, day_amount)
select merchant_id, count(*) * -10000, payout.jakarta_day(now()), count(*) * 10000 from loaded group by 1;
commit;
analyze payout.payout, payout.transfer, payout.payout_event, payout.balance;
checkpoint;
