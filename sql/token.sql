-- token.sql: tokens: how they are made and written, that wrong ones are all alike and are counted, and the rules of stores.
\getenv tree PG_ABS_SRCDIR
\set fixture :tree /sql/include/fixture.inc
\i :fixture
\set cashout :tree /sql/include/cashout.inc
\i :cashout
select test.set_up('TOKEN00001', 'TOKCH', 'TOKBANK', 10000000);
select test.open_store('TOKA', '{"token_tries": 1000000}'), test.open_store('TOKB'), test.open_store('TOKL', '{"token_tries": 25}'), test.open_store('TOKR'), test.open_store('TOKF', '{"token_tries": 7}');

-- made: digits, the slot, a check digit; all different, each digit as likely as the others
select name, setting, min_val, max_val, context from pg_settings where name in ('payout.token_digits', 'payout.token_tries', 'payout.token_lockout', 'payout.token_ttl', 'payout.reservation_ttl') order by 1;
create table test.made as select payout.generate_token('TOKEN00001') as token from generate_series(1, 5000);
select count(distinct token) as different, bool_and(token ~ '^[0-9]{20}$') as digits, bool_and(left(token, 4)::integer = payout.slot('TOKEN00001')) as slot, bool_and(test.luhn(token)) as luhn from test.made;
select count(*) as digits, bool_and(n between 7000 and 8000) as evenly from (select d, count(*) as n from test.made, regexp_split_to_table(substr(token, 5, 15), '') d group by d) s;
select payout.generate_token(null);

-- written: blanks, dashes and line ends anywhere, 14 to 20 digits, nothing else; every single wrong digit is seen without a look-up
select token from test.made limit 1 \gset
create function test.checked(digits text) returns text language sql as $$ select digits || d from generate_series(0, 9) d where test.luhn(digits || d) $$;
select length(payout.token_digest(:'token')) as bytes, payout.token_digest(:'token') = payout.token_digest('  ' || regexp_replace(:'token', '(....)', '\1 ', 'g') || '  ') as same,
	payout.token_digest(:'token') = payout.token_digest(regexp_replace(:'token', '(.....)', '\1-', 'g') || E'\r\n') as dashes, payout.token_digest(:'token') = payout.token_digest(E'\n-' || :'token' || '--') as around;
select n, payout.token_digest(test.checked(repeat('7', n - 1))) is not null as read from unnest('{1,2,13,14,15,16,19,20,21,40}'::integer[]) n;
select count(*) as wrong, count(payout.token_digest(overlay(:'token' placing d::text from i for 1))) as read from generate_series(1, 20) i, generate_series(0, 9) d where substr(:'token', i, 1) <> d::text;
select count(payout.token_digest(v)) as read from unnest(array[null, '', ' ', 'x', :'token' || 'x', '-', E'\r\n', :'token' || '.', E'\t' || :'token', :'token' || U&'\00A0', repeat(' ', 2000) || :'token', translate(:'token', '0123456789', '０１２３４５６７８９'), '0x' || :'token', :'token' || :'token']) v;
select payout.token_matches(payout.token_digest(:'token'), payout.token_digest(:'token')) as same, payout.token_matches(payout.token_digest(:'token'), payout.token_digest(t2.token)) as other, payout.token_matches('', '') as empty,
	payout.token_matches(null, payout.token_digest(:'token')) as none from (select token from test.made offset 1 limit 1) t2;

