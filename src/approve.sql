-- approve.sql: steps 10 to 12 of a disbursement and their opposites: approve, reject, cancel, and the release of due
-- schedules. Approving a cashout goes on in token.sql.
--
-- Approving and recording the account check lock the same row, so that one of them sees the other: the later of the
-- two decides whether the payout goes to the dispatcher.

create type payout.approval as (txid text, state text, cashout_token text, valid_until timestamptz);
comment on type payout.approval is 'answer of payout.approve; a token is shown once';

create function payout.approve(merchant_id text, txid text) returns payout.approval
language c volatile parallel unsafe as 'MODULE_PATHNAME', 'payout_entry';
comment on function payout.approve(text, text) is
'a disbursement: deducts the amount and the fee and hands it to the dispatcher, at once or at its schedule; a cashout: issues its token. A repeat answers with the state, never with a token. Where the merchant wants two approvals, the first answers with state registered';

-- What approve.c has not done: it approves what is plain (a disbursement at once, its account matched or still asked
-- for, of a merchant that does not restrict who approves). All of the rules are here but those, which the trigger asks
-- (maker_checker.sql). One statement asks them and writes; the trigger deducts, and if the balance is too low or the role
-- the wrong one it raises, and nothing of this call remains. Only where it writes nothing, the reason is looked for.
create function payout.do_approve(p_merchant_id text, p_txid text) returns payout.approval
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
	p payout.payout;
	merchant payout.merchant;
	started timestamptz := payout.clock();
begin
	update payout.payout u
	set state = case when u.scheduled_at is null then 'approved' else 'scheduled' end,
		approved_at = clock_timestamp(),
		reason = null,
		release_due_at = u.scheduled_at,
		-- an account that could not be checked in time is asked for again, for its full time
		check_due_at = case when u.account_check = 'unavailable' and u.check_due_at is null and u.check_deadline_at <= started
			then started else u.check_due_at end,
		check_deadline_at = case when u.account_check in ('pending', 'unavailable')
			then started + payout.channel_interval(u.channel_id, 'check_deadline_s')
			else u.check_deadline_at end
	from payout.merchant_now(p_merchant_id) m
	where u.merchant_id = p_merchant_id and u.txid = p_txid and u.kind = 'disbursement' and u.state = 'registered'
	and u.account_check <> 'invalid' and (u.scheduled_at is null or u.scheduled_at > started)
	and m.active
	and case when m.options ? 'second_approval_above' then payout.is_last_approval(u.merchant_id, u.txid, u.amount, m.options) else true end
	returning u.* into p;
	if found then
		if p.state = 'approved' then
			p := payout.pass_gate(p);
		end if;
		return row(p.txid, p.state, null, null)::payout.approval;
	end if;

	p := payout.find_payout(p_merchant_id, p_txid, true);
	if p.state = 'rejected' then
		raise exception 'the payout was rejected'
			using errcode = 'PY004', detail = format('TXID %s.', p.txid), hint = 'Register it again under a new reference number.';
	elsif p.state <> 'registered' then
		return row(p.txid, p.state, null, payout.token_valid_until(p.merchant_id, p.txid))::payout.approval;
	end if;
	merchant := payout.find_merchant(p_merchant_id);
	if not merchant.active then
		raise exception 'merchant "%" is not active', p_merchant_id
			using errcode = 'PY005', hint = 'payout.alter_merchant activates it.';
	elsif p.account_check = 'invalid' then
		raise exception 'the bank refuses the account of the payout'
			using errcode = 'PY008', detail = format('TXID %s: %s.', p.txid, p.reason), hint = 'Reject it and register the right account.';
	elsif p.scheduled_at <= started then
		raise exception 'the schedule of the payout has passed'
			using errcode = 'PY009', detail = format('TXID %s.', p.txid), hint = 'Reject it and register it again.';
	elsif merchant.options ? 'second_approval_above' and not payout.is_last_approval(p.merchant_id, p.txid, p.amount, merchant.options) then
		return payout.give_approval(p);
	elsif p.kind = 'cashout' then
		return payout.issue_first_token(p);
	end if;
	-- The rules allow it now; they did not a moment ago.
	return payout.do_approve(p_merchant_id, p_txid);
end
$$;
comment on function payout.do_approve(text, text) is 'work of payout.approve';

-- The gate between an approved payout and the dispatcher: the account check.
create function payout.pass_gate(p payout.payout) returns payout.payout
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
	m payout.merchant;
	c payout.channel;
