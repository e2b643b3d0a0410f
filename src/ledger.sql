-- ledger.sql: balances and transfers. The functions that move money are C, in ledger.c; read its head comment first, then
-- that of escrow.c.

create table payout.balance (
	merchant_id text collate "C" primary key references payout.merchant,
	available numeric(20,2) not null default 0 check (available >= 0),
	day date,
	day_total numeric(20,2) not null default 0,
	currency text not null default 'IDR'
) with (fillfactor = 50);
comment on table payout.balance is 'what each merchant may still take, but for what stands in balance_delta and is not yet folded into it; see payout.current_balance';
comment on column payout.balance.available is 'never below zero: nothing is taken before it is set aside (escrow.c), and folding takes credits first';
comment on column payout.balance.day is 'the Jakarta day that day_total counts';
comment on column payout.balance.day_total is 'amount of the payouts deducted on that day; refunds do not lower it';

create trigger refuse_delete before delete on payout.balance for each row execute function payout.refuse_change();
create trigger refuse_truncate before truncate on payout.balance for each statement execute function payout.refuse_change();

alter table payout.balance enable always trigger refuse_delete;
alter table payout.balance enable always trigger refuse_truncate;

-- Written instead of the balance's row, so that payouts of one merchant do not queue for it; the worker folds them.
create table payout.balance_delta (
	merchant_id text collate "C" not null,
	delta_id uuid not null default payout.new_id(),
	amount numeric(20,2) not null,
	day date,
	day_amount numeric(20,2),
	primary key (merchant_id, delta_id)
) with (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 20000, autovacuum_vacuum_insert_scale_factor = 0);
comment on table payout.balance_delta is 'changes of balances that are not yet folded into their rows';
comment on column payout.balance_delta.amount is 'given (positive) or taken (negative)';
comment on column payout.balance_delta.day_amount is 'what counts to the total of the day';

create function payout.is_by_hand() returns boolean
language c volatile parallel unsafe as 'MODULE_PATHNAME', 'payout_is_by_hand';
comment on function payout.is_by_hand() is 'whether a change of the ledger''s tables comes from outside the ledger';

-- After a DELETE, not before: a trigger before it would have each row that is folded locked first.
create trigger refuse_change before update on payout.balance_delta for each row when (payout.is_by_hand()) execute function payout.refuse_change();
create trigger refuse_delete after delete on payout.balance_delta for each row when (payout.is_by_hand()) execute function payout.refuse_change();
create trigger refuse_truncate before truncate on payout.balance_delta for each statement execute function payout.refuse_change();
alter table payout.balance_delta enable always trigger refuse_truncate;

create function payout.follow_balance() returns trigger
language c volatile parallel unsafe as 'MODULE_PATHNAME', 'payout_follow_balance';
comment on function payout.follow_balance() is 'trigger: the shared count follows a change of a balance by hand';

create function payout.follow_delta() returns trigger
language c volatile parallel unsafe as 'MODULE_PATHNAME', 'payout_follow_delta';
comment on function payout.follow_delta() is 'trigger: the shared count follows a change of a delta by hand';

create trigger zz_follow before insert or update on payout.balance for each row execute function payout.follow_balance();
create trigger zz_follow before insert or update on payout.balance_delta for each row execute function payout.follow_delta();
create trigger zz_follow_delete after delete on payout.balance_delta for each row when (payout.is_by_hand()) execute function payout.follow_delta();
alter table payout.balance enable always trigger zz_follow;
alter table payout.balance_delta enable always trigger zz_follow;
alter table payout.balance_delta enable always trigger zz_follow_delete;

-- plpgsql keeps its plan; a function of language sql with settings of its own is planned at every call.
create function payout.current_balance(p_merchant_id text, out available numeric, out day date, out day_total numeric)
language plpgsql stable
set search_path = pg_catalog, pg_temp
set enable_seqscan = off
as $$
begin
	select b.available + d.amount, d.day,
		case when b.day = d.day then b.day_total else 0 end
		+ coalesce((select sum(x.day_amount) from payout.balance_delta x where x.merchant_id = b.merchant_id and x.day = d.day), 0)
	into current_balance.available, current_balance.day, current_balance.day_total
	from payout.balance b,
	lateral (select coalesce(sum(x.amount), 0) as amount, greatest(b.day, max(x.day)) as day
			 from payout.balance_delta x where x.merchant_id = b.merchant_id) d
	where b.merchant_id = p_merchant_id;
end
$$;
comment on function payout.current_balance(text) is 'what a merchant may take, and its newest day with that day''s total, folded or not';

