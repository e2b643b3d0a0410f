-- evidence.sql: what plain statements may not change, beside transfers, history, attempts and options, which say so themselves.
--
-- Triggers of columns are asked only by statements that name the columns: the worker's, which name others, do not pay for them. On
-- what the worker updates much they come after the row, as one before it would have each row locked first.

-- A batch is what was sent under its id; what the bank answered stays when it is closed.
create trigger refuse_frozen after update of channel_id, batch_id, service, source_account_no, transaction_date, created_at on payout.batch
	for each row execute function payout.refuse_change();
create trigger refuse_closed after update of bank_batch_no, response_code, closed_at on payout.batch for each row
	when (old.closed_at is not null and (old.bank_batch_no, old.response_code, old.closed_at) is distinct from (new.bank_batch_no, new.response_code, new.closed_at))
	execute function payout.refuse_change();
create trigger refuse_delete before delete on payout.batch for each row execute function payout.refuse_change();
create trigger refuse_truncate before truncate on payout.batch for each statement execute function payout.refuse_change();

-- What a token is does not change, and once another has taken its place it is over. Until when it is good is compared with the payout.
create trigger refuse_frozen before update on payout.cashout_token for each row
	when (old.replaced_at <> new.replaced_at or (old.replaced_at is not null and new.replaced_at is null)
		or (old.merchant_id, old.txid, old.token_no, old.digest, old.key_id, old.issued_at)
			is distinct from (new.merchant_id, new.txid, new.token_no, new.digest, new.key_id, new.issued_at))
	execute function payout.refuse_change();

-- What a store has said once it has said.
create trigger refuse_frozen before update on payout.redemption for each row
	when ((old.cvs_code, old.cvs_reference, old.merchant_id, old.txid, old.token_no) is distinct from (new.cvs_code, new.cvs_reference, new.merchant_id, new.txid, new.token_no)
		or (old.terminal, old.reserved_at, old.reserved_until) is distinct from (coalesce(new.terminal, old.terminal), new.reserved_at, new.reserved_until)
		or (old.confirmed_at is not null and (old.confirmed_at, old.confirm_state) is distinct from (new.confirmed_at, new.confirm_state))
		or (old.reversed_at is not null and (old.reversed_at, old.reverse_state, old.reverse_reason) is distinct from (new.reversed_at, new.reverse_state, new.reverse_reason)))
	execute function payout.refuse_change();

-- Merchants are told what happened, and of each thing that they were to be told of.
create trigger refuse_frozen after update of merchant_id, txid, event_no, created_at, event, state, fee, account_check, bank_reference_no, cvs_code, cvs_reference,
	response_code, reason on payout.notification for each row execute function payout.refuse_change();
create trigger refuse_delete before delete on payout.notification for each row execute function payout.refuse_change();

-- The signature of a notice is remembered for as long as it may come again, see payout.remember_notice.
create trigger refuse_delete before delete on payout.notice for each row when (old.day >= payout.jakarta_day(clock_timestamp()) - 90) execute function payout.refuse_change();
create trigger refuse_truncate before truncate on payout.notice for each statement execute function payout.refuse_change();

create trigger refuse_frozen before update of incarnation_id, pid, started_at, installation_id, place, timeline_id on payout.incarnation for each row execute function payout.refuse_change();
create trigger refuse_delete before delete on payout.incarnation for each row execute function payout.refuse_change();
create trigger refuse_truncate before truncate on payout.incarnation for each statement execute function payout.refuse_change();

do $$
declare
	t record;
begin
	for t in
		select format('payout.%I', c.relname) as relation, r.tgname from pg_catalog.pg_trigger r join pg_catalog.pg_class c on c.oid = r.tgrelid
		where c.relnamespace = 'payout'::regnamespace and c.relname in ('batch', 'cashout_token', 'redemption', 'notification', 'notice', 'incarnation')
		and r.tgname in ('refuse_frozen', 'refuse_closed', 'refuse_delete', 'refuse_truncate')
	loop
		execute format('alter table %s enable always trigger %I', t.relation, t.tgname);
	end loop;
end
$$;