begin
	if p.account_check in ('name_differs', 'unreadable') then
		m := payout.merchant_now(p.merchant_id);
		if payout.option_text('merchant', m.options, 'on_name_differs') = 'hold' then
			perform payout.hold_payout(p.merchant_id, p.txid, 'dispatch',
				case p.account_check when 'unreadable' then 'the account''s name cannot be compared' else 'the account has another name' end);
		end if;
	elsif p.account_check = 'invalid' then
		return payout.fail_unsent(p, coalesce(p.reason, 'invalid account'));
	elsif p.account_check in ('pending', 'unavailable') then
		if p.check_due_at is not null or payout.clock() < p.check_deadline_at then
			return p;	-- still asked; the answer passes this gate again
		end if;
		c := payout.channel_now(p.channel_id);
		if payout.option_text('channel', c.options, 'on_check_unavailable') = 'fail' then
			return payout.fail_unsent(p, 'the account could not be checked');
		end if;
	end if;
	update payout.payout u set dispatch_due_at = payout.clock()
	where u.merchant_id = p.merchant_id and u.txid = p.txid returning * into p;
	return p;
end
$$;
comment on function payout.pass_gate(payout.payout) is 'sends an approved payout on to the dispatcher, to a person, to its end, or leaves it waiting, by its account check';

create function payout.reject(merchant_id text, txid text, reason text) returns payout.payout
language c volatile parallel unsafe as 'MODULE_PATHNAME', 'payout_entry';
comment on function payout.reject(text, text, text) is 'ends a registered payout before its approval';

create function payout.do_reject(p_merchant_id text, p_txid text, p_reason text) returns payout.payout
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
	p payout.payout := payout.find_payout(p_merchant_id, p_txid, true);
begin
	perform payout.require_text('reason', p_reason, 1, 500, 'text', 'PY016');
	if p.state = 'rejected' then
		return p;
	end if;
	update payout.payout u set state = 'rejected', reason = p_reason
	where u.merchant_id = p_merchant_id and u.txid = p_txid
	returning * into p;
	return p;
end
$$;
comment on function payout.do_reject(text, text, text) is 'work of payout.reject';

create function payout.cancel(merchant_id text, txid text, reason text) returns payout.payout
language c volatile parallel unsafe as 'MODULE_PATHNAME', 'payout_entry';
comment on function payout.cancel(text, text, text) is 'ends a scheduled payout before its moment and gives the money back';

create function payout.do_cancel(p_merchant_id text, p_txid text, p_reason text) returns payout.payout
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
	p payout.payout := payout.find_payout(p_merchant_id, p_txid, true);
begin
	perform payout.require_text('reason', p_reason, 1, 500, 'text', 'PY016');
	if p.state = 'cancelled' then
		return p;
	end if;
	if p.state = 'scheduled' and p.scheduled_at <= payout.clock() then
		raise exception 'the schedule of the payout has passed'
			using errcode = 'PY004', detail = format('TXID %s.', p.txid), hint = 'It is on its way to the bank.';
	end if;
	update payout.payout u set state = 'cancelled', reason = p_reason
	where u.merchant_id = p_merchant_id and u.txid = p_txid
	returning * into p;
	return p;
end
$$;
comment on function payout.do_cancel(text, text, text) is 'work of payout.cancel';

create function payout.release_schedules(p_limit integer) returns integer
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
	p payout.payout;
	released integer := 0;
begin
	if not exists (select from payout.channel c, payout.payout q
				   where q.channel_id = c.channel_id and q.release_due_at <= (select payout.clock())) then
		return 0;
	end if;
	for p in
		select s.* from payout.channel c
		cross join lateral (select * from payout.payout q
			where q.channel_id = c.channel_id and q.release_due_at <= (select payout.clock()) and q.state = 'scheduled'
			and not exists (select from payout.hold h where (h.merchant_id, h.txid, h.lane) = (q.merchant_id, q.txid, 'dispatch'))
			order by q.release_due_at limit p_limit for no key update skip locked) s
	loop
		-- a hold that was committed after the snapshot of the query above
		continue when exists (select from payout.hold h
			where (h.merchant_id, h.txid, h.lane) = (p.merchant_id, p.txid, 'dispatch'));
		update payout.payout u set state = 'approved', release_due_at = null
		where u.merchant_id = p.merchant_id and u.txid = p.txid returning * into p;
		perform payout.pass_gate(p);
		released := released + 1;
	end loop;
	return released;
end
$$;
comment on function payout.release_schedules(integer) is 'worker: scheduled payouts whose moment has come become approved and pass the gate';
