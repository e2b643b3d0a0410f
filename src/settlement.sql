-- settlement.sql: what is owed to a store, day by day, and the comparison with the store's own list.
--
-- Stores send a list of the day on the next one: each of their references with its amount and SUCCESS or CANCEL. It is
-- the store's word like a confirmation or a reversal, and moves what waits for one; what contradicts an end makes it
-- disputed. All other differences are reported and change nothing.

create table payout.cvs_settlement_row (
	cvs_code text collate "C" not null references payout.cvs,
	day date not null,
	cvs_reference text collate "C" not null,
	amount numeric(18,2) not null,
	status text not null check (status in ('SUCCESS', 'CANCEL')),
	imported_at timestamptz not null default clock_timestamp(),
	imported_by text not null default payout.caller(),
	primary key (cvs_code, day, cvs_reference)
);
comment on table payout.cvs_settlement_row is 'the stores'' own lists of each day, as imported last';

create index cvs_settlement_row_reference on payout.cvs_settlement_row (cvs_code, cvs_reference);

create function payout.cvs_settlement(cvs_code text, day date)
returns table (at timestamptz, merchant_id text, txid text, cvs_reference text, kind text, amount numeric, currency text)
language c stable parallel unsafe as 'MODULE_PATHNAME', 'payout_entry';
comment on function payout.cvs_settlement(text, date) is
'what was booked for a store on a Jakarta day: positive is owed to it; all days together sum to its settlement account';

create function payout.do_cvs_settlement(p_cvs_code text, p_day date,
	out at timestamptz, out merchant_id text, out txid text, out cvs_reference text, out kind text, out amount numeric, out currency text)
returns setof record
language plpgsql stable
set search_path = pg_catalog, pg_temp
as $$
declare
	account text := payout.settlement_account(null, (payout.find_cvs(p_cvs_code)).cvs_code);
	begins timestamptz := payout.day_begin('day', p_day);
	ends timestamptz := begins + interval '24 hours';
begin
	return query
	select t.at, t.merchant_id, t.txid, p.cvs_reference, t.kind, t.signed_amount, t.currency
	from (select q.*, q.amount as signed_amount from payout.transfer q
		  where q.credit_account = account and q.credit_account like 'settlement/cvs:%' and q.at >= begins and q.at < ends
		  union all
		  select q.*, -q.amount from payout.transfer q
		  where q.debit_account = account and q.debit_account like 'settlement/cvs:%' and q.at >= begins and q.at < ends) t
	join payout.payout p on p.merchant_id = t.merchant_id and p.txid = t.txid
	order by t.at, t.transfer_id;
end
$$;
comment on function payout.do_cvs_settlement(text, date) is 'work of payout.cvs_settlement';

create function payout.day_begin(argument text, p_day date) returns timestamptz
language plpgsql immutable parallel safe
set search_path = pg_catalog, pg_temp
as $$
begin
	if p_day is null or p_day not between date '2000-01-01' and date '2999-12-31' then
		raise exception 'argument "%" is not a day', argument
			using errcode = 'PY016', hint = 'Give a date, for example 2026-01-31.';
	end if;
	return p_day::timestamp at time zone interval '+07:00';
end
$$;
comment on function payout.day_begin(text, date) is 'the moment at which a day begins in Jakarta; PY016 for no day';

create type payout.settlement_finding as (
	finding text, cvs_reference text, txid text, our_state text, our_amount numeric, their_status text, their_amount numeric, detail text
);
comment on type payout.settlement_finding is
'one line of payout.import_cvs_settlement: settled, released, disputed (the payout was moved by the list), missing, extra or differs (a person looks)';

create function payout.import_cvs_settlement(cvs_code text, day date, rows jsonb) returns setof payout.settlement_finding
language c volatile parallel unsafe as 'MODULE_PATHNAME', 'payout_entry';
comment on function payout.import_cvs_settlement(text, date, jsonb) is
'takes a store''s list of a day, [{"cvs_reference", "amount", "status": "SUCCESS" or "CANCEL"}, ...] (and "txid" where an operator knows it), in place of an earlier one of that day; answers with what it moved and what does not agree';

create function payout.do_import_cvs_settlement(p_cvs_code text, p_day date, p_rows jsonb) returns setof payout.settlement_finding
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
	c payout.cvs := payout.find_cvs(p_cvs_code);
	begins timestamptz := payout.day_begin('day', p_day);
	listed payout.cvs_settlement_row;
	moved payout.settlement_finding;
	told text[] := '{}';
