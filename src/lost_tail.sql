-- lost_tail.sql: what a server does not know that the one before it did: payouts are asked for before they are sent.
--
-- A standby, a restore, a dump and a copy begin where their record ends: the last transactions of the server before may be missing,
-- and with them the record of what was sent. No server can prove that it lacks nothing: which standby a commit waited for is not
-- written anywhere that the one that takes over could trust. So there is one question, payout.may_lack_tail(): was the last life of
-- the worker of this very creation of the book, in this very place, on this very timeline, and is no row here from a book that
-- nobody has noted? Where not, everything that was registered so far is asked for at the bank before it is sent, and does not end
-- unasked. That holds from the first moment on; the first worker that begins notes the moment down, and from then on it holds for
-- what was registered before.

create table payout.lost_tail (
	at timestamptz not null default clock_timestamp() unique,
	from_timeline_id integer not null,
	to_timeline_id integer not null,
	incarnation_id uuid primary key
);
comment on table payout.lost_tail is 'moments before which this server may lack what the one before it did; the newest one counts';
comment on column payout.lost_tail.at is 'payouts registered until then are asked for before they are sent; each is later than the one before, whatever the clocks say';
comment on column payout.lost_tail.incarnation_id is 'the life of the worker that began then';

create trigger refuse_change before update or delete on payout.lost_tail for each row execute function payout.refuse_change();
create trigger refuse_truncate before truncate on payout.lost_tail for each statement execute function payout.refuse_change();

create table payout.unpaid_cash (
	merchant_id text collate "C" not null,
	txid text collate "C" not null,
	lost_until timestamptz not null,
	noted_at timestamptz not null default clock_timestamp(),
	noted_by text not null default payout.caller(),
	primary key (merchant_id, txid, lost_until)
);
comment on table payout.unpaid_cash is 'cashouts of which an operator has said, after a lost tail, that no store has paid them in it';
comment on column payout.unpaid_cash.lost_until is 'the lost tail: its moment';

create trigger refuse_change before update or delete on payout.unpaid_cash for each row execute function payout.refuse_change();
create trigger refuse_truncate before truncate on payout.unpaid_cash for each statement execute function payout.refuse_change();

create function payout.may_lack_tail() returns boolean
language c volatile parallel unsafe as 'MODULE_PATHNAME', 'payout_may_lack_tail';
comment on function payout.may_lack_tail() is
'whether this server may lack what was done last, and no worker has noted that yet: the last life was elsewhere, on another timeline or of another creation of the book, or rows came in with a dump';

create function payout.lost_until() returns timestamptz
language c volatile parallel unsafe as 'MODULE_PATHNAME', 'payout_lost_until';
comment on function payout.lost_until() is
'until when a payout must have been registered that may have been sent, or paid by a store, without a record: infinity while no worker has begun since; null where nothing is lost. By what is committed now, however old the caller''s snapshot is';

-- With -infinity: whether any payout is.
create function payout.asks_first(p_registered_at timestamptz) returns boolean
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
	return coalesce(payout.lost_until() >= p_registered_at, false);
end
$$;
comment on function payout.asks_first(timestamptz) is 'whether a payout (or batch) of this moment may have been sent without a record, and so is asked for first';

-- What a payout may hide that stands as if it had never been sent.
create function payout.may_lack_record(p payout.payout) returns boolean
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
	lost timestamptz := payout.lost_until();
begin
	return p.kind = 'disbursement' and coalesce(lost >= p.registered_at, false) and not exists (
		select from payout.attempt c
		where c.txid = p.txid and c.merchant_id = p.merchant_id and c.lane = 'check' and c.asked_attempt_id is null and c.answer <> 'unknown'
		and c.started_at > lost);
end
$$;
comment on function payout.may_lack_record(payout.payout) is 'whether a lost tail may have taken the record of a sending of this payout, and the bank has not been asked for it since';

-- No store can be asked: what it has paid comes by its confirmation, or by its list. So it goes by the registration: the tail may have
-- taken the token itself, or that it was issued anew, or a reservation that took the place of the one that stands here.
create function payout.may_lack_cash(p payout.payout) returns boolean
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
	lost timestamptz := payout.lost_until();
