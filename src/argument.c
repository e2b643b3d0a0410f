/*
 * argument.c: checks of arguments that SQL callers give, with an error that names the argument.
 *
 * The functions are called by the work functions of every step, so that one place knows which characters a name, an
 * id or a phone number may have. None of them touches a table.
 */
#include "postgres.h"

#include "argument.h"
#include "compat.h"
#include "errors.h"
#include "fmgr.h"
#include "mb/pg_wchar.h"
#include "utf8.h"
#include "utils/builtins.h"
#include "utils/numeric.h"
#include "visible.h"

PG_FUNCTION_INFO_V1(payout_require_text);
PG_FUNCTION_INFO_V1(payout_is_text);
PG_FUNCTION_INFO_V1(payout_require_amount);

#define AMOUNT_LIMIT INT64CONST(10000000000000000)

typedef struct CharacterSet
{
	const char *name;
	bool (*allows)(unsigned char byte); /* NULL: visible.c decides */
	const char *words;
} CharacterSet;

static bool
is_id(unsigned char byte)
{
	return (byte >= '0' && byte <= '9') || (byte >= 'A' && byte <= 'Z') || (byte >= 'a' && byte <= 'z');
}

static bool
is_digit(unsigned char byte)
{
	return byte >= '0' && byte <= '9';
}

static bool
is_visible(unsigned char byte)
{
	return byte > ' ' && byte < 0x7f;
}

static bool
is_phone(unsigned char byte)
{
	return is_digit(byte) || strchr("+-() .", byte) != NULL;
}

static const CharacterSet character_sets[] = {
	{"id", is_id, "letters and digits"},
	{"digits", is_digit, "digits"},
	{"visible", is_visible, "visible ASCII characters without blanks"},
	{"phone", is_phone, "digits and + - ( ) . and blanks"},
	{"text", NULL, "any characters but control characters, some of them to be seen"},
};

static const CharacterSet *
find_character_set(const char *name)
{
	for (int i = 0; i < (int) lengthof(character_sets); i++)
		if (strcmp(character_sets[i].name, name) == 0)
			return &character_sets[i];
	elog(ERROR, "unknown character set \"%s\"", name);
}

static int
parse_sqlstate(const char *code)
{
	return MAKE_SQLSTATE(code[0], code[1], code[2], code[3], code[4]);
}

typedef enum Fault
{
	NO_FAULT,
	FAULT_LENGTH,
	FAULT_CHARACTER,
	FAULT_BLANK,
	FAULT_ENCODING /* it is sent to banks and merchants, who read UTF-8 */
} Fault;

/* What is wrong with a value; its length in characters, and the bytes before the character that is not allowed. */
static Fault
find_fault(const CharacterSet *set, text *value, int length_min, int length_max, int *length, int *place)
{
	const char *bytes = VARDATA_ANY(value);
	int size = VARSIZE_ANY_EXHDR(value);
	bool shows = false;

	*place = -1;
	*length = pg_mbstrlen_with_len(bytes, size);
	if (*length < length_min || *length > length_max)
		return FAULT_LENGTH;
	if (set->allows == NULL)
	{
		bytes = utf8_of(bytes, size, &size);
		if (bytes == NULL)
			return FAULT_ENCODING;
		*place = visible_find_control(bytes, size, &shows);
	}
	for (int i = 0; set->allows != NULL && *place < 0 && i < size; i++)
	{
		if (!set->allows((unsigned char) bytes[i]))
			*place = i;
		shows = shows || bytes[i] != ' ';
	}
	if (*place >= 0)
		return FAULT_CHARACTER;
	return shows ? NO_FAULT : FAULT_BLANK;
}

void
argument_require_text(const char *argument, NullableDatum given, int length_min, int length_max,
					  const char *characters, int sqlstate)
{
	const CharacterSet *set = find_character_set(characters);
	int length;
	int place;

	if (given.isnull)
		ereport(ERROR, (errcode(sqlstate), errmsg("argument \"%s\" is null", argument),
						errhint("It must be %d to %d of %s.", length_min, length_max, set->words)));
	switch (find_fault(set, DatumGetTextPP(given.value), length_min, length_max, &length, &place))
	{
		case NO_FAULT:
			break;
		case FAULT_LENGTH:
			ereport(ERROR, (errcode(sqlstate), errmsg("argument \"%s\" has %d characters", argument, length),
							errhint("It must be %d to %d of %s.", length_min, length_max, set->words)));
		case FAULT_CHARACTER:
			ereport(ERROR, (errcode(sqlstate),
							errmsg("argument \"%s\" has a character that is not allowed", argument),
							errdetail("It stands behind %d bytes or more.", place),
							errhint("Allowed are %s.", set->words)));
		case FAULT_BLANK:
			ereport(ERROR, (errcode(sqlstate), errmsg("argument \"%s\" is blank", argument),
							errhint("It must be %d to %d of %s.", length_min, length_max, set->words)));
		case FAULT_ENCODING:
			ereport(ERROR, (errcode(sqlstate),
							errmsg("argument \"%s\" has a character that is none in UTF-8", argument),
							errhint("It is sent in UTF-8. Set client_encoding to what the text is in.")));
	}
}

