/*
 * fault.c: the list of faults, their matching and their dice. It must never act itself: the server, the worker and the
 * notices ask for a hit and do what it says. Called under the state lock.
 */
#include "fault.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "util.h"

typedef struct Fault
{
	int id;
	int service; /* 0 = any */
	FaultHit hit;
	double probability;
	json_int_t left; /* negative = without end */
	json_int_t hits;
	char *account_no; /* NULL = any */
	char *reference_no;
	char *merchant_id;
	struct Fault *next;
} Fault;

static Fault *faults;
static int last_id;

static const char *const kind_names[FAULT_KIND_COUNT] = {
	"none",		   "delay",		   "hang",		"reset_before", "reset_after",	   "error_before",
	"error_after", "garbage",	   "truncated", "oversized",	"wrong_signature", "duplicate_notice",
	"no_notice",   "notice_first", "answer",	"pending",		"item_fail",	   "deny_later"};

static bool
names(const json_t *object, const char *field, const char *wanted)
{
	const char *text = json_string_value(json_object_get(object, field));

	return text != NULL && strcmp(text, wanted) == 0;
}

static bool
object_fits(const Fault *fault, const json_t *object)
{
	if (fault->account_no != NULL && !names(object, "beneficiaryAccountNo", fault->account_no))
		return false;
	return fault->reference_no == NULL || names(object, "partnerReferenceNo", fault->reference_no) ||
		   names(object, "originalPartnerReferenceNo", fault->reference_no) ||
		   names(object, "partnerBulkId", fault->reference_no);
}

/* Account and reference must fit on the same item. */
static bool
narrowed(const Fault *fault, const FaultSubject *subject)
{
	const json_t *items;
	const json_t *item;
	size_t i;

	if (fault->merchant_id != NULL &&
		(subject->merchant_id == NULL || strcmp(fault->merchant_id, subject->merchant_id) != 0))
		return false;
	if (fault->account_no == NULL && fault->reference_no == NULL)
		return true;
	if (subject->account_no != NULL || subject->reference_no != NULL)
		return (fault->account_no == NULL ||
				(subject->account_no != NULL && strcmp(fault->account_no, subject->account_no) == 0)) &&
			   (fault->reference_no == NULL ||
				(subject->reference_no != NULL && strcmp(fault->reference_no, subject->reference_no) == 0));
	if (object_fits(fault, subject->root))
		return true;
	items = json_object_get(subject->root, "bulkObject");
	json_array_foreach((json_t *) items, i, item)
	{
		if (object_fits(fault, item))
			return true;
	}
	return false;
}

FaultHit
fault_pick(unsigned int kinds, const FaultSubject *subject)
{
	FaultHit none;
	Fault *fault;

	for (fault = faults; fault != NULL; fault = fault->next)
	{
		if ((kinds & FAULT_BIT(fault->hit.kind)) == 0 || fault->left == 0)
			continue;
		if (fault->service != 0 && fault->service != subject->service)
			continue;
		if (!narrowed(fault, subject))
			continue;
		/* the dice are thrown only for fitting requests: other traffic must not change a seeded run */
		if (fault->probability < 1.0 && random_unit() >= fault->probability)
			continue;
		if (fault->left > 0)
			fault->left--;
		fault->hits++;
		return fault->hit;
	}
	memset(&none, 0, sizeof(none));
	return none;
}

static FaultKind
kind_of(const char *name)
{
	int kind;

	for (kind = 1; name != NULL && kind < FAULT_KIND_COUNT; kind++)
		if (strcmp(kind_names[kind], name) == 0)
			return (FaultKind) kind;
	return FAULT_NONE;
}

/* -1 = unknown */
static int
service_of(const json_t *value)
{
	static const char *const known[] = {"73", "11", "15", "16", "17", "18", "20", "36", "21"};
	const char *text = json_string_value(value);
	size_t i;

	if (value == NULL || (text != NULL && strcmp(text, "any") == 0))
		return 0;
	if (text == NULL)
		return -1;
	if (strcmp(text, "webhook") == 0)
		return SERVICE_WEBHOOK;
	for (i = 0; i < sizeof(known) / sizeof(known[0]); i++)
		if (strcmp(known[i], text) == 0)
			return atoi(text);
	return -1;
}

static char *
text_of(const json_t *request, const char *name)
{
	const char *text = json_string_value(json_object_get(request, name));

	return text == NULL ? NULL : xstrdup(text);
}

static json_int_t
number_of(const json_t *request, const char *name, json_int_t standard)
{
	const json_t *value = json_object_get(request, name);

	return json_is_integer(value) ? json_integer_value(value) : standard;
}

