-- verify_evidence.sql: payout.verify(), what was recorded of ends, tokens and sendings is there as it was written, and nothing is
-- dated ahead.

-- The last history row of an end, and of a token, holds its digest. Where the salt was erased nothing can be said.
create function payout.verify_ending() returns setof payout.violation
language sql stable
set search_path = pg_catalog, pg_temp
begin atomic
	select 'ending_is_recorded', p.merchant_id, p.txid, format('it is %s otherwise than its history says', p.state)
	from payout.payout p
	join payout.payout_event e on e.merchant_id = p.merchant_id and e.txid = p.txid and e.event_no = p.events
	where num_nonnulls(p.final_at, p.disputed_at) > 0 and p.content_salt is not null and e.content_digest is distinct from payout.ending_digest(p)
	union all
	select 'token_is_recorded', p.merchant_id, p.txid, format('token %s is not the one that was issued', t.token_no)
	from payout.payout p
	join payout.cashout_token t on t.merchant_id = p.merchant_id and t.txid = p.txid and t.replaced_at is null
	join (select e.merchant_id, e.txid, (array_agg(e.content_digest order by e.event_no desc))[1] as digest
		  from payout.payout_event e where e.to_state = 'token_issued'
		  group by e.merchant_id, e.txid) i on i.merchant_id = p.merchant_id and i.txid = p.txid
	where p.content_salt is not null
	and i.digest is distinct from payout.chain(p.content_salt, row(t.token_no, t.digest, t.key_id, t.issued_at))
	union all
	select 'ending_is_accounted', p.merchant_id, p.txid, format('the account is %s with the name %s, the history says %s', p.account_check, coalesce(p.account_name, 'none'), c.reason)
	from payout.payout p
	join (select e.merchant_id, e.txid, (array_agg(e.reason order by e.event_no desc))[1] as reason
		  from payout.payout_event e where e.event = 'account.checked'
		  group by e.merchant_id, e.txid) c on c.merchant_id = p.merchant_id and c.txid = p.txid
	where p.account_check <> 'pending' and c.reason <> concat_ws(': ', p.account_check, p.account_name);
end;
comment on function payout.verify_ending() is 'verify: ends, tokens and the bank''s names of accounts are what the history says';

-- What went to a bank left an attempt. A batch was sent where the bank answered, or where its sending is in doubt, but for those
-- whose records a promotion or restore has lost; tries counts also what could not be written as an order and was set aside.
create function payout.verify_sent() returns setof payout.violation
language sql stable
set search_path = pg_catalog, pg_temp
begin atomic
	select 'attempt_is_there', null::text, null::text, format('batch %s/%s was sent, and there is no attempt', b.channel_id, b.batch_id)
	from payout.batch b
	left join (select distinct a.channel_id, a.batch_id from payout.attempt a where a.lane = 'dispatch') a on a.channel_id = b.channel_id and a.batch_id = b.batch_id
	where a.batch_id is null and b.tries > 0
	and (b.state = 'accepted' or b.response_code is not null or (b.state = 'unknown' and not exists (select from payout.lost_tail)))
	union all
	select 'attempt_is_there', p.merchant_id, p.txid, format('the account was checked %s times, attempts: 0', p.check_tries)
	from payout.payout p
	left join (select distinct a.merchant_id, a.txid from payout.attempt a where a.lane = 'validate') a on a.merchant_id = p.merchant_id and a.txid = p.txid
	where p.check_tries > 0 and a.txid is null
	union all
	select 'attempt_is_there', e.merchant_id, e.txid, format('history row %s tells of an answer to an inquiry, and there was none', e.event_no)
	from payout.payout_event e
	left join (select distinct a.merchant_id, a.txid from payout.attempt a where a.lane = 'check') a on a.merchant_id = e.merchant_id and a.txid = e.txid
	where e.reason like 'status inquiry:%' and a.txid is null
	union all
	-- The codes by which the bank was told where to pay: of the sending as it was, of the payouts as they are.
	select 'attempt_wire_code', p.merchant_id, p.txid, format('attempt %s/%s was sent with the codes %s, the payout says %s', a.channel_id, a.attempt_id, a.wire_codes, p.wire_code)
	from payout.attempt a
	join payout.payout p on p.channel_id = a.channel_id and p.batch_id = a.batch_id
	where a.lane = 'dispatch' and strpos(',' || a.wire_codes || ',', ',' || p.wire_code || ',') = 0
	union all
	select 'attempt_wire_code', p.merchant_id, p.txid, format('attempt %s/%s asked with the code %s, the payout says %s', a.channel_id, a.attempt_id, a.wire_codes, p.wire_code)
	from payout.attempt a
	join payout.payout p on p.merchant_id = a.merchant_id and p.txid = a.txid
	where a.lane = 'validate' and a.wire_codes <> p.wire_code;
end;
comment on function payout.verify_sent() is 'verify: what was sent left its attempts, with the code of the payout''s bank';

-- Rows are dated by the server's clock, which may be set back a little. One that is ahead would be in no link of a chain for as long.
create function payout.verify_moment() returns setof payout.violation
language sql stable
set search_path = pg_catalog, pg_temp
begin atomic
	with horizon as (select clock_timestamp() + interval '1 minute' as at)
	select 'moment_is_past', r.merchant_id, r.txid, format('%s is dated %s', r.what, r.at)
	from horizon h,
	lateral (
		select e.merchant_id, e.txid, format('history row %s', e.event_no) as what, e.at from payout.payout_event e where e.at > h.at
		union all
		select t.merchant_id, t.txid, format('transfer %s', t.transfer_id), t.at from payout.transfer t where t.at > h.at
		union all
		select null, null, format('event %s of %s %s', e.event_no, e.relation, e.object), e.at from payout.admin_event e where e.at > h.at
		union all
		select a.merchant_id, a.txid, format('attempt %s/%s', a.channel_id, a.attempt_id), greatest(a.started_at, a.finished_at) from payout.attempt a
		where greatest(a.started_at, a.finished_at) > h.at
		union all
		select p.merchant_id, p.txid, 'the payout', greatest(p.registered_at, p.approved_at, p.final_at, p.disputed_at) from payout.payout p
		where greatest(p.registered_at, p.approved_at, p.final_at, p.disputed_at) > h.at
		union all
		select r.merchant_id, r.txid, format('what store %s says under %s', r.cvs_code, r.cvs_reference), greatest(r.reserved_at, r.confirmed_at, r.reversed_at) from payout.redemption r
		where greatest(r.reserved_at, r.confirmed_at, r.reversed_at) > h.at
		union all
		select t.merchant_id, t.txid, format('token %s', t.token_no), greatest(t.issued_at, t.replaced_at) from payout.cashout_token t
		where greatest(t.issued_at, t.replaced_at) > h.at
		union all
		select null, null, format('batch %s/%s', b.channel_id, b.batch_id), greatest(b.created_at, b.closed_at, b.transaction_date) from payout.batch b
		where greatest(b.created_at, b.closed_at, b.transaction_date) > h.at
		union all
		select s.merchant_id, null, format('link %s', s.link_no), s.until from payout.chain_link s where s.until > h.at
		union all
		select null, null, format('link %s', s.link_no), s.until from payout.admin_link s where s.until > h.at) r;
end;
comment on function payout.verify_moment() is 'verify: nothing is dated ahead of now';
