-- foreign_objects.sql: what a DBA adds to the tables that are written without a statement is served as by INSERT and UPDATE: triggers of
-- every kind, rules, row security, columns, children, foreign keys and indexes. Each is added, the flow is gone through twice in this
-- session, singly and in a batch, and it is taken away again.
\getenv tree PG_ABS_SRCDIR
\set fixture :tree /sql/include/fixture.inc
\i :fixture
select test.set_up('FOREIGN001', 'FOREIGNCH', 'FOREIGNBANK', 1000000000, '{}', '{"mode": "single"}');
select payout.alter_merchant('FOREIGN001', '{"notify_events": ["payout.approved"], "notify_url": "https://merchant.example/hook"}') is distinct from null as told;
-- as many columns as the library counts of ours: PAYOUT_COLUMN_COUNT, HISTORY_COLUMNS, OWE_COLUMNS, LEDGER_TRANSFER_COLUMNS, of a delta in
-- ledger.c, REDEMPTION_COLUMNS, of a terminal in store.c; otherwise each row would be a statement of its own
select relname, relnatts from pg_class where relnamespace = 'payout'::regnamespace and relname in ('payout', 'payout_event', 'notification', 'transfer', 'balance_delta', 'redemption', 'known_terminal') order by relname;
create table test.written (tbl text, what text, n bigint default 1);
create function test.plain() returns trigger language plpgsql as $$
begin
	insert into test.written values (tg_table_name, lower(concat_ws(' ', tg_when, tg_op, tg_level)));
	return case when tg_when = 'BEFORE' and tg_level = 'ROW' then new end;
end $$;
create function test.as_definer() returns trigger language plpgsql security definer as $$
begin
	insert into test.written values (tg_table_name, lower(concat_ws(' ', tg_when, tg_op, tg_level)));
	return case when tg_when = 'BEFORE' then new end;
end $$;
create function test.with_setting() returns trigger language plpgsql set work_mem = '5MB' as $$
begin
	insert into test.written values (tg_table_name, lower(concat_ws(' ', tg_when, tg_op, tg_level)));
	return null;
end $$;
create function test.transition() returns trigger language plpgsql as $$
begin
	insert into test.written select tg_table_name, lower(concat_ws(' ', tg_when, tg_op, tg_level, 'with table')), count(*) from new_rows;
	return null;
end $$;
create function test.another() returns trigger language plpgsql as $$
begin
	new.description := 'changed on its way in';
	return new;
end $$;
create function test.nothing() returns trigger language plpgsql as $$ begin return null; end $$;
create function test.item(p_reference text) returns jsonb language sql as $$
	select jsonb_build_object('reference_no', p_reference, 'amount', 10000, 'bank_code', 'FOREIGNBANK', 'account_no', '8811', 'beneficiary_name', 'Budi') $$;
-- One payout singly, three in a batch.
create function test.flow(p_tag text) returns text language plpgsql as $$
declare
	p payout.payout := payout.register('FOREIGN001', p_tag, 10000, 'FOREIGNBANK', '8811', 'Budi');
	approved text := (payout.approve('FOREIGN001', p.txid)).state;
	txids text[];
begin
	select array_agg(r.txid order by r.ordinal) into txids
	from payout.register_batch('FOREIGN001', jsonb_build_array(test.item(p_tag || 'a'), test.item(p_tag || 'b'), test.item(p_tag || 'c'))) r where r.sqlstate is null;
	return concat_ws(' ', p.state, approved, cardinality(txids), (select string_agg(coalesce(a.sqlstate, a.state), ' ') from payout.approve_batch('FOREIGN001', txids) a));
exception when others then
	return sqlstate;
end $$;
-- What the flow writes into a table that is said to have been written.
create function test.look() returns text language sql as $$
	with gone as (delete from test.written returning *)
	select coalesce((select string_agg(concat_ws(' ', tbl, what, n), ', ' order by tbl, what) from (select tbl, what, sum(n) as n from gone group by tbl, what) g), 'nothing seen') $$;
