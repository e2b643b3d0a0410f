-- validate.sql: steps 6 to 9, lane validate: asks the bank whose the account is (SNAP services 15 and 16).

create type payout.validate_work as (
	channel_id text, merchant_id text, txid text, service integer, wire_code text, account_no text, salt bytea
);
comment on type payout.validate_work is 'what lane validate sends for one payout';

create function payout.claim_validate(p_channel_id text, p_limit integer) returns setof payout.validate_work
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
	if not exists (select from payout.payout q where q.channel_id = p_channel_id and q.check_due_at <= (select payout.clock())) then
		return;
	end if;
	return query
	with due as materialized (
		select q.ctid as place
		from payout.payout q
		where q.channel_id = p_channel_id and q.check_due_at <= (select payout.clock())
		and not exists (select from payout.hold h where (h.merchant_id, h.txid, h.lane) = (q.merchant_id, q.txid, 'validate'))
		order by q.check_due_at limit p_limit
		for no key update skip locked)
	update payout.payout p set check_due_at = null, check_epoch = (select c.epoch from payout.channel c where c.channel_id = p_channel_id)
	from due d
	where p.ctid = d.place
	returning p.channel_id, p.merchant_id, p.txid, case when p.method = 'overbooking' then 15 else 16 end,
		p.wire_code, p.account_no, p.content_salt;
end
$$;
comment on function payout.claim_validate(text, integer) is 'worker: takes due account checks of a channel';

create function payout.knows_letters() returns boolean
language c immutable strict parallel safe as 'MODULE_PATHNAME', 'payout_knows_letters';
comment on function payout.knows_letters() is 'whether ICU knows the characters of this database''s encoding; where it does not (SQL_ASCII), bytes beyond ASCII are compared as they are';

-- Names are compared without case, punctuation and repeated blanks: banks write them in capitals and cut titles' dots. What a
-- letter is, and its capital, is said by Unicode and never by the database's locale; composed and decomposed forms are one.
-- Marks and other signs stay: in many scripts they are the vowels. What is longer than any name is not looked at: to bring
-- marks into their order takes the square of their number.
create function payout.plain_name(value text) returns text
language plpgsql immutable parallel safe
set search_path = pg_catalog, pg_temp
as $$
begin
	if length(value) > 300 then
		return null;
	elsif not payout.knows_letters() or value collate "C" ~ E'^[\\u0001-\\u007f]*$' then
		return btrim(regexp_replace(upper(value collate "C"), E'[\\u0001-\\u002f\\u003a-\\u0040\\u005b-\\u0060\\u007b-\\u007f]+', ' ', 'g'));
	elsif getdatabaseencoding() = 'UTF8' then
		value := regexp_replace(normalize(value, nfkc) collate "C", E'[\\u00ad\\u200c-\\u200f\\u202a-\\u202e\\u2060-\\u206f\\ufeff]', '', 'g'); -- joiners and marks of direction
	end if;
	return btrim(regexp_replace(upper(value collate "und-x-icu"), '[[:space:][:punct:][:cntrl:]$+<=>^`|~]+', ' ', 'g'));
end
$$;
comment on function payout.plain_name(text) is 'a name in capitals, without punctuation, single blanks; null for what has more than 300 characters';

create function payout.has_letter(value text) returns boolean
language plpgsql immutable parallel safe
set search_path = pg_catalog, pg_temp
as $$
begin
	if value collate "C" ~ '[A-Za-z]' then
		return true;
	elsif payout.knows_letters() then
		return value collate "und-x-icu" ~ '[[:alpha:]]';
	end if;
	return value collate "C" ~ E'[^\\u0001-\\u007f]';
end
$$;
comment on function payout.has_letter(text) is 'whether a name has a letter of any script';

create function payout.compare_names(p_ours text, p_theirs text) returns text
language plpgsql immutable parallel safe
set search_path = pg_catalog, pg_temp
as $$
begin
	return case
		when length(p_ours) > 300 or length(p_theirs) > 300 or position(chr(26) in p_ours) > 0 or position(chr(26) in p_theirs) > 0 then 'unreadable'
		when (payout.has_letter(p_ours) and payout.has_letter(p_theirs)) is not true then 'unreadable'
		when payout.plain_name(p_ours) = payout.plain_name(p_theirs) then 'matched'
		else 'name_differs' end;
end
$$;
comment on function payout.compare_names(text, text) is 'what an account check says of the name that we have and the one that the bank gave: matched, name_differs, or unreadable where one has no letter, more than 300 characters, or a character that this database cannot hold (chr(26) stands for it)';

create function payout.shown_name(value text) returns text
language sql immutable parallel safe
set search_path = pg_catalog, pg_temp
return replace(left(value, 140), chr(26), '?');
comment on function payout.shown_name(text) is 'the beginning of a name that the bank gave; "?" stands for a character that this database cannot hold';

-- Accounts that match are written in one set, whatever else the bank said one by one.
create function payout.record_checks(p_incarnation_id uuid, p_channel_ids text[], p_attempt_ids uuid[], p_outcomes text[],
									 p_classes text[], p_http_statuses integer[], p_response_codes text[], p_latencies integer[],
									 p_excerpts text[], p_account_names text[]) returns integer
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
	ended payout.ended[] := payout.finish_attempts(p_incarnation_id, p_channel_ids, p_attempt_ids, p_outcomes, p_classes, p_http_statuses,
		p_response_codes, p_latencies, p_excerpts, p_account_names, null);
	matched payout.ended[];
	others payout.ended[];
	results text[];
	places tid[];
	started timestamptz := payout.clock();
