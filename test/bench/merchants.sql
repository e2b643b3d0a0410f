-- merchants.sql: merchants 1000000001 to 1000001000 for work that is spread, 1000005000 for the hot one, with money enough
-- for any run, and a bank that is paused: nothing is sent, whether a worker runs for this database or not.
\set ON_ERROR_STOP on
create extension payout;
select count(payout.create_merchant((1000000000 + i)::text, 'Merchant of a benchmark')) from generate_series(1, 1000) i;
select count(payout.top_up((1000000000 + i)::text, 1000000000000, 'bench')) from generate_series(1, 1000) i;
select from payout.create_merchant('1000005000', 'The hot merchant');
select from payout.top_up('1000005000', 1000000000000, 'bench');
select from payout.create_channel('BANK1', 'snap', 'https://bank.invalid', '{"source_account_no": "888801000157508"}');
select from payout.create_bank('CENA', 'A bank', 'BANK1');
select from payout.pause_channel('BANK1', 'a benchmark of what comes before');
select payout.arm();
-- The items of one batch; a batch puts its own reference in the place of REF, so that nothing is left to build in the server
-- but what a client's text would need as well.
create table public.items (body text);
alter table public.items alter column body set storage external;
insert into public.items
select jsonb_agg(jsonb_build_object('reference_no', 'REF-' || i, 'amount', 10000, 'bank_code', 'CENA', 'account_no', '8800000001',
	'beneficiary_name', 'Budi Santoso'))::text from generate_series(1, 1000) i;
-- Some history, so that plans are made for tables that are in use.
\set payouts 20000
\set first 1000000001
\set merchants 1000
\set load FIRST
\set notify 0
\ir load_history.sql
\ir vacuum.sql
checkpoint;
