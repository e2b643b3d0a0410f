/*
 * snap_code.c
 *		What a SNAP BI response code means for a call.
 *
 * Owns the table of codes and the rules that depend on the service. Must never read a responseMessage (banks
 * word it as they like), and must never call an answer final that it does not know: a wrong FAIL gives money
 * back that may have been paid, a wrong LATER may pay twice, while a wrong UNKNOWN costs one status inquiry.
 * An answer belongs to its question: a code that names another service than the one that was called means nothing.
 * Called by the SNAP protocol, the notices of banks, the SQL list of codes and the unit tests.
 */
#include "snap_code.h"

#include <string.h>

static const SnapCode codes[] = {
	{200, 0, SNAP_OK, false, "successful"},
	{202, 0, SNAP_WAIT, false, "request in progress"},
	{400, 0, SNAP_FAIL, true, "bad request"},
	{400, 1, SNAP_FAIL, true, "invalid field format"},
	{400, 2, SNAP_FAIL, true, "invalid mandatory field"},
	{401, 0, SNAP_STOP, true, "unauthorized"},
	{401, 1, SNAP_AUTH, false, "invalid B2B token"},
	{401, 2, SNAP_FAIL, true, "invalid customer token"},
	{401, 3, SNAP_AUTH, false, "B2B token not found"},
	{401, 4, SNAP_FAIL, true, "customer token not found"},
	{403, 0, SNAP_FAIL, false, "transaction expired"},
	{403, 1, SNAP_STOP, true, "feature not allowed"},
	{403, 2, SNAP_FAIL, false, "exceeds transaction amount limit"},
	{403, 3, SNAP_FAIL, true, "suspected fraud"},
	{403, 4, SNAP_LATER, false, "activity count limit exceeded"},
	{403, 5, SNAP_FAIL, false, "do not honor"},
	{403, 6, SNAP_LATER, false, "feature not allowed at this time"},
	{403, 7, SNAP_FAIL, false, "card blocked"},
	{403, 8, SNAP_FAIL, false, "card expired"},
	{403, 9, SNAP_FAIL, false, "dormant account"},
	{403, 10, SNAP_FAIL, false, "need to set token limit"},
	{403, 11, SNAP_FAIL, false, "OTP blocked"},
	{403, 12, SNAP_FAIL, false, "OTP lifetime expired"},
	{403, 13, SNAP_FAIL, false, "OTP sent to cardholder"},
	{403, 14, SNAP_LATER, true, "insufficient funds"},
	{403, 15, SNAP_FAIL, false, "transaction not permitted"},
	{403, 16, SNAP_FAIL, true, "suspend transaction"},
	{403, 17, SNAP_FAIL, false, "token limit exceeded"},
	{403, 18, SNAP_FAIL, false, "inactive card, account or customer"},
	{403, 19, SNAP_STOP, true, "merchant blacklisted"},
	{403, 20, SNAP_LATER, false, "merchant limit exceeded"},
	{403, 21, SNAP_FAIL, false, "set limit not allowed"},
	{403, 22, SNAP_FAIL, false, "token limit invalid"},
	{403, 23, SNAP_LATER, false, "account limit exceeded"},
	{404, 0, SNAP_UNKNOWN, false, "invalid transaction status"}, /* see class_of_row */
	{404, 1, SNAP_UNKNOWN, false, "transaction not found"},
	{404, 2, SNAP_LATER, false, "invalid routing"},
	{404, 3, SNAP_FAIL, false, "bank not supported by switch"},
	{404, 4, SNAP_FAIL, false, "transaction cancelled"},
	{404, 5, SNAP_STOP, true, "merchant not registered for the service"},
	{404, 6, SNAP_STOP, true, "need to request OTP"},
	{404, 7, SNAP_STOP, true, "journey not found"},
	{404, 8, SNAP_STOP, true, "invalid merchant"},
	{404, 9, SNAP_STOP, true, "no issuer"},
	{404, 10, SNAP_STOP, true, "invalid API transition"},
	{404, 11, SNAP_FAIL, false, "invalid card, account, customer or virtual account"},
	{404, 12, SNAP_FAIL, false, "invalid bill or virtual account"},
	{404, 13, SNAP_FAIL, false, "invalid amount"},
	{404, 14, SNAP_UNKNOWN, true, "paid bill"}, /* see class_of_row */
	{404, 15, SNAP_FAIL, false, "invalid OTP"},
	{404, 16, SNAP_STOP, true, "partner not found"},
	{404, 17, SNAP_STOP, true, "invalid terminal"},
	{404, 18, SNAP_UNKNOWN, true, "inconsistent request"}, /* see class_of_row */
	{404, 19, SNAP_FAIL, false, "bill or virtual account expired"},
	{405, 0, SNAP_STOP, true, "requested function not supported"},
	{405, 1, SNAP_FAIL, false, "requested operation not allowed"},
	/* the external id was used before: nothing is said of what became of the first request */
	{409, 0, SNAP_UNKNOWN, false, "conflict"},
	/* the reference was paid before, says the bank: a status inquiry must confirm */
	{409, 1, SNAP_UNKNOWN, false, "duplicate partner reference number"},
	{429, 0, SNAP_LATER, false, "too many requests"},
	/* the standard's text invites a retry after 500-01, banks forbid a blind one */
	{500, 0, SNAP_UNKNOWN, false, "general error"},
	{500, 1, SNAP_UNKNOWN, false, "internal server error"},
	{500, 2, SNAP_UNKNOWN, false, "external server error"},
	{504, 0, SNAP_UNKNOWN, false, "timeout"},
};

