-- chain.sql: evidence. History and transfers of a merchant are chained by SHA-256, so that a change of what was written
-- shows.
--
-- The worker chains them some time after they were written, in links: to chain them as they are written would let payments
-- of one merchant wait for each other, and each pay for it. A link holds the head over the link before, what it counts, and the
-- digests of the merchant's history rows and transfers of a stretch of time: all merchants' links of one transaction end at
-- the same moment, and who wrote nothing in it has none.
--
-- What that shows: who changes, removes or inserts a linked row must also change all links of the merchant from then on;
-- payout.verify_chain finds any part that is left. The heads are no secret and need no key, so who rewrites all of it is found
-- only by a head that was noted elsewhere: export payout.v_chain to where the database's administrators cannot write. What
-- is not linked yet (payout.chain_interval, a minute, and as long as the longest transaction and a vacuum of the two tables) is
-- not chained; of it only a missing history row shows, as the payout counts them.
--
-- A stretch is linked when all transactions that may have written rows of it are over. A row's moment is later than the one in
-- which its transaction took its number (history.c and ledger.c take it first). So all rows before a moment are decided when no
-- transaction is left that had its number by then: chain_mark holds the moment and the first number after it, and its bound is
-- moved only when the oldest running transaction is past that number. A minute of distance is for clocks that are set back a
-- little.
--
-- The rows of a stretch are found by BRIN indexes, which cost an insertion next to nothing as long as nobody has summarised
-- the pages that are being filled; those that are full are summarised here, before they are read.

create function payout.chain(head bytea, link anyelement) returns bytea
language c immutable parallel safe as 'MODULE_PATHNAME', 'payout_chain';
comment on function payout.chain(bytea, anyelement) is 'the head of a chain after one more row; the head before is null where the chain begins; see chain.c';

create aggregate payout.chained(anyelement) (sfunc = payout.chain, stype = bytea, parallel = safe);
comment on aggregate payout.chained(anyelement) is 'the head of the chain of these rows, in the order of the aggregate';

create table payout.chain_link (
	merchant_id text collate "C" not null,
	link_no integer not null,
	linked_at timestamptz not null default clock_timestamp(),
	until timestamptz not null,
	events integer not null,
	transfers integer not null,
	head bytea not null,
	primary key (merchant_id, link_no)
);
comment on table payout.chain_link is 'the chain of a merchant''s history and transfers; rows are never changed';
comment on column payout.chain_link.until is 'the link holds what was written before this moment, and not before that of the link before';
comment on column payout.chain_link.events is 'how many history rows it holds';
comment on column payout.chain_link.transfers is 'how many transfers it holds';
comment on column payout.chain_link.head is 'SHA-256 over the head before, this row, and the digests of those rows; see payout.link_head';

create trigger refuse_change before update or delete on payout.chain_link for each row execute function payout.refuse_change();
create trigger refuse_truncate before truncate on payout.chain_link for each statement execute function payout.refuse_change();
alter table payout.chain_link enable always trigger refuse_change;
alter table payout.chain_link enable always trigger refuse_truncate;

-- Not the end of a snapshot: that is the last transaction that is over, and younger ones may be in progress.
create function payout.next_xid() returns xid8
language c volatile parallel restricted as 'MODULE_PATHNAME', 'payout_next_xid';
comment on function payout.next_xid() is 'the number that the next transaction will get: all that have one have a smaller one';

