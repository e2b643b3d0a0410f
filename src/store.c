/*
 * store.c: a store's row, the rules in its options, and the terminals that it is known to have.
 *
 * A terminal is known once a confirmation has been taken of what was validated there, or when an operator has named it
 * (payout.unlock_terminal). Its tries are counted apart from those of names that anybody may invent; see token_tries.c.
 */
#include "postgres.h"

#include "caller.h"
#include "catalog/pg_collation.h"
#include "compat.h"
#include "errors.h"
#include "executor/spi.h"
#include "option.h"
#include "peek.h"
#include "row.h"
#include "row_cache.h"
#include "store.h"
#include "utils/builtins.h"
#include "utils/numeric.h"
#include "utils/timestamp.h"

PG_FUNCTION_INFO_V1(payout_is_within);

#define JAKARTA_US (7 * USECS_PER_HOUR)
#define HOURS_LEN 11 /* 07:00-22:00 */

void
store_read(NullableDatum code, Store *store)
{
	TupleDesc desc;
	HeapTuple row = code.isnull ? NULL : row_cached("cvs", "cvs_pkey", 1, &code.value, &desc);
	bool isnull;

	if (row == NULL)
		ereport(ERROR, (errcode(PY_BAD_INPUT), errmsg("argument \"cvs_code\" names no store"),
						errhint("Create it with payout.create_cvs.")));
	store->code = code.value;
	store->name = TextDatumGetCString(code.value);
	store->options = DatumGetJsonbP(SPI_getbinval(row, desc, SPI_fnumber(desc, "options"), &isnull));
	store->is_active = DatumGetBool(SPI_getbinval(row, desc, SPI_fnumber(desc, "active"), &isnull));
}

void
store_require_active(const Store *store)
{
	if (!store->is_active)
		ereport(ERROR, (errcode(PY_NOT_PERMITTED), errmsg("store \"%s\" is suspended", store->name),
						errhint("payout.alter_cvs activates it.")));
}

/* A whole number among the options; false where it is not there. */
static bool
own_number(const Store *store, const char *name, int64 *number)
{
	JsonbValue value;

	if (getKeyJsonValueFromContainer(&store->options->root, name, strlen(name), &value) == NULL)
		return false;
	if (value.type != jbvNumeric)
		elog(ERROR, "option \"%s\" of a store is no number", name);
	*number = DatumGetInt64(DirectFunctionCall1(numeric_int8, NumericGetDatum(value.val.numeric)));
	return true;
}

/* The same, of an option that has a default. */
static int64
number_of(const Store *store, const char *name)
{
	JsonbValue value;
	int64 number;

	if (own_number(store, name, &number))
		return number;
	if (!JsonbExtractScalar(&option_default("cvs", name)->root, &value) || value.type != jbvNumeric)
		elog(ERROR, "the default of option \"%s\" is no number", name);
	return DatumGetInt64(DirectFunctionCall1(numeric_int8, NumericGetDatum(value.val.numeric)));
}

int
store_tries(const Store *store)
{
	return (int) number_of(store, "token_tries");
}

static Datum
hours_of(const Store *store)
{
	JsonbValue value;

	if (!JsonbExtractScalar(&option_default("cvs", "opening_hours")->root, &value) || value.type != jbvString)
		elog(ERROR, "the default of option \"opening_hours\" is no text");
	return option_text(store->options, "opening_hours",
					   PointerGetDatum(cstring_to_text_with_len(value.val.string.val, value.val.string.len)));
}

/* Microseconds from midnight to a time as in 22:00. */
static int64
time_of(const char *digits)
{
	int minutes =
		(digits[0] - '0') * 600 + (digits[1] - '0') * 60 + (digits[3] - '0') * 10 + (digits[4] - '0');

	return minutes * USECS_PER_MINUTE;
}

static bool
is_within(Datum hours, TimestampTz at)
{
	text *span = DatumGetTextPP(hours);
	const char *digits = VARDATA_ANY(span);
	int64 now = (at % USECS_PER_DAY + USECS_PER_DAY + JAKARTA_US) % USECS_PER_DAY;
	int64 opens;
	int64 closes;

	if (VARSIZE_ANY_EXHDR(span) != HOURS_LEN)
		elog(ERROR, "the hours of a store are none");
	opens = time_of(digits);
	closes = time_of(digits + 6);
	return opens < closes ? now >= opens && now < closes : now >= opens || now < closes;
}

/* is_within(hours, at): see cvs.sql. */
Datum
payout_is_within(PG_FUNCTION_ARGS)
{
	PG_RETURN_BOOL(is_within(PG_GETARG_DATUM(0), PG_GETARG_TIMESTAMPTZ(1)));
}

static void
refuse_amount(const char *option, int64 bound)
{
	ereport(ERROR, (errcode(PY_AMOUNT_OUT_OF_BOUNDS), errmsg("the store does not pay this amount"),
					errdetail("Its option %s is %lld.", option, (long long) bound),
					errhint("Another store may pay it.")));
}

void
store_require_pays(const Store *store, Datum amount, TimestampTz at)
{
	Datum hours = hours_of(store);
	int64 rupiah = DatumGetInt64(DirectFunctionCall1(numeric_int8, amount));
	int64 bound = number_of(store, "amount_multiple");

	if (!is_within(hours, at))
		ereport(ERROR, (errcode(PY_BAD_INPUT), errmsg("the store does not pay at this hour"),
						errdetail("Its option opening_hours is %s, Jakarta time.",
								  text_to_cstring(DatumGetTextPP(hours))),
						errhint("The token stays valid, at other stores at once.")));
	if (rupiah % bound != 0)
		refuse_amount("amount_multiple", bound);
	if (own_number(store, "amount_min", &bound) && rupiah < bound)
		refuse_amount("amount_min", bound);
	if (own_number(store, "amount_max", &bound) && rupiah > bound)
		refuse_amount("amount_max", bound);
}

static bool
is_noted(const Store *store, Datum terminal, const char *role)
{
	ScanKeyData keys[3];
	PeekRow row;

	peek_text_key(&keys[0], 1, store->code);
	peek_text_key(&keys[1], 2, terminal);
	peek_text_key(&keys[2], 3, CStringGetTextDatum(role));
	peek_row("known_terminal", "known_terminal_pkey", 3, keys, &row);
	return row.tuple != NULL;
}

bool
store_knows_terminal(const Store *store, Datum terminal)
{
	bool of_caller = is_noted(store, terminal, caller_name());
	bool of_all = is_noted(store, terminal, "");

	return of_caller || of_all;
}

void
store_know_terminal(const Store *store, Datum terminal)
{
	char *role = caller_name();
	Datum values[] = {store->code, terminal, CStringGetTextDatum(role),
					  TimestampTzGetDatum(GetCurrentTimestamp())};
	bool nulls[lengthof(values)] = {false};

	if (!is_noted(store, terminal, role))
		(void) row_insert_new("known_terminal", lengthof(values), values, nulls);
}
