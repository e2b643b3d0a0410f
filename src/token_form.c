/*
 * token_form.c: how a cashout token is written; see token_form.h.
 *
 * The check digit catches every single wrong digit and nearly every swap of neighbours before anything is looked up.
 */
#include "token_form.h"

char
token_check_digit(const char *digits, size_t count)
{
	int sum = 0;

	for (size_t i = 0; i < count; i++)
	{
		int digit = digits[count - 1 - i] - '0';

		/* every second digit, beginning beside the check digit, counts twice, by the sum of its digits */
		if (i % 2 == 0)
			digit = digit * 2 > 9 ? digit * 2 - 9 : digit * 2;
		sum += digit;
	}
	return (char) ('0' + (10 - sum % 10) % 10);
}

bool
token_read(const char *typed, size_t size, char out[TOKEN_DIGITS_MAX + 1])
{
	size_t count = 0;

	for (size_t i = 0; i < size; i++)
	{
		if (typed[i] == ' ' || typed[i] == '-' || typed[i] == '\r' || typed[i] == '\n')
			continue;
		if (typed[i] < '0' || typed[i] > '9' || count == TOKEN_DIGITS_MAX)
			return false;
		out[count++] = typed[i];
	}
	out[count] = '\0';
	return count >= TOKEN_DIGITS_MIN && token_check_digit(out, count - 1) == out[count - 1];
}
