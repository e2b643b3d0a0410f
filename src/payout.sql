-- payout.sql: the payout's row, the table of allowed moves, the history, and the one trigger that keeps the three and
-- the ledger together.
--
-- A step changes a payout with a plain UPDATE. The trigger 'move' then looks the change of state up in
-- payout.allowed_move, moves the money that belongs to it, writes the history row and the notification owed. So there
-- is no way to change a state without its money, its history and its notification, not even by hand.
--
--   registered --reject--> rejected
--       | approve (deduct)
--       +--(schedule ahead)--> scheduled --cancel--> cancelled (refund)
--       v                        | due
--    approved <------------------+
--       |  +-- account check: invalid --> failed (refund)
--       | claim (batch, attempt and references committed)
--       v
--    dispatching --accepted--> processing --> paid --> returned (refund)
--       |   ^  +------------ paid | failed, by answer or by notice, whichever comes first
--       |   +-- resend of the same frozen batch
--       v unknown
--    suspect --inquiry, notice or a person--> paid | failed (refund)
--    failed, paid, returned --proof of the contrary--> disputed --a person--> paid | failed | returned
--
-- A cashout is charged when it is registered:
--
--   registered --reject--> rejected (refund)
--       | approve
--       v                  store validates
--   token_issued --------------------------> token_reserved --store confirms--> paid
--       | |  ^-------------store reverses-----------+  | lapsed
--       | +-- expired (refund) <--reverses too late-+  v
--       |                                           suspect --store, its list or a person--> paid | token_issued | expired | failed
--   paid, expired, failed, returned --the store says the contrary--> disputed --a person--> paid | failed | returned

-- Each CHECK is read and prepared again by every statement that writes a row, which a busy table cannot afford: what the
-- functions write by construction is looked after by payout.verify (payout_form); the amounts are checked twice.
create table payout.payout (
	merchant_id text collate "C" not null,
	txid text collate "C" not null,
	kind text not null,
	reference_no text collate "C" not null,
	method text not null,
	amount numeric(18,2) not null check (amount > 0),
	currency text not null default 'IDR',
	channel_id text collate "C",
	bank_code text collate "C",
	wire_code text collate "C",
	source_account_no text collate "C",
	account_no text collate "C",
	beneficiary_name text not null,
	beneficiary_phone text,
	description text,
	options jsonb not null default '{}',
	scheduled_at timestamptz,
	registered_at timestamptz not null,
	content_salt bytea default payout.new_salt(),
	-- what changes stands behind what does not: the log of an update then holds its tail alone
	state text not null,
	fee numeric(18,2) not null default 0 check (fee >= 0),
	approved_at timestamptz,
	final_at timestamptz,
	disputed_at timestamptz,
	events integer not null default 1,
	approvals integer,
	-- the account check
	account_check text,
	account_name text,
	check_due_at timestamptz,
	check_deadline_at timestamptz,
	check_tries integer not null default 0,
	check_epoch integer,
	-- the way to the bank
	dispatch_due_at timestamptz,
	release_due_at timestamptz,
	batch_id uuid,
	bank_reference_no text collate "C",
	response_code text,
	reason text,
	-- asking the bank
	status_due_at timestamptz,
	status_checked_at timestamptz,
	status_tries integer not null default 0,
	not_found integer not null default 0,
	doubted_at timestamptz,
	-- cash at a store
	cvs_code text collate "C",
	cvs_reference text collate "C",
	expire_due_at timestamptz,
	primary key (merchant_id, txid),
	unique (merchant_id, reference_no)
) with (fillfactor = 95, autovacuum_vacuum_scale_factor = 0.05, autovacuum_analyze_scale_factor = 0.05);
comment on table payout.payout is 'one order to pay: its content (never changes) and its present state';
comment on column payout.payout.txid is 'merchant_id, 07, date and time in Jakarta, 4 characters';
comment on column payout.payout.reference_no is 'the merchant''s own id of this payout';
comment on column payout.payout.channel_id is 'the way to the bank; with wire_code and source_account_no as bank and channel were when it was registered: changes of them concern later payouts';
comment on column payout.payout.wire_code is 'the code by which this channel knows this bank';
comment on column payout.payout.source_account_no is 'our account at the channel''s bank, which is debited';
comment on column payout.payout.content_salt is 'what the content was digested with, see payout.payout_event.content_digest; null: the content cannot be compared with it any more';
comment on column payout.payout.fee is 'what was deducted on top of the amount, fixed when the money was';
comment on column payout.payout.final_at is 'when it came to its end; null while it has none';
comment on column payout.payout.disputed_at is 'since when a person has to decide what became of the money';
comment on column payout.payout.events is 'number of history rows, the number of the last one';
comment on column payout.payout.approvals is 'approvals given so far where the merchant''s rules of maker and checker count them, see payout.payout_approval; else null';
comment on column payout.payout.account_check is 'what the bank said of the account; matched and name_differs compare the bank''s name with beneficiary_name, unreadable: one of the two has no letter';
comment on column payout.payout.account_name is 'the holder''s name as the bank gave it';
comment on column payout.payout.check_due_at is 'work queue of lane validate: when to ask; null while asked or decided';
comment on column payout.payout.check_epoch is 'payout.channel.epoch when the account was asked for last, or was to be asked for anew; null: it never was';
comment on column payout.payout.dispatch_due_at is 'work queue of lane dispatch: when to enter a batch';
comment on column payout.payout.release_due_at is 'work queue of schedules: when to become approved';
comment on column payout.payout.batch_id is 'the batch that carries it, frozen for resends';
comment on column payout.payout.reason is 'why it came to its present state';
comment on column payout.payout.status_due_at is 'work queue of lane check: when to ask the bank; null while asked or not needed';
comment on column payout.payout.cvs_code is 'the store that has reserved the token, or paid';
comment on column payout.payout.cvs_reference is 'that store''s own id of what it did, see payout.redemption';
comment on column payout.payout.expire_due_at is 'work queue of expiry: when the token expires (token_issued) or the reservation lapses (token_reserved)';
comment on column payout.payout.not_found is 'answers "not found" in a row';
comment on column payout.payout.doubted_at is 'since when the bank contradicts its end without having disproved it; asked for until it answers, or a person decides';

