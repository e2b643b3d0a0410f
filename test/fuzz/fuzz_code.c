/*
 * fuzz_code.c
 *		Response codes, transfer states, amounts and references of banks. Input: lines of service, HTTP status, code.
 *
 * What must hold for any text: money goes back (FAIL) only on a well-formed code of 4xx that agrees with the status
 * line and names the service, never on a status inquiry's; success only on a 2xx; a code of another service says nothing.
 */
#include "fuzz.h"
#include "outcome.h"
#include "snap_code.h"

#include <string.h>

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char *service_text = fuzz_line(&data, &size);
	char *status_text = fuzz_line(&data, &size);
	char *code = fuzz_line(&data, &size);
	int service = atoi(service_text) % 100;
	int http = atoi(status_text) % 1000;
	SnapClass class = snap_class(service, false, http, code);
	SnapClass generic = snap_class(service, true, http, code);
	SnapClass without = snap_class(service, false, http, NULL);
	SnapClass item = snap_item_class(code);
	int named = strlen(code) == 7 ? (code[3] - '0') * 10 + code[4] - '0' : -1;
	bool wait;

	REQUIRE(class == SNAP_UNKNOWN || (named == service && class == generic));
	REQUIRE(generic == SNAP_UNKNOWN || named == service || named == 0);
	REQUIRE(item == SNAP_UNKNOWN || named == 0 || named == 20 || named == 21);
	REQUIRE(class == SNAP_UNKNOWN || snap_code_fits(service, false, http, code));
	REQUIRE(!snap_not_found(service, true, http, code) || (class != SNAP_FAIL && http == 404));
	REQUIRE(!snap_same_amount(code, "250000.00") || strspn(code, "0123456789.") == strlen(code));
	REQUIRE(!snap_is_reference(code) || (strlen(code) >= 1 && strlen(code) <= 64));

	REQUIRE(class != SNAP_FAIL || (http / 100 == 4 && strlen(code) == 7 && service != 36));
	REQUIRE(class != SNAP_OK || http / 100 == 2);
	REQUIRE(class != SNAP_WAIT || http / 100 == 2);
	REQUIRE(without != SNAP_FAIL && (without != SNAP_OK || service == 73 || service == 74));
	REQUIRE(item != SNAP_FAIL || (strlen(code) == 7 && code[0] == '4'));
	REQUIRE(item != SNAP_OK || strncmp(code, "200", 3) == 0);
	REQUIRE(outcome_of(true, true, class, true, &wait) != OUTCOME_NO || class == SNAP_FAIL);
	REQUIRE(outcome_of(false, true, class, true, &wait) == OUTCOME_UNKNOWN);
	REQUIRE(snap_status(code) == SNAP_STATUS_UNKNOWN || strlen(code) == 2);
	REQUIRE(strlen(snap_class_name(class)) > 0 && strlen(snap_status_name(snap_status(code))) > 0);
	(void) snap_alert(http, code);

	free(service_text);
	free(status_text);
	free(code);
	return 0;
}
