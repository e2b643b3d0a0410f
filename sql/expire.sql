-- expire.sql: what time does: tokens that nobody redeemed expire and are refunded, reservations that nobody ended become suspect, and a row that fails is set aside.
\getenv tree PG_ABS_SRCDIR
\set fixture :tree /sql/include/fixture.inc
\i :fixture
\set cashout :tree /sql/include/cashout.inc
\i :cashout
select test.set_up('EXPIRE0001', 'EXPCH', 'EXPBANK', 1000000, '{"fee": {"cashout": {"flat": 1000}}}', '{}', 'https://merchant.example/hook');
select test.set_up('EXPIRE0002', 'EXPCH', 'EXPBANK', 1000000);
select test.open_store('EXPA'), test.open_store('EXPB');
select r, test.issue('EXPIRE0001', r) from unnest('{EX1,EX2,EX3,EX4,EX5,EX6,EX7}'::text[]) r;
select test.register_cashout('EXPIRE0001', 'EX0');
select r, test.validate('EXPA', r, r) from unnest('{EX3,EX4,EX5,EX6,EX7}'::text[]) r;
select available, in_transit from payout.balance('EXPIRE0001');

-- nothing is due: nothing happens, and the worker knows when something will be
select payout.expire_tokens(100), payout.expire_singly(100);
select payout.next_expiry() <= min(expire_due_at) as next from payout.payout where expire_due_at is not null;
-- due: the oldest first, so many at a time
select test.make_due('EX1', '1 min'), test.make_due('EX2', '2 min'), test.make_due('EX3', '3 min');
select payout.next_expiry() = (select expire_due_at from payout.payout where reference_no = 'EX3') as next;
select payout.expire_tokens(1), test.state('EX1', 'EX2', 'EX3');
select payout.expire_tokens(1), test.state('EX1', 'EX2', 'EX3');
select payout.expire_tokens(1), test.state('EX1', 'EX2', 'EX3');
select payout.expire_tokens(1), payout.expire_singly(1), test.state('EX1', 'EX2', 'EX3');
-- issued: expired, with amount and fee back, at its end; it is told
select test.money('EX1'), test.history('EX1'), test.notified('EX1');
select state, final_at is not null as final, expire_due_at, cvs_code, reason is not null as reason from payout.payout where reference_no = 'EX1';
select payout.cashout_validate('EXPA', test.token('EX1'), 'T2', 'EX1');
select payout.reissue_token('EXPIRE0001', test.txid('EX1'));
select state, cashout_token from payout.approve('EXPIRE0001', test.txid('EX1'));
-- reserved: suspect, the money stays where it is, nobody redeems or refunds it, nothing is due
select test.money('EX3'), test.history('EX3'), test.notified('EX3');
select state, final_at, expire_due_at, cvs_code, cvs_reference, reason is not null as reason from payout.payout where reference_no = 'EX3';
select payout.cashout_validate('EXPB', test.token('EX3'), 'T1', 'EX3B');
select payout.cashout_validate('EXPA', test.token('EX3'), 'T3', 'EX3A');
select payout.reissue_token('EXPIRE0001', test.txid('EX3'));
select payout.reject('EXPIRE0001', test.txid('EX3'), 'why');
select payout.cancel('EXPIRE0001', test.txid('EX3'), 'why');
select available, in_transit from payout.balance('EXPIRE0001');
-- the store speaks late, and is heard: paid; or not, and the token is as good as its own time
select test.make_due('EX4'), test.make_due('EX5'), test.make_due('EX6'), test.make_due('EX7'), payout.expire_tokens(100);
select test.end_token('EX5'), test.end_token('EX6');
select test.confirm('EXPA', 'EX3', 'EX3'), test.reverse('EXPA', 'EX4', 'EX4'), test.reverse('EXPA', 'EX5', 'EX5'), test.confirm('EXPA', 'EX6', 'EX6'), test.state('EX3', 'EX4', 'EX5', 'EX6');
select test.money('EX3'), test.money('EX5'), test.history('EX4'), test.notified('EX4'), test.history('EX5'), test.notified('EX5');
select reference_no, expire_due_at > now() as waits, cvs_code, final_at is not null as final from payout.payout where reference_no in ('EX3', 'EX4', 'EX5', 'EX6') order by 1;
-- the freed token is redeemed elsewhere, and its own time goes on
select test.validate('EXPB', 'EX4', 'EX4'), test.reverse('EXPB', 'EX4', 'EX4'), test.make_due('EX4'), payout.expire_tokens(100), test.state('EX4');
-- validated before its time was over, reserved beyond it, reversed after it: expired at once
select test.issue('EXPIRE0001', 'EX8'), test.validate('EXPA', 'EX8', 'EX8'), test.end_token('EX8'), payout.expire_tokens(100), test.state('EX8');
select test.reverse('EXPA', 'EX8', 'EX8'), test.money('EX8');
-- a token whose time is over is refused before the worker has come by, and issued again by nobody
select test.issue('EXPIRE0001', 'EX9'), test.make_due('EX9'), test.state('EX9');
select payout.cashout_validate('EXPA', test.token('EX9'), 'T4', 'EX9');
select payout.reissue_token('EXPIRE0001', test.txid('EX9'));
select payout.expire_tokens(100), test.state('EX9');
-- issued again: with time of its own, by which it expires
select test.issue('EXPIRE0001', 'EX10'), test.make_due('EX10', '-1 min');
select test.reissue('EX10');
select expire_due_at > now() + '23:00' as a_day, expire_due_at = payout.token_valid_until('EXPIRE0001', txid) as same from payout.payout where reference_no = 'EX10';
-- what is registered and not approved has no time
select state, expire_due_at from payout.payout where reference_no = 'EX0';
select check_name, detail from payout.verify();

