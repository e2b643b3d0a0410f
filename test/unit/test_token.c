/*
 * test_token.c
 *		How a cashout token is written: published check digits, every slip of a typing hand, hostile bytes.
 *
 * Input and output lie in memory of exactly their size, so that AddressSanitizer sees a byte too many.
 */
#include "unit.h"

#include <stdlib.h>
#include <string.h>

#include "token_form.h"

#define ROUNDS 2000
#define FUZZ_ROUNDS 200000
#define LONG_SIZE 1000000

/* Reads exactly these bytes; the digits are expected, or NULL for a refusal. */
static bool
reads(const char *typed, size_t size, const char *expected)
{
	char *in = malloc(size > 0 ? size : 1);
	char *out = malloc(TOKEN_DIGITS_MAX + 1);
	bool result;

	if (in == NULL || out == NULL)
		abort();
	if (size > 0)
		memcpy(in, typed, size);
	memset(out, 'x', TOKEN_DIGITS_MAX + 1);
	result = token_read(in, size, out);
	result = expected == NULL ? !result : result && strcmp(out, expected) == 0;
	free(in);
	free(out);
	return result;
}

static char
random_digit(void)
{
	return (char) ('0' + random_next() % 10);
}

/* A good token of this many digits, and a final zero byte. */
static void
random_token(char *token, size_t count)
{
	size_t i;

	for (i = 0; i < count - 1; i++)
		token[i] = random_digit();
	token[count - 1] = token_check_digit(token, count - 1);
	token[count] = '\0';
}

static size_t
random_count(void)
{
	return TOKEN_DIGITS_MIN + random_next() % (TOKEN_DIGITS_MAX - TOKEN_DIGITS_MIN + 1);
}

/* Numbers that are published with their last digit, among them the examples of textbooks and of card networks. */
static void
published(void)
{
	static const char *const numbers[] = {"79927398713",	  "17893729974",	  "490154203237518",
										  "378282246310005",  "4111111111111111", "4539148803436467",
										  "5555555555554444", "6011111111111117", "3530111333300000"};
	size_t i;

	for (i = 0; i < sizeof(numbers) / sizeof(numbers[0]); i++)
	{
		size_t count = strlen(numbers[i]);

		ok(token_check_digit(numbers[i], count - 1) == numbers[i][count - 1] &&
			   reads(numbers[i], count, count < TOKEN_DIGITS_MIN ? NULL : numbers[i]),
		   "token: the check digit of %s", numbers[i]);
	}
	ok(token_check_digit("", 0) == '0' && token_check_digit("0", 1) == '0' &&
		   token_check_digit("5", 1) == '9',
	   "token: the check digits of nothing, 0 and 5");
}

/* All lengths around the allowed ones, each with its right check digit. */
static void
lengths(void)
{
	char token[TOKEN_DIGITS_MAX + 10];
	size_t count;

	for (count = 1; count <= TOKEN_DIGITS_MAX + 5; count++)
	{
		bool allowed = count >= 14 && count <= 20;

		random_token(token, count);
		ok(reads(token, count, allowed ? token : NULL), "token: %d digits are %s", (int) count,
		   allowed ? "read" : "refused");
	}
	ok(reads("", 0, NULL) && reads(" ", 1, NULL), "token: nothing, and a blank, are refused");
	/* its check digit would be right */
	ok(reads("00000000000000", 14, "00000000000000") && reads("0000000000000", 13, NULL),
	   "token: zeros alone follow the same rule");
}

/* Every position of a token, every digit there: only the token itself is read. */
static void
single_digits(void)
{
	int wrong = 0;
	int round;

	for (round = 0; round < ROUNDS; round++)
	{
		char token[TOKEN_DIGITS_MAX + 1];
		char typed[TOKEN_DIGITS_MAX + 1];
		size_t count = random_count();
		size_t at;
		char digit;

		random_token(token, count);
		for (at = 0; at < count; at++)
			for (digit = '0'; digit <= '9'; digit++)
			{
				memcpy(typed, token, sizeof(typed));
				typed[at] = digit;
				wrong += !reads(typed, count, digit == token[at] ? token : NULL);
			}
	}
	ok(wrong == 0, "token: every single wrong digit is caught, %d random tokens", ROUNDS);
}

/* Neighbours that changed places: all pairs are caught but 09 and 90, which the formula cannot tell apart. */
static void
swaps(void)
{
	bool seen[100] = {false};
	int pairs = 0;
	int wrong = 0;
	int round;

	for (round = 0; round < ROUNDS; round++)
	{
		char token[TOKEN_DIGITS_MAX + 1];
		char typed[TOKEN_DIGITS_MAX + 1];
		size_t count = random_count();
		size_t at;

		random_token(token, count);
		for (at = 0; at + 1 < count; at++)
		{
			int pair = (token[at] - '0') * 10 + token[at + 1] - '0';
			bool alike = pair % 11 == 0 || pair == 9 || pair == 90;

			memcpy(typed, token, sizeof(typed));
			typed[at] = token[at + 1];
			typed[at + 1] = token[at];
			wrong += !reads(typed, count, alike ? typed : NULL);
			pairs += !seen[pair];
			seen[pair] = true;
		}
	}
	ok(wrong == 0 && pairs == 100,
	   "token: swapped neighbours are caught, all but 09 and 90, %d random tokens", ROUNDS);
}

