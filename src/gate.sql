-- gate.sql: what stops requests that the worker has claimed and not sent yet, see gate.c. The changes of state of payouts stop
-- theirs in move.c.

create function payout.stop_requests() returns trigger
language c volatile parallel unsafe as 'MODULE_PATHNAME', 'payout_stop_requests';
comment on function payout.stop_requests() is
'trigger(scope, column): from the commit on, no request leaves that was claimed before and concerns this row: of the whole database, of a channel, to a merchant, or for a payout';

create function payout.stop_payouts(txids text[]) returns void
language c volatile strict parallel unsafe as 'MODULE_PATHNAME', 'payout_stop_payouts';
comment on function payout.stop_payouts(text[]) is 'from the commit on, no request for these payouts leaves that was claimed before; the caller holds locks without which they cannot be claimed';

-- What the bank tells of a bulk it tells of all that was split off it, whoever is named: none of that leaves unasked. The batches
-- are locked, so that none is claimed before this is committed; those of one level in the order of their ids. Whoever splits one
-- has locked it: so those below it are all there when it is ours.
create function payout.lock_line_below(b payout.batch) returns uuid[]
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
	level uuid[] := array[b.batch_id];
	line uuid[] := level;
begin
	while b.state = 'split' and level is not null loop
		select array_agg(l.batch_id) into level
		from (select q.batch_id from payout.batch q where q.channel_id = b.channel_id and q.parent_batch_id = any (level) order by q.batch_id for no key update) l;
		line := line || level;
	end loop;
	return line;
end
$$;
comment on function payout.lock_line_below(payout.batch) is 'locks what was split off a batch, which is locked, however often; the ids of all of them';

create function payout.stop_told() returns trigger
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
	line uuid[] := payout.lock_line_below(new);
begin
	perform payout.stop_payouts(array(
		select p.txid from payout.batch b, payout.payout p
		where b.channel_id = new.channel_id and b.batch_id = any (line) and b.state = 'sending' and p.channel_id = b.channel_id and p.batch_id = b.batch_id));
	return null;
end
$$;
comment on function payout.stop_told() is 'trigger: the bank has told of a batch: from the commit on, nothing of it, nor of what was split off it, leaves that was claimed before';

create trigger stop_told after update of told_at on payout.batch for each row when (new.told_at is distinct from old.told_at) execute function payout.stop_told();
alter table payout.batch enable always trigger stop_told;
create trigger stop_requests after insert or update or delete on payout.arming for each row execute function payout.stop_requests('database', 'singleton');
create trigger stop_all_requests after truncate on payout.arming for each statement execute function payout.stop_requests('database', '');
create trigger stop_requests after insert or update or delete on payout.channel for each row execute function payout.stop_requests('channel', 'channel_id');
create trigger stop_requests after insert or update or delete on payout.channel_secret for each row execute function payout.stop_requests('channel', 'channel_id');
create trigger stop_all_requests after truncate on payout.channel_secret for each statement execute function payout.stop_requests('database', '');
create trigger stop_requests after update or delete on payout.merchant for each row execute function payout.stop_requests('merchant', 'merchant_id');
create trigger stop_requests after insert or update or delete on payout.merchant_secret for each row execute function payout.stop_requests('merchant', 'merchant_id');
create trigger stop_all_requests after truncate on payout.merchant_secret for each statement execute function payout.stop_requests('database', '');
create trigger stop_requests after insert or update on payout.hold for each row execute function payout.stop_requests('payout', 'txid');
alter table payout.arming enable always trigger stop_requests;
alter table payout.arming enable always trigger stop_all_requests;
alter table payout.channel enable always trigger stop_requests;
alter table payout.channel_secret enable always trigger stop_requests;
alter table payout.channel_secret enable always trigger stop_all_requests;
alter table payout.merchant enable always trigger stop_requests;
alter table payout.merchant_secret enable always trigger stop_requests;
alter table payout.merchant_secret enable always trigger stop_all_requests;
alter table payout.hold enable always trigger stop_requests;
