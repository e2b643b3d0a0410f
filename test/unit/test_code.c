/*
 * test_code.c
 *		The response codes: every row as the reference has it, the rules that depend on the service, hostile
 * text.
 */
#include "unit.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "snap_code.h"

/* What a transfer (17, 18, 20) must make of each code, written down a second time, in another form. */
static const struct
{
	SnapClass class;
	const char *codes; /* HTTP status and case, ordered */
} expected[] = {
	{SNAP_OK, "200-00"},
	{SNAP_WAIT, "202-00"},
	{SNAP_FAIL,
	 "400-00 400-01 400-02 401-02 401-04 403-00 403-02 403-03 403-05 403-07 403-08 403-09 403-10 403-11 "
	 "403-12 403-13 403-15 403-16 403-17 403-18 403-21 403-22 404-03 404-04 404-11 404-12 404-13 404-15 404-19 405-01"},
	{SNAP_LATER, "403-04 403-06 403-14 403-20 403-23 404-02 429-00"},
	{SNAP_AUTH, "401-01 401-03"},
	{SNAP_STOP, "401-00 403-01 403-19 404-05 404-06 404-07 404-08 404-09 404-10 404-16 404-17 405-00"},
	{SNAP_UNKNOWN, "404-00 404-01 404-14 404-18 409-00 409-01 500-00 500-01 500-02 504-00"}};

static void
rows(void)
{
	static const int services[] = {17, 18, 20};
	size_t listed;
	size_t found = 0;
	size_t i;
	const SnapCode *table = snap_codes(&listed);
	bool ordered = true;

	for (i = 0; i < sizeof(expected) / sizeof(expected[0]); i++)
	{
		const char *next = expected[i].codes;
		int http;
		int case_code;
		int used;

		for (; sscanf(next, "%d-%d%n", &http, &case_code, &used) == 2; next += used, found++)
		{
			char code[16];
			bool right = true;
			int s;

			for (s = 0; s < 3; s++)
			{
				snprintf(code, sizeof(code), "%03d%02d%02d", http, services[s], case_code);
				right = right && snap_class(services[s], false, http, code) == expected[i].class &&
						snap_item_class(code) == (services[s] == 20 ? expected[i].class : SNAP_UNKNOWN);
			}
			snprintf(code, sizeof(code), "%03d00%02d", http, case_code);
			right = right && snap_item_class(code) == expected[i].class &&
					snap_class(18, true, http, code) == expected[i].class &&
					snap_class(18, false, http, code) == SNAP_UNKNOWN;
			snprintf(code, sizeof(code), "%03d21%02d", http, case_code);
			right = right && snap_item_class(code) == expected[i].class;
			ok(right, "code: %03d-%02d is %s for transfers", http, case_code,
			   snap_class_name(expected[i].class));
		}
	}
	ok(found == listed, "code: the table has these rows and no other");
	for (i = 0; i < listed; i++)
		ordered = ordered && table[i].name[0] != '\0' &&
				  (i == 0 || table[i - 1].http * 100 + table[i - 1].case_code <
								 table[i].http * 100 + table[i].case_code);
	ok(ordered, "code: rows are in order, each once, each with a name");
	for (i = 0; i < listed; i++)
		if (table[i].class == SNAP_STOP && !table[i].alert)
			break;
	ok(i == listed, "code: whatever parks a channel alerts the operator");
}

static void
is(int service, int http_status, const char *code, SnapClass class)
{
	ok(snap_class(service, false, http_status, code) == class, "code: service %d, HTTP %d, %s: %s", service,
	   http_status, code == NULL ? "no code" : code, snap_class_name(class));
}

