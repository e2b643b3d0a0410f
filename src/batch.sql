-- batch.sql: many payouts of one merchant in one call, each item by itself: its result, or its error, is in its row.
--
-- What is in order goes set by set, one statement for each table and one reservation for all; whatever is not (a repeat,
-- a broken rule, a cashout, an account with another name, an approval that the merchant restricts) goes one by one through
-- the function for one payout, so that there is one place for each rule's error.

create type payout.batch_registration as (ordinal integer, txid text, state text, sqlstate text, message text);
comment on type payout.batch_registration is 'what became of one item of payout.register_batch; sqlstate is null when it is registered';

create function payout.register_batch(merchant_id text, items jsonb) returns setof payout.batch_registration
language c volatile parallel unsafe as 'MODULE_PATHNAME', 'payout_entry';
comment on function payout.register_batch(text, jsonb) is
'registers up to 10,000 disbursements: objects with the names of payout.register''s arguments; one result for each, in order';

create type payout.batch_item as (
	ordinal integer, reference_no text, amount numeric, bank_code text, account_no text, beneficiary_name text, method text,
	beneficiary_phone text, description text, in_order boolean
);
comment on type payout.batch_item is 'an item of payout.register_batch; in_order: nothing speaks against it so far';

-- Looks at the form only, and at no table. What is not in order may still be: the function for one payout knows. An array or
-- object where a text belongs is seen by its bracket.
create function payout.read_items(p_items jsonb) returns setof payout.batch_item
language plpgsql immutable
set search_path = pg_catalog, pg_temp
as $$
begin
	return query
	with item as (
		select e.ordinality::integer as ordinal, o.value, r.*, r.amount ~ '^[0-9]{1,16}(\.[0-9]{1,2})?$' as has_amount
		from jsonb_array_elements(p_items) with ordinality e,
		lateral (select case jsonb_typeof(e.value) when 'object' then e.value else '{"": 0}' end) o (value),
		lateral jsonb_to_record(o.value)
			as r (reference_no text, amount text, bank_code text, account_no text, beneficiary_name text, method text,
				  beneficiary_phone text, description text))
	select i.ordinal, i.reference_no, case when i.has_amount then i.amount::numeric end, i.bank_code, i.account_no, i.beneficiary_name,
		coalesce(i.method, 'online'), i.beneficiary_phone, i.description,
		coalesce(i.has_amount and i.amount::numeric > 0 and payout.is_text(i.reference_no, 1, 40, 'visible')
			and payout.is_text(i.account_no, 1, 34, 'id') and payout.is_text(i.beneficiary_name, 1, 100, 'text')
			and payout.is_text(coalesce(i.beneficiary_phone, '0'), 1, 20, 'phone') and payout.is_text(coalesce(i.description, '-'), 1, 100, 'text')
			and coalesce(i.method, 'online') = 'online'
			and left(i.reference_no, 1) not in ('[', '{') and left(i.beneficiary_name, 1) not in ('[', '{') and left(coalesce(i.description, '-'), 1) not in ('[', '{')
			and i.value - '{reference_no,amount,bank_code,account_no,beneficiary_name,method,beneficiary_phone,description}'::text[] = '{}', false)
			and row_number() over (partition by i.reference_no order by i.ordinal) = 1
	from item i;
end
$$;
comment on function payout.read_items(jsonb) is 'the items of payout.register_batch, those in order marked';

create function payout.do_register_batch(p_merchant_id text, p_items jsonb) returns setof payout.batch_registration
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
	m payout.merchant := payout.find_merchant(p_merchant_id);
	results payout.batch_registration[];
	result payout.batch_registration;
	started timestamptz := payout.clock();
