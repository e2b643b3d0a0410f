/*
 * accounts.c: destination accounts (exact numbers, then prefixes) and the floats of source accounts.
 * It must never decide whether a transfer is paid. Called by books.c and the control end under the state lock.
 */
#include "accounts.h"

#include <stdlib.h>
#include <string.h>

#include "books.h"
#include "config.h"
#include "journal.h"
#include "util.h"

typedef struct Account
{
	char *name;
	char *status;
} Account;

static Hash *accounts;
static Hash *floats;

static void
put_account(const char *account_no, const char *name, const char *status)
{
	Account *account = hash_get(accounts, account_no);

	if (account == NULL)
	{
		account = xmalloc(sizeof(Account));
		memset(account, 0, sizeof(*account));
		hash_put(accounts, account_no, account);
	}
	free(account->name);
	free(account->status);
	account->name = xstrdup(name);
	account->status = xstrdup(status);
}

static void
put_float(const char *source_account_no, int64_t cents)
{
	int64_t *held = hash_get(floats, source_account_no);

	if (held == NULL)
	{
		held = xmalloc(sizeof(int64_t));
		hash_put(floats, source_account_no, held);
	}
	*held = cents;
}

void
accounts_init(void)
{
	size_t i;
	json_t *value;
	const char *key;

	accounts = hash_new();
	floats = hash_new();
	json_array_foreach((json_t *) conf.accounts, i, value)
	{
		const char *no = json_string_value(json_object_get(value, "no"));
		const char *status = json_string_value(json_object_get(value, "status"));

		if (no == NULL)
			die("config: an account without no");
		put_account(no, json_string_value(json_object_get(value, "name")),
					status == NULL ? "active" : status);
	}
	json_object_foreach((json_t *) conf.source_accounts, key, value)
	{
		int64_t cents;

		if (!money_parse(json_string_value(value), &cents))
			die("config: the balance of source account %s must look like 1000.00", key);
		put_float(key, cents);
	}
}

static Refusal
status_refusal(const char *status)
{
	static const struct
	{
		const char *status;
		Refusal refusal;
	} table[] = {{"active", {0, 0}}, {"closed", {403, 18}}, {"dormant", {403, 9}}, {"frozen", {403, 5}}};
	size_t i;

	for (i = 0; i < sizeof(table) / sizeof(table[0]); i++)
		if (strcmp(table[i].status, status) == 0)
			return table[i].refusal;
	return (Refusal){404, 11};
}

const char *
books_account_name(const char *account_no, Refusal *refusal)
{
	const Account *account = hash_get(accounts, account_no);
	size_t i;
	json_t *value;

	*refusal = (Refusal){0, 0};
	if (account != NULL)
	{
		*refusal = status_refusal(account->status);
		return refusal->http == 0 ? account->name : NULL;
	}
	json_array_foreach((json_t *) conf.wildcards, i, value)
	{
		const char *prefix = json_string_value(json_object_get(value, "prefix"));
		const char *name = json_string_value(json_object_get(value, "name"));

		if (prefix != NULL && name != NULL && strncmp(account_no, prefix, strlen(prefix)) == 0)
			return name;
	}
	if (conf.accounts == NULL && conf.wildcards == NULL)
		return "BUDI SANTOSO";
	*refusal = (Refusal){404, 11};
	return NULL;
}

int64_t *
books_float(const char *source_account_no)
{
	return hash_get(floats, source_account_no);
}

void
books_set_account(const char *account_no, const char *name, const char *status)
{
	put_account(account_no, name, status);
	journal_add("account",
				json_pack("{s:s, s:s, s:s}", "account_no", account_no, "name", name, "status", status));
}

void
books_set_float(const char *source_account_no, int64_t cents)
{
	char balance[MONEY_TEXT_SIZE];

	put_float(source_account_no, cents);
	money_format(balance, cents);
	journal_add("float", json_pack("{s:s, s:s}", "source_account_no", source_account_no, "balance", balance));
}

void
accounts_replay(const char *event, const json_t *line)
{
	const char *no = json_string_value(json_object_get(line, "account_no"));
	const char *source = json_string_value(json_object_get(line, "source_account_no"));
	int64_t cents;

	if (strcmp(event, "account") == 0 && no != NULL)
		put_account(no, json_string_value(json_object_get(line, "name")),
					json_string_value(json_object_get(line, "status")));
	else if (strcmp(event, "float") == 0 && source != NULL &&
			 money_parse(json_string_value(json_object_get(line, "balance")), &cents))
		put_float(source, cents);
}

static void
report_float(const char *key, void *value, void *arg)
{
	char balance[MONEY_TEXT_SIZE];

	money_format(balance, *(int64_t *) value);
	json_object_set_new(arg, key, json_string(balance));
}

json_t *
accounts_report(void)
{
	json_t *report = json_object();

	hash_each(floats, report_float, report);
	return report;
}
