-- cashout.sql: steps 13 to 23 of a cashout, at the store: validate (the token is reserved for this store), confirm (the
-- cash has left the till), reverse (it has not, and will not). The calls are cashout.c; what they move is redeem.c.
--
-- A store's own reference names one attempt to redeem one token; its row in payout.redemption keeps what the store was
-- told, so that each call repeated answers the same.
--
-- What a token is refused for is told only as far as it helps nobody to guess: unknown, used, replaced and reserved elsewhere
-- are one error (PY010), and nothing else tells them apart either; expired (PY011) can be told, because such a token is worth
-- nothing. A confirmation or reversal that fits a reservation in full (store, token, reference) is taken even while the store is
-- locked, suspended or the database not armed: the cash has left the till, or stays in it, anyway.

create table payout.redemption (
	cvs_code text collate "C" not null,
	cvs_reference text collate "C" not null,
	merchant_id text collate "C",
	txid text collate "C",
	token_no integer,
	terminal text collate "C",
	reserved_at timestamptz,
	reserved_until timestamptz,
	confirmed_at timestamptz,
	confirm_state text,
	reversed_at timestamptz,
	reverse_state text,
	reverse_reason text,
	digest bytea check (length(digest) = 32),
	primary key (cvs_code, cvs_reference),
	check (num_nonnulls(merchant_id, txid, token_no) in (0, 3)),
	check (num_nonnulls(terminal, reserved_at, reserved_until) in (0, 3)),
	check ((confirmed_at is null) = (confirm_state is null)),
	check (num_nonnulls(reversed_at, reverse_state, reverse_reason) in (0, 3)),
	check (num_nonnulls(reserved_at, confirmed_at, reversed_at) > 0),
	check (merchant_id is not null or num_nonnulls(reserved_at, confirmed_at) = 0)
) with (fillfactor = 80);
comment on table payout.redemption is 'what a store did with a token, under the store''s own reference';
comment on column payout.redemption.digest is 'of the token that was presented, as in payout.cashout_token: without it nothing fits the reference';
comment on column payout.redemption.merchant_id is 'null where the store reversed what had not arrived: no token was looked up';
comment on column payout.redemption.reserved_at is 'when the store validated the token; null for a reversal or confirmation without';
comment on column payout.redemption.confirmed_at is 'when the store said that the cash has left the till';
comment on column payout.redemption.confirm_state is 'the state that it was told then';
comment on column payout.redemption.reversed_at is 'when the store took it back';
comment on column payout.redemption.reverse_state is 'the state that it was told then';

create index redemption_of_payout on payout.redemption (merchant_id, txid);
create index redemption_early on payout.redemption (cvs_code, reversed_at) where merchant_id is null;

create trigger refuse_delete before delete on payout.redemption for each row execute function payout.refuse_change();
create trigger refuse_truncate before truncate on payout.redemption for each statement execute function payout.refuse_change();

create table payout.known_terminal (
	cvs_code text collate "C" not null,
	terminal text collate "C" not null,
	role_name text collate "C" not null,
	known_at timestamptz not null default clock_timestamp(),
	primary key (cvs_code, terminal, role_name)
);
comment on table payout.known_terminal is 'terminals at which a store has paid, or that an operator has named: their tries of tokens are counted apart from those of all other names';
comment on column payout.known_terminal.role_name is 'the role that confirmed; empty: named by an operator, for every role';

create type payout.cashout_reservation as (txid text, amount numeric, currency text, beneficiary_name text, reserved_until timestamptz);
comment on type payout.cashout_reservation is 'answer of payout.cashout_validate: hand over this amount, then confirm; all but the initials of the name are hidden';

create type payout.cashout_answer as (txid text, state text, amount numeric, currency text, cvs_reference text, at timestamptz);
comment on type payout.cashout_answer is 'answer of payout.cashout_confirm and payout.cashout_reverse; txid and amount are null for the reversal of what had not arrived';

create function payout.masked_name(value text) returns text
language sql immutable parallel safe
set search_path = pg_catalog, pg_temp
return regexp_replace(value collate "C", '([^[:space:]])[^[:space:]]*', E'\\1***', 'g');
comment on function payout.masked_name(text) is 'the initials of a name';

