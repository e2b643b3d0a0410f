-- secret.sql: stored secrets: credentials towards banks, merchants and stores.
--
-- They are sealed before they reach a table (secret.c says how), and opened in C alone, by the worker and by the functions
-- that verify signatures. A new value may leave the one before it valid until a moment: signatures are then made with
-- both, and either is accepted. The value without an end is the present one; there is at most one.

create table payout.channel_secret (
	channel_id text collate "C" not null references payout.channel,
	name text not null check (name in ('private_key', 'client_secret', 'bank_public_key')),
	secret_no integer not null check (secret_no > 0),
	sealed bytea not null,
	key_id bytea not null generated always as (substring(sealed from 2 for 8)) stored,
	valid_until timestamptz,
	set_at timestamptz not null default now(),
	set_by text not null default payout.caller(),
	primary key (channel_id, name, secret_no)
);
comment on table payout.channel_secret is 'sealed credentials towards banks';
comment on column payout.channel_secret.key_id is 'which key it is sealed with; a part of sealed';
comment on column payout.channel_secret.valid_until is 'null: the present value; else one that was replaced and is good until then';

create table payout.merchant_secret (
	merchant_id text collate "C" not null references payout.merchant,
	name text not null check (name in ('webhook_secret', 'merchant_key', 'client_secret', 'public_key')),
	secret_no integer not null check (secret_no > 0),
	sealed bytea not null,
	key_id bytea not null generated always as (substring(sealed from 2 for 8)) stored,
	valid_until timestamptz,
	set_at timestamptz not null default now(),
	set_by text not null default payout.caller(),
	primary key (merchant_id, name, secret_no)
);
comment on table payout.merchant_secret is 'sealed credentials towards merchants';
comment on column payout.merchant_secret.key_id is 'which key it is sealed with; a part of sealed';
comment on column payout.merchant_secret.valid_until is 'null: the present value; else one that was replaced and is good until then';

create table payout.cvs_secret (
	cvs_code text collate "C" not null references payout.cvs,
	name text not null check (name in ('client_secret', 'public_key')),
	secret_no integer not null check (secret_no > 0),
	sealed bytea not null,
	key_id bytea not null generated always as (substring(sealed from 2 for 8)) stored,
	valid_until timestamptz,
	set_at timestamptz not null default now(),
	set_by text not null default payout.caller(),
	primary key (cvs_code, name, secret_no)
);
comment on table payout.cvs_secret is 'sealed credentials towards stores';
comment on column payout.cvs_secret.key_id is 'which key it is sealed with; a part of sealed';
comment on column payout.cvs_secret.valid_until is 'null: the present value; else one that was replaced and is good until then';

-- the worker reads them again
create trigger forget_rows after insert or update or delete on payout.channel_secret for each row execute function payout.forget_rows();
alter table payout.channel_secret enable always trigger forget_rows;

create unique index channel_secret_present on payout.channel_secret (channel_id, name) where valid_until is null;
create unique index merchant_secret_present on payout.merchant_secret (merchant_id, name) where valid_until is null;
create unique index cvs_secret_present on payout.cvs_secret (cvs_code, name) where valid_until is null;

create function payout.seal(owner text, name text, value text) returns bytea
language c volatile strict parallel unsafe as 'MODULE_PATHNAME', 'payout_seal';
comment on function payout.seal(text, text, text) is 'the value, sealed for this owner and name; PY015 without payout.secret_file';

create function payout.seal_again(owner text, name text, sealed bytea) returns bytea
language c volatile strict parallel unsafe as 'MODULE_PATHNAME', 'payout_seal_again';
comment on function payout.seal_again(text, text, bytea) is 'what was sealed with payout.secret_file or payout.secret_file_old, sealed with the first; null when it does not open';

create function payout.seal_key_id() returns bytea
language c volatile parallel unsafe as 'MODULE_PATHNAME', 'payout_seal_key_id';
comment on function payout.seal_key_id() is 'the id of the key that payout.seal uses; PY015 without payout.secret_file';

create function payout.is_sealed(owner text, name text, sealed bytea, value text) returns boolean
language c volatile strict parallel unsafe as 'MODULE_PATHNAME', 'payout_is_sealed';
comment on function payout.is_sealed(text, text, bytea, text) is 'whether this value is sealed there; null when it does not open';

create function payout.secret_tables(out owner_kind text, out table_name text, out id_column text) returns setof record
language sql immutable parallel safe
set search_path = pg_catalog, pg_temp
begin atomic
	values ('channel', 'channel_secret', 'channel_id'), ('merchant', 'merchant_secret', 'merchant_id'), ('cvs', 'cvs_secret', 'cvs_code');
end;
comment on function payout.secret_tables() is 'where the secrets of each kind of owner are';

create function payout.stored_secrets() returns table (owner text, name text, sealed bytea, key_id bytea)
language sql stable
set search_path = pg_catalog, pg_temp
begin atomic
	select 'channel:' || s.channel_id, s.name, s.sealed, s.key_id from payout.channel_secret s
	union all
	select 'merchant:' || s.merchant_id, s.name, s.sealed, s.key_id from payout.merchant_secret s
	union all
	select 'cvs:' || s.cvs_code, s.name, s.sealed, s.key_id from payout.cvs_secret s;
