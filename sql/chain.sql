-- chain.sql: history and transfers are chained: what is changed, removed or inserted later shows.
\getenv tree PG_ABS_SRCDIR
\set fixture :tree /sql/include/fixture.inc
\i :fixture
select test.set_up('CHAIN00001', 'CHAINCH', 'CHAINBANK', 100000);
select payout.alter_merchant('CHAIN00001', '{"fee": {"online": {"flat": 25}}}') is not null as has_fees;
-- payouts of all ways: plain, by rules, in batches, as cash; one of them paid by hand
select test.register('CHAIN00001', 'CHAINBANK', 'CH' || i) from generate_series(1, 3) i;
select count(*) from payout.register_batch('CHAIN00001', '[{"reference_no": "CH4", "amount": 1000, "bank_code": "CHAINBANK", "account_no": "1", "beneficiary_name": "N"},
	{"reference_no": "CH5", "amount": 1000, "bank_code": "CHAINBANK", "account_no": "1", "beneficiary_name": "N", "method": "overbooking"},
	{"reference_no": "CH6", "amount": 1000, "bank_code": "CHAINBANK", "account_no": "1", "beneficiary_name": "N"}]') where sqlstate is null;
select (payout.approve('CHAIN00001', test.txid('CH1'))).state, (payout.do_approve('CHAIN00001', test.txid('CH2'))).state;
select state, sqlstate from payout.approve_batch('CHAIN00001', array[test.txid('CH4'), test.txid('CH6')]);
select state from payout.reject('CHAIN00001', test.txid('CH3'), 'no');
select state from payout.register_cashout('CHAIN00001', 'CH7', 1000, 'Name', '0812');
select state from payout.reject('CHAIN00001', test.txid('CH7'), 'no');
update payout.payout set account_check = 'matched', check_due_at = null where txid = test.txid('CH1');
update payout.payout set state = 'failed', reason = 'by hand' where txid = test.txid('CH1');
select count(*), sum(events) from payout.payout where merchant_id = 'CHAIN00001';
select count(*) from payout.payout_event where merchant_id = 'CHAIN00001';
select kind, count(*) from payout.transfer where merchant_id = 'CHAIN00001' group by 1 order by 1;
select * from payout.verify_chain('CHAIN00001');
-- nothing is linked before its time; then all, in parts
select (payout.extend_chains(1000000)).linked >= 0 as ran, (select count(*) from payout.chain_link where merchant_id = 'CHAIN00001') as links;
create function test.extend_all(rows integer) returns boolean language plpgsql as $$
declare
	until timestamptz := clock_timestamp();
begin
	-- no other session writes here
	update payout.chain_mark set bound_at = until;
	for i in 1..100000 loop
		perform payout.extend_chains(rows);
		if exists (select from payout.chain_mark m where m.linked_until >= until) then return true; end if;
	end loop;
	return false;
end $$;
select test.extend_all(4);
-- rows of a stretch of time are found by indexes that know all full pages
select test.set_up('CHAIN00002', 'CHAINCH2', 'CHAINBANK2', 100000);
select count(*) from payout.register_batch('CHAIN00002', (select jsonb_agg(jsonb_build_object('reference_no', 'CM' || i, 'amount', 1, 'bank_code', 'CHAINBANK2', 'account_no', '1', 'beneficiary_name', 'N'))
	from generate_series(1, 2500) i));
select test.extend_all(1000);
select event_page = pages / 32 * 32 as all_summarised, event_page > 0 as some from payout.chain_mark, (select pg_relation_size('payout.payout_event') / current_setting('block_size')::integer as pages) p;
set enable_seqscan = off;
explain (costs off) select from payout.payout_event where at >= '2026-01-01' and at < '2026-01-02';
explain (costs off) select from payout.transfer where at >= '2026-01-01' and at < '2026-01-02';
reset enable_seqscan;
select sum(events), sum(transfers), count(*) > 1 as in_parts from payout.chain_link where merchant_id = 'CHAIN00002';
select * from payout.verify_chain('CHAIN00002');
select count(*) > 1 as in_parts, sum(events) = (select count(*) from payout.payout_event where merchant_id = 'CHAIN00001') as all_history,
	sum(transfers) = (select count(*) from payout.transfer where merchant_id = 'CHAIN00001') as all_transfers, max(link_no) = count(*) as counted
from payout.chain_link where merchant_id = 'CHAIN00001';
select count(*) > 1 as shown from payout.v_chain where merchant_id = 'CHAIN00001' and head ~ '^[0-9a-f]{64}$';
select * from payout.verify_chain('CHAIN00001');
-- the same by PostgreSQL's own functions: one row, and the heads of all links
create function test.column_bytes(n integer, value bytea) returns bytea language sql as $$ select coalesce(int4send(n) || int4send(length(value)) || value, '') $$;
select bool_and(sha256(test.column_bytes(1, convert_to(e.merchant_id, 'UTF8')) || test.column_bytes(2, convert_to(e.txid, 'UTF8')) || test.column_bytes(3, int4send(e.event_no))
	|| test.column_bytes(4, timestamptz_send(e.at)) || test.column_bytes(7, convert_to(e.to_state, 'UTF8')) || test.column_bytes(8, convert_to(e.role_name, 'UTF8')) || test.column_bytes(10, e.content_digest))
	= payout.chain(null, e)) as same
