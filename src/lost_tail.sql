-- lost_tail.sql: what a server does not know that the one before it did: payouts are asked for before they are sent.
--
-- A standby that was not synchronous, or a restore, begins where its log ends: the last transactions of the server before are
-- missing, and with them the record of what was sent. Its worker finds itself on another timeline than the life before, notes
-- down the moment, and from then on every payout that was registered before it is looked for at the bank by its TXID, and
-- sent only when the bank has never heard of it. Nor does it end unasked: it may have been paid.
--
-- A dump that is restored, or a database made from a template, lacks what the original did since: payout.installation says that the
-- book comes from elsewhere, and the first worker that begins here notes the moment likewise. So the rows of payout.lost_tail need
-- not be dumped.

-- Each `create extension` adds its own row; a dump brings those of where it comes from.
create table payout.installation (
	installation_id uuid primary key default payout.new_id(),
	system_identifier bigint not null,
	database_oid oid not null,
	timeline_id integer not null,
	installed_at timestamptz not null default clock_timestamp(),
	begun_at timestamptz
);
comment on table payout.installation is 'the databases that this book was in: another one than this means that it was restored from a dump, or copied by create database';
comment on column payout.installation.timeline_id is 'the server''s timeline then';
comment on column payout.installation.begun_at is 'when a worker first began there';

create function payout.timeline() returns integer
language plpgsql stable
set search_path = pg_catalog, pg_temp
as $$
begin
	return ('x' || left(pg_walfile_name(pg_current_wal_lsn()), 8))::bit(32)::integer;
end
$$;
comment on function payout.timeline() is 'the timeline on which this server writes its log';

create function payout.here() returns payout.installation
language plpgsql stable
set search_path = pg_catalog, pg_temp
as $$
declare
	i payout.installation;
begin
	select c.system_identifier, d.oid into i.system_identifier, i.database_oid
	from pg_control_system() c, pg_database d where d.datname = current_database();
	i.timeline_id := payout.timeline();
	return i;
end
$$;
comment on function payout.here() is 'this database, as a row of payout.installation would name it';

insert into payout.installation (system_identifier, database_oid, timeline_id)
select h.system_identifier, h.database_oid, h.timeline_id from payout.here() h;

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

-- What a payout may hide that stands as if it had never been sent.
create function payout.may_lack_record(p payout.payout) returns boolean
language plpgsql stable
set search_path = pg_catalog, pg_temp
as $$
begin
	return p.kind = 'disbursement' and payout.asks_first(p.registered_at) and not exists (
		select from payout.attempt c
		where c.txid = p.txid and c.merchant_id = p.merchant_id and c.lane = 'check' and c.asked_attempt_id is null and c.answer <> 'unknown'
		and c.started_at > (select max(t.at) from payout.lost_tail t));
end
$$;
comment on function payout.may_lack_record(payout.payout) is 'whether a lost tail may have taken the record of a sending of this payout, and the bank has not been asked for it since';

-- No store can be asked: what it has paid comes by its confirmation, or by its list.
create function payout.may_lack_cash(p payout.payout) returns boolean
language plpgsql stable
set search_path = pg_catalog, pg_temp
as $$
begin
	return p.state = 'token_issued' and exists (
		select from payout.cashout_token t
		where t.merchant_id = p.merchant_id and t.txid = p.txid and t.replaced_at is null and payout.asks_first(t.issued_at));
end
$$;
comment on function payout.may_lack_cash(payout.payout) is 'whether a lost tail may have taken the record that a store has redeemed the token of this payout';

create function payout.hold_reason(p payout.payout, p_reason text) returns text
language plpgsql stable
set search_path = pg_catalog, pg_temp
as $$
declare
	lost constant text := '; the record of its sending may be lost: the bank must be asked before it is ended (payout.resolve with dispatch asks it first)';
begin
	if p_reason like '%' || lost or not coalesce(payout.may_lack_record(p), false) then
		return left(p_reason, 500);
	end if;
	return left(p_reason, 500 - length(lost)) || lost;
end
$$;
comment on function payout.hold_reason(payout.payout, text) is 'the reason of a hold, with what a person must know who decides on a payout of before a lost tail';

-- The end of an order that never left, by our own finding. All such ends are made here.
create function payout.fail_unsent(p payout.payout, p_reason text) returns payout.payout
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
	if payout.may_lack_record(p) then
		perform payout.hold_payout(p.merchant_id, p.txid, 'dispatch', p_reason);
		return p;
	end if;
	update payout.payout u set state = 'failed', reason = p_reason
	where u.merchant_id = p.merchant_id and u.txid = p.txid
	returning * into p;
	return p;
end
$$;
comment on function payout.fail_unsent(payout.payout, text) is 'a payout that cannot be sent fails, or waits for a person where a lost tail may have taken the record of its sending';

create function payout.refuse_unasked(p payout.payout, p_state text) returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
	if payout.may_lack_record(p) then
		raise exception 'the payout may have been sent: the server before this one is gone with its last records'
			using errcode = 'PY004', detail = format('TXID %s; it was not %s.', p.txid, p_state),
				hint = 'The bank must be asked. One that is registered goes nowhere while it is not approved; once approved, it is asked for before it is sent. One that is scheduled an operator may end by payout.resolve, after asking the bank.';
	end if;
