-- admin.sql: what operators change is recorded, whoever changes it and by whatever statement, and cannot be changed afterwards.
\getenv tree PG_ABS_SRCDIR
\set fixture :tree /sql/include/fixture.inc
\i :fixture
select test.set_up('ADMIN00001', 'ADMCH', 'ADMBANK', 100000);
create role admin_operator; create role admin_analyst; create role admin_merchant; create role admin_login superuser;
select payout.grant_access('admin_operator', 'operator'), payout.grant_access('admin_analyst', 'analyst'), payout.grant_access('admin_merchant', 'merchant', 'ADMIN00001');
create function test.events(p_relation text, p_object text, p_after integer default 0) returns table (no integer, action text, who text, login boolean, was jsonb, becomes jsonb)
language sql as $$
select e.event_no, e.action, e.role_name, e.session_role = session_user, e.old_values - '{paused_at,valid_until,set_at,granted_at,grant_id,role,sealed}'::text[],
	e.new_values - '{created_at,paused_at,valid_until,set_at,granted_at,grant_id,role,sealed,created_by,granted_by,set_by}'::text[]
from payout.admin_event e where e.relation = p_relation and e.object like p_object and e.event_no > p_after order by e.object, e.event_no
$$;
select no, action, login, was, becomes from test.events('bank', 'ADMBANK');

-- by functions, under the operator's name and the login's
set role admin_operator;
select payout.alter_merchant('ADMIN00001', '{"approver_differs": true, "limits": {"online": {"max": 5000}}, "notify_url": "https://merchant.example/hook"}') is distinct from null as altered,
	payout.alter_merchant('ADMIN00001', '{"approver_differs": null, "active": false}') is distinct from null as altered,
	payout.alter_merchant('ADMIN00001', '{"active": true}') is distinct from null as altered,
	payout.alter_merchant('ADMIN00001', '{"active": true}') is distinct from null as the_same;
select payout.pause_channel('ADMCH', 'bank 8812345678 is down') is distinct from null as paused, payout.resume_channel('ADMCH') is distinct from null as resumed,
	payout.alter_channel('ADMCH', '{"base_url": "https://elsewhere.example", "same_books": true}') is distinct from null as altered,
	payout.alter_bank('ADMBANK', '{"wire_code": "666"}') is distinct from null as altered;
select payout.create_cvs('ADMSTORE', 'A store', '{"token_tries": 7}') is distinct from null as created, payout.alter_cvs('ADMSTORE', '{"token_tries": 9, "active": false}') is distinct from null as altered;
select payout.grant_access('admin_operator', 'merchant', 'ADMIN00001'), payout.revoke_access('admin_operator', 'merchant', 'ADMIN00001');
select payout.set_secret('channel:ADMCH', 'client_secret', 'the first of two values'), payout.set_secret('channel:ADMCH', 'client_secret', 'the second of two values', now() + interval '1 day'),
	payout.set_secret('merchant:ADMIN00001', 'webhook_secret', 'abcdefabcdefabcd'), payout.set_secret('cvs:ADMSTORE', 'client_secret', 'of the store');
reset role;
select * from test.events('merchant', 'ADMIN00001', 1);
select * from test.events('channel', 'ADMCH', 1);
select * from test.events('bank', 'ADMBANK', 1);
select * from test.events('cvs', 'ADMSTORE');
select * from test.events('channel_secret', 'ADMCH%');
select * from test.events('merchant_secret', 'ADMIN00001%');
select * from test.events('cvs_secret', 'ADMSTORE%');
select action, role_name, coalesce(new_values ->> 'role_name', old_values ->> 'role_name') as of_role, coalesce(new_values ->> 'kind', old_values ->> 'kind') as kind from payout.admin_event
where relation = 'access_grant' and (new_values ->> 'role_name' like 'admin%' or old_values ->> 'role_name' like 'admin%') order by at;
-- no secret, nothing of one that can be tried: the same value sealed twice is two values
select count(*) from payout.admin_event e where e::text ~ 'of two values|abcdefabcdefabcd|of the store';
select count(distinct e.new_values ->> 'sealed'), min(length(e.new_values ->> 'sealed')) from payout.admin_event e where e.relation = 'channel_secret' and e.object like 'ADMCH client_secret%' and e.action = 'insert';
select count(*) from payout.admin_event e join payout.channel_secret s on e.new_values ->> 'sealed' in (encode(s.sealed, 'hex'), encode(sha256(convert_to('the first of two values', 'UTF8')), 'hex'));
-- arming
begin;
select payout.arm(), payout.disarm(), payout.arm();
select action, role_name = current_user as by_us, old_values ? 'secret_digest' as was_armed, new_values ? 'secret_digest' as is_armed from payout.admin_event where relation = 'arming' order by event_no desc limit 2;
rollback;

