/*
 * payout_row.h: a row of payout.payout as the steps in C read and change it, its columns by name.
 * Steps of a payout enter.
 */
#ifndef PAYOUT_PAYOUT_ROW_H
#define PAYOUT_PAYOUT_ROW_H

#include "access/htup.h"
#include "access/tupdesc.h"

#define PAYOUT_COLUMNS_MAX 128

/* The columns that C knows, in the order of their names in payout_row.c. */
typedef enum PayoutColumn
{
	MERCHANT_ID,
	TXID,
	KIND,
	REFERENCE_NO,
	METHOD,
	AMOUNT,
	CURRENCY,
	CHANNEL_ID,
	BANK_CODE,
	WIRE_CODE,
	SOURCE_ACCOUNT_NO,
	ACCOUNT_NO,
	BENEFICIARY_NAME,
	BENEFICIARY_PHONE,
	DESCRIPTION,
	OPTIONS,
	SCHEDULED_AT,
	REGISTERED_AT,
	CONTENT_SALT, /* content up to here: never changes */
	STATE,
	FEE,
	APPROVED_AT,
	FINAL_AT,
	DISPUTED_AT,
	EVENTS,
	APPROVALS,
	REASON,
	ACCOUNT_CHECK,
	ACCOUNT_NAME,
	CHECK_DEADLINE_AT,
	CHECK_TRIES,
	CHECK_EPOCH,
	BATCH_ID,
	BANK_REFERENCE_NO,
	RESPONSE_CODE,
	STATUS_CHECKED_AT,
	STATUS_TRIES,
	NOT_FOUND,
	CVS_CODE,
	CVS_REFERENCE,
	DOUBTED_AT, /* what an end closes from here: a doubt, and the work queues */
	CHECK_DUE_AT,
	DISPATCH_DUE_AT,
	RELEASE_DUE_AT,
	STATUS_DUE_AT,
	EXPIRE_DUE_AT,
	PAYOUT_COLUMN_COUNT
} PayoutColumn;

#define PAYOUT_CONTENT_END (CONTENT_SALT + 1)
#define PAYOUT_OPEN_ENDS DOUBTED_AT

/* One version of a row. */
typedef struct PayoutRow
{
	TupleDesc desc;
	Datum values[PAYOUT_COLUMNS_MAX];
	bool nulls[PAYOUT_COLUMNS_MAX];
	bool replaced[PAYOUT_COLUMNS_MAX]; /* by payout_row_set */
} PayoutRow;

/* A version with nothing but nulls. The description must stay valid as long as the row. */
extern void payout_row_init(PayoutRow *row, TupleDesc desc);

/* The version that the tuple is. */
extern void payout_row_read(PayoutRow *row, TupleDesc desc, HeapTuple tuple);

/* The version that a value of the table's row type is. Its description is pinned: ReleaseTupleDesc(row->desc) when done. */
extern void payout_row_read_value(PayoutRow *row, Datum value);

/* A whole number of a tuple of payout.payout; the column is never null. */
extern int32 payout_row_peek(HeapTuple tuple, TupleDesc desc, PayoutColumn column);

/* A column; undefined where it is null. */
extern Datum payout_row_get(const PayoutRow *row, PayoutColumn column);

extern Oid payout_row_type(const PayoutRow *row, PayoutColumn column);

extern bool payout_row_is_null(const PayoutRow *row, PayoutColumn column);

/* A column of type text, palloc'ed; NULL for null. */
extern char *payout_row_text(const PayoutRow *row, PayoutColumn column);

/* Whether a column of type text is this word. */
extern bool payout_row_is(const PayoutRow *row, PayoutColumn column, const char *word);

extern bool payout_row_same(const PayoutRow *a, const PayoutRow *b, PayoutColumn column);

extern void payout_row_set(PayoutRow *row, PayoutColumn column, Datum value);
extern void payout_row_set_text(PayoutRow *row, PayoutColumn column, const char *value);
extern void payout_row_set_null(PayoutRow *row, PayoutColumn column);

/*
 * The row as public functions answer with it: the platform's own account and the salt, which are no business of merchants, are
 * taken out of it first.
 */
extern Datum payout_row_answer(PayoutRow *row);

#endif /* PAYOUT_PAYOUT_ROW_H */
