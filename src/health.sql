-- health.sql: payout.health(), what a DBA looks at: one row for each check, whatever the number of payouts.
--
-- critical: payouts do not go out or the evidence is not protected; warning: a person should look; ok: nothing to do.
-- Nothing is written, and no row of a payout is shown: the views name those.

create type payout.health_check as (check_name text, status text, detail text, hint text);
comment on type payout.health_check is 'one check: status is ok, warning or critical; hint says what to do and is null when ok';

-- Waiting times in messages, to the second.
create function payout.age_text(since timestamptz, until timestamptz) returns text
language sql immutable parallel safe
set search_path = pg_catalog, pg_temp
return coalesce(date_trunc('second', until - since)::text, 'none');
comment on function payout.age_text(timestamptz, timestamptz) is 'how long ago, for messages, to the second';

-- The server reads payout.databases as a list of identifiers: folded to lower case unless quoted.
create function payout.is_listed_database(p_list text, p_database text) returns boolean
language sql immutable parallel safe
set search_path = pg_catalog, pg_temp
return exists (
	select from regexp_matches(p_list collate "C", '"((?:[^"]|"")*)"|([^",[:space:]]+)', 'g') m
	where coalesce(replace(m[1], '""', '"'), lower(m[2] collate "C")) = p_database);
comment on function payout.is_listed_database(text, text) is 'whether a list in the form of payout.databases names the database';

create function payout.health_preload() returns payout.health_check
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
	perform payout.require_preload();
	return row('preload', 'ok', 'the library is preloaded', null)::payout.health_check;
exception when sqlstate 'PY014' then
	return row('preload', 'critical', 'the library is not preloaded: no worker runs',
			   'Add payout to shared_preload_libraries and restart the server.')::payout.health_check;
end
$$;
comment on function payout.health_preload() is 'health: whether the library is preloaded';

create function payout.health_secret_file() returns payout.health_check
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
	perform payout.identity();
	return row('secret_file', 'ok', 'payout.secret_file is readable', null)::payout.health_check;
exception when sqlstate 'PY015' then
	return row('secret_file', 'critical', sqlerrm,
			   'Set payout.secret_file to a file outside the data directory that only the server''s user can read.')::payout.health_check;
end
$$;
comment on function payout.health_secret_file() is 'health: whether the secret file can be read';

-- A turn that fails is tried again after a second, so failures with less than ten seconds between them are one series.
create function payout.worker_state(out turned_at timestamptz, out failing_since timestamptz, out failed_at timestamptz, out last_error text)
language c volatile parallel unsafe as 'MODULE_PATHNAME', 'payout_worker_state';
comment on function payout.worker_state() is
'this database''s worker: when its last turn ended, and since when turns fail, when the last one did and why; null without a worker, and where none has failed';

