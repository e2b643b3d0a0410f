-- sending.sql: the sendings of a payout that may have been booked, what the bank says of each, and what follows from it:
-- whether a denial counts, and whether the order may be sent again.
--
-- A sending is a dispatch attempt of the payout's batch that has no outcome yet, or unknown, or yes. What was not sent is none,
-- nor is what the bank refused, unless it has told of that batch afterwards or meanwhile (batch.told_at): its own word that it
-- has an order, by a signed notice or a late answer to an inquiry, outranks its refusal. What was split off a bulk was sent with
-- the bulk as well, and so on upwards: a bulk that was refused whole is not asked for, but the bank has received it. All of this
-- stands in sendings_made, and nowhere else. Beside those that are recorded
-- there may be one of which a lost tail has taken the record (lost_tail.sql): its attempt_id is null, and the bank is asked for
-- it by the TXID alone.
--
-- Invariants kept here:
--   * Money moves by a denial only when it holds for every sending; so a denial of one of several waits for the others.
--   * A notice says not which sending of its batch it means, and may speak of one that was refused for now; an answer that names
--     none may speak of a bulk that was refused, too. Such a denial is believed only where the bank can mean no other.
--   * Of what the bank has told it is asked before it is sent, refused or split, whichever came first: the notice or the refusal.
--   * An order goes again only when every sending was asked for and was not found, often enough and late enough; and by
--     itself only while the bank, by its own word, still refuses the reference of the first one. That is asked when it is
--     decided, when it is claimed, and when it leaves.

create type payout.sending as (attempt_id uuid, started_at timestamptz, answer text, not_found integer);
comment on type payout.sending is
'a sending that may have been booked: when it began (at the earliest), what the bank said of it last, and how often in a row that it was not found, both since the last sending ended';

create type payout.sending_made as (
	attempt_id uuid, external_id text, transaction_date timestamptz, started_at timestamptz, finished_at timestamptz, outcome text,
	may_be_booked boolean, is_spoken_of boolean
);
comment on type payout.sending_made is
'a sending of an order that the bank has received, perhaps, with the date in it; is_spoken_of: of its own batch, or of a bulk of which the bank has told';

create function payout.line(p_channel_id text, p_batch_id uuid) returns setof payout.batch
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
	b payout.batch;
begin
	select * into b from payout.batch q where q.channel_id = p_channel_id and q.batch_id = p_batch_id;
	while found loop
		return next b;
		exit when b.parent_batch_id is null;
		select * into b from payout.batch q where q.channel_id = p_channel_id and q.batch_id = b.parent_batch_id;
	end loop;
end
$$;
comment on function payout.line(text, uuid) is 'a batch, the bulk that it was split off, and so on upwards';

-- A bulk that was split was refused, and so it is not booked, unless the bank has told of it; it was received all the same. What the
-- bank told of a batch that it accepted in the end, and that was never in doubt before, is of that sending.
create function payout.sendings_made(p_channel_id text, p_batch_id uuid) returns setof payout.sending_made
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
	return query
	select a.attempt_id, a.external_id, l.transaction_date, a.started_at, a.finished_at, a.outcome,
		a.outcome is null or a.outcome in ('unknown', 'yes') or (l.told_at is not null
			and (coalesce(a.started_at < l.asked_since, false) or not coalesce(bool_or(a.outcome = 'yes') over (partition by l.batch_id), false))),
		l.batch_id = p_batch_id or l.told_at is not null
	from payout.line(p_channel_id, p_batch_id) l,
	lateral (select q.* from payout.attempt q where q.batch_id = l.batch_id and q.channel_id = p_channel_id offset 0) a
	where a.outcome is distinct from 'not_sent';
end
$$;
comment on function payout.sendings_made(text, uuid) is 'all sendings of a batch that the bank may have received, under its own id or that of a bulk that it was split off';

create function payout.told_at(b payout.batch) returns timestamptz
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
	return case when b.parent_batch_id is null then b.told_at else (select max(l.told_at) from payout.line(b.channel_id, b.batch_id) l) end;
end
$$;
comment on function payout.told_at(payout.batch) is 'when the bank told last that it has this batch, or a bulk that it was split off; null: never';