begin
	if p_items is null or jsonb_typeof(p_items) <> 'array' or jsonb_array_length(p_items) > 10000 or pg_column_size(p_items) > 16777216 then
		raise exception 'argument "items" is not an array of at most 10000 items and 16 MiB'
			using errcode = 'PY016', hint = 'Each item is an object with the names of payout.register''s arguments.';
	end if;
	with item as materialized (
		select i.*, b.channel_id,
			started + payout.option_interval(c.options, 'check_deadline_s') as deadline_at,
			case when i.in_order then payout.first_event(p_merchant_id, payout.generate_txid(p_merchant_id)) end as registered
		from payout.read_items(p_items) i
		left join payout.bank b on b.bank_code = i.bank_code and b.enabled
		left join payout.channel c on c.channel_id = b.channel_id),
	made as (
		insert into payout.payout as n (merchant_id, txid, history_head, kind, state, reference_no, method, amount, channel_id, bank_code,
			account_no, beneficiary_name, beneficiary_phone, description, registered_at, account_check, check_due_at, check_deadline_at)
		select p_merchant_id, (i.registered).txid, payout.chain(null, i.registered), 'disbursement', 'registered', i.reference_no, i.method,
			i.amount, i.channel_id, i.bank_code, i.account_no, i.beneficiary_name, i.beneficiary_phone, i.description,
			clock_timestamp(), 'pending', started, i.deadline_at
		from item i
		where i.in_order and i.channel_id is not null and m.active
		and i.amount >= coalesce((m.options #>> array['limits', i.method, 'min'])::numeric, i.amount)
		and i.amount <= coalesce((m.options #>> array['limits', i.method, 'max'])::numeric, i.amount)
		on conflict do nothing
		returning n.merchant_id, n.txid, n.reference_no, n.events, n.state),
	told as (
		insert into payout.payout_event
		select (i.registered).* from item i join made d on d.reference_no = i.reference_no and i.in_order)
	select array_agg(row(i.ordinal, d.txid, d.state, null, null)::payout.batch_registration order by i.ordinal) into results
	from item i left join made d on d.reference_no = i.reference_no and i.in_order;

	foreach result in array coalesce(results, '{}') loop
		if result.txid is null then
			result := payout.register_item(p_merchant_id, result.ordinal, p_items -> (result.ordinal - 1));
		end if;
		return next result;
	end loop;
end
$$;
comment on function payout.do_register_batch(text, jsonb) is 'work of payout.register_batch';

create function payout.register_item(p_merchant_id text, p_ordinal integer, p_item jsonb) returns payout.batch_registration
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
	p payout.payout;
	unknown_key text := (select k from jsonb_object_keys(case jsonb_typeof(p_item) when 'object' then p_item else '{"": 0}' end) k
		where k <> all ('{reference_no,amount,bank_code,account_no,beneficiary_name,method,beneficiary_phone,scheduled_at,description,options}')
		order by k limit 1);
	nested_key text := (select k from jsonb_object_keys(case jsonb_typeof(p_item) when 'object' then p_item else '{"": 0}' end) k
		where k <> 'options' and jsonb_typeof(p_item -> k) in ('object', 'array') order by k limit 1);
begin
	if jsonb_typeof(p_item) <> 'object' then
		return row(p_ordinal, null, null, 'PY016', 'the item is not an object')::payout.batch_registration;
	elsif unknown_key is not null then
		return row(p_ordinal, null, null, 'PY016', format('"%s" is not an argument of payout.register', unknown_key))::payout.batch_registration;
	elsif nested_key is not null then
		return row(p_ordinal, null, null, 'PY016', format('"%s" is neither text nor number', nested_key))::payout.batch_registration;
	end if;
	p := payout.do_register(p_merchant_id, p_item ->> 'reference_no', (p_item ->> 'amount')::numeric, p_item ->> 'bank_code',
		p_item ->> 'account_no', p_item ->> 'beneficiary_name', coalesce(p_item ->> 'method', 'online'), p_item ->> 'beneficiary_phone',
		(p_item ->> 'scheduled_at')::timestamptz, p_item ->> 'description', coalesce(p_item -> 'options', '{}'));
	return row(p_ordinal, p.txid, p.state, null, null)::payout.batch_registration;
exception
	when data_exception then
		return row(p_ordinal, null, null, 'PY016', sqlerrm)::payout.batch_registration;
	when operator_intervention or insufficient_resources or transaction_rollback then
		raise;
	when others then
		return row(p_ordinal, null, null, sqlstate, sqlerrm)::payout.batch_registration;
end
$$;
comment on function payout.register_item(text, integer, jsonb) is 'one item of payout.register_batch by itself';

create type payout.batch_approval as (
	ordinal integer, txid text, state text, cashout_token text, valid_until timestamptz, sqlstate text, message text
);
comment on type payout.batch_approval is 'what became of one item of payout.approve_batch; sqlstate is null when it is approved, or still registered because another role has to approve as well';

create function payout.approve_batch(merchant_id text, txids text[]) returns setof payout.batch_approval
language c volatile parallel unsafe as 'MODULE_PATHNAME', 'payout_entry';
comment on function payout.approve_batch(text, text[]) is
'approves up to 10,000 payouts; one result for each, in order; where the balance does not suffice for all, it goes to those that fit, the first ones first';

-- Found by their key, one by one, whatever the statistics say of a merchant who has just become busy. Locked in the order
-- of their TXIDs; answered in the order given.
create function payout.lock_registered(m payout.merchant, p_txids text[], out txids text[], out places tid[], out amounts numeric[], out fees numeric[])
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
	select array_agg(p.txid order by w.ordinal), array_agg(p.ctid order by w.ordinal), array_agg(p.amount order by w.ordinal),
		array_agg(payout.fee_of(m.options, p.method, p.amount) order by w.ordinal)
	into txids, places, amounts, fees
	from (select u.txid, min(u.ordinality) as ordinal from unnest(p_txids) with ordinality u (txid, ordinality) group by u.txid order by u.txid) w,
	lateral (select q.ctid, q.txid, q.amount, q.method from payout.payout q
			 where q.merchant_id = m.merchant_id and q.txid = w.txid and q.kind = 'disbursement' and q.state = 'registered'
			 and q.account_check in ('pending', 'matched') and q.scheduled_at is null
			 for no key update) p;
end
$$;
comment on function payout.lock_registered(payout.merchant, text[]) is 'locks those payouts that approve_set can approve; their TXIDs, places in the table, amounts and fees';

create function payout.do_approve_batch(p_merchant_id text, p_txids text[]) returns setof payout.batch_approval
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
	m payout.merchant := payout.find_merchant(p_merchant_id);
	results payout.batch_approval[];
	result payout.batch_approval;
	locked record;
	taken text[];
begin
	if p_txids is null or array_ndims(p_txids) > 1 or cardinality(p_txids) > 10000 then
		raise exception 'argument "txids" is not an array of at most 10000 TXIDs'
			using errcode = 'PY016', hint = 'Call again for the others.';
	end if;
	-- Each approval then locks what its role has approved today: the payouts come first, all of them.
	if m.options ? 'approver_daily_max' then
		perform from (select distinct u.txid from unnest(p_txids) u (txid) order by u.txid) w,
		lateral (select from payout.payout q where q.merchant_id = p_merchant_id and q.txid = w.txid for no key update) p;
	end if;
	locked := payout.lock_registered(m, p_txids);
	if m.active and locked.txids is not null then
		taken := payout.approve_set(p_merchant_id, m.options, locked.places, locked.amounts, locked.fees);
	end if;

	select array_agg(row(u.ordinality, u.txid, t.state, null, null, t.refused, case t.refused when 'PY001' then 'insufficient balance'
			when 'PY007' then 'the merchant''s daily total would be passed' end)::payout.batch_approval order by u.ordinality)
	into results
	from unnest(p_txids) with ordinality u (txid, ordinality)
	left join (select s.txid, nullif(s.refused, '') as refused, case when s.refused = '' then 'approved' when s.refused is not null then 'registered' end as state
			   from unnest(locked.txids, taken) s (txid, refused)) t on t.txid = u.txid;
	foreach result in array coalesce(results, '{}') loop
		if result.state is null then
			result := payout.approve_item(p_merchant_id, result.ordinal, result.txid);
		end if;
		return next result;
	end loop;
end
$$;
comment on function payout.do_approve_batch(text, text[]) is 'work of payout.approve_batch';

create function payout.approve_item(p_merchant_id text, p_ordinal integer, p_txid text) returns payout.batch_approval
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
	a payout.approval;
begin
	a := payout.do_approve(p_merchant_id, p_txid);
	return row(p_ordinal, a.txid, a.state, a.cashout_token, a.valid_until, null,
		case a.state when 'registered' then 'another role has to approve as well' end)::payout.batch_approval;
exception
	when operator_intervention or insufficient_resources or transaction_rollback then
		raise;
	when others then
		return row(p_ordinal, p_txid, null, null, null, sqlstate, sqlerrm)::payout.batch_approval;
end
$$;
comment on function payout.approve_item(text, integer, text) is 'one item of payout.approve_batch by itself';

create function payout.approve_set(merchant_id text, merchant_options jsonb, places tid[], amounts numeric[], fees numeric[]) returns text[]
language c volatile strict parallel unsafe as 'MODULE_PATHNAME', 'payout_approve_set';
comment on function payout.approve_set(text, jsonb, tid[], numeric[], numeric[]) is
'approves what lock_registered has locked, the first ones that the balance and the day''s total allow; for each an empty text, the SQLSTATE that refuses it, or null: to be approved by itself';

-- What the trigger does for one payout, for many at once: approve_set has taken the money and keeps the trigger out. The
-- rows are locked, so their places and their merchant's fees are still the same.
create function payout.write_approvals(p_options jsonb, p_places tid[]) returns integer
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
	started timestamptz := payout.clock();
	written_at timestamptz := clock_timestamp();
	who text := payout.caller();
	written integer;
begin
	with approved as (
		update payout.payout u
		set state = 'approved', approved_at = written_at, reason = null, events = u.events + 1,
			history_head = payout.chain(u.history_head,
				row(u.merchant_id, u.txid, u.events + 1, written_at, 'payout.approved', 'registered', 'approved', who, null)::payout.payout_event),
			fee = payout.fee_of(p_options, u.method, u.amount),
			dispatch_due_at = case when u.account_check = 'matched' then started end,
			check_deadline_at = case when u.account_check = 'pending'
				then started + payout.option_interval(c.options, 'check_deadline_s')
				else u.check_deadline_at end
		from payout.channel c
		where u.ctid = any (p_places) and c.channel_id = u.channel_id
		returning u.*),
	told as (
		insert into payout.payout_event (merchant_id, txid, event_no, at, event, from_state, to_state, role_name)
		select a.merchant_id, a.txid, a.events, written_at, 'payout.approved', 'registered', 'approved', who from approved a),
	owed as (
		insert into payout.notification (merchant_id, txid, event_no, due_at, event, state, fee, account_check, bank_reference_no,
			response_code, reason)
		select a.merchant_id, a.txid, a.events, started, 'payout.approved', a.state, a.fee, a.account_check, a.bank_reference_no,
			a.response_code, a.reason
		from approved a
		where payout.is_told((select b.merchant_id from approved b limit 1), 'payout.approved')),
	posted as (
		insert into payout.transfer (merchant_id, txid, kind, debit_account, credit_account, amount, history_head)
		select a.merchant_id, a.txid, 'deduct', 'available', 'in_transit', a.amount, a.history_head from approved a
		union all
		select a.merchant_id, a.txid, 'fee', 'available', 'fee', a.fee, a.history_head from approved a where a.fee > 0)
	select count(*) into written from approved;
	return written;
end
$$;
comment on function payout.write_approvals(jsonb, tid[]) is 'writes the new state, history, notifications and transfers of payouts whose money was taken; their count';
