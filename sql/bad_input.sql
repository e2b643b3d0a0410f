-- bad_input.sql: every argument of every public function: what is wrong is refused with a SQLSTATE, a message that names the argument, and a hint; nothing is written.
\getenv tree PG_ABS_SRCDIR
\set fixture :tree /sql/include/fixture.inc
\i :fixture
\set cashout :tree /sql/include/cashout.inc
\i :cashout
select test.set_up('BADINPUT01', 'BADCH', 'BADBANK', 100000);
select test.register('BADINPUT01', 'BADBANK', 'GOOD');
select test.issue('BADINPUT01', 'GOODCASH', 100);
-- Wrong tokens count: each call comes from another store, so that none is locked.
create sequence test.store_no;
create function test.store() returns text language sql as $$ select 'BADCVS' || nextval('test.store_no') $$;
select count(payout.create_cvs('BADCVS' || i, 'A store')) from generate_series(1, 300) i;
-- The calls that are right, one for each public function; each argument in turn is replaced by each bad value of its kind.
create table test.good (f text, argument text, n integer, kind text, value text);
insert into test.good
select g.f, a.argument, a.n, a.kind, case a.value when 'TXID' then format('%L', test.txid('GOOD')) when 'TOKEN' then format('%L', test.token('GOODCASH')) else a.value end
from (values
	('create_merchant', array['merchant_id', 'name', 'notify_url', 'options'], array['merchant_new', 'name', 'url', 'options'], array['''BADINPUT02''', '''A name''', '''https://a.example''', '''{}''']),
	('alter_merchant', array['merchant_id', 'options'], array['merchant', 'options'], array['''BADINPUT01''', '''{}''']),
	('create_channel', array['channel_id', 'protocol', 'base_url', 'options'], array['id', 'word', 'url_needed', 'options'], array['''BADCH2''', '''snap''', '''https://a.example''', '''{}''']),
	('alter_channel', array['channel_id', 'options'], array['id', 'options'], array['''BADCH''', '''{}''']),
	('pause_channel', array['channel_id', 'reason'], array['id', 'reason'], array['''BADCH''', '''why''']),
	('resume_channel', array['channel_id'], array['id'], array['''BADCH''']),
	('create_bank', array['bank_code', 'name', 'channel_id', 'options'], array['id', 'name', 'id', 'options'], array['''BADBANK2''', '''A name''', '''BADCH''', '''{}''']),
	('alter_bank', array['bank_code', 'options'], array['id', 'options'], array['''BADBANK''', '''{}''']),
	('load_banks', array['channel_id'], array['id'], array['''BADCH''']),
	('set_secret', array['owner', 'name', 'value', 'old_valid_until'], array['id', 'word', 'secret', 'moment'], array['''channel:BADCH''', '''client_secret''', '''x''', 'null']),
	('top_up', array['merchant_id', 'amount', 'reference'], array['merchant', 'amount', 'reference'], array['''BADINPUT01''', '1', '''bad-input''']),
	('withdraw', array['merchant_id', 'amount', 'reference'], array['merchant', 'amount', 'reference'], array['''BADINPUT01''', '1', '''bad-input''']),
	('balance', array['merchant_id'], array['merchant'], array['''BADINPUT01''']),
	('verify_chain', array['merchant_id'], array['merchant'], array['''BADINPUT01''']),
	('register', array['merchant_id', 'reference_no', 'amount', 'bank_code', 'account_no', 'beneficiary_name', 'method', 'beneficiary_phone', 'scheduled_at', 'description', 'options'],
		array['merchant', 'reference', 'amount', 'id', 'id', 'name', 'word', 'phone', 'moment', 'note', 'options'],
		array['''BADINPUT01''', '''NEW''', '100', '''BADBANK''', '''8811111111''', '''Budi''', '''online''', 'null', 'null', 'null', '''{}''']),
	('register_batch', array['merchant_id', 'items'], array['merchant', 'items'], array['''BADINPUT01''', '''[]''']),
	('approve', array['merchant_id', 'txid'], array['merchant', 'txid'], array['''BADINPUT01''', 'TXID']),
	('approve_batch', array['merchant_id', 'txids'], array['merchant', 'txids'], array['''BADINPUT01''', '''{}''']),
	('reject', array['merchant_id', 'txid', 'reason'], array['merchant', 'txid', 'reason'], array['''BADINPUT01''', 'TXID', '''why''']),
	('cancel', array['merchant_id', 'txid', 'reason'], array['merchant', 'txid', 'reason'], array['''BADINPUT01''', 'TXID', '''why''']),
	('inquiry', array['merchant_id', 'txid'], array['merchant', 'txid'], array['''BADINPUT01''', 'TXID']),
	('inquiry_reference', array['merchant_id', 'reference_no'], array['merchant', 'txid'], array['''BADINPUT01''', '''GOOD''']),
	('request_check', array['merchant_id', 'txid'], array['merchant', 'txid'], array['''BADINPUT01''', 'TXID']),
	('resend_notification', array['merchant_id', 'txid'], array['merchant', 'txid'], array['''BADINPUT01''', 'TXID']),
	('resolve', array['merchant_id', 'txid', 'outcome', 'reason'], array['merchant', 'txid', 'word', 'reason'], array['''BADINPUT01''', 'TXID', '''failed''', '''why''']),
	('register_cashout', array['merchant_id', 'reference_no', 'amount', 'beneficiary_name', 'beneficiary_phone', 'description', 'options'],
		array['merchant', 'reference', 'cash', 'name', 'phone_needed', 'note', 'options'], array['''BADINPUT01''', '''NEWCASH''', '100', '''Budi''', '''0812''', 'null', '''{}''']),
	('reissue_token', array['merchant_id', 'txid'], array['merchant', 'txid'], array['''BADINPUT01''', 'TXID']),
	('create_cvs', array['cvs_code', 'name', 'options'], array['id', 'name', 'options'], array['''BADCVSNEW''', '''A name''', '''{}''']),
	('alter_cvs', array['cvs_code', 'options'], array['id', 'options'], array['''BADCVS1''', '''{}''']),
	('cashout_validate', array['cvs_code', 'token', 'terminal', 'cvs_reference'], array['id', 'token', 'reference', 'reference'], array['test.store()', 'TOKEN', '''T1''', '''REF1''']),
	('cashout_confirm', array['cvs_code', 'token', 'cvs_reference'], array['id', 'token', 'reference'], array['test.store()', 'TOKEN', '''REF1''']),
	('cashout_reverse', array['cvs_code', 'token', 'cvs_reference', 'reason'], array['id', 'written', 'reference', 'reason'], array['test.store()', 'TOKEN', '''REF1''', '''why''']),
	('unlock_terminal', array['cvs_code', 'terminal'], array['id', 'terminal'], array['''BADCVS1''', '''T1''']),
	('cvs_settlement', array['cvs_code', 'day'], array['id', 'day'], array['''BADCVS1''', '''2026-01-31''']),
	('import_cvs_settlement', array['cvs_code', 'day', 'rows'], array['id', 'day', 'rows'], array['''BADCVS1''', '''2026-01-31''', '''[]''']),
	('grant_access', array['role_name', 'kind', 'scope'], array['word', 'word', 'merchant'], array['current_user::text', '''merchant''', '''BADINPUT01''']),
	('revoke_access', array['role_name', 'kind', 'scope'], array['word', 'word', 'merchant'], array['current_user::text', '''merchant''', '''BADINPUT01'''])
) as g (f, arguments, kinds, vals), lateral unnest(g.arguments, g.kinds, g.vals) with ordinality as a (argument, kind, value, n);

