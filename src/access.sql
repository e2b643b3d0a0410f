-- access.sql: who is let in: grants to roles, and the SQL rights that belong to them.
--
-- A role needs both: a row of payout.access_grant, which says for whom it acts and which every call and every view asks; and
-- PostgreSQL's own rights on the schema, the functions and the views of its kind. Both are given and taken here together. No role
-- is created or changed.

create function payout.may_call(kind text, function_name name) returns boolean
language c immutable strict parallel safe as 'MODULE_PATHNAME', 'payout_may_call';
comment on function payout.may_call(text, name) is 'whether roles of a kind are let through the door of a public function, by the one list in C';

create function payout.rights_of(p_kind text) returns table (privilege text, class text, object oid)
language sql stable
set search_path = pg_catalog, pg_temp
begin atomic
	select 'usage', 'schema', n.oid from pg_namespace n where n.nspname = 'payout'
	union all
	select 'execute', 'routine', p.oid from pg_proc p join pg_namespace n on n.oid = p.pronamespace
	where n.nspname = 'payout' and p.prosrc in ('payout_entry', 'payout_check_status') and payout.may_call(p_kind, p.proname)
	union all
	(with readable as (
		select c.oid from pg_class c join pg_namespace n on n.oid = c.relnamespace
		where n.nspname = 'payout' and c.relkind = 'v'
		and case p_kind when 'merchant' then c.relname in ('v_payout', 'v_statement') else p_kind in ('operator', 'analyst') end)
	select 'select', 'table', r.oid from readable r
	union all
	-- Functions in a view are called by the reader.
	select distinct 'execute', 'routine', d.refobjid
	from readable r
	join pg_rewrite w on w.ev_class = r.oid
	join pg_depend d on d.classid = 'pg_rewrite'::regclass and d.objid = w.oid and d.refclassid = 'pg_proc'::regclass
	join pg_proc p on p.oid = d.refobjid
	join pg_namespace n on n.oid = p.pronamespace and n.nspname = 'payout');
end;
comment on function payout.rights_of(text) is 'the SQL rights that roles of a kind need, no more: merchants read two views, operators and analysts all';

create function payout.right_text(p_privilege text, p_class text, p_object oid) returns text
language sql stable
set search_path = pg_catalog, pg_temp
return p_privilege || ' on ' || p_class || ' ' || case p_class
	when 'schema' then p_object::regnamespace::text
	when 'routine' then p_object::regprocedure::text
	when 'table' then p_object::regclass::text end;
comment on function payout.right_text(text, text, oid) is 'a right as GRANT and REVOKE want it';

create function payout.find_role(p_role_name text) returns regrole
language plpgsql stable
set search_path = pg_catalog, pg_temp
as $$
declare
	found_role oid;
begin
	select r.oid into found_role from pg_roles r where r.rolname = p_role_name;
	if not found then
		raise exception 'argument "role_name" names no role'
			using errcode = 'PY016', hint = 'The role must exist, and its name be written as in pg_roles; see CREATE ROLE.';
	end if;
	return found_role;
end
$$;
comment on function payout.find_role(text) is 'the role of this name, or PY016';

create function payout.check_access(p_kind text, p_scope text) returns void
language plpgsql stable
set search_path = pg_catalog, pg_temp
as $$
begin
	if p_kind is null or p_kind not in ('merchant', 'cvs', 'operator', 'analyst') then
		raise exception 'argument "kind" is not a kind of access'
			using errcode = 'PY016', hint = 'The kinds are merchant, cvs, operator and analyst.';
	elsif p_kind = 'merchant' and not exists (select from payout.merchant m where m.merchant_id = p_scope) then
		raise exception 'argument "scope" names no merchant'
			using errcode = 'PY005', hint = 'Roles of the kind merchant act for one merchant_id.';
	elsif p_kind = 'cvs' and not exists (select from payout.cvs c where c.cvs_code = p_scope) then
		raise exception 'argument "scope" names no store'
			using errcode = 'PY016', hint = 'Roles of the kind cvs act for one cvs_code.';
	elsif p_kind in ('operator', 'analyst') and p_scope is not null then
		raise exception 'argument "scope" is not null'
			using errcode = 'PY016', hint = 'Operators and analysts have no scope.';
	end if;
