-- attempt.sql: the worker's own records: incarnations, batches, attempts, and the arming of this database.
--
-- Save before send: an attempt's row, with its external id and the digest of its body, is committed before the first
-- byte leaves. So after a crash the rows without an outcome name everything that may have been sent.

create table payout.incarnation (
	incarnation_id uuid primary key,
	pid integer not null,
	started_at timestamptz not null default clock_timestamp(),
	ended_at timestamptz,
	installation_id uuid not null default payout.own_installation(),
	place bytea not null default payout.place(),
	timeline_id integer not null default payout.timeline()
);
create index incarnation_of on payout.incarnation (installation_id);
create index incarnation_alive on payout.incarnation (installation_id) where ended_at is null;
comment on table payout.incarnation is 'each life of this database''s worker';
comment on column payout.incarnation.ended_at is 'when the next life found it gone';
comment on column payout.incarnation.installation_id is 'the creation of the extension that it is a life of: one that came with a dump is of another';
comment on column payout.incarnation.place is 'where it ran: payout.place() then';
comment on column payout.incarnation.timeline_id is 'the server''s timeline when it began: another one means a promotion or a restore, see lost_tail.sql';

create table payout.batch (
	channel_id text collate "C" not null,
	batch_id uuid not null,
	service smallint not null check (service in (17, 18, 20)),
	epoch integer not null,
	state text not null default 'open' check (state in ('open', 'sending', 'accepted', 'refused', 'split', 'unknown')),
	parent_batch_id uuid,
	source_account_no text not null,
	transaction_date timestamptz not null,
	item_count integer not null check (item_count > 0),
	total numeric(22,2) not null,
	due_at timestamptz,
	sent_at timestamptz,
	tries integer not null default 0,
	was_unknown boolean not null default false,
	by_person boolean not null default false,
	asked_since timestamptz,
	decided_at timestamptz,
	told_at timestamptz,
	bank_batch_no text,
	response_code text,
	created_at timestamptz not null default clock_timestamp(),
	closed_at timestamptz,
	salt bytea default payout.new_salt(),
	primary key (channel_id, batch_id)
) with (fillfactor = 70);
comment on table payout.batch is 'payouts sent to a channel together; its members, their references and its date are frozen, so that a resend is the same order';
comment on column payout.batch.service is 'SNAP service: 17 and 18 carry one payout, 20 many';
comment on column payout.batch.state is 'open (to be sent at due_at), sending, accepted by the bank, refused (final, nothing paid), split (refused whole, sent again in halves), unknown (members are asked for one by one)';
comment on column payout.batch.source_account_no is 'our account that is debited: the one that all members were registered with';
comment on column payout.batch.salt is 'what its orders are digested with, see payout.attempt.request_digest';
comment on column payout.batch.was_unknown is 'an earlier sending may have arrived: a later refusal proves nothing';
comment on column payout.batch.by_person is 'a person decided that it is sent again: however long the bank refuses a repeated reference';
comment on column payout.batch.epoch is 'payout.channel.epoch when it was made: it is sent, and asked for, only while that is the channel''s';
comment on column payout.batch.decided_at is 'when it was decided that what was in doubt is sent again; null: it was not, or is in doubt anew';
comment on column payout.batch.told_at is 'when the bank said last, by a notice or by a late answer to an inquiry, what became of a payout of it: so it has it, whatever it answered, and is asked before it is sent, split or refused';
comment on column payout.batch.asked_since is 'when it last became unknown: what the bank was asked before proves nothing any more';

create index batch_due on payout.batch (channel_id, due_at) where due_at is not null;
create index batch_parent on payout.batch (channel_id, parent_batch_id) where parent_batch_id is not null;