static void
services(void)
{
	is(43, 404, "4044318", SNAP_UNKNOWN);
	is(44, 404, "4044418", SNAP_FAIL);
	is(44, 404, "4044414", SNAP_FAIL);
	is(44, 404, "4044400", SNAP_FAIL);
	is(46, 404, "4044600", SNAP_FAIL);
	is(99, 404, "4049914", SNAP_UNKNOWN);
	is(21, 200, "2002000", SNAP_UNKNOWN);
	is(22, 200, "2002200", SNAP_WAIT);
	is(23, 200, "2002300", SNAP_WAIT);
	is(40, 200, "2004000", SNAP_WAIT);
	is(36, 200, "2003600", SNAP_OK);
	is(36, 404, "4043601", SNAP_UNKNOWN);
	is(36, 404, "4043600", SNAP_UNKNOWN);
	is(36, 404, "4043611", SNAP_UNKNOWN);
	is(36, 400, "4003602", SNAP_UNKNOWN);
	is(36, 429, "4293600", SNAP_LATER);
	is(36, 401, "4013601", SNAP_AUTH);
	is(15, 404, "4041511", SNAP_FAIL);
	is(16, 404, "4041611", SNAP_FAIL);
	is(16, 404, "4041602", SNAP_LATER);
	is(11, 500, "5001101", SNAP_UNKNOWN);
	is(73, 200, "2007300", SNAP_OK);
	is(73, 401, "4017300", SNAP_STOP);
	is(73, 504, "5047300", SNAP_UNKNOWN);
}

/* An answer belongs to its question: no other service, no letters, 00 only where the channel says so. */
static void
other_services(void)
{
	int asked;
	int bad = 0;

	is(18, 200, "2001600", SNAP_UNKNOWN);
	is(18, 200, "2001700", SNAP_UNKNOWN);
	is(18, 200, "2003600", SNAP_UNKNOWN);
	is(18, 404, "4041611", SNAP_UNKNOWN);
	is(18, 404, "4043611", SNAP_UNKNOWN);
	is(18, 404, "4047311", SNAP_UNKNOWN);
	is(17, 404, "4042011", SNAP_UNKNOWN);
	is(16, 200, "2001500", SNAP_UNKNOWN);
	is(73, 200, "2001600", SNAP_UNKNOWN);
	is(73, 401, "4011800", SNAP_UNKNOWN);
	is(73, 200, "2000000", SNAP_UNKNOWN);
	is(18, 200, "200US00", SNAP_UNKNOWN);
	is(18, 504, "504ic00", SNAP_UNKNOWN);
	is(18, 200, "200 800", SNAP_UNKNOWN);
	is(18, 200, "2001:00", SNAP_UNKNOWN);
	for (asked = 0; asked < 100; asked++)
	{
		int named;

		for (named = 0; named < 100; named++)
		{
			char code[32];

			snprintf(code, sizeof(code), "200%02d00", named);
			bad += (snap_class(asked, false, 200, code) != SNAP_UNKNOWN) != (named == asked);
			bad += (snap_class(asked, true, 200, code) != SNAP_UNKNOWN) != (named == asked || named == 0);
			bad += snap_code_fits(asked, false, 200, code) != (named == asked);
			snprintf(code, sizeof(code), "404%02d01", named);
			bad += snap_not_found(asked, false, 404, code) !=
				   (named == asked && (asked == 36 || asked == 39 || asked == 45 || asked == 53));
		}
	}
	ok(bad == 0, "code: of 100 services each believes its own digits alone, and 00 where it may");
	ok(snap_not_found(36, true, 404, "4040001") && !snap_not_found(36, false, 404, "4040001"),
	   "code: not found under 00 where the channel says so");
	ok(!snap_not_found(36, false, 404, "4041801") && !snap_not_found(36, false, 404, NULL) &&
		   !snap_not_found(36, false, 200, "4043601") && !snap_not_found(36, false, 404, "4043600"),
	   "code: not found of another service, without a code, on another line, or of another case is none");
	ok(snap_item_class("2001800") == SNAP_UNKNOWN && snap_item_class("4043611") == SNAP_UNKNOWN &&
		   snap_item_class("2002200") == SNAP_UNKNOWN && snap_item_class("200ab00") == SNAP_UNKNOWN,
	   "code: an item of another service is unknown");
	ok(snap_code_fits(18, false, 200, NULL), "code: none fits");
}

