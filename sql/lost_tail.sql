-- lost_tail.sql: a payout of which a lost tail may have taken the record of its sending does not end unasked, and a batch of before
-- it is asked for whatever its sendings say. All of it in transactions that are undone: a lost tail cannot be deleted.
\getenv tree PG_ABS_SRCDIR
\set fixture :tree /sql/include/fixture.inc
\i :fixture
\set cashout :tree /sql/include/cashout.inc
\i :cashout
select test.set_up('LOSTTAIL01', 'LOSTCH', 'LOSTBANK', 1000000, '{"on_name_differs": "hold"}', '{"mode": "single", "on_check_unavailable": "fail", "not_found_count": 1}'),
	test.open_store('LOSTSTORE'), test.open_store('LOSTSTORE2');
select test.live() >= 0 as alive;
create function test.begin_tail() returns boolean language sql as $$ select payout.begin_lost_tail(i, payout.new_id()) is not null from payout.incarnation i where i.ended_at is null $$;
-- Registered, the bank not yet asked for its account.
create function test.tail_order(p_reference text, p_scheduled_at timestamptz default null) returns text language sql as $$
select state from payout.register('LOSTTAIL01', p_reference, 10000, 'LOSTBANK', '8811111111', 'Budi Santoso', 'online', null, p_scheduled_at) $$;
create function test.tail_approve(p_reference text) returns text language sql as $$ select (payout.approve('LOSTTAIL01', test.txid(p_reference))).state $$;
create function test.tail_held(p_reference text) returns text language sql as $$
select coalesce(string_agg(h.lane || case when h.reason like '%may be lost%' then ', its record may be lost' else '' end, '; '), 'free') from payout.hold h where h.txid = test.txid(p_reference) $$;
create function test.tail_kinds(p_reference text) returns text language sql as $$ select coalesce(string_agg(t.kind, ' ' order by t.at, t.transfer_id), 'none') from payout.transfer t where t.txid = test.txid(p_reference) $$;
create function test.tail_resolve(p_reference text, p_outcome text) returns text language sql as $$ select (payout.resolve('LOSTTAIL01', test.txid(p_reference), p_outcome, 'a person knows')).state $$;
create function test.tail_end_by(p_reference text, p_call text) returns text language sql as $$ select test.sqlstate_of(format('select payout.%I(%L, %L, %L)', p_call, 'LOSTTAIL01', test.txid(p_reference), 'changed my mind')) $$;

create function test.tail_call(p_call text, p_reference text, p_more text default '') returns text language sql as $$
select test.sqlstate_of(format('select payout.%I(%L, %L%s)', p_call, 'LOSTTAIL01', test.txid(p_reference), p_more)) $$;
begin;
-- Of before: accounts asked for, held by a name, registered, scheduled.
select test.tail_order('LT' || i) from generate_series(1, 4) i;
select test.tail_order('LT' || i, date_trunc('second', clock_timestamp()) + interval '2 hours') from generate_series(5, 7) i;
select test.ask('validate', 'LOSTCH');
select test.named('LT3', 'yes', 'Siti Aminah'), test.named('LT4', 'yes', 'Budi Santoso'), test.named('LT5', 'yes', 'Budi Santoso');
select test.tail_approve('LT' || i) from generate_series(1, 3) i;
select test.tail_approve('LT' || i) from generate_series(5, 7) i;
select test.tail_held('LT3');
select test.begin_tail();