end
$$;
comment on function payout.refuse_unasked(payout.payout, text) is 'trigger move: raises PY004 where a payout would be rejected or cancelled of which a lost tail may have taken the record of its sending';

create function payout.has_streamed(timeline_id integer) returns boolean
language c volatile strict parallel unsafe as 'MODULE_PATHNAME', 'payout_has_streamed';
comment on function payout.has_streamed(integer) is 'whether this server, since it started, received the end of this timeline, the one before its own, from another server';

-- A restore to a point in time always lacks something, whatever was synchronous.
create function payout.is_promoted_standby(p_timeline_id integer) returns boolean
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
	return payout.has_streamed(p_timeline_id) and not exists (
		select from unnest('{recovery_target,recovery_target_name,recovery_target_time,recovery_target_xid,recovery_target_lsn}'::text[]) s (name)
		where current_setting(s.name) <> '');
end
$$;
comment on function payout.is_promoted_standby(integer) is 'whether this server is a standby that streamed this timeline until it was promoted';

-- No worker has begun here since the extension was created, and the book is from elsewhere: from another database, or from
-- this one before it was created anew.
create function payout.is_from_elsewhere() returns boolean
language plpgsql stable
set search_path = pg_catalog, pg_temp
as $$
declare
	here payout.installation := payout.here();
begin
	return (select coalesce((count(*) > 1 or not bool_and(i.is_here)) and (not bool_or(i.is_here and i.begun_at is not null) or bool_or(i.is_here and i.begun_at is null)), false)
			from (select q.begun_at, (q.system_identifier, q.database_oid) = (here.system_identifier, here.database_oid) as is_here from payout.installation q) i);
end
$$;
comment on function payout.is_from_elsewhere() is 'whether this book was restored from a dump or copied, and no worker has begun here since';

-- p_last: the last life, null where there was none.
create function payout.lacks_tail(p_last payout.incarnation, p_timeline_id integer) returns boolean
language plpgsql stable
set search_path = pg_catalog, pg_temp
as $$
declare
	last_timeline_id integer := coalesce(p_last.timeline_id, (select i.timeline_id from payout.installation i order by i.installed_at desc limit 1));
begin
	return payout.is_from_elsewhere()
		or (last_timeline_id <> p_timeline_id
			and not coalesce(p_last.synchronous and payout.is_promoted_standby(last_timeline_id), false));
end
$$;
comment on function payout.lacks_tail(payout.incarnation, integer) is 'whether this server may lack what was done last by the one that the last life of the worker ran on';

create function payout.last_life() returns payout.incarnation
language plpgsql stable
set search_path = pg_catalog, pg_temp
as $$
declare
	last payout.incarnation;
begin
	select * into last from payout.incarnation i order by i.ended_at is null desc, i.started_at desc limit 1;
	return last;
end
$$;
comment on function payout.last_life() is 'the last life of this database''s worker';

create function payout.begin_lost_tail(p_last payout.incarnation, p_incarnation_id uuid, p_timeline_id integer) returns bigint
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
	here payout.installation := payout.here();
	lacks boolean := payout.lacks_tail(p_last, p_timeline_id);
begin
	update payout.installation i set begun_at = clock_timestamp()
	where (i.system_identifier, i.database_oid) = (here.system_identifier, here.database_oid) and i.begun_at is null;
	if not exists (select from payout.installation i where (i.system_identifier, i.database_oid) = (here.system_identifier, here.database_oid)) then
		insert into payout.installation (system_identifier, database_oid, timeline_id, begun_at)
		values (here.system_identifier, here.database_oid, p_timeline_id, clock_timestamp());
	end if;
	if not lacks then
		return null;
	end if;
	-- This server's clock may be behind the one of the server before. Attempts have ids in the order of their moments.
	insert into payout.lost_tail (at, from_timeline_id, to_timeline_id, incarnation_id)
	values (greatest(clock_timestamp(), p_last.started_at, (select max(p.registered_at) from payout.payout p where p.final_at is null),
				(select max(greatest(b.created_at, b.asked_since)) from payout.batch b where b.due_at is not null),
				(select max(a.started_at) from payout.channel c,
					lateral (select q.started_at from payout.attempt q where q.channel_id = c.channel_id order by q.attempt_id desc limit 1) a)),
			coalesce(p_last.timeline_id, p_timeline_id), p_timeline_id, p_incarnation_id);
	update payout.hold h set reason = payout.hold_reason(p, h.reason)
	from payout.payout p
	where p.merchant_id = h.merchant_id and p.txid = h.txid and p.kind = 'disbursement';
	return payout.lost_tail_left();
end
$$;
comment on function payout.begin_lost_tail(payout.incarnation, uuid, integer) is
'worker: where this life begins on a server, or in a database, that may lack what the last one did, notes the moment; the count of payouts it concerns, or null';

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
comment on function payout.lost_tail_left() is 'how many ordered payouts from before the newest lost tail are not at their end: those that are due are asked for before they are sent';

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
		insert into payout.batch (channel_id, batch_id, service, epoch, state, source_account_no, transaction_date, item_count, total, sent_at, was_unknown, asked_since)
		select p_channel_id, m.batch_id,
			case when m.method = 'overbooking' then 17 when payout.option_text('channel', c.options, 'mode') = 'bulk' then 20 else 18 end, c.epoch, 'unknown',
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
