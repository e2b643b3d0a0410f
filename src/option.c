/*
 * option.c: options, most of them of a channel. Their names, types, ranges and defaults stand in payout.option_definition and are
 * checked when an option is set (payout.check_options).
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "datatype/timestamp.h"
#include "executor/spi.h"
#include "fmgr.h"
#include "option.h"
#include "row_cache.h"
#include "utils/builtins.h"
#include "utils/numeric.h"

PG_FUNCTION_INFO_V1(payout_option_interval);

static int64
integer_of(const JsonbValue *value)
{
	if (value->type != jbvNumeric)
		elog(ERROR, "an option that is a number is none");
	return DatumGetInt64(DirectFunctionCall1(numeric_int8, NumericGetDatum(value->val.numeric)));
}

Jsonb *
option_default(const char *scope, const char *name)
{
	Datum key[] = {CStringGetTextDatum(scope), CStringGetTextDatum(name)};
	TupleDesc desc;
	HeapTuple row = row_cached("option_definition", "option_definition_pkey", 2, key, &desc);
	Datum value = (Datum) 0;
	bool isnull = true;

	if (row != NULL)
		value = SPI_getbinval(row, desc, SPI_fnumber(desc, "default_value"), &isnull);
	if (isnull)
		elog(ERROR, "option \"%s\" of a %s has no default", name, scope);
	return DatumGetJsonbP(value);
}

int64
option_integer(Jsonb *options, const char *name)
{
	JsonbValue value;

	if (JB_ROOT_IS_OBJECT(options) &&
		getKeyJsonValueFromContainer(&options->root, name, strlen(name), &value) != NULL)
		return integer_of(&value);
	if (!JsonbExtractScalar(&option_default("channel", name)->root, &value))
		elog(ERROR, "the default of option \"%s\" is no number", name);
	return integer_of(&value);
}

Datum
option_text(Jsonb *options, const char *name, Datum otherwise)
{
	JsonbValue value;

	if (!JB_ROOT_IS_OBJECT(options) ||
		getKeyJsonValueFromContainer(&options->root, name, strlen(name), &value) == NULL)
		return otherwise;
	if (value.type != jbvString)
		elog(ERROR, "option \"%s\" is no text", name);
	return PointerGetDatum(cstring_to_text_with_len(value.val.string.val, value.val.string.len));
}

static bool
ends_in(const char *name, const char *ending)
{
	size_t length = strlen(name);

	return length >= strlen(ending) && strcmp(name + length - strlen(ending), ending) == 0;
}

/* option_interval(options, option): an option of a channel that ends in _ms, _s or _days. */
Datum
payout_option_interval(PG_FUNCTION_ARGS)
{
	char *name = text_to_cstring(PG_GETARG_TEXT_PP(1));
	int64 number = option_integer(PG_GETARG_JSONB_P(0), name);
	Interval *interval = palloc0(sizeof(Interval));

	/* never of days: theirs depend on the session's time zone */
	if (ends_in(name, "_days"))
		interval->time = number * USECS_PER_DAY;
	else
		interval->time = number * (ends_in(name, "_ms") ? 1000 : USECS_PER_SEC);
	PG_RETURN_POINTER(interval);
}