-- an account that is closed by now, or of which the bank gives no answer in time, ends nothing: a person must ask
select test.named('LT1', 'no', null, 404, 'fail'), test.state('LT1'), test.tail_held('LT1'), test.tail_kinds('LT1');
update payout.payout set check_deadline_at = payout.clock() where txid = test.txid('LT2');
select test.named('LT2', 'unknown', null, 500, 'unknown'), test.state('LT2'), test.tail_held('LT2'), test.tail_kinds('LT2');
select test.tail_held('LT3') as of_before;
-- neither does the merchant, nor anybody by hand
select test.tail_end_by('LT4', 'reject'), test.tail_end_by('LT5', 'cancel'), test.state('LT4', 'LT5'), test.tail_kinds('LT5');
select test.sqlstate_of($$update payout.payout set state = 'rejected' where txid = test.txid('LT4')$$), test.sqlstate_of($$update payout.payout set state = 'cancelled' where txid = test.txid('LT5')$$);
-- one that is scheduled waits for its moment, and then for a person
select test.named('LT6', 'no', null, 404, 'fail'), test.state('LT6'), test.tail_held('LT6');
update payout.payout set release_due_at = payout.clock() where txid in (test.txid('LT6'), test.txid('LT5'));
select payout.release_schedules(10), test.state('LT5', 'LT6'), test.tail_held('LT6'), test.tail_kinds('LT6'), test.tail_held('LT5');
-- released they are asked for first: the bank has paid one, and does not know the others
select test.tail_resolve('LT1', 'dispatch'), test.tail_resolve('LT2', 'dispatch'), test.tail_resolve('LT6', 'dispatch');
select test.send('LOSTCH'), test.state('LT1', 'LT2', 'LT5', 'LT6');
select test.inquire('LT1', 'paid'), test.inquire('LT5', 'paid'), test.tail_kinds('LT1');
select test.inquire('LT2', 'not_found'), test.inquire('LT6', 'not_found');
select test.send('LOSTCH'), test.answer('LT2', 'yes', 'ok'), test.answer('LT6', 'yes', 'ok'), test.state('LT2', 'LT6');
-- a person may end one, and has read why not to do it unasked
select test.tail_resolve('LT3', 'failed'), test.tail_resolve('LT7', 'failed'), test.tail_kinds('LT3'), test.tail_kinds('LT7');
-- what the bank was asked for since is no longer in question
select test.tail_approve('LT4'), test.send('LOSTCH'), test.inquire('LT4', 'not_found');
select payout.hold_payout(p.merchant_id, p.txid, 'check', 'a test') from test.payout('LT4') p;
select test.tail_held('LT4');

-- what is registered after it is as ever
select test.tail_order('LT' || i) from generate_series(11, 14) i;
select test.ask('validate', 'LOSTCH');
select test.named('LT13', 'yes', 'Budi Santoso'), test.named('LT14', 'yes', 'Siti Aminah'), test.tail_approve('LT11'), test.tail_approve('LT12'), test.tail_approve('LT14');
update payout.payout set check_deadline_at = payout.clock() where txid = test.txid('LT12');
select test.named('LT11', 'no', null, 404, 'fail'), test.named('LT12', 'unknown', null, 500, 'unknown'), test.tail_end_by('LT13', 'reject'), test.state('LT11', 'LT12', 'LT13'), test.tail_held('LT14');
select test.tail_kinds('LT11');
select check_name, detail from payout.verify() limit 10;
rollback;

-- Batches of before, by a clock ahead: sent again, or made open, or asked for and to be sent again.
begin;
select test.pay('LOSTTAIL01', 'LOSTBANK', 'LT' || i) from generate_series(21, 23) i;
select test.send('LOSTCH');
select test.answer('LT21', 'refused_for_now', 'later', 404, '4041802'), test.answer('LT22', 'unknown', 'unknown', 500), test.answer('LT23', 'not_sent', null, 0);
select test.inquire('LT22', 'not_found'), test.state('LT21', 'LT22', 'LT23');
update payout.batch set sent_at = clock_timestamp() + interval '100 s' where channel_id = 'LOSTCH';
update payout.channel set not_before = null where channel_id = 'LOSTCH';
select test.begin_tail();
update payout.batch set due_at = payout.clock() where channel_id = 'LOSTCH' and state = 'open';
select test.send('LOSTCH'), test.state('LT21', 'LT22', 'LT23');
-- once asked for they go
update payout.batch set sent_at = clock_timestamp() where channel_id = 'LOSTCH' and sent_at > clock_timestamp();
select test.inquire('LT21', 'paid'), test.inquire('LT22', 'not_found'), test.inquire('LT22', 'not_found'), test.inquire('LT23', 'not_found'), test.inquire('LT23', 'not_found');
select test.send('LOSTCH'), test.state('LT22', 'LT23');
select check_name, detail from payout.verify() limit 10;
rollback;

