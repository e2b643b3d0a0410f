/*
 * txid.c: TXIDs (merchant id, 07, date and time in Jakarta, 4 characters) and the slot of a merchant.
 *
 * Unique without blocking: the last four characters count, base 36, in one shared counter of the server, so within
 * one second 1,679,616 TXIDs differ, whatever the merchant and database. The counter starts at a random place, and
 * ids of the very second in which the server started carry the next second: an id from before a restart cannot come
 * again, as a server does not start twice in one second. What is left (a clock set back, a merchant moved to another
 * server) the unique key catches: payout.register then takes another TXID.
 *
 * Without preloading the counter belongs to the session, started at random, and the unique key does the rest.
 */
#include "postgres.h"

#include "compat.h"
#include "clock.h"
#include "errors.h"
#include "fmgr.h"
#include "pgtime.h"
#include "port/atomics.h"
#include "storage/shmem.h"
#include "txid.h"
#include "utils/builtins.h"

PG_FUNCTION_INFO_V1(payout_generate_txid);
PG_FUNCTION_INFO_V1(payout_slot);

#define MERCHANT_ID_LEN 10
#define STAMP_LEN 16 /* 07 and 14 digits */
#define TXID_LEN (MERCHANT_ID_LEN + STAMP_LEN + 4)
#define TXID_SPACE (36 * 36 * 36 * 36)
#define JAKARTA_OFFSET_S (7 * 3600) /* all year */
#define SLOT_COUNT 1024

typedef struct TxidState
{
	pg_atomic_uint32 next;
	int64 start_s; /* the second in which counting began, since 1970 */
} TxidState;

static TxidState *shared_state = NULL;

static void
start_counting(TxidState *state)
{
	uint32 first;

	if (!pg_strong_random(&first, sizeof(first)))
		ereport(ERROR, (errcode(ERRCODE_INTERNAL_ERROR), errmsg("could not generate random values")));
	pg_atomic_init_u32(&state->next, first);
	state->start_s = payout_unix_ms() / 1000;
}

Size
txid_shmem_size(void)
{
	return MAXALIGN(sizeof(TxidState));
}

void
txid_shmem_init(void)
{
	bool found;

	shared_state = ShmemInitStruct("payout txid", sizeof(TxidState), &found);
	if (!found)
		start_counting(shared_state);
}

static TxidState *
current_state(void)
{
	static TxidState own;
	static bool own_started = false;

	if (shared_state != NULL)
		return shared_state;
	if (!own_started)
		start_counting(&own);
	own_started = true;
	return &own;
}

/* An id of a merchant: exactly 10 of A-Z and 0-9. */
static bool
is_merchant_id(const char *id, size_t length)
{
	if (length != MERCHANT_ID_LEN)
		return false;
	for (int i = 0; i < MERCHANT_ID_LEN; i++)
		if (!((id[i] >= 'A' && id[i] <= 'Z') || (id[i] >= '0' && id[i] <= '9')))
			return false;
	return true;
}

/* 07, date and time in Jakarta of a second since 1970; made once for each second. */
static const char *
stamp(int64 unix_second)
{
	static int64 made_for = -1;
	static char text[64];
	pg_time_t second = unix_second + JAKARTA_OFFSET_S;
	struct pg_tm *tm;

	if (unix_second == made_for)
		return text;
	tm = pg_gmtime(&second);
	snprintf(text, sizeof(text), "07%04d%02d%02d%02d%02d%02d", tm->tm_year + 1900, tm->tm_mon + 1,
			 tm->tm_mday, tm->tm_hour, tm->tm_min, tm->tm_sec);
	made_for = unix_second;
	return text;
}

/* generate_txid(merchant_id): a new TXID. PY005 for a malformed merchant id. */
Datum
payout_generate_txid(PG_FUNCTION_ARGS)
{
	static const char digits[] = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ";
	text *id = PG_ARGISNULL(0) ? NULL : PG_GETARG_TEXT_PP(0);
	TxidState *state = current_state();
	text *txid;
	char *place;
	uint32 count;

	if (id == NULL || !is_merchant_id(VARDATA_ANY(id), VARSIZE_ANY_EXHDR(id)))
		ereport(ERROR,
				(errcode(PY_UNKNOWN_MERCHANT), errmsg("argument \"merchant_id\" is not an id of a merchant"),
				 errhint("It must be 10 of A-Z and 0-9.")));
	count = pg_atomic_fetch_add_u32(&state->next, 1) % TXID_SPACE;
	txid = palloc(VARHDRSZ + TXID_LEN);
	SET_VARSIZE(txid, VARHDRSZ + TXID_LEN);
	place = VARDATA(txid);
	memcpy(place, VARDATA_ANY(id), MERCHANT_ID_LEN);
	memcpy(place + MERCHANT_ID_LEN, stamp(Max(payout_unix_ms() / 1000, state->start_s + 1)), STAMP_LEN);
	place += MERCHANT_ID_LEN + STAMP_LEN;
	place[0] = digits[count / 36 / 36 / 36];
	place[1] = digits[count / 36 / 36 % 36];
	place[2] = digits[count / 36 % 36];
	place[3] = digits[count % 36];
	PG_RETURN_TEXT_P(txid);
}

/*
 * 64-bit FNV-1a over the bytes, folded to 10 bits by xor. Frozen: where merchants live depends on it, so it must never
 * change.
 */
int
txid_slot(const char *merchant_id, size_t size)
{
	uint64 hash = UINT64CONST(0xcbf29ce484222325);

	for (size_t i = 0; i < size; i++)
		hash = (hash ^ (unsigned char) merchant_id[i]) * UINT64CONST(0x100000001b3);
	hash ^= hash >> 32;
	hash ^= hash >> 16;
	return (int) (hash % SLOT_COUNT);
}

/* slot(merchant_id): 0 to 1023. */
Datum
payout_slot(PG_FUNCTION_ARGS)
{
	text *id = PG_GETARG_TEXT_PP(0);

	PG_RETURN_INT32(txid_slot(VARDATA_ANY(id), VARSIZE_ANY_EXHDR(id)));
}
