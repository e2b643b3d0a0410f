-- verify.sql: payout.verify(), the auditor: recomputes from the records what every invariant says, and answers with
-- each row that breaks one. Empty means sound.
--
-- One query for each invariant, under the name that check_name gives. Nothing is written and nothing is locked. All
-- functions but verify_escrow are stable, so that one call sees one snapshot: work that goes on meanwhile is no violation.
-- What is counted of rows is grouped first and then joined, and nothing is looked up by an index for each row (do_verify): all
-- rows are read anyway, and statistics of yesterday can choose an index that fits a thousand of them each time. A loop that has
-- no other plan looks very dear then, and would be compiled first each time it is run: so nothing is compiled.

-- Balances: what is kept equals what the transfers say.
create function payout.verify_balance() returns setof payout.violation
language sql stable
set search_path = pg_catalog, pg_temp
begin atomic
	with available as (
		select t.merchant_id, sum(case when t.credit_account = 'available' then t.amount else -t.amount end) as amount
		from payout.transfer t where 'available' in (t.debit_account, t.credit_account)
		group by t.merchant_id),
	-- Folded and not yet folded.
	current as (
		select b.merchant_id, c.* from payout.balance b, lateral payout.current_balance(b.merchant_id) c),
	-- A deduction counts to the day on which it was taken from the balance; its transfer was written shortly before,
	-- at midnight perhaps on the day before.
	deducted as (
		select c.merchant_id, c.day, c.day_total,
			coalesce(sum(t.amount) filter (where t.at >= c.day::timestamp at time zone interval '+07:00'), 0) as least_total,
			coalesce(sum(t.amount), 0) as most_total
		from current c
		left join payout.transfer t on t.merchant_id = c.merchant_id and t.kind = 'deduct'
		and t.at >= c.day::timestamp at time zone interval '+07:00' - interval '10 min'
		group by c.merchant_id, c.day, c.day_total)
	select 'balance_is_sum', c.merchant_id, null::text, format('available is %s, the transfers say %s', c.available, coalesce(a.amount, 0))
	from current c left join available a on a.merchant_id = c.merchant_id
	where c.available <> coalesce(a.amount, 0)
	union all
	select 'balance_not_negative', c.merchant_id, null, format('available is %s', c.available)
	from current c where c.available < 0
	union all
	select 'balance_day_total', d.merchant_id, null, format('day_total of %s is %s, the transfers say %s', d.day, d.day_total, d.least_total)
	from deducted d where d.day_total not between d.least_total and d.most_total
	union all
	select 'balance_of_merchant', coalesce(b.merchant_id, m.merchant_id), null,
		case when m.merchant_id is null then 'a balance without its merchant' else 'a merchant without its balance' end
	from payout.balance b full join payout.merchant m on m.merchant_id = b.merchant_id
	where b.merchant_id is null or m.merchant_id is null
	union all
	select 'transfer_of_merchant', a.merchant_id, null, 'transfers without their balance'
	from available a where not exists (select from payout.balance b where b.merchant_id = a.merchant_id)
	union all
	select 'delta_of_merchant', d.merchant_id, null, 'changes of a balance that is not there'
	from payout.balance_delta d where not exists (select from payout.balance b where b.merchant_id = d.merchant_id);
end;
comment on function payout.verify_balance() is 'verify: balances equal their transfers';

-- The count in shared memory equals the tables, for merchants of which nothing is in progress: read before the tables,
-- and unchanged after. (In REPEATABLE READ the tables are not read as they are now, so nothing can be said.)
create function payout.verify_escrow() returns setof payout.violation
language plpgsql volatile
set search_path = pg_catalog, pg_temp
as $$
declare
	slots jsonb;
begin
	if current_setting('transaction_isolation') <> 'read committed' then
		return;
	end if;
	select jsonb_agg(e) into slots from payout.escrow() e where e.pins = 0;
	return query
	select 'escrow_is_balance', s.merchant_id, null::text,
		format('%s and %s on %s in shared memory, the tables say %s and %s on %s', round(s.available / 100.0, 2), round(s.day_total / 100.0, 2), s.day, c.available, c.day_total, c.day)
	from jsonb_to_recordset(slots) as s (merchant_id text, available bigint, day date, day_total bigint, version bigint),
	lateral payout.current_balance(s.merchant_id) c
	where (s.available <> coalesce(c.available, 0) * 100
		   or s.day_total <> case when s.day = c.day then c.day_total * 100 else 0 end)
	and exists (select from payout.escrow() e where e.merchant_id = s.merchant_id and e.pins = 0 and e.version = s.version);
end
$$;
comment on function payout.verify_escrow() is 'verify: what shared memory counts equals the tables';

