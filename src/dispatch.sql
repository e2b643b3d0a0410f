-- dispatch.sql: steps 13 to 16, lane dispatch: batches to the bank (SNAP services 17, 18, 20) and what became of them.
--
-- Invariants kept here:
--   * A payout's order reaches the bank under one reference, its TXID, for ever; a resend repeats the same frozen batch.
--   * Only a final refusal of a single item that was never before in doubt gives the money back here (else see sending.sql). Whatever is in
--     doubt stays reserved (suspect) until an inquiry, a notice or a person says what happened.
--   * What is sent is what was registered and checked: the route, the bank's code and the account that is debited are the
--     payout's own. A bulk holds payouts of one such account.
--   * A process that dies between claim and record leaves the attempt without an outcome: unknown, never "not sent".

create type payout.dispatch_work as (
	channel_id text, batch_id uuid, service integer, source_account_no text, transaction_date timestamptz, request_digest bytea,
	merchant_id text, txid text, wire_code text, account_no text, beneficiary_name text, amount numeric, description text,
	salt bytea, leave_before timestamptz
);
comment on type payout.dispatch_work is 'what lane dispatch sends for one member of a batch; leave_before: see payout.leave_before';

-- New batches from the payouts that passed the gate, claimed at once. Overbooking goes one by one (17), online in bulk
-- (20) or one by one (18) as the channel says.
create function payout.form_batches(p_channel_id text, p_limit integer) returns payout.dispatch_work[]
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
	c payout.channel;
	bulk boolean;
	size_max integer;
	linger interval;
	started timestamptz := payout.clock();
	dated timestamptz := date_trunc('second', clock_timestamp());
	formed payout.dispatch_work[];
	steps payout.step[];
	tail boolean;
begin
	if not exists (select from payout.payout q
				   where q.channel_id = p_channel_id and q.dispatch_due_at <= (select payout.clock()) and q.state = 'approved') then
		return '{}';
	end if;
	if not payout.share_books(p_channel_id) then
		return '{}';	-- another bank comes to stand behind the channel
	end if;
	select * into strict c from payout.channel where channel_id = p_channel_id;
	bulk := payout.option_text('channel', c.options, 'mode') = 'bulk';
	size_max := case when bulk then payout.option_text('channel', c.options, 'batch_size_max')::integer else 1 end;
	linger := payout.option_interval(c.options, 'linger_ms');
	tail := payout.asks_first('-infinity');
	if c.epoch > 1 then
		perform payout.check_anew(c, least(p_limit * size_max, greatest(size_max, 1000)));
	end if;
	if tail then
		perform payout.ask_first(p_channel_id, least(p_limit * size_max, greatest(size_max, 1000)));
	end if;
	-- Members in their order of arrival, numbered into batches; an unfilled bulk lingers for others, by one reading of the
	-- clock: it goes whole or not at all.
	with due as (
		select q.merchant_id, q.txid, q.method, q.amount, q.dispatch_due_at, q.wire_code, q.source_account_no, q.account_no, q.beneficiary_name, q.description
		from payout.payout q
		where q.channel_id = p_channel_id and q.dispatch_due_at <= (select payout.clock()) and q.state = 'approved'
		and not exists (select from payout.hold h where (h.merchant_id, h.txid, h.lane) = (q.merchant_id, q.txid, 'dispatch'))
		and case when tail then not payout.asks_first(q.registered_at) else true end
		and case when c.epoch > 1 then q.check_epoch = c.epoch else true end
		-- one transaction moves no more than this, however much is due and free
		order by q.dispatch_due_at limit least(p_limit * size_max, greatest(size_max, 1000))
		for no key update skip locked),
	placed as (
		select d.*, case when d.method = 'online' then size_max else 1 end as room,
			row_number() over (partition by d.method, d.source_account_no order by d.dispatch_due_at, d.txid) - 1 as place
		from due d),
	-- the first of each batch brings its id and its salt
	numbered as (
		select d.*, d.place / d.room as batch_no, case when d.place % d.room = 0 then payout.new_id() end as id,
			case when d.place % d.room = 0 then payout.new_salt() end as batch_salt
		from placed d),
	grouped as (
		select n.*, first_value(n.id) over batch as batch_id, first_value(n.batch_salt) over batch as salt, count(*) over batch as items,
			sum(n.amount) over batch as total, first_value(n.dispatch_due_at) over batch as since,
			case when n.method = 'overbooking' then 17 when bulk then 20 else 18 end as service
		from numbered n
		window batch as (partition by n.method, n.source_account_no, n.batch_no order by n.place rows between unbounded preceding and unbounded following)),
	member as materialized (
		select g.*, dense_rank() over (order by g.since, g.batch_id) as batch_rank
		from grouped g
		where g.method = 'overbooking' or g.items = size_max or g.since + linger <= started),
	made as (
		insert into payout.batch (channel_id, batch_id, service, epoch, state, source_account_no, transaction_date, item_count, total, sent_at, tries, salt)
		select p_channel_id, m.batch_id, m.service, c.epoch, 'sending', m.source_account_no, dated, m.items, m.total, started, 1, m.salt
		from member m where m.batch_rank <= p_limit and m.id is not null)
	select array_agg(row(p_channel_id, m.batch_id, m.service, m.source_account_no, dated, null, m.merchant_id, m.txid,
			m.wire_code, m.account_no, m.beneficiary_name, m.amount, m.description, m.salt, null)::payout.dispatch_work
			order by m.batch_id, m.txid),
		array_agg(row(m.merchant_id, m.txid, 'approved', 'dispatching', m.batch_id, null, null, null, null, false)::payout.step)
	into formed, steps
	from member m
	where m.batch_rank <= p_limit;
	if payout.move_set(steps) <> cardinality(steps) then
		raise exception 'payouts that were locked are in no batch';
	end if;
	return coalesce(formed, '{}');