const SnapCode *
snap_codes(size_t *count)
{
	*count = sizeof(codes) / sizeof(codes[0]);
	return codes;
}

static bool
is_digit(char c)
{
	return c >= '0' && c <= '9';
}

/* The parts of a code of seven digits; false for any other text. */
static bool
code_split(const char *code, int *http, int *service, int *case_code)
{
	int i;

	if (code == NULL)
		return false;
	/* the first NUL ends the walk, as it is no digit */
	for (i = 0; i < 7; i++)
		if (!is_digit(code[i]))
			return false;
	if (code[7] != '\0')
		return false;
	*http = (code[0] - '0') * 100 + (code[1] - '0') * 10 + (code[2] - '0');
	*service = (code[3] - '0') * 10 + (code[4] - '0');
	*case_code = (code[5] - '0') * 10 + (code[6] - '0');
	return true;
}

/* Whether the code is one that may answer the service with this status line, and its case. */
static bool
code_answers(const char *code, int service, bool generic, int http_status, int *case_code)
{
	int http;
	int named;

	return code_split(code, &http, &named, case_code) && http == http_status &&
		   (named == service || (generic && named == 0));
}

static const SnapCode *
code_find(int http, int case_code)
{
	size_t i;

	for (i = 0; i < sizeof(codes) / sizeof(codes[0]); i++)
		if (codes[i].http == http && codes[i].case_code == case_code)
			return &codes[i];
	return NULL;
}

/* Services that ask what became of a payment: of a bank, of a top-up, of a cash-out, of a non-bank. */
static bool
service_asks_status(int service)
{
	return service == 36 || service == 39 || service == 45 || service == 53;
}

/* Services that only ask; any other, and any we do not know, is taken to move money. */
static bool
service_only_asks(int service)
{
	/* balance; account at the same bank, at another, of a wallet, at a bank through a wallet */
	return service_asks_status(service) || service == 11 || service == 15 || service == 16 || service == 37 ||
		   service == 42;
}

static bool
service_is_token(int service)
{
	return service == 73 || service == 74;
}

