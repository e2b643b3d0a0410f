-- inbound.sql: the bank calls us: hostile calls are answered, never raised; a verified notice is believed item by item.
\getenv tree PG_ABS_SRCDIR
\set fixture :tree /sql/include/fixture.inc
\i :fixture
select test.set_up('INBOUND001', 'INCH', 'INBANK', 1000000);
select payout.set_secret('channel:INCH', 'client_secret', 'a-shared-client-secret');
select test.live() >= 0 as alive;
create function test.stamp(p_shift interval default '0') returns text language sql as
$$ select to_char((clock_timestamp() + p_shift) at time zone interval '+07:00', 'YYYY-MM-DD"T"HH24:MI:SS"+07:00"') $$;
create function test.call(p_headers jsonb, p_body text default '{}', p_path text default '/snap/v1.0/transfer-interbank-bulk/notify',
						  p_method text default 'POST', p_channel text default 'INCH') returns text language sql as
$$ select format('%s %s', status, body::json ->> 'responseCode') from payout.bank_notification(p_channel, p_method, p_path, p_headers, p_body) $$;
create function test.headers(p_more jsonb default '{}') returns jsonb language sql as
$$ select jsonb_build_object('X-TIMESTAMP', test.stamp(), 'X-SIGNATURE', 'x', 'X-PARTNER-ID', 'P', 'X-EXTERNAL-ID', '1', 'Authorization', 'Bearer x') || p_more $$;
-- no such place, method, channel
select test.call('{}', p_path => '/elsewhere'), test.call('{}', p_path => null), test.call('{}', p_path => repeat('x', 3000) || '/transfer-interbank-bulk/notify'),
	test.call('{}', p_method => 'GET'), test.call('{}', p_method => null), test.call('{}', p_channel => 'NOCHANNEL'), test.call('{}', p_channel => null);
-- headers: missing, of wrong types, too large
select test.call(null), test.call('{}'), test.call('[]'), test.call('5'), test.call('"x"'), test.call('null'), test.call(jsonb_build_object('X-TIMESTAMP', repeat('x', 70000)));
select h as without, test.call(test.headers() - h) from unnest('{X-TIMESTAMP,X-SIGNATURE,X-PARTNER-ID,X-EXTERNAL-ID,Authorization}'::text[]) h;
select h as odd, test.call(test.headers(jsonb_build_object('X-SIGNATURE', h))) from unnest(array['null', '5', '{"a": {"b": []}}', '[]', 'true']::jsonb[]) h;
-- timestamps: malformed, impossible, too old, from the future
select left(s, 30) as stamp, test.call(test.headers(jsonb_build_object('X-TIMESTAMP', s))) from unnest(array['yesterday', '2026', '2026-13-01T00:00:00+07:00', '2026-02-30T00:00:00+07:00',
	'2026-01-01T24:00:00+07:00', '2026-01-01T00:00:00', '2026-01-01 00:00:00+07:00', '99999-01-01T00:00:00+07:00', 'infinity', repeat('9', 1000), '2026-01-01T00:00:00+99:99', '2020-01-01T00:00:00+07:00']) s;
select test.call(test.headers(jsonb_build_object('X-TIMESTAMP', test.stamp('-6 min')))), test.call(test.headers(jsonb_build_object('X-TIMESTAMP', test.stamp('6 min')))),
	test.call(test.headers(jsonb_build_object('X-TIMESTAMP', test.stamp('-4 min'))));
-- tokens: none of ours, another channel's, an altered one, one that ended
select test.set_up('INBOUND001', 'INCH2', 'INBANK2', 0);
select test.call(test.headers(jsonb_build_object('Authorization', t))) from unnest(array['Bearer', 'Bearer .', 'Bearer 9999999999.' || repeat('0', 64), 'Basic eDp4', repeat('x', 60000),
	'Bearer ' || payout.issue_token('INCH2'), 'Bearer 9' || payout.issue_token('INCH')]) t;
