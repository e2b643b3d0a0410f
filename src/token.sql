-- token.sql: steps 9 and 10 of a cashout: tokens, issued at approval and again when lost.
--
-- The database holds digests (token.c says of what); the digits leave it once, in the answer that issues them. At each
-- moment a payout has at most one token that is not replaced.

create function payout.token_key_id() returns bytea
language c volatile parallel restricted as 'MODULE_PATHNAME', 'payout_token_key_id';
comment on function payout.token_key_id() is 'the id of the key that payout.token_digest uses; PY015 without payout.secret_file';

create table payout.cashout_token (
	merchant_id text collate "C" not null,
	txid text collate "C" not null,
	token_no integer not null check (token_no > 0),
	digest bytea not null check (length(digest) = 32),
	key_id bytea not null default payout.token_key_id(),
	issued_at timestamptz not null default clock_timestamp(),
	valid_until timestamptz not null,
	replaced_at timestamptz,
	primary key (merchant_id, txid, token_no)
);
comment on table payout.cashout_token is 'every token that was issued, by its digest';
comment on column payout.cashout_token.digest is 'HMAC-SHA256 of the digits; unique in the whole database, for ever';
comment on column payout.cashout_token.key_id is 'which key the digest is made with';
comment on column payout.cashout_token.replaced_at is 'when another token took its place';

create unique index cashout_token_digest on payout.cashout_token (digest);
create unique index cashout_token_current on payout.cashout_token (merchant_id, txid) where replaced_at is null;

create trigger refuse_delete before delete on payout.cashout_token for each row execute function payout.refuse_change();
create trigger refuse_truncate before truncate on payout.cashout_token for each statement execute function payout.refuse_change();

create function payout.generate_token(merchant_id text) returns text
language c volatile strict parallel restricted as 'MODULE_PATHNAME', 'payout_generate_token';
comment on function payout.generate_token(text) is 'payout.token_digits digits: the merchant''s slot, random ones, a check digit';

create function payout.token_digest(token text) returns bytea
language c volatile parallel restricted as 'MODULE_PATHNAME', 'payout_token_digest';
comment on function payout.token_digest(text) is 'the digest of a token, blanks, dashes and line ends ignored; null when it is not written as a token is, PY015 without payout.secret_file';

create function payout.token_digest_old(token text) returns bytea
language c volatile parallel restricted as 'MODULE_PATHNAME', 'payout_token_digest_old';
comment on function payout.token_digest_old(text) is 'the same with payout.secret_file_old, for tokens issued before a rotation; null where that is not set or not usable';

create function payout.token_matches(stored bytea, presented bytea) returns boolean
language c immutable strict parallel safe as 'MODULE_PATHNAME', 'payout_token_matches';
comment on function payout.token_matches(bytea, bytea) is 'whether two digests are the same, compared in constant time';

create function payout.forget_tries(cvs_code text, terminal text) returns void
language c volatile parallel unsafe as 'MODULE_PATHNAME', 'payout_forget_tries';
comment on function payout.forget_tries(text, text) is 'unlocks a terminal, or with null what the terminals of a store share; the one place where a lock is taken away';

create function payout.token_locks(out terminals integer, out stores integer)
language c volatile parallel unsafe as 'MODULE_PATHNAME', 'payout_token_locks';
comment on function payout.token_locks() is 'how many terminals are locked now in this database, and how many of what the terminals of a store share';

create function payout.require_armed() returns void
language c volatile parallel unsafe as 'MODULE_PATHNAME', 'payout_require_armed';
comment on function payout.require_armed() is 'raises PY015 where the database is not armed, or the one that it is a copy of is in use: a copy issues and validates no token';

create function payout.token_valid_until(p_merchant_id text, p_txid text) returns timestamptz
language plpgsql stable
set search_path = pg_catalog, pg_temp
as $$
begin
	return (select t.valid_until from payout.cashout_token t
			where t.merchant_id = p_merchant_id and t.txid = p_txid and t.replaced_at is null);
end
$$;
comment on function payout.token_valid_until(text, text) is 'until when a payout''s token can be redeemed; null without one';

-- Issues the payout's next token; the one before is dead from here. The caller has locked the payout.
create function payout.issue_token(p payout.payout, p_valid_until timestamptz) returns text
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
	token text;
	token_digest bytea;
	old_digest bytea;
	next_no integer;
