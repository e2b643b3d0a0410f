-- views.sql: what merchants and analysts read instead of tables: stable column names, no secrets, account and phone
-- numbers masked.
--
-- The views have their owner's rights on the tables; who reads which rows is decided inside, by C functions that
-- look at the reader and payout.access_grant. security_barrier keeps a reader's own functions behind that decision.
--
-- What merchants read has two branches: all rows for who reads all merchants, or those of the reader's own merchants. Both
-- questions are asked once in each execution, none of each row, so the second branch is read by index whatever else there is.

create function payout.may_read_all() returns boolean
language c stable parallel safe as 'MODULE_PATHNAME', 'payout_may_read_all';
comment on function payout.may_read_all() is 'whether the reader may see what concerns all merchants: analysts, operators, the owner';

create function payout.readable_merchants() returns text[]
language c stable parallel safe as 'MODULE_PATHNAME', 'payout_readable_merchants';
comment on function payout.readable_merchants() is 'the merchants that the reader acts for, whose rows it may see';

-- What a bank says of an account may name it.
create function payout.masked_digits(value text) returns text
language plpgsql immutable parallel safe
set search_path = pg_catalog, pg_temp
as $$
begin
	return regexp_replace(value collate "C", '[0-9]{4,}([0-9]{4})(?![0-9])', E'****\\1', 'g');
end
$$;
comment on function payout.masked_digits(text) is 'the value with runs of eight and more digits hidden but for their last four';

create view payout.v_payout with (security_barrier) as
select p.merchant_id, p.txid, p.reference_no, p.kind, p.method, p.state, p.amount, p.fee, p.currency, p.channel_id,
	p.bank_code, payout.masked(p.account_no) as account_no, p.beneficiary_name,
	payout.masked(p.beneficiary_phone) as beneficiary_phone, p.description, p.account_check, p.account_name, p.batch_id,
	p.bank_reference_no, p.response_code, payout.masked_digits(p.reason) as reason, p.scheduled_at, p.registered_at, p.approvals, p.approved_at,
	p.status_checked_at, p.final_at, p.cvs_code, p.cvs_reference, p.doubted_at
from (
	select q.* from payout.payout q where payout.may_read_all()
	union all
	select q.* from payout.payout q
	where not payout.may_read_all() and q.merchant_id = any ((select payout.readable_merchants())::text[])) p;
comment on view payout.v_payout is 'payouts as they stand; a merchant sees its own';
comment on column payout.v_payout.merchant_id is 'whose payout it is';
comment on column payout.v_payout.txid is 'the id of the payout, 30 characters';
comment on column payout.v_payout.reference_no is 'the merchant''s own id of the payout';
comment on column payout.v_payout.kind is 'disbursement or cashout';
comment on column payout.v_payout.method is 'how it is paid: online, overbooking or cashout';
comment on column payout.v_payout.state is 'where it stands, see payout.allowed_move';
comment on column payout.v_payout.amount is 'what the beneficiary gets';
comment on column payout.v_payout.fee is 'what the merchant paid on top, fixed when the money was deducted';
comment on column payout.v_payout.currency is 'currency of amount and fee';
comment on column payout.v_payout.channel_id is 'the connection it goes through';
comment on column payout.v_payout.bank_code is 'the destination bank';
comment on column payout.v_payout.account_no is 'the destination account, all but its last four characters hidden';
comment on column payout.v_payout.beneficiary_name is 'the beneficiary''s name as registered';
comment on column payout.v_payout.beneficiary_phone is 'the beneficiary''s phone number, all but its last four characters hidden';
comment on column payout.v_payout.description is 'the merchant''s text for the beneficiary';
comment on column payout.v_payout.account_check is 'what the bank said of the account: pending, matched, name_differs, unreadable, invalid or unavailable';
comment on column payout.v_payout.account_name is 'the holder''s name as the bank gave it';
comment on column payout.v_payout.batch_id is 'the batch that carries it, see v_batch';
comment on column payout.v_payout.bank_reference_no is 'the bank''s own id of the transfer';
comment on column payout.v_payout.response_code is 'the bank''s latest response code';
comment on column payout.v_payout.reason is 'why it came to its present state';
comment on column payout.v_payout.scheduled_at is 'when it is to be paid; null for at once';
comment on column payout.v_payout.registered_at is 'when it was registered';
comment on column payout.v_payout.approvals is 'approvals given so far, where the merchant restricts them; registered with one: another role has to approve as well';
comment on column payout.v_payout.approved_at is 'when it was approved and its money deducted';
comment on column payout.v_payout.status_checked_at is 'when the bank last told its status';
comment on column payout.v_payout.final_at is 'when it came to its end; null before, and while disputed';
comment on column payout.v_payout.cvs_code is 'the store that has reserved its token, or paid';
comment on column payout.v_payout.cvs_reference is 'that store''s own id of it';
comment on column payout.v_payout.doubted_at is 'since when the bank contradicts its end without having disproved it; it is asked';

