-- notify.sql: step 17, lane notify: messages owed to merchants, created with the change they tell of.
--
-- Delivered at least once, in order for each payout. What the message says of that moment is kept with it, and the rest of
-- it never changes: so a repeat is the same message under the same id, without a copy of each body.
--
-- A claim writes no index (HOT): it leaves due_at alone and says in sending_by whose it is.

create table payout.notification (
	merchant_id text collate "C" not null,
	txid text collate "C" not null,
	event_no integer not null,
	created_at timestamptz not null default clock_timestamp(),
	due_at timestamptz,
	delivered_at timestamptz,
	given_up_at timestamptz,
	tries integer not null default 0,
	http_status integer,
	sending_by uuid,
	event text not null,
	state text not null,
	fee numeric(18,2) not null,
	account_check text,
	bank_reference_no text collate "C",
	cvs_code text collate "C",
	cvs_reference text collate "C",
	response_code text,
	reason text,
	error text,
	primary key (merchant_id, txid, event_no)
) with (autovacuum_vacuum_scale_factor = 0.05);
comment on table payout.notification is 'one message owed to a merchant, with what it says of the payout as it was then; event_no is that of the history row it tells of; see payout.notification_body';
comment on column payout.notification.due_at is 'when it is to be delivered; null once it is delivered or given up';
comment on column payout.notification.sending_by is 'the life of the worker that has it under way';

create index notification_due on payout.notification (merchant_id, due_at) where due_at is not null;
create index notification_given_up on payout.notification (merchant_id) where given_up_at is not null;

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

-- The content of a payout never changes; what does is taken from the notification.
create function payout.notification_body(n payout.notification, p payout.payout) returns text
language plpgsql stable
set search_path = pg_catalog, pg_temp
as $$
begin
	return json_build_object(
		'type', n.event,
		'timestamp', to_char(n.created_at at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"'),
		'data', json_build_object(
			'merchant_id', n.merchant_id, 'txid', n.txid, 'reference_no', p.reference_no, 'kind', p.kind, 'state', n.state,
			'amount', p.amount::text, 'fee', n.fee::text, 'currency', p.currency, 'bank_code', p.bank_code,
			'account_no', payout.masked(p.account_no), 'account_check', n.account_check, 'bank_reference_no', n.bank_reference_no,
			'cvs_code', n.cvs_code, 'cvs_reference', n.cvs_reference,
			'response_code', n.response_code, 'reason', n.reason))::text;
end
$$;
comment on function payout.notification_body(payout.notification, payout.payout) is 'the body of a notification of this payout in the standard format';

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
declare
	format_by_default text;
begin
	if not exists (select from payout.notification q where q.due_at is not null and q.merchant_id > '') then
		return;
	end if;
	format_by_default := payout.option_text('merchant', '{}', 'notify_format');
	return query
	with due as materialized (
		select d.merchant_id, d.txid, d.place
		from (select a.a as merchant_id from payout.merchants_to_notify(p_after) a
			  union all
			  select a.a from payout.merchants_to_notify('') a where a.a <= p_after) m,
		lateral (select q.merchant_id, q.txid, q.ctid as place
				 from payout.notification q
				 where q.merchant_id = m.merchant_id and q.due_at <= (select payout.clock()) and q.sending_by is null
				 and not exists (select from payout.notification e where e.merchant_id = q.merchant_id and e.txid = q.txid
								 and e.event_no < q.event_no and e.due_at is not null)
				 order by q.due_at limit p_share
				 for no key update skip locked) d
		where m.merchant_id <> all (p_skip)
		limit p_limit)
	update payout.notification n
	set sending_by = p_incarnation_id, tries = n.tries + 1
	from due d,
	lateral (select q.* from payout.merchant q where q.merchant_id = d.merchant_id limit 1) m,
	lateral (select q from payout.payout q where q.merchant_id = d.merchant_id and q.txid = d.txid limit 1) p
	where n.ctid = d.place
	returning n.merchant_id, n.txid, n.event_no, coalesce(m.notify_url, ''), payout.notification_body(n, p.q), n.tries,
		coalesce(m.options ->> 'notify_format', format_by_default),
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
					 where q.merchant_id = m.merchant_id and q.due_at is not null and q.sending_by is null
					 and not exists (select from payout.notification e where e.merchant_id = q.merchant_id and e.txid = q.txid
									 and e.event_no < q.event_no and e.due_at is not null)
					 order by q.due_at limit 1) d
			where m.merchant_id <> all (p_skip));
end
$$;
comment on function payout.next_notify(text[], text) is 'worker: when the next notification is due';

-- An error is null where the message was delivered. What was released the gate did not let go: it counts as no try.
create function payout.record_notify(p_incarnation_id uuid, p_merchant_ids text[], p_txids text[], p_event_nos integer[],
									 p_http_statuses integer[], p_errors text[], p_released boolean[]) returns integer
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
	tries_max integer := (select r.tries_max from payout.retry_policy r where r.lane = 'notify' order by r.source = 'operator' desc limit 1);
	places tid[];
	rows_of integer[];
	recorded integer;
begin
	-- Locked first, and then found by their places: so no plan can read more than them, whatever the statistics say.
	select array_agg(l.place), array_agg(u.n) into places, rows_of
	from unnest(p_merchant_ids, p_txids, p_event_nos) with ordinality u (merchant_id, txid, event_no, n),
	lateral (select q.ctid as place from payout.notification q
			 where q.merchant_id = u.merchant_id and q.txid = u.txid and q.event_no = u.event_no and q.sending_by = p_incarnation_id
			 for no key update) l;
	update payout.notification n
	set sending_by = null, http_status = p_http_statuses[u.n], error = left(p_errors[u.n], 300),
		tries = n.tries - p_released[u.n]::integer,
		delivered_at = case when p_errors[u.n] is null then clock_timestamp() end,
		given_up_at = case when p_errors[u.n] is not null and n.tries >= tries_max and not p_released[u.n] then clock_timestamp() end,
		due_at = case when p_released[u.n] then payout.clock()
			when p_errors[u.n] is not null and n.tries < tries_max then payout.clock() + payout.backoff('notify', n.tries) end
	from unnest(places, rows_of) u (place, n)
	where n.ctid = u.place;
	get diagnostics recorded = row_count;
	return recorded;
end
$$;
comment on function payout.record_notify(uuid, text[], text[], integer[], integer[], text[], boolean[]) is 'worker: writes which notifications were delivered; the count of those that are this life''s';

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
