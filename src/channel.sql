-- channel.sql: channels (a connection to one bank) and banks (destinations, routed to a channel).

create table payout.channel (
	channel_id text collate "C" primary key check (channel_id ~ '^[A-Za-z0-9_-]{1,32}$'),
	protocol text not null check (protocol in ('snap')),
	base_url text not null,
	options jsonb not null default '{}',
	paused_at timestamptz,
	paused_reason text,
	not_before timestamptz,
	not_before_reason text,
	epoch integer not null default 1,
	created_at timestamptz not null default now(),
	created_by text not null default payout.caller(),
	check ((paused_at is null) = (paused_reason is null))
);
comment on table payout.channel is 'a connection to one bank: protocol, address, limits; its credentials are in payout.channel_secret';
comment on column payout.channel.paused_at is 'since when nothing is sent, by an operator or because the bank refused us as a partner';
comment on column payout.channel.not_before is 'the bank refused for now (cut-off, float empty, too many requests): no transfer is sent before this moment';
comment on column payout.channel.epoch is 'the how-manieth bank, or books, stand behind this channel: what was sent in an earlier epoch is neither sent nor asked for here, and accounts that were checked in one are checked again before anything is sent';

create trigger refuse_delete before delete on payout.channel for each row execute function payout.refuse_change();
create trigger refuse_truncate before truncate on payout.channel for each statement execute function payout.refuse_change();
create trigger forget_rows after insert or update or delete on payout.channel for each row execute function payout.forget_rows();
create trigger forget_all_rows after truncate on payout.channel for each statement execute function payout.forget_rows();
alter table payout.channel enable always trigger forget_rows;
alter table payout.channel enable always trigger forget_all_rows;

create table payout.bank (
	bank_code text collate "C" primary key check (bank_code ~ '^[A-Za-z0-9]{2,11}$'),
	name text not null,
	channel_id text collate "C" not null references payout.channel,
	options jsonb not null default '{}',
	enabled boolean not null default true,
	created_at timestamptz not null default now(),
	created_by text not null default payout.caller()
);
comment on table payout.bank is 'a destination bank and the channel that reaches it, for payouts that will be registered; each payout keeps what it was registered with';
comment on column payout.bank.enabled is 'a disabled bank takes no new payouts; those under way go on';

create trigger refuse_delete before delete on payout.bank for each row execute function payout.refuse_change();
create trigger refuse_truncate before truncate on payout.bank for each statement execute function payout.refuse_change();
create trigger forget_rows after insert or update or delete on payout.bank for each row execute function payout.forget_rows();
create trigger forget_all_rows after truncate on payout.bank for each statement execute function payout.forget_rows();
alter table payout.bank enable always trigger forget_rows;
alter table payout.bank enable always trigger forget_all_rows;

-- Which channel, its code for the bank and our account there are frozen in each payout when it is registered: what was
-- checked is what is sent. Changes here concern later payouts.

create function payout.find_channel(p_channel_id text) returns payout.channel
language plpgsql stable
set search_path = pg_catalog, pg_temp
as $$
declare
	c payout.channel;
begin
	select * into c from payout.channel where channel_id = p_channel_id;
	if not found then
		raise exception 'argument "channel_id" names no channel'
			using errcode = 'PY016', hint = 'Create it with payout.create_channel.';
	end if;
	return c;
end
$$;
comment on function payout.find_channel(text) is 'the channel, or PY016';

create function payout.create_channel(channel_id text, protocol text, base_url text, options jsonb default '{}')
returns payout.channel
language c volatile parallel unsafe as 'MODULE_PATHNAME', 'payout_entry';
comment on function payout.create_channel(text, text, text, jsonb) is 'creates a connection to a bank; a repeat with the same content answers the same';

create function payout.do_create_channel(p_channel_id text, p_protocol text, p_base_url text, p_options jsonb)
returns payout.channel
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
	c payout.channel;
begin
	if p_channel_id is null or p_channel_id !~ '^[A-Za-z0-9_-]{1,32}$' then
		raise exception 'argument "channel_id" is not 1 to 32 of A-Z, a-z, 0-9, _ and -'
			using errcode = 'PY016', hint = 'For example BCA.';
	end if;
	if p_protocol is distinct from 'snap' then
		raise exception 'argument "protocol" is not a known protocol'
			using errcode = 'PY016', hint = 'The protocol of Indonesian banks is snap.';
	end if;
	perform payout.require_text('base_url', p_base_url, 8, 2000, 'visible', 'PY016'),
			payout.check_url('base_url', p_base_url),
			payout.check_options('channel', p_options);
	insert into payout.channel (channel_id, protocol, base_url, options)
	values (p_channel_id, p_protocol, rtrim(p_base_url, '/'), p_options)
	on conflict do nothing
	returning * into c;
	if not found then
		c := payout.find_channel(p_channel_id);
		if (c.protocol, c.base_url, c.options) is distinct from (p_protocol, rtrim(p_base_url, '/'), p_options) then
			raise exception 'channel "%" exists with other content', p_channel_id
				using errcode = 'PY002', hint = 'Change it with payout.alter_channel.';
		end if;
	end if;
	return c;
