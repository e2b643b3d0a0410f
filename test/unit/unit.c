/*
 * unit.c
 *		Runs the unit tests of the files that know nothing of PostgreSQL, and counts.
 *
 * Prints TAP: "ok N - name" or "not ok N - name", then the plan, then "unit: N passed, N failed"; the exit
 * status is 0 only when none failed.
 */
#include "unit.h"

#include <stdarg.h>
#include <stdio.h>

static int passed;
static int failed;

bool
ok(bool condition, const char *format, ...)
{
	va_list args;

	if (condition)
		passed++;
	else
		failed++;
	printf("%sok %d - ", condition ? "" : "not ", passed + failed);
	va_start(args, format);
	vprintf(format, args);
	va_end(args);
	putchar('\n');
	return condition;
}

uint64_t
random_next(void)
{
	static uint64_t state = 20250131;
	uint64_t mixed;

	/* splitmix64 */
	state += UINT64_C(0x9e3779b97f4a7c15);
	mixed = state;
	mixed = (mixed ^ (mixed >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
	mixed = (mixed ^ (mixed >> 27)) * UINT64_C(0x94d049bb133111eb);
	return mixed ^ (mixed >> 31);
}

int
main(void)
{
	/* what was printed must survive an abort */
	setvbuf(stdout, NULL, _IOLBF, 0);
	test_minify();
	test_sign();
	test_verify();
	test_timestamp();
	test_code();
	test_outcome();
	test_backoff();
	test_token();
	test_address();
	test_framing();
	test_json();
	printf("1..%d\n", passed + failed);
	printf("unit: %d passed, %d failed\n", passed, failed);
	return failed == 0 ? 0 : 1;
}