create function payout.escrow(out merchant_id text, out available bigint, out day date, out day_total bigint, out pins integer, out version bigint)
returns setof record
language c volatile parallel unsafe as 'MODULE_PATHNAME', 'payout_escrow';
comment on function payout.escrow() is
'what shared memory holds of this database''s balances, in hundredths; pins are transactions in progress that changed one, version goes up with each change';

-- Credits first: what has been taken was there before, so the row stays above zero wherever the limit falls. Deltas are found
-- by their place: nobody changes them, and only who holds their balance's row deletes them. Balances are not joined to them: a
-- plan made while there were none reads all of them for each merchant.
create function payout.fold_merchants(p_merchants text[], p_limit integer) returns integer
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
	free text[] := array(select b.merchant_id from payout.balance b where b.merchant_id = any (p_merchants) for no key update skip locked);
	folded integer;
begin
	if free = '{}' then
		return 0;
	end if;
	with gone as (
		delete from payout.balance_delta d
		where d.ctid = any (array(select t.ctid from payout.balance_delta t where t.merchant_id = any (free) order by t.amount desc limit p_limit))
		returning d.merchant_id, d.amount, d.day, d.day_amount),
	by_day as (
		select g.merchant_id, g.day, sum(g.amount) as amount, sum(g.day_amount) as day_amount, count(*) as deltas
		from gone g group by g.merchant_id, g.day),
	change as (
		select d.merchant_id, sum(d.amount) as amount, max(d.day) as day,
			(array_agg(d.day_amount order by d.day desc nulls last))[1] as day_amount, sum(d.deltas) as deltas
		from by_day d group by d.merchant_id),
	changed as (
		update payout.balance b
		set available = b.available + c.amount, day = greatest(b.day, c.day),
			day_total = case when c.day is null or b.day > c.day then b.day_total when b.day = c.day then b.day_total + c.day_amount else c.day_amount end
		from change c where b.merchant_id = c.merchant_id
		returning c.deltas)
	select coalesce(sum(c.deltas), 0) into folded from changed c;
	return folded;
end
$$;
comment on function payout.fold_merchants(text[], integer) is 'moves deltas of these merchants, as many as the limit says, into their balances; those whose balance is locked are left';

-- The merchants that have deltas are found by hops through the index, not by reading all deltas.
create function payout.fold_next(p_after text, p_limit integer, out folded integer, out last text)
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
	merchants text[];
begin
	with recursive m as (
		(select d.merchant_id from payout.balance_delta d where d.merchant_id > p_after order by d.merchant_id limit 1)
		union all
		select (select d.merchant_id from payout.balance_delta d where d.merchant_id > m.merchant_id order by d.merchant_id limit 1)
		from m where m.merchant_id is not null)
	select array_agg(n.merchant_id order by n.merchant_id) into merchants
	from (select m.merchant_id from m where m.merchant_id is not null limit 1000) n;
	last := case when cardinality(merchants) = 1000 then merchants[1000] end;
	folded := payout.fold_merchants(coalesce(merchants, '{}'), p_limit);
end
$$;
comment on function payout.fold_next(text, integer) is 'folds the next merchants in order; the count of deltas, and the merchant to go on after, or null at the end';

create function payout.fold(rows_max integer) returns integer
language c volatile parallel unsafe as 'MODULE_PATHNAME', 'payout_fold';
comment on function payout.fold(integer) is 'worker: moves at most so many deltas into their balances; their count';

-- Rows are written by ledger.c, or by hand and then checked by the trigger follow: CHECKs of each row would cost each
-- payout (see payout.payout), so there is but the one.
create table payout.transfer (
	merchant_id text collate "C" not null,
	transfer_id uuid not null default payout.new_id(),
	at timestamptz not null default clock_timestamp(),
	kind text not null,
	debit_account text collate "C" not null,
	credit_account text collate "C" not null,
	amount numeric(18,2) not null check (amount > 0),
	currency text not null default 'IDR',
	txid text collate "C",
	reference_no text collate "C",
	created_by text not null default payout.caller(),
	constraint transfer_once unique nulls not distinct (merchant_id, txid, kind, reference_no)
);
comment on table payout.transfer is 'the ledger: each row moves a positive amount from one account to another, so the books cannot be unbalanced; rows are never changed';
comment on column payout.transfer.debit_account is 'where the money leaves: funding, available, in_transit, fee, platform_loss, settlement/CHANNEL or settlement/cvs:STORE';
comment on column payout.transfer.credit_account is 'where the money arrives';
comment on column payout.transfer.reference_no is 'the merchant''s reference of a top-up or withdrawal; of a loss or its return the number of the history row that tells why; else null';
comment on constraint transfer_once on payout.transfer is 'each movement happens at most once to one payout, and once for a reference: the second refund is a unique violation';