-- Whether this database can send at all.
create function payout.health_worker() returns setof payout.health_check
language sql
set search_path = pg_catalog, pg_temp
begin atomic
	select 'armed',
		case when (i.armed and not i.is_held_elsewhere) or i.is_standby then 'ok' else 'critical' end,
		case when i.is_held_elsewhere and not i.is_standby then 'another worker on this host holds payout.secret_file for this very database, or its book: one of the two is a copy'
			when i.armed then 'this database is armed' when i.is_standby then 'a standby sends nothing'
			when i.was_armed then 'armed was another database, another server, this one in another place, or with another secret file'
			else 'this database is not armed: nothing is sent' end,
		case when i.is_held_elsewhere and not i.is_standby then 'Stop the one that must not send; the other goes on by itself.'
			when not i.armed and not i.is_standby
			then 'Where payout.secret_file is missing or another, set it right. Where this is a copy, call payout.arm() here, after making sure that no other one sends.' end
	from (select a.armed, a.armed and payout.is_held_elsewhere() as is_held_elsewhere, pg_is_in_recovery() as is_standby,
			exists (select from payout.arming a where a.is_armed) as was_armed
		  from (select payout.is_armed() as armed offset 0) a) i
	union all
	select 'worker',
		case when w.is_standby or (w.is_running and not w.fails and not w.hangs) then 'ok' else 'critical' end,
		case when w.is_running and w.fails then format('the worker''s turns fail since %s: %s', payout.age_text(w.failing_since, clock_timestamp()), w.last_error)
			when w.is_running and w.hangs then format('no turn of the worker has ended since %s', payout.age_text(w.turned_at, clock_timestamp()))
			when w.is_running then 'the worker of this database runs' when w.is_standby then 'a standby has no worker'
			when not w.is_listed then format('payout.databases does not list "%s"', current_database())
			else 'payout.databases lists this database, but its worker does not run' end,
		case when w.is_standby or (w.is_running and not w.fails and not w.hangs) then null
			when w.is_running and w.fails then 'Nothing is sent or recorded where that fails, and it is tried again each second: the server''s log has the whole message.'
			when w.is_running then 'It waits for something, or its process is stopped: pg_stat_activity and pg_locks say for what.'
			when not w.is_listed then 'Add the database to payout.databases and reload the configuration.'
			else 'The server''s log says why; a worker ends where its database is not armed or another one holds the secret file''s lock.' end
	from (select
			exists (select from pg_stat_activity a where a.backend_type = 'payout worker' and a.datname = current_database()) as is_running,
			s.failing_since, s.turned_at, s.last_error,
			coalesce(s.failed_at - s.failing_since > interval '10 s' and s.failed_at > clock_timestamp() - interval '10 s', false) as fails,
			coalesce(s.turned_at < clock_timestamp() - greatest(interval '60 s', 2 * payout.setting_interval('safety_poll')), false) as hangs,
			pg_is_in_recovery() as is_standby,
			payout.is_listed_database(coalesce(current_setting('payout.databases', true), ''), current_database()) as is_listed
		  from payout.worker_state() s) w
	union all
	select 'launcher',
		case when l.is_running or pg_is_in_recovery() then 'ok' else 'critical' end,
		case when l.is_running then 'the launcher of workers runs' else 'the launcher of workers does not run' end,
		case when not l.is_running and not pg_is_in_recovery() then 'It starts with the server when the library is preloaded; the server''s log says why it ended.' end
	from (select exists (select from pg_stat_activity a where a.backend_type = 'payout launcher') as is_running) l
	union all
	select 'unfolded',
		case when d.changes <= 100000 then 'ok' else 'warning' end,
		case when d.changes <= 100000 then format('%s changes of balances are not folded yet', d.changes) else 'more than 100000 changes of balances are not folded' end,
		case when d.changes > 100000 then 'The worker folds them: does it run, is a balance locked? Until then a balance that is not in shared memory is slow to load.' end
	from (select count(*) as changes from (select from payout.balance_delta limit 100001) x) d;
end;
comment on function payout.health_worker() is 'health: whether this database is armed and its worker runs';

-- Channels: those that do not send, and those that cannot.
create function payout.health_channel() returns setof payout.health_check
language sql
set search_path = pg_catalog, pg_temp
begin atomic
	select 'channel_paused', case when count(*) = 0 then 'ok' else 'warning' end,
		coalesce(string_agg(format('%s: %s', c.channel_id, c.paused_reason), '; ' order by c.channel_id), 'no channel is paused'),
		case when count(*) > 0 then 'payout.resume_channel lets a channel send again, once the reason is gone.' end
	from payout.channel c where c.paused_at is not null
	union all
	select 'channel_resting', case when count(*) = 0 then 'ok' else 'warning' end,
		coalesce(string_agg(format('%s until %s: %s', c.channel_id, c.not_before, c.not_before_reason), '; ' order by c.channel_id),
				 'no channel rests'),
		case when count(*) > 0 then 'The bank refused for now; it is tried again by itself, or at once with payout.resume_channel.' end
	from payout.channel c where c.not_before > payout.clock()
	union all
	select 'channel_secrets', case when count(*) = 0 then 'ok' else 'critical' end,
		coalesce(string_agg(format('%s: %s', n.channel_id, n.names), '; ' order by n.channel_id), 'all channels have their secrets'),
		case when count(*) > 0 then 'Set them with payout.set_secret(''channel:ID'', name, value).' end
	from (select c.channel_id, string_agg(k.name, ', ' order by k.name) as names
		  from payout.channel c cross join unnest('{private_key,client_secret}'::text[]) k (name)
		  where not exists (select from payout.channel_secret s where s.channel_id = c.channel_id and s.name = k.name)
		  group by c.channel_id) n
	union all
	select 'channel_bank_key', case when count(*) = 0 then 'ok' else 'warning' end,
		coalesce(string_agg(c.channel_id, ', ' order by c.channel_id), 'all channels have their bank''s public key'),
		case when count(*) > 0 then 'Without the secret bank_public_key the bank''s notices are refused; inquiries alone tell what became of a transfer.' end
	from payout.channel c
	where not exists (select from payout.channel_secret s where s.channel_id = c.channel_id and s.name = 'bank_public_key')
	union all
	select 'channel_options', case when count(*) = 0 then 'ok' else 'critical' end,
		coalesce(string_agg(format('%s: %s', n.channel_id, n.names), '; ' order by n.channel_id), 'all channels have their options'),
		case when count(*) > 0 then 'Set them with payout.alter_channel.' end
	from (select c.channel_id, string_agg(k.name, ', ' order by k.name) as names
		  from payout.channel c cross join unnest('{client_id,partner_id,channel_header,source_account_no}'::text[]) k (name)
		  where not c.options ? k.name
		  group by c.channel_id) n;
