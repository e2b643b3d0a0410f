/*
 * http_transfer.c
 *	  One exchange of the HTTP client.
 *
 * Owns the pool of transfers (an easy handle each), the options every request is made with, the callbacks of a
 * transfer, and the judgement of its end: answered, provably not sent, or unknown. What an answer means is for
 * others to judge.
 *
 * Callbacks never raise an error and never use palloc: they copy into plain memory and set flags. Whatever
 * libcurl does not copy belongs to the transfer. Never runs a transfer, never retries, never logs. Called by
 * http.c alone.
 */
#include "postgres.h"

#include "compat.h"
#include "http_guard.h"
#include "http_socket.h"
#include "http_transfer.h"

/* Banks and proxies drop idle connections after a minute or so; trying an older one is a gamble. */
#define CONNECTION_AGE_S_MAX 45L

/* Where trying it is no gamble: whole seconds, so it may be almost one more. */
#define EXACT_CONNECTION_AGE_S_MAX 1L

/* However busy a connection is: what was proved when it was made is proved again. */
#define CONNECTION_LIFE_S_MAX 60L

/* Transfers kept for the next use, with their buffers; beyond a burst of this size they are freed. */
#define POOL_MAX 64

/* An honest answer has about 1 kB of headers. */
#define HEADER_BYTES_MAX (64 * 1024)

/* First buffer of a reply; most replies fit. */
#define REPLY_BYTES_FIRST 4096

#define RETRY_AFTER_S_MAX 86400

static HttpTransfer *pool = NULL;
static int pool_count = 0;

