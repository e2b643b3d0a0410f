-- verify.sql: payout.verify() finds each violation: every invariant is broken, seen, and the breaking undone.
\getenv tree PG_ABS_SRCDIR
\set fixture :tree /sql/include/fixture.inc
\i :fixture
\set cashout :tree /sql/include/cashout.inc
\i :cashout
select test.set_up('VERIFY0001', 'VERCH', 'VERBANK', 1000000, '{"fee": {"online": {"flat": 10}}}', '{"mode": "single"}', 'https://merchant.example/hook');
select test.live() >= 0 as alive;
select test.pay('VERIFY0001', 'VERBANK', 'Z' || i) from generate_series(1, 5) i;
select test.send('VERCH'), test.answer('Z1', 'yes', 'ok'), test.answer('Z2', 'unknown', 'unknown', 0, null), test.answer('Z3', 'no', 'fail', 404, '4041811');
select test.register('VERIFY0001', 'VERBANK', 'Z6');
select test.pay('VERIFY0001', 'VERBANK', 'Z7');
select test.state('Z1', 'Z2', 'Z3', 'Z4', 'Z5', 'Z6', 'Z7');
-- cashouts, from registered to every kind of end
select test.open_store('VERCVS');
select test.register_cashout('VERIFY0001', 'ZC0', 1000), test.issue('VERIFY0001', 'ZC1', 1000), test.issue('VERIFY0001', 'ZC2', 1000), test.issue('VERIFY0001', 'ZC3', 1000), test.issue('VERIFY0001', 'ZC4', 1000);
select test.validate('VERCVS', 'ZC2', 'R2'), test.validate('VERCVS', 'ZC3', 'R3'), test.confirm('VERCVS', 'ZC3', 'R3');
select test.make_due('ZC4'), payout.expire_tokens(10);
select test.state('ZC0', 'ZC1', 'ZC2', 'ZC3', 'ZC4');
-- approvals under the rules of maker and checker: the first of two by the owner, the second by another role
select count(payout.alter_merchant('VERIFY0001', '{"second_approval_above": 500, "approver_differs": true, "approver_daily_max": 5000}')) as altered;
create role payout_test_maker superuser; create role payout_test_checker superuser;
set role payout_test_maker;
select test.register('VERIFY0001', 'VERBANK', 'ZM1', 600), test.register('VERIFY0001', 'VERBANK', 'ZM2', 600);
reset role;
select (payout.approve('VERIFY0001', test.txid('ZM1'))).state, (payout.approve('VERIFY0001', test.txid('ZM2'))).state as state2;
set role payout_test_checker;
select (payout.approve('VERIFY0001', test.txid('ZM1'))).state;
reset role;
drop role payout_test_maker, payout_test_checker;
select check_name, detail from payout.verify();
select payout.fold(1000000) > 0 as folded;
-- Breaks one thing with all triggers and checks off, asks, and undoes it; which names verify gives.
create function test.broken(statement text) returns text language plpgsql as $$
declare
	named text;
	t regclass;
begin
	begin
		for t in select c.oid from pg_class c where relnamespace = 'payout'::regnamespace and relkind = 'r' loop
			execute format('alter table %s disable trigger all', t);
		end loop;
		for t, named in select conrelid, conname from pg_constraint where connamespace = 'payout'::regnamespace and contype = 'c' and conrelid <> 0 loop
			execute format('alter table %s drop constraint %I', t, named);
		end loop;
		execute statement;
		select coalesce(string_agg(distinct check_name, ' '), 'NOTHING') into named from payout.verify();
		raise sqlstate 'UNDO0';
	exception
		when sqlstate 'UNDO0' then
			null;
		when others then
			named := sqlstate || ' ' || sqlerrm;
	end;
	return named;
