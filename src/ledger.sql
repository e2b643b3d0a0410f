-- ledger.sql: balances and transfers. The functions that move money are C, in ledger.c; read its head comment first.

create table payout.balance (
	merchant_id text collate "C" primary key references payout.merchant,
	available numeric(18,2) not null default 0 check (available >= 0),
	day date,
	day_total numeric(18,2) not null default 0,
	currency text not null default 'IDR'
) with (fillfactor = 50);
comment on table payout.balance is 'what each merchant may still take; the only number that is kept, all others are sums of transfers';
comment on column payout.balance.available is 'never below zero: the deduction checks it, and this constraint checks the deduction';
comment on column payout.balance.day is 'the Jakarta day that day_total counts';
comment on column payout.balance.day_total is 'amount of the payouts deducted on that day; refunds do not lower it';

create trigger refuse_delete before delete on payout.balance for each row execute function payout.refuse_change();
create trigger refuse_truncate before truncate on payout.balance for each statement execute function payout.refuse_change();

create table payout.transfer (
	merchant_id text collate "C" not null,
	transfer_id uuid not null default payout.new_id(),
	at timestamptz not null default clock_timestamp(),
	kind text not null check (kind in ('top_up', 'withdraw', 'deduct', 'fee', 'settle', 'refund', 'fee_refund', 'return', 'loss', 'loss_return')),
	debit_account text collate "C" not null,
	credit_account text collate "C" not null,
	amount numeric(18,2) not null check (amount > 0),
	currency text not null default 'IDR',
	txid text collate "C",
	reference_no text collate "C",
	created_by text not null default payout.caller(),
	primary key (merchant_id, transfer_id),
	check (debit_account <> credit_account),
	check (debit_account ~ '^(funding|available|in_transit|fee|platform_loss|settlement/.+)$'),
	check (credit_account ~ '^(funding|available|in_transit|fee|platform_loss|settlement/.+)$'),
	check ((txid is null) = (kind in ('top_up', 'withdraw'))),
	check ((reference_no is not null) = (kind in ('top_up', 'withdraw')))
);
comment on table payout.transfer is 'the ledger: each row moves a positive amount from one account to another, so the books cannot be unbalanced; rows are never changed';
comment on column payout.transfer.debit_account is 'where the money leaves: funding, available, in_transit, fee, platform_loss, settlement/CHANNEL or settlement/cvs:STORE';
comment on column payout.transfer.credit_account is 'where the money arrives';

-- Each movement that touches the merchant happens at most once to one payout: the second refund is a unique violation.
-- (A dispute may go back and forth between the platform and the bank.)
create unique index transfer_once_per_payout on payout.transfer (merchant_id, txid, kind)
	where txid is not null and kind not in ('loss', 'loss_return');
create index transfer_of_payout on payout.transfer (merchant_id, txid) where kind in ('loss', 'loss_return');
-- What is owed to a store, day by day.
create index transfer_to_cvs on payout.transfer (credit_account, at) where credit_account like 'settlement/cvs:%';
create index transfer_from_cvs on payout.transfer (debit_account, at) where debit_account like 'settlement/cvs:%';
create unique index transfer_once_per_reference on payout.transfer (merchant_id, kind, reference_no) where reference_no is not null;

create trigger refuse_change before update or delete on payout.transfer for each row execute function payout.refuse_change();
create trigger refuse_truncate before truncate on payout.transfer for each statement execute function payout.refuse_change();
alter table payout.transfer enable always trigger refuse_change;
alter table payout.transfer enable always trigger refuse_truncate;

create function payout.ledger_deduct(merchant_id text, txid text, amount numeric, fee numeric, daily_total_max numeric)
returns void
language c volatile parallel unsafe as 'MODULE_PATHNAME', 'payout_ledger_deduct';
comment on function payout.ledger_deduct(text, text, numeric, numeric, numeric) is
'available to in_transit (amount) and to fee (fee); PY001 when available is too low, PY007 when the day''s total would pass daily_total_max';

create function payout.ledger_settle(merchant_id text, txid text, amount numeric, settlement text) returns void
language c volatile parallel unsafe as 'MODULE_PATHNAME', 'payout_ledger_settle';
comment on function payout.ledger_settle(text, text, numeric, text) is 'in_transit to settlement/...: the payout is paid';

