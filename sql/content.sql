-- content.sql: what was registered and checked is what is sent: route, code, accounts, name and amount are frozen together, and
-- a digest in the first history row tells of any change.
\getenv tree PG_ABS_SRCDIR
\set fixture :tree /sql/include/fixture.inc
\i :fixture
select test.set_up('CONTENT001', 'FROZCH', 'FROZBANK', 1000000, '{}', '{"mode": "single"}');
select payout.alter_bank('FROZBANK', '{"wire_code": "014", "internal": true}') is distinct from null as altered;
select payout.create_channel('FROZCH2', 'snap', 'https://bank2.example', '{"source_account_no": "2222222222"}') is distinct from null as created;
select test.live() >= 0 as alive;
create view test.frozen as select reference_no, channel_id, wire_code, source_account_no, length(content_salt) as salt,
	payout.content_digest(p) = (select e.content_digest from payout.payout_event e where e.txid = p.txid and e.event_no = 1) as fits,
	(select count(e.content_digest) from payout.payout_event e where e.txid = p.txid) as digests
	from payout.payout p where merchant_id = 'CONTENT001';
-- every way to register: at once, by the rules, in a set, an item by itself, a cashout
select payout.register('CONTENT001', 'CNK1', 12500.5, 'FROZBANK', '8811111111', 'Budi Santoso', beneficiary_phone => '+62 812', description => 'gaji') is distinct from null as plain,
	payout.register('CONTENT001', 'CNK2', 100, 'FROZBANK', '8811111111', 'Budi Santoso', 'overbooking', scheduled_at => now() + interval '1 day', description => repeat('d', 50)) is distinct from null as by_rules;
select state, sqlstate from payout.register_batch('CONTENT001', '[{"reference_no": "CNK3", "amount": 7, "bank_code": "FROZBANK", "account_no": "8822", "beneficiary_name": "Budi"},
	{"reference_no": "CNK4", "amount": 8, "bank_code": "FROZBANK", "account_no": "8833", "beneficiary_name": "Siti", "options": {}}, {"reference_no": "CNK5", "amount": 9, "bank_code": "FROZBANK", "account_no": "8844", "beneficiary_name": "Ani"}]');
select payout.register_cashout('CONTENT001', 'CNK6', 5000, 'Budi Santoso', '+62 812') is distinct from null as cashout;
select * from test.frozen order by 1;
select count(distinct content_salt) from payout.payout where merchant_id = 'CONTENT001';
-- the platform's account and the salt are in no answer, nor in a view
select source_account_no, content_salt, wire_code from payout.register('CONTENT001', 'CNK1', 12500.5, 'FROZBANK', '8811111111', 'Budi Santoso', beneficiary_phone => '+62 812', description => 'gaji');
select source_account_no, content_salt, wire_code from payout.register('CONTENT001', 'CNK7', 12, 'FROZBANK', '8811111111', 'Budi Santoso');
select source_account_no, content_salt from payout.inquiry('CONTENT001', test.txid('CNK1'));
select source_account_no, content_salt, state from payout.reject('CONTENT001', test.txid('CNK7'), 'no');
select attrelid::regclass, attname from pg_attribute a join pg_class c on c.oid = attrelid where relnamespace = 'payout'::regnamespace and relkind = 'v' and attname in ('content_salt', 'salt', 'content_digest', 'request_digest');
-- the digest by PostgreSQL's own functions
create function test.piece(n integer, value bytea) returns bytea language sql as $$ select coalesce(substr(int4send(n), 4) || int4send(length(value)) || value, '') $$;
create function test.in_utf8(value text) returns bytea language sql as $$ select convert_to(value, 'UTF8') $$;
select reference_no, payout.content_digest(p) = sha256(content_salt || test.piece(1, test.in_utf8(merchant_id)) || test.piece(2, test.in_utf8(txid)) || test.piece(3, test.in_utf8(kind)) || test.piece(4, test.in_utf8(reference_no))
	|| test.piece(5, test.in_utf8(method)) || test.piece(6, test.in_utf8(amount::text)) || test.piece(7, test.in_utf8(currency)) || test.piece(8, test.in_utf8(channel_id)) || test.piece(9, test.in_utf8(bank_code)) || test.piece(10, test.in_utf8(wire_code))
	|| test.piece(11, test.in_utf8(source_account_no)) || test.piece(12, test.in_utf8(account_no)) || test.piece(13, test.in_utf8(beneficiary_name)) || test.piece(14, test.in_utf8(beneficiary_phone)) || test.piece(15, test.in_utf8(description))
	|| test.piece(16, test.in_utf8(options::text)) || test.piece(17, timestamptz_send(scheduled_at)) || test.piece(18, timestamptz_send(registered_at))) as same
from payout.payout p where merchant_id = 'CONTENT001' order by 1;
-- no column of the content changes by an ordinary UPDATE; the digested ones are all that stand before what changes, but the salt
create view test.content_column as select a.attname::text as name, a.atttypid::regtype::text as type from pg_attribute a
	where attrelid = 'payout.payout'::regclass and attnum > 0 and attnum < (select attnum from pg_attribute where attrelid = 'payout.payout'::regclass and attname = 'state');