-- a good token, a wrong signature
select test.call(test.headers(jsonb_build_object('Authorization', 'Bearer ' || payout.issue_token('INCH'), 'X-SIGNATURE', s))) from unnest(array['x', '', 'AAAA', repeat('A', 10000), repeat('0', 128)]) s;
-- two headers of one name; external ids that are none
select test.call(test.headers('{"x-signature": "y"}')), test.call(test.headers('{"x-signature": null}'));
select left(i, 9) as id, test.call(test.headers(jsonb_build_object('X-EXTERNAL-ID', i))) from unnest(array[repeat('1', 64), repeat('1', 65), 'a b', E'a\tb', 'é']) i;
-- token requests: no key of the bank, no signature of it
select test.call(jsonb_build_object('x-timestamp', test.stamp(), 'x-client-key', 'K', 'x-signature', 'AAAA'), '{"grantType": "client_credentials"}', '/v1.0/access-token/b2b');
select payout.set_secret('channel:INCH', 'bank_public_key', 'not a key at all');
select test.call(jsonb_build_object('x-timestamp', test.stamp(), 'x-client-key', 'K', 'x-signature', 'AAAA'), '{"grantType": "client_credentials"}', '/v1.0/access-token/b2b');
-- bodies: huge, deep, no JSON
select test.call(test.headers(), repeat('x', 1048577)), test.call(test.headers(), repeat('[', 100000)), test.call(test.headers(), null), test.call(test.headers(), '');
select left(b, 12) as body, payout.read_json(b) from unnest(array[null, '', ' ', 'x', '{', '{"a": 1', repeat('[', 33) || repeat(']', 33), '{"a": "\u0000"}', '{"a": "\ud800"}', '1e999999999', '[1]', '"' || repeat('x', 1048576) || '"']) b;
-- a member that stands twice, at any depth, spelled in any way, with any values: no message
select b as twice, payout.read_json(b) from unnest(array['{"a": 1, "a": 1}', '{"a": 1, "\u0061": 2}', '{"a": {"b": [{"c": 1, "c": null}]}}', '[{"a": {}, "a": {}}]', '{"a": 1, "b": 2, "a": {"a": {"x": 1}}}', '{"": 1, "": 2}']) b;
select payout.read_json('{"a": {"a": [{"a": 1}, {"a": 1}]}, "b": ":\":", "A": 2, "a ": 3}') as each_once;
select payout.read_json(repeat('[', 32) || repeat(']', 32)) is not null as deep_enough;
select count(*) from payout.notice where channel_id = 'INCH';

