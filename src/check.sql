-- check.sql: steps 18 to 22, lane check: asks the bank what became of a transfer (SNAP service 36).
--
-- A positive answer is proof and is believed at once. A negative one is believed only when it holds for every sending that
-- may have been booked (sending.sql). Each of them is asked for by its own external id, in turn.
--
-- An end that the bank contradicts without disproving it is in doubt (payout.doubted_at): a denial of what is paid that does not
-- hold for every sending, a word that what failed is under way, an answer to an order against the notice of it. The doubt stays,
-- and the bank is asked, until it has said a word that answers it (is_answered), or a person decides.

create type payout.check_work as (
	channel_id text, merchant_id text, txid text, service integer, external_id text, transaction_date timestamptz,
	bank_reference_no text, amount numeric, account_no text, wire_code text, salt bytea, asked_attempt_id uuid,
	source_account_no text, known_external_ids text
);
comment on type payout.check_work is 'what lane check sends for one payout; service, external id and date are those of the transfer asked for, asked_attempt_id its attempt; null: by the TXID alone; known_external_ids: see payout.external_ids, null where there is but one sending';

create function payout.claim_check(p_channel_id text, p_limit integer) returns setof payout.check_work
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
	tail boolean;
	now_epoch integer;
begin
	if not exists (select from payout.payout q where q.channel_id = p_channel_id and q.status_due_at <= (select payout.clock())) then
		return;
	end if;
	select payout.asks_first('-infinity'), c.epoch into tail, now_epoch from payout.channel c where c.channel_id = p_channel_id;
	if now_epoch > 1 then
		perform payout.hold_elsewhere(p_channel_id, now_epoch, p_limit);
	end if;
	return query
	with due as materialized (
		select q.ctid as place, q.batch_id, q.txid, q.registered_at
		from payout.payout q
		where q.channel_id = p_channel_id and q.status_due_at <= (select payout.clock())
		and not exists (select from payout.hold h where (h.merchant_id, h.txid, h.lane) = (q.merchant_id, q.txid, 'check'))
		order by q.status_due_at limit p_limit
		for no key update skip locked)
	update payout.payout p set status_due_at = null
	from due d,
	lateral (select q.* from payout.batch q where q.channel_id = p_channel_id and q.batch_id = d.batch_id limit 1) b
	left join lateral (
		(select a.attempt_id, a.external_id, b.transaction_date from payout.attempt a
		 where not tail and b.tries <= 1 and b.parent_batch_id is null and a.channel_id = b.channel_id and a.batch_id = b.batch_id
		 order by a.outcome is null or a.outcome in ('unknown', 'yes') desc, a.outcome = 'not_sent', a.started_at desc limit 1)
		union all
		select s.attempt_id, s.external_id, s.transaction_date
		from payout.sending_to_ask(b.channel_id, b.batch_id, d.txid, tail and payout.asks_first(d.registered_at)) s
		where tail or b.tries > 1 or b.parent_batch_id is not null) a on true
	where p.ctid = d.place and b.epoch = now_epoch
	returning p.channel_id, p.merchant_id, p.txid, b.service::integer, a.external_id,
		coalesce(a.transaction_date, b.transaction_date), p.bank_reference_no, p.amount, p.account_no, p.wire_code, p.content_salt, a.attempt_id, b.source_account_no,
		case when tail or b.tries > 1 or b.parent_batch_id is not null then payout.external_ids(b.channel_id, b.batch_id) end;
end
$$;
comment on function payout.claim_check(text, integer) is 'worker: takes due status checks of a channel';

-- p_statuses: what the bank says of the transfers: paid, pending, refunded, canceled, failed, not_found, or unknown. Its own
-- number is kept only from an answer that names something of ours. What is recorded as the answer is word on the sending that
-- was asked for: a denial that may be of another one counts as unknown there, though it makes us ask for all of them.
create function payout.record_statuses(p_incarnation_id uuid, p_channel_ids text[], p_attempt_ids uuid[], p_outcomes text[],
									   p_classes text[], p_http_statuses integer[], p_response_codes text[], p_latencies integer[],
									   p_excerpts text[], p_statuses text[], p_bank_reference_nos text[], p_names_ours boolean[],
									   p_names_sendings boolean[]) returns integer
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
	ended payout.ended[];
	answers text[];
	n integer;