end;
comment on function payout.health_channel() is 'health: channels that do not send or cannot';

-- Payouts that wait for a person or longer than they should.
create function payout.health_payout() returns setof payout.health_check
language sql
set search_path = pg_catalog, pg_temp
begin atomic
	select 'hold_' || l.lane, case when h.payouts = 0 then 'ok' else 'warning' end,
		case when h.payouts = 0 then 'no payout is set aside'
			else format('%s set aside, the oldest since %s: %s', h.payouts, payout.age_text(h.oldest, clock_timestamp()), h.first_reason) end,
		case when h.payouts > 0 then 'They stand in payout.v_hold; payout.resolve decides them or lets them go on.' end
	from unnest('{validate,dispatch,check,expire}'::text[]) l (lane),
	lateral (select count(*) as payouts, min(q.at) as oldest, (array_agg(q.reason order by q.at))[1] as first_reason
			 from payout.hold q where q.lane = l.lane) h
	union all
	select 'suspect', case when count(*) = 0 then 'ok' else 'warning' end,
		case when count(*) = 0 then 'no payout is suspect for over an hour'
			else format('%s suspect for over an hour, the oldest for %s', count(*), payout.age_text(min(e.at), clock_timestamp())) end,
		case when count(*) > 0 then 'A bank is asked by itself, a store confirms or reverses, or says it in its list; where they stay silent, ask them with the TXID and decide with payout.resolve.' end
	from payout.payout p,
	lateral (select max(v.at) as at from payout.payout_event v
			 where v.merchant_id = p.merchant_id and v.txid = p.txid and v.to_state = 'suspect' and v.from_state <> 'suspect') e
	where p.state = 'suspect' and e.at < clock_timestamp() - interval '1 hour'
	union all
	select 'disputed', case when count(*) = 0 then 'ok' else 'warning' end,
		case when count(*) = 0 then 'no payout is disputed' else format('%s disputed over %s', count(*), sum(p.amount)) end,
		case when count(*) > 0 then 'The bank or store contradicted an end; decide each with payout.resolve.' end
	from payout.payout p where p.disputed_at is not null
	union all
	select 'doubted', case when count(*) = 0 then 'ok' else 'warning' end,
		case when count(*) = 0 then 'no end is in doubt'
			else format('%s ends over %s are in doubt, the oldest for %s', count(*), sum(p.amount), payout.age_text(min(p.doubted_at), clock_timestamp())) end,
		case when count(*) > 0 then 'They stand in payout.v_payout with doubted_at. The bank has contradicted the end and is asked until it answers; payout.resolve with the state that is right decides.' end
	from payout.payout p where p.doubted_at is not null;
end;
comment on function payout.health_payout() is 'health: payouts that wait for a person';

-- What the bank accepted and, for an hour, says nothing of that fits, however often it is asked. Counted are those that wait for the
-- next inquiry, up to a bound.
create function payout.health_unanswered() returns payout.health_check
language plpgsql
set search_path = pg_catalog, pg_temp
set enable_seqscan = off
as $$
declare
	payouts bigint;
begin
	select count(*) into payouts
	from (select p.merchant_id, p.txid, p.channel_id, p.batch_id from payout.payout p
		  where p.status_due_at is not null and p.state = 'processing' and p.status_tries >= 3 limit 10000) p,
	lateral (select from payout.batch b
			 where b.channel_id = p.channel_id and b.batch_id = p.batch_id and b.sent_at < payout.clock() - interval '1 hour' offset 0) b
	where not exists (select from payout.attempt c
					  where c.txid = p.txid and c.merchant_id = p.merchant_id and c.lane = 'check' and c.answer <> 'unknown'
					  and c.started_at > clock_timestamp() - interval '1 hour');
	return row('unanswered', case when payouts = 0 then 'ok' else 'warning' end,
		case when payouts = 0 then 'the bank answers inquiries for what it accepted'
			else format('%s accepted over an hour ago, and no inquiry was answered in the last hour', payouts) end,
		case when payouts > 0 then 'payout.attempt says what the answers lacked; ask the bank with the TXID, and decide with payout.resolve.' end)::payout.health_check;
