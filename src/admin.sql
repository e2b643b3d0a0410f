-- admin.sql: what operators change: options, grants, limits, secrets by their names, pauses, arming, retry policies.
--
-- A trigger writes a row of payout.admin_event for each row of those tables that is made, changed or deleted, by whatever
-- statement: who did it, and the values before and after. So the change and its record are one transaction. The present is what
-- the events, one after the other, have made of nothing; payout.verify compares. Who switches triggers off (replica role, DISABLE
-- TRIGGER) leaves a present that no event explains, or, once he has put everything back, nothing but what was sent meanwhile:
-- payout.attempt names the host and the code of the bank.
--
-- Events are chained as history is (chain.sql), some minutes after they were written. They are dumped, and a restore writes none:
-- its rows come with their events. A logical replication brings the events along as well, as its apply worker fires no such trigger.
--
-- Values are flat: each column by its name, each option as options.NAME, nulls left out. What is sealed appears as SHA-256 of
-- the sealed bytes, which hold a random nonce and the result of AES-GCM: nothing can be tried out on that. The worker's own
-- channel.not_before, which comes and goes with the bank's refusals, is recorded only where somebody else changes it.

create table payout.admin_event (
	relation text collate "C" not null,
	object text collate "C" not null,
	event_no integer not null check (event_no > 0),
	at timestamptz not null default clock_timestamp(),
	action text not null check (action in ('insert', 'update', 'delete', 'confirm')),
	role_name text not null,
	session_role text,
	old_values jsonb not null,
	new_values jsonb not null,
	primary key (relation, object, event_no)
);
comment on table payout.admin_event is 'what operators changed, and who; rows are never changed';
comment on column payout.admin_event.object is 'the key of the changed row; of a grant its grant_id, which stays when the role is renamed';
comment on column payout.admin_event.event_no is 'counts from 1 for each object';
comment on column payout.admin_event.action is 'what was done to the row; confirm: payout.grant_access was repeated for a grant that stood otherwise here';
comment on column payout.admin_event.role_name is 'the role that called, or changed the table by a statement of its own';
comment on column payout.admin_event.session_role is 'the role that had logged in; null where the worker acted';
comment on column payout.admin_event.old_values is 'what changed, as it was';
comment on column payout.admin_event.new_values is 'what changed, as it became';

create index admin_event_at on payout.admin_event (at);

create trigger refuse_change before update or delete on payout.admin_event for each row execute function payout.refuse_change();
create trigger refuse_truncate before truncate on payout.admin_event for each statement execute function payout.refuse_change();
alter table payout.admin_event enable always trigger refuse_change;
alter table payout.admin_event enable always trigger refuse_truncate;

create table payout.admin_link (
	link_no integer primary key,
	linked_at timestamptz not null default clock_timestamp(),
	until timestamptz not null,
	events integer not null,
	head bytea not null
);
comment on table payout.admin_link is 'the chain of payout.admin_event; rows are never changed';
comment on column payout.admin_link.until is 'the link holds what was written before this moment, and not before that of the link before';
comment on column payout.admin_link.events is 'how many events it holds';
comment on column payout.admin_link.head is 'SHA-256 over the head before, this row, and the digest of those events; see payout.admin_link_head';

create trigger refuse_change before update or delete on payout.admin_link for each row execute function payout.refuse_change();
create trigger refuse_truncate before truncate on payout.admin_link for each statement execute function payout.refuse_change();
alter table payout.admin_link enable always trigger refuse_change;
alter table payout.admin_link enable always trigger refuse_truncate;

-- Under settings of its own, so that a row gives the same values in every session. A grant's role stands by name and number: the
-- name means something elsewhere, the number here.
create function payout.admin_values(p_row anyelement) returns jsonb
language plpgsql stable
set search_path = pg_catalog, pg_temp
set timezone = 'UTC'
set bytea_output = 'hex'
set extra_float_digits = 1
as $$
declare
	whole jsonb := to_jsonb(p_row);
	options jsonb := case when jsonb_typeof(whole -> 'options') = 'object' then whole -> 'options' else '{}' end;
	secret text;
begin
	foreach secret in array '{sealed,secret_digest}'::text[] loop
		if whole ? secret then
			whole := jsonb_set(whole, array[secret], to_jsonb(encode(sha256(convert_to(whole ->> secret, 'SQL_ASCII')), 'hex')));
		end if;
	end loop;
	if whole ? 'role_name' then
		whole := whole || jsonb_build_object('role', coalesce(to_regrole(whole ->> 'role_name')::oid::text, whole ->> 'role_name'));
	end if;
	if options <> '{}' then
		whole := whole - 'options';
	end if;
	return (select coalesce(jsonb_object_agg(v.key, v.value), '{}')
		from (select c.key, c.value from jsonb_each(whole - 'key_id') c where c.value <> 'null' and c.key || c.value::text <> 'options{}'
			  union all
			  select 'options.' || o.key, o.value from jsonb_each(options) o) v);