create function payout.cashout_validate(cvs_code text, token text, terminal text, cvs_reference text)
returns payout.cashout_reservation
language c volatile parallel unsafe as 'MODULE_PATHNAME', 'payout_entry';
comment on function payout.cashout_validate(text, text, text, text) is
'a store asks whether it may pay: reserves the token for this store and answers with the amount; the same reference at the same terminal answers the same';

create function payout.do_cashout_validate(p_cvs_code text, p_token text, p_terminal text, p_cvs_reference text)
returns payout.cashout_reservation
language c volatile parallel unsafe as 'MODULE_PATHNAME', 'payout_cashout_validate';
comment on function payout.do_cashout_validate(text, text, text, text) is 'work of payout.cashout_validate';

create function payout.cashout_confirm(cvs_code text, token text, cvs_reference text) returns payout.cashout_answer
language c volatile parallel unsafe as 'MODULE_PATHNAME', 'payout_entry';
comment on function payout.cashout_confirm(text, text, text) is
'a store says that the cash has left the till: the payout is paid, or disputed where its money was given back meanwhile; a repeat answers the same';

create function payout.do_cashout_confirm(p_cvs_code text, p_token text, p_cvs_reference text) returns payout.cashout_answer
language c volatile parallel unsafe as 'MODULE_PATHNAME', 'payout_cashout_confirm';
comment on function payout.do_cashout_confirm(text, text, text) is 'work of payout.cashout_confirm';

create function payout.cashout_reverse(cvs_code text, token text, cvs_reference text, reason text) returns payout.cashout_answer
language c volatile parallel unsafe as 'MODULE_PATHNAME', 'payout_entry';
comment on function payout.cashout_reverse(text, text, text, text) is
'a store takes its validation back: the token is free again, or expired; after a confirmation it opens a dispute. A repeat answers the same; one without an original is remembered, whatever the token is, and refuses the late original';

create function payout.do_cashout_reverse(p_cvs_code text, p_token text, p_cvs_reference text, p_reason text) returns payout.cashout_answer
language c volatile parallel unsafe as 'MODULE_PATHNAME', 'payout_cashout_reverse';
comment on function payout.do_cashout_reverse(text, text, text, text) is 'work of payout.cashout_reverse';

-- The store's word by its list (settlement.sql) goes the same way.
create function payout.confirm_payout(merchant_id text, txid text, token_no integer, cvs_code text, cvs_reference text, reason text) returns text
language c volatile strict parallel unsafe as 'MODULE_PATHNAME', 'payout_confirm_payout';
comment on function payout.confirm_payout(text, text, integer, text, text, text) is 'records that a store has handed over the cash, and moves the payout accordingly; the state that the store is told';

create function payout.reverse_payout(merchant_id text, txid text, token_no integer, cvs_code text, cvs_reference text, reason text) returns text
language c volatile strict parallel unsafe as 'MODULE_PATHNAME', 'payout_reverse_payout';
comment on function payout.reverse_payout(text, text, integer, text, text, text) is 'records that a store has not paid, and moves the payout accordingly; the state that the store is told';

create function payout.unlock_terminal(cvs_code text, terminal text default null) returns void
language c volatile parallel unsafe as 'MODULE_PATHNAME', 'payout_entry';
comment on function payout.unlock_terminal(text, text) is
'forgets the wrong tokens of a store''s terminal, and makes it one of the terminals that the store is known to have; without a terminal: forgets those that all terminals of the store share';

create function payout.do_unlock_terminal(p_cvs_code text, p_terminal text) returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
	perform payout.find_cvs(p_cvs_code), payout.require_text('terminal', coalesce(p_terminal, '-'), 1, 64, 'visible', 'PY016');
	if p_terminal is not null then
		insert into payout.known_terminal (cvs_code, terminal, role_name) values (p_cvs_code, p_terminal, '') on conflict do nothing;
	end if;
	perform payout.forget_tries(p_cvs_code, p_terminal);
	perform payout.add_admin_event('terminal', concat_ws('/', p_cvs_code, p_terminal), 'update', payout.caller(), session_user, '{}', '{"unlocked": true}');
end
$$;
comment on function payout.do_unlock_terminal(text, text) is 'work of payout.unlock_terminal';
