-- register_cashout.sql: steps 1 to 6 of a cashout: the balance is charged when the TXID is created, in one transaction.

create function payout.register_cashout(merchant_id text, reference_no text, amount numeric, beneficiary_name text,
										beneficiary_phone text, description text default null, options jsonb default '{}')
returns payout.payout
language c volatile parallel unsafe as 'MODULE_PATHNAME', 'payout_entry';
comment on function payout.register_cashout(text, text, numeric, text, text, text, jsonb) is
'registers a cashout and deducts its amount and fee; the same reference number with the same content answers the same payout';

create function payout.do_register_cashout(p_merchant_id text, p_reference_no text, p_amount numeric, p_beneficiary_name text,
										   p_beneficiary_phone text, p_description text, p_options jsonb)
returns payout.payout
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
	m payout.merchant := payout.find_merchant(p_merchant_id);
	p payout.payout;
	wanted payout.payout;
begin
	perform payout.require_text('reference_no', p_reference_no, 1, 40, 'visible', 'PY016'),
			payout.require_amount('amount', p_amount),
			payout.require_text('beneficiary_name', p_beneficiary_name, 1, 100, 'text', 'PY016'),
			payout.require_text('beneficiary_phone', p_beneficiary_phone, 1, 20, 'phone', 'PY016'),
			payout.require_text('description', coalesce(p_description, '-'), 1, 100, 'text', 'PY016'),
			payout.check_options('payout', p_options);
	if p_amount <> trunc(p_amount) then
		raise exception 'argument "amount" has decimals'
			using errcode = 'PY007', hint = 'Cash is paid in whole rupiah.';
	end if;

	wanted.reference_no := p_reference_no;
	wanted.amount := p_amount;
	wanted.beneficiary_name := p_beneficiary_name;
	wanted.method := 'cashout';
	wanted.beneficiary_phone := p_beneficiary_phone;
	wanted.description := p_description;
	wanted.options := p_options;

	-- A repeat is answered before the rules that change with time are asked.
	select * into p from payout.payout where merchant_id = p_merchant_id and reference_no = p_reference_no;
	if found then
		return payout.same_content(p, wanted);
	end if;

	if not m.active then
		raise exception 'merchant "%" is not active', p_merchant_id
			using errcode = 'PY005', hint = 'payout.alter_merchant activates it.';
	end if;
	perform payout.check_amount_limits(m, 'cashout', p_amount);

	loop
		insert into payout.payout (merchant_id, txid, kind, state, reference_no, method, amount, fee, beneficiary_name,
			beneficiary_phone, description, options, registered_at)
		values (p_merchant_id, payout.generate_txid(p_merchant_id), 'cashout', 'registered', p_reference_no, 'cashout', p_amount,
			payout.fee_of(m.options, 'cashout', p_amount), p_beneficiary_name, p_beneficiary_phone, p_description, p_options,
			clock_timestamp())
		on conflict do nothing
		returning * into p;
		exit when found;
		-- Another session registered the same reference number meanwhile, or (clock set back) the TXID exists.
		select * into p from payout.payout where merchant_id = p_merchant_id and reference_no = p_reference_no;
		if found then
			return payout.same_content(p, wanted);
		end if;
	end loop;
	-- Row and charge are of one transaction: PY001 leaves neither. Only the session that made the row charges for it.
	insert into payout.payout_event (merchant_id, txid, event_no, to_state, content_digest)
	values (p.merchant_id, p.txid, 1, 'registered', payout.content_digest(p));
	p.fee := payout.ledger_deduct(p.merchant_id, p.txid, p.amount, p.fee, (m.options #>> '{limits,daily_total}')::numeric);
	return p;
end
$$;
comment on function payout.do_register_cashout(text, text, numeric, text, text, text, jsonb) is 'work of payout.register_cashout';
