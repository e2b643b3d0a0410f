/*
 * move.c: the one trigger that keeps a payout's state, its money, its history and its notification together.
 *
 * Before a payout is updated: its content may not change, nor what is recorded of its end (ending.c); an account check is written to the history; approvals are
 * checked where the merchant's options restrict them (maker_checker.sql); a change of state is looked up in
 * payout.allowed_move, its money moved (ledger.h), its history row written and its notification owed. So whoever changes
 * a state, by whatever statement, changes all of it, in one transaction.
 *
 * What each payout does (deduct, settle, refund) is done here; what seldom happens is left to SQL (payout.move_money).
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "catalog/pg_type.h"
#include "commands/trigger.h"
#include "ending.h"
#include "errors.h"
#include "executor/spi.h"
#include "fmgr.h"
#include "gate.h"
#include "history.h"
#include "ledger.h"
#include "move.h"
#include "owe.h"
#include "payout_row.h"
#include "plan.h"
#include "policy.h"
#include "row.h"
#include "row_cache.h"
#include "utils/builtins.h"
#include "utils/datum.h"
#include "utils/rel.h"
#include "utils/timestamp.h"

PG_FUNCTION_INFO_V1(payout_move);

static bool done_by_set = false; /* what is updated now was completed by move_set_add */

typedef struct Move
{
	PayoutRow old;
	PayoutRow new;
	MoveSet *set; /* NULL: the payout moves by itself */
} Move;

/* The new version as it is by now. */
static Datum
as_row(const Move *move)
{
	return heap_copy_tuple_as_datum(heap_form_tuple(move->new.desc, unconstify(Move *, move)->new.values,
													unconstify(Move *, move)->new.nulls),
									move->new.desc);
}

/* A plan that takes a payout's row. The row has another type once the extension was dropped and created again. */
typedef struct RowPlan
{
	SPIPlanPtr plan;
	Oid row_type;
} RowPlan;

/* Runs a function of SQL with the new version as its first argument, and a text. */
static void
call_sql(RowPlan *kept, const char *sql, const Move *move, const char *word)
{
	Oid types[] = {move->new.desc->tdtypeid, TEXTOID};
	Datum values[] = {as_row(move), CStringGetTextDatum(word)};

	SPI_connect();
	if (kept->plan != NULL && kept->row_type != types[0])
	{
		SPI_freeplan(kept->plan);
		kept->plan = NULL;
	}
	kept->row_type = types[0];
	(void) plan_run(&kept->plan, sql, 2, types, values, NULL);
	SPI_finish();
}

/* Makes the next history row, and counts it in the payout's. */
static void
note(Move *move, HistoryRow *row, const char *event, const char *from_state, const char *to_state,
	 const char *reason)
{
	int event_no = DatumGetInt32(payout_row_get(&move->new, EVENTS)) + 1;

	history_make(row, payout_row_get(&move->new, MERCHANT_ID), payout_row_get(&move->new, TXID), event_no,
				 event, from_state, to_state, reason);
	history_add_digest(row, ending_digest(&move->new));
	payout_row_set(&move->new, EVENTS, Int32GetDatum(event_no));
}

/* Writes the history row and, where the merchant can be told, owes it the notification. */
static void
tell(Move *move, HistoryRow *row, const Policy *policy, const char *event)
{
	if (move->set != NULL)
		row_set_add(&move->set->history, row->values, row->nulls);
	else
		history_write(row);
	if (event != NULL)
		owe_notification(&move->new, policy, event, move->set != NULL ? &move->set->notifications : NULL);
}

/* An approval where the merchant's options restrict who gives it: whether this role may, and what else is missing. */
static void
control_approval(Move *move, const Policy *policy)
{
	static RowPlan plan = {NULL, InvalidOid};
	int given =
		payout_row_is_null(&move->old, APPROVALS) ? 0 : DatumGetInt32(payout_row_get(&move->old, APPROVALS));

	payout_row_set(&move->new, APPROVALS, Int32GetDatum(given + 1));
	call_sql(&plan, "select payout.record_approval($1, $2::pg_catalog.jsonb)", move,
			 JsonbToCString(NULL, &policy->options->root, VARSIZE(policy->options)));
}

