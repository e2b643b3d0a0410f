-- inbound.sql: the bank calls us: token requests (SNAP service 73) and notices of bulk transfers (service 21), handed
-- over by an application that runs the HTTP end. Checks and codes in the order of the SNAP server rules: headers,
-- timestamp, token, signature, external id, body. Nothing here raises on hostile input.

create table payout.notice (
	channel_id text collate "C" not null,
	day date not null,
	external_id text collate "C" not null,
	received_at timestamptz not null default clock_timestamp(),
	bank_batch_no text,
	batch_id text,
	items integer not null default 0,
	unknown_items integer not null default 0,
	misfits text check (length(misfits) <= 500),
	signature_digest bytea not null,
	primary key (channel_id, day, external_id),
	unique (channel_id, signature_digest)
);
comment on table payout.notice is 'notices received from banks in the last 90 days; its keys refuse a repeated X-EXTERNAL-ID of the same day, and a repeated signature';
comment on column payout.notice.day is 'the day in Jakarta of the X-TIMESTAMP, which is signed: a repeat after midnight is of the same day';
comment on column payout.notice.signature_digest is 'SHA-256 of the X-SIGNATURE: the external id itself is not signed, so a repeat could carry another';
comment on column payout.notice.unknown_items is 'items that are no word: they match no payout of ours in all that they name, contradict themselves, or another item of the notice says something else of the same payout';
comment on column payout.notice.misfits is 'of those, by number in the notice, what did not fit: the name of a member, or "contradiction"; cut to 500 characters; null where all fitted';

create function payout.read_json(body text) returns jsonb
language c immutable parallel safe as 'MODULE_PATHNAME', 'payout_read_json';
comment on function payout.read_json(text) is 'the body as jsonb; null when it is not JSON, larger than 1 MiB, nested deeper than 32, or names a member of an object twice';

create function payout.snap_item_class(response_code text) returns text
language c immutable parallel safe as 'MODULE_PATHNAME', 'payout_snap_item_class';
comment on function payout.snap_item_class(text) is 'ok, wait, fail, later, auth, stop or unknown: what an item''s SNAP response code means for its money; unknown for a service other than 20, 21 and 00';

create function payout.snap_same_amount(value text, amount text) returns boolean
language c immutable strict parallel safe as 'MODULE_PATHNAME', 'payout_snap_same_amount';
comment on function payout.snap_same_amount(text, text) is 'whether a value in a bank''s message is this amount as a number: digits, or digits, a point and digits; null for null';

create function payout.snap_time(value text) returns timestamptz
language c immutable parallel safe as 'MODULE_PATHNAME', 'payout_snap_time';
comment on function payout.snap_time(text) is 'an X-TIMESTAMP as a moment; null when malformed';

create function payout.bank_client_valid(channel_id text, client_key text, stamp text, signature text) returns boolean
language c volatile parallel unsafe as 'MODULE_PATHNAME', 'payout_bank_client_valid';
comment on function payout.bank_client_valid(text, text, text, text) is 'whether a token request is signed by the channel''s bank (RSA over client key and timestamp)';

create function payout.issue_token(channel_id text) returns text
language c volatile parallel unsafe as 'MODULE_PATHNAME', 'payout_issue_token';
comment on function payout.issue_token(text) is 'a bearer token for the channel''s bank, valid 900 s: expiry and HMAC under a key from payout.secret_file, so nothing is stored';

create function payout.token_valid(channel_id text, token text) returns boolean
language c volatile parallel unsafe as 'MODULE_PATHNAME', 'payout_token_valid';
comment on function payout.token_valid(text, text) is 'whether payout.issue_token gave this token to this channel and it has not expired';

create function payout.notice_signature_valid(channel_id text, method text, path text, token text, body text, stamp text, signature text) returns boolean
language c volatile parallel unsafe as 'MODULE_PATHNAME', 'payout_notice_signature_valid';
comment on function payout.notice_signature_valid(text, text, text, text, text, text, text) is 'whether a call is signed with the channel''s client secret (SNAP symmetric signature)';

create type payout.http_answer as (status integer, headers jsonb, body text);
comment on type payout.http_answer is 'an HTTP answer for an application to give';