create function test.another(p_name text, p_type text) returns text language sql as $$
	select case p_type when 'numeric' then format('%I + 0.01', p_name) when 'jsonb' then '''{"x": 1}''' when 'bytea' then 'payout.new_salt()'
		when 'timestamp with time zone' then format('coalesce(%I + interval ''1 us'', now())', p_name) else format('coalesce(%I, '''') || ''1''', p_name) end $$;
select count(*), string_agg(name, ' ' order by name) filter (where test.sqlstate_of(format('update payout.payout set %I = %s where reference_no = %L', name, test.another(name, type), 'CNK2')) <> 'PY004') as changed from test.content_column;
-- who gets past the triggers is found, whatever he changes, of a disbursement and of a cashout, before and after the money moved
create function test.tampered(statement text) returns text language plpgsql as $$
declare
	found text;
begin
	set local session_replication_role = replica;
	execute statement;
	select coalesce(string_agg(v.check_name, ' '), 'NOTHING') into found from payout.verify_content() v where v.merchant_id like 'CONTENT001%';
	raise sqlstate 'UNDO0';
exception when sqlstate 'UNDO0' then
	return found;
end $$;
select r as reference, string_agg(name, ' ' order by name) filter (where result is distinct from 'content_is_registered') as not_found from unnest('{CNK1,CNK2,CNK3,CNK6}'::text[]) r, test.content_column c,
	lateral (select test.tampered(format('update payout.payout set %I = %s where reference_no = %L', name, test.another(name, type), r)) as result) t
	where name not in ('merchant_id', 'txid') group by r order by r;
select test.tampered($$update payout.payout set description = null where reference_no = 'CNK1'$$) as taken_away, test.tampered($$update payout.payout set beneficiary_phone = description, description = beneficiary_phone where reference_no = 'CNK1'$$) as exchanged,
	test.tampered($$update payout.payout set wire_code = bank_code where reference_no = 'CNK3'$$) as other_bank,
	test.tampered($$update payout.payout p set content_salt = q.content_salt, account_no = q.account_no from payout.payout q where p.reference_no = 'CNK3' and q.reference_no = 'CNK5'$$) as of_another;
-- once the salt is erased, nothing can be said
select test.tampered($$update payout.payout set content_salt = null, beneficiary_name = 'erased' where reference_no = 'CNK1'$$);
select check_name from payout.verify();

-- bank and channel are altered: what is registered keeps its way, what comes later has the new one
select test.sqlstate_of($$select payout.alter_bank('FROZBANK', '{"channel_id": "FROZCH2"}')$$) as without_its_code;
select (payout.alter_bank('FROZBANK', '{"channel_id": "FROZCH2", "wire_code": "002"}')).channel_id, (payout.alter_channel('FROZCH', '{"source_account_no": "3333333333"}')).options ->> 'source_account_no' as account;
select state from payout.register('CONTENT001', 'CNL1', 10, 'FROZBANK', '8811111111', 'Budi Santoso');
select state from payout.register('CONTENT001', 'CNL2', 10, 'FROZBANK', '8811111111', 'Budi Santoso', 'overbooking');
select reference_no, channel_id, wire_code, source_account_no, fits from test.frozen where reference_no in ('CNK1', 'CNK3', 'CNL1', 'CNL2') order by 1;
select w.wire_code, w.account_no, w.salt = p.content_salt as has_salt, p.reference_no from payout.claim_validate('FROZCH', 100) w join payout.payout p using (merchant_id, txid) where p.reference_no in ('CNK1', 'CNK2') order by 4;
select w.wire_code, p.reference_no from payout.claim_validate('FROZCH2', 100) w join payout.payout p using (merchant_id, txid) order by 2;
update payout.payout set account_check = 'matched' where merchant_id = 'CONTENT001' and kind = 'disbursement' and state = 'registered';
select count((payout.approve('CONTENT001', test.txid(r))).state) from unnest('{CNK1,CNK3,CNL1}'::text[]) r;
create temp table sent as select w.* from unnest('{FROZCH,FROZCH2}'::text[]) c, unnest(payout.form_batches(c, 10)) w;
select p.reference_no, p.channel_id, w.wire_code, w.source_account_no, w.salt = b.salt as has_salt, length(w.salt) from sent w join payout.payout p using (merchant_id, txid) join payout.batch b on b.batch_id = w.batch_id order by 1;
-- sent again, and asked for, in the same words
update payout.batch b set state = 'open', due_at = payout.clock() from payout.payout p where p.batch_id = b.batch_id and p.reference_no = 'CNK1';
select w.wire_code, w.source_account_no, w.salt = b.salt as has_salt from payout.claim_again('FROZCH', 10) w join payout.batch b using (channel_id, batch_id);
update payout.batch set state = 'accepted', tries = 0 where channel_id in ('FROZCH', 'FROZCH2');
update payout.payout set state = 'processing', status_due_at = payout.clock() where merchant_id = 'CONTENT001' and state = 'dispatching';
select w.wire_code, w.salt = p.content_salt as has_salt from payout.claim_check('FROZCH', 10) w join payout.payout p using (merchant_id, txid) where p.reference_no = 'CNK1';
update payout.payout set status_due_at = payout.clock() where merchant_id = 'CONTENT001' and state = 'processing';

