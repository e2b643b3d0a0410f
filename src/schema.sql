-- schema.sql: the schema itself, argument checks, and the tables of shared data that the steps read.
--
-- Conventions of every fragment:
--   * A step's public function is declared in C ('payout_entry'); it identifies its caller, checks what the caller
--     may do, and calls the function of the same name with the prefix do_, which holds the work. Work functions take
--     the same arguments in the same order, named p_..., so that their bodies need no qualification.
--   * Every function that is not C fixes its search_path. Nobody but the owner may call a work function.
--   * merchant_id is the first column of every key of a merchant's table. There are no sequences: ids are TXIDs or
--     time-ordered uuids, so that databases can be split and merged by merchant.
--   * Work queues are read with "due <= (select payout.clock())": the sub-select is evaluated once, so that the queue's
--     index ends the scan there; the bare function would be asked of every row that is not due yet.
--   * Tables that take a row per payout have no foreign keys to small hot tables: a key-share lock on one merchant's
--     row per payout is a queue of its own. Rows of the referred tables cannot be deleted, and payout.verify()
--     looks for orphans.

create schema payout;
comment on schema payout is 'payouts to bank accounts, and as cash at stores';

-- Argument checks. Each answers with its value or raises, naming the argument.

create function payout.require_text(argument text, value text, length_min integer, length_max integer,
									characters text, sqlstate text) returns text
language c immutable parallel safe as 'MODULE_PATHNAME', 'payout_require_text';
comment on function payout.require_text(text, text, integer, integer, text, text) is
'the value, if it is not null, within the length (in characters) and made of the characters allowed (id, digits, visible, phone, text); otherwise raises sqlstate';

create function payout.is_text(value text, length_min integer, length_max integer, characters text) returns boolean
language c immutable strict parallel safe as 'MODULE_PATHNAME', 'payout_is_text';
comment on function payout.is_text(text, integer, integer, text) is 'whether payout.require_text would let the value pass; null for null';

create function payout.require_amount(argument text, value numeric) returns numeric
language c immutable parallel safe as 'MODULE_PATHNAME', 'payout_require_amount';
comment on function payout.require_amount(text, numeric) is
'the value, if it is a positive amount of at most 16 digits and two decimals; otherwise raises PY007';

create function payout.new_id() returns uuid
language c volatile parallel restricted as 'MODULE_PATHNAME', 'payout_new_id';
comment on function payout.new_id() is 'a time-ordered uuid (version 7)';

create function payout.new_salt() returns bytea
language c volatile parallel restricted as 'MODULE_PATHNAME', 'payout_new_salt';
comment on function payout.new_salt() is '16 strong random bytes, before which something is digested that could be guessed';

create function payout.new_external_id() returns text
language c volatile parallel restricted as 'MODULE_PATHNAME', 'payout_new_external_id';
comment on function payout.new_external_id() is
'28 digits, unique for each HTTP request: milliseconds and random digits (SNAP X-EXTERNAL-ID: digits only, at most 32 at the strictest bank)';

create function payout.clock() returns timestamptz
language c volatile parallel restricted as 'MODULE_PATHNAME', 'payout_clock';
comment on function payout.clock() is
'the present moment for schedules, expiry and backoff: the wall clock, moved by payout.clock_offset when payout.testing is on';

-- Spans are counted in seconds everywhere: a day of an interval is one of the calendar, with 23 or 25 hours where the session's
-- clocks change.
create function payout.setting_interval(setting text) returns interval
language c stable strict parallel safe as 'MODULE_PATHNAME', 'payout_setting_interval';
comment on function payout.setting_interval(text) is 'the settings token_ttl, reservation_ttl, schedule_lead and safety_poll, as an interval of seconds';

create function payout.jakarta_day(at timestamptz) returns date
language plpgsql immutable parallel safe
set search_path = pg_catalog, pg_temp
as $$
begin
	return (at at time zone interval '+07:00')::date;
end
$$;
comment on function payout.jakarta_day(timestamptz) is 'the day in Jakarta (UTC+7 all year); limits and reports count by it';

create function payout.caller() returns text
language c stable parallel restricted as 'MODULE_PATHNAME', 'payout_caller';
comment on function payout.caller() is 'the role that called the public function now running; history rows name it';

create function payout.wake() returns void
language c volatile parallel unsafe as 'MODULE_PATHNAME', 'payout_wake';
comment on function payout.wake() is 'wakes this database''s worker when the transaction commits';