create function payout.snap_answer(service text, http integer, case_code text, message text, more jsonb default '{}') returns payout.http_answer
language sql stable
set search_path = pg_catalog, pg_temp
return row(http,
	jsonb_build_object('Content-Type', 'application/json',
					   'X-TIMESTAMP', to_char(now() at time zone interval '+07:00', 'YYYY-MM-DD"T"HH24:MI:SS"+07:00"')),
	(jsonb_build_object('responseCode', http::text || service || case_code, 'responseMessage', message) || more)::text)::payout.http_answer;
comment on function payout.snap_answer(text, integer, text, text, jsonb) is 'an answer in SNAP''s envelope';

create function payout.bank_notification(channel_id text, method text, path text, headers jsonb, body text) returns payout.http_answer
language c volatile parallel unsafe as 'MODULE_PATHNAME', 'payout_entry';
comment on function payout.bank_notification(text, text, text, jsonb, text) is
'answers a call of a bank to us: path as the bank requested it, header names in any case, body as received; never raises on hostile input';

create function payout.do_bank_notification(p_channel_id text, p_method text, p_path text, p_headers jsonb, p_body text)
returns payout.http_answer
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
	header jsonb;
	ambiguous boolean;
	service text := case when octet_length(p_path) > 2000 then null
		when p_path ~ '/access-token/b2b$' then '73' when p_path ~ '/transfer-interbank-bulk/notify$' then '21' end;
	missing text;
begin
	if service is null then
		return payout.snap_answer('00', 404, '00', 'Not Found');
	elsif p_method is distinct from 'POST' then
		return payout.snap_answer(service, 405, '00', 'Requested Function Is Not Supported');
	elsif not exists (select from payout.channel c where c.channel_id = p_channel_id) then
		return payout.snap_answer(service, 401, '00', 'Unauthorized. [unknown channel]');
	elsif p_headers is null or jsonb_typeof(p_headers) <> 'object' or pg_column_size(p_headers) > 65536
		or octet_length(coalesce(p_body, '')) > 1048576 then
		return payout.snap_answer(service, 400, '00', 'Bad Request');
	end if;
	-- Letters of ASCII: what lower() makes of others, and of "I", depends on the database's locale.
	select coalesce(jsonb_object_agg(lower(h.key collate "C"), h.value), '{}'), count(*) <> count(distinct lower(h.key collate "C"))
	into header, ambiguous
	from jsonb_each_text(p_headers) h where h.value is not null;
	select n into missing
	from unnest(case service when '73' then '{x-timestamp,x-client-key,x-signature}'::text[]
				else '{authorization,x-timestamp,x-signature,x-partner-id,x-external-id}'::text[] end) n
	where coalesce(header ->> n, '') = '' limit 1;
	-- Two headers of one name: whoever looks at the other one than we do sees another request.
	if ambiguous then
		return payout.snap_answer(service, 400, '00', 'Bad Request');
	elsif missing is not null then
		return payout.snap_answer(service, 400, '02', 'Invalid Mandatory Field ' || missing);
	elsif payout.snap_time(header ->> 'x-timestamp') is null then
		return payout.snap_answer(service, 400, '01', 'Invalid Field Format x-timestamp');
	elsif abs(extract(epoch from clock_timestamp() - payout.snap_time(header ->> 'x-timestamp'))) > 300 then
		return payout.snap_answer(service, 401, '00', 'Unauthorized. [timestamp]');
	elsif service = '73' then
		return payout.answer_token_request(p_channel_id, header, p_body);
	end if;
	return payout.answer_notice(p_channel_id, p_path, header, p_body);
exception when data_exception or program_limit_exceeded then
	return payout.snap_answer(coalesce(service, '00'), 400, '00', 'Bad Request');
end
$$;
comment on function payout.do_bank_notification(text, text, text, jsonb, text) is 'work of payout.bank_notification';

create function payout.answer_token_request(p_channel_id text, p_header jsonb, p_body text) returns payout.http_answer
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
	if not payout.bank_client_valid(p_channel_id, p_header ->> 'x-client-key', p_header ->> 'x-timestamp', p_header ->> 'x-signature') then
		return payout.snap_answer('73', 401, '00', 'Unauthorized. [signature]');
	elsif payout.read_json(p_body) ->> 'grantType' is distinct from 'client_credentials' then
		return payout.snap_answer('73', 400, '02', 'Invalid Mandatory Field grantType');
	end if;
	return payout.snap_answer('73', 200, '00', 'Successful',
		jsonb_build_object('accessToken', payout.issue_token(p_channel_id), 'tokenType', 'Bearer', 'expiresIn', '900'));
