/*
 * entry.c: the door of every public function.
 *
 * All public functions but a few are this one C function. It finds out under which name it was called, looks up who
 * may call that name, identifies its caller, and calls the work function do_NAME with the same arguments as the
 * extension's owner. So the rights stand in one table, below, and no work function has to think of them. Where most calls
 * are plain ones, a function in C is asked first and leaves the others to do_NAME.
 * check_status, which ends transactions, has a door of its own and asks the same table.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "approve.h"
#include "batch.h"
#include "caller.h"
#include "catalog/namespace.h"
#include "catalog/pg_proc.h"
#include "catalog/pg_type.h"
#include "entry.h"
#include "errors.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "nodes/execnodes.h"
#include "nodes/value.h"
#include "parser/parse_func.h"
#include "payout_row.h"
#include "register.h"
#include "row.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/syscache.h"

PG_FUNCTION_INFO_V1(payout_entry);
PG_FUNCTION_INFO_V1(payout_may_call);

typedef struct EntryPoint
{
	const char *name;
	int kinds;
} EntryPoint;

static const EntryPoint entry_points[] = {
	{"register", ACCESS_MERCHANT},
	{"register_batch", ACCESS_MERCHANT},
	{"register_cashout", ACCESS_MERCHANT},
	{"approve", ACCESS_MERCHANT},
	{"approve_batch", ACCESS_MERCHANT},
	{"reissue_token", ACCESS_MERCHANT},
	{"reject", ACCESS_MERCHANT},
	{"cancel", ACCESS_MERCHANT},
	{"inquiry", ACCESS_MERCHANT | ACCESS_OPERATOR},
	{"inquiry_reference", ACCESS_MERCHANT | ACCESS_OPERATOR},
	{"balance", ACCESS_MERCHANT | ACCESS_OPERATOR},
	{"request_check", ACCESS_MERCHANT | ACCESS_OPERATOR},
	{"check_status", ACCESS_MERCHANT | ACCESS_OPERATOR},
	{"resend_notification", ACCESS_MERCHANT | ACCESS_OPERATOR},
	{"cashout_validate", ACCESS_CVS},
	{"cashout_confirm", ACCESS_CVS},
	{"cashout_reverse", ACCESS_CVS},
	{"create_merchant", ACCESS_OPERATOR},
	{"alter_merchant", ACCESS_OPERATOR},
	{"create_channel", ACCESS_OPERATOR},
	{"alter_channel", ACCESS_OPERATOR},
	{"pause_channel", ACCESS_OPERATOR},
	{"resume_channel", ACCESS_OPERATOR},
	{"create_bank", ACCESS_OPERATOR},
	{"alter_bank", ACCESS_OPERATOR},
	{"load_banks", ACCESS_OPERATOR},
	{"create_cvs", ACCESS_OPERATOR},
	{"alter_cvs", ACCESS_OPERATOR},
	{"unlock_terminal", ACCESS_OPERATOR},
	{"cvs_settlement", ACCESS_OPERATOR},
	{"import_cvs_settlement", ACCESS_OPERATOR},
	{"set_secret", ACCESS_OPERATOR},
	{"rotate_secret_key", ACCESS_OPERATOR},
	{"top_up", ACCESS_OPERATOR},
	{"withdraw", ACCESS_OPERATOR},
	{"resolve", ACCESS_OPERATOR},
	{"bank_notification", ACCESS_OPERATOR},
	{"grant_access", ACCESS_OPERATOR},
	{"revoke_access", ACCESS_OPERATOR},
	{"arm", ACCESS_OPERATOR},
	{"disarm", ACCESS_OPERATOR},
	{"verify", ACCESS_OPERATOR},
	{"verify_chain", ACCESS_OPERATOR},
	{"health", ACCESS_OPERATOR},
};

/* Does in C what is plain; answers false for the rest, and has done nothing then. */
typedef bool (*Shortcut)(FunctionCallInfo fcinfo, Datum *result);

static const struct
{
	const char *name;
	Shortcut at_once;
} shortcuts[] = {
	{"register", register_at_once},
	{"register_batch", register_batch_at_once},
	{"approve", approve_at_once},
	{"approve_batch", approve_batch_at_once},
};

/* What a call site of a public function remembers between calls. */
typedef struct EntryCache
{
	const EntryPoint *point;
	Shortcut at_once; /* NULL: there is none */
	bool answers_payout;
	FmgrInfo work;
} EntryCache;

static const EntryPoint *
find_entry_point(const char *name)
{
	for (int i = 0; i < (int) lengthof(entry_points); i++)
		if (strcmp(entry_points[i].name, name) == 0)
			return &entry_points[i];
	elog(ERROR, "function \"%s\" is not a public function of payout", name);
}

