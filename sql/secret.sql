-- secret.sql: stored secrets: sealed for one owner and name, replaced at once or with an overlap, never read back.
\getenv tree PG_ABS_SRCDIR
\set fixture :tree /sql/include/fixture.inc
\i :fixture
select test.set_up('SECRETM001', 'SECRETCH', 'SECRETBANK', 0);
select test.set_up('SECRETM002', 'SECRETCH', 'SECRETBANK', 0);
select cvs_code from payout.create_cvs('SECRETCVS', 'Store of a test');
-- Which of these values are good now, the present one first.
create function test.good(p_owner text, p_name text, variadic p_values text[]) returns text language sql as $$
select coalesce(string_agg(coalesce((select v from unnest(p_values) v where payout.is_sealed(p_owner, p_name, s, v)), 'UNKNOWN'), ' ' order by n), 'none')
from unnest(payout.valid_secrets(p_owner, p_name)) with ordinality u (s, n) $$;
create function test.sealed(p_owner text, p_name text) returns bytea language sql as $$ select (payout.valid_secrets(p_owner, p_name))[1] $$;

-- the value is in no column; two of one value differ in all but the key; the key is named
select payout.set_secret('channel:SECRETCH', 'client_secret', 'a very secret value');
select payout.set_secret('merchant:SECRETM001', 'webhook_secret', 'a very secret value');
select payout.set_secret('cvs:SECRETCVS', 'public_key', 'a very secret value');
select owner, name, position('secret value'::bytea in sealed) as found_at, length(sealed) - length('a very secret value') as more, key_id = payout.seal_key_id() as key
from payout.stored_secrets() where owner like '%:SECRET%' order by 1;
select substring(payout.seal('a', 'b', 'x') from 1 for 9) = substring(payout.seal('a', 'b', 'x') from 1 for 9) as key, substring(payout.seal('a', 'b', 'x') from 10) = substring(payout.seal('a', 'b', 'x') from 10) as rest;
select test.good('channel:SECRETCH', 'client_secret', 'a very secret value', 'another');
-- bound to owner, name, key and version; any other byte that changes is noticed as well
select payout.is_sealed('channel:SECRETCH', 'client_secret', s, 'a very secret value') as right_one, payout.is_sealed('channel:SECRETCH', 'private_key', s, 'a very secret value') as other_name,
	payout.is_sealed('channel:SECRETC', 'client_secret', s, 'a very secret value') as other_owner, payout.is_sealed('cvs:SECRETCH', 'client_secret', s, 'a very secret value') as other_kind,
	(select count(*) from generate_series(0, length(s) - 1) i where payout.is_sealed('channel:SECRETCH', 'client_secret', set_byte(s, i, get_byte(s, i) # 1), 'a very secret value') is not null) as changed,
	(select count(*) from generate_series(0, length(s) - 1) i where payout.is_sealed('channel:SECRETCH', 'client_secret', substring(s from 1 for i), '') is not null) as shortened
from test.sealed('channel:SECRETCH', 'client_secret') s;
-- a row copied to another owner does not open, is reported, and is not used
select payout.set_secret('merchant:SECRETM002', 'webhook_secret', 'of the second');
select cardinality(payout.unopened_secrets()) as unopened;
update payout.merchant_secret set sealed = test.sealed('merchant:SECRETM001', 'webhook_secret') where merchant_id = 'SECRETM002';
select payout.unopened_secrets();
select status, detail, hint is not null as hint from payout.health() where check_name = 'secrets_sealed';
select test.good('merchant:SECRETM002', 'webhook_secret', 'a very secret value', 'of the second');
-- it is replaced, and not kept for an overlap
select payout.set_secret('merchant:SECRETM002', 'webhook_secret', 'new', now() + interval '1 day');
select test.good('merchant:SECRETM002', 'webhook_secret', 'a very secret value', 'of the second', 'new');
select status from payout.health() where check_name = 'secrets_sealed';

-- replaced at once, or with an overlap; several may overlap, each with its own end
select payout.set_secret('merchant:SECRETM001', 'merchant_key', 'one');
select payout.set_secret('merchant:SECRETM001', 'merchant_key', 'two');
select test.good('merchant:SECRETM001', 'merchant_key', 'one', 'two', 'three');
select payout.set_secret('merchant:SECRETM001', 'merchant_key', 'three', now() + interval '1 day');
select test.good('merchant:SECRETM001', 'merchant_key', 'one', 'two', 'three');
select payout.set_secret('merchant:SECRETM001', 'merchant_key', 'four', now() + interval '1 hour');
select test.good('merchant:SECRETM001', 'merchant_key', 'two', 'three', 'four');
select secret_no, date_trunc('hour', valid_until - now() + interval '1 s') as good_for from payout.merchant_secret where merchant_id = 'SECRETM001' and name = 'merchant_key' order by 1;
-- a repeat changes nothing; it may move the end of the last overlap, and without one ends all overlaps
select payout.set_secret('merchant:SECRETM001', 'merchant_key', 'four', now() + interval '1 hour');
select payout.set_secret('merchant:SECRETM001', 'merchant_key', 'four', now() + interval '2 hours');
select secret_no, date_trunc('hour', valid_until - now() + interval '1 s') as good_for from payout.merchant_secret where merchant_id = 'SECRETM001' and name = 'merchant_key' order by 1;
-- one whose time is over is no good, and goes with the next setting or by the worker
update payout.merchant_secret set valid_until = now() - interval '1 s' where merchant_id = 'SECRETM001' and name = 'merchant_key' and secret_no = 3;
select test.good('merchant:SECRETM001', 'merchant_key', 'two', 'three', 'four');
begin;
select payout.drop_old_secrets();
select array_agg(secret_no order by secret_no) from payout.merchant_secret where merchant_id = 'SECRETM001' and name = 'merchant_key';
rollback;
select payout.set_secret('merchant:SECRETM001', 'merchant_key', 'five', now() + interval '1 hour');
select array_agg(secret_no order by secret_no), test.good('merchant:SECRETM001', 'merchant_key', 'two', 'three', 'four', 'five') from payout.merchant_secret where merchant_id = 'SECRETM001' and name = 'merchant_key';
select payout.set_secret('merchant:SECRETM001', 'merchant_key', 'five');
select test.good('merchant:SECRETM001', 'merchant_key', 'two', 'three', 'four', 'five');
-- five at most
select test.sqlstate_of(format('select payout.set_secret(''merchant:SECRETM001'', ''client_secret'', %L, now() + interval ''1 h'')', i)) from generate_series(1, 6) i;
select test.good('merchant:SECRETM001', 'client_secret', '1', '2', '3', '4', '5', '6');
select payout.set_secret('merchant:SECRETM001', 'client_secret', '6');
select test.good('merchant:SECRETM001', 'client_secret', '1', '2', '3', '4', '5', '6');
-- the worker signs with the present key alone
select payout.set_secret('channel:SECRETCH', 'client_secret', 'changed', now() + interval '1 day');
select test.good('channel:SECRETCH', 'client_secret', 'a very secret value', 'changed');
select payout.is_sealed(channel_id, 'client_secret', client_secret, 'changed') is null as other_owner, payout.is_sealed('channel:' || channel_id, 'client_secret', client_secret, 'changed') as present
from payout.worker_channels() where channel_id = 'SECRETCH';
select payout.set_secret('channel:SECRETCH', 'private_key', 'x', now() + interval '1 day');
select payout.set_secret('channel:SECRETCH', 'client_secret', 'x', now() - interval '1 s');
select payout.set_secret('channel:SECRETCH', 'client_secret', 'x', 'infinity');

-- what is refused
select payout.set_secret('cvs:NOSTORE', 'client_secret', 'x');
select payout.set_secret('cvs:SECRETCVS', 'private_key', 'x');
select payout.set_secret('merchant:NOMERCHANT', 'webhook_secret', 'x');
select payout.set_secret('channel:SECRETCH', 'webhook_secret', 'x');
select payout.set_secret('somebody:SECRETCH', 'client_secret', 'x');
select payout.set_secret('channel:SECRETCH', 'client_secret', '');
-- without a file to rotate from
select payout.rotate_secret_key();
select status from payout.health() where check_name = 'secret_rotation';

-- nobody reads them: no role but the owner has a right on the tables or on what seals, and no function gives a value back:
-- what calls the C functions that open is listed here, with what it answers
select c.relname, a.grantee::regrole from pg_class c, aclexplode(c.relacl) a where relnamespace = 'payout'::regnamespace and relname ~ '_secret$' and a.grantee <> c.relowner;
select p.proname, pg_get_function_result(p.oid) from pg_proc p where pronamespace = 'payout'::regnamespace and (proname ~ 'seal|secret' or prosrc ~ 'seal') order by 1;
create role payout_test_curious;
select payout.grant_access('payout_test_curious', k, s) from (values ('merchant', 'SECRETM001'), ('cvs', 'SECRETCVS'), ('operator', null), ('analyst', null)) g (k, s);
set role payout_test_curious;
select sealed from payout.merchant_secret;
select sealed from payout.channel_secret;
select sealed from payout.cvs_secret;
copy payout.merchant_secret to stdout;
select payout.stored_secrets();
select payout.valid_secrets('merchant:SECRETM001', 'webhook_secret');
select payout.is_sealed('a', 'b', '', 'c');
select payout.seal('a', 'b', 'c');
select payout.unopened_secrets();
reset role;
select payout.revoke_access('payout_test_curious', k, s) from (values ('merchant', 'SECRETM001'), ('cvs', 'SECRETCVS'), ('operator', null), ('analyst', null)) g (k, s);
drop role payout_test_curious;
select check_name, detail from payout.verify();
