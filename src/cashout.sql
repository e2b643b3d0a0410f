-- cashout.sql: steps 13 to 23 of a cashout, at the store: validate (the token is reserved for this store), confirm (the
-- cash has left the till), reverse (it has not, and will not).
--
-- A store's own reference names one attempt to redeem one token; its row in payout.redemption keeps what the store was
-- told, so that each call repeated answers the same. Reserving, confirming, reversing, expiring and issuing again all lock
-- the payout's row first and then read: of two cashiers with one token, the second finds it reserved.
--
-- What a token is refused for is told only as far as it helps nobody to guess: unknown, mistyped, used, replaced and
-- reserved elsewhere are one error (PY010) and each counts as a wrong try; expired (PY011) can be told, because such a
-- token is worth nothing. A confirmation or reversal that fits a reservation in full (store, token, reference) is taken even
-- while the store is locked, suspended or the database not armed: the cash has left the till, or stays in it, anyway.

create table payout.redemption (
	cvs_code text collate "C" not null,
	cvs_reference text collate "C" not null,
	merchant_id text collate "C" not null,
	txid text collate "C" not null,
	token_no integer not null,
	terminal text collate "C",
	reserved_at timestamptz,
	reserved_until timestamptz,
	confirmed_at timestamptz,
	confirm_state text,
	reversed_at timestamptz,
	reverse_state text,
	reverse_reason text,
	primary key (cvs_code, cvs_reference),
	check (num_nonnulls(terminal, reserved_at, reserved_until) in (0, 3)),
	check ((confirmed_at is null) = (confirm_state is null)),
	check (num_nonnulls(reversed_at, reverse_state, reverse_reason) in (0, 3)),
	check (num_nonnulls(reserved_at, confirmed_at, reversed_at) > 0)
) with (fillfactor = 80);
comment on table payout.redemption is 'what a store did with a token, under the store''s own reference';
comment on column payout.redemption.reserved_at is 'when the store validated the token; null for a reversal or confirmation without';
comment on column payout.redemption.confirmed_at is 'when the store said that the cash has left the till';
comment on column payout.redemption.confirm_state is 'the state that it was told then';
comment on column payout.redemption.reversed_at is 'when the store took it back';
comment on column payout.redemption.reverse_state is 'the state that it was told then';

create index redemption_of_payout on payout.redemption (merchant_id, txid);

create trigger refuse_delete before delete on payout.redemption for each row execute function payout.refuse_change();
create trigger refuse_truncate before truncate on payout.redemption for each statement execute function payout.refuse_change();

create type payout.cashout_reservation as (txid text, amount numeric, currency text, beneficiary_name text, reserved_until timestamptz);
comment on type payout.cashout_reservation is 'answer of payout.cashout_validate: hand over this amount, then confirm; all but the initials of the name are hidden';

create type payout.cashout_answer as (txid text, state text, amount numeric, currency text, cvs_reference text, at timestamptz);
comment on type payout.cashout_answer is 'answer of payout.cashout_confirm and payout.cashout_reverse';

create function payout.masked_name(value text) returns text
language sql immutable parallel safe
set search_path = pg_catalog, pg_temp
return regexp_replace(value collate "C", '([^[:space:]])[^[:space:]]*', E'\\1***', 'g');
comment on function payout.masked_name(text) is 'the initials of a name';

-- Counts a wrong try and raises. p_terminal is empty where the call names none.
create function payout.refuse_token(c payout.cvs, p_terminal text, p_expired boolean) returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
	perform payout.count_wrong_token(c.cvs_code, p_terminal, payout.option('cvs', c.options, 'token_tries')::integer);
	if p_expired then
		raise exception 'the token has expired'
			using errcode = 'PY011', hint = 'The merchant has the money back and may issue another one.';
	end if;
	raise exception 'argument "token" is not a valid token here'
		using errcode = 'PY010', hint = 'Check the digits. A token is good once, at one store, until it expires.';
