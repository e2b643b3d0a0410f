-- batch.sql: many payouts of one merchant in one call, each item by itself: its result, or its error, is in its row.
--
-- What is plain and in order is done in C, as a set (register_batch.c, approve_batch.c). Whatever is not (a repeat, a broken
-- rule, a cashout, an account with another name) goes one by one through register_item and approve_item, and so through the
-- function for one payout: there is one place for each rule's error. do_register_batch and do_approve_batch send all items
-- that way: where the merchant is not active or restricts who approves, and for the errors of the arguments.

create type payout.batch_registration as (ordinal integer, txid text, state text, sqlstate text, message text);
comment on type payout.batch_registration is 'what became of one item of payout.register_batch; sqlstate is null when it is registered';

create function payout.register_batch(merchant_id text, items jsonb) returns setof payout.batch_registration
language c volatile parallel unsafe as 'MODULE_PATHNAME', 'payout_entry';
comment on function payout.register_batch(text, jsonb) is
'registers up to 10,000 disbursements: objects with the names of payout.register''s arguments; one result for each, in order';

create function payout.do_register_batch(p_merchant_id text, p_items jsonb) returns setof payout.batch_registration
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
	perform payout.find_merchant(p_merchant_id);
	if p_items is null or jsonb_typeof(p_items) <> 'array' or jsonb_array_length(p_items) > 10000 or pg_column_size(p_items) > 16777216 then
		raise exception 'argument "items" is not an array of at most 10000 items and 16 MiB'
			using errcode = 'PY016', hint = 'Each item is an object with the names of payout.register''s arguments.';
	end if;
	return query
	select r.* from jsonb_array_elements(p_items) with ordinality i (item, ordinal),
	lateral payout.register_item(p_merchant_id, i.ordinal::integer, i.item) r
	order by i.ordinal;
end
$$;
comment on function payout.do_register_batch(text, jsonb) is 'work of payout.register_batch: each item by itself';

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

-- Locked in the order of their TXIDs; answered in the order given. An approval may lock what its role has approved today, too:
-- the payouts come first, all of them.
create function payout.do_approve_batch(p_merchant_id text, p_txids text[]) returns setof payout.batch_approval
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
	perform payout.find_merchant(p_merchant_id);
	if p_txids is null or array_ndims(p_txids) > 1 or cardinality(p_txids) > 10000 then
		raise exception 'argument "txids" is not an array of at most 10000 TXIDs'
			using errcode = 'PY016', hint = 'Call again for the others.';
	end if;
	perform from (select distinct u.txid from unnest(p_txids) u (txid) order by u.txid) w,
	lateral (select from payout.payout q where q.merchant_id = p_merchant_id and q.txid = w.txid for no key update) p;
	return query
	select a.* from unnest(p_txids) with ordinality u (txid, ordinal),
	lateral payout.approve_item(p_merchant_id, u.ordinal::integer, u.txid) a
	order by u.ordinal;
end
$$;
comment on function payout.do_approve_batch(text, text[]) is 'work of payout.approve_batch: each payout by itself';

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
	when sqlstate 'PY001' or sqlstate 'PY007' then
		return row(p_ordinal, p_txid, 'registered', null, null, sqlstate, sqlerrm)::payout.batch_approval;
	when others then
		return row(p_ordinal, p_txid, null, null, null, sqlstate, sqlerrm)::payout.batch_approval;
end
$$;
comment on function payout.approve_item(text, integer, text) is 'one item of payout.approve_batch by itself';
