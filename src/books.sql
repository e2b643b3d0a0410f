-- books.sql: which bank's books a channel stands for (payout.channel.epoch), and what was sent to those of before.
--
-- What is sent carries the epoch of its channel (payout.batch.epoch), and so does what was split off it. Invariants kept here:
--
--   * An order or an inquiry leaves only while its epoch is the channel's. It is claimed under a lock that the change of bank
--     takes for itself (books.c), so that either sees the other's commit; what was claimed before, and waits, the gate stops.
--   * The epoch changes only while nothing of it is open: nothing that was sent, and nothing that may have been (lost_tail.sql).
--   * What comes to life again afterwards (an end that the bank of before contradicts) waits for a person, who asks that bank.

create function payout.share_books(channel_id text) returns boolean
language c volatile strict parallel unsafe as 'MODULE_PATHNAME', 'payout_share_books';
comment on function payout.share_books(text) is 'worker: until this transaction ends no other bank comes to stand behind the channel; false, without waiting, where one is about to';

create function payout.take_books(channel_id text) returns void
language c volatile strict parallel unsafe as 'MODULE_PATHNAME', 'payout_take_books';
comment on function payout.take_books(text) is 'waits until no claim of the channel is uncommitted, and has none made until this transaction ends';

-- A claim may wait for a synchronous standby, for however long.
create function payout.close_books(p_channel_id text) returns void
language plpgsql
set search_path = pg_catalog, pg_temp
set lock_timeout = '5s'
as $$
begin
	perform payout.take_books(p_channel_id);
exception when lock_not_available then
	raise exception 'another bank cannot stand behind channel "%" while orders to this one are being claimed', p_channel_id
		using errcode = 'PY004', detail = 'The worker''s transaction does not end.', hint = 'Pause the channel, see what the worker waits for (payout.health(), pg_stat_activity), and repeat it then.';
end
$$;
comment on function payout.close_books(text) is 'payout.take_books, or PY004 after five seconds';

-- A payout that waits in an earlier epoch is no business of this bank.
create function payout.open_at_bank(c payout.channel) returns text
language plpgsql
set search_path = pg_catalog, pg_temp
set enable_seqscan = off
as $$
declare
	tail boolean := payout.asks_first('-infinity');
begin
	return (
		select p.txid
		from payout.payout p
		left join payout.batch b on b.channel_id = p.channel_id and b.batch_id = p.batch_id
		where p.channel_id = c.channel_id and (p.final_at is null or p.doubted_at is not null)
		and case when p.batch_id is null then tail and payout.may_lack_record(p) else b.epoch = c.epoch end
		limit 1);
end
$$;
comment on function payout.open_at_bank(payout.channel) is 'the TXID of a payout that the bank behind the channel has, or may have, and that is not at an undoubted end; null: there is none';

create function payout.is_elsewhere(p payout.payout) returns boolean
language plpgsql stable
set search_path = pg_catalog, pg_temp
as $$
begin
	return exists (
		select from payout.batch b, payout.channel c
		where b.channel_id = p.channel_id and b.batch_id = p.batch_id and c.channel_id = p.channel_id and b.epoch <> c.epoch);
end
$$;
comment on function payout.is_elsewhere(payout.payout) is 'whether another bank stands behind the channel of a payout than the one that it was sent to';

-- A paid payout of which somebody wanted to hear again is asked for no more.
create function payout.hold_elsewhere(p_channel_id text, p_epoch integer, p_limit integer) returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
	merchant_ids text[];
	txids text[];
begin
	with due as materialized (
		select q.ctid as place, q.merchant_id, q.txid, q.batch_id, q.state <> 'paid' or q.doubted_at is not null as is_open
		from payout.payout q
		where q.channel_id = p_channel_id and q.status_due_at <= (select payout.clock())
		and not exists (select from payout.hold h where (h.merchant_id, h.txid, h.lane) = (q.merchant_id, q.txid, 'check'))
		order by q.status_due_at limit p_limit
		for no key update skip locked),
	taken as (
		update payout.payout p set status_due_at = null
		from due d, lateral (select q.epoch from payout.batch q where q.channel_id = p_channel_id and q.batch_id = d.batch_id limit 1) b
		where p.ctid = d.place and b.epoch <> p_epoch
		returning p.merchant_id, p.txid, d.is_open)
	select array_agg(t.merchant_id), array_agg(t.txid) into merchant_ids, txids from taken t where t.is_open;
	perform payout.hold_payout(u.merchant_id, u.txid, 'check', 'it was sent to the bank that stood behind the channel before: ask that one, and resolve it as paid, failed or returned')
	from unnest(merchant_ids, txids) u (merchant_id, txid);
end
$$;
comment on function payout.hold_elsewhere(text, integer, integer) is 'worker: payouts of an earlier epoch that are due to be asked for are set aside for a person';
