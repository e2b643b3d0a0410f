-- merchant.sql: merchants are created once, repeated harmlessly, and altered by options.
\getenv tree PG_ABS_SRCDIR
\set fixture :tree /sql/include/fixture.inc
\i :fixture
select merchant_id, name, notify_url, options, active from payout.create_merchant('MERCHANT0A', 'Toko A', 'https://a.example/hook', '{"on_name_differs": "pass"}');
-- a repeat answers the same, other content does not
select name, active from payout.create_merchant('MERCHANT0A', 'Toko A', 'https://a.example/hook', '{"on_name_differs": "pass"}');
select payout.create_merchant('MERCHANT0A', 'Toko B', 'https://a.example/hook', '{"on_name_differs": "pass"}');
select payout.create_merchant('MERCHANT0A', 'Toko A');
-- it has a balance, which is empty
select * from payout.balance('MERCHANT0A');
select * from payout.balance('NOMERCHANT');

-- options merge, null removes, three keys are columns
select name, notify_url, options, active from payout.alter_merchant('MERCHANT0A', '{"fee": {"online": {"flat": "2500", "bps": 10}}}');
select name, notify_url, options, active from payout.alter_merchant('MERCHANT0A', '{"on_name_differs": null, "name": "Toko C", "notify_url": null, "active": false}');
select payout.alter_merchant('NOMERCHANT', '{}');
select payout.alter_merchant('MERCHANT0A', '{"colour": "red"}');
select payout.alter_merchant('MERCHANT0A', '{"on_name_differs": "perhaps"}');
select payout.alter_merchant('MERCHANT0A', '{"notify_url": "ftp://a.example"}');

-- fees and limits are checked in depth
select o as options, test.sqlstate_of(format('select payout.alter_merchant(%L, %L)', 'MERCHANT0A', o))
from unnest(array['{"fee": {"online": {"flat": -1}}}', '{"fee": {"online": {"bps": 10001}}}', '{"fee": {"online": 5}}', '{"fee": {"skn": {"flat": 1}}}',
	'{"fee": []}', '{"fee": {"online": {"flat": 0.001}}}', '{"fee": {"online": {"flat": "NaN"}}}', '{"fee": {"online": {"flat": "Infinity"}}}',
	'{"limits": {"online": {"min": 1, "max": 2}, "daily_total": 3}}', '{"limits": {"online": {"least": 1}}}', '{"limits": {"daily_total": "x"}}',
	'{"limits": {"daily_total": 1e16}}', '{"notify_events": ["payout.paid"]}', '{"notify_events": ["payout.unheard"]}', '{"notify_events": "payout.paid"}',
	'{"active": "yes"}', '{"name": 5}', '{"name": ""}']) o;
select options from payout.merchant where merchant_id = 'MERCHANT0A';

-- a merchant is never deleted
delete from payout.merchant where merchant_id = 'MERCHANT0A';
truncate payout.merchant cascade;
select check_name, detail from payout.verify();
