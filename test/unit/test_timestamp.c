/*
 * test_timestamp.c
 *		Timestamps of SNAP: written in Jakarta time, read strictly.
 */
#include "unit.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "snap_sign.h"

static void
written(long long unix_seconds, int milliseconds, const char *expected)
{
	char out[SNAP_TIMESTAMP_SIZE];
	long long back = -1;

	ok(snap_timestamp(unix_seconds, milliseconds, out, sizeof(out)) && strcmp(out, expected) == 0 &&
		   snap_parse_timestamp(out, &back) && back == unix_seconds,
	   "timestamp: %s", expected);
}

static void
read_as(const char *text, long long expected)
{
	long long value = -1;

	ok(snap_parse_timestamp(text, &value) && value == expected, "timestamp read: %s", text);
}

static void
not_read(const char *text)
{
	/* as small as the text, for AddressSanitizer to watch */
	char *copy = strdup(text);
	long long value = -77;

	ok(!snap_parse_timestamp(copy, &value) && value == -77, "timestamp refused: \"%s\"", text);
	free(copy);
}

static void
limits(void)
{
	char out[SNAP_TIMESTAMP_SIZE];

	ok(!snap_timestamp(-1, -1, out, sizeof(out)) && out[0] == '\0', "timestamp refused: before 1970");
	ok(!snap_timestamp(253402275600LL, -1, out, sizeof(out)), "timestamp refused: after 9999");
	ok(!snap_timestamp(INT64_MAX, -1, out, sizeof(out)) && !snap_timestamp(INT64_MIN, -1, out, sizeof(out)),
	   "timestamp refused: the ends of the number line");
	ok(!snap_timestamp(0, 1000, out, sizeof(out)) && !snap_timestamp(0, -2, out, sizeof(out)),
	   "timestamp refused: milliseconds out of range");
	ok(!snap_timestamp(0, -1, out, 25) && snap_timestamp(0, -1, out, 26), "timestamp: needs 26 bytes");
	ok(!snap_timestamp(0, 0, out, 29) && snap_timestamp(0, 0, out, 30),
	   "timestamp: needs 30 bytes with milliseconds");
	ok(!snap_timestamp(0, 0, out, 0), "timestamp refused: no room at all");
}

static void
round_trips(void)
{
	bool same = true;
	bool zone_free = true;
	char before[SNAP_TIMESTAMP_SIZE];
	int i;

	for (i = 0; i < 20000; i++)
	{
		long long moment = (long long) (random_next() % 253402275600ULL);
		int milliseconds = (int) (random_next() % 1001) - 1;
		char out[SNAP_TIMESTAMP_SIZE];
		long long back = -1;

		same = same && snap_timestamp(moment, milliseconds, out, sizeof(out)) &&
			   snap_parse_timestamp(out, &back) && back == moment &&
			   strlen(out) == (milliseconds < 0 ? 25 : 29);
	}
	ok(same, "timestamp: 20000 random moments are read back as written");

	snap_timestamp(1738289700, -1, before, sizeof(before));
	setenv("TZ", "America/New_York", 1);
	tzset();
	zone_free = snap_timestamp(1738289700, -1, before, sizeof(before)) &&
				strcmp(before, "2025-01-31T09:15:00+07:00") == 0;
	unsetenv("TZ");
	tzset();
	ok(zone_free, "timestamp: the machine's time zone does not matter");
}

void
test_timestamp(void)
{
	long long value;
	char text[] = "2025-01-31T09:15:00.123+07:00";
	int accepted = 0;
	size_t i;

	written(1738289700, -1, "2025-01-31T09:15:00+07:00");
	written(1738289700, 7, "2025-01-31T09:15:00.007+07:00");
	written(0, -1, "1970-01-01T07:00:00+07:00");
	written(951757200, 999, "2000-02-29T00:00:00.999+07:00");
	written(1735664399, -1, "2024-12-31T23:59:59+07:00");
	written(1735664400, -1, "2025-01-01T00:00:00+07:00");
	written(253402275599LL, -1, "9999-12-31T23:59:59+07:00");
	limits();
	round_trips();

	read_as("2025-01-31T02:15:00Z", 1738289700);
	read_as("2024-03-05T10:37:16.196Z", 1709635036);
	read_as("1970-01-01T00:00:00Z", 0);
	not_read("");
	not_read("2025-01-31");
	not_read("2025-01-31T09:15:00");
	not_read("2025-01-31T09:15:00+0700");
	not_read("2025-01-31T09:15:00+07");
	not_read("2025-01-31T09:15:00+08:00");
	not_read("2025-01-31T09:15:00-07:00");
	not_read("2025-01-31T09:15:00z");
	not_read("2025-01-31t09:15:00Z");
	not_read("2025-01-31 09:15:00Z");
	not_read(" 2025-01-31T09:15:00Z");
	not_read("2025-01-31T09:15:00Z ");
	not_read("2025-01-31T09:15:00+07:00Z");
	not_read("2025-01-31T09:15:00.Z");
	not_read("2025-01-31T09:15:00.12Z");
	not_read("2025-01-31T09:15:00.1234Z");
	not_read("2025-1-31T09:15:00Z");
	not_read("25-01-31T09:15:00Z");
	not_read("+025-01-31T09:15:00Z");
	not_read("2025-00-31T09:15:00Z");
	not_read("2025-13-31T09:15:00Z");
	not_read("2025-01-00T09:15:00Z");
	not_read("2025-01-32T09:15:00Z");
	not_read("2025-02-29T09:15:00Z");
	not_read("1900-02-29T09:15:00Z");
	not_read("2025-04-31T09:15:00Z");
	not_read("2025-01-31T24:00:00Z");
	not_read("2025-01-31T09:60:00Z");
	not_read("2025-01-31T09:15:60Z");
	not_read("1969-12-31T23:59:59Z");
	not_read("1970-01-01T06:59:59+07:00");
	not_read("0000-00-00T00:00:00Z");
	ok(!snap_parse_timestamp(NULL, &value), "timestamp refused: none");
	for (i = 0; i < strlen(text); i++)
	{
		char *cut = strndup(text, i);

		accepted += snap_parse_timestamp(cut, &value);
		free(cut);
	}
	ok(accepted == 0, "timestamp refused: every truncated one");
}