from payout.payout_event e where e.merchant_id = 'CHAIN00001' and e.event_no = 1;
select bool_and(s.head = sha256(s.before || test.column_bytes(1, convert_to(s.merchant_id, 'UTF8')) || test.column_bytes(2, int4send(s.link_no))
	|| test.column_bytes(3, timestamptz_send(s.linked_at)) || test.column_bytes(4, timestamptz_send(s.until)) || test.column_bytes(5, int4send(s.events))
	|| test.column_bytes(6, h.digest) || test.column_bytes(7, int4send(s.transfers)) || test.column_bytes(8, d.digest))) as same
from (select l.*, lag(l.head, 1, '') over w as before, lag(l.until, 1, '-infinity') over w as after from payout.chain_link l where l.merchant_id = 'CHAIN00001' window w as (order by l.link_no)) s,
lateral (select payout.chained(e order by e.at, e.txid, e.event_no) as digest from payout.payout_event e where e.merchant_id = s.merchant_id and e.at >= s.after and e.at < s.until) h,
lateral (select payout.chained(t order by t.at, t.transfer_id) as digest from payout.transfer t where t.merchant_id = s.merchant_id and t.at >= s.after and t.at < s.until) d;
-- what comes later waits for the next link
select test.register('CHAIN00001', 'CHAINBANK', 'CH8');
select * from payout.verify_chain('CHAIN00001');
-- evidence does not change by the ordinary ways
update payout.chain_link set transfers = 1;
delete from payout.chain_link;
truncate payout.chain_link;
-- who gets past the triggers is found, whatever part he leaves
create function test.found(change text) returns text language plpgsql as $$
declare
	names text;
begin
	set session_replication_role = replica;
	alter table payout.payout_event disable trigger all;
	alter table payout.transfer disable trigger all;
	alter table payout.chain_link disable trigger all;
	execute change;
	select coalesce(string_agg(distinct v.check_name, ', '), 'nothing') into names from payout.verify_chain('CHAIN00001') v;
	raise sqlstate 'TT000' using message = names;
exception when sqlstate 'TT000' then
	return sqlerrm;
end $$;
select test.found('select 1') as unchanged;
select c.n, test.found(c.change) from (values
	(1, $$update payout.payout_event set reason = 'yes' where txid = test.txid('CH3') and to_state = 'rejected'$$),
	(2, $$update payout.payout_event set role_name = 'nobody' where txid = test.txid('CH1') and event_no = 1$$),
	(3, $$update payout.payout_event set at = at - interval '1 s' where txid = test.txid('CH1') and event_no = 2$$),
	(4, $$delete from payout.payout_event where txid = test.txid('CH1') and event_no = 3$$),
	(5, $$insert into payout.payout_event (merchant_id, txid, event_no, to_state) values ('CHAIN00001', test.txid('CH1'), 5, 'failed')$$),
	(6, $$insert into payout.payout_event (merchant_id, txid, event_no, at, to_state) select merchant_id, txid, 2, at + interval '1 us', 'rejected' from payout.payout_event where txid = test.txid('CH2') and event_no = 1$$),
	(7, $$update payout.payout set events = events - 1 where txid = test.txid('CH1')$$),
	(8, $$update payout.transfer set amount = amount + 1 where txid = test.txid('CH2') and kind = 'deduct'$$),
	(9, $$update payout.transfer set credit_account = 'fee' where txid = test.txid('CH2') and kind = 'deduct'$$),
	(10, $$delete from payout.transfer where txid = test.txid('CH2')$$),
	(11, $$insert into payout.transfer (merchant_id, at, kind, debit_account, credit_account, amount, reference_no)
		select merchant_id, at + interval '1 us', 'top_up', 'funding', 'available', 5, 'planted' from payout.transfer where merchant_id = 'CHAIN00001' and kind = 'top_up'$$),
	(12, $$update payout.payout_event set at = clock_timestamp() where txid = test.txid('CH4') and event_no = 1$$),
	(13, $$delete from payout.payout where reference_no = 'CH2'$$),
	(14, $$delete from payout.chain_link where merchant_id = 'CHAIN00001' and link_no = 1$$),
	(15, $$update payout.chain_link set events = events + 1 where merchant_id = 'CHAIN00001' and link_no = 2$$),
	(16, $$update payout.chain_link set linked_at = now() where merchant_id = 'CHAIN00001' and link_no = 1$$),
	(17, $$update payout.chain_link set head = sha256('') where merchant_id = 'CHAIN00001' and link_no = 1$$),
	(18, $$update payout.chain_link set until = until + interval '1 us' where merchant_id = 'CHAIN00001' and link_no = 1$$),
	-- the last link is gone: its rows are in none
	(19, $$delete from payout.chain_link where merchant_id = 'CHAIN00001' and link_no = (select max(link_no) from payout.chain_link where merchant_id = 'CHAIN00001')$$),
	-- the digest of the content is chained as well: changed, taken away, planted
	(21, $$update payout.payout_event set content_digest = sha256('other content') where txid = test.txid('CH1') and event_no = 1$$),
	(22, $$update payout.payout_event set content_digest = null where txid = test.txid('CH3') and event_no = 1$$),
	(23, $$update payout.payout_event set content_digest = sha256('x') where txid = test.txid('CH1') and event_no = 2$$),
	-- what is not linked yet is counted
	(20, $$delete from payout.payout_event where txid = test.txid('CH8')$$)) c (n, change) order by 1;
select * from payout.verify_chain('CHAIN00001');
select payout.verify_chain('NOMERCHANT');
-- a transaction that is not over keeps the bound where it is
begin;
select pg_current_xact_id() is not null as has_number;
update payout.chain_mark set next_xid = (pg_current_xact_id()::text::bigint + 1)::text::xid8;
select (payout.move_chain_bound(m)).bound_at = m.bound_at as stays from payout.chain_mark m;
rollback;
select check_name, detail from payout.verify();
