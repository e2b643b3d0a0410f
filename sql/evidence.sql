-- evidence.sql: what the owner may not change by plain statements, no trigger disabled; what may change is recorded.
\getenv tree PG_ABS_SRCDIR
\set fixture :tree /sql/include/fixture.inc
\i :fixture
\set cashout :tree /sql/include/cashout.inc
\i :cashout
select test.set_up('EVIDENCE01', 'EVICH', 'EVIBANK', 1000000), test.open_store('EVIDENCE01');
select payout.alter_channel('EVICH', '{"mode": "single"}') is distinct from null as altered, payout.alter_merchant('EVIDENCE01', '{"notify_url": "https://merchant.example/hook"}') is distinct from null as altered;
select test.live() >= 0 as alive;
select test.pay('EVIDENCE01', 'EVIBANK', 'EVI' || i) from generate_series(1, 4) i;
select test.send('EVICH', 10);
select test.answer('EVI1', 'yes', 'ok'), test.answer('EVI2', 'no', 'fail', 404, '4041811'), test.answer('EVI3', 'unknown', 'unknown', 500, null);
select payout.record_transfers(a.incarnation_id, array[a.channel_id], array[a.attempt_id], '{yes}', '{ok}', '{200}', '{2001800}', '{5}', '{null}', array[null::text], '{f}') from test.attempt('dispatch', 'EVI4') a;
select state from payout.register('EVIDENCE01', 'EVI5', 10, 'EVIBANK', '8811111111', 'Budi Santoso');
select state from payout.reject('EVIDENCE01', test.txid('EVI5'), 'no');
select test.pay('EVIDENCE01', 'EVIBANK', 'EVI6');
select test.issue('EVIDENCE01', 'EVIC' || i) from generate_series(1, 3) i;
select test.validate('EVIDENCE01', 'EVIC2', 'S2'), test.confirm('EVIDENCE01', 'EVIC2', 'S2'), test.validate('EVIDENCE01', 'EVIC3', 'S3');
select test.state('EVI1', 'EVI2', 'EVI3', 'EVI4', 'EVI5', 'EVI6', 'EVIC1', 'EVIC2', 'EVIC3');
select check_name, detail from payout.verify();

-- ends: each column by which others reconcile, of each kind of end; a row that stays as it is may be written
create function test.change(p_reference text, p_set text) returns text
language sql as $$ select test.sqlstate_of(format('update payout.payout set %s where reference_no = %L and merchant_id = ''EVIDENCE01''', p_set, p_reference)) $$;
select s as change, test.change('EVI1', s) as paid, test.change('EVI2', s) as failed, test.change('EVI5', s) as rejected, test.change('EVIC2', s) as cash
from unnest(array[$$response_code = '2009999'$$, $$reason = 'paid by hand'$$, $$final_at = final_at - interval '40 days'$$, $$final_at = null$$, $$approved_at = '2020-01-01'$$, $$account_name = 'SOMEBODY ELSE'$$, $$account_check = 'invalid'$$,
	$$batch_id = payout.new_id()$$, $$bank_reference_no = bank_reference_no || 'X'$$, $$cvs_code = 'OTHER'$$, $$cvs_reference = 'S9'$$, $$fee = fee + 1$$, $$disputed_at = now()$$, $$reason = reason, status_checked_at = now()$$]) s;
-- before the end: what was fixed when it was
select s as change, test.change('EVI3', s) as suspect, test.change('EVI6', s) as approved, test.change('EVIC1', s) as token_issued
from unnest(array[$$approved_at = approved_at - interval '1 us'$$, $$fee = fee + 1$$, $$final_at = now()$$, $$disputed_at = now()$$, $$account_name = 'SOMEBODY ELSE'$$]) s;
-- the bank's number may come after the end, once, and stands in the history
select test.change('EVI4', $$bank_reference_no = 'LATE'$$) as first, test.change('EVI4', $$bank_reference_no = 'LATER'$$) as second, test.change('EVI4', $$bank_reference_no = null$$) as none;
select event_no, event, to_state, reason, role_name = current_user as by_us, content_digest is not null as has_digest from payout.payout_event where txid = test.txid('EVI4') order by event_no desc limit 1;
-- a person's word on a paid payout that is set aside leaves the reason of its end
select payout.hold_payout('EVIDENCE01', test.txid('EVI1'), 'check', 'a test');
select state, reason from payout.resolve('EVIDENCE01', test.txid('EVI1'), 'dispatch', 'go on');
select event_no, to_state, reason from payout.payout_event where txid = test.txid('EVI1') order by event_no desc limit 1;
-- a dispute and its end
select (payout.apply_status(p, 'paid', null, now(), '2000000', null, 'notice')).state from test.payout('EVI2') p;
select test.change('EVI2', $$reason = 'x'$$) as in_dispute, test.change('EVI2', $$disputed_at = disputed_at - interval '1 s'$$) as its_moment;
select state from payout.resolve('EVIDENCE01', test.txid('EVI2'), 'paid', 'the statement shows it');
select check_name, detail from payout.verify();

