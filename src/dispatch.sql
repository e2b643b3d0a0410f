-- dispatch.sql: steps 13 to 16, lane dispatch: batches to the bank (SNAP services 17, 18, 20) and what became of them.
--
-- Invariants kept here:
--   * A payout's order reaches the bank under one reference, its TXID, for ever; a resend repeats the same frozen batch.
--   * Only a final refusal of a single item that was never before in doubt gives the money back here. Whatever is in
--     doubt stays reserved (suspect) until an inquiry, a notice or a person says what happened.
--   * A process that dies between claim and record leaves the attempt without an outcome: unknown, never "not sent".

create type payout.dispatch_work as (
	channel_id text, batch_id uuid, service integer, source_account_no text, transaction_date timestamptz, request_digest bytea,
	merchant_id text, txid text, wire_code text, account_no text, beneficiary_name text, amount numeric, description text
);
comment on type payout.dispatch_work is 'what lane dispatch sends for one member of a batch';

-- New batches from the payouts that passed the gate. Overbooking goes one by one (17), online in bulk (20) or one by
-- one (18) as the channel says.
create function payout.form_batches(p_channel_id text, p_limit integer) returns integer
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
	c payout.channel;
	bulk boolean;
	size_max integer;
	linger interval;
	formed integer := 0;
	way record;
begin
	select * into strict c from payout.channel where channel_id = p_channel_id;
	bulk := payout.option_text('channel', c.options, 'mode') = 'bulk';
	size_max := case when bulk then payout.option_text('channel', c.options, 'batch_size_max')::integer else 1 end;
	linger := payout.channel_interval(p_channel_id, 'linger_ms');
	-- Members in their order of arrival, numbered into batches; an unfilled bulk lingers for others.
	for way in
		with due as (
			select q.merchant_id, q.txid, q.method, q.amount, q.dispatch_due_at
			from payout.payout q
			where q.channel_id = p_channel_id and q.dispatch_due_at <= (select payout.clock()) and q.state = 'approved'
			and not exists (select from payout.hold h where (h.merchant_id, h.txid, h.lane) = (q.merchant_id, q.txid, 'dispatch'))
			-- one transaction moves no more than this, however much is due and free
			order by q.dispatch_due_at limit least(p_limit * size_max, greatest(size_max, 1000))
			for no key update skip locked),
		numbered as (
			select d.*, (row_number() over (partition by d.method order by d.dispatch_due_at, d.txid) - 1)
				/ case when d.method = 'online' then size_max else 1 end as batch_no
			from due d)
		select n.method, array_agg(n.merchant_id order by n.txid) as merchant_ids, array_agg(n.txid order by n.txid) as txids,
			sum(n.amount) as total, count(*)::integer as items, payout.new_id() as batch_id
		from numbered n
		group by n.method, n.batch_no
		having n.method = 'overbooking' or count(*) = size_max or min(n.dispatch_due_at) + linger <= payout.clock()
		order by min(n.dispatch_due_at)
		limit p_limit
	loop
		insert into payout.batch (channel_id, batch_id, service, source_account_no, transaction_date, item_count, total, due_at)
		values (p_channel_id, way.batch_id, case when way.method = 'overbooking' then 17 when bulk then 20 else 18 end,
				coalesce(c.options ->> 'source_account_no', ''), date_trunc('second', clock_timestamp()), way.items, way.total, payout.clock());
		update payout.payout p
		set state = 'dispatching', batch_id = way.batch_id, dispatch_due_at = null, reason = null
		from unnest(way.merchant_ids, way.txids) as member (merchant_id, txid)
		where p.merchant_id = member.merchant_id and p.txid = member.txid;
		formed := formed + 1;
	end loop;
	return formed;
end
$$;
comment on function payout.form_batches(text, integer) is 'worker: puts due payouts of a channel into new batches';

-- An open batch of which any member has moved on (a notice of an earlier sending came, or a person decided) is known to
-- the bank: it is not sent again, its other members are asked for.
create function payout.ask_instead(p_channel_id text) returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
	b payout.batch;