-- Transfers, each by itself: between the accounts of its kind, with its payout, and over the whole amount or fee.
create function payout.verify_transfer() returns setof payout.violation
language sql stable
set search_path = pg_catalog, pg_temp
begin atomic
	with way (kind, debit, credit) as (values
		('top_up', 'funding', 'available'),
		('withdraw', 'available', 'funding'),
		('deduct', 'available', 'in_transit'),
		('fee', 'available', 'fee'),
		('settle', 'in_transit', 'settlement'),
		('unsettle', 'settlement', 'in_transit'),
		('refund', 'in_transit', 'available'),
		('fee_refund', 'fee', 'available'),
		('return', 'settlement', 'available'),
		('loss', 'platform_loss', 'settlement'),
		('loss_return', 'settlement', 'platform_loss'))
	select 'transfer_accounts', t.merchant_id, t.txid, format('%s goes from %s to %s', t.kind, t.debit_account, t.credit_account)
	from payout.transfer t
	where (t.kind, split_part(t.debit_account, '/', 1), split_part(t.credit_account, '/', 1))
		not in (select w.kind, w.debit, w.credit from way w)
	union all
	select 'transfer_has_payout', t.merchant_id, t.txid, format('%s of %s without its payout', t.kind, t.amount)
	from payout.transfer t
	where t.txid is not null
	and not exists (select from payout.payout p where p.merchant_id = t.merchant_id and p.txid = t.txid)
	union all
	select 'transfer_amount', t.merchant_id, t.txid,
		format('%s of %s %s, the payout says %s and fee %s %s', t.kind, t.amount, t.currency, p.amount, p.fee, p.currency)
	from payout.transfer t join payout.payout p on p.merchant_id = t.merchant_id and p.txid = t.txid
	where t.currency <> p.currency
	or t.amount <> case when t.kind in ('fee', 'fee_refund') then p.fee else p.amount end
	union all
	select 'transfer_settlement', t.merchant_id, t.txid, format('%s from %s to %s, paid by %s', t.kind, t.debit_account, t.credit_account, coalesce(p.channel_id, p.cvs_code, 'nobody'))
	from payout.transfer t join payout.payout p on p.merchant_id = t.merchant_id and p.txid = t.txid
	where t.kind in ('settle', 'unsettle', 'return', 'loss', 'loss_return')
	and coalesce(payout.settlement_account(p.channel_id, p.cvs_code), '') not in (t.debit_account, t.credit_account);
end;
comment on function payout.verify_transfer() is 'verify: each transfer goes between the right accounts and has its payout and its amount';

-- A payout's transfers together: where they say the money is fits the state, and the merchant paid neither more nor
-- less than that. The position is read from what each account holds, not from payout.money_position, which decides
-- what is transferred and so cannot be its own witness.
create function payout.verify_money() returns setof payout.violation
language sql stable
set search_path = pg_catalog, pg_temp
begin atomic
	with fits (kind, state, positions) as (values
		('disbursement', 'registered', '{none}'::text[]),
		('disbursement', 'rejected', '{none}'),
		('disbursement', 'scheduled', '{in_transit}'),
		('disbursement', 'approved', '{in_transit}'),
		('disbursement', 'dispatching', '{in_transit}'),
		('disbursement', 'processing', '{in_transit}'),
		('disbursement', 'suspect', '{in_transit}'),
		('disbursement', 'paid', '{settled}'),
		('disbursement', 'cancelled', '{refunded}'),
		-- a dispute may end as failed after a return (then the fee was given back as well), and as returned after a refund
		('disbursement', 'failed', '{refunded,returned}'),
		('disbursement', 'returned', '{returned,refunded}'),
		('disbursement', 'disputed', '{settled,refunded,returned}'),
		('cashout', 'registered', '{in_transit}'),
		('cashout', 'rejected', '{refunded}'),
		('cashout', 'token_issued', '{in_transit}'),
		('cashout', 'token_reserved', '{in_transit}'),
		('cashout', 'suspect', '{in_transit}'),
		('cashout', 'paid', '{settled}'),
		('cashout', 'expired', '{refunded}'),
		('cashout', 'failed', '{refunded,returned}'),
		('cashout', 'returned', '{returned,refunded}'),
		('cashout', 'disputed', '{settled,refunded,returned}')),
	held as (
		select t.merchant_id, t.txid,
			sum(case when t.credit_account = 'available' then t.amount when t.debit_account = 'available' then -t.amount else 0 end) as available,
			sum(case when t.credit_account = 'in_transit' then t.amount when t.debit_account = 'in_transit' then -t.amount else 0 end) as in_transit,
			sum(case when t.credit_account like 'settlement/%' then t.amount when t.debit_account like 'settlement/%' then -t.amount else 0 end) as settled,
			bool_or(t.kind = 'return') as was_returned, bool_or(t.kind = 'loss') as was_lost
		from payout.transfer t where t.txid is not null
		group by t.merchant_id, t.txid),
	located as (
		select p.merchant_id, p.txid, p.kind, p.state, p.amount, p.fee, coalesce(h.available, 0) as available, coalesce(h.was_lost, false) as was_lost,
			case when h.txid is null then 'none'
				when h.in_transit = p.amount and h.settled = 0 then 'in_transit'
				when h.in_transit = 0 and h.settled = p.amount then 'settled'
				when h.in_transit = 0 and h.settled = 0 and h.was_returned then 'returned'
				when h.in_transit = 0 and h.settled = 0 then 'refunded'
				else format('%s in transit and %s settled', h.in_transit, h.settled) end as position
		from payout.payout p left join held h on h.merchant_id = p.merchant_id and h.txid = p.txid)
	select 'money_fits_state', l.merchant_id, l.txid, format('state is %s, the money is %s', l.state, l.position)
	from located l
	where not exists (select from fits f where f.kind = l.kind and f.state = l.state and l.position = any (f.positions))
	union all
	select 'money_of_merchant', l.merchant_id, l.txid,
		format('the merchant''s balance moved by %s for amount %s and fee %s, the money is %s', l.available, l.amount, l.fee, l.position)
	from located l
	where case
		when l.position = 'none' then l.fee <> 0
		-- what was not paid costs the merchant nothing, whichever way it came to that
		when l.position = 'refunded' or l.state = 'failed' then l.available <> 0
		when l.position = 'in_transit' or (l.position = 'settled' and not l.was_lost) then l.available <> -(l.amount + l.fee)
		when l.position in ('returned', 'settled') then l.available not in (0, -l.fee)
		else l.available > 0 end;
end;
comment on function payout.verify_money() is 'verify: a payout''s money is where its state says, and the merchant was charged accordingly';