begin
	perform payout.check_settlement_rows(p_rows);
	delete from payout.cvs_settlement_row l where l.cvs_code = c.cvs_code and l.day = p_day;
	insert into payout.cvs_settlement_row (cvs_code, day, cvs_reference, amount, status)
	select c.cvs_code, p_day, l ->> 'cvs_reference', (l ->> 'amount')::numeric, l ->> 'status'
	from jsonb_array_elements(p_rows) l;

	for moved in select s.* from payout.settle_lost(c, p_day, p_rows) s
	loop
		told := told || moved.cvs_reference;
		return next moved;
	end loop;
	-- The list is the store's word: what waits for it moves, in the order in which every import would lock.
	for listed in
		select l.* from payout.cvs_settlement_row l
		join payout.redemption r on r.cvs_code = l.cvs_code and r.cvs_reference = l.cvs_reference
		join payout.payout p on p.merchant_id = r.merchant_id and p.txid = r.txid
		where l.cvs_code = c.cvs_code and l.day = p_day and l.amount = p.amount
		and payout.is_moved_by_list(l.status, p, r)
		order by r.merchant_id, r.txid
	loop
		moved := payout.apply_settlement_row(listed);
		if moved.finding is not null then
			told := told || moved.cvs_reference;
			return next moved;
		end if;
	end loop;
	return query select * from payout.settlement_differences(c.cvs_code, p_day, begins, told);
end
$$;
comment on function payout.do_import_cvs_settlement(text, date, jsonb) is 'work of payout.import_cvs_settlement';

-- What a lost tail has taken with the reservation: an operator has found the payout of a store's line, and names it there.
create function payout.settle_lost(c payout.cvs, p_day date, p_rows jsonb) returns setof payout.settlement_finding
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
	l record;
	p payout.payout;
	t payout.cashout_token;
	was text;
	now_is text;
begin
	for l in
		select r.item ->> 'txid' as txid, r.item ->> 'cvs_reference' as reference, (r.item ->> 'amount')::numeric as amount
		from jsonb_array_elements(p_rows) r (item)
		where r.item ? 'txid' and r.item ->> 'status' = 'SUCCESS'
		order by 1
	loop
		select * into p from payout.payout q where q.merchant_id = left(l.txid, 10) and q.txid = l.txid for no key update;
		continue when not found or p.kind <> 'cashout' or p.amount <> l.amount or not (p.state = 'expired' or payout.asks_first(p.registered_at))
			or exists (select from payout.redemption r where r.cvs_code = c.cvs_code and r.cvs_reference = l.reference);
		select * into t from payout.cashout_token q where q.merchant_id = p.merchant_id and q.txid = p.txid and q.replaced_at is null;
		continue when not found;	-- its token was issued in the tail: an operator has it issued anew, and imports the list again
		was := p.state;
		now_is := payout.confirm_payout(p.merchant_id, p.txid, t.token_no, c.cvs_code, l.reference, format('the store''s list of %s', p_day));
		return next row(case now_is when 'paid' then 'settled' else 'disputed' end,
			l.reference, p.txid, now_is, p.amount, 'SUCCESS', l.amount, format('it was %s', was))::payout.settlement_finding;
	end loop;
end
$$;
comment on function payout.settle_lost(payout.cvs, date, jsonb) is 'settles lines of a store''s list that name a TXID, where a lost tail has taken the reservation or the token has expired';

create function payout.check_settlement_rows(p_rows jsonb) returns void
language plpgsql stable
set search_path = pg_catalog, pg_temp
as $$
declare
	listed record;
begin
	if p_rows is null or jsonb_typeof(p_rows) <> 'array' or jsonb_array_length(p_rows) > 1000000 then
		raise exception 'argument "rows" is not a JSON array of at most 1000000 rows'
			using errcode = 'PY016', hint = 'Each row is {"cvs_reference": text, "amount": amount, "status": "SUCCESS" or "CANCEL"}.';
	end if;
	select l.n into listed from jsonb_array_elements(p_rows) with ordinality l (item, n)
	where not coalesce(jsonb_typeof(l.item) = 'object' and jsonb_typeof(l.item -> 'cvs_reference') = 'string'
		and l.item ->> 'cvs_reference' ~ '^[!-~]{1,64}$' and payout.is_amount(l.item -> 'amount') and (l.item ->> 'amount')::numeric > 0
		and l.item ->> 'status' in ('SUCCESS', 'CANCEL') and coalesce(jsonb_typeof(l.item -> 'txid') = 'string', true), false)
	order by l.n limit 1;
	if found then
		raise exception 'argument "rows" has an unreadable row'
			using errcode = 'PY016', detail = format('It is row %s.', listed.n),
				hint = 'Each row is {"cvs_reference": text, "amount": amount, "status": "SUCCESS" or "CANCEL"}.';
	end if;
	select max(l.n) as n into listed from jsonb_array_elements(p_rows) with ordinality l (item, n)
	group by l.item ->> 'cvs_reference' having count(*) > 1 limit 1;
	if found then
		raise exception 'argument "rows" has two rows of one reference'
			using errcode = 'PY016', detail = format('One of them is row %s.', listed.n), hint = 'Keep the last word of the store on each reference.';
	end if;