end
$$;
create table test.breaking (n integer, expected text, statement text);
insert into test.breaking values
	(1, 'balance_is_sum', $$update payout.balance set available = available + 0.01 where merchant_id = 'VERIFY0001'$$),
	(2, 'balance_not_negative', $$update payout.balance set available = -1 where merchant_id = 'VERIFY0001'$$),
	(3, 'balance_day_total', $$update payout.balance set day_total = day_total + 1 where merchant_id = 'VERIFY0001'$$),
	(4, 'balance_of_merchant', $$delete from payout.balance where merchant_id = 'VERIFY0001'$$),
	(5, 'balance_of_merchant', $$delete from payout.merchant where merchant_id = 'VERIFY0001'$$),
	(6, 'transfer_of_merchant', $$delete from payout.balance where merchant_id = 'VERIFY0001'$$),
	(7, 'transfer_accounts', $$update payout.transfer set credit_account = 'fee' where merchant_id = 'VERIFY0001' and kind = 'settle'$$),
	(8, 'transfer_accounts', $$update payout.transfer set debit_account = credit_account, credit_account = debit_account where txid = test.txid('Z1') and kind = 'deduct'$$),
	(9, 'transfer_has_payout', $$delete from payout.payout where reference_no = 'Z3'$$),
	(10, 'transfer_amount', $$update payout.transfer set amount = amount + 1 where txid = test.txid('Z1') and kind = 'deduct'$$),
	(11, 'transfer_amount', $$update payout.transfer set currency = 'USD' where txid = test.txid('Z1') and kind = 'deduct'$$),
	(12, 'transfer_settlement', $$update payout.transfer set credit_account = 'settlement/OTHER' where txid = test.txid('Z1') and kind = 'settle'$$),
	(13, 'money_fits_state', $$update payout.payout set state = 'failed' where reference_no = 'Z1'$$),
	(14, 'money_fits_state', $$update payout.payout set state = 'paid' where reference_no = 'Z3'$$),
	(15, 'money_fits_state', $$delete from payout.transfer where txid = test.txid('Z2')$$),
	(16, 'money_fits_state', $$delete from payout.transfer where txid = test.txid('Z1') and kind = 'settle'$$),
	(17, 'money_of_merchant', $$delete from payout.transfer where txid = test.txid('Z3') and kind = 'fee_refund'$$),
	(18, 'money_of_merchant', $$delete from payout.transfer where txid = test.txid('Z1') and kind = 'fee'$$),
	(19, 'history_without_gaps', $$update payout.payout_event set event_no = event_no + 100 where txid = test.txid('Z1') and event_no >= 2$$),
	(20, 'history_begins', $$delete from payout.payout_event where txid = test.txid('Z1') and event_no = 1$$),
	(21, 'history_is_chain', $$update payout.payout_event set from_state = 'suspect' where txid = test.txid('Z1') and to_state = 'paid'$$),
	(22, 'history_move_allowed', $$update payout.payout_event set from_state = 'registered' where txid = test.txid('Z1') and to_state = 'paid'$$),
	(23, 'history_ends', $$update payout.payout set events = events + 1 where reference_no = 'Z6'$$),
	(24, 'history_ends', $$delete from payout.payout_event where txid = test.txid('Z6')$$),
	(25, 'history_ends', $$delete from payout.payout where reference_no = 'Z6'$$),
	(26, 'history_final', $$update payout.payout set final_at = now() where reference_no = 'Z2'$$),
	(27, 'history_final', $$update payout.payout set final_at = null where reference_no = 'Z1'$$),
	(186, 'history_disputed', $$update payout.payout set disputed_at = now() where reference_no = 'Z1'$$),
	(28, 'batch_fits_members', $$update payout.batch b set state = 'open', tries = 0, due_at = now() from payout.payout p where p.batch_id = b.batch_id and p.reference_no = 'Z3'$$),
	(58, 'batch_fits_members', $$update payout.batch b set state = 'accepted' from payout.payout p where p.batch_id = b.batch_id and p.reference_no = 'Z2'$$),
	(29, 'batch_of_payout', $$update payout.payout set batch_id = null where reference_no = 'Z2'$$),
	(30, 'batch_of_payout', $$update payout.payout set batch_id = payout.new_id() where reference_no = 'Z1'$$),
	(31, 'batch_of_payout', $$update payout.payout set batch_id = payout.new_id() where reference_no = 'Z6'$$),
	(32, 'batch_total', $$update payout.batch set total = total + 1 where channel_id = 'VERCH'$$),
	(33, 'batch_total', $$update payout.batch set item_count = 2 where channel_id = 'VERCH'$$),
	(34, 'batch_parent', $$update payout.batch set parent_batch_id = payout.new_id() where channel_id = 'VERCH'$$),
	(35, 'batch_forgotten', $$update payout.batch b set state = 'open', due_at = null from payout.payout p where p.batch_id = b.batch_id and p.reference_no = 'Z4'$$),
	(36, 'attempt_of_living', $$update payout.incarnation set ended_at = now()$$),
	(37, 'incarnation_is_one', $$insert into payout.incarnation (incarnation_id, pid) values (payout.new_id(), 2)$$),
	(38, 'attempt_accepted_once', $$insert into payout.attempt select (a).* from (select jsonb_populate_record(q, jsonb_build_object('attempt_id', payout.new_id())) as a from payout.attempt q where q.channel_id = 'VERCH' and q.outcome = 'yes') s$$),
	(39, 'attempt_of_batch', $$update payout.attempt set outcome = 'yes', finished_at = now() where channel_id = 'VERCH' and outcome = 'unknown'$$),
	(40, 'attempt_of_batch', $$delete from payout.batch b using payout.payout p where p.batch_id = b.batch_id and p.reference_no = 'Z1'$$),
	(41, 'attempt_under_way', $$delete from payout.attempt where channel_id = 'VERCH' and outcome is null$$),
	(188, 'attempt_is_named', $$delete from payout.under_way$$),
	(201, 'batch_in_doubt', $$update payout.batch set asked_since = null where channel_id = 'VERCH'$$),
	(202, 'batch_in_doubt', $$update payout.batch set was_unknown = false where channel_id = 'VERCH' and state = 'unknown'$$),
	(203, 'asking_of_sending', $$insert into payout.attempt (channel_id, attempt_id, lane, service, merchant_id, txid, external_id, asked_attempt_id, request_digest, incarnation_id)
		select 'VERCH', payout.new_id(), 'check', 36, 'VERIFY0001', test.txid('Z2'), '1', a.attempt_id, '', test.life() from payout.attempt a where a.batch_id = (test.payout('Z1')).batch_id$$),
	(204, 'asking_after_sending', $$update payout.payout set state = 'failed', reason = 'status inquiry: failed' where reference_no = 'Z1';
		insert into payout.attempt (channel_id, attempt_id, lane, service, merchant_id, txid, external_id, request_digest, incarnation_id, started_at, answer)
		select 'VERCH', payout.new_id(), 'check', 36, 'VERIFY0001', test.txid('Z1'), '1', '', test.life(), a.started_at, 'failed' from payout.attempt a where a.batch_id = (test.payout('Z1')).batch_id$$),
	(205, 'asking_first', $$insert into payout.lost_tail select p.registered_at, 1, 2, payout.new_id() from payout.payout p where p.reference_no = 'Z1'$$),
	(206, 'asking_told', $$update payout.batch b set told_at = '-infinity' from payout.payout p where p.batch_id = b.batch_id and p.reference_no = 'Z1'$$),
	(209, 'asking_told', $$with bulk as (insert into payout.batch (channel_id, batch_id, service, epoch, state, source_account_no, transaction_date, item_count, total, told_at)
		select b.channel_id, payout.new_id(), 20, b.epoch, 'split', b.source_account_no, now(), 2, 1, '-infinity' from test.payout('Z1') p join payout.batch b on b.batch_id = p.batch_id returning batch_id)
		update payout.batch b set parent_batch_id = u.batch_id from bulk u, test.payout('Z1') p where b.batch_id = p.batch_id$$),
	(210, 'batch_epoch', $$update payout.batch b set epoch = 2 from payout.payout p where p.batch_id = b.batch_id and p.reference_no = 'Z1'$$),
	(211, 'batch_epoch', $$with bulk as (insert into payout.batch (channel_id, batch_id, service, epoch, state, source_account_no, transaction_date, item_count, total)
		select b.channel_id, payout.new_id(), 20, 0, 'split', b.source_account_no, now(), 2, 1 from test.payout('Z1') p join payout.batch b on b.batch_id = p.batch_id returning batch_id)
		update payout.batch b set parent_batch_id = u.batch_id from bulk u, test.payout('Z1') p where b.batch_id = p.batch_id$$),
	(212, 'batch_in_doubt', $$update payout.batch b set decided_at = now() from payout.payout p where p.batch_id = b.batch_id and p.reference_no = 'Z1'$$),
	(207, 'queue_doubt', $$update payout.payout set doubted_at = now() where reference_no = 'Z2'$$),
	(208, 'queue_check', $$update payout.payout set doubted_at = now() where reference_no = 'Z1'$$),
	(42, 'attempt_has_payout', $$update payout.attempt set txid = 'x', merchant_id = 'VERIFY0001' where channel_id = 'VERCH'$$),
	(43, 'queue_validate', $$update payout.payout set check_due_at = null where reference_no = 'Z6'$$),
	(44, 'queue_dispatch', $$update payout.payout set dispatch_due_at = null where reference_no = 'Z7'$$),
	(45, 'queue_check', $$update payout.payout set status_due_at = null where reference_no = 'Z2'$$),
	(46, 'queue_fits_state', $$update payout.payout set dispatch_due_at = now() where reference_no = 'Z1'$$),
	(187, 'queue_fits_state', $$update payout.payout set release_due_at = now() where reference_no = 'Z7'$$),
	(47, 'queue_fits_state', $$update payout.payout set check_due_at = now() where reference_no = 'Z3'$$),
	(48, 'queue_fits_state', $$update payout.payout set status_due_at = now() where reference_no = 'Z6'$$),
	(49, 'payout_has_merchant', $$delete from payout.merchant where merchant_id = 'VERIFY0001'$$),
	(50, 'payout_has_channel', $$delete from payout.channel where channel_id = 'VERCH'$$),
	(51, 'payout_has_bank', $$delete from payout.bank where bank_code = 'VERBANK'$$),
	(52, 'batch_has_channel', $$delete from payout.channel where channel_id = 'VERCH'$$),
	(53, 'hold_has_payout', $$insert into payout.hold (merchant_id, txid, lane, reason) values ('VERIFY0001', 'x', 'check', 'y')$$),
	(54, 'notification_has_event', $$update payout.notification set event = 'payout.failed' where txid = test.txid('Z1')$$),
	(55, 'notification_in_one_place', $$update payout.notification set due_at = null where txid = test.txid('Z1')$$),
	(56, 'notification_in_one_place', $$update payout.notification set delivered_at = now() where txid = test.txid('Z1')$$),
	(57, 'notification_in_order', $$insert into payout.notification (merchant_id, txid, event_no, event, state, fee, delivered_at)
		select merchant_id, txid, 99, 'payout.paid', 'paid', 0, now() from payout.notification where txid = test.txid('Z1')$$),
	(59, 'queue_expire', $$update payout.payout set expire_due_at = null where reference_no = 'ZC1'$$),
	(60, 'queue_expire', $$update payout.payout set expire_due_at = null where reference_no = 'ZC2'$$),
	(61, 'queue_expire', $$update payout.payout set expire_due_at = now() where reference_no = 'ZC3'$$),
	(62, 'token_of_state', $$delete from payout.cashout_token where txid = test.txid('ZC1')$$),
	(63, 'token_of_state', $$update payout.cashout_token set replaced_at = now() where txid = test.txid('ZC2')$$),
	(64, 'token_of_state', $$update payout.payout set state = 'registered' where reference_no = 'ZC1'$$),
	(65, 'token_of_state', $$update payout.cashout_token set txid = test.txid('Z6') where txid = test.txid('ZC1')$$),
	(66, 'token_expiry', $$update payout.payout set expire_due_at = expire_due_at + interval '1 s' where reference_no = 'ZC1'$$),
	(67, 'token_expiry', $$update payout.cashout_token set valid_until = valid_until - interval '1 s' where txid = test.txid('ZC1')$$),
	(68, 'redemption_of_state', $$delete from payout.redemption where txid = test.txid('ZC3')$$),
	(69, 'redemption_of_state', $$update payout.payout set cvs_code = 'VERCVS', cvs_reference = 'R9' where reference_no = 'ZC1'$$),
	(70, 'redemption_of_state', $$update payout.payout set cvs_code = null, cvs_reference = null where reference_no = 'ZC2'$$),
	(71, 'redemption_of_state', $$update payout.redemption set reversed_at = now(), reverse_state = 'token_issued', reverse_reason = 'x' where txid = test.txid('ZC2')$$),
	(72, 'redemption_open', $$insert into payout.redemption select 'VERCVS', 'R9', merchant_id, txid, 1, 'T1', now(), now() from payout.payout where reference_no = 'ZC1'$$),
	(73, 'redemption_open', $$update payout.payout set cvs_reference = 'R9' where reference_no = 'ZC2'$$),
	(74, 'redemption_confirmed', $$update payout.redemption set confirmed_at = now(), confirm_state = 'paid' where txid = test.txid('ZC2')$$),
	(75, 'redemption_confirmed', $$insert into payout.redemption (cvs_code, cvs_reference, merchant_id, txid, token_no, confirmed_at, confirm_state)
		select 'VERCVS', 'R9', merchant_id, txid, 1, now(), 'paid' from payout.payout where reference_no = 'ZC4'$$),
	(76, 'redemption_has_token', $$update payout.redemption set token_no = 2 where txid = test.txid('ZC2')$$),
	(77, 'payout_has_cvs', $$delete from payout.cvs where cvs_code = 'VERCVS'$$),
	(78, 'redemption_has_cvs', $$update payout.redemption set cvs_code = 'NOSTORE' where txid = test.txid('ZC2')$$),
	(79, 'token_has_payout', $$delete from payout.payout where reference_no = 'ZC1'$$),
	(80, 'money_fits_state', $$update payout.payout set state = 'expired' where reference_no = 'ZC1'$$),
	(81, 'money_fits_state', $$update payout.payout set state = 'token_issued' where reference_no = 'ZC4'$$),
	(82, 'money_fits_state', $$delete from payout.transfer where txid = test.txid('ZC0')$$),
	(83, 'transfer_settlement', $$update payout.transfer set credit_account = 'settlement/VERCVS' where txid = test.txid('ZC3') and kind = 'settle'$$),
	(84, 'batch_of_payout', $$update payout.payout set batch_id = payout.new_id() where reference_no = 'ZC2'$$),
	(85, 'queue_fits_state', $$update payout.payout set status_due_at = now() where reference_no = 'ZC2'$$),
	(86, 'delta_of_merchant', $$insert into payout.balance_delta (merchant_id, amount) values ('NOBODY0001', 1)$$),
	(87, 'balance_is_sum', $$insert into payout.balance_delta (merchant_id, amount) values ('VERIFY0001', 1)$$),
	(88, 'escrow_is_balance', $$update payout.balance set available = available + 0.01 where merchant_id = 'VERIFY0001'$$),
	(89, 'escrow_is_balance', $$update payout.balance set day_total = day_total + 0.01 where merchant_id = 'VERIFY0001'$$),
	(90, 'payout_form', $$update payout.payout set method = 'pigeon' where reference_no = 'Z1'$$),
	(91, 'payout_form', $$update payout.payout set account_check = 'maybe' where reference_no = 'Z1'$$),
	(92, 'payout_form', $$update payout.payout set bank_code = null where reference_no = 'Z1'$$),
	(189, 'content_is_registered', $$update payout.payout set account_no = '9999999999' where reference_no = 'Z7'$$),
	(190, 'content_is_registered', $$update payout.payout_event set content_digest = sha256('') where txid = test.txid('Z1') and event_no = 1$$),
	(191, 'content_has_digest', $$update payout.payout_event set content_digest = null where txid = test.txid('Z1') and event_no = 1$$),
	(192, 'content_has_digest', $$update payout.payout_event set content_digest = sha256('') where txid = test.txid('Z1') and event_no = 2$$),
	(193, 'batch_source_account', $$update payout.batch set source_account_no = '1' where channel_id = 'VERCH'$$),
	(194, 'payout_form', $$update payout.payout set wire_code = null where reference_no = 'Z1'$$),
	(300, 'payout_bank_number', $$update payout.payout set bank_reference_no = 'OF-TWO' where reference_no in ('Z1', 'Z2')$$),
	(195, 'payout_form', $$update payout.payout set source_account_no = '1' where reference_no = 'ZC1'$$),
	(93, 'approval_in_history', $$update payout.payout_approval set role_name = 'nobody' where txid = test.txid('ZM2')$$),
	(94, 'approval_in_history', $$update payout.payout_approval set event_no = event_no + 7 where txid = test.txid('ZM2')$$),
	(95, 'approval_in_history', $$update payout.payout_event set event = null where event = 'approval.given' and txid = test.txid('ZM2')$$),
	(96, 'approval_in_history', $$delete from payout.payout_event where event = 'payout.approved' and txid = test.txid('ZM1')$$),
	(97, 'approval_of_event', $$delete from payout.payout_approval where txid = test.txid('ZM2')$$),
	(98, 'approval_by_other', $$update payout.payout_event set role_name = current_user where event_no = 1 and txid = test.txid('ZM2')$$),
	(99, 'approval_by_enough', $$update payout.payout_approval set role_name = 'payout_test_checker' where txid = test.txid('ZM1')$$),
	(100, 'approval_by_enough', $$update payout.payout_event set role_name = current_user where event_no = 1 and txid = test.txid('ZM1')$$),
	(101, 'approval_by_enough', $$delete from payout.payout_approval a using payout.payout_event e where a.txid = test.txid('ZM1') and e.txid = a.txid and e.event_no = a.event_no and e.event = 'approval.given'$$),
	(102, 'approval_count', $$update payout.payout set approvals = 1 where reference_no = 'ZM1'$$),
	(103, 'approval_count', $$update payout.payout set approvals = 1 where reference_no = 'Z1'$$),
	(104, 'approval_count', $$delete from payout.payout where reference_no = 'ZM1'$$),
	(105, 'approver_day_total', $$update payout.approver_day set total = total - 0.01 where merchant_id = 'VERIFY0001' and role_name = 'payout_test_checker'$$),
	(106, 'approver_day_total', $$delete from payout.approver_day where merchant_id = 'VERIFY0001'$$),
	(400, 'ending_is_recorded', $$update payout.payout set bank_reference_no = 'FAKE' where reference_no = 'Z1'$$),
	(401, 'ending_is_recorded', $$update payout.payout set response_code = '2009999' where reference_no = 'Z1'$$),
	(402, 'ending_is_recorded', $$update payout.payout set reason = 'paid by hand' where reference_no = 'Z1'$$),
	(403, 'ending_is_recorded', $$update payout.payout set final_at = final_at - interval '1 us' where reference_no = 'Z1'$$),
	(404, 'ending_is_recorded', $$update payout.payout set approved_at = approved_at - interval '40 days' where reference_no = 'Z1'$$),
	(405, 'ending_is_recorded', $$update payout.payout set account_name = 'SOMEBODY ELSE' where reference_no = 'Z1'$$),
	(406, 'ending_is_recorded', $$update payout.payout set cvs_reference = 'OTHER' where reference_no = 'ZC3'$$),
	(407, 'ending_is_recorded', $$update payout.payout_event e set content_digest = null from payout.payout p where (e.merchant_id, e.txid, e.event_no) = (p.merchant_id, p.txid, p.events) and p.reference_no = 'Z1'$$),
	(408, 'token_is_recorded', $$update payout.cashout_token set digest = sha256('another') where txid = test.txid('ZC1')$$),
	(409, 'token_is_recorded', $$update payout.cashout_token set digest = sha256('another') where txid = test.txid('ZC2')$$),
	(410, 'token_is_recorded', $$update payout.cashout_token set issued_at = issued_at - interval '1 day' where txid = test.txid('ZC1')$$),
	(411, 'ending_is_accounted', $$update payout.payout set account_name = 'SOMEBODY ELSE' where reference_no = 'Z7'$$),
	(412, 'ending_is_accounted', $$update payout.payout set account_check = 'name_differs' where reference_no = 'Z7'$$),
	(413, 'attempt_is_there', $$delete from payout.attempt where channel_id = 'VERCH' and lane = 'dispatch'$$),
	(414, 'attempt_is_there', $$delete from payout.attempt where batch_id = (test.payout('Z1')).batch_id$$),
	(415, 'attempt_is_there', $$update payout.payout set check_tries = 1 where reference_no = 'Z7'$$),
	(416, 'attempt_is_there', $$update payout.payout_event set reason = 'status inquiry: paid' where txid = test.txid('Z7') and event_no = 1$$),
	(417, 'attempt_wire_code', $$update payout.attempt set wire_codes = '666' where batch_id = (test.payout('Z1')).batch_id$$),
	(418, 'attempt_wire_code', $$insert into payout.attempt (channel_id, attempt_id, lane, service, merchant_id, txid, external_id, request_digest, incarnation_id, finished_at, outcome, wire_codes)
		select channel_id, payout.new_id(), 'validate', 16, merchant_id, txid, payout.new_external_id(), '', test.life(), now(), 'yes', '666' from payout.payout where reference_no = 'Z7'$$),
	(419, 'moment_is_past', $$update payout.payout_event set at = 'infinity' where txid = test.txid('Z1')$$),
	(420, 'moment_is_past', $$update payout.transfer set at = '2200-01-01' where txid = test.txid('Z1')$$),
	(421, 'moment_is_past', $$update payout.payout set final_at = now() + interval '1 day' where reference_no = 'Z1'$$),
	(422, 'moment_is_past', $$update payout.attempt set started_at = now() + interval '1 day' where batch_id = (test.payout('Z1')).batch_id$$),
	(423, 'moment_is_past', $$update payout.admin_event set at = 'infinity' where object = 'VERCH'$$),
	(424, 'moment_is_past', $$update payout.redemption set reserved_at = '2200-01-01' where txid = test.txid('ZC2')$$),
	(425, 'moment_is_past', $$update payout.cashout_token set issued_at = '2200-01-01' where txid = test.txid('ZC1')$$),
	(426, 'moment_is_past', $$update payout.batch set transaction_date = '2200-01-01' where channel_id = 'VERCH'$$),
	(430, 'admin_present', $$update payout.merchant set options = options || '{"approver_differs": false}' where merchant_id = 'VERIFY0001'$$),
	(431, 'admin_present', $$update payout.merchant set active = false where merchant_id = 'VERIFY0001'$$),
	(432, 'admin_present', $$update payout.channel set base_url = 'https://elsewhere.example' where channel_id = 'VERCH'$$),
	(433, 'admin_present', $$update payout.channel set paused_at = now(), paused_reason = 'x' where channel_id = 'VERCH'$$),
	(434, 'admin_present', $$update payout.bank set options = '{"wire_code": "666"}' where bank_code = 'VERBANK'$$),
	(435, 'admin_present', $$update payout.cvs set options = '{"token_tries": 1000}' where cvs_code = 'VERCVS'$$),
	(436, 'admin_present', $$insert into payout.access_grant (kind, scope, role_name) values ('merchant', 'VERIFY0001', current_user::regrole)$$),
	(437, 'admin_present', $$insert into payout.retry_policy (lane, base_ms, max_ms, tries_max) values ('check', 1, 1, 1)$$),
	(438, 'admin_present', $$update payout.arming set secret_digest = sha256('another file')$$),
	(439, 'admin_present', $$insert into payout.channel_secret (channel_id, name, secret_no, sealed) values ('VERCH', 'client_secret', 7, '\x0102030405060708090a0b0c')$$),
	(440, 'admin_present', $$delete from payout.cvs where cvs_code = 'VERCVS'$$),
	(441, 'admin_present', $$update payout.admin_event set new_values = new_values || '{"active": false}' where object = 'VERIFY0001' and event_no = 1$$),
	(442, 'admin_without_gaps', $$update payout.admin_event set event_no = event_no + 100 where object = 'VERIFY0001'$$),
	(443, 'admin_without_gaps', $$delete from payout.admin_event where object = 'VERIFY0001' and event_no = 1$$),
	(444, 'admin_is_chain', $$update payout.admin_event set old_values = '{"options.approver_daily_max": 1}' where object = 'VERIFY0001' and event_no > 1$$),
	(445, 'admin_is_chain', $$insert into payout.admin_event (relation, object, event_no, action, role_name, old_values, new_values) values ('merchant', 'VERIFY0001', 99, 'insert', 'x', '{}', '{}')$$),
	(446, 'admin_link', $$insert into payout.admin_link (link_no, until, events, head) values (999, now(), 0, sha256(''))$$),
	(447, 'admin_link', $$select payout.link_between(payout.unlinked_since(), clock_timestamp()); update payout.admin_event set role_name = 'innocent' where object = 'VERCH'$$),
	(448, 'admin_unlinked', $$select payout.lock_chain_mark(); update payout.chain_mark set linked_until = clock_timestamp()$$),
	(107, 'approver_day_total', $$insert into payout.approver_day values ('VERIFY0001', 'nobody', '2026-01-31', 1)$$),
	(108, 'redemption_has_token', $$update payout.redemption set digest = sha256('x') where txid = test.txid('ZC2')$$),
	(109, 'redemption_has_token', $$update payout.redemption set digest = null where txid = test.txid('ZC2')$$),
	(110, 'redemption_has_token', $$update payout.cashout_token set digest = sha256('x') where txid = test.txid('ZC2')$$);
-- each breaking asks for all of verify()
set statement_timeout = 0;
select n, b.expected, case when b.expected = any (string_to_array(t.named, ' ')) then 'found' else 'NOT FOUND, but ' || t.named end as result
from test.breaking b, test.broken(b.statement) t (named) order by n;
-- no invariant is left out of the list above, nor does it name one that is gone
with invariant as (
	select distinct m[1] as name from pg_proc p, regexp_matches(coalesce(pg_get_function_sqlbody(p.oid), p.prosrc), 'select ''([a-z_]+)''(?:::text|, s\.)', 'gi') m
	where pronamespace = 'payout'::regnamespace and proname like 'verify\_%')
select i.name as never_broken, b.expected as not_an_invariant from invariant i full join (select distinct expected from test.breaking) b on b.expected = i.name
where i.name is null or b.expected is null;
-- all of it was undone
select check_name, detail from payout.verify();
select test.answer('Z4', 'yes', 'ok'), test.answer('Z5', 'yes', 'ok');