end
$$;
comment on function payout.form_batches(text, integer) is 'worker: puts due payouts of a channel into new batches, which are then sent; their members';

create function payout.may_lack_sending(b payout.batch) returns boolean
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
	lost_until timestamptz := payout.lost_until();
begin
	-- By when it was made, not by when it was sent: a later sending is just what may be lost.
	return coalesce(lost_until >= b.created_at, false) and coalesce(b.asked_since <= lost_until, true);
end
$$;
comment on function payout.may_lack_sending(payout.batch) is 'whether a lost tail may have taken the record of the last sending of an open batch, and it was not asked for since';

-- An open batch is asked for instead of sent where another bank than the one that was to pay it stands behind the channel (then it
-- waits for a person, payout.hold_elsewhere), where a lost tail may have taken the record of its sending, where the bank has told
-- of it, where any member has moved on (a notice of an earlier sending came, or a person decided: the bank knows the batch), and
-- where the decision to send again what was in doubt is old: what the bank said before is not what it says now. The members are
-- locked, so that nobody can be told of any more until this is committed.
create function payout.reason_to_ask(b payout.batch) returns text
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
	return case
		when b.epoch <> (select c.epoch from payout.channel c where c.channel_id = b.channel_id) then 'another bank stands behind its channel than the one that was to pay it'
		when payout.may_lack_sending(b) then 'the record of its last sending may be lost: the bank is asked before it is sent'
		when payout.told_at(b) > coalesce(b.asked_since, '-infinity') then 'the bank has told of it: it is asked before it is sent'
		when b.was_unknown and coalesce(b.decided_at < payout.clock() - interval '60 s', true) then 'it was to be sent again and was not in time: the bank is asked anew'
		when exists (select from payout.payout p where p.channel_id = b.channel_id and p.batch_id = b.batch_id and p.state <> 'dispatching')
			then 'the bank knows another payout of its batch' end;
end
$$;
comment on function payout.reason_to_ask(payout.batch) is 'worker: why an open batch, whose members are locked, is asked for instead of sent; null: it may be sent';