static char *
settlement_account(const Move *move)
{
	char *channel_id = payout_row_text(&move->new, CHANNEL_ID);
	char *cvs_code = payout_row_text(&move->new, CVS_CODE);

	return channel_id != NULL ? psprintf("settlement/%s", channel_id)
							  : psprintf("settlement/cvs:%s", cvs_code);
}

static void
move_money(Move *move, const char *money, const Policy *policy)
{
	static RowPlan plan = {NULL, InvalidOid};
	Datum merchant_id = payout_row_get(&move->new, MERCHANT_ID);
	Datum txid = payout_row_get(&move->new, TXID);
	Datum amount = payout_row_get(&move->new, AMOUNT);

	if (strcmp(money, "deduct") == 0)
	{
		Datum fee = policy_fee(policy, payout_row_text(&move->new, METHOD), amount);

		if (move->set != NULL)
			ledger_add_taken(&move->set->transfers, merchant_id, txid, amount, fee);
		else
			ledger_deduct(merchant_id, txid, amount, fee, policy_daily_total(policy));
		payout_row_set(&move->new, FEE, fee);
	}
	else if (strcmp(money, "settle") == 0)
		ledger_settle(merchant_id, txid, amount, settlement_account(move));
	else if (strcmp(money, "refund") == 0)
		ledger_refund(merchant_id, txid, amount, payout_row_get(&move->new, FEE));
	else
		call_sql(&plan, "select payout.move_money($1, $2)", move, money);
}

/* Nothing is left to do of its own accord, nor for a person. */
static void
close_queues(Move *move)
{
	static RowPlan plan = {NULL, InvalidOid};
	Datum key[] = {payout_row_get(&move->new, MERCHANT_ID), payout_row_get(&move->new, TXID)};
	TupleDesc desc;

	for (int column = PAYOUT_OPEN_ENDS; column < PAYOUT_COLUMN_COUNT; column++)
		if (!payout_row_is_null(&move->new, column))
			payout_row_set_null(&move->new, column);
	if (row_fetch("hold", "hold_pkey", 2, key, &desc) != NULL)
		call_sql(&plan, "select payout.release_holds($1, $2)", move, "");
}

/* The moment in which the payout came to be so, or null. */
static void
stamp(Move *move, PayoutColumn column, bool is_so)
{
	if (is_so)
		payout_row_set(&move->new, column, TimestampTzGetDatum(GetCurrentTimestamp()));
	else if (!payout_row_is_null(&move->new, column))
		payout_row_set_null(&move->new, column);
}

/* A column of type text; NULL for null. */
static char *
text_of(HeapTuple row, TupleDesc desc, const char *column)
{
	bool isnull;
	Datum value = SPI_getbinval(row, desc, SPI_fnumber(desc, column), &isnull);

	return isnull ? NULL : TextDatumGetCString(value);
}

static MoveRule *
find_rule(const Move *move)
{
	char *from = payout_row_text(&move->old, STATE);
	char *to = payout_row_text(&move->new, STATE);
	Datum key[] = {payout_row_get(&move->new, KIND), CStringGetTextDatum(from), CStringGetTextDatum(to)};
	TupleDesc desc;
	HeapTuple allowed = row_cached("allowed_move", "allowed_move_pkey", 3, key, &desc);
	MoveRule *rule = palloc(sizeof(MoveRule));
	bool isnull;

	if (allowed == NULL)
		ereport(ERROR, (errcode(PY_NOT_ALLOWED_IN_STATE),
						errmsg("a payout in state \"%s\" cannot become \"%s\"", from, to),
						errdetail("TXID %s.", payout_row_text(&move->new, TXID)),
						errhint("The allowed moves stand in payout.allowed_move.")));
	rule->money = text_of(allowed, desc, "money");
	rule->event = text_of(allowed, desc, "event");
	rule->final = DatumGetBool(SPI_getbinval(allowed, desc, SPI_fnumber(desc, "final"), &isnull));
	return rule;
}