end
$$;
comment on function payout.health_unanswered() is 'health: accepted payouts of which the bank, asked again and again, says nothing that fits';

-- What the bank accepted, and then says again and again that it does not know.
create function payout.health_not_found() returns payout.health_check
language plpgsql
set search_path = pg_catalog, pg_temp
set enable_seqscan = off
as $$
declare
	payouts bigint;
begin
	select count(*) into payouts
	from (select from payout.payout p,
		  lateral (select from payout.batch b, payout.channel c
				   where b.channel_id = p.channel_id and b.batch_id = p.batch_id and c.channel_id = p.channel_id
				   and p.not_found >= payout.option_text('channel', c.options, 'not_found_count')::integer
				   and b.sent_at < payout.clock() - payout.option_interval(c.options, 'not_found_grace_s') offset 0) b
		  where p.final_at is null and p.state = 'processing' and p.not_found > 0 limit 10000) q;
	return row('accepted_not_found', case when payouts = 0 then 'ok' else 'warning' end,
		case when payouts = 0 then 'the bank knows what it accepted' else format('%s%s accepted by the bank, which does not find them when it is asked', case when payouts = 10000 then 'at least ' end, payouts) end,
		case when payouts > 0 then 'They stand in payout.v_payout as processing, and are asked for on. Ask the bank with the TXID, and decide with payout.resolve.' end)::payout.health_check;
end
$$;
comment on function payout.health_not_found() is 'health: accepted payouts that the bank, asked often enough and late enough, does not find';

-- See books.sql.
create function payout.health_books() returns payout.health_check
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
	payouts bigint;
	oldest timestamptz;
begin
	select count(distinct (p.merchant_id, p.txid)), min(h.at) into payouts, oldest
	from payout.hold h
	join payout.payout p on p.merchant_id = h.merchant_id and p.txid = h.txid
	join payout.batch b on b.channel_id = p.channel_id and b.batch_id = p.batch_id
	join payout.channel c on c.channel_id = b.channel_id
	where b.epoch <> c.epoch;
	return row('other_books', case when payouts = 0 then 'ok' else 'warning' end,
		case when payouts = 0 then 'nothing is open at a bank that stood behind a channel before'
			else format('%s payouts are open at banks that stood behind their channels before, the oldest since %s', payouts, payout.age_text(oldest, clock_timestamp())) end,
		case when payouts > 0 then 'They stand in payout.v_hold. Nobody asks those banks by itself: ask them with the TXID, and decide with payout.resolve.' end)::payout.health_check;
end
$$;
comment on function payout.health_books() is 'health: payouts that wait for the word of a bank that does not stand behind their channel any more';

-- Lateness, by the worker's own reading of what is due, so without what is paused, at rest or set aside.
create function payout.health_lane() returns setof payout.health_check
language sql
set search_path = pg_catalog, pg_temp
begin atomic
	select 'late_' || d.lane,
		case when d.late > interval '10 min' then 'critical' when d.late > interval '1 min' then 'warning' else 'ok' end,
		case when d.late >= interval '1 s' then format('the oldest due work waits for %s', date_trunc('second', d.late)) else 'nothing waits' end,
		case when d.late > interval '1 min' then 'Is the worker running and armed, does the bank or merchant answer, is in_flight_max or payout.max_in_flight too low?' end
	from (
		select l.lane, payout.clock() - payout.next_due(
			case when l.lane = 'validate' then '{}' else c.ids end,
			case when l.lane = 'dispatch' then '{}' else c.ids end,
			case when l.lane = 'check' then '{}' else c.ids end,
			l.lane <> 'notify', '{}', '', l.lane <> 'expire') as late
		from unnest('{validate,dispatch,check,notify,expire}'::text[]) l (lane),
			(select coalesce(array_agg(q.channel_id::text), '{}') as ids from payout.channel q) c) d;
end;
comment on function payout.health_lane() is 'health: how long due work waits, for each lane';

