/*
 * move.c: the one trigger that keeps a payout's state, its money, its history and its notification together.
 *
 * Before a payout is updated: its content may not change; an account check is written to the history; a change of state
 * is looked up in payout.allowed_move, its money moved (ledger.h), its history row written and its notification owed. So
 * whoever changes a state, by whatever statement, changes all of it, in one transaction.
 *
 * What each payout does (deduct, settle, refund) is done here; what seldom happens is left to SQL (payout.move_money).
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "caller.h"
#include "catalog/pg_type.h"
#include "commands/trigger.h"
#include "errors.h"
#include "executor/spi.h"
#include "fmgr.h"
#include "ledger.h"
#include "move.h"
#include "policy.h"
#include "row.h"
#include "utils/builtins.h"
#include "utils/datum.h"
#include "utils/rel.h"
#include "utils/timestamp.h"

PG_FUNCTION_INFO_V1(payout_move);
PG_FUNCTION_INFO_V1(payout_write_event);

#define COLUMNS_MAX 64

/* Where the columns of payout.payout stand; the order of the names is that of the enumeration. */
enum
{
	MERCHANT_ID,
	TXID,
	KIND,
	REFERENCE_NO,
	METHOD,
	AMOUNT,
	CURRENCY,
	CHANNEL_ID,
	BANK_CODE,
	ACCOUNT_NO,
	BENEFICIARY_NAME,
	REGISTERED_AT, /* content up to here */
	STATE,
	FEE,
	FINAL_AT,
	EVENTS,
	REASON,
	ACCOUNT_CHECK,
	ACCOUNT_NAME,
	CVS_CODE,
	CHECK_DUE_AT, /* work queues from here */
	DISPATCH_DUE_AT,
	STATUS_DUE_AT,
	EXPIRE_DUE_AT,
	COLUMN_COUNT
};

#define CONTENT_END (REGISTERED_AT + 1)
#define QUEUES CHECK_DUE_AT

static const char *const column_names[COLUMN_COUNT] = {
	"merchant_id",	"txid",		  "kind",		  "reference_no",	 "method",			 "amount",
	"currency",		"channel_id", "bank_code",	  "account_no",		 "beneficiary_name", "registered_at",
	"state",		"fee",		  "final_at",	  "events",			 "reason",			 "account_check",
	"account_name", "cvs_code",	  "check_due_at", "dispatch_due_at", "status_due_at",	 "expire_due_at"};

static int place[COLUMN_COUNT]; /* from 0 */
static Oid placed_relation = InvalidOid;

static bool done_by_set = false;

/* One version of the row. */
typedef struct Version
{
	Datum values[COLUMNS_MAX];
	bool nulls[COLUMNS_MAX];
} Version;

typedef struct Move
{
	TupleDesc desc;
	Version old;
	Version new;
	bool replaced[COLUMNS_MAX]; /* of the new version, by us */
} Move;

void
move_by_set(bool on)
{
	done_by_set = on;
}

static void
find_places(Relation rel)
{
	TupleDesc desc = RelationGetDescr(rel);

	if (placed_relation == RelationGetRelid(rel))
		return;
	if (desc->natts > COLUMNS_MAX)
		elog(ERROR, "payout.payout has too many columns");
	for (int i = 0; i < COLUMN_COUNT; i++)
	{
		int number = SPI_fnumber(desc, column_names[i]);

		if (number <= 0)
			elog(ERROR, "payout.payout has no column %s", column_names[i]);
		place[i] = number - 1;
	}
	placed_relation = RelationGetRelid(rel);
}

static bool
same(const Move *move, int column)
{
	int i = place[column];
	Form_pg_attribute attribute = TupleDescAttr(move->desc, i);

	if (move->old.nulls[i] || move->new.nulls[i])
		return move->old.nulls[i] == move->new.nulls[i];
	return datum_image_eq(move->old.values[i], move->new.values[i], attribute->attbyval, attribute->attlen);
}

/* A text column; NULL for null. */
static char *
text_in(const Version *version, int column)
{
	int i = place[column];

	return version->nulls[i] ? NULL : TextDatumGetCString(version->values[i]);
}

