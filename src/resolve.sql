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
		return case when p.doubted_at is null then p else payout.end_doubt(p, 'operator: ' || p_reason) end;
	end if;
	if p.state = 'dispatching' then
		perform payout.leave_batch(p, p_outcome);
	elsif p.doubted_at is not null then
		update payout.payout u set state = 'disputed', reason = 'operator: ' || p_reason, doubted_at = null, status_due_at = null
		where u.merchant_id = p_merchant_id and u.txid = p_txid;
	end if;
	update payout.payout u set state = p_outcome, reason = 'operator: ' || p_reason
	where u.merchant_id = p_merchant_id and u.txid = p_txid
	returning * into p;
	return p;
end
$$;
comment on function payout.do_resolve(text, text, text, text) is 'work of payout.resolve';

-- A person may speak of a payout in dispatching only when no request of it is under way, and of one that was never sent
-- only as failed: what was split off a bulk was sent with the bulk. A member leaves a bulk only by the bank's word, for the
-- others would be sent without it under the same id; but not yet sent under that id it leaves with a batch of its own.
create function payout.leave_batch(p payout.payout, p_outcome text) returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
	b payout.batch;
	was_never_claimed boolean;
begin
	select * into strict b from payout.batch q where q.channel_id = p.channel_id and q.batch_id = p.batch_id for no key update;
	was_never_claimed := not exists (select from payout.attempt a where a.channel_id = b.channel_id and a.batch_id = b.batch_id);
	if b.state <> 'open' or (b.item_count > 1 and not was_never_claimed) or (p_outcome <> 'failed' and not b.was_unknown and payout.external_ids(b.channel_id, b.batch_id) is null) then
		raise exception 'the payout is being sent'
			using errcode = 'PY004', detail = format('TXID %s.', p.txid), hint = 'Wait for the bank''s answer; pausing the channel stops further sendings.';
	end if;
	if b.item_count > 1 then
		b := payout.part_batch(b, p);
	end if;
	update payout.batch q set state = case when p_outcome = 'failed' then 'refused' else 'accepted' end, due_at = null, closed_at = clock_timestamp()
	where q.channel_id = b.channel_id and q.batch_id = b.batch_id;
end
$$;
comment on function payout.leave_batch(payout.payout, text) is 'closes the batch of a payout that a person decides on, or raises PY004 while it is being sent';

create function payout.part_batch(b payout.batch, p payout.payout) returns payout.batch
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
	own payout.batch;
begin
	insert into payout.batch (channel_id, batch_id, service, epoch, parent_batch_id, source_account_no, transaction_date, item_count, total)
	values (b.channel_id, payout.new_id(), b.service, b.epoch, b.parent_batch_id, b.source_account_no, b.transaction_date, 1, p.amount)
	returning * into own;
	update payout.batch q set item_count = q.item_count - 1, total = q.total - p.amount
	where q.channel_id = b.channel_id and q.batch_id = b.batch_id;
	update payout.payout u set batch_id = own.batch_id where u.merchant_id = p.merchant_id and u.txid = p.txid;
	return own;
end
$$;
comment on function payout.part_batch(payout.batch, payout.payout) is 'gives one member of a batch that was not sent yet a batch of its own; the others stay';

create function payout.release_hold(p payout.payout, p_reason text) returns payout.payout
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
	now_clock timestamptz := payout.clock();
	is_in_doubt boolean := payout.may_lack_cash(p);
begin
	if payout.is_elsewhere(p) then
		raise exception 'the bank that has the payout does not stand behind its channel any more'
			using errcode = 'PY004', detail = format('TXID %s.', p.txid), hint = 'Ask that bank, and resolve it as paid, failed or returned.';
	elsif p.state = 'suspect' and exists (select from payout.hold h where h.merchant_id = p.merchant_id and h.txid = p.txid and h.lane = 'dispatch') then
		return payout.send_held(p, p_reason);
	end if;
	delete from payout.hold h where h.merchant_id = p.merchant_id and h.txid = p.txid;
	if is_in_doubt then
		perform payout.note_unpaid_cash(p);
	elsif not found then
		raise exception 'the payout is not set aside'
			using errcode = 'PY004', detail = format('TXID %s.', p.txid), hint = 'Those that are stand in payout.v_hold and in payout.health().';
	end if;
	-- Why it came to its end stays.
	update payout.payout u
	set reason = 'operator: ' || p_reason
	where u.merchant_id = p.merchant_id and u.txid = p.txid and num_nonnulls(u.final_at, u.disputed_at) = 0;
	select * into strict p from payout.payout u where u.merchant_id = p.merchant_id and u.txid = p.txid;
	p := payout.add_event(p, 'operator: ' || p_reason);
	if p.state = 'approved' and p.account_check = 'unavailable' and p.check_due_at is null and payout.may_lack_record(p) then
		-- Whether the bank has paid it does not depend on its account: it is asked for, and sent when it is not found.
		update payout.payout u set dispatch_due_at = now_clock
		where u.merchant_id = p.merchant_id and u.txid = p.txid returning * into p;
	elsif p.state in ('registered', 'scheduled', 'approved') and p.account_check in ('pending', 'unavailable') then
		update payout.payout u
		set check_due_at = now_clock, check_deadline_at = greatest(u.check_deadline_at, now_clock + payout.channel_interval(p.channel_id, 'check_deadline_s'))
		where u.merchant_id = p.merchant_id and u.txid = p.txid returning * into p;
	elsif p.state = 'approved' then
		update payout.payout u set dispatch_due_at = now_clock
		where u.merchant_id = p.merchant_id and u.txid = p.txid returning * into p;
	elsif p.kind = 'disbursement' and (p.state in ('processing', 'suspect') or p.doubted_at is not null) then
		update payout.payout u set status_due_at = now_clock
		where u.merchant_id = p.merchant_id and u.txid = p.txid returning * into p;
	elsif p.state = 'dispatching' then
		p := payout.release_batch(p);
	elsif is_in_doubt and p.state = 'token_issued' and p.expire_due_at <= now_clock then
		-- A person has made sure that no store has paid it.
		update payout.payout u set state = 'expired', expire_due_at = null
		where u.merchant_id = p.merchant_id and u.txid = p.txid returning * into p;
	end if;
	return p;
end
$$;
comment on function payout.release_hold(payout.payout, text) is 'a payout that was set aside goes on where it stood';

create function payout.release_batch(p payout.payout) returns payout.payout
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
	update payout.batch set due_at = payout.clock()
	where channel_id = p.channel_id and batch_id = p.batch_id and state = 'open';
	-- It was sent and its outcome could not be recorded: the bank is asked.
	perform from payout.batch b
	where b.channel_id = p.channel_id and b.batch_id = p.batch_id and b.state = 'sending'
	and not exists (select from payout.attempt a where a.channel_id = b.channel_id and a.batch_id = b.batch_id and a.outcome is null)
	for no key update;
	if found then
		-- All of it is: a hold that remained would let a person send it unasked.
		delete from payout.hold h using payout.payout m
		where m.channel_id = p.channel_id and m.batch_id = p.batch_id and h.merchant_id = m.merchant_id and h.txid = m.txid and h.lane = 'dispatch';
		perform payout.doubt_batch(p.channel_id, p.batch_id, p.response_code, p.reason, payout.clock());
	end if;
	select * into strict p from payout.payout u where u.merchant_id = p.merchant_id and u.txid = p.txid;
	return p;
end
$$;
comment on function payout.release_batch(payout.payout) is 'the batch of a payout that was set aside is sent, or asked for where it may have been sent';