-- tokens, what stores have said, batches, messages, notices, lives of the worker
select test.send('EVICH');
create table test.statement (n serial, statement text);
insert into test.statement (statement) values
	($$update payout.cashout_token set digest = payout.token_digest(payout.generate_token('EVIDENCE01')) where txid = test.txid('EVIC1')$$),
	($$update payout.cashout_token set txid = test.txid('EVIC2') where txid = test.txid('EVIC1')$$),
	($$update payout.cashout_token set issued_at = now(), key_id = '\x00' where txid = test.txid('EVIC1')$$),
	($$insert into payout.cashout_token (merchant_id, txid, token_no, digest, valid_until) select merchant_id, txid, 1, sha256('mine'), valid_until from payout.cashout_token where txid = test.txid('EVIC1')
		on conflict (merchant_id, txid, token_no) do update set digest = excluded.digest$$),
	($$update payout.redemption set terminal = 'TILL9' where txid = test.txid('EVIC2')$$),
	($$update payout.redemption set confirmed_at = confirmed_at - interval '3 days' where txid = test.txid('EVIC2')$$),
	($$update payout.redemption set confirmed_at = null, confirm_state = null where txid = test.txid('EVIC2')$$),
	($$update payout.redemption set token_no = 7 where txid = test.txid('EVIC3')$$),
	($$update payout.batch set source_account_no = '999' where channel_id = 'EVICH'$$),
	($$update payout.batch set transaction_date = now() - interval '1 year' where channel_id = 'EVICH'$$),
	($$update payout.batch set response_code = 'x' where channel_id = 'EVICH' and state = 'accepted'$$),
	($$update payout.batch set bank_batch_no = 'x' where channel_id = 'EVICH' and state = 'refused'$$),
	($$update payout.batch set closed_at = null where channel_id = 'EVICH' and state = 'accepted'$$),
	($$delete from payout.batch where channel_id = 'EVICH'$$),
	($$delete from payout.notification where txid = test.txid('EVI1')$$),
	($$update payout.notification set event = 'payout.failed' where txid = test.txid('EVI1')$$),
	($$update payout.notification set bank_reference_no = 'x' where txid = test.txid('EVI1')$$),
	($$insert into payout.notice (channel_id, day, external_id, signature_digest) values ('EVICH', payout.jakarta_day(now()), 'EV1', sha256('')); delete from payout.notice where external_id = 'EV1'$$),
	($$insert into payout.notice (channel_id, day, external_id, signature_digest) values ('EVICH', payout.jakarta_day(now()) - 91, 'EV2', sha256('')); delete from payout.notice where external_id = 'EV2'$$),
	($$truncate payout.notice$$),
	($$update payout.incarnation set pid = 1$$),
	($$delete from payout.incarnation$$),
	($$update payout.attempt set host = 'elsewhere.example' where channel_id = 'EVICH' and outcome is null$$);
select n, test.sqlstate_of(statement) from test.statement order by n;
-- nor in replica role
begin;
set session_replication_role = replica;
select n, test.sqlstate_of(statement) from test.statement where n in (1, 5, 9, 11, 15, 21) order by n;
rollback;

select test.answer('EVI6', 'yes', 'ok');

-- a transfer is not dated ahead of now, nor for ever
select at, test.sqlstate_of(format('insert into payout.transfer (merchant_id, at, kind, debit_account, credit_account, amount, reference_no) values (%L, %L, %L, %L, %L, 7, %L)', 'EVIDENCE01', at, 'top_up', 'funding', 'available', 'EV-' || at))
from unnest('{infinity,-infinity,2200-01-01}'::text[]) at;
select test.sqlstate_of(format('insert into payout.transfer (merchant_id, at, kind, debit_account, credit_account, amount, reference_no) values (%L, clock_timestamp() + interval %L, %L, %L, %L, 7, %L)', 'EVIDENCE01', ago, 'top_up', 'funding', 'available', 'EV' || ago))
from unnest('{10 s,-1 s}'::text[]) ago;
select check_name, detail from payout.verify();

-- what analysts read hides account numbers whatever the reader's session says of backslashes
create role evidence_analyst;
select payout.grant_access('evidence_analyst', 'analyst');
select payout.hold_payout('EVIDENCE01', test.txid('EVI3'), 'check', 'account 8800000001 of 081234567890 is unknown');
set role evidence_analyst;
set standard_conforming_strings = off;
set escape_string_warning = off;
set backslash_quote = on;
select reason from payout.v_hold where txid = (select txid from payout.v_payout where reference_no = 'EVI3');
select payout.shown_values('{"paused_reason": "account 8800000001", "options.source_account_no": "1234567", "tries": 12345678}');
reset role;
reset standard_conforming_strings; reset escape_string_warning; reset backslash_quote;
select payout.revoke_access('evidence_analyst', 'analyst');
drop role evidence_analyst;