create table test.bad (kind text, label text, value text);
insert into test.bad
select k, b.label, b.value from unnest(array['merchant', 'merchant_new', 'id', 'word', 'txid', 'reference', 'name', 'reason', 'secret', 'url_needed', 'token']) k,
	(values ('null', 'null'), ('empty', '''''')) as b (label, value)
union all
select k, b.label, b.value from unnest(array['merchant', 'merchant_new', 'id', 'word', 'txid', 'reference', 'token']) k,
	(values ('blank', ''' '''), ('too long', '''' || repeat('A', 3000) || ''''), ('control', 'E''AB\x01CD'''), ('newline', 'E''AB\nCD'''), ('quote', '''A''''; drop table x; --'''), ('not ascii', '''ÄÖÜ€''')) as b (label, value)
union all
select k, b.label, b.value from unnest(array['name', 'reason']) k,
	(values ('blank', '''   '''), ('too long', '''' || repeat('ä', 501) || ''''), ('control', 'E''AB\x01CD'''), ('newline', 'E''AB\nCD'''), ('delete', 'E''AB\x7f''')) as b (label, value)
union all values ('items', 'null', 'null'), ('items', 'JSON null', '''null'''), ('items', 'object', '''{}'''), ('items', 'text', '''"x"'''), ('items', 'too many', '(select jsonb_agg(1) from generate_series(1, 10001))'),
	('txids', 'null', 'null'), ('txids', 'two dimensions', '''{{a},{b}}'''), ('note', 'empty', ''''''), ('note', 'blank', '''  '''), ('note', 'too long', '''' || repeat('ä', 101) || ''''), ('note', 'control', 'E''a\tb'''),
	('phone', 'empty', ''''''), ('phone', 'letters', '''0812ABC'''), ('phone', 'too long', '''' || repeat('1', 21) || ''''), ('phone', 'control', 'E''08\n12'''), ('phone', 'not ascii', '''０８１２'''),
	('secret', 'too long', '''' || repeat('x', 16385) || ''''),
	('amount', 'null', 'null'), ('amount', 'zero', '0'), ('amount', 'negative', '-1'), ('amount', 'tiny', '0.001'), ('amount', 'three decimals', '1.234'), ('amount', 'huge', '10000000000000000'),
	('amount', 'enormous', '1e1000'), ('amount', 'NaN', '''NaN'''), ('amount', 'Infinity', '''Infinity'''), ('amount', '-Infinity', '''-Infinity'''),
	('moment', 'infinity', '''infinity'''), ('moment', '-infinity', '''-infinity'''), ('moment', 'past', '''2001-01-01Z'''), ('moment', 'now', 'now()'), ('moment', 'far', '''2999-01-01Z'''),
	('options', 'null', 'null'), ('options', 'JSON null', '''null'''), ('options', 'list', '''[]'''), ('options', 'number', '''5'''), ('options', 'text', '''"x"'''), ('options', 'unknown key', '''{"drop table": 1}'''),
	('options', 'empty key', '''{"": 1}'''), ('options', 'long key', format('''{"%s": 1}''', repeat('k', 5000))), ('options', 'huge', format('''{"partner_id": "%s"}''', repeat('x', 20000)));
insert into test.bad select k, b.label, b.value from unnest(array['url', 'url_needed']) k, (values ('empty url', ''''''), ('no scheme', '''a.example'''), ('file', '''file:///etc/passwd'''), ('javascript', '''javascript:x'''),
	('user', '''https://a:b@c.example'''), ('newline', 'E''https://a.example\nX: y'''), ('blank', '''https://a.example/a b'''), ('too long', '''https://a.example/' || repeat('x', 2000) || ''''), ('no host', '''https://''')) as b (label, value);
delete from test.bad where kind = 'url_needed' and label = 'empty url';
insert into test.bad values ('day', 'null', 'null'), ('day', 'infinity', '''infinity'''), ('day', '-infinity', '''-infinity'''), ('day', 'before', '''1999-12-31'''), ('day', 'after', '''3000-01-01'''), ('day', 'before Christ', '''0044-03-15 BC'''),
	('phone_needed', 'null', 'null'), ('phone_needed', 'blank', '''  '''), ('cash', 'decimals', '100.50'), ('cash', 'a hundredth', '0.01');
insert into test.bad select 'phone_needed', b.label, b.value from test.bad b where b.kind = 'phone';
insert into test.bad select 'cash', b.label, b.value from test.bad b where b.kind = 'amount';
insert into test.bad select 'token', b.label, format('%L', b.value) from (values
	('short', '1234567890123'), ('long', repeat('0', 21)), ('letters', '12345678ABCD3456'), ('sign', '+' || test.token('GOODCASH')), ('decimals', test.token('GOODCASH') || '.0'), ('underscores', regexp_replace(test.token('GOODCASH'), '(....)', '\1_', 'g')),
	('tab', E'\t' || test.token('GOODCASH')), ('other digits', translate(test.token('GOODCASH'), '0123456789', '٠١٢٣٤٥٦٧٨٩')), ('check digit', test.mistyped(test.token('GOODCASH'))), ('one short', left(test.token('GOODCASH'), -1)),
	('unknown', repeat('0', 16)), ('too many blanks', repeat(' ', 100000)), ('pattern', '%')) b (label, value);
-- a reversal of nothing is remembered, whatever the token is; without a terminal all that is shared is unlocked
insert into test.bad select 'written', b.label, b.value from test.bad b where b.kind = 'token' and b.label <> 'unknown';
insert into test.bad select 'terminal', b.label, b.value from test.bad b where b.kind = 'reference' and b.value <> 'null';
insert into test.bad select 'rows', b.label, format('%L', b.value) from (values
	('JSON null', 'null'), ('object', '{}'), ('text', '"x"'), ('number', '5'), ('row null', '[null]'), ('row list', '[[]]'), ('row empty', '[{}]'),
	('no reference', '[{"amount": 1, "status": "SUCCESS"}]'), ('no amount', '[{"cvs_reference": "A", "status": "SUCCESS"}]'), ('no status', '[{"cvs_reference": "A", "amount": 1}]'),
	('reference null', '[{"cvs_reference": null, "amount": 1, "status": "SUCCESS"}]'), ('reference number', '[{"cvs_reference": 5, "amount": 1, "status": "SUCCESS"}]'), ('reference empty', '[{"cvs_reference": "", "amount": 1, "status": "SUCCESS"}]'),
	('reference blank', '[{"cvs_reference": "A B", "amount": 1, "status": "SUCCESS"}]'), ('reference newline', '[{"cvs_reference": "A\n", "amount": 1, "status": "SUCCESS"}]'), ('reference not ascii', '[{"cvs_reference": "Ä", "amount": 1, "status": "SUCCESS"}]'),
	('reference long', format('[{"cvs_reference": "%s", "amount": 1, "status": "SUCCESS"}]', repeat('A', 65))), ('amount null', '[{"cvs_reference": "A", "amount": null, "status": "SUCCESS"}]'),
	('amount negative', '[{"cvs_reference": "A", "amount": -1, "status": "SUCCESS"}]'), ('amount huge', '[{"cvs_reference": "A", "amount": 1e16, "status": "SUCCESS"}]'), ('amount enormous', '[{"cvs_reference": "A", "amount": 1e1000, "status": "SUCCESS"}]'),
	('amount three decimals', '[{"cvs_reference": "A", "amount": 1.234, "status": "SUCCESS"}]'), ('amount NaN', '[{"cvs_reference": "A", "amount": "NaN", "status": "SUCCESS"}]'), ('amount Infinity', '[{"cvs_reference": "A", "amount": "Infinity", "status": "SUCCESS"}]'),
	('amount words', '[{"cvs_reference": "A", "amount": "one", "status": "SUCCESS"}]'), ('amount boolean', '[{"cvs_reference": "A", "amount": true, "status": "SUCCESS"}]'), ('amount object', '[{"cvs_reference": "A", "amount": {}, "status": "SUCCESS"}]'),
	('status null', '[{"cvs_reference": "A", "amount": 1, "status": null}]'), ('status unknown', '[{"cvs_reference": "A", "amount": 1, "status": "success"}]'), ('status list', '[{"cvs_reference": "A", "amount": 1, "status": ["SUCCESS"]}]'),
	('twice', '[{"cvs_reference": "A", "amount": 1, "status": "SUCCESS"}, {"cvs_reference": "A", "amount": 1, "status": "CANCEL"}]'), ('second bad', '[{"cvs_reference": "A", "amount": 1, "status": "SUCCESS"}, 5]')) b (label, value);
insert into test.bad values ('rows', 'null', 'null');

create table test.counts as select 0 as n, 'x'::text as tbl, 0::bigint as tuples;
create function test.count_all(p_n integer) returns void language plpgsql as $$
declare t regclass; c text;
begin
	for t in select oid from pg_class where relnamespace = 'payout'::regnamespace and relkind = 'r' loop
		execute format('select md5(coalesce(string_agg(q::text, '','' order by q::text), '''')) from %s q', t) into c;
		insert into test.counts values (p_n, t || ' ' || c, 1);
	end loop;
end $$;
select test.count_all(1);
create table test.answer as
select g.f, g.argument, b.label, test.refusal(format('select payout.%s(%s)', g.f,
		(select string_agg(case when o.n = g.n then b.value else o.value end, ', ' order by o.n) from test.good o where o.f = g.f)), g.argument) as answer
from test.good g join test.bad b on b.kind = g.kind;
select test.count_all(2);
-- every public function with arguments is in the list, with every argument
select p.proname, a from pg_proc p, unnest(p.proargnames[1:p.pronargs]) a where pronamespace = 'payout'::regnamespace and prosrc = 'payout_entry' and proname <> 'bank_notification'
and not exists (select from test.good g where g.f = p.proname and g.argument = a);
select count(*) > 500 as many from test.answer;
-- each refusal is of class PY, names its argument and has a hint; here are those that do not
select f, argument, label, answer from test.answer where answer !~ '^PY0\d\d$' order by 1, 2, 3;
-- what is refused, how
select f, argument, answer, count(*) from test.answer group by 1, 2, 3 order by 1, 2, 3;
-- nothing was written
select tbl from test.counts where n > 0 group by tbl having count(*) <> 2;
-- options of every scope and key: a wrong type is refused
select d.scope, d.name, v from payout.option_definition d, unnest(array['null', '[[]]', '{"x": {"y": []}}', '-1', '1e300', '"\u0001"', '""']) v
where test.sqlstate_of(format('select payout.check_options(%L, %L)', d.scope, format('{"%s": %s}', d.name, v))) not in ('PY016')
order by 1, 2, 3;
-- the procedure
call payout.check_status('BADINPUT01', null);
call payout.check_status(null, 'x');
call payout.check_status('BADINPUT01', 'nothing', '1 s');
call payout.check_status('BADINPUT01', 'nothing', null);
call payout.check_status('BADINPUT01', 'nothing', '-1 s');
select test.txid('GOOD') as good \gset
call payout.check_status('BADINPUT01', :'good', '-1 s');
call payout.check_status('BADINPUT01', :'good', null);
call payout.check_status('BADINPUT01', :'good', '100 years');
select check_name, detail from payout.verify();