-- Somebody may be guessing tokens.
create function payout.health_token() returns setof payout.health_check
language sql
set search_path = pg_catalog, pg_temp
begin atomic
	select 'token_locks', case when coalesce(l.terminals + l.stores, 0) = 0 then 'ok' else 'warning' end,
		case when coalesce(l.terminals + l.stores, 0) = 0 then 'no terminal or store is locked'
			else format('locked after too many wrong tokens: terminals %s, stores %s', l.terminals, l.stores) end,
		case when l.terminals + l.stores > 0 then 'Ask the store what happens there. payout.unlock_terminal unlocks, payout.alter_cvs suspends a store; a terminal tries again after payout.token_lockout.' end
	from payout.token_locks() l;
end;
comment on function payout.health_token() is 'health: terminals and stores locked after wrong tokens';

-- Stored secrets that are of no use, and what a rotation of the secret file still waits for.
create function payout.health_secret() returns setof payout.health_check
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
	unopened text[];
	old_file text := current_setting('payout.secret_file_old', true);
	waiting text;
begin
	begin
		unopened := payout.unopened_secrets();
		return next row('secrets_sealed', case when unopened = '{}' then 'ok' else 'critical' end,
			case when unopened = '{}' then 'all stored secrets open'
				else format('%s stored secrets do not open and are not used: %s', cardinality(unopened), array_to_string(unopened[:20], ', ')) end,
			case when unopened <> '{}' then 'They were sealed with another secret file, or were changed: name that file in payout.secret_file_old and call payout.rotate_secret_key(), or set them again with payout.set_secret.' end)::payout.health_check;
	exception when sqlstate 'PY015' then
		return next row('secrets_sealed', 'critical', 'without payout.secret_file no stored secret opens', 'Set payout.secret_file.')::payout.health_check;
	end;
	if coalesce(old_file, '') = '' then
		return next row('secret_rotation', 'ok', 'payout.secret_file_old is not set', null)::payout.health_check;
		return;
	end if;
	begin
		perform payout.old_secret_digest();
		if exists (select from payout.stored_secrets() s where s.key_id <> payout.seal_key_id()) then
			waiting := 'stored secrets';
		elsif exists (select from payout.payout p join payout.cashout_token t on t.merchant_id = p.merchant_id and t.txid = p.txid and t.replaced_at is null
					  where p.kind = 'cashout' and p.final_at is null and t.key_id <> payout.token_key_id()) then
			waiting := 'tokens';
		end if;
		return next row('secret_rotation', case when waiting = 'tokens' then 'ok' else 'warning' end,
			case waiting when 'stored secrets' then 'stored secrets are sealed with another file than payout.secret_file'
				when 'tokens' then 'tokens that were issued before the rotation are not at their end yet: payout.secret_file_old is needed'
				else 'nothing needs payout.secret_file_old any more' end,
			case when waiting = 'stored secrets' then 'Call payout.rotate_secret_key().'
				when waiting is null then 'Empty the setting, reload, and destroy that file.' end)::payout.health_check;
	exception when sqlstate 'PY015' then
		return next row('secret_rotation', 'critical', sqlerrm, 'payout.secret_file_old names the file that was payout.secret_file before, for as long as a rotation lasts.')::payout.health_check;
	end;
end
$$;
comment on function payout.health_secret() is 'health: stored secrets that do not open, and the rotation of the secret file';

-- Messages in both directions.
create function payout.health_message() returns setof payout.health_check
language sql
set search_path = pg_catalog, pg_temp
begin atomic
	select 'notifications_given_up', case when count(*) = 0 then 'ok' else 'warning' end,
		case when count(*) = 0 then 'no notification was given up'
			else format('%s given up, for %s merchants', count(*), count(distinct n.merchant_id)) end,
		case when count(*) > 0 then 'payout.resend_notification delivers them once the merchant''s end answers.' end
	from payout.notification n where n.given_up_at is not null
	union all
	select 'notices_unknown', case when count(*) = 0 then 'ok' else 'warning' end,
		case when count(*) = 0 then 'the notices of the last 7 days name only payouts of ours'
			else format('%s items in %s notices of the last 7 days match no payout', sum(n.unknown_items), count(*)) end,
		case when count(*) > 0 then 'payout.notice names them; compare with the bank''s statement.' end
	from payout.notice n
	where n.unknown_items > 0 and n.received_at > clock_timestamp() - interval '168 hours'
	union all
	select 'webhook_secret', case when count(*) = 0 then 'ok' else 'warning' end,
		case when count(*) = 0 then 'all merchants with a notify_url have their secret'
			else format('%s merchants with a notify_url have no webhook_secret, the first is %s', count(*), min(m.merchant_id)) end,
		case when count(*) > 0 then 'Set it with payout.set_secret(''merchant:ID'', ''webhook_secret'', value): notifications are signed with it.' end
	from payout.merchant m
	where m.notify_url is not null
	and not exists (select from payout.merchant_secret s where s.merchant_id = m.merchant_id and s.name = 'webhook_secret');
