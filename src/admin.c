/*
 * admin.c: the trigger that records what operators change (admin.sql).
 *
 * It names two roles: the one that answers for the change, which called a public function or changed the table by a statement of
 * its own, and the one that had logged in, perhaps a pooler. The event is written as the extension's owner: whoever was given the
 * right to change a table needs none on payout.admin_event.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "caller.h"
#include "catalog/pg_type.h"
#include "commands/trigger.h"
#include "executor/spi.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "postmaster/bgworker.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/rel.h"

PG_FUNCTION_INFO_V1(payout_record_change);

/* What payout.note_change is called with: the first four, then the versions of the row. */
typedef struct Change
{
	int count;
	Oid types[6];
	Datum values[6];
	char nulls[6];
} Change;

static void
add_value(Change *change, Oid type, Datum value, bool isnull)
{
	change->types[change->count] = type;
	change->values[change->count] = value;
	change->nulls[change->count++] = isnull ? 'n' : ' ';
}

/* The columns that the trigger was given. */
static Datum
key_columns(const Trigger *trigger)
{
	Datum *names = palloc((trigger->tgnargs + 1) * sizeof(Datum));

	for (int i = 0; i < trigger->tgnargs; i++)
		names[i] = CStringGetTextDatum(trigger->tgargs[i]);
	return PointerGetDatum(construct_array(names, trigger->tgnargs, TEXTOID, -1, false, TYPALIGN_INT));
}

/* Whether our worker acts here, for which nobody has logged in. */
static bool
is_worker(void)
{
	return MyBgworkerEntry != NULL && strcmp(MyBgworkerEntry->bgw_library_name, "payout") == 0;
}

static Datum
as_row(Relation rel, HeapTuple tuple)
{
	return tuple != NULL ? heap_copy_tuple_as_datum(tuple, RelationGetDescr(rel)) : (Datum) 0;
}

/* Has payout.note_change called, once, or for each row of a table that is to be emptied. */
static void
note_change(const TriggerData *trigger, Change *change)
{
	static const char *const call = "select payout.note_change($1, $2, $3, $4, %s, %s)%s";
	Relation rel = trigger->tg_relation;
	HeapTuple old = TRIGGER_FIRED_BY_INSERT(trigger->tg_event) ? NULL : trigger->tg_trigtuple;
	HeapTuple new = NULL;
	char *sql;

	if (TRIGGER_FIRED_BY_INSERT(trigger->tg_event))
		new = trigger->tg_trigtuple;
	else if (TRIGGER_FIRED_BY_UPDATE(trigger->tg_event))
		new = trigger->tg_newtuple;

	if (TRIGGER_FIRED_BY_TRUNCATE(trigger->tg_event))
		sql = psprintf(call, "payout.admin_values(t)", "null",
					   psprintf(" from only payout.%s t", quote_identifier(RelationGetRelationName(rel))));
	else
	{
		sql = psprintf(call, old != NULL ? "payout.admin_values($5)" : "null",
					   new != NULL ? "payout.admin_values($6)" : "null", "");
		add_value(change, rel->rd_att->tdtypeid, as_row(rel, old), old == NULL);
		add_value(change, rel->rd_att->tdtypeid, as_row(rel, new), new == NULL);
	}
	SPI_connect();
	if (SPI_execute_with_args(sql, change->count, change->types, change->values, change->nulls, false, 0) !=
		SPI_OK_SELECT)
		elog(ERROR, "could not record a change of payout.%s", RelationGetRelationName(rel));
	SPI_finish();
}

/*
 * Trigger after each row that is inserted, updated or deleted, and before a table is truncated. Rows that a restore brings,
 * which is recognised as in hand.c, come with their events.
 */
Datum
payout_record_change(PG_FUNCTION_ARGS)
{
	TriggerData *trigger = (TriggerData *) fcinfo->context;
	Change change = {0};
	Oid user;
	int security;

	if (TRIGGER_FIRED_BY_INSERT(trigger->tg_event) && !check_function_bodies)
		return PointerGetDatum(NULL);
	add_value(&change, TEXTOID, CStringGetTextDatum(RelationGetRelationName(trigger->tg_relation)), false);
	add_value(&change, TEXTARRAYOID, key_columns(trigger->tg_trigger), false);
	add_value(&change, TEXTOID, CStringGetTextDatum(caller_name()), false);
	if (is_worker())
		add_value(&change, TEXTOID, (Datum) 0, true);
	else
		add_value(&change, TEXTOID, CStringGetTextDatum(GetUserNameFromId(GetSessionUserId(), false)), false);
	GetUserIdAndSecContext(&user, &security);
	SetUserIdAndSecContext(caller_owner_of(fcinfo->flinfo->fn_oid), security | SECURITY_LOCAL_USERID_CHANGE);
	PG_TRY();
	{
		note_change(trigger, &change);
	}
	PG_FINALLY();
	{
		SetUserIdAndSecContext(user, security);
	}
	PG_END_TRY();
	return PointerGetDatum(NULL);
}
