/*
 * worker_session.c: the settings of a worker's session.
 *
 * The owner of a database, who may be nobody special, sets defaults for it; so may whoever alters roles. A worker that took
 * them over would move no money, move it wrongly or name things otherwise: so each setting that its work depends on stands
 * in the one table below. What only costs or saves resources is left to the database.
 */
#include "postgres.h"

#include "access/xact.h"
#include "utils/guc.h"
#include "worker_session.h"

static const struct
{
	const char *name;
	const char *value;
} settings[] = {
	/* who acts, and what happens by itself when it does */
	{"role", "none"},
	{"session_replication_role", "origin"},
	{"row_security", "on"},
	{"check_function_bodies", "on"}, /* off marks a restore, see hand.c */
	{"search_path", "pg_catalog, pg_temp"},
	{"default_transaction_isolation", "read committed"},
	{"default_transaction_read_only", "off"},
	{"default_transaction_deferrable", "off"},
	/* what ends it */
	{"statement_timeout", "0"},
	{"lock_timeout", "200ms"},
	{"idle_in_transaction_session_timeout", "0"},
	{"idle_session_timeout", "0"},
	{"transaction_timeout", "0"}, /* 17 */
	{"exit_on_error", "off"},
	/* what texts mean, and how values are written */
	{"standard_conforming_strings", "on"},
	{"array_nulls", "on"},
	{"transform_null_equals", "off"},
	{"quote_all_identifiers", "off"},
	{"timezone", "UTC"},
	{"datestyle", "ISO, MDY"},
	{"intervalstyle", "postgres"},
	{"bytea_output", "hex"},
	{"extra_float_digits", "1"},
	{"lc_monetary", "C"},
	{"lc_numeric", "C"},
	{"lc_time", "C"},
	{"xmloption", "content"},
	{"plpgsql.variable_conflict", "error"},
	{"plpgsql.extra_errors", "none"},
	{"plpgsql.extra_warnings", "none"},
	{"plpgsql.check_asserts", "on"},
	/*
	 * A turn takes few rows of large tables, by index. A plan that reads a whole table is never right here, but looks
	 * so to a planner that guesses how much of a queue a batch takes, or whose statistics a crash has thrown away.
	 */
	{"jit", "off"},
	{"enable_seqscan", "off"},
	{"enable_hashjoin", "off"},
	{"enable_mergejoin", "off"},
	{"enable_nestloop", "on"},
	{"enable_indexscan", "on"},
	{"enable_indexonlyscan", "on"},
	{"enable_bitmapscan", "on"},
	{"enable_tidscan", "on"},
	{"enable_sort", "on"},
	{"enable_hashagg", "on"},
	{"max_parallel_workers_per_gather", "0"},
	/* Nor does it help to plan anew for each set: its size says nothing of where its rows are. */
	{"plan_cache_mode", "force_generic_plan"},
};

void
worker_session_set(void)
{
	for (int i = 0; i < (int) lengthof(settings); i++)
	{
		/* plpgsql's stand ready before it is loaded; others are no setting of this version */
		if (strchr(settings[i].name, '.') == NULL && GetConfigOption(settings[i].name, true, false) == NULL)
			continue;
		SetConfigOption(settings[i].name, settings[i].value, PGC_SUSET, PGC_S_OVERRIDE);
	}
	if (synchronous_commit < SYNCHRONOUS_COMMIT_REMOTE_FLUSH)
		SetConfigOption("synchronous_commit", "on", PGC_SUSET, PGC_S_OVERRIDE);
}