begin
	foreach n in array case when payout.numbers_are_new(p_bank_reference_nos) then '{}'
		else payout.numbers_of_others(p_channel_ids, p_attempt_ids, p_bank_reference_nos) end loop
		p_outcomes[n] := 'unknown';
		p_classes[n] := 'unknown';
		p_statuses[n] := 'unknown';
		p_excerpts[n] := concat_ws(' ', 'the bank''s number in the answer is of another payout; the bank says:', p_excerpts[n]);
		p_names_ours[n] := false;
	end loop;
	answers := p_statuses;
	foreach n in array payout.unclear_denials(p_channel_ids, p_attempt_ids, p_statuses, p_names_sendings) loop
		p_outcomes[n] := 'unknown';
		p_classes[n] := 'unknown';
		answers[n] := 'unknown';
		p_excerpts[n] := concat_ws(' ', 'the answer does not name which of several sendings it denies; the bank says:', p_excerpts[n]);
	end loop;
	p_bank_reference_nos := array(select case when u.names_ours then u.number end
		from unnest(p_bank_reference_nos, p_names_ours) with ordinality u (number, names_ours, n) order by u.n);
	ended := payout.finish_attempts(p_incarnation_id, p_channel_ids, p_attempt_ids, p_outcomes, p_classes, p_http_statuses,
		p_response_codes, p_latencies, p_excerpts, answers, p_bank_reference_nos);
	perform payout.refuse_for_now(e.channel_id, e.class, e.response_code, e.excerpt, null)
	from unnest(ended) e where e.outcome = 'refused_for_now' and e.class = 'stop';
	perform payout.believe(array_agg(row(e.merchant_id, e.txid, u.status, e.asked_attempt_id, e.started_at, e.response_code, e.more,
		concat_ws(' ', 'status inquiry:', u.status, e.response_code, nullif(e.excerpt, '')))::payout.bank_word))
	from unnest(ended) e join unnest(p_attempt_ids, p_statuses) u (attempt_id, status) on u.attempt_id = e.attempt_id
	where e.class is not null;
	-- What was claimed and never started (reserve.c).
	update payout.payout p set status_due_at = payout.clock()
	from unnest(ended) e
	where e.class is null and p.merchant_id = e.merchant_id and p.txid = e.txid and (p.state in ('processing', 'suspect', 'paid') or p.doubted_at is not null);
	return coalesce(cardinality(ended), 0);
end
$$;
comment on function payout.record_statuses(uuid, text[], uuid[], text[], text[], integer[], text[], integer[], text[], text[], text[], boolean[], boolean[]) is
'worker: writes the bank''s answers to status inquiries, and moves the payouts accordingly; the count of those that are this life''s';

create type payout.bank_word as (
	merchant_id text, txid text, status text, asked_attempt_id uuid, asked_at timestamptz, response_code text, bank_reference_no text, reason text
);
comment on type payout.bank_word is 'what the bank says of a payout: of the sending that it was asked for at that moment; both null: by a notice, of whatever was sent';

-- Believes the bank. Payouts that it has paid, as it should, are moved in one set; all others one by one, and so are those
-- of which it says more than one thing.
create function payout.believe(p_words payout.bank_word[]) returns void
language plpgsql
set search_path = pg_catalog, pg_temp
set enable_seqscan = off
as $$
declare
	word payout.bank_word;
	told payout.payout;
	steps payout.step[];
	others payout.bank_word[];
begin
	with locked as materialized (
		select p.state, u.merchant_id, u.txid, u.status, u.asked_attempt_id, u.asked_at, u.response_code, u.reason,
			case when payout.is_text(u.bank_reference_no, 1, 64, 'visible') then u.bank_reference_no end as bank_reference_no,
			u.status = 'paid' and u.times = 1 and p.state in ('dispatching', 'processing', 'suspect') as is_paid
		from (select x.*, count(*) over (partition by x.merchant_id, x.txid) as times from unnest(p_words) x order by x.txid) u,
		lateral (select q.state from payout.payout q where q.merchant_id = u.merchant_id and q.txid = u.txid for no key update) p)
	select array_agg(row(l.merchant_id, l.txid, l.state, 'paid', null, l.bank_reference_no, l.response_code, left(l.reason, 300), null, true)::payout.step)
			filter (where l.is_paid),
		array_agg(row(l.merchant_id, l.txid, l.status, l.asked_attempt_id, l.asked_at, l.response_code, l.bank_reference_no, l.reason)::payout.bank_word)
			filter (where not l.is_paid)
	into steps, others
	from locked l;
	perform payout.move_set(steps);
	foreach word in array coalesce(others, '{}') loop
		told := payout.find_payout(word.merchant_id, word.txid, true);
		perform payout.apply_status(told, word.status, word.asked_attempt_id, word.asked_at, word.response_code, word.bank_reference_no, word.reason);
	end loop;