-- by plain statements of a superuser who has taken another role, of the owner, and of a role with a right on the table alone
set role admin_login;
update payout.merchant set options = options || '{"refund_fee_on_return": true}' where merchant_id = 'ADMIN00001';
insert into payout.retry_policy (lane, base_ms, max_ms, tries_max) values ('notify', 10, 10, 10);
update payout.retry_policy set tries_max = 99 where source = 'operator' and lane = 'notify';
delete from payout.retry_policy where source = 'operator' and lane = 'notify';
reset role;
grant usage on schema payout to admin_merchant;
grant select, update on payout.bank to admin_merchant;
set role admin_merchant;
update payout.bank set enabled = false where bank_code = 'ADMBANK';
reset role;
revoke select, update on payout.bank from admin_merchant;
select * from test.events('merchant', 'ADMIN00001', 4);
select * from test.events('bank', 'ADMBANK', 2);
select action, who, was, becomes from test.events('retry_policy', 'notify operator') order by no desc limit 3;
-- a table that is emptied, a bulk of rows, a row that gets another key, MERGE and COPY
begin;
truncate payout.access_grant;
select count(*) filter (where action = 'delete') = count(distinct object) as all_of_them from payout.admin_event where relation = 'access_grant' and at >= now();
rollback;
begin;
update payout.bank set options = '{}' where bank_code like 'ADM%';
merge into payout.bank b using (values ('ADMBANK')) v (code) on b.bank_code = v.code when matched then update set name = 'By MERGE';
select no, was, becomes from test.events('bank', 'ADMBANK', 3);
rollback;
begin;
copy payout.retry_policy (lane, base_ms, max_ms, tries_max) from stdin;
check	1	2	3
\.
update payout.retry_policy set lane = 'dispatch' where lane = 'check' and source = 'operator';
select relation, object, action from payout.admin_event where relation = 'retry_policy' and at >= now() order by at;
select check_name, detail from payout.verify();
rollback;
-- who made a row, and what it is called, does not change; nor does a grant, which is taken and given
select test.sqlstate_of(s) from unnest(array[$$update payout.merchant set created_by = 'x' where merchant_id = 'ADMIN00001'$$, $$update payout.channel set created_at = now() where channel_id = 'ADMCH'$$,
	$$update payout.access_grant set granted_by = 'x'$$, $$update payout.access_grant set role_name = 'admin_analyst' where role_name = 'admin_operator'::regrole$$,
	$$update payout.bank set bank_code = 'OTHER' where bank_code = 'ADMBANK'$$, $$update payout.cvs set created_by = 'x'$$]) s;
-- events and links are evidence
select payout.link_between(payout.unlinked_since(), clock_timestamp());
select v.events > 10 as holds_them, length(v.head) from payout.v_chain v where merchant_id is null order by link_no desc limit 1;
select test.sqlstate_of(s) from unnest(array['update payout.admin_event set role_name = $$x$$', 'delete from payout.admin_event', 'truncate payout.admin_event', 'update payout.admin_link set events = 0',
	'delete from payout.admin_link', 'truncate payout.admin_link']) s;
begin;
set session_replication_role = replica;
select test.sqlstate_of('delete from payout.admin_event');
rollback;

-- the settings of a session change no values
begin;
set timezone = 'Asia/Tokyo';
set bytea_output = 'escape';
set extra_float_digits = -15;
set datestyle = 'SQL, DMY';
select check_name, detail from payout.verify();
select payout.alter_merchant('ADMIN00001', '{"refund_fee_on_return": null}') is distinct from null as altered;
insert into payout.retry_policy (lane, base_ms, max_ms, jitter, tries_max) values ('check', 1, 2, 0.1, 3);
reset timezone; reset bytea_output; reset extra_float_digits; reset datestyle;
select check_name, detail from payout.verify();
rollback;

-- behind the triggers: what is there and no event made shows, and what was put back shows in the next event
create function test.behind(statement text) returns text language plpgsql as $$
begin
	set local session_replication_role = replica;
	execute statement;
	set local session_replication_role = origin;
	return (select string_agg(v.check_name || ': ' || v.detail, '; ' order by v.check_name) from payout.verify() v);