create function payout.is_split_off(p_channel_id text, p_batch_id uuid, p_bulk_id uuid) returns boolean
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
	return exists (select from payout.line(p_channel_id, p_batch_id) l where l.batch_id = p_bulk_id);
end
$$;
comment on function payout.is_split_off(text, uuid, uuid) is 'whether a batch is this bulk, or was split off it, however often';

create function payout.sendings(p payout.payout) returns setof payout.sending
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
	counted_since timestamptz;
begin
	select greatest(b.asked_since, payout.told_at(b), (
		select max(coalesce(a.finished_at, 'infinity')) from payout.sendings_made(b.channel_id, b.batch_id) a where a.may_be_booked))
	into counted_since
	from payout.batch b where b.channel_id = p.channel_id and b.batch_id = p.batch_id;
	return query
	with sent as (
		select a.attempt_id, a.started_at from payout.sendings_made(p.channel_id, p.batch_id) a where a.may_be_booked
		union all
		select null, p.registered_at where payout.asks_first(p.registered_at)),
	told as (
		select c.asked_attempt_id, c.started_at, c.answer from payout.attempt c
		where c.txid = p.txid and c.merchant_id = p.merchant_id and c.lane = 'check' and c.answer <> 'unknown'
		and c.started_at > coalesce(counted_since, '-infinity'))
	select s.attempt_id, s.started_at,
		(select t.answer from told t where t.asked_attempt_id is not distinct from s.attempt_id order by t.started_at desc limit 1),
		(select count(*)::integer from told t
		 where t.asked_attempt_id is not distinct from s.attempt_id
		 and t.started_at > coalesce((select max(o.started_at) from told o
			where o.asked_attempt_id is not distinct from s.attempt_id and o.answer <> 'not_found'), '-infinity'))
	from sent s;
end
$$;
comment on function payout.sendings(payout.payout) is 'all sendings of a payout that may have been booked';

create function payout.count_sendings(p payout.payout) returns integer
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
	return (select count(*) from payout.sendings_made(p.channel_id, p.batch_id) a where a.may_be_booked) + payout.asks_first(p.registered_at)::integer;
end
$$;
comment on function payout.count_sendings(payout.payout) is 'how many payout.sendings there are';

-- The one that was asked for longest ago, or never. Where nothing may have been booked, the last attempt.
create function payout.sending_to_ask(p_channel_id text, p_batch_id uuid, p_txid text, p_asks_first boolean, out attempt_id uuid, out external_id text, out transaction_date timestamptz)
returns record
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
	select s.attempt_id, s.external_id, s.transaction_date into attempt_id, external_id, transaction_date
	from (select a.attempt_id, a.external_id, a.transaction_date, a.started_at from payout.sendings_made(p_channel_id, p_batch_id) a where a.may_be_booked
		  union all
		  select null, null, null, '-infinity' where p_asks_first) s
	order by (select max(c.started_at) from payout.attempt c
			  where c.txid = p_txid and c.lane = 'check' and c.asked_attempt_id is not distinct from s.attempt_id) nulls first, s.started_at desc
	limit 1;
	if not found then
		select a.attempt_id, a.external_id into attempt_id, external_id
		from payout.attempt a where a.channel_id = p_channel_id and a.batch_id = p_batch_id order by a.outcome = 'not_sent', a.started_at desc limit 1;
	end if;
end
$$;
comment on function payout.sending_to_ask(text, uuid, text, boolean) is 'worker: the sending that a status inquiry asks for next, and the date in it; all null: by the TXID alone';

-- Of whatever the bank may have received it may speak, of what it refused for now as well.
create function payout.count_received(p payout.payout) returns integer
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
	return (select count(*) from payout.sendings_made(p.channel_id, p.batch_id));
end
$$;
comment on function payout.count_received(payout.payout) is 'how many sendings of a payout the bank may have received, whatever became of them';

