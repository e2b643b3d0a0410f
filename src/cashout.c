/*
 * cashout.c: the three calls of a store: validate (the token is reserved for it), confirm (the cash has left the till),
 * reverse (it has not, and will not).
 *
 * Each goes the same steps, in this order:
 *	 who asks: the store, its arguments; for a validation, that it is active and the database armed
 *	 form: what is not written as a token is none (PY010): it is neither counted nor looked up
 *	 whether the transaction may write
 *	 reservation: what stands under the store's reference. What fits it in full, the token by its digest, is answered or
 *	 taken, whether anything is locked or not
 *	 the lock and the count of one try, in one step (token_tries.c)
 *	 the look-up, which leaves no trace (look_up.c). What this store will not get is refused
 *	 the payout's lock, and the same judgement again; its try is taken back
 *
 * So what a store is refused for shows in nothing but the answer: unknown, used, replaced and reserved elsewhere are one
 * error. Expired can be told: such a token is worth nothing. A reversal is never looked up: where nothing stands under its
 * reference it is remembered, so that the late original is refused, and answers the same for every token: nothing is
 * reserved for this store, as if the token were free.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/xact.h"
#include "argument.h"
#include "arming.h"
#include "caller.h"
#include "catalog/pg_collation.h"
#include "clock.h"
#include "errors.h"
#include "fmgr.h"
#include "funcapi.h"
#include "look_up.h"
#include "lost_tail.h"
#include "miscadmin.h"
#include "redeem.h"
#include "redemption.h"
#include "settings.h"
#include "store.h"
#include "tcop/utility.h"
#include "token.h"
#include "token_tries.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"

PG_FUNCTION_INFO_V1(payout_cashout_validate);
PG_FUNCTION_INFO_V1(payout_cashout_confirm);
PG_FUNCTION_INFO_V1(payout_cashout_reverse);

#define EARLY_REVERSALS_MAX 1000
#define EARLY_STATE "token_issued"

/* What a store presents. */
typedef struct Presented
{
	Store store;
	Reference reference;
	Datum terminal; /* 0: the call names none */
	TokenDigests digests;
	Trier trier;
	bool is_counted;
} Presented;

typedef enum Judgement
{
	GOOD,
	INVALID,
	EXPIRED
} Judgement;

/* The one place where a token is refused: even the line number of an error would tell. */
static void
refuse_unless_good(Judgement judgement)
{
	if (judgement == EXPIRED)
		ereport(ERROR, (errcode(PY_TOKEN_EXPIRED), errmsg("the token has expired"),
						errhint("The merchant has the money back and may issue another one.")));
	if (judgement == INVALID)
		ereport(ERROR, (errcode(PY_INVALID_TOKEN), errmsg("argument \"token\" is not a valid token here"),
						errhint("Check the digits. A token is good once, at one store, until it expires.")));
}

static void
require_written(FunctionCallInfo fcinfo, char digits[TOKEN_DIGITS_MAX + 1])
{
	refuse_unless_good(token_read_argument(fcinfo, 1, digits) ? GOOD : INVALID);
}

static void
require_writable(const char *call)
{
	PreventCommandIfReadOnly(call);
	PreventCommandDuringRecovery(call);
	PreventCommandIfParallelMode(call);
}

/* The steps up to the reservation. reference, terminal: numbers of arguments; terminal -1: none. */
static void
begin_call(FunctionCallInfo fcinfo, const char *call, int reference, int terminal, Presented *presented)
{
	char digits[TOKEN_DIGITS_MAX + 1];

	memset(presented, 0, sizeof(Presented));
	store_read(fcinfo->args[0], &presented->store);
	if (terminal >= 0)
		argument_require_text("terminal", fcinfo->args[terminal], 1, 64, "visible", PY_BAD_INPUT);
	argument_require_text("cvs_reference", fcinfo->args[reference], 1, 64, "visible", PY_BAD_INPUT);
	presented->reference =
		(Reference){.cvs_code = presented->store.code, .cvs_reference = fcinfo->args[reference].value};
	if (terminal >= 0)
	{
		presented->terminal = fcinfo->args[terminal].value;
		store_require_active(&presented->store);
		arming_require();
	}
	require_written(fcinfo, digits);
	require_writable(call);
	token_digest(digits, &presented->digests);
}

/* Whether what stands under the reference is of the token that is presented. */
static bool
fits(const Presented *presented, const Redemption *redemption)
{
	return redemption->is_there && redemption->digest != (Datum) 0 &&
		   token_is_of(&presented->digests, redemption->digest);
}

