-- notify.sql: step 17, lane notify: messages owed to merchants, created with the change they tell of.
--
-- Delivered at least once, in order for each payout. The body is frozen when it is owed, so a repeat is the same
-- message under the same id.

create table payout.notification (
	merchant_id text collate "C" not null,
	txid text collate "C" not null,
	event_no integer not null,
	event text not null,
	body text not null,
	created_at timestamptz not null default clock_timestamp(),
	due_at timestamptz,
	sending_by uuid,
	tries integer not null default 0,
	delivered_at timestamptz,
	given_up_at timestamptz,
	http_status integer,
	error text,
	primary key (merchant_id, txid, event_no),
	check (delivered_at is null or given_up_at is null)
) with (fillfactor = 70);
comment on table payout.notification is 'one message owed to a merchant; event_no is that of the history row it tells of';
comment on column payout.notification.sending_by is 'the life of the worker that has it under way';

create index notification_due on payout.notification (merchant_id, due_at) where due_at is not null;
create index notification_given_up on payout.notification (merchant_id) where given_up_at is not null;
create index notification_sending on payout.notification (sending_by) where sending_by is not null;

create trigger refuse_truncate before truncate on payout.notification for each statement execute function payout.refuse_change();

create function payout.masked(value text) returns text
language plpgsql immutable parallel safe
set search_path = pg_catalog, pg_temp
as $$
begin
	return case when length(value) > 4 then repeat('*', length(value) - 4) || right(value, 4) else repeat('*', length(value)) end;
end
$$;
comment on function payout.masked(text) is 'the value with all but its last four characters hidden';

create function payout.is_told(p_merchant_id text, p_event text) returns boolean
language plpgsql stable
set search_path = pg_catalog, pg_temp
as $$
begin
	return (select m.notify_url is not null and payout.option('merchant', m.options, 'notify_events') ? p_event
			from payout.merchant m where m.merchant_id = p_merchant_id);
end
$$;
comment on function payout.is_told(text, text) is 'whether the merchant wants to be told of such events, and can be';

create function payout.owe_notification(p payout.payout, p_event text) returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
	if payout.is_told(p.merchant_id, p_event) then
		insert into payout.notification (merchant_id, txid, event_no, event, body, due_at)
		values (p.merchant_id, p.txid, p.events, p_event, payout.event_body(p, p_event, clock_timestamp()), payout.clock());
	end if;
end
$$;
comment on function payout.owe_notification(payout.payout, text) is 'owes the merchant a notification of the payout''s event, if it wants those';