create function payout.backoff_ms(tries integer, base_ms bigint, max_ms bigint, jitter double precision) returns bigint
language c volatile parallel restricted as 'MODULE_PATHNAME', 'payout_backoff_ms';
comment on function payout.backoff_ms(integer, bigint, bigint, double precision) is
'exponential delay with a ceiling; the last part of it (jitter, 0 to 1) is random';

-- Retries as data. Shipped rows stay; an operator's row for the same lane wins and is kept by dumps.

create table payout.retry_policy (
	lane text not null check (lane in ('validate', 'dispatch', 'check', 'notify')),
	source text not null default 'operator' check (source in ('shipped', 'operator')),
	base_ms bigint not null check (base_ms between 1 and 86400000),
	max_ms bigint not null check (max_ms between base_ms and 604800000),
	jitter double precision not null default 0.2 check (jitter between 0 and 1),
	tries_max integer not null check (tries_max between 1 and 100000),
	primary key (lane, source)
);
comment on table payout.retry_policy is 'how each lane retries: exponential from base_ms to max_ms; after tries_max failures a person is asked (notify: given up)';
comment on column payout.retry_policy.source is 'shipped with the extension, or set by an operator (wins)';

insert into payout.retry_policy (lane, source, base_ms, max_ms, tries_max) values
	('validate', 'shipped', 1000, 60000, 100000),
	('dispatch', 'shipped', 1000, 300000, 1000),
	('check', 'shipped', 5000, 900000, 100000),
	('notify', 'shipped', 5000, 86400000, 20);

create function payout.backoff(lane text, tries integer) returns interval
language plpgsql volatile parallel restricted
set search_path = pg_catalog, pg_temp
as $$
declare
	policy payout.retry_policy;
begin
	select * into policy from payout.retry_policy r
	where r.lane = backoff.lane
	order by r.source = 'operator' desc limit 1;
	return payout.backoff_ms(tries, policy.base_ms, policy.max_ms, policy.jitter) * interval '1 ms';
end
$$;
comment on function payout.backoff(text, integer) is 'how long to wait after this many failures in a row, by the lane''s retry policy';

-- Who may call what, beyond the extension's owner and superusers.

-- The role stands by its oid, as in PostgreSQL's own grants: it may be renamed, and another role of its name is another.
-- Dumps write the name. caller.c reads this table by its primary key.
create table payout.access_grant (
	kind text collate "C" not null check (kind in ('merchant', 'cvs', 'operator', 'analyst')),
	scope text collate "C" not null default '',
	role_name regrole not null,
	granted_at timestamptz not null default now(),
	granted_by text not null default payout.caller(),
	grant_id uuid not null default payout.new_id(),
	primary key (kind, scope, role_name),
	check ((kind in ('merchant', 'cvs')) = (scope <> ''))
);
comment on table payout.access_grant is 'which role may act as a merchant, a store, an operator or an analyst; written by payout.grant_access, read at every call of a public function';
comment on column payout.access_grant.scope is 'the merchant_id or cvs_code that the role acts for; empty for operators and analysts';
comment on column payout.access_grant.grant_id is 'names the grant in payout.admin_event, whatever its role is called';
comment on column payout.access_grant.role_name is 'the role; a number where it was dropped, and then nobody''s';

-- Deleting what other rows name would orphan them; ids are retired by options, not by DELETE.

create function payout.forget_rows() returns trigger
language c volatile parallel unsafe as 'MODULE_PATHNAME', 'payout_forget_rows';
comment on function payout.forget_rows() is 'trigger: sessions forget the rows of this table that they keep; see row_cache.c';

create index access_grant_role on payout.access_grant (role_name);
create trigger forget_rows after insert or update or delete on payout.access_grant for each row execute function payout.forget_rows();
create trigger forget_all_rows after truncate on payout.access_grant for each statement execute function payout.forget_rows();
alter table payout.access_grant enable always trigger forget_rows;
alter table payout.access_grant enable always trigger forget_all_rows;

create function payout.refuse_change() returns trigger
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
	raise exception '% on payout.% is not allowed', lower(tg_op collate "C"), tg_table_name
		using errcode = 'restrict_violation',
			detail = 'Rows of this table are evidence or are named by other rows.',
			hint = 'Corrections of the ledger are new transfers; a merchant, bank or store is switched off with payout.alter_merchant, alter_bank or alter_cvs.';
end
$$;
comment on function payout.refuse_change() is 'trigger: refuses the statement, even to the owner';

-- Options: every key of every options column, its type and range, in one table.

