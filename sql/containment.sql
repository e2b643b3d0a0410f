-- work.sql, expire.sql, attempt.sql: what fails by itself is set aside; what runs out (disk, memory, locks) is nobody's fault
\getenv tree PG_ABS_SRCDIR
\set fixture :tree /sql/include/fixture.inc
\i :fixture
\set cashout :tree /sql/include/cashout.inc
\i :cashout
select test.set_up('CONTAIN001', 'CONTCH', 'CONTBANK', 1000000, '{}', '{"mode": "single"}', 'https://merchant.example/hook');
select test.live() >= 0 as alive;
select test.open_store('CONTCVS');
create function test.fail() returns trigger language plpgsql as $$
begin
	raise exception 'cannot' using errcode = current_setting('test.sqlstate');
end
$$;
-- In each lane one payout whose next history row cannot be written.
create function test.contained(p_sqlstate text) returns table (set_aside text, to_be_tried_again integer) language plpgsql as $$
begin
	perform set_config('test.sqlstate', p_sqlstate, true);
	begin
		create trigger fail before insert on payout.payout_event for each row execute function test.fail();
		perform payout.isolate('dispatch'), payout.expire_singly(10);
		to_be_tried_again := payout.bury_orphans(payout.new_id());
		select string_agg(h.lane || ' ' || p.reference_no, ', ' order by h.lane, p.reference_no) into set_aside
		from payout.hold h join payout.payout p using (merchant_id, txid) where h.merchant_id = 'CONTAIN001';
		raise sqlstate 'UNDO0';
	exception when sqlstate 'UNDO0' then
		return next;
	end;
end
$$;
select test.pay('CONTAIN001', 'CONTBANK', 'CTO'), test.send('CONTCH'), test.pay('CONTAIN001', 'CONTBANK', 'CTD');
select test.issue('CONTAIN001', 'CTE', 1000), test.make_due('CTE');
select test.state('CTO', 'CTD', 'CTE');
select * from test.contained('P0001');
select * from test.contained('53100');
select * from test.contained('53200');
select * from test.contained('40P01');
select * from test.contained('55P03');
-- cured, all goes on
select payout.isolate('dispatch') >= 0 as isolated, payout.expire_singly(10) > 0 as expired, payout.bury_orphans(payout.new_id()) as left_over;
select test.state('CTO', 'CTD', 'CTE');
select check_name, detail from payout.verify() where check_name <> 'incarnation_is_one';