-- No index knows the state: a change of state that touches no queue then writes no index (HOT). A twentieth of each page is
-- left free for the approvals; the worker's changes all touch a queue.
create index payout_check_due on payout.payout (channel_id, check_due_at) where check_due_at is not null;
create index payout_dispatch_due on payout.payout (channel_id, dispatch_due_at) where dispatch_due_at is not null;
create index payout_release_due on payout.payout (channel_id, release_due_at) where release_due_at is not null;
create index payout_status_due on payout.payout (channel_id, status_due_at) where status_due_at is not null;
create index payout_bank_reference on payout.payout using hash (bank_reference_no) where bank_reference_no is not null;
create index payout_batch on payout.payout (channel_id, batch_id) where batch_id is not null;
create index payout_expire_due on payout.payout (expire_due_at) where expire_due_at is not null;
create index payout_open on payout.payout (merchant_id) where final_at is null;
create index payout_disputed on payout.payout (merchant_id) where disputed_at is not null;
create index payout_doubted on payout.payout (merchant_id) where doubted_at is not null;

create trigger refuse_delete before delete on payout.payout for each row execute function payout.refuse_change();
create trigger refuse_truncate before truncate on payout.payout for each statement execute function payout.refuse_change();

create table payout.allowed_move (
	kind text collate "C" not null,
	from_state text collate "C" not null,
	to_state text collate "C" not null,
	money text check (money in ('deduct', 'settle', 'refund', 'by_position')),
	event text,
	final boolean not null default false,
	primary key (kind, from_state, to_state),
	-- Where the money of an end is depends on the way that led to it.
	check (from_state not in ('paid', 'failed', 'returned', 'rejected', 'cancelled', 'expired', 'disputed') or coalesce(money, 'by_position') = 'by_position')
);
create trigger forget_rows after insert or update or delete on payout.allowed_move for each row execute function payout.forget_rows();
create trigger forget_all_rows after truncate on payout.allowed_move for each statement execute function payout.forget_rows();
alter table payout.allowed_move enable always trigger forget_rows;
alter table payout.allowed_move enable always trigger forget_all_rows;
comment on table payout.allowed_move is 'every change of state there is, the money that moves with it, and the event that is told';
comment on column payout.allowed_move.money is 'transfer made by the move; by_position: whatever brings the money where the new state says it is';
comment on column payout.allowed_move.final is 'whether the new state is an end (only contrary proof or a return leaves it)';