-- drawn again where somebody holds or has held the digits; given up after a while, and the token before lives on
select test.issue('TOKEN00001', 'TK0');
create function test.generate_token(merchant_id text) returns text language c strict as '$libdir/payout', 'payout_generate_token';
begin;
create sequence test.draws;
create or replace function payout.generate_token(merchant_id text) returns text language sql strict as $$ select case when nextval('test.draws') <= 5 then test.token('TK0') else test.generate_token(merchant_id) end $$;
select test.issue('TOKEN00001', 'TK0B');
select last_value as draws, test.token('TK0B') <> test.token('TK0') as another, test.luhn(test.token('TK0B')) as luhn from test.draws;
select count(*) as tokens from payout.cashout_token where txid = test.txid('TK0B');
select setval('test.draws', 1, false) is not null as again;
-- a replaced token's digits are not drawn again either
select test.reissue('TK0');
create or replace function payout.generate_token(merchant_id text) returns text language sql strict as $$ select case when nextval('test.draws') <= 5 then test.earlier_token('TK0') else test.generate_token(merchant_id) end $$;
select test.reissue('TK0B'), test.token('TK0B') <> test.earlier_token('TK0') as another;
create or replace function payout.generate_token(merchant_id text) returns text language sql strict as $$ select test.token('TK0') $$;
savepoint s;
select payout.reissue_token('TOKEN00001', test.txid('TK0B'));
rollback to s;
select test.validate('TOKB', 'TK0B', 'D1');
rollback;
select test.state('TK0');
drop function test.generate_token(text);

-- all that a guesser could tell apart is one answer: SQLSTATE, message, detail, hint, and context
create function test.answer_to(p_call text, p_cvs_code text, p_token text, p_terminal text, p_cvs_reference text) returns text language plpgsql as $$
declare
	m text; d text; h text; c text;
begin
	if p_call = 'validate' then
		execute 'select payout.cashout_validate($1, $2, $3, $4)' using p_cvs_code, p_token, p_terminal, p_cvs_reference;
	elsif p_call = 'confirm' then
		execute 'select payout.cashout_confirm($1, $2, $3)' using p_cvs_code, p_token, p_cvs_reference;
	else
		execute 'select payout.cashout_reverse($1, $2, $3, $4)' using p_cvs_code, p_token, p_cvs_reference, 'why';
	end if;
	return 'ok';
exception when others then
	get stacked diagnostics m = message_text, d = pg_exception_detail, h = pg_exception_hint, c = pg_exception_context;
	return concat_ws(' | ', sqlstate, m, d, h, c);
end $$;
select r, test.issue('TOKEN00001', r) from unnest('{TK1,TK2,TK3,TK4,TK5,TK6,TK7}'::text[]) r;
select test.validate('TOKB', 'TK1', 'B1'), test.validate('TOKB', 'TK2', 'B2'), test.validate('TOKB', 'TK3', 'B3'), test.validate('TOKB', 'TK4', 'B4'), test.validate('TOKA', 'TK5', 'A5', 'T0');
select test.confirm('TOKB', 'TK2', 'B2'), test.confirm('TOKB', 'TK3', 'B3'), test.reverse('TOKB', 'TK3', 'B3'), test.make_due('TK4'), payout.expire_tokens(10), test.reissue('TK6');
create table test.wrong (n integer, label text, token text);
insert into test.wrong values (1, 'unknown', test.checked(left(test.token('TK1'), 4) || '12345678901')), (2, 'of no merchant', test.checked('999912345678901')), (3, 'check digit', test.mistyped(test.token('TK1'))), (4, 'null', null), (5, 'empty', ''),
	(6, 'letters', 'ABCDEFGHIJKLMNOP'), (7, 'short', '123'), (8, 'long', repeat('1', 1000)), (9, 'reserved elsewhere', test.token('TK1')), (10, 'used', test.token('TK2')), (11, 'disputed', test.token('TK3')), (12, 'suspect', test.token('TK4')),
	(13, 'reserved at another terminal', test.token('TK5')), (14, 'replaced', test.earlier_token('TK6'));
