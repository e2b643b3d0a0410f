-- txid_slot.sql: TXIDs have their form and do not repeat; slots are frozen.
\getenv tree PG_ABS_SRCDIR
\set fixture :tree /sql/include/fixture.inc
\i :fixture
select length(t), t like 'IONPAYTEST07%' as has_merchant, t ~ '^[A-Z0-9]{10}07[0-9]{14}[0-9A-Z]{4}$' as has_form
from payout.generate_txid('IONPAYTEST') t;
-- the date is Jakarta's; a new server may carry the next second
select to_timestamp(substr(t, 13, 14) || '+07', 'YYYYMMDDHH24MISSTZH') between now() - interval '10 s' and now() + interval '10 s' as is_now
from payout.generate_txid('IONPAYTEST') t;
select count(*), count(distinct payout.generate_txid('IONPAYTEST')) as different from generate_series(1, 100000);
select test.sqlstate_of(format('select payout.generate_txid(%L)', m)) from unnest(array['', 'SHORT', 'lowercase1', 'ELEVENCHARS', 'TEN CHARS!', 'ÄÄÄÄÄ', null]) m;

-- where merchants live depends on these: they must never change
select m, payout.slot(m) from unnest(array['IONPAYTEST', 'MERCHANT01', 'MERCHANT02', 'AAAAAAAAAA', '0000000000', 'ZZZZZZZZZZ', '']) m;
select payout.slot(null);
-- FNV-1a, computed by hand with numerics
with recursive fnv (i, h) as (
	select 0, 14695981039346656037::numeric
	union all
	select i + 1, mod((mod(h, 4294967296) - mod(h, 256) + ((mod(h, 256)::integer # ascii(substr('IONPAYTEST', i + 1, 1))))
		+ (h - mod(h, 4294967296))) * 1099511628211, 18446744073709551616)
	from fnv where i < 10),
folded as (
	select (div(h, 4294967296))::bigint # mod(h, 4294967296)::bigint as low from fnv where i = 10)
select mod((low # (low >> 16)), 1024) = payout.slot('IONPAYTEST') as same from folded;
select min(s), max(s), count(distinct s) from (select payout.slot(lpad(i::text, 10, '0')) as s from generate_series(1, 20000) i) q;

-- ids for requests: digits only, different
select count(distinct e), bool_and(e ~ '^[0-9]{28}$') as has_form from (select payout.new_external_id() as e from generate_series(1, 10000)) q;
select count(distinct u), bool_and(substr(u::text, 15, 1) = '7') as is_v7 from (select payout.new_id() as u from generate_series(1, 10000)) q;
