/*
 * policy.c: a merchant's options as the steps in C need them. Their types and ranges are checked when they are set
 * (payout.check_options), amounts being JSON numbers or strings.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "errors.h"
#include "escrow.h"
#include "executor/spi.h"
#include "fmgr.h"
#include "funcapi.h"
#include "ledger.h"
#include "policy.h"
#include "row_cache.h"
#include "utils/builtins.h"
#include "utils/numeric.h"

PG_FUNCTION_INFO_V1(payout_fee_of);

void
policy_read(Datum merchant_id, Policy *policy)
{
	TupleDesc desc;
	HeapTuple row = row_cached("merchant", "merchant_pkey", 1, &merchant_id, &desc);
	Datum options;
	bool isnull;

	policy->options = NULL;
	policy->is_active = false;
	policy->is_told = false;
	if (row == NULL)
		return;
	(void) SPI_getbinval(row, desc, SPI_fnumber(desc, "notify_url"), &isnull);
	policy->is_told = !isnull;
	policy->is_active = DatumGetBool(SPI_getbinval(row, desc, SPI_fnumber(desc, "active"), &isnull));
	options = SPI_getbinval(row, desc, SPI_fnumber(desc, "options"), &isnull);
	policy->options = DatumGetJsonbP(options);
}

/* The number at a path of keys that NULL ends; false when there is none. */
static bool
number_at(Jsonb *options, const char *const *path, Datum *number)
{
	JsonbContainer *container = options != NULL ? &options->root : NULL;
	JsonbValue value;

	if (container == NULL)
		return false;
	for (;; path++)
	{
		if (!JsonContainerIsObject(container) ||
			getKeyJsonValueFromContainer(container, *path, strlen(*path), &value) == NULL)
			return false;
		if (path[1] == NULL)
			break;
		if (value.type != jbvBinary)
			return false;
		container = value.val.binary.data;
	}
	if (value.type == jbvNumeric)
		*number = NumericGetDatum(value.val.numeric);
	else if (value.type == jbvString)
		*number = DirectFunctionCall3(numeric_in,
									  CStringGetDatum(pnstrdup(value.val.string.val, value.val.string.len)),
									  ObjectIdGetDatum(InvalidOid), Int32GetDatum(-1));
	else
		return false;
	return true;
}

Datum
policy_fee_of(const Policy *policy, const char *method, Datum amount)
{
	const char *flat_path[] = {"fee", method, "flat", NULL};
	const char *bps_path[] = {"fee", method, "bps", NULL};
	Datum fee = NumericGetDatum(int64_to_numeric(0));
	Datum number;

	if (number_at(policy->options, flat_path, &number))
		fee = number;
	if (number_at(policy->options, bps_path, &number))
	{
		number = DirectFunctionCall2(numeric_mul, amount, number);
		number = DirectFunctionCall2(numeric_div, number, NumericGetDatum(int64_to_numeric(10000)));
		fee = DirectFunctionCall2(numeric_add, fee, number);
	}
	return DirectFunctionCall2(numeric_round, fee, Int32GetDatum(2));
}

Datum
policy_fee(const Policy *policy, const char *method, Datum amount)
{
	Datum fee = policy_fee_of(policy, method, amount);

	if (ledger_to_cents(fee) > LEDGER_MAX)
		ereport(ERROR,
				(errcode(PY_AMOUNT_OUT_OF_BOUNDS), errmsg("the fee of this amount would be too large"),
				 errhint("It is below 10000000000000000; the fee stands in the merchant's option fee.")));
	return fee;
}

bool
policy_allows(const Policy *policy, const char *method, Datum amount)
{
	const char *min_path[] = {"limits", method, "min", NULL};
	const char *max_path[] = {"limits", method, "max", NULL};
	Datum bound;

	return (!number_at(policy->options, min_path, &bound) ||
			DatumGetBool(DirectFunctionCall2(numeric_ge, amount, bound))) &&
		   (!number_at(policy->options, max_path, &bound) ||
			DatumGetBool(DirectFunctionCall2(numeric_le, amount, bound)));
}

Datum *
policy_daily_total(const Policy *policy)
{
	static const char *const path[] = {"limits", "daily_total", NULL};
	Datum *number = palloc(sizeof(Datum));

	return number_at(policy->options, path, number) ? number : NULL;
}

bool
policy_is_controlled(const Policy *policy)
{
	static const char *const keys[] = {"approver_differs", "second_approval_above", "approver_daily_max"};
	JsonbValue value;

	if (policy->options == NULL || JB_ROOT_COUNT(policy->options) == 0)
		return false;
	for (int i = 0; i < (int) lengthof(keys); i++)
		if (getKeyJsonValueFromContainer(&policy->options->root, keys[i], strlen(keys[i]), &value) != NULL &&
			(value.type != jbvBool || value.val.boolean))
			return true;
	return false;
}

/* fee_of(options, method, amount): see payout.sql. */
Datum
payout_fee_of(PG_FUNCTION_ARGS)
{
	Policy policy = {.options = PG_GETARG_JSONB_P(0)};

	PG_RETURN_DATUM(policy_fee(&policy, text_to_cstring(PG_GETARG_TEXT_PP(1)), PG_GETARG_DATUM(2)));
}