/* The digits alone count, wherever blanks stand between and around them. */
static void
blanks(void)
{
	char typed[10 * TOKEN_DIGITS_MAX];
	char *padded = malloc(LONG_SIZE);
	int wrong = 0;
	int round;

	ok(reads("4539 1488 0343 6467", 19, "4539148803436467") &&
		   reads("   4539  1488 0343646 7 ", 24, "4539148803436467") &&
		   reads("4539-1488-0343-6467\r\n", 21, "4539148803436467") &&
		   reads("\n-45391488 0343--6467-", 22, "4539148803436467"),
	   "token: groups of digits");
	for (round = 0; round < ROUNDS; round++)
	{
		char token[TOKEN_DIGITS_MAX + 1];
		size_t count = random_count();
		size_t size = 0;
		size_t at = 0;

		random_token(token, count);
		while (at < count || (size < sizeof(typed) && random_next() % 2 == 0))
		{
			if (at < count && (random_next() % 2 == 0 || sizeof(typed) - size <= count - at))
				typed[size++] = token[at++];
			else
				typed[size++] = ' ';
		}
		wrong += !reads(typed, size, token);
	}
	ok(wrong == 0, "token: blanks anywhere, %d random tokens", ROUNDS);

	if (padded == NULL)
		abort();
	memset(padded, ' ', LONG_SIZE);
	ok(reads(padded, LONG_SIZE, NULL), "token: %d blanks are no token", LONG_SIZE);
	padded[0] = '4';
	memcpy(padded + LONG_SIZE / 2, "53914880343646", 14);
	padded[LONG_SIZE - 1] = '7';
	ok(reads(padded, LONG_SIZE, "4539148803436467"), "token: %d bytes, most of them blanks", LONG_SIZE);
	memset(padded, '0', LONG_SIZE);
	ok(reads(padded, LONG_SIZE, NULL), "token: %d digits are refused", LONG_SIZE);
	free(padded);
}

/* Every other byte, put in or in place of a digit, at every position. */
static void
other_bytes(void)
{
	static const char token[] = "4539148803436467";
	char typed[sizeof(token)];
	int wrong = 0;
	int byte;
	size_t at;

	for (byte = 0; byte < 256; byte++)
	{
		if ((byte != '\0' && strchr(" -\r\n", byte) != NULL) || (byte >= '0' && byte <= '9'))
			continue;
		for (at = 0; at < 16; at++)
		{
			memcpy(typed, token, 16);
			typed[at] = (char) byte;
			wrong += !reads(typed, 16, NULL);
		}
		for (at = 0; at <= 16; at++)
		{
			memcpy(typed, token, at);
			typed[at] = (char) byte;
			memcpy(typed + at + 1, token + at, 16 - at);
			wrong += !reads(typed, 17, NULL);
		}
	}
	ok(wrong == 0,
	   "token: every byte but digits, blanks, dashes and line ends is refused, at every position");
	/* digits of other scripts, in UTF-8 */
	ok(reads("4539148803436467\xd9\xa7", 18, NULL) && reads("\xdb\xb4 539148803436467", 18, NULL),
	   "token: digits of other scripts are refused");
}

/* Against a reader that was written another way: it drops what stands between first and sums from the left. */
static bool
is_token(const char *typed, size_t size, char digits[TOKEN_DIGITS_MAX + 1])
{
	static const int doubled[] = {0, 2, 4, 6, 8, 1, 3, 5, 7, 9};
	size_t count = 0;
	int sum = 0;
	size_t i;

	for (i = 0; i < size; i++)
	{
		if (typed[i] == ' ' || typed[i] == '-' || typed[i] == '\r' || typed[i] == '\n')
			continue;
		if (strchr("0123456789", typed[i]) == NULL || typed[i] == '\0' || count == 20)
			return false;
		digits[count++] = typed[i];
	}
	digits[count] = '\0';
	for (i = 0; i < count; i++)
		sum += (count - i) % 2 == 0 ? doubled[digits[i] - '0'] : digits[i] - '0';
	return count >= 14 && sum % 10 == 0;
}

static void
random_bytes(void)
{
	static const char likely[] = "01234567890123456789012345678901234567890123456789  -\r\n";
	int good = 0;
	int wrong = 0;
	int round;

	for (round = 0; round < FUZZ_ROUNDS; round++)
	{
		char typed[32];
		char digits[TOKEN_DIGITS_MAX + 1];
		size_t size = random_next() % (sizeof(typed) + 1);
		size_t i;
		bool expected;

		for (i = 0; i < size; i++)
			typed[i] =
				random_next() % 64 == 0 ? (char) random_next() : likely[random_next() % (sizeof(likely) - 1)];
		expected = is_token(typed, size, digits);
		good += expected;
		wrong += !reads(typed, size, expected ? digits : NULL);
	}
	ok(wrong == 0 && good > FUZZ_ROUNDS / 100, "token: reads as another reader does, %d random inputs",
	   FUZZ_ROUNDS);
}

void
test_token(void)
{
	published();
	lengths();
	single_digits();
	swaps();
	blanks();
	other_bytes();
	random_bytes();
}