-- The worker waits for nobody: a batch with a member that another session holds is left for the next turn, whatever is to be done
-- with it.
create function payout.lock_members(b payout.batch) returns boolean
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
	locked integer;
begin
	select count(*) into locked from (
		select from payout.payout p
		where p.channel_id = b.channel_id and p.batch_id = b.batch_id and p.state = 'dispatching'
		for no key update skip locked) m;
	return locked = (select count(*) from payout.payout p where p.channel_id = b.channel_id and p.batch_id = b.batch_id and p.state = 'dispatching');
end
$$;
comment on function payout.lock_members(payout.batch) is 'worker: locks the members of a batch that are being dispatched; false where another session has one of them';

create function payout.is_unsent(b payout.batch) returns boolean
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
	return not b.was_unknown and b.told_at is null and not exists (
		select from payout.attempt a where a.channel_id = b.channel_id and a.batch_id = b.batch_id and a.outcome is distinct from 'not_sent');
end
$$;
comment on function payout.is_unsent(payout.batch) is 'whether the bank has provably not received this batch under its own id';

create function payout.is_batch_held(p_channel_id text, p_batch_id uuid) returns boolean
language plpgsql stable
set search_path = pg_catalog, pg_temp
as $$
begin
	return exists (select from payout.payout p join payout.hold h on (h.merchant_id, h.txid, h.lane) = (p.merchant_id, p.txid, 'dispatch')
				   where p.channel_id = p_channel_id and p.batch_id = p_batch_id);
end
$$;
comment on function payout.is_batch_held(text, uuid) is 'worker: whether any member of the batch is set aside in lane dispatch';

-- Batches that were sent before and are due again. All members of a batch are locked and still to be sent. One that somebody
-- else has a member of takes no place.
create function payout.claim_again(p_channel_id text, p_limit integer) returns setof payout.dispatch_work
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
	b payout.batch;
	taken uuid[] := '{}';
	bounds timestamptz[] := '{}';
	why text;
begin
	if not payout.share_books(p_channel_id) then
		return;		-- another bank comes to stand behind the channel
	end if;
	for b in
		select * from payout.batch q
		where q.channel_id = p_channel_id and q.state = 'open' and q.due_at <= (select payout.clock())
		order by q.due_at limit greatest(p_limit, 1000)
		for no key update skip locked
	loop
		exit when cardinality(taken) >= p_limit;
		continue when not payout.lock_members(b);
		why := payout.reason_to_ask(b);
		if why is not null then
			if payout.may_lack_sending(b) then
				update payout.batch q set sent_at = payout.clock() where q.channel_id = b.channel_id and q.batch_id = b.batch_id;
			end if;
			perform payout.doubt_batch(b.channel_id, b.batch_id, b.response_code, why, payout.clock());
		elsif payout.is_batch_held(b.channel_id, b.batch_id) and b.item_count > 1 and payout.is_unsent(b) then
			perform payout.split_batch(b, true);
		elsif payout.is_batch_held(b.channel_id, b.batch_id) then
			-- It waits for a person without a moment, as in hold_batch.
			update payout.batch q set due_at = null where q.channel_id = b.channel_id and q.batch_id = b.batch_id;
		elsif payout.is_too_late(b) then
			perform payout.doubt_batch(b.channel_id, b.batch_id, b.response_code, 'it was to be sent again and was not in time: the bank is asked anew', payout.clock());
		else
			taken := taken || b.batch_id;
			bounds := bounds || payout.leave_before(b);
		end if;
	end loop;
	update payout.batch q set state = 'sending', due_at = null, sent_at = payout.clock(), tries = q.tries + 1
	where q.channel_id = p_channel_id and q.batch_id = any (taken);
	return query
	select t.channel_id, t.batch_id, t.service::integer, t.source_account_no, t.transaction_date,
		(select a.request_digest from payout.attempt a where a.channel_id = t.channel_id and a.batch_id = t.batch_id order by a.started_at limit 1),
		p.merchant_id, p.txid, p.wire_code, p.account_no, p.beneficiary_name, p.amount, p.description, t.salt, w.leave_before
	from unnest(taken, bounds) w (batch_id, leave_before),
	lateral (select q.* from payout.batch q where q.channel_id = p_channel_id and q.batch_id = w.batch_id limit 1) t,
	-- with OFFSET they are looked up for each batch, whatever the statistics say
	lateral (select q.* from payout.payout q where q.channel_id = t.channel_id and q.batch_id = t.batch_id offset 0) p
	order by t.batch_id, p.txid;