create table payout.attempt (
	channel_id text collate "C" not null,
	attempt_id uuid not null,
	lane text not null check (lane in ('validate', 'dispatch', 'check')),
	service smallint not null,
	batch_id uuid,
	merchant_id text collate "C",
	txid text collate "C",
	external_id text collate "C" not null,
	asked_attempt_id uuid,
	request_digest bytea not null,
	incarnation_id uuid not null,
	started_at timestamptz not null default clock_timestamp(),
	finished_at timestamptz,
	outcome text check (outcome in ('not_sent', 'yes', 'no', 'refused_for_now', 'unknown')),
	class text,
	http_status integer,
	response_code text,
	latency_ms integer,
	answer text,
	excerpt text check (length(excerpt) <= 500),
	host text collate "C",
	wire_codes text collate "C",
	primary key (channel_id, attempt_id),
	check ((outcome is null) = (finished_at is null)),
	check ((lane = 'dispatch') = (batch_id is not null)),
	check ((lane <> 'dispatch') = (merchant_id is not null and txid is not null)),
	check (case lane when 'check' then answer in ('paid', 'pending', 'refunded', 'canceled', 'failed', 'not_found', 'unknown')
		else num_nonnulls(asked_attempt_id, answer) = 0 end)
) with (autovacuum_vacuum_scale_factor = 0.05);
comment on table payout.attempt is 'one HTTP exchange with a bank: written before it is sent, completed once, never changed after';
comment on column payout.attempt.outcome is 'not_sent, yes, no, refused_for_now or unknown; null while it may be under way';
comment on column payout.attempt.request_digest is 'SHA-256 of the body over a salt, that of the batch or the payout''s content_salt: an account number behind a bare digest could be guessed, and these rows stay when the salt is erased. A batch is never sent again with another body';
comment on column payout.attempt.asked_attempt_id is 'lane check: the sending that is asked for; null: the bank is asked by the TXID alone';
comment on column payout.attempt.answer is 'lane check: what the bank says of it: paid, pending, refunded, canceled, failed, not_found or unknown';
comment on column payout.attempt.host is 'host and port of the URL to which it was sent, or was to be';
comment on column payout.attempt.wire_codes is 'the codes of the destination banks in it, each once, with commas between: of the one payout, or of all that the bulk carries; null for inquiries, which name none';
comment on column payout.attempt.excerpt is 'the beginning of what went wrong, never a whole body; null where nothing did';

-- No index knows of the outcome, so that writing it touches none (HOT); payout.under_way finds what has none yet.
create index attempt_batch on payout.attempt (batch_id) where batch_id is not null;
create index attempt_payout on payout.attempt using hash (txid) where txid is not null;

create table payout.under_way (
	claim_id uuid primary key default payout.new_id(),
	channel_ids text[] not null,
	attempt_ids uuid[] not null
) with (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 1000);
comment on table payout.under_way is 'names each attempt that has no outcome, by the claim that wrote it; rows of which all have one are deleted some time later';

create function payout.complete_once() returns trigger
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
	if old.outcome is not null or new.outcome is null
		or (new.channel_id, new.attempt_id, new.lane, new.service, new.batch_id, new.merchant_id, new.txid, new.external_id,
			new.asked_attempt_id, new.request_digest, new.incarnation_id, new.started_at, new.host, new.wire_codes) is distinct from
		   (old.channel_id, old.attempt_id, old.lane, old.service, old.batch_id, old.merchant_id, old.txid, old.external_id,
			old.asked_attempt_id, old.request_digest, old.incarnation_id, old.started_at, old.host, old.wire_codes) then
		raise exception 'an attempt is completed once and then never changed'
			using errcode = 'restrict_violation', hint = 'Rows of payout.attempt are evidence.';
	end if;
	return new;
end
$$;
comment on function payout.complete_once() is 'trigger: an attempt gets its outcome once';

create trigger complete_once before update on payout.attempt for each row execute function payout.complete_once();
create trigger refuse_change before delete on payout.attempt for each row execute function payout.refuse_change();
create trigger refuse_truncate before truncate on payout.attempt for each statement execute function payout.refuse_change();
alter table payout.attempt enable always trigger complete_once;
alter table payout.attempt enable always trigger refuse_change;
alter table payout.attempt enable always trigger refuse_truncate;

create function payout.save_attempts(p_incarnation_id uuid, p_channel_ids text[], p_attempt_ids uuid[], p_lanes text[], p_services integer[],
									 p_batch_ids text[], p_merchant_ids text[], p_txids text[], p_external_ids text[], p_digests bytea[],
									 p_asked_attempt_ids text[] default '{}', p_hosts text[] default '{}', p_wire_codes text[] default '{}')
returns uuid
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
	claim uuid := payout.new_id();
begin
	insert into payout.attempt (channel_id, attempt_id, lane, service, batch_id, merchant_id, txid, external_id, asked_attempt_id, request_digest, incarnation_id, host, wire_codes)
	select u.channel_id, u.attempt_id, u.lane, u.service, u.batch_id::uuid, u.merchant_id, u.txid, u.external_id, u.asked_attempt_id::uuid, u.digest, p_incarnation_id,
		u.host, u.wire_codes
	from unnest(p_channel_ids, p_attempt_ids, p_lanes, p_services, p_batch_ids, p_merchant_ids, p_txids, p_external_ids, p_digests, p_asked_attempt_ids, p_hosts, p_wire_codes)
		as u (channel_id, attempt_id, lane, service, batch_id, merchant_id, txid, external_id, digest, asked_attempt_id, host, wire_codes);
	insert into payout.under_way (claim_id, channel_ids, attempt_ids) values (claim, p_channel_ids, p_attempt_ids);
	return claim;