/* The lock, and the count of one try. */
static void
count_try(Presented *presented)
{
	Trier *trier = &presented->trier;

	trier->cvs_code = presented->store.name;
	trier->terminal = presented->terminal != (Datum) 0 ? TextDatumGetCString(presented->terminal) : NULL;
	trier->role = caller_name();
	trier->is_known =
		presented->terminal != (Datum) 0 && store_knows_terminal(&presented->store, presented->terminal);
	trier->store_tries = store_tries(&presented->store);
	token_tries_take(trier);
	presented->is_counted = true;
}

/* The token has proved good. */
static void
uncount_try(Presented *presented)
{
	if (presented->is_counted)
		token_tries_give_back(&presented->trier);
	presented->is_counted = false;
}

static Datum
make_answer(FunctionCallInfo fcinfo, Datum *values, bool *nulls)
{
	TupleDesc desc;

	if (get_call_result_type(fcinfo, NULL, &desc) != TYPEFUNC_COMPOSITE)
		elog(ERROR, "return type must be a row type");
	return HeapTupleGetDatum(heap_form_tuple(BlessTupleDesc(desc), values, nulls));
}

/* payout: NULL where the reference never had one. */
static Datum
answer_word(FunctionCallInfo fcinfo, const Presented *presented, const PayoutRow *payout, Datum state,
			TimestampTz at)
{
	Datum values[6] = {
		(Datum) 0, state, (Datum) 0, (Datum) 0, presented->reference.cvs_reference, TimestampTzGetDatum(at)};
	bool nulls[6] = {payout == NULL, false, payout == NULL, payout == NULL, false, false};

	if (payout != NULL)
	{
		values[0] = payout_row_get(payout, TXID);
		values[2] = payout_row_get(payout, AMOUNT);
		values[3] = payout_row_get(payout, CURRENCY);
	}
	return make_answer(fcinfo, values, nulls);
}

/* What a confirmation or reversal was answered with. */
static Datum
answer_again(FunctionCallInfo fcinfo, const Presented *presented, const Redemption *redemption, Datum state,
			 TimestampTz at)
{
	PayoutRow payout;

	if (!redemption->has_payout)
		return answer_word(fcinfo, presented, NULL, state, at);
	if (!look_up_payout(redemption->merchant_id, redemption->txid, &payout))
		elog(ERROR, "the payout of a redemption is missing");
	return answer_word(fcinfo, presented, &payout, state, at);
}

static void
refuse_reversed(const Redemption *redemption, const char *hint)
{
	ereport(ERROR, (errcode(PY_NOT_ALLOWED_IN_STATE), errmsg("argument \"cvs_reference\" was reversed"),
					errdetail("At %s.", timestamptz_to_str(redemption->reversed_at)), errhint("%s", hint)));
}

static TokenId
token_of(const Redemption *redemption)
{
	return (TokenId){
		.merchant_id = redemption->merchant_id, .txid = redemption->txid, .token_no = redemption->token_no};
}

/* --- validate --- */

static Datum
masked_name(Datum name)
{
	return DirectFunctionCall4Coll(textregexreplace, C_COLLATION_OID, name,
								   CStringGetTextDatum("([^[:space:]])[^[:space:]]*"),
								   CStringGetTextDatum("\\1***"), CStringGetTextDatum("g"));
}

static Datum
answer_reservation(FunctionCallInfo fcinfo, const PayoutRow *payout, TimestampTz until)
{
	Datum values[5] = {payout_row_get(payout, TXID), payout_row_get(payout, AMOUNT),
					   payout_row_get(payout, CURRENCY),
					   masked_name(payout_row_get(payout, BENEFICIARY_NAME)), TimestampTzGetDatum(until)};
	bool nulls[5] = {false};

	return make_answer(fcinfo, values, nulls);
}

/* Whether this very validation has been taken, and its payout is still the store's: then the answer to it. */
static bool
is_validated(const Presented *presented, const Redemption *redemption, PayoutRow *payout)
{
	return redemption->is_reserved && !redemption->is_reversed &&
		   argument_compare(redemption->terminal, presented->terminal) == 0 &&
		   look_up_payout(redemption->merchant_id, redemption->txid, payout) &&
		   (payout_row_is(payout, STATE, "token_reserved") || payout_row_is(payout, STATE, "suspect") ||
			payout_row_is(payout, STATE, "paid")) &&
		   redeem_is_held(payout, &presented->reference);
}

/* The reservation step of a validation. */
static bool
answer_validated(FunctionCallInfo fcinfo, const Presented *presented, const Redemption *redemption,
				 Datum *answer)
{
	PayoutRow payout;

	if (!fits(presented, redemption))
		return false;
	if (redemption->is_reversed)
		refuse_reversed(redemption, "The token may be validated again under another reference.");
	if (!is_validated(presented, redemption, &payout))
		return false;
	*answer = answer_reservation(fcinfo, &payout, redemption->reserved_until);
	return true;
}