-- Rows come in the order of their moments. The balance after each is counted here, from the transfers alone, so that
-- a statement is evidence of its own; payout.verify() compares its end with what is kept.
create view payout.v_statement with (security_barrier) as
select t.merchant_id, t.at, t.transfer_id, t.kind, t.txid, coalesce(t.reference_no, p.reference_no) as reference_no,
	t.signed_amount as amount, t.currency,
	sum(t.signed_amount) over (partition by t.merchant_id order by t.at, t.transfer_id rows unbounded preceding) as balance_after
from (
	select q.merchant_id, q.at, q.transfer_id, q.kind, q.txid, q.reference_no, q.currency,
		case when q.credit_account = 'available' then q.amount else -q.amount end as signed_amount
	from (
		select r.* from payout.transfer r where payout.may_read_all()
		union all
		select r.* from payout.transfer r
		where not payout.may_read_all() and r.merchant_id = any ((select payout.readable_merchants())::text[])) q
	where 'available' in (q.debit_account, q.credit_account)) t
left join payout.payout p on p.merchant_id = t.merchant_id and p.txid = t.txid;
comment on view payout.v_statement is 'each movement of a merchant''s available balance, with the balance after it; a merchant sees its own';
comment on column payout.v_statement.merchant_id is 'whose balance it is';
comment on column payout.v_statement.at is 'when the movement was written';
comment on column payout.v_statement.transfer_id is 'the id of the ledger''s row';
comment on column payout.v_statement.kind is 'top_up, withdraw, deduct, fee, refund, fee_refund or return';
comment on column payout.v_statement.txid is 'the payout that it belongs to; null for top-ups and withdrawals';
comment on column payout.v_statement.reference_no is 'the merchant''s own id of the payout, or the reference of the top-up or withdrawal';
comment on column payout.v_statement.amount is 'what was added (positive) or taken (negative)';
comment on column payout.v_statement.currency is 'currency of amount and balance_after';
comment on column payout.v_statement.balance_after is 'the sum of this and all earlier movements of the merchant';

create view payout.v_batch with (security_barrier) as
select b.channel_id, b.batch_id, b.service, b.state, b.parent_batch_id, b.bank_batch_no,
	payout.masked(b.source_account_no) as source_account_no, b.item_count, b.total, m.members, m.dispatching, m.processing, m.suspect,
	m.paid, m.failed, m.returned, m.disputed, b.transaction_date, b.created_at, b.due_at, b.sent_at, b.closed_at, b.was_unknown,
	coalesce(a.attempts, 0) as attempts, l.finished_at as last_finished_at, l.outcome as last_outcome,
	l.http_status as last_http_status, l.response_code as last_response_code, payout.masked_digits(l.excerpt) as last_excerpt, l.latency_ms as last_latency_ms
from payout.batch b
cross join lateral (
	select count(*) as members,
		count(*) filter (where p.state = 'dispatching') as dispatching, count(*) filter (where p.state = 'processing') as processing,
		count(*) filter (where p.state = 'suspect') as suspect, count(*) filter (where p.state = 'paid') as paid,
		count(*) filter (where p.state = 'failed') as failed, count(*) filter (where p.state = 'returned') as returned,
		count(*) filter (where p.state = 'disputed') as disputed
	from payout.payout p where p.channel_id = b.channel_id and p.batch_id = b.batch_id) m
cross join lateral (
	select count(*) as attempts from payout.attempt q where q.channel_id = b.channel_id and q.batch_id = b.batch_id) a
