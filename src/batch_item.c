/*
 * batch_item.c: reads the items of payout.register_batch. Whether an item is in order, do_register says in the end; here is
 * found what is in order beyond doubt.
 *
 * Numbers and booleans where a text belongs are that text, as for the operator ->>.
 */
#include "postgres.h"

#include "argument.h"
#include "batch_item.h"
#include "compat.h"
#include "utils/builtins.h"
#include "utils/numeric.h"

#define WHOLE_DIGITS_MAX 16

/* A value that is no array or object as a text; 0 for null and for what is none. */
static Datum
as_text(const JsonbValue *value)
{
	switch (value->type)
	{
		case jbvString:
			return PointerGetDatum(cstring_to_text_with_len(value->val.string.val, value->val.string.len));
		case jbvNumeric:
			return PointerGetDatum(cstring_to_text(
				DatumGetCString(DirectFunctionCall1(numeric_out, NumericGetDatum(value->val.numeric)))));
		case jbvBool:
			return PointerGetDatum(cstring_to_text(value->val.boolean ? "true" : "false"));
		default:
			return (Datum) 0;
	}
}

/* Digits up to a character that is none; their count. They are added to the number. */
static int
read_digits(const char **place, const char *end, int64 *number)
{
	int digits = 0;

	for (; *place < end && **place >= '0' && **place <= '9' && digits <= WHOLE_DIGITS_MAX; (*place)++)
	{
		*number = *number * 10 + (**place - '0');
		digits++;
	}
	return digits;
}

/* 1 to 16 digits, and behind a point one or two more, not all zero: in hundredths. False for any other form. */
static bool
read_amount(Datum value, Datum *amount)
{
	text *written = DatumGetTextPP(value);
	const char *place = VARDATA_ANY(written);
	const char *end = place + VARSIZE_ANY_EXHDR(written);
	int64 number = 0;
	int digits = read_digits(&place, end, &number);
	int decimals = 0;

	if (digits < 1 || digits > WHOLE_DIGITS_MAX)
		return false;
	if (place < end && *place++ == '.')
	{
		decimals = read_digits(&place, end, &number);
		if (decimals < 1 || decimals > 2)
			return false;
	}
	if (place < end || number == 0)
		return false;
	for (; decimals < 2; decimals++)
		number *= 10;
	*amount = NumericGetDatum(int64_div_fast_to_numeric(number, 2));
	return true;
}

/* The text of a key; counts the keys that there are. Nested values make the item special. */
static Datum
take_text(BatchItem *item, const char *key, int *keys)
{
	JsonbValue value;

	if (getKeyJsonValueFromContainer(item->value.val.binary.data, key, strlen(key), &value) == NULL)
		return (Datum) 0;
	(*keys)++;
	if (value.type == jbvBinary)
		item->is_plain = false;
	return as_text(&value);
}

static void
read_item(BatchItem *item)
{
	Registration *wanted = &item->wanted;
	Datum amount;
	Datum method;
	int keys = 0;

	item->is_plain = item->value.type == jbvBinary && JsonContainerIsObject(item->value.val.binary.data);
	if (!item->is_plain)
		return;
	wanted->reference_no = take_text(item, "reference_no", &keys);
	amount = take_text(item, "amount", &keys);
	wanted->bank_code = take_text(item, "bank_code", &keys);
	wanted->account_no = take_text(item, "account_no", &keys);
	wanted->beneficiary_name = take_text(item, "beneficiary_name", &keys);
	method = take_text(item, "method", &keys);
	wanted->beneficiary_phone = take_text(item, "beneficiary_phone", &keys);
	wanted->description = take_text(item, "description", &keys);
	item->is_plain = item->is_plain && keys == (int) JsonContainerSize(item->value.val.binary.data) &&
					 wanted->reference_no != (Datum) 0 && amount != (Datum) 0 &&
					 wanted->bank_code != (Datum) 0 && wanted->account_no != (Datum) 0 &&
					 wanted->beneficiary_name != (Datum) 0 &&
					 (method == (Datum) 0 || argument_is(method, "online")) &&
					 read_amount(amount, &wanted->amount) && register_is_in_order(wanted);
}

BatchItem *
batch_items_read(Datum merchant_id, Jsonb *array, int *count)
{
	JsonbIterator *iterator = JsonbIteratorInit(&array->root);
	BatchItem *items;
	JsonbValue value;

	*count = JB_ROOT_COUNT(array);
	items = palloc0((*count + 1) * sizeof(BatchItem));
	(void) JsonbIteratorNext(&iterator, &value, true);
	for (int i = 0; i < *count; i++)
	{
		BatchItem *item = &items[i];

		if (JsonbIteratorNext(&iterator, &item->value, true) != WJB_ELEM)
			elog(ERROR, "an array of items ends early");
		item->ordinal = i + 1;
		item->wanted.merchant_id = merchant_id;
		read_item(item);
	}
	return items;
}