insert into payout.allowed_move (kind, from_state, to_state, money, event, final) values
	('disbursement', 'registered', 'rejected', null, 'payout.rejected', true),
	('disbursement', 'registered', 'approved', 'deduct', 'payout.approved', false),
	('disbursement', 'registered', 'scheduled', 'deduct', 'payout.approved', false),
	('disbursement', 'scheduled', 'cancelled', 'refund', 'payout.cancelled', true),
	('disbursement', 'scheduled', 'failed', 'refund', 'payout.failed', true),
	('disbursement', 'scheduled', 'approved', null, null, false),
	('disbursement', 'approved', 'failed', 'refund', 'payout.failed', true),
	('disbursement', 'approved', 'dispatching', null, null, false),
	('disbursement', 'dispatching', 'processing', null, null, false),
	('disbursement', 'dispatching', 'paid', 'settle', 'payout.paid', true),
	('disbursement', 'dispatching', 'failed', 'refund', 'payout.failed', true),
	('disbursement', 'dispatching', 'suspect', null, 'payout.suspect', false),
	('disbursement', 'processing', 'paid', 'settle', 'payout.paid', true),
	('disbursement', 'processing', 'failed', 'refund', 'payout.failed', true),
	('disbursement', 'suspect', 'dispatching', null, null, false),
	('disbursement', 'suspect', 'paid', 'settle', 'payout.paid', true),
	('disbursement', 'suspect', 'failed', 'refund', 'payout.failed', true),
	('disbursement', 'paid', 'returned', 'by_position', 'payout.returned', true),
	('disbursement', 'paid', 'disputed', null, 'payout.disputed', false),
	('disbursement', 'failed', 'disputed', null, 'payout.disputed', false),
	('disbursement', 'returned', 'disputed', null, 'payout.disputed', false),
	('disbursement', 'disputed', 'paid', 'by_position', 'payout.paid', true),
	('disbursement', 'disputed', 'failed', 'by_position', 'payout.failed', true),
	('disbursement', 'disputed', 'returned', 'by_position', 'payout.returned', true),
	('cashout', 'registered', 'rejected', 'refund', 'payout.rejected', true),
	('cashout', 'registered', 'token_issued', null, 'payout.approved', false),
	('cashout', 'token_issued', 'token_reserved', null, null, false),
	('cashout', 'token_issued', 'expired', 'refund', 'payout.expired', true),
	('cashout', 'token_reserved', 'paid', 'settle', 'payout.paid', true),
	('cashout', 'token_reserved', 'token_issued', null, 'payout.reversed', false),
	('cashout', 'token_reserved', 'expired', 'refund', 'payout.expired', true),
	('cashout', 'token_reserved', 'suspect', null, 'payout.suspect', false),
	('cashout', 'suspect', 'paid', 'settle', 'payout.paid', true),
	('cashout', 'suspect', 'token_issued', null, 'payout.reversed', false),
	('cashout', 'suspect', 'expired', 'refund', 'payout.expired', true),
	('cashout', 'suspect', 'failed', 'refund', 'payout.failed', true),
	('cashout', 'expired', 'disputed', null, 'payout.disputed', false),
	('cashout', 'failed', 'disputed', null, 'payout.disputed', false),
	('cashout', 'paid', 'disputed', null, 'payout.disputed', false),
	('cashout', 'returned', 'disputed', null, 'payout.disputed', false),
	('cashout', 'disputed', 'paid', 'by_position', 'payout.paid', true),
	('cashout', 'disputed', 'failed', 'by_position', 'payout.failed', true),
	('cashout', 'disputed', 'returned', 'by_position', 'payout.returned', true);

create table payout.payout_event (
	merchant_id text collate "C" not null,
	txid text collate "C" not null,
	event_no integer not null,
	at timestamptz not null default clock_timestamp(),
	event text,
	from_state text,
	to_state text not null,
	role_name text not null default payout.caller(),
	reason text,
	content_digest bytea
);
comment on table payout.payout_event is 'the history: one row for each change of state and each account check; rows are never changed';
comment on column payout.payout_event.event is 'the event that merchants may be told of, if this is one';
comment on column payout.payout_event.role_name is 'who called; the extension''s owner where the worker acted';

comment on column payout.payout_event.content_digest is 'SHA-256 over the payout''s content_salt: in the first row of what it was registered with (payout.content_digest), in one that tells of an end of that end, in one that tells of a token of the token (payout.ending_digest); null in all others, and where the salt was erased';

-- Without event_no, so that the rows of a payout share one entry (a quarter of the space). That each number comes once is
-- kept by the lock on the payout, whose row counts them, and looked after by payout.verify (history_without_gaps).
create index payout_event_of_payout on payout.payout_event (merchant_id, txid);
-- The rows of a stretch of time, for next to nothing: rows come in the order of their moments. See chain.sql.
create index payout_event_at on payout.payout_event using brin (at) with (pages_per_range = 32);

