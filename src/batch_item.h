/*
 * batch_item.h: the items of payout.register_batch as read from JSON.
 * register_batch.c alone enters.
 */
#ifndef PAYOUT_BATCH_ITEM_H
#define PAYOUT_BATCH_ITEM_H

#include "register.h"
#include "utils/jsonb.h"

typedef struct BatchItem
{
	int ordinal;	  /* from 1 */
	JsonbValue value; /* points into the array */
	Registration wanted;
	bool is_plain; /* online, at once, without options, and in order so far; wanted is whole only then */
} BatchItem;

/*
 * The items of an array, palloc'ed; values point into the array. Only the form is looked at, and no table.
 * wanted.reference_no is that of each item that has one, plain or not.
 */
extern BatchItem *batch_items_read(Datum merchant_id, Jsonb *array, int *count);

#endif /* PAYOUT_BATCH_ITEM_H */
