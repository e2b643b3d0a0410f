/*
 * fuzz_token.c
 *		Cashout tokens as cashiers type them. What is read is digits with a right check digit, and is read again as
 *		itself; with one digit changed it is none.
 */
#include "fuzz.h"
#include "token_form.h"

#include <string.h>

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char *typed = fuzz_rest(data, size);
	char token[TOKEN_DIGITS_MAX + 1];
	char again[TOKEN_DIGITS_MAX + 1];

	if (token_read(typed, size, token))
	{
		size_t count = strlen(token);

		REQUIRE(count >= TOKEN_DIGITS_MIN && count <= TOKEN_DIGITS_MAX && count <= size);
		REQUIRE(strspn(token, "0123456789") == count);
		REQUIRE(token_read(token, count, again) && strcmp(token, again) == 0);
		for (size_t i = 0; i < count; i++)
		{
			char digit = token[i];

			token[i] = (char) ('0' + (digit - '0' + 1) % 10);
			REQUIRE(!token_read(token, count, again));
			token[i] = digit;
		}
	}
	free(typed);
	return 0;
}