/* Sets an option or leaves the function with false and the reason. */
#define SET_OR_FAIL(easy, option, value)                                                                  \
	do                                                                                                    \
	{                                                                                                     \
		CURLcode set_code = curl_easy_setopt((easy), (option), (value));                                  \
		if (set_code != CURLE_OK)                                                                         \
		{                                                                                                 \
			snprintf(error, error_size, "libcurl refused %s: %s", #option, curl_easy_strerror(set_code)); \
			return false;                                                                                 \
		}                                                                                                 \
	} while (0)

/* ---- callbacks of libcurl: no errors raised, no palloc ---- */

static curl_socket_t
on_open_socket(void *user_data, curlsocktype purpose, struct curl_sockaddr *address)
{
	HttpTransfer *transfer = user_data;

	if (purpose != CURLSOCKTYPE_IPCXN || !http_guard_address(&address->addr, transfer->host_allowed))
	{
		transfer->address_refused = true;
		return CURL_SOCKET_BAD;
	}
	transfer->opened = true;
	return http_socket_open(address, transfer);
}

/*
 * libcurl calls this when the connection stands, TLS included, and before it writes the request, each time it
 * does so. Hence "not called" is the proof that nothing was sent, and a second call is libcurl about to repeat
 * the request on a new connection because a kept one died without an answer; it does that silently, with POST
 * too. For money it may not. The address is judged here as well because a kept connection was opened under
 * the settings of its time; and so are the bytes that may wait in it, be it kept or new, which libcurl would take
 * for the answer.
 */
static int
on_before_request(void *user_data, char *remote_address, char *local_address, int remote_port, int local_port)
{
	HttpTransfer *transfer = user_data;
	const HttpEnds ends = {remote_address, remote_port, local_address, local_port};

	if (transfer->opened)
		http_socket_connected(&ends, transfer);
	if (transfer->money && transfer->may_have_left)
	{
		transfer->repeat_refused = true;
		return CURL_PREREQFUNC_ABORT;
	}
	if (!http_guard_text(remote_address, transfer->host_allowed))
	{
		transfer->address_refused = true;
		return CURL_PREREQFUNC_ABORT;
	}
	if (transfer->exact && !http_socket_is_quiet(transfer->easy, &ends, transfer->opened))
	{
		transfer->bytes_waited = true;
		return CURL_PREREQFUNC_ABORT;
	}
	/* last: whatever has happened while the connection was made counts */
	if (!http_credential_is_current(&transfer->ca_file) ||
		!http_credential_is_current(&transfer->client_certificate))
		transfer->why_refused = "a file for TLS was changed before this was sent";
	else if (transfer->refusal != NULL)
		transfer->why_refused = transfer->refusal(transfer->owner);
	if (transfer->why_refused != NULL)
		return CURL_PREREQFUNC_ABORT;
	transfer->may_have_left = true;
	return CURL_PREREQFUNC_OK;
}

/* What is no content: heads, and what stands between chunks. */
static bool
count_header(HttpTransfer *transfer, size_t bytes)
{
	transfer->header_bytes += bytes;
	if (transfer->header_bytes > HEADER_BYTES_MAX)
		transfer->headers_too_large = true;
	return !transfer->headers_too_large;
}

static size_t
on_header(char *data, size_t size, size_t count, void *user_data)
{
	HttpTransfer *transfer = user_data;

	if (transfer->exact && !http_framing_line(&transfer->framing, data, size * count))
		return 0;
	return count_header(transfer, size * count) ? size * count : 0;
}

static bool
keep_content(HttpTransfer *transfer, const char *data, size_t bytes)
{
	size_t needed;

	if (bytes > transfer->reply_bytes_max - transfer->reply_len - transfer->forgotten_bytes)
	{
		transfer->body_too_large = true;
		return false;
	}
	if (transfer->no_body)
	{
		transfer->forgotten_bytes += bytes;
		return true;
	}

	needed = transfer->reply_len + bytes + 1;
	if (needed > transfer->reply_size)
	{
		size_t doubled = Max(needed, transfer->reply_size * 2);
		char *grown = realloc(transfer->reply_body, doubled);

		if (grown == NULL)
			return false;
		transfer->reply_body = grown;
		transfer->reply_size = doubled;
	}
	memcpy(transfer->reply_body + transfer->reply_len, data, bytes);
	transfer->reply_len += bytes;
	transfer->reply_body[transfer->reply_len] = '\0';
	return true;
}

/* Chunks come as they are to an exact request, which reads them by itself. */
static size_t
on_body(char *data, size_t size, size_t count, void *user_data)
{
	HttpTransfer *transfer = user_data;
	size_t bytes = size * count;
	size_t taken;
	bool is_content;

	if (!transfer->exact || !transfer->framing.is_chunked)
		return keep_content(transfer, data, bytes) ? bytes : 0;
	for (size_t left = bytes; left > 0; left -= taken)
	{
		if (!http_framing_chunk(&transfer->framing, data, left, &taken, &is_content) ||
			!(is_content ? keep_content(transfer, data, taken) : count_header(transfer, taken)))
			return 0;
		data += taken;
	}
	return bytes;
}

/*
 * libcurl throws bytes away that came together with the end of an answer, and says so in its debug texts alone. Two answers to
 * one request: which of them is meant? Neither the texts nor what else passes here is ever logged. Some 6 us of CPU a request.
 */
static int
on_debug(CURL *easy, curl_infotype type, char *data, size_t size, void *user_data)
{
	HttpTransfer *transfer = user_data;

	if (type == CURLINFO_TEXT && http_framing_is_surplus(data, size))
	{
		transfer->surplus = true;
		(void) curl_easy_setopt(easy, CURLOPT_FORBID_REUSE, 1L);
	}
	return 0;
}

/* ---- preparing ---- */

void
http_transfer_release(HttpTransfer *transfer)
{
	CURL *easy = transfer->easy;

	curl_slist_free_all(transfer->headers);
	free(transfer->request_body);
	free(transfer->reply_body);
	http_credential_forget(&transfer->ca_file);
	http_credential_forget(&transfer->client_certificate);

	if (easy == NULL || pool_count >= POOL_MAX)
	{
		curl_easy_cleanup(easy);
		free(transfer);
		return;
	}
	curl_easy_reset(easy);
	memset(transfer, 0, sizeof(*transfer));
	transfer->easy = easy;
	transfer->next = pool;
	pool = transfer;
	pool_count++;
}

/*
 * A clean transfer from the pool or a new one; NULL when memory is out.
 */
static HttpTransfer *
take_transfer(void)
{
	HttpTransfer *transfer = pool;

	if (transfer != NULL)
	{
		pool = transfer->next;
		pool_count--;
		transfer->next = NULL;
		return transfer;
	}
	transfer = calloc(1, sizeof(HttpTransfer));
	if (transfer == NULL)
		return NULL;
	transfer->easy = curl_easy_init();
	if (transfer->easy == NULL)
	{
		free(transfer);
		return NULL;
	}
	return transfer;
}

/*
 * Is this "Name: value", with both, and free of control characters, which could smuggle in a second header?
 */
static bool
header_is_sound(const char *header)
{
	const char *colon = strchr(header, ':');
	const char *p;

	if (colon == NULL || colon == header || strspn(colon + 1, " ") == strlen(colon + 1))
		return false;
	for (p = header; *p != '\0'; p++)
	{
		if ((unsigned char) *p < ' ' || *p == 0x7F || (*p == ' ' && p < colon))
			return false;
	}
	return true;
}

static bool
append_header(HttpTransfer *transfer, const char *header)
{
	struct curl_slist *longer = curl_slist_append(transfer->headers, header);

	if (longer != NULL)
		transfer->headers = longer;
	return longer != NULL;
}

/*
 * Copies headers and body, and makes room for the reply.
 */
static bool
copy_request(HttpTransfer *transfer, const HttpRequest *req, char *error, size_t error_size)
{
	const char *const *header;
	bool has_type = false;
	bool copied;

	/* no waiting for "100 Continue", and no second sending after a 417 */
	copied = append_header(transfer, "Expect:");
	for (header = req->headers; copied && header != NULL && *header != NULL; header++)
	{
		if (!header_is_sound(*header))
		{
			strlcpy(error, "header is not \"Name: value\"", error_size);
			return false;
		}
		if (pg_strncasecmp(*header, "Content-Type:", strlen("Content-Type:")) == 0)
			has_type = true;
		copied = append_header(transfer, *header);
	}
	/* libcurl would claim that the body is a form */
	if (copied && !has_type)
		copied = append_header(transfer, "Content-Type:");

	/* never NULL: for a NULL body libcurl would read standard input */
	transfer->request_body = malloc(req->body_len + 1);
	transfer->reply_body = malloc(REPLY_BYTES_FIRST);
	if (!copied || transfer->request_body == NULL || transfer->reply_body == NULL)
	{
		strlcpy(error, "out of memory", error_size);
		return false;
	}
	if (req->body_len > 0)
		memcpy(transfer->request_body, req->body, req->body_len);
	transfer->request_body[req->body_len] = '\0';
	transfer->reply_body[0] = '\0';
	transfer->reply_size = REPLY_BYTES_FIRST;
	return true;
}

/*
 * What holds for every request: nothing is left to defaults, to the environment or to files of the user.
 */
static bool
set_fixed_options(CURL *easy, char *error, size_t error_size)
{
	SET_OR_FAIL(easy, CURLOPT_NOSIGNAL, 1L);
	SET_OR_FAIL(easy, CURLOPT_REDIR_PROTOCOLS_STR, "https");
	SET_OR_FAIL(easy, CURLOPT_FOLLOWLOCATION, 0L);
	SET_OR_FAIL(easy, CURLOPT_DISALLOW_USERNAME_IN_URL, 1L);
	SET_OR_FAIL(easy, CURLOPT_PATH_AS_IS, 1L); /* the path may be signed */
	SET_OR_FAIL(easy, CURLOPT_PROXY, "");
	SET_OR_FAIL(easy, CURLOPT_NOPROXY, "*");
	SET_OR_FAIL(easy, CURLOPT_NETRC, (long) CURL_NETRC_IGNORED);
	SET_OR_FAIL(easy, CURLOPT_COOKIEFILE, NULL);
	SET_OR_FAIL(easy, CURLOPT_HTTP09_ALLOWED, 0L);
	SET_OR_FAIL(easy, CURLOPT_ACCEPT_ENCODING, NULL);
	SET_OR_FAIL(easy, CURLOPT_HTTP_CONTENT_DECODING, 0L);
	SET_OR_FAIL(easy, CURLOPT_USERAGENT, "payout/1.0");
	SET_OR_FAIL(easy, CURLOPT_TCP_NODELAY, 1L);
	SET_OR_FAIL(easy, CURLOPT_TCP_KEEPALIVE, 1L);
	SET_OR_FAIL(easy, CURLOPT_TCP_KEEPIDLE, 30L);
	SET_OR_FAIL(easy, CURLOPT_TCP_KEEPINTVL, 10L);
	SET_OR_FAIL(easy, CURLOPT_SSL_VERIFYPEER, 1L);
	SET_OR_FAIL(easy, CURLOPT_SSL_VERIFYHOST, 2L);
	SET_OR_FAIL(easy, CURLOPT_SSLVERSION, (long) CURL_SSLVERSION_TLSv1_2);
	/* with DHE the server chooses the size of the numbers that we reckon with */
	SET_OR_FAIL(easy, CURLOPT_SSL_CIPHER_LIST, "ECDHE+AESGCM:ECDHE+CHACHA20:ECDHE+AES");
	SET_OR_FAIL(easy, CURLOPT_SSL_SESSIONID_CACHE, 0L); /* who is resumed proves nothing */
	SET_OR_FAIL(easy, CURLOPT_CA_CACHE_TIMEOUT, 0L);
	SET_OR_FAIL(easy, CURLOPT_MAXLIFETIME_CONN, CONNECTION_LIFE_S_MAX);
	/* a timeout during a name look-up leaves the thread behind instead of waiting for it */
	SET_OR_FAIL(easy, CURLOPT_QUICK_EXIT, 1L);
	return true;
}

static bool
set_callbacks(HttpTransfer *transfer, char *error, size_t error_size)
{
	CURL *easy = transfer->easy;

	SET_OR_FAIL(easy, CURLOPT_PRIVATE, transfer);
	SET_OR_FAIL(easy, CURLOPT_ERRORBUFFER, transfer->curl_error);
	SET_OR_FAIL(easy, CURLOPT_NOPROGRESS, 1L);
	SET_OR_FAIL(easy, CURLOPT_OPENSOCKETFUNCTION, on_open_socket);
	SET_OR_FAIL(easy, CURLOPT_OPENSOCKETDATA, transfer);
	SET_OR_FAIL(easy, CURLOPT_CLOSESOCKETFUNCTION, http_socket_close);
	SET_OR_FAIL(easy, CURLOPT_PREREQFUNCTION, on_before_request);
	SET_OR_FAIL(easy, CURLOPT_PREREQDATA, transfer);
	SET_OR_FAIL(easy, CURLOPT_HEADERFUNCTION, on_header);
	SET_OR_FAIL(easy, CURLOPT_HEADERDATA, transfer);
	SET_OR_FAIL(easy, CURLOPT_WRITEFUNCTION, on_body);
	SET_OR_FAIL(easy, CURLOPT_WRITEDATA, transfer);
	if (transfer->exact)
	{
		SET_OR_FAIL(easy, CURLOPT_HTTP_TRANSFER_DECODING, 0L);
		SET_OR_FAIL(easy, CURLOPT_DEBUGFUNCTION, on_debug);
		SET_OR_FAIL(easy, CURLOPT_DEBUGDATA, transfer);
		SET_OR_FAIL(easy, CURLOPT_VERBOSE, 1L);
	}
	return true;
}

/*
 * The files of the channel, as content: see http_credential.c.
 */
static bool
set_credentials(HttpTransfer *transfer, const HttpRequest *req, char *error, size_t error_size)
{
	CURL *easy = transfer->easy;
	struct curl_blob content;

	if (req->ca_file != NULL)
	{
		if (!http_credential_read("ca_file", req->ca_file, CA_FILE_BYTES_MAX, &content, &transfer->ca_file,
								  error, error_size))
			return false;
		/* these authorities and no other: libcurl would go on to the system's file and folder of them */
		SET_OR_FAIL(easy, CURLOPT_CAINFO_BLOB, &content);
		SET_OR_FAIL(easy, CURLOPT_CAINFO, NULL);
		SET_OR_FAIL(easy, CURLOPT_CAPATH, NULL);
	}
	if (req->client_certificate != NULL)
	{
		if (!http_credential_read("client_certificate", req->client_certificate, CLIENT_CERTIFICATE_BYTES_MAX,
								  &content, &transfer->client_certificate, error, error_size))
			return false;
		/* the whole file as certificate too: a new key alone makes it another one */
		SET_OR_FAIL(easy, CURLOPT_SSLCERTTYPE, "PEM");
		SET_OR_FAIL(easy, CURLOPT_SSLCERT_BLOB, &content);
		SET_OR_FAIL(easy, CURLOPT_SSLKEY_BLOB, &content);
		SET_OR_FAIL(easy, CURLOPT_KEYPASSWD, ""); /* else OpenSSL would ask a terminal, and wait */
	}
	return true;
}

/*
 * What differs between requests.
 *
 * Kept connections are used for money too. Two things could go wrong there, and neither does:
 *
 *	 - The connection has ended, or ends as the request arrives. libcurl looks for the end before it uses one; after that it
 *	   repeats a request by itself when no byte of an answer has come, and on_before_request() refuses that: the exchange
 *	   is unknown, and the bank is asked. So that this stays rare, an exact request uses a connection only a moment after
 *	   its last use: servers keep idle ones for longer than that.
 *	 - Bytes of another answer are read as ours. A request that was given up, by timeout or otherwise, closes its
 *	   connection, so nobody's late answer comes on a kept one. Bytes that come together with an answer, behind its end,
 *	   make it unknown and close the connection (on_debug); so does an answer whose end can be read in two ways
 *	   (http_framing.c); those that come later are found by on_before_request(), and nothing was sent. What is left is a
 *	   server that answers one request twice, the second time after the next request has left. The protocols therefore
 *	   compare the service and whatever an answer names with ours. A refusal that names nothing is believed all the same: most
 *	   have nothing but a code.
 *
 * An exact request is of HTTP/1.1. With HTTP/2 it could wait in nghttp2's queue, behind the streams that the server allows,
 * after on_before_request() let it go: no check could stop it any more, and it would leave when a pause or an alteration has
 * long been committed. Other requests use HTTP/2 where the server has it over TLS.
 *
 * libcurl looks through all it keeps once a second, with the age of whichever request comes by: where money moves, the
 * connections of the other lanes live as briefly.
 */
static bool
set_request_options(HttpTransfer *transfer, const HttpRequest *req, char *error, size_t error_size)
{
	CURL *easy = transfer->easy;

	SET_OR_FAIL(easy, CURLOPT_PROTOCOLS_STR, transfer->host_allowed ? "http,https" : "https");
	SET_OR_FAIL(easy, CURLOPT_URL, req->url);
	SET_OR_FAIL(easy, CURLOPT_HTTPHEADER, transfer->headers);
	SET_OR_FAIL(easy, CURLOPT_CONNECTTIMEOUT_MS, (long) req->connect_timeout_ms);
	SET_OR_FAIL(easy, CURLOPT_TIMEOUT_MS, (long) req->request_timeout_ms);
	SET_OR_FAIL(easy, CURLOPT_HTTP_VERSION,
				(long) (req->exact ? CURL_HTTP_VERSION_1_1 : CURL_HTTP_VERSION_2TLS));
	SET_OR_FAIL(easy, CURLOPT_FRESH_CONNECT, req->fresh ? 1L : 0L);
	SET_OR_FAIL(easy, CURLOPT_MAXAGE_CONN, req->exact ? EXACT_CONNECTION_AGE_S_MAX : CONNECTION_AGE_S_MAX);

	if (strcmp(req->method, "POST") == 0)
	{
		SET_OR_FAIL(easy, CURLOPT_POST, 1L);
		SET_OR_FAIL(easy, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t) req->body_len);
		SET_OR_FAIL(easy, CURLOPT_POSTFIELDS, transfer->request_body);
	}
	else
		SET_OR_FAIL(easy, CURLOPT_HTTPGET, 1L);
	return set_credentials(transfer, req, error, error_size);
}