/* Services whose success is an acceptance, to be followed by a status; a bulk (20) is accepted as SNAP_OK. */
static bool
service_accepts(int service)
{
	return service == 22 || service == 23 || service == 40;
}

/* Services that create a transfer: what they say of an earlier one says nothing of where the money is. */
static bool
service_transfers(int service)
{
	return !service_only_asks(service) && !service_is_token(service) && service != 44 && service != 46;
}

/*
 * The class of a row for a service. The rules that the table cannot hold:
 * - 404-00 (invalid transaction status) and 404-14 (paid bill) are final refusals of a cancel, of a
 *   redemption or of a question. Answered to a transfer they speak of a transaction that exists already,
 *   perhaps paid: UNKNOWN.
 * - 404-18 (same reference, other content) counts as success for transfers, says the standard, which only a
 *   status inquiry can confirm: UNKNOWN, with an alert. For a cash-out at a store (44) it counts as failed.
 * - A status inquiry that is refused says nothing of the payment it asked about: never FAIL.
 * - Services 22, 23 and 40 answer success when they have only accepted: WAIT.
 */
static SnapClass
class_of_row(int service, const SnapCode *row)
{
	if (service_asks_status(service))
		return row->class == SNAP_FAIL ? SNAP_UNKNOWN : row->class;
	if (row->http == 404 && (row->case_code == 0 || row->case_code == 14))
		return service_transfers(service) ? SNAP_UNKNOWN : SNAP_FAIL;
	if (row->http == 404 && row->case_code == 18 && service == 44)
		return SNAP_FAIL;
	if (row->class == SNAP_OK && service_accepts(service))
		return SNAP_WAIT;
	return row->class;
}

/*
 * The class of an answer without a code. Something between us and the bank may have written it (a proxy, a
 * gateway that had passed the request on, or had repeated it by itself): no proof that the bank did not act,
 * whatever the status. So UNKNOWN for money. Where nothing moves, the status alone may guide: a 401 renews
 * the token, a 429 backs off.
 */
static SnapClass
class_without_code(int service, int http_status)
{
	/* the envelope of a token reply is conditional: without it, the caller looks for accessToken */
	if (service_is_token(service) && http_status == 200)
		return SNAP_OK;
	/* here 401 is about our key, which no renewal mends */
	if (service_is_token(service) && http_status == 401)
		return SNAP_STOP;
	if (service_only_asks(service) && http_status == 401)
		return SNAP_AUTH;
	if ((service_only_asks(service) || service_is_token(service)) && http_status == 429)
		return SNAP_LATER;
	return SNAP_UNKNOWN;
}

SnapClass
snap_class(int service, bool generic, int http_status, const char *response_code)
{
	const SnapCode *row;
	int case_code;

	if (response_code == NULL)
		return class_without_code(service, http_status);
	/* a garbled code, or one that contradicts the status line or the question, proves nothing */
	if (!code_answers(response_code, service, generic, http_status, &case_code))
		return SNAP_UNKNOWN;
	/*
	 * A code that the standard does not list is the bank's own: a 2xx may be a partial success, a 4xx a
	 * refusal after the booking. UNKNOWN, and snap_alert() tells the operator.
	 */
	row = code_find(http_status, case_code);
	return row == NULL ? SNAP_UNKNOWN : class_of_row(service, row);
}

bool
snap_code_fits(int service, bool generic, int http_status, const char *response_code)
{
	int case_code;

	return response_code == NULL || code_answers(response_code, service, generic, http_status, &case_code);
}

bool
snap_not_found(int service, bool generic, int http_status, const char *response_code)
{
	int case_code;

	return service_asks_status(service) && http_status == 404 &&
		   code_answers(response_code, service, generic, http_status, &case_code) && case_code == 1;
}

bool
snap_alert(int http_status, const char *response_code)
{
	const SnapCode *row;
	int http;
	int service;
	int case_code;

	if (!code_split(response_code, &http, &service, &case_code) || http != http_status)
		return false;
	row = code_find(http, case_code);
	return row == NULL || row->alert;
}

