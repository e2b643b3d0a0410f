/*
 * settings.c: every setting of the extension, with unit, range and check.
 *
 * Nothing secret is a setting: payout.secret_file names a file, never its content.
 */
#include "postgres.h"

#include "compat.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/timestamp.h"
#include "utils/varlena.h"

#include "crash_point.h"
#include "settings.h"
#include "token_form.h"

PG_FUNCTION_INFO_V1(payout_setting_interval);

char *payout_databases = NULL;
char *payout_secret_file = NULL;
char *payout_secret_file_old = NULL;
char *payout_allow_hosts = NULL;
bool payout_dump_secrets = false;
bool payout_testing = false;
int payout_clock_offset_s = 0;
int payout_max_in_flight = 64;
int payout_safety_poll_ms = 30000;
int payout_schedule_lead_min = 60;
int payout_token_digits = 20;
int payout_token_ttl_s = 86400;
int payout_token_tries = 20;
int payout_token_lockout_s = 900;
int payout_reservation_ttl_s = 900;
int payout_chain_interval_s = 600;
int payout_escrow_slots = 16384;

static bool
check_databases(char **newval, void **extra, GucSource source)
{
	char *raw = pstrdup(*newval);
	List *names = NIL;
	bool ok = SplitIdentifierString(raw, ',', &names);

	if (!ok)
		GUC_check_errdetail("The list must be database names separated by commas.");
	list_free(names);
	pfree(raw);
	return ok;
}

static bool
check_secret_file(char **newval, void **extra, GucSource source)
{
	if ((*newval)[0] == '\0' || is_absolute_path(*newval))
		return true;
	GUC_check_errdetail("The path must be absolute.");
	return false;
}

