-- rights.sql: the one table of rights: for every function, table, view, sequence and type of the schema, read from the catalog, what each kind
-- of role can do with it, tried. A new object is a difference here until its line stands in the expected output.
\getenv tree PG_ABS_SRCDIR
\set fixture :tree /sql/include/fixture.inc
\i :fixture
\set cashout :tree /sql/include/cashout.inc
\i :cashout
-- two merchants and two stores with the same ids; every view has a row of each
select test.set_up('RIGHTSOWN1', 'RIGHTSCH', 'RIGHTSBANK', 100000), test.set_up('RIGHTSOTH2', 'RIGHTSCH', 'RIGHTSBANK', 100000);
select test.open_store('RIGHTSOWN1'), test.open_store('RIGHTSOTH2');
select test.pay('RIGHTSOWN1', 'RIGHTSBANK', 'RIGHTS-OWN'), test.pay('RIGHTSOTH2', 'RIGHTSBANK', 'RIGHTS-OTHER');
select test.live() >= 0 as alive;
select test.send('RIGHTSCH'), payout.hold_payout('RIGHTSOWN1', test.txid('RIGHTS-OWN'), 'check', 'a test'), payout.hold_payout('RIGHTSOTH2', test.txid('RIGHTS-OTHER'), 'check', 'a test');
select from payout.link_between(payout.unlinked_since(), clock_timestamp());
select count(distinct merchant_id) from payout.chain_link where merchant_id in ('RIGHTSOWN1', 'RIGHTSOTH2');
create role rights_merchant; create role rights_cvs; create role rights_operator; create role rights_analyst; create role rights_nobody;
select payout.grant_access('rights_merchant', 'merchant', 'RIGHTSOWN1'), payout.grant_access('rights_cvs', 'cvs', 'RIGHTSOWN1'),
	payout.grant_access('rights_operator', 'operator'), payout.grant_access('rights_analyst', 'analyst');

-- What is tried: a statement about the role's own merchant or store, and the same about another's. Functions get nulls for all other arguments (by
-- sub-selects, as strict functions of constant nulls are not called); a view that shows nothing of the one asked for divides by zero; what succeeds
-- is undone.
create table test.attempt as
with function as (
	select p.oid, p.prokind, format('%s(%s)', p.proname, oidvectortypes(p.proargtypes)) as name, format('%s(%s)', p.oid::regproc, (
			select string_agg(case when i = 1 and t = 'text'::regtype then '%1$L' else format('(select null::%s)', t::regtype) end, ', ' order by i)
			from unnest(p.proargtypes::oid[]) with ordinality u (t, i))) as call
	from pg_proc p where p.pronamespace = 'payout'::regnamespace),
relation as (
	select c.oid, c.relname, c.relkind,
		(select attname from pg_attribute where attrelid = c.oid and attnum > 0 and not attisdropped order by attnum limit 1) as first,
		exists (select from pg_attribute where attrelid = c.oid and attname = 'merchant_id' and not attisdropped) as of_merchant
	from pg_class c where c.relnamespace = 'payout'::regnamespace and c.relkind in ('r', 'v', 'm', 'S', 'p', 'f')),
what (class, object, action, statement) as (
	select 'function', name, 'call', case prokind when 'p' then 'call ' else 'select ' end || call from function
	union all
	select case relkind when 'v' then 'view' when 'S' then 'sequence' else 'table' end, relname, action,
		format(statement, oid::regclass, first, case when relkind = 'v' and of_merchant then 'where merchant_id = %1$L' else '' end)
	from relation, (values ('select', 'select 1 / count(*) from %1$s %3$s'), ('insert', 'insert into %1$s (%2$s) values (null)'), ('update', 'update %1$s set %2$s = null'),
		('delete', 'delete from %1$s'), ('truncate', 'truncate %1$s'), ('lock', 'lock table %1$s in row share mode')) a (action, statement)
	where relkind <> 'S' or action = 'select'
	union all
	select 'type', typname, 'use', format('create temporary table rights_try (x %s)', t.oid::regtype)
	from pg_type t where t.typnamespace = 'payout'::regnamespace and t.typcategory <> 'A')
select class, object, action, format(statement, 'RIGHTSOWN1') as own, format(statement, 'RIGHTSOTH2') as other from what;
create function test.outcome(statement text) returns text language plpgsql as $$
begin
	execute statement;
	raise sqlstate 'UNDO0';