end $$;
begin;
select regexp_replace(test.behind($$insert into payout.access_grant (kind, scope, role_name) values ('merchant', 'ADMIN00001', 'admin_analyst')$$), '[0-9a-f-]{36}', 'ID');
rollback;
begin;
alter table payout.access_grant disable trigger record_change;
delete from payout.access_grant where kind = 'analyst' and role_name = 'admin_analyst'::regrole;
alter table payout.access_grant enable trigger record_change;
select check_name, regexp_replace(detail, '[0-9a-f-]{36}', 'ID') from payout.verify();
rollback;
begin;
select test.behind($$update payout.merchant set options = options || '{"limits": {"online": {"max": 9999999}}, "fee": {}}' where merchant_id = 'ADMIN00001'$$);
select payout.alter_merchant('ADMIN00001', '{"limits": {"online": {"max": 5000}}, "fee": null}') is distinct from null as put_back;
select check_name, detail from payout.verify();
rollback;
-- health tells of a trigger that is off
begin;
alter table payout.channel disable trigger record_change;
select status, detail from payout.health() where check_name = 'triggers';
rollback;

-- a grant is the role's, whatever that is called: renamed it stands, and given again it is recorded under its present name
alter role admin_operator rename to admin_renamed;
select check_name, detail from payout.verify();
select payout.grant_access('admin_renamed', 'operator');
select check_name, detail from payout.verify();
-- given again where no event made it, it is somebody's
begin;
set local session_replication_role = replica;
insert into payout.access_grant (kind, scope, role_name) values ('merchant', 'ADMIN00001', 'admin_analyst');
set local session_replication_role = origin;
select payout.grant_access('admin_analyst', 'merchant', 'ADMIN00001');
select action, role_name = current_user as by_us, new_values ->> 'role_name' as of_role from payout.admin_event where relation = 'access_grant' and action = 'confirm' order by at;
select check_name, detail from payout.verify();
rollback;
select payout.revoke_access('admin_renamed', 'operator');
select check_name, detail from payout.verify();

-- chained
select payout.link_between(payout.unlinked_since(), clock_timestamp());
begin;
alter table payout.admin_event disable trigger user;
update payout.admin_event set role_name = 'innocent' where relation = 'bank' and object = 'ADMBANK' and event_no = 2;
select check_name from payout.verify();
rollback;
begin;
alter table payout.admin_event disable trigger user;
delete from payout.admin_event where relation = 'cvs' and object = 'ADMSTORE' and event_no = 2;
update payout.cvs set active = true, options = '{"token_tries": 7}' where cvs_code = 'ADMSTORE';
select distinct check_name from payout.verify() order by 1;
rollback;

-- what analysts and operators see; merchants nothing
select payout.alter_channel('ADMCH', '{"source_account_no": "777701000157508"}') is distinct from null as altered;
set role admin_analyst;
select action, old_values - 'paused_at', new_values - 'paused_at' from payout.v_admin_event where object = 'ADMCH' and event_no > 1 and not new_values ? 'base_url' and old_values || new_values ?| '{paused_reason,options.source_account_no}' order by event_no;
select distinct new_values ->> 'sealed' as sealed from payout.v_admin_event where relation = 'channel_secret' and action = 'insert' and object like 'ADMCH%';
reset role;
grant usage on schema test to admin_merchant;
grant execute on function test.sqlstate_of(text) to admin_merchant;
set role admin_merchant;
select test.sqlstate_of('select from payout.v_admin_event'), test.sqlstate_of('select from payout.admin_event');
reset role;

-- all is put back
select payout.alter_channel('ADMCH', '{"base_url": "https://bank.example", "same_books": true}') is distinct from null as altered, payout.alter_bank('ADMBANK', '{"enabled": true}') is distinct from null as altered,
	payout.alter_merchant('ADMIN00001', '{"notify_url": null}') is distinct from null as altered, payout.revoke_access('admin_analyst', 'analyst'), payout.revoke_access('admin_merchant', 'merchant', 'ADMIN00001');
revoke usage on schema payout from admin_merchant;
revoke usage on schema test from admin_merchant;
revoke execute on function test.sqlstate_of(text) from admin_merchant;
drop role admin_renamed, admin_analyst, admin_merchant, admin_login;
select check_name, detail from payout.verify();
