-- place.sql: which creation of the book this is, and where it runs: a record that was copied with it must not pass for its own.
--
-- payout.installation comes along in a dump and so names every book that these rows were in. payout.known_installation does not: it
-- says which of those this creation of the extension has taken into account, itself to begin with. A row of the first without one in
-- the second means that rows came from elsewhere and nobody has noted that yet (lost_tail.sql).
--
-- A copy of the files brings everything along. So lives and the arming name the place as well, which the files do not say (place.c).

create function payout.place() returns bytea
language c stable parallel unsafe as 'MODULE_PATHNAME', 'payout_place';
comment on function payout.place() is 'a digest of what this very database is and no copy of it: its server''s identifier, its OID, the host, and the inode and the birth of the file that was made with its directory';

create function payout.timeline() returns integer
language plpgsql stable
set search_path = pg_catalog, pg_temp
as $$
begin
	return ('x' || left(pg_walfile_name(pg_current_wal_lsn()), 8))::bit(32)::integer;
end
$$;
comment on function payout.timeline() is 'the timeline on which this server writes its log';

-- Each `create extension` adds its own row; a dump brings those of where it comes from.
create table payout.installation (
	installation_id uuid primary key default payout.new_id(),
	system_identifier bigint not null,
	database_oid oid not null,
	place bytea not null default payout.place(),
	timeline_id integer not null default payout.timeline(),
	installed_at timestamptz not null default clock_timestamp()
);
comment on table payout.installation is 'each creation of the extension that this book was in: another one than this means that it was restored from a dump';
comment on column payout.installation.place is 'where: payout.place() then';
comment on column payout.installation.timeline_id is 'the server''s timeline then';

create table payout.known_installation (
	installation_id uuid primary key,
	is_own boolean not null default false,
	known_at timestamptz not null default clock_timestamp()
);
comment on table payout.known_installation is 'installations whose rows this creation of the extension has taken into account; not dumped';
comment on column payout.known_installation.is_own is 'this very creation of the extension';
create unique index known_installation_own on payout.known_installation (is_own) where is_own;

with own as (
	insert into payout.installation (system_identifier, database_oid)
	select c.system_identifier, d.oid from pg_control_system() c, pg_database d where d.datname = current_database()
	returning installation_id)
insert into payout.known_installation (installation_id, is_own) select o.installation_id, true from own o;

create function payout.own_installation() returns uuid
language plpgsql stable
set search_path = pg_catalog, pg_temp
as $$
begin
	return (select k.installation_id from payout.known_installation k where k.is_own);
end
$$;
comment on function payout.own_installation() is 'this creation of the extension';

create function payout.first_installation() returns uuid
language plpgsql stable
set search_path = pg_catalog, pg_temp
as $$
begin
	return (select i.installation_id from payout.installation i order by i.installed_at, i.installation_id limit 1);
end
$$;
comment on function payout.first_installation() is 'the book: the creation of the extension in which it began, the same in all its copies';