end
$$;
comment on function payout.do_create_channel(text, text, text, jsonb) is 'work of payout.create_channel';

create function payout.alter_channel(channel_id text, options jsonb) returns payout.channel
language c volatile parallel unsafe as 'MODULE_PATHNAME', 'payout_entry';
comment on function payout.alter_channel(text, jsonb) is 'merges into the options (null removes a key); the key base_url changes the column; what names the bank (base_url, path_prefix, client_id, partner_id) changes only while the channel is paused and nothing sent is open, or with "same_books": true: your word that the same bank with the same books answers there';

create function payout.do_alter_channel(p_channel_id text, p_options jsonb) returns payout.channel
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
	was payout.channel := payout.find_channel(p_channel_id);
	c payout.channel;
	keys constant text[] := '{base_url,same_books}';
begin
	-- By itself: what follows takes keys from p_options, which the planner may try before anything else is checked.
	perform payout.check_columns(p_options, '{base_url}', '{same_books}');
	perform payout.check_url('base_url', p_options ->> 'base_url'),
			payout.check_options('channel', jsonb_strip_nulls(p_options - keys));
	select * into strict was from payout.channel q where q.channel_id = p_channel_id for no key update;
	update payout.channel
	set base_url = coalesce(rtrim(p_options ->> 'base_url', '/'), base_url),
		options = jsonb_strip_nulls(options || (p_options - keys))
	where channel_id = p_channel_id
	returning * into c;
	if not coalesce((p_options -> 'same_books')::boolean, false) and payout.books_of(c) is distinct from payout.books_of(was) then
		c := payout.change_bank(was);
	end if;
	perform payout.wake();
	return c;
end
$$;
comment on function payout.do_alter_channel(text, jsonb) is 'work of payout.alter_channel';

-- What tells one bank's books from another's.
create function payout.books_of(c payout.channel) returns text[]
language plpgsql immutable
set search_path = pg_catalog, pg_temp
as $$
begin
	return array[c.base_url] || array(select c.options ->> k from unnest('{path_prefix,client_id,partner_id}'::text[]) with ordinality u (k, n) order by n);
end
$$;
comment on function payout.books_of(payout.channel) is 'what names the bank behind a channel, and us to it';

-- What was sent to one bank cannot be asked for at another, which knows nothing of it and would pay it again; nor is an account
-- checked there. From here until the commit nothing is claimed to be sent, and what was claimed is committed: so what is
-- looked for is all there is, whenever the channel was paused, or if it never was.
create function payout.change_bank(was payout.channel) returns payout.channel
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
	c payout.channel;
	txid text;
begin
	if current_setting('transaction_isolation') <> 'read committed' then
		raise exception 'the bank behind channel "%" does not change under an older snapshot', was.channel_id
			using errcode = 'PY004', detail = 'What was sent since the transaction began cannot be seen.', hint = 'Alter the channel in a transaction with READ COMMITTED.';
	end if;
	perform payout.close_books(was.channel_id);
	txid := payout.open_at_bank(was);
	if txid is not null or (was.paused_at is null and exists (select from payout.attempt a where a.channel_id = was.channel_id)) then
		raise exception 'another bank cannot stand behind channel "%" while this one pays', was.channel_id
			using errcode = 'PY004', detail = case when txid is null then 'The channel is not paused.' else format('TXID %s was sent, or may have been, and is open.', txid) end,
				hint = 'Pause the channel and let what was sent come to its end, or make another channel and route the bank to it (payout.alter_bank). Where the same bank answers with the same books, add "same_books": true.';
	end if;
	update payout.channel q set epoch = q.epoch + 1 where q.channel_id = was.channel_id returning * into c;
	return c;
end
$$;
comment on function payout.change_bank(payout.channel) is 'another bank comes to stand behind a channel: PY004 while payouts are open that were sent to the one before, or may have been, or while the channel is used and not paused';

create function payout.pause_channel(channel_id text, reason text) returns payout.channel
language c volatile parallel unsafe as 'MODULE_PATHNAME', 'payout_entry';
comment on function payout.pause_channel(text, text) is 'nothing more is sent to this bank; requests in flight are recorded as they end';

create function payout.do_pause_channel(p_channel_id text, p_reason text) returns payout.channel
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
	c payout.channel := payout.find_channel(p_channel_id);
begin
	perform payout.require_text('reason', p_reason, 1, 500, 'text', 'PY016');
	update payout.channel set paused_at = coalesce(paused_at, now()), paused_reason = p_reason
	where channel_id = p_channel_id returning * into c;
	return c;
end
$$;
comment on function payout.do_pause_channel(text, text) is 'work of payout.pause_channel';