static bool
request_is_sound(const HttpRequest *req, char *error, size_t error_size)
{
	if (req->method == NULL || (strcmp(req->method, "GET") != 0 && strcmp(req->method, "POST") != 0))
		strlcpy(error, "method is neither GET nor POST", error_size);
	else if (req->connect_timeout_ms <= 0 || req->request_timeout_ms <= 0 || req->reply_bytes_max == 0)
		strlcpy(error, "timeouts and size of the reply must be positive", error_size);
	else if (req->body_len > 0 && (req->body == NULL || strcmp(req->method, "GET") == 0))
		strlcpy(error, "body is missing or not allowed", error_size);
	else
		return true;
	return false;
}

static bool
fill_transfer(HttpTransfer *transfer, const HttpRequest *req, char *error, size_t error_size)
{
	transfer->refusal = req->refusal;
	transfer->money = req->money;
	transfer->exact = req->exact;
	transfer->reply_bytes_max = req->reply_bytes_max;
	transfer->no_body = req->no_body;
	return http_guard_url(req->url, &transfer->host_allowed, error, error_size) &&
		   copy_request(transfer, req, error, error_size) &&
		   set_fixed_options(transfer->easy, error, error_size) &&
		   set_callbacks(transfer, error, error_size) &&
		   set_request_options(transfer, req, error, error_size);
}