create function payout.event_body(p payout.payout, p_event text, p_at timestamptz) returns text
language plpgsql stable
set search_path = pg_catalog, pg_temp
as $$
begin
	return json_build_object(
		'type', p_event,
		'timestamp', to_char(p_at at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"'),
		'data', json_build_object(
			'merchant_id', p.merchant_id, 'txid', p.txid, 'reference_no', p.reference_no, 'kind', p.kind, 'state', p.state,
			'amount', p.amount::text, 'fee', p.fee::text, 'currency', p.currency, 'bank_code', p.bank_code,
			'account_no', payout.masked(p.account_no), 'account_check', p.account_check, 'bank_reference_no', p.bank_reference_no,
			'cvs_code', p.cvs_code, 'cvs_reference', p.cvs_reference,
			'response_code', p.response_code, 'reason', p.reason))::text;
end
$$;
comment on function payout.event_body(payout.payout, text, timestamptz) is 'the body of a notification in the standard format';

create type payout.notify_work as (
	merchant_id text, txid text, event_no integer, url text, body text, tries integer, format text, sealed_secrets bytea[]
);
comment on type payout.notify_work is 'what lane notify sends for one notification';

-- Found by hops through the queue's index: a merchant's backlog costs the others nothing.
create function payout.merchants_to_notify(p_after text) returns setof text
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
	return query
	with recursive m as (
		(select q.merchant_id from payout.notification q where q.due_at is not null and q.merchant_id > p_after order by q.merchant_id limit 1)
		union all
		select (select q.merchant_id from payout.notification q where q.due_at is not null and q.merchant_id > m.merchant_id order by q.merchant_id limit 1)
		from m where m.merchant_id is not null)
	select m.merchant_id from m where m.merchant_id is not null limit 1000;
end
$$;
comment on function payout.merchants_to_notify(text) is 'worker: the next merchants, at most 1000, after one in order that have notifications to be delivered now or later';

-- Merchants in turn, going on after p_after, at most p_share for each; of a payout the oldest undelivered message goes
-- first. p_skip are merchants whose host rests or is at its limit.
create function payout.claim_notify(p_incarnation_id uuid, p_limit integer, p_skip text[], p_share integer, p_after text)
returns setof payout.notify_work
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
	return query
	with due as (
		select d.merchant_id, d.txid, d.event_no
		from (select a.a as merchant_id from payout.merchants_to_notify(p_after) a
			  union all
			  select a.a from payout.merchants_to_notify('') a where a.a <= p_after) m,
		lateral (select q.merchant_id, q.txid, q.event_no
				 from payout.notification q
				 where q.merchant_id = m.merchant_id and q.due_at <= (select payout.clock())
				 and not exists (select from payout.notification e where e.merchant_id = q.merchant_id and e.txid = q.txid
								 and e.event_no < q.event_no and (e.due_at is not null or e.sending_by is not null))
				 order by q.due_at limit p_share
				 for no key update skip locked) d
		where m.merchant_id <> all (p_skip)
		limit p_limit)
	update payout.notification n
	set due_at = null, sending_by = p_incarnation_id, tries = n.tries + 1
	from due, payout.merchant m
	where n.merchant_id = due.merchant_id and n.txid = due.txid and n.event_no = due.event_no and m.merchant_id = n.merchant_id
	returning n.merchant_id, n.txid, n.event_no, coalesce(m.notify_url, ''), n.body, n.tries,
		payout.option_text('merchant', m.options, 'notify_format'),
		payout.valid_secrets('merchant:' || n.merchant_id, 'webhook_secret');
end
$$;
comment on function payout.claim_notify(uuid, integer, text[], integer, text) is 'worker: takes due notifications';

-- The same merchants are looked at as when claiming.
create function payout.next_notify(p_skip text[], p_after text) returns timestamptz
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
	return (select min(d.due_at)
			from (select a.a as merchant_id from payout.merchants_to_notify(p_after) a
				  union all
				  select a.a from payout.merchants_to_notify('') a where a.a <= p_after) m,
			lateral (select q.due_at from payout.notification q
					 where q.merchant_id = m.merchant_id and q.due_at is not null
					 and not exists (select from payout.notification e where e.merchant_id = q.merchant_id and e.txid = q.txid
									 and e.event_no < q.event_no and (e.due_at is not null or e.sending_by is not null))
					 order by q.due_at limit 1) d
			where m.merchant_id <> all (p_skip));
end
$$;
comment on function payout.next_notify(text[], text) is 'worker: when the next notification is due';

create function payout.record_notify(p_merchant_id text, p_txid text, p_event_no integer, p_incarnation_id uuid,
									 p_delivered boolean, p_http_status integer, p_error text) returns boolean
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
	tries_max integer := (select r.tries_max from payout.retry_policy r where r.lane = 'notify' order by r.source = 'operator' desc limit 1);
begin
	update payout.notification n
	set sending_by = null, http_status = nullif(p_http_status, 0), error = case when p_delivered then null else left(p_error, 300) end,
		delivered_at = case when p_delivered then clock_timestamp() end,
		given_up_at = case when not p_delivered and n.tries >= tries_max then clock_timestamp() end,
		due_at = case when not p_delivered and n.tries < tries_max then payout.clock() + payout.backoff('notify', n.tries) end
	where n.merchant_id = p_merchant_id and n.txid = p_txid and n.event_no = p_event_no and n.sending_by = p_incarnation_id;
	return found;
end
$$;
comment on function payout.record_notify(text, text, integer, uuid, boolean, integer, text) is 'worker: writes whether a notification was delivered';

create function payout.resend_notification(merchant_id text, txid text) returns integer
language c volatile parallel unsafe as 'MODULE_PATHNAME', 'payout_entry';
comment on function payout.resend_notification(text, text) is 'delivers all notifications of a payout again, those given up included; their count';

create function payout.do_resend_notification(p_merchant_id text, p_txid text) returns integer
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
	again integer;
begin
	perform payout.find_payout(p_merchant_id, p_txid, false);
	-- Locked before they are looked at: the worker may be taking one.
	perform from payout.notification n where n.merchant_id = p_merchant_id and n.txid = p_txid order by n.event_no for no key update;
	if exists (select from payout.notification n where n.merchant_id = p_merchant_id and n.txid = p_txid and n.sending_by is not null) then
		raise exception 'a notification of the payout is being delivered'
			using errcode = 'PY004', detail = format('TXID %s.', p_txid), hint = 'Try again in a moment.';
	end if;
	update payout.notification n set due_at = payout.clock(), tries = 0, given_up_at = null, delivered_at = null
	where n.merchant_id = p_merchant_id and n.txid = p_txid;
	get diagnostics again = row_count;
	perform payout.wake();
	return again;
end
$$;
comment on function payout.do_resend_notification(text, text) is 'work of payout.resend_notification';
