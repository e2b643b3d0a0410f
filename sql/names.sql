-- names.sql: names are compared by their letters, whatever the locale and encoding of the database; a name without letters is no
-- name; and what does not show does not enter. One list of comparisons is asked in databases of every kind.
\getenv tree PG_ABS_SRCDIR
\set fixture :tree /sql/include/fixture.inc
\i :fixture
-- ours, theirs, what that is; written as escapes, so that this file is ASCII
create table test.pair (n serial, ours text, theirs text, wanted text);
insert into test.pair (ours, theirs, wanted) values
	('Budi Santoso', 'BUDI SANTOSO', 'matched'), ('Budi  Santoso', ' budi santoso. ', 'matched'), ('H. Budi, S.E.', 'H BUDI S E', 'matched'), ('Budi', 'Budi2', 'name_differs'),
	('Indira Imaniah', 'INDIRA IMANIAH', 'matched'), ('O''Brien', 'O BRIEN', 'matched'), ('PT A+B', 'PT A B', 'matched'), ('Budi', 'Ani', 'name_differs'),
	('-', '', 'unreadable'), ('***', '...', 'unreadable'), ('123', '123', 'unreadable'), ('Budi', '', 'unreadable'), ('Budi', '-', 'unreadable'), ('-', 'BUDI', 'unreadable'), ('Budi', '12', 'unreadable');
create table test.pair_beyond (n serial, ours text, theirs text, wanted text);
insert into test.pair_beyond (ours, theirs, wanted) values
	(U&'Jos\00E9', U&'JOS\00C9', 'matched'), (U&'Jos\00E9', 'JOSE', 'name_differs'), (U&'M\00FCller', U&'m\00FCLLER', 'matched'), (U&'\00C5sa', U&'\00E5SA', 'matched'), (U&'\00D7', U&'\00F7', 'unreadable');
-- of UTF8 alone
create table test.pair_utf8 (n serial, ours text, theirs text, wanted text);
insert into test.pair_utf8 (ours, theirs, wanted) values
	(U&'\674E\660E', U&'\738B\82B3', 'name_differs'), (U&'\674E\660E', U&'\674E\660E', 'matched'), (U&'\674E\660E', '', 'unreadable'), (U&'\674E\660E', '...', 'unreadable'),
	(U&'Jose\0301', U&'JOS\00C9', 'matched'), (U&'A\030A', U&'\212B', 'matched'), (U&'\FF22\FF35\FF24\FF29', 'BUDI', 'matched'), (U&'\0627\062D\0645\062F', U&'\0645\062D\0645\062F', 'name_differs'),
	(U&'\0915\093F\0930\0923', U&'\0915\0930\0923', 'name_differs'), (U&'\03A3\03AF\03B3\03BC\03B1', U&'\03C3\03AF\03B3\03BC\03B1', 'matched'), (U&'Budi\00A0Santoso', 'BUDI SANTOSO', 'matched'),
	(U&'Bu\200Ddi\FEFF', 'BUDI', 'matched'), (U&'\2026', U&'\2026', 'unreadable'), (U&'\2019', U&'\2018', 'unreadable'), (U&'Ma\2019ruf', 'MA''RUF', 'matched');
create function test.wrong_pairs(p_table regclass) returns table (ours text, theirs text, wanted text, is text)
language plpgsql as $$
begin
	return query execute format('select ours, theirs, wanted, payout.compare_names(ours, theirs) from %s where payout.compare_names(ours, theirs) is distinct from wanted order by n', p_table);
end
$$;
select * from test.wrong_pairs('test.pair');
select * from test.wrong_pairs('test.pair_beyond');
select * from test.wrong_pairs('test.pair_utf8');
select payout.compare_names('Budi', null), payout.compare_names(null, 'BUDI'), payout.plain_name('--') = '', payout.plain_name(null);
-- what is longer than any name, or has a character that this database cannot hold, is no name, and costs nothing
select payout.compare_names('Budi', n), payout.compare_names(n, 'BUDI'), payout.plain_name(n) is null as not_looked_at from unnest(array[repeat('BUDI ', 60) || 'B', 'A' || repeat(U&'\0301', 200000) || repeat(U&'\0327', 200000), repeat('B', 300000), repeat(U&'\FDFA', 301)]) n;
select payout.compare_names(repeat('Budi ', 60), repeat('BUDI ', 60)), payout.compare_names('Budi', 'BUDI' || chr(26)), payout.shown_name('BUD' || chr(26)), length(payout.shown_name(repeat('B', 300)));