create trigger refuse_change before update or delete on payout.payout_event for each row execute function payout.refuse_change();
create trigger refuse_truncate before truncate on payout.payout_event for each statement execute function payout.refuse_change();
alter table payout.payout_event enable always trigger refuse_change;
alter table payout.payout_event enable always trigger refuse_truncate;

create function payout.content_digest(p payout.payout) returns bytea
language c stable strict parallel safe as 'MODULE_PATHNAME', 'payout_content_digest';
comment on function payout.content_digest(payout.payout) is
'SHA-256 over content_salt and what of a payout never changes, null where the salt is; see content.c';

create function payout.ending_digest(p payout.payout) returns bytea
language c volatile strict parallel restricted as 'MODULE_PATHNAME', 'payout_ending_digest';
comment on function payout.ending_digest(payout.payout) is
'SHA-256 over content_salt and what is recorded of an end, or of the token of a payout that waits for a store; null in other states and where the salt is; see ending.c';

-- A payout that waits for a person in one lane. Kept beside the payout, so that even a row that cannot be updated can
-- be set aside and does not stop its lane.
create table payout.hold (
	merchant_id text collate "C" not null,
	txid text collate "C" not null,
	lane text not null check (lane in ('validate', 'dispatch', 'check', 'expire')),
	reason text not null,
	at timestamptz not null default clock_timestamp(),
	primary key (merchant_id, txid, lane)
);
comment on table payout.hold is 'payouts that wait for a person, with the reason; payout.resolve releases them';

create function payout.hold_payout(p_merchant_id text, p_txid text, p_lane text, p_reason text) returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
	p payout.payout;
begin
	select * into p from payout.payout q where q.merchant_id = p_merchant_id and q.txid = p_txid;
	insert into payout.hold (merchant_id, txid, lane, reason)
	values (p_merchant_id, p_txid, p_lane, payout.hold_reason(p, p_reason))
	on conflict (merchant_id, txid, lane) do update set reason = excluded.reason;
end
$$;
comment on function payout.hold_payout(text, text, text, text) is 'sets a payout aside for a person, in one lane';

create function payout.move() returns trigger
language c volatile parallel unsafe as 'MODULE_PATHNAME', 'payout_move';
comment on function payout.move() is 'trigger: checks a change of state, moves its money, writes its history and its notification; see move.c';

create trigger move before update on payout.payout for each row execute function payout.move();

create function payout.wake_worker() returns trigger
language c volatile parallel unsafe as 'MODULE_PATHNAME', 'payout_wake_worker';
comment on function payout.wake_worker() is 'trigger: a change of a payout wakes the worker when it commits';

create trigger wake before insert or update on payout.payout for each row execute function payout.wake_worker();

-- The prefix keeps a store apart from a channel of the same name.
create function payout.settlement_account(p_channel_id text, p_cvs_code text) returns text
language plpgsql immutable parallel safe
set search_path = pg_catalog, pg_temp
as $$
begin
	return 'settlement/' || coalesce(p_channel_id, 'cvs:' || p_cvs_code);
end
$$;
comment on function payout.settlement_account(text, text) is 'the account of what is owed to a channel or, where there is none, to a store';

create function payout.move_money(p payout.payout, p_money text) returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
	settlement text := payout.settlement_account(p.channel_id, p.cvs_code);
	money text;
begin
	if p_money <> 'by_position' then
		raise exception '"%" is not moved here', p_money;
	end if;
	foreach money in array payout.money_needed(p.merchant_id, p.txid, p.state) loop
		case money
			when 'return' then
				perform payout.ledger_return(p.merchant_id, p.txid, p.amount,
					case when payout.option('merchant', m.options, 'refund_fee_on_return')::boolean then p.fee else 0 end, settlement)
				from payout.merchant m where m.merchant_id = p.merchant_id;
			when 'unsettle' then
				perform payout.ledger_unsettle(p.merchant_id, p.txid, p.amount, settlement);
			when 'refund' then
				perform payout.ledger_refund(p.merchant_id, p.txid, p.amount, p.fee);
			when 'fee_refund' then
				perform payout.ledger_fee_refund(p.merchant_id, p.txid, p.fee);
			when 'loss' then
				perform payout.ledger_loss(p.merchant_id, p.txid, p.amount, settlement, p.events::text);
			when 'loss_return' then
				perform payout.ledger_loss_return(p.merchant_id, p.txid, p.amount, settlement, p.events::text);
		end case;
	end loop;
end
$$;
comment on function payout.move_money(payout.payout, text) is 'makes the transfers of a move out of an end: whatever brings the money where the new state says it is';

