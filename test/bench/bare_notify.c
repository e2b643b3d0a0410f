/*
 * bare_notify.c: what libcurl alone delivers: COUNT signed messages to one address, IN_FLIGHT at a time, over connections
 * and handles that are kept. No database, nothing recorded. Prints messages per second.
 * usage: bare_notify URL WEBHOOK_KEY BODY_FILE COUNT IN_FLIGHT      (key: the base64 behind whsec_)
 */
#include <curl/curl.h>
#include <err.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define KEY_BYTES_MAX 256
#define BODY_BYTES_MAX 16384

static const char *url;
static char body[BODY_BYTES_MAX];
static unsigned char key[KEY_BYTES_MAX];
static int key_len;
static long started;
static long delivered;

static double
now_s(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec + now.tv_nsec / 1e9;
}

static size_t
ignore(char *data, size_t size, size_t count, void *user_data)
{
	(void) data;
	(void) user_data;
	return size * count;
}

static void
read_arguments(char **argv)
{
	FILE *file = fopen(argv[3], "r");
	size_t len;

	url = argv[1];
	key_len = EVP_DecodeBlock(key, (const unsigned char *) argv[2], (int) strlen(argv[2]));
	for (len = strlen(argv[2]); len > 0 && argv[2][len - 1] == '='; len--)
		key_len--;
	if (file == NULL || key_len <= 0)
		err(1, "%s", argv[3]);
	len = fread(body, 1, sizeof(body) - 1, file);
	while (len > 0 && body[len - 1] == '\n')
		len--;
	body[len] = '\0';
	fclose(file);
}

/* The headers of the next message; they belong to the handle until its next use. */
static struct curl_slist *
sign(void)
{
	static char text[BODY_BYTES_MAX + 128];
	unsigned char mac[32];
	char base64[48];
	char line[128];
	long stamp = (long) time(NULL);
	struct curl_slist *headers = curl_slist_append(NULL, "Content-Type: application/json");

	snprintf(text, sizeof(text), "msg_bare_%d_%ld.%ld.%s", (int) getpid(), started, stamp, body);
	HMAC(EVP_sha256(), key, key_len, (const unsigned char *) text, strlen(text), mac, NULL);
	EVP_EncodeBlock((unsigned char *) base64, mac, sizeof(mac));
	snprintf(line, sizeof(line), "webhook-id: msg_bare_%d_%ld", (int) getpid(), started);
	headers = curl_slist_append(headers, line);
	snprintf(line, sizeof(line), "webhook-timestamp: %ld", stamp);
	headers = curl_slist_append(headers, line);
	snprintf(line, sizeof(line), "webhook-signature: v1,%s", base64);
	return curl_slist_append(headers, line);
}

static void
start(CURLM *multi, CURL *easy)
{
	struct curl_slist *headers = NULL;

	curl_easy_getinfo(easy, CURLINFO_PRIVATE, &headers);
	curl_slist_free_all(headers);
	started++;
	headers = sign();
	curl_easy_setopt(easy, CURLOPT_HTTPHEADER, headers);
	curl_easy_setopt(easy, CURLOPT_PRIVATE, headers);
	curl_multi_add_handle(multi, easy);
}

static CURL *
new_handle(void)
{
	CURL *easy = curl_easy_init();

	curl_easy_setopt(easy, CURLOPT_URL, url);
	curl_easy_setopt(easy, CURLOPT_POSTFIELDS, body);
	curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, ignore);
	curl_easy_setopt(easy, CURLOPT_NOSIGNAL, 1L);
	curl_easy_setopt(easy, CURLOPT_PROXY, "");
	return easy;
}

/* Takes what has ended out of the multi handle and starts the next with it. */
static void
take_ended(CURLM *multi, long count)
{
	CURLMsg *message;
	int left;

	while ((message = curl_multi_info_read(multi, &left)) != NULL)
	{
		CURL *easy = message->easy_handle;
		long status = 0;

		curl_easy_getinfo(easy, CURLINFO_RESPONSE_CODE, &status);
		if (message->data.result != CURLE_OK || status != 200)
			errx(1, "a message was not delivered: %s, HTTP %ld", curl_easy_strerror(message->data.result),
				 status);
		delivered++;
		curl_multi_remove_handle(multi, easy);
		if (started < count)
			start(multi, easy);
	}
}

int
main(int argc, char **argv)
{
	CURLM *multi;
	double began_s;
	long count;
	int running;

	if (argc != 6)
		errx(1, "usage: bare_notify URL WEBHOOK_KEY BODY_FILE COUNT IN_FLIGHT");
	curl_global_init(CURL_GLOBAL_DEFAULT);
	read_arguments(argv);
	count = atol(argv[4]);
	multi = curl_multi_init();
	began_s = now_s();
	for (int i = 0; i < atoi(argv[5]) && started < count; i++)
		start(multi, new_handle());
	while (delivered < count)
	{
		curl_multi_perform(multi, &running);
		take_ended(multi, count);
		if (delivered < count)
			curl_multi_poll(multi, NULL, 0, 1000, NULL);
	}
	printf("%.0f\n", count / (now_s() - began_s));
	return 0;
}
