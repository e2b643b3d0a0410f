-- register.sql: steps 1 to 5 of a disbursement. A registration is data only: nothing is deducted, nothing is sent but the
-- account check.

create function payout.generate_txid(merchant_id text) returns text
language c volatile parallel restricted as 'MODULE_PATHNAME', 'payout_generate_txid';
comment on function payout.generate_txid(text) is 'a new TXID: merchant id, 07, date and time in Jakarta, 4 characters; see txid.c';

create function payout.slot(merchant_id text) returns integer
language c immutable strict parallel safe as 'MODULE_PATHNAME', 'payout_slot';
comment on function payout.slot(text) is 'a frozen hash of the merchant id, 0 to 1023, by which databases are split';

create function payout.register(merchant_id text, reference_no text, amount numeric, bank_code text, account_no text,
								beneficiary_name text, method text default 'online', beneficiary_phone text default null,
								scheduled_at timestamptz default null, description text default null,
								options jsonb default '{}') returns payout.payout
language c volatile parallel unsafe as 'MODULE_PATHNAME', 'payout_entry';
comment on function payout.register(text, text, numeric, text, text, text, text, text, timestamptz, text, jsonb) is
'registers a disbursement and has its account checked; the same reference number with the same content answers the same payout';

-- What register.c has not done: it registers what is plain (online, at once, no options) and in order. All of the rules
-- are here. One statement asks them and writes; only where it writes nothing, the reason is looked for: a repeat is
-- answered before the rules that change with time are asked.
create function payout.bank_now(bank_code text) returns payout.bank
language c volatile strict parallel unsafe as 'MODULE_PATHNAME', 'payout_bank_now';
comment on function payout.bank_now(text) is 'a bank as the newest committed state has it, whatever the snapshot; null where there is none';

create function payout.channel_now(channel_id text) returns payout.channel
language c volatile strict parallel unsafe as 'MODULE_PATHNAME', 'payout_channel_now';
comment on function payout.channel_now(text) is 'a channel as the newest committed state has it, whatever the snapshot; null where there is none';

create function payout.do_register(p_merchant_id text, p_reference_no text, p_amount numeric, p_bank_code text,
								   p_account_no text, p_beneficiary_name text, p_method text, p_beneficiary_phone text,
								   p_scheduled_at timestamptz, p_description text, p_options jsonb)
returns payout.payout
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
	p payout.payout;
	wanted payout.payout;
	started timestamptz := payout.clock();