create function payout.release_holds(p payout.payout, p_lane text) returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
	delete from payout.hold h where h.merchant_id = p.merchant_id and h.txid = p.txid and p_lane in (h.lane, '');
end
$$;
comment on function payout.release_holds(payout.payout, text) is 'a payout waits for a person no longer in this lane, or (empty) in any';

create function payout.fee_of(options jsonb, method text, amount numeric) returns numeric
language c immutable strict parallel safe as 'MODULE_PATHNAME', 'payout_fee_of';
comment on function payout.fee_of(jsonb, text, numeric) is 'the fee of a merchant''s options for a method and amount: flat plus basis points, rounded to two decimals';

-- Where a payout's money is by its transfers: none, in_transit, settled (the merchant paid), refunded (never paid, fee
-- included), returned (paid, and given back; the fee perhaps too), or lost (refunded or returned, and yet paid by the bank:
-- the platform bears it). What a merchant was given back is never taken again.
create function payout.money_position(p_merchant_id text, p_txid text) returns text
language plpgsql stable
set search_path = pg_catalog, pg_temp
as $$
begin
	return (select case
		when count(*) filter (where kind = 'loss') > count(*) filter (where kind = 'loss_return') then 'lost'
		when bool_or(kind = 'return') then 'returned'
		when bool_or(kind = 'refund') then 'refunded'
		when bool_or(kind = 'settle') then 'settled'
		when bool_or(kind = 'deduct') then 'in_transit'
		else 'none' end
		from payout.transfer t where t.merchant_id = p_merchant_id and t.txid = p_txid);
end
$$;
comment on function payout.money_position(text, text) is 'where a payout''s money is by its transfers: none, in_transit, settled, refunded, returned or lost';

create function payout.is_fee_kept(p_merchant_id text, p_txid text) returns boolean
language plpgsql stable
set search_path = pg_catalog, pg_temp
as $$
begin
	return (select coalesce(bool_or(kind = 'fee') and not bool_or(kind = 'fee_refund'), false)
		from payout.transfer t where t.merchant_id = p_merchant_id and t.txid = p_txid);
end
$$;
comment on function payout.is_fee_kept(text, text) is 'whether a fee was taken for a payout and not given back';

-- A payout that failed was never paid: settled money goes back the way it came, fee included; and where it was given back as
-- returned before, the fee that was kept follows.
create function payout.money_needed(p_merchant_id text, p_txid text, p_state text) returns text[]
language plpgsql stable
set search_path = pg_catalog, pg_temp
as $$
declare
	position text := payout.money_position(p_merchant_id, p_txid);
begin
	return array_remove(case
		when p_state = 'paid' then array[case when position in ('refunded', 'returned') then 'loss' end]
		when position = 'settled' then case p_state when 'failed' then '{unsettle,refund}'::text[] else '{return}' end
		else array[case when position = 'lost' then 'loss_return' end,
				   case when p_state = 'failed' and payout.is_fee_kept(p_merchant_id, p_txid) then 'fee_refund' end]
	end, null);
end
$$;
comment on function payout.money_needed(text, text, text) is 'the transfers that bring a payout''s money from where it is to where its new state (paid, failed, returned) says it is, in their order';

create function payout.add_event(p payout.payout, p_reason text) returns payout.payout
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
	insert into payout.payout_event (merchant_id, txid, event_no, from_state, to_state, reason, content_digest)
	values (p.merchant_id, p.txid, p.events + 1, p.state, p.state, p_reason, payout.ending_digest(p));
	update payout.payout u set events = u.events + 1 where u.merchant_id = p.merchant_id and u.txid = p.txid returning * into p;
	return p;
end
$$;
comment on function payout.add_event(payout.payout, text) is 'writes a history row that tells of no event and changes no state; the payout must be locked';

-- The payout's row, locked when asked for, or PY003. A TXID of another merchant is as unknown as any other.
create function payout.find_payout(p_merchant_id text, p_txid text, p_lock boolean) returns payout.payout
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
	p payout.payout;
begin
	if p_lock then
		select * into p from payout.payout where merchant_id = p_merchant_id and txid = p_txid for no key update;
	else
		select * into p from payout.payout where merchant_id = p_merchant_id and txid = p_txid;
	end if;
	if p.txid is null then
		perform payout.find_merchant(p_merchant_id);
		raise exception 'argument "txid" names no payout of this merchant'
			using errcode = 'PY003', hint = 'payout.inquiry_reference finds a payout by the merchant''s reference number.';
	end if;
	return p;
end
$$;
comment on function payout.find_payout(text, text, boolean) is 'the payout, locked if asked, or PY003';