end
$$;
comment on function payout.claim_again(text, integer) is 'worker: takes batches that are due to be sent again, or were split off one; their members';

-- Takes up to p_limit batches: those that are due again first, then new ones.
create function payout.claim_dispatch(p_channel_id text, p_limit integer) returns setof payout.dispatch_work
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
	again payout.dispatch_work[] := '{}';
	taken integer := 0;
begin
	if exists (select from payout.batch q where q.channel_id = p_channel_id and q.state = 'open' and q.due_at <= (select payout.clock())) then
		again := array(select w from payout.claim_again(p_channel_id, p_limit) w);
		taken := (select count(distinct w.batch_id) from unnest(again) w);
		return query select * from unnest(again);
	end if;
	if taken < p_limit then
		return query select * from unnest(payout.form_batches(p_channel_id, p_limit - taken));
	end if;
end
$$;
comment on function payout.claim_dispatch(text, integer) is 'worker: takes due batches of a channel, one row for each member';

-- What was accepted goes in one set, whatever was not one by one.
create function payout.record_transfers(p_incarnation_id uuid, p_channel_ids text[], p_attempt_ids uuid[], p_outcomes text[],
										p_classes text[], p_http_statuses integer[], p_response_codes text[], p_latencies integer[],
										p_excerpts text[], p_bank_reference_nos text[], p_waits boolean[]) returns integer
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
	ended payout.ended[];
	e payout.ended;
	n integer;
	places tid[];
	codes text[];
	answers text[];
	waits boolean[];
	steps payout.step[];
	denied payout.payout[];
	started timestamptz := payout.clock();
begin
	-- A success with the number of another payout may be the answer to that one's order.
	foreach n in array case when payout.numbers_are_new(p_bank_reference_nos) then '{}'
		else payout.numbers_of_others(p_channel_ids, p_attempt_ids, p_bank_reference_nos) end loop
		p_outcomes[n] := 'unknown';
		p_classes[n] := 'unknown';
		p_excerpts[n] := concat_ws(' ', 'the bank''s number in the answer is of another payout; the bank says:', p_excerpts[n]);
	end loop;
	ended := payout.finish_attempts(p_incarnation_id, p_channel_ids, p_attempt_ids, p_outcomes, p_classes, p_http_statuses,
		p_response_codes, p_latencies, p_excerpts, p_bank_reference_nos, p_waits::text[]);
	-- Locked first, and then found by their places: so no plan can read more than them, whatever the statistics say.
	-- All of them, in the order of their ids, as by the notice of a bulk that they were split off.
	select array_agg(l.place) filter (where t.outcome = 'yes'), array_agg(t.response_code) filter (where t.outcome = 'yes'),
		array_agg(t.answer) filter (where t.outcome = 'yes'), array_agg(t.more::boolean) filter (where t.outcome = 'yes')
	into places, codes, answers, waits
	from unnest(ended) t,
	lateral (select q.ctid as place from payout.batch q
			 where q.channel_id = t.channel_id and q.batch_id = t.batch_id for no key update) l;
	with accepted as (
		update payout.batch b
		set state = 'accepted', response_code = l.response_code,
			bank_batch_no = case when b.service = 20 and payout.is_text(l.answer, 1, 64, 'visible') then l.answer end,
			closed_at = clock_timestamp()
		from unnest(places, codes, answers, waits) l (place, response_code, answer, wait)
		where b.ctid = l.place
		returning b.channel_id, b.batch_id, b.service, l.response_code, l.answer, l.wait)
	select array_agg(row(p.merchant_id, p.txid, 'dispatching', case when a.wait or a.service = 20 then 'processing' else 'paid' end, null,
		case when a.service <> 20 and payout.is_text(a.answer, 1, 64, 'visible') then a.answer end, a.response_code, null, started + payout.option_interval(c.options, 'status_delay_s'), false)::payout.step)
			filter (where p.state = 'dispatching'),
		array_agg(p.failed order by p.txid) filter (where p.state = 'failed')
	into steps, denied
	from accepted a
	join payout.channel c on c.channel_id = a.channel_id,
	lateral (select q.merchant_id, q.txid, q.state, case when q.state = 'failed' then q end as failed from payout.payout q
			 where q.channel_id = a.channel_id and q.batch_id = a.batch_id and q.state in ('dispatching', 'failed') offset 0) p;
	perform payout.move_set(steps);
	-- A notice said that it failed, and overtook this answer.
	perform payout.doubt_end(p, 'the bank accepted it') from unnest(denied) p;
	foreach e in array coalesce(ended, '{}') loop
		if e.outcome <> 'yes' then
			perform payout.apply_transfer(e.channel_id, e.batch_id, e.outcome, e.class, e.response_code, e.excerpt);
		end if;
	end loop;
	return coalesce(cardinality(ended), 0);
