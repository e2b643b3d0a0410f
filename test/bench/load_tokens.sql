-- load_tokens.sql: adds :tokens issued cashout tokens over :merchants merchants, in bulk: the rows that register_cashout and
-- approve leave behind, so that payout.verify() finds nothing wrong. Digits are not kept but for the probes.
\set ON_ERROR_STOP on
set synchronous_commit = off;
-- Transfers that are written by hand would change the balances by themselves, one by one.
set session_replication_role = replica;
set jit = off;
begin;
select count(payout.create_merchant(format('BENCH%s', to_char(i, 'FM00000')), 'Merchant of a benchmark')) as merchants from generate_series(1, :merchants) i;
select count(payout.top_up(format('BENCH%s', to_char(i, 'FM00000')), 10000000000, 'load-' || :tokens)) as top_ups from generate_series(1, :merchants) i;
create table if not exists public.probe (load integer, txid text, token text);
-- Among so many some are drawn twice; payout.approve would draw again, here they are left out.
create temp table loaded on commit drop as
select distinct on (digest) merchant_id, payout.generate_txid(merchant_id) as txid, n, token, digest, clock_timestamp() as at
from (select i as n, merchant_id, token, payout.token_digest(token) as digest
	  from (select i, merchant_id, payout.generate_token(merchant_id) as token
			from (select i, format('BENCH%s', to_char(1 + i % :merchants, 'FM00000')) as merchant_id from generate_series(1, :tokens) i) m) g) d
where not exists (select from payout.cashout_token t where t.digest = d.digest);
insert into payout.payout (merchant_id, txid, kind, state, reference_no, method, amount, beneficiary_name, beneficiary_phone, registered_at,
	approved_at, events, expire_due_at)
select merchant_id, txid, 'cashout', 'token_issued', format('LOAD-%s-%s', :tokens, n), 'cashout', 50000, 'Budi Santoso', '081234567890', at, at, 2,
	payout.clock() + interval '1 day' from loaded;
insert into payout.cashout_token (merchant_id, txid, token_no, digest, issued_at, valid_until)
select p.merchant_id, p.txid, 1, l.digest, l.at, p.expire_due_at
from loaded l join payout.payout p on p.merchant_id = l.merchant_id and p.txid = l.txid;
insert into payout.payout_event (merchant_id, txid, event_no, event, from_state, to_state, content_digest)
select l.merchant_id, l.txid, 1, null, null, 'registered', payout.content_digest(p) from loaded l join payout.payout p on p.merchant_id = l.merchant_id and p.txid = l.txid
union all
select merchant_id, txid, 2, 'payout.approved', 'registered', 'token_issued', null from loaded;
insert into payout.transfer (merchant_id, kind, debit_account, credit_account, amount, txid)
select merchant_id, 'deduct', 'available', 'in_transit', 50000, txid from loaded;
insert into payout.balance_delta (merchant_id, amount, day, day_amount)
select merchant_id, count(*) * -50000, payout.jakarta_day(now()), count(*) * 50000 from loaded group by 1;
insert into public.probe select :tokens, txid, token from loaded order by random() limit 2000;
commit;
vacuum (analyze) payout.payout, payout.cashout_token, payout.transfer, payout.payout_event, payout.balance;
checkpoint;
