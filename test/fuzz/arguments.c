/*
 * arguments.c
 *		Sends mutated arguments to a server: items of register_batch, notices of a bank, texts of every kind.
 *
 * usage: arguments CONNINFO items|notice|text SECONDS SEED CORPUS-FOLDER
 *
 * Each call is one execution. A finding is an SQLSTATE that the function must not end with, or a server that is gone; it
 * is printed with the argument. Most calls are rolled back, so that the database does not grow for ever; some are kept.
 * In seeds, %TXID%, %BATCH%, %ACCOUNT% and %AMOUNT% stand for those of a payout that the bank is paying.
 */
#include <ctype.h>
#include <dirent.h>
#include <libpq-fe.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "snap_sign.h"

#define TEXT_MAX 65536
#define SEEDS_MAX 256
#define FINDINGS_MAX 10
#define KEEP_ONE_OF 16
#define NOTICE_PATH "/snap/v1.0/transfer-interbank-bulk/notify"

typedef struct Text
{
	char bytes[TEXT_MAX + 1];
	size_t size;
} Text;

static PGconn *connection;
static Text seeds[SEEDS_MAX];
static int seed_count;
static uint64_t random_state;
static long executions;
static long refused_early; /* no text or no JSON to the server: no function was called */
static int findings;
static char bank_token[256];
static time_t bank_token_at;

/* The payout that the seeds speak of. */
static char txid[64];
static char batch_id[64];
static char account_no[64];
static char amount[64];