HttpTransfer *
http_transfer_prepare(const HttpRequest *req, void *owner, char *error, size_t error_size)
{
	HttpTransfer *transfer;

	error[0] = '\0';
	if (!request_is_sound(req, error, error_size))
		return NULL;
	transfer = take_transfer();
	if (transfer == NULL)
	{
		strlcpy(error, "out of memory", error_size);
		return NULL;
	}
	transfer->owner = owner;
	if (!fill_transfer(transfer, req, error, error_size))
	{
		http_transfer_release(transfer);
		return NULL;
	}
	return transfer;
}

/* ---- judging ---- */

/*
 * Why an exchange did not end in an answer.
 */
static void
describe_failure(const HttpTransfer *transfer, CURLcode code, char *error, size_t error_size)
{
	if (transfer->repeat_refused)
		strlcpy(error, "connection ended without an answer, request not repeated", error_size);
	else if (transfer->why_refused != NULL)
		strlcpy(error, transfer->why_refused, error_size);
	else if (transfer->bytes_waited)
		strlcpy(error, "connection held bytes that nobody asked for", error_size);
	else if (transfer->surplus || transfer->framing.has_surplus)
		strlcpy(error, "bytes came behind the end of the answer", error_size);
	else if (transfer->framing.fault != NULL)
		snprintf(error, error_size, "answer whose end is in doubt: %s", transfer->framing.fault);
	else if (transfer->body_too_large)
		snprintf(error, error_size, "reply larger than %zu bytes", transfer->reply_bytes_max);
	else if (transfer->headers_too_large)
		snprintf(error, error_size, "headers of the reply larger than %d bytes", HEADER_BYTES_MAX);
	else if (transfer->address_refused && !transfer->may_have_left)
		strlcpy(error, "address is private and not in payout.allow_hosts", error_size);
	else if (transfer->curl_error[0] != '\0')
		strlcpy(error, transfer->curl_error, error_size);
	else if (code != CURLE_OK)
		strlcpy(error, curl_easy_strerror(code), error_size);
	else
		strlcpy(error, "answer without a final status", error_size);
}

