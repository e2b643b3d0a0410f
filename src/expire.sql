-- expire.sql: what time does to cashouts: a token that nobody redeemed expires and is refunded; a reservation that the
-- store neither confirmed nor reversed becomes suspect, for the cash may have left the till.
--
-- The worker takes bounded batches, each in a transaction of its own, so that a million tokens that expire at midnight
-- hold neither a long transaction nor a merchant's balance for long.

create function payout.next_expiry() returns timestamptz
language sql volatile
set search_path = pg_catalog, pg_temp
return (select q.expire_due_at from payout.payout q
		where q.expire_due_at is not null
		and not exists (select from payout.hold h where (h.merchant_id, h.txid, h.lane) = (q.merchant_id, q.txid, 'expire'))
		order by q.expire_due_at limit 1);
comment on function payout.next_expiry() is 'when the next token expires or reservation lapses';

-- One batch, the oldest first. Refunds need the merchants' balances: p_wait waits for those that somebody has locked, up to
-- the lock timeout; otherwise their merchants' payouts are left for another time, and the next ones are taken.
create function payout.expire_tokens(p_limit integer, p_wait boolean default true) returns integer
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
	merchants text[];
	free text[];
	locked text[] := '{}';
	expired integer := 0;
begin
	loop
		merchants := array(
			select distinct n.merchant_id from (
				select q.merchant_id from payout.payout q
				where q.expire_due_at <= (select payout.clock()) and q.merchant_id <> all (locked)
				and not exists (select from payout.hold h where (h.merchant_id, h.txid, h.lane) = (q.merchant_id, q.txid, 'expire'))
				order by q.expire_due_at limit p_limit) n);
		free := case when p_wait then merchants else payout.lock_balances(merchants) end;
		exit when merchants = '{}' or free <> '{}';
		locked := locked || merchants;
	end loop;

	with due as (
		select q.merchant_id, q.txid
		from payout.payout q
		where q.expire_due_at <= (select payout.clock()) and q.merchant_id = any (free)
		and not exists (select from payout.hold h where (h.merchant_id, h.txid, h.lane) = (q.merchant_id, q.txid, 'expire'))
		order by q.expire_due_at limit p_limit
		for no key update skip locked)
	update payout.payout p
	set state = payout.state_after_expiry(p.state), reason = payout.reason_of_expiry(p.state), expire_due_at = null
	from due where p.merchant_id = due.merchant_id and p.txid = due.txid;
	get diagnostics expired = row_count;
	return expired;
end
$$;
comment on function payout.expire_tokens(integer, boolean) is 'worker: the oldest due tokens expire and reservations lapse; their count';

create function payout.lock_balances(p_merchants text[]) returns text[]
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
	return array(select b.merchant_id from payout.balance b where b.merchant_id = any (p_merchants) for no key update skip locked);
end
$$;
comment on function payout.lock_balances(text[]) is 'locks the balances that nobody else has locked; their merchants';

create function payout.state_after_expiry(p_state text) returns text
language sql immutable parallel safe
set search_path = pg_catalog, pg_temp
return case p_state when 'token_issued' then 'expired' when 'token_reserved' then 'suspect' else p_state end;
comment on function payout.state_after_expiry(text) is 'what a cashout becomes when its time is over';

create function payout.reason_of_expiry(p_state text) returns text
language sql immutable parallel safe
set search_path = pg_catalog, pg_temp
return case p_state when 'token_issued' then 'the token expired' when 'token_reserved' then 'the store neither confirmed nor reversed in time' end;
comment on function payout.reason_of_expiry(text) is 'why';

-- Containment. A batch failed: each due payout by itself. One that fails alone is set aside for a person; those of a
-- merchant whose balance is locked wait for the next time.
create function payout.expire_singly(p_limit integer) returns integer
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
	due record;
	locked text[] := '{}';
	tried integer := 0;
	expired integer := 0;
begin
	while tried < p_limit loop
		select q.merchant_id, q.txid, q.state into due
		from payout.payout q
		where q.expire_due_at <= (select payout.clock()) and q.merchant_id <> all (locked)
		and not exists (select from payout.hold h where (h.merchant_id, h.txid, h.lane) = (q.merchant_id, q.txid, 'expire'))
		order by q.expire_due_at limit 1
		for no key update skip locked;
		exit when not found;
		if payout.lock_balances(array[due.merchant_id]) = '{}' then
			locked := locked || due.merchant_id;
			continue;
		end if;
		tried := tried + 1;
		begin
			update payout.payout p
			set state = payout.state_after_expiry(p.state), reason = payout.reason_of_expiry(p.state), expire_due_at = null
			where p.merchant_id = due.merchant_id and p.txid = due.txid;
			expired := expired + 1;
		exception
			when lock_not_available or deadlock_detected or serialization_failure then
				locked := locked || due.merchant_id;
			when others then
				perform payout.hold_payout(due.merchant_id, due.txid, 'expire', sqlstate || ': ' || sqlerrm);
		end;
	end loop;
	return expired;
end
$$;
comment on function payout.expire_singly(integer) is 'worker: the same one by one, setting aside what fails alone; the count of those that expired';
