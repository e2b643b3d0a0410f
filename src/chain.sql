-- chain.sql: evidence. History and transfers are chained by SHA-256, so that a change of what was written shows.
--
--   history    Each payout's row holds the head of the chain of its history rows, written with each of them.
--   transfer   Each transfer of a payout holds the head of that payout's history by then. So what chains the transfers
--              chains the histories too, up to the payout's last transfer.
--   link       The transfers of a merchant are chained in links, some time later, by the worker: a link holds the digest
--              of the merchant's transfers since the one before, and the head over it and the link before. To chain them as
--              they are written would let payments of one merchant wait for each other.
--
-- What that shows: who changes, removes or inserts a history row or a linked transfer must also change the payout's row, its
-- transfers, and all links of the merchant from then on; payout.verify_chain finds any part that is left. The heads are no
-- secret and need no key, so who rewrites all of it is found only by a head that was noted elsewhere: export payout.v_chain
-- to where the database's administrators cannot write. What is not yet linked, and history after the last transfer, is
-- chained by the payout's row alone.
--
-- A link must never be overtaken by a transaction that commits later with an earlier transfer_id. The id's time is later
-- than the moment in which its transaction took its number (ledger.c takes it first). So all ids before a moment are decided
-- when no transaction is left that had its number by then: chain_mark holds the moment and the first number after it, and its
-- bound is moved only when the oldest running transaction is past that number. A minute of distance is for clocks that are
-- set back a little.

create function payout.chain(head bytea, link anyelement) returns bytea
language c immutable parallel safe as 'MODULE_PATHNAME', 'payout_chain';
comment on function payout.chain(bytea, anyelement) is 'the head of a chain after one more row; the head before is null where the chain begins; see chain.c';

create aggregate payout.chained(anyelement) (sfunc = payout.chain, stype = bytea, parallel = safe);
comment on aggregate payout.chained(anyelement) is 'the head of the chain of these rows, in the order of the aggregate';

create table payout.chain_link (
	merchant_id text collate "C" not null,
	link_no integer not null,
	linked_at timestamptz not null default clock_timestamp(),
	until uuid not null,
	transfers integer not null check (transfers > 0),
	digest bytea not null,
	head bytea not null,
	primary key (merchant_id, link_no)
);
comment on table payout.chain_link is 'the chain of a merchant''s transfers; rows are never changed';
comment on column payout.chain_link.until is 'the last transfer_id of the link; it begins after that of the link before';
comment on column payout.chain_link.transfers is 'how many transfers it holds';
comment on column payout.chain_link.digest is 'their chain';
comment on column payout.chain_link.head is 'the head before, chained with all of this row';

create trigger refuse_change before update or delete on payout.chain_link for each row execute function payout.refuse_change();
create trigger refuse_truncate before truncate on payout.chain_link for each statement execute function payout.refuse_change();
alter table payout.chain_link enable always trigger refuse_change;
alter table payout.chain_link enable always trigger refuse_truncate;

-- A row for each server and database: numbers of transactions mean nothing elsewhere, nor are these dumped.
create table payout.chain_mark (
	system_identifier bigint not null,
	database_oid oid not null,
	bound_at timestamptz not null default '-infinity',
	marked_at timestamptz not null default clock_timestamp(),
	next_xid xid8 not null default pg_snapshot_xmax(pg_current_snapshot()),
	after_merchant text collate "C" not null default '',
	primary key (system_identifier, database_oid)
);
comment on table payout.chain_mark is 'how far transfers can be linked: all with ids before bound_at are decided';
comment on column payout.chain_mark.marked_at is 'a moment; with next_xid, the first transaction that had no number by then, the next bound';
comment on column payout.chain_mark.after_merchant is 'the merchant that was linked last in this round';

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

create function payout.first_id(p_at timestamptz) returns uuid
language plpgsql immutable
set search_path = pg_catalog, pg_temp
as $$
begin
	return rpad(lpad(to_hex(floor(extract(epoch from greatest(p_at, timestamptz 'epoch')) * 1000)::bigint), 12, '0'), 32, '0')::uuid;
end
$$;
comment on function payout.first_id(timestamptz) is 'the least id that payout.new_id makes at a moment';

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
		mark.next_xid := pg_snapshot_xmax(pg_current_snapshot());
	end if;
	return mark;
end
$$;
comment on function payout.move_chain_bound(payout.chain_mark) is 'the mark with its bound moved on, if no transaction is left from before it';

create function payout.chain_merchant(p_merchant_id text, p_bound uuid, p_limit integer) returns integer
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
	before payout.chain_link;
	made payout.chain_link;