end
$$;
comment on function payout.refuse_token(payout.cvs, text, boolean) is 'counts a wrong token and raises PY010, or PY011 for one that has expired';

create type payout.presented_token as (t payout.cashout_token, p payout.payout, r payout.redemption);
comment on type payout.presented_token is 'a token, its payout, and the store''s row of the reference, as they are while the payout is locked';

-- What a store presents: the token with these digits (replaced ones included), its payout, locked, and what the store has
-- done under the reference. All null when there is no such token.
create function payout.present_token(p_token text, p_cvs_code text, p_cvs_reference text) returns payout.presented_token
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
	-- By itself, so that the digits are in no plan.
	presented bytea := payout.token_digest(p_token);
	presented_old bytea := payout.token_digest_old(p_token);
	f payout.presented_token;
begin
	f.t := (select q from payout.cashout_token q where q.digest = presented);
	if (f.t).digest is null and presented_old is not null then
		presented := presented_old;
		f.t := (select q from payout.cashout_token q where q.digest = presented);
	end if;
	if payout.token_matches((f.t).digest, presented) is not true then
		return null;
	end if;
	f.p := payout.find_payout((f.t).merchant_id, (f.t).txid, true);
	-- In statements of their own: they see what the lock was waited for.
	f.t := (select q from payout.cashout_token q where q.digest = presented);
	f.r := (select q from payout.redemption q where q.cvs_code = p_cvs_code and q.cvs_reference = p_cvs_reference);
	return f;
end
$$;
comment on function payout.present_token(text, text, text) is 'finds a token by its digits, locks its payout, and reads the store''s reference; all null for no such token';

create function payout.is_of_token(r payout.redemption, t payout.cashout_token) returns boolean
language sql immutable
set search_path = pg_catalog, pg_temp
return coalesce((r.merchant_id, r.txid, r.token_no) = (t.merchant_id, t.txid, t.token_no), false);
comment on function payout.is_of_token(payout.redemption, payout.cashout_token) is 'whether a store''s reference belongs to this very token';

-- A reference belongs to the token that it was first used with; r is what was written under it, all null when nothing was.
create function payout.require_own_reference(r payout.redemption) returns void
language plpgsql immutable
set search_path = pg_catalog, pg_temp
as $$
begin
	if r.cvs_code is null then
		raise exception 'argument "cvs_reference" was used for another token'
			using errcode = 'PY002', hint = 'Each token that is presented needs a reference of its own.';
	end if;
end
$$;
comment on function payout.require_own_reference(payout.redemption) is 'raises PY002 when a store''s reference is taken by another token';

create function payout.require_reference(p_cvs_reference text) returns void
language sql immutable
set search_path = pg_catalog, pg_temp
begin atomic
	select payout.require_text('cvs_reference', p_cvs_reference, 1, 64, 'visible', 'PY016');
end;
comment on function payout.require_reference(text) is 'raises PY016 for a store''s reference that is none';

create function payout.cashout_validate(cvs_code text, token text, terminal text, cvs_reference text)
returns payout.cashout_reservation
language c volatile parallel unsafe as 'MODULE_PATHNAME', 'payout_entry';
comment on function payout.cashout_validate(text, text, text, text) is
'a store asks whether it may pay: reserves the token for this store and answers with the amount; the same reference at the same terminal answers the same';

create function payout.do_cashout_validate(p_cvs_code text, p_token text, p_terminal text, p_cvs_reference text)
returns payout.cashout_reservation
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
	c payout.cvs := payout.find_cvs(p_cvs_code);
	t payout.cashout_token;
	p payout.payout;
	r payout.redemption;
	f payout.presented_token;
	started timestamptz := payout.clock();