static void
amounts(void)
{
	static const char *const same[] = {"250000.00",		"250000",	  "250000.0",
									   "250000.000000", "0250000.00", "000250000"};
	static const char *const other[] = {"",			"250000.01",  "25000.00",	"2500000",	  "250000.",
										".00",		"250000.001", "250,000.00", "-250000",	  "+250000",
										" 250000",	"250000 ",	  "2.5e5",		"25e4",		  "0x3D090",
										"NaN",		"Infinity",	  "250000.00.", "250000..0",  "250000.00IDR",
										"250000\n", "0",		  "000",		"1250000.00", "Ù¢"};
	size_t i;

	for (i = 0; i < sizeof(same) / sizeof(same[0]); i++)
		ok(snap_same_amount(same[i], "250000.00"), "amount: %s is 250000.00", same[i]);
	for (i = 0; i < sizeof(other) / sizeof(other[0]); i++)
		ok(!snap_same_amount(other[i], "250000.00"), "amount: text %zu is not", i);
	ok(snap_same_amount("0.01", "0.01") && snap_same_amount("00.010", "0.01") &&
		   !snap_same_amount("0.1", "0.01") && !snap_same_amount("0.0100000000000000000000001", "0.01"),
	   "amount: below one");
	ok(snap_same_amount("12345678901234.56", "12345678901234.56") &&
		   !snap_same_amount("12345678901234.57", "12345678901234.56"),
	   "amount: no digit is lost");
	ok(!snap_same_amount(NULL, "1.00") && !snap_same_amount("1.00", NULL), "amount: none is none");
}

static void
references(void)
{
	char text[70];

	memset(text, 'x', sizeof(text));
	text[64] = '\0';
	ok(snap_is_reference("1") && snap_is_reference("A-b_9/~!") && snap_is_reference(text),
	   "reference: up to 64 visible characters");
	text[64] = 'x';
	text[65] = '\0';
	ok(!snap_is_reference(text), "reference: not 65");
	ok(!snap_is_reference(NULL) && !snap_is_reference("") && !snap_is_reference(" ") &&
		   !snap_is_reference("a b") && !snap_is_reference("a\nb\001") && !snap_is_reference("\177") &&
		   !snap_is_reference("caf\303\251"),
	   "reference: nothing else");
}

static void
without_code(void)
{
	int http;
	int bad = 0;

	for (http = -1; http <= 1000; http++)
		bad += snap_class(17, true, http, NULL) != SNAP_UNKNOWN ||
			   snap_class(18, true, http, NULL) != SNAP_UNKNOWN ||
			   snap_class(20, true, http, NULL) != SNAP_UNKNOWN ||
			   snap_class(0, true, http, NULL) != SNAP_UNKNOWN ||
			   snap_class(17, true, http, "") != SNAP_UNKNOWN;
	ok(bad == 0, "code: no status without a code is ever more than unknown, where money moves");
	is(15, 401, NULL, SNAP_AUTH);
	is(36, 401, NULL, SNAP_AUTH);
	is(36, 429, NULL, SNAP_LATER);
	is(15, 404, NULL, SNAP_UNKNOWN);
	is(15, 403, NULL, SNAP_UNKNOWN);
	is(15, 200, NULL, SNAP_UNKNOWN);
	is(36, 503, NULL, SNAP_UNKNOWN);
	is(73, 200, NULL, SNAP_OK);
	is(73, 401, NULL, SNAP_STOP);
	is(73, 429, NULL, SNAP_LATER);
	is(73, 502, NULL, SNAP_UNKNOWN);
}