create table test.told as select w.n, w.label, 'validate' as call, test.answer_to('validate', 'TOKA', w.token, 'V' || w.n, 'W' || w.n) as answer from test.wrong w;
select count(test.open_store('TOKC' || n)), count(test.open_store('TOKD' || n)) from test.wrong;
insert into test.told select w.n, w.label, 'confirm', test.answer_to('confirm', 'TOKC' || w.n, w.token, null, 'W' || w.n) from test.wrong w;
select count(payout.cashout_reverse('TOKD' || n, test.token('TK7'), 'W' || n, 'why')) from test.wrong;
insert into test.told select w.n, w.label, 'reverse', test.answer_to('reverse', 'TOKD' || w.n, w.token, null, 'W' || w.n) from test.wrong w;
select call, left(answer, 5) as sqlstate, count(*), count(distinct answer) as different from test.told group by 1, 2 order by 1, 2;
select count(*) as digits_told from test.told t, test.wrong w where w.token <> '' and strpos(t.answer, w.token) > 0;
-- expired may be told; replaced and expired is replaced
select test.make_due('TK6'), left(test.answer_to('validate', 'TOKA', test.token('TK6'), 'E1', 'E1'), 5), left(test.answer_to('validate', 'TOKA', test.earlier_token('TK6'), 'E1', 'E1'), 5);
select payout.reissue_token('TOKEN00001', test.txid('TK6'));
select left(test.answer_to('confirm', 'TOKB', test.token('TK6'), null, 'E1'), 5), test.state('TK6');
select payout.expire_tokens(10), test.state('TK6'), left(test.answer_to('validate', 'TOKA', test.token('TK6'), 'E1', 'E1'), 5), left(test.answer_to('validate', 'TOKA', test.earlier_token('TK6'), 'E1', 'E1'), 5);

-- a reversal under a fresh reference is remembered, whatever the token is, and answers the same; what is not written as a token is not
create table test.reversed as select w.label, w.token, payout.cashout_reverse('TOKB', w.token, 'EARLY' || w.n, 'why') as a from test.wrong w where payout.token_digest(w.token) is not null;
insert into test.reversed select 'good', test.token('TK7'), payout.cashout_reverse('TOKB', test.token('TK7'), 'EARLYG', 'why');
select count(*), count(distinct ((a).txid, (a).state, (a).amount, (a).currency)) as different, min((a).state) as state, count((a).txid) + count((a).amount) + count((a).currency) as told from test.reversed;
select test.sqlstate_of(format('select payout.cashout_reverse(%L, %L, %L, %L)', 'TOKB', w.token, 'EARLYX', 'why')) as sqlstate, count(*) from test.wrong w where payout.token_digest(w.token) is null group by 1;
select count(*), count(merchant_id) as payouts, count(distinct digest) as tokens from payout.redemption where cvs_code = 'TOKB' and cvs_reference like 'EARLY%';
select payout.cashout_reverse('TOKB', test.token('TK7'), 'EARLYG', 'another reason') = (select a from test.reversed where label = 'good') as same;
select left(test.answer_to('validate', 'TOKB', test.token('TK7'), 'T1', 'EARLYG'), 5) as late, left(test.answer_to('confirm', 'TOKB', test.token('TK7'), null, 'EARLYG'), 5) as confirmed, test.state('TK7');
-- the reference is that token's: another one is refused under it; the token is good under another reference
select left(test.answer_to('validate', 'TOKB', test.token('TK0'), 'T1', 'EARLYG'), 5) as another, left(test.answer_to('reverse', 'TOKB', test.token('TK0'), null, 'EARLYG'), 5) as reversed;
select test.validate('TOKB', 'TK7', 'NOTEARLY'), test.reverse('TOKB', 'TK7', 'NOTEARLY');
-- so many a store and day, in Jakarta; yesterday's do not count
insert into payout.redemption (cvs_code, cvs_reference, digest, reversed_at, reverse_state, reverse_reason)
select 'TOKR', 'FULL' || i, sha256('x'), case when i <= 990 then clock_timestamp() else payout.day_begin('day', payout.jakarta_day(clock_timestamp())) - interval '1 us' end, 'token_issued', 'x' from generate_series(1, 1100) i;
select test.sqlstate_of(format('select payout.cashout_reverse(%L, %L, %L, %L)', 'TOKR', payout.generate_token('TOKEN00001'), 'MANY' || i, 'why')) as sqlstate, count(*) from generate_series(1, 15) i group by 1 order by 1;
select test.sqlstate_of(format('select payout.cashout_reverse(%L, %L, %L, %L)', 'TOKR', test.token('TK7'), 'MANYG', 'why')) as sqlstate, (payout.cashout_reverse('TOKB', test.token('TK7'), 'MANYG', 'why')).state as elsewhere;