-- The moment is no earlier than the newest attempt, though the clock that wrote it was ahead.
begin;
select test.pay('LOSTTAIL01', 'LOSTBANK', 'LT31'), test.send('LOSTCH');
insert into payout.attempt (channel_id, attempt_id, lane, service, merchant_id, txid, external_id, request_digest, incarnation_id, started_at, finished_at, outcome)
select channel_id, payout.new_id(), 'validate', 16, merchant_id, txid, payout.new_external_id(), sha256('x'), test.life(), clock_timestamp() + interval '100 s', clock_timestamp(), 'yes' from test.payout('LT31');
select test.begin_tail();
select max(at) > clock_timestamp() + interval '90 s' as covers_it from payout.lost_tail;
select check_name from payout.verify() limit 10;
rollback;

-- Cash: no bank can be asked for it.
select status from payout.health() where check_name = 'lost_tail_cash';
begin;
select test.issue('LOSTTAIL01', 'LT4' || i) from generate_series(1, 3) i;
select test.issue('LOSTTAIL01', 'LT45'), test.register_cashout('LOSTTAIL01', 'LT46'), test.issue('LOSTTAIL01', 'LT47'), test.issue('LOSTTAIL01', 'LT48');
select test.validate('LOSTSTORE', 'LT48', 'S9') is not null as held8, test.validate('LOSTSTORE', 'LT45', 'S5') is not null as held5, test.validate('LOSTSTORE', 'LT47', 'S7') is not null as held7;
select test.validate('LOSTSTORE', 'LT42', 'S1') is not null as held, test.validate('LOSTSTORE', 'LT43', 'S2') is not null as held2;
select test.confirm('LOSTSTORE', 'LT43', 'S2');
select test.begin_tail();
create function test.tail_cash() returns bigint language sql as $$
select coalesce(substring(detail from '^(?:at least )?(\d+) tokens')::bigint, 0)
	- (select count(*) from payout.payout p join payout.cashout_token t using (merchant_id, txid) where p.merchant_id <> 'LOSTTAIL01' and p.expire_due_at is not null and t.replaced_at is null)
from payout.health() where check_name = 'lost_tail_cash' $$;
select test.tail_cash() as tokens_of_before, status from payout.health() where check_name = 'lost_tail_cash';
-- nothing is issued, refunded or ended of before; the stores' words are taken; what is registered after it is as ever
select test.tail_call('reissue_token', 'LT41') as reissued, test.tail_call('approve', 'LT46') as approved, test.tail_call('reject', 'LT46', ', ''x''') as rejected, test.state('LT41', 'LT46');
select test.issue('LOSTTAIL01', 'LT44'), test.confirm('LOSTSTORE', 'LT42', 'S1');
select test.sqlstate_of($$update payout.payout set state = 'expired' where txid = test.txid('LT41')$$) as by_hand;
-- one reserved by a store that took it back in the tail, where another one paid it: both say so
select test.state('LT45'), test.confirm('LOSTSTORE2', 'LT45', 'T1'), test.state('LT45');
select cvs_code from test.payout('LT45');
select test.confirm('LOSTSTORE', 'LT45', 'S5') as too, test.state('LT45');
select test.confirm('LOSTSTORE2', 'LT48', 'T2'), test.state('LT48');
-- the store takes back what it had reserved after the token's time: set aside instead of refunded
update payout.cashout_token set valid_until = payout.clock() where txid = test.txid('LT47');
select test.reverse('LOSTSTORE', 'LT47', 'S7'), test.state('LT47');
select payout.expire_tokens(10), test.state('LT47'), test.tail_held('LT47'), test.tail_kinds('LT47');
-- an operator has asked the stores
select test.tail_resolve('LT47', 'dispatch'), test.tail_resolve('LT41', 'dispatch'), test.tail_resolve('LT46', 'dispatch');
select test.tail_cash() as tokens_of_before, test.sqlstate_of($$select test.tail_resolve('LT41', 'dispatch')$$) as again;
select test.reissue('LT41'), test.approve_cashout('LT46');
-- a store has paid by the token that was replaced, all the same
select test.validate('LOSTSTORE', 'LT41', 'S8') is not null as held, test.confirm('LOSTSTORE', 'LT41', 'S8');
select (payout.cashout_confirm('LOSTSTORE2', test.earlier_token('LT41'), 'T8')).state, test.state('LT41');
-- the next tail opens it again
select test.begin_tail(), test.tail_call('reissue_token', 'LT46') as reissued, (select count(*) = count(distinct at) from payout.lost_tail) as moments_differ;
select check_name, detail from payout.verify() limit 10;
rollback;