-- The history leads without a gap from registration to the present state, by allowed moves only.
create function payout.verify_history() returns setof payout.violation
language sql stable
set search_path = pg_catalog, pg_temp
begin atomic
	with step as (
		select e.merchant_id, e.txid, e.event_no, e.from_state, e.to_state,
			row_number() over w as expected_no, lag(e.to_state) over w as last_state, lead(e.event_no) over w is null as is_last
		from payout.payout_event e
		window w as (partition by e.merchant_id, e.txid order by e.event_no))
	select 'history_without_gaps', s.merchant_id, s.txid, format('row %s is numbered %s', s.expected_no, s.event_no)
	from step s where s.event_no <> s.expected_no
	union all
	select 'history_begins', s.merchant_id, s.txid, format('the first row leads from %s to %s', coalesce(s.from_state, 'nothing'), s.to_state)
	from step s where s.expected_no = 1 and (s.from_state is not null or s.to_state <> 'registered')
	union all
	select 'history_is_chain', s.merchant_id, s.txid,
		format('row %s leads from %s, the one before to %s', s.event_no, coalesce(s.from_state, 'nothing'), s.last_state)
	from step s where s.expected_no > 1 and s.from_state is distinct from s.last_state
	union all
	select 'history_move_allowed', s.merchant_id, s.txid, format('row %s leads from %s to %s', s.event_no, s.from_state, s.to_state)
	from step s join payout.payout p on p.merchant_id = s.merchant_id and p.txid = s.txid
	where s.from_state <> s.to_state
	and not exists (select from payout.allowed_move m where m.kind = p.kind and m.from_state = s.from_state and m.to_state = s.to_state)
	union all
	select 'history_ends', coalesce(p.merchant_id, s.merchant_id), coalesce(p.txid, s.txid),
		case when p.txid is null then 'history without its payout'
			when s.txid is null then 'payout without history'
			else format('the last row is %s, to %s; the payout counts %s and is %s', s.event_no, s.to_state, p.events, p.state) end
	from payout.payout p full join (select l.* from step l where l.is_last) s on s.merchant_id = p.merchant_id and s.txid = p.txid
	where p.txid is null or s.txid is null or s.event_no <> p.events or s.to_state <> p.state
	union all
	select 'history_final', p.merchant_id, p.txid, format('state is %s, final_at is %s', p.state, coalesce(p.final_at::text, 'not set'))
	from payout.payout p
	where (p.final_at is not null) <> exists (select from payout.allowed_move m where m.kind = p.kind and m.to_state = p.state and m.final)
	union all
	select 'history_disputed', p.merchant_id, p.txid, format('state is %s, disputed_at is %s', p.state, coalesce(p.disputed_at::text, 'not set'))
	from payout.payout p
	where (p.disputed_at is not null) <> (p.state = 'disputed');
end;
comment on function payout.verify_history() is 'verify: the history leads without a gap, by allowed moves, to the present state';

-- The content is what was registered: the first history row, which is chained, holds its digest. Where the salt was erased
-- nothing can be said.
create function payout.verify_content() returns setof payout.violation
language sql stable
set search_path = pg_catalog, pg_temp
begin atomic
	select 'content_is_registered', p.merchant_id, p.txid, 'the content is not what was registered'
	from payout.payout p
	join payout.payout_event e on e.merchant_id = p.merchant_id and e.txid = p.txid and e.event_no = 1
	where e.content_digest is not null and p.content_salt is not null and payout.content_digest(p) <> e.content_digest
	union all
	select 'content_has_digest', e.merchant_id, e.txid, format('history row %s %s', e.event_no,
		case when e.event_no = 1 then 'does not say what was registered' else 'has a digest, and tells of no end or token' end)
	from payout.payout_event e
	where case when e.event_no = 1 then e.content_digest is null
		else e.content_digest is not null
			and e.to_state not in ('paid', 'failed', 'returned', 'rejected', 'cancelled', 'expired', 'disputed', 'token_issued') end;
end;
comment on function payout.verify_content() is 'verify: the content of each payout is what was registered';