begin
	perform payout.require_text('terminal', p_terminal, 1, 64, 'visible', 'PY016'), payout.require_reference(p_cvs_reference);
	if not c.active then
		raise exception 'store "%" is suspended', p_cvs_code
			using errcode = 'PY013', hint = 'payout.alter_cvs activates it.';
	end if;
	perform payout.require_armed();
	perform payout.require_unlocked(p_cvs_code, p_terminal, payout.option('cvs', c.options, 'token_tries')::integer);

	f := payout.present_token(p_token, p_cvs_code, p_cvs_reference);
	t := f.t;
	p := f.p;
	r := f.r;

	if payout.is_of_token(r, t) and r.terminal = p_terminal and r.reserved_at is not null and r.reversed_at is null
		and (p.cvs_code, p.cvs_reference) = (r.cvs_code, r.cvs_reference) and p.state in ('token_reserved', 'suspect', 'paid') then
		return row(p.txid, p.amount, p.currency, payout.masked_name(p.beneficiary_name), r.reserved_until)::payout.cashout_reservation;
	elsif payout.is_of_token(r, t) and r.reversed_at is not null then
		raise exception 'argument "cvs_reference" was reversed'
			using errcode = 'PY004', hint = 'The token may be validated again under another reference.';
	elsif t.txid is null or t.replaced_at is not null or p.state not in ('token_issued', 'expired') then
		-- One place for all that is not told apart: even the line number in an error's context would tell.
		perform payout.refuse_token(c, p_terminal, false);
	elsif t.valid_until <= started or p.state = 'expired' then
		perform payout.refuse_token(c, p_terminal, true);
	end if;
	perform payout.check_store_rules(c, p.amount, started);

	insert into payout.redemption (cvs_code, cvs_reference, merchant_id, txid, token_no, terminal, reserved_at, reserved_until)
	values (p_cvs_code, p_cvs_reference, p.merchant_id, p.txid, t.token_no, p_terminal, clock_timestamp(),
		started + payout.setting_interval('reservation_ttl'))
	on conflict do nothing
	returning * into r;
	perform payout.require_own_reference(r);
	update payout.payout u
	set state = 'token_reserved', cvs_code = p_cvs_code, cvs_reference = p_cvs_reference, expire_due_at = r.reserved_until, reason = null
	where u.merchant_id = p.merchant_id and u.txid = p.txid;
	return row(p.txid, p.amount, p.currency, payout.masked_name(p.beneficiary_name), r.reserved_until)::payout.cashout_reservation;
end
$$;
comment on function payout.do_cashout_validate(text, text, text, text) is 'work of payout.cashout_validate';

create function payout.cashout_confirm(cvs_code text, token text, cvs_reference text) returns payout.cashout_answer
language c volatile parallel unsafe as 'MODULE_PATHNAME', 'payout_entry';
comment on function payout.cashout_confirm(text, text, text) is
'a store says that the cash has left the till: the payout is paid, or disputed where its money was given back meanwhile; a repeat answers the same';

create function payout.do_cashout_confirm(p_cvs_code text, p_token text, p_cvs_reference text) returns payout.cashout_answer
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
	c payout.cvs := payout.find_cvs(p_cvs_code);
	f payout.presented_token;
	t payout.cashout_token;
	p payout.payout;
	r payout.redemption;
begin
	perform payout.require_reference(p_cvs_reference);
	f := payout.present_token(p_token, p_cvs_code, p_cvs_reference);
	t := f.t;
	p := f.p;
	r := f.r;

	if payout.is_of_token(r, t) then
		if r.confirmed_at is not null then
			return row(p.txid, r.confirm_state, p.amount, p.currency, p_cvs_reference, r.confirmed_at)::payout.cashout_answer;
		elsif r.reversed_at is not null then
			raise exception 'argument "cvs_reference" was reversed'
				using errcode = 'PY004', detail = format('TXID %s, at %s.', p.txid, r.reversed_at),
					hint = 'The platform''s operator decides where cash has left the till all the same.';
		end if;
	else
		-- Nothing was reserved under this reference. Such a call may be a guess; unless the token was a good one that
		-- has expired: the store may have paid without asking. Or a lost tail has taken the reservation.
		perform payout.require_unlocked(p_cvs_code, '', payout.option('cvs', c.options, 'token_tries')::integer);
		if t.txid is null or r.cvs_code is not null or (t.replaced_at is not null and not payout.asks_first(p.registered_at))
			or (p.state <> 'expired' and not payout.asks_first(p.registered_at)) then
			perform payout.refuse_token(c, '', false);
		end if;
	end if;
	return payout.confirm_payout(p, t, p_cvs_code, p_cvs_reference, 'the store confirmed');