/* Whether the store will get the token; of a payout as it was looked up, or is locked. */
static Judgement
judge_validation(const FoundToken *found, TimestampTz now)
{
	if (!found->is_there || found->is_replaced ||
		!(payout_row_is(&found->payout, STATE, "token_issued") ||
		  payout_row_is(&found->payout, STATE, "expired")))
		return INVALID;
	if (found->valid_until <= now || payout_row_is(&found->payout, STATE, "expired"))
		return EXPIRED;
	return GOOD;
}

static Datum
reserve(FunctionCallInfo fcinfo, const Presented *presented, HeapTuple locked, FoundToken *found,
		TimestampTz now)
{
	TimestampTz until = now + (int64) payout_reservation_ttl_s * USECS_PER_SEC;
	RedemptionValue values[] = {{"merchant_id", found->merchant_id},
								{"txid", found->txid},
								{"token_no", Int32GetDatum(found->token_no)},
								{"digest", found->digest},
								{"terminal", presented->terminal},
								{"reserved_at", TimestampTzGetDatum(GetCurrentTimestamp())},
								{"reserved_until", TimestampTzGetDatum(until)}};
	Redemption taken;

	if (!redemption_insert(&presented->reference, lengthof(values), values, &taken))
	{
		if (fits(presented, &taken) && taken.is_reversed)
			refuse_reversed(&taken, "The token may be validated again under another reference.");
		redeem_refuse_reference();
	}
	redeem_reserve(locked, &found->payout, &presented->reference, until);
	return answer_reservation(fcinfo, &found->payout, until);
}

/* cashout_validate(cvs_code, token, terminal, cvs_reference): see cashout.sql. */
Datum
payout_cashout_validate(PG_FUNCTION_ARGS)
{
	TimestampTz now = payout_now();
	Presented presented;
	Redemption redemption;
	FoundToken found;
	HeapTuple locked;
	Datum answer;

	begin_call(fcinfo, "cashout_validate()", 3, 2, &presented);
	redemption_find(&presented.reference, &redemption, NULL);
	if (answer_validated(fcinfo, &presented, &redemption, &answer))
		return answer;
	count_try(&presented);
	look_up_token(&presented.digests, &found);
	refuse_unless_good(judge_validation(&found, now));

	(void) redeem_lock(found.merchant_id, found.txid, &found.payout);
	/* What the lock was waited for may have been this call from another session. */
	redemption_find(&presented.reference, &redemption, NULL);
	if (answer_validated(fcinfo, &presented, &redemption, &answer))
	{
		uncount_try(&presented);
		return answer;
	}
	look_up_token(&presented.digests, &found);
	refuse_unless_good(judge_validation(&found, now));
	uncount_try(&presented);
	locked = redeem_lock(found.merchant_id, found.txid, &found.payout);
	store_require_pays(&presented.store, payout_row_get(&found.payout, AMOUNT), now);
	return reserve(fcinfo, &presented, locked, &found, now);
}

/* --- confirm --- */

/* The same answer as before, where the store has said it already. */
static bool
answer_confirmed(FunctionCallInfo fcinfo, const Presented *presented, const Redemption *redemption,
				 Datum *answer)
{
	if (redemption->is_confirmed)
		*answer =
			answer_again(fcinfo, presented, redemption, redemption->confirm_state, redemption->confirmed_at);
	else if (redemption->is_reversed)
		refuse_reversed(redemption,
						"The platform's operator decides where cash has left the till all the same.");
	return redemption->is_confirmed;
}

/* The reservation step of a confirmation: false where nothing that fits stands under the reference. */
static bool
confirm_reserved(FunctionCallInfo fcinfo, const Presented *presented, Datum *answer)
{
	Redemption redemption;
	RedeemAnswer given;
	TokenId token;

	redemption_find(&presented->reference, &redemption, NULL);
	if (!fits(presented, &redemption))
		return false;
	if (answer_confirmed(fcinfo, presented, &redemption, answer))
		return true;
	(void) redeem_lock(redemption.merchant_id, redemption.txid, &given.payout);
	redemption_find(&presented->reference, &redemption, NULL);
	if (answer_confirmed(fcinfo, presented, &redemption, answer))
		return true;
	token = token_of(&redemption);
	redeem_confirm(&token, &presented->reference, "the store confirmed", &given);
	if (redemption.is_reserved)
		store_know_terminal(&presented->store, redemption.terminal);
	*answer = answer_word(fcinfo, presented, &given.payout, given.state, given.at);
	return true;
}

/*
 * Nothing was reserved under the reference: such a call may be a guess. But a token that has expired may have been paid
 * without asking; and a lost tail may have taken the reservation, whatever stands here of the payout.
 */
