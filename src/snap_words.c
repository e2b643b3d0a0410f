/*
 * snap_words.c: what the members of an answer say together, and what is kept of their texts.
 *
 * An answer of which one member contradicts another is no word of the bank: it is not for us to choose which of them is
 * meant. Texts are kept no longer than anybody needs them: TEXT_CHARS_MAX and one character, by which it is seen that there
 * was more.
 */
#include "postgres.h"

#include "mb/pg_wchar.h"
#include "snap_words.h"
#include "utf8.h"

#define TEXT_CHARS_MAX 300 /* as compare_names() in validate.sql */

char *
snap_kept_text(const Jsonb *json, const char *name)
{
	char *text = json_text(json, name, NULL);

	if (text != NULL)
		text[pg_mbcharcliplen(text, (int) strlen(text), TEXT_CHARS_MAX + 1)] = '\0';
	return text;
}

char *
snap_message(const Jsonb *json)
{
	char *text = snap_kept_text(json, "responseMessage");

	for (char *c = text; c != NULL && *c != '\0'; c++)
		if (*c == UTF8_SUBSTITUTE)
			*c = '?';
	return text;
}

/*
 * The state of the transfer that an answer names beside its code: the text, NULL where there is none. False where two members
 * name two.
 */
static bool
state_text(const Jsonb *json, char **state)
{
	char *latest = json_text(json, "latestTransactionStatus", NULL);
	char *other = json_text(json, "transactionStatus", NULL);

	if (latest != NULL && *latest == '\0')
		latest = NULL;
	if (other != NULL && *other == '\0')
		other = NULL;
	*state = latest != NULL ? latest : other;
	return latest == NULL || other == NULL || strcmp(latest, other) == 0;
}

/* What the answer to a transfer means, whose code means this, where it names this state as well. */
static SnapClass
class_with_state(const BankOrder *order, SnapClass class, SnapStatus state)
{
	bool is_denied = state == SNAP_STATUS_FAILED || state == SNAP_STATUS_CANCELED;

	if (class == SNAP_OK && state == SNAP_STATUS_PENDING)
		return order->call == CALL_BULK ? SNAP_OK : SNAP_WAIT;
	if (class == SNAP_OK || class == SNAP_WAIT)
		return state == SNAP_STATUS_PAID || state == SNAP_STATUS_PENDING ? class : SNAP_UNKNOWN;
	return is_denied ? class : SNAP_UNKNOWN;
}

/*
 * Whether the state that the answer to a status inquiry gives is contradicted by the code that the transfer had, as it says.
 * The success of a bulk was an acceptance, after which an item may fail.
 */
static bool
contradicts_previous(const BankOrder *order, const Jsonb *json, SnapStatus status)
{
	char *code = json_text(json, "previousResponseCode", NULL);
	SnapClass class;

	if (code == NULL || strlen(code) != 7)
		return false;
	class = snap_item_class(psprintf("%.3s00%s", code, code + 5));
	if (class == SNAP_OK)
		return order->original_service != 20 &&
			   (status == SNAP_STATUS_FAILED || status == SNAP_STATUS_CANCELED);
	return class == SNAP_FAIL && status == SNAP_STATUS_PAID;
}

/* Whether "not found" is said of a transfer that has another state. */
static bool
is_found(bool is_not_found, const char *state)
{
	return is_not_found && state != NULL && snap_status(state) != SNAP_STATUS_NOT_FOUND;
}

const char *
snap_contradiction(const BankOrder *order, const Jsonb *json, bool is_not_found, SnapClass *class)
{
	SnapClass said = *class;
	char *state;

	if (!state_text(json, &state))
		return "transactionStatus contradicts latestTransactionStatus";
	if (is_found(is_not_found, state))
		return "latestTransactionStatus contradicts responseCode";
	if (state == NULL)
		return NULL;
	if (order->call == CALL_STATUS)
		return contradicts_previous(order, json, snap_status(state))
				   ? "previousResponseCode contradicts latestTransactionStatus"
				   : NULL;
	if (order->call == CALL_ACCOUNT_CHECK)
		return NULL;
	*class = class_with_state(order, said, snap_status(state));
	return *class == SNAP_UNKNOWN && said != SNAP_UNKNOWN
			   ? "the transaction's status contradicts responseCode"
			   : NULL;
}