end
$$;
comment on function payout.record_transfers(uuid, text[], uuid[], text[], text[], integer[], text[], integer[], text[], text[], boolean[]) is
'worker: writes what became of batches, and moves their members accordingly; the count of those that are this life''s';

-- What the bank has told of already it has, and so has a batch of which it knows a member: a refusal contradicts that, and
-- proves nothing. What is settled of it is looked into.
create function payout.apply_transfer(p_channel_id text, p_batch_id uuid, p_outcome text, p_class text, p_response_code text, p_excerpt text)
returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
	b payout.batch;
	started timestamptz := payout.clock();
	retry_at timestamptz;
	is_known boolean;
begin
	select * into strict b from payout.batch where channel_id = p_channel_id and batch_id = p_batch_id for no key update;
	update payout.batch set response_code = p_response_code where channel_id = p_channel_id and batch_id = b.batch_id;
	if b.parent_batch_id is not null then
		-- A notice of the bulk that it was split off locks its members, but not this batch.
		perform from payout.payout p where p.channel_id = b.channel_id and p.batch_id = b.batch_id order by p.txid for no key update;
	end if;
	is_known := payout.told_at(b) is not null or exists (
		select from payout.payout p where p.channel_id = b.channel_id and p.batch_id = b.batch_id and p.state <> 'dispatching');
	if p_outcome = 'refused_for_now' or p_outcome = 'not_sent' then
		retry_at := case when p_class = 'auth' and b.tries = 1 then started else started + payout.backoff('dispatch', b.tries) end;
	end if;
	if p_outcome = 'refused_for_now' then
		perform payout.refuse_for_now(p_channel_id, p_class, p_response_code, p_excerpt, retry_at);
	end if;
	if p_class is null then
		-- It was claimed and did not leave (gate.c): as if it had not been claimed. It has been due since it was claimed first.
		update payout.batch set state = 'open', due_at = case when b.tries = 1 then b.created_at else b.sent_at end, tries = b.tries - 1
		where channel_id = p_channel_id and batch_id = b.batch_id;
	end if;
	if p_outcome = 'unknown' or b.was_unknown or is_known then
		-- What the bank said before this sending was old by then: whatever became of it, the bank is asked anew.
		perform payout.doubt_batch(p_channel_id, b.batch_id, p_response_code, coalesce(p_excerpt, 'no trustworthy answer'),
			started + payout.channel_interval(p_channel_id, 'status_delay_s'));
		if p_outcome in ('no', 'refused_for_now') and not b.was_unknown then
			perform payout.doubt_end(p, concat_ws(' ', 'the bank refused it:', p_response_code, left(p_excerpt, 200)))
			from payout.payout p where p.channel_id = b.channel_id and p.batch_id = b.batch_id and p.state = 'paid' order by p.txid;
		end if;
	elsif p_class is not null and p_outcome in ('refused_for_now', 'not_sent') then
		perform payout.retry_batch(b, retry_at, p_excerpt);
	elsif p_outcome = 'no' and b.item_count > 1 then
		perform payout.split_batch(b, false);
	elsif p_outcome = 'no' then
		update payout.batch set state = 'refused', closed_at = clock_timestamp()
		where channel_id = p_channel_id and batch_id = b.batch_id;
		update payout.payout p
		set state = 'failed', response_code = p_response_code, reason = concat_ws(' ', 'the bank refused:', p_response_code, left(p_excerpt, 200))
		where p.channel_id = p_channel_id and p.batch_id = b.batch_id and p.state = 'dispatching';
	end if;