end
$$;
comment on function payout.admin_values(anyelement) is 'a row as payout.admin_event tells of it: columns and options by name, secrets without their content';

create function payout.admin_changes(p_values jsonb, p_others jsonb) returns jsonb
language plpgsql immutable
set search_path = pg_catalog, pg_temp
as $$
begin
	return (select coalesce(jsonb_object_agg(v.key, v.value), '{}')
		from jsonb_each(p_values) v where v.value is distinct from p_others -> v.key);
end
$$;
comment on function payout.admin_changes(jsonb, jsonb) is 'those values that the others do not have, or have otherwise';

-- The transaction takes its number before the moment, as the history does: chain.sql relies on it.
create function payout.add_admin_event(p_relation text, p_object text, p_action text, p_role_name text, p_session_role text, p_old_values jsonb, p_new_values jsonb)
returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
	perform pg_current_xact_id();
	insert into payout.admin_event (relation, object, event_no, action, role_name, session_role, old_values, new_values)
	select p_relation, p_object, coalesce(max(e.event_no), 0) + 1, p_action, p_role_name, p_session_role, p_old_values, p_new_values
	from payout.admin_event e where e.relation = p_relation and e.object = p_object;
exception when unique_violation then
	raise exception 'payout.% was changed by a transaction that this one does not see', p_relation
		using errcode = 'serialization_failure', hint = 'Repeat the transaction.';
end
$$;
comment on function payout.add_admin_event(text, text, text, text, text, jsonb, jsonb) is 'writes an event; a transaction whose snapshot is too old for its number fails with 40001';

create function payout.admin_object(p_key text[], p_values jsonb) returns text
language plpgsql immutable
set search_path = pg_catalog, pg_temp
as $$
begin
	return (select coalesce(string_agg(p_values ->> k.name, ' ' order by k.n), '') from unnest(p_key) with ordinality k (name, n));
end
$$;
comment on function payout.admin_object(text[], jsonb) is 'what names a row in payout.admin_event: its key';

create function payout.admin_unrecorded() returns text[]
language sql immutable
set search_path = pg_catalog, pg_temp
return '{not_before,not_before_reason}'::text[];
comment on function payout.admin_unrecorded() is 'columns that the worker changes without an event';

-- The old or the new values are null where there is no such version. A row whose key is changed is another object from then on.
create function payout.note_change(p_relation text, p_key text[], p_role_name text, p_session_role text, p_old jsonb, p_new jsonb) returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
	was jsonb;
	becomes jsonb;
begin
	-- The row of the arming is there for ever: what is not armed is recorded as none.
	if p_relation = 'arming' then
		p_old := case when p_old -> 'is_armed' = 'true' then p_old end;
		p_new := case when p_new -> 'is_armed' = 'true' then p_new end;
	end if;
	was := payout.admin_changes(p_old, coalesce(p_new, '{}'));
	becomes := payout.admin_changes(p_new, coalesce(p_old, '{}'));
	if p_old is null and p_new is null then
		return;
	elsif p_old is null then
		perform payout.add_admin_event(p_relation, payout.admin_object(p_key, p_new), 'insert', p_role_name, p_session_role, '{}', becomes);
	elsif p_new is null then
		perform payout.add_admin_event(p_relation, payout.admin_object(p_key, p_old), 'delete', p_role_name, p_session_role, was, '{}');
	elsif payout.admin_object(p_key, p_old) <> payout.admin_object(p_key, p_new) then
		perform payout.note_change(p_relation, p_key, p_role_name, p_session_role, p_old, null);
		perform payout.note_change(p_relation, p_key, p_role_name, p_session_role, null, p_new);
	elsif was || becomes <> '{}' and not (p_session_role is null and (was || becomes) - payout.admin_unrecorded() = '{}') then
		perform payout.add_admin_event(p_relation, payout.admin_object(p_key, p_new), 'update', p_role_name, p_session_role, was, becomes);
	end if;
end
$$;
comment on function payout.note_change(text, text[], text, text, jsonb, jsonb) is 'writes the event of a row that was made, changed or deleted';

create function payout.record_change() returns trigger
language c volatile parallel unsafe as 'MODULE_PATHNAME', 'payout_record_change';
comment on function payout.record_change() is 'trigger(key columns): writes what changed in a row of this table, and who changed it, to payout.admin_event; see admin.c';

create function payout.recorded_tables(out relation text, out key text[], out is_compared boolean, out is_kept boolean) returns setof record
language sql immutable
set search_path = pg_catalog, pg_temp
begin atomic
	values ('merchant', '{merchant_id}'::text[], true, true),
		('channel', '{channel_id}', true, true),
		('bank', '{bank_code}', true, true),
		('cvs', '{cvs_code}', true, true),
		('access_grant', '{grant_id}', true, true),
		('retry_policy', '{lane,source}', true, true),
		-- Dumps leave these out.
		('arming', '{singleton}', true, false),
		('channel_secret', '{channel_id,name,secret_no}', true, false),
		('merchant_secret', '{merchant_id,name,secret_no}', true, false),
		('cvs_secret', '{cvs_code,name,secret_no}', true, false),
		-- Versions of the extension bring these along.
		('option_definition', '{scope,name}', false, false),
		('allowed_move', '{kind,from_state,to_state}', false, false),
		('bank_code', '{bank_code}', false, false);