-- signed as SNAP says: HMAC-SHA512 over method, path, token, digest of the body without its blanks, timestamp
create function test.hmac(p_key bytea, p_text bytea) returns bytea language sql as
$$ select sha512(o.pad || sha512(i.pad || p_text)) from
	(select decode(string_agg(lpad(to_hex(x # 54), 2, '0'), '' order by n), 'hex') as pad from (select n, case when n < length(p_key) then get_byte(p_key, n) else 0 end as x from generate_series(0, 127) n) q) i,
	(select decode(string_agg(lpad(to_hex(x # 92), 2, '0'), '' order by n), 'hex') as pad from (select n, case when n < length(p_key) then get_byte(p_key, n) else 0 end as x from generate_series(0, 127) n) q) o $$;
create function test.notice(p_body text, p_id text, p_signed text default null) returns text language sql as
$$ select test.call(jsonb_build_object('x-timestamp', s.stamp, 'X-Partner-Id', 'P', 'X-EXTERNAL-ID', p_id, 'authorization', 'Bearer ' || s.token,
	'X-SIGNATURE', replace(encode(test.hmac('a-shared-client-secret', convert_to(format('POST:%s:%s:%s:%s', '/snap/v1.0/transfer-interbank-bulk/notify', s.token,
		encode(sha256(convert_to(replace(coalesce(p_signed, p_body), ' ', ''), 'UTF8')), 'hex'), s.stamp), 'UTF8')), 'base64'), E'\n', '')), p_body)
   from (select test.stamp() as stamp, payout.issue_token('INCH') as token offset 0) s $$;
create function test.item(p_reference text, p_code text default '2002000', p_more jsonb default '{}') returns jsonb language sql as
$$ select jsonb_build_object('originalPartnerReferenceNo', p.txid, 'originalReferenceNo', 'B-' || p_reference, 'responseCode', p_code, 'responseMessage', 'words',
	'beneficiaryAccountNo', p.account_no, 'amount', jsonb_build_object('value', p.amount::text, 'currency', 'IDR')) || p_more from test.payout(p_reference) p $$;
create function test.bulk(p_reference text, p_items jsonb) returns text language sql as
$$ select jsonb_build_object('bulkId', 'BANKREF', 'partnerBulkId', p.batch_id, 'bulkObject', p_items)::text from test.payout(p_reference) p $$;
select test.pay('INBOUND001', 'INBANK', 'I' || i) from generate_series(1, 6) i;
select test.send('INCH'), test.answer('I1', 'yes', 'ok', 202, '2022000');
select test.notice('{"a": 1}', 'E0', '{"a":2}') as other_body_signed, test.notice('no json', 'E1') as no_json, test.notice('{"bulkObject": 5, "bulkId": "x", "partnerBulkId": "y"}', 'E2') as no_list,
	test.notice('{"bulkObject": [null, 5, "x", {}, [], {"amount": 5}, {"originalPartnerReferenceNo": {"a": 1}}], "bulkId": "x", "partnerBulkId": "not-a-uuid"}', 'E3') as odd_items;
select external_id, items, unknown_items from payout.notice where channel_id = 'INCH' order by 1;
-- each item by itself; a repeat of the external id is refused, of the content harmless
select test.notice(test.bulk('I1', jsonb_build_array(test.item('I1'), test.item('I2', '4042011'), test.item('I3', '5002000'))), 'F1'), test.state('I1', 'I2', 'I3', 'I4');
select test.notice(test.bulk('I1', jsonb_build_array(test.item('I4'))), 'F1'), test.state('I4');
select test.notice(test.bulk('I1', jsonb_build_array(test.item('I1'))), 'F2'), test.state('I1'), test.money('I1');
-- whoever repeats a signed call changes what is not signed: the external id, the case of names, blanks of the body
create function test.repeated(p_body text, p_id text) returns text[] language plpgsql as $$
declare
	s text := test.stamp();
	h jsonb := jsonb_build_object('x-timestamp', s, 'x-partner-id', 'P', 'authorization', 'Bearer ' || payout.issue_token('INCH'));
begin
	h := h || jsonb_build_object('x-signature', replace(encode(test.hmac('a-shared-client-secret', convert_to(format('POST:%s:%s:%s:%s', '/snap/v1.0/transfer-interbank-bulk/notify',
		substr(h ->> 'authorization', 8), encode(sha256(convert_to(replace(p_body, ' ', ''), 'UTF8')), 'hex'), s), 'UTF8')), 'base64'), E'\n', ''));
	return array[test.call(h || jsonb_build_object('X-External-Id', p_id), p_body), test.call(h || jsonb_build_object('x-external-id', p_id || 'X'), p_body),
		test.call((h - 'x-partner-id') || jsonb_build_object('X-EXTERNAL-ID', p_id || 'Y', 'X-PARTNER-ID', 'Q'), p_body || ' ')];
end $$;
select test.repeated('{"bulkId": "x", "partnerBulkId": "y", "bulkObject": []}', 'R1');
select external_id from payout.notice where channel_id = 'INCH' and external_id like 'R%';
-- what is older than 90 days is forgotten, not all at once
insert into payout.notice (channel_id, day, external_id, signature_digest) select 'INCH', payout.jakarta_day(now()) - d, 'OLD' || d || '/' || i, sha256(convert_to(d || '/' || i, 'UTF8'))
	from unnest('{89,90,91,400}'::integer[]) d, generate_series(1, 60) i;
select test.notice('{"bulkId": "p", "partnerBulkId": "y", "bulkObject": []}', 'P1'), (select count(*) from payout.notice where external_id like 'OLD%');
select split_part(external_id, '/', 1) as age, count(*) from payout.notice where external_id like 'OLD%' group by 1 order by 1;
select test.notice('{"bulkId": "q", "partnerBulkId": "y", "bulkObject": []}', 'P2'), test.notice('{"bulkId": "r", "partnerBulkId": "y", "bulkObject": []}', 'P1');
select split_part(external_id, '/', 1) as age, count(*) from payout.notice where external_id like 'OLD%' group by 1 order by 1;
-- functions inside, called without a channel
select payout.issue_token(null), payout.token_valid(null, payout.issue_token('INCH')), payout.bank_client_valid(null, 'a', 'b', 'c'), payout.notice_signature_valid(null, 'POST', '/', 't', '', 's', 'x');
-- another amount, account, batch, a stranger's TXID: no payout of ours
select test.notice(test.bulk('I1', jsonb_build_array(test.item('I5', '2002000', '{"amount": {"value": "1.00"}}'), test.item('I5', '2002000', '{"beneficiaryAccountNo": "1"}'), test.item('I5', '2002000', '{"originalPartnerReferenceNo": "X"}'))), 'F3'), test.state('I5');
select test.notice(replace(test.bulk('I1', jsonb_build_array(test.item('I5'))), (test.payout('I1')).batch_id::text, payout.new_id()::text), 'F4'), test.state('I5');
-- contrary to what was said before: disputed
select test.notice(test.bulk('I1', jsonb_build_array(test.item('I1', '4042011'), test.item('I2'))), 'F5'), test.state('I1', 'I2');
select external_id, bank_batch_no, items, unknown_items, misfits from payout.notice where channel_id = 'INCH' and external_id like 'F%' order by 1;

-- ---- an item belongs to its payout
select test.pay('INBOUND001', 'INBANK', 'J' || i, 250000) from generate_series(1, 3) i;
select test.send('INCH'), test.answer('J1', 'yes', 'ok', 202, '2022000');
create function test.told(p_reference text, p_item jsonb, p_id text) returns text language plpgsql as $$
declare
	answer text := test.notice(test.bulk(p_reference, jsonb_build_array(p_item)), p_id);
begin
	return concat_ws(' ', answer, (select concat_ws(' ', n.unknown_items, n.misfits) from payout.notice n where n.channel_id = 'INCH' and n.external_id = p_id));
end $$;
-- what names another amount, currency or account, in any form
select more, test.told('J1', test.item('J1', '2002000', more::jsonb), 'G' || n), test.state('J1')
from unnest(array['{"amount": {"value": "25000.00", "currency": "IDR"}}', '{"amount": {"value": "250000.01"}}', '{"amount": {"value": "2.5e5"}}', '{"amount": {"value": "250000\t"}}', '{"amount": {"value": ""}}', '{"amount": {"value": {"a": 1}}}',
	'{"amount": "250000.00"}', '{"amount": [250000]}', '{"amount": {"value": "250000.00", "currency": "USD"}}', '{"amount": {"value": 250000, "currency": "idr"}}', '{"currency": "USD"}', '{"beneficiaryAccountNo": "0"}', '{"beneficiaryAccountNo": null}',
	'{"responseCode": "2001800"}', '{"responseCode": "200ab00"}', '{"responseCode": "2003600"}']) with ordinality u (more, n);
-- the same amount, written otherwise, and the services that an item may carry
select more, test.told('J1', test.item('J1', code, more::jsonb), 'H' || n), test.state('J1')
from unnest(array['{"amount": {"value": "250000"}}', '{"amount": {"value": "250000.0"}}', '{"amount": {"value": 250000}}', '{"amount": {"value": 2.5e5}}', '{"amount": null}', '{"amount": {}}'],
	array['2022000', '2020000', '2022100', '2022000', '2020000', '2022100']) with ordinality u (more, code, n);
-- the bank has given it a number before: an item with another one speaks of something else
select test.told('J1', test.item('J1', '2002100', '{"originalReferenceNo": "GOOD-1"}'), 'H7'), test.told('J1', test.item('J1', '4042011', '{"referenceNo": "B-J11"}'), 'H8'), test.state('J1');
select test.told('J1', test.item('J1', '2002100', '{"amount": {"value": 250000.00}, "referenceNo": "B-J1"}'), 'H9'), test.state('J1');
-- two words of one payout: none, in either order, at any distance; the same word twice is one
select test.notice(test.bulk('J2', jsonb_build_array(test.item('J2', '4042011'), test.item('J2', '2002000'))), 'K1'), test.state('J2');
select test.notice(test.bulk('J2', jsonb_build_array(test.item('J2', '2002000'), test.item('J2', '4042011'))), 'K2'), test.state('J2');
select test.notice(test.bulk('J2', jsonb_build_array(test.item('J2', '2002000'), test.item('J3', '2022000'), test.item('J2', '2022000'))), 'K3'), test.state('J2', 'J3');
select test.notice(test.bulk('J2', jsonb_build_array(test.item('J2', '2002000'), test.item('J2', '2002000', '{"amount": {"value": "1.00"}}'))), 'K4'), test.state('J2');
select test.notice(test.bulk('J2', jsonb_build_array(test.item('J2', '2002000'), test.item('J2', '2000000'))), 'K5'), test.state('J2');
select external_id, items, unknown_items, misfits from payout.notice where channel_id = 'INCH' and external_id like 'K%' order by 1;
-- numbers of the bank that are none, or others, and later words: what is known stays
select test.told('J1', test.item('J1', '2002000', jsonb_build_object('originalReferenceNo', r)), 'L' || n), (test.payout('J1')).bank_reference_no
from unnest(array['', repeat('9', 65), E'a\nb\u0001', chr(127), 'é', 'OTHER-1']) with ordinality u (r, n);
select test.told('J3', test.item('J3', '2022000', jsonb_build_object('originalReferenceNo', r)), 'M' || n), (test.payout('J3')).bank_reference_no
from unnest(array[repeat('9', 65), E'a\tb', 'FIRST-1', '']) with ordinality u (r, n);
-- whatever else an item or the notice names of what was ordered must be ours; an empty text and null name nothing
select test.pay('INBOUND001', 'INBANK', 'INBN' || i) from generate_series(1, 4) i;
select test.send('INCH'), test.answer('INBN1', 'yes', 'ok', 202, '2022000');
select more, test.told('INBN1', test.item('INBN1', '4042011', more::jsonb), 'N' || n), test.state('INBN1')
from unnest(array['{"beneficiaryBankCode": "014"}', '{"bankCode": "INBANK2"}', '{"bankCode": 14}', '{"sourceAccountNo": "8888010001575080"}', '{"sourceAccount": "************7508"}', '{"sourceAccountNo": "0000888801000157508"}', '{"sourceAccountNo": {"a": 1}}', '{"partnerReferenceNo": "X"}',
	'{"partnerBulkId": "018d0000-0000-7000-8000-000000000001"}', '{"bulkId": "BULK-OF-OTHERS"}', '{"beneficiaryAccountNo": "881111****"}', '{"beneficiaryAccountNo": "008811111111"}']) with ordinality u (more, n);
create function test.of_bulk(p_reference text, p_item jsonb, p_more jsonb, p_id text) returns text language plpgsql as $$
declare
	answer text := test.notice((test.bulk(p_reference, jsonb_build_array(p_item))::jsonb || p_more)::text, p_id);
begin
	return concat_ws(' ', answer, (select concat_ws(' ', n.unknown_items, n.misfits) from payout.notice n where n.channel_id = 'INCH' and n.external_id = p_id), test.state(p_reference));
end $$;
select more, test.of_bulk('INBN1', test.item('INBN1', '4042011'), more::jsonb, 'O' || n) from unnest(array['{"bulkId": "BULK-OF-OTHERS"}', '{"sourceAccountNo": "1"}', '{"sourceAccount": "88880100015750x"}', '{"currency": "USD"}']) with ordinality u (more, n);
-- the status beside the code: they agree, or the item is no word
select more, code, test.told('INBN1', test.item('INBN1', code, more::jsonb), 'P' || n || 'S'), test.state('INBN1')
from unnest(array['{"latestTransactionStatus": "06"}', '{"transactionStatus": "05"}', '{"latestTransactionStatus": "00"}', '{"transactionStatus": "03"}', '{"latestTransactionStatus": "00", "transactionStatus": "06"}', '{"latestTransactionStatus": "done"}', '{"transactionStatus": "02"}', '{"latestTransactionStatus": "01"}'],
	array['2002000', '2022000', '4042011', '4042011', '2002000', '2002000', '2002000', '2022000']) with ordinality u (more, code, n);
select test.told('INBN1', test.item('INBN1', '2002000', jsonb_build_object('latestTransactionStatus', '00', 'transactionStatus', '00', 'bankCode', 'INBANK', 'beneficiaryBankCode', '', 'sourceAccountNo', '888801000157508', 'sourceAccount', null, 'partnerReferenceNo', test.txid('INBN1'), 'partnerBulkId', upper((test.payout('INBN1')).batch_id::text), 'bulkId', 'BANKREF')), 'Q1'), test.state('INBN1');
select test.told('INBN2', test.item('INBN2', '4042011', '{"transactionStatus": "06", "bankCode": ""}'), 'Q2'), test.state('INBN2'), test.told('INBN3', test.item('INBN3', '2002000'), 'Q3'), test.state('INBN3');
-- the bank's own number for another payout is no number of this one, whatever is said; the items of one bulk may have one in common
select test.pay('INBOUND001', 'INBANK', 'INBO' || i) from generate_series(1, 2) i;
select test.send('INCH'), test.answer('INBO1', 'yes', 'ok', 202, '2022000');
select code, test.of_bulk('INBO1', test.item('INBO1', code, jsonb_build_object('originalReferenceNo', (test.payout('J3')).bank_reference_no)), '{}', 'T' || n), (test.payout('INBO1')).bank_reference_no
from unnest('{2002000,2022000,4042011}'::text[]) with ordinality u (code, n);
select test.notice(test.bulk('INBO1', jsonb_build_array(test.item('INBO1', '2002000', '{"originalReferenceNo": "OF-THE-BULK"}'), test.item('INBO2', '2002000', '{"originalReferenceNo": "OF-THE-BULK"}'))), 'T9'), test.state('INBO1', 'INBO2');
select check_name, detail from payout.verify();