end
$$;
comment on function payout.apply_transfer(text, uuid, text, text, text, text) is 'worker: what follows from an outcome other than yes for a batch and its members';

create function payout.retry_batch(b payout.batch, p_due_at timestamptz, p_reason text) returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
	tries_max integer := (select r.tries_max from payout.retry_policy r where r.lane = 'dispatch' order by r.source = 'operator' desc limit 1);
begin
	if b.tries >= tries_max then
		perform payout.hold_batch(b.channel_id, b.batch_id::text, concat_ws(' ', 'sending was tried', b.tries, 'times:', p_reason));
	else
		update payout.batch set state = 'open', due_at = p_due_at where channel_id = b.channel_id and batch_id = b.batch_id;
	end if;
end
$$;
comment on function payout.retry_batch(payout.batch, timestamptz, text) is 'worker: a batch that did not leave or was refused for now is sent again later, unless it was tried too often';

create function payout.hold_batch(p_channel_id text, p_batch_id text, p_reason text) returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
	update payout.batch set state = 'open', due_at = null where channel_id = p_channel_id and batch_id = p_batch_id::uuid;
	perform payout.hold_payout(p.merchant_id, p.txid, 'dispatch', p_reason)
	from payout.payout p where p.channel_id = p_channel_id and p.batch_id = p_batch_id::uuid and p.state = 'dispatching';
end
$$;
comment on function payout.hold_batch(text, text, text) is 'worker: sets a batch aside for a person, unsent';

-- A batch refused whole: the bank processed none of it. Halves are sent until the culprit stands alone.
create function payout.split_batch(b payout.batch, p_of_held boolean) returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
	half record;
begin
	update payout.batch set state = 'split', closed_at = clock_timestamp()
	where channel_id = b.channel_id and batch_id = b.batch_id;
	for half in
		select array_agg(m.merchant_id) as merchant_ids, array_agg(m.txid) as txids, sum(m.amount) as total, count(*)::integer as items
		from (select p.merchant_id, p.txid, p.amount,
				case when not p_of_held then ntile(2) over (order by p.txid)
					when exists (select from payout.hold h where (h.merchant_id, h.txid, h.lane) = (p.merchant_id, p.txid, 'dispatch')) then row_number() over (order by p.txid)
					else 0 end as part
			  from payout.payout p where p.channel_id = b.channel_id and p.batch_id = b.batch_id and p.state = 'dispatching') m
		group by m.part
	loop
		with made as (
			insert into payout.batch (channel_id, batch_id, service, epoch, parent_batch_id, source_account_no, transaction_date, item_count, total, due_at)
			values (b.channel_id, payout.new_id(), b.service, b.epoch, b.batch_id, b.source_account_no, date_trunc('second', clock_timestamp()),
					half.items, half.total, payout.clock())
			returning batch_id)
		update payout.payout p set batch_id = made.batch_id
		from made, unnest(half.merchant_ids, half.txids) as member (merchant_id, txid)
		where p.merchant_id = member.merchant_id and p.txid = member.txid;
	end loop;
end
$$;
comment on function payout.split_batch(payout.batch, boolean) is 'worker: sends a batch that was refused whole again in two halves; or one that was not sent without those that a person holds, each of which gets a batch of its own';