-- A word of the bank that the payout failed, was cancelled or refunded. Of one sending it is believed when it was asked after
-- its end, or came as a notice. What does not say which of several it means, nor whether it means one that may have been
-- booked, as a notice never does, is no word on any of them: they are asked for, and each must be denied. So is what the bank
-- first refused and then told of.
create function payout.denial_counts(p payout.payout, p_asked_attempt_id uuid, p_asked_at timestamptz) returns boolean
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
	if p_asked_at is null then
		-- An older snapshot may not see a sending that began since.
		return not payout.asks_first(p.registered_at) and current_setting('transaction_isolation') = 'read committed' and (
			select count(*) filter (where a.is_spoken_of) = 1 and count(*) filter (where a.may_be_booked) = 1 and bool_or(coalesce(a.outcome in ('unknown', 'yes'), true))
			from payout.sendings_made(p.channel_id, p.batch_id) a);
	elsif p.state = 'dispatching' or exists (
		select from payout.sendings_made(p.channel_id, p.batch_id) a where a.may_be_booked and coalesce(a.finished_at >= p_asked_at, true)) then
		return false;
	end if;
	return payout.is_sole_sending(p) or (
		exists (
			select from payout.attempt c
			where c.txid = p.txid and c.merchant_id = p.merchant_id and c.lane = 'check' and c.started_at = p_asked_at
			and c.asked_attempt_id is not distinct from p_asked_attempt_id and c.answer in ('failed', 'canceled', 'refunded'))
		and not exists (
			select from payout.sendings(p) s
			where s.attempt_id is distinct from p_asked_attempt_id
			and not coalesce(s.answer in ('failed', 'canceled', 'refunded') or (s.answer = 'not_found' and payout.is_missing(p, s.not_found)), false)));
end
$$;
comment on function payout.denial_counts(payout.payout, uuid, timestamptz) is
'whether a word of the bank that a payout failed holds for every sending that may have been booked; it was said of one of them, asked at a moment, or (null) by a notice';

-- A doubt about an end is answered by what was asked since: one of which payment is doubted, when any sending is found paid; one
-- of which the money was given back, when none is there.
create function payout.is_answered(p payout.payout, p_status text, p_asked_at timestamptz) returns boolean
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
	if p.doubted_at is null or p_asked_at is null or p_asked_at < p.doubted_at then
		return false;
	elsif p.state = 'paid' then
		return p_status = 'paid';
	end if;
	return p_status in ('failed', 'canceled', 'refunded', 'not_found') and not exists (
		select from payout.sendings(p) s
		where not coalesce(s.answer in ('failed', 'canceled', 'refunded') or (s.answer = 'not_found' and payout.is_missing(p, s.not_found)), false));
end
$$;
comment on function payout.is_answered(payout.payout, text, timestamptz) is 'whether a word of the bank, asked for at a moment, and what it said of the other sendings, end the doubt about a payout''s end';

-- Often enough and late enough "not found".
create function payout.is_missing(p payout.payout, p_not_found integer) returns boolean
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
	return (select p_not_found >= payout.option_text('channel', c.options, 'not_found_count')::integer
		and payout.clock() >= b.sent_at + payout.option_interval(c.options, 'not_found_grace_s')
		from payout.batch b join payout.channel c on c.channel_id = b.channel_id
		where b.channel_id = p.channel_id and b.batch_id = p.batch_id);
end
$$;
comment on function payout.is_missing(payout.payout, integer) is 'whether so many "not found" in a row are proof enough, by the channel''s options';

-- What was sent may have been booked, or we cannot know any more that it was not: the members are asked for, from anew.
create function payout.doubt_batch(p_channel_id text, p_batch_id uuid, p_response_code text, p_reason text, p_due_at timestamptz) returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
	update payout.batch
	set state = 'unknown', was_unknown = true, by_person = false, due_at = null, decided_at = null, asked_since = clock_timestamp(), sent_at = coalesce(sent_at, payout.clock())
	where channel_id = p_channel_id and batch_id = p_batch_id;
	update payout.payout p
	set state = 'suspect', response_code = p_response_code, reason = left(p_reason, 200), status_tries = 0, not_found = 0, status_due_at = p_due_at
	where p.channel_id = p_channel_id and p.batch_id = p_batch_id and p.state = 'dispatching';
end
$$;
comment on function payout.doubt_batch(text, uuid, text, text, timestamptz) is 'worker: a batch becomes unknown, its members suspect';

