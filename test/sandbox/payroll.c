/*
 * payroll.c: a few threads that book accepted work when it is due and then send its notices until they are taken.
 * It must never book an entry that was paid: everything is looked up again under the state lock.
 * The queue is memory only; after a kill it is rebuilt from the journal.
 */
#include "payroll.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "config.h"
#include "fault.h"
#include "journal.h"
#include "notice.h"
#include "request.h"
#include "util.h"

#define THREADS 4
#define NOTICE_TRIES_MAX 10
#define NOTICE_FIRST_RETRY_MS 500
#define NOTICE_RETRY_MAX_MS 60000

typedef struct Job
{
	int64_t due_ms;
	Entry *entry;	/* book this pending transfer, or */
	Bulk *bulk;		/* book this bulk, or when booked send its notice, or */
	json_t *denial; /* send this notice */
	bool resend;	/* a notice on demand: sent although one was taken already */
	bool delayed;	/* its delay fault is spent */
	int tries;
	struct Job *next;
} Job;

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t changed = PTHREAD_COND_INITIALIZER;
static Job *jobs;
static Job *denials; /* not due yet: each waits until its bulk comes again */
static bool stopping;
static pthread_t threads[THREADS];

static void
queue_job(Job *job, int64_t due_ms)
{
	pthread_mutex_lock(&lock);
	job->due_ms = due_ms;
	job->next = jobs;
	jobs = job;
	pthread_cond_signal(&changed);
	pthread_mutex_unlock(&lock);
}

static Job *
new_job(Entry *entry, Bulk *bulk)
{
	Job *job = xmalloc(sizeof(Job));

	memset(job, 0, sizeof(*job));
	job->entry = entry;
	job->bulk = bulk;
	return job;
}

void
payroll_single(Entry *entry, int delay_ms)
{
	if (delay_ms >= 0)
		queue_job(new_job(entry, NULL), now_ms() + delay_ms);
}

void
payroll_bulk(Bulk *bulk, int delay_ms)
{
	if (delay_ms >= 0)
		queue_job(new_job(NULL, bulk), now_ms() + delay_ms);
}

void
payroll_denial(json_t *notice, int delay_ms)
{
	Job *job = new_job(NULL, NULL);

	job->denial = notice;
	if (delay_ms >= 0)
	{
		queue_job(job, now_ms() + delay_ms);
		return;
	}
	pthread_mutex_lock(&lock);
	job->next = denials;
	denials = job;
	pthread_mutex_unlock(&lock);
}

bool
payroll_deny_now(const char *partner_bulk_id)
{
	Job **place = &denials;
	Job *job;

	pthread_mutex_lock(&lock);
	while (*place != NULL && strcmp(json_string_value(json_object_get((*place)->denial, "partnerBulkId")),
									partner_bulk_id) != 0)
		place = &(*place)->next;
	job = *place;
	if (job != NULL)
		*place = job->next;
	pthread_mutex_unlock(&lock);
	if (job != NULL)
		queue_job(job, now_ms());
	return job != NULL;
}

void
payroll_notice(Bulk *bulk)
{
	Job *job = new_job(NULL, bulk);

	job->resend = true;
	queue_job(job, now_ms());
}

void
payroll_recover(void)
{
	Bulk *bulk;
	Entry *entry;

	for (bulk = books_bulk_first(); bulk != NULL; bulk = bulk->next)
		if (!bulk->booked || (!bulk->noticed && conf.notice_base_url != NULL))
			payroll_bulk(bulk, conf.payroll_delay_ms);
	for (entry = books_first(); entry != NULL; entry = entry->next)
		if (entry->state == ENTRY_ACCEPTED && entry->bulk == NULL)
			payroll_single(entry, conf.payroll_delay_ms);
}

bool
payroll_stopping(void)
{
	bool result;

	pthread_mutex_lock(&lock);
	result = stopping;
	pthread_mutex_unlock(&lock);
	return result;
}

/* Books one entry: pays it, or fails it for its account, the float or a fault. */
static void
book_entry(Entry *entry)
{
	FaultSubject subject = {entry->order.service, NULL, entry->order.account_no, entry->order.reference,
							NULL};
	Refusal refusal;
	FaultHit hit;

	if (entry->times_paid > 0 || entry->state != ENTRY_ACCEPTED)
		return;
	refusal = books_refusal(&entry->order);
	hit = fault_pick(FAULT_BIT(FAULT_ITEM_FAIL), &subject);
	if (hit.kind == FAULT_ITEM_FAIL)
		refusal = (Refusal){hit.http, hit.code};
	if (refusal.http != 0)
		books_fail(entry, refusal);
	else
		books_pay(entry);
}