-- Approvals that the merchant's options restricted: each stands in the history, and was given as its row says that the
-- options asked. What they asked of other payouts cannot be known: they may have changed since.
create function payout.verify_approval() returns setof payout.violation
language sql stable
set search_path = pg_catalog, pg_temp
begin atomic
	with given as (
		select a.merchant_id, a.txid, a.event_no, a.role_name, a.needed, a.differs, e.role_name as event_role, e.event, e.from_state, e.to_state,
			r.role_name as registered_by
		from payout.payout_approval a
		left join payout.payout_event e on e.merchant_id = a.merchant_id and e.txid = a.txid and e.event_no = a.event_no
		left join payout.payout_event r on r.merchant_id = a.merchant_id and r.txid = a.txid and r.event_no = 1),
	counted as (
		select a.merchant_id, a.txid, count(*) as approvals from payout.payout_approval a group by a.merchant_id, a.txid),
	daily as (
		select a.merchant_id, a.role_name, a.day, sum(p.amount) as total
		from payout.payout_approval a join payout.payout p on p.merchant_id = a.merchant_id and p.txid = a.txid
		where a.day is not null
		group by a.merchant_id, a.role_name, a.day)
	select 'approval_in_history', g.merchant_id, g.txid,
		format('approval %s by %s, the history says: by %s from %s to %s', g.event_no, g.role_name, g.event_role, g.from_state, g.to_state)
	from given g
	where g.event_role is distinct from g.role_name
	or (coalesce(g.from_state, ''), g.to_state, coalesce(g.event, '')) not in (('registered', 'registered', 'approval.given'), ('registered', 'approved', 'payout.approved'),
		('registered', 'scheduled', 'payout.approved'), ('registered', 'token_issued', 'payout.approved'))
	union all
	select 'approval_of_event', e.merchant_id, e.txid, format('history row %s tells of an approval that is not there', e.event_no)
	from payout.payout_event e
	where e.event = 'approval.given'
	and not exists (select from payout.payout_approval a where a.merchant_id = e.merchant_id and a.txid = e.txid and a.event_no = e.event_no)
	union all
	select 'approval_by_other', g.merchant_id, g.txid, format('approval %s by %s, who registered it', g.event_no, g.role_name)
	from given g where g.differs and g.role_name is not distinct from g.registered_by
	union all
	select 'approval_by_enough', g.merchant_id, g.txid, format('approved by %s roles instead of %s', count(distinct o.role_name), g.needed)
	from given g
	left join payout.payout_approval o on o.merchant_id = g.merchant_id and o.txid = g.txid and o.event_no <= g.event_no
	and not (g.differs and o.role_name is not distinct from g.registered_by)
	where g.to_state <> 'registered'
	group by g.merchant_id, g.txid, g.event_no, g.needed
	having count(distinct o.role_name) < g.needed
	union all
	select 'approval_count', coalesce(p.merchant_id, c.merchant_id), coalesce(p.txid, c.txid),
		format('%s approvals, the payout counts %s', coalesce(c.approvals, 0), coalesce(p.approvals::text, 'none'))
	from (select q.merchant_id, q.txid, q.approvals from payout.payout q where q.approvals is not null) p
	full join counted c on c.merchant_id = p.merchant_id and c.txid = p.txid
	where p.approvals is distinct from c.approvals
	union all
	select 'approver_day_total', coalesce(d.merchant_id, s.merchant_id), null,
		format('total of %s on %s is %s, the approvals say %s', coalesce(d.role_name, s.role_name), coalesce(d.day, s.day), coalesce(d.total, 0), coalesce(s.total, 0))
	from payout.approver_day d
	full join daily s on s.merchant_id = d.merchant_id and s.role_name = d.role_name and s.day = d.day
	where d.total is distinct from s.total;
end;
comment on function payout.verify_approval() is 'verify: restricted approvals are in the history, by enough and the right roles, and counted';

-- Batches and their members agree.
create function payout.verify_batch() returns setof payout.violation
language sql stable
set search_path = pg_catalog, pg_temp
begin atomic
	-- A notice or a person may settle a member while its batch is on the way, or between two sendings: then the batch
	-- is asked for instead of sent again. One that was never claimed has nothing to be settled by; one that was and did not
	-- leave may have been sent by a copy of this server.
	with fits (state, members) as (values
		('open', '{dispatching,paid,failed,returned,disputed}'::text[]),
		('sending', '{dispatching,paid,failed,returned,disputed}'),
		('accepted', '{processing,paid,failed,returned,disputed}'),
		('refused', '{failed,paid,returned,disputed}'),
		('split', '{paid,failed,returned,disputed}'),
		('unknown', '{suspect,paid,failed,returned,disputed}')),
	members as (
		select p.channel_id, p.batch_id, count(*) as item_count, sum(p.amount) as total
		from payout.payout p where p.batch_id is not null
		group by p.channel_id, p.batch_id)
	select 'batch_fits_members', p.merchant_id, p.txid, format('state is %s in batch %s, which is %s', p.state, b.batch_id, b.state)
	from payout.payout p
	join payout.batch b on b.channel_id = p.channel_id and b.batch_id = p.batch_id
	where (b.tries = 0 and b.state = 'open' and not b.was_unknown and p.state <> 'dispatching'
		and not coalesce((select bool_and(a.outcome is not distinct from 'not_sent') from payout.attempt a where a.channel_id = b.channel_id and a.batch_id = b.batch_id), false))
	or not exists (select from fits f where f.state = b.state and p.state = any (f.members))
	union all
	select 'batch_of_payout', p.merchant_id, p.txid, format('state is %s, batch is %s', p.state, coalesce(p.batch_id::text, 'not set'))
	from payout.payout p
	where (p.kind = 'disbursement' and p.state in ('dispatching', 'processing', 'suspect') and p.batch_id is null)
	or (p.kind = 'cashout' and p.batch_id is not null)
	or (p.state in ('registered', 'rejected', 'scheduled', 'cancelled', 'approved') and p.batch_id is not null)
	or (p.batch_id is not null and not exists (select from payout.batch b where b.channel_id = p.channel_id and b.batch_id = p.batch_id))
	union all
	select 'batch_source_account', p.merchant_id, p.txid, format('it was registered to be paid from another account than batch %s is', b.batch_id)
	from payout.payout p
	join payout.batch b on b.channel_id = p.channel_id and b.batch_id = p.batch_id
	where b.source_account_no <> p.source_account_no
	union all
	select 'batch_total', null, null,
		format('batch %s/%s has %s members over %s, it says %s over %s', b.channel_id, b.batch_id,
			   coalesce(m.item_count, 0), coalesce(m.total, 0), b.item_count, b.total)
	from payout.batch b
	left join members m on m.channel_id = b.channel_id and m.batch_id = b.batch_id
	where b.state <> 'split' and (b.item_count, b.total) is distinct from (m.item_count, m.total)
	union all
	select 'batch_parent', null, null, format('batch %s/%s is part of %s, which is %s', b.channel_id, b.batch_id, b.parent_batch_id, coalesce(a.state, 'not there'))
	from payout.batch b
	left join payout.batch a on a.channel_id = b.channel_id and a.batch_id = b.parent_batch_id
	where b.parent_batch_id is not null and a.state is distinct from 'split'
	union all
	select 'batch_epoch', null, null, format('batch %s/%s is of epoch %s, its channel in %s, and what it was split off of %s', b.channel_id, b.batch_id, b.epoch, c.epoch, coalesce(a.epoch::text, 'none'))
	from payout.batch b
	join payout.channel c on c.channel_id = b.channel_id
	left join payout.batch a on a.channel_id = b.channel_id and a.batch_id = b.parent_batch_id
	where b.epoch > c.epoch or a.epoch <> b.epoch
	union all
	select 'batch_in_doubt', null, null, format('batch %s/%s is %s, was_unknown is %s, asked_since is %s', b.channel_id, b.batch_id, b.state, b.was_unknown, coalesce(b.asked_since::text, 'not set'))
	from payout.batch b
	where b.was_unknown <> (b.asked_since is not null) or (b.decided_at is not null and not b.was_unknown) or (b.state = 'unknown' and not b.was_unknown) or (b.state = 'split' and b.was_unknown)
	union all
	select 'batch_forgotten', null, null, format('batch %s/%s is to be sent, but has no moment and no member is set aside', b.channel_id, b.batch_id)
	from payout.batch b
	where b.state = 'open' and b.due_at is null
	and not exists (select from payout.payout p join payout.hold h on h.merchant_id = p.merchant_id and h.txid = p.txid
					where p.channel_id = b.channel_id and p.batch_id = b.batch_id);
