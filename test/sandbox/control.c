/*
 * control.c: JSON over loopback without signatures: faults, outages, refunds, and reports of what happened.
 * It must never move money except by the one refund that is asked for. One thread of its own.
 */
#include "control.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "books.h"
#include "config.h"
#include "fault.h"
#include "journal.h"
#include "payroll.h"
#include "request.h"
#include "server.h"
#include "webhook.h"

#define BODY_BYTES_MAX (1024u * 1024)

typedef struct Call
{
	struct MHD_Connection *connection;
	Buffer body;
	json_t *root;
	const char *path; /* behind /control */
	int http;
} Call;

static struct MHD_Daemon *control_daemon;

static json_t *
refuse(Call *call, int http, const char *why)
{
	call->http = http;
	return json_pack("{s:s}", "error", why);
}

static const char *
text_of(const Call *call, const char *name)
{
	return json_string_value(json_object_get(call->root, name));
}

static const char *
query_of(const Call *call, const char *name)
{
	return MHD_lookup_connection_value(call->connection, MHD_GET_ARGUMENT_KIND, name);
}

static json_t *
post_fault(Call *call)
{
	const char *error;
	int id = fault_add(call->root, &error);

	return id == 0 ? refuse(call, 400, error) : json_pack("{s:i}", "id", id);
}

static json_t *
post_account(Call *call)
{
	const char *no = text_of(call, "no");
	const char *name = text_of(call, "name");
	const char *status = text_of(call, "status");
	const char *source = text_of(call, "source_account_no");
	int64_t cents;

	if (source != NULL && money_parse(text_of(call, "balance"), &cents))
		books_set_float(source, cents);
	else if (no != NULL)
		books_set_account(no, name == NULL ? "" : name, status == NULL ? "active" : status);
	else
		return refuse(call, 400, "needs no, name, status; or source_account_no, balance");
	return json_pack("{s:b}", "ok", 1);
}

static json_t *
post_refund(Call *call)
{
	const char *reference = text_of(call, "partner_reference_no");
	Entry *entry = (reference == NULL) ? NULL : books_find(reference);

	if (entry == NULL)
		return refuse(call, 404, "no such transfer");
	if (entry->state != ENTRY_PAID)
		return refuse(call, 409, "not paid");
	books_refund(entry);
	return json_pack("{s:b}", "ok", 1);
}

static json_t *
post_notice(Call *call)
{
	const char *reference = text_of(call, "partner_reference_no");
	const char *bulk_id = text_of(call, "partner_bulk_id");
	const Entry *entry = (reference == NULL) ? NULL : books_find(reference);
	Bulk *bulk = (entry != NULL) ? entry->bulk : (bulk_id == NULL ? NULL : books_bulk_find(bulk_id));

	if (bulk == NULL)
		return refuse(call, 404, "no such bulk");
	if (!bulk->booked || conf.notice_base_url == NULL)
		return refuse(call, 409, "not booked yet, or no notice_base_url");
	payroll_notice(bulk);
	return json_pack("{s:b}", "ok", 1);
}

static json_t *
post_seed(Call *call)
{
	const json_t *seed = json_object_get(call->root, "seed");

	if (!json_is_integer(seed))
		return refuse(call, 400, "needs seed");
	random_seed((uint64_t) json_integer_value(seed));
	return json_pack("{s:b}", "ok", 1);
}

static json_t *
post_reset(Call *call)
{
	(void) call;
	fault_clear();
	request_log_clear();
	return json_pack("{s:b}", "ok", 1);
}

static json_t *
delete_fault(Call *call)
{
	if (strcmp(call->path, "/fault") == 0)
		fault_clear();
	else if (!fault_remove(atoi(call->path + strlen("/fault/"))))
		return refuse(call, 404, "no such fault");
	return json_pack("{s:b}", "ok", 1);
}

static json_t *
get_requests(Call *call)
{
	const char *service = query_of(call, "service");

	if (service == NULL)
		return request_report(-1);
	return request_report(strcmp(service, "webhook") == 0 ? SERVICE_WEBHOOK : atoi(service));
}

static json_t *
get_state(Call *call)
{
	const char *after = query_of(call, "after");

	if (strcmp(call->path, "/fault") == 0)
		return fault_report();
	if (strcmp(call->path, "/books") == 0)
		return books_report(query_of(call, "summary") != NULL);
	if (strcmp(call->path, "/requests") == 0)
		return get_requests(call);
	if (strcmp(call->path, "/webhooks") == 0)
		return webhook_report(query_of(call, "merchant_id"),
							  after == NULL ? 0 : (size_t) strtoul(after, NULL, 10));
	if (strcmp(call->path, "/hanging") == 0)
		return json_pack("{s:i}", "count", hold_hanging());
	return refuse(call, 404, "no such report");
}