create table payout.option_definition (
	scope text collate "C" not null check (scope in ('merchant', 'channel', 'bank', 'cvs', 'payout')),
	name text collate "C" not null,
	kind text not null check (kind in ('boolean', 'integer', 'text', 'visible', 'choice', 'list', 'fee', 'limits', 'hours', 'amount')),
	minimum bigint,
	maximum bigint,
	choices text[],
	default_value jsonb,
	description text not null,
	primary key (scope, name)
);
create trigger forget_rows after insert or update or delete on payout.option_definition for each row execute function payout.forget_rows();
create trigger forget_all_rows after truncate on payout.option_definition for each statement execute function payout.forget_rows();
alter table payout.option_definition enable always trigger forget_rows;
alter table payout.option_definition enable always trigger forget_all_rows;
comment on table payout.option_definition is 'the options that create_* and alter_* accept, with type, range (integers: value; texts: length) and default';

insert into payout.option_definition (scope, name, kind, minimum, maximum, choices, default_value, description) values
	('channel', 'mode', 'choice', null, null, '{bulk,single}', '"bulk"', 'online payouts go as bulk transfer (20) or one by one (18); overbooking always goes one by one (17)'),
	('channel', 'client_id', 'text', 1, 64, null, null, 'X-CLIENT-KEY of the token request'),
	('channel', 'partner_id', 'text', 1, 36, null, null, 'X-PARTNER-ID'),
	('channel', 'channel_header', 'text', 1, 36, null, null, 'CHANNEL-ID'),
	('channel', 'source_account_no', 'visible', 1, 19, null, null, 'our account at the bank, which is debited; each payout keeps the one it was registered with'),
	('channel', 'batch_size_max', 'integer', 1, 10000, null, '100', 'payouts in one bulk transfer at most'),
	('channel', 'linger_ms', 'integer', 0, 600000, null, '0', 'how long a payout may wait for others to fill a bulk'),
	('channel', 'in_flight_max', 'integer', 1, 10000, null, '64', 'requests to this channel at one moment, per lane'),
	('channel', 'connect_timeout_ms', 'integer', 10, 600000, null, '5000', 'connecting, TLS included'),
	('channel', 'request_timeout_ms', 'integer', 10, 600000, null, '30000', 'a whole request'),
	('channel', 'signature_encoding', 'choice', null, null, '{base64,hex}', '"base64"', 'how signatures are written'),
	('channel', 'timestamp_ms', 'boolean', null, null, null, 'false', 'X-TIMESTAMP with milliseconds'),
	('channel', 'generic_service_code', 'boolean', null, null, null, 'false', 'the bank may write 00 for the service in its response codes; any other service than the one that was asked is never believed'),
	('channel', 'path_prefix', 'text', 0, 200, null, '"/v1.0"', 'between base_url and the service''s path'),
	('channel', 'signed_path_prefix', 'text', 0, 200, null, null, 'the same in the text that is signed, where the bank wants another (default: the path of the URL)'),
	('channel', 'status_delay_s', 'integer', 0, 86400, null, '10', 'earliest status inquiry after a transfer was sent'),
	('channel', 'status_window_days', 'integer', 1, 3650, null, '30', 'the bank answers status inquiries this long; then a person is asked'),
	('channel', 'not_found_grace_s', 'integer', 0, 604800, null, '3600', '"not found" before this age of the transfer proves nothing'),
	('channel', 'not_found_count', 'integer', 1, 1000, null, '5', 'so many "not found" in a row before the same batch is sent again'),
	('channel', 'reference_memory_s', 'integer', 1, 315360000, null, null, 'how long the bank refuses a reference that it has booked, by its own word (default: not known, so that what it does not find is sent again by a person alone)'),
	('channel', 'check_deadline_s', 'integer', 1, 604800, null, '3600', 'how long an account check is tried'),
	('channel', 'on_check_unavailable', 'choice', null, null, '{fail,dispatch}', '"fail"', 'what an approved payout does when its account could not be checked in time'),
	('channel', 'ca_file', 'text', 1, 1000, null, null, 'certificate authorities of this bank (default: the system''s)'),
	('channel', 'client_certificate', 'text', 1, 1000, null, null, 'PEM file with our certificate and key for TLS'),
	('bank', 'wire_code', 'visible', 1, 11, null, null, 'the code the channel knows the bank by (default: bank_code); each payout keeps the one it was registered with'),
	('bank', 'internal', 'boolean', null, null, null, 'false', 'the channel''s own bank: overbooking (17) and internal account inquiry (15)'),
	('cvs', 'amount_multiple', 'integer', 1, 1000000000, null, '1', 'the store pays multiples of this amount'),
	('cvs', 'amount_min', 'integer', 1, 1000000000000, null, null, 'least amount that the store pays'),
	('cvs', 'amount_max', 'integer', 1, 1000000000000, null, null, 'greatest amount that the store pays'),
	('cvs', 'opening_hours', 'hours', null, null, null, '"00:00-24:00"', 'when the store pays, Jakarta time; an end before the beginning is on the next day'),
	('cvs', 'token_tries', 'integer', 1, 1000000, null, '1080', 'wrong tokens in an hour at all known terminals of the store together, before they are locked'),
	('merchant', 'notify_format', 'choice', null, null, '{standard}', '"standard"', 'format of notifications'),
	('merchant', 'notify_events', 'list', null, null, '{account.checked,approval.given,payout.approved,payout.paid,payout.failed,payout.suspect,payout.rejected,payout.cancelled,payout.expired,payout.reversed,payout.returned,payout.disputed}',
		'["payout.paid", "payout.failed", "payout.suspect", "payout.rejected", "payout.cancelled", "payout.expired", "payout.reversed", "payout.returned", "payout.disputed"]', 'events the merchant is told of'),
	('merchant', 'on_name_differs', 'choice', null, null, '{hold,pass}', '"hold"', 'an approved payout whose account has another name, or an unreadable one, waits for a person, or passes'),
	('merchant', 'fee', 'fee', null, null, '{overbooking,online,cashout}', '{}', 'per method {"flat": amount, "bps": basis points}, taken on top of the amount'),
	('merchant', 'limits', 'limits', null, null, '{overbooking,online,cashout}', '{}', 'per method {"min": amount, "max": amount}, and "daily_total": amount per Jakarta day'),
	('merchant', 'refund_fee_on_return', 'boolean', null, null, null, 'false', 'the fee is given back when a paid payout is returned'),
	('merchant', 'approver_differs', 'boolean', null, null, null, 'false', 'the role that approves is not the one that registered'),
	('merchant', 'second_approval_above', 'amount', null, null, null, null, 'a payout above this amount is approved by two roles'),
	('merchant', 'approver_daily_max', 'amount', null, null, null, null, 'what one role may approve on a Jakarta day');