begin
	-- Locked in the order of their TXIDs, and then found by their places in a statement that sees what it has waited for.
	with locked as materialized (
		select u as e, p.place, case
			when u.outcome = 'yes' and u.answer is not null then payout.compare_names(p.beneficiary_name, u.answer)
			-- A refusal of the request's form (400) blames us, not the account.
			when u.outcome = 'no' and u.http_status is distinct from 400 then 'invalid'
			else 'unavailable' end as result
		from (select x.* from unnest(ended) x order by x.txid) u,
		lateral (select q.ctid as place, q.beneficiary_name from payout.payout q
				 where q.merchant_id = u.merchant_id and q.txid = u.txid
				 and q.account_check in ('pending', 'unavailable') and q.state in ('registered', 'scheduled', 'approved')
				 for no key update) p)
	select array_agg(l.place) filter (where l.result = 'matched'), array_agg(l.e) filter (where l.result = 'matched'),
		array_agg(l.e) filter (where l.result <> 'matched'), array_agg(l.result) filter (where l.result <> 'matched')
	into places, matched, others, results
	from locked l;
	-- The trigger writes the history.
	update payout.payout p
	set account_check = 'matched', account_name = payout.shown_name(m.answer), response_code = m.response_code,
		check_tries = p.check_tries + 1, check_due_at = null,
		dispatch_due_at = case when p.state = 'approved' then started else p.dispatch_due_at end
	from unnest(places, matched) as m (place, channel_id, attempt_id, batch_id, merchant_id, txid, started_at, outcome, class,
		http_status, response_code, excerpt, answer, more, asked_attempt_id)
	where p.ctid = m.place;
	for n in 1 .. coalesce(cardinality(others), 0) loop
		perform payout.apply_check(others[n], results[n]);
	end loop;
	return coalesce(cardinality(ended), 0);
end
$$;
comment on function payout.record_checks(uuid, text[], uuid[], text[], text[], integer[], text[], integer[], text[], text[]) is
'worker: writes what the bank said of accounts, and passes approved payouts on; the count of those that are this life''s';

-- The payout is locked and still to be checked.
create function payout.apply_check(e payout.ended, p_result text) returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
	p payout.payout := payout.find_payout(e.merchant_id, e.txid, true);
	started timestamptz := payout.clock();
begin
	if e.class is null then
		-- It was claimed and never started (reserve.c).
		update payout.payout u set check_due_at = started where u.merchant_id = p.merchant_id and u.txid = p.txid;
		return;
	end if;
	if e.outcome = 'refused_for_now' and e.class = 'stop' then
		perform payout.refuse_for_now(e.channel_id, e.class, e.response_code, e.excerpt, null);
	end if;
	update payout.payout u
	set account_check = p_result,
		account_name = payout.shown_name(e.answer),
		response_code = e.response_code,
		reason = case when p_result = 'invalid' then concat_ws(' ', 'invalid account:', e.response_code, left(e.excerpt, 200)) else u.reason end,
		check_tries = u.check_tries + 1,
		check_due_at = case when p_result = 'unavailable' and started < u.check_deadline_at
			then least(started + payout.backoff('validate', u.check_tries + 1), u.check_deadline_at) end
	where u.merchant_id = p.merchant_id and u.txid = p.txid
	returning * into p;
	if p.state = 'approved' then
		perform payout.pass_gate(p);
	elsif p.state = 'scheduled' and p_result = 'invalid' and not payout.may_lack_record(p) then
		-- else it is set aside at its moment, by the gate
		perform payout.fail_unsent(p, p.reason);
	end if;
end
$$;
comment on function payout.apply_check(payout.ended, text) is 'worker: writes what else than a match the bank said of an account, and passes an approved payout on';

-- The bank that is to pay checks each account once, within a deadline of its own; what comes of that holds, as for others. One that
-- the bank before is being asked for waits for that answer, which is none here.
create function payout.check_anew(c payout.channel, p_limit integer) returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
	update payout.payout u
	set account_check = 'pending', check_due_at = payout.clock(), check_deadline_at = payout.clock() + payout.channel_interval(c.channel_id, 'check_deadline_s'),
		check_epoch = c.epoch, dispatch_due_at = null
	from (select q.merchant_id, q.txid from payout.payout q
		  where q.channel_id = c.channel_id and q.dispatch_due_at <= (select payout.clock()) and q.state = 'approved' and q.check_epoch is distinct from c.epoch
		  and not exists (select from payout.attempt a where a.txid = q.txid and a.merchant_id = q.merchant_id and a.lane = 'validate' and a.outcome is null)
		  order by q.dispatch_due_at limit p_limit
		  for no key update skip locked) d
	where u.merchant_id = d.merchant_id and u.txid = d.txid;
end
$$;
comment on function payout.check_anew(payout.channel, integer) is 'worker: due payouts whose account another bank has checked are checked by the one that is to pay';