begin
	-- Each raises by itself.
	wanted.reference_no := payout.require_text('reference_no', p_reference_no, 1, 40, 'visible', 'PY016');
	wanted.amount := payout.require_amount('amount', p_amount);
	wanted.bank_code := payout.require_text('bank_code', p_bank_code, 2, 11, 'id', 'PY006');
	wanted.account_no := payout.require_text('account_no', p_account_no, 1, 34, 'id', 'PY008');
	wanted.beneficiary_name := payout.require_text('beneficiary_name', p_beneficiary_name, 1, 100, 'text', 'PY016');
	if p_beneficiary_phone is not null then
		wanted.beneficiary_phone := payout.require_text('beneficiary_phone', p_beneficiary_phone, 1, 20, 'phone', 'PY016');
	end if;
	if p_description is not null then
		-- overbooking sends it along, where the bank takes so many characters
		wanted.description := payout.require_text('description', p_description, 1, case when p_method = 'overbooking' then 50 else 100 end, 'text', 'PY016');
	end if;
	if p_options is distinct from '{}' then
		perform payout.check_options('payout', p_options);
	end if;
	if p_method is null or p_method not in ('online', 'overbooking') then
		raise exception 'argument "method" is not a method of disbursement'
			using errcode = 'PY016', hint = 'The methods are online and overbooking.';
	elsif p_scheduled_at in ('infinity', '-infinity') then
		raise exception 'argument "scheduled_at" is not a moment'
			using errcode = 'PY009', hint = 'Leave it out for a payout at once.';
	end if;

	insert into payout.payout as n (merchant_id, txid, kind, state, reference_no, method, amount, channel_id, bank_code,
		wire_code, source_account_no, account_no, beneficiary_name, beneficiary_phone, description, options, scheduled_at, registered_at,
		account_check, check_due_at, check_deadline_at)
	select p_merchant_id, payout.generate_txid(p_merchant_id), 'disbursement', 'registered', p_reference_no, p_method,
		p_amount, b.channel_id, b.bank_code, coalesce(b.options ->> 'wire_code', b.bank_code), c.options ->> 'source_account_no', p_account_no, p_beneficiary_name, p_beneficiary_phone, p_description,
		p_options, p_scheduled_at, clock_timestamp(), 'pending', started,
		started + payout.option_interval(c.options, 'check_deadline_s')
	from payout.merchant_now(p_merchant_id) m, payout.bank_now(p_bank_code) b, payout.channel_now(b.channel_id) c
	where m.active and b.enabled and c.options ? 'source_account_no'
	and p_amount >= coalesce((m.options #>> array['limits', p_method, 'min'])::numeric, p_amount)
	and p_amount <= coalesce((m.options #>> array['limits', p_method, 'max'])::numeric, p_amount)
	and (p_method = 'online' or payout.option('bank', b.options, 'internal')::boolean)
	and (p_scheduled_at is null or payout.is_schedule(p_scheduled_at, started))
	on conflict do nothing
	returning n.* into p;
	if found then
		insert into payout.payout_event (merchant_id, txid, event_no, to_state, content_digest)
		values (p.merchant_id, p.txid, 1, 'registered', payout.content_digest(p));
		return p;
	end if;

	select * into p from payout.payout where merchant_id = p_merchant_id and reference_no = p_reference_no;
	if found then
		wanted.method := p_method;
		wanted.scheduled_at := p_scheduled_at;
		wanted.options := p_options;
		return payout.same_content(p, wanted);
	end if;
	perform payout.check_registration(payout.find_merchant(p_merchant_id), p_amount, p_bank_code, p_method, p_scheduled_at, started);
	-- The rules allow it now, or they did then and the TXID was taken (the clock was set back).
	return payout.do_register(p_merchant_id, p_reference_no, p_amount, p_bank_code, p_account_no, p_beneficiary_name, p_method,
							  p_beneficiary_phone, p_scheduled_at, p_description, p_options);
end
$$;
comment on function payout.do_register(text, text, numeric, text, text, text, text, text, timestamptz, text, jsonb) is 'work of payout.register';

-- The same rules again, one by one, for the error that names the one that is broken.
create function payout.check_registration(m payout.merchant, p_amount numeric, p_bank_code text, p_method text, p_scheduled_at timestamptz,
										  p_now timestamptz) returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
	b payout.bank := payout.bank_now(p_bank_code);
	c payout.channel := payout.channel_now(b.channel_id);
begin
	if not m.active then
		raise exception 'merchant "%" is not active', m.merchant_id
			using errcode = 'PY005', hint = 'payout.alter_merchant activates it.';
	end if;
	if b.enabled is not true then
		raise exception 'argument "bank_code" names no enabled bank'
			using errcode = 'PY006', hint = 'payout.create_bank or payout.load_banks creates banks, payout.alter_bank enables them.';
	elsif (c.options ? 'source_account_no') is not true then
		raise exception 'argument "bank_code" names a bank whose channel has no account to pay from'
			using errcode = 'PY006', hint = format('The account is option source_account_no of channel %s; payout.alter_channel sets it.', b.channel_id);
	elsif p_method = 'overbooking' and not payout.option('bank', b.options, 'internal')::boolean then
		raise exception 'method "overbooking" does not reach bank "%"', p_bank_code
			using errcode = 'PY016', hint = 'Use method online, or set the bank''s option internal where it is the channel''s own bank.';
	end if;
	perform payout.check_amount_limits(m, p_method, p_amount);
	if p_scheduled_at is not null and not payout.is_schedule(p_scheduled_at, p_now) then
		raise exception 'argument "scheduled_at" is out of bounds'
			using errcode = 'PY009', detail = format('It must be at least %s and at most a year ahead.', current_setting('payout.schedule_lead')),
				hint = 'The least distance is the setting payout.schedule_lead.';
	end if;
end
$$;
comment on function payout.check_registration(payout.merchant, numeric, text, text, timestamptz, timestamptz) is 'raises what the rules of a registration say against it';

create function payout.same_content(p payout.payout, wanted payout.payout) returns payout.payout
language plpgsql immutable
set search_path = pg_catalog, pg_temp
as $$
begin
	if (p.amount, p.bank_code, p.account_no, p.beneficiary_name, p.method, p.beneficiary_phone, p.scheduled_at, p.description, p.options)
	   is distinct from
	   (wanted.amount, wanted.bank_code, wanted.account_no, wanted.beneficiary_name, wanted.method, wanted.beneficiary_phone,
		wanted.scheduled_at, wanted.description, wanted.options) then
		raise exception 'argument "reference_no" was used with other content'
			using errcode = 'PY002', detail = format('It belongs to TXID %s.', p.txid),
				hint = 'A new payout needs a new reference number.';
	end if;
	return p;
end
$$;
comment on function payout.same_content(payout.payout, payout.payout) is 'the registered payout, if the wanted one has the same content; otherwise PY002';

create function payout.check_amount_limits(m payout.merchant, p_method text, p_amount numeric) returns void
language plpgsql immutable
set search_path = pg_catalog, pg_temp
as $$
declare
	least_amount numeric := m.options #>> array['limits', p_method, 'min'];
	most_amount numeric := m.options #>> array['limits', p_method, 'max'];
begin
	if p_amount < least_amount or p_amount > most_amount then
		raise exception 'argument "amount" is out of this merchant''s bounds'
			using errcode = 'PY007',
				detail = format('The bounds of method %s are %s and %s.', p_method, coalesce(least_amount::text, 'none'), coalesce(most_amount::text, 'none')),
				hint = 'The bounds stand in the merchant''s option limits.';
	end if;
end
$$;
comment on function payout.check_amount_limits(payout.merchant, text, numeric) is 'raises PY007 when the amount is out of the merchant''s bounds for the method';

create function payout.is_schedule(p_scheduled_at timestamptz, p_now timestamptz) returns boolean
language plpgsql stable
set search_path = pg_catalog, pg_temp
as $$
begin
	return p_scheduled_at between p_now + payout.setting_interval('schedule_lead') and p_now + interval '8784 hours';
end
$$;
comment on function payout.is_schedule(timestamptz, timestamptz) is 'whether a schedule is at least payout.schedule_lead and at most a year (366 days of 24 hours) ahead';

create function payout.option_interval(p_options jsonb, p_option text) returns interval
language c stable strict parallel safe as 'MODULE_PATHNAME', 'payout_option_interval';
comment on function payout.option_interval(jsonb, text) is 'an option of a channel that ends in _ms, _s or _days, as an interval of seconds: a day has 86400';

create function payout.channel_interval(p_channel_id text, p_option text) returns interval
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
	return payout.option_interval((payout.channel_now(p_channel_id)).options, p_option);
end
$$;
comment on function payout.channel_interval(text, text) is 'the same of the channel of this name';

create function payout.inquiry(merchant_id text, txid text) returns payout.payout
language c stable parallel unsafe as 'MODULE_PATHNAME', 'payout_entry';
comment on function payout.inquiry(text, text) is 'the payout as it stands here, without asking the bank; PY003 when there is none';

create function payout.do_inquiry(p_merchant_id text, p_txid text) returns payout.payout
language sql stable
set search_path = pg_catalog, pg_temp
return payout.find_payout(p_merchant_id, p_txid, false);
comment on function payout.do_inquiry(text, text) is 'work of payout.inquiry';

create function payout.inquiry_reference(merchant_id text, reference_no text) returns payout.payout
language c stable parallel unsafe as 'MODULE_PATHNAME', 'payout_entry';
comment on function payout.inquiry_reference(text, text) is 'the payout with the merchant''s reference number; PY003 when there is none';

create function payout.do_inquiry_reference(p_merchant_id text, p_reference_no text) returns payout.payout
language plpgsql stable
set search_path = pg_catalog, pg_temp
as $$
declare
	p payout.payout;
begin
	perform payout.find_merchant(p_merchant_id);
	select * into p from payout.payout where merchant_id = p_merchant_id and reference_no = p_reference_no;
	if not found then
		raise exception 'argument "reference_no" names no payout of this merchant'
			using errcode = 'PY003', hint = 'Registration answers with the payout; its reference number is the merchant''s own.';
	end if;
	return p;
end
$$;
comment on function payout.do_inquiry_reference(text, text) is 'work of payout.inquiry_reference';
