/*
 * snap_subject.c: what an answer speaks of: whether all that it names of its question fits, and what it names of ours.
 *
 * Each member that names what was asked must name the same: reference, external id, the bank's own number as far as we know it,
 * service, amount (as a number), currency, accounts, bank. What a bank masks or pads is not the same. An empty text names
 * nothing. An account inquiry has a reference of its own, so that its answer fits no transfer of the same payout.
 *
 * A payout may have been sent more than once, each time under another external id. An answer that names another sending of the
 * same payout than was asked for speaks of this payout, but not of that sending. It is told from an answer of another payout by
 * the external ids under which the bank may have received this one, which the question brings along (subject.sql).
 */
#include "postgres.h"

#include "snap_subject.h"

/* What an answer may name of its question. */
typedef struct Echo
{
	const char *name;
	const char *inner;	  /* within the object of that name; NULL: the member itself */
	const char *expected; /* NULL: whatever it is */
	bool is_amount;
} Echo;

bool
snap_names(const Jsonb *json, const char *name)
{
	char *text = json_text(json, name, NULL);

	return text != NULL && *text != '\0';
}

/* True where the answer does not name the member, or names what was asked. A text that is empty names nothing. */
static bool
fits(const Jsonb *json, const Echo *echo)
{
	char *got;

	if (echo->expected == NULL)
		return true;
	got = json_text(json, echo->name, echo->inner, NULL);
	if (got == NULL)
		return !json_names(json, echo->name, echo->inner, NULL);
	if (echo->is_amount)
		return snap_same_amount(got, echo->expected);
	return *got == '\0' || strcmp(got, echo->expected) == 0;
}

/* The wire code of the bank that the question names; NULL: it names none. */
static const char *
bank_code_of(const BankOrder *order)
{
	int service = order->call == CALL_STATUS ? order->original_service : order->service;

	return service == 16 || service == 18 || (service == 20 && order->call == CALL_STATUS)
			   ? order->items[0].wire_code
			   : NULL;
}

/* Whether the word is one of those in the list, which blanks part. */
static bool
is_listed(const char *list, const char *word)
{
	size_t len = strlen(word);

	for (const char *at = list; at != NULL && *at != '\0';)
	{
		size_t at_len = strcspn(at, " ");

		if (at_len == len && memcmp(at, word, len) == 0)
			return true;
		at += at_len + (at[at_len] == ' ');
	}
	return false;
}

/*
 * Which sending the answer names. False: none of this payout's. The external id of a bulk is that of all its items, so there
 * another sending must be named together with the reference. A sending of which we have no record was asked for by the reference
 * alone: whatever external id comes with that reference, and is not of a sending that we know, is its own.
 */
static bool
find_sending(const BankOrder *order, const Jsonb *json, SnapSending *sending)
{
	char *got = json_text(json, "originalExternalId", NULL);
	bool names_reference = snap_names(json, "originalPartnerReferenceNo");

	*sending = SNAP_SENDING_NONE;
	if (got == NULL || *got == '\0')
		return got != NULL || !json_names(json, "originalExternalId", NULL);
	if (order->original_external_id != NULL && strcmp(got, order->original_external_id) == 0)
		*sending = SNAP_SENDING_ASKED;
	else if (is_listed(order->known_external_ids, got))
	{
		*sending = SNAP_SENDING_OTHER;
		return order->original_service != 20 || names_reference;
	}
	else if (order->original_external_id == NULL && names_reference)
		*sending = SNAP_SENDING_ASKED;
	return *sending != SNAP_SENDING_NONE;
}

const char *
snap_misfit(const BankOrder *order, const Jsonb *json)
{
	const BankItem *item = &order->items[0];
	const bool is_status = order->call == CALL_STATUS;
	const bool is_bulk = order->call == CALL_BULK;
	const char *reference = order->call == CALL_ACCOUNT_CHECK ? order->external_id : item->txid;
	const char *bank_code = bank_code_of(order);
	const char *source = order->call == CALL_ACCOUNT_CHECK ? NULL : order->source_account_no;
	const char *known = is_status ? order->bank_reference_no : NULL;
	const Echo echoes[] = {
		{"partnerBulkId", NULL, is_bulk ? order->batch_id : NULL, false},
		{"partnerReferenceNo", NULL, is_status || is_bulk ? NULL : reference, false},
		{"originalPartnerReferenceNo", NULL, is_status ? reference : NULL, false},
		{"originalReferenceNo", NULL, known, false},
		{"referenceNo", NULL, known, false},
		{"serviceCode", NULL, is_status ? psprintf("%02d", order->original_service) : NULL, false},
		{"beneficiaryAccountNo", NULL, is_bulk ? NULL : item->account_no, false},
		{"beneficiaryBankCode", NULL, bank_code, false},
		{"sourceAccountNo", NULL, source, false},
		{"sourceAccount", NULL, source, false},
		{"amount", "value", is_bulk ? NULL : item->amount, true},
		{"amount", "currency", is_bulk ? NULL : "IDR", false},
		{"currency", NULL, "IDR", false},
	};
	SnapSending sending;

	for (int i = 0; i < (int) lengthof(echoes); i++)
		if (!fits(json, &echoes[i]))
			return echoes[i].inner != NULL ? psprintf("%s.%s", echoes[i].name, echoes[i].inner)
										   : echoes[i].name;
	return is_status && !find_sending(order, json, &sending) ? "originalExternalId" : NULL;
}

/* The external id of a bulk names no item of it. */
SnapSubject
snap_subject(const BankOrder *order, const Jsonb *json)
{
	SnapSubject subject = {.sending = SNAP_SENDING_NONE};

	(void) find_sending(order, json, &subject.sending);
	subject.names_ours = snap_names(json, "originalPartnerReferenceNo") ||
						 (subject.sending != SNAP_SENDING_NONE && order->original_service != 20);
	subject.is_named =
		subject.names_ours || (order->bank_reference_no != NULL && snap_names(json, "originalReferenceNo"));
	return subject;
}