-- From the first moment of a take-over on, before any worker has begun.
begin;
select test.tail_order('LT51', date_trunc('second', clock_timestamp()) + interval '2 hours'), test.tail_approve('LT51'), test.tail_order('LT52');
select test.issue('LOSTTAIL01', 'LT53');
select payout.may_lack_tail() as here, payout.lost_until();
alter table payout.incarnation disable trigger refuse_frozen;
update payout.incarnation set timeline_id = timeline_id + 1 where ended_at is null;
select payout.may_lack_tail() as another_timeline, payout.lost_until();
select test.tail_end_by('LT51', 'cancel'), test.tail_end_by('LT52', 'reject'), test.tail_call('reissue_token', 'LT53') as reissued, test.sqlstate_of($$select test.tail_resolve('LT53', 'dispatch')$$) as resolved;
select test.confirm('LOSTSTORE', 'LT53', 'S53'), test.state('LT51', 'LT52', 'LT53');
select check_name, status from payout.health() where check_name like 'lost_tail%' order by 1;
update payout.incarnation set timeline_id = timeline_id - 1 where ended_at is null;
select payout.may_lack_tail() as here_again;
update payout.incarnation set place = sha256(place) where ended_at is null;
select payout.may_lack_tail() as another_place;
update payout.incarnation set place = payout.place(), installation_id = payout.new_id();
update payout.installation set place = sha256(place);
select payout.may_lack_tail() as of_another_book_in_another_place;
update payout.installation set place = payout.place();
select payout.may_lack_tail() as no_life_yet;
insert into payout.installation (system_identifier, database_oid) values (1, 1);
select payout.may_lack_tail() as a_dump_came_in;
select test.live() >= 0 as begins;
select payout.may_lack_tail(), isfinite(payout.lost_until()) as noted;
rollback;

-- One that was accepted before and is denied: the bank, asked by its TXID alone, names that sending, and a person decides.
begin;
select test.pay('LOSTTAIL01', 'LOSTBANK', 'LT61'), test.send('LOSTCH'), test.answer('LT61', 'unknown', 'unknown', 500);
select test.begin_tail();
create function test.tail_round() returns text language plpgsql as $$
declare
	asked text;
begin
	update payout.payout p set status_due_at = '-infinity' where p.txid = test.txid('LT61');
	perform test.ask('check', 'LOSTCH', 1);
	asked := (select case when a.asked_attempt_id is null then 'TXID' else 'sending' end from payout.attempt a
		where a.txid = test.txid('LT61') and a.lane = 'check' order by a.attempt_id desc limit 1);
	if asked = 'TXID' then
		perform test.told('LT61', 'unknown', 'unknown', true);
	else
		perform test.told('LT61', 'failed', 'yes', true);
	end if;
	return asked;
end $$;
select test.tail_round() from generate_series(1, 5);
select test.state('LT61'), test.tail_held('LT61');
select test.tail_round();
select test.state('LT61'), left(reason, 51) as why from payout.hold where txid = test.txid('LT61');
select test.tail_resolve('LT61', 'failed');
rollback;
