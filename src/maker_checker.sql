-- maker_checker.sql: who may approve, for merchants whose options restrict it: another role than the one that registered,
-- two roles above an amount, and for each role no more than so much on a day.
--
-- The trigger of payout.payout (move.c) asks record_approval for each approval of such a merchant, by whatever statement,
-- and for no other merchant; it hands over the newest options, whatever the transaction's snapshot. An approval that
-- another must follow changes payout.approvals and no state, and the trigger writes the event approval.given. Roles are
-- those of the history (payout.caller()): the owner and superusers are roles as any other.

create table payout.payout_approval (
	merchant_id text collate "C" not null,
	txid text collate "C" not null,
	event_no integer not null,
	role_name text not null,
	needed integer not null,
	differs boolean not null,
	day date,
	primary key (merchant_id, txid, event_no)
);
comment on table payout.payout_approval is 'every approval for a merchant whose options restrict them, with what they asked for then; rows are never changed';
comment on column payout.payout_approval.event_no is 'the history row of the approval';
comment on column payout.payout_approval.needed is 'how many roles had to approve: 1 or 2';
comment on column payout.payout_approval.differs is 'whether the role that registered was excluded';
comment on column payout.payout_approval.day is 'the day whose total it counts to; null where the role had no ceiling, or its earlier approval of this payout counts';

create trigger refuse_change before update or delete on payout.payout_approval for each row execute function payout.refuse_change();
create trigger refuse_truncate before truncate on payout.payout_approval for each statement execute function payout.refuse_change();
alter table payout.payout_approval enable always trigger refuse_change;
alter table payout.payout_approval enable always trigger refuse_truncate;

-- A row is locked from an approval to the end of its transaction, so that sessions of one role cannot pass the ceiling
-- together; the lock on the payout comes first, everywhere.
create table payout.approver_day (
	merchant_id text collate "C" not null,
	role_name text not null,
	day date not null,
	total numeric(18,2) not null,
	primary key (merchant_id, role_name, day)
);
comment on table payout.approver_day is 'what each role has approved on a Jakarta day, while the merchant has the option approver_daily_max';

create trigger refuse_delete before delete on payout.approver_day for each row execute function payout.refuse_change();
create trigger refuse_truncate before truncate on payout.approver_day for each statement execute function payout.refuse_change();
alter table payout.approver_day enable always trigger refuse_delete;
alter table payout.approver_day enable always trigger refuse_truncate;

create function payout.registered_by(p_merchant_id text, p_txid text) returns text
language plpgsql stable
set search_path = pg_catalog, pg_temp
as $$
begin
	return (select e.role_name from payout.payout_event e
			where e.merchant_id = p_merchant_id and e.txid = p_txid and e.event_no = 1);
end
$$;
comment on function payout.registered_by(text, text) is 'the role that registered the payout';

create function payout.require_other_role(p_merchant_id text, p_txid text, p_options jsonb) returns void
language plpgsql stable
set search_path = pg_catalog, pg_temp
as $$
begin
	if (p_options -> 'approver_differs')::boolean and payout.registered_by(p_merchant_id, p_txid) = payout.caller() then
		raise exception 'role "%" has registered this payout and so may not approve it', payout.caller()
			using errcode = 'PY013', detail = format('TXID %s.', p_txid),
				hint = 'Another role of the merchant has to: its option approver_differs says so.';
	end if;
end
$$;
comment on function payout.require_other_role(text, text, jsonb) is 'raises PY013 when the caller has registered the payout and the merchant wants another role to approve it';

create function payout.approvals_needed(p_options jsonb, p_amount numeric) returns integer
language plpgsql immutable
set search_path = pg_catalog, pg_temp
as $$
begin
	return case when p_amount > (p_options ->> 'second_approval_above')::numeric then 2 else 1 end;
end
$$;
comment on function payout.approvals_needed(jsonb, numeric) is 'how many roles have to approve a payout of this amount';

-- Earlier approvals of the caller itself, or of the role that registered if it is excluded by now, do not help.
create function payout.is_last_approval(p_merchant_id text, p_txid text, p_amount numeric, p_options jsonb) returns boolean
language plpgsql stable
set search_path = pg_catalog, pg_temp
as $$
declare
	needed integer := payout.approvals_needed(p_options, p_amount);
	excluded text := case when (p_options -> 'approver_differs')::boolean then payout.registered_by(p_merchant_id, p_txid) end;
begin
	return needed = 1 or needed <= 1 + (select count(distinct a.role_name) from payout.payout_approval a
		where a.merchant_id = p_merchant_id and a.txid = p_txid and a.role_name <> payout.caller()
		and a.role_name is distinct from excluded);
end
$$;
comment on function payout.is_last_approval(text, text, numeric, jsonb) is 'whether nothing is missing once the caller approves, too';

create function payout.record_approval(p payout.payout, p_options jsonb) returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
	counted_day date;
begin
	perform payout.require_other_role(p.merchant_id, p.txid, p_options);
	if p.state <> 'registered' and not payout.is_last_approval(p.merchant_id, p.txid, p.amount, p_options) then
		raise exception 'another role has to approve the payout as well'
			using errcode = 'PY013', detail = format('TXID %s.', p.txid), hint = 'payout.approve records the approval of the first.';
	end if;
	if p_options ? 'approver_daily_max' then
		counted_day := payout.count_approval(p, (p_options ->> 'approver_daily_max')::numeric);
	end if;
	insert into payout.payout_approval (merchant_id, txid, event_no, role_name, needed, differs, day)
	values (p.merchant_id, p.txid, p.events + 1, payout.caller(), payout.approvals_needed(p_options, p.amount),
		coalesce((p_options -> 'approver_differs')::boolean, false), counted_day);
end
$$;
comment on function payout.record_approval(payout.payout, jsonb) is 'trigger move: an approval of the payout, which gets the new state, under the merchant''s newest options; PY013, or PY007 when the role''s day is full';

create function payout.count_approval(p payout.payout, p_daily_max numeric) returns date
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
	today date := payout.jakarta_day(clock_timestamp());
begin
	if exists (select from payout.payout_approval a where a.merchant_id = p.merchant_id and a.txid = p.txid
			   and a.role_name = payout.caller() and a.day is not null) then
		return null;
	end if;
	insert into payout.approver_day as d (merchant_id, role_name, day, total)
	select p.merchant_id, payout.caller(), today, p.amount where p.amount <= p_daily_max
	on conflict (merchant_id, role_name, day) do update set total = d.total + excluded.total
	where d.total + excluded.total <= p_daily_max;
	if not found then
		raise exception 'what role "%" may approve on a day would be passed', payout.caller()
			using errcode = 'PY007', detail = format('TXID %s.', p.txid),
				hint = 'The bound is the merchant''s option approver_daily_max; the day is Jakarta''s.';
	end if;
	return today;
end
$$;
comment on function payout.count_approval(payout.payout, numeric) is 'adds the payout to what its approver has approved today, or raises PY007; the day, or null when it was counted before';

-- The caller has locked the payout. A repeat changes nothing.
create function payout.give_approval(p payout.payout) returns payout.approval
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
	if not exists (select from payout.payout_approval a where a.merchant_id = p.merchant_id and a.txid = p.txid
				   and a.role_name = payout.caller()) then
		update payout.payout u set approvals = coalesce(u.approvals, 0) + 1
		where u.merchant_id = p.merchant_id and u.txid = p.txid;
	end if;
	return row(p.txid, p.state, null, null)::payout.approval;
end
$$;
comment on function payout.give_approval(payout.payout) is 'an approval that another role''s must follow: nothing moves, the payout stays registered';