end
$$;
comment on function payout.answer_token_request(text, jsonb, text) is 'answers service 73';

create function payout.answer_notice(p_channel_id text, p_path text, p_header jsonb, p_body text) returns payout.http_answer
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
	token text := regexp_replace(p_header ->> 'authorization', '^[Bb]earer +', '');
	notice jsonb;
	given_id text := p_header ->> 'x-external-id';
	applied record;
	signed_on date := payout.jakarta_day(payout.snap_time(p_header ->> 'x-timestamp'));
begin
	if not coalesce(payout.is_text(given_id, 1, 64, 'visible'), false) then
		return payout.snap_answer('21', 400, '01', 'Invalid Field Format x-external-id');
	elsif not payout.token_valid(p_channel_id, token) then
		return payout.snap_answer('21', 401, '01', 'Access Token Invalid');
	elsif not payout.notice_signature_valid(p_channel_id, 'POST', p_path, token, coalesce(p_body, ''),
											p_header ->> 'x-timestamp', p_header ->> 'x-signature') then
		return payout.snap_answer('21', 401, '00', 'Unauthorized. [signature]');
	end if;
	if not payout.remember_notice(p_channel_id, signed_on, given_id, p_header ->> 'x-signature') then
		return payout.snap_answer('21', 409, '00', 'Conflict');
	end if;
	notice := payout.read_json(p_body);
	if jsonb_typeof(notice) is distinct from 'object' or jsonb_typeof(notice -> 'bulkObject') is distinct from 'array'
		or coalesce(length(notice ->> 'partnerBulkId'), 0) not between 1 and 64 or coalesce(length(notice ->> 'bulkId'), 0) not between 1 and 64 then
		return payout.snap_answer('21', 400, '02', 'Invalid Mandatory Field bulkId, partnerBulkId or bulkObject');
	elsif jsonb_array_length(notice -> 'bulkObject') > 10000 then
		return payout.snap_answer('21', 400, '01', 'Invalid Field Format bulkObject');
	end if;
	select * into strict applied from payout.apply_notice(p_channel_id, notice);
	update payout.notice n
	set bank_batch_no = notice ->> 'bulkId', batch_id = notice ->> 'partnerBulkId',
		items = jsonb_array_length(notice -> 'bulkObject'),
		unknown_items = applied.unknown_items, misfits = applied.misfits
	where n.channel_id = p_channel_id and n.day = signed_on and n.external_id = given_id;
	return payout.snap_answer('21', 200, '00', 'Successful',
		jsonb_build_object('bulkId', notice ->> 'bulkId', 'partnerBulkId', notice ->> 'partnerBulkId'));
end
$$;
comment on function payout.answer_notice(text, text, jsonb, text) is 'answers service 21: verifies the notice, then believes it item by item';

-- A signature is good for 300 s around its timestamp and is remembered for 90 days, so no repeat is taken twice. Each notice
-- removes some old ones: as many as come in, at least.
create function payout.remember_notice(p_channel_id text, p_day date, p_external_id text, p_signature text) returns boolean
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
	-- A signature in hex may be written in either case.
	insert into payout.notice (channel_id, day, external_id, signature_digest)
	values (p_channel_id, p_day, p_external_id, sha256(convert_to(lower(p_signature collate "C"), 'UTF8')))
	on conflict do nothing;
	if not found then
		return false;
	end if;
	with old as (
		select n.day, n.external_id from payout.notice n
		where n.channel_id = p_channel_id and n.day < payout.jakarta_day(clock_timestamp()) - 90
		order by n.day limit 100
		for update skip locked)
	delete from payout.notice n using old where n.channel_id = p_channel_id and n.day = old.day and n.external_id = old.external_id;
	return true;
end
$$;
comment on function payout.remember_notice(text, date, text, text) is 'notes a notice down and forgets some that are older than 90 days; false when it has come before';

