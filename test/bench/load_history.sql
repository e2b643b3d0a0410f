-- load_history.sql: adds :payouts ended payouts over the merchants :first to :first + :merchants - 1, in bulk: the rows that
-- register, approve and a refused account leave behind, so that payout.verify() finds nothing wrong and no balance
-- changes: what was deducted came back. They are of last month, so they count to no limit of today.
--
-- :notify = 1 owes a notification for each as well, all due 3 s after the load is done (\gset: due), when the worker wakes
-- by itself.
\set ON_ERROR_STOP on
set synchronous_commit = off;
-- Transfers that are written by hand would change the balances by themselves, one by one.
set session_replication_role = replica;
begin;
create temp table loaded on commit drop as
select (:first + i % :merchants)::text as merchant_id, payout.generate_txid((:first + i % :merchants)::text) as txid,
	format('%s-%s', :'load', i) as reference_no, now() - interval '30 days' as at
from generate_series(1, :payouts) i;
insert into payout.payout (merchant_id, txid, kind, state, reference_no, method, amount, channel_id, bank_code, wire_code, source_account_no, account_no, beneficiary_name,
	registered_at, approved_at, final_at, events, account_check, check_deadline_at, check_tries, reason)
select merchant_id, txid, 'disbursement', 'failed', reference_no, 'online', 10000, 'BANK1', 'CENA', 'CENA', '888801000157508', '8800000001', 'Budi Santoso',
	at, at, at, 3, 'unavailable', at, 1, 'the account could not be checked'
from loaded;
insert into payout.payout_event (merchant_id, txid, event_no, at, event, from_state, to_state, reason, content_digest)
select l.merchant_id, l.txid, s.event_no, l.at, s.event, s.from_state, s.to_state, s.reason, case when s.event_no = 1 then payout.content_digest(p) end
from loaded l join payout.payout p on p.merchant_id = l.merchant_id and p.txid = l.txid, (values
	(1, null, null, 'registered', null),
	(2, 'payout.approved', 'registered', 'approved', null),
	(3, 'payout.failed', 'approved', 'failed', 'the account could not be checked')) s (event_no, event, from_state, to_state, reason);
insert into payout.transfer (merchant_id, at, kind, debit_account, credit_account, amount, txid)
select l.merchant_id, l.at, s.kind, s.debit_account, s.credit_account, 10000, l.txid
from loaded l, (values
	('deduct', 'available', 'in_transit'),
	('refund', 'in_transit', 'available')) s (kind, debit_account, credit_account);
select clock_timestamp() + interval '3 s' as due \gset
insert into payout.notification (merchant_id, txid, event_no, event, state, fee, account_check, reason, due_at)
select p.merchant_id, p.txid, 3, 'payout.failed', p.state, p.fee, p.account_check, p.reason, :'due'
from loaded l join payout.payout p on p.merchant_id = l.merchant_id and p.txid = l.txid
where :notify = 1;
select payout.wake();
commit;
reset session_replication_role;
\echo :due