-- counted: a terminal is locked after payout.token_tries wrong ones, for the right one too, without a word on which it is
create function test.tries(p_cvs_code text, p_terminal text, p_count integer, p_call text default 'validate') returns text language sql as $$
select string_agg(answer || ' ' || n, ', ' order by answer) from (
	select left(test.answer_to(p_call, p_cvs_code, payout.generate_token('TOKEN00001'), p_terminal, 'WRONG'), 5) as answer, count(*) as n from generate_series(1, p_count) group by 1) q
$$;
create function test.alike(p_cvs_code text, p_reference text, p_terminal text) returns boolean language sql as $$
select test.answer_to('validate', p_cvs_code, test.token(p_reference), p_terminal, 'ALIKE') = test.answer_to('validate', p_cvs_code, payout.generate_token('TOKEN00001'), p_terminal, 'ALIKE')
$$;
create function test.locked(out terminals integer, out stores integer) language sql as $$ select l.terminals, l.stores from payout.token_locks() l $$;
select terminals as terminals_before, stores as stores_before from payout.token_locks() \gset
select r, test.issue('TOKEN00001', r) from unnest('{TL1,TL2,TL3,TL4,TL5,TL6}'::text[]) r;
select test.validate('TOKL', 'TL3', 'L3', 'T0'), test.validate('TOKL', 'TL4', 'L4', 'T0');
-- what cannot be a token is not counted: length, check digit, letters, null, empty
select left(test.answer_to('validate', 'TOKL', t, 'T1', 'FORM'), 5) as answer, count(*) from unnest(array[null, '', '123', 'ABC', test.mistyped(test.token('TL1')), test.token('TL1') || '0']) t, generate_series(1, 50) group by 1;
select test.tries('TOKL', 'T1', 19);
select terminals - :terminals_before as terminals, stores - :stores_before as stores from test.locked();
select test.tries('TOKL', 'T1', 1);
select terminals - :terminals_before as terminals, stores - :stores_before as stores from test.locked();
select left(test.answer_to('validate', 'TOKL', test.token('TL1'), 'T1', 'L1'), 5) as right_one, test.alike('TOKL', 'TL1', 'T1');
select test.tries('TOKL', 'T1', 100);
-- another terminal of the store still works, and so does a terminal of that name elsewhere
select test.validate('TOKL', 'TL1', 'L1', 'T2');
select test.tries('TOKB', 'T1', 1);
-- where it has paid it is known; there it has tries that others do not use up: other names share what the store may try
select test.confirm('TOKL', 'TL1', 'L1');
select terminal, role_name = current_user as of_caller from payout.known_terminal where cvs_code = 'TOKL';
select string_agg(test.tries('TOKL', 'INVENTED' || i, 1), ', ' order by i) from generate_series(1, 10) i;
select terminals - :terminals_before as terminals, stores - :stores_before as stores from test.locked();
select status from payout.health() where check_name = 'token_locks';
select left(test.answer_to('validate', 'TOKL', test.token('TL2'), 'T4', 'L2'), 5) as unknown, test.alike('TOKL', 'TL2', 'T4'), test.validate('TOKL', 'TL5', 'L5', 'T2') as known;
select test.tries('TOKL', 'T2', 5);
-- locked: what fits a reservation in full is answered and taken; what does not, is not; a reversal of nothing is remembered
select test.validate('TOKL', 'TL3', 'L3', 'T0') as repeated, left(test.answer_to('validate', 'TOKL', test.token('TL3'), 'T9', 'L3'), 5) as other_terminal;
select payout.cashout_confirm('TOKL', test.token('TL2'), 'L9');
select payout.cashout_reverse('TOKL', test.token('TL2'), 'L3', 'why');
select test.reverse('TOKL', 'TL2', 'L9');
select test.confirm('TOKL', 'TL1', 'L1'), test.confirm('TOKL', 'TL3', 'L3'), test.confirm('TOKL', 'TL3', 'L3'), test.reverse('TOKL', 'TL4', 'L4'), test.reverse('TOKL', 'TL4', 'L4'), test.state('TL1', 'TL2', 'TL3', 'TL4');
-- the limit is read at each call: raised, the store works on, its locked terminal does not
select options from payout.alter_cvs('TOKL', '{"token_tries": 1000}');
select test.validate('TOKL', 'TL2', 'L2', 'T1');
select test.validate('TOKL', 'TL2', 'L2', 'T4'), test.confirm('TOKL', 'TL2', 'L2');
-- an operator unlocks a terminal, and it is known from then on; or what all of them share
select payout.unlock_terminal('TOKL', 'T1');
select test.validate('TOKL', 'TL6', 'L6', 'T1'), test.reverse('TOKL', 'TL6', 'L6');
select terminal, role_name from payout.known_terminal where cvs_code = 'TOKL' and role_name = '';
select options from payout.alter_cvs('TOKL', '{"token_tries": 25}');
select string_agg(test.tries('TOKL', 'MORE' || i, 1), ', ' order by i) from generate_series(1, 3) i;
select left(test.answer_to('validate', 'TOKL', test.token('TL6'), 'T5', 'L7'), 5) as unknown, test.validate('TOKL', 'TL6', 'L8', 'T1') as named, test.reverse('TOKL', 'TL6', 'L8');
select payout.unlock_terminal('TOKL');
select test.validate('TOKL', 'TL6', 'L10', 'T5'), test.reverse('TOKL', 'TL6', 'L10');
-- and is recorded
select relation, object, action, new_values from payout.v_admin_event where relation = 'terminal' order by object;
select payout.unlock_terminal('NOSTORE', 'T1');
select payout.unlock_terminal('TOKL', '');
select payout.unlock_terminal(null);