-- Whether the bank has never heard of any member. All of them are locked, so that no notice settles one while we look.
create function payout.is_lost(b payout.batch) returns boolean
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
	count_min integer := (select payout.option_text('channel', c.options, 'not_found_count') from payout.channel c where c.channel_id = b.channel_id);
begin
	if b.state <> 'unknown' or payout.clock() < b.sent_at + payout.channel_interval(b.channel_id, 'not_found_grace_s') then
		return false;
	end if;
	perform from payout.payout p where p.channel_id = b.channel_id and p.batch_id = b.batch_id order by p.txid for no key update;
	if exists (select from payout.payout p where p.channel_id = b.channel_id and p.batch_id = b.batch_id
			   and (p.state <> 'suspect' or p.not_found < count_min)) then
		return false;
	end if;
	-- They were not found so often, whichever sending was asked for: is it so for each?
	return (b.tries <= 1 and b.parent_batch_id is null and not payout.asks_first('-infinity')) or not exists (
		select from payout.payout p, lateral payout.sendings(p) s
		where p.channel_id = b.channel_id and p.batch_id = b.batch_id and s.not_found < count_min);
end
$$;
comment on function payout.is_lost(payout.batch) is 'whether every sending of every member of an unknown batch is not found at the bank; locks the members';

-- A resend must arrive while the bank refuses the reference of the first sending. A person may decide otherwise.
create function payout.leave_before(b payout.batch) returns timestamptz
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
	c payout.channel;
	first_sent timestamptz;
begin
	if not b.was_unknown or b.by_person then
		return null;
	end if;
	select * into strict c from payout.channel q where q.channel_id = b.channel_id;
	first_sent := least(
		(select min(a.started_at) from payout.sendings_made(b.channel_id, b.batch_id) a where a.may_be_booked),
		(select min(p.registered_at) from payout.payout p
		 where p.channel_id = b.channel_id and p.batch_id = b.batch_id and payout.asks_first(p.registered_at)));
	return coalesce(first_sent + payout.option_text('channel', c.options, 'reference_memory_s')::integer * interval '1 s'
		- payout.option_interval(c.options, 'request_timeout_ms'), '-infinity');
end
$$;
comment on function payout.leave_before(payout.batch) is
'worker: when the bank may have forgotten the reference by the time that a resend arrives, so that it must have left before; null: no bound; -infinity: the channel does not say how long the bank remembers';

-- Before a resend leaves, the channel may have to get a token, and to connect.
create function payout.is_too_late(b payout.batch) returns boolean
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
	return coalesce(payout.clock() + payout.channel_interval(b.channel_id, 'request_timeout_ms') + payout.channel_interval(b.channel_id, 'connect_timeout_ms')
		>= payout.leave_before(b), false);
end
$$;
comment on function payout.is_too_late(payout.batch) is 'worker: whether a resend that begins now may leave when the bank has forgotten its reference';

-- Why an order that the bank does not find is not sent again without a person; null: it may be.
create function payout.reason_to_hold(b payout.batch) returns text
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
	code text;
begin
	-- What a person decided of an earlier sending is not said of the next one.
	b.was_unknown := true;
	b.by_person := false;
	select a.response_code into code
	from payout.attempt a
	where a.channel_id = b.channel_id and a.batch_id = b.batch_id and a.outcome in ('unknown', 'no') and payout.snap_item_class(overlay(a.response_code placing '00' from 4 for 2)) = 'fail'
	group by a.response_code having count(*) >= 2 limit 1;
	if code is not null then
		return format('not found at the bank, which answered %s each time it was sent: it refuses this order, though not by the rules', code);
	elsif payout.leave_before(b) = '-infinity' then
		return 'not found at the bank, but it may be booked late, and the channel''s option reference_memory_s does not say for how long the bank refuses a repeated reference';
	elsif payout.is_too_late(b) then
		return format('not found at the bank, but since it was sent for the first time the bank may have forgotten the reference: it was to leave before %s (option reference_memory_s)', payout.leave_before(b));
	end if;
	return null;
end
$$;
comment on function payout.reason_to_hold(payout.batch) is 'worker: why a batch that is lost waits for a person, or null';