end
$$;
comment on function payout.believe(payout.bank_word[]) is 'moves payouts by what the bank says of them';

-- What the bank said of an end is doubted: recorded, and asked for until it is answered, or a person decides.
create function payout.doubt_end(p payout.payout, p_reason text) returns payout.payout
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
	update payout.payout u set doubted_at = clock_timestamp(), status_tries = 0, not_found = 0, status_due_at = payout.clock()
	where u.merchant_id = p.merchant_id and u.txid = p.txid and u.state = p.state
	returning * into p;
	return payout.add_event(p, left('in doubt: ' || p_reason, 300));
end
$$;
comment on function payout.doubt_end(payout.payout, text) is 'the bank has contradicted the end of a payout, though it has not disproved it: it is asked for';

create function payout.end_doubt(p payout.payout, p_reason text) returns payout.payout
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
	delete from payout.hold h where h.merchant_id = p.merchant_id and h.txid = p.txid and h.lane = 'check';
	update payout.payout u set doubted_at = null, status_due_at = null where u.merchant_id = p.merchant_id and u.txid = p.txid
	returning * into p;
	return payout.add_event(p, left('no longer in doubt: ' || p_reason, 300));
end
$$;
comment on function payout.end_doubt(payout.payout, text) is 'the end of a payout stands: the bank has said so, or a person';

-- Believes the bank: one word of payout.bank_word. Answers with the payout as it then is. The caller has locked it.
create function payout.apply_status(p payout.payout, p_status text, p_asked_attempt_id uuid, p_asked_at timestamptz,
									p_response_code text, p_bank_reference_no text, p_reason text)
returns payout.payout
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
	is_notice boolean := p_asked_at is null;
	is_denial boolean := p_status in ('failed', 'canceled', 'refunded') and p.state in ('dispatching', 'processing', 'suspect', 'paid');
	counts boolean := is_denial and payout.denial_counts(p, p_asked_attempt_id, p_asked_at);
	wanted text := case
		when p_status = 'paid' and p.state in ('dispatching', 'processing', 'suspect') then 'paid'
		when p_status = 'paid' and p.state in ('failed', 'returned') then 'disputed'
		when counts and p.state <> 'paid' then 'failed'
		when p_status = 'refunded' and p.state = 'paid' and (counts or is_notice) then 'returned'
		when counts then 'disputed'
		else p.state end;
	is_open boolean := wanted = p.state and p.state in ('processing', 'suspect');
	-- It contradicts the end and does not disprove it. Of what is open, it says too little.
	is_contrary boolean := wanted = p.state and case when p.state in ('failed', 'returned') then p_status = 'pending' else is_denial and p.state <> 'dispatching' end;
	is_answered boolean := wanted = p.state and not is_contrary and payout.is_answered(p, p_status, p_asked_at);
	is_doubted boolean := wanted = p.state and not is_open and (is_contrary or (p.doubted_at is not null and not is_answered));
	was_ended boolean := p.final_at is not null or p.disputed_at is not null;
	-- A notice that contradicts begins the asking anew; one that says nothing must not put it off.
	tries integer := case when not is_notice then p.status_tries + 1 when is_contrary then 0 else p.status_tries end;
	due_at timestamptz := case when is_open or is_doubted then payout.clock() + case when tries < payout.count_sendings(p) then '0' else payout.backoff('check', tries) end end;
	reference text := case when payout.is_text(p_bank_reference_no, 1, 64, 'visible') then p_bank_reference_no end;
	was_doubted boolean := p.doubted_at is not null;
	misses integer := p.not_found;
	b payout.batch;