end
$$;
comment on function payout.do_cashout_confirm(text, text, text) is 'work of payout.cashout_confirm';

-- The cash has left the till. While the money is in transit the payout is paid; where it was given back, disputed; what is
-- at its end already, or with a person, stays there. The caller has locked the payout.
create function payout.confirm_payout(p payout.payout, t payout.cashout_token, p_cvs_code text, p_cvs_reference text, p_reason text)
returns payout.cashout_answer
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
	r payout.redemption;
begin
	if p.state = 'token_issued' then
		-- The reservation was lost with the tail of another server.
		update payout.payout u set state = 'token_reserved', cvs_code = p_cvs_code, cvs_reference = p_cvs_reference
		where u.merchant_id = p.merchant_id and u.txid = p.txid returning * into p;
	elsif p.state in ('token_reserved', 'suspect') and (p.cvs_code, p.cvs_reference) is distinct from (p_cvs_code, p_cvs_reference) then
		-- So was that the reservation which stands here was taken back.
		update payout.payout u set cvs_code = p_cvs_code, cvs_reference = p_cvs_reference
		where u.merchant_id = p.merchant_id and u.txid = p.txid returning * into p;
	elsif p.state = 'paid' and (p.cvs_code, p.cvs_reference) is distinct from (p_cvs_code, p_cvs_reference) and payout.asks_first(p.registered_at) then
		-- Two stores say that they have paid it: one of them in the tail.
		update payout.payout u set state = 'disputed', reason = format('%s, and so did store %s', p_reason, p.cvs_code)
		where u.merchant_id = p.merchant_id and u.txid = p.txid returning * into p;
	end if;
	if p.state in ('token_reserved', 'suspect') then
		update payout.payout u set state = 'paid', reason = p_reason, expire_due_at = null
		where u.merchant_id = p.merchant_id and u.txid = p.txid returning * into p;
	elsif p.state in ('expired', 'failed', 'returned') then
		update payout.payout u
		set state = 'disputed', cvs_code = p_cvs_code, cvs_reference = p_cvs_reference, reason = p_reason || ', after it had been given back'
		where u.merchant_id = p.merchant_id and u.txid = p.txid returning * into p;
	end if;
	insert into payout.redemption as q (cvs_code, cvs_reference, merchant_id, txid, token_no, confirmed_at, confirm_state)
	values (p_cvs_code, p_cvs_reference, p.merchant_id, p.txid, t.token_no, clock_timestamp(), p.state)
	on conflict (cvs_code, cvs_reference) do update set confirmed_at = excluded.confirmed_at, confirm_state = excluded.confirm_state
	where (q.merchant_id, q.txid, q.token_no) = (excluded.merchant_id, excluded.txid, excluded.token_no)
	returning q.* into r;
	perform payout.require_own_reference(r);
	return row(p.txid, r.confirm_state, p.amount, p.currency, p_cvs_reference, r.confirmed_at)::payout.cashout_answer;
end
$$;
comment on function payout.confirm_payout(payout.payout, payout.cashout_token, text, text, text) is 'records that a store has handed over the cash, and moves the payout accordingly';

create function payout.cashout_reverse(cvs_code text, token text, cvs_reference text, reason text) returns payout.cashout_answer
language c volatile parallel unsafe as 'MODULE_PATHNAME', 'payout_entry';
comment on function payout.cashout_reverse(text, text, text, text) is
'a store takes its validation back: the token is free again, or expired; after a confirmation it opens a dispute. A repeat answers the same; one without an original is remembered and refuses the late original';