begin
	for b in
		select * from payout.batch q
		where q.channel_id = p_channel_id and q.state = 'open' and q.due_at <= (select payout.clock()) and q.tries > 0
		and exists (select from payout.payout p where p.channel_id = q.channel_id and p.batch_id = q.batch_id and p.state <> 'dispatching')
		for no key update skip locked
	loop
		update payout.batch set state = 'unknown', was_unknown = true, due_at = null
		where channel_id = b.channel_id and batch_id = b.batch_id;
		update payout.payout p set state = 'suspect', reason = 'the bank knows another payout of its batch', status_due_at = payout.clock()
		where p.channel_id = b.channel_id and p.batch_id = b.batch_id and p.state = 'dispatching';
	end loop;
end
$$;
comment on function payout.ask_instead(text) is 'worker: batches that the bank turned out to know are asked for instead of sent again';

-- Takes up to p_limit batches that are due: retries and resends first, then new ones. All members of a batch are
-- locked and still to be sent; a batch with a member that another session holds is left for the next turn.
create function payout.claim_dispatch(p_channel_id text, p_limit integer) returns setof payout.dispatch_work
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
	b payout.batch;
	taken uuid[] := '{}';
	members integer;
begin
	perform payout.ask_instead(p_channel_id);
	perform payout.form_batches(p_channel_id, p_limit - (
		select count(*) from (select from payout.batch where channel_id = p_channel_id and state = 'open' and due_at <= (select payout.clock()) limit p_limit) w)::integer);
	for b in
		select * from payout.batch q
		where q.channel_id = p_channel_id and q.state = 'open' and q.due_at <= (select payout.clock())
		order by q.due_at limit p_limit
		for no key update skip locked
	loop
		select count(*) into members from (
			select from payout.payout p
			where p.channel_id = b.channel_id and p.batch_id = b.batch_id and p.state = 'dispatching'
			for no key update skip locked) m;
		if members = b.item_count then
			taken := taken || b.batch_id;
		end if;
	end loop;
	update payout.batch q set state = 'sending', due_at = null, sent_at = payout.clock(), tries = q.tries + 1
	where q.channel_id = p_channel_id and q.batch_id = any (taken);
	return query
	select t.channel_id, t.batch_id, t.service::integer, t.source_account_no, t.transaction_date, t.request_digest,
		p.merchant_id, p.txid, coalesce(k.options ->> 'wire_code', k.bank_code), p.account_no, p.beneficiary_name, p.amount, p.description
	from payout.batch t
	join payout.payout p on p.channel_id = t.channel_id and p.batch_id = t.batch_id
	join payout.bank k on k.bank_code = p.bank_code
	where t.channel_id = p_channel_id and t.batch_id = any (taken)
	order by t.batch_id, p.txid;
end
$$;
comment on function payout.claim_dispatch(text, integer) is 'worker: takes due batches of a channel, one row for each member';

create function payout.record_transfer(p_channel_id text, p_attempt_id uuid, p_incarnation_id uuid, p_outcome text, p_class text,
									   p_http_status integer, p_response_code text, p_latency_ms integer, p_excerpt text,
									   p_bank_reference_no text, p_wait boolean) returns boolean
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
	a payout.attempt;
	b payout.batch;
	started timestamptz := payout.clock();
	retry_at timestamptz;
	outcome text := p_outcome;