end;
comment on function payout.stored_secrets() is 'all stored secrets, sealed';

create function payout.unopened_secrets() returns text[]
language sql volatile
set search_path = pg_catalog, pg_temp
begin atomic
	select coalesce(array_agg(distinct s.owner || ' ' || s.name order by s.owner || ' ' || s.name), '{}')
	from payout.stored_secrets() s where payout.is_sealed(s.owner, s.name, s.sealed, '') is null;
end;
comment on function payout.unopened_secrets() is 'owner and name of the stored secrets that do not open, and so are not used; PY015 without payout.secret_file';

create function payout.valid_secrets(p_owner text, p_name text) returns bytea[]
language plpgsql stable
set search_path = pg_catalog, pg_temp
as $$
declare
	owner_kind text := split_part(p_owner, ':', 1);
	owner_id text := substr(p_owner, length(owner_kind) + 2);
	started timestamptz := payout.clock();
begin
	return case owner_kind
		when 'channel' then array(select s.sealed from payout.channel_secret s
								  where s.channel_id = owner_id and s.name = p_name and coalesce(s.valid_until > started, true) order by s.secret_no desc)
		when 'merchant' then array(select s.sealed from payout.merchant_secret s
								   where s.merchant_id = owner_id and s.name = p_name and coalesce(s.valid_until > started, true) order by s.secret_no desc)
		when 'cvs' then array(select s.sealed from payout.cvs_secret s
							  where s.cvs_code = owner_id and s.name = p_name and coalesce(s.valid_until > started, true) order by s.secret_no desc) end;
end
$$;
comment on function payout.valid_secrets(text, text) is 'the values of a secret that are good now, sealed, the present one first';

create function payout.drop_old_secrets() returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
	home record;
begin
	for home in select * from payout.secret_tables() loop
		execute format('delete from payout.%1$I s using (select q.%2$I, q.name, q.secret_no from payout.%1$I q where q.valid_until <= $1 for update skip locked) o '
					   'where (s.%2$I, s.name, s.secret_no) = (o.%2$I, o.name, o.secret_no)', home.table_name, home.id_column)
		using payout.clock();
	end loop;
end
$$;
comment on function payout.drop_old_secrets() is 'worker: removes replaced values whose time is over, but those that somebody has locked';

create function payout.set_secret(owner text, name text, value text, old_valid_until timestamptz default null) returns void
language c volatile parallel unsafe as 'MODULE_PATHNAME', 'payout_entry';
comment on function payout.set_secret(text, text, text, timestamptz) is
'stores a secret of channel:ID, merchant:ID or cvs:ID; there is no function that reads it back. The value before it ends at once, or is good until old_valid_until';

create function payout.do_set_secret(p_owner text, p_name text, p_value text, p_old_valid_until timestamptz) returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
	home record;
	owner_kind text := split_part(p_owner, ':', 1);
	owner_id text := substr(p_owner, length(owner_kind) + 2);
	is_repeat boolean;
	newly_sealed bytea;
begin
	-- The value appears in no message.
	if p_value is null or length(p_value) not between 1 and 16384 then
		raise exception 'argument "value" is not 1 to 16384 characters'
			using errcode = 'PY016', hint = 'Give the secret as a bind parameter, so that no log holds it.';
	elsif p_old_valid_until <= payout.clock() or p_old_valid_until > payout.clock() + interval '8784 hours' then
		raise exception 'argument "old_valid_until" is past, or over a year ahead'
			using errcode = 'PY016', hint = 'Leave it out, and the value before ends at once.';
	elsif p_name = 'private_key' and p_old_valid_until is not null then
		raise exception 'argument "old_valid_until" has no meaning for a private_key'
			using errcode = 'PY016', hint = 'Requests are signed with the present key alone; have the bank accept both public keys for a while.';
	end if;
	if owner_kind = 'channel' and p_name in ('private_key', 'client_secret', 'bank_public_key') then
		perform payout.find_channel(owner_id), payout.wake();
	elsif owner_kind = 'merchant' and p_name in ('webhook_secret', 'merchant_key', 'client_secret', 'public_key') then
		perform payout.find_merchant(owner_id);
	elsif owner_kind = 'cvs' and p_name in ('client_secret', 'public_key') then
		perform payout.find_cvs(owner_id);
	else
		raise exception 'argument "owner" or "name" is not known'
			using errcode = 'PY016',
				hint = 'Secrets of channel:ID are private_key, client_secret, bank_public_key; of merchant:ID webhook_secret, merchant_key, client_secret, public_key; of cvs:ID client_secret, public_key.';
	end if;
	select t.* into strict home from payout.secret_tables() t where t.owner_kind = split_part(p_owner, ':', 1);
	-- One at a time for each owner.
	execute format('select from payout.%I where %I = $1 for no key update', home.owner_kind, home.id_column) using owner_id;
	-- In assignments, so that the value is in no plan.
	is_repeat := payout.is_sealed(p_owner, p_name, (payout.valid_secrets(p_owner, p_name))[1], p_value);
	newly_sealed := payout.seal(p_owner, p_name, p_value);
	perform payout.replace_secret(home.table_name, home.id_column, owner_id, p_name, newly_sealed, is_repeat, p_old_valid_until);