begin
	if is_open or is_doubted then
		select * into strict b from payout.batch q where q.channel_id = p.channel_id and q.batch_id = p.batch_id;
		misses := case p_status when 'not_found' then misses + (coalesce(p_asked_at > b.asked_since, true))::integer when 'unknown' then misses else 0 end;
		if payout.clock() > greatest(b.sent_at, p.doubted_at) + payout.channel_interval(p.channel_id, 'status_window_days') then
			perform payout.hold_payout(p.merchant_id, p.txid, 'check', 'the bank answers no more inquiries for it; last: ' || p_reason);
		elsif is_open and p_status = 'unknown' and p_asked_attempt_id is null and not is_notice and payout.is_denied_as_recorded(p) then
			perform payout.hold_payout(p.merchant_id, p.txid, 'check', 'the bank denies each sending that is recorded, and does not answer for one whose record may be lost; last: ' || p_reason);
		end if;
	end if;
	update payout.payout u
	set state = wanted,
		reason = case when wanted <> u.state then left(p_reason, 300) else u.reason end,
		response_code = case when was_ended then u.response_code else coalesce(p_response_code, u.response_code) end,
		-- That an end gets its number, the trigger writes to the history.
		bank_reference_no = case when was_ended then coalesce(u.bank_reference_no, reference) else coalesce(reference, u.bank_reference_no) end,
		status_checked_at = clock_timestamp(),
		status_tries = tries,
		not_found = misses,
		doubted_at = case when not is_doubted then null when is_contrary and is_notice then clock_timestamp() else coalesce(u.doubted_at, p_asked_at) end,
		status_due_at = case when wanted <> u.state then null when is_notice then least(u.status_due_at, due_at) else due_at end
	where u.merchant_id = p.merchant_id and u.txid = p.txid
	returning * into p;
	-- Asked before, and answered while it goes again: so the bank has it, as when a notice says so.
	if p.state = 'dispatching' and not is_notice and p_status in ('pending', 'failed', 'canceled', 'refunded') then
		update payout.batch q set told_at = clock_timestamp() where q.channel_id = p.channel_id and q.batch_id = p.batch_id;
	end if;
	if is_doubted and not was_doubted then
		p := payout.add_event(p, left('in doubt: ' || p_reason, 300));
	elsif is_answered then
		p := payout.end_doubt(p, p_reason);
	end if;
	if is_open and p_status = 'not_found' and p.state = 'suspect' and payout.resend_if_lost(p.channel_id, p.batch_id) then
		select * into strict p from payout.payout u where u.merchant_id = p.merchant_id and u.txid = p.txid;
	end if;
	return p;
end
$$;
comment on function payout.apply_status(payout.payout, text, uuid, timestamptz, text, text, text) is
'moves a payout by what the bank says of it; contrary proof to an end makes it disputed';

create function payout.request_check(merchant_id text, txid text) returns void
language c volatile parallel unsafe as 'MODULE_PATHNAME', 'payout_entry';
comment on function payout.request_check(text, text) is 'has the worker ask the bank, as soon as the bank''s minimum delay allows, and returns';

create function payout.do_request_check(p_merchant_id text, p_txid text) returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
	p payout.payout := payout.find_payout(p_merchant_id, p_txid, true);
	earliest timestamptz;
begin
	if p.kind = 'disbursement' and (p.state in ('processing', 'suspect', 'paid') or p.doubted_at is not null) and not payout.is_elsewhere(p) then
		earliest := (select b.sent_at from payout.batch b where b.channel_id = p.channel_id and b.batch_id = p.batch_id)
			+ payout.channel_interval(p.channel_id, 'status_delay_s');
		update payout.payout u
		set status_due_at = least(u.status_due_at, greatest(payout.clock(), earliest))
		where u.merchant_id = p_merchant_id and u.txid = p_txid;
	end if;
end
$$;
comment on function payout.do_request_check(text, text) is 'work of payout.request_check';

create procedure payout.check_status(merchant_id text, txid text, max_wait interval default '10 s', inout state text default null)
language c as 'MODULE_PATHNAME', 'payout_check_status';
comment on procedure payout.check_status(text, text, interval, text) is
'asks the bank through the worker and waits for its answer, at most max_wait, without holding a snapshot; answers with the state. Outside a transaction block only';

-- What payout.check_status looks at while it waits.
create function payout.check_answered(p_merchant_id text, p_txid text, p_since timestamptz, out state text, out answered boolean)
language sql stable
set search_path = pg_catalog, pg_temp
begin atomic
	select p.state, coalesce(p.status_checked_at > p_since, false) or p.kind = 'cashout'
		or p.state not in ('dispatching', 'processing', 'suspect', 'paid') or payout.is_elsewhere(p)
	from payout.payout p where p.merchant_id = p_merchant_id and p.txid = p_txid;
end;
comment on function payout.check_answered(text, text, timestamptz) is 'the state, and whether the bank has been asked since a moment or need not be asked';