-- The rows of a stretch of time, as in payout.payout_event.
create index transfer_at on payout.transfer using brin (at) with (pages_per_range = 32);
-- What is owed to a store, day by day.
create index transfer_to_cvs on payout.transfer (credit_account, at) where credit_account like 'settlement/cvs:%';
create index transfer_from_cvs on payout.transfer (debit_account, at) where debit_account like 'settlement/cvs:%';

create trigger refuse_change before update or delete on payout.transfer for each row execute function payout.refuse_change();
create trigger refuse_truncate before truncate on payout.transfer for each statement execute function payout.refuse_change();
alter table payout.transfer enable always trigger refuse_change;
alter table payout.transfer enable always trigger refuse_truncate;

create function payout.follow_transfer() returns trigger
language c volatile parallel unsafe as 'MODULE_PATHNAME', 'payout_follow_transfer';
comment on function payout.follow_transfer() is 'trigger: a transfer that is written by hand is checked, and changes the balance as any other; PY001 when that is too low';

create trigger follow before insert on payout.transfer for each row execute function payout.follow_transfer();

create function payout.ledger_deduct(merchant_id text, txid text, amount numeric, fee numeric, daily_total_max numeric)
returns numeric
language c volatile parallel unsafe as 'MODULE_PATHNAME', 'payout_ledger_deduct';
comment on function payout.ledger_deduct(text, text, numeric, numeric, numeric) is
'available to in_transit (amount) and to fee (fee); PY001 when available is too low, PY007 when the day''s total would pass daily_total_max. Answers with the fee';

create function payout.ledger_settle(merchant_id text, txid text, amount numeric, settlement text) returns void
language c volatile parallel unsafe as 'MODULE_PATHNAME', 'payout_ledger_settle';
comment on function payout.ledger_settle(text, text, numeric, text) is 'in_transit to settlement/...: the payout is paid';

create function payout.ledger_unsettle(merchant_id text, txid text, amount numeric, settlement text) returns void
language c volatile parallel unsafe as 'MODULE_PATHNAME', 'payout_ledger_unsettle';
comment on function payout.ledger_unsettle(text, text, numeric, text) is 'settlement/... back to in_transit: the payout was taken for paid and never was; a refund follows';

create function payout.ledger_refund(merchant_id text, txid text, amount numeric, fee numeric) returns void
language c volatile parallel unsafe as 'MODULE_PATHNAME', 'payout_ledger_refund';
comment on function payout.ledger_refund(text, text, numeric, numeric) is 'in_transit and fee back to available: the payout was not paid';

create function payout.ledger_fee_refund(merchant_id text, txid text, fee numeric) returns void
language c volatile parallel unsafe as 'MODULE_PATHNAME', 'payout_ledger_fee_refund';
comment on function payout.ledger_fee_refund(text, text, numeric) is 'fee back to available: the payout, whose amount was given back before, was not paid';

create function payout.ledger_return(merchant_id text, txid text, amount numeric, fee numeric, settlement text) returns void
language c volatile parallel unsafe as 'MODULE_PATHNAME', 'payout_ledger_return';
comment on function payout.ledger_return(text, text, numeric, numeric, text) is 'settlement/... (and fee, if not zero) back to available: the bank gave a paid payout back';

create function payout.ledger_loss(merchant_id text, txid text, amount numeric, settlement text, occasion text) returns void
language c volatile parallel unsafe as 'MODULE_PATHNAME', 'payout_ledger_loss';
comment on function payout.ledger_loss(text, text, numeric, text, text) is 'platform_loss to settlement/...: the bank paid after the merchant had been refunded; the occasion tells repetitions apart';

create function payout.ledger_loss_return(merchant_id text, txid text, amount numeric, settlement text, occasion text) returns void
language c volatile parallel unsafe as 'MODULE_PATHNAME', 'payout_ledger_loss_return';
comment on function payout.ledger_loss_return(text, text, numeric, text, text) is 'settlement/... to platform_loss: what was booked as a loss came back; the occasion tells repetitions apart';

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
	perform payout.find_merchant(p_merchant_id), payout.wake();
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
	perform payout.find_merchant(p_merchant_id), payout.wake();
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
	select c.available, coalesce(sum(p.amount), 0), coalesce(sum(p.amount) filter (where p.state = 'scheduled'), 0)
	into available, in_transit, scheduled
	from payout.current_balance(p_merchant_id) c
	left join payout.payout p on p.merchant_id = p_merchant_id and p.final_at is null
		and (p.state in ('scheduled', 'approved', 'dispatching', 'processing', 'suspect', 'token_issued', 'token_reserved')
			 or (p.kind = 'cashout' and p.state = 'registered'))
	group by c.available;
end
$$;
comment on function payout.do_balance(text) is 'work of payout.balance';
