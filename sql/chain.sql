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
select count(*), count(history_head), sum(events) from payout.payout where merchant_id = 'CHAIN00001';
select count(*) from payout.payout_event where merchant_id = 'CHAIN00001';
select kind, count(*), count(history_head) from payout.transfer where merchant_id = 'CHAIN00001' group by 1 order by 1;
select * from payout.verify_chain('CHAIN00001');
-- nothing is linked before its time; then all, in parts
select (payout.extend_chains(1000000)).linked >= 0 as ran, (select count(*) from payout.chain_link where merchant_id = 'CHAIN00001') as links;
update payout.chain_mark set marked_at = clock_timestamp() + interval '1 hour';
create function test.extend_all(rows integer) returns boolean language plpgsql as $$
declare
	rounds integer := 0;
begin
	loop
		perform payout.extend_chains(rows);
		rounds := rounds + 1;
		exit when not exists (select from payout.transfer t where t.merchant_id like 'CHAIN%' and not exists (select from payout.chain_link s where s.merchant_id = t.merchant_id and s.until >= t.transfer_id));
		if rounds > 10000 then return false; end if;
	end loop;
	return true;
end $$;
select test.extend_all(4);
select count(*) > 1 as in_parts, sum(transfers) = (select count(*) from payout.transfer where merchant_id = 'CHAIN00001') as all_of_them, max(link_no) = count(*) as counted from payout.chain_link where merchant_id = 'CHAIN00001';
select count(*) as shown from payout.v_chain where merchant_id = 'CHAIN00001' and head ~ '^[0-9a-f]{64}$';
select * from payout.verify_chain('CHAIN00001');
-- the same digests by PostgreSQL's own functions
select test.register('CHAIN00001', 'CHAINBANK', 'CH8');
create function test.column_bytes(n integer, value bytea) returns bytea language sql as $$ select int4send(n) || int4send(length(value)) || value $$;
select sha256(coalesce(test.column_bytes(1, convert_to(e.merchant_id, 'UTF8')) || test.column_bytes(2, convert_to(e.txid, 'UTF8')) || test.column_bytes(3, int4send(e.event_no))
	|| test.column_bytes(4, timestamptz_send(e.at)) || test.column_bytes(7, convert_to(e.to_state, 'UTF8')) || test.column_bytes(8, convert_to(e.role_name, 'UTF8')), ''))
	= p.history_head as same
from payout.payout_event e join payout.payout p using (merchant_id, txid) where p.reference_no = 'CH8';
select bool_and(s.digest = d.digest) as same from payout.chain_link s, lateral (
	select payout.chained(t order by t.transfer_id) as digest from payout.transfer t where t.merchant_id = s.merchant_id and t.transfer_id <= s.until
	and t.transfer_id > coalesce((select b.until from payout.chain_link b where b.merchant_id = s.merchant_id and b.link_no = s.link_no - 1), '00000000-0000-0000-0000-000000000000')) d
where s.merchant_id = 'CHAIN00001';
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
	(6, $$update payout.payout set history_head = sha256('') where txid = test.txid('CH3')$$),
	(7, $$update payout.payout set events = events - 1 where txid = test.txid('CH1')$$),
	(8, $$update payout.transfer set amount = amount + 1 where txid = test.txid('CH2') and kind = 'deduct'$$),
	(9, $$update payout.transfer set credit_account = 'fee' where txid = test.txid('CH2') and kind = 'deduct'$$),
	(10, $$delete from payout.transfer where txid = test.txid('CH2')$$),
	(11, $$insert into payout.transfer (merchant_id, transfer_id, kind, debit_account, credit_account, amount, reference_no)
		select merchant_id, payout.first_id(at + interval '1 ms'), 'top_up', 'funding', 'available', 5, 'planted' from payout.transfer where merchant_id = 'CHAIN00001' and kind = 'top_up'$$),
	(12, $$update payout.transfer set history_head = null where txid = test.txid('CH4')$$),
	(13, $$delete from payout.payout where reference_no = 'CH2'$$),
	(14, $$delete from payout.chain_link where merchant_id = 'CHAIN00001' and link_no = 1$$),
	(15, $$update payout.chain_link set digest = head where merchant_id = 'CHAIN00001' and link_no = 2$$),
	(16, $$update payout.chain_link set linked_at = now() where merchant_id = 'CHAIN00001' and link_no = 1$$),
	(17, $$update payout.chain_link set head = digest where merchant_id = 'CHAIN00001' and link_no = 1$$),
	-- a payout and its history changed consistently: its transfers still hold the old head
	(18, $$update payout.payout_event set role_name = 'nobody' where txid = test.txid('CH2');
		update payout.payout p set history_head = (select payout.chained(e order by e.event_no) from payout.payout_event e where e.txid = p.txid) where txid = test.txid('CH2')$$),
	-- and these as well: the link does
	(19, $$update payout.payout_event set role_name = 'nobody' where txid = test.txid('CH2');
		update payout.payout p set history_head = (select payout.chained(e order by e.event_no) from payout.payout_event e where e.txid = p.txid) where txid = test.txid('CH2');
		update payout.transfer t set history_head = p.history_head from payout.payout p where p.txid = t.txid and t.txid = test.txid('CH2')$$)) c (n, change) order by 1;
select * from payout.verify_chain('CHAIN00001');
select payout.verify_chain('NOMERCHANT');
-- a transaction that is not over keeps the bound where it is
begin;
select pg_current_xact_id() is not null as has_number;
update payout.chain_mark set next_xid = (pg_current_xact_id()::text::bigint + 1)::text::xid8;
select (payout.move_chain_bound(m)).bound_at = m.bound_at as stays from payout.chain_mark m;
rollback;
select check_name, detail from payout.verify();
