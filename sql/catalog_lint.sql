-- catalog_lint.sql: the catalog keeps the rules that scale-out, safety and readers rely on. Empty answers are good.
\getenv tree PG_ABS_SRCDIR
\set fixture :tree /sql/include/fixture.inc
\i :fixture
-- merchant_id is the first column of every key of a merchant's table; exempt: channels' tables; payout.redemption, because a
-- store's reference is unique for the store, whatever merchants it pays for; and the digest of a token, unique in the whole database
select conrelid::regclass as tbl, conname from pg_constraint c
where connamespace = 'payout'::regnamespace and contype in ('p', 'u', 'f') and conrelid in (select attrelid from pg_attribute where attname = 'merchant_id' and not attisdropped)
and (select attname from pg_attribute where attrelid = conrelid and attnum = conkey[1]) <> 'merchant_id' and conrelid::regclass::text not in ('payout.attempt') and conname <> 'redemption_pkey';
select i.indrelid::regclass as tbl, indexrelid::regclass as unique_index from pg_index i join pg_class c on c.oid = indrelid
where c.relnamespace = 'payout'::regnamespace and indisunique and indrelid in (select attrelid from pg_attribute where attname = 'merchant_id' and not attisdropped)
and (select attname from pg_attribute where attrelid = indrelid and attnum = indkey[0]) <> 'merchant_id' and indrelid::regclass::text not in ('payout.attempt') and indexrelid::regclass::text not in ('payout.redemption_pkey', 'payout.cashout_token_digest');
-- and it is text in the C collation everywhere
select attrelid::regclass, format_type(atttypid, atttypmod), collname from pg_attribute a join pg_class c on c.oid = attrelid left join pg_collation l on l.oid = attcollation
where relnamespace = 'payout'::regnamespace and relkind = 'r' and attname in ('merchant_id', 'txid') and not (atttypid = 'text'::regtype and collname = 'C');
-- no sequences, no identities; money is numeric(18,2), but for sums of it, moments have time zones
select oid::regclass from pg_class where relnamespace = 'payout'::regnamespace and relkind = 'S';
select attrelid::regclass, attname from pg_attribute a join pg_class c on c.oid = attrelid where relnamespace = 'payout'::regnamespace and (attidentity <> '' or atttypid in ('timestamp'::regtype, 'money'::regtype, 'real'::regtype, 'double precision'::regtype))
	and relkind = 'r' and attname <> 'jitter';
select attrelid::regclass, attname, format_type(atttypid, atttypmod) from pg_attribute a join pg_class c on c.oid = attrelid
where relnamespace = 'payout'::regnamespace and relkind = 'r' and atttypid = 'numeric'::regtype and format_type(atttypid, atttypmod) <> 'numeric(18,2)';
-- every function that is not C fixes its search_path
select p.oid::regprocedure from pg_proc p join pg_language l on l.oid = prolang
where pronamespace = 'payout'::regnamespace and prokind <> 'a' and lanname <> 'c' and not exists (select from unnest(proconfig) s where s in ('search_path=pg_catalog, pg_temp'));
-- nothing of ours was bound to an operator, function, type, table or collation of a schema that somebody else may write to: bodies that were parsed
-- when they were made, views, defaults, checks, indexes, triggers, arguments and results
select pg_describe_object(d.classid, d.objid, d.objsubid) as ours, pg_describe_object(d.refclassid, d.refobjid, d.refobjsubid) as theirs
from pg_depend d, pg_identify_object(d.classid, d.objid, d.objsubid) o, pg_identify_object(d.refclassid, d.refobjid, d.refobjsubid) r
where (o.schema = 'payout' or o.identity ~ ' on payout\.') and r.schema not in ('payout', 'pg_catalog') and r.type <> 'schema';
-- the extension has no object outside of its schema, and no operator, cast or operator class, which would change what others' statements mean
select o.type, o.identity from pg_depend d join pg_extension e on e.oid = d.refobjid and d.refclassid = 'pg_extension'::regclass, pg_identify_object(d.classid, d.objid, d.objsubid) o
where e.extname = 'payout' and d.deptype = 'e' and (o.schema is distinct from 'payout' and o.identity <> 'payout' or o.type ~ 'operator|cast|language|trigger');
-- bodies that are parsed when they run name no table without its schema, as pg_temp is searched for those: what follows FROM, JOIN, INTO, UPDATE is
-- qualified, a function, a name of the body itself, or in pg_catalog
with word as (
	select p.oid, p.prosrc, p.proargnames, m[2] as name from pg_proc p join pg_language l on l.oid = prolang,
		regexp_matches(regexp_replace(p.prosrc, '--[^\n]*', '', 'g'), '(?<!distinct )\m(from|join|into|update|delete from)\s+(?:only\s+)?([a-z_][a-z_0-9]*)\M(?!\s*[.(])', 'g') m
	where p.pronamespace = 'payout'::regnamespace and l.lanname <> 'c')