static bool
check_allow_hosts(char **newval, void **extra, GucSource source)
{
	if (strspn(*newval, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-_:[], ") ==
		strlen(*newval))
		return true;
	GUC_check_errdetail(
		"The list must be host names or addresses, each with or without a port, separated by commas.");
	return false;
}

List *
payout_database_list(void)
{
	List *names = NIL;

	/* The names point into this copy, which lives as long as the caller's context. */
	(void) SplitIdentifierString(pstrdup(payout_databases), ',', &names);
	return names;
}

void
payout_define_settings(void)
{
	DefineCustomStringVariable("payout.databases", "Databases for which a payout worker runs.",
							   "Empty by default: nothing is sent.", &payout_databases, "", PGC_SIGHUP, 0,
							   check_databases, NULL, NULL);
	DefineCustomStringVariable(
		"payout.secret_file", "File outside the data directory that holds this installation's secret.",
		"Pepper of tokens, key of stored secrets and witness of arming.", &payout_secret_file, "", PGC_SIGHUP,
		GUC_SUPERUSER_ONLY, check_secret_file, NULL, NULL);
	DefineCustomStringVariable("payout.secret_file_old", "The file that was payout.secret_file before.",
							   "Set while a rotation lasts: what was made with it is still good.",
							   &payout_secret_file_old, "", PGC_SIGHUP, GUC_SUPERUSER_ONLY, check_secret_file,
							   NULL, NULL);
	DefineCustomBoolVariable(
		"payout.dump_secrets", "Lets pg_dump take the stored secrets, sealed as they are.",
		"For the session of pg_dump.", &payout_dump_secrets, false, PGC_SUSET, 0, NULL, NULL, NULL);
	DefineCustomStringVariable("payout.allow_hosts",
							   "Hosts that may be reached over plain http or at private addresses.",
							   "For banks and merchants on one's own network, and for tests.",
							   &payout_allow_hosts, "", PGC_SIGHUP, 0, check_allow_hosts, NULL, NULL);
	DefineCustomIntVariable("payout.clock_offset", "Moves the clock of schedules, expiry and backoff.",
							"Ignored unless payout.testing is on.", &payout_clock_offset_s, 0, -315360000,
							315360000, PGC_SIGHUP, GUC_UNIT_S, NULL, NULL, NULL);
	DefineCustomIntVariable("payout.max_in_flight", "Requests under way at one moment in each lane.", NULL,
							&payout_max_in_flight, 64, 1, 10000, PGC_SIGHUP, 0, NULL, NULL, NULL);
	DefineCustomIntVariable(
		"payout.safety_poll", "The worker looks for work at least this often.",
		"Commits wake it at once; this covers what cannot, such as prepared transactions.",
		&payout_safety_poll_ms, 30000, 100, 86400000, PGC_SIGHUP, GUC_UNIT_MS, NULL, NULL, NULL);
	DefineCustomIntVariable("payout.schedule_lead", "Least distance of a schedule from its registration.",
							NULL, &payout_schedule_lead_min, 60, 0, 525600, PGC_SIGHUP, GUC_UNIT_MIN, NULL,
							NULL, NULL);
	DefineCustomIntVariable("payout.token_digits", "Digits of a new cashout token.", NULL,
							&payout_token_digits, 20, TOKEN_DIGITS_MIN, TOKEN_DIGITS_MAX, PGC_SIGHUP, 0, NULL,
							NULL, NULL);
	DefineCustomIntVariable("payout.token_ttl", "How long a cashout token can be redeemed.", NULL,
							&payout_token_ttl_s, 86400, 60, 31536000, PGC_SIGHUP, GUC_UNIT_S, NULL, NULL,
							NULL);
	DefineCustomIntVariable("payout.token_tries", "Wrong tokens before a terminal is locked.",
							"All terminals of a store share a limit, its option token_tries.",
							&payout_token_tries, 20, 1, 1000000, PGC_SIGHUP, 0, NULL, NULL, NULL);
	DefineCustomIntVariable("payout.token_lockout", "In this time a terminal gets one try back.", NULL,
							&payout_token_lockout_s, 900, 1, 86400, PGC_SIGHUP, GUC_UNIT_S, NULL, NULL, NULL);
	DefineCustomIntVariable("payout.reservation_ttl",
							"How long a store may take to confirm or reverse a token that it validated.",
							"After that the payout is suspect: the cash may have left the till.",
							&payout_reservation_ttl_s, 900, 1, 604800, PGC_SIGHUP, GUC_UNIT_S, NULL, NULL,
							NULL);
	DefineCustomIntVariable("payout.chain_interval", "How often the worker chains new history and transfers.",
							NULL, &payout_chain_interval_s, 600, 1, 86400, PGC_SIGHUP, GUC_UNIT_S, NULL, NULL,
							NULL);
	if (process_shared_preload_libraries_in_progress)
	{
		DefineCustomIntVariable("payout.escrow_slots", "Merchants whose balances are kept in shared memory.",
								"Others take the places of those that are not in use.", &payout_escrow_slots,
								16384, 16, 4194304, PGC_POSTMASTER, 0, NULL, NULL, NULL);
		DefineCustomBoolVariable("payout.testing", "Lets payout.clock_offset move the clock.", NULL,
								 &payout_testing, false, PGC_POSTMASTER, 0, NULL, NULL, NULL);
	}
	crash_point_define_settings();
	MarkGUCPrefixReserved("payout");
}

/* setting_interval(setting): a setting's span, in seconds alone. */
Datum
payout_setting_interval(PG_FUNCTION_ARGS)
{
	const struct
	{
		const char *name;
		int64 milliseconds;
	} spans[] = {
		{"token_ttl", (int64) payout_token_ttl_s * 1000},
		{"reservation_ttl", (int64) payout_reservation_ttl_s * 1000},
		{"schedule_lead", (int64) payout_schedule_lead_min * 60000},
		{"safety_poll", payout_safety_poll_ms},
	};
	char *name = text_to_cstring(PG_GETARG_TEXT_PP(0));
	Interval *interval = palloc0(sizeof(Interval));

	for (int i = 0; i < (int) lengthof(spans); i++)
		if (strcmp(spans[i].name, name) == 0)
		{
			interval->time = spans[i].milliseconds * 1000;
			PG_RETURN_INTERVAL_P(interval);
		}
	elog(ERROR, "setting \"payout.%s\" is no span", name);
}
