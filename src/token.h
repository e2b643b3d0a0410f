/*
 * token.h: a cashout token as a store presents it: its digits, and the digests that the database knows it by.
 * The calls of stores enter; SQL asks the functions of token.sql.
 */
#ifndef PAYOUT_TOKEN_H
#define PAYOUT_TOKEN_H

#include "fmgr.h"
#include "token_form.h"

/* Under the key of payout.secret_file, and of payout.secret_file_old where that is usable (else NULL). */
typedef struct TokenDigests
{
	bytea *present;
	bytea *old;
} TokenDigests;

/* Whether an argument of type text is written as a token is; null is not. Its digits, a secret. */
extern bool token_read_argument(FunctionCallInfo fcinfo, int number, char digits[TOKEN_DIGITS_MAX + 1]);

/* The digests of digits, which are wiped. PY015 without payout.secret_file. */
extern void token_digest(char digits[TOKEN_DIGITS_MAX + 1], TokenDigests *digests);

/* Whether a stored digest is one of these, in time that does not depend on where it differs. */
extern bool token_is_of(const TokenDigests *digests, Datum stored);

#endif /* PAYOUT_TOKEN_H */