begin
	a := payout.finish_attempt(p_channel_id, p_attempt_id, p_incarnation_id, p_outcome, p_class, p_http_status, p_response_code, p_latency_ms, p_excerpt);
	if a.attempt_id is null then
		return false;
	end if;
	select * into strict b from payout.batch where channel_id = p_channel_id and batch_id = a.batch_id for no key update;
	update payout.batch set response_code = p_response_code where channel_id = p_channel_id and batch_id = b.batch_id;
	if outcome = 'no' and b.was_unknown then
		outcome := 'unknown';
	end if;
	if outcome in ('refused_for_now', 'not_sent') then
		retry_at := case when p_class = 'auth' and b.tries = 1 then started else started + payout.backoff('dispatch', b.tries) end;
		if outcome = 'refused_for_now' then
			perform payout.refuse_for_now(p_channel_id, p_class, p_response_code, p_excerpt, retry_at);
		end if;
		perform payout.retry_batch(b, retry_at, p_excerpt);
	elsif outcome = 'yes' then
		update payout.batch set state = 'accepted', bank_batch_no = case when service = 20 then p_bank_reference_no end, closed_at = clock_timestamp()
		where channel_id = p_channel_id and batch_id = b.batch_id;
		update payout.payout p
		set state = case when p_wait or b.service = 20 then 'processing' else 'paid' end,
			bank_reference_no = case when b.service = 20 then p.bank_reference_no else coalesce(p_bank_reference_no, p.bank_reference_no) end,
			response_code = p_response_code, status_tries = 0, not_found = 0,
			status_due_at = started + payout.channel_interval(p_channel_id, 'status_delay_s')
		where p.channel_id = p_channel_id and p.batch_id = b.batch_id and p.state = 'dispatching';
	elsif outcome = 'no' and b.item_count > 1 then
		perform payout.split_batch(b);
	elsif outcome = 'no' then
		update payout.batch set state = 'refused', closed_at = clock_timestamp()
		where channel_id = p_channel_id and batch_id = b.batch_id;
		update payout.payout p
		set state = 'failed', response_code = p_response_code, reason = concat_ws(' ', 'the bank refused:', p_response_code, left(p_excerpt, 200))
		where p.channel_id = p_channel_id and p.batch_id = b.batch_id and p.state = 'dispatching';
	else
		update payout.batch set state = 'unknown', was_unknown = true
		where channel_id = p_channel_id and batch_id = b.batch_id;
		update payout.payout p
		set state = 'suspect', response_code = p_response_code, reason = left(coalesce(p_excerpt, 'no trustworthy answer'), 200),
			status_tries = 0, not_found = 0,
			status_due_at = started + payout.channel_interval(p_channel_id, 'status_delay_s')
		where p.channel_id = p_channel_id and p.batch_id = b.batch_id and p.state = 'dispatching';
	end if;
	return true;
end
$$;
comment on function payout.record_transfer(text, uuid, uuid, text, text, integer, text, integer, text, text, boolean) is
'worker: writes what became of a batch, and moves its members accordingly';

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
create function payout.split_batch(b payout.batch) returns void
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
		from (select p.merchant_id, p.txid, p.amount, ntile(2) over (order by p.txid) as part
			  from payout.payout p where p.channel_id = b.channel_id and p.batch_id = b.batch_id and p.state = 'dispatching') m
		group by m.part
	loop
		with made as (
			insert into payout.batch (channel_id, batch_id, service, parent_batch_id, source_account_no, transaction_date, item_count, total, due_at)
			values (b.channel_id, payout.new_id(), b.service, b.batch_id, b.source_account_no, date_trunc('second', clock_timestamp()),
					half.items, half.total, payout.clock())
			returning batch_id)
		update payout.payout p set batch_id = made.batch_id
		from made, unnest(half.merchant_ids, half.txids) as member (merchant_id, txid)
		where p.merchant_id = member.merchant_id and p.txid = member.txid;
	end loop;
end
$$;
comment on function payout.split_batch(payout.batch) is 'worker: sends a batch that was refused whole again in two halves';

-- The members of an unknown batch are asked for one by one. Only when every one of them was "not found" often enough
-- and long enough after the last sending is the same frozen batch sent again: where the bank knows any member, it has
-- the batch.
create function payout.resend_if_lost(p_channel_id text, p_batch_id uuid) returns boolean
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
	b payout.batch;
	c payout.channel;
	count_min integer;
begin
	select * into strict b from payout.batch where channel_id = p_channel_id and batch_id = p_batch_id for no key update;
	select * into strict c from payout.channel where channel_id = p_channel_id;
	count_min := payout.option_text('channel', c.options, 'not_found_count');
	if b.state <> 'unknown' or payout.clock() < b.sent_at + payout.channel_interval(p_channel_id, 'not_found_grace_s') then
		return false;
	end if;
	-- All members, locked, so that no notice can settle one while we look.
	perform from payout.payout p where p.channel_id = p_channel_id and p.batch_id = p_batch_id order by p.txid for no key update;
	if exists (select from payout.payout p where p.channel_id = p_channel_id and p.batch_id = p_batch_id
			   and (p.state <> 'suspect' or p.not_found < count_min
					or exists (select from payout.hold h where (h.merchant_id, h.txid) = (p.merchant_id, p.txid)))) then
		return false;
	end if;
	update payout.batch set state = 'open', due_at = payout.clock() where channel_id = p_channel_id and batch_id = p_batch_id;
	update payout.payout p set state = 'dispatching', status_due_at = null, reason = 'not found at the bank, sent again'
	where p.channel_id = p_channel_id and p.batch_id = p_batch_id;
	return true;
end
$$;
comment on function payout.resend_if_lost(text, uuid) is 'worker: sends an unknown batch again, unchanged, when the bank has never heard of any member';