left join lateral (
	select q.finished_at, q.outcome, q.http_status, q.response_code, q.excerpt, q.latency_ms
	from payout.attempt q where q.channel_id = b.channel_id and q.batch_id = b.batch_id and q.outcome is not null
	order by q.started_at desc limit 1) l on true
where payout.may_read_all();
comment on view payout.v_batch is 'what was sent to channels together, and what became of it';
comment on column payout.v_batch.channel_id is 'the connection it goes through';
comment on column payout.v_batch.batch_id is 'the id of the batch, the partnerBulkId of a bulk transfer';
comment on column payout.v_batch.service is 'SNAP service: 17 and 18 carry one payout, 20 many';
comment on column payout.v_batch.state is 'open, sending, accepted, refused, split or unknown';
comment on column payout.v_batch.parent_batch_id is 'the batch that was refused whole and split into this one';
comment on column payout.v_batch.bank_batch_no is 'the bank''s own id of a bulk transfer';
comment on column payout.v_batch.source_account_no is 'our account that is debited, all but its last four characters hidden';
comment on column payout.v_batch.item_count is 'members as sent';
comment on column payout.v_batch.total is 'sum of the members'' amounts as sent';
comment on column payout.v_batch.members is 'payouts that it carries now: fewer than item_count once it was split';
comment on column payout.v_batch.dispatching is 'members on their way to the bank';
comment on column payout.v_batch.processing is 'members that the bank accepted';
comment on column payout.v_batch.suspect is 'members of which nobody knows what became';
comment on column payout.v_batch.paid is 'members that were paid';
comment on column payout.v_batch.failed is 'members that were not paid and given back to their merchants';
comment on column payout.v_batch.returned is 'members that were paid and came back';
comment on column payout.v_batch.disputed is 'members of which the bank said one thing and then the contrary';
comment on column payout.v_batch.transaction_date is 'the date in the order, the same in every sending';
comment on column payout.v_batch.created_at is 'when its members were chosen';
comment on column payout.v_batch.due_at is 'when it is to be sent next; null when it is not';
comment on column payout.v_batch.sent_at is 'when it was last sent';
comment on column payout.v_batch.closed_at is 'when it was accepted, refused or split';
comment on column payout.v_batch.was_unknown is 'whether an earlier sending may have arrived';
comment on column payout.v_batch.attempts is 'how often it was sent, one under way included';
comment on column payout.v_batch.last_finished_at is 'when the latest finished attempt ended';
comment on column payout.v_batch.last_outcome is 'its outcome: not_sent, yes, no, refused_for_now or unknown';
comment on column payout.v_batch.last_http_status is 'its HTTP status; null when there was no answer';
comment on column payout.v_batch.last_response_code is 'the bank''s response code in it';
comment on column payout.v_batch.last_excerpt is 'the beginning of what went wrong in it';
comment on column payout.v_batch.last_latency_ms is 'how long it took, in milliseconds';

create view payout.v_daily with (security_barrier) as
select payout.jakarta_day(p.registered_at) as day, p.merchant_id, p.kind, p.channel_id, p.cvs_code, p.state, p.currency, count(*) as payouts,
	sum(p.amount) as amount, sum(p.fee) as fee,
	percentile_cont(0.5) within group (order by extract(epoch from p.final_at - coalesce(p.approved_at, p.registered_at))::double precision)
		as to_final_median_s,
	percentile_cont(0.95) within group (order by extract(epoch from p.final_at - coalesce(p.approved_at, p.registered_at))::double precision)
		as to_final_p95_s
from payout.payout p
where payout.may_read_all()
group by 1, p.merchant_id, p.kind, p.channel_id, p.cvs_code, p.state, p.currency;
comment on view payout.v_daily is 'payouts registered on each Jakarta day: number, sums and times, by merchant, kind, channel or store, and present state';
comment on column payout.v_daily.day is 'the Jakarta day of registration';
comment on column payout.v_daily.merchant_id is 'whose payouts they are';
comment on column payout.v_daily.kind is 'disbursement or cashout';
comment on column payout.v_daily.channel_id is 'the connection that they go through';
comment on column payout.v_daily.cvs_code is 'the store that paid cash, or is about to';
comment on column payout.v_daily.state is 'where they stand now';
comment on column payout.v_daily.currency is 'currency of amount and fee';
comment on column payout.v_daily.payouts is 'how many';
comment on column payout.v_daily.amount is 'sum of the amounts';
comment on column payout.v_daily.fee is 'sum of the fees';
comment on column payout.v_daily.to_final_median_s is
'median of the seconds from approval (without one: registration) to the end, the wait for a schedule included; null while none is at its end';
comment on column payout.v_daily.to_final_p95_s is 'the same for 95 of 100';