/*
 * What the worker has claimed of the payout and not sent yet must not leave any more: its order, where it has moved on by a notice,
 * a person or the merchant; and whatever it is, at its end.
 */
static void
stop_requests(const Move *move, const char *from, const MoveRule *rule)
{
	if (rule->final || strcmp(from, "dispatching") == 0)
		gate_stop_at_commit(GATE_PAYOUT, payout_row_text(&move->new, TXID));
}

/* What is to end, by a merchant or by time, may have been paid, where a lost tail has taken the record (lost_tail.sql). */
static void
refuse_unasked(const Move *move, const char *to)
{
	static RowPlan plan = {NULL, InvalidOid};

	call_sql(&plan, "select payout.refuse_unasked($1, $2)", move, to);
}

static void
change_state(Move *move, const Policy *policy, const MoveRule *rule)
{
	char *from = payout_row_text(&move->old, STATE);
	char *to = payout_row_text(&move->new, STATE);
	HistoryRow row;

	if (strcmp(to, "rejected") == 0 || strcmp(to, "cancelled") == 0 || strcmp(to, "expired") == 0)
		refuse_unasked(move, to);
	stop_requests(move, from, rule);
	stamp(move, FINAL_AT, rule->final);
	stamp(move, DISPUTED_AT, strcmp(to, "disputed") == 0);
	if (strcmp(from, "registered") == 0 && strcmp(to, "rejected") != 0 && policy_is_controlled(policy))
		control_approval(move, policy);
	note(move, &row, rule->event, from, to, payout_row_text(&move->new, REASON));
	if (rule->money != NULL)
		move_money(move, rule->money, policy);
	if (rule->final)
		close_queues(move);
	tell(move, &row, policy, rule->event);
}

static void
note_account_check(Move *move, const Policy *policy)
{
	char *state = payout_row_text(&move->old, STATE);
	char *check = payout_row_text(&move->new, ACCOUNT_CHECK);
	char *name = payout_row_text(&move->new, ACCOUNT_NAME);
	HistoryRow row;

	if (check == NULL || strcmp(check, "pending") == 0)
		return;
	note(move, &row, "account.checked", state, state, name != NULL ? psprintf("%s: %s", check, name) : check);
	tell(move, &row, policy, "account.checked");
}

/* An approval that is not the last one: nothing moves. */
static void
note_approval(Move *move, const Policy *policy)
{
	HistoryRow row;

	if (!payout_row_is(&move->old, STATE, "registered") || !policy_is_controlled(policy))
		ereport(ERROR,
				(errcode(PY_NOT_ALLOWED_IN_STATE), errmsg("no approval is counted here"),
				 errdetail("TXID %s.", payout_row_text(&move->new, TXID)),
				 errhint("Approvals are counted while a payout is registered, if the merchant's options "
						 "restrict who approves.")));
	control_approval(move, policy);
	note(move, &row, "approval.given", "registered", "registered", NULL);
	tell(move, &row, policy, "approval.given");
}

void
move_set_init(MoveSet *set, const Policy *policy)
{
	set->policy = policy;
	set->rule = NULL;
	row_set_init(&set->history, "payout_event", HISTORY_COLUMNS);
	row_set_init(&set->notifications, "notification", OWE_COLUMNS);
	row_set_init(&set->transfers, "transfer", LEDGER_TRANSFER_COLUMNS);
}