/* The outage changes the listener itself, so it runs without the state lock. */
static json_t *
post_down(Call *call)
{
	const json_t *down = json_object_get(call->root, "down");

	if (!json_is_boolean(down))
		return refuse(call, 400, "needs down");
	if (json_is_true(down))
		server_down();
	else
		server_up();
	return json_pack("{s:b}", "ok", 1);
}

static json_t *
run_call(Call *call, const char *method)
{
	static const struct
	{
		const char *path;
		json_t *(*run)(Call *call);
	} posts[] = {{"/fault", post_fault},   {"/account", post_account}, {"/refund", post_refund},
				 {"/notice", post_notice}, {"/seed", post_seed},	   {"/reset", post_reset}};
	json_t *result = NULL;
	size_t i;

	if (strcmp(method, "POST") == 0 && strcmp(call->path, "/down") == 0)
		return post_down(call);
	if (strcmp(method, "POST") == 0 && strcmp(call->path, "/release") == 0)
		return json_pack("{s:i}", "released", hold_release_hanging());
	state_lock();
	if (strcmp(method, "GET") == 0)
		result = get_state(call);
	else if (strcmp(method, "DELETE") == 0 && strncmp(call->path, "/fault", 6) == 0)
		result = delete_fault(call);
	for (i = 0; strcmp(method, "POST") == 0 && i < sizeof(posts) / sizeof(posts[0]); i++)
		if (strcmp(call->path, posts[i].path) == 0)
			result = posts[i].run(call);
	state_unlock();
	journal_commit();
	return result == NULL ? refuse(call, 404, "no such control") : result;
}

static enum MHD_Result
on_call(void *cls, struct MHD_Connection *connection, const char *url, const char *method,
		const char *version, const char *upload, size_t *upload_size, void **con_cls)
{
	Call *call = *con_cls;
	struct MHD_Response *response;
	enum MHD_Result queued;
	json_t *result;
	char *text;

	(void) cls;
	(void) version;
	if (call == NULL)
	{
		call = *con_cls = xmalloc(sizeof(Call));
		memset(call, 0, sizeof(*call));
		call->connection = connection;
		return MHD_YES;
	}
	if (*upload_size > 0)
	{
		if (call->body.size + *upload_size <= BODY_BYTES_MAX)
			buffer_add(&call->body, upload, *upload_size);
		*upload_size = 0;
		return MHD_YES;
	}
	call->http = 200;
	call->path = (strncmp(url, "/control/", 9) == 0) ? url + 8 : "";
	call->root =
		(call->body.size == 0) ? json_object() : json_loadb(call->body.data, call->body.size, 0, NULL);
	result =
		json_is_object(call->root) ? run_call(call, method) : refuse(call, 400, "the body is no JSON object");
	text = json_dumps(result, JSON_COMPACT);
	json_decref(result);
	response = MHD_create_response_from_buffer(strlen(text), text, MHD_RESPMEM_MUST_FREE);
	MHD_add_response_header(response, "Content-Type", "application/json");
	queued = MHD_queue_response(connection, (unsigned int) call->http, response);
	MHD_destroy_response(response);
	return queued;
}

static void
on_call_completed(void *cls, struct MHD_Connection *connection, void **con_cls,
				  enum MHD_RequestTerminationCode how)
{
	Call *call = *con_cls;

	(void) cls;
	(void) connection;
	(void) how;
	if (call == NULL)
		return;
	buffer_free(&call->body);
	json_decref(call->root);
	free(call);
	*con_cls = NULL;
}

void
control_start(int *port)
{
	control_daemon = MHD_start_daemon(MHD_USE_EPOLL_INTERNAL_THREAD | MHD_USE_ERROR_LOG, 0, NULL, NULL,
									  on_call, NULL, MHD_OPTION_LISTEN_SOCKET, server_socket(port, true),
									  MHD_OPTION_NOTIFY_COMPLETED, on_call_completed, NULL, MHD_OPTION_END);
	if (control_daemon == NULL)
		die("cannot start the control end");
}

void
control_stop(void)
{
	MHD_stop_daemon(control_daemon);
}
