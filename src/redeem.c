/*
 * redeem.c: a store's word on a payout moves it. Reserving, confirming, reversing, expiring and issuing again all lock the
 * payout's row first and then read: of two cashiers with one token, the second finds it reserved.
 *
 * Money moves by the trigger of payout.payout alone (move.c), once for each change of state, and a state changes here only
 * from what the locked row says. The row of the reference is written in the same transaction: it holds what the store was
 * told, so that each call repeated answers the same.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "catalog/pg_collation.h"
#include "catalog/pg_type.h"
#include "clock.h"
#include "errors.h"
#include "fmgr.h"
#include "funcapi.h"
#include "look_up.h"
#include "lost_tail.h"
#include "mb/pg_wchar.h"
#include "plan.h"
#include "redeem.h"
#include "row.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"

PG_FUNCTION_INFO_V1(payout_confirm_payout);
PG_FUNCTION_INFO_V1(payout_reverse_payout);

#define REASON_CHARACTERS 500

void
redeem_refuse_reference(void)
{
	ereport(ERROR,
			(errcode(PY_REFERENCE_REUSED), errmsg("argument \"cvs_reference\" was used for another token"),
			 errhint("Each token that is presented needs a reference of its own.")));
}

HeapTuple
redeem_lock(Datum merchant_id, Datum txid, PayoutRow *payout)
{
	Datum key[] = {merchant_id, txid};
	TupleDesc desc;
	HeapTuple tuple = row_lock("payout", "payout_pkey", 2, key, &desc);

	if (tuple == NULL)
		ereport(ERROR, (errcode(ERRCODE_T_R_SERIALIZATION_FAILURE),
						errmsg("could not serialize access due to concurrent update")));
	payout_row_read(payout, desc, tuple);
	return tuple;
}

/* Writes the new version of a locked payout, and reads what has become of it. */
static HeapTuple
write_payout(HeapTuple old, PayoutRow *payout)
{
	Datum merchant_id = payout_row_get(payout, MERCHANT_ID);
	Datum txid = payout_row_get(payout, TXID);

	row_update("payout", old, PAYOUT_COLUMN_COUNT, payout->values, payout->nulls, payout->replaced);
	return redeem_lock(merchant_id, txid, payout);
}

static void
set_holder(PayoutRow *payout, const Reference *reference)
{
	payout_row_set(payout, CVS_CODE, reference->cvs_code);
	payout_row_set(payout, CVS_REFERENCE, reference->cvs_reference);
}

bool
redeem_is_held(const PayoutRow *payout, const Reference *reference)
{
	return !payout_row_is_null(payout, CVS_CODE) && !payout_row_is_null(payout, CVS_REFERENCE) &&
		   payout_row_is(payout, CVS_CODE, TextDatumGetCString(reference->cvs_code)) &&
		   payout_row_is(payout, CVS_REFERENCE, TextDatumGetCString(reference->cvs_reference));
}

void
redeem_reserve(HeapTuple old, PayoutRow *payout, const Reference *reference, TimestampTz until)
{
	payout_row_set_text(payout, STATE, "token_reserved");
	set_holder(payout, reference);
	payout_row_set(payout, EXPIRE_DUE_AT, TimestampTzGetDatum(until));
	payout_row_set_null(payout, REASON);
	(void) write_payout(old, payout);
}

static bool
is_reserved(const PayoutRow *payout)
{
	return payout_row_is(payout, STATE, "token_reserved") || payout_row_is(payout, STATE, "suspect");
}

/* Whether a lost tail may have taken the record that a store has paid the payout: see lost_tail.sql. */
static bool
may_lack_cash(const TokenId *token)
{
	static SPIPlanPtr plan = NULL;
	Oid types[] = {TEXTOID, TEXTOID};
	Datum values[] = {token->merchant_id, token->txid};
	bool isnull;
	bool may;

	SPI_connect();
	if (plan_run(&plan,
				 "select payout.may_lack_cash(p) from payout.payout p"
				 " where p.merchant_id operator(pg_catalog.=) $1 and p.txid operator(pg_catalog.=) $2",
				 2, types, values, NULL) != 1)
		elog(ERROR, "a payout is missing");
	may = DatumGetBool(SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1, &isnull));
	SPI_finish();
	return may;
}

/* Whether what stands under the reference is of this token. */
static bool
is_of(const Redemption *redemption, const TokenId *token)
{
	return redemption->has_payout && redemption->token_no == token->token_no &&
		   DatumGetBool(DirectFunctionCall2Coll(texteq, C_COLLATION_OID, redemption->merchant_id,
												token->merchant_id)) &&
		   DatumGetBool(DirectFunctionCall2Coll(texteq, C_COLLATION_OID, redemption->txid, token->txid));
}

/* Writes what the store is told under its reference: the columns that say so, into the row that is there or a new one. */
static void
note(const TokenId *token, Datum digest, const Reference *reference, int count, const RedemptionValue *told)
{
	RedemptionValue all[8] = {{"merchant_id", token->merchant_id},
							  {"txid", token->txid},
							  {"token_no", Int32GetDatum(token->token_no)},
							  {"digest", digest}};
	Redemption redemption;

	redemption_find(reference, &redemption, NULL);
	if (!redemption.is_there)
	{
		memcpy(all + 4, told, count * sizeof(RedemptionValue));
		if (redemption_insert(reference, 4 + count, all, &redemption))
			return;
	}
	if (!is_of(&redemption, token))
		redeem_refuse_reference();
	redemption_update(reference, count, told);
}