-- no rollback forgets, nor a savepoint; a right token forgives nothing
select test.issue('TOKEN00001', 'TR1'), test.issue('TOKEN00001', 'TR2');
begin;
savepoint s;
select test.tries('TOKR', 'T1', 7);
rollback to s;
select test.tries('TOKR', 'T1', 3);
rollback;
begin;
select test.tries('TOKR', 'T1', 9);
rollback;
select test.validate('TOKR', 'TR1', 'R1', 'T1'), test.confirm('TOKR', 'TR1', 'R1');
select test.tries('TOKR', 'T1', 2);
select test.validate('TOKR', 'TR2', 'R2', 'T1');
select test.validate('TOKR', 'TR2', 'R2', 'T2');
-- what is no wrong token does not count: bad arguments, a taken or reversed reference, repeats
select left(test.answer_to('validate', 'TOKR', test.token('TK0'), 'T3', 'R1'), 5) as a, left(test.answer_to('validate', 'TOKR', test.token('TK0'), 'T3', null), 5) as b, left(test.answer_to('validate', 'TOKR', test.token('TK0'), 'T3', ''), 5) as c, count(*) from generate_series(1, 25) group by 1, 2, 3;
select test.reverse('TOKR', 'TR2', 'R2');
select left(test.answer_to('validate', 'TOKR', test.token('TR2'), 'T3', 'R2'), 5), count(*) from generate_series(1, 25) group by 1;
select test.validate('TOKR', 'TR2', 'R3', 'T3'), test.validate('TOKR', 'TR2', 'R3', 'T3');
-- confirmations of nothing name no terminal: they have what unknown terminals have; a reversal under a reference of another token counts so
select test.issue('TOKEN00001', 'TF1'), test.validate('TOKF', 'TF1', 'F1');
select test.tries('TOKF', null, 3, 'confirm');
select left(test.answer_to('reverse', 'TOKF', payout.generate_token('TOKEN00001'), null, 'F1'), 5) as answer, count(*) from generate_series(1, 6) group by 1 order by 1;
select payout.cashout_confirm('TOKF', test.token('TF1'), 'F2');
select test.validate('TOKF', 'TF1', 'F1'), test.confirm('TOKF', 'TF1', 'F1'), test.reverse('TOKF', 'TF1', 'F1');