SnapClass
snap_item_class(const char *response_code)
{
	int http;
	int service;
	int case_code;

	/* an item has no status line of its own: its code is taken at its word */
	if (!code_split(response_code, &http, &service, &case_code))
		return SNAP_UNKNOWN;
	return service == 20 || service == 21 || service == 0 ? snap_class(service, true, http, response_code)
														  : SNAP_UNKNOWN;
}

/* The digits of a number: where they begin without leading zeros and end without those behind a point. */
static bool
number_digits(const char *text, const char **begin, size_t *whole, const char **fraction,
			  size_t *fraction_len)
{
	const char *end;

	while (*text == '0' && is_digit(text[1]))
		text++;
	*begin = text;
	while (is_digit(*text))
		text++;
	*whole = (size_t) (text - *begin);
	if (*whole == 0)
		return false;
	*fraction = text;
	*fraction_len = 0;
	if (*text == '\0')
		return true;
	if (*text++ != '.' || !is_digit(*text))
		return false;
	*fraction = text;
	for (end = text; is_digit(*text); text++)
		if (*text != '0')
			end = text + 1;
	*fraction_len = (size_t) (end - *fraction);
	return *text == '\0';
}

bool
snap_same_amount(const char *text, const char *amount)
{
	const char *a;
	const char *b;
	const char *a_fraction;
	const char *b_fraction;
	size_t a_whole;
	size_t b_whole;
	size_t a_len;
	size_t b_len;

	return text != NULL && amount != NULL && number_digits(text, &a, &a_whole, &a_fraction, &a_len) &&
		   number_digits(amount, &b, &b_whole, &b_fraction, &b_len) && a_whole == b_whole && a_len == b_len &&
		   memcmp(a, b, a_whole) == 0 && memcmp(a_fraction, b_fraction, a_len) == 0;
}

bool
snap_is_reference(const char *text)
{
	size_t i;

	if (text == NULL)
		return false;
	for (i = 0; text[i] != '\0'; i++)
		if (i == 64 || text[i] <= ' ' || text[i] > '~')
			return false;
	return i > 0;
}

const char *
snap_class_name(SnapClass class)
{
	switch (class)
	{
		case SNAP_OK:
			return "ok";
		case SNAP_WAIT:
			return "wait";
		case SNAP_FAIL:
			return "fail";
		case SNAP_LATER:
			return "later";
		case SNAP_AUTH:
			return "auth";
		case SNAP_STOP:
			return "stop";
		case SNAP_UNKNOWN:
			break;
	}
	return "unknown";
}

SnapStatus
snap_status(const char *text)
{
	static const SnapStatus statuses[] = {SNAP_STATUS_PAID,	   SNAP_STATUS_PENDING,	 SNAP_STATUS_PENDING,
										  SNAP_STATUS_PENDING, SNAP_STATUS_REFUNDED, SNAP_STATUS_CANCELED,
										  SNAP_STATUS_FAILED,  SNAP_STATUS_NOT_FOUND};

	if (text == NULL || text[0] != '0' || text[1] < '0' || text[1] > '7' || text[2] != '\0')
		return SNAP_STATUS_UNKNOWN;
	return statuses[text[1] - '0'];
}

const char *
snap_status_name(SnapStatus status)
{
	switch (status)
	{
		case SNAP_STATUS_PAID:
			return "paid";
		case SNAP_STATUS_PENDING:
			return "pending";
		case SNAP_STATUS_REFUNDED:
			return "refunded";
		case SNAP_STATUS_CANCELED:
			return "canceled";
		case SNAP_STATUS_FAILED:
			return "failed";
		case SNAP_STATUS_NOT_FOUND:
			return "not_found";
		case SNAP_STATUS_UNKNOWN:
			break;
	}
	return "unknown";
}