void
move_set_add(MoveSet *set, const PayoutRow *old, PayoutRow *new)
{
	Move move = {.old = *old, .new = *new, .set = set};

	if (set->rule == NULL)
	{
		MemoryContext outer = MemoryContextSwitchTo(set->history.context);

		set->rule = find_rule(&move);
		MemoryContextSwitchTo(outer);
	}
	change_state(&move, set->policy, set->rule);
	*new = move.new;
}

void
move_set_write(const MoveSet *set, int count, const HeapTuple *old, const HeapTuple *new,
			   const bool *replaced)
{
	done_by_set = true;
	PG_TRY();
	{
		row_set_update("payout", PAYOUT_COLUMN_COUNT, count, old, new, replaced);
	}
	PG_FINALLY();
	{
		done_by_set = false;
	}
	PG_END_TRY();
	row_set_insert(&set->history);
	row_set_insert(&set->notifications);
	ledger_insert_set(&set->transfers);
}

/* Whether the new version has its history row counted already: so no statement writes it, only move_set_write. */
static bool
is_counted(const TriggerData *trigger)
{
	TupleDesc desc = RelationGetDescr(trigger->tg_relation);

	return payout_row_peek(trigger->tg_newtuple, desc, EVENTS) ==
		   payout_row_peek(trigger->tg_trigtuple, desc, EVENTS) + 1;
}

/* An end has no bank's number, and the bank tells it. */
static void
note_number(Move *move, const Policy *policy)
{
	char *state = payout_row_text(&move->new, STATE);
	HistoryRow row;

	note(move, &row, NULL, state, state,
		 psprintf("the bank's number for it is %s", payout_row_text(&move->new, BANK_REFERENCE_NO)));
	tell(move, &row, policy, NULL);
}

/* Trigger before each payout that is updated. */
Datum
payout_move(PG_FUNCTION_ARGS)
{
	TriggerData *trigger = (TriggerData *) fcinfo->context;
	HeapTuple new = trigger->tg_newtuple;
	Move *move;
	Policy policy;
	bool checked;
	bool approved;
	bool moved;
	bool numbered;

	if (done_by_set && is_counted(trigger))
		return PointerGetDatum(new);
	move = palloc(sizeof(Move));
	move->set = NULL;
	payout_row_read(&move->old, RelationGetDescr(trigger->tg_relation), trigger->tg_trigtuple);
	payout_row_read(&move->new, RelationGetDescr(trigger->tg_relation), new);
	for (int column = 0; column < PAYOUT_CONTENT_END; column++)
		if (!payout_row_same(&move->old, &move->new, column))
			ereport(ERROR,
					(errcode(PY_NOT_ALLOWED_IN_STATE), errmsg("the content of a payout does not change"),
					 errhint("Reject it and register another one.")));
	checked = !payout_row_same(&move->old, &move->new, ACCOUNT_CHECK);
	moved = !payout_row_same(&move->old, &move->new, STATE);
	approved = !payout_row_same(&move->old, &move->new, APPROVALS);
	numbered = !moved && ending_is_numbered(&move->old, &move->new);
	if (!moved && !ending_may_follow(&move->old, &move->new))
		ereport(ERROR, (errcode(PY_NOT_ALLOWED_IN_STATE),
						errmsg("what is recorded of a payout's way and end does not change by itself"),
						errdetail("TXID %s.", payout_row_text(&move->new, TXID)),
						errhint("A payout at its end changes by payout.resolve.")));
	if (!checked && !approved && !moved && !numbered)
		return PointerGetDatum(new);
	policy_read(payout_row_get(&move->new, MERCHANT_ID), &policy);
	if (checked)
		note_account_check(move, &policy);
	if (moved)
		change_state(move, &policy, find_rule(move));
	else if (approved)
		note_approval(move, &policy);
	else if (numbered)
		note_number(move, &policy);
	return PointerGetDatum(
		heap_modify_tuple(new, move->new.desc, move->new.values, move->new.nulls, move->new.replaced));
}
