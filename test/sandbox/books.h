/*
 * books.h: the bank's state: accounts, floats, transfers, bulks and used external ids. A "paid" line of the journal is its only proof of payment.
 * Every caller holds the state lock (state_lock()); whoever answers the outside calls journal_commit() first.
 */
#ifndef SANDBOX_BOOKS_H
#define SANDBOX_BOOKS_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

typedef struct Bulk Bulk;

typedef enum EntryState
{
	ENTRY_ACCEPTED,
	ENTRY_PAID,
	ENTRY_FAILED,
	ENTRY_REFUNDED
} EntryState;

/* What the payer asked for; the texts belong to whoever made the order. */
typedef struct Order
{
	const char *reference;
	const char *account_no;
	const char *account_name;
	const char *bank_code;
	const char *source_account_no;
	const char *transaction_date;
	const char *external_id;
	int64_t cents;
	int service;
} Order;

/* One business transfer, known by the payer's reference for ever; of a bank that forgets references, one booking of several. */
typedef struct Entry
{
	Order order;		   /* own copies of the texts */
	char reference_no[32]; /* the bank's number */
	EntryState state;
	int http; /* why it failed: HTTP part and case part of the code */
	int code;
	int times_paid;
	Bulk *bulk;			 /* the last bulk that brought it, or NULL */
	struct Entry *older; /* same reference, of a bank that forgets references */
	struct Entry *next;	 /* in order of arrival */
} Entry;

struct Bulk
{
	char *bulk_id;
	char *partner_bulk_id;
	char *source_account_no;
	Entry **items;
	int item_count;
	bool booked;
	bool noticed;
	Bulk *next;
};

/* A refusal: HTTP part and case part of a response code; http 0 = none. */
typedef struct Refusal
{
	int http;
	int code;
} Refusal;

extern void state_lock(void);
extern void state_unlock(void);

extern void books_init(void);
extern void books_replay(const json_t *line);

/* What was done under a reference: the paid entry if there is one, else the last. */
extern Entry *books_find(const char *reference);
/* What an order that comes again is held against: the same, or NULL at a bank that forgets references. */
extern Entry *books_remembered(const char *reference);
/* What one request, of this X-EXTERNAL-ID, brought under a reference. */
extern Entry *books_find_sending(const char *reference, const char *external_id);
extern Entry *books_find_number(const char *reference_no);
extern Entry *books_first(void);
extern bool books_same(const Entry *entry, const Order *order);
extern Entry *books_add(const Order *order);

/* Whether the order can be paid now; checks account, limit and float. */
extern Refusal books_refusal(const Order *order);
/* Name of an account, or NULL with the refusal that a transfer to it would get. */
extern const char *books_account_name(const char *account_no, Refusal *refusal);
/* The float of a source account in cents, or NULL when the account is unknown. */
extern int64_t *books_float(const char *source_account_no);

/* Moves; each writes its journal line. books_pay on a paid entry is a programming error and ends the process. */
extern void books_accept(Entry *entry);
extern void books_pay(Entry *entry);
extern void books_fail(Entry *entry, Refusal why);
extern void books_refund(Entry *entry);

/* The last bulk of that id, however the bank treats one that comes again. */
extern Bulk *books_bulk_find(const char *partner_bulk_id);
extern Bulk *books_bulk_first(void);
extern Bulk *books_bulk_add(const char *partner_bulk_id, const char *source_account_no, const Order *orders,
							int count);
#define BULK_ID_SIZE 40
/* The bank's id of its next bulk. */
extern void books_next_bulk_id(char out[BULK_ID_SIZE]);
extern void books_bulk_booked(Bulk *bulk);
extern void books_bulk_noticed(Bulk *bulk);

/* False when the id was used today by this partner already; otherwise notes it. */
extern bool books_use_external_id(const char *partner_id, const char *external_id, int service,
								  int64_t arrived_ms);

extern void books_set_account(const char *account_no, const char *name, const char *status);
extern void books_set_float(const char *source_account_no, int64_t cents);
extern json_t *books_report(bool summary_only);

#endif