static Shortcut
find_shortcut(const char *name)
{
	for (int i = 0; i < (int) lengthof(shortcuts); i++)
		if (strcmp(shortcuts[i].name, name) == 0)
			return shortcuts[i].at_once;
	return NULL;
}

int
entry_kinds(const char *name)
{
	return find_entry_point(name)->kinds;
}

/* may_call(kind, function_name): whether roles of this kind are let through the door of a public function. */
Datum
payout_may_call(PG_FUNCTION_ARGS)
{
	int kind = access_kind(text_to_cstring(PG_GETARG_TEXT_PP(0)));

	PG_RETURN_BOOL((entry_kinds(NameStr(*PG_GETARG_NAME(1))) & kind) != 0);
}

/* Looks up do_NAME with the same argument types, in the same schema. */
static EntryCache *
make_cache(FunctionCallInfo fcinfo)
{
	MemoryContext context = fcinfo->flinfo->fn_mcxt;
	EntryCache *cache = MemoryContextAllocZero(context, sizeof(EntryCache));
	HeapTuple tuple = SearchSysCache1(PROCOID, ObjectIdGetDatum(fcinfo->flinfo->fn_oid));
	Form_pg_proc proc;
	char *work_name;
	Oid work;

	if (!HeapTupleIsValid(tuple))
		elog(ERROR, "cache lookup failed for function %u", fcinfo->flinfo->fn_oid);
	proc = (Form_pg_proc) GETSTRUCT(tuple);
	cache->point = find_entry_point(NameStr(proc->proname));
	cache->at_once = find_shortcut(NameStr(proc->proname));
	cache->answers_payout = !proc->proretset && proc->prorettype == get_rel_type_id(row_relation("payout"));
	work_name = psprintf("do_%s", NameStr(proc->proname));
	work = GetSysCacheOid3(PROCNAMEARGSNSP, Anum_pg_proc_oid, CStringGetDatum(work_name),
						   PointerGetDatum(&proc->proargtypes), ObjectIdGetDatum(proc->pronamespace));
	if (!OidIsValid(work))
		elog(ERROR, "work function \"%s\" is missing", work_name);
	ReleaseSysCache(tuple);
	fmgr_info_cxt(work, &cache->work, context);
	fcinfo->flinfo->fn_extra = cache;
	return cache;
}

/* What a public function answers of a payout's row. */
static Datum
answer_payout(Datum value)
{
	PayoutRow row;
	Datum answer;

	payout_row_read_value(&row, value);
	answer = payout_row_answer(&row);
	ReleaseTupleDesc(row.desc);
	return answer;
}

static Datum
call_work(FunctionCallInfo fcinfo, EntryCache *cache)
{
	LOCAL_FCINFO(work_fcinfo, FUNC_MAX_ARGS);
	ReturnSetInfo *result = (ReturnSetInfo *) fcinfo->resultinfo;
	Datum value;

	if (cache->at_once != NULL && cache->at_once(fcinfo, &value))
		return value;
	/* SQL functions would answer a set row by row, each time through this door; ask for all of it at once. */
	if (result != NULL && IsA(result, ReturnSetInfo))
		result->allowedModes |= SFRM_Materialize_Preferred;
	InitFunctionCallInfoData(*work_fcinfo, &cache->work, fcinfo->nargs, fcinfo->fncollation, fcinfo->context,
							 fcinfo->resultinfo);
	for (int i = 0; i < fcinfo->nargs; i++)
		work_fcinfo->args[i] = fcinfo->args[i];
	value = FunctionCallInvoke(work_fcinfo);
	fcinfo->isnull = work_fcinfo->isnull;
	return cache->answers_payout && !fcinfo->isnull ? answer_payout(value) : value;
}

/* Any public function; see the head of this file. PY013 when the caller may not call it with this first argument. */
Datum
payout_entry(PG_FUNCTION_ARGS)
{
	EntryCache *cache = fcinfo->flinfo->fn_extra != NULL ? fcinfo->flinfo->fn_extra : make_cache(fcinfo);
	CallerState saved;
	char *scope = NULL;
	volatile Datum value = (Datum) 0;

	if ((cache->point->kinds & (ACCESS_MERCHANT | ACCESS_CVS)) != 0 && !PG_ARGISNULL(0))
		scope = text_to_cstring(PG_GETARG_TEXT_PP(0));
	caller_enter(cache->point->kinds, scope, fcinfo->flinfo->fn_oid, &saved);
	PG_TRY();
	{
		value = call_work(fcinfo, fcinfo->flinfo->fn_extra);
	}
	PG_FINALLY();
	{
		caller_leave(&saved);
	}
	PG_END_TRY();
	return value;
}