-- A row for each server and database: numbers of transactions mean nothing elsewhere, nor are these dumped.
create table payout.chain_mark (
	system_identifier bigint not null,
	database_oid oid not null,
	bound_at timestamptz not null default '-infinity',
	marked_at timestamptz not null default clock_timestamp(),
	next_xid xid8 not null default payout.next_xid(),
	linked_until timestamptz,
	width interval not null default '1 second',
	event_page bigint not null default 0,
	transfer_page bigint not null default 0,
	primary key (system_identifier, database_oid)
);
comment on table payout.chain_mark is 'how far rows can be linked, and are';
comment on column payout.chain_mark.bound_at is 'all transactions that may have written rows before this moment are over';
comment on column payout.chain_mark.marked_at is 'a moment; with next_xid, the first transaction that had no number by then, the next bound';
comment on column payout.chain_mark.linked_until is 'the moment up to which all rows are linked; null before the first row was found';
comment on column payout.chain_mark.width is 'how long a stretch is linked at once, so that it holds about as many rows as it may';
comment on column payout.chain_mark.event_page is 'the page of payout_event up to which its index is summarised';
comment on column payout.chain_mark.transfer_page is 'the same of transfer';

create function payout.lock_chain_mark() returns payout.chain_mark
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
	server bigint := (select c.system_identifier from pg_control_system() c);
	database oid := (select d.oid from pg_database d where d.datname = current_database());
	mark payout.chain_mark;
begin
	select * into mark from payout.chain_mark m where m.system_identifier = server and m.database_oid = database for update;
	if not found then
		insert into payout.chain_mark (system_identifier, database_oid) values (server, database) returning * into mark;
	end if;
	return mark;
end
$$;
comment on function payout.lock_chain_mark() is 'the mark of this server and database, locked; made the first time';

-- The moment is taken before the number, in a statement of its own.
create function payout.move_chain_bound(mark payout.chain_mark) returns payout.chain_mark
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
	now_at timestamptz := clock_timestamp();
begin
	if pg_snapshot_xmin(pg_current_snapshot()) >= mark.next_xid then
		mark.bound_at := mark.marked_at - interval '1 minute';
		mark.marked_at := now_at;
		mark.next_xid := payout.next_xid();
	end if;
	return mark;
end
$$;
comment on function payout.move_chain_bound(payout.chain_mark) is 'the mark with its bound moved on, if no transaction is left from before it';

create function payout.link_head(before bytea, p_merchant_id text, p_link_no integer, p_linked_at timestamptz, p_until timestamptz,
								 p_events integer, history bytea, p_transfers integer, ledger bytea) returns bytea
language plpgsql immutable
set search_path = pg_catalog, pg_temp
as $$
begin
	return payout.chain(before, row(p_merchant_id, p_link_no, p_linked_at, p_until, p_events, history, p_transfers, ledger));
end
$$;
comment on function payout.link_head(bytea, text, integer, timestamptz, timestamptz, integer, bytea, integer, bytea) is
'the head of a link: over the head before, its columns, and the digests of its history rows and transfers (null where there are none)';

create function payout.link_between(p_after timestamptz, p_until timestamptz) returns void
language plpgsql
set search_path = pg_catalog, pg_temp
set enable_seqscan = off
as $$
begin
	insert into payout.chain_link (merchant_id, link_no, linked_at, until, events, transfers, head)
	with history as (
		select e.merchant_id, payout.chained(e order by e.at, e.txid, e.event_no) as digest, count(*)::integer as rows
		from payout.payout_event e where e.at >= p_after and e.at < p_until group by e.merchant_id),
	ledger as (
		select t.merchant_id, payout.chained(t order by t.at, t.transfer_id) as digest, count(*)::integer as rows
		from payout.transfer t where t.at >= p_after and t.at < p_until group by t.merchant_id),
	made as (
		select coalesce(h.merchant_id, l.merchant_id) as merchant_id, coalesce(h.rows, 0) as events, h.digest as history,
			coalesce(l.rows, 0) as transfers, l.digest as ledger, clock_timestamp() as linked_at
		from history h full join ledger l on l.merchant_id = h.merchant_id)
	select m.merchant_id, n.link_no, m.linked_at, p_until, m.events, m.transfers,
		payout.link_head(b.head, m.merchant_id, n.link_no, m.linked_at, p_until, m.events, m.history, m.transfers, m.ledger)
	from made m
	left join lateral (select s.link_no, s.head from payout.chain_link s where s.merchant_id = m.merchant_id order by s.link_no desc limit 1) b on true,
	lateral (select coalesce(b.link_no, 0) + 1 as link_no) n;
	perform payout.link_admin_events(p_after, p_until);
