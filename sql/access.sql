-- access.sql: grants: what grant_access gives and revoke_access takes, exactly; whom a grant stands for when its role is renamed, dropped or made again.
\getenv tree PG_ABS_SRCDIR
\set fixture :tree /sql/include/fixture.inc
\i :fixture
select count(payout.create_merchant('ACCESS000' || i, 'Merchant of a test')) from generate_series(1, 2) i;
select count(payout.create_cvs('ACCESS000' || i, 'Store of a test')) from generate_series(1, 2) i;
create role access_one; create role access_two; create role "access ""Three"""; create role access_operator;
-- The rights of a role on the schema and all in it, as the catalog has them.
create function test.rights(p_role text) returns table (what text) language sql as $$
select acl.privilege_type || ' ' || acl.what from (
	select a.*, 'schema payout' as what from pg_namespace, aclexplode(nspacl) a where nspname = 'payout'
	union all
	select a.*, proname from pg_proc, aclexplode(proacl) a where pronamespace = 'payout'::regnamespace
	union all
	select a.*, relname from pg_class, aclexplode(relacl) a where relnamespace = 'payout'::regnamespace
	union all
	select a.*, typname from pg_type, aclexplode(typacl) a where typnamespace = 'payout'::regnamespace) acl
where acl.grantee = (select r.oid from pg_roles r where r.rolname = p_role) order by acl.what collate "C" $$;
create function test.count_rights(p_role text) returns bigint language sql as $$ select count(*) from test.rights(p_role) $$;
create function test.balance_as(p_role text, p_merchant_id text) returns text language plpgsql as $$
declare answer text;
begin
	execute format('set local role %I', p_role);
	answer := test.sqlstate_of(format('select payout.balance(%L)', p_merchant_id));
	reset role;
	return answer;
end $$;
grant usage on schema test to public;

