-- verify_admin.sql: payout.verify(), what operators changed: the present is what the events of payout.admin_event have made,
-- and those are as they were written.

create function payout.admin_present() returns table (relation text, object text, present jsonb)
language sql stable
set search_path = pg_catalog, pg_temp
begin atomic
	select t.relation, payout.admin_object(t.key, r.present), r.present
	from payout.recorded_tables() t
	join (select 'merchant' as relation, payout.admin_values(m) as present from payout.merchant m
		  union all select 'channel', payout.admin_values(c) from payout.channel c
		  union all select 'bank', payout.admin_values(b) from payout.bank b
		  union all select 'cvs', payout.admin_values(s) from payout.cvs s
		  union all select 'access_grant', payout.admin_values(g) from payout.access_grant g
		  union all select 'retry_policy', payout.admin_values(p) from payout.retry_policy p where p.source = 'operator'
		  union all select 'arming', payout.admin_values(a) from payout.arming a where a.is_armed
		  union all select 'channel_secret', payout.admin_values(s) from payout.channel_secret s
		  union all select 'merchant_secret', payout.admin_values(s) from payout.merchant_secret s
		  union all select 'cvs_secret', payout.admin_values(s) from payout.cvs_secret s) r on r.relation = t.relation;
end;
comment on function payout.admin_present() is 'what is there now of all that payout.admin_event tells of';

-- Which values of a row are not as the events say. A role has been renamed, or has another number in another server, but not
-- both. The worker records nothing of its own columns.
create function payout.admin_differences(p_present jsonb, p_recorded jsonb) returns text[]
language plpgsql immutable
set search_path = pg_catalog, pg_temp
as $$
declare
	names text[] := array(select k.name from (select jsonb_object_keys(p_present || p_recorded) as name) k
						  where p_present -> k.name is distinct from p_recorded -> k.name and k.name <> all (payout.admin_unrecorded())
						  order by 1);
begin
	return case when names = '{role}' or names = '{role_name}' then '{}' else names end;
end
$$;
comment on function payout.admin_differences(jsonb, jsonb) is 'the columns and options in which a row is not what the events say';

-- Of what dumps leave out, and of grants whose role is not there, no row is missed.
create function payout.verify_admin() returns setof payout.violation
language sql stable
set search_path = pg_catalog, pg_temp
begin atomic
	with event as (
		select e.*, row_number() over w as expected_no, lead(e.event_no) over w is null as is_last,
			payout.admin_state_after(e.action, e.old_values, e.new_values) over (w rows between unbounded preceding and current row) as state,
			payout.admin_state_after(e.action, e.old_values, e.new_values) over (w rows between unbounded preceding and 1 preceding) as state_before
		from payout.admin_event e
		window w as (partition by e.relation, e.object order by e.event_no)),
	compared as (
		select coalesce(p.relation, e.relation) as relation, coalesce(p.object, e.object) as object, p.present, e.state
		from payout.admin_present() p
		full join (select x.relation, x.object, x.state from event x
				   join payout.recorded_tables() t on t.relation = x.relation and t.is_compared
				   where x.is_last and x.state is not null and (x.relation <> 'retry_policy' or x.state ->> 'source' = 'operator')) e
		on e.relation = p.relation and e.object = p.object)
	select 'admin_present', case when c.relation = 'merchant' then c.object end, null::text,
		case when c.state is null then format('%s %s is there and no event made it', c.relation, c.object)
			when c.present is null then format('%s %s is not there and no event removed it', c.relation, c.object)
			else format('%s %s is not what the events say: %s', c.relation, c.object, array_to_string(payout.admin_differences(c.present, c.state), ', ')) end
	from compared c
	join payout.recorded_tables() t on t.relation = c.relation
	where case when c.state is null then true
		when c.present is null then t.is_kept
			and (c.relation <> 'access_grant' or c.state ->> 'role' = to_regrole(c.state ->> 'role_name')::oid::text)
		else payout.admin_differences(c.present, c.state) <> '{}' end
	union all
	select 'admin_without_gaps', null, null, format('event %s of %s %s is numbered %s', e.expected_no, e.relation, e.object, e.event_no)
	from event e where e.event_no <> e.expected_no
	union all
	-- What was changed in between without an event shows in the next one.
	select 'admin_is_chain', null, null, format('event %s of %s %s changes what the events before it did not make', e.event_no, e.relation, e.object)
	from event e
	join payout.recorded_tables() t on t.relation = e.relation and t.is_compared
	where case e.action
		when 'insert' then t.is_kept and e.state_before is not null
		when 'confirm' then false
		else exists (select from jsonb_object_keys(e.old_values || e.new_values) k (name)
					 where e.old_values -> k.name is distinct from e.state_before -> k.name
					 and k.name <> all (payout.admin_unrecorded() || '{role,role_name}'::text[])
					 and not (e.relation = 'retry_policy' and e.object like '% shipped')) end;
end;
comment on function payout.verify_admin() is 'verify: options, grants, secrets, pauses and arming are what the recorded changes have made';

-- Events and links are put into one order, in which each event stands before the link that holds it.
create function payout.verify_admin_chain() returns setof payout.violation
language sql stable
set search_path = pg_catalog, pg_temp
begin atomic
	with link as (
		select s.link_no, s.linked_at, s.until, s.events, s.head, row_number() over w as ordinal, lag(s.head) over w as head_before
		from payout.admin_link s
		window w as (order by s.link_no)),
	change as (
		select o.ordinal, payout.chained(o.e order by (o.e).at, (o.e).relation, (o.e).object, (o.e).event_no) as digest, count(*) as rows, min((o.e).at) as since
		from (select u.e, u.is_row, 1 + count(*) filter (where not u.is_row) over (order by u.at, u.is_row) as ordinal
			  from (select e, e.at, true as is_row from payout.admin_event e
					union all
					select null, l.until, false from link l) u) o
		where o.is_row group by o.ordinal)
	select 'admin_link', null::text, null::text,
		format('link %s of %s events does not hold those that are there, %s, or does not follow the one before', l.link_no, l.events, coalesce(c.rows, 0))
	from link l left join change c on c.ordinal = l.ordinal
	where l.link_no <> l.ordinal
	or payout.admin_link_head(l.head_before, l.link_no, l.linked_at, l.until, l.events, c.digest) is distinct from l.head
	union all
	select 'admin_unlinked', null, null, format('events of %s are in no link, but all until %s were linked', c.since, m.linked_until)
	from change c
	join payout.chain_mark m on m.linked_until > c.since
		and (m.system_identifier, m.database_oid) = (select s.system_identifier, b.oid from pg_control_system() s, pg_database b where b.datname = current_database())
	where c.ordinal > (select count(*) from link);
end;
comment on function payout.verify_admin_chain() is 'verify: the records of what operators changed are as they were chained';