end
$$;
comment on function payout.link_between(timestamptz, timestamptz) is 'a link for each merchant that wrote rows from one moment to before another, and one for what operators changed in it';

create function payout.rows_between(p_after timestamptz, p_until timestamptz, p_limit integer) returns integer
language plpgsql
set search_path = pg_catalog, pg_temp
set enable_seqscan = off
as $$
begin
	return (select count(*) from (
		(select from payout.payout_event e where e.at >= p_after and e.at < p_until limit p_limit)
		union all
		(select from payout.transfer t where t.at >= p_after and t.at < p_until limit p_limit)) r);
end
$$;
comment on function payout.rows_between(timestamptz, timestamptz, integer) is 'how many history rows and transfers were written from one moment to before another, each counted up to the limit';

-- Full ranges of pages only, at most 64 (16 MB) at once.
create function payout.summarise(p_index regclass, p_table regclass, p_page bigint) returns bigint
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
	page bigint;
begin
	for page in
		select s.page from generate_series(p_page, pg_relation_size(p_table) / current_setting('block_size')::integer - 32, 32) s (page) limit 64
	loop
		perform brin_summarize_range(p_index, page);
		p_page := page + 32;
	end loop;
	return p_page;
end
$$;
comment on function payout.summarise(regclass, regclass, bigint) is 'summarises pages of a table in its BRIN index, from this one on; the page to go on from';

create function payout.unlinked_since() returns timestamptz
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
	return coalesce(
		greatest((select max(s.until) from payout.chain_link s), (select max(s.until) from payout.admin_link s)),
		least((select min(e.at) from payout.payout_event e where isfinite(e.at)), (select min(t.at) from payout.transfer t where isfinite(t.at)),
			(select min(e.at) from payout.admin_event e where isfinite(e.at))));
end
$$;
comment on function payout.unlinked_since() is 'where linking begins when no mark says it: after the last link, or with the first row; null when there is none. Reads whole tables';

create function payout.extend_chains(rows_max integer, out linked integer, out more boolean)
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
	mark payout.chain_mark := payout.lock_chain_mark();
	page constant bigint := mark.event_page + mark.transfer_page;
	upto timestamptz;
begin
	linked := 0;
	more := false;
	begin
		lock table payout.payout_event, payout.transfer in share update exclusive mode nowait;
	exception when lock_not_available then
		return;		-- the chain waits for a vacuum, not the other way round
	end;
	mark.event_page := payout.summarise('payout.payout_event_at', 'payout.payout_event', mark.event_page);
	mark.transfer_page := payout.summarise('payout.transfer_at', 'payout.transfer', mark.transfer_page);
	mark.linked_until := coalesce(mark.linked_until, payout.unlinked_since());
	if (mark.linked_until < mark.bound_at) is not true then
		mark := payout.move_chain_bound(mark);
	end if;
	if mark.event_page + mark.transfer_page - page >= 64 * 32 then
		more := true;	-- what is not summarised yet would be read each time
	elsif mark.linked_until < mark.bound_at then
		mark.width := least(mark.width, mark.bound_at - mark.linked_until);
		loop
			upto := least(mark.linked_until + mark.width, mark.bound_at); -- a width of days is longer where clocks are set back
			linked := payout.rows_between(mark.linked_until, upto, rows_max + 1);
			exit when linked <= rows_max or mark.width <= interval '1 millisecond';
			mark.width := mark.width / 2;
		end loop;
		perform payout.link_between(mark.linked_until, upto);
		mark.linked_until := upto;
		mark.width := case when linked < rows_max / 4 then 2 * mark.width else mark.width end;
		more := mark.linked_until < mark.bound_at;
	end if;
	update payout.chain_mark m
	set bound_at = mark.bound_at, marked_at = mark.marked_at, next_xid = mark.next_xid, linked_until = mark.linked_until, width = mark.width,
		event_page = mark.event_page, transfer_page = mark.transfer_page
	where m.system_identifier = mark.system_identifier and m.database_oid = mark.database_oid;