end;
comment on function payout.verify_batch() is 'verify: batches and their members agree';

-- What was sent: each attempt is completed or of the living worker, and no batch was accepted more than once.
create function payout.verify_attempt() returns setof payout.violation
language sql stable
set search_path = pg_catalog, pg_temp
begin atomic
	select 'attempt_of_living', a.merchant_id, a.txid, format('attempt %s/%s of lane %s has no outcome and its worker is gone', a.channel_id, a.attempt_id, a.lane)
	from payout.attempt a
	where a.outcome is null
	and not exists (select from payout.incarnation i where i.incarnation_id = a.incarnation_id and i.ended_at is null)
	union all
	select 'attempt_is_named', a.merchant_id, a.txid, format('attempt %s/%s has no outcome and no claim names it', a.channel_id, a.attempt_id)
	from payout.attempt a
	where a.outcome is null
	and not exists (select from payout.under_way w, unnest(w.channel_ids, w.attempt_ids) u (channel_id, attempt_id)
					where u.channel_id = a.channel_id and u.attempt_id = a.attempt_id)
	union all
	select 'incarnation_is_one', null, null, format('%s lives of the worker have not ended', count(*))
	from payout.incarnation i where i.ended_at is null
	having count(*) > 1
	union all
	select 'attempt_accepted_once', null, null, format('batch %s/%s was accepted %s times', a.channel_id, a.batch_id, count(*))
	from payout.attempt a where a.lane = 'dispatch' and a.outcome = 'yes'
	group by a.channel_id, a.batch_id
	having count(*) > 1
	union all
	select 'attempt_of_batch', null, null, format('batch %s/%s is %s but was accepted in attempt %s', a.channel_id, a.batch_id, coalesce(b.state, 'not there'), a.attempt_id)
	from payout.attempt a
	left join payout.batch b on b.channel_id = a.channel_id and b.batch_id = a.batch_id
	where a.lane = 'dispatch' and (b.batch_id is null or (a.outcome = 'yes' and b.state <> 'accepted'))
	union all
	select 'attempt_under_way', null, null, format('batch %s/%s is %s with %s attempts under way', b.channel_id, b.batch_id, b.state, coalesce(u.attempts, 0))
	from payout.batch b
	left join (select a.channel_id, a.batch_id, count(*) as attempts from payout.attempt a
			   where a.outcome is null
			   group by a.channel_id, a.batch_id) u on u.channel_id = b.channel_id and u.batch_id = b.batch_id
	where coalesce(u.attempts, 0) <> case when b.state = 'sending' then 1 else 0 end
	-- set aside because its outcome could not be recorded
	and not (b.state = 'sending' and u.attempts is null
			 and exists (select from payout.payout p join payout.hold h on h.merchant_id = p.merchant_id and h.txid = p.txid
						 where p.channel_id = b.channel_id and p.batch_id = b.batch_id))
	union all
	select 'attempt_has_payout', a.merchant_id, a.txid, format('attempt %s/%s without its payout', a.channel_id, a.attempt_id)
	from payout.attempt a
	where a.txid is not null and not exists (select from payout.payout p where p.merchant_id = a.merchant_id and p.txid = a.txid);
end;
comment on function payout.verify_attempt() is 'verify: attempts are completed or under way, and no batch was accepted more than once';

