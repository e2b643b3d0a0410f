-- resolve.sql: what a person decides: payouts set aside, suspects past the bank's memory, disputes, returns.

create function payout.resolve(merchant_id text, txid text, outcome text, reason text) returns payout.payout
language c volatile parallel unsafe as 'MODULE_PATHNAME', 'payout_entry';
comment on function payout.resolve(text, text, text, text) is
'an operator decides: paid, failed or returned moves the payout and its money; dispatch releases one that is set aside to go on';

create function payout.do_resolve(p_merchant_id text, p_txid text, p_outcome text, p_reason text) returns payout.payout
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
	p payout.payout := payout.find_payout(p_merchant_id, p_txid, true);
begin
	perform payout.require_text('reason', p_reason, 1, 500, 'text', 'PY016');
	if p_outcome is null or p_outcome not in ('paid', 'failed', 'returned', 'dispatch') then
		raise exception 'argument "outcome" is not an outcome'
			using errcode = 'PY016', hint = 'The outcomes are paid, failed, returned and dispatch.';
	end if;
	if p_outcome = 'dispatch' then
		return payout.release_hold(p, p_reason);
	end if;
	if p.state = p_outcome then
		return p;
	end if;
	-- A request under way could still pay: what a person says of it would be a guess.
	if p.state = 'dispatching' and p_outcome = 'failed'
		and exists (select from payout.batch b where b.channel_id = p.channel_id and b.batch_id = p.batch_id
					and (b.state = 'sending' or b.item_count > 1)) then
		raise exception 'payout % is being sent', p.txid
			using errcode = 'PY004', hint = 'Wait for the answer; pause the channel to stop further sendings.';
	end if;
	if p.state = 'dispatching' and p_outcome = 'failed' then
		update payout.batch set state = 'refused', due_at = null, closed_at = clock_timestamp()
		where channel_id = p.channel_id and batch_id = p.batch_id and state = 'open';
	end if;
	update payout.payout u set state = p_outcome, reason = 'operator: ' || p_reason
	where u.merchant_id = p_merchant_id and u.txid = p_txid
	returning * into p;
	return p;
end
$$;
comment on function payout.do_resolve(text, text, text, text) is 'work of payout.resolve';

create function payout.release_hold(p payout.payout, p_reason text) returns payout.payout
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
	delete from payout.hold h where h.merchant_id = p.merchant_id and h.txid = p.txid;
	if not found then
		raise exception 'payout % is not set aside', p.txid
			using errcode = 'PY004', hint = 'Those that are stand in payout.hold and in payout.health().';
	end if;
	update payout.payout u
	set events = u.events + 1, reason = 'operator: ' || p_reason,
		check_due_at = case when u.account_check = 'pending' and u.state in ('registered', 'scheduled', 'approved') then payout.clock() else u.check_due_at end,
		dispatch_due_at = case when u.state = 'approved' and u.account_check not in ('pending', 'unavailable') then payout.clock() else u.dispatch_due_at end,
		status_due_at = case when u.state in ('processing', 'suspect') then payout.clock() else u.status_due_at end
	where u.merchant_id = p.merchant_id and u.txid = p.txid
	returning * into p;
	if p.state = 'dispatching' then
		update payout.batch set due_at = payout.clock()
		where channel_id = p.channel_id and batch_id = p.batch_id and state = 'open';
		-- It was sent and its outcome could not be recorded: the bank is asked.
		if exists (select from payout.batch b where b.channel_id = p.channel_id and b.batch_id = p.batch_id and b.state = 'sending')
			and not exists (select from payout.attempt a where a.channel_id = p.channel_id and a.batch_id = p.batch_id and a.outcome is null) then
			update payout.batch set state = 'unknown', was_unknown = true where channel_id = p.channel_id and batch_id = p.batch_id;
			update payout.payout u set state = 'suspect', status_due_at = payout.clock()
			where u.channel_id = p.channel_id and u.batch_id = p.batch_id and u.state = 'dispatching';
			select * into strict p from payout.payout u where u.merchant_id = p.merchant_id and u.txid = p.txid;
			return p;
		end if;
	end if;
	perform payout.write_event(p, null, p.state, p.state, p.reason);
	return p;
end
$$;
comment on function payout.release_hold(payout.payout, text) is 'a payout that was set aside goes on where it stood';
