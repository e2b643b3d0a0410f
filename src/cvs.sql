-- cvs.sql: convenience stores (CVS) that pay cash, and their rules.

create table payout.cvs (
	cvs_code text collate "C" primary key check (cvs_code ~ '^[A-Za-z0-9_-]{1,32}$'),
	name text not null,
	options jsonb not null default '{}',
	active boolean not null default true,
	created_at timestamptz not null default now(),
	created_by text not null default payout.caller()
);
comment on table payout.cvs is 'a convenience store, or a chain that acts as one';
comment on column payout.cvs.options is 'see payout.option_definition, scope cvs';
comment on column payout.cvs.active is 'a suspended store validates no token; it may still confirm and reverse what it has validated';

create trigger refuse_delete before delete on payout.cvs for each row execute function payout.refuse_change();
create trigger refuse_truncate before truncate on payout.cvs for each statement execute function payout.refuse_change();

create trigger forget_rows after insert or update or delete on payout.cvs for each row execute function payout.forget_rows();
create trigger forget_all_rows after truncate on payout.cvs for each statement execute function payout.forget_rows();
alter table payout.cvs enable always trigger forget_rows;
alter table payout.cvs enable always trigger forget_all_rows;

create function payout.find_cvs(p_cvs_code text) returns payout.cvs
language plpgsql stable
set search_path = pg_catalog, pg_temp
as $$
declare
	c payout.cvs;
begin
	select * into c from payout.cvs where cvs_code = p_cvs_code;
	if not found then
		raise exception 'argument "cvs_code" names no store'
			using errcode = 'PY016', hint = 'Create it with payout.create_cvs.';
	end if;
	return c;
end
$$;
comment on function payout.find_cvs(text) is 'the store, or PY016';

create function payout.create_cvs(cvs_code text, name text, options jsonb default '{}') returns payout.cvs
language c volatile parallel unsafe as 'MODULE_PATHNAME', 'payout_entry';
comment on function payout.create_cvs(text, text, jsonb) is 'creates a store that pays cash; a repeat with the same content answers the same';

create function payout.do_create_cvs(p_cvs_code text, p_name text, p_options jsonb) returns payout.cvs
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
	c payout.cvs;
begin
	if p_cvs_code is null or p_cvs_code !~ '^[A-Za-z0-9_-]{1,32}$' then
		raise exception 'argument "cvs_code" is not 1 to 32 of A-Z, a-z, 0-9, _ and -'
			using errcode = 'PY016', hint = 'For example ALFAMART.';
	end if;
	perform payout.require_text('name', p_name, 1, 100, 'text', 'PY016'), payout.check_options('cvs', p_options);
	insert into payout.cvs (cvs_code, name, options)
	values (p_cvs_code, p_name, p_options)
	on conflict do nothing
	returning * into c;
	if not found then
		c := payout.find_cvs(p_cvs_code);
		if (c.name, c.options) is distinct from (p_name, p_options) then
			raise exception 'store "%" exists with other content', p_cvs_code
				using errcode = 'PY002', hint = 'Change it with payout.alter_cvs.';
		end if;
	end if;
	return c;
end
$$;
comment on function payout.do_create_cvs(text, text, jsonb) is 'work of payout.create_cvs';

create function payout.alter_cvs(cvs_code text, options jsonb) returns payout.cvs
language c volatile parallel unsafe as 'MODULE_PATHNAME', 'payout_entry';
comment on function payout.alter_cvs(text, jsonb) is
'merges into the options (null removes a key); the keys name and active change the columns of those names';

create function payout.do_alter_cvs(p_cvs_code text, p_options jsonb) returns payout.cvs
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
	c payout.cvs := payout.find_cvs(p_cvs_code);
begin
	-- By itself: what follows takes keys from p_options, which the planner may try before anything else is checked.
	perform payout.check_columns(p_options, '{name}', '{active}');
	perform payout.require_text('name', coalesce(p_options ->> 'name', c.name), 1, 100, 'text', 'PY016'),
			payout.check_options('cvs', jsonb_strip_nulls(p_options - '{name,active}'::text[]));
	update payout.cvs
	set name = coalesce(p_options ->> 'name', name),
		active = coalesce((p_options ->> 'active')::boolean, active),
		options = jsonb_strip_nulls(options || (p_options - '{name,active}'::text[]))
	where cvs_code = p_cvs_code
	returning * into c;
	return c;
end
$$;
comment on function payout.do_alter_cvs(text, jsonb) is 'work of payout.alter_cvs';

-- What the store pays, and when, is asked in store.c, and told to nobody but who has presented a token that is good.
create function payout.is_within(hours text, at timestamptz) returns boolean
language c immutable strict parallel safe as 'MODULE_PATHNAME', 'payout_is_within';
comment on function payout.is_within(text, timestamptz) is 'whether a moment is within the hours, as in 07:00-22:00, Jakarta time';
