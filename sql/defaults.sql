-- defaults.sql: settings of the caller's session, a default of its database or role perhaps, change neither the money nor what is
-- compiled; and they are the caller's again afterwards, after an error as well.
\getenv tree PG_ABS_SRCDIR
\set fixture :tree /sql/include/fixture.inc
\i :fixture
\set cashout :tree /sql/include/cashout.inc
\i :cashout
select test.set_up('DEFAULTS01', 'DEFCH', 'DEFBANK', 1000000, '{"fee": {"online": {"flat": 10}, "cashout": {"flat": 10}}}'), test.open_store('DEFSTORE');
-- what a trigger sees in the middle of a call
create table test.seen (jit text, role text);
create function test.see() returns trigger language plpgsql as $$
begin
	insert into test.seen values (current_setting('jit'), current_setting('session_replication_role'));
	return new;
end
$$;
create trigger zzz_see before insert or update on payout.payout for each row execute function test.see();
alter table payout.payout enable always trigger zzz_see;

set jit = on;
set jit_above_cost = 0;
set session_replication_role = replica;
select test.register('DEFAULTS01', 'DEFBANK', 'DF1', 1000), test.register('DEFAULTS01', 'DEFBANK', 'DF2', 1000), test.register('DEFAULTS01', 'DEFBANK', 'DF3', 1000);
select (payout.approve('DEFAULTS01', test.txid('DF1'))).state;
select outcome.state, outcome.sqlstate from payout.approve_batch('DEFAULTS01', array[test.txid('DF2'), test.txid('DF3')]) outcome;
select test.issue('DEFAULTS01', 'DF4', 1000), test.validate('DEFSTORE', 'DF4', 'DF4'), test.confirm('DEFSTORE', 'DF4', 'DF4');
select (payout.resolve('DEFAULTS01', test.txid('DF1'), 'failed', 'why')).state;
select test.money('DF1');
select test.money('DF4');
select * from payout.balance('DEFAULTS01');
select count(*) > 5 as some, count(distinct s) as alike, min(jit) as jit, min(role) as role from test.seen s;
-- the caller's own again: after the call, after an error, and after one that was caught
show jit;
show session_replication_role;
select payout.approve('DEFAULTS01', 'nothing');
select test.sqlstate_of($$select payout.approve('DEFAULTS01', 'nothing')$$), test.sqlstate_of($$select payout.register('NOBODY0001', 'x', 1, 'x', 'x', 'x')$$);
begin;
savepoint s;
select payout.top_up('DEFAULTS01', -1, 'x');
rollback to s;
select current_setting('jit') as jit, current_setting('session_replication_role') as role;
commit;
call payout.check_status('DEFAULTS01', test.txid('DF4'), '0');
show jit;
show session_replication_role;
reset session_replication_role;
-- functions that set jit themselves
select count(*) from payout.verify() where merchant_id = 'DEFAULTS01';
show jit;
reset jit;
reset jit_above_cost;
drop trigger zzz_see on payout.payout;

-- a backslash means one thing
set standard_conforming_strings = off;
set escape_string_warning = off;
discard plans;
select payout.masked_name('Budi Santoso'), payout.masked_digits('no 1234567890 or 12'), payout.plain_name('Budi. (2)');
select test.sqlstate_of(format('select payout.alter_merchant(%L, %L)', 'DEFAULTS01', jsonb_build_object('notify_url', u))) from unnest(array['https://[::1]:8443/x', 'https://a.example/x', 'https://a[example/x', 'ftp://a']) u;
reset standard_conforming_strings;
-- plpgsql may be as strict as it likes
\c
set plpgsql.extra_errors = 'all';
set plpgsql.variable_conflict = 'use_column';
select test.register('DEFAULTS01', 'DEFBANK', 'DF5', 1000), test.issue('DEFAULTS01', 'DF6', 1000);
select test.reissue('DF6'), test.validate('DEFSTORE', 'DF6', 'DF6'), test.reverse('DEFSTORE', 'DF6', 'DF6');
select test.live() >= 0 as alive, test.ask('validate', 'DEFCH') > 0 as asked, test.named('DF5', 'yes', 'BUDI SANTOSO');
select check_name from payout.verify() where merchant_id = 'DEFAULTS01';