end;
comment on function payout.health_message() is 'health: notifications to merchants and notices of banks';

-- What guards the records, and what slows them down.
create function payout.health_server() returns setof payout.health_check
language sql
set search_path = pg_catalog, pg_temp
begin atomic
	select 'triggers', case when count(*) = 0 then 'ok' else 'critical' end,
		coalesce(string_agg(format('%s on %s', x.trigger_name, x.table_name), ', ' order by x.table_name, x.trigger_name),
				 'all triggers are there and enabled'),
		case when count(*) > 0 then 'These are missing or disabled: records can be changed. Find out by whom, then enable them, with ENABLE ALWAYS on transfer, payout_event and attempt.' end
	from (
		select w.table_name, w.trigger_name from (values
			('transfer', 'refuse_change', 'A'), ('transfer', 'refuse_truncate', 'A'),
			('payout_event', 'refuse_change', 'A'), ('payout_event', 'refuse_truncate', 'A'),
			('payout_approval', 'refuse_change', 'A'), ('payout_approval', 'refuse_truncate', 'A'),
			('approver_day', 'refuse_delete', 'A'), ('approver_day', 'refuse_truncate', 'A'),
			('batch', 'stop_told', 'A'), ('attempt', 'complete_once', 'A'), ('attempt', 'refuse_change', 'A'), ('attempt', 'refuse_truncate', 'A'),
			('chain_link', 'refuse_change', 'A'), ('chain_link', 'refuse_truncate', 'A'),
			('batch', 'refuse_frozen', 'A'), ('batch', 'refuse_closed', 'A'), ('batch', 'refuse_delete', 'A'), ('batch', 'refuse_truncate', 'A'),
			('notification', 'refuse_frozen', 'A'), ('notification', 'refuse_delete', 'A'), ('notice', 'refuse_delete', 'A'), ('notice', 'refuse_truncate', 'A'),
			('incarnation', 'refuse_frozen', 'A'), ('incarnation', 'refuse_delete', 'A'), ('incarnation', 'refuse_truncate', 'A'),
			('cashout_token', 'refuse_frozen', 'A'), ('redemption', 'refuse_frozen', 'A'),
			('merchant', 'refuse_identity', 'O'), ('channel', 'refuse_identity', 'O'), ('bank', 'refuse_identity', 'O'), ('cvs', 'refuse_identity', 'O'), ('access_grant', 'refuse_identity', 'O'),
			('admin_event', 'refuse_change', 'A'), ('admin_event', 'refuse_truncate', 'A'),
			('admin_link', 'refuse_change', 'A'), ('admin_link', 'refuse_truncate', 'A'),
			('lost_tail', 'refuse_change', 'O'), ('lost_tail', 'refuse_truncate', 'O'), ('unpaid_cash', 'refuse_change', 'O'), ('unpaid_cash', 'refuse_truncate', 'O'),
			('payout', 'move', 'O'), ('payout', 'refuse_delete', 'O'), ('payout', 'refuse_truncate', 'O'),
			('balance', 'refuse_delete', 'O'), ('balance', 'refuse_truncate', 'O'),
			('merchant', 'refuse_delete', 'O'), ('merchant', 'refuse_truncate', 'O'),
			('channel', 'refuse_delete', 'O'), ('channel', 'refuse_truncate', 'O'),
			('bank', 'refuse_delete', 'O'), ('bank', 'refuse_truncate', 'O'),
			('cvs', 'refuse_delete', 'O'), ('cvs', 'refuse_truncate', 'O'),
			('cashout_token', 'refuse_delete', 'O'), ('cashout_token', 'refuse_truncate', 'O'),
			('redemption', 'refuse_delete', 'O'), ('redemption', 'refuse_truncate', 'O'),
			('notification', 'refuse_truncate', 'O'),
			('balance', 'zz_follow', 'A'), ('balance_delta', 'zz_follow', 'A'), ('balance_delta', 'zz_follow_delete', 'A'), ('balance_delta', 'refuse_change', 'O'), ('balance_delta', 'refuse_delete', 'O'), ('balance_delta', 'refuse_truncate', 'O'),
			('merchant', 'forget_rows', 'A'), ('cvs', 'forget_rows', 'A'), ('access_grant', 'forget_rows', 'A'), ('channel', 'forget_rows', 'A'), ('channel_secret', 'forget_rows', 'A'), ('bank', 'forget_rows', 'A'), ('option_definition', 'forget_rows', 'A'), ('allowed_move', 'forget_rows', 'A'),
			('arming', 'stop_requests', 'A'), ('arming', 'stop_all_requests', 'A'), ('channel', 'stop_requests', 'A'), ('channel_secret', 'stop_requests', 'A'), ('channel_secret', 'stop_all_requests', 'A'),
			('merchant', 'stop_requests', 'A'), ('merchant_secret', 'stop_requests', 'A'), ('merchant_secret', 'stop_all_requests', 'A'), ('hold', 'stop_requests', 'A'),
			('transfer', 'follow', 'O'), ('payout', 'wake', 'O')
			union all
			select r.relation, t.name, 'O' from payout.recorded_tables() r, (values ('record_change'), ('record_truncate')) t (name)) w (table_name, trigger_name, enabled)
		where not exists (
			select from pg_trigger t
			where t.tgrelid = to_regclass('payout.' || w.table_name) and t.tgname = w.trigger_name
			and t.tgenabled::text in (w.enabled, 'A'))) x
	union all
	select 'testing', case when s.testing then 'warning' else 'ok' end,
		case when not s.testing then 'the clock is the server''s'
			else format('payout.testing is on, payout.clock_offset is %s', current_setting('payout.clock_offset', true)) end,
		case when s.testing then 'Turn payout.testing off where real money moves: it lets the clock of schedules and expiry be moved.' end
	from (select coalesce(current_setting('payout.testing', true), 'off')::boolean as testing) s
	union all
	select 'allow_hosts', case when s.hosts = '' then 'ok' else 'warning' end,
		case when s.hosts = '' then 'only public hosts are reached, over https'
			else format('over plain http or at private addresses: %s', s.hosts) end,
		case when s.hosts <> '' then 'Empty payout.allow_hosts unless these hosts are yours.' end
	from (select coalesce(current_setting('payout.allow_hosts', true), '') as hosts) s
	union all
	select 'snapshot', case when count(*) = 0 then 'ok' else 'warning' end,
		case when count(*) = 0 then 'no transaction keeps a snapshot for over 10 minutes'
			else format('%s transactions are older than 10 minutes, the oldest %s: %s', count(*),
						payout.age_text(min(s.since), clock_timestamp()), (array_agg(s.who order by s.since))[1]) end,
		case when count(*) > 0 then 'They keep dead rows from being removed, and the work queues slow down; end them or run them on a standby.' end
	from (
		select a.xact_start as since, format('process %s', a.pid) as who
		from pg_stat_activity a
		where a.datname = current_database() and coalesce(a.backend_xmin, a.backend_xid) is not null
		union all
		select p.prepared, format('prepared transaction "%s"', p.gid)
		from pg_prepared_xacts p where p.database = current_database()) s
	where s.since < clock_timestamp() - interval '10 min';
