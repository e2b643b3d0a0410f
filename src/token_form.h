/*
 * token_form.h: how a cashout token is written: digits, the last of which checks the others.
 * Knows nothing of PostgreSQL, so that it is tested by itself; only token.c enters.
 */
#ifndef PAYOUT_TOKEN_FORM_H
#define PAYOUT_TOKEN_FORM_H

#include <stdbool.h>
#include <stddef.h>

#define TOKEN_DIGITS_MIN 14
#define TOKEN_DIGITS_MAX 20

/* The digit that completes count digits ('0' to '9') by the Luhn formula (ISO/IEC 7812-1, annex B). */
extern char token_check_digit(const char *digits, size_t count);

/*
 * Reads a token as people type it and scanners send it: digits in groups, blanks, dashes and line ends ignored. True, with
 * the digits alone and a final zero byte in out, when the number of digits and the check digit are right.
 */
extern bool token_read(const char *typed, size_t size, char out[TOKEN_DIGITS_MAX + 1]);

#endif /* PAYOUT_TOKEN_FORM_H */