-- What the bank was asked: for a sending of that payout, and in time.
create function payout.verify_asking() returns setof payout.violation
language sql stable
set search_path = pg_catalog, pg_temp
begin atomic
	with recursive line as (
		select b.channel_id, b.batch_id, b.parent_batch_id from payout.batch b where b.parent_batch_id is not null
		union all
		select l.channel_id, l.batch_id, b.parent_batch_id from line l join payout.batch b on b.channel_id = l.channel_id and b.batch_id = l.parent_batch_id
		where b.parent_batch_id is not null),
	-- what the bank told of a bulk it told of what was split off it
	told as (
		select w.channel_id, w.batch_id, max(w.told_at) as told_at
		from (select b.channel_id, b.batch_id, b.told_at from payout.batch b where b.told_at is not null
			  union all
			  select l.channel_id, l.batch_id, b.told_at from line l join payout.batch b on b.channel_id = l.channel_id and b.batch_id = l.parent_batch_id
			  where b.told_at is not null) w
		group by w.channel_id, w.batch_id),
	denial as (
		select a.merchant_id, a.txid, max(a.started_at) as asked_at from payout.attempt a
		where a.lane = 'check' and a.answer in ('failed', 'canceled', 'refunded')
		group by a.merchant_id, a.txid),
	accepted as (
		select a.channel_id, a.batch_id, max(a.started_at) as sent_at from payout.attempt a
		where a.lane = 'dispatch' and a.outcome = 'yes'
		group by a.channel_id, a.batch_id)
	select 'asking_of_sending', c.merchant_id, c.txid, format('attempt %s/%s asks for attempt %s, which is no sending of it', c.channel_id, c.attempt_id, c.asked_attempt_id)
	from payout.attempt c
	join payout.payout p on p.merchant_id = c.merchant_id and p.txid = c.txid
	left join payout.attempt d on d.channel_id = c.channel_id and d.attempt_id = c.asked_attempt_id and d.lane = 'dispatch'
	where c.asked_attempt_id is not null and d.batch_id is distinct from p.batch_id
	and not exists (select from line l where l.channel_id = p.channel_id and l.batch_id = p.batch_id and l.parent_batch_id = d.batch_id)
	union all
	select 'asking_told', null, null, format('attempt %s/%s sends batch %s, of which the bank told at %s, unasked', a.channel_id, a.attempt_id, b.batch_id, t.told_at)
	from told t
	join payout.batch b on b.channel_id = t.channel_id and b.batch_id = t.batch_id
	join payout.attempt a on a.channel_id = b.channel_id and a.batch_id = b.batch_id and a.started_at > t.told_at
	where coalesce(b.asked_since < t.told_at, true)
	union all
	select 'asking_after_sending', p.merchant_id, p.txid, format('failed by an answer asked for at %s, and was accepted when sent at %s', d.asked_at, s.sent_at)
	from payout.payout p
	join accepted s on s.channel_id = p.channel_id and s.batch_id = p.batch_id
	join denial d on d.merchant_id = p.merchant_id and d.txid = p.txid
	where p.state = 'failed' and p.reason like 'status inquiry:%' and d.asked_at <= s.sent_at
	union all
	-- Between the moment and each sending the bank was asked for it by the TXID alone.
	select 'asking_first', p.merchant_id, p.txid, format('attempt %s/%s sends it after the lost tail of %s, unasked', a.channel_id, a.attempt_id, t.at)
	from payout.lost_tail t
	join payout.payout p on p.registered_at <= t.at
	join payout.attempt a on a.channel_id = p.channel_id and a.batch_id = p.batch_id
	where a.started_at > t.at
	and not exists (select from payout.attempt c where c.merchant_id = p.merchant_id and c.txid = p.txid and c.lane = 'check' and c.asked_attempt_id is null
					and c.answer = 'not_found' and c.started_at between t.at and a.started_at);
end;
comment on function payout.verify_asking() is 'verify: the bank was asked for sendings of the payout, before it failed and before it was sent again';

-- No payout is forgotten: whatever is not at its end waits in a queue, is under way, or is set aside for a person.
create function payout.verify_queue() returns setof payout.violation
language sql stable
set search_path = pg_catalog, pg_temp
begin atomic
	with waiting as (
		select p.merchant_id, p.txid, p.state, p.account_check, p.check_due_at, p.dispatch_due_at, p.release_due_at, p.status_due_at,
			p.doubted_at is not null as is_doubted,
			exists (select from payout.hold h where h.merchant_id = p.merchant_id and h.txid = p.txid) as is_held,
			exists (select from payout.attempt a where a.merchant_id = p.merchant_id and a.txid = p.txid
					and a.outcome is null and a.lane = 'validate') as is_validated,
			exists (select from payout.attempt a where a.merchant_id = p.merchant_id and a.txid = p.txid
					and a.outcome is null and a.lane = 'check') as is_checked
		from payout.payout p
		where p.kind = 'disbursement' and (p.state in ('registered', 'scheduled', 'approved', 'processing', 'suspect') or p.doubted_at is not null))
	select 'queue_validate', w.merchant_id, w.txid, format('state is %s, the account check is pending and nobody will ask', w.state)
	from waiting w
	where w.state in ('registered', 'scheduled', 'approved') and w.account_check = 'pending'
	and w.check_due_at is null and not w.is_validated and not w.is_held
	union all
	select 'queue_dispatch', w.merchant_id, w.txid, format('state is %s, the account check is %s and nobody will send', w.state, w.account_check)
	from waiting w
	where w.state in ('scheduled', 'approved') and coalesce(w.dispatch_due_at, w.release_due_at) is null and not w.is_held
	and not (w.state = 'approved' and w.account_check in ('pending', 'unavailable') and (w.check_due_at is not null or w.is_validated))
	union all
	select 'queue_check', w.merchant_id, w.txid, format('state is %s%s and nobody will ask the bank', w.state, case when w.is_doubted then ', in doubt,' end)
	from waiting w
	where (w.state in ('processing', 'suspect') or w.is_doubted) and w.status_due_at is null and not w.is_checked and not w.is_held
	union all
	select 'queue_fits_state', p.merchant_id, p.txid, format('state is %s, due is %s', p.state,
		concat_ws(', ', 'validate ' || p.check_due_at, 'dispatch ' || p.dispatch_due_at, 'release ' || p.release_due_at, 'check ' || p.status_due_at))
	from payout.payout p
	where (p.check_due_at is not null and p.state not in ('registered', 'scheduled', 'approved'))
	or (p.dispatch_due_at is not null and p.state <> 'approved')
	or (p.release_due_at is not null and p.state <> 'scheduled')
	or (p.status_due_at is not null and (p.kind = 'cashout' or (p.state not in ('processing', 'suspect', 'paid') and p.doubted_at is null)))
	union all
	select 'queue_doubt', p.merchant_id, p.txid, format('state is %s, its end is in doubt since %s', p.state, p.doubted_at)
	from payout.payout p
	where p.doubted_at is not null and (p.kind = 'cashout' or p.state not in ('paid', 'failed', 'returned'))
	union all
	select 'queue_expire', p.merchant_id, p.txid, format('state is %s, expiry is due %s', p.state, coalesce(p.expire_due_at::text, 'never'))
	from payout.payout p
	where (p.state in ('token_issued', 'token_reserved')) <> (p.expire_due_at is not null);
