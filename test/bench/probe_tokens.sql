-- probe_tokens.sql: what validating one token costs: the look-up, and the whole call, with plans and buffers.
\set ON_ERROR_STOP on
\pset pager off
set max_parallel_workers_per_gather = 0;
-- The first calls of a session read catalogs and prepare plans.
do $$
declare
	p record;
begin
	for p in delete from public.probe where ctid in (select ctid from public.probe limit 20) returning * loop
		perform payout.cashout_validate('STORE1', p.token, 'WARM', p.txid);
	end loop;
end
$$;
select payout.token_digest(token) as digest, token, txid from public.probe limit 1 \gset
\echo the look-up
explain (analyze, buffers, costs off) select * from payout.cashout_token where digest = :'digest'::bytea;
\echo the whole of payout.cashout_validate
explain (analyze, buffers, costs off) select payout.cashout_validate('STORE1', :'token', 'TILL1', :'txid');
delete from public.probe where txid = :'txid';