end
$$;
comment on function payout.extend_chains(integer) is 'worker: links the rows of the next stretch of time, about so many at most; their count, and whether there is more to do at once';

create function payout.verify_chain(merchant_id text) returns setof payout.violation
language c volatile parallel unsafe as 'MODULE_PATHNAME', 'payout_entry';
comment on function payout.verify_chain(text) is 'what speaks against a merchant''s history, transfers and links being as they were written; empty when sound';

-- Rows and links are put into one order, in which each row stands before the link that holds it.
create function payout.do_verify_chain(p_merchant_id text) returns setof payout.violation
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
	perform payout.find_merchant(p_merchant_id);
	return query
	with link as (
		select s.link_no, s.linked_at, s.until, s.events, s.transfers, s.head, row_number() over w as ordinal, lag(s.head) over w as head_before
		from payout.chain_link s where s.merchant_id = p_merchant_id
		window w as (order by s.link_no)),
	history as (
		select o.ordinal, payout.chained(o.e order by (o.e).at, (o.e).txid, (o.e).event_no) as digest, count(*) as rows, min((o.e).at) as since
		from (select u.e, u.is_row, 1 + count(*) filter (where not u.is_row) over (order by u.at, u.is_row) as ordinal
			  from (select e, e.at, true as is_row from payout.payout_event e where e.merchant_id = p_merchant_id
					union all
					select null, l.until, false from link l) u) o
		where o.is_row group by o.ordinal),
	ledger as (
		select o.ordinal, payout.chained(o.t order by (o.t).at, (o.t).transfer_id) as digest, count(*) as rows, min((o.t).at) as since
		from (select u.t, u.is_row, 1 + count(*) filter (where not u.is_row) over (order by u.at, u.is_row) as ordinal
			  from (select t, t.at, true as is_row from payout.transfer t where t.merchant_id = p_merchant_id
					union all
					select null, l.until, false from link l) u) o
		where o.is_row group by o.ordinal)
	select 'chain_link', p_merchant_id, null,
		format('link %s of %s history rows and %s transfers does not hold those that are there, %s and %s, or does not follow the one before',
			   l.link_no, l.events, l.transfers, coalesce(h.rows, 0), coalesce(d.rows, 0))
	from link l left join history h on h.ordinal = l.ordinal left join ledger d on d.ordinal = l.ordinal
	where l.link_no <> l.ordinal
	or payout.link_head(l.head_before, p_merchant_id, l.link_no, l.linked_at, l.until, l.events, h.digest, l.transfers, d.digest)
		is distinct from l.head
	union all
	select 'chain_unlinked', p_merchant_id, null, format('rows of %s are in no link, but all until %s were linked', r.since, m.linked_until)
	from (select least(h.since, d.since) as since
		  from (select max(l.ordinal) as ordinal from link l) n
		  left join history h on h.ordinal > coalesce(n.ordinal, 0) left join ledger d on d.ordinal > coalesce(n.ordinal, 0)) r
	join payout.chain_mark m on m.linked_until > r.since
		and (m.system_identifier, m.database_oid) = (select c.system_identifier, b.oid from pg_control_system() c, pg_database b where b.datname = current_database())
	union all
	select 'chain_history', p_merchant_id, coalesce(p.txid, h.txid), format('%s history rows are there, the payout counts %s', coalesce(h.rows, 0), p.events)
	from (select q.txid, q.events from payout.payout q where q.merchant_id = p_merchant_id) p
	full join (select e.txid, count(*) as rows from payout.payout_event e where e.merchant_id = p_merchant_id group by e.txid) h on h.txid = p.txid
	where h.rows is distinct from p.events;
end
$$;
comment on function payout.do_verify_chain(text) is 'work of payout.verify_chain';