static uint64_t
random_next(void)
{
	uint64_t mixed;

	/* splitmix64 */
	random_state += UINT64_C(0x9e3779b97f4a7c15);
	mixed = random_state;
	mixed = (mixed ^ (mixed >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
	mixed = (mixed ^ (mixed >> 27)) * UINT64_C(0x94d049bb133111eb);
	return mixed ^ (mixed >> 31);
}

static size_t
random_below(size_t limit)
{
	return limit == 0 ? 0 : (size_t) (random_next() % limit);
}

static void
die(const char *what)
{
	fprintf(stderr, "arguments: %s: %s", what, connection != NULL ? PQerrorMessage(connection) : "\n");
	exit(2);
}

/* ---- seeds ---- */

static void
read_seed(const char *folder, const char *name)
{
	char path[4096];
	Text *seed = &seeds[seed_count];
	FILE *file;

	snprintf(path, sizeof(path), "%s/%s", folder, name);
	file = fopen(path, "r");
	if (file == NULL)
		die(path);
	seed->size = fread(seed->bytes, 1, TEXT_MAX, file);
	seed->bytes[seed->size] = '\0';
	fclose(file);
	seed_count++;
}

static void
read_seeds(const char *folder)
{
	DIR *dir = opendir(folder);
	struct dirent *entry;

	if (dir == NULL)
		die(folder);
	while ((entry = readdir(dir)) != NULL && seed_count < SEEDS_MAX)
		if (entry->d_name[0] != '.')
			read_seed(folder, entry->d_name);
	closedir(dir);
	if (seed_count == 0)
		die("no seeds");
}

/* Puts bytes in place of old_size bytes at a place; what does not fit is cut. */
static void
replace(Text *text, size_t at, size_t old_size, const char *bytes, size_t size)
{
	if (text->size - old_size + size > TEXT_MAX)
		return;
	memmove(text->bytes + at + size, text->bytes + at + old_size, text->size - at - old_size);
	memcpy(text->bytes + at, bytes, size);
	text->size += size - old_size;
	text->bytes[text->size] = '\0';
}

static void
fill_in(Text *text, const char *name, const char *value)
{
	char *place;

	while ((place = strstr(text->bytes, name)) != NULL)
		replace(text, (size_t) (place - text->bytes), strlen(name), value, strlen(value));
}

/* ---- mutation ---- */

static const char *const words[] = {"null",
									"true",
									"{}",
									"[]",
									"\"\"",
									"{\"\":0}",
									"\\u0000",
									"\\ud800",
									"\\u00e9",
									"1e400",
									"-0",
									"1e-400",
									"99999999999999999999",
									"0.001",
									"NaN",
									"Infinity",
									"\"",
									"\\",
									",",
									":",
									"[[[[[[[[",
									"]]]]",
									"'",
									"$1",
									"--",
									"%s%n",
									"\xc3\xa9",
									"\xe2\x80\xae",
									"\xf0\x9f\x98\x80",
									"\x01",
									"\n",
									"\t",
									" ",
									"options",
									"scheduled_at",
									"infinity",
									"epoch",
									"2026-01-31T09:15:00+07:00",
									"2042011",
									"2002000",
									"4042011",
									"MERCHANT01",
									"overbooking",
									"https://",
									"-----BEGIN PUBLIC KEY-----"};

static void
mutate_once(Text *text)
{
	size_t at = random_below(text->size + 1);
	size_t left = text->size - at;
	size_t size = random_below(left < 64 ? left + 1 : 64);
	const char *word = words[random_below(sizeof(words) / sizeof(words[0]))];
	const Text *other = &seeds[random_below((size_t) seed_count)];
	char part[TEXT_MAX];
	char byte = (char) (1 + random_below(255));

	switch (random_below(8))
	{
		case 0:
			replace(text, at, size > 0 ? 1 : 0, &byte, 1);
			break;
		case 1:
			replace(text, at, size, "", 0);
			break;
		case 2:
			replace(text, at, 0, word, strlen(word));
			break;
		case 3:
			replace(text, at, size, word, strlen(word));
			break;
		case 4: /* once more */
			memcpy(part, text->bytes + at, size);
			replace(text, at, 0, part, size);
			break;
		case 5: /* a part of another seed */
			at = random_below(other->size + 1);
			size = random_below(other->size - at + 1);
			replace(text, random_below(text->size + 1), 0, other->bytes + at, size);
			break;
		case 6: /* many times */
			size = size > 16 ? 16 : size;
			memcpy(part, text->bytes + at, size);
			for (size_t n = random_below(200); n > 0; n--)
				replace(text, at, 0, part, size);
			break;
		default: /* another digit or letter, so that the form mostly stays */
			if (left > 0 && isalnum((unsigned char) text->bytes[at]))
				text->bytes[at] = "0123456789AZaz-"[random_below(15)];
	}
}

static const char *const values[] = {
	"null",
	"true",
	"0",
	"-1",
	"1e400",
	"1e-400",
	"1e131071",
	"99999999999999999999",
	"0.001",
	"10000",
	"10000.00",
	"\"\"",
	"\" \"",
	"\"NaN\"",
	"\"Infinity\"",
	"\"1e5\"",
	"\"-5\"",
	"\"\\u00e9\"",
	"\"\\u202e\\n\"",
	"\"' or 1 = 1 --\"",
	"\"%s%n\"",
	"{}",
	"[]",
	"[[[[1]]]]",
	"{\"a\": {\"a\": {}}}",
	"\"infinity\"",
	"\"2026-12-31T00:00:00Z\"",
	"\"epoch\"",
	"\"294277-01-01\"",
	"\"CENA\"",
	"\"OWNB\"",
	"\"overbooking\"",
	"\"online\"",
	"\"2002000\"",
	"\"5002000\"",
	"\"F1\"",
	"\"xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx\""};

/* Puts another value after one of the colons, so that JSON mostly stays JSON. */
static void
mutate_value(Text *text)
{
	const char *value = values[random_below(sizeof(values) / sizeof(values[0]))];
	size_t at = random_below(text->size + 1);
	size_t size;

	while (at < text->size && text->bytes[at] != ':')
		at++;
	if (at >= text->size)
		return;
	at++;
	size = strcspn(text->bytes + at, ",}]");
	replace(text, at, size, value, strlen(value));
}

static void
make_input(Text *text)
{
	bool by_value = random_below(4) != 0;

	*text = seeds[random_below((size_t) seed_count)];
	fill_in(text, "%TXID%", txid);
	fill_in(text, "%BATCH%", batch_id);
	fill_in(text, "%ACCOUNT%", account_no);
	fill_in(text, "%AMOUNT%", amount);
	/* sometimes none: what is right must stay right */
	for (size_t n = random_below(6); n > 0; n--)
	{
		if (by_value && strchr("[{", text->bytes[0]) != NULL)
			mutate_value(text);
		else
			mutate_once(text);
	}
}

/* ---- calls ---- */

static void
command(const char *sql)
{
	PGresult *result = PQexec(connection, sql);

	if (PQresultStatus(result) != PGRES_COMMAND_OK)
		die(sql);
	PQclear(result);
}

static void
report(const char *what, const char *sql, const char *const *arguments, int count)
{
	findings++;
	printf("finding: %s\n  %s\n", what, sql);
	for (int i = 0; i < count; i++)
	{
		printf("  $%d = ", i + 1);
		for (const char *c = arguments[i]; c != NULL && *c != '\0'; c++)
			printf(*c >= ' ' && *c <= '~' && *c != '\\' ? "%c" : "\\x%02x", (unsigned char) *c);
		printf("\n");
	}
	fflush(stdout);
}

/* Is this how the server refuses bytes that are no text or no JSON, before any function is called? */
static bool
is_early(const char *sqlstate, const PGresult *result)
{
	const char *context = PQresultErrorField(result, PG_DIAG_CONTEXT);

	if (context == NULL)
		return strcmp(sqlstate, "22021") == 0;
	return (strncmp(sqlstate, "22", 2) == 0 || strncmp(sqlstate, "54", 2) == 0) &&
		   (strncmp(context, "JSON data", 9) == 0 || strncmp(context, "unnamed portal", 14) == 0);
}

/*
 * One execution. allowed: SQLSTATEs, or classes of them, that the call may end with. Where rows come back, the first
 * column is an SQLSTATE or null, under the same rule.
 */
static void
call(const char *sql, const char *const *arguments, int count, const char *const *allowed)
{
	PGresult *result;
	char sqlstate[6] = "00000";
	bool fine = false;

	command("begin");
	result = PQexecParams(connection, sql, count, NULL, arguments, NULL, NULL, 0);
	executions++;
	if (PQresultStatus(result) == PGRES_TUPLES_OK)
	{
		fine = true;
		for (int row = 0; fine && row < PQntuples(result); row++)
		{
			if (PQgetisnull(result, row, 0))
				continue;
			snprintf(sqlstate, sizeof(sqlstate), "%s", PQgetvalue(result, row, 0));
			fine = strncmp(sqlstate, "PY", 2) == 0;
		}
	}
	else if (PQresultErrorField(result, PG_DIAG_SQLSTATE) != NULL)
	{
		snprintf(sqlstate, sizeof(sqlstate), "%s", PQresultErrorField(result, PG_DIAG_SQLSTATE));
		for (; *allowed != NULL; allowed++)
			fine = fine || strncmp(sqlstate, *allowed, strlen(*allowed)) == 0;
		if (!fine && is_early(sqlstate, result))
		{
			fine = true;
			refused_early++;
		}
	}
	if (!fine)
		report(PQstatus(connection) == CONNECTION_OK ? sqlstate : "the server is gone", sql, arguments,
			   count);
	if (!fine && PQresultStatus(result) == PGRES_FATAL_ERROR)
		printf("  %s", PQresultErrorMessage(result));
	PQclear(result);
	if (PQstatus(connection) != CONNECTION_OK)
		exit(1);
	command(random_below(KEEP_ONE_OF) == 0 ? "commit" : "rollback");
}

static void
fuzz_items(void)
{
	static const char *const allowed[] = {"PY016", NULL};
	Text text;
	const char *arguments[] = {text.bytes};

	make_input(&text);
	call("select sqlstate from payout.register_batch('MERCHANT01', $1::jsonb)", arguments, 1, allowed);
}

/* A token as the bank has it, renewed before it ends. */
static void
renew_token(void)
{
	PGresult *result;

	if (time(NULL) - bank_token_at < 300)
		return;
	result = PQexec(connection, "select payout.issue_token('BANK1')");
	if (PQresultStatus(result) != PGRES_TUPLES_OK)
		die("token");
	snprintf(bank_token, sizeof(bank_token), "%s", PQgetvalue(result, 0, 0));
	bank_token_at = time(NULL);
	PQclear(result);
}

/* Signed rightly over a hostile body; or hostile headers; or any of it anywhere. */
static void
fuzz_notice(void)
{
	static const char *const allowed[] = {NULL};
	static const char *const paths[] = {NOTICE_PATH, "/v1.0/access-token/b2b", "/", ""};
	static Text body;
	static Text headers;
	char stamp[SNAP_TIMESTAMP_SIZE];
	char signature[SNAP_SIGNATURE_SIZE] = "";
	const char *path = random_below(8) == 0 ? paths[random_below(4)] : NOTICE_PATH;
	const char *method = random_below(32) == 0 ? "GET" : "POST";
	const char *arguments[] = {method, path, headers.bytes, body.bytes};

	renew_token();
	make_input(&body);
	if (!snap_timestamp(time(NULL), -1, stamp, sizeof(stamp)))
		die("timestamp");
	(void) snap_sign_symmetric("a-shared-client-secret", "POST", path, bank_token, body.bytes,
							   strlen(body.bytes), stamp, SNAP_ENCODING_BASE64, signature, sizeof(signature));
	snprintf(
		headers.bytes, sizeof(headers.bytes),
		"{\"X-TIMESTAMP\": \"%s\", \"X-SIGNATURE\": \"%s\", \"X-PARTNER-ID\": \"P\", \"X-CLIENT-KEY\": \"K\","
		" \"X-EXTERNAL-ID\": \"%ld-%lu\", \"Authorization\": \"Bearer %s\"}",
		stamp, signature, executions, (unsigned long) random_state, bank_token);
	headers.size = strlen(headers.bytes);
	if (random_below(4) == 0)
		for (size_t n = 1 + random_below(4); n > 0; n--)
			mutate_once(&headers);
	call(
		"select case when a.status between 200 and 599 and a.body::json ->> 'responseCode' is not null then null else 'XX999' end"
		" from payout.bank_notification('BANK1', $1, $2, $3::jsonb, $4) a",
		arguments, 4, allowed);
}

/* Every place where a caller gives a text; $1 is hostile, the rest is right. XX999: what must never be. */
static const char *const text_calls[] = {
	"select null from payout.inquiry('MERCHANT01', $1)",
	"select null from payout.inquiry($1, 'MERCHANT010720260131091500000A')",
	"select null from payout.inquiry_reference('MERCHANT01', $1)",
	"select null from payout.approve('MERCHANT01', $1)",
	"select sqlstate from payout.approve_batch('MERCHANT01', array[$1, $1])",
	"select null from payout.reject('MERCHANT01', $1, $1)",
	"select null from payout.cancel('MERCHANT01', $1, $1)",
	"select null from payout.register('MERCHANT01', $1, 1000, 'CENA', '8800000001', 'Budi')",
	"select null from payout.register('MERCHANT01', 'R', 1000, $1, '8800000001', 'Budi')",
	"select null from payout.register('MERCHANT01', 'R', 1000, 'CENA', $1, 'Budi')",
	"select null from payout.register('MERCHANT01', 'R', 1000, 'CENA', '8800000001', $1, 'online', $1, null, $1)",
	"select null from payout.register('MERCHANT01', 'R', 1000, 'CENA', '8800000001', 'Budi', $1)",
	"select null from payout.register_cashout('MERCHANT01', $1, 1000, $1, $1, $1)",
	"select null from payout.cashout_validate('STORE1', $1, 'T', 'R')",
	"select null from payout.cashout_validate('STORE1', '1234567890123452', $1, $1)",
	"select null from payout.cashout_confirm('STORE1', $1, $1)",
	"select null from payout.cashout_reverse('STORE1', $1, $1, $1)",
	"select null from payout.cashout_confirm($1, '1234567890123452', 'R')",
	"select null from payout.create_merchant('FUZZ000001', $1, $1)",
	"select null from payout.create_merchant($1, 'A name')",
	"select null from payout.create_channel($1, 'snap', 'https://bank.example')",
	"select null from payout.create_channel('FUZZ', $1, $1)",
	"select null from payout.set_secret('channel:BANK1', 'bank_public_key', $1)",
	"select null from payout.set_secret($1, $1, $1)",
	"select null from payout.set_secret('merchant:MERCHANT02', 'webhook_secret', $1)",
	"select null from payout.resolve('MERCHANT01', $1, $1, $1)",
	"select null from payout.top_up('MERCHANT01', 1, $1)",
	"select null from payout.request_check('MERCHANT01', $1)",
	"select null from payout.resend_notification('MERCHANT01', $1)",
	"select 'XX999' where payout.slot($1) not between 0 and 1023",
	"select 'XX999' where payout.read_json($1) is not null and payout.read_json(payout.read_json($1)::text) is distinct from payout.read_json($1)",
	"select 'XX999' where payout.snap_item_class($1) is null",
	"select null where payout.snap_time($1) > now()",
	"select 'XX999' where payout.token_valid('BANK1', $1)",
	"select 'XX999' where payout.bank_client_valid('BANK1', $1, $1, $1)"};

static const char *const json_calls[] = {
	"select null from payout.alter_merchant('MERCHANT02', $1::jsonb)",
	"select null from payout.alter_channel('BANK1', $1::jsonb)",
	"select null from payout.alter_bank('CENA', $1::jsonb)",
	"select null from payout.alter_cvs('STORE1', $1::jsonb)",
	"select null from payout.register('MERCHANT01', 'R', 1000, 'CENA', '8800000001', 'Budi', options => $1::jsonb)",
	"select null from payout.import_cvs_settlement('STORE1', payout.jakarta_day(now()) - 1, $1::jsonb)"};

static void
fuzz_text(void)
{
	static const char *const allowed[] = {"PY", NULL};
	static Text text;
	const char *arguments[] = {text.bytes};
	size_t count = sizeof(text_calls) / sizeof(text_calls[0]);
	size_t choice = random_below(count + sizeof(json_calls) / sizeof(json_calls[0]));

	make_input(&text);
	call(choice < count ? text_calls[choice] : json_calls[choice - count], arguments, 1, allowed);
}

/* ---- the run ---- */

static void
find_payout(void)
{
	PGresult *result =
		PQexec(connection, "select p.txid, p.batch_id, p.account_no, p.amount from payout.payout p"
						   " where p.state = 'processing' order by random() limit 1");

	if (PQresultStatus(result) != PGRES_TUPLES_OK)
		die("payouts");
	if (PQntuples(result) == 1)
	{
		snprintf(txid, sizeof(txid), "%s", PQgetvalue(result, 0, 0));
		snprintf(batch_id, sizeof(batch_id), "%s", PQgetvalue(result, 0, 1));
		snprintf(account_no, sizeof(account_no), "%s", PQgetvalue(result, 0, 2));
		snprintf(amount, sizeof(amount), "%s", PQgetvalue(result, 0, 3));
	}
	PQclear(result);
}

int
main(int argc, char **argv)
{
	time_t ends;
	void (*target)(void);

	if (argc != 6)
	{
		fprintf(stderr, "usage: arguments CONNINFO items|notice|text SECONDS SEED CORPUS-FOLDER\n");
		return 2;
	}
	target = strcmp(argv[2], "items") == 0	  ? fuzz_items
			 : strcmp(argv[2], "notice") == 0 ? fuzz_notice
											  : fuzz_text;
	ends = time(NULL) + atoi(argv[3]);
	random_state = strtoull(argv[4], NULL, 10);
	read_seeds(argv[5]);
	connection = PQconnectdb(argv[1]);
	if (PQstatus(connection) != CONNECTION_OK)
		die("connection");
	while (time(NULL) < ends && findings < FINDINGS_MAX)
	{
		if (executions % 500 == 0)
			find_payout();
		target();
	}
	printf("arguments: target=%s seed=%s executions=%ld refused_early=%ld findings=%d\n", argv[2], argv[4],
		   executions, refused_early, findings);
	PQfinish(connection);
	return findings == 0 ? 0 : 1;
}