create function payout.do_cashout_reverse(p_cvs_code text, p_token text, p_cvs_reference text, p_reason text)
returns payout.cashout_answer
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
	c payout.cvs := payout.find_cvs(p_cvs_code);
	f payout.presented_token;
	t payout.cashout_token;
	p payout.payout;
	r payout.redemption;
begin
	perform payout.require_reference(p_cvs_reference), payout.require_text('reason', p_reason, 1, 500, 'text', 'PY016');
	f := payout.present_token(p_token, p_cvs_code, p_cvs_reference);
	t := f.t;
	p := f.p;
	r := f.r;

	if payout.is_of_token(r, t) then
		if r.reversed_at is not null then
			return row(p.txid, r.reverse_state, p.amount, p.currency, p_cvs_reference, r.reversed_at)::payout.cashout_answer;
		end if;
	else
		perform payout.require_unlocked(p_cvs_code, '', payout.option('cvs', c.options, 'token_tries')::integer);
		-- Remembered where the original could still arrive and be taken.
		if t.txid is null or r.cvs_code is not null or t.replaced_at is not null
			or p.state not in ('token_issued', 'token_reserved', 'suspect', 'expired') then
			perform payout.refuse_token(c, '', false);
		end if;
	end if;
	return payout.reverse_payout(p, t, p_cvs_code, p_cvs_reference, p_reason);
end
$$;
comment on function payout.do_cashout_reverse(text, text, text, text) is 'work of payout.cashout_reverse';

-- The store has not paid, or has taken the cash back. Its own reservation is freed; a payout that it has been paid for
-- becomes disputed, never refunded by itself; any other payout stays as it is. The caller has locked the payout.
create function payout.reverse_payout(p payout.payout, t payout.cashout_token, p_cvs_code text, p_cvs_reference text, p_reason text)
returns payout.cashout_answer
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
	is_own boolean := coalesce((p.cvs_code, p.cvs_reference) = (p_cvs_code, p_cvs_reference), false);
	why text := left(format('store %s reversed: %s', p_cvs_code, p_reason), 500);
	r payout.redemption;
begin
	if is_own and p.state in ('token_reserved', 'suspect') then
		update payout.payout u
		set state = case when t.valid_until > payout.clock() or payout.may_lack_cash(p) then 'token_issued' else 'expired' end,
			expire_due_at = t.valid_until, cvs_code = null, cvs_reference = null, reason = why
		where u.merchant_id = p.merchant_id and u.txid = p.txid returning * into p;
	elsif is_own and p.state = 'paid' then
		update payout.payout u set state = 'disputed', reason = why
		where u.merchant_id = p.merchant_id and u.txid = p.txid returning * into p;
	end if;
	insert into payout.redemption as q (cvs_code, cvs_reference, merchant_id, txid, token_no, reversed_at, reverse_state, reverse_reason)
	values (p_cvs_code, p_cvs_reference, p.merchant_id, p.txid, t.token_no, clock_timestamp(),
		-- that another store holds the token is nothing to this one
		case when is_own or p.state not in ('token_reserved', 'suspect') then p.state else 'token_issued' end, p_reason)
	on conflict (cvs_code, cvs_reference) do update
	set reversed_at = excluded.reversed_at, reverse_state = excluded.reverse_state, reverse_reason = excluded.reverse_reason
	where (q.merchant_id, q.txid, q.token_no) = (excluded.merchant_id, excluded.txid, excluded.token_no)
	returning q.* into r;
	perform payout.require_own_reference(r);
	return row(p.txid, r.reverse_state, p.amount, p.currency, p_cvs_reference, r.reversed_at)::payout.cashout_answer;
end
$$;
comment on function payout.reverse_payout(payout.payout, payout.cashout_token, text, text, text) is 'records that a store has not paid, and moves the payout accordingly';