create function payout.option(scope text, options jsonb, name text) returns jsonb
language plpgsql stable parallel safe
set search_path = pg_catalog, pg_temp
as $$
begin
	if options ? name then
		return options -> name;
	end if;
	return (select d.default_value from payout.option_definition d where d.scope = option.scope and d.name = option.name);
end
$$;
comment on function payout.option(text, jsonb, text) is 'an option''s value, or its default';

create function payout.option_text(scope text, options jsonb, name text) returns text
language plpgsql stable parallel safe
set search_path = pg_catalog, pg_temp
as $$
begin
	return payout.option(scope, options, name) #>> '{}';
end
$$;
comment on function payout.option_text(text, jsonb, text) is 'an option''s value as text, or its default';

create function payout.is_amount(value jsonb) returns boolean
language plpgsql immutable parallel safe
set search_path = pg_catalog, pg_temp
as $$
declare
	amount numeric;
begin
	if value is null or jsonb_typeof(value) not in ('number', 'string') then
		return false;
	end if;
	amount := value #>> '{}';
	return amount >= 0 and amount < 1e16 and amount = round(amount, 2);
exception when data_exception then
	return false;
end
$$;
comment on function payout.is_amount(jsonb) is 'whether a JSON number or string is an amount: not negative, below 10^16, two decimals at most';

create function payout.is_hours(value text) returns boolean
language sql immutable parallel safe
set search_path = pg_catalog, pg_temp
return value ~ '^([01][0-9]|2[0-3]):[0-5][0-9]-(([01][0-9]|2[0-3]):[0-5][0-9]|24:00)$' and left(value, 5) <> right(value, 5);
comment on function payout.is_hours(text) is 'whether a text is a part of the day, as in 07:00-22:00';

-- Raises PY016 for the first option that is unknown, of a wrong type or out of range.
create function payout.check_options(p_scope text, p_options jsonb) returns jsonb
language plpgsql stable
set search_path = pg_catalog, pg_temp
as $$
declare
	given record;
	d payout.option_definition;
	wrong text;