-- a bulk holds payouts of one source account
select payout.alter_channel('FROZCH', '{"mode": "bulk", "batch_size_max": 3}') is distinct from null as altered, payout.alter_bank('FROZBANK', '{"channel_id": "FROZCH", "wire_code": null}') is distinct from null as moved_back;
select count(test.pay('CONTENT001', 'FROZBANK', 'CNM' || i, 10)) from generate_series(1, 4) i;
select payout.alter_channel('FROZCH', '{"source_account_no": "4444444444"}') is distinct from null as altered;
select count(test.pay('CONTENT001', 'FROZBANK', 'CNM' || i, 10)) from generate_series(5, 6) i;
select payout.alter_channel('FROZCH', '{"source_account_no": "3333333333"}') is distinct from null as altered;
select test.pay('CONTENT001', 'FROZBANK', 'CNM7', 10);
select test.send('FROZCH');
select b.source_account_no, b.item_count, string_agg(p.reference_no, ' ' order by p.reference_no) as members, count(distinct p.source_account_no) as accounts, count(distinct b.salt) as salts
	from payout.batch b join payout.payout p using (channel_id, batch_id) where p.reference_no like 'CNM_' group by b.batch_id, b.source_account_no, b.item_count order by members;
-- and so do its halves
select test.answer('CNM1', 'no', 'fail', 400, '4002001'), test.send('FROZCH');
select b.source_account_no, b.item_count, length(b.salt) as salt, b.salt <> a.salt as own_salt from payout.batch b join payout.batch a on a.batch_id = b.parent_batch_id where b.channel_id = 'FROZCH' order by 2;

-- a bank whose channel names no account: nobody registers; what is registered goes on
select payout.alter_channel('FROZCH', '{"source_account_no": null}') is distinct from null as altered;
select test.refusal($$select payout.register('CONTENT001', 'CNN1', 1, 'FROZBANK', '88', 'Budi')$$, 'bank_code') as plain, test.refusal($$select payout.register('CONTENT001', 'CNN1', 1, 'FROZBANK', '88', 'Budi', 'overbooking')$$, 'bank_code') as by_rules;
select sqlstate from payout.register_batch('CONTENT001', '[{"reference_no": "CNN1", "amount": 7, "bank_code": "FROZBANK", "account_no": "8822", "beneficiary_name": "Budi"}]');
-- a repeat is answered even then
select reference_no from payout.register('CONTENT001', 'CNK1', 12500.5, 'FROZBANK', '8811111111', 'Budi Santoso', beneficiary_phone => '+62 812', description => 'gaji');
select payout.alter_channel('FROZCH', '{"source_account_no": "3333333333"}') is distinct from null as altered;

-- nothing is cut to fit: what a bank's field does not take is refused at the door
select account, test.sqlstate_of(format('select payout.alter_channel(%L, jsonb_build_object(%L, %L::text))', 'FROZCH2', 'source_account_no', account)) from unnest(array['1234567890123456789', '12345678901234567890', '', ' ', '123 456', E'12\t3', '12é']) account;
select test.sqlstate_of(format('select payout.create_channel(%L, %L, %L, %L)', 'FROZCH3', 'snap', 'https://bank.example', '{"source_account_no": "12345678901234567890ABCDE"}'));
select code, test.sqlstate_of(format('select payout.alter_bank(%L, jsonb_build_object(%L, %L::text))', 'FROZBANK', 'wire_code', code)) from unnest(array['12345678901', '123456789012', '01 4', 'é', '']) code;
select test.refusal(format('select payout.register(%L, %L, 1, %L, %L, %L, %L, description => %L)', 'CONTENT001', 'CNP1', 'FROZBANK', '88', 'Budi', method, repeat(letter, n)), 'description') as result, method, letter, n
	from (values ('overbooking', 'd', 51), ('overbooking', 'é', 51), ('overbooking', 'd', 100), ('online', 'd', 101), ('online', 'é', 101)) v (method, letter, n);
select test.sqlstate_of(format('select payout.register(%L, %L, 1, %L, %L, %L, %L, description => %L)', 'CONTENT001', 'CNP' || n, 'FROZBANK', '88', 'Budi', method, repeat('é', n))) from (values ('overbooking', 50), ('online', 100)) v (method, n);
select sqlstate from payout.register_batch('CONTENT001', jsonb_build_array(jsonb_build_object('reference_no', 'CNP3', 'amount', 7, 'bank_code', 'FROZBANK', 'account_no', '8822', 'beneficiary_name', 'Budi', 'method', 'overbooking', 'description', repeat('d', 51))));
update payout.payout set check_due_at = payout.clock() where merchant_id = 'CONTENT001' and state = 'registered' and account_check = 'pending';
select check_name, detail from payout.verify();