end
$$;
comment on function payout.save_attempts(uuid, text[], uuid[], text[], integer[], text[], text[], text[], text[], bytea[], text[], text[], text[]) is
'worker: writes attempts before they are sent; dispatch names batches, the other lanes payouts, check also the sendings asked for; hosts and codes: see payout.attempt. Answers with the id of the claim';

-- Claims of which the worker has seen the end. Of those that it forgets the next life finds out.
create function payout.end_claims(p_incarnation_id uuid, p_claim_ids uuid[]) returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
	delete from payout.under_way w where w.claim_id = any (p_claim_ids);
end
$$;
comment on function payout.end_claims(uuid, uuid[]) is 'worker: all attempts of these claims have an outcome';

-- Completes an attempt. Null when it is not ours any more: another life of the worker has already called it unknown.
create function payout.finish_attempt(p_channel_id text, p_attempt_id uuid, p_incarnation_id uuid, p_outcome text,
									  p_class text, p_http_status integer, p_response_code text, p_latency_ms integer,
									  p_excerpt text) returns payout.attempt
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
	a payout.attempt;
begin
	update payout.attempt
	set outcome = p_outcome, class = p_class, http_status = nullif(p_http_status, 0), response_code = p_response_code,
		latency_ms = p_latency_ms, answer = case when lane = 'check' then 'unknown' end, excerpt = left(p_excerpt, 500), finished_at = clock_timestamp()
	where channel_id = p_channel_id and attempt_id = p_attempt_id and incarnation_id = p_incarnation_id and outcome is null
	returning * into a;
	return a;
end
$$;
comment on function payout.finish_attempt(text, uuid, uuid, text, text, integer, text, integer, text) is
'worker: writes an attempt''s outcome, once, and only by the life that made it';

create type payout.ended as (
	channel_id text, attempt_id uuid, batch_id uuid, merchant_id text, txid text, started_at timestamptz, outcome text, class text,
	http_status integer, response_code text, excerpt text, answer text, more text, asked_attempt_id uuid
);
comment on type payout.ended is 'an attempt that has been completed; answer and more are what else the lane has read in the bank''s answer';

-- The same for many; left out are those that are not ours any more. In the order of what they carry.
create function payout.finish_attempts(p_incarnation_id uuid, p_channel_ids text[], p_attempt_ids uuid[], p_outcomes text[],
									   p_classes text[], p_http_statuses integer[], p_response_codes text[], p_latencies integer[],
									   p_excerpts text[], p_answers text[], p_more text[]) returns payout.ended[]
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
	places tid[];
	rows_of integer[];
	ended payout.ended[];
begin
	-- Locked first, and then found by their places: so no plan can read more than them, whatever the statistics say.
	select array_agg(l.place), array_agg(u.n) into places, rows_of
	from unnest(p_channel_ids, p_attempt_ids) with ordinality u (channel_id, attempt_id, n),
	lateral (select q.ctid as place from payout.attempt q
			 where q.channel_id = u.channel_id and q.attempt_id = u.attempt_id and q.incarnation_id = p_incarnation_id and q.outcome is null
			 for no key update) l;
	with done as (
		update payout.attempt a
		set outcome = p_outcomes[u.n], class = p_classes[u.n], http_status = p_http_statuses[u.n], response_code = p_response_codes[u.n],
			latency_ms = p_latencies[u.n], answer = case when a.lane = 'check' then p_answers[u.n] end, excerpt = case when p_outcomes[u.n] <> 'yes' then left(p_excerpts[u.n], 500) end, finished_at = clock_timestamp()
		from unnest(places, rows_of) u (place, n)
		where a.ctid = u.place
		returning a.channel_id, a.attempt_id, a.batch_id, a.merchant_id, a.txid, a.started_at, a.outcome, a.class, a.http_status,
			a.response_code, p_excerpts[u.n] as excerpt, p_answers[u.n] as answer, p_more[u.n] as more, a.asked_attempt_id)
	select array_agg(row(d.*)::payout.ended order by d.txid, d.batch_id) into ended from done d;
	return ended;
end
$$;
comment on function payout.finish_attempts(uuid, text[], uuid[], text[], text[], integer[], text[], integer[], text[], text[], text[]) is
'worker: writes the outcomes of attempts, once, and only by the life that made them';