end;
comment on function payout.verify_queue() is 'verify: no payout is forgotten, and none waits for what its state excludes';

-- Tokens and stores: who holds a token, and what the payout's row says of that.
create function payout.verify_cashout() returns setof payout.violation
language sql stable
set search_path = pg_catalog, pg_temp
begin atomic
	select 'token_of_state', p.merchant_id, p.txid, format('state is %s, current tokens: %s', p.state, coalesce(k.tokens, 0))
	from payout.payout p
	left join (select t.merchant_id, t.txid, count(*) as tokens from payout.cashout_token t
			   where t.replaced_at is null
			   group by t.merchant_id, t.txid) k on k.merchant_id = p.merchant_id and k.txid = p.txid
	where coalesce(k.tokens, 0) <> case when p.kind = 'disbursement' or p.state in ('registered', 'rejected') then 0 else 1 end
	union all
	select 'token_expiry', p.merchant_id, p.txid, format('expiry is due %s, the token says %s', p.expire_due_at, t.valid_until)
	from payout.payout p
	join payout.cashout_token t on t.merchant_id = p.merchant_id and t.txid = p.txid and t.replaced_at is null
	where p.state = 'token_issued' and p.expire_due_at <> t.valid_until
	union all
	select 'redemption_of_state', p.merchant_id, p.txid, format('state is %s, held by %s', p.state, coalesce(p.cvs_code || ' ' || p.cvs_reference, 'nobody'))
	from payout.payout p
	left join payout.redemption r on r.cvs_code = p.cvs_code and r.cvs_reference = p.cvs_reference
	where p.kind = 'cashout'
	and case
		when p.state in ('registered', 'rejected', 'token_issued', 'expired') then p.cvs_code is not null
		when (r.merchant_id, r.txid) is distinct from (p.merchant_id, p.txid) then true
		when p.state in ('token_reserved', 'suspect') then num_nonnulls(r.confirmed_at, r.reversed_at) > 0 or r.reserved_at is null
		else false end
	union all
	select 'redemption_open', r.merchant_id, r.txid, format('store %s holds it under %s, the payout is %s', r.cvs_code, r.cvs_reference, coalesce(p.state, 'not there'))
	from payout.redemption r
	left join payout.payout p on p.merchant_id = r.merchant_id and p.txid = r.txid
	where num_nonnulls(r.confirmed_at, r.reversed_at) = 0
	and (p.cvs_code, p.cvs_reference) is distinct from (r.cvs_code, r.cvs_reference)
	-- that the store took it back, and another one paid, may have been in a lost tail
	and not (coalesce(p.state in ('paid', 'disputed') and p.cvs_code is not null, false)
			 and exists (select from payout.lost_tail t where t.at >= p.registered_at))
	union all
	select 'redemption_confirmed', r.merchant_id, r.txid, format('store %s confirmed under %s, the payout is %s', r.cvs_code, r.cvs_reference, coalesce(p.state, 'not there'))
	from payout.redemption r
	left join payout.payout p on p.merchant_id = r.merchant_id and p.txid = r.txid
	where r.confirmed_at is not null and coalesce(p.state, '') not in ('paid', 'disputed', 'failed', 'returned')
	union all
	select 'redemption_has_token', r.merchant_id, r.txid, format('store %s under %s names token %s', r.cvs_code, r.cvs_reference, r.token_no)
	from payout.redemption r
	where r.merchant_id is not null
	and not exists (select from payout.cashout_token t where t.merchant_id = r.merchant_id and t.txid = r.txid and t.token_no = r.token_no and t.digest = r.digest);
end;
comment on function payout.verify_cashout() is 'verify: tokens, the stores that hold them, and payouts agree';

