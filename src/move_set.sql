-- move_set.sql: many payouts moved on by one call, see move_set.c. What belongs to a move (money, history, notification)
-- is the trigger's, as for one.

create type payout.step as (
	merchant_id text, txid text, from_state text, to_state text, batch_id uuid, bank_reference_no text, response_code text,
	reason text, status_due_at timestamptz, asked boolean
);
comment on type payout.step is 'one move of payout.move_set; batch_id, bank_reference_no and response_code are kept where null; asked: the bank has said so when asked or by a notice';

create function payout.move_set(steps payout.step[]) returns integer
language c volatile strict parallel unsafe as 'MODULE_PATHNAME', 'payout_move_set';
comment on function payout.move_set(payout.step[]) is 'moves disbursements on as their steps say, those that are still in from_state; their count';
