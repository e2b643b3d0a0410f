/*
 * owe.c: notifications are owed in the transaction of the change that they tell of.
 */
#include "postgres.h"

#include "clock.h"
#include "option.h"
#include "owe.h"
#include "row.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"

static bool
has_word(JsonbContainer *words, const char *word)
{
	JsonbValue wanted = {.type = jbvString,
						 .val.string = {.val = unconstify(char *, word), .len = (int) strlen(word)}};

	return findJsonbValueFromContainer(words, JB_FARRAY, &wanted) != NULL;
}

static bool
is_wanted(const Policy *policy, const char *event)
{
	static const char *const name = "notify_events";
	JsonbValue chosen;

	if (!policy->is_told)
		return false;
	if (getKeyJsonValueFromContainer(&policy->options->root, name, (int) strlen(name), &chosen) != NULL &&
		chosen.type == jbvBinary)
		return has_word(chosen.val.binary.data, event);
	return has_word(&option_default("merchant", name)->root, event);
}

void
owe_notification(const PayoutRow *row, const Policy *policy, const char *event, RowSet *set)
{
	/* The columns of payout.notification in their order; PAYOUT_COLUMN_COUNT: none of the payout's. */
	static const PayoutColumn columns[OWE_COLUMNS] = {MERCHANT_ID,
													  TXID,
													  EVENTS,
													  PAYOUT_COLUMN_COUNT, /* created_at */
													  PAYOUT_COLUMN_COUNT, /* due_at */
													  PAYOUT_COLUMN_COUNT, /* delivered_at */
													  PAYOUT_COLUMN_COUNT, /* given_up_at */
													  PAYOUT_COLUMN_COUNT, /* tries */
													  PAYOUT_COLUMN_COUNT, /* http_status */
													  PAYOUT_COLUMN_COUNT, /* sending_by */
													  PAYOUT_COLUMN_COUNT, /* event */
													  STATE,
													  FEE,
													  ACCOUNT_CHECK,
													  BANK_REFERENCE_NO,
													  CVS_CODE,
													  CVS_REFERENCE,
													  RESPONSE_CODE,
													  REASON,
													  PAYOUT_COLUMN_COUNT /* error */};
	enum
	{
		CREATED_AT = 3,
		DUE_AT = 4,
		TRIES = 7,
		EVENT = 10
	};
	Datum values[lengthof(columns)] = {0};
	bool nulls[lengthof(columns)];

	if (!is_wanted(policy, event))
		return;
	for (int i = 0; i < (int) lengthof(columns); i++)
	{
		nulls[i] = columns[i] == PAYOUT_COLUMN_COUNT || payout_row_is_null(row, columns[i]);
		if (!nulls[i])
			values[i] = payout_row_get(row, columns[i]);
	}
	values[CREATED_AT] = TimestampTzGetDatum(GetCurrentTimestamp());
	values[DUE_AT] = TimestampTzGetDatum(payout_now());
	values[TRIES] = Int32GetDatum(0);
	values[EVENT] = CStringGetTextDatum(event);
	nulls[CREATED_AT] = nulls[DUE_AT] = nulls[TRIES] = nulls[EVENT] = false;
	if (set != NULL)
		row_set_add(set, values, nulls);
	else
		row_insert("notification", OWE_COLUMNS, values, nulls);
}