-- References that no foreign key guards, see schema.sql.
create function payout.verify_reference() returns setof payout.violation
language sql stable
set search_path = pg_catalog, pg_temp
begin atomic
	select 'payout_form', p.merchant_id, p.txid, format('%s by %s, account check %s', p.kind, p.method, coalesce(p.account_check, 'none'))
	from payout.payout p
	where p.kind not in ('disbursement', 'cashout') or p.method not in ('overbooking', 'online', 'cashout') or p.currency <> 'IDR'
	or p.account_check not in ('pending', 'matched', 'name_differs', 'unreadable', 'invalid', 'unavailable')
	or (p.kind = 'cashout') <> (p.method = 'cashout') or (p.cvs_code is null) <> (p.cvs_reference is null)
	or p.txid not like p.merchant_id || '07%' or length(p.txid) <> 30
	or case when p.kind = 'disbursement' then num_nulls(p.channel_id, p.bank_code, p.wire_code, p.source_account_no, p.account_no, p.account_check) > 0 or num_nonnulls(p.cvs_code, p.expire_due_at) > 0
		else num_nonnulls(p.channel_id, p.bank_code, p.wire_code, p.source_account_no, p.account_no, p.account_check, p.scheduled_at) > 0 end
	union all
	-- The items of a bulk may have one in common.
	select 'payout_bank_number', p.merchant_id, p.txid, format('the bank''s number %s is recorded for payouts of several batches', p.bank_reference_no)
	from payout.payout p
	join payout.batch b on b.channel_id = p.channel_id and b.batch_id = p.batch_id
	join (select q.channel_id, c.epoch, q.bank_reference_no
		  from payout.payout q join payout.batch c on c.channel_id = q.channel_id and c.batch_id = q.batch_id
		  where q.bank_reference_no is not null
		  group by q.channel_id, c.epoch, q.bank_reference_no having min(q.batch_id::text) <> max(q.batch_id::text)) d
	on d.channel_id = p.channel_id and d.epoch = b.epoch and d.bank_reference_no = p.bank_reference_no
	union all
	select 'payout_has_merchant', p.merchant_id, p.txid, 'no such merchant'
	from payout.payout p
	where not exists (select from payout.merchant m where m.merchant_id = p.merchant_id)
	union all
	select 'payout_has_channel', p.merchant_id, p.txid, format('no channel %s', p.channel_id)
	from payout.payout p
	where p.channel_id is not null and not exists (select from payout.channel c where c.channel_id = p.channel_id)
	union all
	select 'payout_has_bank', p.merchant_id, p.txid, format('no bank %s', p.bank_code)
	from payout.payout p
	where p.bank_code is not null and not exists (select from payout.bank b where b.bank_code = p.bank_code)
	union all
	select 'payout_has_cvs', p.merchant_id, p.txid, format('no store %s', p.cvs_code)
	from payout.payout p
	where p.cvs_code is not null and not exists (select from payout.cvs c where c.cvs_code = p.cvs_code)
	union all
	select 'redemption_has_cvs', r.merchant_id, r.txid, format('no store %s', r.cvs_code)
	from payout.redemption r
	where not exists (select from payout.cvs c where c.cvs_code = r.cvs_code)
	union all
	select 'token_has_payout', t.merchant_id, t.txid, format('token %s without its payout', t.token_no)
	from payout.cashout_token t
	where not exists (select from payout.payout p where p.merchant_id = t.merchant_id and p.txid = t.txid)
	union all
	select 'batch_has_channel', null, null, format('batch %s without channel %s', b.batch_id, b.channel_id)
	from payout.batch b
	where not exists (select from payout.channel c where c.channel_id = b.channel_id)
	union all
	select 'hold_has_payout', h.merchant_id, h.txid, format('set aside in lane %s without its payout', h.lane)
	from payout.hold h
	where not exists (select from payout.payout p where p.merchant_id = h.merchant_id and p.txid = h.txid);
end;
comment on function payout.verify_reference() is 'verify: no orphans, and no number of the bank for two payouts';

-- Notifications: each tells of a history row, is in one place, and was not overtaken.
create function payout.verify_notification() returns setof payout.violation
language sql stable
set search_path = pg_catalog, pg_temp
begin atomic
	select 'notification_has_event', n.merchant_id, n.txid, format('notification %s (%s) tells of no such history row', n.event_no, n.event)
	from payout.notification n
	where not exists (select from payout.payout_event e where e.merchant_id = n.merchant_id and e.txid = n.txid
					  and e.event_no = n.event_no and e.event = n.event)
	union all
	select 'notification_in_one_place', n.merchant_id, n.txid, format('notification %s is in %s of: due, delivered, given up', n.event_no,
		num_nonnulls(n.due_at, n.delivered_at, n.given_up_at))
	from payout.notification n
	where num_nonnulls(n.due_at, n.delivered_at, n.given_up_at) <> 1
	or (n.sending_by is not null and n.due_at is null)
	union all
	select 'notification_in_order', n.merchant_id, n.txid, format('notification %s waits, a later one did not', n.event_no)
	from payout.notification n
	where n.due_at is not null
	and exists (select from payout.notification l where l.merchant_id = n.merchant_id and l.txid = n.txid
				and l.event_no > n.event_no and (l.sending_by is not null or l.delivered_at is not null));
end;
comment on function payout.verify_notification() is 'verify: notifications tell of history rows, none is forgotten and none overtaken';

create function payout.verify() returns table (check_name text, merchant_id text, txid text, detail text)
language c stable parallel unsafe as 'MODULE_PATHNAME', 'payout_entry';
comment on function payout.verify() is 'every violated invariant, with the row that violates it; empty when sound. Reads all rows of all tables, locks none';

create function payout.do_verify() returns table (check_name text, merchant_id text, txid text, detail text)
language sql stable
set search_path = pg_catalog, pg_temp
set enable_nestloop = off
set jit = off
begin atomic
	select * from payout.verify_balance()
	union all select * from payout.verify_escrow()
	union all select * from payout.verify_transfer()
	union all select * from payout.verify_money()
	union all select * from payout.verify_history()
	union all select * from payout.verify_content()
	union all select * from payout.verify_approval()
	union all select * from payout.verify_batch()
	union all select * from payout.verify_attempt()
	union all select * from payout.verify_asking()
	union all select * from payout.verify_queue()
	union all select * from payout.verify_cashout()
	union all select * from payout.verify_reference()
	union all select * from payout.verify_notification()
	union all select * from payout.verify_ending()
	union all select * from payout.verify_sent()
	union all select * from payout.verify_moment()
	union all select * from payout.verify_admin()
	union all select * from payout.verify_admin_chain();
end;
comment on function payout.do_verify() is 'work of payout.verify';