begin
	select * into before from payout.chain_link s where s.merchant_id = p_merchant_id order by s.link_no desc limit 1;
	made.merchant_id := p_merchant_id;
	made.link_no := coalesce(before.link_no, 0) + 1;
	made.linked_at := clock_timestamp();
	select payout.chained(x.t order by (x.t).transfer_id), count(*), (array_agg((x.t).transfer_id order by (x.t).transfer_id desc))[1]
	into made.digest, made.transfers, made.until
	from (select t from payout.transfer t
		  where t.merchant_id = p_merchant_id and t.transfer_id > coalesce(before.until, '00000000-0000-0000-0000-000000000000') and t.transfer_id < p_bound
		  order by t.transfer_id limit p_limit) x;
	if made.transfers = 0 then
		return 0;
	end if;
	made.head := payout.chain(before.head, row(made.merchant_id, made.link_no, made.linked_at, made.until, made.transfers, made.digest));
	insert into payout.chain_link select made.*;
	return made.transfers;
end
$$;
comment on function payout.chain_merchant(text, uuid, integer) is 'links a merchant''s transfers since its last link with ids before the bound, at most so many; their count';

create function payout.extend_chains(rows_max integer, out linked integer, out more boolean)
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
	mark payout.chain_mark := payout.lock_chain_mark();
	merchant text;
	visited integer := 0;
begin
	if mark.after_merchant = '' then
		mark := payout.move_chain_bound(mark);
	end if;
	linked := 0;
	for merchant in select m.merchant_id from payout.merchant m where m.merchant_id > mark.after_merchant order by m.merchant_id limit 1000 loop
		linked := linked + payout.chain_merchant(merchant, payout.first_id(mark.bound_at), rows_max - linked);
		exit when linked >= rows_max;	-- this one may have more
		mark.after_merchant := merchant;
		visited := visited + 1;
	end loop;
	more := visited = 1000 or linked >= rows_max;
	update payout.chain_mark m
	set bound_at = mark.bound_at, marked_at = mark.marked_at, next_xid = mark.next_xid, after_merchant = case when more then mark.after_merchant else '' end
	where m.system_identifier = mark.system_identifier and m.database_oid = mark.database_oid;
end
$$;
comment on function payout.extend_chains(integer) is 'worker: links transfers of the next merchants in order, at most so many; their count, and whether there may be more of this round';

create function payout.verify_chain(merchant_id text) returns setof payout.violation
language c volatile parallel unsafe as 'MODULE_PATHNAME', 'payout_entry';
comment on function payout.verify_chain(text) is 'what speaks against a merchant''s history, transfers and links being as they were written; empty when sound';

create function payout.do_verify_chain(p_merchant_id text) returns setof payout.violation
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
	perform payout.find_merchant(p_merchant_id);
	return query
	with history as (
		select e.txid, e.event_no, payout.chained(e) over w as head, lead(e.event_no) over w is null as is_last
		from payout.payout_event e where e.merchant_id = p_merchant_id
		window w as (partition by e.txid order by e.event_no rows unbounded preceding)),
	link as (
		select s as row, s.link_no, s.head, s.digest, s.transfers, s.until,
			lag(s.until, 1, '00000000-0000-0000-0000-000000000000') over w as after, lag(s.head) over w as head_before, row_number() over w as expected_no
		from payout.chain_link s where s.merchant_id = p_merchant_id
		window w as (order by s.link_no))
	select 'chain_history', p_merchant_id, coalesce(p.txid, h.txid), format('the history, %s rows, does not lead to the head in the payout', h.event_no)
	from (select q.txid, q.events, q.history_head from payout.payout q where q.merchant_id = p_merchant_id) p
	full join (select l.* from history l where l.is_last) h on h.txid = p.txid
	where h.head is distinct from p.history_head or h.event_no is distinct from p.events
	union all
	select 'chain_transfer', t.merchant_id, t.txid, format('transfer %s holds no head of its payout''s history', t.kind)
	from payout.transfer t
	where t.merchant_id = p_merchant_id and t.txid is not null
	and not exists (select from history h where h.txid = t.txid and h.head = t.history_head)
	union all
	select 'chain_link_rows', p_merchant_id, null, format('link %s holds %s transfers of another digest than the %s that are there', s.link_no, s.transfers, r.transfers)
	from link s,
	lateral (select payout.chained(t order by t.transfer_id) as digest, count(*) as transfers from payout.transfer t
			 where t.merchant_id = p_merchant_id and t.transfer_id > s.after and t.transfer_id <= s.until) r
	where r.digest is distinct from s.digest or r.transfers <> s.transfers
	union all
	select 'chain_link', p_merchant_id, null, format('link %s does not follow the one before', s.link_no)
	from link s
	where s.link_no <> s.expected_no
	or s.head <> payout.chain(s.head_before, row((s.row).merchant_id, s.link_no, (s.row).linked_at, s.until, s.transfers, s.digest));
end
$$;
comment on function payout.do_verify_chain(text) is 'work of payout.verify_chain';
