-- work.sql: what the worker reads besides the lanes' own claims: channels, and when the next work is due.

create type payout.worker_channel as (
	channel_id text, protocol text, base_url text, version text, paused boolean, options jsonb,
	private_key bytea, client_secret bytea, not_before timestamptz
);
comment on type payout.worker_channel is 'a channel as the worker needs it: effective options, sealed secrets, and a version that changes with either';

create function payout.worker_channels() returns setof payout.worker_channel
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
	return query
	select c.channel_id, c.protocol, c.base_url,
		concat_ws('/', c.base_url, hashtextextended(o.options::text, 0), k.set_at, k.key_id, s.set_at, s.key_id, payout.seal_key_id()),
		c.paused_at is not null, o.options, k.sealed, s.sealed, c.not_before
	from payout.channel c
	cross join lateral (select jsonb_object_agg(d.name, coalesce(c.options -> d.name, d.default_value)) as options from payout.option_definition d where d.scope = 'channel') o
	left join payout.channel_secret k on k.channel_id = c.channel_id and k.name = 'private_key' and k.valid_until is null
	left join payout.channel_secret s on s.channel_id = c.channel_id and s.name = 'client_secret' and s.valid_until is null
	order by c.channel_id;
end
$$;
comment on function payout.worker_channels() is 'worker: all channels';

-- The earliest moment at which a lane has work for a channel that is not in the given lists (at its limit, or resting).
create function payout.next_due(p_no_validate text[], p_no_dispatch text[], p_no_check text[], p_no_notify boolean, p_skip text[], p_notify_after text, p_no_expire boolean)
returns timestamptz
language plpgsql volatile
set search_path = pg_catalog, pg_temp
as $$
begin
	return (select least(
		(select min(least(
			case when c.channel_id <> all (p_no_validate) then
				(select q.check_due_at from payout.payout q where q.channel_id = c.channel_id and q.check_due_at is not null
				 and not exists (select from payout.hold h where (h.merchant_id, h.txid, h.lane) = (q.merchant_id, q.txid, 'validate'))
				 order by q.check_due_at limit 1) end,
			case when c.channel_id <> all (p_no_check) then
				(select q.status_due_at from payout.payout q where q.channel_id = c.channel_id and q.status_due_at is not null
				 and not exists (select from payout.hold h where (h.merchant_id, h.txid, h.lane) = (q.merchant_id, q.txid, 'check'))
				 order by q.status_due_at limit 1) end,
			case when c.channel_id <> all (p_no_dispatch) then
				greatest(c.not_before, least(
					(select q.due_at from payout.batch q where q.channel_id = c.channel_id and q.state = 'open' and q.due_at is not null
					 order by q.due_at limit 1),
					(select greatest(q.dispatch_due_at, case when q.method = 'online' and payout.option_text('channel', c.options, 'mode') = 'bulk'
									 then q.dispatch_due_at + payout.channel_interval(c.channel_id, 'linger_ms') end)
					 from payout.payout q where q.channel_id = c.channel_id and q.dispatch_due_at is not null
					 and not exists (select from payout.hold h where (h.merchant_id, h.txid, h.lane) = (q.merchant_id, q.txid, 'dispatch'))
					 order by q.dispatch_due_at limit 1),
					(select q.release_due_at from payout.payout q
					 where q.channel_id = c.channel_id and q.release_due_at is not null
					 and not exists (select from payout.hold h where (h.merchant_id, h.txid, h.lane) = (q.merchant_id, q.txid, 'dispatch'))
					 order by q.release_due_at limit 1))) end))
		 from payout.channel c where c.paused_at is null),
		case when not p_no_expire then payout.next_expiry() end,
		case when not p_no_notify then payout.next_notify(p_skip, p_notify_after) end));
end
$$;
comment on function payout.next_due(text[], text[], text[], boolean, text[], text, boolean) is 'worker: when it must turn again of its own accord';

create function payout.may_dispatch(p_channel_id text) returns boolean
language plpgsql volatile
set search_path = pg_catalog, pg_temp
as $$
begin
	return (select c.paused_at is null and coalesce(c.not_before <= payout.clock(), true) from payout.channel c where c.channel_id = p_channel_id);
end
$$;
comment on function payout.may_dispatch(text) is 'worker: whether transfers may be sent to a channel now';

-- Containment. A claim of many rows failed; find those that fail alone and set them aside, so that the lane goes on.
-- Each is tried with the change that claiming makes, which is then undone.
create function payout.isolate(p_lane text) returns integer
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
	due record;
	found_bad integer := 0;
begin
	for due in
		select q.merchant_id, q.txid, q.state from payout.payout q
		where case p_lane when 'validate' then q.check_due_at when 'check' then q.status_due_at else least(q.dispatch_due_at, q.release_due_at) end <= payout.clock()
		and not exists (select from payout.hold h where (h.merchant_id, h.txid, h.lane) = (q.merchant_id, q.txid, p_lane))
		limit 10000
	loop
		begin
			if p_lane = 'validate' then
				update payout.payout set check_due_at = null where merchant_id = due.merchant_id and txid = due.txid;
			elsif p_lane = 'check' then
				update payout.payout set status_due_at = null where merchant_id = due.merchant_id and txid = due.txid;
			else
				update payout.payout set state = case due.state when 'scheduled' then 'approved' else 'dispatching' end
				where merchant_id = due.merchant_id and txid = due.txid;
			end if;
			raise sqlstate 'PY000';		-- undoes the try
		exception
			-- what runs out is not this row's fault
			when sqlstate 'PY000' or lock_not_available or deadlock_detected or serialization_failure or insufficient_resources then
				null;
			when others then
				perform payout.hold_payout(due.merchant_id, due.txid, p_lane, sqlstate || ': ' || sqlerrm);
				found_bad := found_bad + 1;
		end;
	end loop;
	return found_bad;
end
$$;
comment on function payout.isolate(text) is 'worker: sets aside the due payouts of a lane that fail alone; their count';

-- An outcome could not be recorded. The attempt becomes unknown, and its payouts wait for a person.
create function payout.set_aside_attempt(p_channel_id text, p_attempt_id uuid, p_incarnation_id uuid, p_error text) returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
	a payout.attempt;
begin
	a := payout.finish_attempt(p_channel_id, p_attempt_id, p_incarnation_id, 'unknown', 'unknown', 0, null, 0, p_error);
	if a.lane = 'dispatch' then
		perform payout.hold_payout(p.merchant_id, p.txid, 'dispatch', 'its outcome could not be recorded: ' || p_error)
		from payout.payout p where p.channel_id = a.channel_id and p.batch_id = a.batch_id and p.state = 'dispatching';
	elsif a.lane is not null then
		perform payout.hold_payout(a.merchant_id, a.txid, a.lane, 'its outcome could not be recorded: ' || p_error);
	end if;
end
$$;
comment on function payout.set_aside_attempt(text, uuid, uuid, text) is 'worker: an attempt whose outcome cannot be recorded; its payouts are set aside';