end
$$;
comment on function payout.check_access(text, text) is 'raises PY016 for a kind that is none or a scope that does not fit it, PY005 for a merchant that is none';

create function payout.grant_access(role_name text, kind text, scope text default null) returns void
language c volatile parallel unsafe as 'MODULE_PATHNAME', 'payout_entry';
comment on function payout.grant_access(text, text, text) is
'lets a role act as merchant (scope: merchant_id), cvs (scope: cvs_code), operator or analyst, with the SQL rights for it; a repeat gives what is missing of them';

create function payout.do_grant_access(p_role_name text, p_kind text, p_scope text) returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
	r record;
begin
	perform payout.check_access(p_kind, p_scope);
	-- One at a time: two that change the rights of one object at one moment fail.
	lock table payout.access_grant in share row exclusive mode;
	insert into payout.access_grant (kind, scope, role_name)
	values (p_kind, coalesce(p_scope, ''), payout.find_role(p_role_name))
	on conflict do nothing;
	if not found then
		perform payout.confirm_grant(g) from payout.access_grant g
		where g.kind = p_kind and g.scope = coalesce(p_scope, '') and g.role_name = payout.find_role(p_role_name);
	end if;
	for r in select payout.right_text(q.privilege, q.class, q.object) as what from payout.rights_of(p_kind) q loop
		execute format('grant %s to %I', r.what, p_role_name);
	end loop;
end
$$;
comment on function payout.do_grant_access(text, text, text) is 'work of payout.grant_access';

create function payout.revoke_access(role_name text, kind text, scope text default null) returns void
language c volatile parallel unsafe as 'MODULE_PATHNAME', 'payout_entry';
comment on function payout.revoke_access(text, text, text) is
'takes a grant back, and the SQL rights that no other grant of the role needs; of a role that was dropped, role_name is the number in payout.access_grant';

create function payout.do_revoke_access(p_role_name text, p_kind text, p_scope text) returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
	gone oid := (select g.role_name from payout.access_grant g
				 where g.role_name::oid::text = p_role_name and g.role_name::oid not in (select a.oid from pg_roles a) limit 1);
	revoked regrole;
	r record;
begin
	perform payout.check_access(p_kind, p_scope);
	lock table payout.access_grant in share row exclusive mode;
	delete from payout.access_grant g
	where g.kind = p_kind and g.scope = coalesce(p_scope, '') and g.role_name = coalesce(gone, payout.find_role(p_role_name))
	returning g.role_name into revoked;
	if revoked is null or gone is not null then
		return;
	end if;
	for r in
		select payout.right_text(q.privilege, q.class, q.object) as what
		from (
			select * from payout.rights_of(p_kind)
			except
			select o.* from payout.access_grant g, payout.rights_of(g.kind) o where g.role_name = revoked) q
	loop
		execute format('revoke %s from %I', r.what, p_role_name);
	end loop;
end
$$;
comment on function payout.do_revoke_access(text, text, text) is 'work of payout.revoke_access';

create function payout.has_right(p_role oid, p_privilege text, p_class text, p_object oid) returns boolean
language sql stable
set search_path = pg_catalog, pg_temp
return case p_class
	when 'schema' then has_schema_privilege(p_role, p_object, p_privilege)
	when 'routine' then has_function_privilege(p_role, p_object, p_privilege)
	when 'table' then has_table_privilege(p_role, p_object, p_privilege) end;
comment on function payout.has_right(oid, text, text, oid) is 'whether a role has a right, itself or by membership';