begin
	perform payout.require_armed(), payout.refuse_unasked(p, 'given a token');
	update payout.cashout_token t set replaced_at = clock_timestamp()
	where t.merchant_id = p.merchant_id and t.txid = p.txid and t.replaced_at is null;
	select coalesce(max(t.token_no), 0) + 1 into next_no from payout.cashout_token t
	where t.merchant_id = p.merchant_id and t.txid = p.txid;
	-- Somebody else may hold or have held the same digits: then others are drawn.
	for draw in 1..100 loop
		token := payout.generate_token(p.merchant_id);
		token_digest := payout.token_digest(token);		-- by itself, so that the digits are in no plan
		old_digest := payout.token_digest_old(token);
		insert into payout.cashout_token (merchant_id, txid, token_no, digest, valid_until)
		select p.merchant_id, p.txid, next_no, token_digest, p_valid_until
		where not exists (select from payout.cashout_token t where t.digest = old_digest)
		on conflict (digest) do nothing;
		if found then
			return token;
		end if;
	end loop;
	raise exception 'no free token was found'
		using errcode = 'program_limit_exceeded', hint = 'Raise payout.token_digits.';
end
$$;
comment on function payout.issue_token(payout.payout, timestamptz) is 'a new token of the payout, replacing the one before; PY015 where the database is not armed';

create function payout.issue_first_token(p payout.payout) returns payout.approval
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
	valid_until timestamptz := payout.clock() + payout.setting_interval('token_ttl');
	token text;
begin
	if payout.money_position(p.merchant_id, p.txid) <> 'in_transit' then
		raise exception 'the charge of the payout is missing'
			using errcode = 'PY001', detail = format('TXID %s.', p.txid), hint = 'payout.verify() names what is out of order.';
	end if;
	token := payout.issue_token(p, valid_until);
	update payout.payout u set state = 'token_issued', approved_at = clock_timestamp(), expire_due_at = valid_until
	where u.merchant_id = p.merchant_id and u.txid = p.txid
	returning * into p;
	return row(p.txid, p.state, token, valid_until)::payout.approval;
end
$$;
comment on function payout.issue_first_token(payout.payout) is 'approval of a cashout: checks the charge, issues the token';

-- Who asks for a token anew may do what an approval may: a token is the money.
create function payout.require_may_issue(p payout.payout) returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
	merchant payout.merchant := payout.merchant_now(p.merchant_id);
begin
	if not merchant.active then
		raise exception 'merchant "%" is not active', p.merchant_id
			using errcode = 'PY005', hint = 'payout.alter_merchant activates it.';
	end if;
	perform payout.require_other_role(p.merchant_id, p.txid, merchant.options);
end
$$;
comment on function payout.require_may_issue(payout.payout) is 'raises PY005 or PY013 where the newest committed state lets the caller have no token of this payout';

create function payout.reissue_token(merchant_id text, txid text) returns payout.approval
language c volatile parallel unsafe as 'MODULE_PATHNAME', 'payout_entry';
comment on function payout.reissue_token(text, text) is 'a new token with a new time for a cashout whose token was lost; the old token dies. Only before a store has validated it; by roles that may approve it';

create function payout.do_reissue_token(p_merchant_id text, p_txid text) returns payout.approval
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
	p payout.payout := payout.find_payout(p_merchant_id, p_txid, true);
	started timestamptz := payout.clock();
	valid_until timestamptz := started + payout.setting_interval('token_ttl');
	token text;
begin
	if p.state <> 'token_issued' then
		raise exception 'the payout has no token that waits for a store'
			using errcode = 'PY004', detail = format('TXID %s is %s.', p.txid, p.state), hint = 'payout.approve issues the first token of a cashout.';
	elsif p.expire_due_at <= started then
		raise exception 'the token has expired'
			using errcode = 'PY011', detail = format('TXID %s.', p.txid), hint = 'The money goes back to the balance; register the cashout again.';
	end if;
	perform payout.require_may_issue(p);
	token := payout.issue_token(p, valid_until);
	update payout.payout u set expire_due_at = valid_until
	where u.merchant_id = p_merchant_id and u.txid = p_txid
	returning * into p;
	p := payout.add_event(p, 'token issued again');
	return row(p.txid, p.state, token, valid_until)::payout.approval;
end
$$;
comment on function payout.do_reissue_token(text, text) is 'work of payout.reissue_token';
