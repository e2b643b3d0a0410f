-- baseline.sql: the baselines that `make bench` holds the extension against: what a good engineer writes in plpgsql
-- without it. One call, one transaction: the payout's row, its history, its two ledger rows, its place in the outbox, and a
-- conditional UPDATE of the balance as the last statement, so that its row lock is held as short as can be.
--   diy.pay    all of it (lines diy_spread, diy_hot)
--   diy.rows   the same rows without the balance (line rows): the limit of any scheme that guards it
--
-- The same writes as payout.register and payout.approve together. Row writes of one payout, inserts + updates, as the
-- lines "writes" of every run count them:
--
--   the extension   payout 1+1, payout_event 2, transfer 1, balance_delta 1            6 writes
--   diy.pay         payout 1, history 1, ledger 2, outbox 1, balance 0+1               6 writes
--   diy.rows        payout 1, history 1, ledger 2, outbox 1                            5 writes
--
-- The extension's row of payout.transfer is both ledger rows in one (debit and credit account); its outbox is a partial
-- index on the payout; it writes the payout twice because registering and approving are two steps. Folding the deltas comes
-- on top. No foreign keys on either side: they would cost this side more.
\set ON_ERROR_STOP on
create schema diy;
create sequence diy.txid cache 100;

create table diy.balance (
	merchant_id text collate "C" primary key,
	available numeric(18,2) not null default 0 check (available >= 0)
) with (fillfactor = 50);

create table diy.payout (
	merchant_id text collate "C" not null,
	txid text collate "C" not null,
	state text not null check (state in ('approved', 'dispatching', 'paid', 'failed')),
	reference_no text collate "C" not null,
	method text not null default 'online',
	amount numeric(18,2) not null check (amount > 0),
	fee numeric(18,2) not null default 0 check (fee >= 0),
	currency text not null default 'IDR',
	channel_id text collate "C" not null,
	bank_code text collate "C" not null,
	account_no text collate "C" not null,
	beneficiary_name text not null,
	registered_at timestamptz not null default clock_timestamp(),
	approved_at timestamptz,
	final_at timestamptz,
	bank_reference_no text,
	primary key (merchant_id, txid),
	unique (merchant_id, reference_no)
) with (fillfactor = 70);

create table diy.history (
	merchant_id text collate "C" not null,
	txid text collate "C" not null,
	event_no integer not null,
	at timestamptz not null default clock_timestamp(),
	from_state text,
	to_state text not null,
	role_name text not null default current_user,
	primary key (merchant_id, txid, event_no)
);

create table diy.ledger (
	merchant_id text collate "C" not null,
	txid text collate "C" not null,
	account text collate "C" not null,
	amount numeric(18,2) not null check (amount <> 0),
	currency text not null default 'IDR',
	at timestamptz not null default clock_timestamp(),
	primary key (merchant_id, txid, account)
);

create table diy.outbox (
	merchant_id text collate "C" not null,
	txid text collate "C" not null,
	channel_id text collate "C" not null,
	due_at timestamptz,
	sent_at timestamptz,
	primary key (merchant_id, txid)
);
create index outbox_due on diy.outbox (channel_id, due_at) where due_at is not null;

create function diy.write_rows(p_merchant_id text, p_reference_no text, p_amount numeric, p_bank_code text, p_account_no text, p_beneficiary_name text)
returns text
language plpgsql as $$
declare
	new_txid text := p_merchant_id || '07' || to_char(now() at time zone interval '+07:00', 'YYYYMMDDHH24MISS')
		|| lpad(to_hex(nextval('diy.txid') % 65536), 4, '0');
begin
	insert into diy.payout (merchant_id, txid, state, reference_no, amount, channel_id, bank_code, account_no, beneficiary_name, approved_at)
	values (p_merchant_id, new_txid, 'approved', p_reference_no, p_amount, 'BANK1', p_bank_code, p_account_no, p_beneficiary_name, clock_timestamp());
	insert into diy.history (merchant_id, txid, event_no, from_state, to_state)
	values (p_merchant_id, new_txid, 1, 'registered', 'approved');
	insert into diy.ledger (merchant_id, txid, account, amount)
	values (p_merchant_id, new_txid, 'available', -p_amount), (p_merchant_id, new_txid, 'in_transit', p_amount);
	insert into diy.outbox (merchant_id, txid, channel_id, due_at)
	values (p_merchant_id, new_txid, 'BANK1', clock_timestamp());
	return new_txid;
end
$$;

create function diy.pay(p_merchant_id text, p_reference_no text, p_amount numeric, p_bank_code text, p_account_no text, p_beneficiary_name text)
returns text
language plpgsql as $$
declare
	new_txid text := diy.write_rows(p_merchant_id, p_reference_no, p_amount, p_bank_code, p_account_no, p_beneficiary_name);
begin
	update diy.balance set available = available - p_amount where merchant_id = p_merchant_id and available >= p_amount;
	if not found then
		raise exception 'insufficient balance';
	end if;
	return new_txid;
end
$$;

create function diy.rows(p_merchant_id text, p_reference_no text, p_amount numeric, p_bank_code text, p_account_no text, p_beneficiary_name text)
returns text
language plpgsql as $$
begin
	return diy.write_rows(p_merchant_id, p_reference_no, p_amount, p_bank_code, p_account_no, p_beneficiary_name);
end
$$;

-- The same merchants as merchants.sql makes.
insert into diy.balance select (1000000000 + i)::text, 1000000000000 from generate_series(1, 1000) i;
insert into diy.balance values ('1000005000', 1000000000000);
vacuum analyze diy.balance;