select distinct w.oid::regprocedure, w.name from word w
where w.name not in ('strict', 'set', 'select', 'skip', 'exclusive') and w.name <> all (coalesce(w.proargnames, '{}')) and to_regclass('pg_catalog.' || w.name) is null
-- common table expressions, and variables
and w.prosrc !~ format('\m%s\M(\([^)]*\))?\s+as\s+(not\s+|materialized\s+)*\(', w.name) and w.prosrc !~ format('\m%s\s+(payout\.|pg_catalog\.|record|oid|regrole|name|text|integer|bigint|boolean|numeric|timestamptz|uuid|tid|bytea|jsonb|interval)', w.name)
order by 1, 2;
-- What decides whether a call may do what it asks for is asked of the newest committed state: merchant_now, bank_now, channel_now, or the library. These
-- read such columns by themselves: what makes and changes the rows, under their locks; what the worker does, whose statements each see what
-- is committed; and what audits, watches and shows, on purpose.
with body as (
	select p.oid, p.proname, coalesce(pg_get_function_sqlbody(p.oid), p.prosrc) as text from pg_proc p join pg_language l on l.oid = p.prolang
	where p.pronamespace = 'payout'::regnamespace and l.lanname <> 'c')
select b.proname from body b
where regexp_replace(b.text, '--[^\n]*', '', 'g') ~ '(from|join|update|,|lateral)\s+\(?(only\s+)?payout\.(merchant|bank|channel|cvs|access_grant|arming)\M(?!\s*\()'
and b.proname !~ '^(verify|health)' order by 1;
-- everything has a comment: schema, tables, columns of views, routines, types
select 'relation' as kind, c.oid::regclass::text as name from pg_class c where relnamespace = 'payout'::regnamespace and relkind in ('r', 'v') and obj_description(c.oid, 'pg_class') is null
union all
select 'column', c.oid::regclass || '.' || attname from pg_class c join pg_attribute a on a.attrelid = c.oid where relnamespace = 'payout'::regnamespace and relkind = 'v' and attnum > 0 and not attisdropped and col_description(c.oid, attnum) is null
union all
select 'routine', p.oid::regprocedure::text from pg_proc p where pronamespace = 'payout'::regnamespace and obj_description(p.oid, 'pg_proc') is null
union all
select 'type', typname from pg_type t left join pg_class c on c.oid = typrelid where typnamespace = 'payout'::regnamespace and typcategory <> 'A' and coalesce(relkind, 'c') = 'c' and obj_description(t.oid, 'pg_type') is null
union all
select 'schema', 'payout' where obj_description('payout'::regnamespace, 'pg_namespace') is null;
-- every table's rows are dumped but those that CREATE EXTENSION makes again, and the arming, which a copy must not have
select c.relname from pg_class c, pg_extension e where e.extname = 'payout' and relnamespace = 'payout'::regnamespace and relkind = 'r' and not c.oid = any (e.extconfig) order by 1;
-- and everything of the schema belongs to the extension
select c.oid::regclass from pg_class c where relnamespace = 'payout'::regnamespace and relkind in ('r', 'v')
and not exists (select from pg_depend d join pg_extension e on e.oid = d.refobjid where d.objid = c.oid and d.deptype = 'e' and e.extname = 'payout');
-- each entry has a work function of the same arguments and result, and each work function its entry
select p.oid::regprocedure as entry, w.oid::regprocedure as work from pg_proc p full join pg_proc w on w.proname = 'do_' || p.proname and w.pronamespace = p.pronamespace
where (p.pronamespace = 'payout'::regnamespace and p.prosrc = 'payout_entry' and (w.oid is null or w.proargtypes <> p.proargtypes or w.prorettype <> p.prorettype or w.proretset <> p.proretset
	or w.proallargtypes is distinct from p.proallargtypes or w.proisstrict or p.proisstrict or w.provolatile <> p.provolatile))
or (w.pronamespace = 'payout'::regnamespace and w.proname like 'do\_%' and p.oid is null);
-- ... whose arguments have the same names behind p_
select p.oid::regprocedure, p.proargnames, w.proargnames from pg_proc p join pg_proc w on w.proname = 'do_' || p.proname and w.pronamespace = p.pronamespace
where p.pronamespace = 'payout'::regnamespace and p.prosrc = 'payout_entry'
and p.pronargs > 0 and (select array_agg('p_' || n order by i) from unnest(p.proargnames[1:p.pronargs]) with ordinality u (n, i)) is distinct from w.proargnames[1:w.pronargs];
-- only functions named here are public: C and reachable by grant; none of them is parallel safe or leakproof
select proname from pg_proc where pronamespace = 'payout'::regnamespace and prosrc = 'payout_entry' order by 1;
select p.oid::regprocedure from pg_proc p where pronamespace = 'payout'::regnamespace and (proleakproof or prosecdef or (prosrc = 'payout_entry' and proparallel <> 'u'));
-- evidence is guarded by triggers that always fire
select tgrelid::regclass, tgname, tgenabled from pg_trigger where tgrelid::regclass::text in ('payout.transfer', 'payout.payout_event', 'payout.attempt', 'payout.admin_event', 'payout.admin_link') and not tgisinternal order by tgrelid::regclass::text, 2;
-- every state of the moves can be reached, and only ends have no way on
select distinct from_state from payout.allowed_move m where from_state <> 'registered' and not exists (select from payout.allowed_move a where a.kind = m.kind and a.to_state = m.from_state);
select distinct to_state from payout.allowed_move m where not exists (select from payout.allowed_move a where a.kind = m.kind and a.from_state = m.to_state) order by 1;
-- options: defaults fit their definitions
select scope, name from payout.option_definition d where default_value is not null and test.sqlstate_of(format('select payout.check_options(%L, %L)', scope, jsonb_build_object(name, default_value))) <> 'ok';