static Judgement
judge_confirmation(const FoundToken *found, const Redemption *redemption)
{
	/* Asked whatever there is, so that the question tells nothing. */
	bool may_be_paid = lost_tail_asks_first(
		found->is_there ? DatumGetTimestampTz(payout_row_get(&found->payout, REGISTERED_AT)) : DT_NOEND);

	if (!found->is_there || redemption->is_there)
		return INVALID;
	if (may_be_paid)
		return GOOD;
	return payout_row_is(&found->payout, STATE, "expired") && !found->is_replaced ? GOOD : INVALID;
}

/* cashout_confirm(cvs_code, token, cvs_reference): see cashout.sql. */
Datum
payout_cashout_confirm(PG_FUNCTION_ARGS)
{
	Presented presented;
	Redemption redemption;
	FoundToken found;
	RedeemAnswer given;
	TokenId token;
	Datum answer;

	begin_call(fcinfo, "cashout_confirm()", 2, -1, &presented);
	if (confirm_reserved(fcinfo, &presented, &answer))
		return answer;
	count_try(&presented);
	redemption_find(&presented.reference, &redemption, NULL);
	look_up_token(&presented.digests, &found);
	refuse_unless_good(judge_confirmation(&found, &redemption));

	(void) redeem_lock(found.merchant_id, found.txid, &found.payout);
	if (confirm_reserved(fcinfo, &presented, &answer))
	{
		uncount_try(&presented);
		return answer;
	}
	redemption_find(&presented.reference, &redemption, NULL);
	look_up_token(&presented.digests, &found);
	refuse_unless_good(judge_confirmation(&found, &redemption));
	uncount_try(&presented);
	token = (TokenId){.merchant_id = found.merchant_id, .txid = found.txid, .token_no = found.token_no};
	redeem_confirm(&token, &presented.reference, "the store confirmed", &given);
	return answer_word(fcinfo, &presented, &given.payout, given.state, given.at);
}

/* --- reverse --- */

/* What stands under the reference is reversed: a repeat, or the store's own reservation or confirmation. */
static Datum
reverse_known(FunctionCallInfo fcinfo, Presented *presented, Redemption *redemption, const char *reason)
{
	RedeemAnswer given;
	TokenId token;

	if (!fits(presented, redemption))
	{
		count_try(presented);
		refuse_unless_good(INVALID);
	}
	if (!redemption->is_reversed)
	{
		(void) redeem_lock(redemption->merchant_id, redemption->txid, &given.payout);
		redemption_find(&presented->reference, redemption, NULL);
	}
	if (redemption->is_reversed)
		return answer_again(fcinfo, presented, redemption, redemption->reverse_state,
							redemption->reversed_at);
	token = token_of(redemption);
	redeem_reverse(&token, &presented->reference, reason, &given);
	return answer_word(fcinfo, presented, &given.payout, given.state, given.at);
}

/* A reversal of nothing, remembered; false where something has come to stand under the reference meanwhile. */
static bool
remember_early(const Presented *presented, const char *reason, TimestampTz at, Redemption *redemption)
{
	RedemptionValue values[] = {{"digest", PointerGetDatum(presented->digests.present)},
								{"reversed_at", TimestampTzGetDatum(at)},
								{"reverse_state", CStringGetTextDatum(EARLY_STATE)},
								{"reverse_reason", CStringGetTextDatum(reason)}};

	if (redemption_count_early(presented->store.code, at, EARLY_REVERSALS_MAX) >= EARLY_REVERSALS_MAX)
		ereport(ERROR,
				(errcode(PY_TOO_MUCH_OPEN), errmsg("too many reversals of nothing at this store today"),
				 errdetail("It is %d on a day.", EARLY_REVERSALS_MAX),
				 errhint("Reverse what was validated under the same reference.")));
	return redemption_insert(&presented->reference, lengthof(values), values, redemption);
}

/* cashout_reverse(cvs_code, token, cvs_reference, reason): see cashout.sql. */
Datum
payout_cashout_reverse(PG_FUNCTION_ARGS)
{
	TimestampTz at = GetCurrentTimestamp();
	Presented presented;
	Redemption redemption;
	char *reason;

	argument_require_text("reason", fcinfo->args[3], 1, 500, "text", PY_BAD_INPUT);
	reason = text_to_cstring(PG_GETARG_TEXT_PP(3));
	begin_call(fcinfo, "cashout_reverse()", 2, -1, &presented);
	redemption_find(&presented.reference, &redemption, NULL);
	if (!redemption.is_there && remember_early(&presented, reason, at, &redemption))
		return answer_word(fcinfo, &presented, NULL, CStringGetTextDatum(EARLY_STATE), at);
	return reverse_known(fcinfo, &presented, &redemption, reason);
}