void
redeem_confirm(const TokenId *token, const Reference *reference, const char *reason, RedeemAnswer *answer)
{
	PayoutRow *payout = &answer->payout;
	HeapTuple old = redeem_lock(token->merchant_id, token->txid, payout);
	FoundToken found;

	look_up_number(token->merchant_id, token->txid, token->token_no, &found);
	if (payout_row_is(payout, STATE, "token_issued"))
	{
		/* The reservation was lost with the tail of another server. */
		payout_row_set_text(payout, STATE, "token_reserved");
		set_holder(payout, reference);
		old = write_payout(old, payout);
	}
	else if (is_reserved(payout) && !redeem_is_held(payout, reference))
	{
		/* So was that the reservation which stands here was taken back. */
		set_holder(payout, reference);
		old = write_payout(old, payout);
	}
	else if (payout_row_is(payout, STATE, "paid") && !redeem_is_held(payout, reference) &&
			 lost_tail_asks_first(DatumGetTimestampTz(payout_row_get(payout, REGISTERED_AT))))
	{
		/* Two stores say that they have paid it: one of them in the tail. */
		payout_row_set_text(payout, STATE, "disputed");
		payout_row_set_text(payout, REASON,
							psprintf("%s, and so did store %s", reason, payout_row_text(payout, CVS_CODE)));
		(void) write_payout(old, payout);
	}
	if (is_reserved(payout))
	{
		payout_row_set_text(payout, STATE, "paid");
		payout_row_set_text(payout, REASON, reason);
		payout_row_set_null(payout, EXPIRE_DUE_AT);
		(void) write_payout(old, payout);
	}
	else if (payout_row_is(payout, STATE, "expired") || payout_row_is(payout, STATE, "failed") ||
			 payout_row_is(payout, STATE, "returned"))
	{
		payout_row_set_text(payout, STATE, "disputed");
		set_holder(payout, reference);
		payout_row_set_text(payout, REASON, psprintf("%s, after it had been given back", reason));
		(void) write_payout(old, payout);
	}
	answer->state = payout_row_get(payout, STATE);
	answer->at = GetCurrentTimestamp();
	note(token, found.digest, reference, 2,
		 (RedemptionValue[]){{"confirmed_at", TimestampTzGetDatum(answer->at)},
							 {"confirm_state", answer->state}});
}

/* The reason as the payout has it, cut to what its column takes. */
static char *
reason_of_reversal(const Reference *reference, const char *reason)
{
	char *why = psprintf("store %s reversed: %s", TextDatumGetCString(reference->cvs_code), reason);

	why[pg_mbcharcliplen(why, (int) strlen(why), REASON_CHARACTERS)] = '\0';
	return why;
}

void
redeem_reverse(const TokenId *token, const Reference *reference, const char *reason, RedeemAnswer *answer)
{
	PayoutRow *payout = &answer->payout;
	HeapTuple old = redeem_lock(token->merchant_id, token->txid, payout);
	bool is_own = redeem_is_held(payout, reference);
	bool was_reserved = is_reserved(payout);
	FoundToken found;

	look_up_number(token->merchant_id, token->txid, token->token_no, &found);
	if (is_own && was_reserved)
	{
		bool goes_on = found.valid_until > payout_now() || may_lack_cash(token);

		payout_row_set_text(payout, STATE, goes_on ? "token_issued" : "expired");
		payout_row_set(payout, EXPIRE_DUE_AT, TimestampTzGetDatum(found.valid_until));
		payout_row_set_null(payout, CVS_CODE);
		payout_row_set_null(payout, CVS_REFERENCE);
		payout_row_set_text(payout, REASON, reason_of_reversal(reference, reason));
		(void) write_payout(old, payout);
	}
	else if (is_own && payout_row_is(payout, STATE, "paid"))
	{
		payout_row_set_text(payout, STATE, "disputed");
		payout_row_set_text(payout, REASON, reason_of_reversal(reference, reason));
		(void) write_payout(old, payout);
	}
	/* That another store holds the token is nothing to this one. */
	answer->state =
		is_own || !was_reserved ? payout_row_get(payout, STATE) : CStringGetTextDatum("token_issued");
	answer->at = GetCurrentTimestamp();
	note(token, found.digest, reference, 3,
		 (RedemptionValue[]){{"reversed_at", TimestampTzGetDatum(answer->at)},
							 {"reverse_state", answer->state},
							 {"reverse_reason", CStringGetTextDatum(reason)}});
}

typedef void (*Word)(const TokenId *token, const Reference *reference, const char *reason,
					 RedeemAnswer *answer);

/* As functions of SQL: (merchant_id, txid, token_no, cvs_code, cvs_reference, reason), the state that the store is told. */
static Datum
say(FunctionCallInfo fcinfo, Word word)
{
	TokenId token = {
		.merchant_id = PG_GETARG_DATUM(0), .txid = PG_GETARG_DATUM(1), .token_no = PG_GETARG_INT32(2)};
	Reference reference = {.cvs_code = PG_GETARG_DATUM(3), .cvs_reference = PG_GETARG_DATUM(4)};
	RedeemAnswer answer;

	word(&token, &reference, text_to_cstring(PG_GETARG_TEXT_PP(5)), &answer);
	return answer.state;
}

Datum
payout_confirm_payout(PG_FUNCTION_ARGS)
{
	return say(fcinfo, redeem_confirm);
}

Datum
payout_reverse_payout(PG_FUNCTION_ARGS)
{
	return say(fcinfo, redeem_reverse);
}