static void
book_bulk(Bulk *bulk)
{
	int i;

	state_lock();
	if (!bulk->booked)
	{
		for (i = 0; i < bulk->item_count; i++)
			book_entry(bulk->items[i]);
		books_bulk_booked(bulk);
	}
	state_unlock();
	journal_commit();
}

static void
free_job(Job *job)
{
	json_decref(job->denial);
	free(job);
}

static void
free_jobs(Job *job)
{
	while (job != NULL)
	{
		Job *next = job->next;

		free_job(job);
		job = next;
	}
}

static int64_t
retry_delay_ms(int tries)
{
	int64_t delay_ms = NOTICE_FIRST_RETRY_MS;

	while (--tries > 0 && delay_ms < NOTICE_RETRY_MAX_MS)
		delay_ms *= 2;
	return delay_ms;
}

/* One try of a notice; queues the next one, or ends the job. */
static void
try_notice(Job *job, CURL *curl)
{
	int delay_ms = 0;
	bool taken = false;
	bool noticed;

	state_lock();
	noticed = job->bulk != NULL && job->bulk->noticed;
	state_unlock();
	if (noticed && !job->resend)
	{
		free_job(job);
		return;
	}
	switch (notice_send(curl, job->bulk, job->denial, job->delayed ? NULL : &delay_ms))
	{
		case NOTICE_DELAYED:
			job->delayed = true;
			queue_job(job, now_ms() + delay_ms);
			return;
		case NOTICE_TAKEN:
			taken = true;
			break;
		case NOTICE_FAILED:
			break;
	}
	if (taken && job->bulk != NULL)
	{
		state_lock();
		books_bulk_noticed(job->bulk);
		state_unlock();
		journal_commit();
	}
	if (job->bulk != NULL)
		hold_bulk_noticed(job->bulk);
	if (taken || ++job->tries >= NOTICE_TRIES_MAX)
		free_job(job);
	else
		queue_job(job, now_ms() + retry_delay_ms(job->tries));
}

static void
run_job(Job *job, CURL *curl)
{
	if (job->entry != NULL)
	{
		state_lock();
		book_entry(job->entry);
		state_unlock();
		journal_commit();
		free(job);
		return;
	}
	if (job->bulk != NULL)
		book_bulk(job->bulk);
	if (conf.notice_base_url != NULL)
	{
		try_notice(job, curl);
		return;
	}
	hold_bulk_noticed(job->bulk);
	free_job(job);
}

/* Takes the job that is due first, or tells when that will be. */
static Job *
take_due(int64_t *next_ms)
{
	Job **place;
	Job **best = NULL;
	Job *job;

	for (place = &jobs; *place != NULL; place = &(*place)->next)
		if (best == NULL || (*place)->due_ms < (*best)->due_ms)
			best = place;
	*next_ms = (best == NULL) ? now_ms() + 60000 : (*best)->due_ms;
	if (best == NULL || (*best)->due_ms > now_ms())
		return NULL;
	job = *best;
	*best = job->next;
	return job;
}

static void *
payroll_main(void *arg)
{
	CURL *curl = curl_easy_init();

	if (curl == NULL)
		die("cannot create a curl handle");
	pthread_mutex_lock(&lock);
	while (!stopping)
	{
		int64_t next_ms;
		Job *job = take_due(&next_ms);

		if (job == NULL)
		{
			wait_until(&changed, &lock, next_ms);
			continue;
		}
		pthread_mutex_unlock(&lock);
		run_job(job, curl);
		pthread_mutex_lock(&lock);
	}
	pthread_mutex_unlock(&lock);
	curl_easy_cleanup(curl);
	return arg;
}

void
payroll_start(void)
{
	int i;

	for (i = 0; i < THREADS; i++)
		if (pthread_create(&threads[i], NULL, payroll_main, NULL) != 0)
			die("cannot start a thread");
}

void
payroll_stop(void)
{
	int i;

	pthread_mutex_lock(&lock);
	stopping = true;
	pthread_cond_broadcast(&changed);
	pthread_mutex_unlock(&lock);
	for (i = 0; i < THREADS; i++)
		pthread_join(threads[i], NULL);
	free_jobs(jobs);
	free_jobs(denials);
	jobs = denials = NULL;
}