static void
unlisted(void)
{
	is(17, 200, "2001701", SNAP_UNKNOWN);
	is(17, 200, "2001799", SNAP_UNKNOWN);
	is(17, 201, "2011700", SNAP_UNKNOWN);
	is(17, 302, "3021700", SNAP_UNKNOWN);
	is(17, 400, "4001703", SNAP_UNKNOWN);
	is(17, 403, "4031724", SNAP_UNKNOWN);
	is(17, 404, "4041790", SNAP_UNKNOWN);
	is(17, 503, "5031700", SNAP_UNKNOWN);
	/* a code that contradicts the status line */
	is(17, 200, "4041711", SNAP_UNKNOWN);
	is(17, 404, "2001700", SNAP_UNKNOWN);
	is(17, 500, "4031714", SNAP_UNKNOWN);
	is(73, 200, "garbage", SNAP_UNKNOWN);
	ok(snap_alert(404, "4041711") == false && snap_alert(404, "4041718") && snap_alert(400, "4001701") &&
		   snap_alert(403, "4031703"),
	   "code: alerts of listed rows");
	ok(snap_alert(403, "4031799") && snap_alert(200, "2001701"), "code: an unlisted code alerts");
	ok(!snap_alert(403, NULL) && !snap_alert(403, "x") && !snap_alert(200, "4031799"),
	   "code: a broken code does not");
}

static void
hostile(void)
{
	static const char *const texts[] = {"",
										"4",
										"404",
										"40417",
										"404171",
										"40417111",
										"4041711 ",
										" 4041711",
										"404171a",
										"4041-11",
										"404 711",
										"40A1711",
										"-041711",
										"+041711",
										"404\303\251"
										"11",
										"4O41711",
										"404171\n",
										"\377\377\377\377\377\377\377",
										"\331\244\331\240\331\244"
										"1",
										"4041711\n",
										"0x41711",
										"4e41711"};
	int bad = 0;
	size_t i;

	for (i = 0; i < sizeof(texts) / sizeof(texts[0]); i++)
	{
		char *copy = strdup(texts[i]);

		ok(snap_class(17, true, 404, copy) == SNAP_UNKNOWN && snap_item_class(copy) == SNAP_UNKNOWN &&
			   !snap_alert(404, copy),
		   "code: malformed text %zu is unknown", i);
		free(copy);
	}
	for (i = 0; i < 200000; i++)
	{
		/* noise of the right letters: whatever is not unknown stands in the table */
		char code[9];
		size_t len = random_next() % 9;
		size_t j;
		SnapClass class;

		for (j = 0; j < len; j++)
			code[j] = "0123445aZ -"[random_next() % 11];
		code[len] = '\0';
		class = snap_class(17, true, 404, code);
		bad += class != SNAP_UNKNOWN && (len != 7 || strncmp(code, "404", 3) != 0);
		class = snap_item_class(code);
		bad += class != SNAP_UNKNOWN && len != 7;
	}
	ok(bad == 0, "code: 200000 rounds of noise");
	ok(snap_item_class(NULL) == SNAP_UNKNOWN, "code: an item without a code is unknown");
	ok(strcmp(snap_class_name((SnapClass) 99), "unknown") == 0, "code: a class that is none is unknown");
}

static void
statuses(void)
{
	static const char *const names[] = {"paid",		"pending",	"pending", "pending",
										"refunded", "canceled", "failed",  "not_found"};
	static const char *const none[] = {"",	 "0",	"00 ", " 00",	  "08",		 "09",
									   "10", "000", "0a",  "Success", "\377\377"};
	size_t i;

	for (i = 0; i < 8; i++)
	{
		char text[3] = {'0', (char) ('0' + i), '\0'};

		ok(strcmp(snap_status_name(snap_status(text)), names[i]) == 0, "status: %s is %s", text, names[i]);
	}
	for (i = 0; i < sizeof(none) / sizeof(none[0]); i++)
	{
		char *copy = strdup(none[i]);

		ok(snap_status(copy) == SNAP_STATUS_UNKNOWN, "status: text %zu is unknown", i);
		free(copy);
	}
	ok(snap_status(NULL) == SNAP_STATUS_UNKNOWN, "status: none is unknown");
	ok(strcmp(snap_status_name(SNAP_STATUS_UNKNOWN), "unknown") == 0, "status: the name of unknown");
}

void
test_code(void)
{
	rows();
	services();
	other_services();
	amounts();
	references();
	without_code();
	unlisted();
	hostile();
	statuses();
}