-- the rules of a store, told to who has presented a good token; a refusal leaves the token as it was, and counts nothing
create function test.rule_of(p_cvs_code text, p_reference text) returns text language plpgsql as $$
declare
	d text; h text;
begin
	perform test.validate(p_cvs_code, p_reference, 'RULE-' || p_reference);
	return 'ok';
exception when others then
	get stacked diagnostics d = pg_exception_detail, h = pg_exception_hint;
	return concat_ws(' ', sqlstate, (select string_agg(o.name, ' ' order by o.name) from payout.option_definition o where o.scope = 'cvs' and strpos(d, o.name) > 0), case when h = '' then 'NO HINT' end);
end $$;
select test.open_store('TOKM', '{"amount_multiple": 50000, "amount_min": 100000, "amount_max": 200000}'), test.open_store('TOKN');
select r, test.issue('TOKEN00001', r, a) from unnest('{TM1,TM2,TM3,TM4,TM5,TM6}'::text[], '{120000,50000,250000,100000,200000,150001}'::numeric[]) u (r, a);
select r, test.rule_of('TOKM', r), test.state(r) from unnest('{TM1,TM2,TM3,TM6,TM1,TM2,TM3,TM6,TM4,TM5}'::text[]) with ordinality u (r, n) order by n;
select count(*) as redemptions, count(*) filter (where reserved_at is not null) as reserved from payout.redemption where cvs_code = 'TOKM';
-- a token that is no good is told no rule
select left(test.answer_to('validate', 'TOKM', test.token('TK2'), 'T9', 'X1'), 5), left(test.answer_to('validate', 'TOKM', test.token('TK6'), 'T9', 'X2'), 5);
-- another store pays it; rules are of validating: what was validated is confirmed
select test.rule_of('TOKN', 'TM1'), test.rule_of('TOKN', 'TM2');
select options from payout.alter_cvs('TOKN', '{"amount_min": 1000000}');
select test.rule_of('TOKN', 'TM1'), test.confirm('TOKN', 'TM1', 'RULE-TM1'), test.reverse('TOKN', 'TM2', 'RULE-TM2');
-- opening hours, Jakarta time, an end before the beginning being on the next day
select h, string_agg(t || ' ' || case when payout.is_within(h, ('2026-01-31 ' || t || '+07')::timestamptz) then 'open' else 'closed' end, ', ' order by n) as hours
from unnest('{07:00-22:00,22:00-02:00,00:00-24:00,12:00-24:00,23:00-00:00,00:00-00:01}'::text[]) with ordinality u (h, m), unnest('{00:00:00,00:00:59.999,00:01:00,01:59:59,02:00:00,06:59:59,07:00:00,11:59:59,12:00:00,21:59:59.999,22:00:00,22:59:59,23:00:00,23:59:59.999}'::text[]) with ordinality w (t, n)
group by m, h order by m;
set timezone = 'America/New_York';
select payout.is_within('07:00-22:00', '2026-01-31 00:00Z') as seven, payout.is_within('07:00-22:00', '2026-01-30 23:59:59Z') as before;
reset timezone;
select to_char(now() at time zone interval '+07:00' - interval '1 hour', 'HH24:MI') as an_hour_ago, to_char(now() at time zone interval '+07:00' + interval '1 hour', 'HH24:MI') as in_an_hour \gset
select active from payout.alter_cvs('TOKN', format('{"amount_min": null, "opening_hours": "%s-%s"}', :'in_an_hour', :'an_hour_ago')::jsonb);
select test.rule_of('TOKN', 'TM3');
select active from payout.alter_cvs('TOKN', format('{"opening_hours": "%s-%s"}', :'an_hour_ago', :'in_an_hour')::jsonb);
select test.rule_of('TOKN', 'TM3');
select active from payout.alter_cvs('TOKN', format('{"opening_hours": "%s-%s"}', :'in_an_hour', :'an_hour_ago')::jsonb);
select test.confirm('TOKN', 'TM3', 'RULE-TM3');
select check_name, detail from payout.verify();
