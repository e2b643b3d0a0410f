-- subject.sql: which payout the bank speaks of, and which of its sendings, as far as the records tell.
--
-- An answer is compared with its question first (snap_subject.c). Here is what takes more than the question:
--
--   * An answer may name another sending of the same payout. By which external ids that can be is said with the question.
--   * The bank's own number for a payout is one that no other payout in its books has (payout.channel.epoch). What brings the
--     number of another one is no word: it is of that one, or two things at once. The items of one bulk may have one number in
--     common. So it is with the answers to transfers and to inquiries, and with notices; numbers that were recorded at the same
--     moment verify() finds.
--   * A denial that does not say of which sending it is counts only where the bank can have received no other.

-- Whatever may have been received: for this batch, and for those that it was split off.
create function payout.external_ids(p_channel_id text, p_batch_id uuid) returns text
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
	return (select string_agg(a.external_id, ' ') from payout.sendings_made(p_channel_id, p_batch_id) a);
end
$$;
comment on function payout.external_ids(text, uuid) is 'worker: the external ids under which the bank may have received the payouts of a batch, parted by blanks';

create function payout.numbers_are_new(numbers text[]) returns boolean
language c volatile strict parallel unsafe as 'MODULE_PATHNAME', 'payout_numbers_are_new';
comment on function payout.numbers_are_new(text[]) is
'worker: whether none of the bank''s own numbers in these answers is recorded for a payout, and none comes twice: none is of another payout then';

-- Answers that ended together may bring one number as well. A bulk's own number is no payout's.
create function payout.numbers_of_others(p_channel_ids text[], p_attempt_ids uuid[], p_numbers text[]) returns integer[]
language plpgsql
set search_path = pg_catalog, pg_temp
set enable_seqscan = off
as $$
begin
	return (
		with told as (
			select u.n::integer, u.channel_id, u.number, b.batch_id, b.epoch
			from unnest(p_channel_ids, p_attempt_ids, p_numbers) with ordinality u (channel_id, attempt_id, number, n)
			cross join lateral (select q.* from payout.attempt q where q.channel_id = u.channel_id and q.attempt_id = u.attempt_id limit 1) a
			left join lateral (select q.batch_id from payout.payout q where a.txid is not null and q.merchant_id = a.merchant_id and q.txid = a.txid limit 1) p on true
			cross join lateral (select q.batch_id, q.epoch from payout.batch q where q.channel_id = u.channel_id and q.batch_id = coalesce(a.batch_id, p.batch_id) limit 1) b
			where u.number is not null and (a.lane, a.service) <> ('dispatch', 20)),
		compared as (
			select t.*, min(t.batch_id::text) over same <> max(t.batch_id::text) over same as is_of_two
			from told t window same as (partition by t.channel_id, t.epoch, t.number))
		select coalesce(array_agg(c.n), '{}') from compared c
		where c.is_of_two or payout.is_number_of_other(c.channel_id, c.epoch, c.batch_id, c.number));
end
$$;
comment on function payout.numbers_of_others(text[], uuid[], text[]) is
'worker: of the bank''s own numbers in these answers, those (by their place) that are recorded for another payout, or come in the answer of another one as well';

create function payout.is_number_of_other(p_channel_id text, p_epoch integer, p_batch_id uuid, p_number text) returns boolean
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
	return exists (
		select from payout.payout q, lateral (select b.epoch from payout.batch b where b.channel_id = q.channel_id and b.batch_id = q.batch_id limit 1) b
		where q.bank_reference_no = p_number and q.channel_id = p_channel_id and q.batch_id <> p_batch_id and b.epoch = p_epoch);
end
$$;
comment on function payout.is_number_of_other(text, integer, uuid, text) is 'whether a bank''s own number is recorded, in the same books, for a payout of another batch';

create function payout.is_sole_sending(p payout.payout) returns boolean
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
	return payout.count_received(p) + payout.asks_first(p.registered_at)::integer <= 1;
end
$$;
comment on function payout.is_sole_sending(payout.payout) is
'whether the bank can have received one sending of a payout at most, so that what does not say of which sending it is can be of no other';

create function payout.unclear_denials(p_channel_ids text[], p_attempt_ids uuid[], p_statuses text[], p_names_sendings boolean[]) returns integer[]
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
	return (
		select coalesce(array_agg(u.n::integer), '{}')
		from unnest(p_channel_ids, p_attempt_ids, p_statuses, p_names_sendings) with ordinality u (channel_id, attempt_id, status, names_sending, n),
		lateral (select q.* from payout.attempt q where q.channel_id = u.channel_id and q.attempt_id = u.attempt_id limit 1) a,
		lateral (select q.* from payout.payout q where q.merchant_id = a.merchant_id and q.txid = a.txid limit 1) p
		where u.status in ('failed', 'canceled', 'refunded') and u.names_sending is not true and not payout.is_sole_sending(p));
end
$$;
comment on function payout.unclear_denials(text[], uuid[], text[], boolean[]) is
'worker: of these answers to status inquiries, those (by their place) that deny without saying which of several sendings';