-- What the bank refuses for now concerns the whole channel, except a route that is down for one item.
create function payout.refuse_for_now(p_channel_id text, p_class text, p_response_code text, p_excerpt text, p_until timestamptz) returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
	why text := case when p_response_code is null then p_excerpt else concat_ws(' ', 'the bank answered', p_response_code, p_excerpt) end;
begin
	if p_class = 'stop' then
		update payout.channel set paused_at = now(), paused_reason = left(why, 500)
		where channel_id = p_channel_id and paused_at is null;
	elsif p_class = 'later' and right(p_response_code, 2) || left(p_response_code, 3) not in ('02404', '23403') then
		update payout.channel set not_before = p_until, not_before_reason = left(why, 500)
		where channel_id = p_channel_id and coalesce(not_before, '-infinity') < p_until;
	end if;
end
$$;
comment on function payout.refuse_for_now(text, text, text, text, timestamptz) is 'worker: class stop pauses the channel, class later lets it rest';

-- A worker begins. It holds the locks that make it the only one, so every attempt without an outcome that is not its
-- own is of a dead one.
create function payout.begin_incarnation(p_incarnation_id uuid, p_pid integer) returns bigint
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
	lacks boolean := payout.may_lack_tail();
	last payout.incarnation;
begin
	select * into last from payout.incarnation i order by i.ended_at is null desc, i.started_at desc limit 1;
	update payout.incarnation set ended_at = clock_timestamp() where ended_at is null;
	insert into payout.incarnation (incarnation_id, pid) values (p_incarnation_id, p_pid);
	update payout.notification set sending_by = null where due_at is not null and sending_by is not null;
	-- A standby that took over is armed by its timeline; from here on by its place, so that no copy of it is.
	update payout.arming a set place = payout.place(), timeline_id = payout.timeline()
	where a.is_armed and (a.place, a.timeline_id) <> (payout.place(), payout.timeline());
	return case when lacks then payout.begin_lost_tail(last, p_incarnation_id) end;
end
$$;
comment on function payout.begin_incarnation(uuid, integer) is
'worker: starts a life; where a lost tail begins with it, the count of payouts that are asked for before they are sent, else null';

-- What dead lives left under way may have been sent: it is unknown, its money stays where it is, and the bank is asked.
-- One that cannot be recorded is set aside; one that somebody has locked is left for the next time.
create function payout.bury_orphans(p_incarnation_id uuid) returns integer
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
	a payout.attempt;
	left_over integer := 0;
begin
	for a in
		select q.*
		from payout.under_way w, unnest(w.channel_ids, w.attempt_ids) u (channel_id, attempt_id), payout.attempt q
		where q.channel_id = u.channel_id and q.attempt_id = u.attempt_id and q.outcome is null and q.incarnation_id <> p_incarnation_id
	loop
		begin
			perform payout.bury_orphan(a);
		exception
			when lock_not_available or deadlock_detected or serialization_failure or insufficient_resources then
				left_over := left_over + 1;
			when others then
				perform payout.set_aside_attempt(a.channel_id, a.attempt_id, a.incarnation_id, sqlerrm);
		end;
	end loop;
	delete from payout.under_way w
	where not exists (select from unnest(w.channel_ids, w.attempt_ids) u (channel_id, attempt_id), payout.attempt q
					  where q.channel_id = u.channel_id and q.attempt_id = u.attempt_id and q.outcome is null);
	return left_over;
end
$$;
comment on function payout.bury_orphans(uuid) is 'worker: attempts of dead lives become unknown; the count of those that are locked';

create function payout.bury_orphan(a payout.attempt) returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
	why text := 'the worker died while this was under way';
begin
	perform payout.finish_attempt(a.channel_id, a.attempt_id, a.incarnation_id, 'unknown', 'unknown', 0, null, 0, why);
	if a.lane = 'dispatch' then
		perform payout.apply_transfer(a.channel_id, a.batch_id, 'unknown', 'unknown', null, why);
	elsif a.lane = 'validate' then
		update payout.payout set check_due_at = payout.clock()
		where merchant_id = a.merchant_id and txid = a.txid and account_check in ('pending', 'unavailable')
		and state in ('registered', 'scheduled', 'approved');
	else
		update payout.payout set status_due_at = payout.clock()
		where merchant_id = a.merchant_id and txid = a.txid and (state in ('processing', 'suspect', 'paid') or doubted_at is not null);
	end if;
end
$$;
comment on function payout.bury_orphan(payout.attempt) is 'worker: one attempt of a dead life becomes unknown';

-- Arming. The row is deliberately not dumped: a restored copy is not armed. It is there from the start and stays: who arms or disarms
-- always changes it, so each finds what the other did, or is refused under a snapshot that is older (40001).

