-- lost_tail.sql: what a server does not know that the one before it did: payouts are asked for before they are sent.
--
-- A standby that was not synchronous, or a restore, begins where its log ends: the last transactions of the server before are
-- missing, and with them the record of what was sent. Its worker finds itself on another timeline than the life before, notes
-- down the moment, and from then on every payout that was registered before it is looked for at the bank by its TXID, and
-- sent only when the bank has never heard of it.
--
-- The rows are not dumped, like the arming: they speak of this server, and a dump that is restored is another one, which a
-- person arms after making sure of what the original has sent.

create table payout.lost_tail (
	at timestamptz primary key default clock_timestamp(),
	from_timeline_id integer not null,
	to_timeline_id integer not null,
	incarnation_id uuid not null
);
comment on table payout.lost_tail is 'moments before which this server may lack what the one before it did; the newest one counts';
comment on column payout.lost_tail.at is 'payouts registered until then are asked for before they are sent';
comment on column payout.lost_tail.incarnation_id is 'the life of the worker that began then';

create trigger refuse_change before update or delete on payout.lost_tail for each row execute function payout.refuse_change();
create trigger refuse_truncate before truncate on payout.lost_tail for each statement execute function payout.refuse_change();

-- With -infinity: whether any payout is.
create function payout.asks_first(p_registered_at timestamptz) returns boolean
language plpgsql stable
set search_path = pg_catalog, pg_temp
as $$
begin
	return exists (select from payout.lost_tail t where t.at >= p_registered_at);
end
$$;
comment on function payout.asks_first(timestamptz) is 'whether a payout (or batch) of this moment may have been sent without a record, and so is asked for first';

-- A restore to a point in time always lacks something, whatever was synchronous.
create function payout.is_promoted_standby() returns boolean
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
	return current_setting('primary_conninfo') <> '' and not exists (
		select from unnest('{recovery_target,recovery_target_name,recovery_target_time,recovery_target_xid,recovery_target_lsn}'::text[]) s (name)
		where current_setting(s.name) <> '');
end
$$;
comment on function payout.is_promoted_standby() is 'whether this server looks like a standby that streamed until it was promoted, by its settings';

create function payout.begin_lost_tail(p_last payout.incarnation, p_incarnation_id uuid, p_timeline_id integer) returns bigint
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
	if p_last.incarnation_id is null or p_last.timeline_id = p_timeline_id or (p_last.synchronous and payout.is_promoted_standby()) then
		return null;
	end if;
	-- This server's clock may be behind the one of the server before.
	insert into payout.lost_tail (at, from_timeline_id, to_timeline_id, incarnation_id)
	values (greatest(clock_timestamp(), p_last.started_at, (select max(p.registered_at) from payout.payout p where p.final_at is null),
				(select max(b.created_at) from payout.batch b where b.due_at is not null)),
			p_last.timeline_id, p_timeline_id, p_incarnation_id);
	return payout.lost_tail_left();
end
$$;
comment on function payout.begin_lost_tail(payout.incarnation, uuid, integer) is
'worker: where this life begins on another timeline than the last one, which did not wait for this server, notes the moment; the count of payouts it concerns, or null';

-- Registered ones are not counted: nobody has ordered them yet.
create function payout.lost_tail_left() returns bigint
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
	return (select count(*) from payout.payout p
			where p.final_at is null and p.kind = 'disbursement' and p.state in ('scheduled', 'approved', 'dispatching', 'suspect')
			and p.registered_at <= (select max(t.at) from payout.lost_tail t));
end
$$;
comment on function payout.lost_tail_left() is 'how many ordered payouts from before the newest lost tail are not known to the bank yet';

-- Each in a batch of its own: one that the bank knows says nothing of the others.
create function payout.ask_first(p_channel_id text, p_limit integer) returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
	c payout.channel;
	claimed payout.step[];
	doubted payout.step[];
	started timestamptz := payout.clock();
begin
	select * into strict c from payout.channel q where q.channel_id = p_channel_id;
	with due as materialized (
		select q.merchant_id, q.txid, q.method, q.amount, q.source_account_no, q.registered_at
		from payout.payout q
		where q.channel_id = p_channel_id and q.dispatch_due_at <= (select payout.clock()) and q.state = 'approved'
		and not exists (select from payout.hold h where (h.merchant_id, h.txid, h.lane) = (q.merchant_id, q.txid, 'dispatch'))
		order by q.dispatch_due_at limit p_limit
		for no key update skip locked),
	member as materialized (
		select d.*, payout.new_id() as batch_id from due d where payout.asks_first(d.registered_at)),
	made as (
		insert into payout.batch (channel_id, batch_id, service, state, source_account_no, transaction_date, item_count, total, sent_at, was_unknown, asked_since)
		select p_channel_id, m.batch_id,
			case when m.method = 'overbooking' then 17 when payout.option_text('channel', c.options, 'mode') = 'bulk' then 20 else 18 end, 'unknown',
			m.source_account_no, date_trunc('second', clock_timestamp()), 1, m.amount, started, true, clock_timestamp()
		from member m)
	select array_agg(row(m.merchant_id, m.txid, 'approved', 'dispatching', m.batch_id, null, null, null, null, false)::payout.step),
		array_agg(row(m.merchant_id, m.txid, 'dispatching', 'suspect', null, null, null,
			'the record of its sending may be lost: the bank is asked before it is sent', started, false)::payout.step)
	into claimed, doubted
	from member m;
	if payout.move_set(claimed) <> cardinality(claimed) or payout.move_set(doubted) <> cardinality(doubted) then
		raise exception 'payouts that were locked are in no batch';
	end if;
end
$$;
comment on function payout.ask_first(text, integer) is 'worker: due payouts of a channel that may have been sent without a record become suspect, and are asked for by their TXID';