static void
set(Move *move, int column, Datum value, bool isnull)
{
	int i = place[column];

	move->new.values[i] = value;
	move->new.nulls[i] = isnull;
	move->replaced[i] = true;
}

static Datum
get(const Move *move, int column)
{
	return move->new.values[place[column]];
}

/* Texts may be NULL. */
static void
write_event(Datum merchant_id, Datum txid, int event_no, const char *event, const char *from_state,
			const char *to_state, const char *reason)
{
	Datum values[] = {merchant_id,
					  txid,
					  Int32GetDatum(event_no),
					  TimestampTzGetDatum(GetCurrentTimestamp()),
					  event ? CStringGetTextDatum(event) : (Datum) 0,
					  from_state ? CStringGetTextDatum(from_state) : (Datum) 0,
					  CStringGetTextDatum(to_state),
					  CStringGetTextDatum(caller_name()),
					  reason ? CStringGetTextDatum(reason) : (Datum) 0};
	bool nulls[] = {false, false, false,		 false, event == NULL, from_state == NULL,
					false, false, reason == NULL};

	row_insert("payout_event", lengthof(values), values, nulls);
}

/* write_event(merchant_id, txid, event_no, to_state, reason): a history row that tells of no event. Its number. */
Datum
payout_write_event(PG_FUNCTION_ARGS)
{
	char *state = text_to_cstring(PG_GETARG_TEXT_PP(3));
	char *reason = PG_ARGISNULL(4) ? NULL : text_to_cstring(PG_GETARG_TEXT_PP(4));

	write_event(PG_GETARG_DATUM(0), PG_GETARG_DATUM(1), PG_GETARG_INT32(2), NULL,
				PG_GETARG_INT32(2) == 1 ? NULL : state, state, reason);
	PG_RETURN_INT32(PG_GETARG_INT32(2));
}

/* The new version as it is by now. */
static Datum
as_row(const Move *move)
{
	return heap_copy_tuple_as_datum(heap_form_tuple(move->desc, unconstify(Move *, move)->new.values,
													unconstify(Move *, move)->new.nulls),
									move->desc);
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
	Oid types[] = {move->desc->tdtypeid, TEXTOID};
	Datum values[] = {as_row(move), CStringGetTextDatum(word)};

	SPI_connect();
	if (kept->plan != NULL && kept->row_type != types[0])
	{
		SPI_freeplan(kept->plan);
		kept->plan = NULL;
	}
	if (kept->plan == NULL)
	{
		SPIPlanPtr plan = SPI_prepare(sql, 2, types);

		if (plan == NULL || SPI_keepplan(plan) != 0)
			elog(ERROR, "could not prepare \"%s\"", sql);
		kept->plan = plan;
		kept->row_type = types[0];
	}
	if (SPI_execute_plan(kept->plan, values, NULL, false, 0) != SPI_OK_SELECT)
		elog(ERROR, "could not run \"%s\"", sql);
	SPI_finish();
}

/* Writes the history row and, where the merchant can be told, owes it the notification. */
static void
tell(Move *move, const Policy *policy, const char *event, const char *from_state, const char *to_state,
	 const char *reason)
{
	static RowPlan plan = {NULL, InvalidOid};
	int event_no = DatumGetInt32(get(move, EVENTS)) + 1;

	set(move, EVENTS, Int32GetDatum(event_no), false);
	write_event(get(move, MERCHANT_ID), get(move, TXID), event_no, event, from_state, to_state, reason);
	if (event != NULL && policy->is_told)
		call_sql(&plan, "select payout.owe_notification($1, $2)", move, event);
}

static char *
settlement_account(const Move *move)
{
	char *channel_id = text_in(&move->new, CHANNEL_ID);
	char *cvs_code = text_in(&move->new, CVS_CODE);

	return channel_id != NULL ? psprintf("settlement/%s", channel_id)
							  : psprintf("settlement/cvs:%s", cvs_code);
}