create table payout.arming (
	singleton boolean primary key default true check (singleton),
	is_armed boolean not null default false,
	system_identifier bigint,
	database_oid oid,
	secret_digest bytea,
	place bytea,
	timeline_id integer,
	changed_at timestamptz not null default now(),
	changed_by text not null default payout.caller(),
	check (not is_armed or num_nulls(system_identifier, database_oid, secret_digest, place, timeline_id) = 0)
);
comment on table payout.arming is 'the one database that may send: system identifier, database and secret file as they were when armed, and where that was';
comment on column payout.arming.place is 'payout.place() then: another place on the same timeline is a copy';
comment on column payout.arming.timeline_id is 'the server''s timeline then: a standby that is promoted has a later one, and is armed where it is';
insert into payout.arming default values;

create function payout.identity(out system_identifier bigint, out database_oid oid, out secret_digest bytea)
language c volatile parallel unsafe as 'MODULE_PATHNAME', 'payout_identity';
comment on function payout.identity() is 'what this database is now: system identifier, database OID, digest of payout.secret_file; PY015 without the file';

-- A standby is somewhere else than its primary, and is meant to take over: it does so on a timeline of its own.
create function payout.is_armed_for(p_place bytea, p_timeline_id integer) returns boolean
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
	return case when p_place = payout.place() or pg_is_in_recovery() then true else p_timeline_id <> payout.timeline() end;
end
$$;
comment on function payout.is_armed_for(bytea, integer) is 'whether what was armed there is this database, or one that took over from it, and not a copy';

create function payout.is_armed() returns boolean
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
	return exists (select from payout.arming a, payout.identity() i
				   where a.is_armed and (a.system_identifier, a.database_oid, a.secret_digest) = (i.system_identifier, i.database_oid, i.secret_digest)
				   and payout.is_armed_for(a.place, a.timeline_id));
exception when sqlstate 'PY015' then
	return false;
end
$$;
comment on function payout.is_armed() is 'whether this very database was armed';

create function payout.is_locked_elsewhere(p_book uuid) returns boolean
language c volatile strict parallel unsafe as 'MODULE_PATHNAME', 'payout_is_locked_elsewhere';
comment on function payout.is_locked_elsewhere(uuid) is 'whether a process of this host, but not our worker, has the lock on payout.secret_file for this database, or that on the book; PY015 without the file';

create function payout.is_held_elsewhere() returns boolean
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
	return payout.is_locked_elsewhere(payout.first_installation());
end
$$;
comment on function payout.is_held_elsewhere() is 'whether the worker of a copy of this database on this host holds payout.secret_file, or the book; PY015 without the file';

create function payout.worker_holds_file() returns boolean
language c volatile parallel unsafe as 'MODULE_PATHNAME', 'payout_worker_holds_file';
comment on function payout.worker_holds_file() is 'whether this database''s own worker has the locks on the secret file that it is armed for';

create function payout.arm() returns void
language c volatile parallel unsafe as 'MODULE_PATHNAME', 'payout_entry';
comment on function payout.arm() is 'lets this database, and no copy of it, send payouts; PY015 without payout.secret_file, PY014 when the library is not preloaded';

create function payout.require_preload() returns void
language c volatile parallel unsafe as 'MODULE_PATHNAME', 'payout_require_preload';
comment on function payout.require_preload() is 'raises PY014 when the library is not in shared_preload_libraries';

create function payout.do_arm() returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
	perform payout.require_preload();
	insert into payout.arming (is_armed, system_identifier, database_oid, secret_digest, place, timeline_id)
	select true, i.system_identifier, i.database_oid, i.secret_digest, payout.place(), payout.timeline() from payout.identity() i
	on conflict (singleton) do update set is_armed = true, system_identifier = excluded.system_identifier, database_oid = excluded.database_oid,
		secret_digest = excluded.secret_digest, place = excluded.place, timeline_id = excluded.timeline_id, changed_at = default, changed_by = default;
	perform payout.wake();
end
$$;
comment on function payout.do_arm() is 'work of payout.arm';

create function payout.disarm() returns void
language c volatile parallel unsafe as 'MODULE_PATHNAME', 'payout_entry';
comment on function payout.disarm() is 'the worker sends nothing more; requests in flight are recorded as they end';

create function payout.do_disarm() returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
	-- It writes even where nothing is armed: a first arm() that is not committed yet must not pass it by.
	insert into payout.arming (is_armed) values (false)
	on conflict (singleton) do update set is_armed = false, changed_at = default, changed_by = default;
	perform payout.wake();
end
$$;
comment on function payout.do_disarm() is 'work of payout.disarm';