begin
	return p.kind = 'cashout' and p.final_at is null and coalesce(lost >= p.registered_at, false) and not exists (
		select from payout.unpaid_cash u where u.merchant_id = p.merchant_id and u.txid = p.txid and u.lost_until >= lost);
end
$$;
comment on function payout.may_lack_cash(payout.payout) is 'whether a lost tail may have taken the record that a store has paid this cashout, and no operator has said that none has';

create function payout.note_unpaid_cash(p payout.payout) returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
	lost timestamptz := payout.lost_until();
begin
	if lost = 'infinity' then
		raise exception 'no worker has begun since this server, or database, took over'
			using errcode = 'PY004', hint = 'Wait until the worker has noted the moment: payout.health() says so.';
	end if;
	insert into payout.unpaid_cash (merchant_id, txid, lost_until) values (p.merchant_id, p.txid, lost);
end
$$;
comment on function payout.note_unpaid_cash(payout.payout) is 'an operator has made sure that no store has paid a cashout of before the newest lost tail';

-- Asked by the TXID alone, a bank names the sending that it knows, which may be the one that is recorded: then it says nothing of
-- another one. Where that is denied as well, only a person can find out.
create function payout.is_denied_as_recorded(p payout.payout) returns boolean
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
	lost timestamptz := payout.lost_until();
begin
	return coalesce(lost >= p.registered_at, false)
		and (select count(*) filter (where s.attempt_id is not null) > 0
				and bool_and(s.attempt_id is null or coalesce(s.answer in ('failed', 'canceled', 'refunded'), false))
			 from payout.sendings(p) s)
		and (select count(*) >= 3 from payout.attempt c
			 where c.merchant_id = p.merchant_id and c.txid = p.txid and c.lane = 'check' and c.asked_attempt_id is null
			 and c.outcome = 'unknown' and c.answer = 'unknown' and c.started_at > lost);
end
$$;
comment on function payout.is_denied_as_recorded(payout.payout) is 'whether the bank denies each sending of a payout that is recorded, and three times did not answer for one of which a lost tail may have taken the record';

create function payout.hold_reason(p payout.payout, p_reason text) returns text
language plpgsql
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
	elsif payout.may_lack_cash(p) then
		raise exception 'a store may have paid the payout: the server before this one is gone with its last records'
			using errcode = 'PY004', detail = format('TXID %s; it was not %s.', p.txid, p_state),
				hint = 'An operator asks the stores, or waits for their lists, and then says by payout.resolve with dispatch that none has paid it.';
	end if;
end
$$;
comment on function payout.refuse_unasked(payout.payout, text) is 'raises PY004 where a payout would end, or get a token, of which a lost tail may have taken the record that it was sent or paid; asked by trigger move and wherever a token is issued';

create function payout.begin_lost_tail(p_last payout.incarnation, p_incarnation_id uuid) returns bigint
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
	here_id integer := payout.timeline();
begin
	insert into payout.known_installation (installation_id)
	select i.installation_id from payout.installation i on conflict do nothing;
	-- This server's clock may be behind the one of the server before. Attempts have ids in the order of their moments.
	insert into payout.lost_tail (at, from_timeline_id, to_timeline_id, incarnation_id)
	values (greatest(clock_timestamp(), p_last.started_at, (select max(t.at) from payout.lost_tail t) + interval '1 us',
				(select max(p.registered_at) from payout.payout p where p.final_at is null),
				(select max(greatest(b.created_at, b.asked_since)) from payout.batch b where b.due_at is not null),
				(select max(a.started_at) from payout.channel c,
					lateral (select q.started_at from payout.attempt q where q.channel_id = c.channel_id order by q.attempt_id desc limit 1) a)),
			coalesce(p_last.timeline_id, (select i.timeline_id from payout.installation i order by i.installed_at desc limit 1), here_id), here_id, p_incarnation_id);
	update payout.hold h set reason = payout.hold_reason(p, h.reason)
	from payout.payout p
	where p.merchant_id = h.merchant_id and p.txid = h.txid and p.kind = 'disbursement';
	return payout.lost_tail_left();
end
$$;
comment on function payout.begin_lost_tail(payout.incarnation, uuid) is
'worker: this life begins on a server, or in a database, that may lack what the last one did: notes the moment; the count of payouts it concerns';

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
