-- views.sql: views: what merchants and analysts see: their own, masked, and nothing of anybody else.
\getenv tree PG_ABS_SRCDIR
\set fixture :tree /sql/include/fixture.inc
\i :fixture
select test.set_up('VIEWS00001', 'VIEWCH', 'VIEWBANK', 100000, '{"fee": {"online": {"flat": 10}}}', '{"mode": "single"}');
select test.set_up('VIEWS00002', 'VIEWCH', 'VIEWBANK', 5000, '{}', '{"mode": "single"}');
select test.live() >= 0 as alive;
select state from payout.register('VIEWS00001', 'U1', 10000, 'VIEWBANK', '8811112222', 'Budi Santoso', beneficiary_phone => '081234567890', description => 'gaji');
update payout.payout set account_check = 'matched', check_due_at = null where reference_no = 'U1';
select (payout.approve('VIEWS00001', test.txid('U1'))).state;
select test.pay('VIEWS00001', 'VIEWBANK', 'U2', 20000), test.pay('VIEWS00002', 'VIEWBANK', 'U3', 3000);
select test.send('VIEWCH'), test.answer('U1', 'yes', 'ok'), test.answer('U2', 'no', 'fail', 404, '4041811'), test.answer('U3', 'unknown', 'unknown', 0, null);
create role payout_test_merchant; create role payout_test_analyst; create role payout_test_nobody; create role payout_test_reader in role payout_test_merchant;
select payout.grant_access('payout_test_merchant', 'merchant', 'VIEWS00001'), payout.grant_access('payout_test_analyst', 'analyst');
-- the SQL rights alone show nothing
grant usage on schema payout to payout_test_nobody;
grant select on payout.v_payout, payout.v_statement, payout.v_batch, payout.v_daily, payout.v_hold to payout_test_nobody, payout_test_merchant;
grant execute on function payout.readable_merchants(), payout.may_read_all(), payout.masked(text), payout.masked_digits(text), payout.jakarta_day(timestamptz) to payout_test_nobody, payout_test_merchant;
select payout.hold_payout('VIEWS00001', test.txid('U1'), 'dispatch', 'the bank says: account 8811112222 is closed (4041811), see 12345678');
set role payout_test_merchant;
select reference_no, state, amount, fee, account_no, beneficiary_name, beneficiary_phone, description, account_check from payout.v_payout order by 1;
select kind, reference_no, amount, balance_after from payout.v_statement order by at, transfer_id;
select count(*) from payout.v_batch;
select count(*) from payout.v_daily;
select count(*) from payout.v_hold;
select count(*) from payout.payout;
select count(*) from payout.transfer;
select count(*) from payout.channel_secret;
-- a reader's own function sees no row that the reader may not see
create function pg_temp.peek(value text) returns boolean language plpgsql cost 0.0001 as $$ begin raise warning '%', value; return true; end $$;
select count(*) from payout.v_payout where pg_temp.peek(merchant_id);
reset role;
-- a member of the role reads as it
set role payout_test_reader;
select count(*), count(distinct merchant_id) from payout.v_payout;
reset role;
set role payout_test_nobody;
select (select count(*) from payout.v_payout), (select count(*) from payout.v_statement), (select count(*) from payout.v_batch), (select count(*) from payout.v_daily), (select count(*) from payout.v_hold);
reset role;
set role payout_test_analyst;
select reference_no, account_no, beneficiary_phone from payout.v_payout where merchant_id like 'VIEWS%' order by 1;
select merchant_id, state, payouts, amount, fee from payout.v_daily where merchant_id like 'VIEWS%' order by 1, 2;
select source_account_no, item_count, paid, failed, suspect, attempts, last_outcome from payout.v_batch where channel_id = 'VIEWCH' order by last_outcome;
select lane, reason from payout.v_hold where merchant_id like 'VIEWS%';
-- nor do what banks say and the reasons tell a whole number
select payout.masked_digits('12345678, 1234567, 888801000157508; 8811112222'), payout.masked_digits(null), payout.masked_digits('');
select count(*) as whole_numbers from payout.v_payout v where merchant_id like 'VIEWS%' and v::text ~ '8811112222|8811111111|081234567890';
reset role;
-- the statement ends with the balance
select distinct merchant_id, last_value(balance_after) over (partition by merchant_id order by at, transfer_id rows between unbounded preceding and unbounded following)
	= (payout.balance(merchant_id)).available as ends_right from payout.v_statement where merchant_id like 'VIEWS%' order by 1;
select relname as view_without_barrier from pg_class where relnamespace = 'payout'::regnamespace and relkind = 'v' and not coalesce(reloptions @> '{security_barrier=true}' or reloptions @> '{security_barrier=on}', false);
-- no view shows a secret or a whole number of an account
select c.relname, a.attname from pg_class c join pg_attribute a on a.attrelid = c.oid where relnamespace = 'payout'::regnamespace and relkind = 'v' and attname ~ 'sealed|secret|token|digest';
delete from payout.access_grant where role_name::text like 'payout_test_%';
delete from payout.hold where merchant_id like 'VIEWS%';
drop owned by payout_test_merchant, payout_test_analyst, payout_test_nobody;
drop role payout_test_reader, payout_test_merchant, payout_test_analyst, payout_test_nobody;
select check_name, detail from payout.verify();