end;
comment on function payout.health_server() is 'health: triggers that guard the records, settings for tests, old snapshots';

-- Grants that stand for nobody, and roles that a restore without rights or a later version left without what they need.
create function payout.health_access() returns setof payout.health_check
language sql
set search_path = pg_catalog, pg_temp
begin atomic
	select 'access_grants', case when w.gone is null and w.lacking is null then 'ok' else 'warning' end,
		coalesce(nullif(concat_ws('; ', 'of roles that were dropped: ' || w.gone, 'without all rights of their kind: ' || w.lacking), ''),
				 'all grants are of roles that are there and have their rights'),
		case when w.gone is not null or w.lacking is not null
			then 'payout.revoke_access removes a grant, also by the number of a role that was dropped; payout.grant_access repeated gives the rights again.' end
	from (
		select string_agg(format('%s %s %s', g.role_name, g.kind, g.scope), ', ' order by g.role_name::oid, g.kind, g.scope)
				filter (where a.oid is null) as gone,
			string_agg(distinct format('%s %s', g.role_name, g.kind), ', ') filter (where a.oid is not null and exists (
				select from payout.rights_of(g.kind) q where not payout.has_right(a.oid, q.privilege, q.class, q.object))) as lacking
		from payout.access_grant g
		left join pg_roles a on a.oid = g.role_name) w;
