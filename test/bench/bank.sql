-- bank.sql: a bank that is really there, and merchants 2000000001 to 2000000020 without, 3000000001 to 3000000020 with
-- notifications. Variables: url, private_key, bank_key, webhook_key, notify_url.
\set ON_ERROR_STOP on
create extension payout;
select from payout.create_channel('BANK1', 'snap', :'url', jsonb_build_object('client_id', 'PAYOUT-CLIENT', 'partner_id', 'PARTNER1',
	'channel_header', '95221', 'source_account_no', '888801000157508', 'batch_size_max', 500, 'status_delay_s', 600, 'reference_memory_s', 31536000));
select payout.set_secret('channel:BANK1', 'private_key', :'private_key');
select payout.set_secret('channel:BANK1', 'client_secret', 'a-shared-client-secret');
select payout.set_secret('channel:BANK1', 'bank_public_key', :'bank_key');
select from payout.create_bank('CENA', 'A bank', 'BANK1', '{"wire_code": "014"}');
select count(payout.create_merchant((2000000000 + i)::text, 'Without notifications')) from generate_series(1, 20) i;
select count(payout.create_merchant((3000000000 + i)::text, 'With notifications', :'notify_url' || (3000000000 + i))) from generate_series(1, 20) i;
select count(payout.set_secret('merchant:' || (3000000000 + i), 'webhook_secret', :'webhook_key')) from generate_series(1, 20) i;
select count(payout.top_up((k::bigint * 1000000000 + i)::text, 1000000000000, 'bench')) from generate_series(1, 20) i, generate_series(2, 3) k;
select payout.arm();
\ir vacuum.sql
