-- expire.sql: what time does to cashouts: a token that nobody redeemed expires and is refunded; a reservation that the
-- store neither confirmed nor reversed becomes suspect, for the cash may have left the till.
--
-- The worker takes bounded batches, each in a transaction of its own, so that a million tokens that expire at midnight
-- hold no long transaction.

create function payout.next_expiry() returns timestamptz
language plpgsql volatile
set search_path = pg_catalog, pg_temp
as $$
begin
	return (select q.expire_due_at from payout.payout q
			where q.expire_due_at is not null
			and not exists (select from payout.hold h where (h.merchant_id, h.txid, h.lane) = (q.merchant_id, q.txid, 'expire'))
			order by q.expire_due_at limit 1);
end
$$;
comment on function payout.next_expiry() is 'when the next token expires or reservation lapses';

create function payout.expire_tokens(p_limit integer) returns integer
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
	expired integer;
	tail boolean := payout.asks_first('-infinity');
begin
	if tail then
		perform payout.hold_unasked_tokens(p_limit);
	end if;
	with due as (
		select q.merchant_id, q.txid
		from payout.payout q
		where q.expire_due_at <= (select payout.clock())
		and not exists (select from payout.hold h where (h.merchant_id, h.txid, h.lane) = (q.merchant_id, q.txid, 'expire'))
		and case when tail then not payout.may_be_paid_unseen(q) else true end
		order by q.expire_due_at limit p_limit
		for no key update skip locked)
	update payout.payout p
	set state = payout.state_after_expiry(p.state), reason = payout.reason_of_expiry(p.state), expire_due_at = null
	from due where p.merchant_id = due.merchant_id and p.txid = due.txid;
	get diagnostics expired = row_count;
	return expired;
end
$$;
comment on function payout.expire_tokens(integer) is 'worker: the oldest due tokens expire and reservations lapse; their count';

-- A reservation that lapses ends nothing: it becomes suspect as ever.
create function payout.may_be_paid_unseen(p payout.payout) returns boolean
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
	return p.state = 'token_issued' and payout.may_lack_cash(p);
end
$$;
comment on function payout.may_be_paid_unseen(payout.payout) is 'whether the expiry of this token would refund what a store may have paid in a lost tail';

create function payout.hold_unasked_tokens(p_limit integer) returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
	perform payout.hold_payout(d.merchant_id, d.txid, 'expire', 'its token has expired, but a store may have paid it: the record would be lost with the server before this one')
	from (select q.merchant_id, q.txid from payout.payout q
		  where q.expire_due_at <= (select payout.clock())
		  and not exists (select from payout.hold h where (h.merchant_id, h.txid, h.lane) = (q.merchant_id, q.txid, 'expire'))
		  and payout.may_be_paid_unseen(q)
		  order by q.expire_due_at limit p_limit
		  for no key update skip locked) d;
end
$$;
comment on function payout.hold_unasked_tokens(integer) is 'worker: due tokens that a store may have redeemed without a record are set aside instead of refunded';

create function payout.state_after_expiry(p_state text) returns text
language plpgsql immutable parallel safe
set search_path = pg_catalog, pg_temp
as $$
begin
	return case p_state when 'token_issued' then 'expired' when 'token_reserved' then 'suspect' else p_state end;
end
$$;
comment on function payout.state_after_expiry(text) is 'what a cashout becomes when its time is over';

create function payout.reason_of_expiry(p_state text) returns text
language plpgsql immutable parallel safe
set search_path = pg_catalog, pg_temp
as $$
begin
	return case p_state when 'token_issued' then 'the token expired' when 'token_reserved' then 'the store neither confirmed nor reversed in time' end;
end
$$;
comment on function payout.reason_of_expiry(text) is 'why';

-- Containment. A batch failed: each due payout by itself. One that fails alone is set aside for a person.
create function payout.expire_singly(p_limit integer) returns integer
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
	due record;
	expired integer := 0;
begin
	for due in
		select q.merchant_id, q.txid
		from payout.payout q
		where q.expire_due_at <= (select payout.clock())
		and not exists (select from payout.hold h where (h.merchant_id, h.txid, h.lane) = (q.merchant_id, q.txid, 'expire'))
		and not payout.may_be_paid_unseen(q)
		order by q.expire_due_at limit p_limit
		for no key update skip locked
	loop
		begin
			update payout.payout p
			set state = payout.state_after_expiry(p.state), reason = payout.reason_of_expiry(p.state), expire_due_at = null
			where p.merchant_id = due.merchant_id and p.txid = due.txid;
			expired := expired + 1;
		exception
			when lock_not_available or deadlock_detected or serialization_failure or insufficient_resources then
				null;
			when others then
				perform payout.hold_payout(due.merchant_id, due.txid, 'expire', sqlstate || ': ' || sqlerrm);
		end;
	end loop;
	return expired;
end
$$;
comment on function payout.expire_singly(integer) is 'worker: the same one by one, setting aside what fails alone; the count of those that expired';