create view payout.v_hold with (security_barrier) as
select h.merchant_id, h.txid, h.lane, payout.masked_digits(h.reason) as reason, h.at
from payout.hold h
where payout.may_read_all();
comment on view payout.v_hold is 'payouts that are set aside for a person; payout.resolve decides them or lets them go on';
comment on column payout.v_hold.merchant_id is 'whose payout it is';
comment on column payout.v_hold.txid is 'the id of the payout, see v_payout';
comment on column payout.v_hold.lane is 'where it stopped: validate, dispatch, check or expire';
comment on column payout.v_hold.reason is 'why';
comment on column payout.v_hold.at is 'since when';

create view payout.v_chain with (security_barrier) as
select s.merchant_id, s.link_no, s.linked_at, s.until, s.events, s.transfers, encode(s.head, 'hex') as head
from payout.chain_link s
where payout.may_read_all()
union all
select null, s.link_no, s.linked_at, s.until, s.events, 0, encode(s.head, 'hex')
from payout.admin_link s
where payout.may_read_all();
comment on view payout.v_chain is 'heads of the chains of history and transfers, and of what operators changed; noted elsewhere, they prove that nothing older was changed';
comment on column payout.v_chain.merchant_id is 'whose rows they are; null: what operators changed (v_admin_event)';
comment on column payout.v_chain.link_no is 'counts from 1 in each chain';
comment on column payout.v_chain.linked_at is 'when they were chained';
comment on column payout.v_chain.until is 'what was written before this moment, and not in the link before, is in this one';
comment on column payout.v_chain.events is 'how many history rows it holds, or rows of v_admin_event';
comment on column payout.v_chain.transfers is 'how many transfers it holds';
comment on column payout.v_chain.head is 'the head after it, SHA-256 in hex';

-- Our account at a bank is shown as in v_batch; a reason may name accounts.
create function payout.shown_values(value jsonb) returns jsonb
language plpgsql immutable
set search_path = pg_catalog, pg_temp
as $$
begin
	return (select coalesce(jsonb_object_agg(v.key, case
			when v.key = 'options.source_account_no' then to_jsonb(payout.masked(v.value #>> '{}'))
			when v.key = 'sealed' then '"****"'
			when jsonb_typeof(v.value) = 'string' then to_jsonb(payout.masked_digits(v.value #>> '{}'))
			else v.value end), '{}')
		from jsonb_each(value) v);
end
$$;
comment on function payout.shown_values(jsonb) is 'values of payout.admin_event with account numbers hidden but for their last four characters, and without what stands for a secret';

create view payout.v_admin_event with (security_barrier) as
select e.at, e.relation, e.object, e.event_no, e.action, e.role_name, e.session_role, payout.shown_values(e.old_values) as old_values,
	payout.shown_values(e.new_values) as new_values
from payout.admin_event e
where payout.may_read_all();
comment on view payout.v_admin_event is 'who changed which option, grant, limit, secret, pause, arming or retry policy, from what to what';
comment on column payout.v_admin_event.at is 'when, by the server''s clock';
comment on column payout.v_admin_event.relation is 'the table in which it stands';
comment on column payout.v_admin_event.object is 'which row: the id of the merchant, channel, bank or store, for a secret with its name and number; of a grant its grant_id';
comment on column payout.v_admin_event.event_no is 'counts from 1 for each row';
comment on column payout.v_admin_event.action is 'insert, update, delete, or confirm: payout.grant_access was repeated for a grant that stood otherwise here';
comment on column payout.v_admin_event.role_name is 'the role that called, or changed the table by a statement of its own';
comment on column payout.v_admin_event.session_role is 'the role that had logged in; null where the worker acted';
comment on column payout.v_admin_event.old_values is 'what it was: the columns that changed, options by options.NAME; of a deleted row all of them';
comment on column payout.v_admin_event.new_values is 'what it is; of a new row all columns';
