-- validate.sql: steps 6 to 9, lane validate: asks the bank whose the account is (SNAP services 15 and 16).

create type payout.validate_work as (
	channel_id text, merchant_id text, txid text, service integer, wire_code text, account_no text
);
comment on type payout.validate_work is 'what lane validate sends for one payout';

create function payout.claim_validate(p_channel_id text, p_limit integer) returns setof payout.validate_work
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
	return query
	with due as (
		select q.merchant_id, q.txid
		from payout.payout q
		where q.channel_id = p_channel_id and q.check_due_at <= (select payout.clock())
		and not exists (select from payout.hold h where (h.merchant_id, h.txid, h.lane) = (q.merchant_id, q.txid, 'validate'))
		order by q.check_due_at limit p_limit
		for no key update skip locked)
	update payout.payout p set check_due_at = null
	from due, payout.bank b
	where p.merchant_id = due.merchant_id and p.txid = due.txid and b.bank_code = p.bank_code
	returning p.channel_id, p.merchant_id, p.txid, case when p.method = 'overbooking' then 15 else 16 end,
		coalesce(b.options ->> 'wire_code', b.bank_code), p.account_no;
end
$$;
comment on function payout.claim_validate(text, integer) is 'worker: takes due account checks of a channel';

-- Names are compared without case, punctuation and repeated blanks: banks write them in capitals and cut titles' dots.
create function payout.plain_name(value text) returns text
language plpgsql immutable parallel safe
set search_path = pg_catalog, pg_temp
as $$
begin
	return btrim(regexp_replace(upper(value), '[^[:alnum:]]+', ' ', 'g'));
end
$$;
comment on function payout.plain_name(text) is 'a name in capitals, letters and digits only, single blanks';

create function payout.record_validate(p_channel_id text, p_attempt_id uuid, p_incarnation_id uuid, p_outcome text, p_class text,
									   p_http_status integer, p_response_code text, p_latency_ms integer, p_excerpt text,
									   p_account_name text) returns boolean
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
	a payout.attempt;
	p payout.payout;
	result text;
	started timestamptz := payout.clock();
begin
	a := payout.finish_attempt(p_channel_id, p_attempt_id, p_incarnation_id, p_outcome, p_class, p_http_status, p_response_code, p_latency_ms, p_excerpt);
	if a.attempt_id is null then
		return false;
	end if;
	p := payout.find_payout(a.merchant_id, a.txid, true);
	if p.account_check not in ('pending', 'unavailable') or p.state not in ('registered', 'scheduled', 'approved') then
		return true;	-- decided meanwhile
	end if;
	if p_outcome = 'refused_for_now' and p_class = 'stop' then
		perform payout.refuse_for_now(p_channel_id, p_class, p_response_code, p_excerpt, null);
	end if;
	-- A refusal of the request's form (400) blames us, not the account.
	result := case
		when p_outcome = 'yes' and p_account_name is not null then
			case when payout.plain_name(p_account_name) = payout.plain_name(p.beneficiary_name) then 'matched' else 'name_differs' end
		when p_outcome = 'no' and p_http_status <> 400 then 'invalid'
		else 'unavailable' end;
	update payout.payout u
	set account_check = result,
		account_name = left(p_account_name, 140),
		response_code = p_response_code,
		reason = case when result = 'invalid' then concat_ws(' ', 'invalid account:', p_response_code, left(p_excerpt, 200)) else u.reason end,
		check_tries = u.check_tries + 1,
		check_due_at = case when result = 'unavailable' and started < u.check_deadline_at
			then least(started + payout.backoff('validate', u.check_tries + 1), u.check_deadline_at) end
	where u.merchant_id = p.merchant_id and u.txid = p.txid
	returning * into p;
	if p.state = 'approved' then
		perform payout.pass_gate(p);
	elsif p.state = 'scheduled' and result = 'invalid' then
		update payout.payout u set state = 'failed' where u.merchant_id = p.merchant_id and u.txid = p.txid;
	end if;
	return true;
end
$$;
comment on function payout.record_validate(text, uuid, uuid, text, text, integer, text, integer, text, text) is
'worker: writes what the bank said of an account, and passes an approved payout on';