-- each kind, and a repeat
select payout.grant_access('access_one', 'merchant', 'ACCESS0001');
select what from test.rights('access_one');
create temporary table first_grant as select * from payout.access_grant where role_name = 'access_one'::regrole;
select payout.grant_access('access_one', 'merchant', 'ACCESS0001');
select count(*), count(f.kind) as the_same from payout.access_grant g left join first_grant f on (f.*) is not distinct from (g.*) where g.role_name = 'access_one'::regrole;
select payout.grant_access('access_two', 'cvs', 'ACCESS0001');
select what from test.rights('access_two');
select payout.revoke_access('access_two', 'cvs', 'ACCESS0001');
select test.count_rights('access_two');
select payout.grant_access('access_two', 'analyst');
select what from test.rights('access_two');
select payout.revoke_access('access_two', 'analyst');
select payout.grant_access('access_operator', 'operator');
select what from test.rights('access_operator');
select kind, scope, role_name, granted_by = current_user as by_me from payout.access_grant where role_name::text like 'access\_%' order by 1, 2, 3;
-- what is wrong is refused, and nothing given
select test.sqlstate_of(statement) as refused from (values
	('select payout.grant_access(null, ''operator'')'), ('select payout.grant_access(''access_none'', ''operator'')'), ('select payout.grant_access(''ACCESS_ONE'', ''operator'')'), ('select payout.grant_access(''public'', ''operator'')'),
	('select payout.grant_access(''access_two'', null)'), ('select payout.grant_access(''access_two'', ''Operator'')'), ('select payout.grant_access(''access_two'', ''operator'', '''')'), ('select payout.grant_access(''access_two'', ''analyst'', ''ACCESS0001'')'),
	('select payout.grant_access(''access_two'', ''merchant'')'), ('select payout.grant_access(''access_two'', ''merchant'', ''ACCESS0009'')'), ('select payout.grant_access(''access_two'', ''cvs'')'), ('select payout.grant_access(''access_two'', ''cvs'', ''ACCESS0009'')'),
	('select payout.revoke_access(''access_none'', ''operator'')'), ('select payout.revoke_access(''access_one'', ''merchant'', ''ACCESS0009'')'), ('select payout.revoke_access(''access_one'', ''merchant'')'), ('select payout.revoke_access(''1'', ''operator'')')) s (statement);
select test.count_rights('access_two'), test.count_rights('access_one');
-- the rights go with the last grant that needs them; what another kind needs stays; what was never given is not taken
select payout.grant_access('access_one', 'merchant', 'ACCESS0002'), payout.grant_access('access_one', 'analyst'), payout.grant_access('access_one', 'cvs', 'ACCESS0002');
create temporary table before as select what from test.rights('access_one');
select payout.revoke_access('access_one', 'merchant', 'ACCESS0001'), payout.revoke_access('access_one', 'merchant', 'ACCESS0001'), payout.revoke_access('access_one', 'operator');
(select what from before except select what from test.rights('access_one')) order by 1;
select test.balance_as('access_one', 'ACCESS0001') as first, test.balance_as('access_one', 'ACCESS0002') as second;
select payout.revoke_access('access_one', 'merchant', 'ACCESS0002');
select test.balance_as('access_one', 'ACCESS0002') as second;
select what from test.rights('access_one');
select payout.revoke_access('access_one', 'cvs', 'ACCESS0002'), payout.revoke_access('access_one', 'analyst');
select test.count_rights('access_one');
-- only operators give and take, and the grant names who
set role access_operator;
select payout.grant_access('access ""Three""', 'operator');
select payout.grant_access('access "Three"', 'merchant', 'ACCESS0001');
reset role;
select role_name, kind, scope, granted_by from payout.access_grant where scope like 'ACCESS%';
set role "access ""Three""";
select (payout.balance('ACCESS0001')).available;
select payout.grant_access('access_two', 'analyst');
reset role;
set role access_two;
select payout.grant_access('access_two', 'operator');
reset role;
-- renamed, the role keeps its grants; another that gets its name has none
alter role "access ""Three""" rename to access_three;
create role "access ""Three""";
grant usage on schema payout to "access ""Three"""; grant execute on function payout.balance to "access ""Three""";
select test.balance_as('access_three', 'ACCESS0001') as renamed, test.balance_as('access "Three"', 'ACCESS0001') as of_that_name;
drop owned by "access ""Three"""; drop role "access ""Three""";
-- with grants a role is not dropped by mistake
drop role access_three;
select check_name, status, detail from payout.health() where check_name = 'access_grants';
-- dropped by force, its grant stands for nobody: not for a new role of its name, not in a dump; health() shows it, and its number removes it
drop owned by access_three;
select status, detail from payout.health() where check_name = 'access_grants';
drop role access_three;
create role access_three;
grant usage on schema payout to access_three; grant execute on function payout.balance to access_three;
select test.balance_as('access_three', 'ACCESS0001');
select status, regexp_replace(detail, '\d{4,} merchant', 'OID merchant') as detail from payout.health() where check_name = 'access_grants';
select count(*) from payout.access_grant where role_name not in (select oid from pg_roles);
\set VERBOSITY terse
do $$
declare condition text := extcondition[array_position(extconfig, 'payout.access_grant'::regclass)] from pg_extension where extname = 'payout';
	dumped text;
begin
	execute 'select string_agg(role_name || '' '' || kind, '', '' order by role_name::text) from payout.access_grant ' || condition || ' and role_name::text like ''access%''' into dumped;
	raise warning 'dumped: %', dumped;
end $$;
\set VERBOSITY sqlstate
select payout.revoke_access('access_three', 'merchant', 'ACCESS0001');
select count(*) from payout.access_grant where role_name not in (select oid from pg_roles);
select payout.revoke_access(role_name::oid::text, kind, scope) from payout.access_grant where role_name not in (select oid from pg_roles);
select count(*) from payout.access_grant where role_name not in (select oid from pg_roles);
-- a right that somebody took is missed, and a repeat gives it back
revoke execute on function payout.verify from access_operator;
select status, detail from payout.health() where check_name = 'access_grants';
select payout.grant_access('access_operator', 'operator');
select status from payout.health() where check_name = 'access_grants';
-- neither role nor attribute of a role has come from here
select payout.revoke_access('access_operator', 'operator');
drop owned by access_three;
drop role access_one, access_two, access_three, access_operator;
select count(*) from pg_roles where rolname like '%payout%' and rolname <> current_user;
select count(*) from payout.access_grant where scope like 'ACCESS%';
