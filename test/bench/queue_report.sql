-- queue_report.sql: how fast a queue was worked off, a tenth at a time; how long the worker's transactions were; what the
-- queues' indexes were read for.
\set ON_ERROR_STOP on
create table public.began as select min(started_at) as at from payout.incarnation;
create table public.tenth as
with step as (
	select e.at, e.to_state, 1 + (row_number() over (partition by e.to_state order by e.at) - 1) * 10 / :payouts as tenth
	from payout.payout_event e where e.to_state in ('dispatching', 'paid')),
ends as (select to_state, tenth, count(*) as payouts, max(at) as at from step group by 1, 2)
select to_state, tenth, payouts,
	payouts / nullif(extract(epoch from at - coalesce(lag(at) over (partition by to_state order by tenth), (select b.at from public.began b))), 0) as rate
from ends;
select format('tenth %s: %s payouts/s claimed, %s payouts/s paid', lpad(tenth::text, 2),
	lpad(coalesce(round(max(rate) filter (where to_state = 'dispatching'))::text, '-'), 6), lpad(coalesce(round(max(rate) filter (where to_state = 'paid'))::text, '-'), 6))
from public.tenth group by tenth order by tenth;
-- From the transaction's beginning to its commit, which includes the flush.
create table public.transaction as
select t.xmin as xid, 1000 * extract(epoch from pg_xact_commit_timestamp(t.xmin) - min(t.began)) as ms from public.turn t group by t.xmin;
select format('%s transactions of the worker; median %s ms, 99 of 100 under %s ms, longest %s ms', count(*),
	round(percentile_cont(0.5) within group (order by ms)::numeric, 1), round(percentile_cont(0.99) within group (order by ms)::numeric, 1), round(max(ms), 1))
from public.transaction;
select pg_stat_force_next_flush();
select format('%s: %s scans, %s entries read, %s a scan', rpad(indexrelname, 20), idx_scan, idx_tup_read, round(idx_tup_read::numeric / nullif(idx_scan, 0), 1))
from pg_stat_user_indexes where schemaname = 'payout' and indexrelname ~ '_due$|payout_batch$' and idx_scan > 0 order by idx_tup_read desc;
select format('payout.%s: %s updates, %s of them HOT, %s dead rows', relname, n_tup_upd, n_tup_hot_upd, n_dead_tup)
from pg_stat_user_tables where schemaname = 'payout' and n_tup_upd > 0 order by n_tup_upd desc limit 4;
select format('payout.verify(): %s violations', count(*)) from payout.verify();