-- a row that fails takes its whole batch with it; one by one, it alone is set aside, and the others go on
create function test.poison() returns trigger language plpgsql as $$
begin
	if new.reference_no = any (string_to_array(current_setting('test.poison', true), ',')) and new.state <> old.state then
		raise exception 'this row cannot be changed' using errcode = 'data_corrupted';
	end if;
	return new;
end $$;
create trigger a_poison before update on payout.payout for each row execute function test.poison();
select r, test.issue('EXPIRE0002', r, 1000) from unnest('{EP1,EP2,EP3,EP4,EP5}'::text[]) r;
select test.validate('EXPA', 'EP4', 'EP4'), test.validate('EXPA', 'EP5', 'EP5');
select test.make_due('EP1', '5 min'), test.make_due('EP2', '4 min'), test.make_due('EP3', '3 min'), test.make_due('EP4', '2 min'), test.make_due('EP5', '1 min');
set test.poison = 'EP2,EP4';
select payout.expire_tokens(100);
select test.state('EP1', 'EP2', 'EP3', 'EP4', 'EP5');
select payout.expire_singly(2), test.state('EP1', 'EP2', 'EP3', 'EP4', 'EP5');
select payout.expire_singly(100), test.state('EP1', 'EP2', 'EP3', 'EP4', 'EP5');
select h.lane, p.reference_no, left(h.reason, 5) as sqlstate from payout.hold h join payout.payout p using (merchant_id, txid) where merchant_id = 'EXPIRE0002' order by 2;
-- set aside: nobody asks for it again, the batch works, the money stays; a person sees it
select payout.expire_tokens(100), payout.expire_singly(100), payout.next_expiry() > now() as later, test.state('EP2', 'EP4');
select available, in_transit from payout.balance('EXPIRE0002');
select status from payout.health() where check_name = 'hold_expire';
select check_name, detail from payout.verify();
-- the store is heard all the same, once the row can be changed
set test.poison = '';
select test.confirm('EXPA', 'EP4', 'EP4'), test.state('EP4');
select count(*) from payout.hold where txid = test.txid('EP4');
-- a person releases the other: it expires
select state, events from payout.resolve('EXPIRE0002', test.txid('EP2'), 'dispatch', 'mended');
select payout.resolve('EXPIRE0002', test.txid('EP2'), 'dispatch', 'mended');
select payout.next_expiry() < now() as due, payout.expire_tokens(100), test.state('EP2'), test.money('EP2');
select test.history('EP2');
-- ... or is released while it still fails: set aside again
select test.issue('EXPIRE0002', 'EP6', 1000), test.make_due('EP6');
set test.poison = 'EP6';
select payout.expire_singly(10), test.state('EP6');
select state from payout.resolve('EXPIRE0002', test.txid('EP6'), 'dispatch', 'try again');
select payout.expire_singly(10), test.state('EP6');
select count(*) from payout.hold where txid = test.txid('EP6');
set test.poison = '';
select state from payout.resolve('EXPIRE0002', test.txid('EP6'), 'dispatch', 'mended');
select payout.expire_singly(10), test.state('EP6');
drop trigger a_poison on payout.payout;
select count(*) from payout.hold where merchant_id = 'EXPIRE0002';
select available, in_transit from payout.balance('EXPIRE0002');

-- many at once: every batch is bounded, none is left, all is given back
select count(*) from (select test.issue('EXPIRE0002', 'EM' || i, 100) from generate_series(1, 60) i) s;
update payout.cashout_token t set valid_until = clock_timestamp() - interval '1 s' from payout.payout p where p.txid = t.txid and p.reference_no like 'EM%' and replaced_at is null;
update payout.payout set expire_due_at = clock_timestamp() - interval '1 s' where reference_no like 'EM%';
select payout.expire_tokens(50), payout.expire_tokens(50), payout.expire_tokens(50);
select state, count(*) from payout.payout where reference_no like 'EM%' group by 1;
select available, in_transit from payout.balance('EXPIRE0002');
select check_name, detail from payout.verify();