/*
 * require_text(argument, value, length_min, length_max, characters, sqlstate): the value, when it is neither null nor
 * out of bounds (characters, not bytes) nor blank as a whole; raises sqlstate otherwise.
 */
Datum
payout_require_text(PG_FUNCTION_ARGS)
{
	argument_require_text(text_to_cstring(PG_GETARG_TEXT_PP(0)), fcinfo->args[1], PG_GETARG_INT32(2),
						  PG_GETARG_INT32(3), text_to_cstring(PG_GETARG_TEXT_PP(4)),
						  parse_sqlstate(text_to_cstring(PG_GETARG_TEXT_PP(5))));
	PG_RETURN_DATUM(PG_GETARG_DATUM(1));
}

bool
argument_is_text(Datum value, int length_min, int length_max, const char *characters)
{
	int length;
	int place;

	return find_fault(find_character_set(characters), DatumGetTextPP(value), length_min, length_max, &length,
					  &place) == NO_FAULT;
}

/* is_text(value, length_min, length_max, characters): whether require_text would let it pass. */
Datum
payout_is_text(PG_FUNCTION_ARGS)
{
	PG_RETURN_BOOL(argument_is_text(PG_GETARG_DATUM(0), PG_GETARG_INT32(1), PG_GETARG_INT32(2),
									text_to_cstring(PG_GETARG_TEXT_PP(3))));
}

bool
argument_is(Datum value, const char *word)
{
	text *given = DatumGetTextPP(value);

	return VARSIZE_ANY_EXHDR(given) == strlen(word) && memcmp(VARDATA_ANY(given), word, strlen(word)) == 0;
}

int
argument_compare(Datum a, Datum b)
{
	text *left = DatumGetTextPP(a);
	text *right = DatumGetTextPP(b);
	int order =
		memcmp(VARDATA_ANY(left), VARDATA_ANY(right), Min(VARSIZE_ANY_EXHDR(left), VARSIZE_ANY_EXHDR(right)));

	return order != 0 ? order : (int) VARSIZE_ANY_EXHDR(left) - (int) VARSIZE_ANY_EXHDR(right);
}

/* What speaks against an amount, or NULL; its form with two decimals. */
static const char *
check_amount(Datum value, Datum *rounded)
{
	Numeric amount = DatumGetNumeric(value);

	if (numeric_is_nan(amount) || numeric_is_inf(amount))
		return "is not a number";
	if (!DatumGetBool(DirectFunctionCall2(numeric_gt, value, NumericGetDatum(int64_to_numeric(0)))))
		return "is not positive";
	if (!DatumGetBool(
			DirectFunctionCall2(numeric_lt, value, NumericGetDatum(int64_to_numeric(AMOUNT_LIMIT)))))
		return "is too large";
	*rounded = DirectFunctionCall2(numeric_round, value, Int32GetDatum(2));
	if (!DatumGetBool(DirectFunctionCall2(numeric_eq, value, *rounded)))
		return "has more than two decimals";
	return NULL;
}

bool
argument_is_amount(Datum value, Datum *rounded)
{
	return check_amount(value, rounded) == NULL;
}

/* require_amount(argument, value): the value with two decimals, when it is an amount; raises PY007 otherwise. */
Datum
payout_require_amount(PG_FUNCTION_ARGS)
{
	Datum rounded = (Datum) 0;
	const char *wrong = PG_ARGISNULL(1) ? "is null" : check_amount(PG_GETARG_DATUM(1), &rounded);

	if (wrong != NULL)
		ereport(ERROR,
				(errcode(PY_AMOUNT_OUT_OF_BOUNDS),
				 errmsg("argument \"%s\" %s", text_to_cstring(PG_GETARG_TEXT_PP(0)), wrong),
				 errhint("An amount is positive, below 10000000000000000 and has at most two decimals.")));
	PG_RETURN_DATUM(rounded);
}