static void
move_money(Move *move, const char *money, const Policy *policy)
{
	static RowPlan plan = {NULL, InvalidOid};
	Datum merchant_id = get(move, MERCHANT_ID);
	Datum txid = get(move, TXID);
	Datum amount = get(move, AMOUNT);

	if (strcmp(money, "deduct") == 0)
	{
		Datum fee = policy_fee(policy, text_in(&move->new, METHOD), amount);

		ledger_deduct(merchant_id, txid, amount, fee, policy_daily_total(policy));
		set(move, FEE, fee, false);
	}
	else if (strcmp(money, "settle") == 0)
		ledger_settle(merchant_id, txid, amount, settlement_account(move));
	else if (strcmp(money, "refund") == 0)
		ledger_refund(merchant_id, txid, amount, get(move, FEE));
	else
		call_sql(&plan, "select payout.move_money($1, $2)", move, money);
}

/* Nothing is left to do of its own accord, nor for a person. */
static void
close_queues(Move *move)
{
	static RowPlan plan = {NULL, InvalidOid};
	Datum key[] = {get(move, MERCHANT_ID), get(move, TXID)};
	TupleDesc desc;

	for (int column = QUEUES; column < COLUMN_COUNT; column++)
		if (!move->new.nulls[place[column]])
			set(move, column, (Datum) 0, true);
	if (row_fetch("hold", "hold_pkey", 2, key, &desc) != NULL)
		call_sql(&plan, "select payout.release_holds($1, $2)", move, "");
}

static void
change_state(Move *move, const Policy *policy)
{
	char *from = text_in(&move->old, STATE);
	char *to = text_in(&move->new, STATE);
	Datum key[] = {get(move, KIND), CStringGetTextDatum(from), CStringGetTextDatum(to)};
	TupleDesc desc;
	HeapTuple allowed = row_fetch("allowed_move", "allowed_move_pkey", 3, key, &desc);
	char *money;
	char *event;
	bool isnull;
	bool final;

	if (allowed == NULL)
		ereport(ERROR, (errcode(PY_NOT_ALLOWED_IN_STATE),
						errmsg("a payout in state \"%s\" cannot become \"%s\"", from, to),
						errdetail("TXID %s.", text_in(&move->new, TXID)),
						errhint("The allowed moves stand in payout.allowed_move.")));
	money = SPI_getvalue(allowed, desc, SPI_fnumber(desc, "money"));
	event = SPI_getvalue(allowed, desc, SPI_fnumber(desc, "event"));
	final = DatumGetBool(SPI_getbinval(allowed, desc, SPI_fnumber(desc, "final"), &isnull));
	set(move, FINAL_AT, final ? TimestampTzGetDatum(GetCurrentTimestamp()) : (Datum) 0, !final);
	if (money != NULL)
		move_money(move, money, policy);
	if (final)
		close_queues(move);
	tell(move, policy, event, from, to, text_in(&move->new, REASON));
}

static void
note_account_check(Move *move, const Policy *policy)
{
	char *state = text_in(&move->old, STATE);
	char *check = text_in(&move->new, ACCOUNT_CHECK);
	char *name = text_in(&move->new, ACCOUNT_NAME);

	if (check == NULL || strcmp(check, "pending") == 0)
		return;
	tell(move, policy, "account.checked", state, state,
		 name != NULL ? psprintf("%s: %s", check, name) : check);
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
	bool moved;

	if (done_by_set)
		return PointerGetDatum(new);
	move = palloc0(sizeof(Move));
	find_places(trigger->tg_relation);
	move->desc = RelationGetDescr(trigger->tg_relation);
	heap_deform_tuple(trigger->tg_trigtuple, move->desc, move->old.values, move->old.nulls);
	heap_deform_tuple(new, move->desc, move->new.values, move->new.nulls);
	for (int column = 0; column < CONTENT_END; column++)
		if (!same(move, column))
			ereport(ERROR,
					(errcode(PY_NOT_ALLOWED_IN_STATE), errmsg("the content of a payout does not change"),
					 errhint("Reject it and register another one.")));
	checked = !same(move, ACCOUNT_CHECK);
	moved = !same(move, STATE);
	if (!checked && !moved)
		return PointerGetDatum(new);
	policy_read(get(move, MERCHANT_ID), &policy);
	if (checked)
		note_account_check(move, &policy);
	if (moved)
		change_state(move, &policy);
	return PointerGetDatum(
		heap_modify_tuple(new, move->desc, move->new.values, move->new.nulls, move->replaced));
}
