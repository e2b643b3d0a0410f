/*
 * fuzz_answer.c
 *		Answers of banks to each SNAP service. Input: a line with service (15, 16, 17, 18, 20, 36, 73) and HTTP status,
 *		then the body.
 *
 * Whatever a bank says: success needs a 2xx, a refund a well-formed 4xx, a state of a transfer an answer about this
 * transfer; what may be stored is short and printable.
 */
#include "postgres.h"

#include <ctype.h>

#include "fuzz.h"
#include "mb/pg_wchar.h"
#include "protocol.h"

static BankItem item = {.merchant_id = "MERCHANT01",
						.txid = "MERCHANT0107202601310915000001",
						.wire_code = "014",
						.account_no = "8800000001",
						.beneficiary_name = "Budi Santoso",
						.amount = "10000.00"};

static const BankChannel channel = {.channel_id = "BANK1", .path_prefix = "/v1.0"};

static BankOrder order = {.external_id = "1782873300000123456789012345",
						  .items = &item,
						  .item_count = 1,
						  .batch_id = "018d0000-0000-7000-8000-000000000001",
						  .source_account_no = "888801000157508",
						  .original_service = 18,
						  .original_external_id = "1"};

static BankCall
call_of(int service)
{
	switch (service)
	{
		case 15:
		case 16:
			return CALL_ACCOUNT_CHECK;
		case 20:
			return CALL_BULK;
		case 36:
			return CALL_STATUS;
		default:
			return CALL_TRANSFER;
	}
}

static void
check_code(const char *code)
{
	REQUIRE(code == NULL || strlen(code) <= 7);
	for (; code != NULL && *code != '\0'; code++)
		REQUIRE(isalnum((unsigned char) *code));
}

static void
read_token(const HttpReply *reply)
{
	char *token = NULL;
	char *code = NULL;
	int life_s = 0;
	SnapClass class = snap_protocol.read_token(&channel, reply, &token, &life_s, &code);

	check_code(code);
	if (class != SNAP_OK)
		return;
	REQUIRE(reply->status == 200 && token != NULL && token[0] != '\0' && strlen(token) <= 2048);
	REQUIRE(life_s > 0 && life_s <= 86400);
	for (; *token != '\0'; token++)
		REQUIRE(*token > ' ' && *token <= '~');
}

static void
read_answer(int service, const HttpReply *reply)
{
	BankAnswer answer = {0};

	order.service = service;
	order.call = call_of(service);
	snap_protocol.read(&channel, &order, reply, &answer);

	check_code(answer.response_code);
	REQUIRE(answer.class != SNAP_OK || reply->status / 100 == 2);
	REQUIRE(answer.class != SNAP_FAIL || (reply->status / 100 == 4 && answer.response_code != NULL));
	REQUIRE(answer.reference_no == NULL || snap_is_reference(answer.reference_no));
	REQUIRE(answer.class == SNAP_UNKNOWN || answer.response_code == NULL ||
			atoi(answer.response_code + 3) / 100 == service);
	REQUIRE(service == 36 || answer.status == SNAP_STATUS_UNKNOWN);
	REQUIRE(answer.status == SNAP_STATUS_UNKNOWN || answer.class == SNAP_OK ||
			(answer.status == SNAP_STATUS_NOT_FOUND && reply->status == 404));
	REQUIRE(order.call != CALL_ACCOUNT_CHECK || answer.class != SNAP_OK || answer.account_name != NULL);
	/* bounded, so that no name costs more than another */
	if (answer.account_name != NULL)
		REQUIRE(pg_mbstrlen_with_len(answer.account_name, (int) strlen(answer.account_name)) <= 301);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char *head = fuzz_line(&data, &size);
	char *rest = fuzz_rest(data, size);
	int service = atoi(head);
	const char *blank = strchr(head, ' ');
	HttpReply reply = {.end = HTTP_ANSWERED, .status = blank != NULL ? atoi(blank) % 1000 : 200};

	/* as the HTTP client hands it over */
	reply.body = malloc(size + 1);
	memcpy(reply.body, rest, size);
	reply.body[size] = '\0';
	reply.body_len = size;
	if (service == 73)
		read_token(&reply);
	else if (service >= 15 && service <= 36)
		read_answer(service, &reply);
	free(reply.body);
	free(rest);
	free(head);
	fuzz_free_all();
	return 0;
}