begin
	if p_options is null or jsonb_typeof(p_options) <> 'object' or octet_length(p_options::text) > 16384 then
		raise exception 'argument "options" is not a JSON object of at most 16 kB'
			using errcode = 'PY016', hint = 'Give an object, for example ''{}''.';
	end if;
	for given in select o.key, o.value from jsonb_each(p_options) o loop
		select * into d from payout.option_definition o where o.scope = p_scope and o.name = given.key;
		if not found then
			raise exception 'argument "options" has an unknown key "%"', left(given.key, 64)
				using errcode = 'PY016', hint = format('The keys for a %s stand in payout.option_definition.', p_scope);
		end if;
		wrong := case d.kind
			when 'boolean' then case when jsonb_typeof(given.value) <> 'boolean' then 'true or false' end
			when 'integer' then case when not coalesce(jsonb_typeof(given.value) = 'number'
					and (given.value #>> '{}')::numeric = trunc((given.value #>> '{}')::numeric)
					and (given.value #>> '{}')::numeric between d.minimum and d.maximum, false)
				then format('a whole number from %s to %s', d.minimum, d.maximum) end
			when 'text' then case when not coalesce(jsonb_typeof(given.value) = 'string'
					and length(given.value #>> '{}') between d.minimum and d.maximum
					and ((given.value #>> '{}') = '' or payout.is_text(given.value #>> '{}', d.minimum::integer, d.maximum::integer, 'text')), false)
				then format('a text of %s to %s characters', d.minimum, d.maximum) end
			when 'visible' then case when not coalesce(jsonb_typeof(given.value) = 'string'
					and payout.is_text(given.value #>> '{}', d.minimum::integer, d.maximum::integer, 'visible'), false)
				then format('%s to %s visible characters', d.minimum, d.maximum) end
			when 'choice' then case when not coalesce(jsonb_typeof(given.value) = 'string'
					and (given.value #>> '{}') = any (d.choices), false)
				then format('one of %s', array_to_string(d.choices, ', ')) end
			when 'list' then case when not coalesce(jsonb_typeof(given.value) = 'array'
					and given.value <@ to_jsonb(d.choices), false)
				then format('a list of %s', array_to_string(d.choices, ', ')) end
			when 'hours' then case when not coalesce(jsonb_typeof(given.value) = 'string'
					and payout.is_hours(given.value #>> '{}'), false)
				then 'hours as in 07:00-22:00' end
			when 'amount' then case when not payout.is_amount(given.value) then 'an amount' end
			when 'fee' then payout.wrong_fee(given.value, d.choices)
			when 'limits' then payout.wrong_limits(given.value, d.choices)
		end;
		if wrong is not null then
			raise exception 'option "%" must be %', given.key, wrong
				using errcode = 'PY016', hint = d.description || '.';
		end if;
	end loop;
	return p_options;
end
$$;
comment on function payout.check_options(text, jsonb) is 'the options, if each key is known and its value fits payout.option_definition; otherwise raises PY016';

create function payout.wrong_fee(value jsonb, methods text[]) returns text
language sql immutable parallel safe
set search_path = pg_catalog, pg_temp
return case
	when jsonb_typeof(value) <> 'object' then 'an object of methods'
	when exists (select from jsonb_each(value) m
				 where m.key <> all (methods) or jsonb_typeof(m.value) <> 'object'
				 or exists (select from jsonb_each(case when jsonb_typeof(m.value) = 'object' then m.value else '{}' end) f
							where f.key not in ('flat', 'bps') or not payout.is_amount(f.value)
							or (f.key = 'bps' and (f.value #>> '{}')::numeric > 10000)))
	then 'an object {"method": {"flat": amount, "bps": 0 to 10000}}' end;
comment on function payout.wrong_fee(jsonb, text[]) is 'what a fee option should have been, or null when it is right';

create function payout.wrong_limits(value jsonb, methods text[]) returns text
language sql immutable parallel safe
set search_path = pg_catalog, pg_temp
return case
	when jsonb_typeof(value) <> 'object' then 'an object of methods'
	when exists (select from jsonb_each(value) m
				 where case when m.key = 'daily_total' then not payout.is_amount(m.value)
				 when m.key <> all (methods) or jsonb_typeof(m.value) <> 'object' then true
				 else exists (select from jsonb_each(m.value) f
							  where f.key not in ('min', 'max') or not payout.is_amount(f.value)) end)
	then 'an object {"method": {"min": amount, "max": amount}, "daily_total": amount}' end;
comment on function payout.wrong_limits(jsonb, text[]) is 'what a limits option should have been, or null when it is right';

-- What payout.verify answers with.
create type payout.violation as (check_name text, merchant_id text, txid text, detail text);
comment on type payout.violation is 'one broken invariant; merchant_id and txid are null where it concerns no merchant or no payout';