create function payout.ledger_refund(merchant_id text, txid text, amount numeric, fee numeric) returns void
language c volatile parallel unsafe as 'MODULE_PATHNAME', 'payout_ledger_refund';
comment on function payout.ledger_refund(text, text, numeric, numeric) is 'in_transit and fee back to available: the payout will not be paid';

create function payout.ledger_return(merchant_id text, txid text, amount numeric, fee numeric, settlement text) returns void
language c volatile parallel unsafe as 'MODULE_PATHNAME', 'payout_ledger_return';
comment on function payout.ledger_return(text, text, numeric, numeric, text) is 'settlement/... (and fee, if not zero) back to available: the bank gave a paid payout back';

create function payout.ledger_loss(merchant_id text, txid text, amount numeric, settlement text) returns void
language c volatile parallel unsafe as 'MODULE_PATHNAME', 'payout_ledger_loss';
comment on function payout.ledger_loss(text, text, numeric, text) is 'platform_loss to settlement/...: the bank paid after the merchant had been refunded';

create function payout.ledger_loss_return(merchant_id text, txid text, amount numeric, settlement text) returns void
language c volatile parallel unsafe as 'MODULE_PATHNAME', 'payout_ledger_loss_return';
comment on function payout.ledger_loss_return(text, text, numeric, text) is 'settlement/... to platform_loss: what was booked as a loss came back';

create function payout.ledger_fund(merchant_id text, kind text, amount numeric, reference_no text) returns payout.transfer
language c volatile parallel unsafe as 'MODULE_PATHNAME', 'payout_ledger_fund';
comment on function payout.ledger_fund(text, text, numeric, text) is
'top_up: funding to available; withdraw: available to funding, PY001 when too low. A repeat of the reference answers the same transfer, PY002 with another amount';

create function payout.top_up(merchant_id text, amount numeric, reference text) returns payout.transfer
language c volatile parallel unsafe as 'MODULE_PATHNAME', 'payout_entry';
comment on function payout.top_up(text, numeric, text) is 'adds to a merchant''s balance; the reference makes a repeat harmless';

create function payout.do_top_up(p_merchant_id text, p_amount numeric, p_reference text) returns payout.transfer
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
	perform payout.find_merchant(p_merchant_id);
	return payout.ledger_fund(p_merchant_id, 'top_up', payout.require_amount('amount', p_amount),
							  payout.require_text('reference', p_reference, 1, 64, 'visible', 'PY016'));
end
$$;
comment on function payout.do_top_up(text, numeric, text) is 'work of payout.top_up';

create function payout.withdraw(merchant_id text, amount numeric, reference text) returns payout.transfer
language c volatile parallel unsafe as 'MODULE_PATHNAME', 'payout_entry';
comment on function payout.withdraw(text, numeric, text) is 'takes from a merchant''s balance; the reference makes a repeat harmless';

create function payout.do_withdraw(p_merchant_id text, p_amount numeric, p_reference text) returns payout.transfer
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
	perform payout.find_merchant(p_merchant_id);
	return payout.ledger_fund(p_merchant_id, 'withdraw', payout.require_amount('amount', p_amount),
							  payout.require_text('reference', p_reference, 1, 64, 'visible', 'PY016'));
end
$$;
comment on function payout.do_withdraw(text, numeric, text) is 'work of payout.withdraw';

create function payout.balance(merchant_id text, out available numeric, out in_transit numeric, out scheduled numeric)
language c stable parallel unsafe as 'MODULE_PATHNAME', 'payout_entry';
comment on function payout.balance(text) is 'what a merchant may still take, what is on its way, and the part of that which waits for its schedule';

create function payout.do_balance(p_merchant_id text, out available numeric, out in_transit numeric, out scheduled numeric)
language plpgsql stable
set search_path = pg_catalog, pg_temp
as $$
begin
	perform payout.find_merchant(p_merchant_id);
	select b.available, coalesce(sum(p.amount), 0), coalesce(sum(p.amount) filter (where p.state = 'scheduled'), 0)
	into available, in_transit, scheduled
	from payout.balance b
	left join payout.payout p on p.merchant_id = b.merchant_id
		and (p.state in ('scheduled', 'approved', 'dispatching', 'processing', 'suspect', 'token_issued', 'token_reserved')
			 or (p.kind = 'cashout' and p.state = 'registered'))
	where b.merchant_id = p_merchant_id
	group by b.available;
end
$$;
comment on function payout.do_balance(text) is 'work of payout.balance';