end;
comment on function payout.recorded_tables() is 'the tables whose changes are recorded, with their keys; whether payout.verify compares their rows with the events, and whether dumps keep them';

do $$
declare
	t record;
begin
	for t in select r.relation, (select string_agg(quote_literal(k), ', ') from unnest(r.key) k) as key from payout.recorded_tables() r loop
		execute format('create trigger record_change after insert or update or delete on payout.%I for each row execute function payout.record_change(%s)', t.relation, t.key);
		execute format('create trigger record_truncate before truncate on payout.%I for each statement execute function payout.record_change(%s)', t.relation, t.key);
	end loop;
end
$$;

-- What identifies a row, and who made it when, does not change.
create trigger refuse_identity before update of merchant_id, created_at, created_by on payout.merchant for each row execute function payout.refuse_change();
create trigger refuse_identity before update of channel_id, protocol, created_at, created_by on payout.channel for each row execute function payout.refuse_change();
create trigger refuse_identity before update of bank_code, created_at, created_by on payout.bank for each row execute function payout.refuse_change();
create trigger refuse_identity before update of cvs_code, created_at, created_by on payout.cvs for each row execute function payout.refuse_change();
create trigger refuse_identity before update on payout.access_grant for each row execute function payout.refuse_change();

-- The state of an object after its events, one by one; null: it is not there.
create function payout.admin_state(state jsonb, action text, old_values jsonb, new_values jsonb) returns jsonb
language plpgsql immutable
set search_path = pg_catalog, pg_temp
as $$
begin
	return case action when 'delete' then null when 'insert' then new_values
		else (coalesce(state, '{}') - array(select jsonb_object_keys(old_values))) || new_values end;
end
$$;
comment on function payout.admin_state(jsonb, text, jsonb, jsonb) is 'the values of a row after one more event; null where it is not there';

create aggregate payout.admin_state_after(action text, old_values jsonb, new_values jsonb) (sfunc = payout.admin_state, stype = jsonb);
comment on aggregate payout.admin_state_after(text, jsonb, jsonb) is 'the values of a row after these events, in the order of the aggregate';

create function payout.admin_last_state(p_relation text, p_object text) returns jsonb
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
	return (select payout.admin_state_after(e.action, e.old_values, e.new_values order by e.event_no)
		from payout.admin_event e where e.relation = p_relation and e.object = p_object);
end
$$;
comment on function payout.admin_last_state(text, text) is 'what the events say a row is now';

-- The role was renamed, the grant came from another server, or no event made it: who repeats the grant answers for it.
create function payout.confirm_grant(g payout.access_grant) returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
	present jsonb := payout.admin_values(g);
	recorded jsonb := payout.admin_last_state('access_grant', g.grant_id::text);
begin
	if present is distinct from recorded then
		perform payout.add_admin_event('access_grant', g.grant_id::text, 'confirm', payout.caller(), session_user,
			payout.admin_changes(coalesce(recorded, '{}'), present), payout.admin_changes(present, coalesce(recorded, '{}')));
	end if;
end
$$;
comment on function payout.confirm_grant(payout.access_grant) is 'a grant that stands otherwise in the events than in the table was given again as it is';

create function payout.admin_link_head(before bytea, p_link_no integer, p_linked_at timestamptz, p_until timestamptz, p_events integer, changes bytea)
returns bytea
language plpgsql immutable
set search_path = pg_catalog, pg_temp
as $$
begin
	return payout.chain(before, row(p_link_no, p_linked_at, p_until, p_events, changes));
end
$$;
comment on function payout.admin_link_head(bytea, integer, timestamptz, timestamptz, integer, bytea) is 'the head of a link: over the head before, its columns, and the digest of its events';

create function payout.link_admin_events(p_after timestamptz, p_until timestamptz) returns void
language plpgsql
set search_path = pg_catalog, pg_temp
set enable_seqscan = off
as $$
begin
	insert into payout.admin_link (link_no, linked_at, until, events, head)
	select n.link_no, m.linked_at, p_until, m.events, payout.admin_link_head(b.head, n.link_no, m.linked_at, p_until, m.events, m.changes)
	from (select payout.chained(e order by e.at, e.relation, e.object, e.event_no) as changes, count(*)::integer as events, clock_timestamp() as linked_at
		  from payout.admin_event e where e.at >= p_after and e.at < p_until) m
	left join lateral (select s.link_no, s.head from payout.admin_link s order by s.link_no desc limit 1) b on true,
	lateral (select coalesce(b.link_no, 0) + 1 as link_no) n
	where m.events > 0;
end
$$;
comment on function payout.link_admin_events(timestamptz, timestamptz) is 'a link for the events that were written from one moment to before another, if there are any';