-- What an item says of its payout: by its code, and by the status of the transaction where it names one. Where these
-- contradict one another it says nothing.
create function payout.notice_status(p_item jsonb) returns text
language plpgsql immutable parallel safe
set search_path = pg_catalog, pg_temp
as $$
declare
	coded text := case payout.snap_item_class(p_item ->> 'responseCode') when 'ok' then 'paid' when 'fail' then 'failed' when 'wait' then 'pending' else 'unknown' end;
	latest text := nullif(p_item ->> 'latestTransactionStatus', '');
	other text := nullif(p_item ->> 'transactionStatus', '');
	named text := coalesce(latest, other);
begin
	return case
		when latest <> other then 'contradiction'
		when named is null or coded = 'unknown' then coded
		when coded = 'paid' and named = '00' then 'paid'
		when coded in ('paid', 'pending') and named in ('00', '01', '02', '03') then 'pending'
		when coded = 'failed' and named in ('04', '05', '06') then 'failed'
		else 'contradiction' end;
end
$$;
comment on function payout.notice_status(jsonb) is 'paid, failed, pending or unknown: what an item of a notice says of its payout; contradiction where its members cannot all be true';

-- Reference, batch and account must be ours (the batch that carries it, or a bulk that this was split off), and whatever else an
-- item or the notice names of what was ordered; its code is of the bulk (20), the notice (21), or of no service (00), as in the
-- standard's sample. An empty text names nothing, but is no amount. What a bank masks or pads is not the same.
-- One expression, without a query: it is asked for each item.
create function payout.notice_misfit(p payout.payout, b payout.batch, p_channel_id text, p_notice jsonb, p_item jsonb) returns text
language plpgsql immutable parallel safe
set search_path = pg_catalog, pg_temp
as $$
declare
	amount jsonb := nullif(p_item -> 'amount', 'null');
	batch_id text := b.batch_id::text;
begin
	return case
		when p.txid is null then 'originalPartnerReferenceNo'
		when p.channel_id is distinct from p_channel_id or batch_id is null then 'partnerBulkId'
		when p_item ->> 'responseCode' !~ '^[0-9]{3}(00|20|21)[0-9]{2}$' then 'responseCode'
		when p_item ->> 'beneficiaryAccountNo' is distinct from p.account_no then 'beneficiaryAccountNo'
		when jsonb_typeof(amount) <> 'object' then 'amount'
		when not payout.snap_same_amount(amount ->> 'value', p.amount::text) then 'amount.value'
		when nullif(amount ->> 'currency', '') <> p.currency then 'amount.currency'
		when nullif(p_item ->> 'currency', '') <> p.currency or nullif(p_notice ->> 'currency', '') <> p.currency then 'currency'
		when nullif(lower((p_item ->> 'partnerBulkId') collate "C"), '') <> batch_id or nullif(lower((p_notice ->> 'partnerBulkId') collate "C"), '') <> batch_id then 'partnerBulkId'
		when nullif(p_item ->> 'bulkId', '') <> b.bank_batch_no or nullif(p_notice ->> 'bulkId', '') <> b.bank_batch_no then 'bulkId'
		when nullif(p_item ->> 'sourceAccountNo', '') <> b.source_account_no or nullif(p_notice ->> 'sourceAccountNo', '') <> b.source_account_no then 'sourceAccountNo'
		when nullif(p_item ->> 'sourceAccount', '') <> b.source_account_no or nullif(p_notice ->> 'sourceAccount', '') <> b.source_account_no then 'sourceAccount'
		when nullif(p_item ->> 'partnerReferenceNo', '') <> p.txid then 'partnerReferenceNo'
		when nullif(p_item ->> 'originalReferenceNo', '') <> p.bank_reference_no then 'originalReferenceNo'
		when nullif(p_item ->> 'referenceNo', '') <> p.bank_reference_no then 'referenceNo'
		when nullif(p_item ->> 'beneficiaryBankCode', '') <> p.wire_code then 'beneficiaryBankCode'
		when nullif(p_item ->> 'bankCode', '') <> p.wire_code then 'bankCode' end;
end
$$;
comment on function payout.notice_misfit(payout.payout, payout.batch, text, jsonb, jsonb) is 'the first member of a notice''s item, or of the notice, that does not fit the payout that the item names and the batch that the notice names, null where that never carried it; null where all fit';

