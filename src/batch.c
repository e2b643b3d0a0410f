/*
 * batch.c: the answer of register_batch and approve_batch: a row for each item, in order, of what was done for the set or
 * for the item by itself.
 */
#include "postgres.h"

#include "batch.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "nodes/execnodes.h"
#include "plan.h"
#include "utils/memutils.h"

void
batch_answer_begin(BatchAnswer *answer, FunctionCallInfo fcinfo)
{
	ReturnSetInfo *result = (ReturnSetInfo *) fcinfo->resultinfo;
	MemoryContext outer;

	if (result == NULL || !IsA(result, ReturnSetInfo) || (result->allowedModes & SFRM_Materialize) == 0)
		ereport(ERROR, (errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
						errmsg("a function that answers with a set is called where none can be taken")));
	outer = MemoryContextSwitchTo(result->econtext->ecxt_per_query_memory);
	if (get_call_result_type(fcinfo, NULL, &answer->desc) != TYPEFUNC_COMPOSITE)
		elog(ERROR, "the answer of a batch is not made of rows");
	answer->desc = CreateTupleDescCopy(answer->desc);
	answer->rows =
		tuplestore_begin_heap((result->allowedModes & SFRM_Materialize_Random) != 0, false, work_mem);
	MemoryContextSwitchTo(outer);
	result->returnMode = SFRM_Materialize;
	result->setResult = answer->rows;
	result->setDesc = answer->desc;
}

void
batch_answer(BatchAnswer *answer, const Datum *values, const bool *nulls)
{
	tuplestore_putvalues(answer->rows, answer->desc, unconstify(Datum *, values), unconstify(bool *, nulls));
}

void
batch_answer_singly(BatchAnswer *answer, SPIPlanPtr *plan, const char *sql, int count, Oid *types,
					Datum *values, const char *nulls)
{
	CHECK_FOR_INTERRUPTS();
	if (plan_run(plan, sql, count, types, values, nulls) != 1)
		elog(ERROR, "\"%s\" gave no single row", sql);
	tuplestore_puttuple(answer->rows, SPI_tuptable->vals[0]);
	SPI_freetuptable(SPI_tuptable);
}