static int
standard_http(FaultKind kind)
{
	if (kind == FAULT_ITEM_FAIL || kind == FAULT_DENY_LATER)
		return 404;
	return kind == FAULT_ANSWER ? 403 : 500;
}

static FaultHit
hit_of(const json_t *request, FaultKind kind)
{
	FaultHit hit;
	const char *code = json_string_value(json_object_get(request, "code"));
	const char *message = json_string_value(json_object_get(request, "message"));
	const char *digits = json_string_value(json_object_get(request, "service_digits"));

	memset(&hit, 0, sizeof(hit));
	hit.kind = kind;
	hit.delay_ms = (int) number_of(request, "delay_ms", 0);
	hit.http = (int) number_of(request, "http", standard_http(kind));
	hit.code = (code != NULL) ? atoi(code) : (kind == FAULT_ITEM_FAIL || kind == FAULT_DENY_LATER ? 11 : 0);
	hit.service_digits = (digits != NULL) ? atoi(digits) : 0;
	hit.after_booking = json_is_true(json_object_get(request, "after_booking"));
	hit.raw = json_is_true(json_object_get(request, "raw"));
	hit.nested = json_is_true(json_object_get(request, "nested"));
	hit.keep = json_is_true(json_object_get(request, "keep"));
	hit.size = (size_t) number_of(request, "bytes", 8 * 1024 * 1024);
	snprintf(hit.message, sizeof(hit.message), "%s", message == NULL ? "" : message);
	return hit;
}

static const char *
fault_error(int service, FaultKind kind, const FaultHit *hit)
{
	if (kind == FAULT_NONE)
		return "unknown kind";
	if (service < 0)
		return "unknown service";
	if (kind == FAULT_DENY_LATER && service != 20)
		return "only service 20 is denied later";
	if (hit->service_digits < 0 || hit->service_digits > 99 ||
		(hit->service_digits > 0 && kind != FAULT_ANSWER))
		return "service_digits out of range, or not of an answer";
	if (hit->http < 200 || hit->http > 599 || hit->code < 0 || hit->code > 99)
		return "http or code out of range";
	return hit->size > 256u * 1024 * 1024 ? "bytes out of range" : NULL;
}

int
fault_add(const json_t *request, const char **error)
{
	FaultKind kind = kind_of(json_string_value(json_object_get(request, "kind")));
	int service = service_of(json_object_get(request, "service"));
	FaultHit hit = hit_of(request, kind);
	const json_t *probability = json_object_get(request, "probability");
	Fault *fault;
	Fault **place = &faults;

	*error = fault_error(service, kind, &hit);
	if (*error != NULL)
		return 0;
	fault = xmalloc(sizeof(Fault));
	memset(fault, 0, sizeof(*fault));
	fault->id = ++last_id;
	fault->service = service;
	fault->hit = hit;
	fault->probability = json_is_number(probability) ? json_number_value(probability) : 1.0;
	fault->left = number_of(request, "count", -1);
	fault->account_no = text_of(request, "account_no");
	fault->reference_no = text_of(request, "reference_no");
	fault->merchant_id = text_of(request, "merchant_id");
	while (*place != NULL)
		place = &(*place)->next;
	*place = fault;
	return fault->id;
}

bool
fault_remove(int id)
{
	Fault **place;

	for (place = &faults; *place != NULL; place = &(*place)->next)
	{
		Fault *fault = *place;

		if (fault->id != id)
			continue;
		*place = fault->next;
		free(fault->account_no);
		free(fault->reference_no);
		free(fault->merchant_id);
		free(fault);
		return true;
	}
	return false;
}

void
fault_clear(void)
{
	while (faults != NULL)
		fault_remove(faults->id);
}

json_t *
fault_report(void)
{
	json_t *list = json_array();
	const Fault *fault;

	for (fault = faults; fault != NULL; fault = fault->next)
	{
		json_t *row =
			json_pack("{s:i, s:s, s:i, s:I, s:I}", "id", fault->id, "kind", kind_names[fault->hit.kind],
					  "service", fault->service, "left", fault->left, "hits", fault->hits);

		if (fault->account_no != NULL)
			json_object_set_new(row, "account_no", json_string(fault->account_no));
		if (fault->reference_no != NULL)
			json_object_set_new(row, "reference_no", json_string(fault->reference_no));
		if (fault->merchant_id != NULL)
			json_object_set_new(row, "merchant_id", json_string(fault->merchant_id));
		json_array_append_new(list, row);
	}
	return list;
}
