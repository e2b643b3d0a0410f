-- sums.sql: sums at their bounds: what cannot fit is refused with PY007 at the door, whatever fits goes all the way.
\getenv tree PG_ABS_SRCDIR
\set fixture :tree /sql/include/fixture.inc
\i :fixture
select test.set_up(m, 'SUMSCH', 'SUMSBANK', 9900000000000000, '{}', '{"batch_size_max": 100}') from unnest('{SUMS000001,SUMS000002,SUMS000003,SUMS000004}'::text[]) m;
select test.live() >= 0 as alive;
-- two and four payouts in one bulk over 10^16 and more
select count(test.pay('SUMS00000' || i, 'SUMSBANK', 'SUM' || i, 9000000000000000)) from generate_series(1, 4) i;
select test.send('SUMSCH');
select item_count, total from payout.batch where channel_id = 'SUMSCH';
select item_count, total from payout.v_batch where channel_id = 'SUMSCH';
-- refused whole, its halves are sums as large
select test.answer('SUM1', 'no', 'fail', 400, '4002001'), test.send('SUMSCH');
select item_count, total from payout.batch where channel_id = 'SUMSCH' and state = 'sending';
select test.answer('SUM1', 'yes', 'ok', 202, '2022000'), test.answer('SUM3', 'no', 'fail', 400, '4002001');
-- the largest amount there is, beside others
select payout.top_up('SUMS000001', 9099999999999999.99, 'to-the-brim') is distinct from null as topped_up;
select (payout.balance('SUMS000001')).available;
select test.sqlstate_of($$select payout.top_up('SUMS000001', 0.01, 'one-more')$$) as over, test.sqlstate_of($$select payout.top_up('SUMS000001', 9999999999999999.99, 'many-more')$$) as far_over, test.sqlstate_of($$select payout.top_up('SUMS000001', 10000000000000000, 'no-amount')$$) as no_amount;
select test.pay('SUMS000001', 'SUMSBANK', 'SUM5', 9999999999999999.99), test.send('SUMSCH');
-- the same money is spent, topped up again and comes back: a refund is not refused for want of room
select payout.top_up('SUMS000001', 9999999999999999.99, 'again') is distinct from null as topped_up;
select test.answer('SUM5', 'no', 'fail', 404, '4042011'), test.state('SUM5');
select (payout.balance('SUMS000001')).available;
select test.sqlstate_of($$select payout.top_up('SUMS000001', 0.01, 'one-more')$$) as top_up;
-- more than 16 digits are taken in one set; the total of the day goes as far as there is room for it
select count(test.register('SUMS000001', 'SUMSBANK', 'SUMD' || i, 9000000000000000)) from generate_series(1, 2) i;
select state, sqlstate from payout.approve_batch('SUMS000001', array[test.txid('SUMD1'), test.txid('SUMD2')]);
select (payout.balance('SUMS000001')).available, (select day_total from payout.current_balance('SUMS000001')) as day_total;
select payout.fold(1000) > 0 as folded, (select day_total from payout.current_balance('SUMS000001')) as day_total;
create function test.spend(p_reference text, p_amount numeric) returns text language plpgsql as $$
begin
	if (payout.balance('SUMS000002')).available < 1e15 then
		perform payout.top_up('SUMS000002', 9000000000000000, p_reference);
	end if;
	perform test.register('SUMS000002', 'SUMSBANK', p_reference, p_amount);
	return test.sqlstate_of(format('select payout.approve(%L, %L)', 'SUMS000002', test.txid(p_reference)));
end $$;
select test.spend('SUMT' || i, 9000000000000000) from generate_series(1, 8) i;
-- 81 and 9 make 90
select (select day_total from payout.current_balance('SUMS000002')) as day_total, test.spend('SUMT9', 9000000000000000) as up_to_it;
select (select day_total from payout.current_balance('SUMS000002')) as day_total, test.spend('SUMT10', 0.01) as past_it, test.spend('SUMT11', 9000000000000000) as far_past_it;
select state, sqlstate from payout.approve_batch('SUMS000002', array[test.txid('SUMT10'), test.txid('SUMT11')]);
select test.sqlstate_of($$select payout.register_cashout('SUMS000002', 'SUMT12', 5000, 'Budi', '0812')$$) as cashout, test.sqlstate_of($$select payout.withdraw('SUMS000002', 1, 'out')$$) as withdraw;
-- fees: two decimals and 16 digits, as all amounts
select payout.alter_merchant('SUMS000001', '{"fee": {"online": {"flat": 9999999999999999.99, "bps": 10000}, "cashout": {"bps": 10000, "flat": 9999999999999999}}}') is distinct from null as altered;
select test.register('SUMS000001', 'SUMSBANK', 'SUMF', 100), test.sqlstate_of(format('select payout.approve(%L, %L)', 'SUMS000001', test.txid('SUMF'))) as approve;
select state, sqlstate from payout.approve_batch('SUMS000001', array[test.txid('SUMF')]);
select test.sqlstate_of($$select payout.register_cashout('SUMS000001', 'SUMG', 100, 'Budi', '0812')$$) as cashout;
-- what a role may approve on a day
select payout.alter_merchant('SUMS000003', '{"approver_daily_max": 9999999999999999.99}') is distinct from null as altered;
select payout.top_up('SUMS000003', 9000000000000000, 'more') is distinct from null as topped_up;
select test.register('SUMS000003', 'SUMSBANK', 'SUMH1', 9000000000000000), test.register('SUMS000003', 'SUMSBANK', 'SUMH2', 900000000000000), test.register('SUMS000003', 'SUMSBANK', 'SUMH3', 100000000000000);
select test.sqlstate_of(format('select payout.approve(%L, %L)', 'SUMS000003', test.txid(r))) from unnest('{SUMH1,SUMH2,SUMH3}'::text[]) r;
select check_name, detail from payout.verify();