-- The batch is locked before its members, as by the worker that records an answer; and so is what was split off it, before
-- anything is written of what the bank tells.
create function payout.noticed_batch(p_channel_id text, p_notice jsonb) returns payout.batch
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
	name text := lower((p_notice ->> 'partnerBulkId') collate "C");
	b payout.batch;
begin
	if name ~ '^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$' then
		select * into b from payout.batch q where q.channel_id = p_channel_id and q.batch_id = name::uuid for no key update;
		if found and b.state = 'split' then
			perform payout.lock_line_below(b);
		end if;
	end if;
	return b;
end
$$;
comment on function payout.noticed_batch(text, jsonb) is 'the batch that a notice names, locked; null where there is none';

create function payout.apply_notice(p_channel_id text, p_notice jsonb, out unknown_items integer, out misfits text)
language plpgsql
set search_path = pg_catalog, pg_temp
set enable_seqscan = off
as $$
declare
	named payout.batch := payout.noticed_batch(p_channel_id, p_notice);
	words payout.bank_word[];
	told integer;
begin
	-- Items that say something else of one payout than others do are no word, whichever comes first; equal ones are one.
	with item as materialized (
		select x.n, x.i, x.i ->> 'originalPartnerReferenceNo' as txid, x.i ->> 'responseCode' as code,
			payout.notice_status(x.i) as status
		from jsonb_array_elements(p_notice -> 'bulkObject') with ordinality x (i, n)),
	ours as materialized (
		select q.*
		from (select distinct x.txid from item x order by x.txid) i,
		lateral (select q.* from payout.payout q where q.merchant_id = left(i.txid, 10) and q.txid = i.txid for no key update) q),
	carried as materialized (
		select c.batch_id from (select distinct o.batch_id from ours o where o.channel_id = p_channel_id) c
		where payout.is_split_off(p_channel_id, c.batch_id, named.batch_id)),
	-- Looked at once, though it is used twice.
	fitted as materialized (
		select x.*, o.merchant_id, coalesce(payout.notice_misfit(o, case when c.batch_id is not null then named end, p_channel_id, p_notice, x.i), case x.status when 'contradiction' then x.status end,
			-- a number that is recorded for a payout of another batch, see subject.sql
			case when c.batch_id is not null and x.i ->> 'originalReferenceNo' is not null and payout.is_number_of_other(p_channel_id, named.epoch, o.batch_id, x.i ->> 'originalReferenceNo') then 'originalReferenceNo' end) as misfit
		from item x left join ours o on o.txid = x.txid
		left join carried c on c.batch_id = o.batch_id),
	judged as (
		select f.*, coalesce(f.misfit, case when min(f.status) over same <> max(f.status) over same or count(f.misfit) over same > 0 then 'contradiction' end) as fault,
			row_number() over (partition by f.txid order by f.n) as nth
		from fitted f window same as (partition by f.txid))
	select array_agg(row(j.merchant_id, j.txid, j.status, null, null, j.code,
			case when payout.is_text(j.i ->> 'originalReferenceNo', 1, 64, 'visible') then j.i ->> 'originalReferenceNo' end,
			concat_ws(' ', 'notice:', j.code, left(j.i ->> 'responseMessage', 150)))::payout.bank_word order by j.txid)
			filter (where j.fault is null and j.nth = 1),
		count(*) filter (where j.fault is null),
		left(string_agg(j.n || ': ' || j.fault, ', ' order by j.n), 500)
	into words, told, misfits
	from judged j;
	-- What the bank says of one of them, it says of what it has: remembered before it is believed, for whatever is sent later. What
	-- waits to be sent again is asked for at once, also where a person was to release it.
	if exists (select from unnest(words) w where w.status <> 'unknown') then
		update payout.batch b set told_at = clock_timestamp(), due_at = case when b.state = 'open' then payout.clock() end where b.channel_id = named.channel_id and b.batch_id = named.batch_id;
	end if;
	perform payout.believe(words);
	unknown_items := jsonb_array_length(p_notice -> 'bulkObject') - told;
end
$$;
comment on function payout.apply_notice(text, jsonb) is 'believes a verified notice of a bulk; the count of items that are no word, and what did not fit in them';