exception
	-- no right; not let in; cannot be done to a view; nothing to be seen
	when sqlstate '42501' or sqlstate 'PY013' or object_not_in_prerequisite_state or wrong_object_type or division_by_zero then return 'no';
	when others then return 'yes';
end $$;
create table test.tried_right (role_name text, class text, object text, action text, own text, other text);
grant usage on schema test to public;
grant execute on function test.outcome(text) to public;
grant select on test.attempt to public;
grant insert on test.tried_right to public;
grant temporary on database :DBNAME to public;
set role rights_merchant;
insert into test.tried_right select current_user, class, object, action, test.outcome(own), test.outcome(other) from test.attempt;
set role rights_cvs;
insert into test.tried_right select current_user, class, object, action, test.outcome(own), test.outcome(other) from test.attempt;
set role rights_operator;
insert into test.tried_right select current_user, class, object, action, test.outcome(own), test.outcome(other) from test.attempt;
set role rights_analyst;
insert into test.tried_right select current_user, class, object, action, test.outcome(own), test.outcome(other) from test.attempt;
set role rights_nobody;
insert into test.tried_right select current_user, class, object, action, test.outcome(own), test.outcome(other) from test.attempt;
reset role;
-- The table. "own": for its own merchant or store, and not for another.
select a.class, a.object, coalesce((
		select string_agg(format('%s %s%s', substr(t.role_name, 8), t.action, case when t.other = 'no' then ' own' end), ', ' order by t.role_name, t.action)
		from test.tried_right t where (t.class, t.object) = (a.class, a.object) and 'yes' in (t.own, t.other)), 'nobody') as who
from (select distinct class, object from test.attempt) a order by a.class, a.object collate "C";
-- all of them were tried by each, and nobody could do to another's what he cannot to his own
select role_name, count(*) = (select count(*) from test.attempt) as all_tried from test.tried_right group by 1 order by 1;
select * from test.tried_right where own = 'no' and other = 'yes';
-- what cannot be tried: rights that PUBLIC has, rights on columns, and of the other kinds on tables
select class, object from test.attempt a where action in ('call', 'use', 'select') and case class
	when 'function' then has_function_privilege('public', (select p.oid from pg_proc p where p.pronamespace = 'payout'::regnamespace and format('%s(%s)', p.proname, oidvectortypes(p.proargtypes)) = a.object), 'execute')
	when 'type' then has_type_privilege('public', (select t.oid from pg_type t where t.typnamespace = 'payout'::regnamespace and t.typname = a.object and t.typtype <> 'c'), 'usage')
	when 'sequence' then has_sequence_privilege('public', 'payout.' || a.object, 'usage, select, update')
	else has_any_column_privilege('public', 'payout.' || a.object, 'select, insert, update, references')
		or has_table_privilege('public', 'payout.' || a.object, 'select, insert, update, delete, truncate, references, trigger') end;
select has_schema_privilege('public', 'payout', 'usage, create') as public_in_schema;
select r.rolname, c.relname from pg_roles r, pg_class c where r.rolname like 'rights\_%' and c.relnamespace = 'payout'::regnamespace and c.relkind in ('r', 'v', 'm', 'S', 'p', 'f')
	and (has_table_privilege(r.oid, c.oid, 'references, trigger') or c.relkind <> 'v' and has_any_column_privilege(r.oid, c.oid, 'select, insert, update, references')
		or has_table_privilege(r.oid, c.oid, 'select with grant option'));
select r.rolname from pg_roles r where r.rolname like 'rights\_%' and has_schema_privilege(r.oid, 'payout', 'create');
select attrelid::regclass, attname from pg_attribute a join pg_class c on c.oid = attrelid where relnamespace = 'payout'::regnamespace and attacl is not null;
select defaclrole from pg_default_acl where defaclnamespace = 'payout'::regnamespace;
-- what is taken back leaves nothing behind: the roles can be dropped
select payout.revoke_access('rights_merchant', 'merchant', 'RIGHTSOWN1'), payout.revoke_access('rights_cvs', 'cvs', 'RIGHTSOWN1'),
	payout.revoke_access('rights_operator', 'operator'), payout.revoke_access('rights_analyst', 'analyst');
drop role rights_merchant, rights_cvs, rights_operator, rights_analyst, rights_nobody;
delete from payout.hold where merchant_id like 'RIGHTS%';
select check_name, detail from payout.verify();