end
$$;
comment on function payout.do_set_secret(text, text, text, timestamptz) is 'work of payout.set_secret';

-- p_is_repeat: the present value is the same one; null: there is none that opens.
create function payout.replace_secret(p_table text, p_id_column text, p_id text, p_name text, p_sealed bytea, p_is_repeat boolean, p_old_valid_until timestamptz)
returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
	its text := format(' where s.%I = $1 and s.name = $2', p_id_column);
	old_count integer;
	last_no integer;
begin
	execute format('delete from payout.%I s', p_table) || its
		|| ' and case when s.valid_until is null then $3 else $4 or s.valid_until <= $5 end'
	using p_id, p_name, p_is_repeat is null or (p_old_valid_until is null and not p_is_repeat), p_old_valid_until is null, payout.clock();
	execute format('select count(*) filter (where s.valid_until is not null), coalesce(max(s.secret_no), 0) from payout.%I s', p_table) || its
	into old_count, last_no using p_id, p_name;
	if p_is_repeat then
		-- The overlap with the one before it, if that is still there, is made longer or shorter.
		execute format('update payout.%I s set valid_until = $3', p_table) || its || ' and s.secret_no = $4 and s.valid_until is not null'
		using p_id, p_name, p_old_valid_until, last_no - 1;
		return;
	elsif old_count >= 4 then
		raise exception 'argument "old_valid_until": five values of the secret are good already'
			using errcode = 'PY016', hint = 'Wait until the oldest has ended, or leave it out: then all but the new one end at once.';
	end if;
	execute format('update payout.%I s set valid_until = $3', p_table) || its || ' and s.valid_until is null'
	using p_id, p_name, p_old_valid_until;
	execute format('insert into payout.%I (%I, name, secret_no, sealed) values ($1, $2, $3, $4)', p_table, p_id_column)
	using p_id, p_name, last_no + 1, p_sealed;
end
$$;
comment on function payout.replace_secret(text, text, text, text, bytea, boolean, timestamptz) is
'stores a sealed value in a table of secrets; what was there ends, or is good until the moment given';

create function payout.old_secret_digest() returns bytea
language c volatile parallel unsafe as 'MODULE_PATHNAME', 'payout_old_secret_digest';
comment on function payout.old_secret_digest() is 'the digest of payout.secret_file_old; PY015 without it';

create function payout.rotate_secret_key() returns integer
language c volatile parallel unsafe as 'MODULE_PATHNAME', 'payout_entry';
comment on function payout.rotate_secret_key() is
'after payout.secret_file was replaced and the former one named in payout.secret_file_old: seals all stored secrets with the new one, and arms the database for it where it was armed for the old one; the count of secrets sealed anew';

create function payout.do_rotate_secret_key() returns integer
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
	old_digest bytea := payout.old_secret_digest();
	present record := payout.identity();
	is_for_old boolean := exists (
		select from payout.arming a
		where a.is_armed and (a.system_identifier, a.database_oid, a.secret_digest) = (present.system_identifier, present.database_oid, old_digest)
		and payout.is_armed_for(a.place, a.timeline_id));
	home record;
	part integer;
	sealed_anew integer := 0;
begin
	if old_digest = present.secret_digest then
		raise exception 'payout.secret_file and payout.secret_file_old have the same content'
			using errcode = 'PY015', hint = 'Name the new file in payout.secret_file and the one before it in payout.secret_file_old.';
	elsif is_for_old and not payout.worker_holds_file() then
		-- A copy that is armed for the old file waits for this lock. With the new file it would wait no more.
		raise exception 'this database''s worker does not hold the lock on payout.secret_file_old'
			using errcode = 'PY015', hint = 'Where the worker of a copy holds it, only one of the two may go on. Where none runs here, list the database in payout.databases, or disarm it before the rotation and arm it after.';
	end if;
	for home in select * from payout.secret_tables() loop
		execute format('update payout.%1$I s set sealed = a.anew '
					   'from (select q.%2$I, q.name, q.secret_no, payout.seal_again(%3$L || q.%2$I, q.name, q.sealed) as anew '
					   'from payout.%1$I q where q.key_id <> $1 offset 0) a '
					   'where (s.%2$I, s.name, s.secret_no) = (a.%2$I, a.name, a.secret_no) and a.anew is not null',
					   home.table_name, home.id_column, home.owner_kind || ':')
		using payout.seal_key_id();
		get diagnostics part = row_count;
		sealed_anew := sealed_anew + part;
	end loop;
	-- Armed for the old file is armed for the new one; a copy that was not armed does not become so.
	update payout.arming a set secret_digest = present.secret_digest, changed_at = default, changed_by = default
	where is_for_old and a.is_armed and a.secret_digest = old_digest;
	perform payout.wake();
	return sealed_anew;
end
$$;
comment on function payout.do_rotate_secret_key() is 'work of payout.rotate_secret_key';