end;
comment on function payout.health_access() is 'health: grants of roles that are gone or lack the rights of their kind';

-- What a promotion or a restore has lost, see lost_tail.sql.
create function payout.health_lost_tail() returns payout.health_check
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
	since timestamptz := max(t.at) from payout.lost_tail t;
	payouts bigint;
begin
	if not pg_is_in_recovery() and payout.may_lack_tail() then
		return row('lost_tail', 'warning', 'no worker has begun since this server, or database, took over',
			'What was ordered before is asked for before it is sent, as soon as the worker turns: see Failover in the README.')::payout.health_check;
	end if;
	if since is null then
		return row('lost_tail', 'ok', 'no promotion or restore has lost a record of what was sent', null)::payout.health_check;
	end if;
	payouts := payout.lost_tail_left();
	return row('lost_tail', case when payouts = 0 then 'ok' else 'warning' end,
		format('%s payouts that were ordered until the take-over of %s are not at their end', case when payouts = 0 then 'no' else payouts::text end, since),
		case when payouts > 0 then 'They are asked for before they are sent. Those that the bank does not find are sent by themselves where the channel''s option reference_memory_s allows it; the others stand in payout.v_hold.' end)::payout.health_check;
end
$$;
comment on function payout.health_lost_tail() is 'health: payouts that are asked for before they are sent, because a promotion or restore has lost what was recorded last';

-- The bank can be asked, a store's till cannot. Counted are tokens that no store has brought to an end here, up to a bound.
create function payout.health_lost_tail_cash() returns payout.health_check
language plpgsql
set search_path = pg_catalog, pg_temp
set enable_seqscan = off
as $$
declare
	since timestamptz := max(t.at) from payout.lost_tail t;
	tokens bigint;
begin
	if not pg_is_in_recovery() and payout.may_lack_tail() then
		return row('lost_tail_cash', 'warning', 'no worker has begun since this server, or database, took over',
			'A store may have paid any token that is out. Suspend the stores (payout.alter_cvs, active false) until their lists are compared: see Failover in the README.')::payout.health_check;
	elsif since is null then
		return row('lost_tail_cash', 'ok', 'no promotion or restore has lost a record of what stores paid', null)::payout.health_check;
	end if;
	select count(*) into tokens
	from (select from payout.payout p
		  where p.expire_due_at is not null and p.registered_at <= since
		  and not exists (select from payout.unpaid_cash u where u.merchant_id = p.merchant_id and u.txid = p.txid and u.lost_until >= since)
		  limit 10000) q;
	return row('lost_tail_cash', case when tokens = 0 then 'ok' else 'warning' end,
		format('%s%s tokens are out of cashouts that were registered until the take-over of %s', case when tokens = 10000 then 'at least ' end, case when tokens = 0 then 'no' else tokens::text end, since),
		case when tokens > 0 then 'A store may have paid any of them without a record here, so they do not end by themselves. Suspend the stores (payout.alter_cvs, active false), compare with their lists (payout.import_cvs_settlement, with "txid"), and say of each that no store has paid (payout.resolve with dispatch).' end)::payout.health_check;
end
$$;
comment on function payout.health_lost_tail_cash() is 'health: tokens of cashouts from before a lost tail, which stores may have paid';

create function payout.health() returns table (check_name text, status text, detail text, hint text)
language c volatile parallel unsafe as 'MODULE_PATHNAME', 'payout_entry';
comment on function payout.health() is 'one row for each check: status ok, warning or critical, what was found, and what to do about it';

create function payout.do_health() returns table (check_name text, status text, detail text, hint text)
language sql
set search_path = pg_catalog, pg_temp
begin atomic
	select * from payout.health_preload()
	union all select * from payout.health_secret_file()
	union all select * from payout.health_secret()
	union all select * from payout.health_worker()
	union all select * from payout.health_channel()
	union all select * from payout.health_payout()
	union all select * from payout.health_unanswered()
	union all select * from payout.health_not_found()
	union all select * from payout.health_books()
	union all select * from payout.health_lane()
	union all select * from payout.health_lost_tail()
	union all select * from payout.health_lost_tail_cash()
	union all select * from payout.health_token()
	union all select * from payout.health_message()
	union all select * from payout.health_server()
	union all select * from payout.health_access();
end;
comment on function payout.do_health() is 'work of payout.health';