/*
 * Judges an exchange. The proof of "not sent" does not rest on the error code: whatever failed before libcurl
 * was let go on to the request (name, TCP, TLS, certificate, guard, timeout in any of these) was not sent, and
 * all that failed after it may have been.
 */
void
http_transfer_judge(HttpTransfer *transfer, CURLcode code)
{
	HttpReply *reply = &transfer->reply;
	long status = 0;
	long request_bytes = 0;
	curl_off_t total_us = 0;
	curl_off_t retry_after_s = 0;
	bool size_known;

	(void) curl_easy_getinfo(transfer->easy, CURLINFO_RESPONSE_CODE, &status);
	(void) curl_easy_getinfo(transfer->easy, CURLINFO_TOTAL_TIME_T, &total_us);
	(void) curl_easy_getinfo(transfer->easy, CURLINFO_RETRY_AFTER, &retry_after_s);
	size_known = curl_easy_getinfo(transfer->easy, CURLINFO_REQUEST_SIZE, &request_bytes) == CURLE_OK;

	if (code == CURLE_OK && status >= 200 && !transfer->surplus &&
		(!transfer->exact || http_framing_end(&transfer->framing)))
		reply->end = HTTP_ANSWERED;
	else if (!transfer->may_have_left && size_known && request_bytes == 0)
		reply->end = HTTP_NOT_SENT;
	else
		reply->end = HTTP_UNKNOWN;

	reply->refused = reply->end == HTTP_NOT_SENT && transfer->why_refused != NULL;
	reply->status = (int) status;
	reply->latency_ms = (int64) (total_us / 1000);
	reply->retry_after_s = (int) Min(Max(retry_after_s, 0), RETRY_AFTER_S_MAX);
	reply->error[0] = '\0';
	if (reply->end != HTTP_ANSWERED)
		describe_failure(transfer, code, reply->error, sizeof(reply->error));

	reply->body = transfer->reply_body;
	reply->body_len = transfer->reply_len;
	transfer->reply_body = NULL;
}
