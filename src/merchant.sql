-- merchant.sql: merchants, created once and then altered; never deleted.

create table payout.merchant (
	merchant_id text collate "C" primary key check (merchant_id ~ '^[A-Z0-9]{10}$'),
	name text not null,
	notify_url text,
	options jsonb not null default '{}',
	active boolean not null default true,
	created_at timestamptz not null default now(),
	created_by text not null default payout.caller()
);
comment on table payout.merchant is 'who holds a prepaid balance and pays out of it';
comment on column payout.merchant.merchant_id is '10 of A-Z and 0-9; never changes';
comment on column payout.merchant.notify_url is 'where notifications are delivered; none are owed without it';
comment on column payout.merchant.options is 'see payout.option_definition, scope merchant';
comment on column payout.merchant.active is 'an inactive merchant registers and approves nothing; payouts under way go on';

create trigger refuse_delete before delete on payout.merchant for each row execute function payout.refuse_change();
create trigger refuse_truncate before truncate on payout.merchant for each statement execute function payout.refuse_change();
create trigger forget_rows after insert or update or delete on payout.merchant for each row execute function payout.forget_rows();
create trigger forget_all_rows after truncate on payout.merchant for each statement execute function payout.forget_rows();
alter table payout.merchant enable always trigger forget_rows;
alter table payout.merchant enable always trigger forget_all_rows;

-- The merchant's row, or PY005. Every function of a merchant begins here.
-- What decides whether a call may do what it asks for is read here, by register.sql's sisters of it and by the library, never from
-- the tables: so it counts from its commit on, whatever the snapshot of the caller's transaction (catalog_lint.sql).
create function payout.merchant_now(merchant_id text) returns payout.merchant
language c volatile strict parallel unsafe as 'MODULE_PATHNAME', 'payout_merchant_now';
comment on function payout.merchant_now(text) is 'a merchant as the newest committed state has it, whatever the snapshot; null where there is none';

create function payout.find_merchant(p_merchant_id text) returns payout.merchant
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
	m payout.merchant := payout.merchant_now(p_merchant_id);
begin
	if m.merchant_id is null then
		raise exception 'argument "merchant_id" names no merchant'
			using errcode = 'PY005', hint = 'Create it with payout.create_merchant; an id is 10 of A-Z and 0-9.';
	end if;
	return m;
end
$$;
comment on function payout.find_merchant(text) is 'the merchant as it is now, or PY005';

create function payout.check_url(argument text, value text) returns text
language plpgsql immutable parallel safe
set search_path = pg_catalog, pg_temp
as $$
begin
	if value is not null and (length(value) > 2000 or value !~ '^https?://([A-Za-z0-9._~-]+|[[][0-9A-Fa-f:.]+[]])(:[0-9]{1,5})?([/?#][!-~]*)?$') then
		raise exception 'argument "%" is not an http(s) URL of at most 2000 ASCII characters without user and password', argument
			using errcode = 'PY016', hint = 'For example https://merchant.example/payout-events.';
	end if;
	return value;
end
$$;
comment on function payout.check_url(text, text) is 'the value, if it is null or an http(s) URL; otherwise raises PY016';

create function payout.create_merchant(merchant_id text, name text, notify_url text default null, options jsonb default '{}')
returns payout.merchant
language c volatile parallel unsafe as 'MODULE_PATHNAME', 'payout_entry';
comment on function payout.create_merchant(text, text, text, jsonb) is 'creates a merchant with an empty balance; a repeat with the same content answers the same';

create function payout.do_create_merchant(p_merchant_id text, p_name text, p_notify_url text, p_options jsonb)
returns payout.merchant
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
	m payout.merchant;
begin
	if p_merchant_id is null or p_merchant_id !~ '^[A-Z0-9]{10}$' then
		raise exception 'argument "merchant_id" is not 10 of A-Z and 0-9'
			using errcode = 'PY016', hint = 'For example IONPAYTEST.';
	end if;
	perform payout.require_text('name', p_name, 1, 100, 'text', 'PY016'),
			payout.check_url('notify_url', p_notify_url),
			payout.check_options('merchant', p_options);
	insert into payout.merchant (merchant_id, name, notify_url, options)
	values (p_merchant_id, p_name, p_notify_url, p_options)
	on conflict do nothing
	returning * into m;
	if found then
		insert into payout.balance (merchant_id) values (p_merchant_id);
		return m;
	end if;
	m := payout.find_merchant(p_merchant_id);
	if (m.name, m.notify_url, m.options) is distinct from (p_name, p_notify_url, p_options) then
		raise exception 'merchant "%" exists with other content', p_merchant_id
			using errcode = 'PY002', hint = 'Change it with payout.alter_merchant.';
	end if;
	return m;
end
$$;
comment on function payout.do_create_merchant(text, text, text, jsonb) is 'work of payout.create_merchant';

create function payout.alter_merchant(merchant_id text, options jsonb) returns payout.merchant
language c volatile parallel unsafe as 'MODULE_PATHNAME', 'payout_entry';
comment on function payout.alter_merchant(text, jsonb) is
'merges into the options (null removes a key); the keys name, notify_url and active change the columns of those names';

create function payout.do_alter_merchant(p_merchant_id text, p_options jsonb) returns payout.merchant
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
	m payout.merchant := payout.find_merchant(p_merchant_id);
begin
	-- By itself: what follows takes keys from p_options, which the planner may try before anything else is checked.
	perform payout.check_columns(p_options, '{name,notify_url}', '{active}');
	perform payout.require_text('name', coalesce(p_options ->> 'name', m.name), 1, 100, 'text', 'PY016'),
			payout.check_url('notify_url', p_options ->> 'notify_url'),
			payout.check_options('merchant', jsonb_strip_nulls(p_options - '{name,notify_url,active}'::text[]));
	update payout.merchant
	set name = coalesce(p_options ->> 'name', name),
		notify_url = case when p_options ? 'notify_url' then p_options ->> 'notify_url' else notify_url end,
		active = coalesce((p_options ->> 'active')::boolean, active),
		options = jsonb_strip_nulls(options || (p_options - '{name,notify_url,active}'::text[]))
	where merchant_id = p_merchant_id
	returning * into m;
	return m;
end
$$;
comment on function payout.do_alter_merchant(text, jsonb) is 'work of payout.alter_merchant';

-- alter_* accept a few keys that are columns; this checks the JSON types of those.
create function payout.check_columns(p_options jsonb, p_texts text[], p_booleans text[]) returns void
language plpgsql stable
set search_path = pg_catalog, pg_temp
as $$
declare
	given record;
begin
	if p_options is null or jsonb_typeof(p_options) <> 'object' then
		raise exception 'argument "options" is not a JSON object'
			using errcode = 'PY016', hint = 'Give an object, for example ''{}''.';
	end if;
	for given in select o.key, jsonb_typeof(o.value) as type from jsonb_each(p_options) o loop
		if (given.key = any (p_texts) and given.type not in ('string', 'null'))
			or (given.key = any (p_booleans) and given.type <> 'boolean') then
			raise exception 'option "%" has the wrong type', given.key
				using errcode = 'PY016',
					hint = case when given.key = any (p_booleans) then 'Give true or false.' else 'Give a text.' end;
		end if;
	end loop;
end
$$;
comment on function payout.check_columns(jsonb, text[], text[]) is 'raises PY016 when a key that stands for a column has another JSON type';