create function payout.send_again(b payout.batch, p_reason text, p_by_person boolean) returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
	update payout.batch q set state = 'open', due_at = payout.clock(), decided_at = payout.clock(), by_person = p_by_person where q.channel_id = b.channel_id and q.batch_id = b.batch_id;
	update payout.payout p set state = 'dispatching', status_due_at = null, reason = p_reason
	where p.channel_id = b.channel_id and p.batch_id = b.batch_id;
end
$$;
comment on function payout.send_again(payout.batch, text, boolean) is 'sends an unknown batch again, unchanged';

-- Where the bank knows one payout of a batch, or a person decided, the batch cannot go again: those that it never finds wait
-- for a person. They go on being asked for.
create function payout.hold_left_behind(b payout.batch) returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
	count_min integer := (select payout.option_text('channel', c.options, 'not_found_count') from payout.channel c where c.channel_id = b.channel_id);
begin
	if b.state = 'unknown' and exists (select from payout.payout p where p.channel_id = b.channel_id and p.batch_id = b.batch_id and p.state not in ('suspect', 'dispatching')) then
		perform payout.hold_payout(p.merchant_id, p.txid, 'dispatch', 'not found at the bank, but another payout of its batch is known there or was decided, so the batch cannot be sent again: resolve it as paid or failed when the bank has said which')
		from payout.payout p
		where p.channel_id = b.channel_id and p.batch_id = b.batch_id and p.state = 'suspect' and p.not_found >= count_min
		and not exists (select from payout.hold h where (h.merchant_id, h.txid, h.lane) = (p.merchant_id, p.txid, 'dispatch'))
		and not exists (select from payout.sendings(p) s where not payout.is_missing(p, s.not_found));
	end if;
end
$$;
comment on function payout.hold_left_behind(payout.batch) is 'worker: sets aside what the bank does not find of a batch that it knows';

-- The members of an unknown batch are asked for one by one. Where the bank knows any member, it has the batch.
create function payout.resend_if_lost(p_channel_id text, p_batch_id uuid) returns boolean
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
	b payout.batch;
	why text;
begin
	select * into strict b from payout.batch where channel_id = p_channel_id and batch_id = p_batch_id for no key update;
	if not payout.is_lost(b) then
		perform payout.hold_left_behind(b);
		return false;
	elsif exists (select from payout.payout p join payout.hold h on h.merchant_id = p.merchant_id and h.txid = p.txid
			   where p.channel_id = p_channel_id and p.batch_id = p_batch_id) then
		return false;
	end if;
	why := payout.reason_to_hold(b);
	if why is null then
		perform payout.send_again(b, 'not found at the bank, sent again', false);
		return true;
	end if;
	perform payout.hold_payout(p.merchant_id, p.txid, 'dispatch', why)
	from payout.payout p where p.channel_id = p_channel_id and p.batch_id = p_batch_id;
	return false;
end
$$;
comment on function payout.resend_if_lost(text, uuid) is 'worker: sends an unknown batch again when the bank has never heard of any member, or sets it aside for a person';

-- The operator decides what the worker may not.
create function payout.send_held(p payout.payout, p_reason text) returns payout.payout
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
	b payout.batch;
begin
	select * into strict b from payout.batch q where q.channel_id = p.channel_id and q.batch_id = p.batch_id for no key update;
	if not payout.is_lost(b) then
		raise exception 'not every payout of the batch is lost at the bank'
			using errcode = 'PY004', detail = format('TXID %s.', p.txid),
				hint = 'The bank knows one of them, or is being asked anew. What it knows decides for the others.';
	end if;
	delete from payout.hold h using payout.payout m
	where m.channel_id = b.channel_id and m.batch_id = b.batch_id
	and h.merchant_id = m.merchant_id and h.txid = m.txid and h.lane in ('dispatch', 'check');
	perform payout.send_again(b, 'operator: ' || p_reason, true);
	select * into strict p from payout.payout u where u.merchant_id = p.merchant_id and u.txid = p.txid;
	return p;
end
$$;
comment on function payout.send_held(payout.payout, text) is 'an unknown batch that was set aside is sent again, unchanged, with all its members; PY004 when any of them is known to the bank';