create table test.hot (tbl text, updated boolean);
insert into test.hot values ('payout', true), ('payout_event', false), ('notification', false), ('transfer', false), ('balance_delta', false);
create table test.thing (n serial, name text, make text, unmake text);
insert into test.thing (name, make, unmake)
select format('%s: %s', k.name, h.tbl), format(k.make, h.tbl, case when h.updated then ' or update' end), format(k.unmake, h.tbl)
from test.hot h, (values
	(1, 'trigger after a row, security definer', 'create trigger audit after insert%2$s on payout.%1$I for each row execute function test.as_definer()', 'drop trigger audit on payout.%1$I'),
	(2, 'trigger after a row, with a setting', 'create trigger audit after insert%2$s on payout.%1$I for each row execute function test.with_setting()', 'drop trigger audit on payout.%1$I'),
	(3, 'trigger before a row', 'create trigger zzz before insert%2$s on payout.%1$I for each row execute function test.as_definer()', 'drop trigger zzz on payout.%1$I'),
	(4, 'triggers of the statement', 'create trigger a before insert%2$s on payout.%1$I for each statement execute function test.plain(); create trigger b after insert%2$s on payout.%1$I for each statement execute function test.plain()', 'drop trigger a on payout.%1$I; drop trigger b on payout.%1$I'),
	(5, 'transition tables', 'create trigger a after insert on payout.%1$I referencing new table as new_rows for each statement execute function test.transition(); create trigger b after insert on payout.%1$I referencing new table as new_rows for each row execute function test.transition()', 'drop trigger a on payout.%1$I; drop trigger b on payout.%1$I'),
	(6, 'constraint trigger, deferred', 'create constraint trigger audit after insert on payout.%1$I deferrable initially deferred for each row execute function test.plain()', 'drop trigger audit on payout.%1$I'),
	(7, 'rule', 'create rule audit as on insert to payout.%1$I do also insert into test.written values (''%1$s'', ''rule'')', 'drop rule audit on payout.%1$I'),
	(8, 'row security that lets pass', 'alter table payout.%1$I enable row level security, force row level security; create policy p on payout.%1$I', 'drop policy p on payout.%1$I; alter table payout.%1$I disable row level security, no force row level security'),
	(9, 'column with a default', 'alter table payout.%1$I add column extra text; alter table payout.%1$I alter column extra set default ''x''', 'select test.count_extra(''%1$s''); alter table payout.%1$I drop column extra; select test.look()'),
	(10, 'column that was dropped', 'select', 'select'),
	(11, 'child', 'create table test.child () inherits (payout.%1$I)', 'drop table test.child'),
	(12, 'indexes of an expression, of a part, and one that excludes', 'create index x1 on payout.%1$I (lower(merchant_id)); create index x2 on payout.%1$I (merchant_id) where merchant_id <> lower(merchant_id); create index x3 on payout.%1$I using gin (to_tsvector(''simple'', merchant_id))', 'drop index payout.x1, payout.x2, payout.x3'),
	(13, 'check', 'alter table payout.%1$I add constraint c check (merchant_id <> '''')', 'alter table payout.%1$I drop constraint c')) k (n, name, make, unmake)
order by k.n, h.tbl collate "C";
insert into test.thing (name, make, unmake) values
	('foreign key that points to a payout', 'create table test.note (merchant_id text collate "C", txid text collate "C", foreign key (merchant_id, txid) references payout.payout)', 'drop table test.note'),
	('foreign key of a payout', 'create table test.code (bank_code text collate "C" primary key); insert into test.code values (''FOREIGNBANK''); alter table payout.payout add constraint f foreign key (bank_code) references test.code not valid', 'alter table payout.payout drop constraint f; drop table test.code'),
	('key that is checked at the end', 'alter table payout.payout_event add constraint u unique (merchant_id, txid, event_no) deferrable initially deferred', 'alter table payout.payout_event drop constraint u'),
	('trigger that changes the content', 'create trigger zzz before insert on payout.payout for each row execute function test.another()', 'drop trigger zzz on payout.payout'),
	('trigger that keeps a payout from being changed', 'create trigger zzz before update on payout.payout for each row execute function test.nothing()', 'drop trigger zzz on payout.payout'),
	('trigger that keeps a transfer from being written', 'create trigger zzz before insert on payout.transfer for each row execute function test.nothing()', 'drop trigger zzz on payout.transfer'),
	('rule that writes nothing', 'create rule r as on insert to payout.payout_event do instead nothing', 'drop rule r on payout.payout_event');
-- How many rows have a column's default; those that were there before have null.
create function test.count_extra(p_table text) returns void language plpgsql as $$
begin
	execute format('insert into test.written select %L, %L, count(*) from payout.%I where extra = %L', p_table, 'default', p_table, 'x');
end $$;
\pset tuples_only on
select format('select %L', name), make, format('select test.flow(%L)', 'FRN' || n), format('select test.flow(%L)', 'FRN' || n || 'again'), 'select test.look()', unmake from test.thing order by n \gexec
\pset tuples_only off
select count(*), count(distinct description) from payout.payout where merchant_id = 'FOREIGN001' and description is not null;
select check_name, txid from payout.verify() where merchant_id = 'FOREIGN001';
-- and then as before
select test.flow('FRNLAST');
-- nothing that a session keeps grows with what it reads or misses
create function test.kept_kb() returns integer language sql as $$ select sum(total_bytes) / 1024 from pg_backend_memory_contexts where name in ('TopMemoryContext', 'payout rows', 'payout row target') $$;
select count(payout.create_merchant('FRN' || lpad(g::text, 7, '0'), 'x')) from generate_series(1, 300) g;
create function test.reads(p_times integer) returns bigint language plpgsql as $$
begin
	for i in 1 .. p_times loop
		perform test.sqlstate_of(format('select payout.register(%L, %L, 5, %L, %L, %L)', 'FRN' || lpad((1 + i % 300)::text, 7, '0'), 'K' || i, case when i % 2 = 0 then 'FOREIGNBANK' else 'NOBANK' || i % 50 end, '88', 'B'));
	end loop;
	perform count(*) from payout.register_batch('FOREIGN001', (select jsonb_agg(test.item('frn' || g) || jsonb_build_object('bank_code', 'NO' || g % 900)) from generate_series(1, 500) g));
	return p_times;
end $$;
select test.reads(600);
select test.kept_kb() as before \gset
select test.reads(1200);
select test.reads(1800);
select test.kept_kb() - :before < 64 as flat;
drop schema test cascade;