create function payout.resume_channel(channel_id text) returns payout.channel
language c volatile parallel unsafe as 'MODULE_PATHNAME', 'payout_entry';
comment on function payout.resume_channel(text) is 'sends again, at once: also ends a refusal for now';

create function payout.do_resume_channel(p_channel_id text) returns payout.channel
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
	c payout.channel := payout.find_channel(p_channel_id);
begin
	update payout.channel set paused_at = null, paused_reason = null, not_before = null, not_before_reason = null
	where channel_id = p_channel_id returning * into c;
	update payout.batch set due_at = payout.clock() where channel_id = p_channel_id and state = 'open' and due_at is not null;
	perform payout.wake();
	return c;
end
$$;
comment on function payout.do_resume_channel(text) is 'work of payout.resume_channel';

create function payout.create_bank(bank_code text, name text, channel_id text, options jsonb default '{}')
returns payout.bank
language c volatile parallel unsafe as 'MODULE_PATHNAME', 'payout_entry';
comment on function payout.create_bank(text, text, text, jsonb) is 'creates a destination bank; a repeat with the same content answers the same';

create function payout.do_create_bank(p_bank_code text, p_name text, p_channel_id text, p_options jsonb)
returns payout.bank
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
	b payout.bank;
begin
	if p_bank_code is null or p_bank_code !~ '^[A-Za-z0-9]{2,11}$' then
		raise exception 'argument "bank_code" is not 2 to 11 letters and digits'
			using errcode = 'PY016', hint = 'For example CENA.';
	end if;
	perform payout.find_channel(p_channel_id),
			payout.require_text('name', p_name, 1, 100, 'text', 'PY016'),
			payout.check_options('bank', p_options);
	insert into payout.bank (bank_code, name, channel_id, options)
	values (p_bank_code, p_name, p_channel_id, p_options)
	on conflict do nothing
	returning * into b;
	if not found then
		select * into strict b from payout.bank where bank_code = p_bank_code;
		if (b.name, b.channel_id, b.options) is distinct from (p_name, p_channel_id, p_options) then
			raise exception 'bank "%" exists with other content', p_bank_code
				using errcode = 'PY002', hint = 'Change it with payout.alter_bank.';
		end if;
	end if;
	return b;
end
$$;
comment on function payout.do_create_bank(text, text, text, jsonb) is 'work of payout.create_bank';

create function payout.alter_bank(bank_code text, options jsonb) returns payout.bank
language c volatile parallel unsafe as 'MODULE_PATHNAME', 'payout_entry';
comment on function payout.alter_bank(text, jsonb) is
'merges into the options (null removes a key); the keys name, channel_id and enabled change the columns of those names';

create function payout.do_alter_bank(p_bank_code text, p_options jsonb) returns payout.bank
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
	b payout.bank;
begin
	perform payout.check_columns(p_options, '{name,channel_id}', '{enabled}');
	select * into b from payout.bank where bank_code = p_bank_code;
	if not found then
		raise exception 'argument "bank_code" names no bank'
			using errcode = 'PY006', hint = 'Create it with payout.create_bank.';
	end if;
	perform payout.require_text('name', coalesce(p_options ->> 'name', b.name), 1, 100, 'text', 'PY016'),
			payout.find_channel(coalesce(p_options ->> 'channel_id', b.channel_id)),
			payout.check_options('bank', jsonb_strip_nulls(p_options - '{name,channel_id,enabled}'::text[]));
	-- The code is the channel's: another channel may know another bank by it.
	if p_options ->> 'channel_id' <> b.channel_id and b.options ? 'wire_code' and not p_options ? 'wire_code' then
		raise exception 'argument "options" moves the bank to another channel without its wire_code there'
			using errcode = 'PY016', hint = 'Give the code by which the new channel knows the bank, or null where that is the bank_code.';
	end if;
	update payout.bank
	set name = coalesce(p_options ->> 'name', name),
		channel_id = coalesce(p_options ->> 'channel_id', channel_id),
		enabled = coalesce((p_options ->> 'enabled')::boolean, enabled),
		options = jsonb_strip_nulls(options || (p_options - '{name,channel_id,enabled}'::text[]))
	where bank_code = p_bank_code
	returning * into b;
	return b;
end
$$;
comment on function payout.do_alter_bank(text, jsonb) is 'work of payout.alter_bank';

create function payout.load_banks(channel_id text) returns integer
language c volatile parallel unsafe as 'MODULE_PATHNAME', 'payout_entry';
comment on function payout.load_banks(text) is 'creates a bank for each known Indonesian bank code that has none, reached by this channel; the count of those created';

create function payout.do_load_banks(p_channel_id text) returns integer
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
	created integer;
begin
	perform payout.find_channel(p_channel_id);
	insert into payout.bank (bank_code, name, channel_id)
	select k.bank_code, k.name, p_channel_id from payout.bank_code k where k.is_bank
	on conflict do nothing;
	get diagnostics created = row_count;
	return created;
end
$$;
comment on function payout.do_load_banks(text) is 'work of payout.load_banks';