-- by the lane: both ways of recording say the same, and an unreadable name is held as another name is
select test.set_up('NAMES00001', 'NAMECH', 'NAMEBANK');
select test.live() >= 0 as alive;
select payout.register('NAMES00001', 'NM' || n, 1000, 'NAMEBANK', '8811111111', ours) is not null from test.pair_utf8 where n in (1, 2, 4, 5);
select test.ask('validate', 'NAMECH');
select bool_and(test.named('NM' || n, 'yes', theirs)) from test.pair_utf8 where n in (1, 2, 4, 5);
select p.reference_no, p.account_check, p.account_check = q.wanted as right from payout.payout p join test.pair_utf8 q on p.reference_no = 'NM' || q.n where merchant_id = 'NAMES00001' order by 1;
select count(a.state) as approved from test.pair_utf8 q, payout.approve('NAMES00001', test.txid('NM' || q.n)) a where n in (1, 2, 4, 5);
select p.reference_no, h.lane from payout.hold h join payout.payout p using (merchant_id, txid) where merchant_id = 'NAMES00001' order by 1;
select payout.alter_merchant('NAMES00001', '{"on_name_differs": "pass"}') is distinct from null as altered;
select payout.register('NAMES00001', 'NM20', 1000, 'NAMEBANK', '8811111111', '-') is not null, test.ask('validate', 'NAMECH'), test.named('NM20', 'yes', '-'), (payout.approve('NAMES00001', test.txid('NM20'))).state;
select account_check, dispatch_due_at is not null as goes_on, exists (select from payout.hold h where h.txid = p.txid) as held from payout.payout p where reference_no = 'NM20';

-- the door: no control character, and something to see
create function test.enters(p_name text) returns text language sql as $$
select concat_ws(' ', test.sqlstate_of(format('select payout.register(%L, %L, 1000, %L, %L, %L)', 'NAMES00001', 'NE' || md5(p_name), 'NAMEBANK', '8811111111', p_name)),
	test.sqlstate_of(format('select payout.register_cashout(%L, %L, 1000, %L, %L)', 'NAMES00001', 'NC' || md5(p_name), p_name, '0812')),
	(select coalesce(r.sqlstate, 'ok') from payout.register_batch('NAMES00001', jsonb_build_array(jsonb_build_object('reference_no', 'NB' || md5(p_name), 'amount', 1000, 'bank_code', 'NAMEBANK', 'account_no', '8811111111', 'beneficiary_name', p_name))) r))
$$;
select what, test.enters(name) from (values ('letters', 'Budi'), ('other letters', U&'\674E\660E'), ('a joiner within', U&'Bu\200Ddi'), ('a blank of no break within', U&'Budi\00A0S'), ('next line', U&'Budi\0085S'),
	('control sequence introducer', U&'Budi\009B31m'), ('first of C1', U&'\0080Budi'), ('escape', U&'Budi\001B'), ('delete', U&'Budi\007F'), ('blanks', '  '), ('no-break space', U&'\00A0'), ('byte order mark', U&'\FEFF'),
	('zero width', U&'\200B\200C\200D'), ('ideographic space', U&'\3000 \2003'), ('direction', U&'\202E'), ('filler', U&'\3164'), ('tag', U&'\+0E0041'), ('soft hyphen', U&'\00AD'), ('dot', '.')) v (what, name);
select test.sqlstate_of(format('select payout.alter_merchant(%L, %L)', 'NAMES00001', jsonb_build_object('name', v))) from unnest(array[U&'a\0085b', U&'\2028']) v;
select test.sqlstate_of(format('select payout.alter_channel(%L, %L)', 'NAMECH', jsonb_build_object('client_id', v, 'same_books', true))) from unnest(array[U&'a\0085b', U&'\FEFF', 'plain']) v;
select check_name, detail from payout.verify() where merchant_id = 'NAMES00001';