end
$$;
comment on function payout.check_settlement_rows(jsonb) is 'raises PY016 for the first row of a store''s list that cannot be read or comes twice';

create function payout.is_moved_by_list(p_status text, p payout.payout, r payout.redemption) returns boolean
language sql immutable
set search_path = pg_catalog, pg_temp
begin atomic
	select case
		when p_status = 'SUCCESS' then r.confirmed_at is null
			and (p.state in ('expired', 'failed', 'returned') or (h.holds and p.state in ('token_reserved', 'suspect')))
		else r.reversed_at is null and h.holds and p.state in ('token_reserved', 'suspect', 'paid') end
	from (select coalesce((p.cvs_code, p.cvs_reference) = (r.cvs_code, r.cvs_reference), false) as holds) h;
end;
comment on function payout.is_moved_by_list(text, payout.payout, payout.redemption) is 'whether a line of a store''s list moves the payout: it waits for the store''s word, or the word is new and contradicts its end';

create function payout.apply_settlement_row(l payout.cvs_settlement_row) returns payout.settlement_finding
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
	r payout.redemption;
	p payout.payout;
	was text;
	now_is text;
begin
	select * into strict r from payout.redemption q where q.cvs_code = l.cvs_code and q.cvs_reference = l.cvs_reference;
	p := payout.find_payout(r.merchant_id, r.txid, true);
	select * into strict r from payout.redemption q where q.cvs_code = l.cvs_code and q.cvs_reference = l.cvs_reference;
	if not payout.is_moved_by_list(l.status, p, r) then
		return null;	-- the store itself was faster
	end if;
	was := p.state;
	if l.status = 'SUCCESS' then
		now_is := payout.confirm_payout(p.merchant_id, p.txid, r.token_no, r.cvs_code, r.cvs_reference, format('the store''s list of %s', l.day));
	else
		now_is := payout.reverse_payout(p.merchant_id, p.txid, r.token_no, r.cvs_code, r.cvs_reference, format('its list of %s', l.day));
	end if;
	return row(case now_is when 'paid' then 'settled' when 'disputed' then 'disputed' else 'released' end,
			   l.cvs_reference, p.txid, now_is, p.amount, l.status, l.amount, format('it was %s', was))::payout.settlement_finding;
end
$$;
comment on function payout.apply_settlement_row(payout.cvs_settlement_row) is 'moves a payout by the store''s list; null when there is nothing to move any more';

-- What does not agree after that: theirs against ours by reference, whatever the day; ours of the day against their lists.
create function payout.settlement_differences(p_cvs_code text, p_day date, p_begins timestamptz, p_told text[]) returns setof payout.settlement_finding
language sql stable
set search_path = pg_catalog, pg_temp
begin atomic
	select case when r.cvs_code is null then 'extra' else 'differs' end, l.cvs_reference, p.txid, p.state, p.amount, l.status, l.amount,
		case when r.cvs_code is null then 'no token was validated under this reference'
			when l.amount <> p.amount then 'the amounts differ'
			when l.status = 'SUCCESS' and r.reversed_at is not null then 'the store reversed this reference'
			else 'the states differ' end
	from payout.cvs_settlement_row l
	left join payout.redemption r on r.cvs_code = l.cvs_code and r.cvs_reference = l.cvs_reference
	left join payout.payout p on p.merchant_id = r.merchant_id and p.txid = r.txid
	where l.cvs_code = p_cvs_code and l.day = p_day and l.cvs_reference <> all (p_told)
	and case l.status
		when 'SUCCESS' then not coalesce(l.amount = p.amount and p.state = 'paid'
			and (p.cvs_code, p.cvs_reference) = (r.cvs_code, r.cvs_reference), false)
		else r.cvs_code is not null and (l.amount <> p.amount
			or ((p.cvs_code, p.cvs_reference) = (r.cvs_code, r.cvs_reference) and p.state in ('token_reserved', 'suspect', 'paid', 'disputed'))) end
	union all
	select 'missing', p.cvs_reference, p.txid, p.state, p.amount, null, null, 'the store does not list it'
	from payout.payout p
	where (p.merchant_id, p.txid) in (select t.merchant_id, t.txid from payout.transfer t
		where t.credit_account = payout.settlement_account(null, p_cvs_code) and t.credit_account like 'settlement/cvs:%'
		and t.at >= p_begins and t.at < p_begins + interval '24 hours')
	and p.state in ('paid', 'disputed') and p.cvs_code = p_cvs_code
	and not exists (select from payout.cvs_settlement_row l where l.cvs_code = p.cvs_code and l.cvs_reference = p.cvs_reference)
	order by 1, 2;
end;
comment on function payout.settlement_differences(text, date, timestamptz, text[]) is 'the lines of a store''s list that do not agree with ours (but those told already), and ours that it lacks';
